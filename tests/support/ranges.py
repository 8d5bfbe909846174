"""Programs whose fields span their whole ranges: high bits of counts, strides, bases and steps.

Random programs (`random_programs`) meet every feature and every corner of the arithmetic with small
numbers; these meet large numbers.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import count, islice
from random import Random

from relaxon_isa.check import check
from relaxon_isa.config import ArrayConfig
from relaxon_isa.cycles import wait_bytes
from relaxon_isa.errors import ProgramError
from relaxon_isa.instructions import (
    Activation,
    Emit,
    EmitKind,
    Gating,
    Halt,
    Instruction,
    Judge,
    Learn,
    LearnLevel,
    Loop,
    Mac,
    MacLevel,
    Next,
    Pack,
    Skip,
    Wait,
)
from relaxon_isa.memory import Space, registers
from relaxon_isa.program import Program

from .observe import Case, Memory
from .random_programs import random_word

__all__ = ["Ranges", "bytes_taken", "range_cases"]

PLANES = ("src", "dst", "gate")
WORK = 6000
"""Tiles that one nest visits at most."""
TRIES = 500
FLAG = [Loop(count=1, sweep=True, skip=Skip.UNLESS_FLAG), Next()]
"""Tells the flag: it is counted as a sweep."""


def bytes_taken(config: ArrayConfig, instructions: Sequence[Instruction]) -> int:
    """Bytes that a program without ``skip`` and ``until`` takes."""
    taken, trips = 0, [1]
    for instruction in instructions:
        if isinstance(instruction, Loop):
            trips.append(trips[-1] * instruction.count)
        elif isinstance(instruction, Next):
            trips.pop()
        elif isinstance(instruction, Wait):
            taken += trips[-1] * wait_bytes(config, instruction)
    return taken


class Ranges:
    """Makes programs for a machine; equal states of ``rng`` give equal programs."""

    def __init__(self, config: ArrayConfig, rng: Random):
        self.config, self.rng = config, rng
        self.depths = {
            "tile": config.weight_depth, "src": config.state_depth, "dst": config.state_depth,
            "gate": config.state_depth, "drive": config.drive_depth, "old": config.state_depth,
            "row": config.state_depth, "col": config.state_depth, "base": config.state_depth,
        }  # fmt: skip

    def memory(self) -> Memory:
        """All of S and D, the table and the keys."""
        config, rng = self.config, self.rng
        state = [random_word(rng, config.state_bits) for _ in range(config.state_depth * config.p)]
        drive = [
            random_word(rng, 2 + i % (config.acc_bits - 3))
            for i in range(config.drive_depth)
            for _ in range(config.p)
        ]
        memory: Memory = {
            Space.STATE: (0, state),
            Space.DRIVE: (0, drive),
            Space.REGISTER: (0, [rng.getrandbits(31) + 1 for _ in registers(config)]),
        }
        if config.table_bits:
            size = 1 << config.table_bits
            memory[Space.TABLE] = (0, [random_word(rng, config.state_bits) for _ in range(size)])
        return memory

    # Nests --------------------------------------------------------------------------------

    def _counts(self, levels: int, work: int) -> list[int]:
        """Trips of some levels, a large one among them more often than not."""
        counts = []
        for _ in range(levels):
            most = min(4096, max(1, work))
            counts.append(self.rng.choice([1, 2, 3, most, self.rng.randint(1, most)]))
            work //= counts[-1]
        self.rng.shuffle(counts)
        return counts

    def _walk(self, counts: Sequence[int], depth: int, index: range) -> tuple[int, list[int]]:
        """A base and strides that stay inside a memory and use as much of it as they can."""
        room = depth - 1 - (max(index) - min(index))
        if room < 0:
            raise ProgramError("no room")
        strides, low = [0] * len(counts), 0
        for i in self.rng.sample(range(len(counts)), len(counts)):
            most = room // (counts[i] - 1) if counts[i] > 1 else depth - 1
            strides[i] = self.rng.choice([0, 1, -1, most, -most, self.rng.randint(-most, most)])
            if abs(strides[i]) > most:
                strides[i] = 0
            span = (counts[i] - 1) * strides[i]
            room -= abs(span)
            low += min(0, span)
        return -low - min(index) + self.rng.randint(0, room), strides

    def _index(self, loops: Sequence[Loop]) -> tuple[int, range]:
        select = self.rng.randint(0, min(3, len(loops)))
        if not select or not loops[select - 1].step:
            return select, range(1)
        loop = loops[select - 1]
        return select, range(0, loop.count * loop.step, loop.step)

    def try_to(
        self, make: Callable[[Sequence[Loop]], Instruction], loops: Sequence[Loop] = ()
    ) -> Instruction:
        """The first of many candidates that the builder takes inside these loops."""
        for _ in range(TRIES):
            try:
                instruction = make(loops)
                check(self.config, [*loops, instruction, *[Next()] * len(loops), Halt()])
            except ProgramError:
                continue
            return instruction
        raise AssertionError("no candidate")

    def mac(self, loops: Sequence[Loop] = ()) -> Mac:
        rng, config = self.rng, self.config
        outer = rng.randint(0, config.levels)
        to_drive = rng.random() < 0.4
        depth = config.drive_depth if to_drive else config.state_depth
        counts = self._counts(outer, min(depth, WORK))
        inside = self._counts(config.levels - outer, config.max_terms // config.p)
        values: dict = {}
        strides: dict[str, list[int]] = {}
        for name in ("tile", "src", "dst", "drive", "gate"):
            values[f"{name}_x"], index = self._index(loops)
            there = depth if name == "dst" else self.depths[name]
            moved = [*counts, *inside] if name in ("tile", "src") else counts
            values[name], strides[name] = self._walk(moved, there, index)
        strides = {
            name: [*s, *[0] * len(inside)][: outer + len(inside)] for name, s in strides.items()
        }
        levels = tuple(
            MacLevel(count=n, flip=rng.random() < 0.2, **{k: s[i] for k, s in strides.items()})
            for i, n in enumerate([*counts, *inside])
        )
        from_drive = rng.random() < 0.4
        if not from_drive:
            values["drive_x"] = 0
        if not to_drive:
            values["old"] = values["dst"] + rng.randint(-3, 3)
            values |= self._lane_fields()
        return Mac(
            outer=levels[:outer], inner=levels[outer:], transposed=rng.random() < 0.5,
            from_drive=from_drive, to_drive=to_drive, sign=rng.choice(config.signs),
            tail=rng.randint(0, config.p), tail_level=rng.randint(0, max(0, outer - 1)), **values,
        )  # fmt: skip

    def _lane_fields(self) -> dict:
        rng, config = self.rng, self.config
        n = config.state_bits
        shift = rng.randrange(config.acc_bits)
        one = rng.randint(0, n - 2)
        judge = rng.choice(list(Judge))
        return {
            "shift": shift, "one": one, "judge": judge,
            "up": rng.choice([0, 0, min(shift, n - 1), rng.randint(0, min(shift, n - 1))]),
            "activation": rng.choice(config.activations), "gating": rng.choice(list(Gating)),
            "step": rng.choice([0, 0, 15, rng.randint(0, 15)]), "fresh": bool(judge),
            "tol": rng.choice([0, (1 << n - 1) - 1, 1 << rng.randrange(n - 1)]),
        }  # fmt: skip

    def lanes(self) -> Iterator[list[Instruction]]:
        """Every shift, with drives about as wide; every other field of a lane as it comes."""
        config = self.config
        part: list[Instruction] = []
        for shift in range(config.acc_bits):
            for width in (shift, shift + 3, shift + config.state_bits - 2):
                drive = min(config.drive_depth - 1, width % (config.acc_bits - 3))
                part += [self.try_to(partial(self._lane, shift, drive)), *FLAG]
            if len(part) > 24:
                yield part
                part = []
        yield part

    def _lane(self, shift: int, drive: int, loops: Sequence[Loop]) -> Mac:
        """Three groups of S from one of D, rounded by ``shift``."""
        places = {name: self.rng.randrange(self.config.state_depth - 3) for name in PLANES}
        up = min(shift, self.rng.randrange(self.config.state_bits))
        level = MacLevel(count=3, src=1, dst=1, gate=1)
        fields = places | self._lane_fields() | {"shift": shift, "up": up}
        return replace(Mac(outer=(level,), from_drive=True, drive=drive), **fields)

    def learn(self, loops: Sequence[Loop] = ()) -> Learn:
        rng, config = self.rng, self.config
        outer = rng.randint(0, config.levels)
        counts = self._counts(outer, min(config.weight_depth, WORK))
        inside = self._counts(config.levels - outer, config.learn_terms)
        values: dict = {}
        strides: dict[str, list[int]] = {}
        integral = "integral" in config.learn_flags and rng.random() < 0.2
        for name in ("tile", "row", "col"):
            values[f"{name}_x"], index = self._index(loops)
            moved = counts if name == "tile" else [*counts, *inside]
            values[name], strides[name] = self._walk(moved, self.depths[name], index)
        strides["tile"] += [0] * len(inside)
        levels = tuple(
            LearnLevel(count=n, flip=rng.random() < 0.2, **{k: s[i] for k, s in strides.items()})
            for i, n in enumerate([*counts, *inside])
        )
        flags = {f: True for f in config.learn_flags if f != "integral" and rng.random() < 0.25}
        if integral:
            flags = {f: True for f in flags if f not in ("stochastic", "replace", "decay")}
            values["threshold"] = rng.getrandbits(config.weight_bits)
        else:
            values["position"] = rng.randint(0, 1)
        return Learn(
            outer=levels[:outer], inner=levels[outer:], sign=rng.choice(config.signs),
            integral=integral, **flags, **values,
        )  # fmt: skip

    def wait(self, loops: Sequence[Loop] = ()) -> Wait:
        rng, config = self.rng, self.config
        pack = rng.choice(list(Pack))
        signed = rng.random() < 0.5
        every = config.state_depth * config.p
        room = config.state_bits - 1 - (pack.bits - signed)
        select, index = self._index(loops)
        size = rng.choice([1, every, every - 1, rng.randint(1, every)])
        base, _ = self._walk([-(-size // config.p)], config.state_depth, index)
        shift = 0 if pack is Pack.WORD else rng.choice([0, room, rng.randint(0, room)])
        return Wait(
            dst=base, dst_x=select, count=size, pack=pack, signed=signed, shift=shift,
            tick=rng.random() < 0.5,
        )  # fmt: skip

    def emit(self, loops: Sequence[Loop] = ()) -> Emit:
        rng, config = self.rng, self.config
        kind = rng.choice([EmitKind.PLANE, EmitKind.DRIVE, EmitKind.ARGMAX])
        depth = config.drive_depth if kind is EmitKind.DRIVE else config.state_depth
        every = depth * config.p
        select, _ = self._index(loops)
        return Emit(
            kind=kind, base=rng.randrange(depth), base_x=select,
            count=rng.choice([1, every, every - 1, rng.randint(1, every)]),
        )  # fmt: skip

    def thresholds(self) -> tuple[Memory, list[Instruction]]:
        """LEARN in integral mode with differences at and beside its threshold, in every cell; none
        if there is no such mode. What S has to hold comes first."""
        config, rng = self.config, self.rng
        p, (shift, other) = config.p, config.learn_shifts
        if "integral" not in config.learn_flags:
            return {}, []
        threshold = rng.randint(1 << (other - shift), (1 << config.weight_bits - 1) - 2)
        most = (1 << config.weight_bits - 1) - 1
        beside = [threshold, -threshold, threshold + 1, -threshold - 1, threshold - 1]
        beside += [sign * rng.randint(threshold + 1, most) for sign in (1, -1, 1)]
        zero, one, rows = 0, 1, 2  # groups
        states = [0] * p + [1 << shift] * p
        program: list[Instruction] = []
        for turn in range(len(beside)):
            states += [beside[(lane + turn) % len(beside)] for lane in range(p)]
            weight = 2 * turn  # with its memory behind it
            program += [
                Learn(tile=weight, row=zero, col=one, replace=True),
                Learn(tile=weight + 1, row=zero, col=one, replace=True),
                Learn(tile=weight, row=rows + turn, col=one, integral=True, threshold=threshold),
                Mac(tile=weight, src=one, dst=turn, to_drive=True),
            ]
        return {Space.STATE: (0, states)}, program

    def bounds(self) -> tuple[Memory, list[Instruction]]:
        """Lanes with words at and beside what gates, activations and judges compare with, each word
        in every lane. What S and D have to hold comes first."""
        config, rng = self.config, self.rng
        p, n = config.p, config.state_bits
        one = rng.randint(0, n - 2)
        beside = [s * (1 << one) + d for s, d in ((1, 0), (1, 1), (1, -1), (-1, 0), (-1, -1))]
        beside += [1 - (1 << one), 0, -1]
        turns = [[beside[(lane + t) % 8] for lane in range(p)] for t in range(8)]
        tol = rng.randint(0, (1 << n - 2) - 2)
        inside = [rng.choice([tol, -tol]) for _ in range(p)]
        away = [inside] + [
            [s * (tol + 1) if lane == j else inside[lane] for lane in range(p)]
            for j in range(p)
            for s in (1, -1)
        ]
        words = [rng.randint(1, (1 << n - 2) - 1) for _ in range(p)]
        drives = [words, *turns, *away]
        states = [*turns, *[[0] * p] * 40]
        judged = len(states)
        states += [[w - d for w, d in zip(words, each, strict=True)] for each in away]
        sums = {"from_drive": True, "src": len(states)}  # a drive, and nothing else
        states.append([0] * p)
        program: list[Instruction] = []
        level = MacLevel(count=8, gate=1, dst=1)
        for i, gating in enumerate(list(Gating)[1:]):
            program.append(Mac(outer=(level,), gating=gating, one=one, dst=8 + 8 * i, **sums))
        level = MacLevel(count=8, drive=1, dst=1)
        for i, activation in enumerate((Activation.CLIP01, Activation.CLIP11)):
            if activation in config.activations:
                lane = {"activation": activation, "one": one, "dst": 32 + 8 * i, **sums}
                program.append(Mac(outer=(level,), drive=1, **lane))
        for i in range(len(away)):
            lane = {"fresh": True, "tol": tol, "dst": judged + i, **sums}
            program += [Mac(judge=Judge.CHANGE, **lane), *FLAG]
            program += [Mac(judge=Judge.VALUE, drive=len(drives) - len(away) + i, **lane), *FLAG]
        flat = [w for group in drives for w in group], [w for group in states for w in group]
        return {Space.DRIVE: (0, flat[0]), Space.STATE: (0, flat[1])}, program

    def bits(self) -> tuple[Memory, list[Instruction]]:
        """Gates with words that one bit makes large, each bit in every lane. What S and D have to
        hold comes first."""
        config, rng = self.config, self.rng
        p, n = config.p, config.state_bits
        words = [w for k in range(n - 1) for w in (1 << k, -1 - (1 << k))]
        size = len(words)
        level = MacLevel(count=size, gate=1, dst=1)
        lane = {"from_drive": True, "one": rng.randint(0, 3), "dst": size}
        program: list[Instruction] = []
        for gating in list(Gating)[1:]:
            program += [
                Mac(outer=(level,), gating=gating, **lane),
                Emit(base=size, count=size * p),
            ]
        states = [words[(g + lane) % size] for g in range(size) for lane in range(p)]
        drives = [rng.randint(1, (1 << n - 2) - 1) for _ in range(p)]
        return {Space.DRIVE: (0, drives), Space.STATE: (0, states)}, program

    def wide(self) -> Iterator[tuple[Memory, list[Instruction]]]:
        """Drives with one bit that is not as the sign, but for the lowest: rounded by every shift,
        and clipped where that bit alone is beyond. Each bit in every lane, both signs. What S and D
        have to hold comes before each program."""
        config = self.config
        p, last = config.p, config.state_depth - 1
        for low in range(0, config.acc_bits - 1, 8):
            bits = range(low, min(low + 8, config.acc_bits - 1))
            large = [(1 << k) | 1 for k in bits]
            words = [w for each in large for w in (each, ~each)]
            level = MacLevel(count=len(words), drive=1, dst=1)
            sums = Mac(outer=(level,), from_drive=True, src=last)  # a drive, and nothing else
            macs = [replace(sums, shift=shift) for shift in range(config.acc_bits)]
            for activation in (Activation.CLIP01, Activation.CLIP11):
                macs += [
                    replace(sums, activation=activation, one=one)
                    for one in bits
                    if one <= config.state_bits - 2
                ]
            shown = Emit(count=len(words) * p)
            drives = [word for word in words for _ in range(p)]
            memory: Memory = {Space.DRIVE: (0, drives), Space.STATE: (last * p, [0] * p)}
            yield memory, [i for mac in macs for i in (mac, shown)]

    def dithers(self) -> tuple[Memory, list[Instruction]]:
        """Stochastic LEARNs of sums that one dither in 2**dither_bits just does not carry over."""
        config, rng = self.config, self.rng
        p, bits = config.p, config.dither_bits
        depth = min(config.weight_depth, config.max_terms // p)
        if not bits:
            return {}, []
        ones, rows = 0, 1  # groups
        states, program = [1] * p, []
        level = LearnLevel(count=depth, tile=1)
        shown = Mac(inner=(MacLevel(count=depth, tile=1),), src=ones, to_drive=True)
        for turn in range(16):
            q = config.learn_shifts[turn % 2]
            unit = 1 << q - bits  # from one dither to the next; the least is half of it
            most = min(1 << bits, max(1, (1 << config.state_bits - 1) // unit))
            states += [rng.randrange(most) * unit + unit // 2 - 1 for _ in range(p)]
            learn = Learn(outer=(level,), row=rows + turn, col=ones, position=turn % 2)
            program += [
                replace(learn, stochastic=True, replace=True),
                replace(shown, dst=turn),
            ]
        return {Space.STATE: (0, states)}, program

    def flags(self) -> tuple[Memory, list[Instruction]]:
        """Each flag of LEARN alone, on every tile. What S has to hold comes first."""
        config, rng = self.config, self.rng
        depth = min(config.weight_depth, config.state_depth)
        level = LearnLevel(count=depth, tile=1, row=1, col=-1)
        other = LearnLevel(count=depth, tile=1, row=-1, col=-1)
        pairs = LearnLevel(count=depth // 2, tile=2, row=-1, col=-1)  # of weight and memory
        program: list[Instruction] = []
        shown = self.shown()[0]
        assert isinstance(shown, Mac)
        for number, flag in enumerate(config.learn_flags):
            fields: dict = {flag: True}
            outer = (pairs if flag == "integral" else other,)
            program += [
                Learn(outer=(level,), col=depth - 1, replace=True),
                Learn(outer=outer, row=depth - 1, col=depth - 1, **fields),
                replace(shown, dst=number * shown.outer[0].count),
            ]
        size = config.state_depth * config.p
        states = [random_word(rng, config.state_bits) for _ in range(size)]  # many sums saturate
        return {Space.STATE: (0, states)}, program

    def trips(self) -> tuple[Memory, list[Instruction]]:
        """Sums of as many terms as there may be, the trips all of one level, each level in turn.
        What S has to hold comes first."""
        config, rng = self.config, self.rng
        most = min(config.max_terms // config.p, 4096)
        program: list[Instruction] = []
        for number in range(1, config.levels + 1):
            for at in range(number):
                counts = [1] * number
                counts[at] = rng.randint(most - most // 4, most)
                program.append(
                    Mac(
                        inner=tuple(MacLevel(count=count) for count in counts),
                        tile=rng.randrange(config.weight_depth),
                        dst=len(program) % config.drive_depth,
                        to_drive=True,
                    )
                )
        states = [random_word(rng, config.state_bits) for _ in range(config.p)]
        return {Space.STATE: (0, states)}, program

    def beside(self, each: int = 1) -> list[tuple[Memory, list[Instruction]]]:
        """Programs at the limits of comparisons and roundings, of each flag, and of trips; what S
        and D have to hold before each."""
        makers = (
            self.thresholds, self.bounds, self.bits, self.dithers, self.flags, self.trips,
        )  # fmt: skip
        return [*(make() for make in makers for _ in range(each)), *self.wide()]

    # Programs -----------------------------------------------------------------------------

    def fill(self) -> list[Instruction]:
        """Every tile anew, from products of S."""
        rows = 1 << (self.config.weight_depth.bit_length() // 2)
        cols = self.config.weight_depth // rows
        outer = (LearnLevel(count=rows, tile=cols, row=1), LearnLevel(count=cols, tile=1, col=1))
        return [Learn(outer=outer, col=rows, replace=True)]

    def shown(self) -> list[Instruction]:
        """Every tile, as a sum with words of S, in D."""
        config = self.config
        terms = min(config.max_terms // config.p, config.weight_depth, config.state_depth)
        groups = -(-config.weight_depth // terms)
        inner = (MacLevel(count=terms, tile=1, src=1),)
        outer = (MacLevel(count=groups, tile=terms, dst=1),)
        return [Mac(outer=outer, inner=inner, to_drive=True)]

    def full_scale(self) -> list[Instruction]:
        """The largest sums: cells' accumulators and drives at their ends."""
        config = self.config
        terms = (LearnLevel(count=config.learn_terms),)
        words: list[Instruction] = [
            Wait(dst=0, count=2 * config.p, pack=Pack.WORD)  # the lowest word, by the samples
        ]
        for tile in range(4):
            learn = Learn(inner=terms, tile=tile, row=0, col=1, position=tile % 2, replace=True)
            words.append(replace(learn, sign=config.signs[tile // 2]))
        inner = (MacLevel(count=config.max_terms // config.p),)
        for tile in range(4):
            words.append(Mac(inner=inner, tile=tile, to_drive=True, dst=tile))
        return words

    def loops(self) -> Iterator[list[Instruction]]:
        """Trips of thousands, and every bit of a count."""
        state = self.config.state_depth
        yield [Loop(count=65536, sweep=True), Next()]
        yield [Loop(count=43690, sweep=True), Next(), Loop(count=21845, sweep=True), Next()]
        tiles = min(self.config.weight_depth, 3000)
        body = Mac(tile_x=1, src=state - 1, dst=state // 2, shift=9)
        yield [Loop(count=tiles, step=1, sweep=True), body, Next()]
        yield [Loop(count=tiles, step=-1), Mac(tile=tiles - 1, tile_x=1, to_drive=True), Next()]
        deep = self.config.loop_depth
        for trips in (0x2AAB, 0x1556):
            inside = [Loop(count=1)] * (deep - 1)
            yield [Loop(count=trips, sweep=True), *inside, *[Next()] * deep]
        body = Emit(base_x=1, count=1)
        yield [Loop(count=state, step=1), body, Next()]
        # Short records, of which the line lets none be whole for long.
        yield [Loop(count=1500), Emit(kind=EmitKind.ARGMAX, count=2), Next()]

    def indexed(self) -> list[Instruction]:
        """Loops with steps as large as they can be; one instruction of each kind inside."""
        rng, config = self.rng, self.config
        depth = rng.randint(1, config.loop_depth)
        for _ in range(TRIES):
            trips = [rng.choice([1, 2, 2, 3]) for _ in range(depth)]
            most = [config.state_depth // max(1, n - 1) // 2 for n in trips]
            loops = [
                Loop(count=n, step=rng.choice([1, m, -m, rng.randint(-m, m)]))
                for n, m in zip(trips, most, strict=True)
            ]
            kinds = rng.sample([self.mac, self.learn, self.wait, self.emit], 4)
            try:
                body = [self.try_to(make, loops) for make in kinds]
                program = [*loops, *body, *[Next()] * depth]
                check(config, [*program, Halt()])
            except (ProgramError, AssertionError):
                continue
            return program
        raise AssertionError("no loops")

    def programs(self) -> Iterator[tuple[str, list[Instruction]]]:
        """Name and instructions, HALT left out; each goes on with what the one before left."""
        yield "fill", self.fill()
        yield "full scale", self.full_scale()
        yield "fill", self.fill()
        for part in self.loops():
            yield "loops", part
        for part in self.lanes():
            yield "lanes", part
        for i in count():
            for _ in range(2):
                yield f"nests {i}", [self.try_to(self.mac), *FLAG, self.try_to(self.learn)]
            yield f"link {i}", [self.try_to(self.wait), self.try_to(self.emit)]
            yield f"indices {i}", self.indexed()
            if i % 4 == 3:
                yield f"weights {i}", self.shown()


def range_cases(config: ArrayConfig, rng: Random, programs: int) -> Iterator[tuple[str, Case]]:
    """So many cases with what they are about, each of which goes on from the one before; then
    those beside a bound."""
    ranges = Ranges(config, rng)
    memory = ranges.memory()
    for what, instructions in islice(ranges.programs(), programs):
        taken = rng.randbytes(bytes_taken(config, instructions))
        if what == "full scale":
            taken = (1 << config.state_bits - 1).to_bytes(2, "little") * (2 * config.p)
        program = Program(config, (*instructions, Halt()))
        samples = [taken] if taken else []
        yield (
            what,
            Case(program=program, samples=samples, counting=rng.random() < 0.8, memory=memory),
        )
        memory = {}
    for written, instructions in ranges.beside():
        program = Program(config, (*instructions, Halt()))
        yield "beside a bound", Case(program=program, samples=[], memory=written)
