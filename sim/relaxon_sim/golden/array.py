"""The array: MAC's sums of products and LEARN's updates over tiles.

A nest is compiled once to closures. Where its tiles form a matrix (see `weights`), one product
with that matrix does all of it; else the tiles are gathered: the plain way, always right, which
``Machine(config, plain=True)`` takes everywhere.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from relaxon_isa.instructions import Learn, LearnLevel, Mac, MacLevel, Sign
from relaxon_isa.memory import Register

from .exact import Array
from .hash import cell_dither, words
from .neuron import Lanes
from .planes import Port, in_range, parity, walk
from .synapse import Synapse

if TYPE_CHECKING:
    from .machine import Machine

__all__ = ["compile_learn", "compile_mac"]

Work = Callable[[], None]

SPARSE_CELLS = 1 << 14
"""Matrices of fewer cells are multiplied zeros and all."""
SPARSE_SHARE = 0.4
"""Share of non-zero sources up to which it pays to leave the zeros out (measured)."""
GATHER_CELLS = 1 << 22
"""Cells gathered at a time at most."""


# MAC ------------------------------------------------------------------------------------------


class MacNest:
    """The addresses of a MAC: destination groups (B, I), terms K.

    Outer levels that keep their tiles (and have sources of their own) are the batch B, those
    that keep their sources are the rows I. If a level moves both, everything is in I and
    ``dense`` is False: each destination group then has sources of its own.

    Members
    -------
    tiles
        (I, K)
    sources
        (B, K) if dense, else (I, K)
    groups
        dst, old, drive and gate, as far as used: (B, I) each.
    lanes
        Valid lanes (B, I).
    outer_sign, inner_sign
        (B, I) and (K,), +1 or -1; None where all are +1.
    """

    def __init__(self, machine: "Machine", mac: Mac, x: Sequence[int]):
        config = machine.config
        outer, inner = mac.outer, mac.inner
        batch = [i for i, level in enumerate(outer) if level.tile == 0]
        rows = [i for i, level in enumerate(outer) if level.tile != 0]
        self.dense = all(outer[i].src == 0 for i in rows)
        if not self.dense:
            batch, rows = [], list(range(len(outer)))
        counts = [level.count for level in outer]
        size = int(np.prod([counts[i] for i in batch], dtype=int))

        def grouped(address: NDArray) -> NDArray[np.int64]:
            return np.transpose(address, (*batch, *rows)).reshape(size, -1)

        def select(levels: tuple[MacLevel, ...], which: list[int]) -> tuple[MacLevel, ...]:
            return tuple(levels[i] for i in which)

        tile = walk(mac.tile + x[mac.tile_x], select(outer, rows), "tile").reshape(-1, 1)
        self.tiles = in_range(
            "tile", tile + walk(0, inner, "tile").reshape(-1), config.weight_depth
        )
        own = batch if self.dense else rows
        source = walk(mac.src + x[mac.src_x], select(outer, own), "src").reshape(-1, 1)
        self.sources = source + walk(0, inner, "src").reshape(-1)

        self.groups = {"dst": grouped(walk(mac.dst + x[mac.dst_x], outer, "dst"))}
        if mac.reads_old:
            self.groups["old"] = grouped(walk(mac.old_base + x[mac.dst_x], outer, "dst"))
        if mac.reads_gate:
            self.groups["gate"] = grouped(walk(mac.gate + x[mac.gate_x], outer, "gate"))
        if mac.from_drive:
            self.groups["drive"] = grouped(walk(mac.drive + x[mac.drive_x], outer, "drive"))

        lanes = np.full(counts, config.p)
        if mac.tail and not outer:
            lanes[...] = mac.tail
        elif mac.tail:
            axis = len(outer) - 1 - mac.tail_level
            np.moveaxis(lanes, axis, 0)[-1] = mac.tail
        self.lanes = grouped(lanes)
        self.outer_sign = self._sign(grouped(parity(outer)))
        self.inner_sign = self._sign(parity(inner).reshape(-1))

    @staticmethod
    def _sign(sign: NDArray) -> NDArray | None:
        return sign if (sign < 0).any() else None


def compile_mac(machine: "Machine", mac: Mac, x: Sequence[int]) -> Work:
    """One MAC at loop indices ``x`` = (0, X[1], X[2], X[3])."""
    config, numbers = machine.config, machine.numbers
    p = config.p
    nest = MacNest(machine, mac, x)
    batch, groups = nest.lanes.shape

    # Valid lanes: the first n of every row of the batch, or (kept) any of them.
    n, kept = groups * p, None
    valid = np.arange(p) < nest.lanes[..., None]
    if not valid.all():
        flat = valid.reshape(batch, -1)
        n = int(flat[0].sum())
        if not (flat[:, :n].all() and not flat[:, n:].any()):
            n, kept = groups * p, np.flatnonzero(flat)

    planes = {
        "dst": machine.drives if mac.to_drive else machine.states,
        "old": machine.states,
        "gate": machine.states,
        "drive": machine.drives,
    }

    def cut(positions: NDArray) -> NDArray:
        """Of an array (B, I * p), the elements that accumulators are kept for."""
        if kept is not None:
            return positions.reshape(-1)[kept]
        positions = positions[:, :n]
        return positions[0] if batch == 1 else positions

    ports = {}
    for name, address in nest.groups.items():
        plane = planes[name]
        if kept is None:
            ports[name] = plane.port(address, n)
        else:
            ports[name] = Port(plane.words, cut(plane.positions(address)))

    ordinal = np.repeat(np.arange(batch * groups).reshape(batch, groups), p, axis=1)
    random = (
        nest.groups["dst"].reshape(-1),
        cut(np.arange(ordinal.size).reshape(batch, -1)).reshape(-1),
    )
    lanes = Lanes(machine, mac, ports, cut(ordinal).reshape(-1), random)

    product = _dense(machine, mac, nest, n) if nest.dense and not machine.plain else None
    if product is None:
        product = _gathered(machine, mac, nest, n)

    sign_of = None
    if nest.outer_sign is not None:
        sign_of = cut(np.repeat(nest.outer_sign, p, axis=1)).astype(numbers.dtype)
    minus = mac.sign is Sign.MINUS
    by_sample = mac.sign is Sign.RANDOM
    drive = ports.get("drive")
    finish = lanes.finish
    reach = len(nest.sources[0]) * p << (config.state_bits + config.weight_bits - 2)

    def work() -> None:
        acc = product()
        if kept is not None:
            acc = acc.reshape(-1)[kept]
        if sign_of is not None:
            acc *= sign_of
        negative = machine.sample_key & 1 if by_sample else minus
        if drive is None:
            if negative:
                np.negative(acc, acc)
        else:
            start = drive.read()
            if negative:
                np.subtract(start, acc, acc)
            else:
                acc += start
            if machine.drive_may_wrap(reach):
                acc = numbers.wrap(acc, config.acc_bits)
        finish(acc)

    if not mac.to_drive:
        return work

    def work_drive() -> None:
        work()
        machine.drive_written(reach, drive is not None)

    return work_drive


def _dense(machine: "Machine", mac: Mac, nest: MacNest, n: int) -> Callable[[], Array] | None:
    """Sums (B, n), or (n,) for B = 1, as one product with a matrix; None if there is none."""
    grid = nest.tiles.T if mac.transposed else nest.tiles
    matrix = machine.weights.matrix(grid)
    if matrix is None:
        return None
    by_source = (matrix if mac.transposed else matrix.T)[:, :n]  # (K * p, n)
    source = machine.states.port(nest.sources)
    sign = None
    if nest.inner_sign is not None:
        sign = np.repeat(nest.inner_sign, machine.config.p).astype(machine.numbers.dtype)
    dot = np.dot

    if len(nest.sources) == 1 and by_source.size >= SPARSE_CELLS and by_source.flags.c_contiguous:

        def sparse_product() -> Array:
            s = source.read()
            if sign is not None:
                s = s * sign
            (some,) = s.nonzero()
            if len(some) > SPARSE_SHARE * len(s):
                return dot(s, by_source)
            return dot(s[some], by_source[some])

        return sparse_product

    if sign is not None:
        return lambda: dot(source.read() * sign, by_source)
    if isinstance(source.key, type(Ellipsis)):
        view = source.memory
        return lambda: dot(view, by_source)
    return lambda: dot(source.read(), by_source)


def _gathered(machine: "Machine", mac: Mac, nest: MacNest, n: int) -> Callable[[], Array]:
    """The same sums with every tile fetched by itself."""
    p, weights, states = machine.config.p, machine.weights, machine.states
    tiles = nest.tiles
    rows, terms = tiles.shape
    batch = len(nest.sources) if nest.dense else 1
    sources = states.positions(nest.sources)  # (B or I, K * p)
    sign = None
    if nest.inner_sign is not None:
        sign = np.repeat(nest.inner_sign, p).astype(machine.numbers.dtype)
    axes = (0, 3, 1, 2) if mac.transposed else (0, 2, 1, 3)
    chunk = max(1, GATHER_CELLS // (terms * p * p))
    chunks = [slice(i, i + chunk) for i in range(0, rows, chunk)]

    def cells(some: slice) -> NDArray:
        at = weights.positions(tiles[some]).transpose(axes)
        return at.reshape(-1, p, terms * p)

    fixed = cells(chunks[0]) if len(chunks) == 1 else None
    grid = tiles.T if mac.transposed else tiles
    wanted = nest.dense and not machine.plain and len(np.unique(grid)) == grid.size
    uses = 0

    def product() -> Array:
        nonlocal uses
        s = states.words[sources]
        if sign is not None:
            s *= sign
        parts = []
        for some in chunks:
            w = weights.flat[cells(some) if fixed is None else fixed]  # (I, p, K * p)
            if nest.dense:
                parts.append(np.matmul(s, w.reshape(-1, terms * p).T))  # (B, I * p)
            else:
                parts.append(np.matmul(w, s[some, :, None]).reshape(1, -1))
        acc = np.concatenate(parts, axis=1)[:, :n]
        if wanted:
            uses += 1
            weights.insist(grid, uses)
        return acc[0] if batch == 1 else acc

    return product


# LEARN ----------------------------------------------------------------------------------------


def _sides(learn: Learn) -> tuple[list[LearnLevel], list[LearnLevel]] | None:
    """Outer levels that move the row plane and those that move the column plane, if none both."""
    rows = [level for level in learn.outer if level.col == 0]
    cols = [level for level in learn.outer if level.col != 0]
    return (rows, cols) if all(level.row == 0 for level in cols) else None


def compile_learn(machine: "Machine", learn: Learn, x: Sequence[int]) -> Work:
    """One LEARN at loop indices ``x``; advances UPDATE_KEY unless it holds."""
    work = None
    if not (machine.plain or learn.diagonal or learn.integral):
        work = _outer_product(machine, learn, x)
    if work is None:
        work = _tile_by_tile(machine, learn, x)
    if learn.hold or not machine.config.dither_bits:
        return work

    def work_and_advance() -> None:
        work()
        machine.advance_update_key()

    return work_and_advance


def _negative(machine: "Machine", learn: Learn) -> bool:
    if learn.sign is Sign.RANDOM:
        return bool(machine.sample_key & 1)
    return learn.sign is Sign.MINUS


def _tile_by_tile(machine: "Machine", learn: Learn, x: Sequence[int]) -> Work:
    """Every tile gathered, updated and put back: right for all nests and modes."""
    config, numbers, weights = machine.config, machine.numbers, machine.weights
    synapse = Synapse(config, numbers, learn)
    p, dtype = config.p, numbers.dtype
    outer, inner = learn.outer, learn.inner
    base = learn.tile + x[learn.tile_x]
    tiles = walk(base, outer, "tile").reshape(-1)
    in_range("tile", tiles, config.weight_depth - learn.integral)

    def plane(at: int, name: str) -> NDArray:
        groups = walk(at, outer, name).reshape(-1, 1) + walk(0, inner, name).reshape(-1)
        return machine.states.positions(groups[..., None])  # (O, K, p)

    rows = plane(learn.row + x[learn.row_x], "row")
    cols = plane(learn.col + x[learn.col_x], "col")
    sign = (parity(outer).reshape(-1, 1) * parity(inner).reshape(-1)).astype(dtype)[..., None]
    cells = weights.positions(tiles)  # (O, p, p)
    beside = weights.positions(tiles + 1) if learn.integral else None
    lane = np.arange(p)
    off = ~np.eye(p, dtype=bool)
    words_of = machine.states.words

    def work() -> None:
        row = words_of[rows] * (-sign if _negative(machine, learn) else sign)
        acc = np.matmul(row.transpose(0, 2, 1), words_of[cols])
        flat = weights.flat
        w = flat[cells]
        if beside is not None:
            m = flat[beside]
            new, memory, clipped = synapse.integrate(w, m, acc)
            if learn.diagonal:
                memory[:, off] = m[:, off]
            flat[beside] = memory
        else:
            h = None
            if learn.stochastic:
                u, v = words(machine.update_key, tiles - base)
                h = cell_dither(
                    u[:, None, None], v[:, None, None], lane[:, None], lane, config.dither_bits
                )
            new, clipped = synapse.update(w, acc, h)
        if learn.diagonal:
            new[:, off] = w[:, off]
        flat[cells] = new
        if clipped is not None:
            if learn.diagonal:
                clipped[:, off] = False
            machine.count_event(Register.WEIGHT_SATURATIONS, int(clipped.any(axis=(1, 2)).sum()))

    return work


def _outer_product(machine: "Machine", learn: Learn, x: Sequence[int]) -> Work | None:
    """Tiles (I, J) whose row planes depend on I and column planes on J: a matrix's update.

    Rows and columns whose planes are all zero are left out if that changes nothing.
    """
    sides = _sides(learn)
    if sides is None:
        return None
    config, numbers, weights, states = (
        machine.config,
        machine.numbers,
        machine.weights,
        machine.states,
    )
    synapse = Synapse(config, numbers, learn)
    p, dtype = config.p, numbers.dtype
    row_levels, col_levels = map(tuple, sides)
    base = learn.tile + x[learn.tile_x]
    tiles = walk(base, row_levels, "tile").reshape(-1, 1) + walk(0, col_levels, "tile").reshape(-1)
    in_range("tile", tiles, config.weight_depth)
    matrix = weights.matrix(tiles)
    if matrix is None:
        return None

    def plane(at: int, name: str, levels: tuple[LearnLevel, ...]) -> Port:
        groups = walk(0, learn.inner, name).reshape(-1, 1) + walk(at, levels, name).reshape(-1)
        return states.port(groups)  # (K, I * p), or (I * p,) for K = 1

    row_port = plane(learn.row + x[learn.row_x], "row", row_levels)
    col_port = plane(learn.col + x[learn.col_x], "col", col_levels)
    terms = parity(learn.inner).reshape(-1)
    row_sign = (terms[:, None] * np.repeat(parity(row_levels).reshape(-1), p)).astype(dtype)
    col_sign = np.repeat(parity(col_levels).reshape(-1), p).astype(dtype)
    one_term = len(terms) == 1
    if one_term:
        row_sign = row_sign[0]
    row_signed, col_signed = bool((row_sign < 0).any()), bool((col_sign < 0).any())
    may_skip = synapse.zero_is_idle
    row_at = weights.rows(tiles[:, 0]).reshape(-1)  # positions in the flat array
    col_at = (weights.rows(tiles[0])[:, :1] + weights.columns(tiles[0])).reshape(-1) - row_at[0]
    row_lane, col_lane = np.tile(np.arange(p), len(tiles)), np.tile(np.arange(p), tiles.shape[1])
    address = tiles - base

    def dither(rows: NDArray, cols: NDArray) -> NDArray[np.int64]:
        u, v = words(machine.update_key, address)
        at = (rows[:, None] // p, cols // p)
        return cell_dither(
            u[at], v[at], row_lane[rows][:, None], col_lane[cols], config.dither_bits
        )

    def count(rows: NDArray, cols: NDArray, clipped: NDArray) -> None:
        r, c = clipped.nonzero()
        met = np.unique(rows[r] // p * tiles.shape[1] + cols[c] // p)
        machine.count_event(Register.WEIGHT_SATURATIONS, len(met))

    every = (np.arange(len(row_at)), np.arange(len(col_at)))

    def work() -> None:
        row, col = row_port.read(), col_port.read()
        if row_signed:
            row = row * row_sign
        if col_signed:
            col = col * col_sign
        if _negative(machine, learn):
            row = -row
        rows, cols = every
        if may_skip:
            (rows,) = (row if one_term else row.any(axis=0)).nonzero()
            if not len(rows):
                return
            (cols,) = (col if one_term else col.any(axis=0)).nonzero()
            if not len(cols):
                return
            whole = len(rows) * len(cols) > SPARSE_SHARE * matrix.size
            if whole:
                rows, cols = every
        else:
            whole = True
        if not whole:
            row, col = row[..., rows], col[..., cols]
        acc = np.multiply.outer(row, col) if one_term else np.dot(row.T, col)
        h = dither(rows, cols) if learn.stochastic else None
        if whole:
            new, clipped = synapse.update(matrix, acc, h)
            matrix[...] = new
        else:
            at = row_at[rows][:, None] + col_at[cols]
            new, clipped = synapse.update(weights.flat[at], acc, h)
            weights.flat[at] = new
        if clipped is not None:
            count(rows, cols, clipped)

    return work
