"""MuseLab iCESugar-Pro."""

from .board import Board, Pll

BOARDS = (
    Board(
        name="icesugar-pro",
        title="MuseLab iCESugar-Pro",
        device="LFE5U-25F-6",
        family="ecp5",
        platform="amaranth_boards.icesugar_pro:ICESugarProPlatform",
        preset="ecp5-25f",
        crystal_hz=25_000_000,
        pll=Pll(ref=5, feedback=18, out=8),
        clock_hz=90_000_000,
        baud=921_600,
        usb="iCELink (DAPLink)",
        flash=("-c", "cmsisdap"),
        primitives="ecp5",
        sdram=True,
        capacity={"DSP": 28, "BRAM": 56},
    ),
)
