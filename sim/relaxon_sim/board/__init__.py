"""The virtual board: the gateware compiled to a program, its UART pins on a pseudo-terminal."""

from .bridge import Bridge
from .build import BoardOptions, build_board
from .process import BoardStats, VirtualBoard, VirtualDevice, virtual_device

__all__ = [
    "BoardOptions",
    "BoardStats",
    "Bridge",
    "VirtualBoard",
    "VirtualDevice",
    "build_board",
    "virtual_device",
]
