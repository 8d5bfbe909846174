"""Why the engine returns."""

from enum import IntEnum

__all__ = ["Status"]


class Status(IntEnum):
    """What a run needs, or why it ends."""

    HALTED = 0
    STARVED = 1
    """A WAIT lacks bytes."""
    FULL = 2
    """An EMIT lacks room."""
    PAUSED = 3
    """The work asked for is done."""
    DECODE = 4
    """The next row has not been decoded."""
    ADDRESS = 5
    """A memory lacks an address."""
    DEPTH = 6
    """Too many open LOOPs."""
    UNOPENED = 7
    """A NEXT without a LOOP."""
