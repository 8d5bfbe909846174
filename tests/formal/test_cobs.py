"""COBS: the decoder gives what the encoding says; the decoder undoes the encoder."""

from amaranth.hdl import Array, Module, Mux, Signal
from amaranth.lib.wiring import In

from relaxon_hdl.cobs import CobsDecoder, CobsEncoder
from relaxon_hdl.component import Component
from support.formal import Assert, Assume, Harness, check_up_to, prove

WHOLE = 255
"""A frame of fewer encoded bytes has no block without a zero at its end."""
MOST = 1000


class Decoding(Harness):
    """Of a frame of 1 to 254 encoded bytes: all bytes come before its end; if it is good, they are
    as many as the encoded ones less one; each is the encoded byte of the cycle before, or the zero
    that a code stands for. It is bad if a byte was lost or a block is not complete."""

    def properties(self, m: Module) -> None:
        dut = self.dut
        left, opened, zero, spoiled = (
            self.look("left", 8),
            self.look("opened"),
            self.look("zero"),
            self.look("spoiled"),
        )
        delimiter = Signal()
        encoded, before, out, now = Signal(10), Signal(10), Signal(10), Signal(10)
        ended, lost, short = Signal(), Signal(), Signal()
        byte, code = Signal(8), Signal(init=1)
        m.d.comb += [
            delimiter.eq(dut.i.valid & (dut.i.payload == 0)),
            now.eq(Mux(dut.end | ended, 0, out) + dut.o.valid),
        ]
        m.d.sync += [
            before.eq(encoded),
            ended.eq(delimiter),
            out.eq(Mux(now > MOST, MOST, now)),
            byte.eq(dut.i.payload),
            code.eq(left == 0),
            short.eq(left != 0),
            lost.eq(spoiled),
        ]
        with m.If(dut.i.valid):
            m.d.sync += encoded.eq(Mux(delimiter, 0, Mux(encoded == MOST, MOST, encoded + 1)))
        m.d.comb += [
            Assert(~(dut.end & dut.o.valid)),
            Assert(~dut.o.valid | (dut.o.payload == Mux(code, 0, byte))),
            Assert(~dut.end | (dut.bad == (lost | short))),
        ]
        with m.If(dut.end & ~dut.bad & (before != 0) & (before < WHOLE)):
            m.d.comb += Assert(out == before - 1)

        # What makes it inductive.
        m.d.comb += [
            Assert(encoded <= MOST),
            Assert(~dut.end | ended),
            Assert(~ended | ((encoded == 0) & ~dut.o.valid)),
        ]
        with m.If(encoded == 0):
            m.d.comb += Assert((now == 0) & (left == 0) & ~zero)
        with m.Elif(encoded < WHOLE):
            m.d.comb += Assert((now == encoded - 1) & opened & (zero | (left + encoded >= WHOLE)))
        with m.If(ended & (before != 0) & (before < WHOLE)):
            m.d.comb += Assert(out == before - 1)


def test_decoder():
    """By induction, for any bytes with any pauses."""
    prove(Decoding(CobsDecoder()), 3)


class Pair(Component):
    """An encoder whose frames go to a decoder."""

    def __init__(self):
        self.encoder, self.decoder = CobsEncoder(), CobsDecoder()
        super().__init__({"ready": In(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.encoder, m.submodules.decoder = encoder, decoder = self.encoder, self.decoder
        m.d.comb += [
            encoder.o.ready.eq(self.ready),
            decoder.i.valid.eq(encoder.o.valid & self.ready),
            decoder.i.payload.eq(encoder.o.payload),
        ]
        return m


class RoundTrip(Harness):
    """A frame of 1 to `LENGTH` bytes, any bytes, comes out of the decoder as it went into the
    encoder, good, and no byte on the line but the delimiter is zero."""

    LENGTH = 4

    def properties(self, m: Module) -> None:
        encoder, decoder = self.dut.encoder, self.dut.decoder
        length, stop = self.choice(range(self.LENGTH + 1)), Signal()
        given = Array(Signal(8, name=f"given_{i}") for i in range(self.LENGTH))
        put, got = Signal(range(self.LENGTH + 1)), Signal(range(self.LENGTH + 2))
        finished, fixed = Signal(), Signal(range(self.LENGTH + 1))
        byte = self.choice(8)
        started = Signal()
        m.d.sync += [started.eq(1), fixed.eq(Mux(started, fixed, length))]
        m.d.comb += [
            Assume((length > 0) & (length <= self.LENGTH)),
            self.dut.ready.eq(1),
            stop.eq(started & (put == fixed) & ~finished & encoder.i.ready),
            encoder.i.valid.eq(started & (put != fixed)),
            encoder.i.payload.eq(byte),
            encoder.finish.eq(stop),
        ]
        with m.If(encoder.i.valid & encoder.i.ready):
            m.d.sync += [put.eq(put + 1), given[put].eq(byte)]
        with m.If(stop):
            m.d.sync += finished.eq(1)
        with m.If(decoder.o.valid):
            m.d.sync += got.eq(got + 1)
            m.d.comb += Assert((got < fixed) & (decoder.o.payload == given[got]))
        with m.If(decoder.end):
            m.d.comb += Assert(finished & ~decoder.bad & (got == fixed))
        # It ends in time: a byte every other cycle behind 6 cycles.
        since = Signal(8)
        m.d.sync += since.eq(Mux(finished, since + 1, 0))
        done = Signal()
        with m.If(decoder.end):
            m.d.sync += done.eq(1)
        m.d.comb += Assert(done | (since < 2 * (self.LENGTH + 2) + 6))


def test_round_trip():
    """Frames of 1 to 4 bytes, all of them, by bounded check until the last one is decoded."""
    check_up_to(RoundTrip(Pair()), 3 + RoundTrip.LENGTH + 2 * (RoundTrip.LENGTH + 2) + 8)
