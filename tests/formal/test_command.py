"""Records of the board's stream never mix."""

from amaranth.hdl import Module, Mux, Signal

from relaxon_hdl.command import CommandUnit, Kind, RecordWriter
from relaxon_isa.link import Record
from relaxon_isa.presets import preset
from support.formal import Assert, Assume, Harness, prove


class Records(Harness):
    """The board's stream is a sequence of whole records: each either an EMIT, byte by byte as the
    core gives it, or a DATA, DONE or ERROR made here, with as many bytes as its length says.

    Assumed of the core: EMIT bytes come in whole records, one is within a record only while
    ``emitting``, when a program runs and is not stalled in WAIT, or while its last bytes are still
    offered; what is offered stays until it is taken; ``done`` comes in a run's last cycle. Of the
    command unit: ``length``, ``kind`` and ``early`` stay while a record is wanted and written; it
    offers that many bytes, and ``end`` with or behind the last; a program begins only where RUN
    may.
    """

    def properties(self, m: Module) -> None:
        dut = self.dut
        emit, body, o = dut.emit, dut.body, dut.o
        state = self.look("record_state", 3)
        kind, dropping = self.look("kind", 2), self.look("dropping")
        PASS, TAG, LOW, HIGH, BODY = range(5)

        # The core: a record's bytes, header included, that are still to come.
        left, more = Signal(17), self.choice(17)
        offered, byte = Signal(), Signal(8)
        m.d.sync += [offered.eq(emit.valid & ~emit.ready), byte.eq(emit.payload)]
        m.d.comb += Assume(~offered | (emit.valid & (emit.payload == byte)))
        ran, waited, was_done = Signal(), Signal(), Signal()
        could_begin, answering = Signal(), Signal()
        m.d.sync += [
            ran.eq(dut.running),
            waited.eq(dut.waiting),
            was_done.eq(dut.done),
            could_begin.eq(dut.idle & dut.passing & ~dut.wanted),
        ]
        m.d.comb += answering.eq((state != PASS) & (kind != Kind.DONE))
        with m.If(emit.valid & emit.ready):
            m.d.sync += left.eq(Mux(left == 0, more, left - 1))
        with m.If(dropping & self.choice()):  # an abort cuts a record short
            m.d.sync += left.eq(0)
        m.d.comb += [
            Assume((left != 0) | ~emit.valid | (emit.payload == Record.EMIT)),
            Assume((left != 0) | (more >= 2)),
            # Between records, unless in an EMIT; what is left of one is offered without a gap.
            Assume(~emit.valid | (left != 0) | dut.emitting),
            Assume((left == 0) | dut.emitting | emit.valid),
            Assume(~dut.emitting | (dut.running & ~dut.waiting)),
            Assume(~dut.waiting | dut.running),
            # A program begins only where `CommandUnit` lets it, and goes on only with its bytes.
            Assume(ran | ~dut.running | could_begin),
            Assume(~(answering & waited) | dut.waiting | dut.early),
            Assume(~dut.done | (dut.running & ~dut.waiting)),
            Assume(~was_done | ~dut.running),
        ]

        # The command unit.
        wanted, asked, size, early = Signal(), Signal(2), Signal(16), Signal()
        m.d.sync += [
            wanted.eq(dut.wanted & ~dut.granted),
            asked.eq(dut.kind),
            size.eq(dut.length),
            early.eq(dut.early),
        ]
        writing = answering
        m.d.comb += [
            Assume(~wanted | (dut.wanted & (dut.kind == asked))),
            Assume(~(wanted | writing) | ((dut.length == size) & (dut.early == early))),
            Assume(~dut.wanted | (dut.kind == Kind.DATA) | (dut.kind == Kind.ERROR)),
            Assume(~dut.wanted | ~writing),
        ]
        given = Signal(16)
        whole = Mux(kind == Kind.ERROR, 1, dut.length)
        takes = body.valid & body.ready
        with m.If(state != BODY):
            m.d.sync += given.eq(0)
        with m.Elif(takes):
            m.d.sync += given.eq(given + 1)
        m.d.comb += [
            Assume(~body.valid | (given < whole)),
            Assume(~dut.end | ((given + takes)[:16] == whole)),
        ]

        # The stream.
        from_core = state == PASS
        m.d.comb += [
            Assert(state <= BODY),
            # Nothing of one's own within a record of the core's.
            Assert(from_core | (left == 0) | dropping),
            Assert(from_core | ~emit.ready),
            Assert(from_core | ~dut.running | (answering & (dut.waiting | dut.early))),
            Assert(~self.look("due") | ~dut.running),
            Assert(~self.look("due") | ~dropping),
            # Of an aborted program nothing more is heard.
            Assert(~dropping | ((state == PASS) & ~o.valid)),
        ]
        with m.If(o.valid), m.Switch(state):
            with m.Case(PASS):
                m.d.comb += Assert((o.payload == emit.payload) & (emit.ready == o.ready))
            with m.Case(TAG):
                m.d.comb += Assert(
                    o.payload
                    == Mux(
                        kind == Kind.DATA,
                        Record.DATA,
                        Mux(kind == Kind.DONE, Record.DONE, Record.ERROR),
                    )
                )
            with m.Case(LOW):
                m.d.comb += Assert(
                    o.payload
                    == Mux(kind == Kind.DATA, dut.length[:8], Mux(kind == Kind.ERROR, 1, 0))
                )
            with m.Case(HIGH):
                m.d.comb += Assert(o.payload == Mux(kind == Kind.DATA, dut.length[8:], 0))
            with m.Case(BODY):
                m.d.comb += Assert((kind != Kind.DONE) & (given < whole))
        # A record is left when all its bytes are out.
        was_body, was_whole = Signal(), Signal()
        m.d.sync += [
            was_body.eq(state == BODY),
            was_whole.eq((given + takes)[:16] == whole),
        ]
        m.d.comb += [
            Assert(~(was_body & (state == PASS)) | was_whole),
            Assert(given <= Mux(state == BODY, whole, Mux(was_body, given, 0))),
            Assert((state != BODY) | (kind != Kind.DONE)),
        ]


def test_records_never_mix():
    """By induction, for any core and commands that keep to this."""
    prove(Records(RecordWriter()), 3)


class Requests(Harness):
    """The core is asked for memory only while neither a byte of a sample nor a record is offered
    to it: whether a WAIT lacks one need not be told apart in the same cycle."""

    def properties(self, m: Module) -> None:
        core = self.dut.core
        m.d.comb += Assert(~core.memory.valid | ~(core.sample.valid | core.index.valid))


def test_memory_is_asked_for_between_samples():
    """Of any state of the command unit."""
    prove(Requests(CommandUnit(preset("fast4"), b"")), 1)
