"""The synapse cells: the arithmetic of LEARN."""

import numpy as np
from numpy.typing import NDArray

from relaxon_isa import ArrayConfig, Learn

from .exact import Array, Numbers

__all__ = ["Synapse"]


class Synapse:
    """One LEARN's update of cells, elementwise over arrays of any one shape.

    Members
    -------
    idle
        Whether a zero accumulator leaves its weight as it is.
    """

    def __init__(self, config: ArrayConfig, numbers: Numbers, learn: Learn):
        self.learn = learn
        self.numbers = numbers
        self.idle = not (learn.decay or learn.replace or learn.bound or learn.integral)
        high = (1 << (config.weight_bits - 1)) - 1
        self.high, self.low = numbers.constant(high), numbers.constant(-high - 1)
        first, second = config.learn_shifts
        q = config.learn_shifts[learn.position]
        self._round = numbers.half_away_in(q)
        if learn.decay:
            self._decay = numbers.scale_in(q - config.decay_shift)
        if learn.stochastic:
            self._floor = numbers.floor_in(q)
            self._dither = numbers.scale_in(q - config.dither_bits - 1)
        if learn.integral:
            self._follow = numbers.half_away_in(config.integral_shift)
            self._gain = numbers.half_away_in(second - first)

    def update(
        self, w: Array, acc: Array, h: NDArray[np.int64] | None
    ) -> tuple[Array, NDArray[np.bool_] | None]:
        """New weights, and where they saturated (None: nowhere).

        ``w`` weights, ``acc`` accumulators (not kept), ``h`` dither, all of one shape.
        """
        learn = self.learn
        if learn.decay:
            acc -= self._decay(w.copy())
        if h is None:
            acc = self._round(acc)
        else:
            acc += self._dither((2 * h + 1).astype(self.numbers.dtype))
            acc = self._floor(acc)
        if not learn.replace:
            acc += w
        return self._store(acc)

    def integrate(
        self, w: Array, m: Array, acc: Array
    ) -> tuple[Array, Array, NDArray[np.bool_] | None]:
        """New weights, new memories, and where weights saturated."""
        u = self._saturate(self._round(acc)) - m
        memory = self._saturate(m + self._follow(u.copy()))
        u *= abs(u) > self.learn.threshold  # the dead zone
        weight, clipped = self._store(w + self._gain(u))
        return weight, memory, clipped

    def _saturate(self, x: Array) -> Array:
        result = np.minimum(x, self.high)
        return np.maximum(result, self.low, out=result)

    def _store(self, x: Array) -> tuple[Array, NDArray[np.bool_] | None]:
        new = self._saturate(x)
        x -= new
        clipped = x != 0 if self.numbers.any(x) else None
        if self.learn.bound:
            np.maximum(new, 0, out=new)
        return new, clipped
