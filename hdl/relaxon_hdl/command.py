"""The command unit: from the host's stream to the core, and from the core to the board's stream."""

import zlib
from functools import reduce
from operator import xor
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, ResetInserter, Signal
from amaranth.lib import enum, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from relaxon_isa import (
    INDEX_BYTES,
    INFO_BYTES,
    STREAM_RESIDUE,
    ArrayConfig,
    BoardError,
    Command,
    Record,
    Register,
    Space,
    element_bytes,
)

from .buffers import SkidBuffer
from .bus import TASK, CoreSignature, Task, element_bits
from .component import Component
from .link import LinkSignature
from .order import Order
from .schedule import Scheduled

__all__ = [
    "Arguments",
    "CommandUnit",
    "ElementRegister",
    "Kind",
    "RecordWriter",
    "StreamCheck",
]

LANED = (Space.STATE, Space.DRIVE)
"""Spaces whose elements have a lane; the others step the index only."""


EARLY = (Register.SAMPLES, Register.WRONG)
"""Registers of which one may be read while a program runs."""

TASKS = {
    Command.STORE: Task.STORE,
    Command.CHECK: Task.CHECK,
    Command.RECALL: Task.RECALL,
}
"""Commands of the sample memory that are handed on; all but CHECK have a length of two bytes."""
RECORDS = {Command.INDICES: "INDEX_COUNT", Command.ORDER: "ORDER"}
"""Commands that ask it for records, and the states behind them."""
CODE_MASK = 7
"""Bits of a command that tell those apart that are executed here."""


class Field(enum.IntEnum, shape=3):
    """The arguments of a command, in their order on the wire.

    WRITE and READ have all of them. RUN has its row at INDEX and its flags at LANE, SAMPLE and RUNS
    their length at COUNT. The four bytes of a CHECKSUM are the last four; nobody reads them."""

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
    """Bits of the largest index of any space (group, row, entry, byte of the identity)."""
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


class Arguments(Scheduled):
    """A command's code and arguments, and the address of the element that it is at.

    Parameters
    ----------
    config
        The machine.

    Members
    -------
    byte : In(8)
        Of the host's stream.
    start : In(1)
        Hold it until ``byte`` is a command: its code is taken.
    load : In(1)
        ``byte`` is the command's next argument.
    step : In(1)
        Go to the next element's address.
    count_down : In(1)
        Take one off ``count``.
    code : Out(3)
        The command's lower three bits, which tell those apart that are executed.
    last : Out(1)
        The next argument is the command's last.
    space : Out(3), index : Out, lane : Out, count : Out(16)
        The arguments, as loaded, stepped and counted down.
    is_info : Out(1)
        ``space`` is the identity's (INFO or unknown); with the long pipeline a cycle late.
    none : Out(1)
        ``count`` is 0; with the long pipeline a cycle late after ``load``.
    """

    def __init__(self, config: ArrayConfig):
        super().__init__(
            config,
            {
                "byte": In(8),
                "start": In(1),
                "load": In(1),
                "step": In(1),
                "count_down": In(1),
                "code": Out(3),
                "last": Out(1),
                "space": Out(3),
                "index": Out(index_bits(config)),
                "lane": Out(config.lane_bits),
                "count": Out(16),
                "is_info": Out(1),
                "none": Out(1),
            },
        )

    def build(self, m: Module) -> None:
        field = Signal(Field)
        laned = Signal()
        m.d.comb += self.last.eq(
            (field == Field.COUNT_HIGH) | ((field == Field.LANE) & (self.code == Command.RUN))
        )
        m.d[self.when.domain] += [
            self.is_info.eq(self.space >= Space.INFO),
            laned.eq(Cat(self.space == each for each in LANED).any()),
            self.none.eq(self.count == 0),
        ]
        with m.If(self.start):
            m.d.sync += self.code.eq(self.byte)
            with m.Switch(self.byte & CODE_MASK):
                with m.Case(Command.RUN):
                    m.d.sync += field.eq(Field.INDEX_LOW)
                with m.Case(Command.SAMPLE, Command.RUNS):
                    m.d.sync += field.eq(Field.COUNT_LOW)
                with m.Case(Command.CHECKSUM):
                    m.d.sync += field.eq(Field.INDEX_HIGH)
                with m.Default():
                    m.d.sync += field.eq(Field.SPACE)
        with m.If(self.load):
            m.d.sync += field.eq(field + 1)
            with m.Switch(field):
                for each, target in (
                    (Field.SPACE, self.space),
                    (Field.INDEX_LOW, self.index[:8]),
                    (Field.INDEX_HIGH, self.index[8:16]),
                    (Field.LANE, self.lane),
                    (Field.COUNT_LOW, self.count[:8]),
                    (Field.COUNT_HIGH, self.count[8:]),
                ):
                    with m.Case(each):
                        m.d.sync += target.eq(self.byte)
        with m.If(self.step):
            with m.If(laned & (self.lane != self.config.p - 1)):
                m.d.sync += self.lane.eq(self.lane + 1)
            with m.Else():
                m.d.sync += [self.index.eq(self.index + 1), self.lane.eq(0)]
        with m.If(self.count_down):
            m.d.sync += self.count.eq(self.count - 1)
            if not self.when.short:
                m.d.sync += self.none.eq(self.count == 1)


class ElementRegister(Scheduled):
    """A shift register for one element: bytes in at the top, bytes out at the bottom.

    Parameters
    ----------
    config
        The machine; the register is `bus.element_bits` wide.

    Members
    -------
    space : In(3)
        The element's, which says how many bytes it has. With the long pipeline it has to be steady
        for two cycles before bytes are counted.
    byte : In(8), valid : In(1)
        Bytes to fill in.
    fill : In(1)
        Hold it until ``filled``: takes the element's bytes, one per cycle with ``valid``, then
        moves them down.
    taking : Out(1)
        A byte is taken, if ``fill`` and ``valid``.
    filled : Out(1)
        One cycle, the last of ``fill``: the element is complete in the next.
    load : In(1), data : In
        Take a whole element.
    drop : In(1)
        Its lowest byte is done with: move the next one down.
    count : In(1)
        Count a byte without moving any.
    last : Out(1)
        The byte moved or counted in this cycle is the element's last.
    value : Out
        The element.
    """

    def __init__(self, config: ArrayConfig):
        super().__init__(
            config,
            {
                "space": In(3),
                "byte": In(8),
                "valid": In(1),
                "fill": In(1),
                "taking": Out(1),
                "filled": Out(1),
                "load": In(1),
                "data": In(element_bits(config)),
                "drop": In(1),
                "count": In(1),
                "last": Out(1),
                "value": Out(element_bits(config)),
            },
        )

    def build(self, m: Module) -> None:
        config, when = self.config, self.when
        whole = element_bits(config) // 8

        beat = Signal(range(whole))
        size = Signal(range(whole + 1))
        complete = Signal()  # all bytes are in; the first has to get to the bottom
        shift_in = Signal()
        with m.Switch(self.space):
            for each in Space:
                with m.Case(each):
                    m.d.comb += size.eq(element_bytes(config, each))
            with m.Default():
                m.d.comb += size.eq(1)
        m.d.comb += [
            self.last.eq(beat == when.late(m, (size - 1)[: len(beat)], "last_beat")),
            self.taking.eq(~complete),
            shift_in.eq(self.fill & (self.valid | complete)),
            self.filled.eq(shift_in & (beat == whole - 1)),
        ]
        with m.If(shift_in | self.drop | self.count):
            m.d.sync += beat.eq(beat + 1)
        with m.If(shift_in):
            m.d.sync += [
                self.value.eq(Cat(self.value[8:], self.byte)),
                complete.eq((complete | self.last) & ~self.filled),
            ]
        with m.If(self.load):
            m.d.sync += self.value.eq(self.data)
        with m.If(self.drop):
            m.d.sync += self.value.eq(Cat(self.value[8:], Const(0, 8)))
        with m.If(self.filled | ((self.drop | self.count) & self.last)):
            m.d.sync += beat.eq(0)


class StreamCheck(Scheduled):
    """CRC-32 over a stream. With the short pipeline it takes half a byte a cycle.

    Parameters
    ----------
    config
        The machine.

    Members
    -------
    byte : In(8), take : In(1)
        A byte of the stream. With the short pipeline at most one every other cycle, and ``byte``
        stays for a cycle more.
    busy : Out(1)
        The cycle after a byte.
    good : Out(1)
        Unless ``busy``: what was taken ends in the CRC-32 of all before that.
    """

    def __init__(self, config: ArrayConfig):
        super().__init__(config, {"byte": In(8), "take": In(1), "busy": Out(1), "good": Out(1)})

    def build(self, m: Module) -> None:
        width = 4 if self.when.short else 8
        register = Signal(32, init=0xFFFFFFFF)
        part = Signal(width)
        mixed = Signal(width)
        m.d.sync += self.busy.eq(self.take)
        m.d.comb += [
            part.eq(Mux(self.busy, self.byte[8 - width :], self.byte)),
            mixed.eq(register[:width] ^ part),
            self.good.eq(self.when.late(m, register == STREAM_RESIDUE ^ 0xFFFFFFFF, "match")),
        ]
        # What a bit of `mixed` adds: amaranth.lib.crc shares nothing among the 32 sums.
        adds = [zlib.crc32(bytes([1 << k])) ^ zlib.crc32(b"\0") for k in range(8)][8 - width :]
        with m.If(self.take | (self.busy & self.when.short)):
            for bit in range(32):
                terms = [mixed[k] for k, added in enumerate(adds) if added >> bit & 1]
                above = [register[bit + width]] if bit + width < 32 else []
                m.d.sync += register[bit].eq(reduce(xor, [*above, *terms]))


class RecordWriter(Component):
    """Puts the board's stream together so that records never mix.

    EMIT bytes pass as they come. A record made here starts only while none is offered and, unless
    it is DONE or early, no program runs or it is stalled in WAIT. DONE goes before what waits here.

    Members
    -------
    emit : In(stream of 8 bits), running, waiting, done : In(1)
        See `bus.CoreSignature`. After a reset EMIT bytes and a DONE are dropped until the core does
        not run.
    wanted : In(1), kind : In(Kind)
        Hold them until ``granted``: a DATA or an ERROR is to be written.
    early : In(1), emitting : In(1)
        With ``wanted``: the record may begin while a program runs, but within no EMIT.
    granted : Out(1)
        One cycle: its record begins.
    length : In(16)
        Bytes of a DATA.
    body : In(stream of 8 bits)
        The record's bytes.
    end : In(1)
        Hold it until ``in_body``: all of them are taken, or the last one is now.
    in_body : Out(1)
        The record's header has been taken.
    o : Out(stream of 8 bits)
        The board's stream.
    idle : Out(1)
        No program runs, and the DONE of the last one has begun.
    passing : Out(1)
        No record is being written here.
    quiet : Out(1)
        Nothing changes before ``wanted`` or something from the core.
    """

    def __init__(self):
        super().__init__(
            {
                "emit": In(stream.Signature(8)),
                "running": In(1),
                "waiting": In(1),
                "done": In(1),
                "wanted": In(1),
                "kind": In(Kind),
                "early": In(1),
                "emitting": In(1),
                "granted": Out(1),
                "length": In(16),
                "body": In(stream.Signature(8)),
                "end": In(1),
                "in_body": Out(1),
                "o": Out(stream.Signature(8)),
                "idle": Out(1),
                "passing": Out(1),
                "quiet": Out(1),
            }
        )

    def build(self, m: Module) -> None:
        emit, o = self.emit, self.o

        kind = Signal(Kind)
        no_emit = Signal()  # the core is not, and will not be, within an EMIT
        due = Signal()  # a DONE
        dropping = Signal(init=1)  # EMIT and DONE of an aborted program
        m.d.comb += [
            self.idle.eq(~self.running & ~self.done & ~due & ~dropping),
            no_emit.eq(
                (self.idle | self.waiting | (self.early & ~self.emitting)) & ~emit.valid & ~dropping
            ),
            self.quiet.eq(self.passing & ~due & ~dropping),
        ]
        with m.If(self.done & ~dropping):
            m.d.sync += due.eq(1)
        with m.If(~self.running & ~emit.valid):
            m.d.sync += dropping.eq(0)

        with m.FSM(name="record"):
            with m.State("PASS"):
                m.d.comb += [
                    self.passing.eq(1),
                    o.payload.eq(emit.payload),
                    o.valid.eq(emit.valid & ~dropping),
                    emit.ready.eq(o.ready | dropping),
                ]
                with m.If(due & ~emit.valid):
                    m.d.sync += [due.eq(0), kind.eq(Kind.DONE)]
                    m.next = "TAG"
                with m.Elif(self.wanted & no_emit):
                    m.d.comb += self.granted.eq(1)
                    m.d.sync += kind.eq(self.kind)
                    m.next = "TAG"
            with m.State("TAG"):
                m.d.comb += o.valid.eq(1)
                with m.Switch(kind):
                    for each in Kind:
                        with m.Case(each):
                            m.d.comb += o.payload.eq(Record[each.name])
                with m.If(o.ready):
                    m.next = "LENGTH_LOW"
            with m.State("LENGTH_LOW"):
                m.d.comb += o.valid.eq(1)
                with m.Switch(kind):
                    with m.Case(Kind.DATA):
                        m.d.comb += o.payload.eq(self.length[:8])
                    with m.Case(Kind.ERROR):
                        m.d.comb += o.payload.eq(1)
                with m.If(o.ready):
                    m.next = "LENGTH_HIGH"
            with m.State("LENGTH_HIGH"):
                m.d.comb += o.valid.eq(1)
                with m.If(kind == Kind.DATA):
                    m.d.comb += o.payload.eq(self.length[8:])
                with m.If(o.ready):
                    m.next = "BODY"
                    with m.If(kind == Kind.DONE):
                        m.next = "PASS"
            with m.State("BODY"):
                m.d.comb += [
                    self.in_body.eq(1),
                    o.payload.eq(self.body.payload),
                    o.valid.eq(self.body.valid),
                    self.body.ready.eq(o.ready),
                ]
                with m.If(self.end):
                    m.next = "PASS"


class CommandUnit(Scheduled):
    """Executes commands strictly in order, and answers them with records.

    ::

        link.from_host --> commands --> Arguments --address--> core.memory
                     |--> StreamCheck
                     |--> bytes, zero runs --> core.sample
                     '--> ElementRegister <--element-- core.memory, identity
                                  '--> RecordWriter --> link.to_host
                             core.emit --'

    One element at a time goes through the element register: a WRITE fills it byte by byte and hands
    it to the core, a READ has the core load it and empties it. Indices beyond what any space needs
    wrap. The identity text is answered from here and cannot be written; spaces 6 and 7 are it too.
    A RUN waits for the DONE of the run before. A READ of one of `EARLY` on a machine with a sample
    buffer does not wait for the program's end. The ERROR of an unknown command and that of a wrong
    checksum wait until no program runs, or one is stalled in WAIT (`RecordWriter`).

    Latency: a command's first effect two cycles after its last byte (with the long pipeline three:
    the bytes come through a `SkidBuffer`). Throughput: an element takes (WRITE) the cycles of a
    whole element register, or its bytes if those come more slowly, and 2, (READ) one per byte and
    3, and the cycles until the core answers. A zero of a run takes a cycle.

    Parameters
    ----------
    config
        The machine.
    info
        The identity text, at most `INFO_BYTES`.

    Members
    -------
    link : In(LinkSignature)
        ``reset`` makes the unit forget everything and aborts the core. EMIT bytes and a DONE of
        the aborted program are dropped until the core does not run. Whatever was offered to the
        core (``valid``) is withdrawn. ``waiting`` is low while a byte is on its way to the core.
    core : Out(CoreSignature)
    quiet : Out(1)
        Nothing changes before a byte at ``link.from_host`` or something from the core.
    """

    def __init__(self, config: ArrayConfig, info: bytes):
        if len(info) > INFO_BYTES:
            raise ValueError(f"info has {len(info)} bytes: at most {INFO_BYTES}")
        self.info = bytes(info)
        self.makes = Signal()  # records of an order
        super().__init__(
            config,
            {"link": In(LinkSignature()), "core": Out(CoreSignature(config)), "quiet": Out(1)},
        )

    def elaborate(self, platform: object) -> Module:
        return ResetInserter(self.link.reset)(super().elaborate(platform))

    def build(self, m: Module) -> None:
        link, core = self.link, self.core
        host, waiting = link.from_host, core.waiting
        if not self.when.short:  # the bytes come from a block RAM, and decide much
            m.submodules.host_buffer = buffer = SkidBuffer()
            wiring.connect(m, wiring.flipped(link.from_host), buffer.i)
            host = buffer.o
            # The host must not read that a program waits when a byte is on its way.
            waiting = waiting & ~link.from_host.valid & ~host.valid

        m.submodules.arguments = arguments = Arguments(self.config)
        m.submodules.element = element = ElementRegister(self.config)
        m.submodules.records = records = RecordWriter()
        m.submodules.check = check = StreamCheck(self.config)
        m.submodules.info = info = memory.Memory(
            shape=8, depth=INFO_BYTES, init=self.info.ljust(INFO_BYTES, b"\0")
        )
        info_read = info.read_port()

        early = Signal()
        if self.config.sample_buffer:
            m.d.comb += [
                core.memory.early.eq(early),
                records.early.eq(early),
                records.emitting.eq(core.emitting),
            ]
        task = Signal(TASK, reset_less=True)
        if self.config.sample_memory:
            m.d.comb += [
                core.task.payload.eq(task),
                core.store.payload.eq(host.payload),
                core.index.payload.eq(task.address),
            ]
            waiting = waiting & ~core.index.valid & ~self.makes
        read = Signal(range(13))  # bytes of its address and length, or of an order
        length = Signal(16)
        error = Signal(BoardError)
        lost = Signal()  # bytes of a sample
        damaged = Signal()  # the stream was
        run = Signal(8)  # zeros or bytes to come of a pair
        zeros = Signal()
        writing = Signal()
        m.d.comb += [
            core.abort.eq(link.reset),
            core.link_error.eq(link.link_error),
            core.link_drop.eq(link.link_drop),
            link.running.eq(core.running),
            link.waiting.eq(waiting & ~zeros),
            check.byte.eq(host.payload),
            check.take.eq(host.valid & host.ready),
            arguments.byte.eq(host.payload),
            element.space.eq(arguments.space),
            element.byte.eq(host.payload),
            element.valid.eq(host.valid),
            element.data.eq(core.memory.rdata),
            info_read.addr.eq(arguments.index),
            writing.eq(arguments.code == Command.WRITE),
            core.memory.write.eq(writing),
            core.memory.space.eq(arguments.space),
            core.memory.index.eq(arguments.index),
            core.memory.lane.eq(arguments.lane),
            core.memory.wdata.eq(element.value),
            core.run.payload.row.eq(arguments.index),
            core.run.payload.count.eq(arguments.lane[0]),
            core.sample.payload.eq(host.payload),
            records.running.eq(core.running),
            records.waiting.eq(core.waiting),
            records.done.eq(core.done),
            records.length.eq(length),
            records.body.payload.eq(element.value[:8]),
        ]
        m.d.comb += error.eq(BoardError.UNKNOWN_COMMAND)
        with m.If(lost):
            m.d.comb += error.eq(BoardError.SAMPLE_WITHOUT_PROGRAM)
        with m.If(damaged):
            m.d.comb += error.eq(BoardError.WRONG_CHECKSUM)
        with m.If(arguments.is_info):
            m.d.comb += element.data[:8].eq(info_read.data)
        wiring.connect(m, wiring.flipped(core.emit), records.emit)
        wiring.connect(m, records.o, wiring.flipped(link.to_host))

        begin = [
            (Command.WRITE, "ELEMENT"),
            (Command.READ, "LENGTH"),
            (Command.RUN, "RUN_WAIT"),
            (Command.SAMPLE, "SAMPLE" if self.when.short else "SETTLE_SAMPLE"),
            (Command.CHECKSUM, "CHECKSUM"),
        ]
        if self.config.zero_runs:
            begin.append((Command.RUNS, "RUN_OF_ZEROS" if self.when.short else "SETTLE_RUNS"))

        with m.FSM(name="command"):
            with m.State("COMMAND"):
                m.d.comb += [host.ready.eq(1), arguments.start.eq(1)]
                m.d.sync += [length.eq(0), lost.eq(0)]
                if self.config.sample_buffer:
                    m.d.sync += early.eq(0)
                if self.config.sample_memory:
                    m.d.sync += [read.eq(0), self.makes.eq(0)]
                with m.If(host.valid), m.Switch(host.payload):
                    with m.Case(*(command for command, _ in begin)):
                        m.next = "ARGUMENTS"
                    if self.config.sample_memory:
                        for each, state in RECORDS.items():
                            with m.Case(each):
                                m.next = state
                        for each, kind in TASKS.items():
                            with m.Case(each):
                                m.d.sync += task.kind.eq(kind)
                                m.next = "TASK"
                    with m.Default():
                        m.next = "ERROR"
            with m.State("ARGUMENTS"):
                m.d.comb += [host.ready.eq(1), arguments.load.eq(host.valid)]
                with m.If(host.valid & arguments.last), m.Switch(arguments.code):
                    for command, state in begin:
                        with m.Case(command):
                            m.next = state

            with m.State("RUN_WAIT"), m.If(records.idle & records.passing):
                m.next = "RUN"
            with m.State("RUN"):
                m.d.comb += core.run.valid.eq(1)
                with m.If(core.run.ready):
                    m.next = "COMMAND"

            if not self.when.short:  # `Arguments.none` comes a cycle after the count
                with m.State("SETTLE_SAMPLE"):
                    m.next = "SAMPLE"
            if self.config.sample_memory:
                self.remember(m, host, records, task, read, length, lost)
            self.take_samples(m, host, arguments, lost=lost, run=run, zeros=zeros)

            with m.State("CHECKSUM"), m.If(~check.busy):
                m.next = "COMMAND"
                with m.If(~check.good):
                    m.d.sync += damaged.eq(1)
                    m.next = "ERROR"

            self.move_elements(
                m, host, arguments, element, records, writing=writing, length=length, early=early
            )
            with m.State("ERROR"):
                m.d.comb += [records.wanted.eq(1), records.kind.eq(Kind.ERROR)]
                with m.If(records.granted):
                    m.next = "ERROR_BODY"
            with m.State("ERROR_BODY"):
                m.d.comb += [
                    records.body.valid.eq(1),
                    records.body.payload.eq(error),
                    records.end.eq(records.body.ready),
                ]
                with m.If(records.body.ready):
                    m.next = "DISCARD"
                    with m.If(lost):
                        m.next = "COMMAND"
            with m.State("DISCARD"):
                m.d.comb += host.ready.eq(1)

        m.d.comb += self.quiet.eq(host.ready & ~host.valid & records.quiet)

    def take_samples(
        self,
        m: Module,
        host: Any,
        arguments: Arguments,
        *,
        lost: Signal,
        run: Signal,
        zeros: Signal,
    ) -> None:
        """The states of SAMPLE and RUNS, behind the arguments."""
        core = self.core

        def pass_byte() -> None:
            """A byte of a sample to the core, or to nobody."""
            m.d.comb += [
                core.sample.valid.eq(host.valid & core.running),
                host.ready.eq(core.sample.ready | ~core.running),
                arguments.count_down.eq(host.valid & host.ready),
            ]
            with m.If(arguments.count_down & ~core.running):
                m.d.sync += lost.eq(1)

        def end_sample() -> None:
            m.next = "COMMAND"
            with m.If(lost):
                m.next = "ERROR"

        def take_number(state: str) -> None:
            """The next byte of the command is one of a pair's two numbers."""
            with m.If(arguments.none):
                end_sample()
            with m.Else():
                m.d.comb += [host.ready.eq(1), arguments.count_down.eq(host.valid)]
                m.d.sync += run.eq(host.payload)
                with m.If(host.valid):
                    m.next = state

        with m.State("SAMPLE"):
            with m.If(arguments.none):
                end_sample()
            with m.Else():
                pass_byte()

        if self.config.zero_runs:
            if not self.when.short:
                with m.State("SETTLE_RUNS"):
                    m.next = "RUN_OF_ZEROS"
            with m.State("RUN_OF_ZEROS"):
                take_number("ZEROS")
            with m.State("ZEROS"):
                m.d.comb += zeros.eq(1)
                with m.If(run == 0):
                    m.next = "RUN_OF_BYTES"
                with m.Else():
                    m.d.comb += [
                        core.sample.valid.eq(core.running),
                        core.sample.payload.eq(0),
                    ]
                    with m.If(core.sample.ready | ~core.running):
                        m.d.sync += run.eq(run - 1)
                    with m.If(~core.running):
                        m.d.sync += lost.eq(1)
            with m.State("RUN_OF_BYTES"):
                take_number("BYTES")
            with m.State("BYTES"):
                with m.If(arguments.none):
                    end_sample()
                with m.Elif(run == 0):
                    m.next = "RUN_OF_ZEROS"
                with m.Else():
                    pass_byte()
                    with m.If(arguments.count_down):
                        m.d.sync += run.eq(run - 1)

    def move_elements(
        self,
        m: Module,
        host: Any,
        arguments: Arguments,
        element: ElementRegister,
        records: RecordWriter,
        *,
        writing: Signal,
        length: Signal,
        early: Signal,
    ) -> None:
        """The states of WRITE and READ, behind the arguments."""
        core = self.core
        with m.State("LENGTH"):  # count times size
            m.d.comb += element.count.eq(1)
            m.d.sync += length.eq(length + arguments.count)
            if self.config.sample_buffer:
                known = Cat(arguments.index == register for register in EARLY).any()
                one = (arguments.space == Space.REGISTER) & (arguments.count == 1)
                m.d.sync += early.eq(one & known)
            with m.If(element.last):
                m.next = "DATA"
        with m.State("DATA"):
            m.d.comb += [records.wanted.eq(1), records.kind.eq(Kind.DATA)]
            with m.If(records.granted):
                m.next = "ELEMENT"
        with m.State("ELEMENT"):
            m.d.comb += arguments.count_down.eq(1)
            m.next = "MEMORY"
            with m.If(writing):
                m.next = "FILL"
            with m.If(arguments.count == 0):
                m.next = "COMMAND"
                with m.If(~writing):
                    m.next = "END"
        with m.State("FILL"):
            m.d.comb += [element.fill.eq(1), host.ready.eq(element.taking)]
            with m.If(element.filled):
                m.next = "MEMORY"
        with m.State("MEMORY"):
            m.d.comb += core.memory.valid.eq(~arguments.is_info)
            with m.If(core.memory.ready | arguments.is_info):
                m.d.comb += [element.load.eq(1), arguments.step.eq(writing)]
                m.next = "EMPTY"
                with m.If(writing):
                    m.next = "ELEMENT"
        with m.State("EMPTY"):
            m.d.comb += [records.body.valid.eq(1), element.drop.eq(records.body.ready)]
            with m.If(element.drop & element.last):
                m.d.comb += arguments.step.eq(1)
                m.next = "ELEMENT"
        with m.State("END"):
            m.d.comb += records.end.eq(1)
            with m.If(records.in_body):  # the header may still be on its way, if count was 0
                m.next = "COMMAND"

    def remember(
        self,
        m: Module,
        host: Any,
        records: RecordWriter,
        task: Any,
        read: Signal,
        length: Signal,
        lost: Signal,
    ) -> None:
        """The states of the sample memory's commands."""
        core = self.core
        span = Cat(task.address, task.length)
        with m.State("TASK"):  # address and length, a byte each at the top; a short one has zeros
            short = (task.kind != Task.CHECK) & (read >= 6)
            m.d.comb += host.ready.eq(~short)
            with m.If(host.valid | short):
                m.d.sync += [
                    span.eq(Cat(span[8:], Mux(short, 0, host.payload))),
                    read.eq(read + 1),
                ]
                with m.If(read == 7):
                    m.next = "TASK_WAIT"
        with m.State("TASK_WAIT"):
            m.d.sync += length.eq(Mux(task.kind == Task.CHECK, 4, task.length))
            with m.If(task.kind == Task.STORE), m.If(~core.running | core.waiting):
                m.d.comb += core.task.valid.eq(1)
                with m.If(core.task.ready):
                    m.next = "STORE"
                    with m.If(task.length == 0):
                        m.next = "COMMAND"
            with m.Else():
                m.d.comb += [records.wanted.eq(1), records.kind.eq(Kind.DATA)]
                with m.If(records.granted):
                    m.next = "TASK_ASK"
        with m.State("TASK_ASK"):
            m.d.comb += core.task.valid.eq(1)
            with m.If(core.task.ready):
                m.next = "ANSWER"
                with m.If(length == 0):
                    m.next = "END"
        with m.State("STORE"):
            m.d.comb += [core.store.valid.eq(host.valid), host.ready.eq(core.store.ready)]
            with m.If(host.valid & core.store.ready):
                m.d.sync += task.length.eq(task.length - 1)
                with m.If(task.length == 1):
                    m.next = "COMMAND"
        with m.State("ANSWER"):
            body = records.body
            m.d.comb += [
                body.valid.eq(core.answer.valid),
                body.payload.eq(core.answer.payload),
                core.answer.ready.eq(body.ready),
            ]
            with m.If(body.valid & body.ready):
                m.d.sync += length.eq(length - 1)
                with m.If(length == 1):
                    m.d.comb += records.end.eq(1)
                    m.next = "COMMAND"
        with m.State("INDEX_COUNT"):
            m.d.comb += host.ready.eq(1)
            with m.If(host.valid):
                m.d.sync += [length.eq(Cat(length[8:], host.payload)), read.eq(read + 1)]
                with m.If(read == 1):
                    m.d.sync += read.eq(0)
                    m.next = "INDEX"
        m.submodules.order = order = Order()
        wanted = Cat(order.key, order.records, order.place, length)
        drops = ~core.running | core.refuses
        with m.State("ORDER"):
            m.d.comb += host.ready.eq(1)
            with m.If(host.valid):
                m.d.sync += [wanted.eq(Cat(wanted[8:], host.payload)), read.eq(read + 1)]
                with m.If(read == len(wanted) // 8 - 1):
                    m.d.sync += [read.eq(0), self.makes.eq(1)]
                    m.next = "INDEX"
        with m.State("INDEX"):
            with m.If(length == 0):
                m.next = "COMMAND"
                with m.If(lost):
                    m.next = "ERROR"
            with m.Elif(self.makes):
                m.d.comb += order.start.eq(~drops)
                m.d.sync += order.place.eq(order.place + 1)
                with m.If(drops):
                    m.d.sync += [length.eq(length - 1), lost.eq(1)]
                with m.Else():
                    m.next = "INDEX_MAKE"
            with m.Else():
                m.d.comb += host.ready.eq(1)
                with m.If(host.valid):
                    m.d.sync += [
                        task.address[:24].eq(Cat(task.address[8:24], host.payload)),
                        read.eq(read + 1),
                    ]
                    with m.If(read == INDEX_BYTES - 1):
                        m.d.sync += read.eq(0)
                        m.next = "INDEX_GIVE"
        with m.State("INDEX_MAKE"):
            m.d.sync += task.address.eq(order.record)
            with m.If(order.valid):
                m.next = "INDEX_GIVE"
        with m.State("INDEX_GIVE"):
            m.d.comb += core.index.valid.eq(~drops)
            with m.If(drops | core.index.ready):
                m.d.sync += [length.eq(length - 1), lost.eq(lost | drops)]
                m.next = "INDEX"
