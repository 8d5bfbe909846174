"""The host's, WAIT's and EMIT's way to the memories, under Amaranth's simulator."""

from collections import deque
from random import Random

import pytest
from amaranth.sim import Simulator

from relaxon_hdl.access import Access
from relaxon_hdl.schedule import Schedule
from relaxon_isa.cycles import READ_CYCLES
from relaxon_isa.memory import COUNTER_BITS, Register, Space, element_bytes
from relaxon_isa.presets import preset

SPACES = (Space.PROGRAM, Space.STATE, Space.DRIVE, Space.TABLE, Space.REGISTER)
READABLE = (Space.PROGRAM, Space.STATE, Space.DRIVE, Space.REGISTER)
ANSWER = 5
"""Cycles from a request that may begin to its answer."""


class Memories:
    """What lies behind the ports: every address has a word of its own, that comes when the array,
    the sequencer and the registers have it. Writes are listed."""

    def __init__(self, access: Access, config, seed: int):
        self.access, self.config, self.seed = access, config, seed
        self.past: deque[tuple[int, int]] = deque([(0, 0)] * 4, maxlen=4)
        self.locked = 0
        self.turn = 0
        self.written: set[tuple] = set()

    def word(self, space: Space, index: int, lane: int = 0) -> int:
        bits = {Space.STATE: self.config.state_bits, Space.DRIVE: self.config.acc_bits}
        rng = Random(f"{self.seed} {space} {index} {lane if space in bits else 0}")
        if space is Space.PROGRAM:
            return rng.getrandbits(len(self.access.program.row))
        if space is Space.REGISTER:
            return rng.getrandbits(COUNTER_BITS)
        return rng.getrandbits(bits[space]) - (1 << bits[space] - 1)

    async def cycle(self, ctx) -> None:
        """Answers to the addresses of this cycle and the ones before, then the next cycle."""
        element, program = self.access.element, self.access.program
        registers = self.access.registers
        place = ctx.get(element.index), ctx.get(element.lane)
        row = self.word(Space.PROGRAM, ctx.get(program.index))
        self.locked = self.locked + 1 if ctx.get(registers.lock) else 0
        number = self.word(Space.REGISTER, ctx.get(registers.index))
        for space in (Space.STATE, Space.DRIVE, Space.TABLE):
            if ctx.get(getattr(element, f"write_{space.name.lower()}")):
                self.written.add((space, *place, ctx.get(element.data)))
        if ctx.get(program.write):
            self.written.add((Space.PROGRAM, ctx.get(program.index), ctx.get(program.data)))
        if ctx.get(registers.write):
            self.written.add((Space.REGISTER, ctx.get(registers.index), ctx.get(registers.data)))
        self.past.append(place)
        await ctx.tick()
        then = self.past[-1 - Schedule(self.config).read]
        ctx.set(element.state, self.word(Space.STATE, *then))
        ctx.set(element.drive, self.word(Space.DRIVE, *then))
        ctx.set(program.row, row)
        # Halves of the locked register from the third cycle on, the lower one first.
        half, upper = COUNTER_BITS // 2, self.locked % 2 == 0
        ctx.set(registers.low, self.locked >= 3 and not upper)
        ctx.set(registers.high, self.locked >= 3 and upper)
        ctx.set(registers.value, number >> half if upper else number % (1 << half))
        if self.config.sample_buffer and not self.locked:
            self.turn = (self.turn + 1) % 32  # of all registers, two cycles each
            index, high = divmod(self.turn, 2)
            mine = index == ctx.get(registers.watch)
            ctx.set(registers.watched_low, mine and not high)
            ctx.set(registers.watched_high, mine and high)
            number = self.word(Space.REGISTER, index)
            ctx.set(registers.value, number >> half if high else number % (1 << half))


def run(config, bench) -> None:
    access = Access(config)
    simulator = Simulator(access)
    simulator.add_clock(1e-6)

    async def testbench(ctx):
        await bench(ctx, access)

    simulator.add_testbench(testbench)
    simulator.run()


@pytest.fixture(params=["default", "up5k"])
def config(request):
    return preset(request.param)


def test_serves_the_host_when_it_may(config, seed):
    rng = Random(seed)

    async def bench(ctx, access):
        memory = access.memory
        memories = Memories(access, config, seed)
        for _ in range(300):
            write = rng.random() < 0.5
            space = rng.choice(SPACES if write else READABLE)
            index = rng.randrange(16 if space is Space.REGISTER else config.drive_depth)
            lane = rng.randrange(config.p)
            data = rng.getrandbits(config.state_bits - 1)
            memories.written.clear()
            for name, value in (
                ("space", space),
                ("index", index),
                ("lane", lane),
                ("wdata", data),
                ("write", write),
                ("valid", 1),
            ):
                ctx.set(getattr(memory, name), value)
            ctx.set(access.free, 0)
            for _ in range(rng.choice([0, 0, 3])):  # a program runs
                assert not ctx.get(access.serving) and not ctx.get(memory.ready)
                await memories.cycle(ctx)
            ctx.set(access.free, 1)
            for _ in range(ANSWER):
                assert not ctx.get(memory.ready)
                await memories.cycle(ctx)
                ctx.set(access.free, rng.randrange(2))  # once begun it is served
            assert ctx.get(memory.ready) and ctx.get(access.serving)
            if not write:
                assert not memories.written
                wanted = memories.word(space, index, lane)
                bits = 8 * element_bytes(config, space)
                assert (ctx.get(memory.rdata) ^ wanted) % (1 << bits) == 0, space
            else:
                place = (index,) if space in (Space.PROGRAM, Space.REGISTER) else (index, lane)
                assert memories.written == {(space, *place, data)}
            ctx.set(memory.valid, 0)
            await memories.cycle(ctx)
            assert not ctx.get(memory.ready) and not ctx.get(access.serving)

    run(config, bench)


def test_an_early_read_is_answered_beside_all_else(seed):
    """Of a counter, while a program runs, EMITs or not: nobody is held up, and no lock is taken."""
    rng = Random(seed)
    config = preset("fast4").replace(sample_memory=False)

    async def bench(ctx, access):
        memory, registers = access.memory, access.registers
        memories = Memories(access, config, seed)
        for _ in range(100):
            index = rng.choice([Register.SAMPLES, Register.WRONG])
            for name, value in (
                ("space", Space.REGISTER),
                ("index", index),
                ("write", 0),
                ("early", 1),
                ("valid", 1),
            ):
                ctx.set(getattr(memory, name), value)
            cycles = 0
            while not ctx.get(memory.ready):
                ctx.set(access.emit_run, rng.randrange(2))
                ctx.set(access.wait_run, 0)
                assert not ctx.get(access.serving) and not ctx.get(registers.lock)
                await memories.cycle(ctx)
                cycles += 1
                assert cycles <= 70
            wanted = memories.word(Space.REGISTER, index)
            assert ctx.get(memory.rdata) % (1 << COUNTER_BITS) == wanted
            ctx.set(memory.valid, 0)
            for _ in range(rng.randrange(1, 40)):
                await memories.cycle(ctx)
                assert not ctx.get(memory.ready)

    run(config, bench)


def test_emit_reads_any_element_on_time(config, seed):
    rng = Random(seed)

    async def bench(ctx, access):
        transfer = access.transfer
        memories = Memories(access, config, seed)
        ctx.set(access.emit_run, 1)
        for _ in range(300):
            space = rng.choice([Space.STATE, Space.DRIVE, Space.REGISTER])
            group = rng.randrange(16 if space is Space.REGISTER else config.drive_depth)
            lane = rng.randrange(config.p)
            ctx.set(transfer.space, space)
            ctx.set(transfer.group, group)
            ctx.set(transfer.lane, lane)
            ctx.set(transfer.read_counter, space is Space.REGISTER)
            wanted = memories.word(space, group, lane)
            for _ in range(READ_CYCLES - 1):
                await memories.cycle(ctx)
            if space is Space.STATE and config.pipeline == "long":
                assert ctx.get(transfer.word) == wanted
            await memories.cycle(ctx)
            ctx.set(transfer.read_counter, 0)
            if space is Space.REGISTER:  # whose upper half may be a cycle late
                await memories.cycle(ctx)
            if space is Space.STATE:
                assert config.pipeline == "long" or ctx.get(transfer.word) == wanted
            bits = min(8 * element_bytes(config, space), len(transfer.data))
            assert (ctx.get(transfer.data) ^ wanted) % (1 << bits) == 0, space
        assert not memories.written

    run(config, bench)


def test_wait_writes_a_value_per_cycle(config, seed):
    rng = Random(seed)
    late = config.pipeline == "long"

    async def bench(ctx, access):
        transfer, element = access.transfer, access.element
        ctx.set(access.wait_run, 1)
        before = None
        for _ in range(300):
            write = rng.randrange(2)
            group, lane = rng.randrange(config.state_depth), rng.randrange(config.p)
            value = rng.getrandbits(config.state_bits)
            ctx.set(transfer.write, write)
            ctx.set(transfer.value, value)
            ctx.set(transfer.group, group)
            ctx.set(transfer.lane, lane)
            comes = before if late else write
            assert ctx.get(element.write_state) == bool(comes)
            if comes:
                assert ctx.get(element.data) % (1 << config.state_bits) == value
            if before:  # its place comes a cycle later than its strobe
                assert (ctx.get(element.index), ctx.get(element.lane)) == (group, lane)
            assert not ctx.get(element.write_drive) and not ctx.get(element.write_table)
            before = write
            await ctx.tick()

    run(config, bench)
