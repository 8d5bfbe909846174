"""Geometry: how a layer lies in memory, and which nests of MAC and LEARN pass a block of weights.

What rules say is *which* planes meet; where they lie, how the tiles are ordered and which levels a
nest has is answered here, by `Layer` and `Block`, and nowhere else.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from relaxon_isa.instructions import LearnLevel, MacLevel

__all__ = ["Block", "Layer", "Region", "repeated"]


@dataclass(frozen=True)
class Region:
    """An operand of a MAC: first address, step to the next phase's, step to the next group.

    Addresses are groups of S or D, or tiles of W.
    """

    base: int
    phase: int = 0
    group: int = 1


def repeated(nest: dict, count: int, **step: Any) -> dict:
    """Fields of a MAC, with one more outer level around those it has."""
    return {**nest, "outer": (MacLevel(count=count, **step), *nest.get("outer", ()))}


@dataclass(frozen=True)
class Layer:
    """The planes of a layer: its neurons one after another, P in a group.

    Parameters
    ----------
    neurons
        Those of the network.
    p
        Lanes of the machine.
    always_on
        Neurons of constant value behind the last one (the input has one, which biases hang on).
    """

    neurons: int
    p: int
    always_on: int = 0

    @property
    def groups(self) -> int:
        """State groups of a plane."""
        return -(-(self.neurons + self.always_on) // self.p)

    @property
    def tail(self) -> int:
        """Valid lanes of the last group (0: all)."""
        return (self.neurons + self.always_on) % self.p

    def walk(self, phases: int = 1, *, flip: bool = False, **operands: Region | None) -> dict:
        """Fields of a MAC that visits every group of every phase.

        ``operands``: src, dst, drive, gate, tile; the others stay where they are. ``flip``: the
        second phase has the other sign.
        """
        held = {name: region for name, region in operands.items() if region}
        nest = repeated({}, self.groups, **{k: r.group for k, r in held.items()})
        nest |= {k: r.base for k, r in held.items()}
        if phases > 1:
            nest = repeated(nest, phases, flip=flip, **{k: r.phase for k, r in held.items()})
        return nest | {"from_drive": True} if "drive" in held else nest


@dataclass(frozen=True)
class Block:
    """The weights from layer ``lower`` into layer ``upper``, every neuron with every neuron.

    Tiles lie row by row: a row has the groups of ``above``, a column those of ``below``; unless
    ``below`` has an always-on neuron, a column of tiles for biases comes last.

    Parameters
    ----------
    below, above
        The two layers.
    first_tile
        The first of its words.
    words_each
        Words of memory a synapse: how far apart tiles are.
    ones_group
        The group of S that biases are multiplied with.
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
    biased: bool = True

    # What it takes

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of its matrix: (neurons of ``upper``, neurons of ``lower`` + 1), bias last."""
        return self.above.neurons, self.below.neurons + 1

    @property
    def tile_columns(self) -> int:
        """Groups that a row of tiles meets, bias included."""
        return self.below.groups + (not self.below.always_on)

    @property
    def extent(self) -> slice:
        """Its place in weight memory, in words."""
        return slice(
            self.first_tile,
            self.first_tile + self.above.groups * self.tile_columns * self.words_each,
        )

    @property
    def most_terms(self) -> int:
        """Bound of the products, in groups, in one accumulation: forward and transposed ones."""
        return self.tile_columns + self.above.groups

    # Nests of MAC

    @property
    def _row(self) -> int:
        return self.tile_columns * self.words_each

    def forward(self, src: Region, phases: int = 1, **operands: Any) -> dict:
        """Fields of the MAC that brings ``src``, a plane of ``lower``, up to ``upper``.

        ``operands``: as of `Layer.walk`.
        """
        src, tile = Region(src.base, src.phase, 0), Region(self.first_tile, 0, self._row)
        nest = self.above.walk(phases, src=src, tile=tile, **operands)
        inner = (MacLevel(count=self.below.groups, tile=self.words_each, src=1),)
        return {**nest, "inner": inner}

    def transposed(self, src: Region, phases: int = 1, **operands: Any) -> list[dict]:
        """Fields of the MACs that bring ``src``, a plane of ``upper``, down to ``lower``: each
        visits other neurons."""
        src, tile = Region(src.base, src.phase, 0), Region(self.first_tile, 0, self.words_each)
        nest = self.below.walk(phases, src=src, tile=tile, **operands)
        inner = (MacLevel(count=self.above.groups, tile=self._row, src=1),)
        return [{**nest, "inner": inner, "transposed": True}]

    def static(self, x: int, dst: Region, drive: Region | None = None) -> list[dict]:
        """Fields of the MACs that put what no sweep changes on ``drive``, into ``dst``: of a block
        from the input the current of plane ``x``, of others the biases."""
        if not self.lower:
            return [self.forward(Region(x), dst=dst, drive=drive)]
        tile = Region(self.first_tile + self.below.groups * self.words_each, 0, self._row)
        return [
            self.above.walk(src=Region(self.ones_group, group=0), tile=tile, dst=dst, drive=drive)
        ]

    # Nests of LEARN

    def learn(
        self,
        row: int,
        col: int,
        terms: tuple[LearnLevel, ...] = (),
        bias: tuple[LearnLevel, ...] = (),
        word: int = 0,
    ) -> list[dict]:
        """Fields of the LEARN on its weights, then of that on its biases if they are apart.

        ``row``, ``col``: planes of ``upper`` and ``lower``; ``terms``, ``bias``: what each adds up;
        ``word``: which of a synapse's.
        """
        rows = LearnLevel(count=self.above.groups, tile=self._row, row=1)
        columns = LearnLevel(count=self.below.groups, tile=self.words_each, col=1)
        first = self.first_tile + word
        nests = [{"outer": (rows, columns), "inner": terms, "tile": first, "row": row, "col": col}]
        if self.biased and self.lower:
            first += self.below.groups * self.words_each
            place = {"tile": first, "row": row, "col": self.ones_group}
            nests.append({"outer": (rows,), "inner": bias, **place})
        return nests

    def outer_product(self, row: int, col: int) -> dict:
        """Fields of a LEARN on weights and biases at once: ``col`` has a group for each column."""
        (nest, *_), columns = self.learn(row, col), self.tile_columns
        return {
            **nest,
            "outer": (nest["outer"][0], LearnLevel(count=columns, tile=self.words_each, col=1)),
        }

    # Matrices

    def to_tiles(self, matrix: np.ndarray) -> np.ndarray:
        """Its matrix, int, as its tiles, int (n, P, P); second words are 0."""
        p, (out, width) = self.above.p, self.shape
        padded = np.zeros((self.above.groups * p, self.tile_columns * p), dtype=np.int64)
        padded[:out, : width - 1] = matrix[:, :-1]
        padded[:out, self._bias] = matrix[:, -1]
        tiles = padded.reshape(self.above.groups, p, self.tile_columns, p).transpose(0, 2, 1, 3)
        words = np.zeros(
            (self.above.groups * self.tile_columns, self.words_each, p, p), dtype=np.int64
        )
        words[:, 0] = tiles.reshape(-1, p, p)
        return words.reshape(-1, p, p)

    def from_tiles(self, tiles: np.ndarray) -> np.ndarray:
        """Inverse of `to_tiles`."""
        p, (out, width) = self.above.p, self.shape
        padded = tiles[:: self.words_each].reshape(self.above.groups, self.tile_columns, p, p)
        padded = padded.transpose(0, 2, 1, 3).reshape(self.above.groups * p, self.tile_columns * p)
        return padded[:out, [*range(width - 1), self._bias]]

    @property
    def _bias(self) -> int:
        """The matrix column of the biases, in lanes."""
        return self.below.neurons if self.below.always_on else self.below.groups * self.below.p
