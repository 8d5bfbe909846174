"""The golden model's speed, beside a float numpy loop of the same sweeps and a C program."""

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np

from relaxon_isa import ToolError, preset
from relaxon_sim.compiled.loader import available
from relaxon_sim.engines import ENGINE, ENGINES

from ..backends import open_device
from ..datasets import Dataset, load
from ..generator import Generator
from ..network import Network
from ..rules import settings_for
from ..rules.settings import RuleSettings
from ..training import Trainer, TrainSettings
from .estimate import fixed_settings
from .throughput import rival

__all__ = ["CASES", "Case", "first_use", "float_epoch", "golden", "synthetic"]


def synthetic(network: Network, samples: int) -> Dataset:
    """Samples with MNIST's share of zeros (81 %), labels at random."""
    rng = Generator(0)
    features, outputs = network.sizes[0], network.sizes[-1]
    x = rng.uniform(0.2, 1, (samples, features)) * (rng.uniform(shape=(samples, features)) < 0.19)
    y = rng.integers(0, outputs, samples)
    x = x.astype(np.float32)
    return Dataset(
        x_train=x, y_train=y, x_test=x[:1], y_test=y[:1], classes=outputs, name="synthetic"
    )


class Case(NamedTuple):
    """What is timed: network, data set (None: the one asked for, or synthetic samples), recipe, and
    a part of the samples that numpy takes in seconds."""

    network: str
    data: str | None = None
    recipe: str | None = None
    part: float = 1


CASES = (
    Case("784-128-10"),
    Case("784-128-10", recipe="fast"),
    Case("64-32-10", "digits"),
    Case("28x28x1-12c6s2-36c4s2-10", part=0.1),
)
"""What `relaxon bench golden` times."""
AT_LEAST = 1.0
"""Seconds: what is shorter is more of the computer's other work than of ours."""


def _epoch_seconds(
    network: Network, data: Dataset, rule: RuleSettings, engine: str
) -> tuple[float, list[np.ndarray]]:
    """Seconds of the processor in a training epoch, the fastest of three, of trainings that take at
    least `AT_LEAST` together, and the weights before them."""
    settings = TrainSettings(epochs=3, rate_halvings=0, rule=rule)
    name = "ecp5-85f-conv" if network.convolves else "default"
    config = preset(name).replace(p=12, weight_depth=1 << 14)
    with open_device("golden", config, engine=engine) as device:
        times: list[float] = []
        while True:
            trainer = Trainer(device, network, data, settings)
            trainer.start()
            weights = trainer.real_weights()
            for _ in range(settings.epochs):
                start = time.process_time()
                trainer.run_epoch()
                times.append(time.process_time() - start)
            if sum(times) >= AT_LEAST:
                return min(times), weights


def golden(case: Case, samples: int) -> dict:
    """Training samples/s of the golden model's engines; with the default program, also of the
    faster one beside plain float numpy, both with fixed sweeps; with recipe fast, of the C program
    of `throughput.rival` on the same data, where there is a compiler. One after the other, in
    processor time."""
    network, samples = Network.parse(case.network), max(1, round(samples * case.part))
    dataset = load(case.data) if case.data else synthetic(network, samples)
    dataset = replace(dataset, x_train=dataset.x_train[:samples], y_train=dataset.y_train[:samples])
    count = len(dataset.x_train)
    engines = ENGINES if available() else ("numpy",)
    rule = settings_for("ep-centered", network, recipe=case.recipe)
    speed = {e: count / _epoch_seconds(network, dataset, rule, e)[0] for e in engines}
    row = {
        "network": str(network),
        "recipe": case.recipe,
        "data": dataset.name,
        "samples": count,
        **{f"{engine}_per_second": speed.get(engine) for engine in ENGINES},
        "compiled_over_numpy": speed["compiled"] / speed["numpy"] if "compiled" in speed else None,
    }
    if case.recipe:
        with suppress(ToolError):
            settings = TrainSettings(epochs=3, rate_halvings=0, rule=rule)
            row["c_per_second"] = rival(network, dataset, settings)["samples_per_second"]
            row["over_c"] = max(speed.values()) / row["c_per_second"]
    elif not network.convolves:
        fixed = fixed_settings(network)
        golden_time, weights = _epoch_seconds(
            network, dataset, fixed, max(speed, key=speed.__getitem__)
        )
        start = time.process_time()
        float_epoch(weights, dataset, fixed)
        float_time = time.process_time() - start
        row |= {
            "golden_per_second": count / golden_time,
            "float_per_second": count / float_time,
            "ratio": float_time / golden_time,
        }
    return row


FIRST = """
from relaxon.lab import Lab
import numpy as np
with Lab.open("golden", "64-32-10") as lab:
    lab.train_step(np.zeros(64), 0)
"""
WHOLE = """
import numpy as np
from relaxon.backends import open_device
from relaxon.datasets import Dataset
from relaxon.network import Network
from relaxon.rules import first_preset, settings_for
from relaxon.training import Trainer, TrainSettings
x = np.resize(np.arange(1, 256, dtype=np.uint8), (70_000, 784))
x[:, 149:] = 0
x.flags.writeable = False
y = np.arange(70_000) % 10
data = Dataset("as MNIST", x[:60_000], y[:60_000], x[60_000:], y[60_000:])
network = Network((784, 128, 10))
settings = TrainSettings(rule=settings_for("ep-centered", network))
with open_device("golden", first_preset(network, settings.rule)) as device:
    trainer = Trainer(device, network, data, settings)
    trainer.start()
    trainer.run_epoch()
    trainer.evaluate()
"""
MEASURED = """
import json, resource, sys
from pathlib import Path
try:  # a process inherits the maximum of the one that started it, but not this number
    kept = [l for l in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in l]
    peak = int(kept[0].split()[1]) / 1024
except OSError:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"seconds": used.ru_utime + used.ru_stime, "megabytes": peak}))
"""


def first_use() -> dict:
    """What the compiled engine costs beside its speed, each in a process of its own: seconds of the
    processor from the start of Python to the end of a first sample, with an empty cache and with
    what that left; and the most megabytes of memory while it trains and tests 784-128-10 on as many
    images as MNIST has."""

    def measured(code: str) -> dict:
        command = [sys.executable, "-c", code + MEASURED]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if ran.returncode:
            raise ToolError(f"the engine's first use failed: {ran.stderr.strip()[-200:]}")
        return json.loads(ran.stdout)

    with TemporaryDirectory(prefix="relaxon-") as folder:
        environment = {**os.environ, "XDG_CACHE_HOME": folder, ENGINE: "compiled"}
        return {
            "compile_seconds": measured(FIRST)["seconds"],
            "start_seconds": measured(FIRST)["seconds"],
            "mnist_megabytes": measured(WHOLE)["megabytes"],
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
