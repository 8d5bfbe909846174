"""Lattice iCE40HX8K breakout board: no multipliers, so logic multiplies."""

from .board import Board, Pll

BOARDS = (
    Board(
        name="hx8k",
        title="Lattice iCE40HX8K-B-EVN",
        device="iCE40HX8K",
        family="ice40",
        platform="amaranth_boards.ice40_hx8k_b_evn:ICE40HX8KBEVNPlatform",
        preset="hx8k",
        crystal_hz=12_000_000,
        pll=Pll(ref=1, feedback=72, out=16),
        clock_hz=54_000_000,
        baud=3_000_000,
        usb="FT2232H",
        flash=("-b", "ice40_generic"),
        capacity={"BRAM": 32},
    ),
)
