"""Drains: sound in every execution, and none a cycle longer than it has to be.

Executions of random programs are laid out in time, access by access, from the contract's text, and
nobody may be found to meet what is still in flight.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from random import Random

import pytest

from relaxon_isa import (
    ArrayConfig,
    Halt,
    Instruction,
    Judge,
    Learn,
    LearnLevel,
    Loop,
    Mac,
    MacLevel,
    Next,
    Program,
    ProgramError,
    Skip,
    Wait,
    preset,
)
from relaxon_isa.cycles import (
    drain_cycles,
    fetch_cycles,
    hiding_cycles,
    issue_cycles,
    latency,
    stages,
)
from support.naive import Naive
from support.random_programs import RandomProgram, random_program

CONFIG = preset("fast4")
"""P = 4: T = 2."""
Executed = tuple[int, list[int], list[list[int]]]
"""Which instruction, the loop indices, and each column's groups in the present sample."""
Access = tuple[str, object, int, str]
"""Memory or port, address, time, and "read", "write" or "use"."""


def accesses(
    config: ArrayConfig, nest: Mac | Learn, X: Sequence[int], at: int, lists: list[list[int]]
) -> list[Access]:
    """All of a nest's accesses, trip by trip. ``lists``: each column's groups."""
    when, found = stages(config), []
    if nest.walk:
        at += 3

    def walk(levels):
        return list(product(*(range(level.count) for level in levels)))

    def address(name: str, levels, trip) -> int:
        return sum(t * getattr(level, name) for t, level in zip(trip, levels, strict=True))

    outer, every = walk(nest.outer), (*nest.outer, *nest.inner)
    inner = walk(nest.inner)
    listed = max(map(len, lists))
    if nest.walk:
        lasts = nest.outer[:-1] if isinstance(nest, Learn) else nest.outer
        outer, every = walk(lasts), lasts
        inner = [()] * max(1, listed)
    pace = issue_cycles(config, nest, listed) // len(outer)
    for i, group in enumerate(outer):
        for k, trip in enumerate(inner):
            now = at + i * pace + k
            tile = nest.tile + X[nest.tile_x] + address("tile", every, (*group, *trip))
            found.append(("entry", 0, now, "use"))
            reads = when.operand if isinstance(nest, Mac) else when.weights
            found.append(("W port", 0, now + reads, "use"))
            tiles = {tile}
            if nest.walk:
                tiles = {tile + groups[k] for groups in lists if k < len(groups)}
            found += [("W", tile, now + reads, "read") for tile in tiles]
            if nest.walk and isinstance(nest, Learn):
                found += [("W", tile, now + when.learned, "write") for tile in tiles]
            planes = {"src": "src_x"} if isinstance(nest, Mac) else {"col": "col_x", "row": "row_x"}
            if nest.walk:
                planes = {"row": "row_x"} if isinstance(nest, Learn) else {}
            for name, select in planes.items():
                base = getattr(nest, name) + X[getattr(nest, select)]
                plane = base + address(name, every, (*group, *trip))
                found.append(("S", plane, now + when.operand, "read"))
            if isinstance(nest, Learn):
                found.append(("S port", 0, now + when.operand, "use"))
        first, last = at + i * pace, at + i * pace + len(inner) - 1
        if isinstance(nest, Learn) and nest.walk:
            continue
        if isinstance(nest, Learn):
            tile = nest.tile + X[nest.tile_x] + address("tile", nest.outer, group)
            found.append(("W", tile, last + when.learned, "write"))
            continue
        dst = X[nest.dst_x] + address("dst", nest.outer, group)
        drive = nest.drive + X[nest.drive_x] + address("drive", nest.outer, group)
        gate = nest.gate + X[nest.gate_x] + address("gate", nest.outer, group)
        if nest.from_drive:
            found.append(("D", drive, first + when.drive, "read"))
        if nest.reads_gate:
            found += [("S", gate, last + when.gate, "read"), ("S port", 0, last + when.gate, "use")]
        if nest.reads_old:
            old = nest.old_base + dst
            found += [("S", old, last + when.old, "read"), ("S port", 0, last + when.old, "use")]
        into, stage = ("D", when.sums) if nest.to_drive else ("S", when.states)
        found.append((into, nest.dst + dst, last + stage, "write"))
        if nest.both:
            found.append(("D", drive, last + when.sums, "write"))
        if nest.judge:
            found.append(("flag", 0, last + when.flag, "write"))
    return found


def met(
    config: ArrayConfig, instructions: Sequence[Instruction], executed: list[Executed]
) -> Iterator[tuple[int, str]]:
    """What the instructions of an execution meet: (which one, what)."""
    clock = hidden = 0
    known: dict[tuple[str, object, str], int] = {}
    ended = flag_known = 0
    advanced = 0
    for i, X, lists in executed:
        instruction, listed = instructions[i], max(map(len, lists))
        at = clock + max(0, fetch_cycles(instruction) - hidden)
        hidden = hiding_cycles(config, instruction, listed)
        clock = at + issue_cycles(config, instruction, listed) + drain_cycles(config, instruction)
        own = []
        match instruction:
            case Mac() | Learn():
                own = accesses(config, instruction, X, at, lists)
                alone = isinstance(instruction, Learn) and instruction.integral
                if alone and at < ended:
                    yield i, "an integral LEARN with something in flight"
                stochastic = isinstance(instruction, Learn) and instruction.stochastic
                if stochastic and at < advanced:
                    yield i, "an old key"
            case Loop():
                if instruction.skip is not Skip.NEVER and at < flag_known:
                    yield i, "an old flag"
            case Next():
                if loop_of(instructions, i).until and at < flag_known:
                    yield i, "an old flag"
            case _:
                if at < ended:
                    yield i, "something in flight"
        for memory, address, time, kind in own:
            for other in {"read": ("write",), "write": ("read", "write"), "use": ("use",)}[kind]:
                if memory != "flag" and known.get((memory, address, other), -1) >= time:
                    yield i, f"{kind} of {memory} {address} no later than a {other}"
        for memory, address, time, kind in own:
            if memory == "flag":
                flag_known = max(flag_known, time)
            key = memory, address, kind
            known[key] = max(known.get(key, -1), time)
        if isinstance(instruction, Mac | Learn):
            over = at + issue_cycles(config, instruction, listed) + latency(config, instruction)
            ended = max(ended, over)
            if isinstance(instruction, Learn):
                if not instruction.hold:
                    advanced = max(advanced, over)
                if instruction.integral:  # nothing beside it
                    known |= dict.fromkeys([("W", t, "write") for t in range(64)], over - 1)
                    known["entry", 0, "use"] = over - 1


def loop_of(instructions: Sequence[Instruction], end: int) -> Loop:
    depth = 0
    for instruction in reversed(instructions[: end + 1]):
        depth += isinstance(instruction, Next) - isinstance(instruction, Loop)
        if depth == 0:
            assert isinstance(instruction, Loop)
            return instruction
    raise AssertionError


def executed(config: ArrayConfig, case: RandomProgram, instructions: Sequence[Instruction]):
    naive = Naive(config)
    naive.write(case.memory)
    data = iter(b"".join(case.samples))
    for _ in naive.run(instructions, lambda n: bytes(next(data) for _ in range(n))):
        pass
    return naive.executed


def test_no_execution_meets_what_is_in_flight_and_no_drain_is_too_long(seed: int) -> None:
    seen = shorter = 0
    drains: set[int] = set()
    for number in range(seed, seed + 30):
        print(f"program {number}")
        case = random_program(CONFIG, Random(number))
        instructions = list(case.program.instructions)
        order = executed(CONFIG, case, instructions)
        assert list(met(CONFIG, instructions, order)) == []
        ran = {i for i, _, _ in order}
        for i, instruction in enumerate(instructions):
            if not isinstance(instruction, Mac | Learn):
                continue
            drains.add(drain_cycles(CONFIG, instruction))
            if not instruction.drain or i not in ran:
                continue
            less = [*instructions]
            less[i] = replace(instruction, drain=instruction.drain - 1)
            with pytest.raises(ProgramError, match="must be at least"):
                Program(CONFIG, tuple(less))
            shorter += 1
            seen += any(met(CONFIG, less, order))
    assert len(drains) > 10
    # The others: ways that this execution did not take, or exposed fetches of such.
    print(f"a cycle less: {shorter}, seen in the program's execution: {seen}")
    assert shorter > 100 and seen > 0.9 * shorter


def drains(*instructions: Instruction, config: ArrayConfig = CONFIG) -> list[int | None]:
    program = Program(config, (*instructions, Halt()))
    return [i.drain for i in program.instructions if isinstance(i, Mac | Learn)]


UP = MacLevel(count=3, src=0, dst=1)
ALL = MacLevel(count=3, src=1)
BELOW, ABOVE = Mac(outer=(UP,), src=0, dst=10), Mac(inner=(ALL,), src=10, dst=20)
LAST = 16
"""Before HALT: 14 + T."""


def test_by_hand() -> None:
    # The third group of BELOW is written 16 cycles after its tile, and read as ABOVE's third tile:
    # 1 cycle after that one's issue, which is 2 cycles after the first's.
    assert drains(BELOW, ABOVE) == [16 - 1 + 0 - 2, LAST]
    # Its group is read by the first tile.
    assert drains(ABOVE, replace(BELOW, src=20, dst=30)) == [15, LAST]
    # D comes earlier: written at 9, read at 6.
    last, whole = Mac(from_drive=True, drive=4, dst=9), MacLevel(count=3, dst=1, drive=1)
    assert drains(Mac(outer=(UP,), to_drive=True, dst=2), last) == [3, LAST]
    assert drains(Mac(outer=(whole,), dst=1, both=True, drive=2), last) == [3, LAST]
    # Nothing in common; but for a MAC, LEARN's last read of W must be over.
    assert drains(Mac(dst=1), Mac(src=2, dst=3)) == [0, LAST]
    learn = Learn(tile=5, row=3, col=4)
    assert drains(learn, Mac(dst=1)) == [4, LAST]
    assert drains(learn, Mac(tile=5, dst=1)) == [9, LAST]  # written at 10, read at 1
    assert drains(learn, learn) == [5, 14]  # read at 5
    assert drains(Mac(dst=3), learn) == [15, 14]
    # The second port of S: old is read at 9, row at 1.
    assert drains(Mac(dst=7, step=1), learn) == [8, 14]


def test_what_lies_between_counts() -> None:
    apart = Mac(src=30, dst=40)
    # A row: 1 cycle; fetched behind BELOW's drain or the 3 cycles of its issue, 4 - 3 show.
    assert drains(BELOW, apart, ABOVE) == [0, 16 - 1 - 2 - 1 - 1, LAST]
    # NEXT: 3 - 3 cycles to fetch, 1 to execute; 5 to fetch ABOVE.
    assert drains(Loop(count=1), BELOW, Next(), ABOVE) == [13 - 1 - 5, LAST]
    # Repeats count, trips that there are not do not.
    twice = Mac(src=20, dst=20)
    assert drains(Loop(count=1), twice, Next()) == [LAST - 1 - 3]
    assert drains(Loop(count=2), Mac(src=20, dst=21), Next()) == [LAST - 1 - 3]
    assert drains(Loop(count=2), twice, twice, Next()) == [15, LAST - 1 - 3]


def test_the_flag() -> None:
    judges = Mac(dst=1, judge=Judge.VALUE, fresh=True)
    # Found from 18 cycles after the tile on: 16 + T.
    assert drains(judges, Loop(count=1, skip=Skip.IF_FLAG), Next()) == [17]
    assert drains(judges, Loop(count=1), Next()) == [17 - (1 + 3) - (1 + 3)]
    assert drains(Loop(count=2, until=True), judges, Next()) == [17]
    # Two that judge one after the other do so in order.
    assert drains(judges, replace(judges, src=3, dst=2)) == [0, 17]


def test_walks_enter_three_cycles_later_and_are_as_short_as_can_be() -> None:
    listed = MacLevel(count=3, tile=1, src=1)
    take, row = Wait(ahead=True, count=12), MacLevel(count=3, tile=3, dst=1)
    walk = Mac(outer=(row,), inner=(listed,), dst=10, walk=True)
    # Three groups, a cycle each at least: written 16 + 3 after the last.
    assert drains(take, walk, ABOVE) == [18 - 2, LAST]
    # What does not walk must not overtake it, nor read W by the port before.
    assert drains(take, walk, Mac(src=30, dst=40)) == [3, LAST]
    every = LearnLevel(count=3, tile=1, col=1)
    learn = Learn(outer=(LearnLevel(count=3, tile=3, row=1), every), row=20, walk=True)
    # Row by row: the third is written 10 cycles after its only tiles, read 1 after, 2 later.
    assert drains(take, learn, walk) == [10 - 1 - 2, LAST + 3]
    assert drains(take, walk, learn) == [0, 14 + 3]


def test_loop_indices_count_with_all_their_values() -> None:
    write, read = Mac(src=30, dst=40, dst_x=1), Mac(src=40, src_x=1, dst=50)
    assert drains(Loop(count=4, step=1), write, read, Next())[0] == 15
    # Of the same trip they never meet, of the next one they do.
    assert drains(Loop(count=4, step=1), write, replace(read, src=39), Next())[0] == 0
    assert drains(Loop(count=4, step=1), write, Next(), Mac(src=39, dst=51))[0] == 0
    assert drains(Loop(count=4, step=1), write, Next(), Mac(src=43, dst=51))[0] == 15 - 1 - 4


def test_keys_and_integral_mode_leave_nothing_in_flight() -> None:
    learn = Learn(tile=5, row=3, col=4)
    random = Learn(tile=9, row=3, col=4, stochastic=True)
    assert drains(learn, random) == [14, 14]
    assert drains(replace(learn, hold=True), random) == [0, 14]
    assert drains(Mac(dst=1), Learn(tile=5, row=3, col=4, integral=True)) == [LAST, 14]
    assert drains(Learn(tile=5, row=3, col=4, integral=True), Mac(dst=1)) == [14, LAST]
    assert drains(Mac(dst=1), Wait()) == [LAST]


def test_given_drains_are_proved_and_patches_prove_again() -> None:
    program = Program(CONFIG, (BELOW, ABOVE, Halt()))
    given = Program(CONFIG, (replace(BELOW, drain=14), ABOVE, Halt()))
    assert (given.computed, program.computed) == ({1}, {0, 1})
    with pytest.raises(
        ProgramError,
        match=r"instruction 0 .* its drain, 12, must be at least 13: instr"
        r"uction 1 would meet a write of S of instruction 0; leave drain out",
    ):
        Program(CONFIG, (replace(BELOW, drain=12), ABOVE, Halt()))
    # ABOVE no longer reads what BELOW writes; BELOW's drain is another.
    changed, row, rows = program.patch(1, src=30)
    assert [i.drain for i in changed.instructions if isinstance(i, Mac)] == [0, LAST]
    assert (row, len(rows)) == (0, 5)
    given = Program(CONFIG, (replace(BELOW, drain=0), replace(ABOVE, src=30), Halt()))
    with pytest.raises(ProgramError, match="its drain, 0, must be at least 13"):
        given.patch(1, src=10)


def test_patched_trips_of_the_loop_over_samples() -> None:
    body = (Wait(count=4), Mac(src=0, dst=1))
    program = Program(CONFIG, (Loop(count=1), *body, Next(), Halt()))
    more, _, _ = program.patch(0, count=9)
    nests = [i for p in (program, more) for i in p.instructions if isinstance(i, Mac)]
    assert [nest.drain for nest in nests] == [LAST - 4] * 2
