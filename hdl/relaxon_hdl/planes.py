"""The memories of a lane: the state bank (its slice of S) and the drive bank (its slice of D)."""

from amaranth.hdl import Module
from amaranth.lib.wiring import In, Out

from relaxon_isa import ArrayConfig

from .primitives import Ram
from .schedule import Schedule, Scheduled

__all__ = ["DriveBank", "StateBank"]


class StateBank(Scheduled):
    """A lane's words of S, kept as two copies that are written together.

    Latency: `Schedule.read`. Throughput: two reads and a write per cycle.

    Parameters
    ----------
    config
        The machine.
    family
        FPGA family whose primitives to instantiate; None for the portable ones.

    Members
    -------
    a_addr, b_addr : In, a_data, b_data : Out
        Two independent reads.
    w_addr : In, w_data : In, w_en : In(1)
        The write. What a read finds of the same word in the same cycle is undefined.
    """

    def __init__(self, config: ArrayConfig, family: str | None = None):
        size = config.state_bits, config.state_depth
        latency = Schedule(config).read
        self.copies = {port: Ram(*size, family, latency=latency) for port in "ab"}
        address, word = config.state_addr_bits, config.state_bits
        super().__init__(
            config,
            {
                "a_addr": In(address),
                "a_data": Out(word),
                "b_addr": In(address),
                "b_data": Out(word),
                "w_addr": In(address),
                "w_data": In(word),
                "w_en": In(1),
            },
        )

    def build(self, m: Module) -> None:
        for port, copy in self.copies.items():
            m.submodules[port] = copy
            m.d.comb += [
                copy.r_addr.eq(getattr(self, f"{port}_addr")),
                getattr(self, f"{port}_data").eq(copy.r_data),
                copy.w_addr.eq(self.w_addr),
                copy.w_data.eq(self.w_data),
                copy.w_en.eq(self.w_en),
            ]


class DriveBank(Ram):
    """A lane's words of D: a `Ram`.

    Latency: `Schedule.read`. Throughput: a read and a write per cycle.

    Parameters
    ----------
    config
        The machine.
    family
        FPGA family whose primitives to instantiate; None for the portable ones.
    """

    def __init__(self, config: ArrayConfig, family: str | None = None):
        latency = Schedule(config).read
        super().__init__(config.acc_bits, config.drive_depth, family, latency=latency)
