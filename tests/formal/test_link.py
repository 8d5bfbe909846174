"""The link's engine: its rings never overrun, and a frame is acted upon in time."""

import pytest
from amaranth.hdl import Module, Mux, Signal

from relaxon_hdl.link import LinkEngine
from relaxon_isa.link import (
    BOARD_HEADER_BYTES,
    CRC_BYTES,
    HOST_HEADER_BYTES,
    KEPT_BYTES,
    MAX_PAYLOAD,
)
from relaxon_isa.presets import preset
from support.formal import Assert, Assume, Harness, prove

RX, TX = 256, 512
CONFIGS = {
    name: preset(machine).replace(rx_bytes=RX, tx_bytes=TX, selective_repeat=keeps)
    for name, machine, keeps in (
        ("up5k", "up5k", False),
        ("long", "default", False),
        ("short keeps", "up5k", True),
        ("long keeps", "default", True),
    )
}
RX_BITS, TX_BITS = 8, 9
WINDOW = RX - CRC_BYTES
SHORTEST = HOST_HEADER_BYTES + CRC_BYTES


class Engine(Harness):
    """Of the transmit ring no more is sent than was given, no more released than was sent, and
    never more held than fits. The receive ring's valid bytes are never written. Frames acted upon
    have 0 to 192 bytes. A header is of one moment. RESET brings all to its start. What `test_rings`
    assumes of the receive ring's use holds.

    Assumed: the line brings no byte within `LinkEngine.PAUSE` cycles after a delimiter.
    """

    def __init__(self, name: str):
        self.short = CONFIGS[name].pipeline == "short"
        self.keeps = CONFIGS[name].selective_repeat
        self.header = BOARD_HEADER_BYTES + self.keeps * KEPT_BYTES
        super().__init__(LinkEngine(CONFIGS[name]))

    def properties(self, m: Module) -> None:
        dut, port = self.dut, self.dut.port
        # Cycles since the last delimiter, up to PAUSE.
        pause = dut.PAUSE
        since = Signal(range(pause + 1), init=pause)
        ends = dut.line_in.valid & (dut.line_in.payload == 0)
        m.d.sync += since.eq(Mux(ends, 0, Mux(since == pause, since, since + 1)))
        m.d.comb += [Assume((since == pause) | ~dut.line_in.valid), Assert(since <= pause)]
        self.acting(m, since)
        self.starts_anew(m)
        self.received(m)
        self.transmitted(m)
        self.made(m)
        m.d.comb += Assert(~port.reset | ~self.look("receiving"))

    def starts_anew(self, m: Module) -> None:
        """RESET brings both streams to their start, and asks for the answer that says so."""
        reset = Signal()
        m.d.sync += reset.eq(self.dut.port.reset)
        for path, width, start in (
            ("rx_ring.expected", 16, 0),
            ("rx_ring.read_at", RX_BITS + 1, 2 * RX - CRC_BYTES),
            ("rx_ring.room", RX_BITS, WINDOW),
            ("rx_ring.have", 1, 0),
            ("rx_ring.shut", 1, 0),
            *[("rx_ring.kept", 32, 0)][: self.keeps],
            ("tx_ring.acked", 16, 0),
            ("tx_ring.write_at", TX_BITS, 0),
            ("tx_ring.level", TX_BITS + 1, 0),
            ("tx_ring.sent", TX_BITS + 1, 0),
            ("answer", 1, 0),
            ("answer_reset", 1, 1),
        ):
            m.d.comb += Assert(~reset | (self.look(path, width) == start))

    def acting(self, m: Module, since: Signal) -> None:
        """When a frame is acted upon, and for how long: within the pause."""
        receiving, clear = self.look("receiving"), self.look("clear")
        apply, keep = self.look("tx_ring.apply"), self.look("tx_ring.keep")
        reset = self.dut.port.reset
        self.judging = apply | keep
        self.checking = ~(receiving | clear | self.judging | reset)
        step = self.look("sender.step", (self.header - 1).bit_length())
        making = self.look("sender.making_header")
        end, byte = self.look("receiver.end"), self.look("receiver.decoder.o__valid")
        state = self.look("sender.send_state", 3)
        m.d.comb += [
            Assert(~end | ((since == 0) & ~byte)),
            Assert(receiving | ((since >= 1) & ~byte & ~end)),
            Assert(~self.checking | (since <= Mux(making, step + 1, self.header + 1))),
            Assert(~self.judging | (since <= self.header + 3)),
            Assert(~reset | (since <= self.header + 2)),
            Assert(~clear | (since <= self.header + 4)),
            Assert(self.look("receive_state", 3) <= (4 if self.short else 5)),
            Assert(state <= 4),
            Assert(step < self.header),
            Assert(making | (step <= 4)),
            Assert((state != 2) | (step == 0)),
            Assert((state != 3) | (step <= 3)),
        ]

    def made(self, m: Module) -> None:
        """While a header is made its offsets and name stay, and its room and what is kept once
        they are up to date."""
        making = self.look("sender.making_header")
        step = self.look("sender.step", (self.header - 1).bit_length())
        header = self.look("sender.header", 8 * self.header)
        before, was_made = Signal(8 * self.header), Signal()
        m.d.sync += [before.eq(header), was_made.eq(making)]
        same = (header[8:48] == before[8:48]) & ((step < 2) | (header[48:] == before[48:]))
        m.d.comb += Assert(~(making & was_made) | same)

    def received(self, m: Module) -> None:
        count, field = self.look("receiver.count", 8), self.look("receiver.field", 3)
        overflow, body = self.look("rx_ring.overflow"), self.look("receiver.body")
        body_count = Signal(8)
        m.d.comb += [
            body_count.eq(count + CRC_BYTES),
            # A frame's bytes and fields.
            Assert((count <= MAX_PAYLOAD + 1) | (count >= 256 - SHORTEST)),
            Assert(body | ~overflow),
        ]
        with m.If((count >= 256 - CRC_BYTES) | (count <= MAX_PAYLOAD + 1)):
            m.d.comb += Assert(field == HOST_HEADER_BYTES)
        with m.Else():
            m.d.comb += Assert(field == (count + SHORTEST)[:8])
        with m.If(self.checking | self.judging):
            m.d.comb += Assert(count <= MAX_PAYLOAD)
        # What the ring's own proof assumes: bytes are over when a frame is accepted or cleared.
        byte, byte_before, closed = self.look("receiver.decoder.o__valid"), Signal(), Signal()
        accept, clear, reset = self.look("rx_ring.accept"), self.look("clear"), self.dut.port.reset
        m.d.sync += [byte_before.eq(byte), closed.eq(accept | reset)]
        m.d.comb += [
            Assert(~(accept | clear | reset) | ~(byte | byte_before)),
            Assert(~accept | ((body_count > CRC_BYTES) & self.look("rx_ring.acceptable"))),
            Assert(~closed | clear),
        ]
        if self.keeps:
            self.placed(m, byte & body, clear)
        else:
            self.held(m, count, body_count, body, overflow)

    def placed(self, m: Module, byte, clear) -> None:
        """And that where a frame begins is known three cycles before its first byte, and stays."""
        placed, seq = self.look("receiver.placed"), self.look("receiver.seq", 16)
        past = [Signal(name=f"placed_{k}_before") for k in range(1, 4)]
        cleared, before = Signal(), Signal(16)
        m.d.sync += [
            cleared.eq(clear),
            before.eq(seq),
            *(now.eq(then) for now, then in zip(past, [placed, *past], strict=False)),
        ]
        m.d.comb += [
            Assert(~(cleared & placed)),
            Assert(~past[0] | cleared | (placed & (seq == before))),
            Assert(~byte | (placed & past[0] & past[1] & past[2])),
        ]

    def held(self, m: Module, count, body_count, body, overflow) -> None:
        """The bytes that are valid, and those of the frame that comes, fit into the ring. (With
        selective repeat `test_rings` shows it.)"""
        expected, read_at = self.look("rx_ring.expected", 16), self.look("rx_ring.read_at", 9)
        room, have = self.look("rx_ring.room", RX_BITS), self.look("rx_ring.have")
        held, before = Signal(RX_BITS + 1), Signal(RX_BITS + 1)
        m.d.comb += [
            held.eq(expected + (2 * RX - CRC_BYTES) - read_at),
            Assert(held <= WINDOW),
        ]
        fits = ~overflow & (body_count <= MAX_PAYLOAD + 1 + CRC_BYTES)
        with m.If(body & fits & (self.look("receiving") | self.checking | self.judging)):
            m.d.comb += Assert(held + body_count <= RX)
        with m.If(self.checking | self.judging):
            m.d.comb += Assert(overflow | (held + count <= WINDOW))
        # ``room`` is a cycle late.
        m.d.sync += before.eq(Mux(self.dut.port.reset, 0, held))
        m.d.comb += [
            Assert(room == (WINDOW - before)[:RX_BITS]),
            Assert(held + have >= before),
            Assert(before <= WINDOW),
        ]

    def transmitted(self, m: Module) -> None:
        names = ("sent", "level")
        sent, level = (self.look(f"tx_ring.{name}", TX_BITS + 1) for name in names)
        acked, write_at = self.look("tx_ring.acked", 16), self.look("tx_ring.write_at", TX_BITS)
        minus = self.look("tx_ring.minus", 16)
        to_host = self.dut.port.to_host
        writes = to_host.valid & to_host.ready
        m.d.comb += [
            Assert((sent <= level) & (level <= TX)),
            Assert(write_at == (acked + level)[:TX_BITS]),
            Assert(~writes | (level < TX)),
            Assert((minus == 0) | self.judging | self.look("clear") | self.dut.port.reset),
        ]


@pytest.mark.parametrize("name", CONFIGS)
def test_engine(name):
    """By induction, for any bytes and any readiness."""
    prove(Engine(name), 4)
