"""The array's clock: crystal, PLL, and a gate that opens when all is steady.

A gate instead of a reset: flip-flops hold their initial values until the clock starts, and no
register pays for a reset line.
"""

from amaranth.hdl import ClockDomain, ClockSignal, Elaboratable, Module, ResetSignal, Signal
from amaranth.lib import io

from relaxon_hdl.families import find_family

from .board import Board

__all__ = ["Clock"]

GATE_BITS = 8
"""The gate opens 2**GATE_BITS cycles after lock: 10 us at 24 MHz. (Block RAMs of an iCE40 read as
0 for 3 us after configuration.)"""


class Clock(Elaboratable):
    """Domain ``sync`` of a board."""

    def __init__(self, board: Board):
        self.board = board

    def elaborate(self, platform):
        m = Module()
        pll, family = self.board.pll, find_family(self.board.family)
        pin = platform.request(platform.default_clk, dir="-")
        raw, locked = Signal(), Signal()
        source = raw  # of the gate
        if pll and pll.pad:
            crystal = pin.io
        else:
            m.submodules.buffer = buffer = io.Buffer(io.Direction.Input, pin)
            crystal = buffer.i
        if pll:
            source = family.pll(m, pll, self.board.crystal_hz, crystal, raw, locked)
        else:
            m.d.comb += [raw.eq(crystal), locked.eq(1)]

        clk = Signal()
        m.domains.sync = ClockDomain(reset_less=True)
        m.d.comb += ClockSignal().eq(clk)
        if not family.gate_cell:
            m.d.comb += clk.eq(source)
            return m
        m.domains.raw = ClockDomain(local=True, async_reset=True)
        m.d.comb += [ClockSignal("raw").eq(raw), ResetSignal("raw").eq(~locked)]
        # Ends with its highest bit set, where it stays.
        count = Signal(GATE_BITS + 1)
        with m.If(~count[-1]):
            m.d.raw += count.eq(count + 1)
        family.gate(m, raw, source, count[-1], clk)
        return m
