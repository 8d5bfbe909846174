"""The machine: a state and the sequencer that runs programs on it."""

from collections.abc import Iterable, Sequence

from relaxon_isa import ArrayConfig

from .exact import Numbers
from .sequencer import Run, Sequencer
from .state import State
from .transfer import TransferUnit

__all__ = ["Machine"]


class Machine(State):
    """The whole machine, bit for bit and cycle for cycle.

    Parameters
    ----------
    config, plain, numbers
        As `State` has them.
    """

    def __init__(self, config: ArrayConfig, *, plain: bool = False, numbers: Numbers | None = None):
        super().__init__(config, plain=plain, numbers=numbers)
        self.sequencer = Sequencer(self, TransferUnit(self))

    @property
    def program(self) -> tuple[int, ...]:
        """Program rows; write them through `write_program`."""
        return tuple(self.sequencer.rows)

    def write_program(self, start: int, rows: Sequence[int]) -> None:
        """Program rows from ``start`` on."""
        self.sequencer.write(start, rows)

    def run(self, samples: Iterable[bytes] = (), *, row: int = 0, count: bool = True) -> Run:
        """Run from ``row`` to HALT; yields each EMIT's payload. Returns how many samples were
        taken and whether bytes of them are left.

        WAIT takes its bytes from ``samples``, asked for one more only when they run short. Raises
        `Starved` when there are no more.
        """
        return self.sequencer.run(iter(samples), row, count)
