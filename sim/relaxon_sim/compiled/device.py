"""The compiled machine behind the interface that boards have."""

from collections.abc import Callable

from relaxon_device.base import Rows, left_over, starved
from relaxon_isa import ArrayConfig

from ..golden.device import GoldenDevice
from ..golden.sequencer import Starved
from .machine import Machine

__all__ = ["CompiledDevice"]


class CompiledDevice(GoldenDevice):
    """A board in this process, whose programs run as machine code.

    Parameters
    ----------
    config
        The array configuration. Raises ConfigError if it is too wide for 64 bits, and ToolError
        without numba.
    """

    engine = "compiled"

    def __init__(self, config: ArrayConfig) -> None:
        self.machine: Machine
        super().__init__(config, Machine(config))

    def run_all(
        self,
        samples: Rows,
        *,
        row: int = 0,
        count: bool = True,
        progress: Callable[[int], None] = lambda count: None,
    ) -> list[bytes]:
        row = self._checked_row(row)
        payloads: list[bytes] = []
        try:
            for some in self.machine.run_block(samples, row=row, count=count):
                payloads += some
                progress(len(some))
        except Starved as error:
            raise starved(error.args[0]) from None
        if self.machine.left_over:
            raise left_over()
        return payloads
