"""Putting a bitstream on a board with openFPGALoader."""

import subprocess
from pathlib import Path

from relaxon_hdl.families import find_family
from relaxon_hdl.tools.find import find_tool
from relaxon_isa import DataError, DeviceError, ToolError

from .board import Board
from .report import Report, digest_of

__all__ = ["flash"]

LIBRARIES = "install the system's libusb-1.0 and libftdi1 (Debian: libusb-1.0-0 libftdi1-2)"


def flash(board: Board, bitstream: Path, *, permanent: bool = False) -> None:
    """Load a bitstream; the tool's output goes to the terminal.

    ``permanent``: into the board's flash memory too, where there is a choice. Raises DataError if
    there is no bitstream, or the report beside it is another's; ToolError if the loader cannot run,
    DeviceError if it fails.
    """
    if not bitstream.is_file():
        vendor = " --vendor" if find_family(board.family).vendor else ""
        raise DataError(
            f"no bitstream {bitstream}: make it with  relaxon build {board.name}{vendor}"
        )
    if not bitstream.stat().st_size:
        raise DataError(f"the bitstream {bitstream} is empty: build it again")
    _check_report(board, bitstream)
    if not board.flash:
        raise ToolError(f"openFPGALoader does not know {board.title}: {board.by_hand}: {bitstream}")
    command = [find_tool("openFPGALoader"), *board.flash, *(["-f"] if permanent else [])]
    try:
        code = subprocess.run([*command, str(bitstream)], check=False).returncode
    except OSError as error:
        raise ToolError(f"cannot run {command[0]}: {error.strerror}") from error
    if code == 127:  # of the dynamic linker
        raise ToolError(f"openFPGALoader cannot start: {LIBRARIES}")
    if code:
        raise DeviceError(
            f"openFPGALoader failed ({' '.join(command[1:])} {bitstream}): check cable, power and "
            "the right to use USB devices"
        )


def _check_report(board: Board, bitstream: Path) -> None:
    """Raise DataError if the report beside a bitstream is of another one. (Vendors' have none.)"""
    path = bitstream.with_name("report.json")
    if not path.exists():
        return
    report, digest = Report.read(path), digest_of(bitstream)
    described = (report.board, report.bitstream, report.digest or digest)
    if described != (board.name, bitstream.name, digest):
        raise DataError(
            f"{path} is not the report of {bitstream}: the bitstream is of another build; make it "
            f"with  relaxon build {board.name}"
        )
