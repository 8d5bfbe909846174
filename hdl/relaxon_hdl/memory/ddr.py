"""Pins with an edge at each half of a cycle, in simulation too."""

from typing import Any

from amaranth.hdl import ClockDomain, ClockSignal, Module, Mux, Signal
from amaranth.lib import io

__all__ = ["OUTPUT_STAGES", "ddr_buffer"]

OUTPUT_STAGES = 2
"""Cycles that ECP5's output takes longer than `amaranth.lib.io.FFBuffer`'s, its enable included."""


class _SimulatedDDRBuffer(io.DDRBuffer):
    """`amaranth.lib.io.DDRBuffer` as its documentation draws it, for ports of a simulation.

    ``i[0]`` was at the pad at a cycle's beginning, ``i[1]`` in its middle, both last cycle. Outputs
    have the latency of ECP5's.
    """

    def elaborate(self, platform):
        m = Module()
        ends: Any = self
        port: Any = self.port
        if self.direction is not io.Direction.Output:
            m.domains.falling = ClockDomain(clk_edge="neg", reset_less=True, local=True)
            m.d.comb += ClockSignal("falling").eq(ClockSignal())
            early = Signal(len(port))
            late = Signal(len(port))
            m.d.falling += late.eq(port.i)
            m.d.sync += [early.eq(port.i), ends.i[0].eq(early), ends.i[1].eq(late)]
        if self.direction is not io.Direction.Input:
            o, oe = ends.o, ends.oe
            for stage in range(OUTPUT_STAGES + 1):
                o_next = Signal.like(ends.o, name=f"o_{stage}")
                oe_next = Signal(name=f"oe_{stage}")
                m.d.sync += [o_next.eq(o), oe_next.eq(oe)]
                o, oe = o_next, oe_next
            m.d.comb += [
                port.o.eq(Mux(ClockSignal(), o[0], o[1])),
                port.oe.eq(oe.replicate(len(port))),
            ]
        return m


def ddr_buffer(direction: io.Direction, port: Any, platform: Any) -> Any:
    """A `amaranth.lib.io.DDRBuffer`, which needs no platform if the port is a simulation's."""
    buffer = _SimulatedDDRBuffer if platform is None else io.DDRBuffer
    return buffer(direction, port)
