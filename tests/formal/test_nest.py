"""The nest walker issues what the contract's loops say, for nests of small counts."""

from collections.abc import Iterable

import pytest
from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value

from relaxon_hdl.nest import HEAD_ROWS, NestWalker
from relaxon_hdl.rows import row_view
from relaxon_isa import STREAMS, Judge, Opcode, row_bits
from relaxon_isa.presets import preset
from support.formal import Assert, Assume, Harness, check_up_to

LEVELS = 2
MOST = 2
"""Trips of a level, at most."""
DEPTHS = {"weight_depth": 16, "state_depth": 16, "drive_depth": 8}
"""Addresses of 4 and 3 bits: what wraps does so soon."""
CONFIGS = {
    "short": preset("up5k").replace(levels=LEVELS, **DEPTHS),
    "long": preset("default").replace(levels=LEVELS, **DEPTHS),
}
BEGIN = HEAD_ROWS + LEVELS
DEPTH = BEGIN + 2 * MOST**LEVELS + 4


class Walk(Harness):
    """A MAC with any fields and a nest of at most ``used`` levels of one or two trips: its tokens
    are those of the loops, one after the other, with their addresses, and the walk takes
    ``trips(outer) * max(trips(inner), accesses)`` cycles."""

    def __init__(self, name: str, used: int):
        self.config, self.used = CONFIGS[name], used
        super().__init__(NestWalker(self.config))

    def constant(self, m: Module, name: str, shape) -> Signal:
        """Any value, the same in all cycles."""
        value = self.choice(shape, name)
        before = Signal.like(value, name=f"{name}_before")
        m.d.sync += before.eq(value)
        m.d.comb += Assume((self.cycle == 0) | (value == before))
        return value

    def properties(self, m: Module) -> None:
        dut, config = self.dut, self.config
        self.cycle = cycle = Signal(range(DEPTH + 2))
        m.d.sync += cycle.eq(cycle + 1)

        # The instruction: its fields, and its rows as the contract lays them out.
        head_row = self.constant(m, "head_row", row_bits(config))
        bases_row = self.constant(m, "bases_row", row_bits(config))
        head = row_view(config, "MAC", head_row)
        bases = row_view(config, "bases", bases_row)
        indices = self.constant(m, "any_indices", len(dut.indices.as_value()))
        used = self.constant(m, "used", 2)  # levels of the nest
        counts = [self.constant(m, f"count_{k}", 2) for k in range(LEVELS)]
        flips = [self.constant(m, f"flips_{k}", 1) for k in range(LEVELS)]
        strides = {
            (name, k): self.constant(m, f"{name}_stride_{k}", len(bases[name]))
            for name in STREAMS
            for k in range(LEVELS)
        }
        rows = []
        for k in range(LEVELS):
            row = Signal(row_bits(config), name=f"level_row_{k}")
            level = row_view(config, "level", row)
            m.d.comb += [level.count.eq(counts[k] - 1), level.flip.eq(flips[k])]
            for name in STREAMS:
                back = sum(
                    Mux(counts[j] == 2, strides[name, j], 0) for j in range(k)
                )  # inner levels start again
                m.d.comb += level[name].eq(strides[name, k] - back)
            m.d.comb += [
                Assume((counts[k] >= 1) & (counts[k] <= MOST)),
                Assume((k < used) | (counts[k] == 1)),
            ]
            rows.append(row)
        m.d.comb += [
            Assume((used >= 1) & (used <= self.used)),
            Assume((head.opcode == Opcode.MAC) & (head.inner <= used)),
            dut.indices.as_value().eq(indices),
        ]

        # As the sequencer drives it.
        named = Signal(range(LEVELS))
        m.d.sync += named.eq(dut.level)
        loading = cycle < HEAD_ROWS + used
        begins = cycle == HEAD_ROWS + used
        elapsed = Signal(range(DEPTH + 2))
        m.d.comb += [
            dut.load.eq(loading),
            dut.count.eq(cycle + 1),
            dut.begin.eq(begins),
            dut.walk.eq((cycle > HEAD_ROWS + used) & ~dut.ended),
            elapsed.eq(cycle - HEAD_ROWS - used),
        ]
        walking_row = (
            Array(rows)[named]
            if config.pipeline == "short"
            else self.choice(row_bits(config), "next_row")
        )
        with m.Switch(cycle):
            with m.Case(0):
                m.d.comb += dut.row.eq(head_row)
            with m.Case(1):
                m.d.comb += dut.row.eq(bases_row)
            with m.Default():
                m.d.comb += dut.row.eq(walking_row)
                for k, row in enumerate(rows):
                    with m.If(loading & (cycle == HEAD_ROWS + k)):
                        m.d.comb += dut.row.eq(row)

        # The loops.
        trips = [Signal(name=f"trip_{k}") for k in range(LEVELS)]
        inner = [k < head.inner for k in range(LEVELS)]
        at_end = [counts[k] == trips[k] + 1 for k in range(LEVELS)]
        done = Signal()
        with m.If(dut.issue.valid):
            carry = 1
            for k in range(LEVELS):
                m.d.sync += trips[k].eq(Mux(carry, ~at_end[k] & ~trips[k], trips[k]))
                carry = carry & at_end[k]
            m.d.sync += done.eq(carry)
            m.d.comb += [
                Assert(~done),
                Assert(dut.issue.first == ~any_of(inner[k] & trips[k] for k in range(LEVELS))),
                Assert(dut.issue.last == ~any_of(inner[k] & ~at_end[k] for k in range(LEVELS))),
                Assert(dut.issue.flip == (flips[0] & trips[0]) ^ (flips[1] & trips[1])),
            ]
            for name in STREAMS:
                start = bases[name] + dut.choices[head[f"{name}_x"]]
                moved = sum(Mux(trips[k], strides[name, k], 0) for k in range(LEVELS))
                width = len(dut.issue[name])
                m.d.comb += Assert(dut.issue[name] == (start + moved)[:width])

        # Its cycles.
        accesses = (
            ~head.to_drive & (head.gating != 0) & ((head.step != 0) | (head.judge == Judge.CHANGE))
        )
        outer_trips, inner_trips = Signal(3), Signal(3)
        both = Mux(counts[0] == 2, Mux(counts[1] == 2, 4, 2), counts[1])
        with m.Switch(head.inner):
            with m.Case(0):
                m.d.comb += [inner_trips.eq(1), outer_trips.eq(both)]
            with m.Case(1):
                m.d.comb += [inner_trips.eq(counts[0]), outer_trips.eq(counts[1])]
            with m.Default():
                m.d.comb += [inner_trips.eq(both), outer_trips.eq(1)]
        group = Mux(accesses & (inner_trips < 2), 2, inner_trips)
        cycles = Mux(outer_trips == 4, group << 2, Mux(outer_trips == 2, group << 1, group))
        with m.If(cycle > HEAD_ROWS + used):
            m.d.comb += Assert(dut.ended == (elapsed >= cycles))
        with m.If((cycle > HEAD_ROWS + used) & (elapsed > cycles)):
            m.d.comb += Assert(done)


def any_of(bits: Iterable[Value]) -> Value:
    """Whether any of some bits is 1."""
    return Cat(bits).any()


@pytest.mark.parametrize(("name", "used"), [("short", 2), ("long", 1)])
def test_walk(name, used):
    """Bounded: nests of up to two levels (on a long pipeline one) of up to two trips, to the end of
    the walk, with any fields, strides and indices."""
    check_up_to(Walk(name, used), BEGIN + 2 * MOST**used + 4)
