"""Samples that are unpacked into lists while the one before is trained."""

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Const, Module, Mux, ResetInserter, Signal, Value, signed
from amaranth.lib import data, fifo, memory, stream
from amaranth.lib.wiring import In, Out

from relaxon_isa import ArrayConfig, Pack, clog2, row_bits

from .buffers import SkidBuffer
from .lists import AT_ONCE, ENTRY_BITS, VALUE_BITS, sharing
from .rows import row_view
from .schedule import Scheduled

__all__ = ["QUEUED", "SOURCE_WORD", "SampleBuffer", "entries_layout"]

QUEUED = 8
"""Whole samples that may wait."""
SOURCE_WORD = data.StructLayout({"bytes": 16, "both": 1})
"""Of what a sample comes in: two bytes, or the lower one alone. A sample begins with a word."""


def entries_layout(config: ArrayConfig) -> dict[str, data.ArrayLayout]:
    """A row of the lists, of each column: ``groups``, and ``values`` in the state format."""
    return {
        "groups": data.ArrayLayout(clog2(config.sample_buffer // 2), config.p),
        "values": data.ArrayLayout(signed(config.state_bits), config.p),
    }


class SampleBuffer(Scheduled):
    """A ring of rows, an entry of each column a row; a loader that fills it from bytes; and the
    present sample.

    A column's entries stand in its values' order without those that are 0. Behind its list's end
    its value is 0: of each sample in the ring all lengths are kept.

    Latency: two cycles to take a word, two for `AT_ONCE` of its values, of which the second finds
    their places; `Schedule.read` from a row to its entries. Throughput: a word a cycle, if its
    values are no more.

    Parameters
    ----------
    config
        The machine.

    Members
    -------
    clear : In(1)
        Empty the buffer, forget the format and what was taken of a sample.
    row : In, start : In(1)
        A WAIT that is ahead waits: the first one's row is the format.
    sample : In(stream of `SOURCE_WORD`)
    hungry : Out(1)
        The loader waits for a word.
    whole : Out(1)
        A whole sample waits.
    take : In(1)
        It becomes the present one, from the next cycle on.
    listed : Out, label : Out(8), labelled : Out(1)
        Rows of the present sample's lists, at least 1; its label, and whether it has one.
    at : In
        A row of these.
    groups : Out, values : Out
        Of each column, the entry there: its group, and its value in the state format.
    """

    def __init__(self, config: ArrayConfig):
        self.most = config.sample_buffer // 2
        super().__init__(
            config,
            {
                "clear": In(1),
                "row": In(row_bits(config)),
                "start": In(1),
                "sample": In(stream.Signature(SOURCE_WORD)),
                "hungry": Out(1),
                "whole": Out(1),
                "take": In(1),
                "listed": Out(range(self.most + 1)),
                "label": Out(8),
                "labelled": Out(1),
                "at": In(range(self.most)),
                **{name: Out(layout) for name, layout in entries_layout(config).items()},
            },
        )

    def elaborate(self, platform: object) -> Module:
        return ResetInserter(self.clear)(super().elaborate(platform))

    def build(self, m: Module) -> None:
        config, most = self.config, self.most
        depth, p = config.sample_buffer, config.p
        started, keeps, labelled, count = self.take_format(m)
        to_go = Signal(16)  # values of the sample that is loaded
        many = Signal()  # they were 16 or more a cycle ago; else the lowest four bits are all
        m.d.sync += many.eq(to_go[4:].any())
        with m.If(self.start & ~started):
            m.d.sync += to_go.eq(row_view(config, "WAIT", self.row)["count"])

        # The ring: rows of the present sample from ``begin`` on, of those that wait behind them,
        # and of the one that is loaded from ``base`` on. Of each sample its lists' lengths.
        begin = Signal(range(depth))
        base = Signal(range(depth))
        kept_rows = Signal(range(depth + 1))
        rows = Signal(range(most + 1))  # of the sample that is loaded
        lengths = Signal(data.ArrayLayout(range(most + 1), p))
        present = Signal(range(most + 1))
        present_lengths = Signal.like(lengths)
        label = Signal(8, reset_less=True)
        queued = Cat(rows, label, lengths.as_value())
        m.submodules.queue = queue = fifo.SyncFIFO(width=len(queued), depth=QUEUED)
        loaded = Signal()
        m.d.comb += [
            queue.w_data.eq(queued),
            queue.w_en.eq(loaded),
            queue.r_en.eq(self.take),
            self.whole.eq(queue.r_rdy),
            self.listed.eq(Mux(present == 0, 1, present)),
        ]
        added, removed = Signal.like(rows), Signal.like(present)
        with m.If(self.take):
            m.d.comb += removed.eq(present)
            m.d.sync += [
                begin.eq(wrapped(begin + present, depth)),
                Cat(present, self.label, present_lengths.as_value()).eq(queue.r_data),
                self.labelled.eq(labelled),
            ]
        m.d.sync += kept_rows.eq(kept_rows + added - removed)

        # The word that is taken, and as many of its values as go at once. What comes before the
        # first WAIT that is ahead is not for here.
        at_once = min(AT_ONCE, p)
        m.submodules.words = words = SkidBuffer(SOURCE_WORD)
        m.d.comb += [
            words.i.payload.eq(self.sample.payload),
            words.i.valid.eq(self.sample.valid & started),
            self.sample.ready.eq(words.i.ready & started),
        ]
        source = words.o.payload
        word = Signal(16, reset_less=True)
        second = Signal(9, reset_less=True)  # its second byte as it came, and whether it has one
        left = Signal(range(17), reset_less=True)  # values of it
        used = Signal(range(17), reset_less=True)
        taken = Signal(range(at_once + 1))
        values = [Signal(VALUE_BITS, name=f"value_{d}") for d in range(at_once)]
        one, word_after = Signal(VALUE_BITS), Signal(16)
        per_byte = Signal(range(9))
        self.unpack(m, word, keeps, values, one=one, after=word_after, per_byte=per_byte)
        always_on = Signal()  # in place of the word's
        with m.If(always_on):
            m.d.comb += values[0].eq(one)
        there = Cat(
            Mux(always_on, d == 0, (left > d) & (many | (to_go[:4] > d))) for d in range(at_once)
        )
        m.d.comb += taken.eq(sum(there[d] for d in range(at_once)))

        # Where they go: the d-th to d columns behind ``column``, in this group or the next.
        asks = Signal()
        steps = Signal()
        column = Signal(p, init=1)  # one bit
        group = Signal(range(most + 1))
        found, hits = self.entries_of(m, column, there, values, group, steps)
        with m.If(steps):
            m.d.sync += [
                to_go.eq(to_go - Mux(always_on, 0, taken)),
                left.eq(left - taken),
                used.eq(used + taken),
                word.eq(word_after),
            ]
            self.step_columns(m, column, group, taken, at_once)

        # A cycle later: behind their columns' lists, as soon as there is a row.
        moves = Signal()
        appends = Signal(p)
        for j in range(p):
            m.d.comb += appends[j].eq(hits[j] & (keeps["dense"] | found[j][:VALUE_BITS].any()))
        new_row, longest = self.count_rows(m, appends, moves, rows, lengths)
        held = self.hold(m, asks, steps, moves, full=kept_rows + rows == depth, new_row=new_row)
        with m.If(moves):
            m.d.sync += [lengths[j].eq(lengths[j] + appends[j]) for j in range(p)]

        label_known = Signal()
        fill = Signal()  # take a word

        def finish(known: Value) -> None:
            m.next = "END"
            with m.If(labelled & ~known):
                m.next = "LABEL"

        m.d.comb += words.o.ready.eq(fill)
        with m.If(fill):
            m.d.sync += [
                word.eq(source.bytes),
                second.eq(Cat(source.bytes[8:], source.both)),
                left.eq(Mux(source.both, per_byte << 1, per_byte)),
                used.eq(0),
            ]
        with m.FSM(name="load"):
            with m.State("WORD"):
                m.d.comb += [fill.eq(1), self.hungry.eq(started & ~words.o.valid)]
                with m.If(words.o.valid):
                    m.next = "VALUES"
            with m.State("VALUES"):
                in_first = second[8] & (used + taken <= per_byte)
                m.d.comb += asks.eq(1)
                with m.If(steps):
                    with m.If(~many & (taken == to_go[:4])):  # the sample's last
                        m.d.sync += [label.eq(second), label_known.eq(in_first)]
                        finish(in_first)
                        with m.If(keeps["bias"]):
                            m.next = "ALWAYS_ON"
                    with m.Elif(taken == left):
                        m.d.comb += fill.eq(1)
                        with m.If(~words.o.valid):
                            m.next = "WORD"
            with m.State("ALWAYS_ON"):
                m.d.comb += [asks.eq(1), always_on.eq(1)]
                with m.If(steps):
                    finish(label_known)
            with m.State("LABEL"):
                m.d.comb += [words.o.ready.eq(1), self.hungry.eq(~words.o.valid)]
                m.d.sync += label.eq(source.bytes)
                with m.If(words.o.valid):
                    m.next = "END"
            with m.State("END"), m.If(queue.w_rdy & ~held):
                m.d.comb += [loaded.eq(1), added.eq(rows)]
                m.d.sync += [
                    base.eq(wrapped(base + rows, depth)),
                    rows.eq(0),
                    lengths.eq(0),
                    longest.eq(~0),
                    column.eq(1),
                    group.eq(0),
                    to_go.eq(count),
                ]
                m.next = "WORD"

        puts = appends & moves.replicate(p)
        places = [wrapped(base + lengths[j], depth) for j in range(p)]
        self.keep_entries(m, puts, places, found, begin, present_lengths, keeps)

    def take_format(self, m: Module) -> tuple[Signal, dict[str, Signal], Signal, Signal]:
        """The first WAIT's: whether it is known, how values are packed, whether a label follows
        them, and how many they are."""
        format_ = row_view(self.config, "WAIT", self.row)
        started = Signal()
        names = ("pack", "signed", "shift", "bias", "dense")
        keeps = {name: Signal.like(format_[name], name=name, reset_less=True) for name in names}
        count = Signal(16, reset_less=True)
        labelled = Signal(reset_less=True)
        with m.If(self.start & ~started):
            m.d.sync += [
                started.eq(1),
                labelled.eq(format_.outputs != 0),
                count.eq(format_["count"]),
                *(kept.eq(format_[name]) for name, kept in keeps.items()),
            ]
        return started, keeps, labelled, count

    def step_columns(
        self, m: Module, column: Signal, group: Signal, taken: Signal, at_once: int
    ) -> None:
        """Go on by as many columns as were taken."""
        p = self.config.p
        for n in range(1, at_once + 1):
            with m.If(taken == n):
                wraps = Cat(column[(p - 1 - k)] for k in range(n)).any()
                m.d.sync += [
                    column.eq(Cat(column[(j - n) % p] for j in range(p))),
                    group.eq(group + wraps),
                ]

    def count_rows(
        self, m: Module, appends: Signal, moves: Signal, rows: Signal, lengths: data.View
    ) -> tuple[Value, Signal]:
        """Counts the rows of the sample that is loaded. Returns whether there is a new one, and
        which columns' lists have an entry in every row: kept up beside their lengths, since that
        decides much."""
        p = self.config.p
        longest = Signal(p, init=(1 << p) - 1)
        nearly = Cat(lengths[j] + 1 == rows for j in range(p))
        new_row = (appends & longest).any()
        with m.If(moves):
            m.d.sync += [
                rows.eq(rows + new_row),
                longest.eq(Mux(new_row, appends & longest, longest | (appends & nearly))),
            ]
        return new_row, longest

    def hold(
        self, m: Module, asks: Signal, steps: Signal, moves: Signal, *, full: Value, new_row: Value
    ) -> Signal:
        """Entries are held until they move into the ring. Returns whether some are.

        Whether a row is needed comes late, and who takes words asks: in a full ring alone, and
        then it is found out a cycle before.
        """
        held, asked, needs = Signal(), Signal(), Signal()
        m.d.comb += [
            moves.eq(held & (~full | (asked & ~needs))),
            steps.eq(asks & (~held | moves)),
        ]
        m.d.sync += [
            held.eq(steps | (held & ~moves)),
            asked.eq(held & ~moves),
            needs.eq(new_row),
        ]
        return held

    def entries_of(
        self,
        m: Module,
        column: Signal,
        there: Value,
        values: list[Signal],
        group: Signal,
        steps: Signal,
    ) -> tuple[list[Signal], Signal]:
        """Each column's entry of the values that go at once, in a register; and which columns have
        one."""
        p = self.config.p
        found = [Signal(ENTRY_BITS, name=f"found_{j}", reset_less=True) for j in range(p)]
        hits = Signal(p, reset_less=True)
        for j in range(p):
            mine = [column[(j - d) % p] & there[d] for d in range(len(values))]
            beyond = Cat(mine[d] for d in range(len(values)) if d > j).any()
            value = reduce(
                or_, (v & bit.replicate(VALUE_BITS) for v, bit in zip(values, mine, strict=True))
            )
            with m.If(steps):
                m.d.sync += [
                    hits[j].eq(Cat(mine).any()),
                    found[j].eq(Cat(value, (group + beyond)[: ENTRY_BITS - VALUE_BITS])),
                ]
        return found, hits

    def unpack(
        self,
        m: Module,
        word: Signal,
        keeps: dict[str, Signal],
        values: list[Signal],
        *,
        one: Signal,
        after: Signal,
        per_byte: Signal,
    ) -> None:
        """A word's first values, the value of the always-on input, what is left of the word, and
        how many values a byte has."""
        with m.Switch(keeps["pack"]):
            for pack in Pack:
                if pack is Pack.WORD:
                    continue
                bits = pack.bits
                with m.Case(pack):
                    for d, value in enumerate(values):
                        raw = word[d * bits : (d + 1) * bits]
                        sign = raw[-1] & keeps["signed"] if len(raw) else Const(0)
                        m.d.comb += value.eq(Cat(raw, sign.replicate(VALUE_BITS - len(raw))))
                    m.d.comb += [
                        one.eq(Mux(keeps["signed"], 1 << (bits - 1), 1 << bits)),
                        after.eq(word >> (len(values) * bits)),
                        per_byte.eq(8 // bits),
                    ]

    def keep_entries(
        self,
        m: Module,
        puts: Value,
        rows: list[Value],
        entries: list[Signal],
        begin: Signal,
        lengths: data.View,
        keeps: dict[str, Signal],
    ) -> None:
        """The ring's memories: what is put into each column's row, and what is read.

        Written a cycle later, so that addresses and entries come from registers. Columns share
        memories (`lists.sharing`).
        """
        depth, p = self.config.sample_buffer, self.config.p
        put = Signal(p, name="puts")
        m.d.sync += put.eq(puts)
        put_rows, put_entries = [], []
        for j in range(p):
            row = Signal(range(depth), name=f"put_row_{j}", reset_less=True)
            entry = Signal(ENTRY_BITS, name=f"put_entry_{j}", reset_less=True)
            m.d.sync += [row.eq(rows[j]), entry.eq(entries[j])]
            put_rows.append(row)
            put_entries.append(entry)
        address = Signal(range(depth))
        m.d.comb += address.eq(wrapped(begin + self.at, depth))
        for columns in sharing(p):
            ram = memory.Memory(shape=ENTRY_BITS * len(columns), depth=depth, init=[])
            m.submodules[f"entries_{columns[0]}"] = ram
            write = ram.write_port(granularity=ENTRY_BITS)
            read = ram.read_port()
            m.d.comb += [
                write.addr.eq(put_rows[columns[-1]]),
                write.en.eq(Cat(put[j] for j in columns)),
                write.data.eq(Cat(put_entries[j] for j in columns)),
                read.addr.eq(address),
            ]
            with m.If(put[columns[0]]):
                m.d.comb += write.addr.eq(put_rows[columns[0]])
            for k, j in enumerate(columns):
                there_is = Signal(name=f"there_is_{j}", reset_less=True)
                out = Signal(ENTRY_BITS, name=f"entry_{j}", reset_less=True)
                entry = read.data[k * ENTRY_BITS : (k + 1) * ENTRY_BITS]
                m.d.sync += [
                    there_is.eq(self.at < lengths[j]),
                    out.eq(Mux(there_is, entry, 0)),
                ]
                sign = out[VALUE_BITS - 1] & keeps["signed"]
                plain = Cat(out[:VALUE_BITS], sign).as_signed()
                m.d.comb += [
                    self.groups[j].eq(out[VALUE_BITS:]),
                    self.values[j].eq(plain << keeps["shift"]),
                ]


def wrapped(place, depth: int):
    """A place behind the ring's end, at its begin again."""
    if depth & (depth - 1) == 0:
        return place[: clog2(depth)]
    return Mux(place >= depth, place - Const(depth), place)
