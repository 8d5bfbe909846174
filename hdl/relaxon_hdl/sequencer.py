"""The sequencer: fetches instructions, has their nests walked, keeps the loops."""

from collections.abc import Callable
from itertools import pairwise

from amaranth.hdl import Array as Choice
from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from relaxon_isa import (
    INDEX_SELECTS,
    LOOP_COUNT_BITS,
    WALK,
    ArrayConfig,
    Opcode,
    Register,
    Skip,
    learn_latency,
    mac_latency,
    row_bits,
)

from .access import ProgramPort
from .bus import RUN_REQUEST
from .counters import event_layout
from .nest import HEAD_ROWS, INDEX_BITS, NestWalker, issue_layout, listed_member
from .primitives import Ram, delay
from .rows import row_view
from .schedule import Scheduled

__all__ = ["Sequencer"]

OPCODE_BITS = 3
CYCLES = {
    Opcode.MAC: Register.MAC_CYCLES,
    Opcode.LEARN: Register.LEARN_CYCLES,
    Opcode.WAIT: Register.WAIT_CYCLES,
    Opcode.EMIT: Register.EMIT_CYCLES,
}
"""What counts an instruction's cycles; CONTROL_CYCLES those of all others."""


class Sequencer(Scheduled):
    """Runs programs: issues a tile per cycle, and the next instruction when the drain is over.

    Where the configuration has drains, this one may be on its way still; with ``prefetch`` the next
    one is fetched while this one issues.

    ::

        fetch   count 0     1     2      3       4       ..  n      n+1
                row   head  bases level0 level1  ..          head   -
                read        head  bases  level0  level1  ..  last   head
                                  adr=base adr+=X                   `-> row; first step
        issue         0     1     2
                row   step1's     ..       the level that steps next is read a cycle ahead,
                adr   tile0 tile1 tile2    and its row holds what to add to every address

    A nest of n rows issues n + 2 cycles after its fetch began, other instructions execute after
    3. The fetch begins when the instruction before has issued its last; READY lasts until that
    one's drain is over. The head is read twice so that the row of the instruction under way can
    stay until then; with drains or prefetch it waits in a register.

    With prefetch the fetch begins with a nest's first issue, and loads the other of two walkers. A
    nest without a drain is followed at once: the other walker begins in the cycle of its last
    token. A WAIT that is ahead is like a nest without a drain; while it is stalled the fetch is.

    A block RAM's word comes late in its cycle. On a long pipeline its output feeds little more than
    a register: the head row is decoded one cycle later (cycle 2), which is READY for every
    instruction except nests; and `NestWalker` does not step by this memory.

    Parameters
    ----------
    config
        The machine.
    family
        FPGA family whose primitives to instantiate; None for the portable ones.

    Members
    -------
    run : In(stream of RUN_REQUEST)
    abort : In(1)
    running, counting : Out(1)
    done : Out(1)
    start : Out(1)
        A RUN is taken.
    row : Out
        Row of the instruction under way.
    issue : Out(issue_layout)
    flag : In(1)
    index : Out(16)
        The open loop's index that WAIT or EMIT adds to its base.
    wait_run, emit_run : Out(1)
        The instruction is executing.
    ahead, lacking, settled : In(1)
        With a sample buffer: it is a WAIT that is ahead; that lacks its sample; that is in its last
        cycle.
    stalled : In(1)
        It makes no progress in this cycle.
    finished : In(1)
        This is its last cycle.
    events : Out(event_layout)
        Of what kind this cycle is; the end of a sweep.
    learned : Out(1)
        A LEARN without hold is over.
    listed : In
        With a sample buffer: rows of the present sample's lists.
    program : In(ProgramPort)
    """

    def __init__(self, config: ArrayConfig, family: str | None = None):
        outputs = ("running", "counting", "done", "start", "wait_run", "emit_run", "learned")
        inputs = ["abort", "flag", "stalled", "finished"]
        inputs += ["ahead", "lacking", "settled"] if config.sample_buffer else []
        counted = (*CYCLES.values(), Register.CONTROL_CYCLES, Register.SWEEPS)
        super().__init__(
            config,
            {
                "run": In(stream.Signature(RUN_REQUEST)),
                "row": Out(row_bits(config)),
                "issue": Out(issue_layout(config)),
                "index": Out(INDEX_BITS),
                "events": Out(event_layout(counted)),
                "program": In(ProgramPort(config)),
                **listed_member(config),
                **dict.fromkeys(outputs, Out(1)),
                **dict.fromkeys(inputs, In(1)),
            },
            family,
        )

    def build(self, m: Module) -> None:
        config, when = self.config, self.when
        m.submodules.rows = rows = Ram(row_bits(config), config.program_rows, self.family)
        m.submodules.walker = walker = NestWalker(config)
        m.submodules.loops = loops = LoopStack(config)
        overlaps = config.drains or config.prefetch
        word = rows.r_data
        count = Signal.like(walker.count)  # rows read of the instruction that is fetched
        pc = Signal(config.program_addr_bits)  # its first row
        at = Signal.like(pc)  # the next row to fetch; then the next instruction
        n_levels = Signal(3, reset_less=True)
        is_nest = Signal()
        row = Signal.like(self.row, reset_less=True)
        loaded = Signal()  # that row is in ``row`` already
        longest = max(mac_latency(config) + config.drains, learn_latency(config))
        longest += WALK * bool(config.sample_buffer)
        drain = Signal(range(longest + 1))
        drained = Signal()
        head = row_view(config, "MAC", word)
        head_nest = Signal()
        self.connect_rows(m, rows, walker, loops, row, count)
        m.d.comb += [
            head_nest.eq((head.opcode == Opcode.MAC) | (head.opcode == Opcode.LEARN)),
            drained.eq(drain <= 1),
            self.running.eq(1),
        ]
        with m.If(drain != 0):
            m.d.sync += drain.eq(drain - 1)
        # What the state machine is at, for others.
        fetching = Signal()
        issuing = Signal()  # or executing
        decodes = Signal()  # the head row is read
        executes = Signal()
        leaves = Signal()  # WAIT or EMIT is over
        enters = Signal()  # the next cycle executes
        # Of the instruction that is fetched, and of what begins: a WAIT that is ahead.
        is_ahead, begin_ahead = Signal(), Signal()
        load, begin, ended = walker.load, walker.begin, walker.ended
        fetched = Signal.like(row, reset_less=True)  # the head row, where it is not read twice
        begun = Signal()  # with prefetch: a nest issues, beside what the state machine does
        if config.sample_buffer:
            m.d.comb += walker.listed.eq(self.listed)
        if config.prefetch:
            load, begin, ended = self.overlap(
                m, walker, row, fetched, drain, drained,
                begun=begun, begin_ahead=begin_ahead, leaves=leaves,
            )  # fmt: skip

        def stop():
            with m.If(self.abort):
                m.d.sync += drain.eq(longest)
                if config.prefetch:
                    m.d.sync += begun.eq(0)
                m.next = "ABORT"

        def fetch_from(target):
            m.d.sync += [at.eq(target), count.eq(0), loaded.eq(0)]
            m.next = "FETCH"

        def step_row():
            # The row by which a nest on a short pipeline steps next.
            if when.short:
                m.d.comb += rows.r_addr.eq(pc + (walker.level + HEAD_ROWS))

        def ready():
            m.d.comb += rows.r_addr.eq(pc)
            with m.If(drained):
                m.d.comb += enters.eq(1)
                if overlaps:
                    m.d.sync += row.eq(fetched)
                else:
                    with m.If(~loaded):
                        m.d.sync += row.eq(word)
                m.next = "EXECUTE"
                if config.sample_buffer and config.prefetch:
                    with m.If(is_ahead):
                        m.d.comb += begin_ahead.eq(1)
                        m.d.sync += [count.eq(0), loaded.eq(0)]
                        m.next = "FETCH"
                with m.If(is_nest):
                    m.d.comb += begin.eq(1)
                    if config.prefetch:
                        fetch_from(at)
                        return
                    if not overlaps:
                        m.d.sync += row.eq(word)
                    step_row()
                    m.next = "ISSUE"

        with m.FSM(name="sequence"):
            with m.State("IDLE"):
                m.d.comb += [self.running.eq(0), self.run.ready.eq(1), loops.clear.eq(1)]
                with m.If(self.run.valid):
                    m.d.comb += self.start.eq(1)
                    m.d.sync += self.counting.eq(self.run.payload.count)
                    fetch_from(self.run.payload.row)
            with m.State("FETCH"):
                m.d.comb += [fetching.eq(1), load.eq(1), rows.r_addr.eq(at)]
                m.d.sync += [count.eq(count + 1), at.eq(at + 1)]
                with m.If(count == 0):
                    m.d.sync += pc.eq(at)
                if config.sample_buffer:  # with prefetch, behind a WAIT that has not begun yet
                    with m.If(self.lacking):
                        m.d.comb += rows.r_addr.eq(self.program.index)
                        m.d.sync += [count.eq(0), at.eq(at)]
                with m.If(count == 1):
                    m.d.comb += decodes.eq(1)
                    m.d.sync += [is_nest.eq(head_nest), n_levels.eq(head.levels)]
                    if config.sample_buffer and config.prefetch:
                        wait = row_view(config, "WAIT", word)
                        m.d.sync += is_ahead.eq((wait.opcode == Opcode.WAIT) & wait.ahead)
                    if overlaps:
                        m.d.sync += fetched.eq(word)
                    else:  # with no drain to wait for, nobody needs the row before any more
                        with m.If(drain == 0):
                            m.d.sync += [row.eq(word), loaded.eq(1)]
                with m.If((count >= HEAD_ROWS) & (count == n_levels + HEAD_ROWS)):
                    m.d.comb += rows.r_addr.eq(pc)
                    m.d.sync += at.eq(at)
                    m.next = "READY"
                # All but nests have one row. On a short pipeline its word decides at once.
                if when.short:
                    with m.If((count == 1) & ~head_nest):
                        m.d.sync += at.eq(at)
                        m.next = "READY"
                else:
                    with m.If((count == 2) & ~is_nest):
                        m.d.sync += at.eq(pc + 1)
                        m.next = "READY"
                        ready()
                stop()
            with m.State("READY"):
                m.d.comb += fetching.eq(1)
                ready()
                stop()
            if not config.prefetch:
                with m.State("ISSUE"):
                    m.d.comb += [issuing.eq(1), walker.walk.eq(1)]
                    step_row()
                    with m.If(walker.ended):
                        m.d.sync += drain.eq(self.drain_of(row))
                        fetch_from(at)
                    stop()
            with m.State("EXECUTE"):
                m.d.comb += [issuing.eq(1), executes.eq(1)]
                self.execute(m, loops, fetch_from, at, leaves)
                stop()
            with m.State("ABORT"), m.If(drain == 0):
                m.next = "IDLE"
        self.transfer(m, loops, decodes=decodes, enters=enters, executes=executes, leaves=leaves)
        over = ended if config.prefetch else issuing & ~executes & ended
        self.account(m, drain, fetching, issuing, begun, over)

    def connect_rows(
        self,
        m: Module,
        rows: Ram,
        walker: NestWalker,
        loops: "LoopStack",
        row: Signal,
        count: Signal,
    ) -> None:
        """The program's memory, its port for the host, and what a walk reads of it."""
        m.d.comb += [
            rows.w_addr.eq(self.program.index),
            rows.w_data.eq(self.program.data),
            rows.w_en.eq(self.program.write),
            rows.r_addr.eq(self.program.index),
            self.program.row.eq(rows.r_data),
            self.row.eq(row),
            walker.row.eq(rows.r_data),
            walker.count.eq(count),
            walker.indices.eq(loops.indices),
            self.issue.eq(walker.issue),
        ]

    def drain_of(self, row: Value) -> Value:
        """Cycles that the instruction after a nest waits once that has issued, by its head row."""
        config = self.config
        is_mac = row[:OPCODE_BITS] == Opcode.MAC
        if config.drains:
            return Mux(is_mac, *(row_view(config, kind, row).drain for kind in ("MAC", "LEARN")))
        latency = Mux(is_mac, mac_latency(config), learn_latency(config))
        if not config.sample_buffer:
            return latency
        walks = Mux(is_mac, *(row_view(config, kind, row).walk for kind in ("MAC", "LEARN")))
        return latency + Mux(walks, WALK, 0)

    def overlap(
        self,
        m: Module,
        walker: NestWalker,
        row: Signal,
        fetched: Signal,
        drain: Signal,
        drained: Signal,
        *,
        begun: Signal,
        begin_ahead: Signal,
        leaves: Signal,
    ) -> tuple[Signal, Signal, Signal]:
        """A nest, or a WAIT that is ahead, issues (``begun``) while the next instruction is
        fetched. Returns what `alternate` does."""
        config = self.config
        no_drain = Signal()
        walks = begun & ~self.ahead if config.sample_buffer else begun
        load, begin, ended = self.alternate(m, walker, walks)
        with m.If(ended):
            m.d.sync += [begun.eq(0), drain.eq(self.drain_of(row))]
        over = ended
        if config.sample_buffer:
            over |= self.settled
            with m.If(self.settled):
                m.d.comb += leaves.eq(1)
                m.d.sync += begun.eq(0)
        with m.If(begin):
            m.d.sync += [begun.eq(1), no_drain.eq(self.drain_of(fetched) == 0)]
        with m.If(begin_ahead):
            m.d.sync += [begun.eq(1), no_drain.eq(1)]
        m.d.comb += drained.eq(Mux(begun, over & no_drain, drain <= 1))
        return load, begin, ended

    def alternate(
        self, m: Module, walker: NestWalker, begun: Signal
    ) -> tuple[Signal, Signal, Signal]:
        """Two walkers, of which one issues while the other is loaded. Returns what loads the
        latter, what begins its walk, and whether the former has ended."""
        m.submodules.other_walker = other = NestWalker(self.config)
        walkers = walker, other
        issues = Signal()  # the other one
        load, begin, ended = (Signal(name=name) for name in ("load", "begin", "ended"))
        m.d.comb += [
            ended.eq(begun & Mux(issues, other.ended, walker.ended)),
            self.issue.eq(Mux(issues, other.issue, walker.issue)),
            other.row.eq(walker.row),
            other.count.eq(walker.count),
            other.indices.eq(walker.indices),
        ]
        if self.config.sample_buffer:
            m.d.comb += other.listed.eq(self.listed)
        with m.If(begin):
            m.d.sync += issues.eq(~issues)
        for side, each in enumerate(walkers):
            m.d.comb += [
                each.load.eq(load & (issues != side)),
                each.begin.eq(begin & (issues != side)),
                each.walk.eq(begun & (issues == side)),
            ]
        return load, begin, ended

    def execute(
        self,
        m: Module,
        loops: "LoopStack",
        fetch_from: Callable[[Value], None],
        at: Signal,
        leaves: Signal,
    ) -> None:
        """An instruction without a nest, and where the fetch goes on: at row ``at`` behind it, or
        elsewhere."""
        loop = row_view(self.config, "LOOP", self.row)
        repeat = row_view(self.config, "NEXT", self.row)
        m.d.comb += [loops.count.eq(loop.count), loops.by.eq(repeat.step)]
        with m.Switch(self.row[:OPCODE_BITS]):
            with m.Case(Opcode.LOOP):
                skipped = (loop.skip == Skip.IF_FLAG) & self.flag | (
                    loop.skip == Skip.UNLESS_FLAG
                ) & ~self.flag
                with m.If(skipped):
                    fetch_from(loop.end)
                with m.Else():
                    m.d.comb += loops.open.eq(1)
                    fetch_from(at)
            with m.Case(Opcode.NEXT):
                m.d.comb += self.events.sweeps.eq(repeat.sweep)
                with m.If(loops.last | (repeat.until & self.flag)):
                    m.d.comb += loops.close.eq(1)
                    fetch_from(at)
                with m.Else():
                    m.d.comb += loops.step.eq(1)
                    fetch_from(repeat.body)
            with m.Case(Opcode.WAIT, Opcode.EMIT), m.If(self.finished):
                m.d.comb += leaves.eq(1)
                fetch_from(at)
            with m.Default():  # HALT
                m.d.comb += self.done.eq(~self.abort)
                m.next = "IDLE"

    def is_opcode(self, code: Opcode) -> Value:
        """Whether that is the instruction under way."""
        return self.row[:OPCODE_BITS] == code

    def transfer(
        self,
        m: Module,
        loops: "LoopStack",
        *,
        decodes: Signal,
        enters: Signal,
        executes: Signal,
        leaves: Signal,
    ) -> None:
        """What WAIT and EMIT need. On a long pipeline that they run comes from registers, decided
        as the head row is read; and ``index`` a cycle later."""
        config, when = self.config, self.when
        wait, emit = row_view(config, "WAIT", self.row), row_view(config, "EMIT", self.row)
        select = Mux(self.is_opcode(Opcode.WAIT), wait.dst_x, emit.base_x)
        m.d[when.domain] += self.index.eq(loops.index(select))
        for code, run in ((Opcode.WAIT, self.wait_run), (Opcode.EMIT, self.emit_run)):
            if when.short:
                m.d.comb += run.eq(executes & self.is_opcode(code))
                continue
            comes = Signal(name=f"is_{code.name.lower()}", reset_less=True)
            runs = Signal(name=f"{code.name.lower()}_runs")
            m.d.comb += run.eq(runs)
            with m.If(decodes):
                m.d.sync += comes.eq(self.program.row[:OPCODE_BITS] == code)
            with m.If(leaves):
                m.d.sync += runs.eq(0)
            with m.If(enters):
                m.d.sync += runs.eq(comes)
            with m.If(self.abort):
                m.d.sync += runs.eq(0)

    def account(
        self,
        m: Module,
        drain: Signal,
        fetching: Signal,
        issuing: Signal,
        begun: Signal,
        over: Value,
    ) -> None:
        """Each cycle of a run counts once: for the instruction under way while it issues, executes
        or drains without a stall, for control while nothing but a fetch goes on. ``over``: a nest
        has issued."""
        busy = Signal()
        idle = Signal()
        draining = drain != 0
        waiting = drain == 0
        if self.config.prefetch:
            draining, waiting = draining | begun, waiting & ~begun
        m.d.comb += [
            busy.eq(((fetching & draining) | issuing) & ~self.stalled),
            idle.eq(fetching & waiting),
            *(self.events[r.name.lower()].eq(busy & self.is_opcode(c)) for c, r in CYCLES.items()),
            self.events.control_cycles.eq(
                idle | (busy & Cat(self.is_opcode(c) for c in Opcode if c not in CYCLES).any())
            ),
        ]
        learns, held = self.is_opcode(Opcode.LEARN), row_view(self.config, "LEARN", self.row).hold
        if self.config.drains:  # the row is another's before the latency is over
            latency = learn_latency(self.config)
            past = delay(m, over & learns & ~held, latency, "learned", reset=True)
            m.d.comb += self.learned.eq(past[latency])
        else:
            m.d.comb += self.learned.eq(fetching & (drain == 1) & learns & ~held)


class LoopStack(Scheduled):
    """The open loops.

    Parameters
    ----------
    config
        The machine.

    Members
    -------
    clear : In(1)
        No loop is open.
    open : In(1), count : In
        Open a loop, which is to be walked ``count`` times more after this one.
    close : In(1)
        Close the innermost loop.
    step : In(1), by : In
        To the innermost loop's next trip: its index grows by this.
    last : Out(1)
        It is at its last trip. Of a long pipeline a cycle late, where no NEXT can see that.
    indices : Out
        Of the open loops from number 1 on, the outermost first; number 0 is 0.
    """

    def __init__(self, config: ArrayConfig):
        super().__init__(
            config,
            {
                **dict.fromkeys(("clear", "open", "close", "step"), In(1)),
                "count": In(LOOP_COUNT_BITS),
                "by": In(INDEX_BITS),
                "last": Out(1),
                "indices": Out(data.ArrayLayout(INDEX_BITS, INDEX_SELECTS)),
            },
        )

    def index(self, select: Value) -> Value:
        """The index that an instruction selects."""
        return Choice(self.indices[k] for k in range(INDEX_SELECTS))[select]

    def build(self, m: Module) -> None:
        loops = self.config.loop_depth
        depth = Signal(range(loops + 1))
        # The innermost loop's first: opening and closing a loop shift them by one.
        trips_left = [
            Signal.like(self.count, name=f"trips_left_{k}", reset_less=True) for k in range(loops)
        ]
        m.d.comb += self.last.eq(self.when.late(m, trips_left[0] == 0, "last_trip"))
        with m.If(self.open):
            m.d.sync += [
                depth.eq(depth + 1),
                trips_left[0].eq(self.count),
                *(outer.eq(inner) for inner, outer in pairwise(trips_left)),
            ]
        with m.If(self.close):
            m.d.sync += [
                depth.eq(depth - 1),
                *(inner.eq(outer) for inner, outer in pairwise(trips_left)),
            ]
        with m.If(self.step):
            m.d.sync += trips_left[0].eq(trips_left[0] - 1)
        with m.If(self.clear):
            m.d.sync += depth.eq(0)
        for k in range(min(loops, INDEX_SELECTS - 1)):
            index = Signal(INDEX_BITS, name=f"index_{k}", reset_less=True)
            m.d.comb += self.indices[k + 1].eq(index)
            with m.If(self.open & (depth == k)):
                m.d.sync += index.eq(0)
            with m.If(self.step & (depth == k + 1)):
                m.d.sync += index.eq(index + self.by)
