"""What pictures of a run are drawn from: its record, and what weights and data show of it.

States, energies and answers come from the golden model of the run's machine, which has the bits
of every other backend.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np

from relaxon_isa import DataError, DifferenceError, Register, Sign
from relaxon_sim.reference import Convolutions, Reference

from ..backends import open_device
from ..datasets import Dataset
from ..lab import Lab
from ..network import Network, from_integers, to_integers
from ..record import RunRecord, digest_of
from ..rules import make_rule
from ..rules.base import Rule
from ..runs import load_data, load_run
from ..training import Progress, Trainer, silent, summary_of

__all__ = ["Evidence", "Step", "reference_of"]

LARGEST = 1 << 24
"""Pairs of neurons up to which the energy's reference is built."""
SAMPLES = 200


@dataclass(frozen=True)
class Step:
    """The network after a sweep.

    Members
    -------
    phase
        "free", or the plane of a nudged phase.
    sweep
        Of the sample, the free phase's first; 0: before it.
    states
        s_1 .. s_L, or as far as they relax.
    energy
        What the phase minimises, in units of a state squared; None: no energy is known.
    """

    phase: str
    sweep: int
    states: list[np.ndarray]
    energy: float | None


@dataclass
class Evidence:
    """A run as its record, weights and data show it. What a picture lacks is a DataError whose
    text says which option would bring it.

    Members
    -------
    record
        Of the run.
    weights_file
        A checkpoint or an export from the run's end, or None.
    data_source
        Where the run's data are now; None: where they were.
    rule
        Where the run's own rule is now, "file.py:Class".
    samples
        How many test samples sweeps are counted of.
    chosen
        Numbers of test samples whose settling is shown; empty: the first three, and the first one
        that is answered wrongly.
    progress
        Told of samples as they relax.
    """

    record: RunRecord
    weights_file: Path | None = None
    data_source: str | None = None
    rule: str | None = None
    samples: int = SAMPLES
    chosen: tuple[int, ...] = ()
    progress: Progress = silent

    def __post_init__(self) -> None:
        self.network, self.settings, self.config = self.record.asked()
        if self.rule:
            rule = replace(self.settings.rule, name=self.rule)
            self.settings = replace(self.settings, rule=rule)

    # What there is

    @cached_property
    def summary(self) -> dict:
        """As `Trainer.summary`, of the record's counters."""
        counters = self.record.counters
        return summary_of({r: int(counters.get(r.name, 0)) for r in Register}, self.config)

    @cached_property
    def compiled(self) -> Rule:
        """The run's rule for its network and machine."""
        return make_rule(self.network, self.config, self.settings.rule)

    @cached_property
    def integers(self) -> list[np.ndarray]:
        """The run's weights as its machine held them (`Layout.shapes`)."""
        if self.weights_file is None:
            raise DataError(
                "needs the run's weights: --weights FILE, a checkpoint or an export that it left "
                "('relaxon train --record run.json --checkpoint run.npz' keeps both)"
            )
        frac, bits = self.compiled.formats.weight_frac, self.config.weight_bits
        run = load_run(self.weights_file)
        found = run.saved.weights if run.saved else None
        if found is None:
            found = [to_integers(w, frac, bits) for w in run.weights or []]
        if (digest := digest_of(found)) != self.record.weights:
            raise DifferenceError(
                f"{self.weights_file}: digest of its weights is {digest}, the run ended with "
                f"{self.record.weights}: --weights must be what that run left at its end"
            )
        return found

    @cached_property
    def weights(self) -> list[np.ndarray]:
        """The same as real numbers, those of layers alone, bias last."""
        frac = self.compiled.formats.weight_frac
        return [from_integers(w, frac) for w in self.integers[: self.network.depth]]

    @cached_property
    def data(self) -> Dataset:
        """The run's data."""
        spec = self.record.spec
        try:
            found = load_data(spec, self.data_source)
        except DataError as error:
            raise DataError(f"needs the run's data ({error}): --data says where they are") from None
        if found.digest != spec["data_digest"]:
            raise DifferenceError(
                f"data: digest of {found.name} is {found.digest}, the run's data had "
                f"{spec['data_digest']}: --data says where those are"
            )
        if not len(found.x_test):
            raise DataError("needs test samples: these data have none")
        return found

    @property
    def labelled(self) -> Dataset:
        """The data, if they have classes."""
        if self.data.classes is None:
            raise DataError("only data with classes have it: these have real-valued targets")
        return self.data

    @cached_property
    def image(self) -> tuple[int, int, int] | None:
        """Rows, columns and channels that an input is drawn with, if it is an image."""
        first, side = self.network.maps[0], round(self.network.sizes[0] ** 0.5)
        if first.height > 1:
            return first.height, first.width, first.channels
        return (side, side, 1) if side >= 4 and side**2 == self.network.sizes[0] else None

    # What the golden model says

    @cached_property
    def outputs(self) -> np.ndarray:
        """Outputs of the whole test part, (samples, outputs)."""
        data, weights = self.data, self.integers
        one = {"x_train": data.x_train[:1], "y_train": data.y_train[:1]}
        frac = self.compiled.formats.weight_frac
        with open_device("golden", self.config) as device:
            trainer = Trainer(device, self.network, replace(data, **one), self.settings)
            trainer.start([from_integers(w, frac) for w in weights])
            return trainer.predict(outputs=True, progress=self.progress)

    @property
    def answers(self) -> np.ndarray:
        """The class that each test sample is taken for, as a number."""
        return self.outputs[:, : self.labelled.outputs].argmax(axis=1)

    @property
    def wrong(self) -> np.ndarray:
        """Numbers of the test samples that are answered wrongly."""
        return np.flatnonzero(self.answers != self.labelled.y_test)

    @contextmanager
    def _lab(self) -> Iterator[Lab]:
        with Lab.open("golden", self.network, self.settings.rule, self.config) as lab:
            lab.load_weights(self.integers, raw=True)
            yield lab

    def sample(self, number: int) -> bytes:
        """A test sample's input, as it travels."""
        return self.compiled.encode_inputs(self.data.x_test[number : number + 1])[0]

    @cached_property
    def sweeps(self) -> np.ndarray:
        """Free sweeps of each of the first test samples."""
        count = min(self.samples, len(self.data.x_test))
        found = np.zeros(count, dtype=np.int64)
        with self._lab() as lab:
            program = lab.rule.infer_program()
            for i in range(count):
                before = lab.counters()[Register.SWEEPS]
                lab.run(program, [self.sample(i)])
                found[i] = lab.counters()[Register.SWEEPS] - before
                self.progress(1)
        if not found.any():
            raise DataError(f"rule {self.settings.rule.name} makes no sweeps")
        return found

    @cached_property
    def shown(self) -> tuple[int, ...]:
        """Numbers of the test samples whose settling is shown."""
        count = len(self.data.x_test)
        if beyond := [n for n in self.chosen if not 0 <= n < count]:
            raise DataError(f"sample {beyond[0]}: the data have test samples 0 to {count - 1}")
        if self.chosen:
            return self.chosen
        first = range(min(3, count))
        wrong = [int(n) for n in self.wrong if n not in first] if self.data.classes else []
        return (*first, *wrong[:1])

    @cached_property
    def settling(self) -> dict[int, list[Step]]:
        """Each shown sample, sweep by sweep."""
        rule, base = type(self.compiled), Rule
        if rule.free_phase is not base.free_phase:
            raise DataError(f"rule {self.settings.rule.name} has a free phase without sweeps")
        with self._lab() as lab:
            found = {}
            for number in self.shown:
                found[number] = [*self._free(lab, number), *self._nudged(lab, number)]
                self.progress(1)
        return found

    @cached_property
    def reference(self) -> Reference | None:
        """The energy of what relaxes, in double precision; None where it is another one."""
        rule, sizes = self.compiled, self.network.sizes
        pairs = sum(a * b for a, b in pairwise(sizes))
        plain = self.settings.rule.architecture == "layers" and rule.SYMMETRIC
        plain &= not rule.RESISTIVE
        if not plain or pairs > LARGEST:
            return None
        top = rule.objective.top_relaxed
        return reference_of(self.network, self.weights[:top], self.settings.rule.feedback)

    def _free(self, lab: Lab, number: int) -> Iterator[Step]:
        """The free phase, cut short after each of its sweeps."""
        top = self.compiled.objective.top_relaxed
        zeros = [np.zeros(n) for n in self.network.sizes[1 : top + 1]]
        yield Step("free", 0, zeros, 0.0 if self.reference else None)
        for cap in range(1, self._relax(lab, number) + 1):
            self._relax(lab, number, free_cap=cap)
            states = lab.states("free")[:top]
            energy = self.reference.energy(lab.plane("x"), states) if self.reference else None
            yield Step("free", cap, states, energy)

    def _relax(self, lab: Lab, number: int, **changes: int) -> int:
        """A sample's free phase; returns its sweeps."""
        lab.configure(self.settings.rule, **changes)
        before = lab.counters()[Register.SWEEPS]
        lab.run(lab.rule.infer_program(), [self.sample(number)])
        return lab.counters()[Register.SWEEPS] - before

    def _nudged(self, lab: Lab, number: int) -> Iterator[Step]:
        """The nudged phases, likewise, from where the free phase ended. What they minimise is
        E - beta (y - o_free) . o, the nudge with its sign."""
        own, rule = type(self.compiled), self.settings.rule
        names, pursued = self.compiled.nudged_planes, self.compiled.objective.name
        known = own.SIGN is not Sign.RANDOM and len(names) <= 2 and pursued == "squared-error"
        if own.nudged_phase is not Rule.nudged_phase or not known or not self.reference:
            return
        first = self._relax(lab, number)
        x, free = lab.plane("x"), lab.states("free")
        _, last = self._nudge(lab, number)
        pull = rule.beta * self.reference.feedback ** (self.network.depth - 1) * lab.plane("e")
        signs = (-1, 1) if own.SIGN is Sign.MINUS else (1, -1)
        phases = dict.fromkeys(names, free)
        for cap in range(last + 1):
            if cap:
                phases, _ = self._nudge(lab, number, nudged_cap=cap)
            for name, sign in zip(names, signs, strict=False):
                energy = self.reference.energy(x, phases[name]) - sign * pull @ phases[name][-1]
                yield Step(name, first + cap, phases[name], float(energy))

    def _nudge(
        self, lab: Lab, number: int, **changes: int
    ) -> tuple[dict[str, list[np.ndarray]], int]:
        """A sample's nudged phases and their sweeps. The first one is not counted by the machine,
        those of ``early_stop`` neither."""
        self._relax(lab, number, **changes)
        lab.set_plane("y", self.compiled.targets_of(self.data.y_test[number : number + 1])[0])
        before, rule = lab.counters()[Register.SWEEPS], self.settings.rule
        phases = lab.relax_nudged()
        counted = lab.counters()[Register.SWEEPS] - before
        return phases, rule.nudged_cap if rule.early_stop else counted + 1


def reference_of(network: Network, weights: Sequence[np.ndarray], feedback: int = 0) -> Reference:
    """The energy and phases in double precision of a network's first layers, convolutions as a
    matrix each. ``weights``: real, bias last."""
    if not network.convolves:
        parts = [w[:, :-1].copy() for w in weights], [w[:, -1].copy() for w in weights]
        return Reference(*parts, 2.0**-feedback)
    kernels, maps = network.kernels[: len(weights)], network.maps[: len(weights) + 1]
    return Convolutions(
        [
            w[:, :-1].reshape(len(w), k.height, k.width, below.channels)
            for w, k, below in zip(weights, kernels, maps, strict=False)
        ],
        [w[:, -1] for w in weights],
        [(m.height, m.width) for m in maps],
        [k.stride for k in kernels],
        [k.padding for k in kernels],
        2.0**-feedback,
    ).dense()
