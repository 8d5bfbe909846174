"""Exact integers in numpy arrays: float64 while everything stays below 2**53, else integers.

An operation whose name ends in ``_in`` works in place on an array that its caller owns.
"""

from typing import Any, Protocol

import numpy as np

from relaxon_isa.config import ArrayConfig

__all__ = ["Array", "Integers", "Numbers", "Reals", "numbers_for"]

Array = Any
"""An ndarray of a machine's number kind (float64, int64 or object)."""

FLOAT_BITS = 53
INT_BITS = 63
"""Magnitude bits of float64's integers and of int64."""


class Numbers(Protocol):
    """One representation of exact integers."""

    dtype: type

    def scale_in(self, x: Array, n: int) -> Array:
        """``x << n``"""

    def half_up_in(self, x: Array, n: int) -> Array:
        """``floor((x + 2**(n-1)) / 2**n)``, n >= 1"""

    def half_away(self, x: Array, n: int) -> Array:
        """Nearest to ``x / 2**n``, halves away from zero; n >= 1"""

    def floor_in(self, x: Array, n: int) -> Array:
        """``floor(x / 2**n)``"""

    def wrap(self, x: Array, bits: int) -> Array:
        """Two's complement of that many bits."""

    def any(self, x: Array) -> bool:
        """Whether any element is not 0."""


class Reals:
    """float64: BLAS multiplies, powers of two scale without error."""

    dtype = np.float64

    def scale_in(self, x: Array, n: int) -> Array:
        x *= 2.0**n
        return x

    def half_up_in(self, x: Array, n: int) -> Array:
        x *= 2.0**-n
        x += 0.5
        return np.floor(x, x)

    def half_away(self, x: Array, n: int) -> Array:
        x = x * 2.0**-n
        x += np.copysign(0.5, x)
        return np.trunc(x, x)

    def floor_in(self, x: Array, n: int) -> Array:
        x *= 2.0**-n
        return np.floor(x, x)

    def wrap(self, x: Array, bits: int) -> Array:
        return x - 2.0**bits * np.floor((x + 2.0 ** (bits - 1)) * 2.0**-bits)

    def any(self, x: Array) -> bool:
        x = x.ravel()
        return bool(x.dot(x))  # squares of integers: 0 only if all are, and faster than any()


class Integers:
    """int64, or Python ints in object arrays."""

    def __init__(self, dtype: type):
        self.dtype = dtype

    def scale_in(self, x: Array, n: int) -> Array:
        x <<= n
        return x

    def half_up_in(self, x: Array, n: int) -> Array:
        x += 1 << (n - 1)
        x >>= n
        return x

    def half_away(self, x: Array, n: int) -> Array:
        half = 1 << (n - 1)
        return np.where(x < 0, -((half - x) >> n), (x + half) >> n)

    def floor_in(self, x: Array, n: int) -> Array:
        x >>= n
        return x

    def wrap(self, x: Array, bits: int) -> Array:
        half = 1 << (bits - 1)
        return ((x + half) & ((1 << bits) - 1)) - half

    def any(self, x: Array) -> bool:
        return bool(x.any())


def numbers_for(config: ArrayConfig) -> Numbers:
    """The fastest representation that holds every intermediate value of this machine.

    An accumulator that starts from a drive reaches ``2**acc_bits`` before it wraps, rounding
    included; LEARN's sum with decay and dither stays below three times its largest part.
    """
    q = config.learn_shifts[1]
    learn = max(config.learn_bits, config.weight_bits + q, q + 1) + 1
    widest = max(config.acc_bits + 1, learn)
    if widest <= FLOAT_BITS:
        return Reals()
    return Integers(np.int64 if widest < INT_BITS else object)
