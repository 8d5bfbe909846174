"""The synapse cells: the arithmetic of LEARN."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from relaxon_isa.config import ArrayConfig
from relaxon_isa.instructions import Learn

from .exact import Array, Numbers

__all__ = ["Synapse"]


@dataclass(frozen=True)
class Synapse:
    """One LEARN's update of cells, elementwise over arrays of any one shape."""

    config: ArrayConfig
    numbers: Numbers
    learn: Learn

    @property
    def q(self) -> int:
        """Rounding position."""
        return self.config.learn_shifts[self.learn.position]

    @property
    def zero_is_idle(self) -> bool:
        """Whether a zero accumulator leaves its weight as it is."""
        learn = self.learn
        return not (learn.decay or learn.replace or learn.bound or learn.integral)

    def saturate(self, x: Array) -> Array:
        high = (1 << (self.config.weight_bits - 1)) - 1
        return np.maximum(np.minimum(x, high), -high - 1)

    def bounded(self, w: Array) -> Array:
        return np.maximum(w, 0) if self.learn.bound else w

    def update(
        self, w: Array, acc: Array, h: NDArray[np.int64] | None
    ) -> tuple[Array, NDArray[np.bool_] | None]:
        """New weights, and where they saturated (None: nowhere).

        ``w`` weights, ``acc`` accumulators (not kept), ``h`` dither, all of one shape.
        """
        learn, config, numbers, q = self.learn, self.config, self.numbers, self.q
        if learn.decay:
            acc = acc - numbers.scale_in(w.copy(), q - config.decay_shift)
        if learn.stochastic:
            assert h is not None
            dither = (2 * h + 1).astype(numbers.dtype)
            acc = numbers.floor_in(acc + numbers.scale_in(dither, q - config.dither_bits - 1), q)
        else:
            acc = numbers.half_away(acc, q)
        if not learn.replace:
            acc += w
        return self._store(acc)

    def integrate(
        self, w: Array, m: Array, acc: Array
    ) -> tuple[Array, Array, NDArray[np.bool_] | None]:
        """New weights, new memories, and where weights saturated."""
        first, second = self.config.learn_shifts
        u = self.saturate(self.numbers.half_away(acc, first)) - m
        memory = self.saturate(m + self.numbers.half_away(u, self.config.integral_shift))
        u *= abs(u) > self.learn.threshold  # the dead zone
        weight, clipped = self._store(w + self.numbers.half_away(u, second - first))
        return weight, memory, clipped

    def _store(self, x: Array) -> tuple[Array, NDArray[np.bool_] | None]:
        new = self.saturate(x)
        x -= new
        clipped = x != 0 if self.numbers.any(x) else None
        return self.bounded(new), clipped
