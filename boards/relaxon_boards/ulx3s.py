"""Radiona ULX3S with an 85F, 25F or 12F (which the tools take for a 25F: it is the same die)."""

from dataclasses import replace

from .board import Board, Pll

_25F = Board(
    name="ulx3s-25f",
    title="Radiona ULX3S 25F",
    device="LFE5U-25F-6",
    family="ecp5",
    platform="amaranth_boards.ulx3s:ULX3S_25F_Platform",
    preset="ecp5-25f",
    crystal_hz=25_000_000,
    pll=Pll(ref=5, feedback=18, out=8),
    clock_hz=90_000_000,
    baud=3_000_000,
    usb="FT231X",
    flash=("-b", "ulx3s"),
    primitives="ecp5",
    sdram=True,
    capacity={"DSP": 28, "BRAM": 56},
)

BOARDS = (
    replace(
        _25F,
        name="ulx3s-85f",
        title="Radiona ULX3S 85F",
        device="LFE5U-85F-6",
        platform="amaranth_boards.ulx3s:ULX3S_85F_Platform",
        preset="ecp5-85f-memory",
        pll=Pll(ref=5, feedback=15, out=8),
        clock_hz=75_000_000,
        capacity={"DSP": 156, "BRAM": 208},
    ),
    _25F,
    replace(
        _25F,
        name="ulx3s-12f",
        title="Radiona ULX3S 12F",
        device="LFE5U-12F-6",
        platform="amaranth_boards.ulx3s:ULX3S_12F_Platform",
    ),
)
