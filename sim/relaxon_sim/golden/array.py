"""The array: MAC's sums of products and LEARN's updates over tiles.

A nest is compiled to closures, one for each value of the loop indices it uses. Where its tiles
form a matrix (see `weights`), one product with that matrix does all of it; else the tiles are
gathered: the plain way, always right, which ``State(config, plain=True)`` takes everywhere.
Loops over many tiles (weights going in and out) share one closure that gathers and whose tiles
*slide*.
"""

from collections.abc import Callable, Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray

from relaxon_isa import Learn, LearnLevel, Mac, MacLevel, Register, Sign, trips

from .exact import Array
from .hash import cell_dither, words
from .neuron import Lanes
from .planes import Plane, Port, parity, walk
from .state import State
from .synapse import Synapse

__all__ = ["compile_learn", "compile_mac", "sliding_learn", "sliding_mac"]

Work = Callable[[], None]
Product = Callable[[], Array]

SPARSE_CELLS = 1 << 14
"""Matrices of fewer cells are multiplied zeros and all."""
SPARSE_SHARE = 0.4
"""Share of non-zero sources up to which it pays to leave the zeros out (measured)."""
GATHER_CELLS = 1 << 22
"""Cells gathered at a time at most."""


# MAC ------------------------------------------------------------------------------------------


class MacNest:
    """The addresses of a MAC: destination groups (B, I), terms (R, K).

    A nest is *regular* if no outer level moves both tiles and sources. Outer levels that keep
    their tiles are then the batch B, the others the rows I; inner levels that keep their tiles
    are the repeats R, whose sources can be added up before they meet a tile. Taken as irregular,
    B = R = 1 and every destination group has tiles and sources of its own.

    Members
    -------
    walks
        Whether sources are groups of the present sample.
    tiles
        (I, K)
    sources
        (R, B, K) if regular, else (I, K)
    groups
        dst, old, drive and gate, as far as used: (B, I) each.
    lanes
        Valid lanes (B, I).
    outer_sign, repeat_sign, inner_sign
        (B, I), (R,) and (K,), +1 or -1.
    n, kept
        Accumulators (B, I * p) are kept for the first n of each row, or for those at the flat
        positions ``kept`` if that is not None.
    """

    def __init__(self, state: State, mac: Mac, x: Sequence[int], *, regular: bool):
        config = state.config
        self.walks = mac.walk
        outer, inner = mac.outer, mac.inner
        batch = [i for i, level in enumerate(outer) if regular and level.tile == 0]
        rows = [i for i in range(len(outer)) if i not in batch]
        repeats = tuple(level for level in inner if regular and level.tile == 0)
        terms = tuple(level for level in inner if not (regular and level.tile == 0))
        row_levels, batch_levels = (tuple(outer[i] for i in which) for which in (rows, batch))
        size = prod(level.count for level in batch_levels)

        def grouped(address: NDArray) -> NDArray[np.int64]:
            return np.transpose(address, (*batch, *rows)).reshape(size, -1)

        def line(base: int, levels: tuple[MacLevel, ...], name: str) -> NDArray[np.int64]:
            return walk(base, levels, name).reshape(-1)

        first = line(mac.tile + x[mac.tile_x], row_levels, "tile")
        self.tiles = first[:, None] + line(0, terms, "tile")
        first = line(mac.src + x[mac.src_x], batch_levels if regular else row_levels, "src")
        self.sources = first[:, None] + line(0, terms, "src")
        if regular:
            self.sources = line(0, repeats, "src")[:, None, None] + self.sources

        self.groups = {"dst": grouped(walk(mac.dst + x[mac.dst_x], outer, "dst"))}
        if mac.reads_old:
            self.groups["old"] = grouped(walk(mac.old_base + x[mac.dst_x], outer, "dst"))
        if mac.reads_gate:
            self.groups["gate"] = grouped(walk(mac.gate + x[mac.gate_x], outer, "gate"))
        if mac.uses_drive:
            self.groups["drive"] = grouped(walk(mac.drive + x[mac.drive_x], outer, "drive"))
        self.outer_sign = grouped(parity(outer))
        self.repeat_sign = parity(repeats).reshape(-1)
        self.inner_sign = parity(terms).reshape(-1)

        lanes = np.full([level.count for level in outer], config.p)
        if mac.tail and not outer:
            lanes[...] = mac.tail
        elif mac.tail:
            np.moveaxis(lanes, len(outer) - 1 - mac.tail_level, 0)[-1] = mac.tail
        self.lanes = grouped(lanes)
        valid = (np.arange(config.p) < self.lanes[..., None]).reshape(size, -1)
        self.n, self.kept = int(valid[0].sum()), None
        if not valid[:, : self.n].all() or valid[:, self.n :].any():
            self.n, self.kept = valid.shape[1], np.flatnonzero(valid)

    def cut(self, elements: NDArray) -> NDArray:
        """The elements of an array (B, I * p) that accumulators are kept for.

        Shape (B, n), (n,) for B = 1, or (kept,).
        """
        if self.kept is not None:
            return elements.reshape(-1)[self.kept]
        return elements[0, : self.n] if len(elements) == 1 else elements[:, : self.n]


def compile_mac(state: State, mac: Mac, x: Sequence[int]) -> Work:
    """One MAC at loop indices ``x`` = (0, X[1], X[2], X[3])."""
    grid = None
    if not state.plain and all(level.tile == 0 or level.src == 0 for level in mac.outer):
        nest = MacNest(state, mac, x, regular=True)
        grid = state.weights.in_range(nest.tiles.T if mac.transposed else nest.tiles)
        matrix = state.weights.matrix(grid)
        if matrix is not None:
            by_source = (matrix if mac.transposed else matrix.T)[:, : nest.n]
            return _lanes_behind(state, mac, nest, _by_matrix(state, nest, by_source))
    nest = MacNest(state, mac, x, regular=False)
    product = _by_tiles(state, nest, mac.transposed, grid, [0])
    return _lanes_behind(state, mac, nest, product)


def sliding_mac(state: State, mac: Mac) -> Callable[[int], None]:
    """A MAC that uses a loop index for its tiles alone: a function of that index."""
    nest = MacNest(state, mac, (0, 0, 0, 0), regular=False)
    slide = [0]
    work = _lanes_behind(state, mac, nest, _by_tiles(state, nest, mac.transposed, None, slide))
    return _slid(work, slide)


def _slid(work: Work, slide: list[int]) -> Callable[[int], None]:
    def work_at(index: int) -> None:
        slide[0] = index
        work()

    return work_at


def _by_matrix(state: State, nest: MacNest, by_source: Array) -> Product:
    """Sums (B, n), or (n,) for B = 1, as a product with the matrix (K * p, n)."""
    dtype, p, states = state.numbers.dtype, state.config.p, state.states
    repeats, batch, _ = nest.sources.shape
    dot = np.dot
    if nest.walks:
        states = state.sample.plane
    flips = bool((nest.inner_sign < 0).any())
    sign = np.repeat(nest.inner_sign, p).astype(dtype)

    if repeats > 1:
        planes = states.port(nest.sources.reshape(repeats, -1))  # (R, B * K * p)
        weigh = nest.repeat_sign.astype(dtype)
        shape = (batch, -1) if batch > 1 else (-1,)

        def repeated() -> Array:
            s = weigh.dot(planes.read()).reshape(shape)
            return dot(s * sign if flips else s, by_source)

        return repeated

    source = states.port(nest.sources[0])
    if flips:
        return lambda: dot(source.read() * sign, by_source)
    if batch == 1 and by_source.size >= SPARSE_CELLS and by_source.strides[1] == by_source.itemsize:
        most = SPARSE_SHARE * len(by_source)

        def sparse() -> Array:
            s = source.read()
            (some,) = s.nonzero()
            if len(some) > most:
                return dot(s, by_source)
            return dot(s.take(some), by_source.take(some, 0))

        return sparse
    if source.is_view:
        view = source.memory
        return lambda: dot(view, by_source)
    return lambda: dot(source.read(), by_source)


def _by_tiles(
    state: State,
    nest: MacNest,
    transposed: bool,
    grid: NDArray | None,
    slide: list[int],
) -> Product:
    """The same sums, (n,), with every tile fetched by itself.

    ``grid``: tiles that would be a matrix if other instructions did not use them otherwise.
    ``slide``: what to add to the tiles' addresses.
    """
    p, weights = state.config.p, state.weights
    states = state.sample.plane if nest.walks else state.states
    tiles, n = nest.tiles, nest.n
    rows, terms = tiles.shape
    sources = states.positions(nest.sources)  # (I, K * p)
    sign = np.repeat(nest.inner_sign, p).astype(state.numbers.dtype)
    chunk = max(1, GATHER_CELLS // (terms * p * p))
    chunks = [slice(i, i + chunk) for i in range(0, rows, chunk)]

    def cells(some: slice) -> NDArray:
        """Positions (I, p, K * p)."""
        at = weights.positions(weights.in_range(tiles[some] + slide[0]))
        return at.transpose((0, 3, 1, 2) if transposed else (0, 2, 1, 3)).reshape(-1, p, terms * p)

    fixed: tuple[int, list[NDArray]] | None = None
    uses = 0 if grid is not None and len(np.unique(grid)) == grid.size else None

    def product() -> Array:
        nonlocal uses, fixed
        if fixed is None or fixed[0] != slide[0]:
            fixed = (slide[0], [cells(some) for some in chunks]) if len(chunks) == 1 else None
        s = (states.words[sources] * sign)[..., None]
        parts = [
            np.matmul(weights.flat[at], s[some]).reshape(-1)
            for some, at in zip(chunks, fixed[1] if fixed else map(cells, chunks), strict=True)
        ]
        if grid is not None and uses is not None:
            uses += 1
            weights.insist(grid, uses)
        return np.concatenate(parts)[:n]

    return product


def _lanes_behind(state: State, mac: Mac, nest: MacNest, product: Product) -> Work:
    """Sums with their sign, on top of drives if so, then through the lanes."""
    config, numbers = state.config, state.numbers
    p = config.p

    def port(name: str, groups: NDArray) -> Port:
        drives = name == "drive" or (name == "dst" and mac.to_drive)
        plane = state.drives if drives else state.states
        if nest.kept is None:
            return plane.port(groups, nest.n)
        return Port(plane.words, nest.cut(plane.positions(groups)))

    ports = {name: port(name, groups) for name, groups in nest.groups.items()}
    elements = np.arange(nest.lanes.size * p).reshape(len(nest.lanes), -1)
    element = nest.cut(elements).reshape(-1)
    random = (nest.groups["dst"].reshape(-1), element)
    finish = Lanes(state, mac, ports, element // p, random).finish

    kept = nest.kept
    flips = bool((nest.outer_sign < 0).any())
    sign = nest.cut(np.repeat(nest.outer_sign, p, axis=1)).astype(numbers.dtype)
    minus, by_sample = mac.sign is Sign.MINUS, mac.sign is Sign.RANDOM
    reach = trips(mac.inner) * p << (config.state_bits + config.weight_bits - 2)
    wrap = numbers.wrap(config.acc_bits)
    to_drive, both, from_drive = mac.to_drive, mac.both, mac.from_drive

    def work() -> None:
        acc = product()
        if kept is not None:
            acc = acc.reshape(-1)[kept]
        if flips:
            acc *= sign
        negative = state.registers.sample_key & 1 if by_sample else minus
        if from_drive:
            if negative:
                acc = ports["drive"].read() - acc
            else:
                acc += ports["drive"].read()
            if state.drive_bound + reach > state.drive_limit and state.drive_may_wrap(reach):
                acc = wrap(acc)
        elif negative:
            acc = -acc
        if both:
            drive = ports["drive"]
            drive.memory[drive.key] = acc
        finish(acc)
        if to_drive or both:
            state.drive_written(reach, from_drive)

    return work


# LEARN ----------------------------------------------------------------------------------------


def _sides(learn: Learn) -> tuple[list[LearnLevel], list[LearnLevel]] | None:
    """Outer levels that move the row plane and those that move the column plane, if none both."""
    rows = [level for level in learn.outer if level.col == 0]
    cols = [level for level in learn.outer if level.col != 0]
    return (rows, cols) if all(level.row == 0 for level in cols) else None


def compile_learn(state: State, learn: Learn, x: Sequence[int]) -> Work:
    """One LEARN at loop indices ``x``; advances UPDATE_KEY unless it holds."""
    work = None
    if not (state.plain or learn.diagonal or learn.integral):
        work = _outer_product(state, learn, x)
    if work is None:
        work = _tile_by_tile(state, learn, x, [0])
    return _with_key(state, learn, work)


def sliding_learn(state: State, learn: Learn) -> Callable[[int], None]:
    """A LEARN that uses a loop index for its tiles alone: a function of that index."""
    slide = [0]
    work = _tile_by_tile(state, learn, (0, 0, 0, 0), slide)
    return _slid(_with_key(state, learn, work), slide)


def _with_key(state: State, learn: Learn, work: Work) -> Work:
    if learn.hold or not state.config.dither_bits:
        return work

    def work_and_advance() -> None:
        work()
        state.registers.next_update()

    return work_and_advance


def _negative(state: State, learn: Learn) -> bool:
    if learn.sign is Sign.RANDOM:
        return bool(state.registers.sample_key & 1)
    return learn.sign is Sign.MINUS


def _tile_by_tile(state: State, learn: Learn, x: Sequence[int], slide: list[int]) -> Work:
    """Every tile gathered, updated and put back: right for all nests and modes.

    ``slide``: what to add to the tiles' addresses.
    """
    config, numbers, weights = state.config, state.numbers, state.weights
    synapse = Synapse(config, numbers, learn)
    p, dtype = config.p, numbers.dtype
    outer, inner = learn.outer, learn.inner
    base = learn.tile + x[learn.tile_x]
    offsets = walk(0, outer, "tile").reshape(-1)

    col_plane = state.sample.plane if learn.walk else state.states

    def plane(of: Plane, at: int, name: str) -> NDArray:
        groups = walk(at, outer, name).reshape(-1, 1) + walk(0, inner, name).reshape(-1)
        return of.positions(groups[..., None])  # (O, K, p)

    rows = plane(state.states, learn.row + x[learn.row_x], "row")
    cols = plane(col_plane, learn.col + x[learn.col_x], "col")
    sign = (parity(outer).reshape(-1, 1) * parity(inner).reshape(-1)).astype(dtype)[..., None]
    # Positions (O, p, p), the base that they are of, and the tiles' distances from it.
    cells = beside = at = None
    places = offsets
    lane = np.arange(p)
    off = ~np.eye(p, dtype=bool)
    words_of, col_words = state.states.words, col_plane.words
    listed = outer[-1].count if learn.walk else 1

    def work() -> None:
        nonlocal cells, beside, at, places
        if at != base + slide[0]:
            at = base + slide[0]
            tiles = weights.in_range(at + offsets)
            places = tiles - tiles[0]
            cells = weights.positions(tiles)
            if learn.integral:
                beside = weights.positions(weights.in_range(at + 1 + offsets))
        row = words_of[rows] * (-sign if _negative(state, learn) else sign)
        acc = np.matmul(row.transpose(0, 2, 1), col_words[cols])
        flat = weights.flat
        w = flat[cells]
        if learn.integral:
            m = flat[beside]
            new, memory, clipped = synapse.integrate(w, m, acc)
            if learn.diagonal:
                memory[:, off] = m[:, off]
            flat[beside] = memory
        else:
            h = None
            if learn.stochastic:
                u, v = words(state.registers.update_key, places)
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
            met = clipped.any(axis=(1, 2)).sum()
            if learn.walk:
                lists, group, _, col = clipped.reshape(-1, listed, p, p).nonzero()
                met = _rows_met(state, lists, group * p + col)
            state.registers.count(Register.WEIGHT_SATURATIONS, int(met))

    return work


def _rows_met(state: State, lists: NDArray, values: NDArray) -> int:
    """In how many rows cells are: ``lists``, which walk each is of; ``values``, of its column."""
    sample = state.sample
    return len(np.unique(lists * (sample.listed + 1) + sample.rows[values]))


def _outer_product(state: State, learn: Learn, x: Sequence[int]) -> Work | None:
    """Tiles (I, J) whose row planes depend on I and column planes on J: a matrix's update.

    Rows and columns whose planes are all zero are left out if that changes nothing.
    """
    sides = _sides(learn)
    if sides is None:
        return None
    config, numbers, weights, states = (
        state.config,
        state.numbers,
        state.weights,
        state.states,
    )
    synapse = Synapse(config, numbers, learn)
    p, dtype = config.p, numbers.dtype
    row_levels, col_levels = map(tuple, sides)
    base = learn.tile + x[learn.tile_x]
    tiles = walk(base, row_levels, "tile").reshape(-1, 1) + walk(0, col_levels, "tile").reshape(-1)
    tiles = weights.in_range(tiles)
    matrix = weights.matrix(tiles)
    if matrix is None:
        return None

    def plane(of: Plane, at: int, name: str, levels: tuple[LearnLevel, ...]) -> Port:
        groups = walk(0, learn.inner, name).reshape(-1, 1) + walk(at, levels, name).reshape(-1)
        return of.port(groups)  # (K, I * p), or (I * p,) for K = 1

    row_port = plane(states, learn.row + x[learn.row_x], "row", row_levels)
    col_plane = state.sample.plane if learn.walk else states
    col_port = plane(col_plane, learn.col + x[learn.col_x], "col", col_levels)
    terms = parity(learn.inner).reshape(-1)
    row_sign = (terms[:, None] * np.repeat(parity(row_levels).reshape(-1), p)).astype(dtype)
    col_sign = np.repeat(parity(col_levels).reshape(-1), p).astype(dtype)
    one_term = len(terms) == 1
    if one_term:
        row_sign = row_sign[0]
    row_signed, col_signed = bool((row_sign < 0).any()), bool((col_sign < 0).any())
    may_skip = synapse.idle and matrix.size >= SPARSE_CELLS
    row_at = weights.rows(tiles[:, 0]).reshape(-1)  # positions in the flat array
    col_at = (weights.rows(tiles[0])[:, :1] + weights.columns(tiles[0])).reshape(-1) - row_at[0]
    row_lane, col_lane = np.tile(np.arange(p), len(tiles)), np.tile(np.arange(p), tiles.shape[1])
    address = tiles - tiles[0, 0]

    def dither(rows: NDArray, cols: NDArray) -> NDArray[np.int64]:
        u, v = words(state.registers.update_key, address)
        at = (rows[:, None] // p, cols // p)
        return cell_dither(
            u[at], v[at], row_lane[rows][:, None], col_lane[cols], config.dither_bits
        )

    def count(rows: NDArray, cols: NDArray, clipped: NDArray) -> None:
        r, c = clipped.nonzero()
        met = len(np.unique(rows[r] // p * tiles.shape[1] + cols[c] // p))
        if learn.walk:
            met = _rows_met(state, rows[r] // p, cols[c])
        state.registers.count(Register.WEIGHT_SATURATIONS, met)

    every = (np.arange(len(row_at)), np.arange(len(col_at)))

    def work() -> None:
        row, col = row_port.read(), col_port.read()
        if row_signed:
            row = row * row_sign
        if col_signed:
            col = col * col_sign
        if _negative(state, learn):
            row = -row
        rows, cols, whole = *every, True
        if may_skip:
            (rows,) = (row if one_term else row.any(axis=0)).nonzero()
            (cols,) = (col if one_term else col.any(axis=0)).nonzero()
            if not len(rows) or not len(cols):
                return
            whole = len(rows) * len(cols) > SPARSE_SHARE * matrix.size
            if whole:
                rows, cols = every
            else:
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
