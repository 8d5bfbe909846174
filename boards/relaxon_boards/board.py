"""What a board is. Nothing here imports Amaranth: listing and estimating do not need it."""

import pkgutil
from dataclasses import dataclass, field
from typing import Any

from relaxon_isa.config import ArrayConfig
from relaxon_isa.errors import ConfigError
from relaxon_isa.presets import preset

__all__ = ["Board", "Pll"]

FAMILIES = {
    "ice40": "iCE40",
    "ecp5": "ECP5",
    "gowin": "Gowin",
    "xilinx": "Artix-7",
}
MIN_DIVISOR = 8
"""Clocks a bit of the UART."""


@dataclass(frozen=True, kw_only=True)
class Pll:
    """Dividers of a PLL, each at least 1.

    The oscillator runs at ``crystal / ref * feedback`` and the output at that divided by ``out``
    (iCE40: a power of two). ECP5: the output runs at ``crystal / ref * feedback`` and the
    oscillator at ``out`` times that.

    ``pad``: the clock's pin is the PLL's own (iCE40), which then contains its buffer.
    """

    ref: int
    feedback: int
    out: int
    pad: bool = False


@dataclass(frozen=True, kw_only=True)
class Board:
    """One board.

    Parameters
    ----------
    name
        As in ``relaxon build NAME``.
    title, device
        For people.
    family
        A key of `FAMILIES`.
    platform
        Module and class of the Amaranth platform.
    vendor_platform
        Likewise the one for the vendor's own tool, where ``platform`` makes no bitstream.
    preset, changes
        Name of the machine that it is built as, and what is different (for `features` alone).
    crystal_hz, pll, clock_hz
        The board's clock, its PLL (None: the crystal is the clock), and the array's clock.
    baud
        What the board's USB chip is known to hold; ``build --baud`` takes others.
    usb
        That chip.
    flash
        openFPGALoader's arguments before the bitstream's name; empty where it does not know the
        board.
    by_hand
        What to do instead.
    primitives
        Family of `relaxon_hdl.primitives` to instantiate; None for the portable ones.
    synth_opts, place_opts
        More arguments of yosys' ``synth_FAMILY`` and of nextpnr.
    capacity
        What the device has, where no place and route says so.
    experimental
        What one has to know before one trusts a bitstream; empty for the others.
    """

    name: str
    title: str
    device: str
    family: str
    platform: str
    preset: str
    crystal_hz: int
    clock_hz: int
    baud: int
    usb: str
    flash: tuple[str, ...] = ()
    by_hand: str = ""
    pll: Pll | None = None
    vendor_platform: str = ""
    primitives: str | None = None
    synth_opts: str = ""
    place_opts: str = ""
    capacity: dict[str, int] = field(default_factory=dict)
    changes: dict[str, int] = field(default_factory=dict)
    experimental: str = ""

    def __post_init__(self) -> None:
        rate = self.crystal_hz
        if self.pll:
            rate = rate * self.pll.feedback // self.pll.ref
            if self.family != "ecp5":
                rate //= self.pll.out
        if rate != self.clock_hz:
            raise ConfigError(f"{self.name}: the PLL makes {rate} Hz, not {self.clock_hz}")

    @property
    def config(self) -> ArrayConfig:
        config = preset(self.preset)
        return config.replace(**self.changes) if self.changes else config

    def divisor(self, baud: int | None = None) -> int:
        """Clocks a bit of the UART. Raises ConfigError where the clock has no such rate."""
        baud = baud or self.baud
        divisor = round(self.clock_hz / baud)
        if divisor < MIN_DIVISOR:
            raise ConfigError(
                f"{baud} baud is too fast for the {self.clock_hz / 1e6:g} MHz of {self.name}: "
                f"{self.clock_hz // MIN_DIVISOR} at most"
            )
        if abs(self.clock_hz / divisor / baud - 1) > 0.02:
            nearest = sorted({self.clock_hz // d for d in (divisor, divisor + 1)})
            raise ConfigError(
                f"{self.name} cannot do {baud} baud within 2 %: the nearest are "
                + " and ".join(map(str, nearest))
            )
        return divisor

    def make_platform(self, *, vendor: bool = False) -> Any:
        """The Amaranth platform. Raises ImportError without Amaranth or its boards."""
        return pkgutil.resolve_name(self.vendor_platform if vendor else self.platform)()
