"""The board's end of the link; `relaxon_isa.link` is its contract."""

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import (
    crc,  # pyright: ignore[reportAttributeAccessIssue] (no stubs)
    data,
    memory,
    stream,
    wiring,
)
from amaranth.lib.crc.catalog import CRC16_GENIBUS, CRC16_IBM_3740
from amaranth.lib.wiring import In, Out

from relaxon_isa import (
    BLOCK_BYTES,
    BOARD_HEADER_BYTES,
    CRC_BYTES,
    HOST_HEADER_BYTES,
    KEPT_BYTES,
    MAX_PAYLOAD,
    ArrayConfig,
    clog2,
)

from .cobs import CobsDecoder, CobsEncoder
from .component import Component
from .schedule import Scheduled
from .uart import UartReceiver, UartTransmitter

__all__ = [
    "FrameReceiver",
    "FrameSender",
    "KeptBlocks",
    "Link",
    "LinkEngine",
    "LinkSignature",
    "ReceiveRing",
    "TransmitRing",
]


CONTROL_BYTE = data.StructLayout(
    {"session": 4, "reset": 1, "resend": 1, "running": 1, "waiting": 1}
)
KEPT_BLOCKS = 8 * KEPT_BYTES
"""Blocks behind a gap of which is known whether they are kept."""


def frame_header(config: ArrayConfig) -> data.StructLayout:
    """The header of the board's frames, as `relaxon_isa.link` says."""
    kept = {"kept": KEPT_BLOCKS} if config.selective_repeat else {}
    return data.StructLayout(
        {"control": CONTROL_BYTE, "seq": 16, "ack": 16, "name": 8, "room": 15, "keeps": 1, **kept}
    )


def block_of(offset: Value) -> Value:
    """The bit among `KEPT_BLOCKS` of the block that an offset in the host's stream is in."""
    return offset[clog2(BLOCK_BYTES) :][: clog2(KEPT_BLOCKS)]


class LinkSignature(wiring.Signature):
    """The seam between the link and the command unit, seen from the link.

    Members
    -------
    from_host : Out(stream of 8 bits)
        The host's stream. At most every other cycle a byte is taken; its payload stays for a cycle
        more. Its valid falls, with nothing taken, after ``reset``.
    to_host : In(stream of 8 bits)
        The board's stream. Its valid falls, with nothing taken, after ``reset``.
    reset : Out(1)
        One cycle: the host resets the link. Both streams begin anew in the next cycle.
    running, waiting : In(1)
        Bits RUNNING and WAITING of the headers to come.
    link_error, link_drop : Out(1)
        One cycle each: a frame was dropped because it was damaged; because of its sequence number
        or for lack of room.
    """

    def __init__(self):
        super().__init__(
            {
                "from_host": Out(stream.Signature(8)),
                "to_host": In(stream.Signature(8)),
                "reset": Out(1),
                "running": In(1),
                "waiting": In(1),
                "link_error": Out(1),
                "link_drop": Out(1),
            }
        )


class FrameReceiver(Scheduled):
    """Decodes one frame at a time: its header into registers, its payload byte by byte.

    Latency: ``o`` one cycle after ``line_in``, ``end`` one cycle after a delimiter. Throughput: a
    byte per cycle. No back-pressure.

    Parameters
    ----------
    config
        The machine. With ``selective_repeat`` it has ``seq`` and ``placed``, else ``expected`` and
        ``in_order``, which are smaller.

    Members
    -------
    line_in : In(stream of 8 bits, always ready)
        Bytes from the line.
    line_error : In(1)
        One cycle: a byte was lost here.
    clear : In(1)
        One cycle between two frames: forget the one received.
    expected : In(16), in_order : Out(1)
        The sequence number to compare the frame's with; they are the same.
    seq : Out(16), placed : Out(1)
        The header's ``seq``, once that is known.
    o : Out(stream of 8 bits, always ready)
        What follows the header: the payload and the two bytes of the CRC.
    length : Out(16)
        Bytes of ``o`` less 2, so the payload's length when the frame is whole. Negative (modulo
        2**16) before; stops at ``MAX_PAYLOAD + 1``.
    control : Out(CONTROL_BYTE), ack_not : Out(16), name : Out(8)
        From the header; ``ack_not`` is the complement of its ``ack``.
    end, good : Out(1)
        One cycle: the frame is complete; its CRC, length and encoding are right.
    busy : Out(1)
        A byte or an end is on its way.
    """

    def __init__(self, config: ArrayConfig):
        place = (
            {"seq": Out(16), "placed": Out(1)}
            if config.selective_repeat
            else {"expected": In(16), "in_order": Out(1)}
        )
        super().__init__(
            config,
            {
                "line_in": In(stream.Signature(8, always_ready=True)),
                "line_error": In(1),
                "clear": In(1),
                **place,
                "o": Out(stream.Signature(8, always_ready=True)),
                "length": Out(16),
                "control": Out(CONTROL_BYTE),
                "ack_not": Out(16),
                "name": Out(8),
                "end": Out(1),
                "good": Out(1),
                "busy": Out(1),
            },
        )

    def build(self, m: Module) -> None:
        m.submodules.decoder = decoder = CobsDecoder()
        wiring.connect(m, wiring.flipped(self.line_in), decoder.i)
        check = crc.Processor(CRC16_GENIBUS())
        m.submodules.check = ResetInserter(self.clear)(check)

        # From minus the shortest frame up.
        shortest = HOST_HEADER_BYTES + CRC_BYTES  # a power of two
        count = Signal(8, init=256 - shortest)
        negative = Signal()
        too_long = Signal()
        field = Signal(range(HOST_HEADER_BYTES + 1))
        body = Signal()
        different = Signal()
        m.d.comb += [
            decoder.spoil.eq(self.line_error),
            check.data.eq(decoder.o.payload),
            check.valid.eq(decoder.o.valid),
            negative.eq(count[clog2(shortest) :].all()),
            too_long.eq(count == MAX_PAYLOAD + 1),
            body.eq(field == HOST_HEADER_BYTES),
            self.o.payload.eq(decoder.o.payload),
            self.o.valid.eq(decoder.o.valid & body),
            self.length.eq(Cat(count, negative.replicate(8))),
            self.end.eq(decoder.end),
            self.good.eq(check.match_detected & ~(decoder.bad | negative | too_long)),
            self.busy.eq(decoder.o.valid | decoder.end),
        ]
        with m.If(decoder.o.valid):
            with m.If(~too_long):
                m.d.sync += count.eq(count + 1)
            with m.If(~body):
                m.d.sync += field.eq(field + 1)
            with m.Switch(field):
                with m.Case(0):
                    m.d.sync += self.control.eq(decoder.o.payload)
                with m.Case(1, 2):
                    if self.config.selective_repeat:
                        m.d.sync += self.seq.eq(Cat(self.seq[8:], decoder.o.payload))
                    else:
                        expected_byte = Mux(field[0], self.expected[:8], self.expected[8:])
                        with m.If(decoder.o.payload != expected_byte):
                            m.d.sync += different.eq(1)
                with m.Case(3):
                    m.d.sync += self.ack_not[:8].eq(~decoder.o.payload)
                with m.Case(4):
                    m.d.sync += self.ack_not[8:].eq(~decoder.o.payload)
                with m.Case(5):
                    m.d.sync += self.name.eq(decoder.o.payload)
        if self.config.selective_repeat:
            m.d.comb += self.placed.eq(field >= 3)
        else:
            m.d.comb += self.in_order.eq(~different)
        with m.If(self.clear):
            for signal in (count, field, different):
                m.d.sync += signal.eq(signal.init)


class KeptBlocks(Component):
    """Which blocks of the host's stream are kept behind a gap.

    Members
    -------
    place : In(16), valid : In(1)
        Offset of a byte of the frame that comes, one cycle each, the CRC's left out.
    add, remove : In(1)
        One cycle: the blocks that the frame has a byte of are kept now; or are no longer.
    clear : In(1)
        One cycle between two frames.
    expected : In(16)
        Offset of the next byte expected.
    follows : Out(1)
        A whole block begins there, and is kept.
    pass_on : In(1)
        One cycle, while it ``follows``: it is kept no longer.
    reset : In(1)
        Forget everything.
    kept : Out
        Bit ``block_of`` an offset tells of its block.
    """

    def __init__(self):
        super().__init__(
            {
                "place": In(16),
                "valid": In(1),
                "add": In(1),
                "remove": In(1),
                "clear": In(1),
                "expected": In(16),
                "follows": Out(1),
                "pass_on": In(1),
                "reset": In(1),
                "kept": Out(KEPT_BLOCKS),
            }
        )

    def build(self, m: Module) -> None:
        touched = Signal(KEPT_BLOCKS)
        first = block_of(self.expected)
        m.d.comb += self.follows.eq(
            ~self.expected[: clog2(BLOCK_BYTES)].any() & self.kept.bit_select(first, 1)
        )
        with m.If(self.valid):
            m.d.sync += touched.bit_select(block_of(self.place), 1).eq(1)
        with m.If(self.pass_on):
            m.d.sync += self.kept.bit_select(first, 1).eq(0)
        with m.If(self.add):
            m.d.sync += self.kept.eq(self.kept | touched)
        with m.If(self.remove):
            m.d.sync += self.kept.eq(self.kept & ~touched)
        with m.If(self.clear):
            m.d.sync += touched.eq(0)
        with m.If(self.reset):
            m.d.sync += self.kept.eq(0)


class ReceiveRing(Scheduled):
    """The host's bytes: written as a frame comes, valid once it is accepted, then read.

    Byte x of the stream is at x - 2: where a frame begins plus ``length`` is then the place of its
    next byte and, when the frame is whole and in order, the new ``expected``. Two bytes of the ring
    take the CRC, so ``rx_bytes - 2`` is the widest window.

    With ``selective_repeat`` a frame is written to where it says that it begins, within the window,
    but never over a block that is kept: the frame may turn out to be damaged. What was lost and
    comes at last so closes the gap, and `KeptBlocks` behind it are passed one by one, between
    frames.

    Latency: ``o`` three cycles after ``accept``. Throughput: ``o`` a byte every other cycle while
    nothing comes in (the ring is not read in cycles in which it is written); ``o.payload`` stays
    for a cycle more.

    Parameters
    ----------
    config
        The machine: ``rx_bytes``, ``selective_repeat``, and its pipeline. The long one writes from
        registers.

    Members
    -------
    i : In(stream of 8 bits, always ready), length : In(16)
        A frame's bytes; see `FrameReceiver`.
    in_order : In(1)
        The frame begins at ``expected``. Without ``selective_repeat``.
    seq : In(16), placed : In(1)
        Where the frame begins, and that this is known: three cycles before ``i`` at the latest, and
        until ``clear``. With ``selective_repeat``, and so ``follows`` and ``kept``.
    acceptable : Out(1)
        The frame can be accepted: it is in order, or can be kept, and fits.
    accept : In(1)
        One cycle after a frame's end, while it is ``acceptable``: its bytes are valid, or kept.
    clear : In(1)
        One cycle between two frames.
    hold : In(1)
        Keep ``expected``, ``room`` and ``kept`` as they are: a header is being made.
    reset : In(1)
        Forget everything.
    o : Out(stream of 8 bits)
        The host's stream.
    expected : Out(16)
        Offset in the host's stream of the next byte expected.
    room : Out
        Bytes that can be taken beyond ``expected``.
    follows : Out(1), kept : Out
        See `KeptBlocks`; ``expected`` is about to move while a block follows.
    reopened : Out(1)
        One cycle: ``room`` was below a payload (and half of the ring), and is half of the ring
        again.
    empty : Out(1)
        Nothing is left for ``o``.
    """

    def __init__(self, config: ArrayConfig):
        self.window = config.rx_bytes - CRC_BYTES
        place = (
            {"seq": In(16), "placed": In(1), "follows": Out(1), "kept": Out(KEPT_BLOCKS)}
            if config.selective_repeat
            else {"in_order": In(1)}
        )
        super().__init__(
            config,
            {
                "i": In(stream.Signature(8, always_ready=True)),
                "length": In(16),
                **place,
                "acceptable": Out(1),
                "accept": In(1),
                "clear": In(1),
                "hold": In(1),
                "reset": In(1),
                "o": Out(stream.Signature(8)),
                "expected": Out(16),
                "room": Out(range(config.rx_bytes)),
                "reopened": Out(1),
                "empty": Out(1),
            },
        )

    def build(self, m: Module) -> None:
        size, bits = self.config.rx_bytes, len(self.room)

        m.submodules.ring = ring = memory.Memory(shape=8, depth=size, init=[])
        write = ring.write_port()
        read = ring.read_port(domain="comb")
        byte = Signal(8, reset_less=True)

        after = Signal(16)
        # One bit more than a place tells full from empty.
        read_at = Signal(bits + 1, init=2 * size - CRC_BYTES)
        room = Signal(bits, init=self.window)
        at_limit = Signal()
        outside = Signal()  # the frame begins outside of the window
        occupied = Signal()  # the coming byte belongs to a kept block
        overflow = Signal()  # this frame does not fit
        have = Signal()
        fetch = Signal()
        shut = Signal()
        m.d.comb += at_limit.eq(after[: bits + 1] == read_at ^ size)
        if self.config.selective_repeat:
            self._keep(m, after, outside, occupied, overflow)
        else:
            m.d.comb += [
                after.eq(self.expected + self.length),
                self.acceptable.eq(self.in_order & ~overflow),
            ]
            with m.If(self.accept):
                m.d.sync += self.expected.eq(after)
        m.d[self.when.domain] += [
            write.addr.eq(after),
            write.data.eq(self.i.payload),
            write.en.eq(self.i.valid & ~(at_limit | outside | occupied | overflow)),
        ]
        m.d.comb += [
            read.addr.eq(read_at),
            # `room` is a cycle late: after a fetch `have` covers that. Never with a write:
            # nothing has to be said about a collision.
            fetch.eq(~have & (room != self.window) & ~self.hold & ~write.en),
            self.o.payload.eq(byte),
            self.o.valid.eq(have),
            self.room.eq(room),
            self.reopened.eq(shut & room[-1]),
            self.empty.eq((room == self.window) & ~have),
        ]
        m.d.sync += room.eq(read_at - self.expected)
        with m.If(self.i.valid & (at_limit | outside)):
            m.d.sync += overflow.eq(1)
        with m.If(fetch):
            m.d.sync += [byte.eq(read.data), read_at.eq(read_at + 1), have.eq(1)]
        with m.Elif(self.o.ready):
            m.d.sync += have.eq(0)
        least = min(MAX_PAYLOAD, size // 2)
        unit = (least & -least).bit_length() - 1  # few bits to compare need no carries
        with m.If(room[unit:] < least >> unit):
            m.d.sync += shut.eq(1)
        with m.If(self.reopened):
            m.d.sync += shut.eq(0)
        with m.If(self.clear):
            m.d.sync += overflow.eq(0)
        with m.If(self.reset):
            for signal in (self.expected, read_at, room, have, shut):
                m.d.sync += signal.eq(signal.init)

    def _keep(self, m: Module, after: Signal, outside: Signal, occupied: Signal, overflow: Signal):
        """What ``selective_repeat`` adds."""
        in_block = clog2(BLOCK_BYTES)
        m.submodules.blocks = blocks = KeptBlocks()

        # Where the frame lies: settled before its first byte comes, for ``expected`` does not move
        # once it is placed.
        lead = Signal(16)
        in_order = Signal()
        whole = Signal()  # it has whole blocks
        near = Signal()
        passes = Signal()
        coming = Signal(16)
        m.d.comb += [
            after.eq(self.seq + self.length),
            coming.eq(after + CRC_BYTES),
            occupied.eq(blocks.kept.bit_select(block_of(coming), 1)),
            passes.eq(blocks.follows & ~self.placed & ~self.hold),
            self.acceptable.eq((in_order | (whole & near)) & ~overflow),
            self.follows.eq(blocks.follows),
            self.kept.eq(blocks.kept),
            blocks.place.eq(after),
            blocks.valid.eq(self.i.valid & ~self.length[-1]),
            blocks.add.eq(self.accept & ~in_order),
            blocks.remove.eq(self.accept & in_order),
            blocks.clear.eq(self.clear),
            blocks.expected.eq(self.expected),
            blocks.pass_on.eq(passes),
            blocks.reset.eq(self.reset),
        ]
        m.d.sync += [
            lead.eq(self.seq - self.expected),
            outside.eq(lead > self.room),
            in_order.eq(lead == 0),
            whole.eq(~(self.seq[:in_block] | self.length[:in_block]).any()),
            near.eq((after[in_block:] - self.expected[in_block:])[: 16 - in_block] <= KEPT_BLOCKS),
        ]
        with m.If(self.accept & in_order):
            m.d.sync += self.expected.eq(after)
        with m.Elif(passes):
            m.d.sync += self.expected.eq(self.expected + BLOCK_BYTES)


class TransmitRing(Scheduled):
    """The board's bytes, each kept until the host acknowledges it.

    From the acknowledged offset on the ring holds ``level`` bytes; ``sent`` of them were sent since
    the last rewind. Both grow by one or shrink by what the host acknowledges. An acknowledgement is
    judged over two cycles (with the long pipeline three), while nothing moves: ``weigh``,
    (``keep``), ``apply``.

    Throughput: a byte per cycle at ``i`` and at ``byte``, not both in one cycle.

    Parameters
    ----------
    config
        The machine: ``tx_bytes``, and its pipeline.

    Members
    -------
    i : In(stream of 8 bits)
        The board's stream. Not ready unless ``open``.
    open : In(1)
        No frame is acted upon: bytes may come and go.
    ack_not : In(16)
        Complement of an acknowledged offset.
    weigh, keep, apply : In(1)
        One cycle each, in this order: compare ``ack_not``; go on comparing (long pipeline only);
        release what it acknowledges, if that was sent since the last rewind and not yet
        acknowledged.
    resend : In(1)
        With ``apply``: send again from the acknowledged offset on.
    reset : In(1)
        Forget everything.
    rewind : Out(1)
        The next byte sent is the one behind the acknowledged offset: after ``reset`` and with
        ``resend``. A frame being made is void.
    want : In(1)
        Fetch a byte to send; only while ``unsent``.
    fetched : Out(1), byte : Out(8)
        A byte to send; a cycle after it was wanted at the earliest.
    seq : Out(16)
        Offset of the next byte to send.
    unsent : Out(1)
        There is one.
    """

    def __init__(self, config: ArrayConfig):
        super().__init__(
            config,
            {
                "i": In(stream.Signature(8)),
                "open": In(1),
                "ack_not": In(16),
                "weigh": In(1),
                "keep": In(1),
                "apply": In(1),
                "resend": In(1),
                "reset": In(1),
                "rewind": Out(1),
                "want": In(1),
                "fetched": Out(1),
                "byte": Out(8),
                "seq": Out(16),
                "unsent": Out(1),
            },
        )

    def build(self, m: Module) -> None:
        bits = (self.config.tx_bytes - 1).bit_length()

        m.submodules.ring = ring = memory.Memory(shape=8, depth=self.config.tx_bytes, init=[])
        write = ring.write_port()
        read = ring.read_port(domain="comb")
        byte = Signal(8, reset_less=True)

        acked = Signal(16)
        write_at = Signal(bits)
        level = Signal(bits + 1)
        sent = Signal(bits + 1)
        minus = Signal(16)  # complement of what is released; 0 while nothing is

        def moved(amount: Signal) -> tuple[Value, Value]:
            """``amount`` plus 1 + ``minus``, and whether that is not negative."""
            total = Signal(bits + 3, name=f"{amount.name}_moved")
            m.d.comb += total.eq(Cat(1, amount) + Cat(1, minus[: bits + 1]))
            return total[1:-1], total[-1]

        next_level, _ = moved(level)
        next_sent, sent_ok = moved(sent)
        late = self.when.late  # nothing is sent meanwhile
        acceptable = late(m, sent_ok & minus[bits + 1 :].all(), "acceptable")

        fetch = Signal()
        release = Signal()
        m.d.comb += [
            self.seq.eq(acked + sent),
            self.unsent.eq(sent != level),
            self.byte.eq(byte),
            self.i.ready.eq(self.open & ~level[-1]),
            write.en.eq(self.i.valid & self.i.ready),
            write.addr.eq(write_at),
            write.data.eq(self.i.payload),
            read.addr.eq(self.seq),
            # Never with a write: nothing has to be said about a collision.
            fetch.eq(self.open & self.want & ~write.en),
            release.eq(self.apply & acceptable),
            self.rewind.eq(self.reset | (self.apply & self.resend)),
        ]
        m.d.sync += [self.fetched.eq(fetch), minus.eq(0)]
        with m.If(self.weigh):
            m.d.sync += minus.eq(acked + self.ack_not)
        with m.If(self.keep):
            m.d.sync += minus.eq(minus)
        with m.If(write.en):
            m.d.sync += write_at.eq(write_at + 1)
        with m.If(write.en | release):
            m.d.sync += level.eq(next_level)
        with m.If(fetch):
            m.d.sync += byte.eq(read.data)
        with m.If(fetch | release):
            m.d.sync += sent.eq(next_sent)
        with m.If(release):
            m.d.sync += acked.eq(~self.ack_not)
        with m.If(self.rewind):
            m.d.sync += sent.eq(0)
        with m.If(self.reset):
            for signal in (acked, write_at, level):
                m.d.sync += signal.eq(signal.init)


class FrameSender(Scheduled):
    """Makes frames: header, payload from the transmit ring, CRC, encoded.

    Throughput: a byte per cycle into the frame buffer; the line takes one every other cycle.

    Parameters
    ----------
    config
        The machine; see `frame_header`.

    Members
    -------
    start : In(1)
        Begin a frame as soon as the frame buffer is free.
    empty : In(1)
        While a frame is made: it carries no payload.
    header : In(frame_header(config))
        Must not change while ``making_header``.
    unsent, fetched : In(1), byte : In(8)
        See `TransmitRing`.
    want : Out(1)
        Fetch a byte for the payload.
    abort : In(1)
        Forget the frame being made.
    begun, making_header, finished : Out(1)
        One cycle: a frame begins, from ``start``; the header's bytes are read; one cycle: the frame
        is complete and goes out.
    line_out : Out(stream of 8 bits)
        The encoded frame.
    idle : Out(1)
        No frame is made and none goes out.
    """

    def __init__(self, config: ArrayConfig):
        super().__init__(
            config,
            {
                "start": In(1),
                "empty": In(1),
                "header": In(frame_header(config)),
                "unsent": In(1),
                "fetched": In(1),
                "byte": In(8),
                "want": Out(1),
                "abort": In(1),
                "begun": Out(1),
                "making_header": Out(1),
                "finished": Out(1),
                "line_out": Out(stream.Signature(8)),
                "idle": Out(1),
            },
        )

    def build(self, m: Module) -> None:
        header_bytes = len(Value.cast(self.header)) // 8
        m.submodules.encoder = encoder = CobsEncoder()
        wiring.connect(m, encoder.o, wiring.flipped(self.line_out))

        idle = Signal()
        # The frame's CRC before its last inversion, which is done on the way out.
        check = crc.Processor(CRC16_IBM_3740())
        inverted = Signal()
        m.submodules.check = ResetInserter(idle)(check)

        byte = Signal(8)
        byte_valid = Signal()
        step = Signal(range(header_bytes))
        full = Signal()  # up to two bytes are on their way into the frame buffer
        more = Signal()
        most = header_bytes + MAX_PAYLOAD - 1
        m.d.comb += [
            encoder.i.payload.eq(byte),
            encoder.i.valid.eq(byte_valid),
            encoder.abort.eq(self.abort),
            check.data.eq(byte ^ inverted.replicate(8)),
            check.valid.eq(byte_valid),
            full.eq(encoder.used.matches(*range(most, most + 4))),  # it is no more
            more.eq(self.unsent & ~full & ~self.empty),
            self.idle.eq(idle & ~encoder.sending),
        ]
        m.d.sync += [byte_valid.eq(0), inverted.eq(0)]
        with m.FSM(name="send"):
            with m.State("IDLE"):
                m.d.comb += [idle.eq(1), self.begun.eq(self.start & encoder.i.ready)]
                m.d.sync += step.eq(0)
                with m.If(self.begun):
                    m.next = "HEADER"
            with m.State("HEADER"):
                m.d.comb += self.making_header.eq(1)
                m.d.sync += [
                    byte.eq(Value.cast(self.header).word_select(step, 8)),
                    byte_valid.eq(1),
                    step.eq(step + 1),
                ]
                with m.If(step == header_bytes - 1):
                    m.d.sync += step.eq(0)
                    m.next = "PAYLOAD"
            with m.State("PAYLOAD"):
                m.d.comb += self.want.eq(more)
                m.d.sync += [byte.eq(self.byte), byte_valid.eq(self.fetched)]
                with m.If(self.abort):
                    m.next = "IDLE"
                with m.Elif(~more & ~self.fetched):
                    m.next = "CRC"
            with m.State("CRC"):
                # The first byte of the CRC, once in it, leaves the second in its place.
                m.d.sync += [
                    byte.eq(~check.crc[8:]),
                    inverted.eq(1),
                    byte_valid.eq(~step[0]),
                    step.eq(step + 1),
                ]
                with m.If(step[:2] == 3):
                    m.next = "FINISH"
                with m.If(self.abort):
                    m.next = "IDLE"
            with m.State("FINISH"):
                m.d.comb += [encoder.finish.eq(1), self.finished.eq(~self.abort)]
                m.next = "IDLE"


class LinkEngine(Scheduled):
    """The link without its UART: frames in and out as bytes.

    A received frame is written into the receive ring as it comes, beyond what is valid there; it
    becomes valid when its CRC is found good. What comes behind a gap is kept or dropped, as the
    machine can. The transmit ring keeps every byte until the host
    acknowledges it; a frame is made of what is in it and was not sent, and go-back-N starts over
    from the last byte acknowledged::

        line_in --> FrameReceiver --payload--> ReceiveRing --> port.from_host
                         | control, seq ok?, ack, name
                         v
                    rules 1 to 6: accept, release, rewind, reset, answer
                         v
        line_out <-- FrameSender <--payload-- TransmitRing <-- port.to_host

    Latency: ``port.from_host`` six cycles after the delimiter of a frame (long pipeline: seven).
    Throughput: ``port.from_host`` a byte every other cycle while nothing comes in,
    ``port.to_host`` and ``line_in`` a byte per cycle, ``line_out`` a byte every other cycle, with a
    pause between two frames of about as many cycles as the second has bytes.

    Parameters
    ----------
    config
        The machine: its rings (``rx_bytes``, ``tx_bytes``), ``selective_repeat``, and its pipeline.
        The long one acts upon a frame a cycle later.

    Members
    -------
    line_in : In(stream of 8 bits, always ready)
        Bytes from the line. None may come within `PAUSE` cycles after a delimiter: the frame is
        acted upon, and first a header that is being made is finished.
    line_error : In(1)
        One cycle: a byte was lost here.
    line_out : Out(stream of 8 bits)
        Bytes for the line.
    port : Out(LinkSignature)
        ``to_host`` is not ready while a frame is acted upon.
    quiet : Out(1)
        Nothing changes before ``line_in``, ``line_error`` or ``port.to_host`` brings something: no
        frame is acted upon, none is to be sent, nothing is left in ``port.from_host``. An
        incomplete frame does not keep it low.
    """

    PAUSE = BOARD_HEADER_BYTES + KEPT_BYTES + 7

    def __init__(self, config: ArrayConfig):
        super().__init__(
            config,
            {
                "line_in": In(stream.Signature(8, always_ready=True)),
                "line_error": In(1),
                "line_out": Out(stream.Signature(8)),
                "port": Out(LinkSignature()),
                "quiet": Out(1),
            },
        )

    def build(self, m: Module) -> None:
        port = self.port

        m.submodules.receiver = receiver = FrameReceiver(self.config)
        m.submodules.rx_ring = rx_ring = ReceiveRing(self.config)
        m.submodules.tx_ring = tx_ring = TransmitRing(self.config)
        m.submodules.sender = sender = FrameSender(self.config)
        wiring.connect(m, wiring.flipped(self.line_in), receiver.line_in)
        wiring.connect(m, receiver.o, rx_ring.i)
        wiring.connect(m, rx_ring.o, wiring.flipped(port.from_host))
        wiring.connect(m, wiring.flipped(port.to_host), tx_ring.i)
        wiring.connect(m, sender.line_out, wiring.flipped(self.line_out))

        control = receiver.control
        session = Signal(4)
        name = Signal(8)
        answer = Signal()  # a frame is due
        answer_reset = Signal()  # an empty one with RESET is due
        due = Signal()
        moving = Signal()
        receiving = Signal()
        clear = Signal()
        m.d.comb += [
            receiver.line_error.eq(self.line_error),
            receiver.clear.eq(clear),
            rx_ring.length.eq(receiver.length),
            rx_ring.clear.eq(clear),
            rx_ring.hold.eq(sender.making_header),
            rx_ring.reset.eq(port.reset),
            tx_ring.open.eq(receiving),
            tx_ring.ack_not.eq(receiver.ack_not),
            tx_ring.resend.eq(control.resend),
            tx_ring.reset.eq(port.reset),
            tx_ring.want.eq(sender.want),
            due.eq(tx_ring.unsent | answer | answer_reset),
            sender.start.eq(receiving & due & ~moving),
            sender.empty.eq(answer_reset),
            sender.header.control.session.eq(session),
            sender.header.control.reset.eq(answer_reset),
            sender.header.control.running.eq(port.running),
            # Not while a byte that this header acknowledges is still here.
            sender.header.control.waiting.eq(port.waiting & rx_ring.empty),
            sender.header.seq.eq(tx_ring.seq),
            sender.header.ack.eq(rx_ring.expected),
            sender.header.name.eq(name),
            sender.header.room.eq(rx_ring.room),
            sender.unsent.eq(tx_ring.unsent),
            sender.fetched.eq(tx_ring.fetched),
            sender.byte.eq(tx_ring.byte),
            sender.abort.eq(tx_ring.rewind),
            self.quiet.eq(
                ~(self.line_in.valid | self.line_error | receiver.busy)
                & receiving
                & rx_ring.empty
                & sender.idle
                & ~due
            ),
        ]
        if self.config.selective_repeat:
            m.d.comb += [
                rx_ring.seq.eq(receiver.seq),
                rx_ring.placed.eq(receiver.placed),
                moving.eq(rx_ring.follows),
                sender.header.keeps.eq(1),
                sender.header.kept.eq(rx_ring.kept),
            ]
        else:
            m.d.comb += [
                receiver.expected.eq(rx_ring.expected),
                rx_ring.in_order.eq(receiver.in_order),
            ]
        with m.If(sender.begun):
            m.d.sync += answer.eq(0)
        with m.If(sender.finished):
            m.d.sync += answer_reset.eq(0)
        with m.If(rx_ring.reopened):
            m.d.sync += answer.eq(1)

        # What a received frame does.

        m.d.sync += [port.link_error.eq(0), port.link_drop.eq(0)]
        with m.FSM(name="receive"):
            with m.State("RECEIVE"):
                m.d.comb += receiving.eq(1)
                with m.If(receiver.end):
                    m.next = "CHECK"
                    with m.If(~receiver.good):
                        m.d.sync += port.link_error.eq(1)
                        m.next = "CLEAR"
            with m.State("CHECK"), m.If(~sender.making_header):
                m.d.comb += tx_ring.weigh.eq(1)
                m.next = "CLEAR"
                with m.If(control.reset & (control.session != 0)):
                    m.next = "RESET"
                with m.Elif(control.session == session):
                    m.next = "APPLY" if self.when.short else "WEIGH"
            if not self.when.short:
                with m.State("WEIGH"):
                    m.d.comb += tx_ring.keep.eq(1)
                    m.next = "APPLY"
            with m.State("RESET"):
                m.d.comb += port.reset.eq(1)
                m.d.sync += [
                    session.eq(control.session),
                    name.eq(receiver.name),
                    answer.eq(0),
                    answer_reset.eq(1),
                ]
                m.next = "CLEAR"
            with m.State("APPLY"):
                m.d.comb += tx_ring.apply.eq(1)
                m.d.sync += name.eq(receiver.name)
                with m.If(tx_ring.rewind | (receiver.length != 0)):
                    m.d.sync += answer.eq(1)
                with m.If(receiver.length != 0):
                    m.d.comb += rx_ring.accept.eq(rx_ring.acceptable)
                    m.d.sync += port.link_drop.eq(~rx_ring.acceptable)
                m.next = "CLEAR"
            with m.State("CLEAR"):
                m.d.comb += clear.eq(1)
                m.next = "RECEIVE"


class Link(Component):
    """Two reliable byte streams over one UART: a `UartReceiver`, a `LinkEngine` and a
    `UartTransmitter`.

    Throughput: limited by the line, 10 bits per byte, and 10 bytes per frame beside its payload of
    at most 192 (to the host 12 or 16); between two frames to the host the line idles for about as
    many cycles as the second has bytes.

    Parameters
    ----------
    config
        The machine; see `LinkEngine`.
    divisor
        Clocks per bit, at least 2.
    stages
        Flip-flops of the synchroniser of ``rx``; see `UartReceiver`.

    Members
    -------
    rx : In(1), tx : Out(1)
        The line, idle high.
    port : Out(LinkSignature)
        The two streams.
    quiet : Out(1)
        Nothing changes before ``rx`` falls or ``port.to_host`` brings something: both directions of
        the line are idle, and `LinkEngine` is quiet.
    """

    def __init__(self, config: ArrayConfig, *, divisor: int, stages: int = 2):
        self.receiver = UartReceiver(divisor, stages=stages)
        self.engine = LinkEngine(config)
        self.transmitter = UartTransmitter(divisor)
        super().__init__(
            {
                "rx": In(1, init=1),  # pyright: ignore[reportCallIssue] (older stubs)
                "tx": Out(1, init=1),  # pyright: ignore[reportCallIssue]
                "port": Out(LinkSignature()),
                "quiet": Out(1),
            }
        )

    def build(self, m: Module) -> None:
        m.submodules.receiver = receiver = self.receiver
        m.submodules.engine = engine = self.engine
        m.submodules.transmitter = transmitter = self.transmitter
        wiring.connect(m, receiver.o, engine.line_in)
        wiring.connect(m, engine.line_out, transmitter.i)
        wiring.connect(m, engine.port, wiring.flipped(self.port))
        m.d.comb += [
            receiver.rx.eq(self.rx),
            engine.line_error.eq(receiver.error),
            self.tx.eq(transmitter.tx),
            self.quiet.eq(~receiver.busy & engine.quiet & ~transmitter.busy),
        ]
