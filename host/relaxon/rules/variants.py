"""EP with other dynamics or further pulls: separate weights, momentum, errors at hidden layers."""

from dataclasses import replace
from typing import ClassVar

import numpy as np

from relaxon_isa import Builder, ConfigError, Mac, MacLevel, Sign

from ..connections import Block, Region, repeated
from ..layout import MemoryNeeds
from ..network import Network
from .ep import CenteredEP
from .parts import PatchPoints, Source

__all__ = ["LocalErrorEP", "MomentumEP", "NonReciprocalEP"]


class NonReciprocalEP(CenteredEP):
    """EP for connections whose two directions have weights of their own, and no energy.

    Free: s_l = clip(W_l s_{l-1} + b_l + B_{l+1}^T s_{l+1}), in short s = clip(A s + b). Where the
    connections are not symmetric, the answer to a nudge is not the gradient; it is if the nudged
    phases move by A^T. So these get the force of the antisymmetric part, (A^T - A) (s - s0), on
    top, s0 the free state:

        s = clip(A^T s + b + (A - A^T) s0 +- beta (y - o)).

    What is constant there is computed once a sample; the sweeps read the two weights in each
    other's place. Each weight learns by itself, from the state it comes from:

        dW_l = rate * (s+ - s-)_l s0_{l-1}^T / 2 beta,
        dB_l = rate * s0_l (s+ - s-)_{l-1}^T / 2 beta: the cost's gradient as beta -> 0.

    Source: Scurria, Vanden Abeele, Mognetti & Massar 2026 (arXiv 2602.03670: asymmetric EP), known
    to us by its abstract and reviews; the equations above are derived for the clipped sweep, whose
    units at a bound stay there in the linearised system as well.
    """

    name = "aep"
    paper = "Scurria, Vanden Abeele, Mognetti & Massar 2026"
    summary = "free; +-beta with the weights' directions exchanged; (s+ - s-) s0 / 2 beta"
    OBJECTIVES = ("squared-error",)
    ARCHITECTURES: ClassVar[dict[str, str]] = {
        "skip": "its exchange of directions is between neighbours",
        "backward": "it has backward weights already, and each learns by a gradient of its own",
    }
    FEEDBACK = LEAN = LEARNS_BACKWARD = SYMMETRIC = False
    MEAN = "free"
    RATES = (5, 6)

    def needs(self, network: Network) -> MemoryNeeds:
        return replace(super().needs(network), backward=True, drives=("turned",))

    def drive(self, layer: int, *, nudged: bool) -> Region:
        return self.layout.held("turned" if nudged else "static", layer)

    def sources(self, layer: int, below: str, above: str) -> list[Source]:
        return self._sources(layer, below, above, turned=above != "free")

    def _sources(self, layer: int, below: str, above: str, *, turned: bool) -> list[Source]:
        """``turned``: with the weights of each connection's other direction."""
        lay = self.layout
        into, onto = (lay.backward, lay.block) if turned else (lay.block, lay.backward)
        found = []
        if layer >= 2:
            found.append(Source(into(layer), False, self.at(below, layer - 1)))
        if layer < lay.depth:
            found.append(Source(onto(layer + 1), True, self.at(above, layer + 1)))
        return found

    def nudged_phase(self, b: Builder) -> None:
        """The constant force (A - A^T) s0 onto the static drives, then as ever."""
        lay = self.layout
        for layer in range(1, lay.depth + 1):
            drive, turned = lay.held("static", layer), lay.held("turned", layer)
            for sign, how in ((Sign.PLUS, False), (Sign.MINUS, True)):
                for source in self._sources(layer, "free", "free", turned=how):
                    for nest in source.nests(1, dst=turned, drive=drive):
                        b.add(Mac(**nest, to_drive=True, sign=sign))
                    drive = turned
            if lay.depth == 1:
                b.add(Mac(**self._bare(1, 1, dst=turned, drive=drive), to_drive=True))
        super().nudged_phase(b)

    def learn_block(self, b: Builder, block: Block) -> None:
        lay = self.layout
        self.hebb(b, block, lay.plane("rise", block.upper), "free")
        for twin in lay.twins(block):
            fall = lay.plane(self.falls(block), block.lower)
            self.learn(b, twin, row=lay.plane("free", block.upper), col=fall)


class MomentumEP(CenteredEP):
    """Units with inertia: every state goes on by a part of what it moved in the last sweep.

    s = clip(drive + mu (s - s')), s' the state one sweep before, so that s - s' is the velocity:
    the heavy ball (Polyak 1964) on the layer-by-layer minimiser. It rests where ep-centered does,
    since there s = s'; what differs is the way. A phase has settled when neither s nor s' moves.
    The first sweep of a phase has no momentum: the free one jumps there from zeros, and the nudged
    one starts at rest. Rounded to the grid, a state with momentum may go round in circles of one
    step for ever, so that settled is what moves by no more than that: the default ``tolerance``.

    Source: Fan, Lu, Wu, Wang & Wang 2026 (arXiv 2606.09112: relaxation of EP with conjugate
    variables, as in Ising machines), known to us by its abstract; the discrete form is ours.
    """

    name = "ep-momentum"
    paper = "Fan, Lu, Wu, Wang & Wang 2026"
    summary = "as ep-centered, settling with momentum: s = clip(drive + mu (s - s'))"
    OBJECTIVES = ("squared-error",)
    FEEDBACK = LEAN = False
    DEFAULTS: ClassVar[dict] = {"tolerance": 2.0**-8}
    OPTIONS: ClassVar[dict[str, tuple[float, str]]] = {
        "momentum": (0.25, "mu, the part of a sweep's step that the next one carries on"),
    }

    def _check(self, depth: int) -> None:
        super()._check(depth)
        if not 0 <= self.option("momentum") < 1:
            raise ConfigError(f"momentum = {self.option('momentum'):g}: must be 0 <= momentum < 1")

    def needs(self, network: Network) -> MemoryNeeds:
        more = {"planes": ("past", "past-"), "drives": ("own", "own-"), "tiles": ("momentum",)}
        return replace(super().needs(network), **more)

    def constants(self) -> dict[str, np.ndarray]:
        return super().constants() | {"momentum": self.option("momentum") * np.eye(self.config.p)}

    def free_phase(self, b: Builder) -> None:
        s, top = self.settings, self.objective.top_relaxed
        self.clear(b)
        with b.loop(1, sweep=True):
            for layer in range(1, top + 1):
                super().relax(b, layer, dst="free", below="free", above="free")
        self._remember(b, "free", 1)
        if s.free_cap > 1:
            with b.loop(s.free_cap - 1, until=not s.fixed_sweeps, sweep=True):
                for layer in range(1, top + 1):
                    judged = self.judged(layer, layer == 1)
                    self.relax(b, layer, dst="free", below="free", above="free", judged=judged)
        self.objective.read_out(b)

    def nudged_phase(self, b: Builder) -> None:
        self._remember(b, "free", 2)
        super().nudged_phase(b)

    def _remember(self, b: Builder, plane: str, phases: int) -> None:
        """s' = s, of every layer, in one or both phases."""
        for layer in range(1, self.layout.depth + 1):
            b.add(self._copy(layer, plane, phases))

    def _copy(self, layer: int, plane: str, phases: int, **judged) -> Mac:
        lay = self.layout
        src, past = (self.at(name, layer) for name in (plane, "past"))
        nest = lay.layers[layer].walk(phases, src=src, dst=past)
        return Mac(**nest, tile=lay.tile("one"), **self.precise(), **self.tail(layer), **judged)

    def relax(self, b: Builder, layer: int, *, dst: str, below: str, above: str, **how) -> None:
        if dst != "free" and below == "free":  # the first nudged sweep
            super().relax(b, layer, dst=dst, below=below, above=above, **how)
            return
        lay, phases, judged = self.layout, how.get("phases", 1), how.pop("judged", None) or {}
        nudged = dst != "free"
        drive = self.objective.drive(layer) if nudged else None
        drive = drive or self.drive(layer, nudged=nudged)
        state, past = (self.at(name, layer) for name in (dst, "past"))
        own = replace(lay.held("own", layer), phase=lay.drive_span)
        nest = lay.layers[layer].walk(src=state, dst=own, drive=drive)
        step = {"src": lay.span, "dst": own.phase, "drive": drive.phase}
        nest = repeated(nest, phases, **step) if phases > 1 else nest
        velocity = MacLevel(count=2, src=past.base - state.base, flip=True)
        b.add(Mac(**nest, inner=(velocity,), tile=lay.tile("momentum"), to_drive=True))
        b.add(self._copy(layer, dst, phases, **judged))
        fields = {**self.to_state(layer), **self.tail(layer), **judged}
        fields |= {"fresh": False} if judged else {}
        sources = self.sources(layer, below, above)
        self.drive_layer(b, layer, sources, dst=state, drive=own, phases=phases, **fields)


class LocalErrorEP(CenteredEP):
    """EP whose hidden layers are nudged as well, each by the error of a read-out of its own.

    The cost is C = 1/2 |y - o|^2 + alpha sum_k 1/2 |y - R_k s_k|^2 over the hidden layers k. Nudged
    phases add, to layer k, the fixed current +-beta alpha R_k^T (y - R_k s_k), s_k the free state,
    to what the outputs pass down; updates are those of ep-centered, the gradient of C. The
    read-outs take no part in the free phase and learn by their own error,
    dR_k = 2**-readout (y - R_k s_k) s_k^T.

    Source: Lin, Bal & Sengupta 2025 (arXiv 2508.15989: intermediate error signals), known to us by
    its abstract. Its further signal, a teacher's hidden states, is left out: no teacher is here.
    """

    name = "ep-local"
    paper = "Lin, Bal & Sengupta 2025"
    summary = "as ep-centered; hidden layers get +-beta alpha R^T (y - R s) as well; R learns"
    OBJECTIVES = ("squared-error",)
    ARCHITECTURES: ClassVar[dict[str, str]] = {
        "skip": "its read-outs are such connections already",
        "backward": "its response is that of an energy: it needs symmetric weights",
    }
    FEEDBACK = LEAN = False
    OPTIONS: ClassVar[dict[str, tuple[float, str]]] = {
        "alpha": (0.5, "weight of a hidden layer's error beside the outputs'"),
        "readout": (5, "the read-outs learn at a rate of 2**-readout"),
    }

    def _check(self, depth: int) -> None:
        super()._check(depth)
        self._check_whole("readout", 0, 24)
        if not 0 <= self.option("alpha") * self.settings.beta < 4:
            raise ConfigError(
                f"alpha = {self.option('alpha'):g}: must be 0 or more, and alpha beta below 4"
            )
        if depth < 2:
            raise ConfigError(f"rule {self.name}: it needs a hidden layer to nudge")

    def needs(self, network: Network) -> MemoryNeeds:
        groups = -(-network.sizes[-1] // self.config.p)
        missed = tuple((f"missed{k}", groups) for k in range(1, network.depth))
        return replace(
            super().needs(network),
            readouts=True,
            drives=("wanted", "pull", "pull-"),
            tiles=("alpha",),
            areas=(*missed, ("lesson", groups)),
        )

    def constants(self) -> dict[str, np.ndarray]:
        pull = self.option("alpha") * self.settings.beta
        return super().constants() | {"alpha": pull * np.eye(self.config.p)}

    def drive(self, layer: int, *, nudged: bool) -> Region:
        lay = self.layout
        if not nudged or layer == lay.depth:
            return super().drive(layer, nudged=nudged)
        return lay.held("pull", layer, lay.drive_span)

    def nudged_phase(self, b: Builder) -> None:
        lay = self.layout
        output, scaled = lay.layers[lay.depth], lay.area("lesson")
        wanted = lay.held("wanted", lay.depth)
        target = output.walk(src=Region(lay.y), dst=wanted)
        b.add(Mac(**target, tile=lay.tile("one"), to_drive=True))
        fields = {**self.precise(), **self.tail(lay.depth)}
        for block in lay.readouts:
            missed, free = Region(lay.area(f"missed{block.lower}")), self.at("free", block.lower)
            nest = block.forward(free, dst=missed, drive=wanted)
            b.add(Mac(**nest, sign=Sign.MINUS, **fields))
            nest = output.walk(src=missed, dst=Region(scaled))
            b.add(Mac(**nest, tile=lay.tile("alpha"), **fields))
            nests = block.transposed(
                Region(scaled),
                2,
                flip=True,
                dst=lay.held("pull", block.lower, lay.drive_span),
                drive=lay.held("static", block.lower),
            )
            for nest in nests:
                b.add(Mac(**nest, to_drive=True))
        super().nudged_phase(b)

    def update(self, b: Builder, marks: PatchPoints) -> None:
        super().update(b, marks)
        lay, f, rate = self.layout, self.formats, int(self.option("readout"))
        position = self.finest(lay.depth, 2.0**-rate)
        shift = f.product_frac - f.error_frac(position) + rate
        lesson = lay.area("lesson")
        for block in lay.readouts:
            if block.lower in self.settings.frozen:
                continue
            missed = lay.area(f"missed{block.lower}")
            marks.rate(block.lower, b.add(self.combine(lay.depth, lesson, [missed], shift=shift)))
            self.hebb(b, block, lesson, "free", position=position)
