"""What pulls at the outputs: the objective, chosen independently of rule and architecture.

An objective says how far the free phase reaches (`relaxed`), what the error is, and how a nudge of
strength beta enters the nudged phases.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from relaxon_isa.instructions import Activation, Judge, Mac, MacLevel
from relaxon_isa.program import Builder

from .layout import Needs

if TYPE_CHECKING:
    from .rules.base import Marks, Rule

__all__ = ["OBJECTIVES", "Clamping", "Objective", "SquaredError"]


class Objective:
    """Squared error, C = 1/2 |y - o|^2, as a fixed current: the base of the others.

    The nudge is the constant current beta (y - o_free) on the outputs: the cost made linear around
    the free output, with the same gradient at beta -> 0 as the true cost.
    """

    name: ClassVar[str]

    def __init__(self, rule: Rule) -> None:
        self.rule = rule

    @classmethod
    def needs(cls, needs: Needs) -> Needs:
        """The rule's memory, with what the objective adds."""
        return needs

    @property
    def relaxed(self) -> int:
        """The last layer that the free phase relaxes, and whose states pairs of phases learn."""
        return self.rule.layout.depth

    @property
    def nudged(self) -> int:
        """The last layer that the nudged phases relax."""
        return self.relaxed

    def constants(self) -> dict[str, np.ndarray]:
        """Tiles of constants, (P, P)."""
        return {}

    def table(self) -> np.ndarray | None:
        """Entries of the activation table, if it has one."""
        return None

    def targets(self) -> tuple[float, float]:
        """Target of the other classes and of the right one."""
        return self.rule.settings.targets

    def read_out(self, b: Builder) -> None:
        """What follows the free phase."""

    def error(self, b: Builder) -> None:
        """e = y - o_free; with a margin, the flag says whether every |e| is within it."""
        rule, lay, f = self.rule, self.rule.layout, self.rule.formats
        margin = {}
        if rule.settings.margin:
            tol = int(rule.settings.margin * 2**f.state_frac)
            margin = {"judge": Judge.VALUE, "fresh": True, "tol": tol}
        free = lay.plane("free", lay.depth)
        b.add(
            rule.combine(lay.depth, lay.e, [lay.y, free], shift=f.weight_frac, flip=True, **margin)
        )

    def nudge_tile(self, pair: int) -> str:
        return f"beta{pair}" if pair else "beta"

    def nudge(self, b: Builder) -> None:
        """The outputs' drive in each nudged phase: still, +beta e and -beta e on top."""
        rule, lay = self.rule, self.rule.layout
        groups, phases = lay.groups(lay.depth), len(rule.nudged)
        outer: tuple[MacLevel, ...] = (MacLevel(count=groups, src=1, dst=1, drive=1),)
        if phases > 1:
            outer = (MacLevel(count=2, dst=groups, flip=True), *outer)
        for pair in range((phases + 1) // 2):
            b.add(
                Mac(
                    outer=outer,
                    tile=lay.tile(self.nudge_tile(pair)),
                    src=lay.e,
                    dst=lay.drive("nudge", lay.depth) + 2 * pair * groups,
                    drive=lay.drive("still", lay.depth),
                    from_drive=True,
                    to_drive=True,
                    sign=rule.SIGN,
                )
            )

    def drive(self, layer: int) -> tuple[int | None, int]:
        """The drive of a layer in the nudged phases, and the stride from one to the next."""
        lay = self.rule.layout
        if layer < lay.depth:
            return None, 0
        return lay.drive("nudge", layer), lay.groups(layer)

    def update(self, b: Builder, marks: Marks) -> None:
        """Weights that learn by the objective alone."""


class SquaredError(Objective):
    name = "squared-error"


class Clamping(Objective):
    """Outputs held at o_free + beta (y - o_free); the layers below relax. With beta = 1 that is y.

    Source: Scellier et al. 2023 (coupled learning; contrastive learning at beta = 1).
    """

    name = "clamping"

    @property
    def nudged(self) -> int:
        return self.rule.layout.depth - 1

    def nudge(self, b: Builder) -> None:
        rule, lay, f = self.rule, self.rule.layout, self.rule.formats
        free, groups = lay.plane("free", lay.depth), lay.groups(lay.depth)
        grid = rule.settings.grid
        for plane in rule.nudged:
            minus = plane.startswith("minus")
            tile, beta = lay.tile("one"), lay.tile("beta")
            level = MacLevel(count=2, tile=beta - tile, src=lay.e - free, flip=minus)
            b.add(
                Mac(
                    outer=(MacLevel(count=groups, src=1, dst=1),),
                    inner=(level,),
                    tile=tile,
                    src=free,
                    dst=lay.plane(plane, lay.depth),
                    shift=f.product_frac - grid,
                    up=f.state_frac - grid,
                    activation=Activation.LINEAR,
                    **rule.tail(lay.depth),
                )
            )


OBJECTIVES: dict[str, type[Objective]] = {o.name: o for o in (SquaredError, Clamping)}
