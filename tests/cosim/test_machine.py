"""The whole machine over its two pins, and the core at its ports, against the golden model."""

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

DIVISOR = 4
SMALL = preset("default").replace(
    weight_depth=64, state_depth=64, drive_depth=16, program_rows=64, integral_shift=0
)


def program(config: ArrayConfig):
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
    return b.build()


def samples(config: ArrayConfig, rng) -> list[bytes]:
    return [rng.randbytes(2 * config.p) for _ in range(3)]


def observe(device, rows, data):
    """What a run leaves behind."""
    device.write(Space.STATE, 0, [(-1) ** i * i * 37 for i in range(4 * device.config.p)])
    device.load(rows)
    emits = list(device.run(data))
    planes = [device.read(space).tolist() for space in (Space.STATE, Space.DRIVE)]
    counters = [device.counters()[r] for r in range(13) if r not in (7, 8)]  # stalls are the line's
    return emits, planes, counters


def test_top():
    """RESET, INFO and a program over the UART."""
    top = Top(SMALL, divisor=DIVISOR, clock_hz=100_000_000, build="cosim")
    simulate(top, __file__, testcase="over_the_line", parameters={"config": SMALL.to_json()})


@cocotb.test()
async def over_the_line(dut):
    config = ArrayConfig.from_json(bench.parameters()["config"])
    rng = bench.random_source("samples")
    rows, data = program(config).rows, samples(config, rng)
    line = bench.UartTransport(dut, divisor=DIVISOR, skew=0.01)

    def body():
        device = SerialDevice(line, clock=line.clock)
        assert device.identity.config == config
        assert device.identity.build == "cosim"
        return observe(device, rows, data)

    seen = await with_timeout(bridge(body)(), 20, "ms")
    assert seen == observe(GoldenDevice(config), rows, data)
    assert line.broken == 0


@pytest.mark.parametrize("p", [2, 3, 5])
@pytest.mark.parametrize("idle", [0.0, 0.7])
def test_core(p, idle):
    """A program at the core's ports, with idle cycles and back-pressure."""
    config = SMALL.replace(p=p)
    simulate(
        Core(config),
        __file__,
        testcase="at_the_ports",
        parameters={"config": config.to_json(), "idle": idle},
    )


@cocotb.test()
async def at_the_ports(dut):
    options = bench.parameters()
    config = ArrayConfig.from_json(options["config"])
    rng = bench.random_source("core")
    rows, data = program(config).rows, samples(config, rng)
    core = bench.CoreBench(dut, config, rng=rng, idle=options["idle"], pressure=options["idle"])
    await core.begin()
    device = bench.CosimDevice(core)
    golden = GoldenDevice(config)
    assert await bridge(observe)(device, rows, data) == observe(golden, rows, data)
    # The same without the detour.
    assert await core.run(rows, data) == list(golden.run(data))
    # An end in the middle leaves the core ready.
    core.start(0)
    core.feed(data[0])
    await core.pause(30)
    await core.abort()
    assert await core.run(None, data) == list(golden.run(data))
