"""The board's end of the link; `relaxon_isa.link` is its contract."""

from amaranth.hdl import Cat, Const, Module, Mux, ResetInserter, Signal
from amaranth.lib import crc, data, memory, stream, wiring
from amaranth.lib.crc.catalog import CRC16_GENIBUS, CRC16_IBM_3740
from amaranth.lib.wiring import In, Out

from relaxon_isa.link import CRC_BYTES, HEADER_BYTES, MAX_PAYLOAD

from .cobs import CobsDecoder, CobsEncoder
from .primitives import delay
from .uart import UartReceiver, UartTransmitter

__all__ = ["Link", "LinkEngine"]


class ControlByte(data.Struct):
    """The header's first byte."""

    session: 4
    reset: 1
    resend: 1
    running: 1
    waiting: 1


class LinkEngine(wiring.Component):
    """The link without its UART: frames in and out as bytes.

    A received frame is written into the receive ring as it comes, beyond what is valid there; only
    when its CRC is found good does it become valid. The transmit ring keeps every byte until the
    host acknowledges it; a frame is made of what is in it and was not sent, and go-back-N starts
    over from the last byte acknowledged::

                     +-- control byte, seq ok?, ack --> rules 1 to 6 --+--> reset, rewind, release
        line_in -> COBS -> CRC                                         |
                     +-- receive ring ------------------------> o      v
        line_out <- COBS, frame buffer <- header, payload, CRC <- transmit ring <- i

    Latency: ``o`` six cycles after the delimiter of a frame. Throughput: ``o`` a byte every other
    cycle while nothing comes in (the ring is not read in cycles in which it is written), ``i`` and
    ``line_in`` a byte a cycle, ``line_out`` a byte every other cycle and between frames a cycle a
    byte of the next.

    Two bytes of the receive ring take the CRC, so ``rx_bytes - 2`` is the widest window.

    Parameters
    ----------
    rx_bytes, tx_bytes
        The rings, a power of two each, 256 to 32768.
    registered
        For fast clocks: received bytes are written from registers, and a frame acted upon, a cycle
        later.

    Members
    -------
    line_in : In(stream of 8 bits, always ready)
        Bytes from the line. None may come within `PAUSE` cycles after a delimiter: the frame is
        acted upon, and first a header that is being made is finished.
    line_error : In(1)
        One cycle: a byte was lost here.
    line_out : Out(stream of 8 bits)
        Bytes for the line.
    o : Out(stream of 8 bits)
        The host's stream. Its valid falls, with nothing taken, after ``reset``.
    i : In(stream of 8 bits)
        The board's stream. Not ready while a frame is acted upon.
    reset : Out(1)
        One cycle: the host resets the link. Both streams begin anew in the cycle after it.
    running, waiting : In(1)
        For the header.
    link_error, link_drop : Out(1)
        One cycle each: a frame was dropped as bad; for its sequence number or lack of room.
    quiet : Out(1)
        Without something at ``line_in`` or ``i``, nothing will change any more: no frame acted
        upon, nothing to send, nothing left in ``o``. A frame that has only partly come and
        stopped coming is no reason not to be quiet.
    """

    PAUSE = HEADER_BYTES + 7

    line_in: stream.Interface
    line_error: Signal
    line_out: stream.Interface
    o: stream.Interface
    i: stream.Interface
    reset: Signal
    running: Signal
    waiting: Signal
    link_error: Signal
    link_drop: Signal
    quiet: Signal

    def __init__(self, *, rx_bytes: int, tx_bytes: int, registered: bool = False):
        for name, value in (("rx_bytes", rx_bytes), ("tx_bytes", tx_bytes)):
            if value & (value - 1) or not 256 <= value <= 1 << 15:
                raise ValueError(f"{name} = {value!r}: must be a power of two, 256 to 32768")
        self.rx_bytes = rx_bytes
        self.tx_bytes = tx_bytes
        self.registered = registered
        super().__init__(
            {
                "line_in": In(stream.Signature(8, always_ready=True)),
                "line_error": In(1),
                "line_out": Out(stream.Signature(8)),
                "o": Out(stream.Signature(8)),
                "i": In(stream.Signature(8)),
                "reset": Out(1),
                "running": In(1),
                "waiting": In(1),
                "link_error": Out(1),
                "link_drop": Out(1),
                "quiet": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()

        rx_bits = (self.rx_bytes - 1).bit_length()
        tx_bits = (self.tx_bytes - 1).bit_length()

        # One frame received: its header, and how its payload fares -------------------------

        m.submodules.decoder = decoder = CobsDecoder()
        wiring.connect(m, wiring.flipped(self.line_in), decoder.i)
        m.d.comb += decoder.spoil.eq(self.line_error)

        clear = Signal()  # between frames
        rx_crc = crc.Processor(CRC16_GENIBUS())
        m.submodules.rx_crc = ResetInserter(clear)(rx_crc)
        m.d.comb += [rx_crc.data.eq(decoder.o.payload), rx_crc.valid.eq(decoder.o.valid)]

        # Bytes received, from minus the shortest frame up: at the end it is the payload's length.
        shortest = HEADER_BYTES + CRC_BYTES
        count = Signal(8, init=256 - shortest)
        negative = Signal()
        too_long = Signal()
        m.d.comb += [negative.eq(count[4:].all()), too_long.eq(count == MAX_PAYLOAD + 1)]
        field = Signal(range(HEADER_BYTES + 1))
        body = Signal()
        m.d.comb += body.eq(field == HEADER_BYTES)

        session = Signal(4)
        control = Signal(ControlByte)
        seq_ok = Signal(init=1)
        ack_not = Signal(16)  # its complement, which is what is added to `acked`
        expected = Signal(16)

        with m.If(decoder.o.valid):
            with m.If(~too_long):
                m.d.sync += count.eq(count + 1)
            with m.If(~body):
                m.d.sync += field.eq(field + 1)
            with m.Switch(field):
                with m.Case(0):
                    m.d.sync += control.eq(decoder.o.payload)
                with m.Case(1, 2):
                    expected_byte = Mux(field[0], expected[:8], expected[8:])
                    with m.If(decoder.o.payload != expected_byte):
                        m.d.sync += seq_ok.eq(0)
                with m.Case(3):
                    m.d.sync += ack_not[:8].eq(~decoder.o.payload)
                with m.Case(4):
                    m.d.sync += ack_not[8:].eq(~decoder.o.payload)

        # Receive ring -------------------------------------------------------------------------
        # Byte x of the stream is at x - 2: `expected + count` then is the place of the next byte
        # of a frame, and, when all of it is there, the new `expected`.

        m.submodules.rx_ring = rx_ring = memory.Memory(shape=8, depth=self.rx_bytes, init=[])
        rx_write = rx_ring.write_port()
        rx_read = rx_ring.read_port(domain="comb")
        rx_byte = Signal(8, reset_less=True)

        after = Signal(16)
        read_at = Signal(
            rx_bits + 1, init=2 * self.rx_bytes - CRC_BYTES
        )  # and a bit that tells full from empty
        room = Signal(rx_bits, init=self.rx_bytes - CRC_BYTES)
        at_limit = Signal()
        overflow = Signal()
        have = Signal()
        fetch_rx = Signal()
        making_header = Signal()
        m.d.comb += [
            after.eq(expected + Cat(count, negative.replicate(8))),
            at_limit.eq(after[: rx_bits + 1] == read_at ^ self.rx_bytes),
        ]
        m.d["sync" if self.registered else "comb"] += [
            rx_write.addr.eq(after),
            rx_write.data.eq(decoder.o.payload),
            rx_write.en.eq(decoder.o.valid & body & ~at_limit & ~overflow),
        ]
        m.d.comb += [
            rx_read.addr.eq(read_at),
            # `room` is a cycle late: after a fetch `have` covers that. It must not change while a
            # header is made. Never with a write: nothing has to be said about a collision.
            fetch_rx.eq(
                ~have & (room != self.rx_bytes - CRC_BYTES) & ~making_header & ~rx_write.en
            ),
            self.o.payload.eq(rx_byte),
            self.o.valid.eq(have),
        ]
        m.d.sync += room.eq(read_at - expected)
        with m.If(decoder.o.valid & body & at_limit):
            m.d.sync += overflow.eq(1)
        with m.If(fetch_rx):
            m.d.sync += [rx_byte.eq(rx_read.data), read_at.eq(read_at + 1), have.eq(1)]
        with m.Elif(self.o.ready):
            m.d.sync += have.eq(0)

        # Transmit ring ------------------------------------------------------------------------
        # From `acked` on it holds `level` bytes; `flight` were sent, `sent` are since the last
        # rewind. All three grow by one or shrink by what the host acknowledges: `minus`, the
        # complement of that, is 0 except when it is needed.

        m.submodules.tx_ring = tx_ring = memory.Memory(shape=8, depth=self.tx_bytes, init=[])
        tx_write = tx_ring.write_port()
        tx_read = tx_ring.read_port(domain="comb")
        tx_byte = Signal(8, reset_less=True)

        acked = Signal(16)
        write_at = Signal(tx_bits)
        level = Signal(tx_bits + 1)
        flight = Signal(tx_bits + 1)
        sent = Signal(tx_bits + 1)
        minus = Signal(16)

        def moved(amount: Signal) -> tuple[Signal, Signal]:
            """``amount`` plus 1 + ``minus``, and whether that is not negative."""
            total = Signal(tx_bits + 3, name=f"{amount.name}_moved")
            m.d.comb += total.eq(Cat(1, amount) + Cat(1, minus[: tx_bits + 1]))
            return total[1:-1], total[-1]

        next_level, _ = moved(level)
        next_flight, flight_ok = moved(flight)
        next_sent, sent_ok = moved(sent)

        receiving = Signal()
        fetch_tx = Signal()
        release = Signal()
        seq = Signal(16)
        m.d.comb += [
            seq.eq(acked + sent),
            self.i.ready.eq(receiving & ~level[-1]),
            tx_write.en.eq(self.i.valid & self.i.ready),
            tx_write.addr.eq(write_at),
            tx_write.data.eq(self.i.payload),
            tx_read.addr.eq(seq),
        ]
        with m.If(tx_write.en):
            m.d.sync += write_at.eq(write_at + 1)
        with m.If(tx_write.en | release):
            m.d.sync += level.eq(next_level)
        with m.If((fetch_tx & (sent == flight)) | release):
            m.d.sync += flight.eq(next_flight)
        with m.If(fetch_tx):
            m.d.sync += tx_byte.eq(tx_read.data)
        with m.If(fetch_tx | release):
            m.d.sync += sent.eq(next_sent)
        with m.If(release):
            m.d.sync += acked.eq(~ack_not)

        # A frame to send ----------------------------------------------------------------------

        m.submodules.encoder = encoder = CobsEncoder()
        wiring.connect(m, encoder.o, wiring.flipped(self.line_out))

        idle = Signal()
        # The same CRC before its last inversion, which is done on the way out.
        tx_crc = crc.Processor(CRC16_IBM_3740())
        inverted = Signal()
        m.d.sync += inverted.eq(0)
        m.submodules.tx_crc = ResetInserter(idle)(tx_crc)

        byte = Signal(8)
        byte_valid = Signal()
        m.d.comb += [
            encoder.i.payload.eq(byte),
            encoder.i.valid.eq(byte_valid),
            tx_crc.data.eq(byte ^ inverted.replicate(8)),
            tx_crc.valid.eq(byte_valid),
        ]

        answer = Signal()  # a frame is due
        answer_reset = Signal()  # an empty one with RESET is
        unsent = Signal()
        rewind = Signal()
        step = Signal(range(HEADER_BYTES))
        fetched = Signal()
        full = Signal()  # up to two bytes are on their way into the frame buffer
        own = Signal(ControlByte)
        m.d.comb += [
            unsent.eq(sent != level),
            full.eq(encoder.used > HEADER_BYTES + MAX_PAYLOAD - 2),
            own.session.eq(session),
            own.reset.eq(answer_reset),
            own.running.eq(self.running),
            own.waiting.eq(self.waiting),
        ]
        m.d.sync += [byte_valid.eq(0), fetched.eq(fetch_tx)]
        with m.FSM(name="send") as send:
            with m.State("IDLE"):
                m.d.comb += idle.eq(1)
                m.d.sync += step.eq(0)
                with m.If(receiving & encoder.i.ready & (unsent | answer | answer_reset)):
                    m.d.sync += answer.eq(0)
                    m.next = "HEADER"
            with m.State("HEADER"):  # nothing that it says changes meanwhile
                m.d.comb += making_header.eq(1)
                fields = Cat(own, seq, expected, Const(0, 16) | room)
                m.d.sync += [
                    byte.eq(fields.word_select(step, 8)),
                    byte_valid.eq(1),
                    step.eq(step + 1),
                ]
                with m.If(step == HEADER_BYTES - 1):
                    m.d.sync += step.eq(0)
                    m.next = "PAYLOAD"
            with m.State("PAYLOAD"):
                # Never with a write: nothing has to be said about a collision.
                more = unsent & ~full & ~answer_reset
                m.d.comb += fetch_tx.eq(receiving & more & ~tx_write.en)
                m.d.sync += [byte.eq(tx_byte), byte_valid.eq(fetched)]
                with m.If(rewind):
                    m.next = "IDLE"
                with m.Elif(~more & ~fetched):
                    m.next = "CRC"
            with m.State("CRC"):
                # The first byte of the CRC, once in it, leaves the second in its place.
                m.d.sync += [
                    byte.eq(~tx_crc.crc[8:]),
                    inverted.eq(1),
                    byte_valid.eq(~step[0]),
                    step.eq(step + 1),
                ]
                with m.If(step[:2] == 3):
                    m.next = "FINISH"
                with m.If(rewind):
                    m.next = "IDLE"
            with m.State("FINISH"):
                m.d.comb += encoder.finish.eq(1)
                with m.If(~rewind):  # else there is no frame
                    m.d.sync += answer_reset.eq(0)
                m.next = "IDLE"

        # The window opens again ----------------------------------------------------------------

        shut = Signal()
        with m.If(room < min(MAX_PAYLOAD, self.rx_bytes // 2)):
            m.d.sync += shut.eq(1)
        with m.If(shut & room[-1]):
            m.d.sync += [shut.eq(0), answer.eq(1)]

        # What a frame received does ------------------------------------------------------------

        acceptable = flight_ok & minus[tx_bits + 1 :].all()
        resent = sent_ok
        if self.registered:  # nothing is sent meanwhile
            acceptable, resent = (
                delay(m, value, 1, name)[1]
                for value, name in ((acceptable, "acceptable"), (resent, "resent"))
            )

        m.d.sync += [minus.eq(0), self.link_error.eq(0), self.link_drop.eq(0)]
        with m.FSM(name="receive"):
            with m.State("RECEIVE"):
                m.d.comb += receiving.eq(1)
                with m.If(decoder.end):
                    m.next = "CHECK"
                    with m.If(decoder.bad | ~rx_crc.match_detected | negative | too_long):
                        m.d.sync += self.link_error.eq(1)
                        m.next = "CLEAR"
            with m.State("CHECK"), m.If(~making_header):
                m.d.sync += minus.eq(acked + ack_not)
                m.next = "CLEAR"
                with m.If(control.reset & (control.session != 0)):
                    m.next = "RESET"
                with m.Elif(control.session == session):
                    m.next = "WEIGH" if self.registered else "APPLY"
            if self.registered:
                with m.State("WEIGH"):
                    m.d.sync += minus.eq(minus)
                    m.next = "APPLY"
            with m.State("RESET"):
                m.d.comb += [self.reset.eq(1), rewind.eq(1)]
                m.d.sync += session.eq(control.session)
                for signal in (expected, read_at, room, have, shut):
                    m.d.sync += signal.eq(signal.init)
                for signal in (acked, write_at, level, flight, sent):
                    m.d.sync += signal.eq(signal.init)
                m.d.sync += [answer.eq(0), answer_reset.eq(1)]
                m.next = "CLEAR"
            with m.State("APPLY"):
                m.d.comb += release.eq(acceptable)
                # Also where the host has more than is being sent again.
                with m.If(control.resend | (release & ~resent)):
                    m.d.comb += rewind.eq(1)
                    m.d.sync += [sent.eq(0), answer.eq(1)]
                with m.If(count != 0):
                    m.d.sync += answer.eq(1)
                    with m.If(seq_ok & ~overflow):
                        m.d.sync += expected.eq(after)
                    with m.Else():
                        m.d.sync += self.link_drop.eq(1)
                m.next = "CLEAR"
            with m.State("CLEAR"):
                m.d.comb += clear.eq(1)
                for signal in (count, field, seq_ok, overflow):
                    m.d.sync += signal.eq(signal.init)
                m.next = "RECEIVE"

        m.d.comb += [
            encoder.abort.eq(rewind),
            self.quiet.eq(
                ~(self.line_in.valid | self.line_error)
                & ~decoder.o.valid
                & ~decoder.end
                & receiving
                & (room == self.rx_bytes - CRC_BYTES)
                & ~have
                & send.ongoing("IDLE")
                & ~(unsent | answer | answer_reset)
                & ~encoder.sending
            ),
        ]
        return m


class Link(wiring.Component):
    """Two reliable byte streams over one UART: what the host sent comes out of ``o``, what goes
    into ``i`` reaches the host. A `UartReceiver`, a `LinkEngine` and a `UartTransmitter`.

    Throughput: limited by the line, 10 bits a byte, and 12 bytes a frame beside its payload of at
    most 200; between two frames to the host the line idles for about a cycle a byte of the second.

    Parameters
    ----------
    divisor
        Clocks a bit, at least 2.
    rx_bytes, tx_bytes, registered
        See `LinkEngine`.
    stages
        Of the synchroniser of ``rx``; see `UartReceiver`.

    Members
    -------
    rx : In(1), tx : Out(1)
        The line.
    o, i, reset, running, waiting, link_error, link_drop
        See `LinkEngine`.
    quiet : Out(1)
        Without a falling edge of ``rx`` or something at ``i``, nothing will change any more: both
        ends of the line idle, and `LinkEngine` quiet.
    """

    rx: Signal
    tx: Signal
    o: stream.Interface
    i: stream.Interface
    reset: Signal
    running: Signal
    waiting: Signal
    link_error: Signal
    link_drop: Signal
    quiet: Signal

    def __init__(
        self,
        *,
        divisor: int,
        rx_bytes: int,
        tx_bytes: int,
        stages: int = 2,
        registered: bool = False,
    ):
        self.receiver = UartReceiver(divisor, stages=stages)
        self.engine = LinkEngine(rx_bytes=rx_bytes, tx_bytes=tx_bytes, registered=registered)
        self.transmitter = UartTransmitter(divisor)
        super().__init__(
            {
                "rx": In(1, init=1),
                "tx": Out(1, init=1),
                "o": Out(stream.Signature(8)),
                "i": In(stream.Signature(8)),
                "reset": Out(1),
                "running": In(1),
                "waiting": In(1),
                "link_error": Out(1),
                "link_drop": Out(1),
                "quiet": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.receiver = receiver = self.receiver
        m.submodules.engine = engine = self.engine
        m.submodules.transmitter = transmitter = self.transmitter

        wiring.connect(m, receiver.o, engine.line_in)
        wiring.connect(m, engine.line_out, transmitter.i)
        wiring.connect(m, engine.o, wiring.flipped(self.o))
        wiring.connect(m, wiring.flipped(self.i), engine.i)
        m.d.comb += [
            receiver.rx.eq(self.rx),
            engine.line_error.eq(receiver.error),
            self.tx.eq(transmitter.tx),
            self.reset.eq(engine.reset),
            engine.running.eq(self.running),
            engine.waiting.eq(self.waiting),
            self.link_error.eq(engine.link_error),
            self.link_drop.eq(engine.link_drop),
            self.quiet.eq(~receiver.busy & engine.quiet & ~transmitter.busy),
        ]
        return m
