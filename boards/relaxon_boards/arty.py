"""Digilent Arty A7: an estimate by open synthesis; the bitstream takes the vendor's tool."""

from dataclasses import replace

from .board import Board, Pll

_35T = Board(
    name="arty-a7-35",
    title="Digilent Arty A7-35T",
    device="XC7A35T",
    family="xilinx",
    platform="amaranth_boards.arty_a7:ArtyA7_35Platform",
    preset="artix-35",
    crystal_hz=100_000_000,
    pll=Pll(ref=1, feedback=9, out=12),
    clock_hz=75_000_000,
    baud=3_000_000,
    usb="FT2232H",
    flash=("-b", "arty_a7_35t"),
    capacity={"LUT": 20_800, "FF": 41_600, "DSP": 90, "BRAM18": 100},
)

BOARDS = (
    _35T,
    replace(
        _35T,
        name="arty-a7-100",
        title="Digilent Arty A7-100T",
        device="XC7A100T",
        platform="amaranth_boards.arty_a7:ArtyA7_100Platform",
        preset="artix-100",
        flash=("-b", "arty_a7_100t"),
        capacity={"LUT": 63_400, "FF": 126_800, "DSP": 240, "BRAM18": 270},
    ),
)
