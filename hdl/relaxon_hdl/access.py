"""How host, WAIT and EMIT reach the memories: their ports, and who has them when."""

from typing import Any

from amaranth.hdl import Cat, Module, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from relaxon_isa import COUNTER_BITS, ArrayConfig, Register, Space, element_bytes, row_bits

from .bus import MemorySignature, element_bits
from .schedule import Scheduled

__all__ = ["Access", "ElementPort", "ProgramPort", "RegisterPort", "TransferPort"]


def target_members(config: ArrayConfig) -> dict[str, Any]:
    """What a group of a target needs beside an element: a bit a lane."""
    return dict.fromkeys(("lanes", "hits"), Out(config.p)) if config.sample_buffer else {}


class ElementPort(wiring.Signature):
    """Elements of S, D and the activation table, one at a time; seen from who asks.

    Members
    -------
    read : Out(1)
        The banks' read addresses are ``index``. 1 + `Schedule.read` cycles later ``state`` and
        ``drive`` are the words of ``lane``, which on a long pipeline is the one of the cycle
        before.
    index : Out(16), lane : Out, data : Out
    write_state, write_drive, write_table : Out(1)
        Write ``data`` to ``index``, ``lane`` (of the table: ``index``). A short pipeline takes a
        state's ``index`` and ``lane``, and a drive's ``data``, a cycle later.
    state : In(signed), drive : In(signed)
    lanes, hits : Out
        With a sample buffer and ``write_state``: other lanes that take ``data``; lanes that take
        the WAIT's ``high`` instead.
    """

    def __init__(self, config: ArrayConfig):
        super().__init__(
            {
                **target_members(config),
                "read": Out(1),
                "index": Out(16),
                "lane": Out(config.lane_bits),
                "data": Out(config.acc_bits),
                "write_state": Out(1),
                "write_drive": Out(1),
                "write_table": Out(1),
                "state": In(signed(config.state_bits)),
                "drive": In(signed(config.acc_bits)),
            }
        )


class ProgramPort(wiring.Signature):
    """Rows of the program memory; seen from who asks.

    Members
    -------
    index : Out, data : Out, write : Out(1)
        Write ``data`` to row ``index``.
    row : In
        The row at ``index`` of the cycle before, if no program runs or it waits.
    """

    def __init__(self, config: ArrayConfig):
        super().__init__(
            {
                "index": Out(config.program_addr_bits),
                "data": Out(row_bits(config)),
                "write": Out(1),
                "row": In(row_bits(config)),
            }
        )


class RegisterPort(wiring.Signature):
    """Keys and counters, one at a time; seen from who asks. For when what is valid, see the
    registers' docstring.

    Members
    -------
    index : Out, lock : Out(1)
        Which one is read or written, and for how long.
    write : Out(1), data : Out
    value : In, low : In(1), high : In(1)
        The halves of a register, one after the other.
    watch : Out, watched_low : In(1), watched_high : In(1)
        With a sample buffer: of a register that is read while a program runs, likewise.
    """

    def __init__(self, config: ArrayConfig):
        watch = {"watch": Out(4), "watched_low": In(1), "watched_high": In(1)}
        super().__init__(
            {
                **(watch if config.sample_buffer else {}),
                "index": Out(4),
                "lock": Out(1),
                "write": Out(1),
                "data": Out(COUNTER_BITS),
                "value": In(COUNTER_BITS // 2),
                "low": In(1),
                "high": In(1),
            }
        )


class TransferPort(wiring.Signature):
    """Elements that EMIT reads and values that WAIT writes, one per cycle; seen from these.

    Members
    -------
    space : Out(3)
        Of EMIT's elements.
    group : Out(16), lane : Out
        Place of the element that EMIT reads; of the value that WAIT wrote in the cycle before.
    write : Out(1), value : Out
        WAIT: a state. On a long pipeline ``value`` comes a cycle after ``write``.
    read_counter : Out(1)
        EMIT: the element is a register.
    data : In
        The element, READ_CYCLES after its place.
    word : In(signed)
        A state, READ_CYCLES - 1 after its place (on a short pipeline the same as ``data``).
    lanes, hits : Out
        As of `ElementPort`, with ``value``; 0 where that is one lane's.
    """

    def __init__(self, config: ArrayConfig):
        super().__init__(
            {
                **target_members(config),
                "space": Out(3),
                "group": Out(16),
                "lane": Out(config.lane_bits),
                "write": Out(1),
                "value": Out(config.state_bits),
                "read_counter": Out(1),
                "data": In(max(config.acc_bits, COUNTER_BITS)),
                "word": In(signed(config.state_bits)),
            }
        )


class Access(Scheduled):
    """Serves the host's requests, and leads WAIT and EMIT to the element that they are at.

    ::

        memory ----.                                  .--> program
        transfer --+--> space, index, lane, value ----+--> element
                   '<-- data -------------------------+--> registers

    Latency: a request is answered 5 cycles after it may begin; EMIT's are those of `TransferPort`.
    Throughput: a request per 6 cycles; a value of WAIT per cycle. A read that is early is answered
    once its register has had its turn, and nobody notices.

    Parameters
    ----------
    config
        The machine.

    Members
    -------
    memory : In(MemorySignature)
        The host's requests.
    free : In(1)
        A request may begin: no program runs, or it is stalled in WAIT.
    serving : Out(1)
        A request is under way: WAIT must not go on.
    wait_run, emit_run : In(1)
        The instruction is executing.
    transfer : In(TransferPort)
    element : Out(ElementPort)
    program : Out(ProgramPort)
    registers : Out(RegisterPort)
    """

    def __init__(self, config: ArrayConfig):
        super().__init__(
            config,
            {
                "memory": In(MemorySignature(config)),
                "free": In(1),
                "serving": Out(1),
                "wait_run": In(1),
                "emit_run": In(1),
                "transfer": In(TransferPort(config)),
                "element": Out(ElementPort(config)),
                "program": Out(ProgramPort(config)),
                "registers": Out(RegisterPort(config)),
            },
        )
        self.is_memory = Signal()
        self.memory_register = Signal(COUNTER_BITS)  # `Register.MEMORY`
        halves = data.ArrayLayout(COUNTER_BITS // 2, 2)
        self.watched = Signal(halves, reset_less=True)  # of a read that is early

    def build(self, m: Module) -> None:
        memory = self.memory
        write = Signal()
        beat = Signal(2)
        with m.FSM(name="access") as access:
            answering = access.ongoing("ANSWER")
            # A request that begins while WAIT is stalled keeps it so until it is over.
            with m.State("REST"):
                with m.If(memory.valid & self.free):
                    m.next = "SERVE"
                if self.config.sample_buffer:
                    with m.Elif(memory.valid & memory.early):
                        m.next = "WATCH"
            if self.config.sample_buffer:
                self.watch(m)
            with m.State("SERVE"):
                # Four beats, for a register's two halves, and for what is read on the way there.
                m.d.comb += [self.serving.eq(1), write.eq(memory.write & memory.valid)]
                m.d.sync += beat.eq(beat + 1)
                with m.If(beat == 3):
                    m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += [self.serving.eq(1), memory.ready.eq(memory.valid)]
                m.next = "REST"
        # While a program keeps the host waiting, every counter has its turn.
        due = memory.valid & (self.free | self.serving) & ~answering
        reads_register = due & (memory.space == Space.REGISTER)
        self.read(m, self.address(m, write, reads_register))
        if self.config.sample_buffer:
            m.d.comb += self.registers.watch.eq(memory.index)
            with m.If(access.ongoing("WATCHED")):
                m.d.comb += memory.rdata.eq(self.watched)

    def watch(self, m: Module) -> None:
        """The states of a read that is early."""
        memory, registers = self.memory, self.registers
        for state, half, then in (
            ("WATCH", 0, "WATCH_HIGH"),
            ("WATCH_HIGH", 1, "WATCHED"),
        ):
            with m.State(state):
                with m.If(registers.watched_high if half else registers.watched_low):
                    m.d.sync += self.watched[half].eq(registers.value)
                    m.next = then
                with m.If(~memory.valid):  # the host's reset
                    m.next = "REST"
        with m.State("WATCHED"):
            m.d.comb += memory.ready.eq(memory.valid)
            m.next = "REST"

    def address(self, m: Module, write: Signal, reads_register: Value) -> Signal:
        """Leads what is wanted to its memory: by EMIT while it runs, else by WAIT in the cycle
        behind each of its writes, else by the host. Returns the space that is read."""
        config, memory, transfer, element = self.config, self.memory, self.transfer, self.element
        space = Signal(3)
        index = Signal(16)
        lane = Signal(config.lane_bits)
        value = Signal(element_bits(config))
        written = Signal()
        m.d.sync += written.eq(transfer.write)
        m.d.comb += [
            space.eq(memory.space),
            index.eq(memory.index),
            lane.eq(memory.lane),
            value.eq(memory.wdata),
        ]
        value_comes = transfer.write if self.when.short else written
        with m.If(self.emit_run):
            m.d.comb += space.eq(transfer.space)
        with m.If(value_comes):
            m.d.comb += value.eq(transfer.value)
        with m.If(self.emit_run | written):
            m.d.comb += [index.eq(transfer.group), lane.eq(transfer.lane)]
        # While the host writes no EMIT runs, so both are its space: the first costs less, the
        # second is there earlier.
        target = space if self.when.short else memory.space
        m.d.comb += [
            element.read.eq(self.emit_run | self.serving),
            element.index.eq(index),
            element.lane.eq(lane),
            element.data.eq(value),
            element.write_state.eq((write & (target == Space.STATE)) | value_comes),
            element.write_drive.eq(write & (target == Space.DRIVE)),
            element.write_table.eq(write & (target == Space.TABLE)),
            self.program.index.eq(memory.index),
            self.program.data.eq(memory.wdata),
            self.program.write.eq(write & (target == Space.PROGRAM)),
            self.registers.index.eq(index),
            self.registers.lock.eq(transfer.read_counter | reads_register),
            self.registers.data.eq(memory.wdata),
            self.registers.write.eq(write & (target == Space.REGISTER)),
        ]
        if config.sample_memory:  # which says what it found, and cannot be written
            m.d.comb += self.is_memory.eq(index == Register.MEMORY)
            with m.If(self.is_memory):
                m.d.comb += self.registers.write.eq(0)
        if config.sample_buffer:
            for name in target_members(config):
                m.d.comb += getattr(element, name).eq(getattr(transfer, name))
        return space

    def read(self, m: Module, space: Value) -> None:
        """The element that was read, sign-extended to its own bytes, to host and EMIT. What is
        above these bytes is a program row's."""
        config, when = self.config, self.when
        state, registers = self.element.state, self.registers
        # On a long pipeline through registers: both have been constant for cycles when they count.
        space = when.late(m, space, "space")
        row = when.late(m, self.program.row, "p_row")
        whole = 8 * max(element_bytes(config, space) for space in (Space.DRIVE, Space.REGISTER))
        element = Signal(signed(whole), reset_less=True)
        with m.Switch(space):
            with m.Case(Space.PROGRAM):
                m.d.sync += element.eq(row)
            with m.Case(Space.STATE):
                wide = Cat(state, state[-1].replicate(16))
                m.d.sync += element.eq(wide[: 8 * element_bytes(config, Space.STATE)])
            with m.Case(Space.DRIVE):
                m.d.sync += element.eq(self.element.drive)
            with m.Default():
                with m.If(registers.low):
                    m.d.sync += element[: COUNTER_BITS // 2].eq(registers.value)
                with m.If(registers.high):
                    m.d.sync += element[COUNTER_BITS // 2 :].eq(registers.value)
                with m.If(self.is_memory):
                    m.d.sync += element.eq(self.memory_register)
        with m.If(self.wait_run & ~self.serving):
            m.d.sync += element.eq(element)
        m.d.comb += [
            self.memory.rdata.eq(Cat(element, row[whole:])),
            self.transfer.data.eq(element),
            self.transfer.word.eq(element if when.short else state),
        ]
