"""A core that takes samples ahead: targets, answers, stalls, counters that are read meanwhile."""

import cocotb
import numpy as np
import pytest
from cocotb.triggers import FallingEdge, ReadOnly

from relaxon_hdl.core import Core
from relaxon_isa import (
    MEMORY_HEADER_BYTES,
    Builder,
    Emit,
    EmitKind,
    Halt,
    Learn,
    LearnLevel,
    Loop,
    Mac,
    MacLevel,
    Next,
    Pack,
    Register,
    Space,
    Wait,
    preset,
    record_stride,
)
from relaxon_sim.cosim import bench, simulate
from relaxon_sim.golden.device import GoldenDevice

CONFIG = preset("fast4").replace(
    p=2, weight_depth=16, dither_bits=0, integral_shift=0, sample_memory=False
)
MEMORY = CONFIG.replace(sample_memory=True)
CYCLES = (
    *("MAC_CYCLES", "LEARN_CYCLES", "CONTROL_CYCLES", "WAIT_CYCLES", "EMIT_CYCLES"),
    *("WAIT_STALLS", "EMIT_STALLS"),
)
SAMPLES = 60
OUTPUTS = 5
TAKE = Wait(
    dst=8, count=7, pack=Pack.B4, ahead=True, tick=True, bias=True, outputs=OUTPUTS, low=-3, high=9
)


class Memory:
    """A memory of words at a core's port, as slow as the SDRAM at 75 MHz: ROW_CYCLES to open a row,
    one to cross into the next, a refresh every REFRESH_CYCLES at most once per request."""

    ROW_CYCLES = 6
    REFRESH_CYCLES, REFRESHES = 585, 12
    ROW, WORDS = 512, 1 << 22

    def __init__(self, dut):
        self.dut, self.words, self.now = dut, {}, 0
        self.refreshed = 0
        dut.chip__alive.value = 0
        dut.chip__request__ready.value = dut.chip__i__ready.value = 0
        dut.chip__word__valid.value = 0
        cocotb.start_soon(self.run())

    async def cycle(self, word: int | None = None) -> None:
        await FallingEdge(self.dut.clk)
        self.now += 1
        self.dut.chip__word__valid.value = word is not None
        if word is not None:
            self.dut.chip__word__payload.value = word

    async def run(self) -> None:
        dut = self.dut
        for _ in range(20):
            await self.cycle()
        dut.chip__alive.value = 1
        while True:
            await self.cycle()
            dut.chip__request__ready.value = 1
            await ReadOnly()
            if not int(dut.chip__request__valid.value):
                continue
            asked = int(dut.chip__request__payload.value)
            address, count, write = asked & 0xFFFFFF, asked >> 24 & 0x7FF, asked >> 35
            await self.cycle()
            dut.chip__request__ready.value = 0
            waits = self.ROW_CYCLES
            if self.now - self.refreshed > self.REFRESH_CYCLES:
                self.refreshed, waits = self.now, waits + self.REFRESHES
            for _ in range(waits):
                await self.cycle()
            for place in range(address, address + count):
                if place % self.ROW == 0:
                    await self.cycle()
                if write:
                    dut.chip__i__ready.value = 1
                    await ReadOnly()
                    assert int(dut.chip__i__valid.value)
                    self.words[place % self.WORDS] = int(dut.chip__i__payload.value)
                    await self.cycle()
                    dut.chip__i__ready.value = 0
                else:
                    await self.cycle(self.words.get(place % self.WORDS, 0))


async def give(dut, name: str, values) -> None:
    """Offers values on a stream of the core, one after the other."""
    valid, payload, ready = (
        getattr(dut, f"bus__{name}__{part}") for part in ("valid", "payload", "ready")
    )
    for value in values:
        await FallingEdge(dut.clk)
        payload.value, valid.value = value, 1
        while True:
            await ReadOnly()
            if int(ready.value):
                break
            await FallingEdge(dut.clk)
    await FallingEdge(dut.clk)
    valid.value = 0


def test_records_of_the_memory(seed):
    """A program takes records in any order, and leaves what the golden model leaves, in the same
    cycles; bytes of the line and records follow each other."""
    simulate(Core(MEMORY), __file__, testcase="records", seed=seed)


@cocotb.test()
async def records(dut):
    rng = bench.random_source("records")
    walk = MacLevel(count=4, tile=1, src=1)
    builder = Builder(MEMORY)
    for instruction in (
        Loop(count=SAMPLES),
        TAKE,
        Learn(outer=(LearnLevel(count=4, tile=1, col=1),), row=20, walk=True),
        Mac(inner=(walk,), dst=24, shift=2, walk=True),
        Emit(base=24, count=2),
        Emit(kind=EmitKind.ANSWER, base=24, count=2),
        Next(),
        Halt(),
    ):
        builder.add(instruction)
    rows = builder.build().rows
    stride = record_stride(MEMORY, TAKE)
    data = b"".join(
        rng.randbytes(4) + bytes([rng.randrange(3)]) + bytes(stride - 5) for _ in range(20)
    )
    order = [rng.randrange(20) for _ in range(SAMPLES)]
    fixed = [3 << 12, -5 << 12]

    golden = GoldenDevice(MEMORY)
    golden.load(rows)
    golden.write(Space.STATE, 20 * MEMORY.p, fixed)
    golden.store(MEMORY_HEADER_BYTES, data)
    wanted = golden.run_stored(np.array(order))

    for name in ("task", "store", "index"):
        getattr(dut, f"bus__{name}__valid").value = 0
    dut.bus__answer__ready.value = 0
    core = bench.CoreBench(dut, MEMORY, rng=rng)
    Memory(dut)
    await core.begin()
    task = MEMORY_HEADER_BYTES << 2 | len(data) << 34  # a STORE
    await give(dut, "task", [task])
    await give(dut, "store", data)
    await core.write(Space.PROGRAM, 0, rows)
    await core.write(Space.STATE, 20 * MEMORY.p, fixed)
    core.start()
    await core.pause(50)
    while order:
        some = [order.pop(0) for _ in range(min(len(order), rng.randint(1, 9)))]
        if rng.random() < 0.3:
            core.feed(b"".join(data[k * stride :][:5] for k in some))
            await core.until(lambda: not core.unused, "bytes taken")
        else:
            given = cocotb.start_soon(give(dut, "index", some))
            await core.until(given.done, "indices taken")
    await core.until(lambda: core.done, "HALT")
    assert core.emits() == wanted and len({*wanted}) > SAMPLES // 2
    found, counters = await core.read(Space.REGISTER), golden.counters()
    for register, value in counters.items():
        stalls = register.name in ("WAIT_STALLS", "EMIT_STALLS")
        right = (1 << 23) + 0xFF if register is Register.MEMORY else value  # at every moment
        assert stalls or int(found[register]) == right, register


@pytest.mark.parametrize("prefetch", [False, True])
def test_samples_are_taken_ahead(prefetch, seed):
    """A label of no output is never right; the target's answer is, and that of a fixed plane is
    where the label says so. What is read while the program runs never falls, and delays nothing."""
    config = CONFIG.replace(prefetch=prefetch)
    simulate(
        Core(config), __file__, testcase="samples", parameters={"prefetch": prefetch}, seed=seed
    )


@cocotb.test()
async def samples(dut):
    config = CONFIG.replace(prefetch=bench.parameters()["prefetch"])
    rng = bench.random_source("samples")
    labels = [rng.randrange(OUTPUTS + 2) for _ in range(SAMPLES)]
    builder = Builder(config)
    for instruction in (
        Loop(count=SAMPLES),
        TAKE,
        TAKE,
        Emit(kind=EmitKind.ANSWER, base=8, count=OUTPUTS),
        Emit(kind=EmitKind.ANSWER, base=20, count=OUTPUTS),
        Emit(base=8, count=OUTPUTS),
        Next(),
        Halt(),
    ):
        builder.add(instruction)
    rows = builder.build().rows
    data = [rng.randbytes(4) + bytes([k]) for label in labels for k in (1, label)]
    fixed = [0, 0, 0, 5, 5, 0]

    core = bench.CoreBench(dut, config, rng=rng)
    await core.begin()
    ran = 0

    async def count_cycles():
        nonlocal ran
        while True:
            await FallingEdge(dut.clk)
            await ReadOnly()
            ran += int(dut.bus__running.value)

    cocotb.start_soon(count_cycles())
    await core.write(Space.PROGRAM, 0, rows)
    await core.write(Space.STATE, 20 * config.p, fixed)
    core.start()
    glances = {register: [0] for register in (Register.SAMPLES, Register.WRONG)}
    while data:
        core.idle = rng.choice([0.0, 0.0, 0.5, 0.95])
        core.pressure = rng.choice([0.0, 0.3])
        core.feed(data.pop(0))
        await core.pause(rng.choice([0, 30, 300]))
        register = rng.choice([*glances])
        glances[register].append(await core.glance(register))
        assert glances[register][-1] >= glances[register][-2]
    await core.until(lambda: core.done, "HALT")
    seen = core.emits()

    golden = GoldenDevice(config)
    golden.load(rows)
    golden.write(Space.STATE, 20 * config.p, fixed)
    given = (bytes([0] * 4 + [k]) for label in labels for k in (1, label))
    wanted = [*golden.run(given)]
    assert seen == wanted
    counters = golden.counters()
    found = await core.read(Space.REGISTER)
    for register, value in counters.items():
        if register.name not in ("WAIT_STALLS", "EMIT_STALLS"):
            assert int(found[register]) == value, register
    assert counters[Register.WRONG] == sum(k >= OUTPUTS for k in labels) + sum(
        k != 3 for k in labels
    )
    assert sum(int(found[Register[name]]) for name in CYCLES) == ran
    assert len({*glances[Register.SAMPLES]}) > 10
