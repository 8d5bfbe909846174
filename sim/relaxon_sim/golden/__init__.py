"""The golden model: the machine in numpy, bit for bit and cycle for cycle.

The modules mirror the machine's parts. Nothing here imports Amaranth, and only formats and fields
are shared with the gateware: the arithmetic is written from the contract's text.
"""

from .device import GoldenDevice
from .machine import Machine

__all__ = ["GoldenDevice", "Machine"]
