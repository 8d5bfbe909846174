"""The order of samples that a machine with a sample memory makes by itself."""

import numpy as np
from numpy.typing import NDArray

from .hash import words

__all__ = ["records_at"]

ROUNDS = 4
MOST = 1 << 24
"""Records, and places."""


def records_at(key: int, records: int, places: NDArray[np.integer]) -> NDArray[np.int64]:
    """The records at these places, (n,), of the order that ``key`` (32 bits) names: `relaxon_isa`'s
    ``order``. A place beyond the records is its own."""
    x = np.asarray(places, np.int64) % MOST
    half = max(1, -(-(records - 1).bit_length() // 2)) if records else 1
    low = np.arange(half)
    at = np.flatnonzero(x < records)
    while len(at):
        left, right = ((x[at, None] >> 2 * low + odd & 1) @ (1 << low) for odd in (1, 0))
        for number in range(ROUNDS):
            u, _ = words(key, number << 12 | right)
            left, right = right, left ^ (u.astype(np.int64) & (1 << half) - 1)
        x[at] = (
            (left[:, None] >> low & 1) << 2 * low + 1 | (right[:, None] >> low & 1) << 2 * low
        ).sum(1)
        at = at[x[at] >= records]
    return x
