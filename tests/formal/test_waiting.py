"""The host is not told that a program waits while a byte of its own is on its way."""

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from relaxon_hdl.command import CommandUnit
from relaxon_hdl.component import Component
from relaxon_hdl.link import LinkEngine
from relaxon_isa.presets import preset
from support.formal import Assert, Assume, Harness, prove

SIZE = 256
CONFIGS = {name: preset(name).replace(rx_bytes=SIZE, tx_bytes=SIZE) for name in ("up5k", "default")}


class LinkAndCommands(Component):
    """A link's engine and the command unit behind it. Line and core may do anything that has no
    member here, but for what `Core` makes of a stall in WAIT."""

    def __init__(self, config):
        self.engine, self.command = LinkEngine(config), CommandUnit(config, b"")
        self.short = config.pipeline == "short"
        inputs = ("comes", "lost", "ready", "running", "stalled", "takes", "emits", "done")
        super().__init__(
            {
                **{name: In(1) for name in (*inputs, "answers", "runs")},
                "line": In(8),
                "offered": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.engine, m.submodules.command = engine, command = self.engine, self.command
        core = command.core
        wiring.connect(m, engine.port, command.link)
        waiting = self.stalled
        if not self.short:
            late = Signal()
            m.d.sync += late.eq(self.stalled)
            waiting = late & ~core.sample.valid
        m.d.comb += [
            engine.line_in.valid.eq(self.comes),
            engine.line_in.payload.eq(self.line),
            engine.line_error.eq(self.lost),
            engine.line_out.ready.eq(self.ready),
            core.running.eq(self.running),
            core.waiting.eq(waiting),
            core.sample.ready.eq(self.takes),
            core.emit.valid.eq(self.emits),
            core.done.eq(self.done),
            core.memory.ready.eq(self.answers),
            core.run.ready.eq(self.runs),
            self.offered.eq(core.sample.valid),
        ]
        return m


class Told(Harness):
    """In the cycle in which a header's WAITING is read no byte that the header acknowledges is in
    the receive ring, in the command unit's buffer or offered to WAIT.

    Assumed: WAIT is not stalled in a cycle in which it takes a byte. (`test_link` proves that the
    ring holds less than what is 0 here.)
    """

    def __init__(self, name: str):
        super().__init__(LinkAndCommands(CONFIGS[name]))

    def properties(self, m: Module) -> None:
        dut = self.dut
        making, step = self.look("engine.sender.making_header"), self.look("engine.sender.step", 3)
        waiting = self.look("engine.sender.header", 8)[7]
        expected = self.look("engine.rx_ring.expected", 16)
        read_at, have = self.look("engine.rx_ring.read_at", 9), self.look("engine.rx_ring.have")
        told, held = Signal(), Signal(8)
        m.d.comb += [
            told.eq(making & (step == 0) & waiting),
            held.eq(expected + (2 * SIZE - 2) - read_at),
            Assume(~dut.stalled | ~(dut.takes & dut.offered)),
            Assert(~told | ((held == 0) & ~have)),
            Assert(~told | ~dut.offered),
        ]
        if not dut.short:
            m.d.comb += Assert(~told | ~self.look("command.host_buffer.o__valid"))


@pytest.mark.parametrize("name", CONFIGS)
def test_waiting_is_told_when_all_bytes_are_taken(name):
    """By induction, for any bytes of the line."""
    prove(Told(name), 6)
