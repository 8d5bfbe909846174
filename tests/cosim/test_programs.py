"""Constrained-random programs, and training, on the core's ports under Verilator."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import cocotb
import numpy as np
import pytest
from cocotb.task import bridge

from relaxon.backends import open_device
from relaxon.datasets import Dataset
from relaxon.network import Network
from relaxon.rules.settings import RuleSettings
from relaxon.training import TrainSettings
from relaxon_hdl.core import Core
from relaxon_isa import (
    ArrayConfig,
    Halt,
    Instruction,
    Judge,
    Learn,
    LearnLevel,
    Loop,
    Mac,
    MacLevel,
    Next,
    Program,
    Register,
    Skip,
    Space,
    Wait,
    preset,
    registers,
    row_layouts,
)
from relaxon_sim.cosim import bench, simulate
from relaxon_sim.golden.device import GoldenDevice
from support.observe import Case, Memory, differences, observe
from support.random_programs import random_program
from support.short_training import trained

MACHINES = {
    "default": preset("default"),
    "verify24": preset("verify24"),
    "up5k": preset("up5k"),
    "overlaps": preset("default").replace(drains=True, prefetch=True, both=True),
    "fast4": preset("fast4"),
    "walks, all wait": preset("fast4").replace(drains=False, prefetch=False, p=3),
    **{f"p{p}": preset("default").replace(p=p) for p in (3, 5)},
}
"""``default`` has P = 4; `system` has 2 and 6."""
PROGRAMS = {
    "fast4": 8,
    "walks, all wait": 4,
    "overlaps": 5,
    "default": 4,
    "verify24": 4,
    "up5k": 5,
    "p3": 5,
    "p5": 3,
}
"""How many run: the wider, the slower. `system` has hundreds, without pauses on the streams."""


def core(name: str, **options) -> None:
    simulate(Core(MACHINES[name]), __file__, **options)


async def begin(dut, parameters: dict, rng: Random) -> bench.CosimDevice:
    ports = bench.CoreBench(
        dut,
        MACHINES[parameters["machine"]],
        rng=rng,
        idle=parameters["idle"],
        pressure=parameters["idle"],
    )
    await ports.begin()
    return bench.CosimDevice(ports)


# Random programs ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MACHINES)
def test_random_programs(name, seed):
    """One after the other on one machine, without a pause and with pauses on both streams."""
    core(
        name, testcase="programs", seed=seed, parameters={"machine": name, "count": PROGRAMS[name]}
    )


@cocotb.test()
async def programs(dut):
    parameters = bench.parameters()
    rng = bench.random_source("programs")
    device = await begin(dut, {"idle": 0.0, **parameters}, rng)
    golden = GoldenDevice(device.config)

    def body():
        for i in range(parameters["count"]):
            device.core.idle = rng.choice([0.0, 0.3, 0.8])
            device.core.pressure = rng.choice([0.0, 0.3, 0.8])
            case = random_program(device.config, rng)
            found = differences(*(observe(d, case, whole=False) for d in (golden, device)))
            assert not found, "\n".join([f"program {i}:", *found, case.program.listing()])
        # Nothing was written elsewhere.
        for space in (Space.STATE, Space.DRIVE):
            assert np.array_equal(golden.read(space), device.read(space)), space.name

    await bridge(body)()


# Drains ---------------------------------------------------------------------------------------

TAKE = Wait(dst=0, count=12, shift=6, ahead=True)
"""Three groups of four columns."""
UP, ALL = MacLevel(count=3, dst=1), MacLevel(count=3, src=1)
BELOW = Mac(outer=(UP,), tile=1, src=0, dst=10, shift=18)
ABOVE = Mac(inner=(ALL,), tile=2, src=10, dst=20, shift=18)
LISTED = MacLevel(count=3, tile=1, src=1)
WALK = Mac(outer=(MacLevel(count=3, tile=3, dst=1, drive=1),), inner=(LISTED,), dst=10, shift=18,
           walk=True)  # fmt: skip
LEARN = Learn(tile=4, row=3, col=5, position=1)
EVERY = LearnLevel(count=3, tile=1, col=1)
LEARN_WALK = Learn(outer=(LearnLevel(count=3, tile=3, row=1), EVERY), row=20, position=1, walk=True)
FROM_DRIVE = Mac(from_drive=True, drive=4, dst=30, shift=18)
JUDGES = Mac(dst=1, shift=18, judge=Judge.VALUE, tol=(1 << 15) - 1, fresh=True)
ASK = (Loop(count=1, skip=Skip.IF_FLAG, sweep=True), Next())
HAZARDS: dict[str, tuple[Instruction, ...]] = {
    "states of a MAC": (BELOW, ABOVE),
    "states of a walk": (WALK, ABOVE),
    "drives of a MAC": (Mac(outer=(UP,), to_drive=True, dst=2), FROM_DRIVE),
    "drives beside states": (replace(WALK, both=True, drive=2), FROM_DRIVE),
    "weights of a LEARN": (LEARN, Mac(tile=4, src=7, dst=31, shift=18)),
    "weights of a LEARN, learnt again": (LEARN, replace(LEARN, row=6)),
    "weights of a LEARN that walks": (LEARN_WALK, replace(WALK, dst=32)),
    "the weights' port": (LEARN, Mac(src=7, dst=31, shift=18)),
    "the second port of states": (Mac(src=2, dst=7, step=1, shift=18), LEARN),
    "a LEARN's rows": (Mac(src=9, dst=3, shift=18), LEARN),
    "a walk's rows": (Mac(src=9, dst=20, shift=18), LEARN_WALK),
    "entry behind a walk": (WALK, Mac(src=30, dst=40, shift=18)),
    "the flag": (JUDGES, *ASK),
    "the flag of a walk": (
        replace(WALK, outer=(), judge=Judge.VALUE, tol=(1 << 15) - 1, fresh=True),
        *ASK,
    ),
}
"""What an instruction must not meet of the one before, whose drain is as long as that takes."""


def cases(config: ArrayConfig, rng: Random) -> Iterator[tuple[str, Case, tuple[int, ...]]]:
    """Programs around a hazard, on lively memories, each with its rows but for a drain that is a
    cycle shorter. Lists have a row, so that all comes as early as it can."""
    fill = Learn(
        outer=(LearnLevel(count=3, tile=3, row=1), EVERY), row=40, col=44, position=1, replace=True
    )
    show = Mac(outer=(MacLevel(count=9, tile=1, dst=1),), src=50, dst=7, to_drive=True)
    for name, hazard in HAZARDS.items():
        program = Program(config, (fill, TAKE, *hazard, show, Halt()))
        kind = "LEARN" if isinstance(hazard[0], Learn) else "MAC"
        layout = row_layouts(config)[kind]
        start = program.starts[2]
        head = layout.unpack(program.rows[start])
        short = layout.pack(head | {"drain": head["drain"] - 1})
        rows = (*program.rows[:start], short, *program.rows[start + 1 :])
        sample = [0] * 12
        for column in range(4):
            sample[4 * rng.randrange(3) + column] = rng.randint(100, 255)
        memory: Memory = {
            space: (0, [rng.choice([-1, 1]) * rng.randint(1 << 12, (1 << 15) - 1) for _ in
                        range(depth * config.p)])
            for space, depth in ((Space.STATE, 64), (Space.DRIVE, 16))
        }  # fmt: skip
        memory[Space.REGISTER] = (0, [1] * len(registers(config)))
        yield name, Case(program=program, samples=[bytes(sample)], memory=memory), rows


def test_each_drain_is_as_short_as_it_can_be(seed):
    """As the builder computes it nothing is met; a cycle less, and it is."""
    core("fast4", testcase="drains", seed=seed, parameters={"machine": "fast4", "idle": 0.0})


@cocotb.test()
async def drains(dut):
    rng = bench.random_source("drains")
    device = await begin(dut, bench.parameters(), rng)
    golden = GoldenDevice(device.config)

    def body():
        for name, case, rows in cases(device.config, rng):
            wanted = observe(golden, case)
            assert not differences(wanted, observe(device, case)), name
            device.load(rows)
            for space, (start, values) in case.memory.items():
                device.write(space, start, values)
            list(device.run(case.samples))
            left: dict[str, object] = {
                space.name: device.read(space) for space in (Space.STATE, Space.DRIVE)
            }
            left["SWEEPS"] = device.counters()[Register.SWEEPS]  # tells the flag
            assert differences(left, wanted), name

    await bridge(body)()


# Training -------------------------------------------------------------------------------------

NETWORK = Network((12, 7, 5, 3))
SETTINGS = TrainSettings(epochs=1, rule=RuleSettings(rate_shifts=(4, 4, 4), margin=0.0625))


def samples(seed: int) -> Dataset:
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 1, (6, NETWORK.sizes[0])).astype(np.float32)
    y = rng.integers(0, 3, 6)
    return Dataset(
        name="noise", x_train=x[:4], y_train=y[:4], x_test=x[4:], y_test=y[4:], classes=3
    )


@pytest.mark.parametrize("name", ["default", "verify24", "up5k"])
def test_training_leaves_the_same_machine(name, seed, tmp_path):
    """Weights, planes, drives, counters and cycles. (`system` compares the virtual board.)"""
    with open_device("golden", MACHINES[name]) as device:
        left = trained(device, NETWORK, samples(seed), SETTINGS)
    result = tmp_path / "left.json"
    parameters = {"machine": name, "idle": 0.3, "seed": seed, "result": str(result)}
    core(name, testcase="training", seed=seed, parameters=parameters)
    assert json.loads(result.read_text()) == left
    assert len(set(left["weights"])) > 20


@cocotb.test()
async def training(dut):
    parameters = bench.parameters()
    device = await begin(dut, parameters, bench.random_source("training"))
    left = await bridge(trained)(device, NETWORK, samples(parameters["seed"]), SETTINGS)
    Path(parameters["result"]).write_text(json.dumps(left))
