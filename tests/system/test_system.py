"""The whole path on every backend: identity, memories, weights, training, bit for bit."""

import os
import re
import subprocess
import sys
import time

import numpy as np
import pytest

from campaign import CAMPAIGN, Campaign
from relaxon.backends import open_device
from relaxon.datasets import Dataset
from relaxon.lab import Lab
from relaxon.network import Network
from relaxon.rules import RULES, fits, settings_for
from relaxon.rules.settings import RuleSettings
from relaxon.selftest import self_test
from relaxon.training import TrainSettings
from relaxon.weights import read_tiles, write_tiles
from relaxon_hdl.families import FAMILIES
from relaxon_isa.memory import Space
from relaxon_isa.presets import preset
from support.observe import OUTSIDE
from support.short_training import few_digits, trained


def test_identity_and_memories(device, request):
    config = device.config
    assert request.config.getoption("--port") or config == preset("default")
    rng = np.random.default_rng(0)
    for space, bits in ((Space.STATE, config.state_bits), (Space.DRIVE, config.acc_bits)):
        size = device.layouts[space].size
        values = rng.integers(-(1 << bits - 1), 1 << bits - 1, size)
        device.write(space, 0, values)
        assert np.array_equal(device.read(space), values)
        assert np.array_equal(device.read(space, 5, 3), values[5:8])


def test_weights_in_and_out_and_no_counter_moves(device):
    before = device.counters()
    rng = np.random.default_rng(1)
    p, highest = device.config.p, 1 << device.config.weight_bits - 1
    tiles = rng.integers(-highest, highest, (50, p, p))
    write_tiles(device, 7, tiles)
    assert np.array_equal(read_tiles(device, 7, 50), tiles)
    after = device.counters()
    assert {k: v for k, v in after.items() if k not in OUTSIDE} == {
        k: v for k, v in before.items() if k not in OUTSIDE
    }


@pytest.mark.parametrize("name", ["default", "verify24", "up5k", "p2", "p6"])
def test_training_leaves_the_same_machine(name):
    """Weights, planes, drives, counters and cycles: golden and gateware."""
    config = preset("default").replace(p=int(name[1:])) if name.startswith("p") else preset(name)
    network = Network((64, 13, 9, 10))
    settings = TrainSettings(epochs=1, rule=RuleSettings(rate_shifts=(5, 5, 7), margin=0.0625))
    left = {}
    for backend in ("golden", "virtual"):
        with open_device(backend, config) as device:
            left[backend] = trained(device, network, few_digits(100, 10), settings)
    assert left["golden"] == left["virtual"]


@pytest.mark.parametrize("sizes", [(18, 7, 3), (13, 5, 4, 3)], ids=str)
def test_training_over_lists_leaves_the_same_machine(sizes):
    """Samples with labels, taken ahead over the board's line; lists with few entries and none."""
    rng, network = np.random.default_rng(3), Network(sizes)
    x = rng.random((40, sizes[0])) * (rng.random((40, sizes[0])) < 0.4)
    x[::9] = 0
    x, y = x.astype(np.float32), np.arange(40) % 3
    data = Dataset(name="made", x_train=x, y_train=y, x_test=x[:9], y_test=y[:9], classes=3)
    rule = settings_for("ep-centered", network.depth, recipe="fast")
    left = {}
    for backend in ("golden", "virtual"):
        with open_device(backend, "fast4") as device:
            left[backend] = trained(device, network, data, TrainSettings(epochs=2, rule=rule))
    assert left["golden"] == left["virtual"]
    assert len(set(left["golden"]["weights"])) > 20


RULE_NETWORK = Network((64, 13, 9, 10))
RULE_MACHINE = preset("default")


@pytest.fixture(scope="module")
def board(request):
    """One board for all rules: no rule asks for another bitstream."""
    port = request.config.getoption("--port")
    with open_device(port or "virtual", RULE_MACHINE) as device:
        yield device


@pytest.fixture(scope="module")
def both(board):
    """A golden model and the board: alike before the first rule, and so behind each."""
    with open_device("golden", board.config) as golden:
        for device in (golden, board):
            for space in (Space.STATE, Space.DRIVE):
                device.write(space, 0, np.zeros(device.layouts[space].size, int))
        yield golden, board


COMBINATIONS = [
    *((name, {}) for name in RULES),
    ("ep-positive", {"objective": "cross-entropy"}),
    ("ep-random", {"objective": "cross-entropy", "architecture": "backward"}),
    ("ep-centered", {"objective": "clamping", "architecture": "skip:0>2,1>3,0>3"}),
    ("ep-centered", {"objective": "true-cost", "architecture": "skip:1>3", "margin": 0.0625}),
    ("lock-in", {"architecture": "backward", "margin": 0.0625}),
    ("frequency", {"architecture": "skip:1>3", "margin": 0.0625}),
    ("backprop", {"architecture": "backward"}),
    ("tcl", {"options": {"up": 2, "down": 2, "warm": 1, "held": 1}}),
    ("ep-centered", {"stochastic": True}),
    ("ep-centered", {"recipe": "fast"}),
    ("ep-random", {"recipe": "fast", "architecture": "backward", "rate_shifts": (4, 4, 5)}),
    ("coupled-centered", {"recipe": "fast", "architecture": "skip:0>2,1>3,0>3"}),
]


@pytest.mark.parametrize(("name", "changes"), COMBINATIONS, ids=str)
def test_rule_leaves_the_same_machine(name, changes, both):
    """Weights, planes, drives, counters and cycles of every rule, and of some with other
    objectives and architectures: golden and gateware."""
    data = few_digits(10, 8)
    settings = TrainSettings(epochs=1, rule=settings_for(name, RULE_NETWORK.depth, **changes))
    left = []
    config = both[0].config
    if config != RULE_MACHINE and not fits(RULE_NETWORK, config, settings.rule):
        pytest.skip(f"this board's machine has no room, or not the features, for {name}")
    for device in both:
        size = device.layouts[Space.REGISTER].size
        device.write(Space.REGISTER, 2, np.zeros(size - 2, int))
        left.append(trained(device, RULE_NETWORK, data, settings))
    assert left[0] == left[1]


def test_random_programs_on_the_board_itself(seed, board, request):
    """It passes the self-test, which leaves all memories at 0 as golden's are; then programs for
    its own machine, with memories of any size, leave what they leave there."""
    if not request.config.getoption("--port"):
        pytest.skip("--port names no board; below, programs run on smaller virtual ones")
    test = self_test(board)
    assert test.passed, "\n".join(test.failures())
    campaign = Campaign(board, seed)
    for _ in range(10):
        found = campaign.step()
        assert not found, "\n".join(found)


@pytest.mark.parametrize("config", [CAMPAIGN, preset("fast4")], ids=["default", "fast4"])
def test_random_programs_none_differing(config, seed, capsys):
    """200 of them; 10,000 and more by `python tests/campaign.py`."""
    with open_device("virtual", config) as device:
        campaign = Campaign(device, seed)
        for _ in range(200):
            found = campaign.step()
            assert not found, "\n".join(found)
    with capsys.disabled():
        print(f"\n{campaign.summary()}")
    assert not campaign.missed()
    assert 2 * campaign.results["other"] >= sum(campaign.results.values())


@pytest.mark.parametrize("name", ["up5k", "verify24"])
def test_random_programs_on_other_machines(name, seed):
    small = {"weight_depth": 64, "state_depth": 64, "drive_depth": 16, "program_rows": 256}
    with open_device("virtual", preset(name).replace(**small)) as device:
        campaign = Campaign(device, seed)
        for _ in range(60):
            found = campaign.step()
            assert not found, "\n".join(found)


@pytest.mark.parametrize("family", [name for name, known in FAMILIES.items() if known.trial])
def test_instantiated_primitives_change_nothing(family, seed):
    """The gateware as it goes to a family's synthesis, block RAMs and multipliers by their models:
    training and random programs."""
    network = Network((64, 13, 10))
    settings = TrainSettings(epochs=1, rule=RuleSettings(rate_shifts=(5, 7)))
    config = FAMILIES[family].trial
    assert config
    left = []
    for backend, options in (("golden", {}), ("virtual", {"family": family})):
        with open_device(backend, config, **options) as device:
            left.append(trained(device, network, few_digits(100, 10), settings))
    assert left[0] == left[1]
    with open_device("virtual", config, family=family) as device:
        campaign = Campaign(device, seed)
        for _ in range(20):
            found = campaign.step()
            assert not found, "\n".join(found)


def test_the_command_trains_on_the_gateware_and_compares():
    result = subprocess.run(
        [sys.executable, "-m", "relaxon", "train", "--epochs", "1", "--layers", "64,16,10"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "weights: identical to golden" in result.stdout
    assert re.search(r"test accuracy: \d\d\.\d\d%", result.stdout)


def test_one_flipped_bit_is_seen():
    """A bit of one weight in the board's memory, flipped by the host, is not `identical`."""
    with open_device("virtual", "default") as device:
        rng = np.random.default_rng(2)
        tiles = rng.integers(-(1 << 15), 1 << 15, (8, 4, 4))
        write_tiles(device, 0, tiles)
        flipped = read_tiles(device, 3, 1)
        flipped[0, 2, 1] ^= 1
        write_tiles(device, 3, flipped)
        after = read_tiles(device, 0, 8)
    assert np.argwhere(after != tiles).tolist() == [[3, 2, 1]]


def test_an_idle_board_sleeps():
    with Lab.open("virtual", "8-4-2") as lab:
        pid = lab.device.board.pid  # type: ignore[attr-defined]
        lab.relax_free(np.zeros(8))
        time.sleep(0.2)

        def ticks() -> int:
            with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123
                parts = stat.read().rsplit(")", 1)[1].split()
            return int(parts[11]) + int(parts[12])

        before = ticks()
        time.sleep(1)
        assert ticks() - before <= 0.05 * os.sysconf("SC_CLK_TCK")
