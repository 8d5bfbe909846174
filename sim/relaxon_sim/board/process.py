"""A virtual board that runs: its process, its port, and the device on it."""

import atexit
import json
import os
import select
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from relaxon_device.serial import UNPACED_SECONDS, SerialDevice
from relaxon_device.transport import SerialTransport
from relaxon_isa import ArrayConfig, ToolError
from relaxon_isa.identity import fingerprint

from ..model import Waves
from .build import CLOCK_HZ, BoardOptions, build_board

__all__ = ["BoardStats", "VirtualBoard", "VirtualDevice", "virtual_device"]

START_SECONDS = 10.0
STOP_SECONDS = 10.0
"""A board has a waveform file to finish, perhaps."""


@dataclass(frozen=True)
class BoardStats:
    """Counts over a virtual board's life.

    Members
    -------
    cycles
        Clock cycles simulated; time does not pass while nothing happens.
    busy_seconds
        Seconds spent on them.
    bytes_in, bytes_out
        Bytes to and from the design's UART.
    broken
        Bytes from the design without a stop bit.
    byte_cycles
        Clock cycles of the design's fastest byte, from start bit to start bit; 0: it sent no two.
    """

    cycles: int
    busy_seconds: float
    bytes_in: int
    bytes_out: int
    broken: int
    byte_cycles: int


class VirtualBoard:
    """A board in a process of its own. A context manager; `start` and `stop` do it by hand.

    The process ends with `stop`, at the end of this Python process, however that ends. Ctrl-C in
    a terminal is for the host alone, which may want the board for a last exchange.

    Parameters
    ----------
    config
        The machine.
    divisor
        Clocks a bit of its UART.
    family
        FPGA family whose primitives the gateware instantiates, simulated by their models; None
        for the portable ones, which are faster.
    netlist
        Simulate what synthesis for ``family`` makes of the gateware, cell by cell.
    vcd, fst
        A file for waveforms of the whole design, in one of the two formats. Ten times slower, and
        large. FST needs the development files of lz4 and zlib.
    report
        Called with each step of a build, if there is one (see `build_board`).

    Members
    -------
    port
        Path of its pseudo-terminal while it runs.
    stats
        `BoardStats` once it has stopped.
    """

    def __init__(
        self,
        config: ArrayConfig,
        *,
        divisor: int = 2,
        family: str | None = None,
        netlist: bool = False,
        vcd: str | Path | None = None,
        fst: str | Path | None = None,
        report: Callable[[str], None] | None = None,
    ) -> None:
        if vcd and fst:
            raise ToolError("waveforms as VCD and as FST: only one of them at a time")
        self.config = config
        self.stats: BoardStats | None = None
        self.port = ""
        waves: Waves | None = "vcd" if vcd else "fst" if fst else None
        self._waves = Path(vcd or fst or "").absolute()
        self._options = BoardOptions(divisor=divisor, waves=waves, family=family, netlist=netlist)
        self._report = report
        self._process: subprocess.Popen[str] | None = None
        self._owner = 0
        self._said = ""

    @property
    def pid(self) -> int:
        """The process that runs. Raises ToolError if none does."""
        if self._process is None:
            raise ToolError("the virtual board does not run: start it")
        return self._process.pid

    def start(self) -> Self:
        """Build the program if need be, and start it. Raises ToolError."""
        if self._process is not None:
            return self
        program = build_board(self.config, self._options, report=self._report)
        command = [str(program), "--watch-stdin", "--stats"]
        if self._options.waves:
            command += [f"--{self._options.waves}", str(self._waves)]
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,  # never written to: it ends when this process does
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        except OSError as error:
            raise ToolError(f"cannot run {program}: {error.strerror}") from error
        self._process, self._owner = process, os.getpid()
        atexit.register(self.stop)
        assert process.stdout
        ready = select.select([process.stdout], [], [], START_SECONDS)[0]
        self.port = process.stdout.readline().strip() if ready else ""
        if not self.port:
            self.stop(kill=True)
            raise ToolError(f"the virtual board did not start: {self._said or program}")
        return self

    def wait(self) -> None:
        """Until the process ends. Raises ToolError if it ends otherwise than by `stop`."""
        if self._process is not None and self._process.wait() != 0:
            raise ToolError("the virtual board was killed")

    def stop(self, *, kill: bool = False) -> BoardStats | None:
        """End the process; more than once is allowed. Returns `stats`."""
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():  # a fork's copy of what is not its own
            return self.stats
        atexit.unregister(self.stop)
        self.port = ""
        (process.kill if kill else process.terminate)()
        try:
            out, self._said = process.communicate(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            out, self._said = process.communicate()
        self._said = self._said.strip()
        last = out.strip().splitlines()[-1:]
        if last and last[0].startswith("{"):
            self.stats = BoardStats(**json.loads(last[0]))
        return self.stats

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class VirtualDevice(SerialDevice):
    """A `SerialDevice` that owns the virtual board at the other end: both are closed together.

    Members
    -------
    board
        The `VirtualBoard`.
    """

    board: VirtualBoard
    simulated = True

    def close(self) -> None:
        try:
            super().close()
        finally:
            self.board.stop()


def virtual_device(
    config: ArrayConfig,
    *,
    divisor: int = 2,
    family: str | None = None,
    netlist: bool = False,
    vcd: str | Path | None = None,
    fst: str | Path | None = None,
    report: Callable[[str], None] | None = None,
) -> VirtualDevice:
    """A device on a virtual board of its own. Parameters as `VirtualBoard`.

    Raises ToolError if the board cannot be built, DeviceError if it does not answer.
    """
    board = VirtualBoard(
        config,
        divisor=divisor,
        family=family,
        netlist=netlist,
        vcd=vcd,
        fst=fst,
        report=report,
    ).start()
    try:
        transport = SerialTransport(board.port, CLOCK_HZ // divisor)
        device = VirtualDevice(transport, expected=fingerprint(config), timeout=UNPACED_SECONDS)
    except BaseException:
        board.stop()
        raise
    device.board = board
    return device
