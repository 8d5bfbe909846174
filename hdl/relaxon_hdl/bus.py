"""The seam between the command unit and the core: memory access, run requests, byte streams."""

from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from relaxon_isa.config import ArrayConfig
from relaxon_isa.memory import Space, element_bytes

__all__ = ["CoreSignature", "MemorySignature", "RunRequest", "element_bits"]


def element_bits(config: ArrayConfig) -> int:
    """Width of the widest element of any space, in whole bytes."""
    return 8 * max(element_bytes(config, space) for space in Space)


class MemorySignature(wiring.Signature):
    """One element a request, seen from the command unit.

    The requester holds ``valid`` and the request until ``ready``; ``ready`` is high for one cycle
    a request, with ``rdata`` (sign-extended) if it was a read. While a program runs and is not
    stalled in WAIT, no request is answered.
    """

    def __init__(self, config: ArrayConfig):
        super().__init__(
            {
                "valid": Out(1),
                "write": Out(1),
                "space": Out(3),
                "index": Out(16),
                "lane": Out(config.lane_bits),
                "wdata": Out(element_bits(config)),
                "ready": In(1),
                "rdata": In(element_bits(config)),
            }
        )


class RunRequest(data.Struct):
    row: 16
    count: 1
    """Whether counters count during this run."""


class CoreSignature(wiring.Signature):
    """Everything the command unit sees of the core (seen from the command unit)."""

    def __init__(self, config: ArrayConfig):
        super().__init__(
            {
                "memory": Out(MemorySignature(config)),
                # Accepted while no program runs.
                "run": Out(stream.Signature(RunRequest)),
                # Bytes of SAMPLE commands, for WAIT.
                "sample": Out(stream.Signature(8)),
                # Whole EMIT records, tag and length included.
                "emit": In(stream.Signature(8)),
                # One cycle: stop issuing, let the pipeline drain, close all loops.
                "abort": Out(1),
                "running": In(1),
                # Running, and stalled in WAIT for a byte.
                "waiting": In(1),
                # One cycle: the program met HALT and everything it wrote is in memory. Bytes
                # of its EMITs may still be offered.
                "done": In(1),
                # Pulses counted by the core's LINK_ERRORS and LINK_DROPS registers.
                "link_error": Out(1),
                "link_drop": Out(1),
            }
        )
