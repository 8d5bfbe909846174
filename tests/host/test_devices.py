"""Flaws and bit flips that are imposed on the golden model."""

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("numba", reason="numba is not installed")

from relaxon.backends import open_device
from relaxon.cli import cli
from relaxon.datasets import load
from relaxon.network import Network
from relaxon.rules import settings_for
from relaxon.studies import devices
from relaxon.studies.devices import Flaws, Imperfect
from relaxon.training import Trainer, TrainSettings
from relaxon_device.base import Device
from relaxon_isa import ConfigError, DeviceError, preset

DIGITS = load("digits")
FEW = replace(DIGITS, x_train=DIGITS.x_train[:201], y_train=DIGITS.y_train[:201])


def trained(device: Device, flaws: Flaws | None = None) -> Trainer:
    """64-32-10 after an epoch of 201 samples."""
    settings = TrainSettings(epochs=1, rule=settings_for("ep-centered", 2))
    trainer = Trainer(device, Network((64, 32, 10)), FEW, settings)
    trainer.start()
    if flaws:
        assert isinstance(device, Imperfect)
        device.impair(trainer, flaws)
    trainer.run_epoch()
    return trainer


def weights(trainer: Trainer) -> np.ndarray:
    return np.concatenate([w.ravel() for w in trainer.weights()])


def test_without_flaws_bits_are_those_of_the_golden_model() -> None:
    right = trained(open_device("golden", engine="numpy"))
    found = trained(Imperfect(preset("default")), Flaws())
    assert np.array_equal(weights(right), weights(found))
    assert right.history == found.history
    assert right.device.counters() == found.device.counters()
    found = trained(found.device)
    with pytest.raises(DeviceError, match="waits for another sample after all 200 given"):
        found.device.run_all(np.zeros((200, 84), np.uint8))
    with pytest.raises(ConfigError, match="stuck"):
        found.device.impair(found, Flaws(stuck=2))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "flaws",
    [
        Flaws(gain=0.2),
        Flaws(offset=0.1),
        Flaws(noise=0.05),
        Flaws(drift=0.1),
        Flaws(weight_flips=1),
        Flaws(state_flips=1),
        Flaws(drive_flips=1),
    ],
    ids=str,
)
def test_each_flaw_shows_and_its_seed_repeats_it(flaws: Flaws) -> None:
    right = weights(trained(open_device("golden")))
    first, again, other = (
        weights(trained(Imperfect(preset("default")), f))
        for f in (flaws, flaws, replace(flaws, seed=1))
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, right) and not np.array_equal(first, other)


def test_stuck_synapses_and_few_bits() -> None:
    one = Imperfect(preset("default"))
    trainer = trained(one, Flaws(stuck=0.25))
    before = weights(trainer)
    trainer.epoch = 0
    trainer.run_epoch()
    still = np.mean(weights(trainer) == before)
    assert 0.2 < still < 0.6
    trainer = trained(Imperfect(preset("default")), Flaws(bits=4))
    levels = trainer.real_weights()[0][:, :-1] / 0.25
    rounded = levels == np.rint(levels)
    assert rounded.mean() > 0.99  # all but weights that began as 0, which count as none
    assert 4 < len(np.unique(levels[rounded])) <= 16


def test_flaws_cost_accuracy_and_none_cost_none() -> None:
    found = devices.learned_and_loaded("ep-centered", "offset", 0.0, 0, 1)
    assert found["learned"] == found["loaded"] == found["perfect"] > 0.85
    assert devices.flipped("ep-centered", "weights", 0.0, 0, 1)["off"] == found["perfect"]
    found = devices.learned_and_loaded("ep-centered", "offset", 0.4, 0, 1)
    assert found["loaded"] < found["learned"] < 0.5


def test_commands(tmp_path) -> None:
    pytest.importorskip("matplotlib")
    keep, plot = tmp_path / "keep", tmp_path / "plot.png"
    common = ["--seeds", "1", "--epochs", "1", "--rule", "pcn", "--keep", str(keep), "--json"]
    ran = CliRunner().invoke(
        cli, ["bench", "devices", "--kind", "bits", "--plot", str(plot), *common]
    )
    assert ran.exit_code == 0, ran.output
    rows = json.loads(ran.stdout)["rows"]
    assert [row["size"] for row in rows] == list(devices.FLAWS["bits"])
    assert all(0 <= row["learned"] <= 1 and row["loaded"] <= 1 for row in rows)
    assert plot.stat().st_size > 1000
    ran = CliRunner().invoke(cli, ["bench", "flips", "--memory", "states", *common])
    assert ran.exit_code == 0, ran.output
    assert len(json.loads(ran.stdout)["rows"]) == len(devices.RATES)
