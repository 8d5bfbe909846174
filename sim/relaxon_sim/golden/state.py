"""The state of a machine: its memories, registers and flag."""

import numpy as np
from numpy.typing import NDArray

from relaxon_isa import ArrayConfig

from .counters import RegisterFile
from .exact import Numbers, numbers_for
from .planes import Plane
from .samples import Sample
from .weights import Weights

__all__ = ["Memories", "State", "integers"]


class Memories:
    """S and D as a user of a machine sees them.

    Members
    -------
    config
        The array configuration.
    states, drives
        The memories S and D, `Plane` each.
    state, drive
        Their words as integers: (state_depth, p) and (drive_depth, p). Reading copies; assign to
        write.
    """

    config: ArrayConfig
    states: Plane
    drives: Plane

    @property
    def state(self) -> NDArray:
        return integers(self.states.words).reshape(-1, self.config.p)

    @state.setter
    def state(self, values: NDArray) -> None:
        self.states.words[:] = np.asarray(values).reshape(-1)

    @property
    def drive(self) -> NDArray:
        return integers(self.drives.words).reshape(-1, self.config.p)

    @drive.setter
    def drive(self, values: NDArray) -> None:
        self.write_drive(0, np.asarray(values).reshape(-1))

    def write_drive(self, start: int, values: NDArray) -> None:
        """Words of D from neuron ``start`` on."""
        self.drives.words[start : start + len(values)] = values


class State(Memories):
    """Everything that instructions read and write.

    Parameters
    ----------
    config
        The array configuration.
    plain
        Gather every tile by itself: no matrices, nothing left out. Slow; for comparison.
    numbers
        Another representation than the fastest that holds this machine's values (`exact`).

    Members
    -------
    states, drives
        The memories S and D, `Plane` each.
    weights
        The tiles, `Weights`.
    table
        The activation table, (2**table_bits,).
    registers
        `RegisterFile`
    sample
        The present `Sample`.
    flag
        What MACs judge and LOOPs ask.
    state, drive, weights_array
        S, D and tiles as integers: (state_depth, p), (drive_depth, p) and (weight_depth, p, p).
        Reading copies; assign to write.
    """

    def __init__(self, config: ArrayConfig, *, plain: bool = False, numbers: Numbers | None = None):
        self.config = config
        self.plain = plain
        self.numbers = numbers = numbers or numbers_for(config)
        self.states = Plane(config, config.state_depth, numbers, "state group")
        self.drives = Plane(config, config.drive_depth, numbers, "drive group")
        self.drive_bound = 0
        self.drive_limit = (1 << (config.acc_bits - 1)) - 1
        self.weights = Weights(config, numbers)
        self.table = np.zeros(1 << config.table_bits, dtype=numbers.dtype)
        self.registers = RegisterFile(config)
        self.sample = Sample(config, numbers)
        self.flag = False

    def write_drive(self, start: int, values: NDArray) -> None:
        """Words of D from neuron ``start`` on."""
        super().write_drive(start, values)
        self.drive_bound = max(
            self.drive_bound, *(int(abs(v)) for v in (values.min(), values.max()))
        )

    @property
    def weights_array(self) -> NDArray:
        cells = self.weights.positions(np.arange(self.config.weight_depth))
        return integers(self.weights.flat[cells])

    @weights_array.setter
    def weights_array(self, values: NDArray) -> None:
        cells = self.weights.positions(np.arange(self.config.weight_depth))
        self.weights.flat[cells] = np.asarray(values)

    # An upper bound of |D| saves looking for accumulators that wrap.

    def drive_may_wrap(self, reach: int) -> bool:
        """Whether a drive plus products of sum at most ``reach`` can leave the format."""
        if self.drive_bound + reach <= self.drive_limit:
            return False
        self.drive_bound = int(abs(self.drives.words).max())
        return self.drive_bound + reach > self.drive_limit

    def drive_written(self, reach: int, added: bool) -> None:
        """A MAC has written such sums to D, on top of drives or not."""
        bound = self.drive_bound + reach if added else max(self.drive_bound, reach)
        self.drive_bound = min(bound, self.drive_limit + 1)


def integers(x: NDArray) -> NDArray:
    """A copy as int64, or as Python ints where the machine's numbers are."""
    return x.copy() if x.dtype == object else x.astype(np.int64)
