"""WAIT and EMIT: bytes of the sample source into S, planes and counters into records."""

from amaranth.hdl import Array, Cat, Module, Mux, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from relaxon_isa.config import ArrayConfig
from relaxon_isa.cycles import READ_CYCLES
from relaxon_isa.instructions import EmitKind, Pack
from relaxon_isa.link import Record
from relaxon_isa.memory import COUNTER_BITS, Space, element_bytes, row_bits

from .array import row_view

__all__ = ["Emitter", "Waiter"]


class Waiter(wiring.Component):
    """WAIT: a cycle to take a byte, a cycle to write a value; stalls without a byte.

    The write is in registers, a cycle after its value.

    Members
    -------
    run : In(1)
        The instruction executes; without it everything is at rest.
    row, index : In
        The instruction's row and what it adds to its group.
    hold : In(1)
        Take no byte.
    sample : In(stream of 8 bits)
    tick : Out(1)
        In the first cycle of a WAIT with tick.
    stalled, finished : Out(1)
    group : Out(16), lane : Out, value : Out, write : Out(1)
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        super().__init__(
            {
                "run": In(1),
                "row": In(row_bits(config)),
                "index": In(16),
                "hold": In(1),
                "sample": In(stream.Signature(8)),
                "tick": Out(1),
                "stalled": Out(1),
                "finished": Out(1),
                "group": Out(16),
                "lane": Out(config.lane_bits),
                "value": Out(config.state_bits),
                "write": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        config = self.config
        n = config.state_bits
        word_bytes = element_bytes(config, Space.STATE)
        fields = row_view(config, "WAIT", self.row)
        pack = fields["pack"]

        first = Signal(init=1)
        left = Signal(16)
        group = Signal(16)
        lane = Signal(config.lane_bits)
        # The last byte taken is on top: a word has come whole, or values leave at the byte's end.
        taken = Signal(8 * word_bytes)
        byte = taken[-8:]
        beat = Signal(3)
        m.d.sync += first.eq(0)
        with m.If(first):
            m.d.sync += [left.eq(fields["count"]), group.eq(fields["dst"] + self.index)]
        m.d.comb += self.tick.eq(self.run & first & fields["tick"])

        value = Signal(n)
        with m.Switch(pack):
            for each in Pack:
                with m.Case(each):
                    if each is Pack.WORD:
                        m.d.comb += value.eq(taken)
                    else:
                        bits = byte[: each.bits]
                        sign = bits[-1] & fields["signed"]
                        m.d.comb += value.eq(Cat(bits, sign.replicate(n - each.bits)))
        per_byte = Signal(3)  # values in a byte, less 1
        with m.Switch(pack):
            for each in Pack:
                with m.Case(each):
                    m.d.comb += per_byte.eq(0 if each is Pack.WORD else 8 // each.bits - 1)

        with m.FSM(name="wait"):
            with m.State("BYTE"):
                m.d.comb += [
                    self.sample.ready.eq(self.run & ~self.hold),
                    self.stalled.eq(~(self.sample.valid & self.sample.ready)),
                ]
                with m.If(self.sample.valid & self.sample.ready):
                    m.d.sync += [
                        taken.eq(Cat(taken, self.sample.payload)[8:]),
                        beat.eq(beat + 1),
                    ]
                    with m.If((pack != Pack.WORD) | (beat == word_bytes - 1)):
                        m.d.sync += beat.eq(0)
                        m.next = "VALUE"
            with m.State("VALUE"):
                m.d.comb += self.write.eq(self.run)  # not in the cycle in which this is reset
                m.d.sync += [left.eq(left - 1), beat.eq(beat + 1), lane.eq(lane + 1)]
                with m.Switch(pack):
                    for each in Pack:
                        if each in (Pack.B1, Pack.B2, Pack.B4):
                            with m.Case(each):
                                m.d.sync += byte.eq(byte >> each.bits)
                with m.If(lane == config.p - 1):
                    m.d.sync += [lane.eq(0), group.eq(group + 1)]
                with m.If(beat == per_byte):
                    m.d.sync += beat.eq(0)
                    m.next = "BYTE"
                m.d.comb += self.finished.eq(left == 1)
        m.d.comb += [
            self.group.eq(group),
            self.lane.eq(lane),
            self.value.eq(value << fields["shift"]),
        ]
        return ResetInserter(~self.run)(m)


class Emitter(wiring.Component):
    """EMIT: a record's header, then for each element `READ_CYCLES` to read it and its bytes.

    Members
    -------
    run : In(1)
        The instruction executes; without it everything is at rest.
    row, index : In
        The instruction's row and what it adds to its base.
    emit : Out(stream of 8 bits)
    stalled, finished : Out(1)
    space, read_index, lane : Out
        The element wanted; it is at ``data`` in the last of the READ_CYCLES and stays there.
    data : In
    counters : Out(1)
        The record is of counters: they hold what they had before it.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        super().__init__(
            {
                "run": In(1),
                "row": In(row_bits(config)),
                "index": In(16),
                "emit": Out(stream.Signature(8)),
                "stalled": Out(1),
                "finished": Out(1),
                "space": Out(3),
                "read_index": Out(16),
                "lane": Out(config.lane_bits),
                "data": In(max(config.acc_bits, COUNTER_BITS)),
                "counters": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        config = self.config
        n = config.state_bits
        fields = row_view(config, "EMIT", self.row)
        kind, count = fields["kind"], fields["count"]
        sizes = {
            EmitKind.PLANE: element_bytes(config, Space.STATE),
            EmitKind.DRIVE: element_bytes(config, Space.DRIVE),
            EmitKind.COUNTERS: COUNTER_BITS // 8,
        }
        spaces = {
            EmitKind.PLANE: Space.STATE,
            EmitKind.DRIVE: Space.DRIVE,
            EmitKind.COUNTERS: Space.REGISTER,
            EmitKind.ARGMAX: Space.STATE,
        }

        first = Signal(init=1)
        done = Signal(16)  # elements
        group = Signal(16)
        lane = Signal(config.lane_bits)
        length = Signal(16)
        byte = Signal(range(max(sizes.values())))
        last_byte = Signal(range(max(sizes.values())))
        best = Signal(n)
        best_at = Signal(16)
        laned = Signal(init=1)
        wait = Signal(range(READ_CYCLES))
        whole = 8 * max(*sizes.values(), 2)
        data = Signal(whole)
        m.d.comb += [
            data.eq(self.data.as_signed()),
            self.read_index.eq(group),
            self.lane.eq(lane),
            self.counters.eq(self.run & (kind == EmitKind.COUNTERS)),
            laned.eq(kind != EmitKind.COUNTERS),
        ]
        m.d.sync += first.eq(0)
        with m.If(first):
            m.d.sync += group.eq(fields["base"] + self.index)
        with m.Switch(kind):
            for each in EmitKind:
                with m.Case(each):
                    m.d.comb += self.space.eq(spaces[each])
                    size = sizes.get(each, 2)
                    m.d.comb += last_byte.eq(size - 1)
                    m.d.sync += length.eq(count * size if each in sizes else 2)
        m.d.comb += self.stalled.eq(self.emit.valid & ~self.emit.ready)

        def next_element():
            m.d.sync += lane.eq(lane + 1)
            with m.If(~laned | (lane == config.p - 1)):
                m.d.sync += [lane.eq(0), group.eq(group + 1)]

        bytes_of_data = Array(data[8 * i : 8 * i + 8] for i in range(whole // 8))
        bytes_of_best = Array([best_at[:8], best_at[8:]])
        with m.FSM(name="emit"):
            with m.State("TAG"):
                m.d.comb += [self.emit.valid.eq(self.run), self.emit.payload.eq(Record.EMIT)]
                with m.If(self.run & self.emit.ready):
                    m.next = "LENGTH_LOW"
            with m.State("LENGTH_LOW"):
                m.d.comb += [self.emit.valid.eq(1), self.emit.payload.eq(length[:8])]
                with m.If(self.emit.ready):
                    m.next = "LENGTH_HIGH"
            with m.State("LENGTH_HIGH"):
                m.d.comb += [self.emit.valid.eq(1), self.emit.payload.eq(length[8:])]
                with m.If(self.emit.ready):
                    m.next = "READ"
            with m.State("READ"):
                m.d.sync += wait.eq(wait + 1)
                with m.If(wait == READ_CYCLES - 1):
                    m.d.sync += [wait.eq(0), done.eq(done + 1)]
                    m.next = "BYTE"
                    with m.If(kind == EmitKind.ARGMAX):
                        word = data[:n].as_signed()
                        with m.If((done == 0) | (word > best.as_signed())):
                            m.d.sync += [best.eq(word), best_at.eq(done)]
                        next_element()
                        with m.If(done + 1 != count):
                            m.next = "READ"
            with m.State("BYTE"):
                m.d.comb += [
                    self.emit.valid.eq(1),
                    self.emit.payload.eq(
                        Mux(
                            kind == EmitKind.ARGMAX,
                            bytes_of_best[byte[0]],
                            bytes_of_data[byte],
                        )
                    ),
                ]
                with m.If(self.emit.ready):
                    m.d.sync += byte.eq(byte + 1)
                    with m.If(byte == last_byte):
                        m.d.sync += byte.eq(0)
                        next_element()  # not before: the element's bytes come from its place
                        m.next = "READ"
                        m.d.comb += self.finished.eq(done == count)
        return ResetInserter(~self.run)(m)
