"""CommandUnit against a naive core: memories in a dictionary, programs that the test plays."""

import random
import zlib
from collections import deque
from functools import partial

import numpy as np
import pytest

from relaxon_hdl.bus import Task
from relaxon_hdl.command import CommandUnit
from relaxon_isa.config import ArrayConfig
from relaxon_isa.link import BoardError, Command, Record
from relaxon_isa.memory import INFO_BYTES, Register, Space, element_bytes
from relaxon_isa.presets import preset
from relaxon_sim.golden.order import records_at
from support.pysim import simulate

INFO = bytes(range(1, 256)) * 3
LANED = (Space.STATE, Space.DRIVE)


def write(space, index, lane, count, elements=b"") -> bytes:
    return bytes([Command.WRITE, space, *index.to_bytes(2, "little"), lane]) + (
        count.to_bytes(2, "little") + elements
    )


def read(space, index, lane, count) -> bytes:
    return bytes([Command.READ]) + write(space, index, lane, count)[1:]


def run(row, flags=0) -> bytes:
    return bytes([Command.RUN, *row.to_bytes(2, "little"), flags])


def sample(data: bytes) -> bytes:
    return bytes([Command.SAMPLE, *len(data).to_bytes(2, "little")]) + data


def runs(data: bytes) -> bytes:
    return bytes([Command.RUNS, *len(data).to_bytes(2, "little")]) + data


def record(tag, data: bytes = b"") -> bytes:
    return bytes([tag, *len(data).to_bytes(2, "little")]) + data


DONE = record(Record.DONE)


def error(code: BoardError) -> bytes:
    return record(Record.ERROR, bytes([code]))


class Bench:
    """A CommandUnit between the test's byte streams and a core in Python."""

    def __init__(self, config: ArrayConfig, seed: int = 0, rate: float = 1.0):
        print(f"seed {seed}")
        self.config = config
        self.rng = random.Random(seed)
        self.dut = CommandUnit(config, INFO)
        self.rate = rate  # chance a cycle of a byte in, of a byte out, of an answer of the core
        self.host = deque()
        self.rest = False  # the link gives a byte at most every other cycle, and it stays
        self.crc = 0  # of what `sealed` has seen
        self.out = bytearray()
        self.memory = {}  # (space, index, lane): element as it travels
        self.writes = []  # in the order that they came
        self.emit = deque()
        self.samples = bytearray()
        self.runs = []
        self.running = self.waiting = self.done = self.emitting = False
        self.reset = False
        self.aborts = 0
        self.refuse_memory = self.refuse_run = False
        self.ticks = None
        self.inputs = {}
        self.tasks = []
        self.stored = bytearray()
        self.answers = deque()
        self.indices = []
        self.refuses = False

    def size(self, space: int) -> int:
        return element_bytes(self.config, Space(min(space, Space.INFO)))

    async def cycle(self, ctx):
        dut, core = self.dut, self.dut.core

        def chance():
            return self.rng.random() < self.rate

        def put(signal, value):
            if self.inputs.get(id(signal)) != value:  # to set a signal costs time
                self.inputs[id(signal)] = value
                ctx.set(signal, value)

        busy = self.running and not self.waiting
        give = bool(self.host) and not self.rest and chance()
        emit = bool(self.emit) and chance()
        take, take_sample, answer = chance(), self.waiting and chance(), chance()
        put(dut.link.from_host.valid, give)
        if not self.rest:
            put(dut.link.from_host.payload, self.host[0] if give else 0)
        put(dut.link.to_host.ready, take)
        put(dut.link.reset, self.reset)
        put(core.running, self.running)
        put(core.waiting, self.waiting)
        put(core.done, self.done)
        put(core.sample.ready, take_sample)
        put(core.emit.valid, emit)
        put(core.emit.payload, self.emit[0] if emit else 0)
        put(core.run.ready, not self.running and not self.refuse_run and answer)
        put(core.memory.ready, 0)
        if self.config.sample_buffer:
            put(core.emitting, self.emitting)
            busy = busy and not ctx.get(core.memory.early)
        if answer and not busy and not self.refuse_memory and ctx.get(core.memory.valid):
            key = tuple(
                ctx.get(signal)
                for signal in (core.memory.space, core.memory.index, core.memory.lane)
            )
            size = self.size(key[0])
            if ctx.get(core.memory.write):
                data = ctx.get(core.memory.wdata).to_bytes(16, "little")[:size]
                self.memory[key] = data
                self.writes.append((key, data))
            else:
                # Sign-extended, as the seam has it; the unit sends no more than the element.
                value = int.from_bytes(self.memory.get(key, bytes(size)), "little", signed=True)
                put(core.memory.rdata, value & ((1 << len(core.memory.rdata)) - 1))
            put(core.memory.ready, 1)
        if self.config.sample_memory:
            take_task, take_store, take_index = (chance() for _ in range(3))
            give_answer = bool(self.answers) and chance()
            put(core.task.ready, take_task)
            put(core.store.ready, take_store)
            put(core.index.ready, take_index)
            put(core.refuses, self.refuses)
            put(core.answer.valid, give_answer)
            put(core.answer.payload, self.answers[0] if give_answer else 0)
            if take_task and ctx.get(core.task.valid):
                assert not busy
                asked = ctx.get(core.task.payload)
                self.tasks.append((asked.kind, asked.address, asked.length))
            if take_store and ctx.get(core.store.valid):
                self.stored.append(ctx.get(core.store.payload))
            if take_index and ctx.get(core.index.valid):
                self.indices.append(ctx.get(core.index.payload))
            if give_answer and ctx.get(core.answer.ready):
                self.answers.popleft()
        if self.ticks is None:
            self.ticks = aiter(
                ctx.tick().sample(
                    dut.link.from_host.ready,
                    dut.link.to_host.valid,
                    dut.link.to_host.payload,
                    core.emit.ready,
                    core.sample.valid,
                    core.sample.payload,
                    core.run.valid,
                    core.run.payload.row,
                    core.run.payload.count,
                    core.run.ready,
                    core.abort,
                )
            )
        (
            _,
            _,
            taken,
            out,
            byte,
            emitted,
            sampled,
            sample_byte,
            asked,
            row,
            count,
            ready,
            abort,
        ) = await anext(self.ticks)
        self.done = self.reset = False
        self.rest = bool(give and taken)
        self.aborts += abort
        if give and taken:
            self.host.popleft()
        if out and take:
            self.out.append(byte)
        if emit and emitted:
            self.emit.popleft()
        if sampled and take_sample:
            self.samples.append(sample_byte)
        if asked and ready:
            assert not self.running
            self.runs.append((row, count))
            self.running = True

    async def go(self, ctx, cycles: int):
        for _ in range(cycles):
            await self.cycle(ctx)

    async def until(self, ctx, condition, limit: int = 20_000):
        for _ in range(limit):
            if condition():
                return
            await self.cycle(ctx)
        raise AssertionError("watchdog")

    async def settle(self, ctx):
        """All taken, and the unit says that it is quiet, and is."""
        await self.until(ctx, lambda: not self.host and not self.emit)
        await self.go(ctx, 2)
        await self.until(ctx, lambda: ctx.get(self.dut.quiet))
        before = len(self.out), len(self.writes)
        await self.go(ctx, 20)
        assert before == (len(self.out), len(self.writes))

    def sealed(self, commands: bytes, error: int = 0) -> bytes:
        """The commands and a CHECKSUM of all of them since the last reset, but for ``error``."""
        commands += bytes([Command.CHECKSUM])
        crc = zlib.crc32(commands, self.crc) ^ error
        commands += crc.to_bytes(4, "little")
        self.crc = zlib.crc32(commands, self.crc)
        return commands

    async def expect(self, ctx, commands: bytes, records: bytes):
        self.host.extend(commands)
        await self.settle(ctx)
        assert bytes(self.out) == records
        self.out.clear()

    async def abort(self, ctx):
        self.reset = True
        self.crc = 0
        await self.cycle(ctx)

    async def halt(self, ctx):
        self.running = self.waiting = False
        self.done = True
        await self.cycle(ctx)

    def run_of(self, space: int, index: int, lane: int, count: int):
        """The addresses of a run of elements, in order."""
        for _ in range(count):
            yield (space, index, lane)
            if space in LANED and lane < self.config.p - 1:
                lane += 1
            else:
                index, lane = index + 1, 0

    def play(self, scenario):
        simulate(self.dut, partial(scenario, bench=self))


SMALL = preset("up5k")
FAST = preset("fast4").replace(sample_memory=False)
CONFIGS = [SMALL, preset("verify24"), SMALL.replace(p=1), preset("default")]


def with_core(config=SMALL, **options):
    """The test is an ``async def (ctx, bench)``."""

    def decorate(scenario):
        def test():
            Bench(config, **options).play(scenario)

        test.__name__ = scenario.__name__
        test.__doc__ = scenario.__doc__
        return test

    return decorate


# WRITE and READ --------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [1.0, 0.5])
@pytest.mark.parametrize("config", CONFIGS, ids=["up5k", "verify24", "one", "default"])
def test_write_and_read_every_space(config, rate):
    bench = Bench(config, seed=61, rate=rate)
    rng = bench.rng

    async def scenario(ctx, bench):
        for space in Space:
            if space == Space.INFO:
                continue
            for _ in range(3):
                count = rng.randint(1, 9)
                index = rng.randrange(200)
                lane = rng.randrange(config.p) if space in LANED else 0
                size = bench.size(space)
                data = [
                    rng.choice([bytes(size), b"\xff" * size, rng.randbytes(size)])
                    for _ in range(count)
                ]
                bench.writes.clear()
                await bench.expect(ctx, write(space, index, lane, count, b"".join(data)), b"")
                keys = list(bench.run_of(space, index, lane, count))
                assert bench.writes == list(zip(keys, data, strict=True))
                answer = record(Record.DATA, b"".join(data))
                await bench.expect(ctx, read(space, index, lane, count), answer)

    bench.play(scenario)


@with_core(seed=62, rate=0.8)
async def test_long_runs_and_both_bytes_of_the_lengths(ctx, bench):
    count = 300
    data = bench.rng.randbytes(2 * count)
    await bench.expect(ctx, write(Space.STATE, 0x0155, 1, count, data), b"")
    keys = list(bench.run_of(Space.STATE, 0x0155, 1, count))
    assert [key for key, _ in bench.writes] == keys
    await bench.expect(ctx, read(Space.STATE, 0x0155, 1, count), record(Record.DATA, data))


@with_core()
async def test_a_write_of_nothing_is_nothing(ctx, bench):
    await bench.expect(ctx, write(Space.STATE, 0, 0, 0) + read(Space.INFO, 0, 0, 1), b"\x81\1\0\1")
    assert not bench.writes
    # The contract has no READ of nothing; it hangs nothing either.
    await bench.expect(
        ctx, read(Space.STATE, 0, 0, 0) + read(Space.INFO, 1, 0, 1), b"\x81\0\0" + b"\x81\1\0\2"
    )


@with_core(seed=63, rate=0.9)
async def test_identity(ctx, bench):
    whole = INFO.ljust(INFO_BYTES, b"\0")
    for space in (Space.INFO, 6, 7):
        await bench.expect(ctx, read(space, 300, 0, 20), record(Record.DATA, whole[300:320]))
    await bench.expect(ctx, write(Space.INFO, 300, 0, 3, b"xyz"), b"")  # read only
    await bench.expect(ctx, read(Space.INFO, 0, 0, INFO_BYTES), record(Record.DATA, whole))
    assert not bench.memory


@with_core()
async def test_read_and_write_wait_for_the_core(ctx, bench):
    """While a program runs no request is made good, and no record begun; in WAIT both are."""
    await bench.expect(ctx, write(Space.STATE, 0, 0, 1, b"ab") + run(0), b"")
    for commands in (
        read(Space.STATE, 0, 0, 1),
        read(Space.INFO, 0, 0, 1),
        write(Space.STATE, 0, 1, 1, b"cd") + read(Space.STATE, 0, 0, 1),
    ):
        bench.host.extend(commands)
        await bench.go(ctx, 100)
        bench.emit.extend(record(Record.EMIT, b"whole"))
        await bench.go(ctx, 100)
        assert bench.out == record(Record.EMIT, b"whole")
        assert not ctx.get(bench.dut.quiet)
        assert len(bench.writes) == 1
        bench.out.clear()
        bench.waiting = True
        answer = INFO[:1] if commands[1] == Space.INFO else b"ab"
        await bench.expect(ctx, b"", record(Record.DATA, answer))
        bench.waiting = False
    assert bench.memory[Space.STATE, 0, 1] == b"cd"


@with_core(FAST)
async def test_some_reads_do_not_wait(ctx, bench):
    """One of the two counters is read while a program runs, between its EMITs' records; no other
    read is, and no write."""
    values = {Register.SAMPLES: b"\x01\x02\x03\x04", Register.WRONG: b"abcd"}
    for register, value in values.items():
        bench.memory[Space.REGISTER, register, 0] = value
    await bench.expect(ctx, run(0), b"")
    bench.emitting = True
    for register, value in values.items():
        emit = record(Record.EMIT, b"whole")
        bench.emitting = True
        bench.emit.extend(emit[:5])
        bench.host.extend(read(Space.REGISTER, register, 0, 1))
        await bench.go(ctx, 100)
        assert bench.out == emit[:5]
        bench.emit.extend(emit[5:])
        bench.emitting = False
        await bench.expect(ctx, b"", emit + record(Record.DATA, value))
    others = (
        read(Space.REGISTER, Register.SWEEPS, 0, 1),
        read(Space.REGISTER, Register.SAMPLES, 0, 2),
        read(Space.STATE, Register.SAMPLES, 0, 1),
        write(Space.REGISTER, Register.SAMPLES, 0, 1, bytes(4)),
    )
    for commands in others:
        bench.host.extend(commands)
        await bench.go(ctx, 200)
        assert not bench.out and not bench.writes
        bench.waiting = True
        await bench.until(ctx, lambda: bench.out or bench.writes)
        await bench.settle(ctx)
        bench.waiting = False
        bench.out.clear()


@with_core()
async def test_slow_core_holds_the_request(ctx, bench):
    """Valid and request stay until ready."""
    memory = bench.dut.core.memory
    bench.refuse_memory = True
    bench.host.extend(write(Space.DRIVE, 7, 1, 2, bytes(range(12))))
    await bench.go(ctx, 60)
    for _ in range(50):
        assert ctx.get(memory.valid) and ctx.get(memory.write)
        assert (ctx.get(memory.index), ctx.get(memory.lane)) == (7, 1)
        await bench.cycle(ctx)
    assert not bench.writes
    bench.refuse_memory = False
    await bench.settle(ctx)
    assert bench.writes == [
        ((Space.DRIVE, 7, 1), bytes(range(6))),
        ((Space.DRIVE, 8, 0), bytes(range(6, 12))),
    ]


# RUN, SAMPLE, EMIT, DONE ------------------------------------------------------------------------


@with_core(seed=64, rate=0.7)
async def test_run_waits_for_the_program_before_and_its_done(ctx, bench):
    bench.host.extend(run(3) + run(0xA5, 1) + run(255, 0xFE))
    for place, expected in enumerate([(3, 0), (0xA5, 1), (255, 0)]):
        await bench.until(ctx, lambda place=place: len(bench.runs) == place + 1)
        assert bench.runs[-1] == expected
        await bench.go(ctx, 50)
        assert len(bench.runs) == place + 1
        assert bench.out == DONE * place
        await bench.halt(ctx)
    await bench.settle(ctx)
    assert bench.out == DONE * 3


@with_core()
async def test_done_leaves_before_the_next_emit(ctx, bench):
    """Though the line is slow and the next program fast."""
    bench.host.extend(run(1) + run(2))
    await bench.until(ctx, lambda: len(bench.runs) == 1)
    bench.emit.extend(record(Record.EMIT, b"first"))
    bench.rate = 0.1
    await bench.until(ctx, lambda: not bench.emit)
    await bench.halt(ctx)
    await bench.until(ctx, lambda: len(bench.runs) == 2)
    bench.emit.extend(record(Record.EMIT, b"second"))
    await bench.until(ctx, lambda: not bench.emit)
    await bench.halt(ctx)
    await bench.settle(ctx)
    first, second = (record(Record.EMIT, data) for data in (b"first", b"second"))
    assert bench.out == first + DONE + second + DONE


@with_core(seed=65, rate=0.6)
async def test_done_comes_after_emit_bytes_still_offered(ctx, bench):
    bench.host.extend(run(1))
    await bench.until(ctx, lambda: bench.running)
    bench.rate = 1.0
    bench.emit.extend(record(Record.EMIT, bytes(20)))
    await bench.halt(ctx)
    await bench.settle(ctx)
    assert bench.out == record(Record.EMIT, bytes(20)) + DONE


@with_core(seed=66, rate=0.7)
async def test_sample_bytes_go_as_they_are_taken(ctx, bench):
    data = bench.rng.randbytes(300)
    bench.host.extend(run(0) + sample(data) + sample(b"") + sample(b"x") + run(1))
    await bench.until(ctx, lambda: bench.running)
    await bench.go(ctx, 100)
    assert not bench.samples
    while len(bench.samples) < 301:
        bench.waiting = bench.rng.random() < 0.5
        await bench.cycle(ctx)
    assert bench.samples == data + b"x"
    bench.waiting = False
    await bench.halt(ctx)
    await bench.until(ctx, lambda: bench.runs == [(0, 0), (1, 0)])
    assert bench.out == DONE


@with_core(seed=67, rate=0.7)
async def test_sample_without_a_program(ctx, bench):
    """Bytes nobody takes are answered once a command, also where a program ended within it."""
    lost = error(BoardError.SAMPLE_WITHOUT_PROGRAM)
    await bench.expect(ctx, sample(b"abc") + sample(b"") + sample(bytes(300)), lost * 2)
    assert not bench.samples
    bench.host.extend(run(0) + sample(b"0123456789") + read(Space.INFO, 0, 0, 1))
    await bench.until(ctx, lambda: bench.running)
    bench.waiting = True
    await bench.until(ctx, lambda: len(bench.samples) == 4)
    bench.waiting = False
    await bench.halt(ctx)
    await bench.expect(ctx, b"", DONE + lost + record(Record.DATA, INFO[:1]))
    assert bench.samples == b"0123"


@with_core()
async def test_read_between_the_samples_of_a_program(ctx, bench):
    bench.memory[Space.STATE, 9, 0] = b"yz"
    bench.host.extend(run(0) + sample(b"a") + read(Space.STATE, 9, 0, 1) + sample(b"b"))
    await bench.until(ctx, lambda: bench.running)
    bench.waiting = True
    await bench.until(ctx, lambda: bench.samples == b"a")
    bench.waiting = False
    bench.emit.extend(record(Record.EMIT, b"between"))
    await bench.go(ctx, 100)
    bench.waiting = True
    await bench.until(ctx, lambda: bench.samples == b"ab")
    assert bench.out == record(Record.EMIT, b"between") + record(Record.DATA, b"yz")


# Zero runs --------------------------------------------------------------------------------------

RUNS = preset("verify24")


def pairs(rng: random.Random, count: int) -> tuple[bytes, bytes]:
    """Zero runs, and what they stand for."""
    wire, plain = bytearray(), bytearray()
    for _ in range(count):
        zeros, literals = (rng.choice([0, 1, 2, 20, 255]) for _ in range(2))
        data = rng.randbytes(literals)
        wire += bytes([zeros, literals]) + data
        plain += bytes(zeros) + data
    return bytes(wire), bytes(plain)


@with_core(RUNS, seed=75, rate=0.8)
async def test_zero_runs(ctx, bench):
    """Whole pairs, and pairs cut short anywhere: what the program gets is the same bytes."""
    wire, plain = pairs(bench.rng, 12)
    cut = bytes([3, 2, 7, 8, 5, 4, 9])
    parts = [(cut[:3], b"\0\0\0\x07"), (cut[:5], b"\0\0\0\x07\x08" + bytes(5))]
    parts += [(cut[:1], bytes(3)), (cut[:6], b"\0\0\0\x07\x08" + bytes(5)), (b"", b"")]
    parts += [(cut, b"\0\0\0\x07\x08" + bytes(5) + b"\x09")]
    bench.host.extend(bench.sealed(run(0) + runs(wire) + sample(b"plain")))
    for short, _ in parts:
        bench.host.extend(bench.sealed(runs(short)))
    bench.host.extend(sample(b"end") + run(1))
    expected = plain + b"plain" + b"".join(data for _, data in parts) + b"end"
    await bench.until(ctx, lambda: bench.running)
    await bench.go(ctx, 100)
    assert not bench.samples
    while len(bench.samples) < len(expected):
        bench.waiting = bench.rng.random() < 0.7
        await bench.cycle(ctx)
    assert bench.samples == expected
    bench.waiting = False
    await bench.halt(ctx)
    await bench.until(ctx, lambda: bench.runs == [(0, 0), (1, 0)])
    assert bench.out == DONE


@with_core(RUNS, seed=76, rate=0.8)
async def test_zero_runs_without_a_program(ctx, bench):
    """One ERROR a command that stood for bytes nobody took, zeros or others; none for a pair's
    numbers."""
    lost = error(BoardError.SAMPLE_WITHOUT_PROGRAM)
    await bench.expect(ctx, runs(b"\x05\x02ab\x03") + runs(b"\0\0\0\0") + runs(b""), lost)
    await bench.expect(ctx, runs(b"\x09") + runs(b"\0\x01x") + runs(b"\0\x05"), lost * 2)
    bench.host.extend(run(0) + runs(b"\x08\x03abc") + read(Space.INFO, 0, 0, 1))
    await bench.until(ctx, lambda: bench.running)
    bench.waiting = True
    await bench.until(ctx, lambda: len(bench.samples) == 4)
    bench.waiting = False
    await bench.halt(ctx)
    await bench.expect(ctx, b"", DONE + lost + record(Record.DATA, INFO[:1]))
    assert bench.samples == bytes(4)


@with_core(RUNS)
async def test_a_program_does_not_wait_while_zeros_come(ctx, bench):
    bench.host.extend(run(0) + runs(b"\x0a"))
    await bench.until(ctx, lambda: bench.running and not bench.host)
    bench.waiting = True
    for _ in range(10):
        await bench.until(ctx, lambda: bool(bench.samples))
        assert bench.samples.pop() == 0
        if ctx.get(bench.dut.core.sample.valid):
            assert not ctx.get(bench.dut.link.waiting)
    await bench.go(ctx, 5)
    assert ctx.get(bench.dut.link.waiting)


# CHECKSUM ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [SMALL, RUNS], ids=["up5k", "verify24"])
def test_checksum(config):
    """Nothing is said of a right one, wherever it comes; a wrong one ends the stream."""
    bench = Bench(config, seed=77)
    rng = bench.rng

    async def scenario(ctx, bench):
        for error_at in (0, 1, 15, 16, 31, 12):
            bench.rate = rng.choice([1.0, 0.6])
            for _ in range(3):
                data = rng.randbytes(element_bytes(config, Space.STATE))
                place = rng.randrange(100)
                commands = write(Space.STATE, place, 0, 1, data) + sample(rng.randbytes(3))
                commands = bench.sealed(b"") + bench.sealed(commands)
                asked = bench.sealed(read(Space.STATE, place, 0, 1))
                lost = error(BoardError.SAMPLE_WITHOUT_PROGRAM)
                await bench.expect(ctx, commands + asked, lost + record(Record.DATA, data))
            wrong = bench.sealed(b"", 1 << error_at) + read(Space.INFO, 0, 0, 1)
            await bench.expect(ctx, wrong, error(BoardError.WRONG_CHECKSUM))
            await bench.expect(ctx, bench.sealed(read(Space.INFO, 0, 0, 1)), b"")
            await bench.abort(ctx)
            await bench.expect(ctx, b"\x77", error(BoardError.UNKNOWN_COMMAND))
            await bench.abort(ctx)

    bench.play(scenario)


@with_core(seed=78, rate=0.8)
async def test_checksum_waits_for_no_program(ctx, bench):
    """Right in the midst of a run; the ERROR of a wrong one waits until it is stalled."""
    bench.host.extend(bench.sealed(run(0)) + bench.sealed(sample(b"ab")))
    await bench.until(ctx, lambda: bench.running)
    bench.waiting = True
    await bench.until(ctx, lambda: bench.samples == b"ab")
    bench.waiting = False
    bench.host.extend(bench.sealed(b"", 0x100))
    await bench.go(ctx, 100)
    assert not bench.host and not bench.out
    bench.waiting = True
    await bench.expect(ctx, b"", error(BoardError.WRONG_CHECKSUM))


# The sample memory ------------------------------------------------------------------------------


def span(command: Command, address: int, length: int, data: bytes = b"") -> bytes:
    size = 4 if command is Command.CHECK else 2
    return bytes([command]) + address.to_bytes(4, "little") + length.to_bytes(size, "little") + data


def indices(*numbers: int) -> bytes:
    listed = b"".join(number.to_bytes(3, "little") for number in numbers)
    return bytes([Command.INDICES]) + len(numbers).to_bytes(2, "little") + listed


def order(key: int, records: int, first: int, count: int) -> bytes:
    parts = ((key, 4), (records, 3), (first, 3), (count, 2))
    return bytes([Command.ORDER]) + b"".join(n.to_bytes(size, "little") for n, size in parts)


@pytest.mark.parametrize("rate", [1.0, 0.6])
def test_sample_memory_is_stored_checked_and_recalled(rate):
    """Not while a program runs, but while one is stalled in WAIT."""
    bench = Bench(FAST.replace(sample_memory=True), seed=68, rate=rate)

    async def scenario(ctx, bench):
        data, recalled = bench.rng.randbytes(300), bench.rng.randbytes(259)
        commands = [
            (span(Command.STORE, 0x1234_5678, 300, data), (Task.STORE, 0x1234_5678, 300), b""),
            (span(Command.STORE, 8, 0), (Task.STORE, 8, 0), b""),
            (span(Command.CHECK, 1024, 1 << 24), (Task.CHECK, 1024, 1 << 24), b"crc!"),
            (span(Command.RECALL, 2, 259), (Task.RECALL, 2, 259), recalled),
            (span(Command.RECALL, 3, 1), (Task.RECALL, 3, 1), b"r"),
        ]
        for running in (False, True):
            for command, task, answer in commands:
                bench.stored.clear()
                bench.tasks.clear()
                bench.answers.extend(answer)
                if running:
                    bench.waiting = False
                    bench.host.extend(command)
                    await bench.go(ctx, 60)
                    assert not bench.tasks and not bench.out
                    bench.waiting, command = True, b""
                await bench.expect(ctx, command, record(Record.DATA, answer) if answer else b"")
                assert bench.tasks == [task]
                assert bench.stored == (data if task[2] == 300 else b"")
                assert not bench.answers
            bench.waiting = False
            if not running:
                await bench.expect(ctx, run(0), b"")

    bench.play(scenario)


@with_core(FAST.replace(sample_memory=True), seed=69, rate=0.7)
async def test_indices_go_to_a_program_that_takes_records(ctx, bench):
    lost = error(BoardError.SAMPLE_WITHOUT_PROGRAM)
    await bench.expect(ctx, indices(1, 2) + indices(), lost)
    await bench.expect(ctx, run(0) + indices(0xABCDEF, 0, 7), b"")
    assert bench.indices == [0xABCDEF, 0, 7]
    bench.refuses = bench.waiting = True
    await bench.expect(ctx, indices(3, 4), lost)
    await bench.expect(
        ctx, sample(b"ab") + read(Space.INFO, 0, 0, 1), record(Record.DATA, INFO[:1])
    )
    assert bench.samples == b"ab" and len(bench.indices) == 3


@with_core(FAST.replace(sample_memory=True), seed=70, rate=0.7)
async def test_an_order_goes_to_a_program_that_takes_records(ctx, bench):
    lost = error(BoardError.SAMPLE_WITHOUT_PROGRAM)
    rng = bench.rng
    await bench.expect(ctx, order(5, 9, 0, 300), lost)
    await bench.expect(ctx, run(0), b"")
    wanted = []
    for records in (1, 9, 300, 1 << 23):
        key, first, count = rng.getrandbits(32), rng.randrange(records), rng.randint(1, 9)
        places = np.arange(first, first + count)
        wanted += records_at(key, records, places).tolist()
        await bench.expect(ctx, order(key, records, first, count) + order(3, 4, 2, 0), b"")
        assert bench.indices == wanted
    await bench.expect(ctx, order(1, 300, (1 << 24) - 2, 4), b"")  # places come round to 0
    wanted = [(1 << 24) - 2, (1 << 24) - 1, *records_at(1, 300, np.arange(2)).tolist()]
    assert bench.indices[-4:] == wanted
    bench.refuses = bench.waiting = True
    await bench.expect(ctx, order(1, 9, 0, 5), lost)
    bench.refuses = False
    await bench.expect(
        ctx, sample(b"ab") + read(Space.INFO, 0, 0, 1), record(Record.DATA, INFO[:1])
    )


@with_core(FAST.replace(sample_memory=True), seed=71)
async def test_a_program_does_not_wait_while_an_order_comes(ctx, bench):
    """Its bytes have been taken, but it has records to come."""
    waiting = bench.dut.link.waiting
    await bench.expect(ctx, run(0), b"")
    bench.waiting = True
    await bench.go(ctx, 5)
    assert ctx.get(waiting)
    bench.host.extend(order(1, 60_000, 17, 8))
    await bench.until(ctx, lambda: not bench.host)
    while len(bench.indices) < 8:
        assert not ctx.get(waiting)
        await bench.cycle(ctx)
    await bench.expect(ctx, read(Space.INFO, 0, 0, 1), record(Record.DATA, INFO[:1]))
    assert ctx.get(waiting)


# Errors and RESET --------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 6, 7, 8, 9, 0x0A, 0x0B, 0x0D, 0x41, 0x45, 0x81, 0xFF])
def test_unknown_command(code):
    """One ERROR, then nothing is heard until RESET."""
    bench = Bench(SMALL)

    async def scenario(ctx, bench):
        unknown = error(BoardError.UNKNOWN_COMMAND)
        await bench.expect(ctx, bytes([code]) + read(Space.INFO, 0, 0, 1) + b"\0\5", unknown)
        await bench.expect(ctx, run(0) + read(Space.INFO, 0, 0, 1), b"")
        assert not bench.runs
        await bench.abort(ctx)
        assert bench.aborts == 1
        await bench.expect(ctx, read(Space.INFO, 0, 0, 1), record(Record.DATA, INFO[:1]))

    bench.play(scenario)


@with_core()
async def test_error_waits_for_emit(ctx, bench):
    bench.host.extend(run(0) + b"\x00")
    await bench.until(ctx, lambda: bench.running and not bench.host)
    emit = record(Record.EMIT, bytes(range(30)))
    bench.emit.extend(emit[:15])
    await bench.go(ctx, 100)
    bench.emit.extend(emit[15:])
    await bench.go(ctx, 100)
    assert bench.out == emit
    await bench.halt(ctx)
    await bench.expect(ctx, b"", emit + DONE + error(BoardError.UNKNOWN_COMMAND))


COMMANDS = {
    "write": write(Space.DRIVE, 3, 1, 4, bytes(range(24))),
    "read": read(Space.DRIVE, 3, 1, 4),
    "run": run(5, 1),
    "sample": sample(bytes(20)),
    "unknown": b"\x77junk",
    "info": read(Space.INFO, 0, 0, 12),
    "checksum": b"\5wrong",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_reset_at_any_time_of_a_command(name):
    """RESET forgets a command that is in any state; what comes after it is executed."""
    bench = Bench(SMALL, seed=68, rate=0.8)

    async def scenario(ctx, bench):
        for delay in range(0, 64):
            bench.refuse_memory = bench.rng.random() < 0.2
            bench.refuse_run = bench.rng.random() < 0.5
            bench.host.extend(COMMANDS[name])
            await bench.go(ctx, delay)
            bench.host.clear()
            await bench.abort(ctx)
            assert bench.aborts == delay + 1
            bench.refuse_memory = bench.refuse_run = False
            bench.out.clear()
            # A program that was running drains: what it still says is dropped.
            if bench.running:
                bench.emit.extend(b"\x82\x05\x00rest")
                await bench.until(ctx, lambda: not bench.emit)
                bench.done = bench.rng.random() < 0.5
                bench.running = False
                await bench.go(ctx, 3)
            bench.writes.clear()
            data = bench.rng.randbytes(6)
            await bench.expect(
                ctx,
                write(Space.DRIVE, delay, 0, 1, data) + read(Space.DRIVE, delay, 0, 1),
                record(Record.DATA, data),
            )
            assert bench.writes == [((Space.DRIVE, delay, 0), data)]

    bench.play(scenario)


@with_core()
async def test_link_pulses_pass(ctx, bench):
    dut = bench.dut
    for error_pulse, drop in ((0, 1), (1, 0), (1, 1), (0, 0)):
        ctx.set(dut.link.link_error, error_pulse)
        ctx.set(dut.link.link_drop, drop)
        assert (ctx.get(dut.core.link_error), ctx.get(dut.core.link_drop)) == (error_pulse, drop)


# All together -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [70, 71])
def test_random_commands(seed):
    """Streams of commands; the test's own interpreter says which records come, in which order."""
    config = preset("verify24")
    bench = Bench(config, seed=seed, rate=0.8)
    rng = bench.rng

    async def scenario(ctx, bench):
        for _ in range(12):
            commands = bytearray()
            records = bytearray()
            shadow = dict(bench.memory)
            writes = []
            for _ in range(rng.randint(1, 5)):
                space = rng.choice(list(Space)[:5])
                index, count = rng.randrange(64), rng.randint(1, 6)
                lane = rng.randrange(config.p) if space in LANED else 0
                keys = list(bench.run_of(space, index, lane, count))
                kind = rng.choice(["write", "read", "sample"])
                if kind == "write":
                    data = [rng.randbytes(bench.size(space)) for _ in keys]
                    commands += write(space, index, lane, count, b"".join(data))
                    shadow.update(zip(keys, data, strict=True))
                    writes += zip(keys, data, strict=True)
                elif kind == "read":
                    commands += read(space, index, lane, count)
                    empty = bytes(bench.size(space))
                    records += record(Record.DATA, b"".join(shadow.get(k, empty) for k in keys))
                else:
                    commands += sample(rng.randbytes(count))
                    records += error(BoardError.SAMPLE_WITHOUT_PROGRAM)
            bench.writes.clear()
            await bench.expect(ctx, bytes(commands), bytes(records))
            assert bench.writes == writes
            assert bench.memory == shadow

    bench.play(scenario)
