"""Samples that are unpacked into lists while the one before is trained."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, ResetInserter, Signal, signed
from amaranth.lib import data, fifo, memory, stream
from amaranth.lib.wiring import In, Out

from relaxon_isa import ArrayConfig, Pack, clog2, row_bits

from .rows import row_view
from .schedule import Scheduled

__all__ = ["ENTRY_BITS", "QUEUED", "VALUE_BITS", "SampleBuffer", "entries_layout"]

VALUE_BITS = 9
"""Of an entry's value: unsigned or signed, as the format says."""
ENTRY_BITS = 18
"""Of an entry: its group above its value. Two are a word of a block RAM."""
QUEUED = 8
"""Whole samples that may wait."""


def entries_layout(config: ArrayConfig) -> dict[str, data.ArrayLayout]:
    """A row of the lists, an entry of each column: its group, its value in the state format."""
    return {
        "groups": data.ArrayLayout(clog2(config.sample_buffer // 2), config.p),
        "values": data.ArrayLayout(signed(config.state_bits), config.p),
    }


class SampleBuffer(Scheduled):
    """A ring of rows, an entry of each column a row; a loader that fills it from bytes; and the
    present sample.

    A column's entries stand in its values' order without those that are 0. Where a sample's list is
    shorter than its longest the value is 0: the first entry of a row writes all of it.

    Latency: a cycle to take a byte, a cycle a value; `Schedule.read` from a row to its entries.

    Parameters
    ----------
    config
        The machine.

    Members
    -------
    clear : In(1)
        Empty the buffer and forget the format.
    row : In, start : In(1)
        A WAIT that is ahead waits: the first one's row is the format.
    sample : In(stream of 8 bits)
    whole : Out(1)
        A whole sample waits.
    take : In(1)
        It becomes the present one, from the next cycle on.
    listed : Out, label : Out(8)
        Rows of the present sample's lists, at least 1, and its label.
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
                "sample": In(stream.Signature(8)),
                "whole": Out(1),
                "take": In(1),
                "listed": Out(range(self.most + 1)),
                "label": Out(8),
                "at": In(range(self.most)),
                **{name: Out(layout) for name, layout in entries_layout(config).items()},
            },
        )

    def elaborate(self, platform: object) -> Module:
        return ResetInserter(self.clear)(super().elaborate(platform))

    def build(self, m: Module) -> None:
        config, most = self.config, self.most
        depth, p = config.sample_buffer, config.p
        format_ = row_view(config, "WAIT", self.row)
        started = Signal()
        names = ("count", "pack", "signed", "shift", "bias", "dense")
        keeps = {name: Signal.like(format_[name], name=name, reset_less=True) for name in names}
        labelled = Signal(reset_less=True)
        with m.If(self.start & ~started):
            m.d.sync += [
                started.eq(1),
                labelled.eq(format_.outputs != 0),
                *(kept.eq(format_[name]) for name, kept in keeps.items()),
            ]

        # The ring: rows of the present sample from ``begin`` on, of those that wait behind them,
        # and of the one that is loaded from ``base`` on.
        begin = Signal(range(depth))
        base = Signal(range(depth))
        kept_rows = Signal(range(depth + 1))
        rows = Signal(range(most + 1))  # of the sample that is loaded
        lengths = [Signal(range(most + 1), name=f"length_{c}") for c in range(p)]
        present = Signal(range(most + 1))
        m.submodules.queue = queue = fifo.SyncFIFO(width=len(rows) + 8, depth=QUEUED)
        label = Signal(8, reset_less=True)
        loaded = Signal()
        m.d.comb += [
            queue.w_data.eq(Cat(rows, label)),
            queue.w_en.eq(loaded),
            queue.r_en.eq(self.take),
            self.whole.eq(queue.r_rdy),
            self.listed.eq(Mux(present == 0, 1, present)),
        ]
        added, removed = Signal.like(rows), Signal.like(present)
        with m.If(loaded):
            m.d.comb += added.eq(rows)
            m.d.sync += [
                base.eq(wrapped(base + rows, depth)),
                rows.eq(0),
                *(length.eq(0) for length in lengths),
            ]
        with m.If(self.take):
            m.d.comb += removed.eq(present)
            m.d.sync += [
                begin.eq(wrapped(begin + present, depth)),
                Cat(present, self.label).eq(queue.r_data),
            ]
        m.d.sync += kept_rows.eq(kept_rows + added - removed)

        # The loader.
        byte = Signal(8, reset_less=True)
        left_in_byte = Signal(3, reset_less=True)
        done = Signal(16)
        column = Signal(range(p))
        group = Signal(range(most))
        value = Signal(VALUE_BITS)
        one = Signal(VALUE_BITS)
        next_byte = Signal(8)
        per_byte = Signal(3)
        with m.Switch(keeps["pack"]):
            for pack in Pack:
                if pack is Pack.WORD:
                    continue
                with m.Case(pack):
                    sign = byte[pack.bits - 1] & keeps["signed"]
                    m.d.comb += [
                        value.eq(Cat(byte[: pack.bits], sign.replicate(VALUE_BITS - pack.bits))),
                        one.eq(Mux(keeps["signed"], 1 << (pack.bits - 1), 1 << pack.bits)),
                        next_byte.eq(byte >> pack.bits),
                        per_byte.eq(8 // pack.bits - 1),
                    ]
        append = Signal()
        entry = Signal(VALUE_BITS)
        length = Signal(range(most + 1))
        new_row = Signal()
        room = Signal()
        m.d.comb += [
            entry.eq(value),
            length.eq(Array(lengths)[column]),
            new_row.eq(length == rows),
            room.eq(kept_rows + length < depth),
        ]

        def step(last) -> None:
            """Put the value, and go to the next one's place."""
            m.d.comb += append.eq((entry != 0) | keeps["dense"])
            m.d.sync += column.eq(column + 1)
            with m.If(column == p - 1):
                m.d.sync += [column.eq(0), group.eq(group + 1)]
            with m.If(last):
                m.d.sync += [column.eq(0), group.eq(0), done.eq(0)]

        def finish() -> None:
            m.next = "END"
            with m.If(labelled):
                m.next = "LABEL"

        with m.FSM(name="load"):
            with m.State("BYTE"):
                m.d.comb += self.sample.ready.eq(started)
                m.d.sync += [byte.eq(self.sample.payload), left_in_byte.eq(per_byte)]
                with m.If(self.sample.valid & started):
                    m.next = "VALUE"
            with m.State("VALUE"), m.If(room):
                m.d.sync += [
                    done.eq(done + 1),
                    byte.eq(next_byte),
                    left_in_byte.eq(left_in_byte - 1),
                ]
                ends = done + 1 == keeps["count"]
                with m.If(left_in_byte == 0):
                    m.next = "BYTE"
                with m.If(ends):
                    finish()
                    with m.If(keeps["bias"]):
                        m.next = "BIAS"
                step(ends & ~keeps["bias"])
            with m.State("BIAS"):
                m.d.comb += entry.eq(one)
                with m.If(room):
                    finish()
                    step(1)
            with m.State("LABEL"):
                m.d.comb += self.sample.ready.eq(1)
                m.d.sync += label.eq(self.sample.payload)
                with m.If(self.sample.valid):
                    m.next = "END"
            with m.State("END"), m.If(queue.w_rdy):
                m.d.comb += loaded.eq(1)
                m.next = "BYTE"

        # Written a cycle later, so that the row's address and the entry come from registers.
        put = Signal()
        put_all = Signal(reset_less=True)
        put_column = Signal.like(column, reset_less=True)
        put_row = Signal.like(base, reset_less=True)
        put_entry = Signal(ENTRY_BITS, reset_less=True)
        m.d.sync += [
            put.eq(append),
            put_all.eq(new_row),
            put_column.eq(column),
            put_row.eq(wrapped(base + length, depth)),
            put_entry.eq(Cat(entry, group)),
        ]
        with m.If(append):
            for c, its in enumerate(lengths):
                with m.If(column == c):
                    m.d.sync += its.eq(length + 1)
            with m.If(new_row):
                m.d.sync += rows.eq(rows + 1)

        address = Signal(range(depth))
        empty = Signal()
        m.d.comb += [address.eq(wrapped(begin + self.at, depth)), empty.eq(present == 0)]
        was_empty = Signal()
        m.d.sync += was_empty.eq(empty)
        for c in range(0, p, 2):
            columns = range(c, min(c + 2, p))
            ram = memory.Memory(shape=ENTRY_BITS * len(columns), depth=depth, init=[])
            m.submodules[f"entries_{c}"] = ram
            write = ram.write_port(granularity=ENTRY_BITS)
            read = ram.read_port()
            m.d.comb += [write.addr.eq(put_row), read.addr.eq(address)]
            for k, here in enumerate(columns):
                mine = put_column == here
                part = slice(k * ENTRY_BITS, (k + 1) * ENTRY_BITS)
                m.d.comb += [
                    write.en[k].eq(put & (put_all | mine)),
                    write.data[part].eq(Mux(mine, put_entry, 0)),
                ]
                out = Signal(ENTRY_BITS, name=f"entry_{here}", reset_less=True)
                m.d.sync += out.eq(Mux(was_empty, 0, read.data[part]))
                sign = out[VALUE_BITS - 1] & keeps["signed"]
                plain = Cat(out[:VALUE_BITS], sign).as_signed()
                m.d.comb += [
                    self.groups[here].eq(out[VALUE_BITS:]),
                    self.values[here].eq(plain << keeps["shift"]),
                ]


def wrapped(place, depth: int):
    """A place behind the ring's end, at its begin again."""
    if depth & (depth - 1) == 0:
        return place[: clog2(depth)]
    return Mux(place >= depth, place - Const(depth), place)
