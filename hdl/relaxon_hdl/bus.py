"""The seam between the command unit and the core: memory access, run requests, byte streams."""

from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

from relaxon_isa import INDEX_BYTES, ArrayConfig, Space, element_bytes

__all__ = [
    "RECORD_INDEX_BITS",
    "RUN_REQUEST",
    "TASK",
    "CoreSignature",
    "MemorySignature",
    "Task",
    "element_bits",
]

RUN_REQUEST = data.StructLayout({"row": 16, "count": 1})
"""First row of the program; whether counters count during this run."""


RECORD_INDEX_BITS = 8 * INDEX_BYTES


class Task(enum.IntEnum, shape=2):
    """What the host asks of the sample memory."""

    STORE = 0
    CHECK = 1
    RECALL = 2


TASK = data.StructLayout({"kind": Task, "address": 32, "length": 32})
"""Addresses and lengths in bytes."""


def element_bits(config: ArrayConfig) -> int:
    """Width of the widest element of any space, in whole bytes."""
    return 8 * max(element_bytes(config, space) for space in Space)


class MemorySignature(wiring.Signature):
    """One element per request, seen from the command unit.

    The requester holds ``valid`` and the request until ``ready``, which is high for one cycle per
    request; if it was a read, ``rdata`` then is the element, sign-extended. While a program runs
    and is not stalled in WAIT, no request is answered; but, with a sample buffer, one that is
    ``early``, a read of a counter.
    """

    def __init__(self, config: ArrayConfig):
        super().__init__(
            {
                **({"early": Out(1)} if config.sample_buffer else {}),
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


class CoreSignature(wiring.Signature):
    """All that the command unit sees of the core, seen from the command unit.

    Members
    -------
    memory : Out(MemorySignature)
        The host's reads and writes.
    run : Out(stream of RUN_REQUEST)
        Accepted while no program runs.
    sample : Out(stream of 8 bits)
        Bytes of SAMPLE commands, for WAIT.
    emit : In(stream of 8 bits)
        Whole EMIT records, tag and length included.
    abort : Out(1)
        One cycle: issue nothing more, let the pipeline drain, close all loops.
    running, waiting : In(1)
        A program runs; it is stalled in WAIT for a byte.
    emitting : In(1)
        With a sample buffer: an EMIT is executed. Once it is not, and none of its bytes is offered,
        its record is whole.
    done : In(1)
        One cycle: the program met HALT and everything it wrote is in memory. Bytes of its EMITs
        may still be offered.
    link_error, link_drop : Out(1)
        Pulses that the registers LINK_ERRORS and LINK_DROPS count.
    task : Out(stream of `TASK`), store : Out(stream of 8 bits), answer : In(stream of 8 bits)
        With a sample memory: a task, while no program runs or it is stalled in WAIT; a STORE's
        bytes; a RECALL's, or a CHECK's CRC-32.
    index : Out(stream of 24 bits), refuses : In(1)
        Records for WAITs that are ahead; one that is not is stalled.
    """

    def __init__(self, config: ArrayConfig):
        memory = {
            "task": Out(stream.Signature(TASK)),
            "store": Out(stream.Signature(8)),
            "answer": In(stream.Signature(8)),
            "index": Out(stream.Signature(RECORD_INDEX_BITS)),
            "refuses": In(1),
        }
        super().__init__(
            {
                **(memory if config.sample_memory else {}),
                "memory": Out(MemorySignature(config)),
                "run": Out(stream.Signature(RUN_REQUEST)),
                "sample": Out(stream.Signature(8)),
                "emit": In(stream.Signature(8)),
                "abort": Out(1),
                "running": In(1),
                **({"emitting": In(1)} if config.sample_buffer else {}),
                "waiting": In(1),
                "done": In(1),
                "link_error": Out(1),
                "link_drop": Out(1),
            }
        )
