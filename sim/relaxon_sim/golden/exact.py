"""Exact integers in numpy arrays: float64 while everything stays below 2**53, else integers."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy import add, floor, multiply, rint

from relaxon_isa import ArrayConfig

__all__ = ["Array", "Integers", "Numbers", "Reals", "numbers_for"]

Array = Any
"""An ndarray of a machine's number kind (float64, int64 or object)."""

Operation = Callable[[Array], Array]

FLOAT_BITS = 53
TIE_BITS = 48
"""Magnitude bits of sums that float64 rounds half away from zero (`Reals.EDGE`)."""
INT_BITS = 63
"""Magnitude bits of float64's integers and of int64."""


class Reals:
    """Exact integers as float64: BLAS multiplies, powers of two scale without error.

    Methods that take a constant return a function of an array. Those named ``.._in`` work in
    place on an array that the caller owns, and return it.
    """

    dtype = np.float64
    EDGE = 1 + 2.0**-50
    """Factor that moves a tie past the tie and changes no other rounding.

    Valid for ``abs(x) < 2**TIE_BITS`` (`numbers_for`).
    """

    def constant(self, value: float) -> Array:
        """A constant operand: an array without axes spares ufuncs a conversion."""
        return np.array(value, dtype=np.float64)

    def scale_in(self, n: int) -> Operation:
        """``x << n``"""
        factor = self.constant(2.0**n)
        return lambda x: multiply(x, factor, x)

    def half_up_in(self, n: int) -> Operation:
        """``floor((x + 2**(n-1)) / 2**n)``, n >= 1"""
        factor, half = self.constant(2.0**-n), self.constant(0.5)

        def half_up(x: Array) -> Array:
            multiply(x, factor, x)
            add(x, half, x)
            return floor(x, x)

        return half_up

    def half_away_in(self, n: int) -> Operation:
        """Nearest to ``x / 2**n``, halves away from zero; n >= 1"""
        factor = self.constant(2.0**-n * self.EDGE)

        def half_away(x: Array) -> Array:
            multiply(x, factor, x)
            return rint(x, x)

        return half_away

    def floor_in(self, n: int) -> Operation:
        """``floor(x / 2**n)``"""
        factor = self.constant(2.0**-n)
        return lambda x: floor(multiply(x, factor, x), x)

    def wrap(self, bits: int) -> Operation:
        """Two's complement of that many bits."""
        size, half = 2.0**bits, 2.0 ** (bits - 1)
        return lambda x: x - size * np.floor((x + half) / size)

    def any(self, x: Array) -> bool:
        """Whether any element is not 0."""
        x = x.ravel()
        return bool(x.dot(x))  # squares of integers: 0 only if all are, and faster than any()


class Integers:
    """Exact integers as int64, or as Python ints in object arrays. Methods as in `Reals`."""

    def __init__(self, dtype: type):
        self.dtype = dtype

    def constant(self, value: int) -> Array:
        return np.array(value, dtype=self.dtype)

    def scale_in(self, n: int) -> Operation:
        def scale(x: Array) -> Array:
            x <<= n
            return x

        return scale

    def half_up_in(self, n: int) -> Operation:
        def half_up(x: Array) -> Array:
            x += 1 << (n - 1)
            x >>= n
            return x

        return half_up

    def half_away_in(self, n: int) -> Operation:
        half = 1 << (n - 1)
        return lambda x: np.where(x < 0, -((half - x) >> n), (x + half) >> n)

    def floor_in(self, n: int) -> Operation:
        def floor_of(x: Array) -> Array:
            x >>= n
            return x

        return floor_of

    def wrap(self, bits: int) -> Operation:
        half, mask = 1 << (bits - 1), (1 << bits) - 1
        return lambda x: ((x + half) & mask) - half

    def any(self, x: Array) -> bool:
        return bool(x.any())


Numbers = Reals | Integers
"""One representation of exact integers."""


def numbers_for(config: ArrayConfig) -> Numbers:
    """The fastest representation that holds every intermediate value of this machine.

    An accumulator that starts from a drive reaches ``2**acc_bits`` before it wraps, rounding
    included; LEARN's sum with decay and dither stays below three times its largest part.
    """
    q = config.learn_shifts[1]
    learn = max(config.learn_bits, config.weight_bits + q, q + 1) + 1
    widest = max(config.acc_bits + 1, learn)
    if widest <= FLOAT_BITS and learn <= TIE_BITS:
        return Reals()
    return Integers(np.int64 if widest <= INT_BITS else object)
