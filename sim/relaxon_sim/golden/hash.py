"""The machine's only source of chance: a stateless hash of a key and an address.

Scalars are Python ints, vectors are uint32 arrays (which wrap by themselves).
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["cell_dither", "lane_bits", "mix", "mix_words", "words"]

MASK = 0xFFFFFFFF
GOLDEN_RATIO = 0x9E3779B9

Words = NDArray[np.uint32]


def mix(x: int) -> int:
    """xorshift32 of one 32-bit word."""
    x ^= x << 13 & MASK
    x ^= x >> 17
    x ^= x << 5 & MASK
    return x


def mix_words(x: Words) -> Words:
    """xorshift32 of every word."""
    x = x ^ (x << np.uint32(13))
    x = x ^ (x >> np.uint32(17))
    return x ^ (x << np.uint32(5))


def rotl(x: Words, count: Words) -> Words:
    """Rotate left by 0 .. 31, elementwise with broadcasting."""
    back = (np.uint32(32) - count) & np.uint32(31)  # a shift by 32 is undefined
    return (x << count) | (x >> back)


def words(key: int, a: NDArray) -> tuple[Words, Words]:
    """``(U, V) = hash(key, a)`` for an array of 16-bit ``a``, of its shape."""
    start = (a.astype(np.uint32) & np.uint32(0xFFFF)) * np.uint32(0x00010001) + np.uint32(key)
    turned = np.uint32((key << 16 | key >> 16) & MASK)
    u = mix_words(mix_words(start) + turned)
    return u, mix_words(u + np.uint32(GOLDEN_RATIO))


def lane_bits(u: Words, p: int) -> NDArray[np.bool_]:
    """Bit 0 of rotl(U, 3 * lane): shape of ``u`` with a last axis of p lanes."""
    turns = (3 * np.arange(p, dtype=np.uint32)) & np.uint32(31)
    return (rotl(u[..., None], turns) & np.uint32(1)).astype(bool)


def cell_dither(u: Words, v: Words, row: NDArray, col: NDArray, bits: int) -> NDArray[np.int64]:
    """h of cells: all four arrays broadcast; ``row`` and ``col`` are 0 .. p-1."""
    turned = rotl(u, (3 * row.astype(np.uint32)) & np.uint32(31))
    turned = turned ^ rotl(v, (5 * col.astype(np.uint32)) & np.uint32(31))
    return (turned & np.uint32((1 << bits) - 1)).astype(np.int64)
