"""The machine on a board's pins."""

from amaranth.hdl import Elaboratable, Module
from amaranth.lib import io, wiring

from relaxon_hdl.memory.sdram import Sdram, Timing
from relaxon_hdl.top import Top

from .board import Board
from .clocks import Clock

__all__ = ["BoardTop", "sdram_pins"]

SDRAM_PINS = ("clk", "clk_en", "cs", "ras", "cas", "we", "ba", "a", "dq", "dqm")


def sdram_pins(platform):
    """The pins that `relaxon_hdl.memory.sdram.Sdram` takes, without buffers."""
    return platform.request("sdram", 0, dir=dict.fromkeys(SDRAM_PINS, "-"))


class BoardTop(Elaboratable):
    """Clock, UART pins and `Top`.

    ``baud`` replaces the board's default; ``build`` is the name the machine gives its build, at
    most 31 bytes.
    """

    def __init__(self, board: Board, *, baud: int | None = None, build: str = ""):
        self.board = board
        self.top = Top(
            board.config,
            divisor=board.divisor(baud),
            clock_hz=board.clock_hz,
            build=build,
            family=board.primitives,
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.clock = Clock(self.board)
        m.submodules.top = top = self.top
        uart = platform.request("uart", 0, dir="-")
        m.submodules.rx = rx = io.Buffer(io.Direction.Input, uart.rx)
        m.submodules.tx = tx = io.Buffer(io.Direction.Output, uart.tx)
        m.d.comb += [top.rx.eq(rx.i), tx.o.eq(top.tx)]
        if self.board.config.sample_memory:
            chip = top.chip
            m.submodules.sdram = sdram = Sdram(sdram_pins(platform), Timing.at(self.board.clock_hz))
            wiring.connect(m, chip.request, sdram.request)
            wiring.connect(m, chip.i, sdram.i)
            m.d.comb += [
                sdram.phase.eq(chip.phase),
                chip.alive.eq(sdram.alive),
                chip.word.valid.eq(sdram.o.valid),
                chip.word.payload.eq(sdram.o.payload),
            ]
        return m
