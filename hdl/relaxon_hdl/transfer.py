"""WAIT and EMIT: bytes of the sample source into S, planes and counters into records."""

from amaranth.hdl import Array, Cat, Module, Mux, ResetInserter, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from relaxon_isa.config import ArrayConfig
from relaxon_isa.cycles import READ_CYCLES
from relaxon_isa.instructions import EmitKind, Pack
from relaxon_isa.link import Record
from relaxon_isa.memory import COUNTER_BITS, Space, element_bytes, row_bits

from .primitives import delay
from .rows import row_view
from .schedule import Schedule

__all__ = ["Mover"]

SPACES = {
    EmitKind.PLANE: Space.STATE,
    EmitKind.DRIVE: Space.DRIVE,
    EmitKind.ARGMAX: Space.STATE,
    EmitKind.COUNTERS: Space.REGISTER,
}


class Mover(wiring.Component):
    """Executes WAIT and EMIT; they share what counts elements.

    WAIT: a cycle to take a byte, a cycle to write a value; stalls without a byte. EMIT: the bytes
    of a header, then for each element `READ_CYCLES` to read it and its bytes; stalls without room.

    Parameters
    ----------
    config

    Members
    -------
    wait_run, emit_run : In(1)
        The instruction executes; without one everything is at rest.
    row, index : In
        The instruction's row and what it adds to its base, a cycle after the instruction began;
        with one weight port at once.
    hold : In(1)
        Take no byte.
    sample : In(stream of 8 bits), emit : Out(stream of 8 bits)
    tick : Out(1)
        In the first cycle of a WAIT with tick.
    stalled, finished : Out(1)
    space : Out(3)
        EMIT's.
    group : Out(16), lane : Out
        EMIT: of the element that is read; it is at ``data`` from the cycle behind the READ_CYCLES
        on, and if it is a state at ``word`` in their last one. WAIT: of the value written in the
        cycle before.
    write : Out(1), value : Out
        WAIT: a value; on fast fabrics (not `Schedule.merged`) it comes a cycle after ``write``.
    read_counter : Out(1)
        A register is read: in the READ_CYCLES. Its upper half may be a cycle late at ``data``.
    data : In, word : In
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        super().__init__(
            {
                "wait_run": In(1),
                "emit_run": In(1),
                "row": In(row_bits(config)),
                "index": In(16),
                "hold": In(1),
                "sample": In(stream.Signature(8)),
                "emit": Out(stream.Signature(8)),
                "tick": Out(1),
                "stalled": Out(1),
                "finished": Out(1),
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

    def elaborate(self, platform):
        m = Module()
        config = self.config
        n = config.state_bits
        merged = Schedule(config).merged
        word_bytes = element_bytes(config, Space.STATE)
        wait = row_view(config, "WAIT", self.row)
        emit = row_view(config, "EMIT", self.row)
        pack, kind = wait["pack"], emit["kind"]
        sizes = {
            each: 2 if each is EmitKind.ARGMAX else element_bytes(config, SPACES[each])
            for each in EmitKind
        }

        # Elements --------------------------------------------------------------------------------

        first = Signal(init=1)
        done = Signal(16)
        group = Signal(max(len(emit["base"]), len(wait["dst"])))
        lane = Signal(config.lane_bits)
        step = Signal()  # to the next element's place
        ends = Signal()  # done will be all
        after = Signal(16)
        counters = Signal()
        count = Mux(self.wait_run, wait["count"], emit["count"])
        m.d.comb += after.eq(done + 1)
        if merged:
            m.d.comb += ends.eq(after == count)
            entering = first
        else:
            left = Signal(16, reset_less=True)
            advance = Signal()
            entering = Signal()  # a cycle later: ``index`` has come
            m.d.sync += entering.eq(first)
            with m.If(advance):
                m.d.sync += [left.eq(left - 1), ends.eq(left == 2)]
            with m.If(first):
                m.d.sync += [left.eq(count), ends.eq(count == 1)]
        m.d.comb += [
            self.group.eq(group),
            self.lane.eq(lane),
            counters.eq(self.emit_run & (kind == EmitKind.COUNTERS)),
        ]
        m.d.sync += first.eq(0)
        with m.If(step):
            m.d.sync += lane.eq(lane + 1)
            with m.If(counters | (lane == config.p - 1)):
                m.d.sync += [lane.eq(0), group.eq(group + 1)]
        with m.If(entering):
            m.d.sync += group.eq(Mux(self.wait_run, wait["dst"], emit["base"]) + self.index)

        # Values of a WAIT. The last byte taken is on top: a word has come whole, or values leave at
        # the byte's end.

        taken = Signal(8 * word_bytes, reset_less=True)
        byte = taken[-8:]
        beat = Signal(3)
        written = Signal()
        plain = Signal(n)
        per_byte = Signal(3)  # values in a byte, less 1
        with m.Switch(pack):
            for each in Pack:
                with m.Case(each):
                    if each is Pack.WORD:
                        m.d.comb += plain.eq(taken)
                    else:
                        bits = byte[: each.bits]
                        sign = bits[-1] & wait["signed"]
                        m.d.comb += [
                            plain.eq(Cat(bits, sign.replicate(n - each.bits))),
                            per_byte.eq(8 // each.bits - 1),
                        ]
        m.d.sync += written.eq(self.write)
        m.d.comb += [
            self.tick.eq(self.wait_run & first & wait["tick"]),
            self.value.eq((plain if merged else delay(m, plain, 1, "plain")[-1]) << wait["shift"]),
        ]

        def element_done():
            m.d.sync += done.eq(after)
            if not merged:
                m.d.comb += advance.eq(1)

        with m.If(written):
            m.d.comb += step.eq(1)

        # Elements of an EMIT ---------------------------------------------------------------------

        length = Signal(16, reset_less=True)
        size = Signal(range(max(sizes.values()) + 1))
        last_byte = Signal(range(max(sizes.values())), reset_less=not merged)
        whole = 8 * max(sizes.values())
        data = Signal(whole)
        best = Signal(signed(n), reset_less=True)
        best_at = Signal(16, reset_less=True)
        m.d.comb += data.eq(self.data.as_signed())
        word, place = self.word, done
        if not merged:  # compared a cycle later
            word_comes, word_came = Signal(), Signal()
            m.d.sync += word_came.eq(word_comes)
            word, place = (delay(m, w, 1, n)[1] for w, n in ((word, "word"), (place, "place")))
        better = (place == 0) | (word > best)
        best_place = best_at
        if not merged:
            best_place = Mux(word_came & better, place, best_at)
            with m.If(word_came & better):
                m.d.sync += [best.eq(word), best_at.eq(place)]
        with m.Switch(kind):
            for each in EmitKind:
                with m.Case(each):
                    m.d.comb += self.space.eq(SPACES[each])
                    m.d["comb" if merged else "sync"] += last_byte.eq(sizes[each] - 1)
                    m.d.comb += size.eq(sizes[each])
        # Not a product, for which synthesis would take a multiplier without registers.
        elements = Mux(kind == EmitKind.ARGMAX, 1, emit["count"])
        m.d.sync += length.eq(
            sum((elements << k) & bit.replicate(16) for k, bit in enumerate(size))
        )
        send = Array(data[low : low + 8] for low in range(0, whole, 8))
        send_best = Array([best_place[:8], best_place[8:]])
        sending = Signal()
        m.d.comb += [
            sending.eq(self.emit.valid & self.emit.ready),
            self.stalled.eq(self.emit.valid & ~self.emit.ready),
        ]

        with m.FSM(name="move"):
            with m.State("REST"):
                m.d.comb += [
                    self.sample.ready.eq(self.wait_run & ~self.hold),
                    self.emit.valid.eq(self.emit_run),
                    self.emit.payload.eq(Record.EMIT),
                ]
                with m.If(self.wait_run):
                    m.d.comb += self.stalled.eq(~(self.sample.valid & self.sample.ready))
                with m.If(self.sample.valid & self.sample.ready):
                    m.d.sync += [
                        taken.eq(Cat(taken, self.sample.payload)[8:]),
                        beat.eq(beat + 1),
                    ]
                    with m.If((pack != Pack.WORD) | (beat == word_bytes - 1)):
                        m.d.sync += beat.eq(0)
                        m.next = "VALUE"
                with m.If(sending):
                    m.next = "LENGTH_LOW"
            with m.State("VALUE"):
                m.d.comb += [
                    self.write.eq(self.wait_run),  # not in the cycle in which this is reset
                    self.finished.eq(ends),
                ]
                element_done()
                m.d.sync += beat.eq(beat + 1)
                with m.Switch(pack):
                    for each in (Pack.B1, Pack.B2, Pack.B4):
                        with m.Case(each):
                            m.d.sync += byte.eq(byte >> each.bits)
                with m.If(beat == per_byte):
                    m.d.sync += beat.eq(0)
                    m.next = "REST"
            with m.State("LENGTH_LOW"):
                m.d.comb += [self.emit.valid.eq(1), self.emit.payload.eq(length[:8])]
                with m.If(sending):
                    m.next = "LENGTH_HIGH"
            with m.State("LENGTH_HIGH"):
                m.d.comb += [self.emit.valid.eq(1), self.emit.payload.eq(length[8:])]
                with m.If(sending):
                    m.next = "READ"
            with m.State("READ"):
                m.d.sync += beat.eq(beat + 1)
                m.d.comb += self.read_counter.eq(counters)
                with m.If(beat == READ_CYCLES - 1):
                    m.d.sync += beat.eq(0)
                    m.next = "SEND"
                    with m.If(kind == EmitKind.ARGMAX):
                        if merged:
                            with m.If(better):
                                m.d.sync += [best.eq(word), best_at.eq(place)]
                        else:
                            m.d.comb += word_comes.eq(1)
                        with m.If(~ends):
                            m.d.comb += step.eq(1)
                            element_done()
                            m.next = "READ"
            with m.State("SEND"):
                m.d.comb += [
                    self.emit.valid.eq(1),
                    self.emit.payload.eq(
                        Mux(kind == EmitKind.ARGMAX, send_best[beat[0]], send[beat])
                    ),
                ]
                with m.If(sending):
                    m.d.sync += beat.eq(beat + 1)
                    with m.If(beat == last_byte):
                        m.d.sync += beat.eq(0)
                        element_done()
                        m.d.comb += [step.eq(1), self.finished.eq(ends)]
                        m.next = "READ"
        return ResetInserter(~(self.wait_run | self.emit_run))(m)
