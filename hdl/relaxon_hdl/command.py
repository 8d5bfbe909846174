"""The command unit: from the host's stream to the core, and from the core to the board's stream."""

from amaranth.hdl import Cat, Const, Module, Mux, ResetInserter, Signal
from amaranth.lib import enum, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from relaxon_isa.config import ArrayConfig
from relaxon_isa.link import BoardError, Command, Record
from relaxon_isa.memory import INFO_BYTES, Register, Space, element_bytes

from .bus import CoreSignature, element_bits
from .primitives import delay
from .schedule import Schedule

__all__ = ["CommandUnit"]

LANED = (Space.STATE, Space.DRIVE)
"""Spaces whose elements have a lane; the others step the index only."""


class Field(enum.IntEnum, shape=3):
    """The arguments of a command, in their order on the wire. WRITE and READ have all of them,
    RUN has a row and flags in place of three, SAMPLE a length in place of the last two."""

    SPACE = 0
    INDEX_LOW = 1
    INDEX_HIGH = 2
    LANE = 3
    COUNT_LOW = 4
    COUNT_HIGH = 5


class Kind(enum.IntEnum, shape=2):
    """Records made here; EMIT records come whole from the core."""

    DATA = 0
    DONE = 1
    ERROR = 2


def index_bits(config: ArrayConfig) -> int:
    """Bits that any index (group, row, entry, byte of the identity) needs."""
    return max(
        bits.bit_length()
        for bits in (
            config.state_depth - 1,
            config.drive_depth - 1,
            config.program_rows - 1,
            (1 << config.table_bits) - 1,
            max(Register),
            INFO_BYTES - 1,
        )
    )


class CommandUnit(wiring.Component):
    """Executes commands strictly in order, and puts records together.

    One element at a time goes through a shift register: a WRITE fills it byte by byte and hands it
    to the core, a READ has the core fill it and empties it. Indices beyond what any space needs
    wrap. The identity text is answered from here and cannot be written; spaces 6 and 7 are it too.

    Records never mix: EMIT bytes pass as they come; a record made here starts only while none is
    offered and, unless it is DONE, no program runs or it is stalled in WAIT. DONE goes before what
    waits here, and a RUN waits for the DONE of the run before. So the ERROR of an unknown command
    waits for a program to end or stall.

    Latency: a command's first effect two cycles after its last byte. Throughput: an element takes
    (WRITE) the cycles of a whole shift register, or its bytes if those come more slowly, and 2,
    (READ) one a byte and 3, and what the core takes to answer.

    Parameters
    ----------
    config
        The machine.
    info
        The identity text, at most `INFO_BYTES`.

    Members
    -------
    i : In(stream of 8 bits)
        The host's stream.
    o : Out(stream of 8 bits)
        The board's stream. Its valid falls, with nothing taken, after ``reset``.
    reset : In(1)
        The link was reset: forget everything and abort the core. EMIT bytes and a DONE of what
        was aborted are dropped until the core does not run. Whatever was offered to the core
        (``valid``) is withdrawn.
    link_error, link_drop : In(1)
        Passed on to the core, which counts.
    core : Out(CoreSignature)
    quiet : Out(1)
        Without a byte at ``i`` or something from the core, nothing will change any more.
    """

    i: stream.Interface
    o: stream.Interface
    reset: Signal
    link_error: Signal
    link_drop: Signal
    core: wiring.PureInterface
    quiet: Signal

    def __init__(self, config: ArrayConfig, info: bytes):
        if len(info) > INFO_BYTES:
            raise ValueError(f"info has {len(info)} bytes: at most {INFO_BYTES}")
        self.config = config
        self.info = bytes(info)
        super().__init__(
            {
                "i": In(stream.Signature(8)),
                "o": Out(stream.Signature(8)),
                "reset": In(1),
                "link_error": In(1),
                "link_drop": In(1),
                "core": Out(CoreSignature(config)),
                "quiet": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        core = self.core
        config = self.config
        merged = Schedule(config).merged

        m.d.comb += [
            core.abort.eq(self.reset),
            core.link_error.eq(self.link_error),
            core.link_drop.eq(self.link_drop),
        ]

        # A command -----------------------------------------------------------------------------

        code = Signal(2)  # of a command, without the bits that the four do not need
        field = Signal(Field)
        space = Signal(3)
        index = Signal(index_bits(config))
        lane = Signal(config.lane_bits)
        count = Signal(16)
        lost = Signal()  # bytes of a SAMPLE
        writing = Signal()
        running_command = Signal()
        m.d.comb += [
            writing.eq(code == Command.WRITE & 3),
            running_command.eq(code == Command.RUN & 3),
        ]

        def load(target: Signal, low: int):
            """Take a byte into bits of ``target`` from ``low`` on."""
            return target[low : low + 8].eq(self.i.payload)

        # An element ------------------------------------------------------------------------------

        m.submodules.info = info = memory.Memory(
            shape=8, depth=INFO_BYTES, init=self.info.ljust(INFO_BYTES, b"\0")
        )
        info_read = info.read_port()

        whole = element_bits(config) // 8
        element = Signal(8 * whole)
        beat = Signal(range(whole))
        length = Signal(16)
        is_info = Signal()
        last_byte = Signal()
        size = Signal(range(whole + 1))
        if not merged:  # the space is named long before its first element comes
            last_beat = delay(m, (size - 1)[: len(beat)], 1, "last_beat")[1]
        with m.Switch(space):
            for each in Space:
                with m.Case(each):
                    m.d.comb += size.eq(element_bytes(config, each))
            with m.Default():
                m.d.comb += size.eq(1)
        m.d["comb" if merged else "sync"] += is_info.eq(space >= Space.INFO)
        m.d.comb += [
            last_byte.eq(beat + 1 == size if merged else beat == last_beat),
            info_read.addr.eq(index),
            core.memory.write.eq(writing),
            core.memory.space.eq(space),
            core.memory.index.eq(index),
            core.memory.lane.eq(lane),
            core.memory.wdata.eq(element),
            core.run.payload.row.eq(index),
            core.run.payload.count.eq(lane[0]),
            core.sample.payload.eq(self.i.payload),
        ]

        step = Signal()  # on to the next element
        laned = Signal()
        m.d["comb" if merged else "sync"] += laned.eq(Cat(space == each for each in LANED).any())
        with m.If(step):
            with m.If(laned & (lane != config.p - 1)):
                m.d.sync += lane.eq(lane + 1)
            with m.Else():
                m.d.sync += [index.eq(index + 1), lane.eq(0)]

        # Records ---------------------------------------------------------------------------------

        kind = Signal(Kind)
        wanted = Signal()  # DATA or ERROR: the command's
        wanted_kind = Signal(Kind)
        granted = Signal()
        body_valid = Signal()
        body_ready = Signal()
        body_end = Signal()
        in_body = Signal()
        over = Signal()  # no program runs, and the last one's DONE was begun
        calm = Signal()  # the core is not, and will not be, within an EMIT
        done = Signal()
        dropping = Signal(init=1)  # what comes of a program aborted
        passing = Signal()
        m.d.comb += [
            over.eq(~core.running & ~core.done & ~done & ~dropping),
            calm.eq((over | core.waiting) & ~core.emit.valid & ~dropping),
        ]
        with m.If(core.done & ~dropping):
            m.d.sync += done.eq(1)
        with m.If(~core.running & ~core.emit.valid):
            m.d.sync += dropping.eq(0)

        with m.FSM(name="record"):
            with m.State("PASS"):
                m.d.comb += [
                    passing.eq(1),
                    self.o.payload.eq(core.emit.payload),
                    self.o.valid.eq(core.emit.valid & ~dropping),
                    core.emit.ready.eq(self.o.ready | dropping),
                ]
                with m.If(done & ~core.emit.valid):
                    m.d.sync += [done.eq(0), kind.eq(Kind.DONE)]
                    m.next = "TAG"
                with m.Elif(wanted & calm):
                    m.d.comb += granted.eq(1)
                    m.d.sync += kind.eq(wanted_kind)
                    m.next = "TAG"
            with m.State("TAG"):
                m.d.comb += self.o.valid.eq(1)
                with m.Switch(kind):
                    for each in Kind:
                        with m.Case(each):
                            m.d.comb += self.o.payload.eq(Record[each.name])
                with m.If(self.o.ready):
                    m.next = "LENGTH_LOW"
            with m.State("LENGTH_LOW"):
                m.d.comb += self.o.valid.eq(1)
                with m.Switch(kind):
                    with m.Case(Kind.DATA):
                        m.d.comb += self.o.payload.eq(length[:8])
                    with m.Case(Kind.ERROR):
                        m.d.comb += self.o.payload.eq(1)
                with m.If(self.o.ready):
                    m.next = "LENGTH_HIGH"
            with m.State("LENGTH_HIGH"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(kind == Kind.DATA):
                    m.d.comb += self.o.payload.eq(length[8:])
                with m.If(self.o.ready):
                    m.next = "BODY"
                    with m.If(kind == Kind.DONE):
                        m.next = "PASS"
            with m.State("BODY"):
                m.d.comb += [
                    in_body.eq(1),
                    self.o.payload.eq(element[:8]),
                    self.o.valid.eq(body_valid),
                    body_ready.eq(self.o.ready),
                ]
                with m.If(kind == Kind.ERROR):
                    m.d.comb += self.o.payload.eq(
                        Mux(lost, BoardError.SAMPLE_WITHOUT_PROGRAM, BoardError.UNKNOWN_COMMAND)
                    )
                with m.If(body_end):
                    m.next = "PASS"

        # Execution --------------------------------------------------------------------------------

        none = count == 0
        if not merged:
            none = delay(m, none, 1, "none")[1]
        m.d.sync += beat.eq(0)
        with m.FSM(name="command"):
            with m.State("COMMAND"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += [code.eq(self.i.payload), length.eq(0), lost.eq(0)]
                with m.If(self.i.valid):
                    m.next = "ARGUMENTS"
                    with m.Switch(self.i.payload):
                        with m.Case(Command.WRITE, Command.READ):
                            m.d.sync += field.eq(Field.SPACE)
                        with m.Case(Command.RUN):
                            m.d.sync += field.eq(Field.INDEX_LOW)
                        with m.Case(Command.SAMPLE):
                            m.d.sync += field.eq(Field.COUNT_LOW)
                        with m.Default():
                            m.next = "ERROR"
            with m.State("ARGUMENTS"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(self.i.valid):
                    m.d.sync += field.eq(field + 1)
                    with m.Switch(field):
                        with m.Case(Field.SPACE):
                            m.d.sync += space.eq(self.i.payload)
                        with m.Case(Field.INDEX_LOW):
                            m.d.sync += load(index, 0)
                        with m.Case(Field.INDEX_HIGH):
                            m.d.sync += load(index, 8)
                        with m.Case(Field.LANE):
                            m.d.sync += lane.eq(self.i.payload)
                            with m.If(running_command):
                                m.next = "RUN_WAIT"
                        with m.Case(Field.COUNT_LOW):
                            m.d.sync += load(count, 0)
                        with m.Case(Field.COUNT_HIGH):
                            m.d.sync += load(count, 8)
                            with m.Switch(code):
                                with m.Case(Command.WRITE & 3):
                                    m.next = "ELEMENT"
                                with m.Case(Command.READ & 3):
                                    m.next = "LENGTH"
                                with m.Default():
                                    m.next = "SAMPLE" if merged else "SETTLE"

            with m.State("RUN_WAIT"), m.If(over & passing):
                m.next = "RUN"
            with m.State("RUN"):
                m.d.comb += core.run.valid.eq(1)
                with m.If(core.run.ready):
                    m.next = "COMMAND"

            if not merged:
                with m.State("SETTLE"):  # ``none`` comes a cycle after ``count``
                    m.next = "SAMPLE"
            with m.State("SAMPLE"):
                with m.If(none):
                    m.next = "COMMAND"
                    with m.If(lost):
                        m.next = "ERROR"
                with m.Else():
                    m.d.comb += [
                        core.sample.valid.eq(self.i.valid & core.running),
                        self.i.ready.eq(core.sample.ready | ~core.running),
                    ]
                    with m.If(self.i.valid & self.i.ready):
                        m.d.sync += count.eq(count - 1)
                        if not merged:
                            m.d.sync += none.eq(count == 1)
                        with m.If(~core.running):
                            m.d.sync += lost.eq(1)

            with m.State("LENGTH"):  # count times size
                m.d.sync += [length.eq(length + count), beat.eq(beat + 1)]
                with m.If(last_byte):
                    m.d.sync += beat.eq(0)
                    m.next = "DATA"
            with m.State("DATA"):
                m.d.comb += [wanted.eq(1), wanted_kind.eq(Kind.DATA)]
                with m.If(granted):
                    m.next = "ELEMENT"
            with m.State("ELEMENT"):
                m.d.sync += count.eq(count - 1)
                m.next = "MEMORY"
                with m.If(writing):
                    m.next = "FILL"
                with m.If(count == 0):
                    m.next = "COMMAND"
                    with m.If(~writing):
                        m.next = "END"
            with m.State("FILL"):
                # The first byte has to get to the bottom; what comes after the last is no matter.
                filled = Signal()
                m.d.comb += self.i.ready.eq(~filled)
                m.d.sync += beat.eq(beat)
                with m.If(self.i.valid | filled):
                    m.d.sync += [
                        beat.eq(beat + 1),
                        element.eq(Cat(element[8:], self.i.payload)),
                        filled.eq(filled | last_byte),
                    ]
                    with m.If(beat == whole - 1):
                        m.d.sync += [beat.eq(0), filled.eq(0)]
                        m.next = "MEMORY"
            with m.State("MEMORY"):
                m.d.comb += core.memory.valid.eq(~is_info)
                with m.If(core.memory.ready | is_info):
                    m.d.sync += element.eq(core.memory.rdata)
                    m.next = "EMPTY"
                    with m.If(is_info):
                        m.d.sync += element[:8].eq(info_read.data)
                    with m.If(writing):
                        m.d.comb += step.eq(1)
                        m.next = "ELEMENT"
            with m.State("EMPTY"):
                m.d.comb += body_valid.eq(1)
                m.d.sync += beat.eq(beat)
                with m.If(body_ready):
                    m.d.sync += [beat.eq(beat + 1), element.eq(Cat(element[8:], Const(0, 8)))]
                    with m.If(last_byte):
                        m.d.sync += beat.eq(0)
                        m.d.comb += step.eq(1)
                        m.next = "ELEMENT"
            with m.State("END"):
                m.d.comb += body_end.eq(1)
                with m.If(in_body):  # the header may still be on its way, if count was 0
                    m.next = "COMMAND"

            with m.State("ERROR"):
                m.d.comb += [wanted.eq(1), wanted_kind.eq(Kind.ERROR)]
                with m.If(granted):
                    m.next = "ERROR_BODY"
            with m.State("ERROR_BODY"):
                m.d.comb += [body_valid.eq(1), body_end.eq(body_ready)]
                with m.If(body_ready):
                    m.next = "DISCARD"
                    with m.If(lost):
                        m.next = "COMMAND"
            with m.State("DISCARD"):
                m.d.comb += self.i.ready.eq(1)

        m.d.comb += self.quiet.eq(self.i.ready & ~self.i.valid & passing & ~done & ~dropping)
        return ResetInserter(self.reset)(m)
