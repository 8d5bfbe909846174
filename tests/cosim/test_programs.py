"""Constrained-random programs, and training, on the core's ports under Verilator."""

import json
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
from relaxon_isa.memory import Space
from relaxon_isa.presets import preset
from relaxon_sim.cosim import bench, simulate
from relaxon_sim.golden.device import GoldenDevice
from support.observe import differences, observe
from support.random_programs import random_program
from support.short_training import trained

MACHINES = {
    "default": preset("default"),
    "verify24": preset("verify24"),
    "up5k": preset("up5k"),
    "overlaps": preset("default").replace(drains=True, prefetch=True, both=True),
    **{f"p{p}": preset("default").replace(p=p) for p in (3, 5)},
}
"""``default`` has P = 4; `system` has 2 and 8."""
PROGRAMS = {"overlaps": 5, "default": 4, "verify24": 4, "up5k": 5, "p3": 5, "p5": 3}
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
