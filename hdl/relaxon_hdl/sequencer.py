"""The sequencer: fetches instructions, walks their nests, keeps the loops."""

from itertools import pairwise

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from relaxon_isa.config import ArrayConfig
from relaxon_isa.cycles import learn_latency, mac_latency
from relaxon_isa.instructions import (
    INDEX_SELECTS,
    LEVEL_COUNT_BITS,
    LOOP_COUNT_BITS,
    Judge,
    Opcode,
    Skip,
)
from relaxon_isa.memory import row_bits

from .array import issue_layout, row_view
from .bus import RunRequest
from .primitives import Ram, delay
from .schedule import Schedule

__all__ = ["Sequencer"]

INDEX_BITS = 16
HEAD_ROWS = 2
"""Rows of a nest before those of its levels."""
STREAMS = ("tile", "src", "dst", "gate", "drive")


class Sequencer(wiring.Component):
    """Runs programs: issues a tile a cycle, and the next instruction when the drain is over.

    ::

        fetch   k     0     1     2      3       4       ..  n      n+1
                row   head  bases level0 level1  ..          head   -
                read        head  bases  level0  level1  ..  last   head
                                  adr=base adr+=X                   `-> row; first step
        issue         0     1     2
                row   step1's     ..       the level that steps next is read a cycle ahead,
                adr   tile0 tile1 tile2    and its row holds what to add to every address

    A nest of n rows issues n + 2 cycles after its fetch began, other instructions execute after
    3. The fetch begins when the instruction before has issued its last; READY lasts until that
    one's drain is over. The head is read twice so that the row of the instruction under way can
    stay until then.

    A block RAM's word comes late in its cycle. Where the fabric is fast (not `Schedule.merged`),
    hardly more than a register hangs on it: what the head says counts from cycle 2 on, which for
    all but nests already is READY, and a nest steps by copies of its level rows in a small memory.

    Parameters
    ----------
    config, family

    Members
    -------
    run : In(stream of RunRequest)
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
        ``X`` that WAIT or EMIT adds.
    wait_run, emit_run : Out(1)
        The instruction is executing.
    stalled : In(1)
        It makes no progress in this cycle.
    finished : In(1)
        It does its last in this cycle.
    mac_cycle, learn_cycle, control_cycle, wait_cycle, emit_cycle : Out(1)
        What this cycle counts as.
    swept : Out(1)
    learned : Out(1)
        A LEARN without hold is over.
    p_index, p_data, p_write : In
        The host's access to program memory.
    p_row : Out
        The row at ``p_index`` of the cycle before, if no program runs or it waits.
    """

    def __init__(self, config: ArrayConfig, family: str | None = None):
        self.config = config
        self.family = family
        self.row_bits = row_bits(config)
        flags = {
            name: Out(1)
            for name in [
                "running",
                "counting",
                "done",
                "start",
                "wait_run",
                "emit_run",
                "mac_cycle",
                "learn_cycle",
                "control_cycle",
                "wait_cycle",
                "emit_cycle",
                "swept",
                "learned",
            ]
        }
        super().__init__(
            {
                "run": In(stream.Signature(RunRequest)),
                "abort": In(1),
                "row": Out(self.row_bits),
                "issue": Out(issue_layout(config)),
                "flag": In(1),
                "index": Out(INDEX_BITS),
                "stalled": In(1),
                "finished": In(1),
                "p_index": In(config.program_addr_bits),
                "p_data": In(self.row_bits),
                "p_write": In(1),
                "p_row": Out(self.row_bits),
                **flags,
            }
        )

    def elaborate(self, platform):
        m = Module()
        config = self.config
        levels = config.levels
        address = config.program_addr_bits
        merged = Schedule(config).merged

        m.submodules.rows = rows = Ram(self.row_bits, config.program_rows, self.family)
        data = rows.r_data
        m.d.comb += [
            rows.w_addr.eq(self.p_index),
            rows.w_data.eq(self.p_data),
            rows.w_en.eq(self.p_write),
            rows.r_addr.eq(self.p_index),
            self.p_row.eq(data),
        ]

        row = Signal(self.row_bits, reset_less=True)
        loaded = Signal()
        m.d.comb += self.row.eq(row)
        opcode_under_way = row[:3]

        pc = Signal(address)  # the instruction that is fetched
        at = Signal(address)  # the next row to fetch; then the next instruction
        longest = max(mac_latency(config), learn_latency(config))
        drain = Signal(range(longest + 1))
        drained = Signal()
        m.d.comb += drained.eq(drain <= 1)
        with m.If(drain != 0):
            m.d.sync += drain.eq(drain - 1)

        # Loops -----------------------------------------------------------------------------------

        depth = Signal(range(config.loop_depth + 1))
        # Of the innermost first: opening and closing a loop move them by one.
        trips_left = [
            Signal(LOOP_COUNT_BITS, name=f"trips_left_{k}", reset_less=True)
            for k in range(config.loop_depth)
        ]
        indices = [
            Signal(INDEX_BITS, name=f"index_{k}", reset_less=True)
            for k in range(min(config.loop_depth, INDEX_SELECTS - 1))
        ]
        selectable = Array([Const(0, INDEX_BITS), *indices])
        last_trip = trips_left[0] == 0
        if not merged:  # it is long since it changed
            last_trip = delay(m, last_trip, 1, "last_trip")[1]

        # The nest --------------------------------------------------------------------------------

        trip = [Signal(LEVEL_COUNT_BITS, name=f"trip_{k}", reset_less=True) for k in range(levels)]
        last = [Signal(LEVEL_COUNT_BITS, name=f"last_{k}", reset_less=True) for k in range(levels)]
        more = Signal(levels)  # not at its last trip
        flips = Signal(levels)
        odd = Signal(levels)  # flips, and the trip is odd
        n_levels = Signal(3, reset_less=True)
        n_inner = Signal(3, reset_less=True)
        is_nest = Signal()
        extra = Signal(2, reset_less=True)  # cycles that a group takes at least, less 1
        age = Signal(2, reset_less=True)  # cycles that this group has taken
        selects = {name: Signal(2, name=f"{name}_x", reset_less=True) for name in STREAMS}

        clear = Signal()  # before a nest is loaded
        steps = Signal(levels)
        inside = Signal(levels)
        group_ends = Signal()
        may_leave = Signal()
        walking = Signal()
        stepping = Signal()
        ending = Signal()
        arrived = Signal(init=1)  # the walk's tile is new: it has not been issued
        group_new = Signal(init=1)
        ended = Signal()
        if merged:
            m.d.comb += more.eq(Cat(trip[k] != last[k] for k in range(levels)))
        else:  # trips are counted down, and bits beside them say whether any are left
            left = [Signal.like(trip[k], name=f"left_{k}") for k in range(levels)]
            some_left = [Signal(name=f"some_left_{k}", reset_less=True) for k in range(levels)]
            some = [Signal(len(some_of(left[0])), name=f"some_{k}") for k in range(levels)]
            fresh = Signal(levels)  # all are left
            long_enough = Signal(reset_less=True)  # age >= extra
            m.d.comb += more.eq(
                Cat(Mux(fresh[k], some[k].any(), some_left[k]) for k in range(levels))
            )
        m.d.comb += [
            steps.eq(more & (~more + 1)),  # the innermost that has trips left
        ]
        m.d["comb" if merged else "sync"] += inside.eq(Cat(n_inner > k for k in range(levels)))
        m.d.comb += [
            group_ends.eq(~(more & inside).any()),
            may_leave.eq(~group_ends | (age >= extra if merged else long_enough)),
            stepping.eq(walking & may_leave & more.any()),
            ending.eq(walking & may_leave & ~more.any()),
        ]
        for k in range(levels):
            with m.If(stepping & steps[k]):
                if merged:
                    m.d.sync += trip[k].eq(trip[k] + 1)
                else:
                    before = Mux(fresh[k], last[k], left[k])
                    m.d.sync += [left[k].eq(before - 1), some_left[k].eq(before != 1)]
                    m.d.sync += fresh[k].eq(0)
                m.d.sync += odd[k].eq(odd[k] ^ flips[k])
            with m.If(clear | (stepping & steps[k + 1 :].any())):
                if merged:
                    m.d.sync += trip[k].eq(0)
                else:
                    m.d.sync += fresh[k].eq(1)
                m.d.sync += odd[k].eq(0)
            with m.If(clear):
                if merged:
                    m.d.sync += last[k].eq(0)
                else:
                    m.d.sync += some[k].eq(0)
        with m.If(walking):
            m.d.sync += [arrived.eq(stepping), age.eq(age + (age != 3))]
            if not merged:
                m.d.sync += long_enough.eq(age + 1 >= extra)
                with m.If(stepping & group_ends):
                    m.d.sync += long_enough.eq(extra == 0)
            with m.If(stepping & group_ends):
                m.d.sync += [age.eq(0), group_new.eq(1)]
            with m.Elif(arrived):
                m.d.sync += group_new.eq(0)
            with m.If(ending):
                m.d.sync += ended.eq(1)

        # Addresses -------------------------------------------------------------------------------

        issue = self.issue
        load_bases = Signal()
        if not merged:  # where there are none, nothing is issued
            m.d.sync += load_bases.eq(clear)
        add_index = Signal()
        stepped = Signal()
        bases = row_view(config, "bases", data)
        level = row_view(config, "level", data)
        m.d.sync += [add_index.eq(load_bases), stepped.eq(stepping)]
        steps_by = [level[name] for name in STREAMS]
        if not merged:
            level_new = Signal(range(levels))
            level_comes = Signal()
            step_index = Signal(range(levels))
            widths = list(map(len, steps_by))
            m.submodules.copies = copies = memory.Memory(shape=sum(widths), depth=levels, init=[])
            write, read = copies.write_port(), copies.read_port(domain="comb")
            copy = Signal(sum(widths), reset_less=True)
            m.d.comb += [
                write.addr.eq(level_new),
                write.data.eq(Cat(steps_by)),
                write.en.eq(level_comes),
                read.addr.eq(step_index),
            ]
            m.d.sync += copy.eq(read.data)
            steps_by = [copy[sum(widths[:j]) :][:width] for j, width in enumerate(widths)]
        registers = {}
        for name, step_by in zip(STREAMS, steps_by, strict=True):
            width = len(level[name])
            register = Signal(width, name=f"{name}_address", reset_less=True)
            operand = Signal(width, name=f"{name}_operand")
            registers[name] = register
            m.d.comb += operand.eq(step_by)
            if merged:
                with m.If(load_bases):
                    m.d.comb += operand.eq(bases[name])
            with m.If(add_index):
                m.d.comb += operand.eq(selectable[selects[name]])
            if merged:
                with m.If(load_bases | add_index | stepped):
                    m.d.sync += register.eq(register + operand)
                with m.If(clear):
                    m.d.sync += register.eq(0)
            else:
                with m.If(add_index | stepped):
                    m.d.sync += register.eq(register + operand)
                with m.If(load_bases):
                    m.d.sync += register.eq(bases[name])
        old_offset = Signal(config.state_addr_bits, reset_less=True)
        if merged:
            with m.If(load_bases):
                m.d.sync += old_offset.eq(bases["old"] - bases["dst"])
        else:
            old = Signal.like(bases["old"], name="old_base", reset_less=True)
            with m.If(load_bases):
                m.d.sync += old.eq(bases["old"])
            with m.If(add_index):
                m.d.sync += old_offset.eq(old - registers["dst"])

        token = {
            name: Signal(shape, name=f"issue_{name}")
            for name, shape in (("valid", 1), ("first", 1), ("last", 1), ("flip", 1))
        }
        spent = Signal(levels, reset_less=True)
        began = Signal()
        m.d.sync += [
            token["valid"].eq(walking & arrived),
            token["first"].eq(group_new),
            token["last"].eq(group_ends),
            token["flip"].eq(odd.xor()),
            spent.eq(~more),
        ]
        m.d.comb += [
            *(getattr(issue, name).eq(signal) for name, signal in token.items()),
            *(getattr(issue, name).eq(signal) for name, signal in registers.items()),
            issue.spent.eq(spent),
            issue.old_offset.eq(old_offset),
            issue.begin.eq(began),
        ]

        # Fetch and issue -------------------------------------------------------------------------

        k = Signal(range(levels + 4))
        head_mac = row_view(config, "MAC", data)
        head_nest = Signal()
        m.d.comb += head_nest.eq(
            (head_mac["opcode"] == Opcode.MAC) | (head_mac["opcode"] == Opcode.LEARN)
        )
        learn = row_view(config, "LEARN", row)
        loop = row_view(config, "LOOP", row)
        repeat = row_view(config, "NEXT", row)
        wait = row_view(config, "WAIT", row)
        emit = row_view(config, "EMIT", row)
        is_opcode = {code: opcode_under_way == code for code in Opcode}

        if not merged:
            head = Signal(self.row_bits, reset_less=True)
            moves = {
                code: Signal(name=f"is_{code.name.lower()}", reset_less=True)
                for code in (Opcode.WAIT, Opcode.EMIT)
            }
            moving = {code: Signal(name=f"{code.name.lower()}_runs") for code in moves}

        def stop():
            with m.If(self.abort):
                m.d.sync += drain.eq(longest)
                if not merged:
                    m.d.sync += [runs.eq(0) for runs in moving.values()]
                m.next = "ABORT"

        def fetch_from(target):
            m.d.sync += [at.eq(target), k.eq(0), loaded.eq(0)]
            m.next = "FETCH"

        def ready():
            m.d.comb += rows.r_addr.eq(pc)
            with m.If(drained):
                with m.If(~loaded):
                    m.d.sync += row.eq(data)
                m.next = "EXECUTE"
                if not merged:
                    m.d.sync += [runs.eq(moves[code]) for code, runs in moving.items()]
                with m.If(is_nest):
                    m.d.comb += walking.eq(1)
                    m.d.sync += [row.eq(data), began.eq(1)]
                    m.next = "ISSUE"

        def move(code, run):
            if merged:
                m.d.comb += run.eq(1)
            with m.If(self.finished):
                if not merged:
                    m.d.sync += moving[code].eq(0)
                fetch_from(at)

        index = selectable[Mux(is_opcode[Opcode.WAIT], wait["dst_x"], emit["base_x"])]
        m.d.comb += self.running.eq(1)
        m.d["comb" if merged else "sync"] += self.index.eq(index)
        if not merged:
            m.d.comb += [
                self.wait_run.eq(moving[Opcode.WAIT]),
                self.emit_run.eq(moving[Opcode.EMIT]),
            ]
        m.d.sync += began.eq(0)
        fetching = Signal()
        issuing = Signal()
        with m.FSM(name="sequence"):
            with m.State("IDLE"):
                m.d.comb += [self.running.eq(0), self.run.ready.eq(1)]
                m.d.sync += depth.eq(0)
                with m.If(self.run.valid):
                    m.d.comb += self.start.eq(1)
                    m.d.sync += self.counting.eq(self.run.payload.count)
                    fetch_from(self.run.payload.row)
            with m.State("FETCH"):
                m.d.comb += [fetching.eq(1), rows.r_addr.eq(at)]
                m.d.sync += [k.eq(k + 1), at.eq(at + 1)]
                with m.If(k == 0):
                    m.d.sync += pc.eq(at)
                with m.If(k == 1):
                    m.d.comb += clear.eq(1)
                    m.d.sync += [
                        is_nest.eq(head_nest),
                        n_levels.eq(head_mac["levels"]),
                        n_inner.eq(head_mac["inner"]),
                        *(selects[name].eq(head_mac[f"{name}_x"]) for name in STREAMS),
                        flips.eq(0),
                        arrived.eq(1),
                        group_new.eq(1),
                        ended.eq(0),
                        age.eq(0),
                    ]
                    if merged:
                        m.d.sync += extra.eq(extra_accesses(config, data))
                    with m.If(drain == 0):
                        m.d.sync += [row.eq(data), loaded.eq(1)]
                    if merged:
                        with m.If(~head_nest):
                            m.d.sync += at.eq(at)
                            m.next = "READY"
                    else:
                        m.d.sync += [
                            head.eq(data),
                            *(what.eq(head_mac["opcode"] == code) for code, what in moves.items()),
                        ]
                if merged:
                    with m.If(k == 2):
                        m.d.comb += load_bases.eq(1)
                else:
                    with m.If(k == 2):
                        accesses = extra_accesses(config, head)
                        m.d.sync += [extra.eq(accesses), long_enough.eq(accesses == 0)]
                for j in range(levels):
                    with m.If(k == 3 + j):
                        if not merged:
                            m.d.comb += [level_new.eq(j), level_comes.eq(1)]
                            m.d.sync += some[j].eq(some_of(level["count"]))
                        m.d.sync += [last[j].eq(level["count"]), flips[j].eq(level["flip"])]
                with m.If((k >= 2) & (k == n_levels + HEAD_ROWS)):
                    m.d.comb += rows.r_addr.eq(pc)
                    m.d.sync += at.eq(at)
                    m.next = "READY"
                if not merged:
                    with m.If((k == 2) & ~is_nest):
                        m.d.sync += at.eq(pc + 1)
                        m.next = "READY"
                        ready()
                stop()
            with m.State("READY"):
                m.d.comb += fetching.eq(1)
                ready()
                stop()
            with m.State("ISSUE"):
                m.d.comb += issuing.eq(1)
                with m.If(ended):
                    m.d.sync += drain.eq(
                        Mux(
                            is_opcode[Opcode.MAC],
                            mac_latency(config),
                            learn_latency(config),
                        )
                    )
                    fetch_from(at)
                with m.Else():
                    m.d.comb += walking.eq(1)
                stop()
            with m.State("EXECUTE"):
                m.d.comb += issuing.eq(1)
                with m.Switch(opcode_under_way):
                    with m.Case(Opcode.LOOP):
                        skipped = (loop["skip"] == Skip.IF_FLAG) & self.flag | (
                            loop["skip"] == Skip.UNLESS_FLAG
                        ) & ~self.flag
                        with m.If(skipped):
                            fetch_from(loop["end"])
                        with m.Else():
                            m.d.sync += [depth.eq(depth + 1), trips_left[0].eq(loop["count"])]
                            for inner, outer in pairwise(trips_left):
                                m.d.sync += outer.eq(inner)
                            for j, index in enumerate(indices):
                                with m.If(depth == j):
                                    m.d.sync += index.eq(0)
                            fetch_from(at)
                    with m.Case(Opcode.NEXT):
                        m.d.comb += self.swept.eq(repeat["sweep"])
                        innermost = trips_left[0]
                        with m.If(last_trip | (repeat["until"] & self.flag)):
                            m.d.sync += depth.eq(depth - 1)
                            for inner, outer in pairwise(trips_left):
                                m.d.sync += inner.eq(outer)
                            fetch_from(at)
                        with m.Else():
                            m.d.sync += innermost.eq(innermost - 1)
                            for j, index in enumerate(indices):
                                with m.If(depth == j + 1):
                                    m.d.sync += index.eq(index + repeat["step"])
                            fetch_from(repeat["body"])
                    with m.Case(Opcode.WAIT):
                        move(Opcode.WAIT, self.wait_run)
                    with m.Case(Opcode.EMIT):
                        move(Opcode.EMIT, self.emit_run)
                    with m.Default():  # HALT
                        m.d.comb += self.done.eq(~self.abort)
                        m.next = "IDLE"
                stop()
            with m.State("ABORT"), m.If(drain == 0):
                m.next = "IDLE"
        if merged:
            step_index = Signal(range(levels))
        for j in reversed(range(levels)):
            with m.If(more[j]):
                m.d.comb += step_index.eq(j)
        if merged:
            with m.If(walking):
                m.d.comb += rows.r_addr.eq(pc + (step_index + HEAD_ROWS))

        # Accounting ------------------------------------------------------------------------------

        in_drain = Signal()
        own = Signal()
        nothing = Signal()
        m.d.comb += [
            in_drain.eq(fetching & (drain != 0)),
            own.eq(in_drain | (issuing & ~self.stalled)),
            nothing.eq(fetching & (drain == 0)),
            self.mac_cycle.eq(own & is_opcode[Opcode.MAC]),
            self.learn_cycle.eq(own & is_opcode[Opcode.LEARN]),
            self.wait_cycle.eq(own & is_opcode[Opcode.WAIT]),
            self.emit_cycle.eq(own & is_opcode[Opcode.EMIT]),
            self.control_cycle.eq(
                nothing
                | (own & (is_opcode[Opcode.LOOP] | is_opcode[Opcode.NEXT] | is_opcode[Opcode.HALT]))
            ),
            self.learned.eq(fetching & (drain == 1) & is_opcode[Opcode.LEARN] & ~learn["hold"]),
        ]
        return m


def some_of(count):
    """Bits of which one is 1 if ``count`` is not 0: a look-up table each."""
    return Cat(count[low : low + 4].any() for low in range(0, len(count), 4))


def mac_accesses(head: dict):
    """Cycles of the second port that a destination group of a MAC takes."""
    reads_old = (head["step"] != 0) | (head["judge"] == Judge.CHANGE)
    reads_gate = head["gating"] != 0
    return Mux(head["to_drive"], 0, reads_old + reads_gate)


def extra_accesses(config: ArrayConfig, row):
    """Cycles that a group, or a tile, takes at least by a nest's head, less 1."""
    head = row_view(config, "MAC", row)
    return Mux(
        head["opcode"] == Opcode.MAC,
        mac_accesses(head) == 2,
        learn_accesses(config, row_view(config, "LEARN", row)) - 1,
    )


def learn_accesses(config: ArrayConfig, head: dict):
    """Cycles of the weight memory that a tile of a LEARN takes."""
    once = 1 if config.weight_ports == 2 else 2
    if not config.integral_shift:
        return Const(once)
    return Mux(head["integral"], 2 * once, once)
