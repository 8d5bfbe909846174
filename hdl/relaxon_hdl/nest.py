"""The nest walker: rows of a nest in, a token per tile out."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, memory
from amaranth.lib.wiring import In, Member, Out

from relaxon_isa import (
    INDEX_SELECTS,
    LEVEL_COUNT_BITS,
    STREAMS,
    ArrayConfig,
    Judge,
    Opcode,
    row_bits,
)

from .rows import row_view
from .schedule import Scheduled

__all__ = ["HEAD_ROWS", "INDEX_BITS", "NestWalker", "issue_layout", "listed_member"]

INDEX_BITS = 16
HEAD_ROWS = 2
"""Rows of a nest before those of its levels."""


def issue_layout(config: ArrayConfig) -> data.StructLayout:
    """A token: a tile, and where it stands in its nest."""
    return data.StructLayout(
        {
            "valid": 1,
            "first": 1,  # of its group (LEARN: term of its tile)
            "last": 1,
            "flip": 1,  # the levels change the sign
            "spent": config.levels,  # levels at their last trip
            "tile": config.tile_addr_bits,
            "src": config.state_addr_bits,
            "dst": max(config.state_addr_bits, config.drive_addr_bits),
            "gate": config.state_addr_bits,
            "drive": config.drive_addr_bits,
            "old_offset": config.state_addr_bits,  # old's address is dst's plus this
            "begin": 1,  # the first cycle of an instruction
        }
    )


def listed_member(config: ArrayConfig) -> dict[str, Member]:
    """What a machine with a sample buffer knows of the present sample: the rows of its lists."""
    return {"listed": In(range(config.sample_buffer // 2 + 1))} if config.sample_buffer else {}


class NestWalker(Scheduled):
    """Walks the nest of a MAC or LEARN: a token per cycle, in the order of the loops.

    ::

        load            1 1     1     1 1
        count           1 2     3     4 5       k rows have been read, this one included
        row          head bases level level ..
        begin                               1
        walk                                  1 1 1 .. 1
        issue                                 t t t .. t       t: a token
        ended                                            1

    A level's row holds what to add to every address when the level steps: then all levels inside it
    start again, which the row allows for. So the walk needs no multiplication and no stack, an
    adder per stream only.

    A walk over lists has as many trips of its innermost level as the sample's lists have rows.
    There the tile stands still, as the array adds each column's entry; so all other levels are
    given back what their rows take off for that level.

    Latency: the first token 1 cycle after ``begin``. Throughput: a token per cycle; a group of
    fewer tiles than the instruction accesses its bank's second port (LEARN: its weights) per group
    takes as many cycles as accesses.

    A short pipeline keeps no copies of the level rows: ``row`` must be the row of the ``level``
    that the walker named in the cycle before. A long one, in which a block RAM's word comes late in
    its cycle, steps by copies in a small memory, and counts trips down, with a bit beside the
    number that says whether there are any left.

    Parameters
    ----------
    config
        The machine.

    Members
    -------
    load : In(1), count : In, row : In
        ``row`` is number ``count`` of an instruction's rows, from 1 on. The first cancels whatever
        the walker was at. Instructions without a nest may be loaded, not walked.
    indices : In
        Of the open loops, outermost first, from number 1 on; number 0 is the constant 0. Used two
        cycles after the head.
    begin : In(1)
        The first cycle of the walk. All rows are loaded.
    walk : In(1)
        High in all further cycles, until ``ended``.
    listed : In
        With a sample buffer: rows of the present sample's lists, as level 0 is loaded.
    level : Out
        Number of the level that steps next, the innermost is 0.
    ended : Out(1)
        The last token is out, and what its group takes is over.
    issue : Out(issue_layout)
    """

    def __init__(self, config: ArrayConfig):
        super().__init__(
            config,
            {
                "load": In(1),
                "count": In(range(config.levels + HEAD_ROWS + 2)),
                "row": In(row_bits(config)),
                "indices": In(data.ArrayLayout(INDEX_BITS, INDEX_SELECTS)),
                "begin": In(1),
                "walk": In(1),
                **listed_member(config),
                "level": Out(range(config.levels)),
                "ended": Out(1),
                "issue": Out(issue_layout(config)),
            },
        )
        self.head = self.loads(1)
        self.choices = Array(self.indices[k] for k in range(INDEX_SELECTS))
        self.lists = Signal(reset_less=True)  # the nest walks over them
        self.dense = Signal(LEVEL_COUNT_BITS, reset_less=True)  # trips of level 0's row, less 1
        self.level_rows = [self.loads(1 + HEAD_ROWS + k) for k in range(config.levels)]

    def loads(self, number: int) -> Value:
        """Whether ``row`` is this one of a nest's rows."""
        return self.load & (self.count == number)

    def build(self, m: Module) -> None:
        levels = self.config.levels
        stepping = Signal()
        odd = Signal(levels)  # levels that flip, and are in an odd trip
        if self.config.sample_buffer:
            self.decode_lists(m)
        more = self.trips(m, stepping, odd)
        for k in reversed(range(levels)):
            with m.If(more[k]):
                m.d.comb += self.level.eq(k)
        group_ends = self.groups(m, more, stepping)
        self.addresses(m, stepping, more)
        spent = Signal(levels, reset_less=True)
        flip = Signal()
        last = Signal()
        m.d.sync += [spent.eq(~more), flip.eq(odd.xor()), last.eq(group_ends)]
        m.d.comb += [self.issue.spent.eq(spent), self.issue.flip.eq(flip), self.issue.last.eq(last)]

    def decode_lists(self, m: Module) -> None:
        """Whether the nest walks over lists, a cycle after the head row."""
        head_row = self.when.late(m, self.row, "list_head_row")
        mac, learn = (row_view(self.config, kind, head_row) for kind in ("MAC", "LEARN"))
        with m.If(self.loads(2)):
            m.d.sync += self.lists.eq(Mux(mac.opcode == Opcode.MAC, mac.walk, learn.walk))

    def trips(self, m: Module, stepping: Signal, odd: Signal) -> Signal:
        """Counts the trips of all levels. Returns a bit per level: it is not at its last trip."""
        levels = self.config.levels
        more = Signal(levels)
        steps = Signal(levels)
        m.d.comb += steps.eq(more & (~more + 1))  # the innermost that has trips left
        fields = row_view(self.config, "level", self.row)
        count = count_up if self.when.short else count_down
        for k, load in enumerate(self.level_rows):
            here = stepping & steps[k]
            starts = self.head | (stepping & steps[k + 1 :].any())
            flip = Signal(name=f"flip_{k}")
            more_trips = fields.count
            if k == 0 and self.config.sample_buffer:
                more_trips = Mux(self.lists, self.listed - 1, fields.count)[: len(fields.count)]
                with m.If(load):
                    m.d.sync += self.dense.eq(fields.count)
            trips = count(m, k, self.head, load, more_trips, here, starts)
            m.d.comb += more[k].eq(trips)
            with m.If(here):
                m.d.sync += odd[k].eq(odd[k] ^ flip)
            with m.If(starts):
                m.d.sync += odd[k].eq(0)
            with m.If(self.head):
                m.d.sync += flip.eq(0)
            with m.If(load):
                m.d.sync += flip.eq(fields.flip)
        return more

    def groups(self, m: Module, more: Signal, stepping: Signal) -> Value:
        """Decides in each cycle of the walk whether to step. Returns whether the present tile is
        its group's last."""
        when, levels = self.when, self.config.levels
        head = row_view(self.config, "MAC", self.row)
        n_inner = Signal(3, reset_less=True)
        inside = Signal(levels)  # levels of the group
        extra = Signal(2, reset_less=True)  # cycles that a group takes at least, less 1
        age = Signal(2, reset_less=True)  # cycles that this group has taken
        long_enough = Signal(reset_less=True)  # age >= extra
        arrived = Signal(init=1)  # the walk's tile is new: it has not been issued
        group_new = Signal(init=1)
        group_ends = Signal()
        walking = Signal()
        may_leave = Signal()
        valid = Signal()
        first = Signal()
        begun = Signal()
        m.d[when.domain] += inside.eq(Cat(n_inner > k for k in range(levels)))
        m.d.comb += [
            walking.eq(self.begin | (self.walk & ~self.ended)),
            group_ends.eq(~(more & inside).any()),
            may_leave.eq(~group_ends | long_enough),
            stepping.eq(walking & may_leave & more.any()),
            self.issue.valid.eq(valid),
            self.issue.first.eq(first),
            self.issue.begin.eq(begun),
        ]
        m.d.sync += [valid.eq(walking & arrived), first.eq(group_new), begun.eq(self.begin)]
        with m.If(walking):
            m.d.sync += [arrived.eq(stepping), age.eq(age + (age != 3))]
            with m.If(stepping & group_ends):
                m.d.sync += [age.eq(0), group_new.eq(1)]
            with m.Elif(arrived):
                m.d.sync += group_new.eq(0)
            with m.If(may_leave & ~more.any()):
                m.d.sync += self.ended.eq(1)
        # On a long pipeline the head row counts a cycle later, and ages are compared a cycle ahead.
        accesses = extra_accesses(self.config, when.late(m, self.row, "head_row"))
        with m.If(self.head if when.short else self.loads(2)):
            m.d.sync += extra.eq(accesses)
        if when.short:
            m.d.comb += long_enough.eq(age >= extra)
        else:
            with m.If(walking):
                m.d.sync += long_enough.eq(Mux(stepping & group_ends, extra == 0, age + 1 >= extra))
            with m.If(self.loads(2)):
                m.d.sync += long_enough.eq(accesses == 0)
        with m.If(self.head):
            m.d.sync += [
                n_inner.eq(head.inner),
                arrived.eq(1),
                group_new.eq(1),
                self.ended.eq(0),
                age.eq(0),
            ]
        return group_ends

    def addresses(self, m: Module, stepping: Signal, more: Signal) -> None:
        """An adder per stream: base, plus an open loop's index, plus what each step adds."""
        config, when, issue = self.config, self.when, self.issue
        head = row_view(config, "MAC", self.row)
        bases = row_view(config, "bases", self.row)
        load_bases = Signal()
        add_index = Signal()
        stepped = Signal()
        m.d.sync += [add_index.eq(load_bases), stepped.eq(stepping)]
        if when.short:
            m.d.comb += load_bases.eq(self.loads(2))
        else:  # where there are no bases there will be no walk
            m.d.sync += load_bases.eq(self.head)
        steps_by = self.steps_by(m)
        steps = {name: steps_by[name] for name in STREAMS}
        if config.sample_buffer:
            innermost = Signal(reset_less=True)
            m.d.sync += innermost.eq(more[0])
            over_lists = Mux(innermost, 0, steps_by.tile + self.dense)[: len(steps_by.tile)]
            steps["tile"] = Mux(self.lists, over_lists, steps_by.tile)
        registers = {}
        for name in STREAMS:
            width = len(bases[name])
            register = Signal(width, name=f"{name}_address", reset_less=True)
            operand = Signal(width, name=f"{name}_operand")
            select = Signal(2, name=f"{name}_x", reset_less=True)
            with m.If(self.head):
                m.d.sync += select.eq(head[f"{name}_x"])
            m.d.comb += [operand.eq(steps[name]), issue[name].eq(register)]
            adds = add_index | stepped
            if when.short:  # to 0: its adder then is all that is in front of the register
                adds |= load_bases
                with m.If(load_bases):
                    m.d.comb += operand.eq(bases[name])
            with m.If(add_index):
                m.d.comb += operand.eq(self.choices[select])
            with m.If(adds):
                m.d.sync += register.eq(register + operand)
            with m.If(self.head if when.short else load_bases):
                m.d.sync += register.eq(0 if when.short else bases[name])
            registers[name] = register
        # Old's distance from dst: of the bases, on a long pipeline of the registers behind them.
        at, dst = (load_bases, bases.dst) if when.short else (add_index, registers["dst"])
        old = when.late(m, bases.old, "old_base")
        old_offset = Signal(config.state_addr_bits, reset_less=True)
        with m.If(at):
            m.d.sync += old_offset.eq(old - dst)
        m.d.comb += issue.old_offset.eq(old_offset)

    def steps_by(self, m: Module) -> data.View:
        """The row of the level that steps, a cycle after that is known."""
        fields = row_view(self.config, "level", self.row)
        if self.when.short:
            return fields
        layout = data.StructLayout({name: len(fields[name]) for name in STREAMS})
        m.submodules.copies = copies = memory.Memory(
            shape=layout.size, depth=self.config.levels, init=[]
        )
        write, read = copies.write_port(), copies.read_port(domain="comb")
        copy = Signal(layout, reset_less=True)
        for k, load in enumerate(self.level_rows):
            with m.If(load):
                m.d.comb += [write.addr.eq(k), write.en.eq(1)]
        m.d.comb += [
            write.data.eq(Cat(fields[name] for name in STREAMS)),
            read.addr.eq(self.level),
        ]
        m.d.sync += copy.eq(read.data)
        return copy


def count_up(m: Module, k: int, clear, load, count, step, start) -> Value:
    """Counts the trips of level ``k``. Returns whether this is not the last one.

    ``clear``: from now on there is one trip. ``load``: there are ``count`` more. ``step``: go to
    the next one. ``start``: this is the first one.
    """
    trip, last = (
        Signal(LEVEL_COUNT_BITS, name=f"{name}_{k}", reset_less=True) for name in ("trip", "last")
    )
    with m.If(step):
        m.d.sync += trip.eq(trip + 1)
    with m.If(start):
        m.d.sync += trip.eq(0)
    with m.If(clear):
        m.d.sync += last.eq(0)
    with m.If(load):
        m.d.sync += last.eq(count)
    return trip != last


def count_down(m: Module, k: int, clear, load, count, step, start) -> Value:
    """As `count_up`, with more registers and a result that is early in its cycle: trips are counted
    down, and bits beside them say whether any are left."""
    last = Signal(LEVEL_COUNT_BITS, name=f"last_{k}", reset_less=True)
    left = Signal.like(last, name=f"left_{k}", reset_less=False)
    some_left = Signal(name=f"some_left_{k}", reset_less=True)
    some = Signal(len(some_of(last)), name=f"some_{k}")
    fresh = Signal(name=f"fresh_{k}")  # all are left
    before = Mux(fresh, last, left)
    with m.If(step):
        m.d.sync += [left.eq(before - 1), some_left.eq(before != 1), fresh.eq(0)]
    with m.If(start):
        m.d.sync += fresh.eq(1)
    with m.If(clear):
        m.d.sync += some.eq(0)
    with m.If(load):
        m.d.sync += [last.eq(count), some.eq(some_of(count))]
    return Mux(fresh, some.any(), some_left)


def some_of(count: Value) -> Value:
    """Bits of which one is 1 if ``count`` is not 0: a look-up table each."""
    return Cat(count[low : low + 4].any() for low in range(0, len(count), 4))


def extra_accesses(config: ArrayConfig, row: Value) -> Value:
    """Cycles that a group (of a LEARN, a tile) takes at least by a nest's head row, less 1."""
    mac, learn = row_view(config, "MAC", row), row_view(config, "LEARN", row)
    # A MAC's group reads old and gate by the same port of its bank.
    reads_old = (mac.step != 0) | (mac.judge == Judge.CHANGE)
    reads_gate = mac.gating != 0
    # A LEARN's tile takes two cycles of a weight memory with one port; with two ports in integral
    # mode, in which it has two words.
    tile = Const(config.weight_ports == 1)
    if config.integral_shift:
        tile = learn.integral
    return Mux(mac.opcode == Opcode.MAC, ~mac.to_drive & reads_old & reads_gate, tile)
