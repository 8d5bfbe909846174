"""MuseLab iCESugar."""

from dataclasses import replace

from .icebreaker import BOARDS as ICEBREAKER

BOARDS = (
    replace(
        ICEBREAKER[0],
        name="icesugar",
        title="MuseLab iCESugar",
        platform="amaranth_boards.icesugar:ICESugarPlatform",
        baud=921_600,
        usb="iCELink (DAPLink)",
        flash=(),
        by_hand="copy the .bin to the USB drive that iCELink presents",
    ),
)
