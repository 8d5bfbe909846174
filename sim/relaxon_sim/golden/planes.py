"""The state memory S and the drive memory D: flat, in neuron order (group * p + lane)."""

import numpy as np
from numpy.typing import NDArray

from relaxon_isa import ArrayConfig, LearnLevel, MacLevel, ProgramError

from .exact import Array, Numbers

__all__ = ["Plane", "Port", "parity", "walk"]

Levels = tuple[MacLevel, ...] | tuple[LearnLevel, ...]


def walk(base: int, levels: Levels, name: str) -> NDArray[np.int64]:
    """Addresses of an affine nest, one axis a level, outermost first."""
    address = np.array(base, dtype=np.int64)
    for level in levels:
        address = address[..., None] + np.arange(level.count) * getattr(level, name)
    return address


def parity(levels: Levels) -> NDArray[np.int64]:
    """+1 or -1 of every trip, by the levels with ``flip``; shaped as `walk`."""
    sign = np.array(1, dtype=np.int64)
    for level in levels:
        turns = 1 - 2 * (np.arange(level.count) & 1 if level.flip else np.zeros(level.count, int))
        sign = sign[..., None] * turns
    return sign


def in_range(name: str, addresses: NDArray, depth: int) -> NDArray:
    """The addresses as the machine's counters hold them; refused if there is no such place."""
    addresses = addresses & ((1 << (depth - 1).bit_length()) - 1)
    low, high = int(addresses.min()), int(addresses.max())
    if low < 0 or high >= depth:
        raise ProgramError(f"{name} reaches {low} to {high}; this machine has 0 to {depth - 1}")
    return addresses


class Port:
    """A fixed set of a plane's words: ``memory[key]``, a view where the words allow it."""

    __slots__ = ("key", "memory")

    def __init__(self, memory: Array, key: object):
        self.memory = memory
        self.key = key

    @property
    def is_view(self) -> bool:
        return self.key is Ellipsis

    def read(self) -> Array:
        return self.memory[self.key]


class Plane:
    """One memory of groups of p words.

    Members
    -------
    words
        Shape (depth * p,), of the machine's number kind; all 0 at first.
    """

    def __init__(self, config: ArrayConfig, depth: int, numbers: Numbers, name: str):
        self.p = config.p
        self.depth = depth
        self.name = name
        self.words: Array = np.zeros(depth * config.p, dtype=numbers.dtype)

    def positions(self, groups: NDArray, lanes: int | None = None) -> NDArray[np.int64]:
        """Positions of groups (B, I) lane by lane: (B, n), cut to the first n = ``lanes``."""
        groups = in_range(self.name, groups, self.depth)
        flat = groups[..., None] * self.p + np.arange(self.p)
        return flat.reshape(*groups.shape[:-1], -1)[..., :lanes]

    def port(self, groups: NDArray, lanes: int | None = None) -> Port:
        """Access to groups (B, I) as an array (B, n), or (n,) for B = 1."""
        positions = self.positions(groups, lanes)
        batch, n = positions.shape
        first = positions[:, 0]
        apart = np.diff(first)
        runs = (positions == first[:, None] + np.arange(n)).all()
        if not runs or (batch > 1 and (apart != apart[0]).any()):
            return Port(self.words, positions[0] if batch == 1 else positions)
        start = self.words[first[0] :]
        if batch == 1:
            return Port(start[:n], Ellipsis)
        size = self.words.itemsize
        view = np.lib.stride_tricks.as_strided(start, (batch, n), (int(apart[0]) * size, size))
        return Port(view, Ellipsis)
