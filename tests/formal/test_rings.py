"""The link's rings: bytes arrive once, in order and unchanged, and stay until they may go."""

import pytest
from amaranth.hdl import Module, Mux, Signal
from amaranth.lib.wiring import In, Out

import relaxon_hdl.link
from relaxon_hdl.component import Component
from relaxon_hdl.link import ReceiveRing, TransmitRing
from relaxon_isa.link import CRC_BYTES, MAX_PAYLOAD
from relaxon_isa.presets import preset
from support.formal import Assert, Assume, Harness, prove

SIZE = 256
BITS = 8
CONFIGS = {
    "up5k": preset("up5k").replace(rx_bytes=SIZE, tx_bytes=SIZE),
    "long": preset("default").replace(rx_bytes=SIZE, tx_bytes=SIZE, selective_repeat=False),
    "short keeps": preset("up5k").replace(rx_bytes=SIZE, selective_repeat=True),
    "long keeps": preset("default").replace(rx_bytes=SIZE),
}
WINDOW = SIZE - CRC_BYTES
BLOCKS, INDEX = 8, 3
"""Blocks that are told apart, twice what the ring holds, and the bits for that."""
MOST = MAX_PAYLOAD + 1 + CRC_BYTES
"""Where the count of a frame's bytes stops."""


class OneCell(Component):
    """In place of a ring: its byte at address ``where``. All others, and a byte that is read while
    it is written, may be anything (``other``)."""

    def __init__(self, depth: int, where: Signal, other: Signal):
        self.where, self.other = where, other
        bits = (depth - 1).bit_length()
        super().__init__(
            {
                "w_addr": In(bits),
                "w_data": In(8),
                "w_en": In(1),
                "r_addr": In(bits),
                "r_data": Out(8),
                "cell": Out(8),
            }
        )

    def write_port(self):
        return Ends(addr=self.w_addr, data=self.w_data, en=self.w_en)

    def read_port(self, domain: str):
        assert domain == "comb"
        return Ends(addr=self.r_addr, data=self.r_data)

    def elaborate(self, platform):
        m = Module()
        written = self.w_en & (self.w_addr == self.where)
        with m.If(written):
            m.d.sync += self.cell.eq(self.w_data)
        m.d.comb += self.r_data.eq(
            Mux((self.r_addr == self.where) & ~written, self.cell, self.other)
        )
        return m


class Ends:
    """The members of a memory's port."""

    def __init__(self, **members: Signal):
        self.__dict__.update(members)


def one_cell(monkeypatch) -> tuple[Signal, Signal]:
    """Makes the rings to come a `OneCell`; returns its address and the other bytes."""
    where, other = Signal(BITS, name="where"), Signal(8, name="other")
    monkeypatch.setattr(
        relaxon_hdl.link.memory, "Memory", lambda shape, depth, init: OneCell(depth, where, other)
    )
    return where, other


def constant(m: Module, signal: Signal) -> None:
    """Any value, but the same in all cycles."""
    before, started = Signal.like(signal, name=f"{signal.name}_before"), Signal()
    m.d.sync += [before.eq(signal), started.eq(1)]
    m.d.comb += Assume(~started | (signal == before))


class Receiving(Harness):
    """A byte of the host's stream that is acknowledged was taken: it leaves the ring at its place,
    once and unchanged, unless the link is reset. What is valid or kept is never written over.

    Assumed, and proved of `LinkEngine`: `FrameReceiver` counts a frame's bytes; a frame is accepted
    whole, 1 to 192 bytes and those of the CRC, and cleared before the next one; no byte comes in
    the cycle of that or in the one before; where it begins is known three cycles before its first
    byte. Of the host: what it sends again it sends unchanged. Of the bytes (``what``), what is
    proved of the room.
    """

    def __init__(self, name: str, monkeypatch, what: str):
        config = CONFIGS[name]
        self.short, self.keeps = config.pipeline == "short", config.selective_repeat
        self.what = what
        self.where, other = one_cell(monkeypatch)
        monkeypatch.setattr(relaxon_hdl.link, "KEPT_BLOCKS", BLOCKS)
        super().__init__(ReceiveRing(config), self.where, other)

    def properties(self, m: Module) -> None:
        dut = self.dut
        read_at, have = self.look("read_at", BITS + 1), self.look("have")
        overflow = self.look("overflow")
        held, before = Signal(BITS + 1), Signal(BITS + 1)
        body, byte_before, closed = Signal(8), Signal(), Signal()
        byte, ends = dut.i.valid, dut.accept | dut.clear | dut.reset
        m.d.comb += [
            dut.length.eq((body - CRC_BYTES).as_signed()),
            held.eq(dut.expected + (2 * SIZE - CRC_BYTES) - read_at),
            Assume(~(ends | closed) | ~(byte | byte_before)),
            Assume((dut.accept + dut.clear + dut.reset) <= 1),
            Assume(~closed | dut.clear),
            Assume(~dut.accept | ((body > CRC_BYTES) & (body < MOST) & dut.acceptable)),
        ]
        m.d.sync += [byte_before.eq(byte), closed.eq(dut.accept | dut.reset)]
        with m.If(byte & (body != MOST)):
            m.d.sync += body.eq(body + 1)
        with m.If(dut.clear):
            m.d.sync += body.eq(0)

        # Where the frame begins, and how far that is behind what is expected.
        known = Assert if self.what == "room" else Assume
        begin, lead = Signal(16), Signal(16)
        m.d.comb += lead.eq(begin - dut.expected)
        if self.keeps:
            m.d.comb += begin.eq(dut.seq)
            self.placed(m, known, lead, (held, before), body, byte_before, closed)
        else:
            m.d.comb += begin.eq(dut.expected)

        # Nothing valid is written. ``room`` is a cycle late.
        after = self.look("after", 16)
        m.d.sync += before.eq(Mux(dut.reset, 0, held))
        m.d.comb += [
            known(body <= MOST),
            known((after - read_at)[: BITS + 1] == (held + lead + body)[: BITS + 1]),
            known(held <= WINDOW),
            known(overflow | closed | (body == 0) | (held + lead + body <= SIZE)),
            known(dut.room == (WINDOW - before)[:BITS]),
            known(held + have >= before),
            known(before <= WINDOW),
        ]

        # Every other cycle a byte, which stays for a cycle more.
        gone, payload = Signal(), Signal(8)
        m.d.sync += [gone.eq(dut.o.valid & dut.o.ready), payload.eq(dut.o.payload)]
        m.d.comb += known(~gone | (~dut.o.valid & (dut.o.payload == payload)))

        # Where a byte is written: with the long pipeline a cycle after it came.
        at, new, write = Signal(16), Signal(), self.look("ring.w_en")
        ahead_of_write = Signal(BITS + 1)
        m.d["comb" if self.short else "sync"] += [
            at.eq(after),
            new.eq(body != MOST),  # a frame that is too long stays at one place
        ]
        m.d.comb += ahead_of_write.eq(at - read_at)
        with m.If(write):
            m.d.comb += [
                known(self.look("ring.w_addr", BITS) == at[:BITS]),
                known(ahead_of_write < SIZE),
                known(ahead_of_write >= held),
            ]
            if not self.short:
                m.d.comb += [
                    known(byte_before & (body != 0) & ~overflow),
                    known(ahead_of_write == (held + lead + body - new)[: BITS + 1]),
                ]
        if self.what == "bytes":
            self.one_byte(m, begin, lead, held, body, closed)

    def placed(self, m: Module, known, lead, helds, body, byte_before, closed) -> None:
        """What selective repeat adds: where the frame lies is settled before its first byte, and
        blocks that are kept lie within the window, behind ``expected``."""
        dut = self.dut
        held, before = helds
        kept, touched = dut.kept, self.look("blocks.touched", BLOCKS)
        past = [Signal(name=f"placed_{k}_before") for k in range(1, 4)]
        seq, cleared = Signal(16), Signal()
        m.d.sync += [
            cleared.eq(dut.clear),
            seq.eq(dut.seq),
            *(now.eq(then) for now, then in zip(past, [dut.placed, *past], strict=False)),
        ]
        settled = dut.placed & past[0] & ~closed
        m.d.comb += [
            Assume(~(cleared & dut.placed)),
            Assume(~past[0] | cleared | (dut.placed & (dut.seq == seq))),
            Assume(~dut.i.valid | (dut.placed & past[0] & past[1] & past[2])),
            Assume(~dut.reset | ~dut.accept),
            known((body == 0) | (dut.placed & past[0] & past[1] & past[2])),
            known(~settled | (self.look("lead", 16) == lead)),
            known(~settled | (held <= before)),
        ]
        whole = ~(dut.seq[:6] | dut.length[:6]).any()
        after = self.look("after", 16)
        near = (after[6:] - dut.expected[6:])[:10] <= BLOCKS
        with m.If(settled & past[1]):
            m.d.comb += [
                known(self.look("in_order") == (lead == 0)),
                known(self.look("outside") | (held + lead <= WINDOW)),
            ]
        with m.If(settled & ~byte_before):
            m.d.comb += [known(self.look("whole") == whole), known(self.look("near") == near)]

        # Blocks, by their bits.
        low, first = dut.expected[:6], dut.expected[6:][:INDEX]
        payload, last = Signal(8), Signal(16)
        begin = dut.seq[6:][:INDEX]
        m.d.comb += [
            payload.eq(Mux(body > CRC_BYTES, body - CRC_BYTES, 0)),
            last.eq(dut.seq + payload - 1),
        ]
        for bit in range(BLOCKS):
            behind, within = Signal(INDEX), Signal(INDEX)
            end = Signal(BITS + 2)  # of this block, behind ``expected``
            m.d.comb += [
                behind.eq(bit - first),
                within.eq(bit - begin),
                end.eq((behind << 6) + 64 - low),
                known(~kept[bit] | ((behind != 0) | (low == 0))),
                known(~kept[bit] | (held + end <= WINDOW)),
            ]
            with m.If(~closed & (body != MOST)):
                has = (payload != 0) & (within <= (last[6:][:INDEX] - begin)[:INDEX])
                m.d.comb += known(touched[bit] == has)

    def one_byte(self, m: Module, begin, lead, held, body, closed) -> None:
        """One byte on its way: its offset in the stream, and its value until it has been read."""
        dut = self.dut
        overflow = self.look("overflow")
        offset, value = Signal(16), self.choice(8)
        which = self.choice(16, "offset")
        true, came = Signal(8), Signal(8)  # the stream's byte; that of the frame
        constant(m, which)
        constant(m, self.where)
        write, cell = self.look("ring.w_en"), self.look("ring.cell", 8)
        address, data = self.look("ring.w_addr", BITS), self.look("ring.w_data", 8)
        read, fetch = self.look("ring.r_data", 8), self.look("fetch")
        new = body != MOST
        next_read = (dut.expected - held)[:16]
        within, ahead = Signal(16), Signal(16)
        m.d.comb += [
            offset.eq(which),
            Assume(self.where == (which - CRC_BYTES)[:BITS]),
            within.eq(offset - begin),
            ahead.eq(offset - dut.expected),
        ]
        with m.If(dut.i.valid & new & (within == body)):
            m.d.sync += came.eq(dut.i.payload)
        accepted = dut.accept & (within < (body - CRC_BYTES)[:8])
        m.d.comb += Assume(~accepted | (came == true))
        here = fetch & (next_read == offset)
        with m.If(here | dut.reset):
            m.d.sync += true.eq(value)
        m.d.comb += Assert(~here | (read == true))

        valid = (dut.expected - 1 - offset)[:16] < held
        kept = Signal()
        if self.keeps:
            m.d.comb += kept.eq(
                dut.kept.bit_select(offset[6:][:INDEX], 1)
                & (ahead < WINDOW)
                & (held + ahead < WINDOW)
            )
        on_its_way = Signal()
        if not self.short:
            m.d.comb += on_its_way.eq(write & (address == self.where))
        has = ~closed & ~overflow & new & (body != 0) & (within < body)
        m.d.comb += [
            Assert(~(valid | kept) | ((cell == true) & ~on_its_way)),
            Assert(~has | kept | Mux(on_its_way, data == came, cell == came)),
        ]


class Transmitting(Harness):
    """A byte of the board's stream is sent at its place, unchanged, as often as it is asked for,
    until it is acknowledged; no more is sent than was given, no more released than was sent.

    Assumed, and so in `LinkEngine`: ``open`` is low while an acknowledgement is weighed and
    applied; a byte is wanted only while one is unsent.
    """

    def __init__(self, name: str, monkeypatch):
        self.short = CONFIGS[name].pipeline == "short"
        self.where, other = one_cell(monkeypatch)
        super().__init__(TransmitRing(CONFIGS[name]), self.where, other)

    def properties(self, m: Module) -> None:
        dut = self.dut
        constant(m, self.where)
        sent, level = (self.look(name, BITS + 1) for name in ("sent", "level"))
        acked, write_at = self.look("acked", 16), self.look("write_at", BITS)
        minus, release = self.look("minus", 16), self.look("release")
        weighed, kept_on, ack_before = Signal(), Signal(), Signal(16)
        m.d.sync += [weighed.eq(dut.weigh), kept_on.eq(dut.keep), ack_before.eq(dut.ack_not)]
        judged = weighed if self.short else kept_on
        m.d.comb += [
            Assume((dut.weigh + dut.keep + dut.apply + dut.reset + dut.open) <= 1),
            Assume(~dut.keep | (weighed & (not self.short))),
            Assume(~dut.apply | judged),
            Assume(~(weighed | kept_on) | ~dut.weigh),
            Assume(~(weighed | kept_on) | (dut.ack_not == ack_before)),
            Assume(~(weighed | kept_on) | ~dut.open),
            Assume(~dut.want | dut.unsent),
        ]
        writes = dut.i.valid & dut.i.ready
        m.d.comb += [
            Assert((sent <= level) & (level <= SIZE)),
            Assert(write_at == (acked + level)[:BITS]),
            Assert(~writes | (level < SIZE)),
            Assert((minus == 0) | weighed | kept_on),
            Assert(~(weighed | kept_on) | (minus == (acked + dut.ack_not)[:16])),
            Assert(~(weighed & kept_on)),
        ]

        # One byte that is kept: its place in the stream and its value.
        cell, data = self.look("ring.cell", 8), self.look("ring.r_data", 8)
        fetch, pick = self.look("fetch"), self.choice()
        kept, place, value = Signal(), Signal(16), Signal(8)
        with m.If(pick & writes & (write_at == self.where) & ~kept):
            m.d.sync += [kept.eq(1), place.eq(acked + level), value.eq(dut.i.payload)]
        with m.If(release & ((place - acked)[:16] < (~dut.ack_not - acked)[:16])):
            m.d.sync += kept.eq(0)
        with m.If(dut.reset):
            m.d.sync += kept.eq(0)
        m.d.comb += [
            Assert(~(kept & fetch & (dut.seq == place)) | (data == value)),
            Assert(~kept | ((place[:BITS] == self.where) & (cell == value))),
            Assert(~kept | ((place - acked)[:16] < level)),
            Assert(~release | ((~dut.ack_not - acked)[:16] <= sent)),
        ]


HARD = {("long keeps", "room"), ("short keeps", "bytes"), ("long keeps", "bytes")}
"""Too hard for the SMT solver."""


@pytest.mark.parametrize("what", ["room", "bytes"])
@pytest.mark.parametrize("name", CONFIGS)
def test_receive_ring(name, what, monkeypatch):
    """By induction, for any frames and readiness; the bytes on what is proved of the room."""
    prove(Receiving(name, monkeypatch, what), 1, bits=(name, what) in HARD)


@pytest.mark.parametrize("name", ["up5k", "long"])
def test_transmit_ring(name, monkeypatch):
    """By induction, for any bytes, readiness and acknowledgements."""
    prove(Transmitting(name, monkeypatch), 3)
