"""A short training, and everything that it leaves on a device."""

import numpy as np

from relaxon.datasets import Dataset, load
from relaxon.network import Network
from relaxon.training import Trainer, TrainSettings
from relaxon_device.base import Device
from relaxon_isa.memory import Space

from .observe import OUTSIDE

__all__ = ["few_digits", "left_by", "trained"]


def few_digits(count: int, test: int = 40) -> Dataset:
    """The first samples of digits."""
    digits = load("digits")
    return Dataset(
        name="a few digits",
        x_train=digits.x_train[:count],
        y_train=digits.y_train[:count],
        x_test=digits.x_test[:test],
        y_test=digits.y_test[:test],
        classes=10,
    )


def trained(
    device: Device,
    network: Network,
    data: Dataset,
    settings: TrainSettings,
    *,
    stream: bool = False,
) -> dict:
    """What an epoch leaves."""
    trainer = Trainer(device, network, data, settings, stream=stream)
    trainer.start()
    trainer.run_epoch()
    return left_by(trainer)


def left_by(trainer: Trainer) -> dict:
    """Weights, planes, drives, counters and keys; accuracy. Plain lists."""
    device, layout = trainer.device, trainer.layout
    config = device.config
    found = {
        "states": device.read(Space.STATE, 0, layout.state_groups * config.p).tolist(),
        "drives": device.read(Space.DRIVE, 0, layout.drive_groups * config.p).tolist(),
        "registers": {k.name: v for k, v in device.counters().items() if k not in OUTSIDE},
        "weights": np.concatenate([w.ravel() for w in trainer.weights()]).tolist(),
    }
    return {**found, "accuracy": trainer.evaluate()}
