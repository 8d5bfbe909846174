"""Icepi Zero 1.3."""

from .board import Board, Pll

BOARDS = (
    Board(
        name="icepi-zero",
        title="Icepi Zero 1.3",
        device="LFE5U-25F-6",
        family="ecp5",
        platform="amaranth_boards.icepi_zero:IcepiZero1_3Platform",
        preset="ecp5-25f",
        crystal_hz=50_000_000,
        pll=Pll(ref=5, feedback=9, out=8),
        clock_hz=90_000_000,
        baud=3_000_000,
        usb="FT231X",
        flash=("-b", "icepi-zero"),
        primitives="ecp5",
        sdram=True,
        capacity={"DSP": 28, "BRAM": 56},
    ),
)
