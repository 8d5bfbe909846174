"""Where a network lives in a machine's memories."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from relaxon_isa.config import ArrayConfig
from relaxon_isa.errors import ConfigError

from .connections import Block, Layer
from .network import Network

__all__ = ["Layout", "MemoryNeeds"]


@dataclass(frozen=True, kw_only=True)
class MemoryNeeds:
    """What a rule, its objective and its architecture keep in memory beyond plain layers.

    Parameters
    ----------
    phases
        Nudged phases whose states are held at a time (an even number, or 1).
    planes, drives
        Further planes and drives of every layer, by name.
    areas
        Further groups of states: name and number.
    tiles
        Further tiles of constants, by name.
    skips
        Weights between layers that are not neighbours: (lower, upper), lower + 1 < upper.
    backward
        Every layer from the second on has weights of its own for what comes from above.
    words
        Words of memory a synapse.
    """

    phases: int = 2
    planes: tuple[str, ...] = ()
    drives: tuple[str, ...] = ()
    areas: tuple[tuple[str, int], ...] = ()
    tiles: tuple[str, ...] = ()
    skips: tuple[tuple[int, int], ...] = ()
    backward: bool = False
    words: int = 1

    @property
    def pairs(self) -> int:
        """Pairs of phases whose difference is learned."""
        return (self.phases + 1) // 2


PLAIN = MemoryNeeds()


@dataclass(frozen=True)
class Layout:
    """Addresses of a network's planes, drives and tiles. Layers are numbered from 0 (input).

    State memory, in groups: input x with, as one neuron more, the constant 1.0 that the first
    layer's biases hang on; the constant group (lane 0 is 1.0) of the other biases; zeros; target
    y; error e; for each layer l >= 1 the planes free, plus, minus, mean and two error planes
    (``rise``: scaled by the rate of the weights below, ``fall``: by that of the weights above),
    then what `MemoryNeeds` adds; and at the top a scratch area for weight access. With more pairs
    of phases there are plus1, minus1 and so on behind minus, mean1, rise1, fall1 behind fall. A
    skip connection into layer u has its own ``fall>u``.

    Weight memory, in tiles: `blocks`, then the constant tiles: one, beta and gain, diagonal each,
    and those that `MemoryNeeds` adds.

    Raises ConfigError, with what would fit, if the machine is too small.
    """

    network: Network
    config: ArrayConfig
    needs: MemoryNeeds = PLAIN

    def __post_init__(self) -> None:
        for lower, upper in self.needs.skips:
            if not 0 <= lower < upper - 1 < self.depth:
                raise ConfigError(
                    f"skip connection {lower}>{upper}: must lead from a layer to one at least two "
                    f"above it, up to {self.depth}"
                )
        if short := self._shortage():
            raise ConfigError(
                f"network {self.network} does not fit this machine ({self.config.p} x "
                f"{self.config.p} cells): {short}{self._suggestion()}"
            )

    def _shortage(self) -> str:
        config = self.config
        skipped = sum(block.tile_columns for block in self.skips)
        terms = max(block.most_terms for block in self.blocks[: self.depth])
        scratch = 2 * config.p  # for weight access: an identity and a tile
        for what, needed, present in (
            ("tiles of weights", self.tiles, config.weight_depth),
            ("groups of states", self.state_groups + scratch, config.state_depth),
            ("groups of drives", self.drive_groups, config.drive_depth),
            ("products in one accumulation", (terms + skipped + 1) * config.p, config.max_terms),
        ):
            if needed > present:
                return f"it needs {needed} {what}, the machine has {present}"
        return ""

    def _suggestion(self) -> str:
        """The largest hidden layers, in the same proportion, that fit."""
        sizes = self.network.sizes

        def scaled(factor: float) -> Layout:
            hidden = tuple(max(1, int(n * factor)) for n in sizes[1:-1])
            return _Draft(Network((sizes[0], *hidden, sizes[-1])), self.config, self.needs)

        low, high = 0.0, 1.0
        for _ in range(100):  # what is smaller fits if the larger does
            middle = (low + high) / 2
            low, high = (low, middle) if scaled(middle)._shortage() else (middle, high)
        if len(sizes) > 2 and not scaled(low)._shortage():
            return f"; {scaled(low).network} fits"
        return "; it is too small for these inputs and outputs, whatever is between them"

    # Sizes

    @property
    def depth(self) -> int:
        return self.network.depth

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """From 0, the input, which has the always-on neuron of the first layer's biases."""
        first, *others = self.network.sizes
        p = self.config.p
        return Layer(first, p, 1), *(Layer(n, p) for n in others)

    def groups(self, layer: int) -> int:
        """Groups of a layer's planes."""
        return self.layers[layer].groups

    # State memory

    x: ClassVar[int] = 0

    @property
    def constant(self) -> int:
        return self.groups(0)

    @property
    def zero(self) -> int:
        return self.constant + 1

    @property
    def y(self) -> int:
        return self.zero + 1

    @property
    def e(self) -> int:
        return self.y + self.groups(self.depth)

    @cached_property
    def planes(self) -> tuple[str, ...]:
        """Names of the planes of every layer, in the order in which they lie."""
        others = [str(j) for j in range(1, self.needs.pairs)]
        uppers = sorted({upper for _, upper in self.needs.skips})
        learned = ("mean", "rise", "fall", *(f"fall>{upper}" for upper in uppers))
        return (
            *("free", "plus", "minus"),
            *(name + j for j in others for name in ("plus", "minus")),
            *(name + j for j in ("", *others) for name in learned),
            *self.needs.planes,
        )

    @property
    def span(self) -> int:
        """Groups from a plane to the next one of the same layer."""
        return sum(self.groups(layer) for layer in range(1, self.depth + 1))

    @cached_property
    def _planes(self) -> dict[tuple[str, int], int]:
        """Base of each plane. One kind at a time, so that a kind's layers lie side by side."""
        at = self.e + self.groups(self.depth)
        bases = {}
        for name in self.planes:
            for layer in range(1, self.depth + 1):
                bases[name, layer] = at
                at += self.groups(layer)
        for name, groups in self.needs.areas:
            bases[name, 0] = at
            at += groups
        bases["end", 0] = at
        return bases

    def area(self, name: str) -> int:
        """First group of an area of `MemoryNeeds`."""
        return self._planes[name, 0]

    def plane(self, name: str, layer: int) -> int:
        """First group of one of `planes`; layer 0 is the input, whatever the name."""
        if layer and (name, layer) not in self._planes:
            raise ConfigError(
                f"no plane {name!r} of layer {layer}: layers 1 to {self.depth} have "
                + ", ".join(self.planes)
            )
        return self._planes[name, layer] if layer else self.x

    @property
    def state_groups(self) -> int:
        return self._planes["end", 0]

    # Drive memory

    @cached_property
    def _drives(self) -> dict[tuple[str, int], int]:
        at = 0
        bases = {}
        phases = max(2, self.needs.phases)

        def place(name: str, layers: range, count: int = 1) -> None:
            nonlocal at
            for layer in layers:
                bases[name, layer] = at
                at += count * self.groups(layer)

        every = range(1, self.depth + 1)
        place("static", every)  # what no sweep changes: input and bias
        skipping = {layer for skip in self.needs.skips for layer in skip} - {0}
        place(
            "partial", every if skipping else every[1:-1], phases
        )  # static + forward current, one a phase
        place("nudge", every[-1:], phases)  # the output's, one a phase
        for name in self.needs.drives:
            place(name, every)
        bases["end", 0] = at
        return bases

    def drive(self, name: str, layer: int) -> int:
        """First drive group of "static" (any layer), "partial" (middle ones), "nudge" (output), or
        a drive of `MemoryNeeds` (any layer, side by side). Raises ConfigError if there is none."""
        if (name, layer) not in self._drives:
            there = ", ".join(f"{n!r} of layer {k}" for n, k in self._drives if n != "end")
            raise ConfigError(f"drive {name!r} of layer {layer}: there are {there}")
        return self._drives[name, layer]

    @property
    def drive_groups(self) -> int:
        return self._drives["end", 0]

    # Weight memory

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """All weights: of the layers 1 .. depth, of skip connections, backward ones of 2 .. depth.

        Backward weights are stored as the forward ones of the same layer, and read transposed.
        Skip connections between hidden layers and backward weights have no biases.
        """
        own = [(layer - 1, layer, True) for layer in range(1, self.depth + 1)]
        skips = [(*skip, not skip[0]) for skip in self.needs.skips]
        backward = [(k - 1, k, False) for k in range(2, self.depth + 1)] * self.needs.backward
        at, blocks = 0, []
        for lower, upper, biased in (*own, *skips, *backward):
            ends = self.layers[lower], self.layers[upper]
            block = Block(lower, upper, *ends, at, self.needs.words, self.constant, biased)
            blocks.append(block)
            at = block.extent.stop
        return tuple(blocks)

    def block(self, layer: int) -> Block:
        """The weights from layer - 1 into ``layer`` (1 .. depth)."""
        return self.blocks[layer - 1]

    def twins(self, block: Block) -> tuple[Block, ...]:
        """Backward weights beside a block of forward ones: one or none."""
        apart = self.depth - 1 + len(self.needs.skips)
        own = block in self.blocks[1 : self.depth] and self.needs.backward
        return (self.blocks[self.blocks.index(block) + apart],) if own else ()

    def backward(self, layer: int) -> Block:
        """The weights from ``layer`` down to layer - 1: those into it, or backward ones."""
        block = self.block(layer)
        return (*self.twins(block), block)[0]

    @property
    def skips(self) -> tuple[Block, ...]:
        return self.blocks[self.depth : self.depth + len(self.needs.skips)]

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """Shapes of the matrices of `blocks`."""
        return [block.shape for block in self.blocks]

    @property
    def tile_names(self) -> tuple[str, ...]:
        return ("one", "beta", "gain", *self.needs.tiles)

    def tile(self, name: str) -> int:
        """A tile of constants: "one", "beta", "gain" (diagonal), or one of `MemoryNeeds`."""
        return self.weight_tiles + self.tile_names.index(name)

    @property
    def weight_tiles(self) -> int:
        """Words of weight memory that the blocks take."""
        return self.blocks[-1].extent.stop

    @property
    def tiles(self) -> int:
        return self.weight_tiles + len(self.tile_names)


class _Draft(Layout):
    """A layout that may not fit."""

    def __post_init__(self) -> None:
        pass
