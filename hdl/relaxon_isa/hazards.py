"""How soon an instruction may follow another: drains, computed and proved.

On a machine with ``drains`` instructions overlap: the next one begins ``drain`` cycles after the
last issue of the one before (later if it has not been fetched by then), while results are still on
their way. A program is *sound* if nobody can tell: in every execution, of any two instructions a
and b, a the earlier,

* b reads a word (of S, D, W) that a writes, or writes one that a reads or writes, in a later cycle
  (`cycles.Stages`);
* a LOOP or NEXT that asks the flag comes when all MACs before it have judged;
* b uses a port (the pipe's entry, W's read port, the second port of S) in a later cycle;
* all has ended (`cycles.latency`) before a WAIT, an EMIT, HALT, a LEARN in integral mode and what
  follows one; and, after a LEARN that advances UPDATE_KEY, before a stochastic one.

Where a LOOP or NEXT goes on is not foreseen: every way counts, other than the repeat of a LOOP of
one trip. Addresses with loop indices count with every value that these may have. WAITs that stall
only make time.

The builder takes the least drains, from the first instruction to the last, so that an instruction
is held up only by what it needs; none of them may be a cycle less. A drain that is given is proved
with the others.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from .config import ArrayConfig
from .cycles import (
    WALK,
    drain_cycles,
    fetch_cycles,
    group_cycles,
    groups_of,
    issue_cycles,
    latency,
    stages,
    trips,
)
from .encoding import loop_ends
from .errors import ProgramError
from .instructions import (
    Instruction,
    Learn,
    LearnLevel,
    Loop,
    Mac,
    MacLevel,
    Next,
    Skip,
    describe,
)

__all__ = ["with_drains"]

DIFFERENCES = 4096
"""Differences of loop indices that are looked at one by one; of more, any two addresses meet."""

Place = tuple[str, int]
"""A memory, and the loop index that is added to the addresses."""


@dataclass
class Uses:
    """What a nest uses, and when: of one that comes first the last times, before the cycle in which
    its issue is over; of one that follows the first times, after its first issue.

    Members
    -------
    reads, writes
        Of each place: times by address.
    ports
        Times by name.
    """

    reads: dict[Place, dict[int, int]]
    writes: dict[Place, dict[int, int]]
    ports: dict[str, int]


@dataclass(frozen=True)
class Constraint:
    """``sum of max(drain, exposed fetch) over parts >= cycles``.

    Members
    -------
    parts
        Index and exposed fetch of each nest from the first of two instructions to the one before
        the second.
    cycles
        What they have to make up.
    first, second
        The two instructions.
    why
        What the second would meet.
    """

    parts: tuple[tuple[int, int], ...]
    cycles: int
    first: int
    second: int
    why: str

    def made_up(self, drains: Sequence[int]) -> int:
        return sum(max(drains[i], exposed) for i, exposed in self.parts)


def with_drains(
    config: ArrayConfig, instructions: Sequence[Instruction]
) -> tuple[Instruction, ...]:
    """The instructions, with the least drain for each None. Raises ProgramError for a given one
    that is too short."""
    if not config.drains:
        return tuple(instructions)
    constraints = list(_constraints(config, instructions))
    drains = [drain_cycles(config, i) for i in instructions]  # None: all has ended, so it is sound
    _prove(instructions, constraints, drains)
    of: dict[int, list[Constraint]] = {}
    for constraint in constraints:
        for index in {i for i, _ in constraint.parts}:
            of.setdefault(index, []).append(constraint)
    result = list(instructions)
    for index, instruction in enumerate(instructions):
        if isinstance(instruction, Mac | Learn) and instruction.drain is None:
            drains[index] = _least(index, of.get(index, []), drains)
            result[index] = replace(instruction, drain=drains[index])
    return tuple(result)


def _prove(
    instructions: Sequence[Instruction], constraints: Iterable[Constraint], drains: Sequence[int]
) -> None:
    for constraint in constraints:
        if constraint.made_up(drains) < constraint.cycles:
            last, _ = constraint.parts[-1]
            a, b = constraint.first, constraint.second
            raise ProgramError(
                f"instruction {last} ({describe(instructions[last])}): its drain, {drains[last]}, "
                f"must be at least {_least(last, [constraint], drains)}: instruction {b} would "
                f"meet {constraint.why} of instruction {a}; leave drain out, and the builder "
                "computes it"
            )


def _least(index: int, constraints: Sequence[Constraint], drains: Sequence[int]) -> int:
    """The least drain of an instruction, given the others."""
    least = 0
    for constraint in constraints:
        own = [exposed for i, exposed in constraint.parts if i == index]
        others = [part for part in constraint.parts if part[0] != index]
        rest = constraint.cycles - sum(max(drains[i], exposed) for i, exposed in others)
        while sum(max(least, exposed) for exposed in own) < rest:
            least += 1
    return least


# Ways through a program -----------------------------------------------------------------------

_Way = tuple[int, int | None, int, tuple[tuple[int, int], ...], frozenset[int]]


def _constraints(config: ArrayConfig, instructions: Sequence[Instruction]) -> Iterator[Constraint]:
    """What must hold for the program to be sound, without what always does."""
    ends = loop_ends(instructions)
    begins = {end: begin for begin, end in ends.items()}
    enclosing, open_loops = [], []
    for i, instruction in enumerate(instructions):
        if isinstance(instruction, Next):
            open_loops.pop()
        enclosing.append([instructions[k] for k in open_loops])
        if isinstance(instruction, Loop):
            open_loops.append(i)
    apart = _Apart(config, instructions, enclosing)

    def loop_of(end: int) -> Loop:
        loop = instructions[begins[end]]
        assert isinstance(loop, Loop)
        return loop

    def ways(i: int) -> list[int]:
        instruction = instructions[i]
        if isinstance(instruction, Loop):
            skips = instruction.skip is not Skip.NEVER
            return [i + 1, ends[i] + 1] if skips else [i + 1]
        if isinstance(instruction, Next):
            repeats = loop_of(i).count > 1
            return [begins[i] + 1, i + 1] if repeats else [i + 1]
        return [i + 1]

    for first, nest in enumerate(instructions):
        if not isinstance(nest, Mac | Learn):
            continue
        ended = latency(config, nest)
        # Where a way is; the nest that it comes from, or None; what the way took, less its parts;
        # these; the depths whose index has changed.
        ahead: list[_Way] = [(first + 1, first, 0, (), frozenset())]
        while ahead:
            i, before, taken, parts, changed = ahead.pop()
            instruction = instructions[i]
            fetch = fetch_cycles(instruction)
            if before is None:
                taken += fetch
            else:
                # After a long list less of the fetch shows: behind the first instruction that
                # leaves less time, behind others the list has taken more.
                listed = None if not parts else 1
                issued = issue_cycles(config, instructions[before], listed)
                parts = (*parts, (before, max(0, fetch - issued * config.prefetch)))
            least = taken + sum(exposed for _, exposed in parts)
            if least >= ended:
                continue
            if isinstance(instruction, Loop | Next):
                loop = instruction if isinstance(instruction, Loop) else loop_of(i)
                asks = loop.until if isinstance(instruction, Next) else loop.skip is not Skip.NEVER
                needed, why = apart.judged(first) if asks else (0, "")
                depth = len(enclosing[i]) + 1
                changed, before, took = changed | {depth}, None, 1
            elif isinstance(instruction, Mac | Learn):
                needed, why = apart(first, i, changed)
                before, took = i, issue_cycles(config, instruction, 1)
            else:
                needed, why, before, took = ended, "what is in flight", None, -1
            if needed > least:
                yield Constraint(parts, needed - taken, first, i, why)
            if took >= 0:
                ahead += [(n, before, taken + took, parts, changed) for n in ways(i)]


class _Apart:
    """Cycles from the end of one instruction's issue to the start of another that it needs, and
    why."""

    def __init__(
        self,
        config: ArrayConfig,
        instructions: Sequence[Instruction],
        enclosing: Sequence[Sequence[Loop]],
    ):
        self.config, self.instructions, self.enclosing = config, instructions, enclosing
        self.known: dict[tuple, tuple[int, str]] = {}

    def judged(self, first: int) -> tuple[int, str]:
        """For one that asks the flag."""
        nest = self.instructions[first]
        if not isinstance(nest, Mac) or not nest.judge:
            return 0, ""
        if nest.walk:  # at worst without padding
            return stages(self.config).flag - 1 + WALK, "the flag"
        padding = group_cycles(self.config, nest) - trips(nest.inner)
        return stages(self.config).flag - 1 - padding, "the flag"

    def __call__(self, first: int, second: int, changed: frozenset[int]) -> tuple[int, str]:
        """For one nest after another, in between the loops of the depths ``changed`` have moved."""
        a, b = self.instructions[first], self.instructions[second]
        assert isinstance(a, Mac | Learn) and isinstance(b, Mac | Learn)
        changed = changed & {getattr(n, f) for n in (a, b) for f in _SELECTS if hasattr(n, f)}
        key = (first, second, changed)
        if key not in self.known:
            self.known[key] = self._find(first, second, changed)
        return self.known[key]

    def _find(self, first: int, second: int, changed: frozenset[int]) -> tuple[int, str]:
        config = self.config
        a, b = self.instructions[first], self.instructions[second]
        assert isinstance(a, Mac | Learn) and isinstance(b, Mac | Learn)
        if _alone(a, b):
            return latency(config, a), "what is in flight"
        before, after = _uses(config, a, True), _uses(config, b, False)
        found = [(0, "")]
        for port in before.ports.keys() & after.ports.keys():
            found.append((before.ports[port] + 1 - after.ports[port], port))
        for one, other, what in (
            (before.writes, after.reads, "a write"),
            (before.writes, after.writes, "a write"),
            (before.reads, after.writes, "a read"),
        ):
            for (memory, x), times in one.items():
                for (also, y), others in other.items():
                    if memory != also:
                        continue
                    shifts = self._shifts(first, x, second, y, changed)
                    late = [
                        times[address + shift] - time
                        for shift in shifts or ()
                        for address, time in others.items()
                        if address + shift in times
                    ]
                    if shifts is None:
                        late = [max(times.values()) - min(others.values())]
                    if late:
                        found.append((max(late) + 1, f"{what} of {memory}"))
        return max(found)

    def _shifts(
        self, first: int, x: int, second: int, y: int, changed: frozenset[int]
    ) -> set[int] | None:
        """What an address of ``second`` may be more than one of ``first`` by their loop indices;
        None: anything."""
        if x == y and x not in changed:
            return {0}
        a, b = (_values(self.enclosing[i], k) for i, k in ((first, x), (second, y)))
        if len(a) * len(b) > DIFFERENCES:
            return None
        return {n - m for m in a for n in b}


def _values(loops: Sequence[Loop], select: int) -> range:
    """The values of X[select] within these open loops."""
    if not select:
        return range(1)
    loop = loops[select - 1]
    return range(0, loop.count * loop.step, loop.step) if loop.step else range(1)


_SELECTS = ("tile_x", "src_x", "dst_x", "drive_x", "gate_x", "col_x", "row_x")


def _alone(a: Mac | Learn, b: Mac | Learn) -> bool:
    """Whether b must wait until a has ended, whatever their addresses are."""
    if any(isinstance(n, Learn) and n.integral for n in (a, b)):
        return True
    stochastic = isinstance(b, Learn) and b.stochastic
    return stochastic and isinstance(a, Learn) and not a.hold


# What a nest uses -----------------------------------------------------------------------------


def _trip(levels: Sequence[MacLevel | LearnLevel], index: int) -> list[int]:
    """The trip of each level, of all trips in execution order that of an index."""
    result = []
    for level in reversed(levels):
        index, trip = divmod(index, level.count)
        result.append(trip)
    return result[::-1]


def _at(levels: Sequence[MacLevel | LearnLevel], trip: Sequence[int], name: str) -> int:
    return sum(t * getattr(v, name) for t, v in zip(trip, levels, strict=True))


@lru_cache(maxsize=4096)
def _uses(config: ArrayConfig, nest: Mac | Learn, last: bool) -> Uses:
    """Of the tiles that matter: those less than the longest latency from the other instruction."""
    when = stages(config)
    horizon = max(when.flag, when.learned) + 1 + WALK
    outer, inner = groups_of(nest), 1 if nest.walk else trips(nest.inner)
    group = group_cycles(config, nest, 1)
    levels, inner_levels, listed = nest.outer, nest.inner, 1
    if nest.walk:  # every tile may come at once, in the shortest list
        listed = (levels[-1] if isinstance(nest, Learn) else inner_levels[0]).count
        levels, inner_levels = nest.outer[: len(levels) - isinstance(nest, Learn)], ()
    uses = Uses({}, {}, {})
    pick: Callable[[int, int], int] = max if last else min
    near = min(outer, horizon // group + 1)
    groups = range(outer - near, outer) if last else range(near)
    near = min(inner, horizon)
    tiles = range(inner - near, inner) if last else range(near)

    def use(into: dict[Place, dict[int, int]], memory: str, x: int, address: int, at: int) -> None:
        times = into.setdefault((memory, x), {})
        times[address] = pick(times.get(address, at), at)

    def occupy(port: str, at: int) -> None:
        uses.ports[port] = pick(uses.ports.get(port, at), at)

    def tile_read(issued: int, trip: Sequence[int], stage: int) -> None:
        tile = nest.tile + _at(every, trip, "tile")
        for step in range(listed):
            use(uses.reads, "W", nest.tile_x, tile + step, issued + stage)
        occupy("a read of W", issued + stage)

    every = (*levels, *inner_levels)
    for i in groups:
        outer_trip = _trip(levels, i)
        start = i * group - (outer * group if last else 0)
        ends = start + inner - 1
        if nest.walk:
            start, ends = start + WALK, (start + group - 1 if last else start) + WALK
        for k in tiles:
            trip, issued = [*outer_trip, *_trip(inner_levels, k)], ends if nest.walk else start + k
            occupy("a tile", issued)
            if isinstance(nest, Mac):
                tile_read(issued, trip, when.operand)
                if nest.walk:
                    continue
                src = nest.src + _at(every, trip, "src")
                use(uses.reads, "S", nest.src_x, src, issued + when.operand)
                continue
            tile_read(issued, trip, when.weights)
            planes = (("col", nest.col_x), ("row", nest.row_x))
            for name, x in planes[nest.walk :]:
                plane = getattr(nest, name) + _at(every, trip, name)
                use(uses.reads, "S", x, plane, issued + when.operand)
            occupy("the second read of S", issued + when.operand)

        def reached(name: str, base: int, trip: Sequence[int] = outer_trip) -> int:
            return base + _at(levels, trip, name)

        if isinstance(nest, Learn):
            for step in range(listed):
                tile = reached("tile", nest.tile) + step
                use(uses.writes, "W", nest.tile_x, tile, ends + when.learned)
            continue
        if nest.from_drive:
            drive = reached("drive", nest.drive)
            use(uses.reads, "D", nest.drive_x, drive, start + when.drive)
        if nest.reads_gate:
            use(uses.reads, "S", nest.gate_x, reached("gate", nest.gate), ends + when.gate)
            occupy("the second read of S", ends + when.gate)
        if nest.reads_old:
            use(uses.reads, "S", nest.dst_x, reached("dst", nest.old_base), ends + when.old)
            occupy("the second read of S", ends + when.old)
        dst = reached("dst", nest.dst)
        if nest.to_drive:
            use(uses.writes, "D", nest.dst_x, dst, ends + when.sums)
        else:
            use(uses.writes, "S", nest.dst_x, dst, ends + when.states)
        if nest.both:
            use(uses.writes, "D", nest.drive_x, reached("drive", nest.drive), ends + when.sums)
    return uses
