"""The sample memory's unit: finds the chip, stores, checks, recalls, and hands records on."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from relaxon_isa import ArrayConfig, row_bits
from relaxon_isa.capture import CAPTURE_BITS

from ..bus import RECORD_INDEX_BITS, TASK, Task
from ..samples import SOURCE_WORD
from ..schedule import Scheduled
from .records import RecordReader
from .sdram import ADDRESS_BITS, REQUEST

__all__ = ["SampleMemory", "WordMemory"]

POLYNOMIAL = 0xEDB88320
"""Of CRC-32/ISO-HDLC, its lowest power in the highest bit."""
SMALLEST = ADDRESS_BITS - 2
"""Bits of a word's address in the smallest chip that is told from larger ones."""
PROBES = (
    (1 << ADDRESS_BITS - 1, 0xA517),
    (1 << ADDRESS_BITS - 2, 0x5AE8),
    (0, 0x3CC3),
    (1, 0xC33C),
    (2, 0x0F55),
    (3, 0xF0AA),
)
"""Words that are written at the start, in this order: where a chip is smaller the address comes
round to 0, whose word is another's then."""


class WordMemory(wiring.Signature):
    """A memory of 16-bit words, as `Sdram` is one; seen from who asks.

    Members
    -------
    alive : In(1), request : Out(stream of `REQUEST`), i : Out(stream of 16 bits),
    phase : Out(`CAPTURE_BITS`)
        As of `Sdram`.
    word : In(valid, payload)
        Its ``o``: words that were read do not wait.
    """

    def __init__(self):
        super().__init__(
            {
                "alive": In(1),
                "request": Out(stream.Signature(REQUEST)),
                "i": Out(stream.Signature(16)),
                "word": In(wiring.Signature({"valid": Out(1), "payload": Out(16)})),
                "phase": Out(CAPTURE_BITS),
            }
        )


class SampleMemory(Scheduled):
    """Between the host's commands, a memory of 16-bit words, and the sample buffer.

    Once the memory is alive it is probed: in which phases it is read right, and its size. Of the
    phases the middle one is kept.

    What is checked and recalled comes as samples do, by `RecordReader`, a byte a cycle; a STORE
    writes a word as soon as its two bytes are there.

    Parameters
    ----------
    config
        The machine.

    Members
    -------
    clear : In(1)
        Forget the format, records that were asked for, and the rest of a task.
    row : In, start : In(1), index : In(stream of 24 bits)
        As of `RecordReader`.
    o : Out(stream of `SOURCE_WORD`)
        Words of records.
    idle : Out(1)
        All records that were asked for have been handed on, and no task is under way.
    task : In(stream of `TASK`)
        Taken while ``idle``.
    store : In(stream of 8 bits), answer : Out(stream of 8 bits)
        A STORE's bytes; a RECALL's, or a CHECK's CRC-32.
    size : Out(32)
        Bytes of the memory; 0: none answers.
    window : Out(8)
        A bit for each phase: it reads right (`capture`).
    pending : Out(1)
        Records that were asked for have not been handed on.
    chip : Out(WordMemory)
    """

    def __init__(self, config: ArrayConfig):
        super().__init__(
            config,
            {
                "clear": In(1),
                "row": In(row_bits(config)),
                "start": In(1),
                "index": In(stream.Signature(RECORD_INDEX_BITS)),
                "o": Out(stream.Signature(SOURCE_WORD)),
                "idle": Out(1),
                "task": In(stream.Signature(TASK)),
                "store": In(stream.Signature(8)),
                "answer": Out(stream.Signature(8)),
                "size": Out(32),
                "window": Out(1 << CAPTURE_BITS),
                "pending": Out(1),
                "chip": Out(WordMemory()),
            },
        )
        self.asked = Signal()  # a word is on its way
        self.own = Signal(REQUEST)
        self.asks = Signal()

    def build(self, m: Module) -> None:
        m.submodules.reader = reader = RecordReader(self.config)
        wiring.connect(m, wiring.flipped(self.index), reader.index)

        # What was asked for when the reader is cleared comes all the same, and is dropped.
        owed = Signal(range(1 << 12))
        drops = Signal()
        request, read = self.chip.request.payload, Signal(11)
        with m.If(self.chip.request.valid & self.chip.request.ready & ~request.write):
            m.d.comb += read.eq(request.count)
        m.d.sync += owed.eq(owed + read - self.chip.word.valid)
        with m.If(self.clear):
            m.d.sync += drops.eq(1)
        with m.Elif(owed == 0):
            m.d.sync += drops.eq(0)
        m.d.comb += [
            reader.clear.eq(self.clear | drops),
            reader.row.eq(self.row),
            reader.start.eq(self.start),
            reader.word.payload.eq(self.chip.word.payload),
            reader.word.valid.eq(self.chip.word.valid & ~drops & ~self.asked),
            reader.request.ready.eq(self.chip.request.ready & ~self.asks),
            self.chip.request.valid.eq(reader.request.valid | self.asks),
            request.eq(Mux(self.asks, self.own, reader.request.payload)),
        ]

        m.d.comb += self.pending.eq(~reader.idle | drops)
        word = Signal(16, reset_less=True)  # to be written
        task = Signal(TASK, reset_less=True)
        takes = Signal()  # the reader's words, for the host
        done = Signal()  # with a byte of them: a word
        m.d.comb += [
            self.chip.i.payload.eq(word),
            self.o.payload.eq(reader.o.payload),
            self.o.valid.eq(reader.o.valid & ~takes),
            reader.o.ready.eq(Mux(takes, done, self.o.ready)),
            reader.span.payload.address.eq(task.address[1:]),
            reader.span.payload.words.eq((task.address[0] + task.length + 1) >> 1),
        ]
        beyond = Signal()  # the byte of the task is
        high = task.address >> SMALLEST + 1
        m.d.comb += beyond.eq(
            (self.size == 0) | (high & ~(self.size - 1 >> SMALLEST + 1)[: len(high)]).any()
        )
        crc = Signal(32, reset_less=True)
        byte = Signal(8)
        bytes_ = reader.o.payload.bytes
        m.d.comb += byte.eq(Mux(beyond, 0, Mux(task.address[0], bytes_[8:], bytes_[:8])))
        moved = Signal()
        crc_next = crc_after(m, crc, byte)
        stopped = Signal()
        with m.If(self.clear):
            m.d.sync += stopped.eq(1)

        def stops() -> None:
            with m.If(stopped):
                m.next = "REST"

        with m.FSM(name="memory"):
            self.probe(m, word)
            with m.State("REST"):
                m.d.comb += [
                    self.idle.eq(reader.idle & ~drops & ~self.clear),
                    self.task.ready.eq(self.idle),
                ]
                m.d.sync += [task.eq(self.task.payload), crc.eq(0xFFFFFFFF), stopped.eq(0)]
                with m.If(self.task.valid & self.idle & (self.task.payload.length != 0)):
                    m.next = "SPAN"
                    with m.If(self.task.payload.kind == Task.STORE):
                        m.next = "LOW"
            # A STORE, two bytes a word; a last one alone has a 0 beside it.
            with m.State("LOW"):
                m.d.comb += self.store.ready.eq(1)
                m.d.sync += word.eq(self.store.payload)
                with m.If(self.store.valid):
                    m.next = "HIGH"
                    with m.If(task.length == 1):
                        m.next = "WRITE"
                stops()
            with m.State("HIGH"):
                m.d.comb += self.store.ready.eq(1)
                m.d.sync += word[8:].eq(self.store.payload)
                with m.If(self.store.valid):
                    m.next = "WRITE"
                stops()
            with m.State("WRITE"):
                self.write(m, task.address[1:], ~beyond)
                with m.If(beyond | (self.asked & self.chip.i.ready)):
                    m.d.sync += [
                        task.address.eq(task.address + 2),
                        task.length.eq(task.length - 2),
                    ]
                    m.next = "LOW"
                    with m.If(task.length <= 2):
                        m.next = "REST"
            with m.State("SPAN"):
                m.d.comb += [takes.eq(1), reader.span.valid.eq(1)]
                with m.If(reader.span.ready):
                    m.next = "BYTES"
                stops()
            with m.State("BYTES"):
                recalls = task.kind == Task.RECALL
                m.d.comb += [
                    takes.eq(1),
                    self.answer.valid.eq(recalls & reader.o.valid),
                    self.answer.payload.eq(byte),
                    moved.eq(reader.o.valid & (~recalls | self.answer.ready)),
                    done.eq(moved & (task.address[0] | (task.length == 1))),
                ]
                with m.If(moved):
                    m.d.sync += [
                        task.address.eq(task.address + 1),
                        task.length.eq(task.length - 1),
                        crc.eq(crc_next),
                    ]
                    with m.If(task.length == 1):
                        m.next = "REST"
                        with m.If(~recalls):
                            m.d.sync += task.length.eq(4)
                            m.next = "CRC"
                stops()
            with m.State("CRC"):
                m.d.comb += [self.answer.valid.eq(1), self.answer.payload.eq(~crc[:8])]
                with m.If(self.answer.ready):
                    m.d.sync += [crc.eq(crc >> 8), task.length.eq(task.length - 1)]
                    with m.If(task.length == 1):
                        m.next = "REST"
                stops()

    def write(self, m: Module, address: Value, when: Value) -> None:
        """Within a state: ask for a word to be written, and hand it over."""
        m.d.comb += [
            self.asks.eq(when & ~self.asked),
            self.own.eq(Cat(address[:ADDRESS_BITS], Const(1, 11), 1)),
            self.chip.i.valid.eq(self.asked),
        ]
        with m.If(self.asks & self.chip.request.ready):
            m.d.sync += self.asked.eq(1)
        with m.If(self.asked & self.chip.i.ready):
            m.d.sync += self.asked.eq(0)

    def probe(self, m: Module, word: Signal) -> None:
        """The states before the first task."""
        step = Signal(range(len(PROBES) + 1))
        address = Array(Const(place, ADDRESS_BITS) for place, _ in PROBES)[step]
        pattern = Array(Const(value, 16) for _, value in PROBES)[step]
        trial = Signal(CAPTURE_BITS)
        first = Signal(CAPTURE_BITS)
        number = Signal(CAPTURE_BITS + 1)  # phases that read right, one after the other
        closed = Signal()
        right = Signal(init=1)
        large = Signal(2)
        sizes = Signal(CAPTURE_BITS)
        m.d.comb += [self.chip.phase.eq(trial), sizes.eq((number - 1) >> 1)]
        same = self.chip.word.payload == pattern

        def read(then) -> None:
            m.d.comb += [
                self.asks.eq(~self.asked),
                self.own.eq(Cat(address, Const(1, 11), 0)),
            ]
            with m.If(self.asks & self.chip.request.ready):
                m.d.sync += self.asked.eq(1)
            with m.If(self.chip.word.valid & self.asked):
                m.d.sync += self.asked.eq(0)
                then()

        with m.State("START"):
            m.d.sync += word.eq(pattern)
            with m.If(self.chip.alive):
                m.next = "PROBE"
        with m.State("PROBE"):
            self.write(m, address, Const(1))
            with m.If(self.asked & self.chip.i.ready):
                m.d.sync += step.eq(step + 1)
                m.next = "START"
                with m.If(step == len(PROBES) - 1):
                    m.d.sync += step.eq(2)
                    m.next = "PHASES"

        def tried() -> None:
            m.d.sync += [right.eq(right & same), step.eq(step + 1)]
            with m.If(step == len(PROBES) - 1):
                m.d.sync += [step.eq(2), right.eq(1), trial.eq(trial + 1)]
                m.d.sync += self.window.eq(Cat(self.window[1:], right & same))
                with m.If(right & same & ~closed):
                    m.d.sync += number.eq(number + 1)
                    with m.If(number == 0):
                        m.d.sync += first.eq(trial)
                with m.Elif(number != 0):
                    m.d.sync += closed.eq(1)
                with m.If(trial.all()):
                    m.next = "CHOOSE"

        with m.State("PHASES"):
            read(tried)
        with m.State("CHOOSE"):
            m.d.sync += [trial.eq(first + sizes), step.eq(0)]
            m.next = "SIZE"
            with m.If(number == 0):
                m.next = "REST"

        def measured() -> None:
            m.d.sync += [large.eq(Cat(same, large)), step.eq(step + 1)]
            with m.If(step == 1):
                m.next = "FOUND"

        with m.State("SIZE"):
            read(measured)
        with m.State("FOUND"):
            m.d.sync += self.size.eq(Mux(large[1], 4, Mux(large[0], 2, 1)) << SMALLEST + 1)
            m.next = "REST"


def crc_after(m: Module, crc: Signal, byte: Signal) -> Signal:
    """The CRC-32 with a byte more."""
    for k in range(8):
        flips, after = Signal(name=f"flips_{k}"), Signal(32, name=f"crc_{k}")
        m.d.comb += [flips.eq(crc[0] ^ byte[k]), after.eq((crc >> 1) ^ Mux(flips, POLYNOMIAL, 0))]
        crc = after
    return crc
