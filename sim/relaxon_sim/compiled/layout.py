"""Where the weights lie: tiles that programs use as a matrix are one, in long lines."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from relaxon_isa import ArrayConfig

from .tables import SEGMENT, Operation, padded

__all__ = ["Layout", "Plan"]


LINE = 64
"""Cells in a line from which on longer lines pay no more."""
PANEL_FROM = 4
"""Segments from which on it pays to put the tiles that all of them multiply into a panel."""


@dataclass(frozen=True)
class Plan:
    """How an operation meets the weights.

    Members
    -------
    values
        Columns of `tables.OPERATION`.
    segments
        Of MAC, (n,) of `tables.SEGMENT`.
    sizes
        Words that the engine gathers: sums, a MAC's listed sources, a LEARN's listed lanes and
        terms, lanes in a line, and sources that meet a panel.
    panel
        The tiles that become a panel: (groups of lanes, groups of sources), transposed or not.
    """

    values: dict[str, int]
    segments: NDArray
    sizes: tuple[int, int, int, int, int]
    panel: tuple[NDArray, bool] | None = None


class Layout:
    """The weight memory.

    Members
    -------
    words
        All cells, flat.
    places
        Of every tile: start, row pitch, column pitch (depth, 3). At first tiles lie one after
        another, each column in a line.
    """

    def __init__(self, config: ArrayConfig):
        p, depth = config.p, config.weight_depth
        self.config = config
        self.words = padded(depth * p * p, np.int32)
        self.places = np.array([[tile * p * p, 1, p] for tile in range(depth)], np.int64)
        self._matrices: list[NDArray] = []
        self._owner = np.full(depth, -1)

    def positions(self) -> NDArray:
        """Positions of all cells (depth, row, column)."""
        start, row, column = (self.places[:, i, None, None] for i in range(3))
        lane = np.arange(self.config.p)
        return start + row * lane[:, None] + column * lane

    # Matrices -----------------------------------------------------------------------------

    def adopt(self, operation: Operation) -> bool:
        """Lay the tiles of an operation as one matrix, if they are not and no other matrix would
        lose only some of its tiles. Returns whether weights have moved.

        A matrix of the same tiles in another order stays: operations that take turns would move
        all weights each time."""
        tiles = self._grid(operation)
        if tiles is None or tiles.size == 1 or len(np.unique(tiles)) < tiles.size:
            return False
        if self._lines(tiles, 1) if self._by_row(tiles) else self._lines(tiles.T, 2):
            return False
        shared = [i for i in np.unique(self._owner[tiles]) if i >= 0]
        if not all(np.isin(self._matrices[i], tiles).all() for i in shared):
            return False
        if len(shared) == 1 and self._matrices[shared[0]].size == tiles.size:
            return False
        self._matrices = [m for i, m in enumerate(self._matrices) if i not in shared] + [tiles]
        self._place()
        return True

    def _grid(self, operation: Operation) -> NDArray | None:
        """Tiles of an operation that depend on no loop index: (rows, columns)."""
        values = operation.values
        if values["tile_x"] or not (operation.is_mac or self._plain(operation)):
            return None
        outer, column, inner = (np.unique(t["tile"]) for t in operation.trips.values())
        grid = values["tile"] + (outer[:, None] + (inner if operation.is_mac else column))
        grid = grid & (1 << self.config.tile_addr_bits) - 1
        if grid.max() >= self.config.weight_depth:
            return None
        return grid.T if values.get("transposed") else grid

    def _plain(self, operation: Operation) -> bool:
        """Whether a LEARN is an outer product, rounded and added."""
        values = operation.values
        return bool(
            operation.separate
            and values["idle"]
            and not (values["stochastic"] or values["diagonal"])
        )

    def _by_row(self, tiles: NDArray) -> bool:
        """Whether a matrix's lines are to follow its rows: the shorter side, since most is left
        out where the other side has zeros, unless it is very short."""
        height, width = tiles.shape
        return (height <= width) == (min(height, width) * self.config.p >= LINE)

    def _lines(self, tiles: NDArray, axis: int) -> bool:
        """Whether tiles that follow each other on the first axis do so in memory, where cells do
        likewise (``axis`` 1: by row, 2: by column)."""
        places = self.places[tiles]
        steps = np.diff(places[..., 0], axis=0) == self.config.p
        return bool((places[..., axis] == 1).all() and steps.all()) and (
            len(tiles) == 1 or bool((np.diff(places, axis=0)[..., 1:] == 0).all())
        )

    def _place(self) -> None:
        p = self.config.p
        old = self.positions()
        self._owner[:] = -1
        at = 0
        for i, tiles in enumerate(self._matrices):
            height, width = tiles.shape
            row, column = (1, height * p) if self._by_row(tiles) else (width * p, 1)
            row_step, column_step = np.arange(height)[:, None] * row, np.arange(width) * column
            self.places[tiles, 0] = at + p * (row_step + column_step)
            self.places[tiles, 1:] = row, column
            self._owner[tiles] = i
            at += tiles.size * p * p
        loose = np.flatnonzero(self._owner < 0)
        self.places[loose, 0] = at + np.arange(len(loose)) * p * p
        self.places[loose, 1:] = 1, p
        words = np.empty_like(self.words)
        words[self.positions()] = self.words[old]
        self.words[:] = words

    # Plans --------------------------------------------------------------------------------

    def plan(self, operation: Operation) -> Plan:
        """How an operation meets the weights as they lie now."""
        if operation.is_mac:
            return self._plan_mac(operation)
        values, trips, p = operation.values, operation.trips, self.config.p
        wide = 0
        if self._plain(operation) and not values["tile_x"]:
            tiles = values["tile"] + trips["outer"]["tile"][:, None] + trips["column"]["tile"]
            tiles = tiles & (1 << self.config.tile_addr_bits) - 1
            if tiles.max() < self.config.weight_depth:
                lengths = {0: 0}
                if self._lines(tiles, 1):
                    lengths[1] = len(tiles)
                if self._lines(tiles.T, 2):
                    lengths[2] = len(tiles.T)
                wide = max(lengths, key=lambda axis: lengths[axis])
        rows, columns = len(trips["outer"]), len(trips["column"])
        line = max(rows, columns) * p if wide else p
        lists = line if wide else columns * p
        sizes = (line, max(lists + 1, line), lists + 1, len(trips["inner"]), line)
        # A product and half a step of rounding; a weight and what is added to it.
        config = self.config
        narrow = 2 * (config.state_bits - 1) <= 30 and max(values["q"], config.weight_bits) <= 30
        narrow &= len(trips["inner"]) == 1
        return Plan({"wide": wide, "narrow": narrow}, np.zeros(0, SEGMENT), sizes)

    def _plan_mac(self, operation: Operation) -> Plan:
        values, outer, inner = operation.values, operation.trips["outer"], operation.trips["inner"]
        p, mask = self.config.p, (1 << self.config.tile_addr_bits) - 1
        to, of = (2, 1) if values["transposed"] else (1, 2)
        one_tile = not (outer["tile"].any() or inner["tile"].any())
        one_tile &= len(outer) * len(inner) > 2  # else not worth looking at the tile
        known, lines, run = not values["tile_x"], False, 0

        def tiles(trips: NDArray) -> NDArray:
            return (values["tile"] + trips["tile"][:, None] + inner["tile"]) & mask

        rows = outer[np.unique(outer["tile"], return_index=True)[1]]
        if known and tiles(rows).max() < self.config.weight_depth:
            by_source = bool((self.places[tiles(rows), of] == 1).all())
            lines = bool((self.places[tiles(rows), to] == 1).all())
            if by_source and not lines:
                run = len(inner) if self._lines(tiles(rows).T, of) else 1
        else:
            known = False
        used = ["dst", *["drive"] * values["uses_drive"], *["gate"] * values["reads_gate"]]
        joined = np.ones(len(outer) - 1, bool)
        for name in used:
            joined &= np.diff(outer[name]) == 1
        joined &= outer["lanes"][:-1] == p
        joined &= np.diff(outer["sign"]) == 0
        joined &= one_tile | (np.diff(outer["src"]) == 0)
        starts = [0, *(np.flatnonzero(~joined) + 1)]
        segments = np.zeros(len(starts), SEGMENT)
        for segment, first, end in zip(segments, starts, [*starts[1:], len(outer)], strict=True):
            trips = outer[first:end]
            segment["first"], segment["groups"] = first, len(trips)
            segment["lanes"] = (len(trips) - 1) * p + trips["lanes"][-1]
            same = bool((trips["src"] == trips["src"][0]).all())
            segment["wide"] = known and not run and same and self._lines(tiles(trips), to)
        config, most = self.config, int(segments["groups"].max()) * p
        short = config.weight_bits <= 16 and config.state_bits <= 16
        panel = short and known and not one_tile and len(segments) >= PANEL_FROM
        panel = (
            panel and bool((segments["groups"] == most // p).all()) and len(inner) * p <= 1 << 16
        )
        if panel:  # all segments have the tiles of the first, and one list of sources each
            multiplied = outer["tile"].reshape(len(segments), -1)
            sources = outer["src"].reshape(len(segments), -1)
            panel = bool((multiplied == multiplied[0]).all() and (sources == sources[:, :1]).all())
        of_first = tiles(outer[: most // p]), bool(values["transposed"])
        ends = np.flatnonzero((np.diff(inner["src"]) != 1) | (np.diff(inner["sign"]) != 0)) + 1
        values = {
            "one_tile": one_tile,
            "source_run": run,
            "source_line": math.gcd(len(inner), *ends.tolist()),
            "lines": lines,
            "short": short,
            "src_line": bool((np.diff(outer["src"])[joined] == 1).all()),
        }
        sizes = (most, len(inner) * p + p, 1, 1, 1)
        return Plan(values, segments, sizes, of_first if panel else None)
