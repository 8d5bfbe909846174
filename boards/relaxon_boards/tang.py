"""Sipeed Tang Nano 9K and Tang Primer 20K: Gowin, whose multipliers the open tools do not time."""

from .board import Board

BOARDS = (
    Board(
        name="tang-nano-9k",
        title="Sipeed Tang Nano 9K",
        device="GW1NR-9C",
        family="gowin",
        platform="amaranth_boards.tang_nano_9k:TangNano9kPlatform",
        preset="gowin-9k",
        crystal_hz=27_000_000,
        clock_hz=27_000_000,
        baud=1_000_000,
        usb="BL702",
        flash=("-b", "tangnano9k"),
        primitives="gowin",
        capacity={"DSP": 20, "BRAM": 26},
    ),
    Board(
        name="tang-primer-20k",
        title="Sipeed Tang Primer 20K",
        device="GW2A-18C",
        family="gowin",
        platform="amaranth_boards.tang_primer_20k:TangPrimer20kPlatform",
        preset="gowin-20k",
        crystal_hz=27_000_000,
        clock_hz=27_000_000,
        baud=1_000_000,
        usb="BL702",
        flash=("-b", "tangprimer20k"),
        primitives="gowin",
        capacity={"DSP": 48, "BRAM": 46},
    ),
)
