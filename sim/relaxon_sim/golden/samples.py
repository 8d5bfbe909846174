"""The present sample of a machine with a sample buffer: lists, held as the words that they leave.

A walk gives the sums and weights of the dense nest over these words, so that is what is computed;
the lists themselves decide cycles and how saturations are counted.
"""

import numpy as np
from numpy.typing import NDArray

from relaxon_isa import ArrayConfig

from .exact import Numbers
from .planes import Plane

__all__ = ["Sample"]

NONE = -1
"""No label: no output is right."""


class Sample:
    """What the last WAIT with ``ahead`` took.

    Members
    -------
    plane
        Its values as a `Plane`: group and lane as in S, 0 where there is none.
    rows
        (plane's words,): of each value of a list the row that it is in.
    listed
        T, the rows of the longest list.
    label
        The label, or `NONE`.
    """

    def __init__(self, config: ArrayConfig, numbers: Numbers):
        self.plane = Plane(config, max(1, config.sample_buffer // 2), numbers, "sample group")
        self.rows = np.zeros(len(self.plane.words), dtype=np.int64)
        self.clear()

    def clear(self) -> None:
        self.plane.words[:] = 0
        self.listed, self.label = 0, NONE

    def put(self, values: NDArray, *, dense: bool, label: int) -> None:
        """Values in neuron order."""
        p = self.plane.p
        self.plane.words[: len(values)] = values
        self.plane.words[len(values) :] = 0
        kept = np.zeros(-(-len(values) // p) * p, dtype=np.int64)
        kept[: len(values)] = True if dense else values != 0
        after = kept.reshape(-1, p).cumsum(axis=0)
        self.rows[: len(kept)] = after.reshape(-1) - 1
        self.listed, self.label = int(after[-1].max()), label
