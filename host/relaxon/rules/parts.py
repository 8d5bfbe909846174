"""What the programs of rules and objectives are made of."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from relaxon_isa import (
    Activation,
    ArrayConfig,
    Builder,
    ConfigError,
    Learn,
    LearnLevel,
    Loop,
    Mac,
    MacLevel,
    Next,
    Sign,
    Wait,
)

from ..connections import Block, Region
from ..layout import Layout, MemoryNeeds
from ..network import Formats, Network
from .settings import RuleSettings

__all__ = ["Parts", "PatchPoints", "Source", "behind", "open_loops", "reciprocal"]


@dataclass
class PatchPoints:
    """Indices of the instructions that a training schedule patches.

    Members
    -------
    samples
        The LOOP over samples.
    decision
        With `early_stop` the LOOP that asks first whether a sample is done.
    rates
        By weight layer: the MACs whose shift is that layer's learning rate.
    halvings
        How often the schedule halves the rates, at most.
    """

    samples: int = -1
    decision: int = -1
    rates: dict[int, list[int]] = field(default_factory=dict)
    halvings: int = 0

    def rate(self, weights: int, index: int) -> None:
        """Instruction ``index`` has the learning rate of weight layer ``weights``."""
        self.rates.setdefault(weights, []).append(index)


@dataclass(frozen=True)
class Source:
    """What drives a layer: a block of weights, read forward or transposed, times a plane."""

    block: Block
    transposed: bool
    plane: Region

    def nests(self, phases: int, **operands: Any) -> list[dict]:
        """Fields of its MACs; ``operands``: those of the driven layer (`Layer.walk`)."""
        if self.transposed:
            return self.block.transposed(self.plane, phases, **operands)
        return [self.block.forward(self.plane, phases, **operands)]


class Parts:
    """One network on one machine under one rule's settings: its memory, formats and MACs.

    Parameters
    ----------
    network, config, settings
        As of `relaxon.rules.make_rule`.
    needs
        What rule and objective keep in memory.

    Raises ConfigError if the network does not fit the machine or the grid its format.
    """

    HEADROOM: ClassVar[int] = 0
    """Bits of the state format above [-2, 2)."""
    SIGN: ClassVar[Sign] = Sign.PLUS
    """Sign of the first nudged phase's nudge."""
    LEARNS_BACKWARD: ClassVar[bool] = True
    """Whether backward weights learn as the forward ones do, both with decay."""

    def __init__(
        self, network: Network, config: ArrayConfig, settings: RuleSettings, needs: MemoryNeeds
    ) -> None:
        self.config, self.settings = config, settings
        self.layout = Layout(network, config, needs)
        self.formats = Formats(config, self.HEADROOM)
        if not 1 <= settings.grid <= self.formats.state_frac:
            raise ConfigError(
                f"grid = {settings.grid}: states of this machine have 1 to "
                f"{self.formats.state_frac} fraction bits"
            )

    @property
    def nudged_planes(self) -> list[str]:
        """Planes of the nudged phases, side by side from the first one on."""
        return []

    def needs_error(self) -> bool:
        """Whether the outputs' error needs a plane of its own."""
        return True

    def drive(self, layer: int, *, nudged: bool) -> Region:
        """Hook: what drives a layer and no sweep changes, but for the objective's nudge."""
        return self.layout.held("static", layer)

    # Operands and fields

    def at(self, plane: str, layer: int) -> Region:
        """A plane of the first phase; those of the other phases lie behind it, but for the free
        plane, which all phases share."""
        phase = 0 if plane == "free" else self.layout.span
        return self.layout.layers[layer].plane(self.layout.plane(plane, layer), phase)

    def frac(self, layer: int) -> int:
        """Fraction bits of a layer's states.

        Both currents of layer l meet in one accumulator, so words of l + 1 with fewer fraction bits
        than those of l - 1 scale what comes from above, by 2**-feedback: each layer has as many
        fewer than the layer two below.
        """
        return self.formats.state_frac - layer // 2 * self.settings.feedback

    def sum_frac(self, layer: int) -> int:
        """Fraction bits of a layer's accumulators and drives."""
        return self.formats.weight_frac + self.frac(layer - 1)

    def error_frac(self, weights: int, layer: int) -> int:
        """Fraction bits of the error plane of ``layer`` for the weights into layer ``weights``:
        LEARN multiplies it with a plane of the layer at their other end."""
        other = weights - 1 if layer == weights else weights
        shift = self.config.learn_shifts[self.position(weights)]
        return self.formats.weight_frac + shift - self.frac(other)

    def tail(self, layer: int) -> dict:
        """Fields of a MAC that writes a plane of ``layer``: lanes without a neuron stay 0."""
        return {"tail": self.layout.layers[layer].tail}

    def precise(self) -> dict:
        """Fields of a MAC that writes an error: no bounds, all the fraction bits there are."""
        return {"shift": self.formats.weight_frac, "activation": Activation.LINEAR}

    def finest(self, weights: int, largest: float) -> int:
        """The finest rounding position of the weights into layer ``weights`` whose error planes
        hold values below twice ``largest``; the lower layer's, which has more fraction bits where
        feedback is scaled, those that are smaller by as much."""
        free = self.config.state_bits - 1 - self.formats.weight_frac + self.frac(weights - 1)
        return int(largest < 2.0 ** (free - self.config.learn_shifts[1]))

    # MACs

    def drive_layer(
        self,
        b: Builder,
        layer: int,
        sources: Sequence[Source],
        *,
        dst: Region,
        drive: Region | None = None,
        phases: int = 1,
        gate: Region | None = None,
        old: Region | None = None,
        **state: Any,
    ) -> None:
        """A layer's plane from its sources and a drive: the MACs of the last source write it.

        ``dst``, ``gate``, ``old``: groups of S; ``drive``: of D; each the first phase's. ``state``:
        fields of the MACs that write.
        """
        lay = self.layout
        *first, last = [source.nests for source in sources] or [
            lambda phases, **operands: [self._bare(layer, phases, **operands)]
        ]
        size = lay.layers[layer].positions * lay.layers[layer].column
        partial = lay.held("partial", layer, size) if first else None
        for nests in first:
            for nest in nests(phases, dst=partial, drive=drive):
                b.add(Mac(to_drive=True, **nest))
            drive = partial
        for nest in last(phases, dst=dst, drive=drive, gate=gate, old=old):
            b.add(Mac(**nest, **state))
            state |= {"fresh": False}

    def _bare(self, layer: int, phases: int, **operands: Any) -> dict:
        """Fields of a MAC whose products are all 0: what a drive alone comes to."""
        lay = self.layout
        zeros = {"tile": Region(lay.tile("one"), group=0), "src": Region(lay.zero, group=0)}
        return lay.layers[layer].walk(phases, **zeros, **operands)

    def over_lists(self, b: Builder, nest: dict) -> dict:
        """Fields of a nest over the input plane: if the program's samples are taken ahead, those of
        a walk over their lists."""
        if not any(isinstance(i, Wait) and i.ahead for i in b.instructions):
            return nest
        for plane in ("src", "col"):
            if nest.get(plane) == self.layout.x:
                return {**nest, plane: 0, "walk": True}
        return nest

    def add_own_state(
        self, b: Builder, layer: int, plane: str, drive: Region, tile: str, trips: int = 1
    ) -> Region:
        """A layer's own state, times a diagonal tile, ``trips`` times on top of a drive.

        ``tile``: "one", or the first of a tile for every group. Returns the drive that holds the
        sum, "own" of `MemoryNeeds`.
        """
        lay = self.layout
        own = lay.held("own", layer)
        nest = lay.layers[layer].walk(
            src=self.at(plane, layer),
            tile=Region(lay.tile(tile), group=int(tile != "one")),
            dst=own,
            drive=drive,
        )
        inner = (MacLevel(count=trips),) if trips > 1 else ()
        b.add(Mac(**nest, inner=inner, to_drive=True))
        return own

    def combine(
        self, layer: int, dst: int, planes: Sequence[int], tile: str = "one", **fields: Any
    ) -> Mac:
        """A plane of ``layer`` from one or two others, times a tile of constants.

        ``dst``, ``planes``: first groups. ``flip`` among the fields: the second one's sign.
        """
        flip = fields.pop("flip", False)
        inner: tuple[MacLevel, ...] = ()
        if len(planes) == 2:
            inner = (MacLevel(count=2, src=planes[1] - planes[0], flip=flip),)
        nest = self.layout.layers[layer].flat(planes[0], dst)
        return Mac(**{**nest, "inner": inner, "tile": self.layout.tile(tile), **fields})

    def clear_planes(self, b: Builder, dst: int, groups: int, **fields: Any) -> None:
        """``groups`` groups of S (or, to_drive among the ``fields``, of D) to 0."""
        lay = self.layout
        outer = (MacLevel(count=groups, dst=1),)
        b.add(Mac(outer=outer, tile=lay.tile("one"), src=lay.zero, dst=dst, **fields))

    # LEARNs

    def position(self, layer: int) -> int:
        """Rounding position of the LEARN of the weights into ``layer``."""
        raise NotImplementedError

    def learn_fields(self, block: Block) -> dict:
        """Fields of every LEARN on a block. Backward weights decay with their forward ones."""
        twin = self.layout.needs.backward and block.lower > 0 and self.LEARNS_BACKWARD
        flags = {"decay": twin, "stochastic": self.settings.stochastic}
        return {name: True for name, on in flags.items() if on}

    def learn(
        self,
        b: Builder,
        block: Block,
        *,
        row: int,
        col: int,
        terms: tuple[LearnLevel, ...] = (),
        bias: tuple[LearnLevel, ...] = (),
        word: int = 0,
        **fields: Any,
    ) -> None:
        """LEARN on a block: arguments as of `Block.learn`. Backward weights of the same layer get
        the same, with the same random bits."""
        twins = self.layout.twins(block) if self.LEARNS_BACKWARD else ()
        fields = {"position": self.position(block.upper), **self.learn_fields(block), **fields}
        own = [self.over_lists(b, nest) for nest in block.learn(row, col, terms, bias, word)]
        others = [nest for twin in twins for nest in twin.learn(row, col, terms, word=word)]
        hold = fields.pop("hold", False)
        for i, nest in enumerate([own[0], *others, *own[1:]]):
            b.add(Learn(**nest, **fields, hold=hold or i < len(others)))

    def hebb(self, b: Builder, block: Block, row: int, plane: str, **fields: Any) -> None:
        """LEARN of one term: a row plane of the upper layer with ``plane`` of the lower one; with
        the always-on neuron for the biases. ``fields``: as of `learn`."""
        self.learn(b, block, row=row, col=self.layout.plane(plane, block.lower), **fields)


def behind(pair: int) -> str:
    """What the names of a pair's planes and tiles end with."""
    return str(pair) if pair else ""


def reciprocal(x: float) -> float:
    """1 / x, and 0 of 0: a rule without a nudge learns nothing."""
    return 1 / x if x else 0.0


def open_loops(b: Builder) -> int:
    """How many LOOPs are open: the innermost one's index is X of that number."""
    kinds = [type(instruction) for instruction in b.instructions]
    return kinds.count(Loop) - kinds.count(Next)
