"""Rules that learn while relaxing, or relax something else: continual EP, recurrent backprop."""

from typing import ClassVar

from relaxon_isa import Activation, Builder, Gating, Judge, Mac

from ..connections import Block, Region
from .ep import CenteredEP, PositiveEP
from .parts import PatchPoints

__all__ = ["ContinualEP", "ErrorPlaneRule", "RecurrentBackprop"]


class ContinualEP(PositiveEP):
    """Every nudged sweep updates by what it changed: (ss)_{k+1} - (ss)_k, over beta.

    States go back and forth between two planes; the weights that a sweep reads are those that the
    one before left, the first layer's current included. No free state is held: only the error at
    the outputs, fixed when the nudge begins. Updates are small: rounding is stochastic.

    Source: Ernoult et al. 2020 (continual EP).
    """

    name = "continual"
    paper = "Ernoult et al. 2020"
    summary = "free; each sweep at +beta: (ss(k+1) - ss(k)) / beta"
    OBJECTIVES = ("squared-error",)
    FEEDBACK = False
    _now = ("plus", "free")

    @property
    def pairs(self) -> list[tuple[str, ...]]:
        return [self._now]

    @property
    def nudged_planes(self) -> list[str]:
        return ["plus"]

    def learn_fields(self, block: Block) -> dict:
        return {**super().learn_fields(block), "stochastic": True}

    def nudged_phase(self, b: Builder) -> None:
        """Nothing to do: `update` relaxes and learns in turn."""

    def update(self, b: Builder, marks: PatchPoints) -> None:
        s = self.settings
        self._step(b, marks, "plus", "free", judged=False)
        if s.nudged_cap > 1:
            with b.loop(max(1, (s.nudged_cap - 1) // 2), until=not s.fixed_sweeps, sweep=True):
                self._step(b, marks, "minus", "plus")
                self._step(b, marks, "plus", "minus")

    def _step(
        self, b: Builder, marks: PatchPoints, new: str, old: str, judged: bool = True
    ) -> None:
        lay = self.layout
        if old != "free":
            self.static_drives(b)
        self.objective.nudge(b)
        for layer in range(lay.depth, 0, -1):
            judge = self.judged(layer, layer == lay.depth) if judged else None
            self.relax(
                b, layer, dst=new, below=old, above=new, judged=judge, old=self.at(old, layer)
            )
        self._now = (new, old)
        super().update(b, marks)


class ErrorPlaneRule(CenteredEP):
    """Rules that have the derivative of the states in one plane, instead of two states."""

    FEEDBACK = LEAN = False
    ARCHITECTURES: ClassVar[dict[str, str]] = {
        "backward": "its response is that of an energy: it needs symmetric weights",
    }

    @property
    def pairs(self) -> list[tuple[str, ...]]:
        return [("plus",)]


class RecurrentBackprop(ErrorPlaneRule):
    """Almeida-Pineda: the linearised network relaxes an error on the same synapses.

    e = D (J e + y - o), with J the symmetric weights and D the derivative of the clip at the free
    state (1 inside, 0 at a bound; at an output its value on the side of the target, which is 1 for
    targets in [0, 1]), swept from the outputs down until settled; then
    dW_l = rate * (e_l s_{l-1}^T + s_l e_{l-1}^T) at the free state s.

    Source: Almeida 1987, Pineda 1987; Scellier & Bengio 2019 (section 2: the side network).
    """

    name = "rbp"
    paper = "Almeida 1987; Pineda 1987; Scellier & Bengio 2019"
    summary = "free; the side network relaxes e; e s + s e"
    OBJECTIVES = ("squared-error",)
    MEAN = "free"

    def gains(self) -> list[float]:
        return [1.0]

    def nudged_phase(self, b: Builder) -> None:
        lay, s = self.layout, self.settings
        self.clear_planes(b, lay.plane("plus", 1), lay.span)
        output = lay.depth
        error = lay.layers[output].walk(src=Region(lay.e), dst=self.objective.drive(output))
        b.add(Mac(**error, tile=lay.tile("one"), to_drive=True))
        with b.loop(s.nudged_cap, until=not s.fixed_sweeps, sweep=True):
            for layer in range(output, 0, -1):
                self._error_sweep(b, layer)

    def _error_sweep(self, b: Builder, layer: int) -> None:
        output = layer == self.layout.depth
        self.drive_layer(
            b,
            layer,
            self.sources(layer, "plus", "plus"),
            dst=self.at("plus", layer),
            drive=self.objective.drive(layer),
            gate=None if output else self.at("free", layer),
            shift=self.formats.weight_frac,
            activation=Activation.LINEAR,
            gating=Gating.NONE if output else Gating.IN01,
            one=self.formats.state_frac,
            judge=Judge.CHANGE,
            fresh=output,
            tol=1,
            **self.tail(layer),
        )
