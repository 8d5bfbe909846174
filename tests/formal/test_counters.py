"""The register file loses no event, whatever the host and EMIT ask for meanwhile."""

import pytest
from amaranth.hdl import Array, Const, Module, Mux, Signal, Value
from amaranth.lib.wiring import In, Out

import relaxon_hdl.counters
from relaxon_hdl.component import Component
from relaxon_hdl.counters import INDEX_BITS, WAITING_BITS, RegisterFile
from relaxon_isa.presets import preset
from support.formal import Assert, Assume, Harness, prove

CONFIGS = {"short": preset("up5k").replace(kind_counters=True), "long": preset("default")}
COUNTED = relaxon_hdl.counters.counted(CONFIGS["long"])
LATEST = (1 << WAITING_BITS) - 1


class OneCounter(Component):
    """In place of the memory: the two words of counter ``who``. All other words, and a word that is
    read while it is written, may be anything (``other``)."""

    def __init__(self, who: Signal, other: Signal, depth: int):
        self.who, self.other = who, other
        address = (depth - 1).bit_length()
        super().__init__(
            {
                "r_addr": In(address),
                "r_data": Out(16),
                "w_addr": In(address),
                "w_data": In(16),
                "w_en": In(1),
                "low": Out(16),
                "high": Out(16),
            }
        )

    def elaborate(self, platform):
        m = Module()
        known = self.r_addr[1:] == self.who
        collides = self.w_en & (self.w_addr == self.r_addr)
        half = Mux(self.r_addr[0], self.high, self.low)
        m.d.sync += self.r_data.eq(Mux(known & ~collides, half, self.other))
        with m.If(self.w_en & (self.w_addr[1:] == self.who)):
            m.d.sync += Mux(self.w_addr[0], self.high, self.low).eq(self.w_data)
        return m


class Counting(Harness):
    """For any one counter, at any time: its words in memory, with what waits, is what was counted;
    and what waits never overflows.

    Assumed: the host writes nothing meanwhile; ``lock`` is high for at most 8 cycles, then low for
    at least 4.
    """

    def __init__(self, name: str, monkeypatch):
        self.who, self.other = Signal(INDEX_BITS, name="who"), Signal(16, name="other")

        def ram(width, depth, family):
            return OneCounter(self.who, self.other, depth)

        monkeypatch.setattr(relaxon_hdl.counters, "Ram", ram)
        self.long = name == "long"
        super().__init__(RegisterFile(CONFIGS[name]), self.who, self.other)

    def properties(self, m: Module) -> None:
        dut, who = self.dut, self.who
        first, place, mine = self.look("first"), self.look("place", INDEX_BITS), self.look("mine")
        odd, carry, turn = self.look("odd"), self.look("carry"), self.look("turn", INDEX_BITS)
        low, high = self.look("words.low", 16), self.look("words.high", 16)
        word = self.look("words.r_data", 16)

        past, started = Signal(INDEX_BITS), Signal()
        m.d.sync += [past.eq(who), started.eq(1)]
        m.d.comb += [
            Assume(~started | (who == past)),
            Assume(Array(Const(r in COUNTED, 1) for r in range(1 << INDEX_BITS))[who]),
            Assume(~dut.write),
        ]

        def of_all(value_of) -> Value:
            values = [value_of(r) if r in COUNTED else Const(0) for r in range(1 << INDEX_BITS)]
            return Array(values)[who]

        # What was counted is there.
        always = ("link_errors", "link_drops")
        names = {r: r.name.lower() for r in COUNTED}
        event, waits, late = Signal(), Signal(WAITING_BITS), Signal()
        counted, pending = Signal(32), Signal(32)
        m.d.comb += [
            event.eq(
                of_all(lambda r: dut.events[names[r]] & (dut.counting | (names[r] in always)))
            ),
            waits.eq(of_all(lambda r: self.look(f"waiting_{names[r]}", WAITING_BITS))),
        ]
        m.d.sync += counted.eq(counted + event)
        mine_now = place == who
        m.d.comb += pending.eq(Mux(~first & mine_now, carry << 16, 0))
        total = low + (high << 16) + waits + pending
        if self.long:
            waited = self.look("waited", WAITING_BITS)
            m.d.comb += late.eq(of_all(lambda r: self.look(f"event_{names[r]}_1")))
            total = total + late + Mux(first & mine_now, waited, 0)
        m.d.comb += [
            Assert(total[:32] == counted),
            # What makes it inductive.
            Assert(first == odd),
            Assert(~mine_now | (word == Mux(first, low, high))),
        ]

        # Nothing overflows: a turn comes in time.
        on, off = Signal(range(10)), Signal(range(5), init=4)
        served, age, locked, bucket = Signal(), Signal(8), Signal(8), Signal(4)
        lock = dut.lock
        m.d.sync += [
            on.eq(Mux(lock, on + 1, 0)),
            off.eq(Mux(lock, 0, Mux(off == 4, 4, off + 1))),
            age.eq(Mux(served, 1, Mux(age == 255, 255, age + 1))),
        ]
        m.d.comb += [
            Assume(~lock | (on < 8)),
            Assume(~lock | (on != 0) | (off == 4)),
            served.eq(first & mine_now),
        ]
        with m.If(odd):  # a turn ends
            with m.If(mine):
                m.d.sync += [locked.eq(locked + 1), bucket.eq(bucket + 1)]
            with m.Else():
                m.d.sync += bucket.eq(Mux(bucket > 2, bucket - 2, 0))
                with m.If(turn == who):
                    m.d.sync += locked.eq(0)
        others = (turn - who - 1)[:INDEX_BITS]  # turns of others since its own
        m.d.comb += [
            Assert(waits <= age),
            Assert(age <= 2 * (others + locked) + 4),
            Assert(locked <= 2 * others + bucket),
            Assert(bucket <= 4),
            Assert(age < LATEST),
        ]


@pytest.mark.parametrize("name", CONFIGS)
def test_no_event_is_lost(name, monkeypatch):
    """By induction, for every counter, any events in any cycle."""
    prove(Counting(name, monkeypatch), 14)
