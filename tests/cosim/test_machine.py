"""The whole machine over its two pins, and the core at its ports, against the golden model."""

from random import Random

import cocotb
import pytest
from cocotb.task import bridge
from cocotb.triggers import with_timeout

from relaxon_device.serial import SerialDevice
from relaxon_hdl.core import Core
from relaxon_hdl.top import Top
from relaxon_isa.config import ArrayConfig
from relaxon_isa.instructions import Activation, Emit, EmitKind, Halt, Mac, MacLevel, Pack, Wait
from relaxon_isa.memory import Space
from relaxon_isa.presets import preset
from relaxon_isa.program import Builder
from relaxon_sim.cosim import bench, simulate
from relaxon_sim.golden.device import GoldenDevice
from support.observe import Case, differences, observe

DIVISOR = 4
SMALL = preset("default").replace(
    weight_depth=64, state_depth=64, drive_depth=16, program_rows=64, integral_shift=0
)


def case(config: ArrayConfig, rng: Random) -> Case:
    """Three samples in, each through zero weights and through a copy, and out again."""
    p = config.p
    b = Builder(config)
    with b.loop(3):
        b.add(Wait(dst=0, count=2 * p, pack=Pack.B8, shift=4, tick=True))
        b.add(
            Mac(
                outer=(MacLevel(count=2, dst=1),),
                inner=(MacLevel(count=2, tile=1, src=1),),
                dst=4,
                shift=13,
                one=14,
                activation=Activation.CLIP01,
            )
        )
        b.add(Emit(kind=EmitKind.PLANE, base=0, count=2 * p + 1))
        b.add(Emit(kind=EmitKind.ARGMAX, base=0, count=2 * p))
    b.add(Halt())
    return Case(
        program=b.build(),
        samples=[rng.randbytes(2 * p) for _ in range(3)],
        memory={Space.STATE: (0, [(-1) ** i * i * 37 for i in range(4 * p)])},
    )


def test_top(seed):
    """RESET, INFO and a program over the UART."""
    top = Top(SMALL, divisor=DIVISOR, clock_hz=100_000_000, build="cosim")
    parameters = {"config": SMALL.to_json()}
    simulate(top, __file__, testcase="over_the_line", parameters=parameters, seed=seed)


@cocotb.test()
async def over_the_line(dut):
    config = ArrayConfig.from_json(bench.parameters()["config"])
    ran = case(config, bench.random_source("samples"))
    line = bench.UartTransport(dut, divisor=DIVISOR, skew=0.01)

    def body():
        device = SerialDevice(line, clock=line.clock)
        assert device.identity.config == config
        assert device.identity.build == "cosim"
        return observe(device, ran)

    seen = await with_timeout(bridge(body)(), 20, "ms")
    assert not differences(observe(GoldenDevice(config), ran), seen)
    assert line.broken == 0


@pytest.mark.parametrize("p", [2, 3, 5])
@pytest.mark.parametrize("idle", [0.0, 0.7])
def test_core(p, idle, seed):
    """A program at the core's ports, with idle cycles and back-pressure."""
    config = SMALL.replace(p=p)
    simulate(
        Core(config),
        __file__,
        testcase="at_the_ports",
        parameters={"config": config.to_json(), "idle": idle},
        seed=seed,
    )


@cocotb.test()
async def at_the_ports(dut):
    options = bench.parameters()
    config = ArrayConfig.from_json(options["config"])
    rng = bench.random_source("core")
    ran = case(config, rng)
    rows, data = ran.program.rows, ran.samples
    core = bench.CoreBench(dut, config, rng=rng, idle=options["idle"], pressure=options["idle"])
    await core.begin()
    device = bench.CosimDevice(core)
    golden = GoldenDevice(config)
    assert not differences(observe(golden, ran), await bridge(observe)(device, ran))
    # The same without the detour.
    assert await core.run(rows, data) == list(golden.run(data))
    # An end in the middle leaves the core ready.
    core.start(0)
    core.feed(data[0])
    await core.pause(30)
    await core.abort()
    assert await core.run(None, data) == list(golden.run(data))
