"""Training samples/s of machines, by exact cycles, beside a C program of the same recipe."""

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from relaxon_device.base import Device, SpaceLayout
from relaxon_isa import (
    COUNTER_BITS,
    ArrayConfig,
    ConfigError,
    DataError,
    Emit,
    Space,
    ToolError,
    Wait,
    drain_cycles,
    issue_cycles,
)

from ..backends import open_device
from ..datasets import Dataset
from ..network import Network
from ..rules import make_rule, settings_for
from ..rules.settings import RuleSettings
from ..training import KINDS, Progress, Trainer, TrainSettings, check_data, silent

__all__ = ["CASES", "Meter", "check", "compare", "compile_rival", "halved", "rival", "throughput"]

CASES = (("784-128-10", "ulx3s-85f"), ("196-120-10", "ulx3s-25f"), ("784-64-10", "icebreaker"))
"""Networks and the boards that train them. 196 inputs: images at half the resolution."""
RECIPE = "fast"
COMPILE = ("-O3", "-march=native", "-std=gnu11")


class Meter(Device):
    """A device that notes its counters whenever a program asks for the next sample.

    ``seen``: registers of `KINDS`, at each of those moments of the runs that count.
    """

    def __init__(self, device: Device) -> None:
        self.device, self.identity = device, device.identity
        self.seen: list[list[np.ndarray]] = []

    def cycles(self) -> np.ndarray:
        """Cycles from sample to sample, int (samples, kinds); without each run's last sample."""
        runs = [np.diff(run, axis=0) for run in self.seen]
        return np.concatenate(runs) % (1 << COUNTER_BITS)  # counters wrap

    def _noted(self, samples: Iterable[bytes]) -> Iterator[bytes]:
        self.seen.append(run := [])
        for sample in samples:
            run.append(self.read(Space.REGISTER)[list(KINDS.values())])
            yield sample

    def _run(self, samples: Iterator[bytes], row: int, count: bool) -> Iterator[bytes]:
        taken = self._noted(samples) if count else samples
        return self.device.run(taken, row=row, count=count)

    def _read(self, layout: SpaceLayout, start: int, count: int) -> np.ndarray:
        return self.device.read(layout.space, start, count)

    def _write(self, layout: SpaceLayout, start: int, values: np.ndarray) -> None:
        self.device.write(layout.space, start, values)

    def reset(self) -> None:
        self.device.reset()

    def close(self) -> None:
        self.device.close()


def halved(data: Dataset) -> Dataset:
    """Square images at half the resolution: means of 2 x 2 pixels, in steps of 1/255."""
    side = round(data.features**0.5)
    if side * side != data.features or side % 2:
        raise DataError(f"{data.name} has {data.features} inputs a sample: no square image")

    def half(x: np.ndarray) -> np.ndarray:
        pixels = x.reshape(len(x), side // 2, 2, side // 2, 2).mean(axis=(2, 4))
        return (np.rint(pixels * 255) / 255).reshape(len(x), -1).astype(np.float32)

    return replace(data, x_train=half(data.x_train), x_test=half(data.x_test))


def throughput(
    network: Network,
    config: ArrayConfig,
    clock_hz: int,
    data: Dataset,
    settings: TrainSettings,
    progress: Progress = silent,
) -> dict:
    """Train on the golden model, every epoch; cycles of a sample, and samples/s at a clock.

    Cycles are those of the training program, from one sample to the next: WAIT and EMIT are among
    them, stalls of a source that is too slow are not. "resident": without WAIT and EMIT.
    """
    with open_device("golden", config) as device:
        meter = Meter(device)
        trainer = Trainer(meter, network, data, settings, stream=True)
        trainer.start()
        while trainer.epoch < settings.epochs:
            trainer.run_epoch(progress)
        accuracy = trainer.evaluate()["accuracy"]
        sweeps = trainer.summary()["sweeps_per_sample"]
    cycles = meter.cycles()
    total = cycles.sum(axis=1)
    kinds = dict(zip(KINDS, cycles.mean(axis=0).tolist(), strict=True))
    if not config.kind_counters:
        kinds = {"all": kinds["mac"]}
    learn = list(KINDS).index("learn")
    link = kinds.get("wait", 0.0) + kinds.get("emit", 0.0)
    if not config.kind_counters:  # then every sample has all WAITs and EMITs
        program, _ = trainer.rule.train_program()
        link = sum(
            issue_cycles(config, i) + drain_cycles(config, i)
            for i in program.instructions
            if isinstance(i, Wait | Emit)
        )
    return {
        "seed": settings.seed,
        "accuracy": accuracy,
        "cycles": float(total.mean()),
        "cycles_p95": float(np.percentile(total, 95)),
        "cycles_by_kind": kinds,
        "resident": float(total.mean()) - link,
        "learned": float(np.mean(cycles[:, learn] > 0)) if config.kind_counters else None,
        "free_sweeps": sweeps,
        "samples_per_second": clock_hz / float(total.mean()),
    }


def compile_rival(network: Network, rule: RuleSettings, folder: Path) -> Path:
    """Compile `fast.c` for this machine into a folder. Raises ToolError without a compiler, and
    ConfigError for a network that is not one hidden layer."""
    if network.depth != 2:
        raise ConfigError(f"the C program has one hidden layer, {network} has not")
    cc, *flags = shlex.split(os.environ.get("CC", "cc"))
    if not shutil.which(cc):
        raise ToolError(f"the C program needs a compiler: no {cc} here (the variable CC names one)")
    sizes = dict(zip(("NI", "NH", "NO"), network.sizes, strict=True))
    rates = {f"RATE{k}": 2.0**-shift for k, shift in enumerate(rule.rate_shifts, start=1)}
    numbers = {
        **sizes,
        **rates,
        "BITS": rule.input_bits,
        "FREE_CAP": rule.free_cap,
        "NUDGED_CAP": rule.nudged_cap,
        "MARGIN": rule.margin,
        "BETA": rule.beta,
        "LOW": rule.targets[0],
        "HIGH": rule.targets[1],
    }
    given = [
        f"-D{name}={value}{'f' if isinstance(value, float) else ''}"
        for name, value in numbers.items()
    ]
    source, made = Path(__file__).with_name("fast.c"), folder / "fast"
    command = [cc, *flags, *COMPILE, *given, str(source), "-lm", "-o", str(made)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolError(f"{source.name} cannot be compiled: {done.stderr.strip().splitlines()[:1]}")
    return made


def rival(network: Network, data: Dataset, settings: TrainSettings) -> dict:
    """Train the C program on the same data: training samples/s of processor time on one core, over
    all epochs, and test accuracy. Its order of samples and its initial weights are its own."""
    top = (1 << settings.rule.input_bits) - 1
    with TemporaryDirectory(prefix="relaxon-") as folder:
        program = compile_rival(network, settings.rule, Path(folder))
        file = Path(folder) / "data"
        with file.open("wb") as out:
            np.array([len(data.x_train), len(data.x_test)], "<i4").tofile(out)
            for x, y in ((data.x_train, data.y_train), (data.x_test, data.y_test)):
                np.clip(np.rint(x * (top + 1)), 0, top).astype(np.uint8).tofile(out)
                y.astype(np.uint8).tofile(out)
        numbers = (settings.epochs, settings.rate_halvings, settings.seed)
        command = [str(program), str(file), *map(str, numbers)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ToolError(f"the C program failed: {done.stderr.strip()}")
    epochs = [json.loads(line) for line in done.stdout.splitlines()]
    return {
        "seed": settings.seed,
        "accuracy": epochs[-1]["accuracy"],
        "learned": float(np.mean([epoch["learned"] for epoch in epochs])),
        "samples_per_second": len(epochs) * len(data.x_train) / sum(e["seconds"] for e in epochs),
    }


def _rule(network: Network) -> RuleSettings:
    return settings_for("ep-centered", network, recipe=RECIPE)


def check(network: Network, config: ArrayConfig, data: Dataset) -> None:
    """Raise now what `compare` would raise after minutes of training: ConfigError for a network
    that does not fit, DataError for data that do not go with it, ToolError without a compiler."""
    rule = _rule(network)
    check_data(network, data, rule)
    make_rule(network, config, rule)
    with TemporaryDirectory(prefix="relaxon-") as folder:
        compile_rival(network, rule, Path(folder))


def compare(
    network: Network,
    config: ArrayConfig,
    clock_hz: int,
    data: Dataset,
    seeds: int,
    epochs: int,
    progress: Progress = silent,
) -> dict:
    """Machine and C program, one after the other, over seeds from 0 on; means of both, and the
    ratio of their samples/s."""
    rule = _rule(network)
    runs, rivals = [], []
    for seed in range(seeds):
        settings = TrainSettings(epochs=epochs, seed=seed, rule=rule)
        runs.append(throughput(network, config, clock_hz, data, settings, progress))
        rivals.append(rival(network, data, settings))
    machine, other = (
        float(np.mean([run["samples_per_second"] for run in these])) for these in (runs, rivals)
    )
    return {
        "network": str(network),
        "data": data.name,
        "epochs": epochs,
        "clock_hz": clock_hz,
        "machine": runs,
        "c": rivals,
        "ratio": machine / other,
    }
