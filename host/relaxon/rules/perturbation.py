"""Weight perturbation: the cost of two free phases, and nothing else, says where to go."""

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from relaxon_isa import Activation, Builder, Learn, LearnLevel, Mac, MacLevel, Sign

from ..connections import Layer
from ..layout import MemoryNeeds
from ..network import Network
from .base import Rule
from .parts import PatchPoints

__all__ = ["SPSA"]


class SPSA(Rule):
    """Simultaneous perturbation: all weights move by +-delta r c^T, r and c random signs.

    dW = -rate (C(W + delta r c^T) - C(W - delta r c^T)) / (2 delta) r c^T, C = 1/2 |y - o|^2 at the
    free fixed point. The perturbation has rank one, so that two planes of signs hold it. Weights
    are restored by the inverse LEARN, exactly as long as none of them saturates: saturations are
    counted.

    Source: Spall 1992 (eq. 2.2, with rank-one signs); model-free baseline of Momeni et al. 2025.
    """

    name = "spsa"
    paper = "Spall 1992"
    summary = "two free phases with W +- delta r c; (C- - C+) / 2 delta r c"
    RATES = (10, 10)
    EARLY_STOP = "it compares the costs of two settled phases"
    PLAIN = "its perturbation is an outer product of two planes"
    OPTIONS: ClassVar[dict[str, tuple[float, str]]] = {
        "delta": (5, "weights are moved by 2 to the minus this")
    }

    def _check(self, depth: int) -> None:
        super()._check(depth)
        self._check_whole("delta", 2, 10)

    def needs(self, network: Network) -> MemoryNeeds:
        p = self.config.p
        costs = Layer(network.sizes[-1], p).groups
        return replace(
            super().needs(network),
            planes=("row",),
            areas=(
                *((f"column{i}", n // p + 2) for i, n in enumerate(network.sizes[:-1], start=1)),
                ("ones", 1),
                ("everywhere", 1),
                ("cost", 1),
            ),
            drives=("costs",),
            tiles=("all", "scale", *(f"cost{g}" for g in range(costs))),
        )

    def constants(self) -> dict[str, np.ndarray]:
        return super().constants() | {"all": np.ones((self.config.p, self.config.p))}

    @property
    def delta(self) -> int:
        return int(self.option("delta"))

    def train_body(self, b: Builder, marks: PatchPoints) -> None:
        self._draw(b)
        self._move(b, "plus")
        self._cost(b, Sign.PLUS)
        self._move(b, "minus", sign=Sign.MINUS)
        self._cost(b, Sign.MINUS)
        self._move(b, "plus")
        self.update(b, marks)

    def _draw(self, b: Builder) -> None:
        """Draw the signs of rows and columns; compute rows times delta and times 2 delta."""
        lay, f = self.layout, self.formats
        b.add(Mac(tile=lay.tile("all"), src=lay.constant, dst=lay.area("ones"), **self.precise()))

        def draw(dst: int, groups: int, tail: int) -> None:
            b.add(
                Mac(
                    outer=(MacLevel(count=groups, dst=1),),
                    tile=lay.tile("one"),
                    src=lay.zero,
                    dst=dst,
                    activation=Activation.RANDOM,
                    one=f.state_frac,
                    tail=tail,
                )
            )

        for layer in range(1, lay.depth + 1):
            row, below = lay.layers[layer], lay.layers[layer - 1]
            column = lay.area(f"column{layer}")
            draw(lay.plane("row", layer), row.groups, row.tail)
            draw(column, below.groups, below.tail)
            if layer > 1:
                draw(column + below.groups, 1, 1 % self.config.p)
            for plane, extra in (("plus", 0), ("minus", -1)):
                b.add(
                    self.combine(
                        layer,
                        lay.plane(plane, layer),
                        [lay.plane("row", layer)],
                        shift=f.weight_frac + self.delta + f.replace_unit + extra,
                    )
                )

    def _move(self, b: Builder, plane: str, learn: bool = False, **fields: Any) -> None:
        """Add the product of a row plane with the columns' signs to all weights."""
        lay = self.layout
        for layer in range(1, lay.depth + 1):
            if layer in self.settings.frozen:
                continue
            nest = lay.block(layer).outer_product(
                lay.plane(plane, layer), lay.area(f"column{layer}")
            )
            b.add(Learn(**nest, **fields, position=self.position(layer) if learn else 0))

    def _cost(self, b: Builder, sign: Sign) -> None:
        """Add +-2 |e|^2 to the costs' drive, in lane 0: e as tiles times e as a plane."""
        lay, output = self.layout, self.layout.depth
        self.static_drives(b)
        self.free_phase(b)
        self.objective.error(b)
        groups, tile = lay.groups(output), lay.tile("cost0")
        b.add(
            Learn(
                outer=(LearnLevel(count=groups, tile=1, row=1),),
                tile=tile,
                row=lay.e,
                col=lay.constant,
                replace=True,
            )
        )
        onto = {} if sign is Sign.PLUS else {"from_drive": True, "drive": lay.drive("costs", 1)}
        b.add(
            Mac(
                inner=(MacLevel(count=groups, tile=1, src=1),),
                tile=tile,
                src=lay.e,
                dst=lay.drive("costs", 1),
                transposed=True,
                to_drive=True,
                sign=sign,
                **onto,
            )
        )

    def update(self, b: Builder, marks: PatchPoints) -> None:
        """Bring the difference of costs to every lane and LEARN it times the signs."""
        lay, f, cost = self.layout, self.formats, self.layout.area("cost")
        b.add(
            Mac(
                tile=lay.tile("one"),
                src=lay.zero,
                dst=cost,
                drive=lay.drive("costs", 1),
                from_drive=True,
                **self.precise(),
            )
        )
        everywhere = lay.area("everywhere")
        b.add(Mac(tile=lay.tile("all"), src=cost, dst=everywhere, **self.precise()))
        b.add(
            Learn(
                tile=lay.tile("scale"),
                row=everywhere,
                col=lay.area("ones"),
                replace=True,
                diagonal=True,
            )
        )
        # Two tiles of what LEARN with *replace* wrote, 2**replace_unit times the value each.
        for layer in range(1, lay.depth + 1):
            if layer in self.settings.frozen:
                continue
            rate, position = self.settings.rate_shifts[layer - 1], self.position(layer)
            shift = (
                f.product_frac - f.error_frac(position) + rate + 2 - self.delta + 2 * f.replace_unit
            )
            mac = self.combine(
                layer,
                lay.plane("rise", layer),
                [lay.plane("row", layer)],
                tile="scale",
                shift=shift,
                sign=Sign.MINUS,
            )
            marks.rate(layer, b.add(mac))
        self._move(b, "rise", learn=True)
