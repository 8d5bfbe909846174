"""Constrained-random programs: valid, over every feature a configuration has, on lively data.

``random_program(config, rng)`` makes one; `coverage.all_bins` lists what a campaign must have met.
A program reads and writes only memory that it is given, so programs can follow one another
on one board. Weights, which no space of the memory map shows, are set by its first instructions
and come back in its last EMITs, as products with a plane that leaves no weight out.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from random import Random
from typing import NamedTuple

from relaxon_isa.check import check
from relaxon_isa.config import ArrayConfig
from relaxon_isa.cycles import wait_bytes
from relaxon_isa.encoding import rows_of
from relaxon_isa.errors import ProgramError
from relaxon_isa.instructions import (
    INDEX_SELECTS,
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
    Sign,
    Skip,
    Wait,
)
from relaxon_isa.memory import Register, Space, registers
from relaxon_isa.program import Program

from .coverage import bins_of
from .naive import Naive
from .observe import Case, Memory

__all__ = ["RandomProgram", "random_program", "random_word"]

WORK = 1600
"""Products of one nest at most (or of one tile)."""
TRIES = 40
"""Candidates for an instruction before its place is left empty."""
LOOP_TRIPS = 8
"""Trips of all open loops together at most."""
FILLS = ((4, 5, 3), (4, 5, 2), (3, 4, 2), (2, 3, 1), (1, 2, 1))
"""Rows and columns of tiles, and terms, that weights may be filled with; the first that fits."""


@dataclass(frozen=True, kw_only=True)
class RandomProgram(Case):
    """A case, and what it covers.

    Members
    -------
    bins
        Coverage bins hit (see `coverage`).
    results
        How many results of lanes and cells were "zero", "saturated" (or clipped) or "other".
    """

    bins: set[str]
    results: dict[str, int]


class Zone(NamedTuple):
    """Addresses that a program may use."""

    start: int
    size: int

    @classmethod
    def within(cls, rng: Random, depth: int, size: int) -> "Zone":
        size = min(size, depth)
        return cls(rng.choice([0, depth - size, rng.randint(0, depth - size)]), size)

    def place(self, rng: Random, counts: list[int], strides: list[int], index: range) -> int:
        """A base from which the nest stays inside. Raises ProgramError if there is none."""
        spans = [(c - 1) * s for c, s in zip(counts, strides, strict=True)]
        low = sum(min(0, s) for s in spans) + min(index[0], index[-1])
        high = sum(max(0, s) for s in spans) + max(index[0], index[-1])
        if high - low >= self.size:
            raise ProgramError("the nest does not fit the zone")
        return self.start - low + rng.randint(0, self.size - 1 - (high - low))


def random_program(config: ArrayConfig, rng: Random) -> RandomProgram:
    """A valid program with its data; equal states of ``rng`` give equal programs."""
    return _Generator(config, rng).make()


def random_word(rng: Random, bits: int) -> int:
    """A signed word, now and then a corner of its format."""
    high = (1 << (bits - 1)) - 1
    if rng.random() < 0.06:
        one = 1 << rng.randrange(bits - 1)
        return rng.choice([0, 1, -1, high, -high - 1, high - 1, -high, one, one, -one])
    return rng.randint(-high - 1, high)


class _Generator:
    """Adds instructions one by one, each run at once on a naive machine to see what it gives."""

    def __init__(self, config: ArrayConfig, rng: Random) -> None:
        self.config, self.rng = config, rng
        groups = min(config.state_depth, 48)
        self.fill = next(
            (i, j, k)
            for i, j, k in FILLS
            if i * j <= config.weight_depth
            and (i + j) * k < groups
            and k <= config.learn_terms
            and i * 6 < config.program_rows / 2
        )
        self.tiles = Zone.within(rng, config.weight_depth, self.fill[0] * self.fill[1])
        zone = Zone.within(rng, config.state_depth, groups)
        self.states = Zone(zone.start, zone.size - 1)
        self.key_group = zone.start + zone.size - 1  # its words meet all weights at the end
        self.drives = Zone.within(rng, config.drive_depth, 24)
        self.format: Wait | None = None  # of samples that are taken ahead
        if config.sample_buffer and self.chance(0.6):
            self.format = self._ahead()
        self.instructions: list[Instruction] = []
        self.loops: list[Loop] = []
        self.memory = self._memory()
        self.naive = Naive(config)
        self.naive.write(self.memory)
        if self.format:
            data = bytes(self._octet() for _ in range(wait_bytes(config, self.format)))
            self.naive.take_sample(replace(self.format, outputs=0), data)

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def _octet(self) -> int:
        rng = self.rng
        if self.format:  # lists of zeros are short
            return rng.choice([0, 0, 0, 1, 128, *rng.randbytes(3)])
        return rng.choice([0, 255, *rng.randbytes(4)])

    def _memory(self) -> Memory:
        config, rng, p = self.config, self.rng, self.config.p
        rows, cols, terms = self.fill
        # Weights are filled with sums of row words times column words, which should fit.
        column_bits = config.weight_bits + config.learn_shifts[0] - config.state_bits
        column_bits = max(2, min(column_bits, config.state_bits))
        state: list[int] = []
        for group in range(self.states.size):
            bits = rng.choice([config.state_bits] * 3 + [config.state_bits - 2, 8, 4])
            if group < rows * terms:
                bits = config.state_bits
            elif group < (rows + cols) * terms:
                bits = column_bits
            # Zeros, and words right at an activation's bounds, are more frequent than by chance.
            idle, bound = rng.choice([0, 0, 0.3]), rng.choice([0, 0, 0.4])
            one = 1 << rng.randrange(bits - 1)
            for _ in range(p):
                word = rng.choice([one, -one]) if self.chance(bound) else random_word(rng, bits)
                state.append(0 if self.chance(idle) else word)
        state += [random_word(rng, config.state_bits) | 1 for _ in range(p)]
        # Drives leave the program's terms their room: what they hold is the host's to bound.
        bits = config.acc_bits - 2
        drive = [
            random_word(rng, rng.choice([bits, bits - 4])) for _ in range(self.drives.size * p)
        ]
        kept = registers(config)
        values = [rng.choice([0, 0, (1 << 32) - rng.randint(1, 60)]) for _ in kept]
        for key in (Register.UPDATE_KEY, Register.SAMPLE_KEY):
            values[key] = rng.randint(1, (1 << 32) - 1)
        memory: Memory = {
            Space.STATE: (self.states.start * p, state),
            Space.DRIVE: (self.drives.start * p, drive),
            Space.REGISTER: (0, values),
        }
        if config.table_bits:
            table = [random_word(rng, config.state_bits) for _ in range(1 << config.table_bits)]
            memory[Space.TABLE] = (0, table)
        return memory

    # The program ----------------------------------------------------------------------------

    def make(self) -> RandomProgram:
        rng = self.rng
        rows, cols, terms = self.fill
        for i in range(rows):
            fill = Learn(
                outer=(LearnLevel(count=cols, tile=1, col=1),),
                inner=(LearnLevel(count=terms, row=1, col=cols),),
                tile=self.tiles.start + i * cols,
                row=self.states.start + i * terms,
                col=self.states.start + rows * terms,
                replace=True,
            )
            self._append(fill)
        if self.format:
            self.instructions.append(self._wait())
        self._block(rng.randint(5, 10))
        # The flag comes back as a sweep.
        self.instructions += [Loop(count=1, sweep=True, skip=Skip.UNLESS_FLAG), Next()]
        at, end = self.tiles.start, self.tiles.start + self.tiles.size
        while at < end:
            count = min(self.drives.size, end - at)
            show = Mac(
                outer=(MacLevel(count=count, tile=1, dst=1),),
                tile=at,
                src=self.key_group,
                dst=self.drives.start,
                to_drive=True,
            )
            give = Emit(kind=EmitKind.DRIVE, base=self.drives.start, count=count * self.config.p)
            self.instructions += [show, give]
            at += count
        self.instructions.append(Halt())
        program = Program(self.config, tuple(self.instructions))

        naive = Naive(self.config)
        naive.write(self.memory)
        stream = bytearray()

        def take(size: int) -> bytes:
            data = bytes(self._octet() for _ in range(size))
            if self.format and self.format.outputs:
                data = data[:-1] + bytes([rng.randrange(self.format.outputs + 1)])
            stream.extend(data)
            return data

        for _ in naive.run(program.instructions, take):
            pass
        samples, at = [], 0
        while at < len(stream):
            size = rng.choice([1, 7, 60, len(stream)])
            samples.append(bytes(stream[at : at + size]))
            at += size
        bins = bins_of(program.instructions) | naive.events
        counting = not self.chance(0.1)
        return RandomProgram(
            program=program,
            samples=samples,
            counting=counting,
            memory=self.memory,
            bins=bins,
            results=naive.results,
        )

    def _append(self, instruction: Instruction) -> None:
        self.instructions.append(instruction)
        self.naive.run_one(instruction)

    def _valid(self, instruction: Instruction) -> None:
        """Raises ProgramError unless the program so far can go on with this."""
        closed = [Next()] * len(self.loops)
        rest = [*self.instructions, instruction, *closed, Halt()]
        tail = 5 * -(-self.tiles.size // self.drives.size) + 3
        if sum(map(rows_of, rest)) + tail > self.config.program_rows:
            raise ProgramError("no room")
        check(self.config, rest)

    def _block(self, size: int) -> None:
        rng = self.rng
        for _ in range(size):
            kind = rng.choices(["mac", "learn", "loop", "wait", "emit"], [10, 5, 4, 2, 2])[0]
            if kind == "loop":
                self._loop()
            else:
                self._try(getattr(self, f"_{kind}"))

    def _try(self, make: Callable[[], Instruction]) -> None:
        for _ in range(TRIES):
            try:
                instruction = make()
                self._valid(instruction)
            except ProgramError:
                continue
            naive = self.naive.copy()
            naive.X = [0] * (len(self.loops) + 1)
            naive.run_one(instruction)
            lively = naive.results["other"] * 2 >= sum(naive.results.values())
            if lively or self.chance(0.05):
                self.instructions.append(instruction)
                self.naive = naive
                return

    def _loop(self) -> None:
        rng = self.rng
        trips = prod(loop.count for loop in self.loops)
        counts = [n for n in (1, 2, 2, 3, 4) if n * trips <= LOOP_TRIPS]
        loop = Loop(
            count=rng.choice(counts),
            sweep=self.chance(0.5),
            skip=rng.choice([Skip.NEVER, Skip.NEVER, *Skip]),
            step=rng.choice([0, 1, 1, 2, 3, -1, -2]),
        )
        try:
            self._valid(loop)  # depth
        except ProgramError as error:
            if "no NEXT" not in str(error):
                return
        at = len(self.instructions)
        self.instructions.append(loop)
        self.loops.append(loop)
        self._block(rng.randint(1, 3))
        if self.chance(0.5) and len(self.loops) < self.config.loop_depth:
            self._loop()
        self.instructions.append(Next())
        self.loops.pop()
        judged = any(isinstance(i, Mac) and i.judge for i in self.instructions[at:])
        if judged and self.chance(0.6):
            self.instructions[at] = replace(loop, until=True)

    # Nests ----------------------------------------------------------------------------------

    def _select(self) -> tuple[int, range]:
        """A loop index to add to a base, and its values."""
        deepest = min(len(self.loops), INDEX_SELECTS - 1)
        select = self.rng.randint(1, deepest) if deepest and self.chance(0.4) else 0
        if not select:
            return 0, range(1)
        loop = self.loops[select - 1]
        return select, range(0, loop.count * loop.step, loop.step) if loop.step else range(1)

    def _counts(self, work: int, inner_limit: int) -> tuple[list[int], int]:
        """Trips of the levels, outermost first, and how many levels are outer."""
        rng = self.rng
        counts = [
            rng.choice([1, 2, 2, 3, 3, 4, 5]) for _ in range(rng.randint(0, self.config.levels))
        ]
        outer = rng.randint(0, len(counts))
        if self.chance(0.1):  # every level the machine has, on one side: by chance too rare
            counts = [rng.choice([1, 1, 2, 2, 3]) for _ in range(self.config.levels)]
            outer = rng.choice([0, len(counts)])
        while prod(counts) > max(1, work):
            counts[rng.randrange(len(counts))] = 1
        while prod(counts[outer:]) > inner_limit:
            counts[rng.randrange(outer, len(counts))] = 1
        return counts, outer

    def _radix(self, counts: list[int], unit: int = 1) -> list[int]:
        """Strides that meet no address twice."""
        strides = [0] * len(counts)
        for i in self.rng.sample(range(len(counts)), len(counts)):
            strides[i] = unit * self.rng.choice([1, 1, 1, -1])
            unit *= counts[i]
        return strides

    def _loose(self, counts: list[int]) -> list[int]:
        return [self.rng.choice([0, 1, 1, -1, 2, 3, counts[i - 1]]) for i in range(len(counts))]

    def _strides(self, counts: list[int], still: set[int]) -> list[int]:
        """Strides, 0 in the levels that stand still; mostly without meeting a place twice."""
        strides = self._radix(counts) if self.chance(0.7) else self._loose(counts)
        if self.chance(0.7):
            moving = [i for i in range(len(counts)) if i not in still]
            some = self._radix([counts[i] for i in moving])
            strides = [0] * len(counts)
            for i, stride in zip(moving, some, strict=True):
                strides[i] = stride
        return [0 if i in still else stride for i, stride in enumerate(strides)]

    def _flips(self, levels: int) -> list[bool]:
        flips = self.chance(0.35)
        return [flips and self.chance(0.5) for _ in range(levels)]

    def _sign(self) -> Sign:
        return self.rng.choice(self.config.signs)

    def _walks(self, levels: tuple) -> bool:
        """Whether the next nest is to walk; with these outer levels, that is possible."""
        return bool(self.format) and len(levels) < self.config.levels and self.chance(0.5)

    def _walk(self, mac: Mac) -> Mac:
        """The same nest over the sample's lists."""
        assert self.format
        groups = -(-self.format.values // self.config.p)
        outer = tuple(replace(level, src=0) for level in mac.outer)
        strides, counts = [level.tile for level in outer], [level.count for level in outer]
        base = self.tiles.place(self.rng, [*counts, groups], [*strides, 1], range(1))
        inner = (MacLevel(count=groups, tile=1, src=1),)
        fields = {"outer": outer, "inner": inner, "tile": base, "tile_x": 0, "src": 0, "src_x": 0}
        return replace(mac, **fields, transposed=False, walk=True)

    def _mac(self) -> Mac:
        rng, config = self.rng, self.config
        p = config.p
        counts, outer = self._counts(WORK // (p * p), config.max_terms // p)
        every = range(len(counts))
        to_drive, from_drive = self.chance(0.25), self.chance(0.4)
        # Outer levels that keep their tiles, that keep their sources, or neither.
        roles = [rng.choice(["batch", "row", "row", "both"]) for _ in range(outer)]
        strides = {
            "tile": self._strides(counts, {i for i in every[:outer] if roles[i] == "batch"}),
            "src": self._strides(counts, {i for i in every[:outer] if roles[i] == "row"}),
        }
        inner = [0] * (len(counts) - outer)
        outer_counts = counts[:outer]
        unit = rng.choice([1, 1, 1, 2])
        strides["dst"] = self._radix(outer_counts, unit) + inner
        for name in ("drive", "gate"):
            strides[name] = (
                strides["dst"] if self.chance(0.6) else self._loose(outer_counts) + inner
            )
        zones = {
            "tile": self.tiles,
            "src": self.states,
            "dst": self.drives if to_drive else self.states,
            "drive": self.drives,
            "gate": self.states,
        }
        values: dict = {}
        for name, zone in zones.items():
            if name == "drive" and not from_drive:
                continue
            values[f"{name}_x"], index = self._select()
            values[name] = zone.place(rng, counts, strides[name], index)
            if name == "dst" and not to_drive and self.chance(0.5):
                values["old"] = zone.place(rng, counts, strides[name], index)
        if to_drive and from_drive and self.chance(0.5):
            values |= {"drive": values["dst"], "drive_x": values["dst_x"]}
            strides["drive"] = strides["dst"]
        levels = tuple(
            MacLevel(count=counts[i], flip=flip, **{n: s[i] for n, s in strides.items()})
            for i, flip in enumerate(self._flips(len(counts)))
        )
        if self.chance(0.4):
            values["tail"] = rng.randint(1, p)
            values["tail_level"] = rng.randint(0, max(0, outer - 1))
        mac = Mac(
            outer=levels[:outer],
            inner=levels[outer:],
            transposed=self.chance(0.5),
            from_drive=from_drive,
            to_drive=to_drive,
            sign=self._sign(),
            **values,
        )
        if self._walks(mac.outer):
            mac = self._walk(mac)
        return mac if to_drive else self._both(self._lanes(mac))

    def _both(self, mac: Mac) -> Mac:
        """With its sums written, too, now and then."""
        if "both" not in self.config.mac_flags or self.chance(0.6):
            return mac
        if mac.activation is Activation.RANDOM:
            return mac
        if mac.from_drive:
            return replace(mac, both=True)
        counts = [level.count for level in mac.outer]
        strides = self._radix(counts)
        outer = [replace(v, drive=s) for v, s in zip(mac.outer, strides, strict=True)]
        inner = [replace(v, drive=0) for v in mac.inner]
        select, index = self._select()
        base = self.drives.place(self.rng, counts, strides, index)
        return replace(
            mac, both=True, outer=tuple(outer), inner=tuple(inner), drive=base, drive_x=select
        )

    def _lanes(self, mac: Mac) -> Mac:
        """With an activation and the rest, scaled to what the accumulators hold."""
        rng, config = self.rng, self.config
        self._valid(mac)
        self.naive.X = [0] * (len(self.loops) + 1)
        size = max(abs(x).bit_length() for _, acc in self.naive.accumulators(mac) for x in acc)
        activation = rng.choice(config.activations)
        if mac.walk and activation is Activation.RANDOM:
            raise ProgramError("there are no sums to see")
        one, top = rng.randint(3, config.state_bits - 2), config.state_bits - 1
        target = {
            Activation.TABLE: config.table_bits - rng.choice([1, 1, 0]),
            Activation.CLIP01: one + rng.choice([0, 0, 0, 1, -1]),
            Activation.CLIP11: one + rng.choice([0, 0, 0, 1, -1]),
        }.get(activation, top + rng.choice([-3, -1, 0, 0, 0, 1]))
        up = rng.choice([0, 0, 1, 3, 6])
        shift = max(up, size - target + up)
        if shift > config.acc_bits - 1:
            raise ProgramError("shift")
        judge = rng.choice([Judge.NONE, *Judge])
        mac = replace(
            mac,
            shift=shift,
            up=min(up, shift),
            one=one,
            activation=activation,
            gating=rng.choice([Gating.NONE, Gating.NONE, Gating.NONE, *Gating]),
            step=rng.choice([0, 0, 0, 1, 2, 3, rng.randint(1, 15)]),
            judge=judge,
            fresh=bool(judge) and self.chance(0.5),
            tol=rng.choice([0, 1, 1 << (top - 2), (1 << top) - 1, rng.randrange(1 << top)]),
        )
        if mac.gating and self.chance(0.5):  # a gate's word right at the bound
            group = self.naive.S[mac.gate]
            ones = [abs(g).bit_length() - 1 for g in group if abs(g).bit_count() == 1]
            mac = replace(mac, one=rng.choice([i for i in ones if i < top] or [mac.one]))
        if judge and self.chance(0.5):  # what moved most is right at the tolerance, or beyond
            mac = replace(mac, tol=min((1 << top) - 1, self._edge(mac)))
        return mac

    def _edge(self, instruction: Instruction) -> int:
        """The largest distance that an instruction judges, or one less."""
        naive = self.naive.copy()
        naive.X = [0] * (len(self.loops) + 1)
        naive.run_one(instruction)
        return max(0, max(map(abs, naive.moved), default=0) - self.rng.randint(0, 1))

    def _learn(self) -> Learn:
        rng, config = self.rng, self.config
        p = config.p
        if self.format and self.chance(0.5):
            return self._learn_lists()
        integral = "integral" in config.learn_flags and self.chance(0.2)
        counts, outer = self._counts(WORK // (p * p), config.learn_terms)
        every = range(len(counts))
        roles = [rng.choice(["row", "col", "both", "none"]) for _ in range(outer)]
        inner = [0] * (len(counts) - outer)
        strides = {
            "tile": self._radix(counts[:outer], 2 if integral else 1) + inner,
            "row": self._strides(counts, {i for i in every[:outer] if roles[i] in ("col", "none")}),
            "col": self._strides(counts, {i for i in every[:outer] if roles[i] in ("row", "none")}),
        }
        tiles = Zone(self.tiles.start, self.tiles.size - integral)
        values: dict = {}
        for name, zone in (("tile", tiles), ("row", self.states), ("col", self.states)):
            values[f"{name}_x"], index = self._select()
            values[name] = zone.place(rng, counts, strides[name], index)
        levels = tuple(
            LearnLevel(count=counts[i], flip=flip, **{n: s[i] for n, s in strides.items()})
            for i, flip in enumerate(self._flips(len(counts)))
        )
        if integral:
            most = (1 << config.weight_bits) - 1
            values["threshold"] = rng.choice([0, 1, 40, most, rng.randint(0, most)])
        else:
            values["position"] = rng.choice([0, 1, 1])
        learn = Learn(
            outer=levels[:outer],
            inner=levels[outer:],
            sign=self._sign(),
            integral=integral,
            **values,
            **self._flags(integral),
        )
        if integral and self.chance(0.5):
            self._valid(learn)
            learn = replace(learn, threshold=min((1 << config.weight_bits) - 1, self._edge(learn)))
        return learn

    def _learn_lists(self) -> Learn:
        """A LEARN that walks."""
        assert self.format
        rng, p = self.rng, self.config.p
        groups = -(-self.format.values // p)
        counts, _ = self._counts(max(1, WORK // (p * p * groups)), 1)
        counts = counts[: self.config.levels - 1]
        tiles, rows = self._radix([*counts, groups]), self._loose(counts)
        if abs(tiles[-1]) != 1:
            tiles = [s * groups for s in self._radix(counts)]
        tiles = [*tiles[: len(counts)], 1]
        (tile_x, index), (row_x, row_index) = self._select(), self._select()
        levels = zip(counts, tiles, rows, self._flips(len(counts)), strict=False)
        outer = [LearnLevel(count=n, tile=t, row=r, flip=flip) for n, t, r, flip in levels]
        return Learn(
            outer=(*outer, LearnLevel(count=groups, tile=1, col=1)),
            tile=self.tiles.place(rng, [*counts, groups], tiles, index),
            tile_x=tile_x,
            row=self.states.place(rng, counts, rows, row_index),
            row_x=row_x,
            sign=self._sign(),
            position=rng.choice([0, 1]),
            diagonal=self.chance(0.15),
            hold=self.chance(0.3),
            walk=True,
        )

    def _flags(self, integral: bool) -> dict[str, bool]:
        """Flags but ``integral``, those that go together."""
        chances = {flag: 0.15 for flag in self.config.learn_flags if flag != "integral"}
        chances |= {"hold": 0.3} | {f: 0.45 for f in ("stochastic", "decay") if f in chances}
        flags = {flag: True for flag, chance in chances.items() if self.chance(chance)}
        refused = ("stochastic", "replace", "decay") if integral else ()
        if "replace" in flags:
            refused += ("decay",)
        return {flag: True for flag in flags if flag not in refused}

    # The link -------------------------------------------------------------------------------

    def _ahead(self) -> Wait:
        """The format of samples that are taken ahead."""
        rng, config = self.rng, self.config
        pack, signed = rng.choice([Pack.B1, Pack.B2, Pack.B4, Pack.B8]), self.chance(0.4)
        bias = self.chance(0.5)
        most = min(4, config.sample_buffer // 2, self.tiles.size) * config.p - bias
        return Wait(
            count=rng.randint(1, most),
            pack=pack,
            signed=signed,
            shift=rng.randint(0, config.state_bits - 1 - (pack.bits - signed) - bias),
            ahead=True,
            bias=bias,
            dense=self.chance(0.2),
            outputs=rng.choice([0, *[rng.randint(1, min(255, 3 * config.p))] * 3]),
        )

    def _wait(self) -> Wait:
        rng, config = self.rng, self.config
        if self.format:
            select, index = self._select()
            size = -(-self.format.outputs // config.p)
            return replace(
                self.format,
                dst=self.states.place(rng, [max(1, size)], [1], index),
                dst_x=select,
                low=random_word(rng, config.state_bits),
                high=random_word(rng, config.state_bits),
                tick=self.chance(0.5),
            )
        pack = rng.choice(list(Pack))
        signed = self.chance(0.5)
        bits = config.state_bits if pack is Pack.WORD else (pack.bits or 0) - signed
        count = rng.randint(1, min(4 * config.p, self.states.size * config.p))
        select, index = self._select()
        return Wait(
            dst=self.states.place(rng, [-(-count // config.p)], [1], index),
            dst_x=select,
            count=count,
            pack=pack,
            signed=signed,
            shift=0 if pack is Pack.WORD else rng.randint(0, config.state_bits - 1 - bits),
            tick=self.chance(0.5),
        )

    def _emit(self) -> Emit:
        rng, p = self.rng, self.config.p
        kind = rng.choice(self.config.emit_kinds)
        if kind is EmitKind.COUNTERS:
            # Neither EMIT's own, nor stalls and link errors, which are no part of the contract.
            first = Register.WAIT_CYCLES if self.config.kind_counters else Register.SAMPLE_KEY
            low, high = rng.choice([(0, first), (Register.SWEEPS, Register.WEIGHT_SATURATIONS)])
            base = rng.randint(low, high)
            return Emit(kind=kind, base=base, count=rng.randint(1, high - base + 1))
        zone = self.drives if kind is EmitKind.DRIVE else self.states
        count = rng.randint(1, min(4 * p, zone.size * p))
        select, index = self._select()
        bases = [zone.place(rng, [-(-count // p)], [1], index) for _ in range(TRIES)]
        base = bases[0]
        if kind in (EmitKind.ARGMAX, EmitKind.ANSWER) and self.chance(
            0.5
        ):  # more than one greatest
            base = next((b for b in bases if self._ties(b, count)), base)
        return Emit(kind=kind, base=base, base_x=select, count=count)

    def _ties(self, base: int, count: int) -> bool:
        groups = range(base, base - (-count // self.config.p))
        words = [word for group in groups for word in self.naive.S[group]][:count]
        return words.count(max(words)) > 1
