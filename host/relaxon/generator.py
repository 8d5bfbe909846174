"""Random numbers that are the same under every version of numpy.

numpy keeps the raw words of its bit generators (NEP 19), not what `numpy.random.Generator` makes
of them. Here numbers are made of PCG64's words, by what numpy 2.4 does, so that a seed means
the same weights and orders from now on. ``tests/vectors/generator.json`` pins them.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["Generator"]


class Generator:
    """A stream of numbers of a seed: a whole number, or several, each 0 or more."""

    def __init__(self, seed: int | Sequence[int]) -> None:
        self._source = np.random.PCG64(np.random.SeedSequence(seed))
        self._half: int | None = None  # of a word whose other half was used

    def uniform(
        self, low: float = 0.0, high: float = 1.0, shape: int | tuple[int, ...] = ()
    ) -> NDArray[np.float64]:
        """Uniform in low <= value < high: of the upper 53 bits of a word each."""
        words = self._source.random_raw(int(np.prod(shape, dtype=np.int64)))
        unit = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return (low + (high - low) * unit).reshape(shape)

    def integers(self, low: int, high: int, count: int) -> NDArray[np.int64]:
        """Uniform in low <= value < high, at most 2**32 values apart (Lemire 2019, algorithm 5)."""
        limit, drawn = high - low, []
        while len(drawn) < count:
            product = self._next32() * limit
            if product & 0xFFFFFFFF >= (1 << 32) % limit:  # else some values would come more often
                drawn.append(low + (product >> 32))
        return np.array(drawn, dtype=np.int64)

    def permutation(self, count: int) -> NDArray[np.int64]:
        """0 to count - 1 in random order (Durstenfeld 1964; places by masks and rejection)."""
        order = list(range(count))
        for last in range(count - 1, 0, -1):
            mask = (1 << last.bit_length()) - 1
            while (other := self._next32() & mask) > last:
                pass
            order[last], order[other] = order[other], order[last]
        return np.array(order, dtype=np.int64)

    def _next32(self) -> int:
        """Half a word, the lower one first."""
        if self._half is None:
            word = self._source.random_raw()
            self._half = word >> 32
            return word & 0xFFFFFFFF
        half, self._half = self._half, None
        return half
