"""The SDRAM controller on the pins of each board that has such a chip."""

from dataclasses import replace

import pytest
from amaranth.hdl import ClockDomain, ClockSignal, Elaboratable, Module
from amaranth.lib import io

from relaxon_boards.catalogue import BOARDS
from relaxon_boards.top import BoardTop, sdram_pins
from relaxon_hdl.memory.sdram import Sdram, Timing
from relaxon_hdl.tools.find import find_tool
from relaxon_hdl.tools.run import run_tool
from relaxon_isa import ConfigError, preset

NAMES = [name for name, board in BOARDS.items() if board.sdram]
# The domain is the board's clock's, two levels down; a later Amaranth will want it defined above.
pytestmark = pytest.mark.filterwarnings("ignore:Domain 'sync' is used:DeprecationWarning")

SMALL = preset("fast4").replace(p=2)
CONTROLS = 13 + 2 + 2 + 3 + 2


def prepared(design, board):
    """Netlist and constraints on the board's pins, with the cells that hold the chip's."""
    files = board.make_platform().prepare(design).files
    text, constraints = files["top.il"], files["top.lpf"]
    cells = {
        kind: sum(f"cell \\{kind} " in line for line in text.splitlines())
        for kind in ("IDDRX1F", "ODDRX1F", "OFS1P3DX", "OBZ", "BB")
    }
    # Each output of amaranth's buffers has an enable's register, too.
    assert cells == {
        "IDDRX1F": 16,
        "ODDRX1F": 17,
        "OFS1P3DX": 2 * CONTROLS + 17,
        "OBZ": CONTROLS + 1 + isinstance(design, BoardTop),  # the UART's
        "BB": 16,
    }
    assert constraints.count("LOCATE COMP") >= CONTROLS + 17
    return text


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
    prepared(OnPins(BOARDS[name].clock_hz), BOARDS[name])


@pytest.mark.parametrize("name", NAMES)
def test_a_machine_with_a_sample_memory_has_its_chip_on_every_such_board(name):
    board = replace(BOARDS[name], machine=SMALL, preset="fast4")
    text = prepared(BoardTop(board), board)
    assert "module \\top.sdram.controller" in text


@pytest.mark.long
def test_it_is_synthesised(tmp_path):
    """What moves the chip's data is there after synthesis: 16 pins in, 16 and the clock out."""
    board = replace(BOARDS["icesugar-pro"], machine=SMALL, preset="fast4")
    (tmp_path / "top.il").write_text(prepared(BoardTop(board), board))
    script = "read_rtlil top.il; synth_ecp5 -top top; tee -o cells.txt stat"
    run_tool([find_tool("yosys"), "-q", "-p", script], "yosys", directory=tmp_path)
    lines = (line.split() for line in (tmp_path / "cells.txt").read_text().splitlines())
    found = {words[0]: words[1] for words in lines if len(words) == 2}
    found |= {words[1]: words[0] for words in found.items()}
    assert (found["IDDRX1F"], found["ODDRX1F"]) == ("16", "17")


def test_a_board_without_a_chip_refuses():
    message = "ecp5-85f-memory has a sample memory, .* ecpix5-85f has none"
    with pytest.raises(ConfigError, match=message):
        replace(BOARDS["ecpix5-85f"], machine=preset("ecp5-85f-memory"), preset="ecp5-85f-memory")
    assert replace(BOARDS["ulx3s-85f"], preset="ecp5-85f-memory").config.sample_memory
