"""The array's clock: crystal, PLL, and a gate that opens when all is steady.

A gate instead of a reset: flip-flops hold their initial values until the clock starts, and no
register pays for a reset line.
"""

from amaranth.hdl import (
    ClockDomain,
    ClockSignal,
    Const,
    Elaboratable,
    Instance,
    Module,
    ResetSignal,
    Signal,
)
from amaranth.lib import io

from .board import Board, Pll

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
        board = self.board
        pin = platform.request(platform.default_clk, dir="-")
        raw, locked = Signal(), Signal()
        source = raw  # of the gate
        if board.pll is None:
            m.submodules.buffer = buffer = io.Buffer(io.Direction.Input, pin)
            m.d.comb += [raw.eq(buffer.i), locked.eq(1)]
        elif board.family == "ice40":
            ice40_pll(m, board.pll, board.crystal_hz, pin, raw, locked)
        else:
            m.submodules.buffer = buffer = io.Buffer(io.Direction.Input, pin)
            if board.family == "ecp5":
                # A DCCA cannot be fed from a global net, which ``raw`` is.
                source = Signal()
                ecp5_pll(m, board.pll, buffer.i, raw, source, locked)
            else:
                xilinx_pll(m, board.pll, board.crystal_hz, buffer.i, raw, locked)

        clk = Signal()
        m.domains.sync = ClockDomain(reset_less=True)
        m.d.comb += ClockSignal().eq(clk)
        gate(m, board.family, raw, source, locked, clk)
        return m


def gate(m: Module, family: str, raw: Signal, source: Signal, locked: Signal, clk: Signal) -> None:
    """``clk`` is ``source`` once ``locked`` has been high for a while, which ``raw`` measures: the
    same clock, or another output of the same PLL in phase with it."""
    if family == "gowin":  # the crystal: steady since long
        m.d.comb += clk.eq(source)
        return
    m.domains.raw = ClockDomain(local=True, async_reset=True)
    m.d.comb += [ClockSignal("raw").eq(raw), ResetSignal("raw").eq(~locked)]
    # Ends with its highest bit set, where it stays.
    count = Signal(GATE_BITS + 1)
    with m.If(~count[-1]):
        m.d.raw += count.eq(count + 1)
    if family == "ecp5":
        m.submodules.gate = Instance("DCCA", i_CLKI=source, i_CE=count[-1], o_CLKO=clk)
        return
    if family == "xilinx":
        m.submodules.gate = Instance("BUFGCE", i_I=source, i_CE=count[-1], o_O=clk)
        return
    # Opened while ``raw`` is low, so that the first pulse is a whole one.
    m.domains.low = ClockDomain(local=True, clk_edge="neg", reset_less=True)
    is_open = Signal()
    m.d.comb += ClockSignal("low").eq(raw)
    m.d.low += is_open.eq(count[-1])
    m.submodules.gate = Instance(
        "SB_GB", i_USER_SIGNAL_TO_GLOBAL_BUFFER=source & is_open, o_GLOBAL_BUFFER_OUTPUT=clk
    )


def ice40_pll(m: Module, pll: Pll, crystal_hz: int, pin, raw: Signal, locked: Signal) -> None:
    options = {
        "p_FEEDBACK_PATH": "SIMPLE",
        "p_DIVR": Const(pll.ref - 1, 4),
        "p_DIVF": Const(pll.feedback - 1, 7),
        "p_DIVQ": Const(pll.out.bit_length() - 1, 3),
        "p_FILTER_RANGE": Const(1, 3),  # 10 to 20 MHz at the phase detector
        "i_RESETB": Const(1),
        "i_BYPASS": Const(0),
        "o_LOCK": locked,
    }
    assert 10e6 <= crystal_hz / pll.ref < 20e6 and 533e6 <= crystal_hz * pll.feedback <= 1066e6
    if pll.pad:
        m.submodules.pll = Instance(
            "SB_PLL40_PAD", **options, i_PACKAGEPIN=pin.io, o_PLLOUTGLOBAL=raw
        )
    else:
        m.submodules.buffer = buffer = io.Buffer(io.Direction.Input, pin)
        m.submodules.pll = Instance(
            "SB_PLL40_CORE", **options, i_REFERENCECLK=buffer.i, o_PLLOUTGLOBAL=raw
        )


def ecp5_pll(
    m: Module, pll: Pll, crystal: Signal, raw: Signal, source: Signal, locked: Signal
) -> None:
    m.submodules.pll = Instance(
        "EHXPLLL",
        a_ICP_CURRENT="12",
        a_LPF_RESISTOR="8",
        a_MFG_ENABLE_FILTEROPAMP="1",
        a_MFG_GMCREF_SEL="2",
        p_PLLRST_ENA="DISABLED",
        p_INTFB_WAKE="DISABLED",
        p_STDBY_ENABLE="DISABLED",
        p_DPHASE_SOURCE="DISABLED",
        p_OUTDIVIDER_MUXA="DIVA",
        p_OUTDIVIDER_MUXB="DIVB",
        p_OUTDIVIDER_MUXC="DIVC",
        p_OUTDIVIDER_MUXD="DIVD",
        p_CLKI_DIV=pll.ref,
        p_CLKFB_DIV=pll.feedback,
        p_FEEDBK_PATH="CLKOP",
        p_CLKOP_ENABLE="ENABLED",
        p_CLKOP_DIV=pll.out,
        p_CLKOP_CPHASE=pll.out - 1,
        p_CLKOP_FPHASE=0,
        p_CLKOS_ENABLE="ENABLED",
        p_CLKOS_DIV=pll.out,
        p_CLKOS_CPHASE=pll.out - 1,
        p_CLKOS_FPHASE=0,
        i_RST=Const(0),
        i_STDBY=Const(0),
        i_CLKI=crystal,
        i_CLKFB=raw,
        i_PHASESEL0=Const(0),
        i_PHASESEL1=Const(0),
        i_PHASEDIR=Const(1),
        i_PHASESTEP=Const(1),
        i_PHASELOADREG=Const(1),
        i_PLLWAKESYNC=Const(0),
        i_ENCLKOP=Const(0),
        i_ENCLKOS=Const(0),
        o_CLKOP=raw,
        o_CLKOS=source,
        o_LOCK=locked,
    )


def xilinx_pll(
    m: Module, pll: Pll, crystal_hz: int, crystal: Signal, raw: Signal, locked: Signal
) -> None:
    feedback = Signal()
    m.submodules.pll = Instance(
        "PLLE2_BASE",
        p_CLKIN1_PERIOD=1e9 / crystal_hz,
        p_DIVCLK_DIVIDE=pll.ref,
        p_CLKFBOUT_MULT=pll.feedback,
        p_CLKOUT0_DIVIDE=pll.out,
        i_CLKIN1=crystal,
        i_CLKFBIN=feedback,
        i_RST=Const(0),
        i_PWRDWN=Const(0),
        o_CLKFBOUT=feedback,
        o_CLKOUT0=raw,
        o_LOCKED=locked,
    )
