"""A core that takes samples ahead: targets, answers, stalls, counters that are read meanwhile."""

import cocotb
import pytest
from cocotb.triggers import FallingEdge, ReadOnly

from relaxon_hdl.core import Core
from relaxon_isa import (
    Builder,
    Emit,
    EmitKind,
    Halt,
    Loop,
    Next,
    Pack,
    Register,
    Space,
    Wait,
    preset,
)
from relaxon_sim.cosim import bench, simulate
from relaxon_sim.golden.device import GoldenDevice

CONFIG = preset("fast4").replace(
    p=2, weight_depth=16, dither_bits=0, integral_shift=0, sample_memory=False
)
CYCLES = (
    *("MAC_CYCLES", "LEARN_CYCLES", "CONTROL_CYCLES", "WAIT_CYCLES", "EMIT_CYCLES"),
    *("WAIT_STALLS", "EMIT_STALLS"),
)
SAMPLES = 60
OUTPUTS = 5
TAKE = Wait(
    dst=8, count=7, pack=Pack.B4, ahead=True, tick=True, bias=True, outputs=OUTPUTS, low=-3, high=9
)


@pytest.mark.parametrize("prefetch", [False, True])
def test_samples_are_taken_ahead(prefetch, seed):
    """A label of no output is never right; the target's answer is, and that of a fixed plane is
    where the label says so. What is read while the program runs never falls, and delays nothing."""
    config = CONFIG.replace(prefetch=prefetch)
    simulate(Core(config), __file__, parameters={"prefetch": prefetch}, seed=seed)


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
