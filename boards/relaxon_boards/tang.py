"""Sipeed Tang Nano 9K and Tang Primer 20K: Gowin, whose multipliers the open tools do not time."""

from .board import Board

EXPERIMENTAL = (
    "experimental: place and route has no timing of Gowin's multipliers nor of some block RAM "
    "ports (the link's buffers among them, nextpnr #1786), so a passed target says nothing about "
    "them; the array runs at the 27 MHz of the crystal. Block RAMs are used without resets and "
    "output registers, which have errata (yosys #6163, apicula #251)"
)

BOARDS = (
    Board(
        name="tang-nano-9k",
        title="Sipeed Tang Nano 9K",
        device="GW1NR-9C",
        family="gowin",
        platform="relaxon_boards.gowin:TangNano9k",
        preset="gowin-9k",
        crystal_hz=27_000_000,
        clock_hz=27_000_000,
        baud=1_000_000,
        usb="BL702",
        flash=("-b", "tangnano9k"),
        primitives="gowin",
        experimental=EXPERIMENTAL,
    ),
    Board(
        name="tang-primer-20k",
        title="Sipeed Tang Primer 20K",
        device="GW2A-18C",
        family="gowin",
        platform="relaxon_boards.gowin:TangPrimer20k",
        preset="gowin-20k",
        crystal_hz=27_000_000,
        clock_hz=27_000_000,
        baud=1_000_000,
        usb="BL702",
        flash=("-b", "tangprimer20k"),
        primitives="gowin",
        experimental=EXPERIMENTAL,
    ),
)
