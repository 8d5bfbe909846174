"""Rules whose free phase is one forward pass: predictive coding by EP, backpropagation's kin.

Units are ReLU, outputs linear: a_k = W_k h_{k-1} + b_k, h_k = max(a_k, 0), o = a_L. Errors eps_k
belong to layers; the update is dW_k = rate * eps_k h_{k-1}^T, one term a phase.
"""

from dataclasses import replace
from typing import ClassVar

import numpy as np

from relaxon_isa import (
    LOOP_COUNT_BITS,
    Activation,
    Builder,
    ConfigError,
    Gating,
    LearnLevel,
    Mac,
    MacLevel,
    Sign,
)

from ..connections import Block, Region, repeated
from ..layout import MemoryNeeds
from ..network import Network
from .base import Rule
from .parts import PatchPoints, Source, reciprocal

__all__ = [
    "AugmentedLagrangian",
    "Backpropagation",
    "FeedbackAlignment",
    "ForwardRule",
    "InSilico",
    "PredictiveCoding",
    "RandomPCN",
]


class ForwardRule(Rule):
    """The forward pass, and one error plane a phase whose LEARN meets the activity below."""

    FEEDFORWARD = "relu"
    EARLY_STOP = "its free phase is one forward pass; margin alone skips the rest"
    OUTPUT = "linear"
    RATES = (5, 5)
    HEADROOM = 2
    DEFAULTS: ClassVar[dict] = {"grid": 12}
    ARCHITECTURES: ClassVar[dict[str, str]] = {
        "skip": "its passes go from layer to layer",
        "backward": "its errors come back through the forward weights, as its energy has them",
    }
    ERRORS: ClassVar[tuple[str, ...]] = ("plus",)
    """Planes of the phases' errors, side by side."""
    MET: ClassVar[str] = "free"

    def _check(self, depth: int) -> None:
        super()._check(depth)
        if self.settings.output == "clip":
            raise ConfigError(f"rule {self.name}: its outputs are linear")

    def to_state(self, layer: int) -> dict:
        output = layer == self.layout.depth
        return super().to_state(layer) | {
            "activation": Activation.LINEAR if output else Activation.RELU
        }

    def forward(self, layer: int, plane: str) -> list[Source]:
        """What drives a layer from below; the input's current is in the static drive."""
        block = self.layout.block(layer)
        return [Source(block, False, self.at(plane, layer - 1))] if block.lower else []

    def downward(self, layer: int, plane: str) -> Source:
        """The errors in ``plane`` of the layer above, through transposed weights."""
        return Source(self.layout.backward(layer + 1), True, self.at(plane, layer + 1))

    def free_phase(self, b: Builder) -> None:
        lay = self.layout
        for layer in range(1, lay.depth + 1):
            self.drive_layer(
                b,
                layer,
                self.forward(layer, "free"),
                dst=self.at("free", layer),
                drive=lay.held("static", layer),
                **self.to_state(layer),
                **self.tail(layer),
            )

    RISES = ("rise", "fall")
    """Error planes at the rate of the weights below, one per phase."""

    def errors(self, b: Builder, marks: PatchPoints, layer: int, learning: object) -> None:
        if layer in self.settings.frozen:
            return
        for phase, plane in enumerate(self.ERRORS):
            sign = Sign.MINUS if phase else self.UPDATE_SIGN
            self.difference(b, marks, layer, layer, self.RISES[phase], [plane], sign=sign)

    def learn_block(self, b: Builder, block: Block) -> None:
        lay, phases = self.layout, len(self.ERRORS)
        rise = lay.plane("rise", block.upper)
        met = self.at(self.MET, block.lower).phase if block.lower else 0

        def terms(col: int) -> tuple[LearnLevel, ...]:
            return (LearnLevel(count=phases, row=lay.span, col=col),) if phases > 1 else ()

        col = lay.plane(self.MET, block.lower)
        self.learn(b, block, row=rise, col=col, terms=terms(met), bias=terms(0))


class PredictiveCoding(ForwardRule):
    """A predictive-coding network trained by EP.

    E = 1/2 sum_k |h_k - f(a_k)|^2. The free phase is one forward pass, where E and its derivative
    by the weights are 0; a nudged phase is K sweeps of h_k = ReLU(a_k + W_{k+1}^T eps_{k+1}), with
    eps_k = f'(a_k) (h_k - f(a_k)) and the current +-beta (y - o_free) on the outputs. The gradient
    is eps_k h_{k-1}^T / beta, centered.

    The first sweep goes down from the outputs, and what it predicts from is still the forward pass:
    f(a_k) is the free state, the outputs' error is +-beta (y - o_free). With one sweep and no
    closing prediction nothing else is needed, and nothing else is computed.

    Source: Kerjan, Hoier & Scellier 2026 (free phase, energy, nudged sweeps).
    """

    name = "pcn"
    paper = "Kerjan, Hoier & Scellier 2026"
    summary = "forward pass; K sweeps at +beta and -beta; (eps h+ - eps h-) / 2 beta"
    OPTIONS: ClassVar[dict[str, tuple[float, str]]] = {
        "sweeps": (4, "K, sweeps of a nudged phase"),
        "closing": (
            1,
            "0: errors stay as the sweeps left them; 1: once more, from the last states",
        ),
    }
    ERRORS = ("eps", "eps-")
    MET = "plus"

    def _check(self, depth: int) -> None:
        super()._check(depth)
        self._check_whole("sweeps", 1, 1 << LOOP_COUNT_BITS)
        self._check_whole("closing", 0, 1)

    def needs(self, network: Network) -> MemoryNeeds:
        return replace(super().needs(network), planes=("mind", "mind-", "eps", "eps-"))

    @property
    def nudged_planes(self) -> list[str]:
        return ["plus", "minus"][: len(self.ERRORS)]

    def gains(self) -> list[float]:
        return [reciprocal(len(self.ERRORS) * self.settings.beta)]

    def predict(self, b: Builder, layer: int, below: str) -> None:
        """Compute a layer's prediction f(a) from the plane ``below``, into its plane ``mind``."""
        self.drive_layer(
            b,
            layer,
            self.forward(layer, below),
            dst=self.at("mind", layer),
            drive=self.layout.held("static", layer),
            phases=len(self.nudged_planes),
            **self.to_state(layer),
            **self.tail(layer),
        )

    def surprise(self, b: Builder, layer: int, state: str = "plus") -> None:
        """Compute eps = h - f(a), 0 where a hidden unit is off, into the plane ``eps``."""
        h, eps, mind = (self.at(name, layer) for name in (state, "eps", "mind"))
        self._surprise(b, layer, h, eps, mind, len(self.nudged_planes))

    def _surprise(
        self, b: Builder, layer: int, h: Region, eps: Region, mind: Region, phases: int = 1
    ) -> None:
        lay, hidden = self.layout, layer < self.layout.depth
        nest = lay.layers[layer].walk(src=h, dst=eps, gate=mind)
        span = lay.span
        nest = repeated(nest, phases, src=span, dst=span, gate=span)
        b.add(
            Mac(
                **nest,
                inner=(MacLevel(count=2, src=mind.base - h.base, flip=True),),
                tile=lay.tile("one"),
                gating=Gating.POSITIVE if hidden else Gating.NONE,
                **self.precise(),
                **self.tail(layer),
            )
        )

    def sweep(self, b: Builder, below: str) -> None:
        """One sweep from the outputs down; ``below``: the plane of layers not reached yet."""
        lay = self.layout
        for layer in range(lay.depth, 0, -1):
            self.predict(b, layer, below)
            self._state(b, layer, below)
            self.surprise(b, layer)

    def _state(self, b: Builder, layer: int, below: str) -> None:
        """h = ReLU(a + W^T eps) of a layer, from the plane ``below`` and the errors above."""
        lay = self.layout
        drive = self.objective.drive(layer) or lay.held("static", layer)
        sources = self.forward(layer, below)
        if layer < lay.depth:
            sources = [*sources, self.downward(layer, "eps")]
        self.drive_layer(
            b,
            layer,
            sources,
            dst=self.at("plus", layer),
            drive=drive,
            phases=len(self.nudged_planes),
            **self.to_state(layer),
            **self.tail(layer),
        )

    def _single_sweep(self, b: Builder) -> None:
        """A nudged phase of one sweep without a closing prediction."""
        lay, phases, span = self.layout, len(self.nudged_planes), self.layout.span
        output = lay.layers[lay.depth]
        nest = output.walk(phases, flip=True, src=Region(lay.e), dst=self.at("eps", lay.depth))
        fields = {**self.precise(), **self.tail(lay.depth)}
        b.add(Mac(**nest, tile=lay.tile("beta"), sign=self.SIGN, **fields))
        for layer in range(lay.depth - 1, 0, -1):
            self._state(b, layer, "free")
            h, eps, free = (self.at(name, layer) for name in ("plus", "eps", "free"))
            for phase in range(phases):  # which share the free plane
                state, error = (replace(p, base=p.base + phase * span) for p in (h, eps))
                self._surprise(b, layer, state, error, free)

    def nudged_phase(self, b: Builder) -> None:
        sweeps = int(self.option("sweeps"))
        if sweeps == 1 and not self.option("closing"):
            self._single_sweep(b)
            return
        self.objective.nudge(b)
        self.sweep(b, "free")
        if sweeps > 1:
            with b.loop(sweeps - 1, sweep=True):
                self.sweep(b, "plus")
        if self.option("closing"):
            for layer in range(2, self.layout.depth + 1):  # what the last states made stale
                self.predict(b, layer, "plus")
                self.surprise(b, layer)


class RandomPCN(PredictiveCoding):
    """The same with one nudged phase, its sign the sample's random bit."""

    name = "pcn-random"
    summary = "forward pass; K sweeps at +beta or -beta at random; +-eps h / beta"
    ERRORS = ("eps",)
    SIGN = UPDATE_SIGN = Sign.RANDOM


class AugmentedLagrangian(PredictiveCoding):
    """Predictive coding with a multiplier a layer, which makes its errors those of backpropagation.

    min C(h_L) subject to r_k = h_k - f(a_k) = 0, by the augmented Lagrangian

        L = C + sum_k (lambda_k . r_k + 1/2 |r_k|^2)        (rho = 1; k: hidden layers)

    Primal step, from the outputs down: h_k -= dL/dh_k, which is
    h_k = f(a_k) + W_{k+1}^T m_{k+1} - lambda_k; then the dual step lambda_k += r_k. m_k = f'(a_k)
    lambda_k is the error that a layer passes down, m_L = beta (y - o_free) at the outputs, and
    dW_k = rate * m_k h_{k-1}^T / beta. At rest r = 0: activities are those of the forward pass, and
    m those of backpropagation, for any beta and with one phase. With steps of this size a sweep
    brings the multipliers there, and as many more as there are hidden layers the activities.

    Source: Seely & Gould 2026 (arXiv 2605.31022), known to us by its abstract and by code that
    follows it: Lagrangian, residuals of hidden layers alone, primal and dual steps. Ours: steps of
    1 / rho in turn instead of many small ones at once, and the fixed current at the outputs.
    """

    name = "pc-alm"
    paper = "Seely & Gould 2026"
    summary = "forward pass; K sweeps {h = f(a) + T m - l; l += h - f(a)}; m h / beta"
    OPTIONS: ClassVar[dict[str, tuple[float, str]]] = {
        "sweeps": (0, "K, sweeps of both steps, at least 2; 0: hidden layers and one more"),
    }
    ERRORS = ("eps",)
    MET = "active"

    def _check(self, depth: int) -> None:
        ForwardRule._check(self, depth)
        if self.option("sweeps"):  # after one the activities are where the errors pushed them
            self._check_whole("sweeps", 2, 1 << LOOP_COUNT_BITS)

    def needs(self, network: Network) -> MemoryNeeds:
        # Side by side, so that one nest reads multiplier, prediction and activity in turn.
        planes = ("active", "mind", "dual", "eps")
        return replace(super().needs(network), planes=planes, drives=("own",))

    @property
    def nudged_planes(self) -> list[str]:
        return ["active"]

    def sweep(self, b: Builder, below: str) -> None:
        lay, one = self.layout, self.layout.tile("one")
        for layer in range(lay.depth - 1, 0, -1):
            self.predict(b, layer, below)
            walk = lay.layers[layer].walk
            active, mind, dual, eps = (self.at(n, layer) for n in ("active", "mind", "dual", "eps"))
            own = lay.held("own", layer)
            less = MacLevel(count=2, src=dual.base - mind.base, flip=True)
            b.add(Mac(**walk(src=mind, dst=own), inner=(less,), tile=one, to_drive=True))
            fields = {**self.to_state(layer), **self.tail(layer)}
            fields["activation"] = Activation.LINEAR
            self.drive_layer(
                b, layer, [self.downward(layer, "eps")], dst=active, drive=own, **fields
            )
            more = MacLevel(count=3, src=mind.base - dual.base, flip=True)  # dual - mind + active
            fields = {**self.precise(), **self.tail(layer), "tile": one}
            b.add(Mac(**walk(src=dual, dst=dual), inner=(more,), **fields))
            gated = walk(src=dual, dst=eps, gate=mind)
            b.add(Mac(**gated, gating=Gating.POSITIVE, **fields))

    def nudged_phase(self, b: Builder) -> None:
        lay, eps = self.layout, self.layout.plane("eps", self.layout.depth)
        fields = {**self.precise(), **self.tail(lay.depth)}
        b.add(self.combine(lay.depth, eps, [lay.e], tile="beta", **fields))
        if lay.depth == 1:
            return
        self.clear_planes(b, lay.plane("dual", 1), lay.span)
        self.sweep(b, "free")
        with b.loop((int(self.option("sweeps")) or lay.depth) - 1, sweep=True):
            self.sweep(b, "active")


class Backpropagation(ForwardRule):
    """Errors by transposed reads: eps_k = gate(W_{k+1}^T eps_{k+1}, a_k > 0); a baseline.

    With the architecture "backward" errors come back through weights of their own, which learn
    the same and decay the same: Kolen & Pollack 1994.
    """

    name = "backprop"
    paper = "Rumelhart, Hinton & Williams 1986"
    summary = "forward pass; errors by transposed reads; eps h"
    ARCHITECTURES: ClassVar[dict[str, str]] = {"skip": "its passes go from layer to layer"}

    def nudged_phase(self, b: Builder) -> None:
        lay = self.layout
        for layer in range(lay.depth, 0, -1):
            output = layer == lay.depth
            fields = {**self.precise(), **self.tail(layer)}
            if output:
                b.add(self.combine(layer, lay.plane("plus", layer), [lay.e], **fields))
                continue
            self.drive_layer(
                b,
                layer,
                [self.downward(layer, "plus")],
                dst=self.at("plus", layer),
                gate=self.at("free", layer),
                gating=Gating.POSITIVE,
                **fields,
            )


class FeedbackAlignment(Backpropagation):
    """Errors come back through fixed random weights.

    Source: Lillicrap et al. 2016; listed among the methods of Momeni et al. 2025.
    """

    name = "feedback-alignment"
    paper = "Lillicrap et al. 2016"
    summary = "forward pass; errors through fixed random weights; eps h"
    ARCHITECTURES: ClassVar[dict[str, str]] = {
        **Backpropagation.ARCHITECTURES,
        "backward": "it has backward weights already, and they stay as they are",
    }

    def needs(self, network: Network) -> MemoryNeeds:
        return replace(super().needs(network), backward=True)

    LEARNS_BACKWARD = False


class InSilico(Backpropagation):
    """Trained elsewhere: backpropagation in double precision on the host, weights loaded.

    The machine makes its forward pass of every sample with the weights of the epoch before, and
    learns nothing; after the epoch the host has learned from the same samples, and loads. What a
    machine that learns by itself is to be measured against.

    Source: Momeni et al. 2025 (in-silico training).
    """

    name = "in-silico"
    paper = "Momeni et al. 2025 (in-silico training)"
    OUTSIDE = True
    PLAIN = "its host backpropagates through plain layers"
    summary = "forward pass alone; the host backpropagates and loads the weights every epoch"
    ARCHITECTURES: ClassVar[dict[str, str]] = {
        **Backpropagation.ARCHITECTURES,
        "backward": "its host backpropagates through the forward weights",
    }

    def nudged_phase(self, b: Builder) -> None:
        """Nothing happens on the machine."""

    def update(self, b: Builder, marks: PatchPoints) -> None:
        """Nothing happens on the machine; see `outside`."""

    def outside(
        self, weights: list[np.ndarray], x: np.ndarray, y: np.ndarray, halvings: int = 0
    ) -> list[np.ndarray]:
        """Stochastic gradient descent on 1/2 |y - o|^2, sample by sample."""
        weights = [w.copy() for w in weights]
        rates = [2.0 ** -(shift + halvings) for shift in self.settings.rate_shifts]
        for layer in self.settings.frozen:
            rates[layer - 1] = 0.0
        for sample, target in zip(x, self.targets_of(y), strict=True):
            states = [np.append(sample, 1.0)]
            for w in weights[:-1]:
                states.append(np.append(np.maximum(w @ states[-1], 0), 1.0))
            error = target - weights[-1] @ states[-1]
            for layer in range(len(weights) - 1, -1, -1):
                below, w = states[layer], weights[layer]
                down = (w.T @ error * (below > 0))[:-1]
                w += rates[layer] * np.outer(error, below)
                error = down
        bound = 2.0 ** (self.config.weight_bits - 1 - self.formats.weight_frac)
        step = 2.0**-self.formats.weight_frac
        return [np.clip(w, -bound, bound - step) for w in weights]
