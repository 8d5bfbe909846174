"""Geometry: how a layer lies in memory, and which nests of MAC and LEARN pass a block of weights.

What rules say is *which* planes meet; where they lie, how the tiles are ordered and which levels a
nest has is answered here, by `Layer` and `Block`, and nowhere else.

One geometry serves plain layers and convolutions. A layer is a map of positions; each position has
its channels in groups of P lanes, channel groups fastest. A plain layer has one position. A block
is a window onto the layer below that moves by a stride; into a plain layer the window is the whole
map.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np

from relaxon_isa import LearnLevel, MacLevel

from .network import Image, Kernel

__all__ = ["Block", "Layer", "Region", "halos", "repeated"]


@dataclass(frozen=True)
class Region:
    """An operand of a MAC: its first address, and the steps to the next phase, to the next row of
    positions, the next position, the next group.

    Addresses are groups of S or D, or tiles of W.
    """

    base: int
    phase: int = 0
    group: int = 1
    row: int = 0
    column: int = 0

    def every(self, stride: int, y: int, x: int) -> "Region":
        """Every ``stride``-th row and column of it, from (y, x) on."""
        base = self.base + y * self.row + x * self.column
        return Region(base, self.phase, self.group, stride * self.row, stride * self.column)


def repeated(nest: dict, count: int, **step: Any) -> dict:
    """Fields of a MAC, with one more outer level around those it has."""
    return {**nest, "outer": (MacLevel(count=count, **step), *nest.get("outer", ()))}


@dataclass(frozen=True)
class Layer:
    """The planes of a layer.

    A plane has a halo of positions that nothing writes, so that windows may reach beyond the map:
    they read zeros there. The right halo of a row is the left one of the next.

    Parameters
    ----------
    channels
        Neurons at a position: those of a plain layer.
    p
        Lanes of the machine.
    always_on
        Neurons of constant value behind the last one (a plain input has one, for biases).
    height, width
        Positions.
    halo
        Positions above, below, left and right of the map.
    side
        Rows and columns of pixels that make up one position: their channels lie side by side.
    blank
        Rows of pixels above and below the image, columns to its left and right, that fill up the
        positions at its border. They are always 0, and no neurons.
    """

    channels: int
    p: int
    always_on: int = 0
    height: int = 1
    width: int = 1
    halo: tuple[int, int, int, int] = (0, 0, 0, 0)
    side: int = 1
    blank: tuple[int, int, int, int] = (0, 0, 0, 0)

    @property
    def column(self) -> int:
        """Groups of a position."""
        return -(-(self.channels + self.always_on) // self.p)

    @property
    def row(self) -> int:
        """Groups from a row of positions to the next in a plane."""
        return (self.width + max(self.halo[2:])) * self.column

    @property
    def origin(self) -> int:
        """Group of the first neuron in a plane."""
        return self.halo[0] * self.row + self.halo[2] * self.column

    @property
    def groups(self) -> int:
        """State groups of a plane."""
        top, bottom, left, right = self.halo
        return (top + self.height + bottom) * self.row + max(left, right) * self.column

    @property
    def positions(self) -> int:
        return self.height * self.width

    @property
    def tail(self) -> int:
        """Valid lanes of the last group of a position (0: all)."""
        return (self.channels + self.always_on) % self.p

    @cached_property
    def lanes(self) -> np.ndarray:
        """Where in a plane its neurons lie, int (neurons,): pixel row by row, channels last."""
        return self._pixels(self.row, self.column, self.p) + self.origin * self.p

    def _pixels(self, row: int, column: int, p: int) -> np.ndarray:
        """`_lanes` of the image in planes whose rows and positions are so many groups of ``p``."""
        top, bottom, left, right = self.blank
        high, wide = self.height * self.side - top - bottom, self.width * self.side - left - right
        return _lanes(
            high, wide, self.channels // self.side**2, self.side, row, column, p, (top, left)
        )

    @property
    def waits(self) -> tuple[int, int]:
        """How a plane is sent: WAITs, and values of each. A WAIT fills the lanes of one group after
        the other, so that positions with empty lanes need one each; halo positions between the
        rows, and blank pixels, are sent as well."""
        sent = (self.height - 1) * (self.row // self.column) + self.width
        whole = self.positions == 1 or self.channels % self.p == 0
        return (1, sent * self.channels) if whole else (sent, self.channels)

    @cached_property
    def slots(self) -> np.ndarray:
        """Which of the values sent each neuron is, int (neurons,): the others are 0."""
        return self._pixels(self.row // self.column, 1, self.channels)

    def plane(self, base: int, phase: int = 0) -> Region:
        """A plane as an operand; ``base``: its first group, ``phase``: step to the next phase's."""
        return Region(base + self.origin, phase, row=self.row, column=self.column)

    def drive(self, base: int, phase: int = 0, shared: bool = False) -> Region:
        """A drive as an operand: no halo; ``shared``: one for all positions."""
        row, column = (0, 0) if shared else (self.width * self.column, self.column)
        return Region(base, phase, row=row, column=column)

    def walk(
        self,
        phases: int = 1,
        *,
        rows: int = 0,
        columns: int = 0,
        flip: bool = False,
        **operands: Region | None,
    ) -> dict:
        """Fields of a MAC that visits every group of every position of every phase.

        ``operands``: src, dst, drive, gate, tile; the others stay where they are; old moves as dst
        does. ``rows``, ``columns``: of positions, if not all. ``flip``: the second phase has the
        other sign.
        """
        held = {name: region for name, region in operands.items() if region}
        moved = {name: region for name, region in held.items() if name != "old"}
        nest = repeated({}, self.column, **{k: r.group for k, r in moved.items()})
        counts = {"column": columns or self.width, "row": rows or self.height, "phase": phases}
        for axis, count in counts.items():
            if count > 1:
                step = {k: getattr(r, axis) for k, r in moved.items()}
                nest = repeated(nest, count, flip=flip and axis == "phase", **step)
        nest |= {k: r.base for k, r in held.items()}
        return nest | {"from_drive": True} if "drive" in held else nest

    def flat(self, src: int, dst: int) -> dict:
        """Fields of a MAC from one plane to another, group by group: zeros of the halo and of lanes
        without a neuron must stay zeros."""
        level = MacLevel(count=self.groups, src=1, dst=1)
        tail = self.tail if self.positions == 1 else 0
        return {"outer": (level,), "src": src, "dst": dst, "tail": tail}


def _lanes(
    height: int,
    width: int,
    channels: int,
    side: int,
    row: int,
    column: int,
    p: int,
    first: tuple[int, int] = (0, 0),
) -> np.ndarray:
    """Lanes of pixels and their channels, row by row, where positions are ``side`` x ``side``
    pixels; ``first``: row and column of the first pixel in the first position."""
    y, x, c = np.indices((height, width, channels)).reshape(3, -1)
    y, x = y + first[0], x + first[1]
    group = y // side * row + x // side * column
    return group * p + (y % side * side + x % side) * channels + c


def halos(kernel: Kernel, below: Image, above: Image) -> tuple[tuple, tuple]:
    """Halos (above, below, left, right) that a window needs around the map below, for the forward
    pass, and around the map above, for the transposed one."""
    lower, upper = [], []
    for window, low, high in (
        (kernel.height, below.height, above.height),
        (kernel.width, below.width, above.width),
    ):
        stride, padding = kernel.stride, kernel.padding
        lower += [padding, max(0, (high - 1) * stride + window - padding - low)]
        first = [(n + padding) // stride for n in range(low)]
        taps = [-(-(window - (n + padding) % stride) // stride) for n in range(low)]
        reach = [(f - t + 1, f) for f, t in zip(first, taps, strict=True) if t > 0]
        upper += [max(0, *(-f for f, _ in reach)), max(0, *(f - high + 1 for _, f in reach))]
    return tuple(lower), (0, 0, 0, 0) if _whole(kernel, below) else tuple(upper)


def _whole(kernel: Kernel, below: Image | Layer) -> bool:
    """Whether the window is the map below."""
    return kernel == Kernel(below.height, below.width)


@dataclass(frozen=True)
class Block:
    """The weights from layer ``lower`` into layer ``upper``.

    Tiles lie row by row: a row has the channel groups of ``above``, a column those of the window
    onto ``below``, position by position; unless ``below`` has an always-on neuron, a column of
    tiles for biases comes last.

    Parameters
    ----------
    below, above
        The two layers.
    first_tile
        The first of its words.
    words_each
        Words of memory a synapse: how far apart tiles are.
    ones_group
        The group of S that biases are multiplied with; zeros are in the group ``zeros_group``.
    window
        The window, in positions of ``below``.
    biased
        Whether there are biases. Otherwise the last column of the matrix is always 0.
    """

    lower: int
    upper: int
    below: Layer
    above: Layer
    first_tile: int
    words_each: int
    ones_group: int
    zeros_group: int
    window: Kernel
    biased: bool

    # What it takes

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of its matrix: (channels of ``upper``, window + 1), bias last."""
        return self.above.channels, len(self._columns) + 1

    @property
    def _window_groups(self) -> int:
        """Groups of a window."""
        return self.window.height * self.window.width * self.below.column

    @property
    def tile_columns(self) -> int:
        """Groups that a row of tiles meets, bias included."""
        return self._window_groups + (not self.below.always_on)

    @property
    def extent(self) -> slice:
        """Its place in weight memory, in words."""
        return slice(self.first_tile, self.first_tile + self.above.column * self._row)

    @property
    def most_terms(self) -> int:
        """Bound of the products, in groups, in one accumulation: forward and transposed ones."""
        taps = 1
        if not _whole(self.window, self.below):
            high, wide = self.window.height, self.window.width
            taps = -(-high // self.window.stride) * -(-wide // self.window.stride)
        return self.tile_columns + taps * self.above.column

    @property
    def most_levels(self) -> int:
        """Loop levels of its longest nest, with two phases, or two terms of a LEARN."""
        plane, pair = Region(0), (LearnLevel(count=2),)
        nests = [self.forward(plane, 2), *self.transposed(plane, 2), *self.learn(0, 0, pair)]
        return max(len(nest["outer"]) + len(nest.get("inner", ())) for nest in nests)

    # Nests of MAC

    @property
    def _row(self) -> int:
        return self.tile_columns * self.words_each

    def _start(self, plane: Region) -> int:
        """The group that the first window begins with."""
        return plane.base - self.window.padding * (self.below.row + self.below.column)

    def _tiles(self, moved: str) -> list[tuple[int, int, int]]:
        """Levels over a window: count, step of the tile, step of the plane ``moved``."""
        line, step = self.window.width * self.below.column, self.words_each
        if self.window.height == 1 or self.below.row == line:  # whole rows of the plane
            return [(line * self.window.height, step, 1)]
        return [(self.window.height, line * step, self.below.row), (line, step, 1)]

    def forward(self, src: Region, phases: int = 1, **operands: Any) -> dict:
        """Fields of the MAC that brings ``src``, a plane of ``lower``, up to ``upper``.

        ``operands``: as of `Layer.walk`.
        """
        stride = self.window.stride
        step = {"row": stride * self.below.row, "column": stride * self.below.column}
        src = Region(self._start(src), src.phase, 0, **step)
        tile = Region(self.first_tile, group=self._row)
        nest = self.above.walk(phases, src=src, tile=tile, **operands)
        inner = [MacLevel(count=n, tile=t, src=s) for n, t, s in self._tiles("src")]
        return {**nest, "inner": tuple(inner)}

    def transposed(self, src: Region, phases: int = 1, **operands: Any) -> list[dict]:
        """Fields of the MACs that bring ``src``, a plane of ``upper``, down to ``lower``: each
        visits other neurons, those of one remainder of row and column by the stride."""
        below, above, kernel = self.below, self.above, self.window
        up = MacLevel(count=above.column, tile=self._row, src=1)
        if _whole(kernel, below):  # each position has one weight
            rows = kernel.width * below.column * self.words_each
            steps = {"row": rows, "column": below.column * self.words_each}
            tile = Region(self.first_tile, 0, self.words_each, **steps)
            nest = below.walk(phases, src=Region(src.base, src.phase, 0), tile=tile, **operands)
            return [{**nest, "inner": (up,), "transposed": True}]
        nests, stride = [], kernel.stride
        for ky, kx in product(range(stride), range(stride)):
            y, x = ((k - kernel.padding) % stride for k in (ky, kx))
            rows, columns = -(-(below.height - y) // stride), -(-(below.width - x) // stride)
            if rows < 1 or columns < 1:
                continue
            held = {k: r and r.every(stride, y, x) for k, r in operands.items() if k != "flip"}
            how = {"rows": rows, "columns": columns, "flip": operands.get("flip", False)}
            taps = [
                (-(-(size - k) // stride), step, span)
                for size, k, step, span in (
                    (kernel.height, ky, above.row, stride * kernel.width * below.column),
                    (kernel.width, kx, above.column, stride * below.column),
                )
            ]
            if min(count for count, _, _ in taps) < 1:  # no window reaches these neurons
                zeros = Region(self.zeros_group, group=0)
                tile = Region(self.first_tile, group=0)
                nests.append({**below.walk(phases, src=zeros, tile=tile, **held, **how)})
                continue
            first = self.first_tile + (ky * kernel.width + kx) * below.column * self.words_each
            base = src.base + (y + kernel.padding) // stride * above.row
            base += (x + kernel.padding) // stride * above.column
            moved = Region(base, src.phase, 0, above.row, above.column)
            tile = Region(first, group=self.words_each)
            nest = below.walk(phases, src=moved, tile=tile, **held, **how)
            inner = [
                MacLevel(count=count, src=-step, tile=span * self.words_each)
                for count, step, span in taps
                if count > 1
            ]
            nests.append({**nest, "inner": (*inner, up), "transposed": True})
        return nests

    def static(self, x: int, dst: Region, drive: Region | None = None) -> list[dict]:
        """Fields of the MACs that put what no sweep changes on ``drive``, into ``dst``: of a block
        from the input the current of plane ``x``, of others the biases, one for all positions."""
        above, below, nests = self.above, self.below, []
        if not below.always_on:
            tile = Region(self.first_tile + self._window_groups * self.words_each, group=self._row)
            src = Region(self.ones_group, group=0)
            how: Any = {} if dst.row else {"rows": 1, "columns": 1}
            nests = [above.walk(src=src, tile=tile, dst=dst, drive=drive, **how)]
            drive = dst
        if not self.lower:
            nests.append(self.forward(below.plane(x), dst=dst, drive=drive))
        return nests

    # Nests of LEARN

    def learn(
        self,
        row: int,
        col: int,
        terms: tuple[LearnLevel, ...] = (),
        bias: tuple[LearnLevel, ...] = (),
        word: int = 0,
    ) -> list[dict]:
        """Fields of the LEARN on its weights, then of that on its biases if they are apart. Both
        add up over all positions.

        ``row``, ``col``: planes of ``upper`` and ``lower``; ``terms``, ``bias``: what each adds up
        at a position; ``word``: which of a synapse's.
        """
        above, below, stride = self.above, self.below, self.window.stride
        rows = LearnLevel(count=above.column, tile=self._row, row=1)
        window = [LearnLevel(count=n, tile=t, col=c) for n, t, c in self._tiles("col")]
        row, col = above.plane(row).base, self._start(below.plane(col))
        over = [
            (count, step, stride * moved)
            for count, step, moved in (
                (above.height, above.row, below.row),
                (above.width, above.column, below.column),
            )
            if count > 1
        ]
        every = tuple(LearnLevel(count=n, row=r, col=c) for n, r, c in over)
        first = self.first_tile + word
        place = {"tile": first, "row": row, "col": col}
        nests = [{"outer": (rows, *window), "inner": (*terms, *every), **place}]
        if self.biased and not below.always_on:
            every = tuple(LearnLevel(count=n, row=r) for n, r, _ in over)
            first += self._window_groups * self.words_each
            place = {"tile": first, "row": row, "col": self.ones_group}
            nests.append({"outer": (rows,), "inner": (*bias, *every), **place})
        return nests

    def outer_product(self, row: int, col: int) -> dict:
        """Fields of a LEARN on weights and biases at once: ``col`` has a group for each column."""
        (nest, *_), columns = self.learn(row, col), self.tile_columns
        level = LearnLevel(count=columns, tile=self.words_each, col=1)
        return {**nest, "outer": (nest["outer"][0], level)}

    # Matrices

    def to_tiles(self, matrix: np.ndarray) -> np.ndarray:
        """Its matrix, int, as its tiles, int (n, P, P); second words are 0."""
        p, rows, columns = self.above.p, self.above.column, self.tile_columns
        padded = np.zeros((rows * p, columns * p), dtype=np.int64)
        padded[: len(matrix), [*self._columns, self._bias]] = matrix
        tiles = padded.reshape(rows, p, columns, p).transpose(0, 2, 1, 3)
        words = np.zeros((rows * columns, self.words_each, p, p), dtype=np.int64)
        words[:, 0] = tiles.reshape(-1, p, p)
        return words.reshape(-1, p, p)

    def from_tiles(self, tiles: np.ndarray) -> np.ndarray:
        """Inverse of `to_tiles`."""
        p, rows, columns = self.above.p, self.above.column, self.tile_columns
        padded = tiles[:: self.words_each].reshape(rows, columns, p, p)
        padded = padded.transpose(0, 2, 1, 3).reshape(rows * p, columns * p)
        return padded[: self.above.channels, [*self._columns, self._bias]]

    @cached_property
    def _columns(self) -> np.ndarray:
        """Lanes of the matrix's columns but the last."""
        kernel, below, side = self.window, self.below, self.below.side
        high, wide, row = kernel.height * side, kernel.width * side, kernel.width * below.column
        return _lanes(high, wide, below.channels // side**2, side, row, below.column, below.p)

    @property
    def _bias(self) -> int:
        """Lane of the matrix's last column."""
        return self.below.channels if self.below.always_on else self._window_groups * self.below.p
