"""RESET brings everything to its start. (The link's part of that is proved in `test_link`.)"""

from typing import Any, ClassVar

import pytest
from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib.wiring import In, Out

import relaxon_hdl.command
import relaxon_hdl.sequencer
from relaxon_hdl.command import CommandUnit
from relaxon_hdl.component import Component
from relaxon_hdl.nest import HEAD_ROWS
from relaxon_hdl.primitives import ram_members
from relaxon_hdl.sequencer import Sequencer
from relaxon_isa import Opcode, learn_latency, mac_latency, row_bits
from relaxon_isa.presets import preset
from support.formal import Assert, Assume, Harness, prove, registers

NESTS = (Opcode.MAC, Opcode.LEARN)
TRANSFERS = (Opcode.WAIT, Opcode.EMIT)
CONFIGS = {name: preset(name).replace(program_rows=64) for name in ("up5k", "default")}


class Twins(Component):
    """Two command units between the same link and core. ``new`` is held at its start until the
    first reset of ``used``; from then on (``same``) nothing tells them apart."""

    INPUTS = ("comes", "ready", "reset", "runs", "takes", "emits", "running", "waiting", "done",
              "answers")  # fmt: skip

    def __init__(self, config):
        self.used, self.new = CommandUnit(config, b"info"), CommandUnit(config, b"info")
        bytes_in = {"byte": In(8), "emit": In(8), "rdata": In(len(self.used.core.memory.rdata))}
        super().__init__({**dict.fromkeys(self.INPUTS, In(1)), **bytes_in, "same": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.used, m.submodules.new = self.used, self.new
        with m.If(self.reset):
            m.d.sync += self.same.eq(1)
        for unit, reset in ((self.used, self.reset), (self.new, self.reset | ~self.same)):
            link, core = unit.link, unit.core
            m.d.comb += [
                link.reset.eq(reset),
                link.from_host.valid.eq(self.comes),
                link.from_host.payload.eq(self.byte),
                link.to_host.ready.eq(self.ready),
                core.run.ready.eq(self.runs),
                core.sample.ready.eq(self.takes),
                core.emit.valid.eq(self.emits),
                core.emit.payload.eq(self.emit),
                core.running.eq(self.running),
                core.waiting.eq(self.waiting),
                core.done.eq(self.done),
                core.memory.ready.eq(self.answers),
                core.memory.rdata.eq(self.rdata),
            ]
        return m


class AnyText(Component):
    """In place of the identity's memory: whatever is read is any byte."""

    def __init__(self, byte: Signal, depth: int):
        self.byte = byte
        super().__init__({"addr": In((depth - 1).bit_length()), "data": Out(8)})

    def read_port(self):
        return self

    def build(self, m: Module) -> None:
        m.d.comb += self.data.eq(self.byte)


class Commands(Harness):
    """After RESET a command unit does what a new one does: all its registers are equal, and what
    it says to link and core is. The identity's bytes are the same for both."""

    COUNTS: ClassVar = {
        "host_buffer.payload": "host_buffer.o__valid",
        "host_buffer.spare": "host_buffer.full",
        # In the first state they take any byte, until one is valid.
        "arguments.code": "command_state",
        "arguments.field": "command_state",
    }
    """Registers whose value counts only while another is not 0."""
    LATE = frozenset({"element.last_beat_1", "check.match_1"})
    """What others were a cycle before: equal from a cycle after the reset on."""

    def __init__(self, name: str, monkeypatch):
        self.config = CONFIGS[name]
        byte = Signal(8, name="identity")
        monkeypatch.setattr(
            relaxon_hdl.command.memory, "Memory", lambda shape, depth, init: AnyText(byte, depth)
        )
        super().__init__(Twins(self.config), byte)

    def properties(self, m: Module) -> None:
        same, used, new = self.dut.same, self.dut.used, self.dut.new
        found = {path: len(signal) for path, signal in registers(CommandUnit(self.config, b""))}
        settled = Signal()
        m.d.sync += settled.eq(same)
        for path in found:
            mine, its = (self.look(f"{unit}.{path}", found[path]) for unit in ("used", "new"))
            counts = Const(1)
            if self.config.pipeline == "long" and path in self.COUNTS:
                counts = self.look(f"new.{self.COUNTS[path]}", found[self.COUNTS[path]]).any()
            since = settled if path in self.LATE else same
            m.d.comb += Assert(~since | ~counts | (mine == its))
        for name in ("memory.valid", "run.valid", "sample.valid", "emit.ready"):
            stream, _, member = name.partition(".")
            mine, its = (getattr(getattr(unit.core, stream), member) for unit in (used, new))
            m.d.comb += Assert(~same | (mine == its))
        mine, its = used.link, new.link
        m.d.comb += [
            Assert(~same | (mine.from_host.ready == its.from_host.ready)),
            Assert(~same | (mine.to_host.valid == its.to_host.valid)),
            Assert(~same | (mine.waiting == its.waiting)),
        ]


@pytest.mark.parametrize("name", CONFIGS)
def test_a_reset_command_unit_is_a_new_one(name, monkeypatch):
    """By induction, after any history, for any bytes and any core."""
    prove(Commands(name, monkeypatch), 3)


class AnyWords(Component):
    """In place of a memory: whatever is read is any word."""

    def __init__(self, word: Signal, depth: int):
        self.word = word
        super().__init__(ram_members(len(word), depth))

    def build(self, m: Module) -> None:
        m.d.comb += self.r_data.eq(self.word)


class Aborted(Harness):
    """After an abort nothing is taken, handed over or issued (but a tile in the next cycle), no
    HALT is met, and after as many cycles as the longest pipeline has, and one, no program runs. A
    program that starts finds no open loop and nothing that drains.

    Assumed: an instruction's first row is the same when it is read again, and has no more levels
    than the machine.
    """

    def __init__(self, name: str, monkeypatch):
        self.config = config = CONFIGS[name]
        self.latencies = mac_latency(config), learn_latency(config)
        self.word = word = Signal(row_bits(config), name="word")
        monkeypatch.setattr(
            relaxon_hdl.sequencer, "Ram", lambda width, depth, family: AnyWords(word, depth)
        )
        super().__init__(Sequencer(config), word)

    def properties(self, m: Module) -> None:
        dut, longest = self.dut, max(self.latencies)
        state = self.look("sequence_state", 3)
        decoder: Any = dict(registers(Sequencer(self.config)))["sequence_state"].decoder
        states = {str(decoder(code)).partition("/")[0]: code for code in range(6)}
        idle, fetch, ready, execute, abort = (
            states[name] for name in ("IDLE", "FETCH", "READY", "EXECUTE", "ABORT")
        )
        drain = self.look("drain", longest.bit_length())
        depth = self.look("loops.depth", self.config.loop_depth.bit_length())
        count = self.look("count", 3)
        is_nest, loaded, head = self.look("is_nest"), self.look("loaded"), Signal(3)
        with m.If((state == fetch) & (count == 1)):
            m.d.sync += head.eq(self.word)
        known = ((state == fetch) & (count > 1)) | (state == ready)
        levels, most = self.look("n_levels", 3), Signal(4)
        m.d.comb += most.eq(Mux(count <= HEAD_ROWS, HEAD_ROWS, levels + HEAD_ROWS))
        transfers, nests = (any_of(head, *kinds) for kinds in (TRANSFERS, NESTS))
        m.d.comb += [
            Assume((state != ready) | (self.word[: len(head)] == head)),
            Assume(levels <= self.config.levels),
            Assert((state != fetch) | (count <= most)),
            Assert(~known | (is_nest == nests)),
            Assert(~(known & loaded) | (dut.row[: len(head)] == head)),
            Assert((state != execute) | (dut.row[: len(head)] == head)),
            Assert(~(dut.wait_run | dut.emit_run) | transfers),
            Assert((state != fetch) | (drain == 0) | any_of(drain + count, *self.latencies)),
        ]
        if self.config.pipeline == "long":
            comes = self.look("is_wait") | self.look("is_emit")
            m.d.comb += Assert(~known | (comes == transfers))
        aborted, started = Signal(), Signal()
        since = Signal(range(longest + 2))
        m.d.sync += [
            aborted.eq(dut.abort & dut.running & (state != abort)),
            started.eq(dut.start),
            since.eq(Mux(state == abort, since + 1, 0)),
        ]
        moves = dut.wait_run | dut.emit_run
        m.d.comb += [
            Assert(state < len(states)),
            Assert(dut.running == (state != idle)),
            Assert(~aborted | (state == abort)),
            Assert((state != abort) | ~(moves | dut.done | dut.start)),
            # The tile that was decided on in the cycle of the abort is the last.
            Assert((state != abort) | aborted | ~dut.issue.valid),
            Assert((state != idle) | ~(dut.issue.valid | moves | dut.done)),
            # Each cycle drains, so this ends.
            Assert((state != abort) | (since + drain == longest)),
            Assert(~started | (state == fetch)),
            Assert(~started | ((depth == 0) & (drain == 0) & (count == 0))),
            # What makes it inductive.
            Assert(drain <= longest),
            Assert(~moves | (state == execute)),
            Assert((drain == 0) | any_of(state, fetch, ready, abort)),
        ]


def any_of(state: Value, *values: int) -> Value:
    """Whether it is one of some values."""
    return Cat(state == value for value in values).any()


@pytest.mark.parametrize("name", CONFIGS)
def test_an_aborted_program_ends_and_leaves_nothing(name, monkeypatch):
    """By induction, for any program, in any state of it."""
    prove(Aborted(name, monkeypatch), 3)
