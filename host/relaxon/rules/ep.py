"""Equilibrium Propagation and the rules that are it with other waveforms or a clamped output.

The energy of a state s is ``1/2 sum s^2 - sum_l s_l^T W_l s_{l-1} - sum b s``, each s clipped to
[0, 1] (the hard sigmoid; Scellier & Bengio 2017, section 2, with the discrete step of eq. 43). The
free phase minimises it layer by layer; the nudged phases minimise it with the objective's pull on
the outputs, from the free state on. Then (eq. 10; centered: Laborieux et al. 2021)

    dW_l = rate_l * (s_l s_{l-1}^T in phase A - the same in phase B) / (beta_A - beta_B).
"""

from dataclasses import replace
from math import pi, sin
from typing import ClassVar

import numpy as np

from relaxon_isa import Builder, ConfigError, Sign

from ..layout import MemoryNeeds
from ..network import Network
from .base import Rule
from .parts import behind, reciprocal

__all__ = [
    "CenteredEP",
    "Contrastive",
    "CoupledCentered",
    "CoupledNegative",
    "CoupledPositive",
    "LockIn",
    "NegativeEP",
    "PositiveEP",
    "RandomEP",
    "SmallStepEP",
]


class CenteredEP(Rule):
    """Phases +beta and -beta, side by side: no error linear in beta."""

    name = "ep-centered"
    paper = "Scellier & Bengio 2017; Laborieux et al. 2021"
    summary = "free; +beta and -beta from the free state; (ss+ - ss-) / 2 beta"
    OBJECTIVES = ("squared-error", "true-cost", "clamping", "cross-entropy")
    ARCHITECTURES: ClassVar[dict[str, str]] = {}
    FEEDBACK = LEAN = True

    @property
    def nudged_planes(self) -> list[str]:
        return [name for pair in self.pairs for name in pair if name != "free"]

    def gains(self) -> list[float]:
        return [reciprocal(2 * self.settings.beta)]


class PositiveEP(CenteredEP):
    """One nudged phase against the free one."""

    name = "ep-positive"
    paper = "Scellier & Bengio 2017"
    summary = "free; +beta; (ss+ - ss0) / beta"
    LEAN = False

    @property
    def pairs(self) -> list[tuple[str, ...]]:
        return [("plus", "free")]

    def gains(self) -> list[float]:
        return [reciprocal(self.settings.beta)]


class NegativeEP(PositiveEP):
    """One phase nudged away from the target. Outputs need room below 0: they are linear."""

    name = "ep-negative"
    paper = "Scellier & Bengio 2017; Scellier et al. 2023"
    summary = "free; -beta; (ss0 - ss-) / beta; linear outputs"
    SIGN = Sign.MINUS
    RATES = (5, 7)
    OUTPUT = "linear"

    @property
    def pairs(self) -> list[tuple[str, ...]]:
        return [("free", "minus")]

    def _check(self, depth: int) -> None:
        super()._check(depth)
        if self.settings.output == "clip" and self.settings.objective != "clamping":
            raise ConfigError(
                f"rule {self.name} with clipped outputs: an output at 0 cannot move away from a "
                "target above it, so that nothing is learned there; use --output linear"
            )


class RandomEP(PositiveEP):
    """One nudged phase, +beta or -beta by the sample's random bit."""

    name = "ep-random"
    paper = "Scellier & Bengio 2017, section 5; Laborieux et al. 2021"
    summary = "free; +beta or -beta at random; +-(ss - ss0) / beta"
    OBJECTIVES = ("squared-error", "cross-entropy")
    SIGN = UPDATE_SIGN = Sign.RANDOM


class SmallStepEP(RandomEP):
    """EP with the steps of its first paper: all layers at once, half of the way at a time.

    s = clip(s + (drive - s) / 2), synchronous (eq. 43 with epsilon = 0.5), states going back and
    forth between two planes: 20 steps for the free phase, 4 for the nudged one, beta = 1 with a
    random sign; so a phase need not have settled. The nudge is the fixed current beta (y - o); each
    sample starts from zeros, where the source starts from the sample's own last free state.

    Source: Scellier & Bengio 2017, section 5 and table 2 (784-500-10).
    """

    name = "ep-2017"
    paper = "Scellier & Bengio 2017, table 2"
    FEEDBACK = False
    summary = "20 half steps; 4 at +beta or -beta at random; +-(ss - ss0) / beta"
    OBJECTIVES = ("squared-error",)
    EARLY_STOP = "its outputs go half of the way a step, back and forth between two planes"
    DEFAULTS: ClassVar[dict] = {
        "beta": 1.0, "grid": 12, "free_cap": 20, "nudged_cap": 4, "fixed_sweeps": True
    }  # fmt: skip

    def _check(self, depth: int) -> None:
        super()._check(depth)
        s = self.settings
        for name, cap in (("free_cap", s.free_cap), ("nudged_cap", s.nudged_cap)):
            if cap % 2:
                raise ConfigError(f"{name} = {cap}: rule {self.name} goes back and forth, by twos")

    def needs(self, network: Network) -> MemoryNeeds:
        return replace(super().needs(network), drives=("own",))

    @property
    def pairs(self) -> list[tuple[str, ...]]:
        return [("minus", "free")]

    def to_state(self, layer: int) -> dict:
        return (fields := super().to_state(layer)) | {"shift": fields["shift"] + 1}

    def _step(self, b: Builder, new: str, old: str, nudged: bool, judged: bool = False) -> None:
        """One step of all layers, from one plane to another."""
        lay = self.layout
        with b.loop(1, sweep=True):
            for layer in range(1, lay.depth + 1):
                drive = self.objective.drive(layer) if nudged else None
                drive = drive or lay.held("static", layer)
                judge = (
                    {**self.judged(layer, layer == 1), "old": self.at(old, layer)} if judged else {}
                )
                self.drive_layer(
                    b,
                    layer,
                    self.sources(layer, old, old),
                    dst=self.at(new, layer),
                    drive=self.add_own_state(b, layer, old, drive, "one"),
                    **{**self.to_state(layer), **self.tail(layer), **judge},
                )

    def _swing(self, b: Builder, one: str, other: str, cap: int, nudged: bool) -> None:
        """``cap`` steps from plane ``one`` to ``other`` and back."""
        if not cap:
            return
        with b.loop(cap // 2, until=not self.settings.fixed_sweeps):
            self._step(b, other, one, nudged)
            self._step(b, one, other, nudged, judged=True)

    def free_phase(self, b: Builder) -> None:
        self.clear(b, first=1)
        self._swing(b, "free", "plus", self.settings.free_cap, nudged=False)

    def nudged_phase(self, b: Builder) -> None:
        self.objective.nudge(b)
        self._step(b, "plus", "free", nudged=True)
        self._step(b, "minus", "plus", nudged=True)
        self._swing(b, "minus", "plus", self.settings.nudged_cap - 2, nudged=True)


class CoupledPositive(PositiveEP):
    """Coupled learning: outputs held a part of the way to the target."""

    name = "coupled-positive"
    paper = "Scellier et al. 2023 (CpL, positive)"
    summary = "free; outputs held at o + beta (y - o); (ss+ - ss0) / beta"
    OBJECTIVES = ("clamping",)


class CoupledNegative(NegativeEP):
    """Coupled learning away from the target; held outputs need no room in the dynamics."""

    name = "coupled-negative"
    paper = "Scellier et al. 2023 (CpL, negative)"
    summary = "free; outputs held at o - beta (y - o); (ss0 - ss-) / beta"
    OBJECTIVES = ("clamping",)
    RATES = Rule.RATES
    OUTPUT = "clip"


class CoupledCentered(CenteredEP):
    """Coupled learning, both ways."""

    name = "coupled-centered"
    paper = "Scellier et al. 2023 (CpL, centered)"
    summary = "free; outputs held at o +- beta (y - o); (ss+ - ss-) / 2 beta"
    RATES = (5, 8)
    OBJECTIVES = ("clamping",)


class Contrastive(CoupledPositive):
    """Contrastive Hebbian learning: outputs held at the target."""

    name = "contrastive"
    paper = "Movellan 1991; Scellier et al. 2023 (CL)"
    summary = "free; outputs held at y; ss+ - ss0"
    DEFAULTS: ClassVar[dict] = {"beta": 1.0}

    def _check(self, depth: int) -> None:
        super()._check(depth)
        if self.settings.beta != 1:
            raise ConfigError(
                f"beta = {self.settings.beta} with rule contrastive: it holds the outputs at the "
                "target, beta = 1; a part of the way is rule coupled-positive"
            )


class LockIn(CenteredEP):
    """N-point lock-in: the real part of holomorphic EP (Laborieux & Zenke 2022).

    beta_k = beta sin(2 pi k / N), c_k = (2 / N beta) sin(2 pi k / N), k = 0 .. N - 1. Phases with
    the same nudge are the same phase and run once, with the sum of their coefficients; those
    without a nudge stay free and count nothing. N = 3, 4 and 6 are centered EP.
    """

    name = "lock-in"
    paper = "Laborieux & Zenke 2022 (real part)"
    LEAN = False
    summary = "free; beta sin(2 pi k / N); sum of (2 / N beta) sin(2 pi k / N) ss(k)"
    OBJECTIVES = ("squared-error",)
    OPTIONS: ClassVar[dict[str, tuple[float, str]]] = {"points": (8, "N, points a period")}

    def _waveform(self) -> list[tuple[float, float]]:
        """Nudge beta_j > 0 and coefficient c_j of each pair of phases +-beta_j."""
        points = int(self.option("points"))
        sums: dict[float, float] = {}
        for k in range(points):
            level = round(sin(2 * pi * k / points), 9)
            if level > 0:
                sums[level] = sums.get(level, 0.0) + 2 * level / points
        beta = self.settings.beta
        return [(beta * v, c / beta if beta else 0.0) for v, c in sorted(sums.items())[::-1]]

    def _check(self, depth: int) -> None:
        super()._check(depth)
        points = self.option("points")
        if points not in range(3, 33):
            raise ConfigError(
                f"points = {points:g}: a whole number, 3 to 32 (with 2 the sine is 0 everywhere)"
            )

    def needs(self, network: Network) -> MemoryNeeds:
        pairs = len(self._waveform())
        tiles = tuple(name + behind(j) for j in range(1, pairs) for name in ("beta", "gain"))
        return replace(super().needs(network), phases=2 * pairs, tiles=tiles)

    @property
    def pairs(self) -> list[tuple[str, ...]]:
        return [("plus" + j, "minus" + j) for j in map(behind, range(self.layout.needs.pairs))]

    def gains(self) -> list[float]:
        return [c for _, c in self._waveform()]

    def constants(self) -> dict[str, np.ndarray]:
        tiles, eye = super().constants(), np.eye(self.config.p)
        for j, (beta, _) in enumerate(self._waveform()):
            tiles["beta" + behind(j)] = beta * eye
        return tiles
