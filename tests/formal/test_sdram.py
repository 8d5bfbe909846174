"""The SDRAM controller keeps the chip's times and does what it was asked for, for ever."""

import pytest
from amaranth.hdl import Array, Cat, Module, Mux, Signal

from relaxon_hdl.memory.sdram import Command, SdramController, Timing
from support.formal import Assert, Harness, prove

CLOCKS = [75e6, 90e6, 100e6]


class Chip(Harness):
    """All times that a chip demands, one counter each; and each word from or to its place.

    ``since`` counters stop at the time that matters. The refresh interval is the real one: nothing
    here is unrolled but the induction's few cycles.
    """

    def __init__(self, clock_hz: float):
        self.clock_hz = clock_hz
        super().__init__(SdramController(Timing.at(clock_hz)))

    def properties(self, m: Module) -> None:
        dut, timing = self.dut, self.dut.timing

        def cycles(ns: float) -> int:
            return -int(-ns * self.clock_hz // 1e9)

        rcd, rp, rrd, wr = (cycles(20),) * 4
        rfc, rc, ras, mrd = cycles(70), cycles(70), cycles(50), 2

        def since(event, most: int, name: str, **options) -> Signal:
            """Cycles since an event, ``most`` at most."""
            count = Signal(range(most + 1), name=name, init=most)
            m.d.sync += count.eq(Mux(event, 1, Mux(count == most, most, count + 1)))
            m.d.comb += Assert((count >= 1) & (count <= most))
            return count

        command = {kind: Signal(name=f"is_{kind.name.lower()}") for kind in Command}
        for kind, signal in command.items():
            m.d.comb += signal.eq(dut.command == kind)
        activate, refresh = command[Command.ACTIVATE], command[Command.REFRESH]
        precharge, mode = command[Command.PRECHARGE], command[Command.MODE]
        reads, writes = command[Command.READ], command[Command.WRITE]
        access = reads | writes
        closes = precharge & dut.address[10]

        # The chip
        opens = [Signal(name=f"open_{bank}") for bank in range(4)]
        rows = [Signal(13, name=f"row_{bank}") for bank in range(4)]
        activated = []
        for bank, (is_open, row) in enumerate(zip(opens, rows, strict=True)):
            here = activate & (dut.bank == bank)
            with m.If(closes):
                m.d.sync += is_open.eq(0)
            with m.If(here):
                m.d.sync += [is_open.eq(1), row.eq(dut.address)]
            activated.append(since(here, rc, f"activated_{bank}"))
            m.d.comb += [
                Assert(~here | ~is_open),
                Assert(~here | (activated[bank] >= rc)),
                Assert(~(access & (dut.bank == bank)) | (is_open & (activated[bank] >= rcd))),
                Assert(~closes | ~is_open | (activated[bank] >= ras)),
            ]
        any_open = Cat(opens).any()
        last = since(activate, rrd, "activated")
        precharged = since(closes, rp, "precharged")
        refreshed = since(refresh, rfc, "refreshed")
        moded = since(mode, mrd, "moded")
        written = since(writes, wr, "written")
        alive = Signal()
        with m.If(mode):
            m.d.sync += alive.eq(1)
        m.d.comb += [
            Assert(~activate | (last >= rrd)),
            Assert(~activate | (alive & (precharged >= rp) & (refreshed >= rfc) & (moded >= mrd))),
            Assert(~precharge | closes),
            Assert(~closes | (written >= wr)),
            Assert(~(refresh | mode) | (~any_open & (precharged >= rp) & (refreshed >= rfc))),
            Assert(~refresh | (moded >= mrd)),
            Assert(~mode | (~alive & (dut.address == 0x20) & (dut.bank == 0))),
            Assert(dut.alive == alive),
            Assert(~access | (dut.address < 512)),
            Assert(dut.drive == writes),
            Assert(dut.read == reads),
            Assert(~writes | (dut.i.valid & dut.i.ready & (dut.word == dut.i.payload))),
            Assert(writes | ~dut.i.ready),
        ]

        # The request: where its next word is, and how many are left
        place, left, write = Signal(24), Signal(11), Signal()
        with m.If(dut.request.valid & dut.request.ready):
            request = dut.request.payload
            m.d.sync += [
                place.eq(request.address),
                left.eq(request.count),
                write.eq(request.write),
            ]
        with m.If(access):
            m.d.sync += [place.eq(place + 1), left.eq(left - 1)]
        m.d.comb += [
            Assert(dut.request.ready == (left == 0)),
            Assert(~access | ((left != 0) & (writes == write))),
            Assert(
                ~access
                | (
                    (dut.address[:9] == place[:9])
                    & (dut.bank == place[9:11])
                    & (Array(rows)[dut.bank] == place[11:])
                )
            ),
        ]

        # Refreshes: intervals without one, from when the chip is alive; and the start
        tick = self.look("tick", (timing.refi - 1).bit_length())
        owed = self.look("owed", 4)
        debt, before = Signal(4), Signal(4)
        with m.If(alive | mode):
            m.d.sync += debt.eq(debt + (tick == timing.refi - 1) - refresh)
        with m.Elif(refresh):
            m.d.sync += before.eq(before + 1)
        age = Signal(range(cycles(200e3) + 1))
        m.d.sync += age.eq(age + (age != cycles(200e3)))
        m.d.comb += [
            Assert(~alive | (debt <= 2)),
            Assert(~mode | (before >= 8)),
            Assert(command[Command.NOP] | (age == cycles(200e3))),
        ]

        # What makes it inductive.
        most = max(timing.rcd, timing.rp, timing.rfc, timing.mrd) - 1, timing.ras - 1
        wait = self.look("wait", most[0].bit_length())
        open_ = self.look("open_", most[1].bit_length())
        state, starting = self.look("fsm_state", 2), self.look("starting", 5)
        row, column = self.look("row", 15), self.look("column", 9)
        after, final = self.look("after", 3), self.look("last", 9)
        ahead, opened = self.look("ahead"), self.look("opened", 2)
        busy, writing = self.look("busy"), self.look("write")
        following, span = Signal(15), Signal(15)
        in_start, _, in_closed, in_open = (state == code for code in range(4))
        m.d.comb += [
            following.eq(row + 1),
            span.eq((after << 9) + final - column + 1),
            # Ranges
            Assert(tick < timing.refi),
            Assert(wait <= most[0]),
            Assert(open_ <= most[1]),
            # The request
            Assert(busy == (left != 0)),
            Assert(~busy | (Cat(column, row) == place)),
            Assert(~busy | ((writing == write) & (span == left))),
            # What each state stands for
            Assert(~in_start | ~alive),
            Assert(~in_open | (alive & busy)),
            Assert(~(in_start | in_closed) | (~any_open & (last >= rrd))),
            Assert(~in_closed | ((opened == 0) & ~ahead)),
            # Timers
            Assert(refreshed + wait >= rfc),
            Assert(moded + wait >= mrd),
            Assert(in_closed | ((refreshed >= rfc) & (moded >= mrd))),
            Assert(~in_closed | (precharged + wait >= rp)),
            Assert(~in_open | (precharged >= rp)),
            Assert(written + open_ >= wr),
            Assert(last + open_ >= rrd),
            Assert(~in_open | ahead | (last + wait >= rrd)),
            Assert(~in_open | ~ahead | ((wait == 0) & (opened != 0))),
            # The start and what is owed
            Assert(age <= cycles(200e3)),
            Assert(in_start | (age == cycles(200e3))),
            Assert(~in_start | (age == cycles(200e3)) | (age == starting * timing.refi + tick)),
            Assert(
                ~in_start | (starting < timing.start) | ((starting == timing.start) & (tick == 0))
            ),
            Assert(debt == Mux(alive, owed, 0)),
        ]
        left_to_close = Mux(in_open, 1, 0) + Mux(in_closed, wait, open_ + timing.rp)
        m.d.comb += [
            Assert(~alive | (owed < 2) | ((owed == 2) & (tick + left_to_close <= 16))),
            Assert(alive | in_start | (before + owed == 8)),
            Assert(alive | in_start | (tick + owed * timing.rfc + left_to_close <= 100)),
            Assert(alive | ~in_start | (before == 0)),
        ]
        for bank, (is_open, its, count) in enumerate(zip(opens, rows, activated, strict=True)):
            current, coming = row[:2] == bank, ahead & (following[:2] == bank)
            m.d.comb += [
                Assert(~is_open | (count + open_ >= timing.ras)),
                Assert(is_open | (count >= rc) | (count >= ras + precharged)),
                Assert(~in_open | (is_open == ((row + ahead - bank)[:2] <= opened))),
                Assert(~in_open | ~current | ((its == row[2:]) & (count + wait >= rcd))),
                Assert(~in_open | ~coming | (its == following[2:])),
            ]


@pytest.mark.parametrize("clock_hz", CLOCKS)
def test_chip_is_kept_and_words_have_their_places(clock_hz):
    """By induction, for any requests at any time, and a writer that takes any time."""
    prove(Chip(clock_hz), 3)
