"""The weight memory: tiles that a program uses as a matrix lie as a matrix in memory."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from relaxon_isa import ArrayConfig

from .exact import Array, Numbers
from .planes import in_range

__all__ = ["Weights"]


@dataclass(frozen=True)
class Region:
    """Tiles that lie as the blocks of one matrix.

    Members
    -------
    grid
        Tile addresses (I, J), none twice.
    matrix
        View (I * p, J * p) of the weights, in either memory order.
    """

    grid: NDArray[np.int64]
    matrix: Array


class Weights:
    """The words of all tiles, in one flat array whose order `matrix` changes.

    Tile t begins at ``start[t]``; its rows are ``row_pitch[t]`` apart, its columns
    ``col_pitch[t]``. At first tiles lie one after another. `matrix` moves tiles together;
    ``moved``, a member, is called then, because views and positions from before are void.
    """

    PATIENCE = 16

    def __init__(self, config: ArrayConfig, numbers: Numbers):
        p, depth = config.p, config.weight_depth
        self.p, self.depth = p, depth
        self.moved: Callable[[], None] = lambda: None
        self.patience = self.PATIENCE
        self.flat: Array = np.zeros(depth * p * p, dtype=numbers.dtype)
        self.start = np.arange(depth) * p * p
        self.row_pitch = np.full(depth, p)
        self.col_pitch = np.ones(depth, dtype=np.int64)
        self.owner = np.full(depth, -1)
        self.regions: list[Region] = []

    def in_range(self, tiles: NDArray) -> NDArray[np.int64]:
        return in_range("tile", tiles, self.depth)

    def rows(self, tiles: NDArray) -> NDArray[np.int64]:
        """Positions of the rows' first cells: shape of ``tiles`` with a last axis of p."""
        return self.start[tiles][..., None] + self.row_pitch[tiles][..., None] * np.arange(self.p)

    def columns(self, tiles: NDArray) -> NDArray[np.int64]:
        """Offsets of columns from `rows`: shape of ``tiles`` with a last axis of p."""
        return self.col_pitch[tiles][..., None] * np.arange(self.p)

    def positions(self, tiles: NDArray) -> NDArray[np.int64]:
        """Positions of all cells: shape of ``tiles`` with two more axes (row, column)."""
        return self.rows(tiles)[..., None] + self.columns(tiles)[..., None, :]

    def matrix(self, grid: NDArray[np.int64]) -> Array | None:
        """The tiles of ``grid`` (I, J) as a view (I * p, J * p), or None.

        Tiles that no program has used as a matrix, or only as a part of this one, are moved.
        """
        if grid.size == 1 and self.owner[grid[0, 0]] < 0:
            at, p = self.start[grid[0, 0]], self.p
            return self.flat[at : at + p * p].reshape(p, p)
        found = self._inside(grid)
        if found is None and self._adoptable(grid):
            self.adopt(grid)
            found = self._inside(grid)
        return found

    def _inside(self, grid: NDArray) -> Array | None:
        owner = self.owner[grid[0, 0]]
        if owner < 0:
            return None
        region = self.regions[owner]
        (i,), (j,) = np.nonzero(region.grid == grid[0, 0])
        height, width = grid.shape
        if not np.array_equal(region.grid[i : i + height, j : j + width], grid):
            return None
        p = self.p
        return region.matrix[i * p : (i + height) * p, j * p : (j + width) * p]

    def _adoptable(self, grid: NDArray) -> bool:
        """Whether each tile is met once and no other region would lose only some of its tiles, or
        all of them to the same tiles in another order: two nests that take turns would move all
        weights each time."""
        if len(np.unique(grid)) < grid.size:
            return False
        shared = [self.regions[o].grid for o in np.unique(self.owner[grid]) if o >= 0]
        same = len(shared) == 1 and shared[0].size == grid.size
        return not same and all(np.isin(tiles, grid).all() for tiles in shared)

    def adopt(self, grid: NDArray[np.int64]) -> None:
        """Make ``grid`` a region; regions that share tiles with it fall apart."""
        shared = set(np.unique(self.owner[grid]))
        grids = [r.grid for i, r in enumerate(self.regions) if i not in shared] + [grid]
        p = self.p
        old = self.positions(np.arange(self.depth))
        flat = np.empty_like(self.flat)
        self.owner = np.full(self.depth, -1)
        self.regions = []
        at = 0
        for tiles in grids:
            height, width = tiles.shape
            # The longer side first: walking over its zeros then copies whole rows.
            tall = height >= width
            row, col = (width * p, 1) if tall else (1, height * p)
            starts = at + p * (np.arange(height)[:, None] * row + np.arange(width) * col)
            self._place(tiles, starts, row, col)
            block = flat[at : at + tiles.size * p * p]
            matrix = block.reshape(height * p, width * p) if tall else None
            if matrix is None:
                matrix = block.reshape(width * p, height * p).T
            self.owner[tiles] = len(self.regions)
            self.regions.append(Region(tiles, matrix))
            at += tiles.size * p * p
        loose = np.flatnonzero(self.owner < 0)
        self._place(loose, at + np.arange(len(loose)) * p * p, p, 1)
        flat[self.positions(np.arange(self.depth))] = self.flat[old]
        self.flat = flat
        self.moved()

    def _place(self, tiles: NDArray, starts: NDArray, row: int, col: int) -> None:
        self.start[tiles] = starts
        self.row_pitch[tiles] = row
        self.col_pitch[tiles] = col

    def insist(self, grid: NDArray, uses: int) -> None:
        """Adopt ``grid`` once ``uses``, its gathers so far, exceed the patience.

        The patience then doubles, so that two programs do not evict each other for ever.
        """
        if uses > self.patience:
            self.patience *= 2
            self.adopt(grid)
