"""WAIT and EMIT: bytes of the sample source into S, planes and counters into records."""

from amaranth.hdl import Array, Cat, Module, Mux, ResetInserter, Signal, signed
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from relaxon_isa import (
    AHEAD_CYCLES,
    READ_CYCLES,
    ArrayConfig,
    EmitKind,
    Pack,
    Record,
    Space,
    element_bytes,
    row_bits,
)

from .access import TransferPort
from .primitives import delay
from .rows import row_view
from .schedule import Scheduled

__all__ = ["ElementWalk", "Maximum", "TransferUnit", "Unpacker"]

SPACES = {
    EmitKind.PLANE: Space.STATE,
    EmitKind.DRIVE: Space.DRIVE,
    EmitKind.ARGMAX: Space.STATE,
    EmitKind.COUNTERS: Space.REGISTER,
}


class ElementWalk(Scheduled):
    """Counts a transfer's elements, and walks over their places lane by lane, group by group.

    It is reset between two transfers.

    Parameters
    ----------
    config
        The machine.

    Members
    -------
    count : In(16)
        Elements of the transfer.
    base : In(16)
        Group of the first element; in the first cycle (with the long pipeline the second).
    single : In(1)
        A group is one element: there are no lanes.
    advance : In(1)
        One cycle: an element is done.
    step : In(1)
        One cycle: go to the next place.
    first : Out(1)
        The transfer's first cycle.
    done : Out(16)
        Elements done.
    ends : Out(1)
        The element after them is the transfer's last.
    group : Out(16), lane : Out
        The place.
    """

    def __init__(self, config: ArrayConfig):
        super().__init__(
            config,
            {
                "count": In(16),
                "base": In(16),
                "single": In(1),
                "advance": In(1),
                "step": In(1),
                "first": Out(1),
                "done": Out(16),
                "ends": Out(1),
                "group": Out(16),
                "lane": Out(config.lane_bits),
            },
        )

    def build(self, m: Module) -> None:
        first = Signal(init=1)
        after = Signal(16)
        group = Signal(max(self.config.state_addr_bits, self.config.drive_addr_bits))
        m.d.comb += [
            self.first.eq(first),
            self.group.eq(group),
            after.eq(self.done + 1),
        ]
        m.d.sync += first.eq(0)
        if self.when.short:
            m.d.comb += self.ends.eq(after == self.count)
        else:
            left = Signal(16, reset_less=True)
            with m.If(self.advance):
                m.d.sync += [left.eq(left - 1), self.ends.eq(left == 2)]
            with m.If(first):
                m.d.sync += [left.eq(self.count), self.ends.eq(self.count == 1)]
        with m.If(self.advance):
            m.d.sync += self.done.eq(after)
        with m.If(self.step):
            m.d.sync += self.lane.eq(self.lane + 1)
            with m.If(self.single | (self.lane == self.config.p - 1)):
                m.d.sync += [self.lane.eq(0), group.eq(group + 1)]
        with m.If(self.when.late(m, first, "entering", reset=True)):
            m.d.sync += group.eq(self.base)


class Unpacker(Scheduled):
    """Values of a WAIT out of its bytes. The last byte taken is on top: a word is complete, or
    values leave at that byte's lower end.

    Parameters
    ----------
    config
        The machine.

    Members
    -------
    row : In
        The WAIT's row.
    byte : In(8), take : In(1)
        Take a byte.
    next : In(1)
        Go to the byte's next value.
    beat : In(3)
        With ``take``: bytes of the word taken before. With ``next``: values of the byte before.
    complete : Out(1)
        With ``take``: the byte completes a value.
    empties : Out(1)
        With ``next``: the value was the byte's last.
    value : Out
        The value, shifted; with the long pipeline a cycle late.
    """

    def __init__(self, config: ArrayConfig):
        super().__init__(
            config,
            {
                "row": In(row_bits(config)),
                "byte": In(8),
                "take": In(1),
                "next": In(1),
                "beat": In(3),
                "complete": Out(1),
                "empties": Out(1),
                "value": Out(config.state_bits),
            },
        )

    def build(self, m: Module) -> None:
        n = self.config.state_bits
        word_bytes = element_bytes(self.config, Space.STATE)
        wait = row_view(self.config, "WAIT", self.row)

        taken = Signal(8 * word_bytes, reset_less=True)
        byte = taken[-8:]
        plain = Signal(n)
        per_byte = Signal(3)  # values in a byte, less 1
        with m.If(self.take):
            m.d.sync += taken.eq(Cat(taken, self.byte)[8:])
        with m.Switch(wait["pack"]):
            for each in Pack:
                with m.Case(each):
                    if each is Pack.WORD:
                        m.d.comb += plain.eq(taken)
                        continue
                    bits = byte[: each.bits]
                    sign = bits[-1] & wait["signed"]
                    m.d.comb += [
                        plain.eq(Cat(bits, sign.replicate(n - each.bits))),
                        per_byte.eq(8 // each.bits - 1),
                    ]
                    with m.If(self.next):
                        m.d.sync += byte.eq(byte >> each.bits)
        m.d.comb += [
            self.complete.eq((wait["pack"] != Pack.WORD) | (self.beat == word_bytes - 1)),
            self.empties.eq(self.beat == per_byte),
            self.value.eq(self.when.late(m, plain, "plain") << wait["shift"]),
        ]


class Maximum(Scheduled):
    """The first of the largest words.

    Latency: one cycle.

    Parameters
    ----------
    config
        The machine.

    Members
    -------
    word : In(signed), place : In(16), compare : In(1)
        A word and its place; that of place 0 begins anew.
    best_place : Out(16)
        Place of the largest word until now.
    newer : Out(1), new_place : Out(16), old_place : Out(16)
        It is ``new_place`` if ``newer``, else ``old_place``; both come from registers.
    """

    def __init__(self, config: ArrayConfig):
        super().__init__(
            config,
            {
                "word": In(signed(config.state_bits)),
                "place": In(16),
                "compare": In(1),
                "best_place": Out(16),
                "newer": Out(1),
                "new_place": Out(16),
                "old_place": Out(16),
            },
        )

    def build(self, m: Module) -> None:
        word = self.when.late(m, self.word, "word")
        place = self.when.late(m, self.place, "place")
        compare = self.when.late(m, self.compare, "compare", reset=True)
        best = Signal(signed(self.config.state_bits), reset_less=True)
        best_at = Signal(16, reset_less=True)
        better = Signal()
        m.d.comb += [
            better.eq(compare & ((place == 0) | (word > best))),
            self.best_place.eq(best_at if self.when.short else Mux(better, place, best_at)),
            self.newer.eq(better),
            self.new_place.eq(place),
            self.old_place.eq(best_at),
        ]
        with m.If(better):
            m.d.sync += [best.eq(word), best_at.eq(place)]


class TransferUnit(Scheduled):
    """Executes WAIT and EMIT; they share what counts elements.

    WAIT: a cycle to take a byte, a cycle to write a value; stalls without a byte. EMIT: the bytes
    of a header, then for each element `READ_CYCLES` to read it and its bytes; stalls without room.

    A WAIT that is ahead takes a whole sample in its first cycle, before which it stalls, then
    writes a group of the target a cycle::

        cycle   0     1 .. G    G + 1 .. G + 3
                take  TARGET    SETTLE           what is written at cycle t is in S at t + 4

    An EMIT of kind ANSWER reads a word a cycle, from cycle 2 on, and compares it `READ_CYCLES` - 1
    cycles later; what it comes to is known in the cycle behind its last.

    Parameters
    ----------
    config
        The machine.

    Members
    -------
    wait_run, emit_run : In(1)
        The instruction executes. While none does the unit is in reset.
    row : In, index : In(16)
        The instruction's row, and what to add to its base, a cycle after the instruction began;
        with the short pipeline at once.
    hold : In(1)
        Take no byte, and no sample. With a sample buffer no byte is offered meanwhile.
    sample : In(stream of 8 bits), emit : Out(stream of 8 bits)
        Bytes for WAIT; records of EMIT.
    tick : Out(1)
        In the first cycle of a WAIT with tick; of one that is ahead, as it takes the sample.
    stalled : Out(1)
        WAIT lacks a byte, or EMIT lacks room for one.
    finished : Out(1)
        The instruction's last cycle.
    space, group, lane, write, value, read_counter, data, word
        As of `TransferPort`; with a sample buffer ``lanes`` and ``hits``, too.

    With a sample buffer:

    ahead : Out(1)
        A WAIT that is ahead executes.
    open : Out(1)
        WAIT is where it lacks a byte, or a sample, unless one comes now.
    settled : Out(1)
        ``finished``, of a WAIT that is ahead alone: known earlier in the cycle.
    whole : In(1), take : Out(1), labelled : In(1), label : In(8)
        As of `SampleBuffer`.
    wrong : Out(1)
        An ANSWER was another than the label.
    newer : Out(1), newer_byte : Out(8)
        If ``newer``, what is offered at ``emit`` is ``newer_byte``: which one it is comes late.
    """

    def __init__(self, config: ArrayConfig):
        samples = {
            "ahead": Out(1),
            "open": Out(1),
            "settled": Out(1),
            "whole": In(1),
            "take": Out(1),
            "labelled": In(1),
            "label": In(8),
            "wrong": Out(1),
            "newer": Out(1),
            "newer_byte": Out(8),
        }
        self.restart = Signal()  # this one's last cycle: behind it the next may begin
        self.answers = Signal()
        self.passed = Signal(range(256 + 2 * config.p))  # outputs that have their targets
        self.judged = Signal()
        super().__init__(
            config,
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
                **TransferPort(config).members,
                **(samples if config.sample_buffer else {}),
            },
        )
        self.wait = row_view(config, "WAIT", self.row)
        self.emit_row = row_view(config, "EMIT", self.row)

    def elaborate(self, platform: object) -> Module:
        idle = ~(self.wait_run | self.emit_run)
        return ResetInserter(idle | self.restart)(super().elaborate(platform))

    def build(self, m: Module) -> None:
        config, when = self.config, self.when
        wait, emit = self.wait, self.emit_row
        kind = emit["kind"]
        sizes = {
            each: 2 if each is EmitKind.ARGMAX else element_bytes(config, SPACES[each])
            for each in SPACES
        }
        whole = 8 * max(sizes.values())

        m.submodules.walk = walk = ElementWalk(config)
        m.submodules.unpacker = unpacker = Unpacker(config)
        m.submodules.maximum = maximum = Maximum(config)

        beat = Signal(range(max(8, *sizes.values())))
        written = Signal()
        counters = Signal()
        length = Signal(16, reset_less=True)
        size = Signal(range(max(sizes.values()) + 1))
        last_byte = Signal(range(max(sizes.values())), reset_less=not when.short)
        data = Signal(whole)
        sending = Signal()
        m.d.comb += [
            counters.eq(self.emit_run & (kind == EmitKind.COUNTERS)),
            walk.count.eq(Mux(self.wait_run, wait["count"], emit["count"])),
            walk.base.eq(Mux(self.wait_run, wait["dst"], emit["base"]) + self.index),
            walk.single.eq(counters),
            self.group.eq(walk.group),
            self.lane.eq(walk.lane),
            self.tick.eq(self.wait_run & walk.first & wait["tick"]),
            unpacker.row.eq(self.row),
            unpacker.byte.eq(self.sample.payload),
            unpacker.take.eq(self.sample.valid & self.sample.ready),
            unpacker.beat.eq(beat),
            self.value.eq(unpacker.value),
            maximum.word.eq(self.word),
            maximum.place.eq(walk.done),
            data.eq(self.data.as_signed()),
            sending.eq(self.emit.valid & self.emit.ready),
            self.stalled.eq(self.emit.valid & ~self.emit.ready),
        ]
        m.d.sync += written.eq(self.write)
        with m.If(written):
            m.d.comb += walk.step.eq(1)

        with m.Switch(kind):
            for each in SPACES:
                with m.Case(each):
                    m.d.comb += [self.space.eq(SPACES[each]), size.eq(sizes[each])]
                    m.d[when.domain] += last_byte.eq(sizes[each] - 1)
            if config.sample_buffer:
                with m.Case(EmitKind.ANSWER):
                    m.d.comb += self.space.eq(Space.STATE)
        # Not a product, for which synthesis would take a multiplier without registers.
        elements = Mux(kind == EmitKind.ARGMAX, 1, emit["count"])
        m.d.sync += length.eq(
            sum((elements << k) & bit.replicate(16) for k, bit in enumerate(size))
        )
        send = Array(data[low : low + 8] for low in range(0, whole, 8))
        best = maximum.old_place if config.sample_buffer else maximum.best_place
        send_best = Array([best[:8], best[8:]])

        if config.sample_buffer:
            self.prepare_samples(m, walk, maximum)
        with m.FSM(name="move"):
            with m.State("REST"):
                m.d.comb += [
                    self.sample.ready.eq(self.wait_run & ~self.hold),
                    self.emit.valid.eq(self.emit_run),
                    self.emit.payload.eq(Record.EMIT),
                ]
                with m.If(self.wait_run):
                    m.d.comb += self.stalled.eq(~unpacker.take)
                with m.If(unpacker.take):
                    m.d.sync += beat.eq(beat + 1)
                    with m.If(unpacker.complete):
                        m.d.sync += beat.eq(0)
                        m.next = "VALUE"
                with m.If(sending):
                    m.next = "LENGTH_LOW"
                if config.sample_buffer:
                    self.enter_samples(m)
            if config.sample_buffer:
                self.take_samples(m, walk, maximum, beat)
            with m.State("VALUE"):
                m.d.comb += [
                    self.write.eq(self.wait_run),  # not in the cycle in which this is reset
                    self.finished.eq(walk.ends),
                    walk.advance.eq(1),
                    unpacker.next.eq(1),
                ]
                m.d.sync += beat.eq(beat + 1)
                with m.If(unpacker.empties):
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
                        m.d.comb += maximum.compare.eq(1)
                        with m.If(~walk.ends):
                            m.d.comb += [walk.step.eq(1), walk.advance.eq(1)]
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
                        m.d.comb += [
                            walk.step.eq(1),
                            walk.advance.eq(1),
                            self.finished.eq(walk.ends),
                        ]
                        m.next = "READ"

    def prepare_samples(self, m: Module, walk: ElementWalk, maximum: Maximum) -> None:
        """What a WAIT that is ahead and an ANSWER need beside the states in which they are."""
        p, wait, emit = self.config.p, self.wait, self.emit_row
        # Each place is compared before it is known which one counts.
        new, old = maximum.new_place == self.label, maximum.old_place == self.label
        right = self.labelled & Mux(maximum.newer, new, old)
        m.d.comb += [
            self.ahead.eq(self.wait_run & wait["ahead"]),
            self.answers.eq(self.emit_run & (emit["kind"] == EmitKind.ANSWER)),
            self.wrong.eq(self.judged & ~right),
            self.newer.eq(self.emit_run & (emit["kind"] == EmitKind.ARGMAX) & maximum.newer),
            self.newer_byte.eq(maximum.new_place),
        ]
        places = [self.passed + k for k in range(p)]
        targets = (self.ahead & self.write).replicate(p)
        m.d.sync += [
            self.lanes.eq(Cat(place < wait["outputs"] for place in places) & targets),
            self.hits.eq(Cat(place == self.label for place in places) & targets),
            self.judged.eq(self.answers & self.finished),
        ]
        # The word that comes is of the lane of two cycles ago.
        lanes = delay(m, walk.lane, 2, "answer_lane")
        with m.If(self.answers):
            m.d.comb += self.lane.eq(lanes[2])
        with m.If(self.ahead):
            m.d.comb += [walk.single.eq(1), self.value.eq(wait["low"])]

    def enter_samples(self, m: Module) -> None:
        """How a WAIT that is ahead and an ANSWER begin, in place of what others do at rest."""
        m.d.comb += [
            self.open.eq(self.wait_run & ~(self.ahead & self.take)),
            self.sample.ready.eq(self.wait_run),  # whatever `hold` is: no byte is offered then
        ]
        with m.If(self.ahead):
            m.d.comb += [
                self.sample.ready.eq(0),
                self.take.eq(self.whole & ~self.hold),
                self.stalled.eq(~self.take),
                self.tick.eq(self.take & self.wait["tick"]),
            ]
            with m.If(self.take):
                m.next = "TARGET"
                with m.If(self.wait["outputs"] == 0):
                    m.next = "SETTLE"
        with m.If(self.answers):
            m.d.comb += self.emit.valid.eq(0)
            m.next = "ANSWER"

    def take_samples(self, m: Module, walk: ElementWalk, maximum: Maximum, beat: Signal) -> None:
        """The states of a WAIT that is ahead and of an ANSWER."""
        after = self.passed + self.config.p
        with m.State("TARGET"):
            m.d.comb += self.write.eq(self.wait_run)
            m.d.sync += self.passed.eq(after)
            with m.If(after >= self.wait["outputs"]):
                m.next = "SETTLE"
        with m.State("SETTLE"):
            m.d.sync += beat.eq(beat + 1)
            with m.If(beat == AHEAD_CYCLES - 2):
                m.d.comb += [self.finished.eq(1), self.settled.eq(1), self.restart.eq(1)]
        with m.State("ANSWER"):
            m.d.comb += [
                walk.step.eq(beat != 0),
                maximum.compare.eq(beat == READ_CYCLES),
                walk.advance.eq(maximum.compare),
                self.finished.eq(maximum.compare & walk.ends),
            ]
            with m.If(beat != READ_CYCLES):
                m.d.sync += beat.eq(beat + 1)
