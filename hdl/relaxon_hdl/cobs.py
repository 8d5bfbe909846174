"""Consistent overhead byte stuffing: frames without zeros, ended by one."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import memory, stream
from amaranth.lib.wiring import In, Out

from .component import Component

__all__ = ["CobsDecoder", "CobsEncoder"]


class CobsDecoder(Component):
    """Takes COBS frames apart.

    Latency: one cycle. Throughput: a byte per cycle. No back-pressure. Empty frames (delimiters in
    a row) give nothing at all.

    Members
    -------
    i : In(stream of 8 bits, always ready)
        Encoded bytes and delimiters.
    spoil : In(1)
        One cycle: a byte was lost here; the frame up to the next delimiter is bad.
    o : Out(stream of 8 bits, always ready)
        Decoded bytes.
    end : Out(1)
        One cycle: a delimiter ended a frame; all its bytes came before.
    bad : Out(1)
        With ``end``: the frame is spoiled, or its last block is shorter than its code says.
    """

    def __init__(self):
        super().__init__(
            {
                "i": In(stream.Signature(8, always_ready=True)),
                "spoil": In(1),
                "o": Out(stream.Signature(8, always_ready=True)),
                "end": Out(1),
                "bad": Out(1),
            }
        )

    def build(self, m: Module) -> None:
        left = Signal(8)  # bytes to come in this block
        code = Signal()  # this byte is a code
        opened = Signal()  # the frame has a byte
        zero = Signal()  # the block that ends stands for a zero
        spoiled = Signal()

        m.d.comb += code.eq(left == 0)
        m.d.sync += [self.o.valid.eq(0), self.end.eq(0)]
        with m.If(self.i.valid):
            m.d.sync += self.o.payload.eq(Mux(code, 0, self.i.payload))
            with m.If(self.i.payload == 0):
                m.d.sync += [
                    self.end.eq(opened),
                    self.bad.eq(spoiled | ~code),
                    left.eq(0),
                    opened.eq(0),
                    zero.eq(0),
                    spoiled.eq(0),
                ]
            with m.Else():
                m.d.sync += [
                    left.eq(Mux(code, self.i.payload, left) - 1),
                    self.o.valid.eq(~code | zero),
                    opened.eq(1),
                ]
                with m.If(code):
                    m.d.sync += zero.eq(self.i.payload != 0xFF)
        with m.If(self.spoil):
            m.d.sync += [opened.eq(1), spoiled.eq(1)]


class CobsEncoder(Component):
    """Collects a frame in a block RAM, encoding it in place, then sends it.

    Every byte is written as it comes, to ``place``; a zero is not: the code of the block it ends
    is, ``place - code``, to the place kept for it, and the zero's own place is kept for the next
    code. A frame has to be shorter than one block, so no code is ever 0xFF.

    Latency: from ``finish`` to the first byte out three cycles; after the delimiter is taken two
    until ``i`` is ready again. Throughput: in a byte per cycle, out a byte every other cycle.

    Members
    -------
    i : In(stream of 8 bits)
        The frame, 1 to `CAPACITY` bytes. Not ready while a frame is sent.
    finish : In(1)
        One cycle while ``i`` is ready and not valid: that was the frame; send it.
    abort : In(1)
        One cycle: forget the frame being collected. A frame being sent is sent.
    o : Out(stream of 8 bits)
        The encoded frame and its delimiter.
    used : Out(8)
        One more than the bytes collected.
    sending : Out(1)
        A frame is going out.
    """

    CAPACITY = 253

    def __init__(self):
        super().__init__(
            {
                "i": In(stream.Signature(8)),
                "finish": In(1),
                "abort": In(1),
                "o": Out(stream.Signature(8)),
                "used": Out(8),
                "sending": Out(1),
            }
        )

    def build(self, m: Module) -> None:
        m.submodules.buffer = buffer = memory.Memory(shape=8, depth=256, init=[])
        write = buffer.write_port()
        read = buffer.read_port(domain="comb")
        fetched = Signal(8, reset_less=True)

        place = Signal(8)
        code_not = Signal(8, init=0xFF)  # the complement of the place kept for a code
        push = Signal()
        zero = Signal()
        last = Signal()
        distance = Signal(8)
        m.d.comb += [
            write.en.eq(push),
            self.used.eq(place),
            distance.eq(place + code_not + 1),
            write.addr.eq(Mux(zero, ~code_not, place)),
            write.data.eq(Mux(zero, distance, self.i.payload)),
            read.addr.eq(place),
            last.eq(place == ~code_not),
            self.o.payload.eq(Mux(last, 0, fetched)),
        ]
        with m.If(push):
            m.d.sync += place.eq(place + 1)
            with m.If(zero):
                m.d.sync += code_not.eq(~place)

        with m.FSM() as fsm:
            with m.State("CLEAR"):
                m.d.sync += [place.eq(0), code_not.eq(0xFF)]
                m.next = "OPEN"
            with m.State("OPEN"):  # a zero before the frame keeps place 0 for the first code
                m.d.comb += [push.eq(1), zero.eq(1)]
                m.next = "COLLECT"
            with m.State("COLLECT"):  # and one after it writes the last code
                m.d.comb += [
                    self.i.ready.eq(1),
                    push.eq(self.i.valid | self.finish),
                    zero.eq(self.finish | (self.i.payload == 0)),
                ]
                with m.If(self.finish):
                    m.next = "REWIND"
                with m.If(self.abort):
                    m.next = "CLEAR"
            with m.State("REWIND"):
                m.d.sync += place.eq(0)
                m.next = "FETCH"
            with m.State("FETCH"):
                m.d.sync += fetched.eq(read.data)
                m.next = "BYTE"
            with m.State("BYTE"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.d.sync += place.eq(place + 1)
                    m.next = "FETCH"
                    with m.If(last):
                        m.next = "CLEAR"

        m.d.comb += [
            self.sending.eq(fsm.ongoing("REWIND") | fsm.ongoing("FETCH") | fsm.ongoing("BYTE")),
        ]
