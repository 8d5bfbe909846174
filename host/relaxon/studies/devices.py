"""Imperfect devices: accuracy of what learns on them beside what was trained elsewhere and loaded.

A physical network has synapses that differ, states with noise, weights that drift (Momeni et al.
2025). Here they are imposed on the golden model's memories: on weights whenever `EVERY` samples
have passed, on states, and bits that flip (single events), between two instructions that chance
picks. All chance comes from a seed. The compiled engine runs programs, since it can pause.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relaxon_device.base import Rows, left_over, starved
from relaxon_isa import ConfigError, preset
from relaxon_sim.compiled.device import CompiledDevice
from relaxon_sim.compiled.machine import WORK, Running
from relaxon_sim.compiled.status import Status

from ..datasets import load
from ..generator import Generator
from ..network import Network
from ..parallel import Pool, one_by_one
from ..rules import first_preset, settings_for
from ..training import Progress, Trainer, TrainSettings, silent
from .kept import kept, key_of
from .plots import pyplot

__all__ = [
    "EVENTS",
    "FLAWS",
    "RATES",
    "RULES",
    "Flaws",
    "Imperfect",
    "draw",
    "flipped",
    "learned_and_loaded",
    "sweep",
]

NETWORK = Network((64, 32, 10))
RULES = ("ep-centered", "coupled-centered", "lock-in", "pcn", "backprop")
"""Of `relaxon bench devices`."""
EVERY = 8
"""Samples after which weights are made what the device lets them be."""
MOMENTS = 8
"""How often in a sample, on average, noise meets the states."""
FLAWS = {
    "gain": (0.1, 0.2, 0.5, 1.0),
    "offset": (0.02, 0.05, 0.1, 0.2),
    "stuck": (0.02, 0.05, 0.1, 0.2),
    "noise": (0.01, 0.02, 0.05, 0.1),
    "drift": (0.02, 0.05, 0.1, 0.2),
    "bits": (8, 6, 5, 4),
}
"""Kinds of flaws (members of `Flaws`) and the sizes that `relaxon bench devices` tries."""
EVENTS = {"weights": "weight_flips", "states": "state_flips", "drives": "drive_flips"}
"""Memories whose bits flip, and the member of `Flaws` that says how often."""
RATES = (0.001, 0.01, 0.1, 1.0)
"""Flips a sample that `relaxon bench flips` tries."""


@dataclass(frozen=True)
class Flaws:
    """What is wrong with a device.

    Parameters
    ----------
    gain
        Standard deviation of the factor, 1 on average, that a synapse's weight and all that it
        learns are multiplied by.
    offset
        Standard deviation of what is added to each weight that is loaded.
    stuck
        Share of synapses whose weight never changes, each at a value between -1/2 and 1/2.
    noise
        Standard deviation of what is added to every state, `MOMENTS` times a sample; it may take
        a state beyond 0 and 1, and an error, which some rules keep in a state's place, to either
        side.
    drift
        Standard deviation of how far a weight wanders in 1,000 samples.
    bits
        Bits of a weight in [-2, 2), rounded up or down by chance, so that the mean stays; 0: all
        that the machine has.
    weight_flips, state_flips, drive_flips
        Bits that flip in a sample, on average, of the words of that memory that the network uses.
    seed
        Of all chance.
    """

    gain: float = 0
    offset: float = 0
    stuck: float = 0
    noise: float = 0
    drift: float = 0
    bits: int = 0
    weight_flips: float = 0
    state_flips: float = 0
    drive_flips: float = 0
    seed: int = 0


class Imperfect(CompiledDevice):
    """The compiled golden model with flaws; perfect until `impair`.

    Parameters
    ----------
    config
        As for `CompiledDevice`, whose errors it raises.
    """

    _trainer: Trainer | None = None

    def impair(self, trainer: Trainer, flaws: Flaws) -> None:
        """From now on the device has these flaws; its weights are taken as just loaded.

        ``trainer``: of this device. Raises ConfigError for a size that means nothing.
        """
        for name, size in vars(flaws).items():
            if size < 0 or (name == "stuck" and size > 1) or (name == "bits" and size > 16):
                raise ConfigError(f"{name} = {size}: 0 and more, stuck to 1 and bits to 16")
        self._trainer, self._flaws, self._work = trainer, flaws, 0.0
        self._rng = Generator((0x666C617773, flaws.seed))
        self._rates = {
            "noise": MOMENTS if flaws.noise else 0,
            **{memory: getattr(flaws, name) for memory, name in EVENTS.items()},
        }
        self._one = 1 << trainer.formats.weight_frac
        self._noisy = self._states()
        cells = self._cells()
        words = self.machine.weights.words[cells].astype(np.float64)
        self._synapses = np.flatnonzero(words)  # other cells are of no synapse, or biases
        words = words[self._synapses]
        self._gain = 1 + flaws.gain * self._normal(len(words))
        self._stuck = self._rng.uniform(shape=len(words)) < flaws.stuck
        self._fixed = self._rng.uniform(-0.5, 0.5, len(words)) * self._one
        self._set_weights(words * self._gain + flaws.offset * self._one * self._normal(len(words)))

    def _normal(self, count: int) -> NDArray:
        """Numbers of the standard normal distribution (Box & Muller 1958)."""
        a, b = self._rng.uniform(shape=count), self._rng.uniform(shape=count)
        return np.sqrt(-2 * np.log(1 - a)) * np.cos(2 * np.pi * b)

    # Weights

    def _cells(self) -> NDArray:
        """Where all cells of the network's tiles lie now."""
        assert self._trainer
        return self.machine.weights.positions()[: self._trainer.layout.weight_tiles].reshape(-1)

    def _set_weights(self, words: NDArray) -> None:
        """Give synapses the weights that come nearest to these."""
        step = max(1, 4 * self._one >> self._flaws.bits) if self._flaws.bits else 1
        words = np.floor(words / step + self._rng.uniform(shape=len(words))) * step
        words = np.where(self._stuck, np.rint(self._fixed), words)
        top = 1 << (self.config.weight_bits - 1)
        self._before = np.clip(words, -top, top - 1)
        self.machine.weights.words[self._cells()[self._synapses]] = self._before

    def _age(self, samples: int) -> None:
        """What so many samples have done to the weights."""
        words = self.machine.weights.words[self._cells()[self._synapses]].astype(np.float64)
        words = self._before + (words - self._before) * self._gain
        if self._flaws.drift:
            far = self._flaws.drift * self._one * (samples / 1000) ** 0.5
            words += far * self._normal(len(words))
        self._set_weights(words)

    # Events

    def _states(self) -> tuple[NDArray, NDArray]:
        """Where the network's states lie, and what is 1 in the words of each."""
        assert self._trainer
        layout, rule, p = self._trainer.layout, self._trainer.rule, self.config.p
        places, ones = [], []
        for name in ("free", "plus", "minus"):
            for layer in range(1, layout.depth + 1) if name in layout.planes else ():
                places.append(layout.plane(name, layer) * p + layout.layers[layer].lanes)
                ones.append(np.full(len(places[-1]), 1 << rule.frac(layer)))
        return np.concatenate(places), np.concatenate(ones)

    def _meet(self, event: str) -> None:
        """Noise on all states, or a bit that flips in a memory."""
        machine, layout = self.machine, self._trainer and self._trainer.layout
        assert layout and self._trainer
        p, config = self.config.p, self.config
        if event == "noise":
            at, one = self._noisy
            words = machine.states.words[at] + np.rint(
                self._flaws.noise * one * self._normal(len(at))
            )
            top = 1 << (config.state_bits - 1)
            machine.states.words[at] = np.clip(words, -top, top - 1)
            return
        memory, at, bits = {
            "weights": lambda: (
                machine.weights.words,
                self._cells()[self._synapses],
                config.weight_bits,
            ),
            "states": lambda: (
                machine.states.words,
                np.arange(layout.state_groups * p),
                config.state_bits,
            ),
            "drives": lambda: (
                machine.drives.words,
                np.arange(layout.drive_groups * p),
                config.acc_bits,
            ),
        }[event]()
        at = at[self._rng.integers(0, len(at), 1)[0]]
        word = int(memory[at]) ^ 1 << int(self._rng.integers(0, bits, 1)[0])
        memory[at] = (word & (1 << bits) - 1 ^ 1 << bits - 1) - (1 << bits - 1)

    def run_all(
        self,
        samples: Rows,
        *,
        row: int = 0,
        count: bool = True,
        progress: Callable[[int], None] = silent,
    ) -> list[bytes]:
        if self._trainer is None:
            return super().run_all(samples, row=row, count=count, progress=progress)
        running = Running(self.machine, self._checked_row(row), count)
        payloads: list[bytes] = []
        status = Status.STARVED
        for start in range(0, len(samples), EVERY):
            part = samples[start : start + EVERY]
            running.feed(part.reshape(-1))
            status = self._run_part(running, payloads, len(part))
            self._age(len(part))
            progress(len(part))
        if status == Status.STARVED:
            raise starved(len(samples))
        if running.rest.size:
            raise left_over()
        return payloads

    def _run_part(self, running: Running, payloads: list[bytes], samples: int) -> int:
        """Run until these samples are used up or the program halts, events between instructions;
        none in the first part, which shows how much work a sample is."""
        rate, used, status = sum(self._rates.values()), 0, Status.PAUSED
        while status not in (Status.HALTED, Status.STARVED):
            gap = WORK
            if rate and self._work:
                wait = -np.log(1 - self._rng.uniform(shape=1)[0]) / rate
                gap = min(WORK, 1 + int(wait * self._work))
            status = running.step(gap)
            payloads += running.emitted()
            used += gap - running.left
            if status == Status.PAUSED and gap < WORK:
                shares = np.cumsum(list(self._rates.values())) / rate
                which = int(np.searchsorted(shares, self._rng.uniform(shape=1)[0], side="right"))
                self._meet(list(self._rates)[which])
        self._work = self._work or used / samples
        return status


@cache
def _perfect(rule: str, seed: int, epochs: int) -> tuple[TrainSettings, list[NDArray]]:
    """A training on a machine without flaws: its settings and real weights."""
    run = TrainSettings(epochs=epochs, seed=seed, rule=settings_for(rule, NETWORK.depth))
    trainer = _trainer(run)
    trainer.start()
    while trainer.epoch < epochs:
        trainer.run_epoch()
    return run, trainer.real_weights()


def _trainer(run: TrainSettings) -> Trainer:
    device = Imperfect(preset(first_preset(NETWORK, run.rule)))
    return Trainer(device, NETWORK, load("digits"), run)


def _flaws(kind: str, size: float, seed: int) -> Flaws:
    members: dict[str, Any] = {kind: size, "seed": seed}
    return Flaws(**members)


def _impair(trainer: Trainer, flaws: Flaws) -> None:
    assert isinstance(trainer.device, Imperfect)
    trainer.device.impair(trainer, flaws)


def learned_and_loaded(rule: str, kind: str, size: float, seed: int, epochs: int) -> dict:
    """Test accuracy on digits, 64-32-10, of a device with a flaw of that size: of a network that
    learned on it, and of one that learned on a perfect device and was loaded."""
    run, weights = _perfect(rule, seed, epochs)
    flaws = _flaws(kind, size, seed)
    trainer = _trainer(run)
    trainer.start()
    _impair(trainer, flaws)
    while trainer.epoch < epochs:
        trainer.run_epoch()
    learned = trainer.evaluate()["accuracy"]
    trainer = _trainer(run)
    trainer.start(weights)
    perfect = trainer.evaluate()["accuracy"]
    _impair(trainer, flaws)
    return {
        "rule": rule,
        "kind": kind,
        "size": size,
        "learned": learned,
        "loaded": trainer.evaluate()["accuracy"],
        "perfect": perfect,
    }


def flipped(rule: str, memory: str, rate: float, seed: int, epochs: int) -> dict:
    """Test accuracy on digits after an epoch in which bits of a memory flipped: with learning on,
    and off (the same samples, inference alone). They flip in the test, too."""
    run, weights = _perfect(rule, seed, epochs)
    found = {}
    for name in ("on", "off"):
        trainer = _trainer(run)
        trainer.start(weights)
        trainer.epoch = epochs - 1  # the rates of the last one
        _impair(trainer, _flaws(EVENTS[memory], rate, seed))
        if name == "on":
            trainer.run_epoch()
        else:
            trainer.predict(trainer.data.x_train)
        found[name] = trainer.evaluate()["accuracy"]
    return {"rule": rule, "memory": memory, "rate": rate, **found}


TASKS = {"learned_and_loaded": learned_and_loaded, "flipped": flipped}


def sweep(
    function: str,
    rules: Sequence[str],
    sizes: Mapping[str, Sequence[float]],
    seeds: int,
    epochs: int,
    pool: Pool = one_by_one,
    keep: Path | None = None,
    progress: Progress = silent,
) -> list[dict]:
    """Rows, means over seeds, of one of `TASKS` for every rule, kind and size.

    ``pool``, ``keep``, ``progress``: as of `relaxon.studies.comparison.rules`.
    """
    tasks = [
        (rule, kind, size, seed, epochs)
        for kind, found in sizes.items()
        for size in found
        for rule in rules
        for seed in range(seeds)
    ]
    done = {}
    for task, result in pool((_kept, (keep, function, task)) for task in tasks):
        done[task] = result
        progress(1)
    rows = []
    for task in tasks[::seeds]:
        runs = [done[(*task[:3], seed, epochs)] for seed in range(seeds)]
        means = {
            name: float(np.mean([run[name] for run in runs])) if name in MEASURED else value
            for name, value in runs[0].items()
        }
        rows.append(means)
    return rows


MEASURED = ("learned", "loaded", "perfect", "on", "off")


def _kept(keep: Path | None, function: str, task: tuple) -> tuple[tuple, dict]:
    """A task and what came of it, now or in an earlier run."""
    return task, kept(keep, key_of([function, *task]), TASKS[function], *task)


def draw(rows: Sequence[dict], across: str, lines: tuple[str, str], path: Path) -> None:
    """Accuracy against size, to a picture file: a panel for each value of the second column, a
    colour a rule; the first of ``lines`` drawn through, the second dashed. ``across``: the size's
    column."""
    plt = pyplot()
    kind = "kind" if "kind" in rows[0] else "memory"
    kinds = list(dict.fromkeys(row[kind] for row in rows))
    rules = list(dict.fromkeys(row["rule"] for row in rows))
    figure, axes = plt.subplots(
        1, len(kinds), figsize=(3 * len(kinds) + 1, 3.4), sharey=True, squeeze=False
    )
    for panel, name in zip(axes[0], kinds, strict=True):
        for number, rule in enumerate(rules):
            mine = [row for row in rows if (row[kind], row["rule"]) == (name, rule)]
            for line, style in zip(lines, ("-o", "--x"), strict=True):
                panel.plot(
                    [row[across] for row in mine],
                    [100 * row[line] for row in mine],
                    style,
                    color=f"C{number}",
                    label=f"{rule}, {line}",
                )
        panel.set_xscale("log")
        sizes = sorted({row[across] for row in rows if row[kind] == name})
        panel.set_xticks(sizes, [f"{size:g}" for size in sizes])
        panel.minorticks_off()
        panel.set_xlabel(name)
    axes[0][0].set_ylabel("test accuracy, %")
    axes[0][-1].legend(fontsize="x-small")
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)
