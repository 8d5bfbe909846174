"""Where a network lives in a machine's memories."""

from dataclasses import astuple, dataclass, replace
from functools import cached_property
from itertools import product
from math import gcd
from typing import Any, ClassVar

import numpy as np

from relaxon_isa import PRESETS, ArrayConfig, ConfigError

from .connections import Block, Layer, Region, halos
from .network import Conv, Image, Kernel, Network

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
    readouts
        Every hidden layer has weights of its own onto the outputs, without biases.
    words
        Words of memory a synapse.
    scales
        Groups of the constant 1.0, each in the word format of other layers.
    lean
        Two planes a neuron instead of six: ``free`` of hidden layers is in ``plus`` until the
        nudge; in the end ``mean`` takes the place of ``plus``, ``rise`` and then ``fall`` that of
        ``minus``.
    """

    phases: int = 2
    planes: tuple[str, ...] = ()
    drives: tuple[str, ...] = ()
    areas: tuple[tuple[str, int], ...] = ()
    tiles: tuple[str, ...] = ()
    skips: tuple[tuple[int, int], ...] = ()
    backward: bool = False
    readouts: bool = False
    words: int = 1
    scales: int = 1
    lean: bool = False

    @property
    def pairs(self) -> int:
        """Pairs of phases whose difference is learned."""
        return (self.phases + 1) // 2


PLAIN = MemoryNeeds()
LEAN = {"free": "plus", "mean": "plus", "rise": "minus", "fall": "minus"}
"""Planes that share their place with another, where memory is lean."""


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
        terms = max(block.most_terms for block in (*self.blocks[: self.depth], *self.readouts))
        states = self.state_groups + 2 * config.p  # an identity and a tile, for weight access
        for what, needed, present in (
            ("tiles of weights", self.tiles, config.weight_depth),
            ("groups of states", states, config.state_depth),
            ("groups of drives", self.drive_groups, config.drive_depth),
            ("products in one accumulation", (terms + skipped + 1) * config.p, config.max_terms),
            ("loop levels in an instruction", self._levels, config.levels),
            ("terms in a LEARN", self._learn_terms, config.learn_terms),
        ):
            if needed > present:
                return f"it needs {needed} {what}, the machine has {present}"
        return ""

    @property
    def _levels(self) -> int:
        """Of convolutions; plain layers have few."""
        return max(block.most_levels for block in self.blocks) if self.convolves else 0

    @property
    def _learn_terms(self) -> int:
        """Of convolutions, which add up over positions: two for each pair of phases."""
        most = max(layer.positions for layer in self.layers[1:])
        return most * 2 * self.needs.pairs if self.convolves else 0

    def _suggestion(self) -> str:
        """The presets that hold a convolutional network; of other networks the largest hidden
        layers, in the same proportion, that fit."""
        if self.convolves:
            drafts = {name: _Draft(self.network, c, self.needs) for name, c in PRESETS.items()}
            able = [name for name, draft in drafts.items() if not draft._shortage()]
            return f"; presets that hold it: {', '.join(able) or 'none'}"
        first, *hidden, last = self.network.sizes

        def scaled(factor: float) -> Layout:
            smaller = Network((first, *(max(1, int(n * factor)) for n in hidden), last))
            return _Draft(smaller, self.config, self.needs)

        low, high = 0.0, 1.0
        for _ in range(100):  # what is smaller fits if the larger does
            middle = (low + high) / 2
            low, high = (low, middle) if scaled(middle)._shortage() else (middle, high)
        if hidden and not scaled(low)._shortage():
            return f"; {scaled(low).network} fits"
        return "; it is too small for these inputs and outputs, whatever is between them"

    # Sizes

    @property
    def depth(self) -> int:
        return self.network.depth

    @cached_property
    def side(self) -> int:
        """Rows and columns of pixels in one position of the input, so that few channels fill the
        lanes: the largest number that first kernel and stride are multiples of.

        The first position begins where the first window does, up to whole positions of padding;
        pixels beyond the image are blank (`Layer.blank`). Every window then is whole positions. A
        kernel that is no multiple would meet pixels that it has no weight for: LEARN, which visits
        whole tiles, would make weights of what has to stay 0.
        """
        image, kernel = self.network.maps[0], self.network.kernels[0]
        few = image.channels < self.config.p
        return gcd(kernel.height, kernel.stride) if few else 1

    @cached_property
    def kernels(self) -> tuple[Kernel, ...]:
        """The window of each weight layer, in positions of the layer below."""
        first, *others = self.network.kernels
        small = (n // self.side for n in astuple(first))
        plain = not isinstance(self.network.layers[1], Conv)
        return Kernel() if plain else Kernel(*small), *others

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """From 0, the input. A plain input has the always-on neuron of the first layer's biases."""
        image, *others = self.network.maps
        plain, side = not isinstance(self.network.layers[1], Conv), self.side
        before = self.network.kernels[0].padding % side
        rows, columns = (-(-(before + n) // side) for n in (image.height, image.width))
        blank = (before, rows * side - before - image.height)
        blank += (before, columns * side - before - image.width)
        packed = Image(rows, columns, image.channels * side**2)
        maps = [Image(1, 1, self.network.sizes[0]) if plain else packed, *others]
        around: list[Any] = [(0, 0, 0, 0)] * len(maps)
        for i, kernel in enumerate(self.kernels):
            low, high = halos(kernel, *maps[i : i + 2])
            around[i] = tuple(map(max, around[i], low))
            if i:  # nothing comes down to the input
                around[i + 1] = high
        more = [{"always_on": int(plain), "side": side, "blank": blank}, *({} for _ in others)]
        return tuple(
            Layer(m.channels, self.config.p, height=m.height, width=m.width, halo=halo, **fields)
            for m, halo, fields in zip(maps, around, more, strict=True)
        )

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
        return self.constant + self.needs.scales

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
        shared = LEAN if self.needs.lean else {}
        for name in self.planes:
            for layer in range(1, self.depth + 1):
                if name not in shared or (name, layer) == ("free", self.depth):
                    bases[name, layer] = at
                    at += self.groups(layer)
        for name, layer in product(shared, range(1, self.depth + 1)):
            bases.setdefault((name, layer), bases[shared[name], layer])
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
                at += (
                    count
                    * (1 if self._shared(name, layer) else self.layers[layer].positions)
                    * (self.layers[layer].column)
                )

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

    def _shared(self, name: str, layer: int) -> bool:
        """Whether a drive is one for all positions: the biases are, without the input's current."""
        return name == "static" and layer > 1

    def held(self, name: str, layer: int, phase: int = 0) -> Region:
        """A drive as an operand; ``phase``: step to the next phase's."""
        base, shared = self.drive(name, layer), self._shared(name, layer)
        return self.layers[layer].drive(base, phase, shared)

    def drive_lanes(self, name: str, layer: int) -> np.ndarray:
        """Where in a drive its values lie: of each neuron, or of each channel."""
        at = self.layers[layer]
        bare = Layer(at.channels, at.p) if self._shared(name, layer) else replace(at, halo=(0,) * 4)
        return bare.lanes

    @property
    def drive_span(self) -> int:
        """Groups from a drive of `MemoryNeeds` to the next one of the same layer."""
        return sum(layer.positions * layer.column for layer in self.layers[1:])

    @property
    def drive_groups(self) -> int:
        return self._drives["end", 0]

    # Weight memory

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """All weights: of the layers 1 .. depth, of skip connections, backward ones of 2 .. depth,
        read-outs of the layers 1 .. depth - 1.

        Backward weights are stored as the forward ones of the same layer, and read transposed.
        Skip connections between hidden layers, backward weights and read-outs have no biases.
        """
        own = [(layer - 1, layer, True) for layer in range(1, self.depth + 1)]
        skips = [(*skip, not skip[0]) for skip in self.needs.skips]
        backward = [(k - 1, k, False) for k in range(2, self.depth + 1)] * self.needs.backward
        readouts = [(k, self.depth, False) for k in range(1, self.depth)] * self.needs.readouts
        at, blocks = 0, []
        for lower, upper, biased in (*own, *skips, *backward, *readouts):
            ends = self.layers[lower], self.layers[upper]
            kernel = self.kernels[lower] if upper == lower + 1 else self._whole(lower)
            ones = self.constant + (upper - 1) // 2 * (self.needs.scales > 1)
            place = at, self.needs.words, ones, self.zero
            block = Block(lower, upper, *ends, *place, kernel, biased)
            blocks.append(block)
            at = block.extent.stop
        return tuple(blocks)

    def _whole(self, layer: int) -> Kernel:
        """A window that is the whole map."""
        return Kernel(self.layers[layer].height, self.layers[layer].width)

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
    def readouts(self) -> tuple[Block, ...]:
        return self.blocks[len(self.blocks) - (self.depth - 1) * self.needs.readouts :]

    @property
    def names(self) -> list[str]:
        """Of the matrices of `blocks`: W1, W2, ... into the layers, then the others."""
        own = [f"W{layer}" for layer in range(1, self.depth + 1)]
        skips = [f"skip {lower}>{upper}" for lower, upper in self.needs.skips]
        backward = [f"backward {k}" for k in range(2, self.depth + 1)] * self.needs.backward
        return [*own, *skips, *backward, *(f"read-out {block.lower}" for block in self.readouts)]

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """Shapes of the matrices of `blocks`."""
        return [block.shape for block in self.blocks]

    @property
    def fans(self) -> list[tuple[float, float]]:
        """Of the weights of `blocks`, as `Network.fans`."""
        own, sizes = self.network.fans, self.network.sizes
        skips = [(sizes[lower], sizes[upper]) for lower, upper in self.needs.skips]
        readouts = [(size, sizes[-1]) for size in sizes[1:-1]] * self.needs.readouts
        return [*own, *skips, *own[1:] * self.needs.backward, *readouts]

    @property
    def convolves(self) -> bool:
        return self.network.convolves

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
