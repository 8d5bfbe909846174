"""What a board is. Nothing here imports Amaranth: listing and estimating do not need it."""

import pkgutil
from dataclasses import dataclass, field
from typing import Any

from relaxon_hdl.families import Pll, find_family
from relaxon_isa import ArrayConfig, ConfigError, preset

__all__ = ["Board", "Pll"]

MIN_DIVISOR = 8
"""Least number of clocks per bit of the UART."""


@dataclass(frozen=True, kw_only=True)
class Board:
    """One board.

    Parameters
    ----------
    name
        As in ``relaxon build NAME``.
    title, device
        Human-readable: maker and model, the FPGA's part number.
    family
        A key of `relaxon_hdl.families.FAMILIES`.
    platform
        Module and class of the board in amaranth_boards, "module:Class".
    preset
        Name of the machine that it is built as.
    machine
        That machine, if it is none of `relaxon_isa.config.PRESETS`; None takes it from there.
    sdram
        It has an SDR SDRAM of 16 bits, resource "sdram" of its platform.
    changes
        Fields of the machine that differ (for `features` alone).
    crystal_hz, pll, clock_hz
        The board's clock, its PLL (None: the crystal is the clock), and the array's clock.
    baud
        A rate that the board's USB chip is known to hold; ``build --baud`` takes others.
    usb
        That chip.
    flash
        openFPGALoader's arguments before the bitstream's name; empty where it does not know the
        board.
    by_hand
        What to do instead.
    primitives
        Family of `relaxon_hdl.primitives` to instantiate; None leaves all to synthesis.
    capacity
        What the device has, by the labels of reports: multipliers and memories, which
        `relaxon_boards.fit` counts, and what place and route does not say.

    Raises ConfigError if the PLL does not make the clock, or the machine has a sample memory and
    the board no SDRAM.
    """

    name: str
    title: str
    device: str
    family: str
    platform: str
    preset: str
    machine: ArrayConfig | None = None
    crystal_hz: int
    clock_hz: int
    baud: int
    usb: str
    flash: tuple[str, ...] = ()
    by_hand: str = ""
    pll: Pll | None = None
    primitives: str | None = None
    sdram: bool = False
    capacity: dict[str, int] = field(default_factory=dict)
    changes: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        family = find_family(self.family)
        try:
            family.check_clock(self.crystal_hz, self.pll, self.clock_hz)
        except ConfigError as error:
            raise ConfigError(f"{self.name}: {error}") from error
        if self.config.sample_memory and not self.sdram:
            raise ConfigError(
                f"{self.preset} has a sample memory, which needs an SDR SDRAM, and {self.name} has "
                "none: choose a machine with sample_memory = false, or a board that has one "
                "(ULX3S, Icepi Zero, iCESugar-Pro)"
            )

    @property
    def config(self) -> ArrayConfig:
        """The machine that it is built as."""
        config = self.machine or preset(self.preset)
        return config.replace(**self.changes) if self.changes else config

    @property
    def experimental(self) -> str:
        """Caveat shown in listings and reports; empty if none."""
        return find_family(self.family).experimental

    def divisor(self, baud: int | None = None) -> int:
        """Clocks per bit of the UART. Raises ConfigError if the clock cannot make the rate."""
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
        """The Amaranth platform: for open tools, or for the vendor's.

        Raises ImportError without Amaranth or its boards.
        """
        board = pkgutil.resolve_name(self.platform)
        return (board if vendor else find_family(self.family).platform(board))()
