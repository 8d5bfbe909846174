"""The SDRAM controller on the pins of each board that has such a chip."""

import pytest
from amaranth.hdl import ClockDomain, ClockSignal, Elaboratable, Module
from amaranth.lib import io

from relaxon_boards.catalogue import BOARDS
from relaxon_boards.top import sdram_pins
from relaxon_hdl.memory.sdram import Sdram, Timing

NAMES = [name for name, board in BOARDS.items() if board.sdram]


class OnPins(Elaboratable):
    """The controller alone, which reads without end."""

    def __init__(self, clock_hz: float):
        self.clock_hz = clock_hz

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = ClockDomain(reset_less=True)
        clock = platform.request(platform.default_clk, 0, dir="-")
        m.submodules.clock = buffer = io.Buffer(io.Direction.Input, clock)
        m.submodules.sdram = sdram = Sdram(sdram_pins(platform), Timing.at(self.clock_hz))
        m.d.comb += [ClockSignal().eq(buffer.i), sdram.request.valid.eq(1)]
        return m


def test_boards_with_a_chip():
    assert NAMES == ["ulx3s-85f", "ulx3s-25f", "ulx3s-12f", "icepi-zero", "icesugar-pro"]


@pytest.mark.parametrize("name", NAMES)
def test_every_pin_has_its_register(name):
    board = BOARDS[name]
    files = board.make_platform().prepare(OnPins(board.clock_hz)).files
    text, constraints = files["top.il"], files["top.lpf"]
    cells = {
        kind: sum(f"cell \\{kind} " in line for line in text.splitlines())
        for kind in ("IDDRX1F", "ODDRX1F", "OFS1P3DX", "OBZ", "BB")
    }
    controls = 13 + 2 + 2 + 3 + 2
    # Each output of amaranth's buffers has an enable's register, too.
    assert cells == {
        "IDDRX1F": 16,
        "ODDRX1F": 17,
        "OFS1P3DX": 2 * controls + 17,
        "OBZ": controls + 1,
        "BB": 16,
    }
    assert constraints.count("LOCATE COMP") >= controls + 17
