"""The golden model's speed, beside a float numpy loop of the same sweeps."""

import time
from dataclasses import replace

import numpy as np

from relaxon_isa import preset
from relaxon_sim.compiled.loader import available
from relaxon_sim.engines import ENGINES

from ..backends import open_device
from ..datasets import Dataset, load
from ..generator import Generator
from ..network import Network
from ..rules import settings_for
from ..rules.settings import RuleSettings
from ..training import Trainer, TrainSettings
from .estimate import fixed_settings

__all__ = ["CASES", "float_epoch", "golden"]


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


CASES = {
    "dense": ("784-128-10", None),
    "digits": ("64-32-10", "digits"),
}
"""What `relaxon bench golden` times: network, and data set (None: synthetic samples)."""


def _epoch_seconds(
    network: Network, data: Dataset, rule: RuleSettings, engine: str
) -> tuple[float, list[np.ndarray]]:
    """Seconds of a training epoch, the faster of two, and the weights before them."""
    settings = TrainSettings(epochs=2, rate_halvings=0, rule=rule)
    config = preset("default").replace(p=12, weight_depth=1 << 14)
    with open_device("golden", config, engine=engine) as device:
        trainer = Trainer(device, network, data, settings)
        trainer.start()
        weights, times = trainer.real_weights(), []
        for _ in range(settings.epochs):
            start = time.perf_counter()
            trainer.run_epoch()
            times.append(time.perf_counter() - start)
    return min(times), weights


def golden(network: Network, data: str | None, samples: int) -> dict:
    """Training samples/s of the golden model's engines with the default program; and of the
    faster one beside plain float numpy, both with fixed sweeps. One after the other, in this
    process."""
    dataset = load(data) if data else _synthetic(network, samples)
    dataset = replace(dataset, x_train=dataset.x_train[:samples], y_train=dataset.y_train[:samples])
    count = len(dataset.x_train)
    engines = ENGINES if available() else ("numpy",)
    default = settings_for("ep-centered", network.depth)
    speed = {e: count / _epoch_seconds(network, dataset, default, e)[0] for e in engines}
    fixed = fixed_settings(network)
    golden_time, weights = _epoch_seconds(
        network, dataset, fixed, max(speed, key=speed.__getitem__)
    )
    start = time.perf_counter()
    float_epoch(weights, dataset, fixed)
    float_time = time.perf_counter() - start
    return {
        "network": str(network),
        "data": dataset.name,
        "samples": count,
        **{f"{engine}_per_second": speed.get(engine) for engine in ENGINES},
        "compiled_over_numpy": speed["compiled"] / speed["numpy"] if "compiled" in speed else None,
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
