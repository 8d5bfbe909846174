"""What pulls at the outputs: the objective, chosen independently of rule and architecture.

An objective says how far the free phase reaches (`top_relaxed`), what the error is, and how a nudge
of strength beta enters the nudged phases.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from relaxon_isa import Activation, Builder, ConfigError, Judge, Mac, MacLevel, Sign

from ..connections import Region, repeated
from ..layout import MemoryNeeds
from .parts import Parts, PatchPoints, Source, behind

__all__ = ["OBJECTIVES", "Clamping", "CrossEntropy", "Objective", "SquaredError", "TrueCost"]


class Objective:
    """Squared error, C = 1/2 |y - o|^2, as a fixed current: the base of the others.

    The nudge is the constant current beta (y - o_free) on the outputs: the cost made linear around
    the free output, with the same gradient at beta -> 0 as the true cost.
    """

    name: ClassVar[str]
    ASKS: ClassVar[str]
    """Requirement on the rule, completing "that objective asks ..."."""
    RATES: ClassVar[tuple[int, int] | None] = None
    """Default rate shifts (all weight layers but the last, the last), if not the rule's."""
    EARLY_STOP: ClassVar[str] = ""
    """Why free phases may not end at the margin, if so."""
    RELAXES_OUTPUT: ClassVar[bool] = False
    """Whether nudged outputs are set by `relax_output`."""

    FEEDBACK: ClassVar[bool] = False
    """Whether it goes with scaled feedback."""

    def __init__(self, rule: Parts) -> None:
        self.rule, self.lay = rule, rule.layout

    @classmethod
    def needs(cls, needs: MemoryNeeds) -> MemoryNeeds:
        """The rule's memory, with what the objective adds."""
        return needs

    @property
    def top_relaxed(self) -> int:
        """The last layer that the free phase relaxes, and whose states pairs of phases learn."""
        return self.lay.depth

    @property
    def top_nudged(self) -> int:
        """The last layer that the nudged phases relax."""
        return self.top_relaxed

    def constants(self) -> dict[str, np.ndarray]:
        """Tiles of constants by name, real, shape (P, P)."""
        return {}

    def table(self) -> np.ndarray | None:
        """Entries of the activation table, int (2**table_bits,); None if it is not used."""
        return None

    def targets(self) -> tuple[float, float]:
        """Target outputs: of the other classes, of the right one."""
        return self.rule.settings.targets

    def read_out(self, b: Builder) -> None:
        """Read the outputs after the free phase, if no layer relaxed to them."""

    @property
    def at_once(self) -> bool:
        """Whether the nudge takes target and output themselves, and no plane holds the error: with
        `early_stop` the outputs' MAC has judged it, and then nobody may read it."""
        usual = type(self).nudge is Objective.nudge and not self.rule.needs_error()
        return usual and self.rule.settings.early_stop

    def error(self, b: Builder) -> None:
        """e = y - o_free, unless the nudge is `at_once`; with a margin, the flag says whether every
        |e| is within it."""
        if self.at_once:
            return
        rule, lay, depth = self.rule, self.lay, self.lay.depth
        frac, margin = self.error_frac, {}
        if rule.settings.margin:
            tol = int(rule.settings.margin * 2**frac)
            margin = {"judge": Judge.VALUE, "fresh": True, "tol": tol}
        planes, shift = (
            [lay.y, self.error_source],
            rule.formats.weight_frac + rule.frac(depth) - frac,
        )
        b.add(rule.combine(depth, lay.e, planes, shift=shift, flip=True, **margin))

    @property
    def error_frac(self) -> int:
        """Fraction bits of the error: the unit of the outputs' drive."""
        return self.rule.frac(self.lay.depth - 1)

    @property
    def error_source(self) -> int:
        """First group of the plane that the target is compared with."""
        return self.lay.plane("free", self.lay.depth)

    def nudge(self, b: Builder) -> None:
        """Compute the outputs' drive of each nudged phase: the static one plus or minus beta e."""
        rule, lay = self.rule, self.lay
        groups, phases = lay.groups(lay.depth), len(rule.nudged_planes)
        for pair in range((phases + 1) // 2):
            nest = lay.layers[lay.depth].walk(
                min(phases, 2),
                flip=True,
                src=Region(lay.y if self.at_once else lay.e),
                dst=Region(lay.drive("nudge", lay.depth) + 2 * pair * groups, groups),
                drive=rule.drive(lay.depth, nudged=True),
            )
            if self.at_once:
                less = MacLevel(count=2, src=self.error_source - lay.y, flip=True)
                nest = {**nest, "inner": (*nest.get("inner", ()), less)}
            tile = lay.tile("beta" + behind(pair))
            b.add(Mac(**nest, tile=tile, to_drive=True, sign=rule.SIGN))

    def drive(self, layer: int) -> Region | None:
        """The drive of a layer in the nudged phases, if it has one of its own."""
        if layer < self.lay.depth:
            return None
        return self.lay.held("nudge", layer, self.lay.groups(layer))

    def relax_output(
        self, b: Builder, sources: Sequence[Source], dst: str, phases: int, **state: Any
    ) -> None:
        """Set the nudged outputs to their minimiser, as `Rule.relax` does for other layers."""
        raise NotImplementedError

    def update(self, b: Builder, marks: PatchPoints) -> None:
        """Update the weights that learn by the objective alone."""


class SquaredError(Objective):
    name = "squared-error"
    FEEDBACK = True
    ASKS = "for outputs that a current may move while they relax"


class TrueCost(Objective):
    """Squared error itself, not made linear: nudged outputs minimise E + beta C, C = 1/2 |y - o|^2.

    With a = W h + b that is o = (a +- beta y) / (1 +- beta), clipped as all states are. The divisor
    is a tile of constants: a goes to a plane first (``rise`` and ``fall``, which nothing else needs
    before the update), then its multiple onto beta y / (1 +- beta), a drive. Source: Scellier &
    Bengio 2017, eq. 3 and 4.
    """

    name = "true-cost"
    ASKS = "for nudges of one strength and a known sign, and outputs that relax to their minimiser"
    RATES = (5, 7)
    RELAXES_OUTPUT = True
    TRIPS = 4
    """Tiles hold a quarter of their value and are read four times: 1 / (1 - beta) may exceed 2."""

    def __init__(self, rule: Parts) -> None:
        super().__init__(rule)
        if "minus" in rule.nudged_planes and rule.settings.beta > 0.75:
            raise ConfigError(
                f"beta = {rule.settings.beta} with objective true-cost: E - beta C needs a minimum "
                "well below beta = 1, so at most 0.75"
            )

    @classmethod
    def needs(cls, needs: MemoryNeeds) -> MemoryNeeds:
        return replace(needs, tiles=(*needs.tiles, "pull0", "pull1", "inverse0", "inverse1"))

    def constants(self) -> dict[str, np.ndarray]:
        eye, beta = np.eye(self.rule.config.p) / self.TRIPS, self.rule.settings.beta
        tiles = {}
        for k, plane in enumerate(self.rule.nudged_planes):
            pull = -beta if plane == "minus" else beta
            tiles |= {f"pull{k}": pull / (1 + pull) * eye, f"inverse{k}": 1 / (1 + pull) * eye}
        return tiles

    def nudge(self, b: Builder) -> None:
        """Compute the outputs' drive of each nudged phase: +-beta y / (1 +- beta)."""
        lay, inner = self.lay, (MacLevel(count=self.TRIPS),)
        dst = lay.held("nudge", lay.depth)
        nest = lay.layers[lay.depth].walk(src=Region(lay.y), dst=dst)
        phases, groups = len(self.rule.nudged_planes), lay.groups(lay.depth)
        nest = repeated(nest, phases, tile=1, dst=groups)
        b.add(Mac(**nest, inner=inner, tile=lay.tile("pull0"), to_drive=True))

    def relax_output(
        self, b: Builder, sources: Sequence[Source], dst: str, phases: int, **state: Any
    ) -> None:
        rule, lay, depth = self.rule, self.lay, self.lay.depth
        trial = lay.plane("rise", depth)
        trials = Region(trial, lay.plane("fall", depth) - trial)
        static = lay.held("static", depth)
        fields = {**rule.precise(), **rule.tail(depth)}
        rule.drive_layer(b, depth, sources, dst=trials, drive=static, phases=phases, **fields)
        place, drive = rule.at(dst, depth), lay.held("nudge", depth)
        nest = lay.layers[depth].walk(src=trials, dst=place, drive=drive)
        step = {"src": trials.phase, "dst": place.phase, "drive": lay.groups(depth)}
        nest = repeated(nest, phases, tile=1, **step)
        inner = (MacLevel(count=self.TRIPS),)
        b.add(Mac(**nest, inner=inner, tile=lay.tile("inverse0"), **state))


class Clamping(Objective):
    """Outputs held at o_free + beta (y - o_free); the layers below relax. With beta = 1 that is y.

    Source: Scellier et al. 2023 (coupled learning; contrastive learning at beta = 1).
    """

    name = "clamping"
    FEEDBACK = True
    ASKS = "for nudged phases that need not move the outputs, and one strength of nudge"

    @property
    def top_nudged(self) -> int:
        return self.lay.depth - 1

    @property
    def error_frac(self) -> int:
        """Fraction bits of the error: those of the outputs."""
        return self.rule.frac(self.lay.depth)

    def nudge(self, b: Builder) -> None:
        rule, lay, f = self.rule, self.lay, self.rule.formats
        free, one, frac = lay.plane("free", lay.depth), lay.tile("one"), self.error_frac
        grid = min(rule.settings.grid, frac)
        for plane in rule.nudged_planes:
            minus = plane.startswith("minus")
            dst = lay.plane(plane, lay.depth)
            nest = lay.layers[lay.depth].walk(src=Region(free), dst=Region(dst))
            step = MacLevel(count=2, tile=lay.tile("beta") - one, src=lay.e - free, flip=minus)
            b.add(
                Mac(
                    **nest,
                    inner=(step,),
                    tile=one,
                    shift=f.weight_frac + frac - grid,
                    up=frac - grid,
                    activation=Activation.LINEAR,
                    **rule.tail(lay.depth),
                )
            )


class CrossEntropy(Objective):
    """Cross-entropy with a softmax read-out, C = -log softmax(W_L s_{L-1} + b_L)[label].

    The output layer takes no part in the dynamics: its logits are read from the last hidden layer,
    which the nudge reaches as the fixed current beta W_L^T (y - softmax); W_L itself learns
    (y - softmax) s_{L-1}^T at the free state. Source: Laborieux et al. 2021, section 3.2; there the
    softmax follows the nudged state, here it is held at the free one, with the same gradient at
    beta -> 0.

    The softmax is p = exp(a - n) by the activation table, its normaliser n a neuron that relaxes by
    n += (sum p - 1) / 2 until the sum is near 1.
    """

    name = "cross-entropy"
    ASKS = "that the last hidden layer is nudged through a read-out which learns between phases"
    RATES = (5, 5)
    EARLY_STOP = "the outputs take no part in the free phase; the flag is the softmax's own"

    HEADROOM = 3
    """Logits and normaliser are held in states divided by 2**3."""
    STEPS = 5
    """Fraction bits of what the table is looked up with."""
    GAIN = 1 / 16
    CAP, TOLERANCE = 48, 2.0**-10

    def __init__(self, rule: Parts) -> None:
        super().__init__(rule)
        depth = rule.layout.depth
        if depth < 2:
            raise ConfigError("objective cross-entropy: needs a hidden layer to read out")
        if any(block.upper == depth for block in rule.layout.skips):
            raise ConfigError(
                "objective cross-entropy with a skip connection into the output: the read-out "
                "takes the last hidden layer alone"
            )

    @classmethod
    def needs(cls, needs: MemoryNeeds) -> MemoryNeeds:
        return replace(
            needs,
            planes=(*needs.planes, "softmax", "norm"),
            drives=(*needs.drives, "logits", "pull", "pull2"),
            tiles=(*needs.tiles, "two", "spread"),
        )

    @property
    def top_relaxed(self) -> int:
        return self.lay.depth - 1

    def constants(self) -> dict[str, np.ndarray]:
        p = self.rule.config.p
        return {"two": 2 * np.eye(p), "spread": np.full((p, p), self.GAIN)}

    def table(self) -> np.ndarray | None:
        size = 1 << self.rule.config.table_bits
        if size == 1:
            return None
        v = np.arange(size) - size + 1
        return np.rint(np.exp(v / 2**self.STEPS) * 2**self.rule.formats.state_frac).astype(np.int64)

    def targets(self) -> tuple[float, float]:
        return 0.0, 1.0

    def read_out(self, b: Builder) -> None:
        """Compute the logits, into a drive and, divided by 2**HEADROOM, into the free plane."""
        rule, lay, depth = self.rule, self.lay, self.lay.depth
        logits, static = (lay.held(name, depth) for name in ("logits", "static"))
        free = rule.at("free", depth - 1)
        b.add(Mac(**lay.block(depth).forward(free, dst=logits, drive=static), to_drive=True))
        rule.drive_layer(
            b,
            depth,
            [],
            dst=rule.at("free", depth),
            drive=logits,
            shift=rule.formats.weight_frac + self.HEADROOM,
            **rule.tail(depth),
        )

    def error(self, b: Builder) -> None:
        self._softmax(b)
        super().error(b)

    def _softmax(self, b: Builder) -> None:
        rule, lay, f = self.rule, self.lay, self.rule.formats
        groups, norm = lay.groups(lay.depth), lay.plane("norm", lay.depth)
        softmax, spread = lay.plane("softmax", lay.depth), lay.tile("spread")
        less, total = lay.drive("pull", 1), lay.drive("pull2", 1)  # free until the nudge
        b.add(Mac(tile=lay.tile("one"), src=lay.zero, dst=norm))
        b.add(Mac(tile=spread, src=lay.constant, dst=less, to_drive=True, sign=Sign.MINUS))
        with b.loop(self.CAP, until=True):
            nest = lay.layers[lay.depth].walk(
                src=Region(norm, group=0),
                dst=Region(softmax),
                drive=lay.held("logits", lay.depth),
            )
            b.add(  # p = table(a - n), n in eighths: four times two of it
                Mac(
                    **nest,
                    inner=(MacLevel(count=1 << self.HEADROOM - 1),),
                    tile=lay.tile("two"),
                    sign=Sign.MINUS,
                    shift=f.product_frac - self.STEPS,
                    activation=Activation.TABLE,
                    **rule.tail(lay.depth),
                )
            )
            b.add(
                Mac(
                    inner=(MacLevel(count=groups, src=1),),
                    tile=spread,
                    src=softmax,
                    dst=total,
                    drive=less,
                    from_drive=True,
                    to_drive=True,
                )
            )
            b.add(
                Mac(
                    tile=lay.tile("one"),
                    src=norm,
                    dst=norm,
                    drive=total,
                    from_drive=True,
                    shift=f.weight_frac,
                    judge=Judge.CHANGE,
                    fresh=True,
                    tol=int(self.TOLERANCE * 2**f.state_frac),
                )
            )

    @property
    def error_source(self) -> int:
        return self.lay.plane("softmax", self.lay.depth)

    def nudge(self, b: Builder) -> None:
        """Add beta (y - softmax), brought down the read-out, to the last hidden layer's drive."""
        rule, lay, depth = self.rule, self.lay, self.lay.depth
        scaled = lay.plane("plus", depth)
        b.add(rule.combine(depth, scaled, [lay.e], tile="beta", **rule.precise()))
        nests = lay.backward(depth).transposed(
            Region(scaled),
            len(rule.nudged_planes),
            flip=True,
            dst=self.drive(depth - 1),
            drive=lay.held("static", depth - 1),
        )
        for nest in nests:
            b.add(Mac(**nest, to_drive=True, sign=rule.SIGN))

    def drive(self, layer: int) -> Region | None:
        if layer < self.lay.depth - 1:
            return None
        return self.lay.held("pull", layer, self.lay.drive_span)

    def update(self, b: Builder, marks: PatchPoints) -> None:
        """LEARN the read-out: W_L += rate (y - softmax) s_{L-1}^T."""
        rule, lay, depth = self.rule, self.lay, self.lay.depth
        if depth in rule.settings.frozen:
            return
        block, rise = lay.block(depth), lay.plane("rise", depth)
        rate = rule.settings.rate_shifts[depth - 1]
        position = rule.finest(depth, 2.0**-rate)
        shift = rule.formats.product_frac - rule.formats.error_frac(position) + rate
        marks.rate(depth, b.add(rule.combine(depth, rise, [lay.e], shift=shift)))
        rule.hebb(b, block, rise, "free", position=position)


OBJECTIVES: dict[str, type[Objective]] = {
    o.name: o for o in (SquaredError, TrueCost, Clamping, CrossEntropy)
}
