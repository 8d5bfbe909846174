"""Putting a bitstream on a board with openFPGALoader."""

import subprocess
from pathlib import Path

from relaxon_isa.errors import DataError, DeviceError, ToolError

from .board import Board
from .tools import find_tool

__all__ = ["flash"]

LIBRARIES = "install the system's libusb-1.0 and libftdi1 (Debian: libusb-1.0-0 libftdi1-2)"


def flash(board: Board, bitstream: Path, *, permanent: bool = False) -> None:
    """Load a bitstream; what the tool says goes to the terminal.

    ``permanent``: into the board's flash memory too, where there is a choice.
    """
    if not bitstream.is_file():
        vendor = " --vendor" if board.vendor_platform else ""  # nothing else makes one then
        raise DataError(
            f"no bitstream {bitstream}: make it with  relaxon build {board.name}{vendor}"
        )
    if not bitstream.stat().st_size:
        raise DataError(f"the bitstream {bitstream} is empty: build it again")
    if not board.flash:
        raise ToolError(f"openFPGALoader does not know {board.title}: {board.by_hand}: {bitstream}")
    tool = find_tool("openFPGALoader")
    try:
        start = subprocess.run([tool, "--Version"], capture_output=True, text=True, check=False)
    except OSError as error:
        raise ToolError(f"cannot run {tool}: {error.strerror}") from error
    if start.returncode == 127 or "shared librar" in start.stderr + start.stdout:
        raise ToolError(f"openFPGALoader cannot start: {LIBRARIES}")
    command = [tool, *board.flash, *(["-f"] if permanent else []), str(bitstream)]
    if subprocess.run(command, check=False).returncode:
        raise DeviceError(
            f"openFPGALoader failed ({' '.join(command[1:])}): check cable, power and the right "
            "to use USB devices"
        )
