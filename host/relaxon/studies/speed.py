"""The golden model's speed, beside a float numpy loop of the same sweeps."""

import time
from dataclasses import replace

import numpy as np

from relaxon_isa import preset

from ..backends import open_device
from ..datasets import Dataset, load
from ..generator import Generator
from ..network import Network
from ..rules.settings import RuleSettings
from ..training import Trainer, TrainSettings
from .estimate import fixed_settings

__all__ = ["float_epoch", "golden"]


def _synthetic(network: Network, samples: int) -> Dataset:
    """Samples with MNIST's share of zeros (81 %), labels at random."""
    rng = Generator(0)
    features, outputs = network.sizes[0], network.sizes[-1]
    x = rng.uniform(0.2, 1, (samples, features)) * (rng.uniform(shape=(samples, features)) < 0.19)
    y = rng.integers(0, outputs, samples)
    x = x.astype(np.float32)
    return Dataset(
        x_train=x, y_train=y, x_test=x[:1], y_test=y[:1], classes=outputs, name="synthetic"
    )


def golden(network: Network, data: str | None, samples: int) -> dict:
    """Training samples/s, golden and plain float numpy, one after the other in this process."""
    dataset = load(data) if data else _synthetic(network, samples)
    dataset = replace(dataset, x_train=dataset.x_train[:samples], y_train=dataset.y_train[:samples])
    settings = TrainSettings(epochs=1, rate_halvings=0, rule=fixed_settings(network))
    config = preset("default").replace(p=12, weight_depth=1 << 14)
    with open_device("golden", config) as device:
        trainer = Trainer(device, network, dataset, settings)
        trainer.start()
        weights = trainer.real_weights()
        start = time.perf_counter()
        trainer.run_epoch()
        golden_time = time.perf_counter() - start
    start = time.perf_counter()
    float_epoch(weights, dataset, settings.rule)
    float_time = time.perf_counter() - start
    count = len(dataset.x_train)
    return {
        "network": str(network),
        "samples": count,
        "golden_per_second": count / golden_time,
        "float_per_second": count / float_time,
        "ratio": float_time / golden_time,
    }


def float_epoch(weights: list[np.ndarray], data: Dataset, ep: RuleSettings) -> None:
    """Centered EP, batch 1, in plain numpy doubles, with the same sweeps; updates ``weights``."""
    w = [m[:, :-1].copy() for m in weights]
    b = [m[:, -1].copy() for m in weights]
    depth = len(w)
    rates = [2.0**-shift for shift in ep.rate_shifts]

    def sweep(s, still, layers):
        for i in layers:
            a = still[i] if i == 0 else still[i] + w[i] @ s[i - 1]
            if i + 1 < depth:
                a = a + w[i + 1].T @ s[i + 1]
            s[i] = np.clip(a, 0, 1)

    for x, label in zip(data.x_train.astype(np.float64), data.y_train, strict=True):
        still = [w[0] @ x + b[0], *b[1:]]
        free = [np.zeros(len(v)) for v in b]
        for _ in range(ep.free_cap):
            sweep(free, still, range(depth))
        y = np.full(len(b[-1]), ep.targets[0])
        y[label] = ep.targets[1]
        states = []
        for sign in (1, -1):
            nudged = [*still[:-1], still[-1] + sign * ep.beta * (y - free[-1])]
            s = list(free)
            for _ in range(ep.nudged_cap):
                sweep(s, nudged, range(depth - 1, -1, -1))
            states.append(s)
        plus, minus = states
        for i in range(depth):
            rate = rates[i] / (2 * ep.beta)
            if i == 0:
                w[0] += rate * np.outer(plus[0] - minus[0], x)
            else:
                w[i] += rate * (np.outer(plus[i], plus[i - 1]) - np.outer(minus[i], minus[i - 1]))
            b[i] += rate * (plus[i] - minus[i])
