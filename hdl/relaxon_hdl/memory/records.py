"""Records of the sample memory on their way to the sample buffer."""

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal
from amaranth.lib import data, fifo, stream
from amaranth.lib.wiring import In, Out

from relaxon_isa import MEMORY_HEADER_BYTES, ArrayConfig, Pack, row_bits

from ..buffers import SkidBuffer
from ..bus import RECORD_INDEX_BITS
from ..rows import row_view
from ..samples import SOURCE_WORD
from ..schedule import Scheduled
from .sdram import ADDRESS_BITS, REQUEST

__all__ = ["ROOM", "SPAN", "RecordReader"]

ROOM = 512
"""Words that may be on their way or wait: a block RAM."""
SPAN = data.StructLayout({"address": ADDRESS_BITS, "words": ADDRESS_BITS + 1})
PIECE = 256
"""Words of a request at most; half of them, so that the memory goes on while these are taken."""


class RecordReader(Scheduled):
    """Asks a memory for records, one after the other, and hands their words on.

    A record's address is its index times its words, a bit of the index a cycle, which is done while
    the record before is read. Words do not wait on their way from the memory: nothing is asked for
    that there is no room for.

    Throughput: a request as soon as the one before is taken, of `PIECE` words or the rest of a
    record.

    Parameters
    ----------
    config
        The machine.

    Members
    -------
    clear : In(1)
        Forget the format and all records. Words that were asked for still come: hold it until the
        memory is done with them.
    row : In, start : In(1)
        As of `SampleBuffer`: the format.
    index : In(stream of 24 bits)
        Records, by their numbers.
    span : In(stream of `SPAN`)
        Words that are no record.
    request : Out(stream of `REQUEST`), word : In(stream of 16 bits)
        The memory's.
    o : Out(stream of `SOURCE_WORD`)
        The records' words.
    idle : Out(1)
        All that was asked for has been handed on.
    """

    def __init__(self, config: ArrayConfig):
        super().__init__(
            config,
            {
                "clear": In(1),
                "row": In(row_bits(config)),
                "start": In(1),
                "index": In(stream.Signature(RECORD_INDEX_BITS)),
                "span": In(stream.Signature(SPAN)),
                "request": Out(stream.Signature(REQUEST)),
                "word": In(stream.Signature(16, always_ready=True)),
                "o": Out(stream.Signature(SOURCE_WORD)),
                "idle": Out(1),
            },
        )

    def elaborate(self, platform: object) -> Module:
        return ResetInserter(self.clear)(super().elaborate(platform))

    def build(self, m: Module) -> None:
        # The format: a record's words.
        wait = row_view(self.config, "WAIT", self.row)
        sizes = {pack: (wait["count"] << pack) + 7 >> 3 for pack in Pack if pack is not Pack.WORD}
        size = Signal(17)  # bytes, of the values alone
        labelled = Signal(reset_less=True)
        words = Signal(16, reset_less=True)
        seen, started = Signal(), Signal()
        with m.If(self.start & ~seen):
            m.d.sync += [seen.eq(1), labelled.eq(wait["outputs"] != 0)]
            with m.Switch(wait["pack"]):
                for pack, its in sizes.items():
                    with m.Case(pack):
                        m.d.sync += size.eq(its)
        m.d.sync += [words.eq((size + labelled + 1) >> 1), started.eq(seen)]
        ready = Signal()
        m.d.sync += ready.eq(started)

        # Where the next one is.
        index = Signal(RECORD_INDEX_BITS, reset_less=True)
        bits = Signal(range(RECORD_INDEX_BITS + 1))
        product = Signal(ADDRESS_BITS, reset_less=True)
        known = Signal()
        multiplying = bits != 0
        m.d.comb += self.index.ready.eq(ready & ~known & ~multiplying)
        with m.If(self.index.valid & self.index.ready):
            m.d.sync += [index.eq(self.index.payload), bits.eq(RECORD_INDEX_BITS), product.eq(0)]
        with m.If(multiplying):
            m.d.sync += [
                product.eq((product << 1) + Mux(index[-1], words, 0)),
                index.eq(index << 1),
                bits.eq(bits - 1),
                known.eq(bits == 1),
            ]

        # What is asked for.
        address = Signal(ADDRESS_BITS, reset_less=True)
        left = Signal(ADDRESS_BITS + 1)
        asked = self.request.payload
        count = Mux(left > PIECE, PIECE, left)
        room = Signal(range(ROOM + 1), init=ROOM)
        taken = Signal(range(PIECE + 1))
        m.d.comb += [
            asked.address.eq(address),
            asked.count.eq(count),
            self.request.valid.eq((left != 0) & (room >= count)),
        ]
        with m.If(self.request.valid & self.request.ready):
            m.d.comb += taken.eq(count)
            m.d.sync += [address.eq(address + count), left.eq(left - count)]
        m.d.comb += self.span.ready.eq((left == 0) & ~known)
        with m.If(self.span.valid & self.span.ready):
            m.d.sync += [address.eq(self.span.payload.address), left.eq(self.span.payload.words)]
        with m.If((left == 0) & known):
            m.d.sync += [
                address.eq(product + MEMORY_HEADER_BYTES // 2),
                left.eq(words),
                known.eq(0),
            ]

        # A block RAM's word is late in its cycle: it goes on from a register.
        m.submodules.queue = queue = fifo.SyncFIFOBuffered(width=16, depth=ROOM)
        m.submodules.out = out = SkidBuffer(16)
        passes = self.o.valid & self.o.ready
        m.d.comb += [
            queue.w_data.eq(self.word.payload),
            queue.w_en.eq(self.word.valid),
            out.i.payload.eq(queue.r_data),
            out.i.valid.eq(queue.r_rdy),
            queue.r_en.eq(out.i.ready),
            self.o.payload.eq(Cat(out.o.payload, 1)),
            self.o.valid.eq(out.o.valid),
            out.o.ready.eq(self.o.ready),
            self.idle.eq(~multiplying & ~known & (left == 0) & (room == ROOM)),
        ]
        m.d.sync += room.eq(room - taken + passes)
