"""The self-test: a machine's memories and arithmetic against the golden model, to the last bit.

It needs no circuit of its own: the machine and a golden model of its configuration are given the
same memories and run the same programs, and whatever comes back is compared. Patterns come from
fixed seeds. What it overwrites ends as it is after power-on.

============ ====================================================================================
part         what it shows
============ ====================================================================================
program ..   every bit of every word once as 0 and once as 1, neighbours unlike each other: stuck
registers    and shorted bits, addresses that are one
table        likewise, of every lane's copy, through MACs that look every entry up
weights      likewise, as LEARN fills them and MAC adds them up with a key each; where a sum is
             wrong its tiles are read cell by cell
mac          all lanes and columns, forward and transposed: extremes, activations, gates, steps,
             judgements right at their tolerance
learn        every mode at both rounding positions: ties, ends of the format, dither
sequencer    loops, indices and flag; WAIT in every packing; EMIT
lists        samples taken ahead in every packing, with and without zeros: every row of the
             buffer, MACs and LEARNs that walk, targets of labels, answers
============ ====================================================================================

Counters are compared, cycles included, after each of the last four parts.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from math import isqrt
from random import Random
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from relaxon_device.base import Device, SpaceLayout
from relaxon_isa import (
    KEYS,
    LEVEL_COUNT_BITS,
    Activation,
    ConfigError,
    DeviceError,
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
    Program,
    Register,
    Sign,
    Skip,
    Space,
    Wait,
    clog2,
    describe,
    rows_of,
    wait_bytes,
)
from relaxon_isa.capture import capture_window

from .backends import open_device
from .generator import Generator

__all__ = ["PARTS", "Difference", "Part", "SelfTest", "self_test"]

MAX_DIFFERENCES = 4
"""So many differences of a part are listed, the others counted."""
RUN_SECONDS = 5.0
"""A program of the test that says nothing for so long will not end."""
KEPT = tuple(r for r in Register if r < Register.LINK_ERRORS)
"""Registers that the test writes. The others tell of the line, and it goes on counting."""


@dataclass(frozen=True)
class Difference:
    """One value that is not the golden model's, and where."""

    where: str
    expected: int
    found: int

    def __str__(self) -> str:
        return f"{self.where}: expected {self.expected}, found {self.found}"


@dataclass
class Part:
    """The result of one part of the test.

    Members
    -------
    compared, wrong
        Values (words, sums, counters), and how many of them differ.
    first
        The first few `Difference`.
    stopped
        Why the part did not come to its end, if so; later parts were not begun then.
    """

    compared: int = 0
    wrong: int = 0
    first: list[Difference] = field(default_factory=list)
    stopped: str = ""

    @property
    def passed(self) -> bool:
        return not (self.wrong or self.stopped)


@dataclass
class SelfTest:
    """A finished self-test: those of `PARTS` that the machine has, as far as it came."""

    parts: dict[str, Part] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return all(part.passed for part in self.parts.values())

    def failures(self) -> Iterator[str]:
        """One line per failure, with the differences of each part."""
        for name, part in self.parts.items():
            if part.wrong:
                yield f"{name}: {part.wrong} of {part.compared} values are wrong"
            yield from (f"    {difference}" for difference in part.first)
            if part.stopped:
                yield f"{name}: {part.stopped}; parts after it did not run"


def self_test(device: Device, progress: Callable[[int], object] = lambda _: None) -> SelfTest:
    """Test a device, overwriting all of its memories, which end as after power-on: zero.

    Calls ``progress(1)`` after each entry of `PARTS`. If the device stops answering, the current
    part fails. Interrupted, it leaves its patterns in the memories. Raises ConfigError for a
    machine too small to be tested.
    """
    pair = _Pair(device)
    result = SelfTest()
    limit, device.run_limit = device.run_limit, RUN_SECONDS
    try:
        for name, test in PARTS.items():
            result.parts[name] = pair.part = Part()
            test(pair)
            if not pair.part.compared:  # this machine has no such thing
                del result.parts[name]
            progress(1)
    except DeviceError as error:
        pair.part.stopped = str(error)
    finally:
        device.run_limit = limit
    with suppress(DeviceError):  # it has been told if it stays away
        pair.clear()
    return result


Place = Callable[[int], str]
"""Where the value of an index is."""


class _Pair:
    """A device and its golden model, which do the same.

    State groups in the last three parts: an identity, behind it ``src``, the rest at the top, ``n``
    groups each.

    ======== =================================================================================
    src      full words; the first two groups hold the lowest and the highest everywhere
    gate     words at the bounds of a gate; with ``n`` = 8 every lane meets each of them
    old      words of half the bits
    dst      results
    ======== =================================================================================
    """

    def __init__(self, device: Device) -> None:
        self.device, self.golden = device, open_device("golden", device.config, engine="numpy")
        self.config = c = device.config
        self.p = c.p
        self.part = Part()
        self.n = min(8, c.weight_depth, c.drive_depth, (c.state_depth - c.p) // 4)
        if self.n < 2 or c.drive_depth < c.p or c.max_terms < 2 * c.p:
            raise ConfigError(
                f"the self-test needs state_depth >= p + 8, drive_depth >= p and max_terms >= 2 p; "
                f"this machine has {c.state_depth}, {c.drive_depth} and {c.max_terms}, p = {c.p}"
            )
        self.src = c.p
        self.gate, self.old, self.dst = (c.state_depth - i * self.n for i in (3, 2, 1))
        # The weights part: so many row planes, as many column planes, an identity.
        self.side = min(isqrt(c.weight_depth - 1) + 1, (c.state_depth - c.p) // 2)

    # What both do -------------------------------------------------------------------------

    def write(self, space: Space, start: int, values: ArrayLike) -> None:
        for machine in (self.golden, self.device):
            machine.write(space, start, values)

    def read(self, space: Space, start: int, count: int, place: Place) -> np.ndarray:
        """Compare elements; returns the indices of those that differ."""
        wanted, found = (m.read(space, start, count) for m in (self.golden, self.device))
        return self._compare(wanted, found, place)

    def run(
        self,
        *instructions: Instruction,
        space: Space = Space.STATE,
        place: Place | None = None,
        count: bool = True,
    ) -> np.ndarray:
        """Run a program and compare what its EMITs hand over, elements of ``space``.

        Returns the golden model's. Where words are is said from the first instruction on, by
        group and lane, unless by ``place``.
        """
        rng = Random(0)
        samples = [
            rng.randbytes(wait_bytes(self.config, wait))
            for wait in instructions
            if isinstance(wait, Wait)
        ]
        rows = Program(self.config, (*instructions, Halt())).rows
        emits = []
        for machine in (self.golden, self.device):
            machine.load(rows)
            emits.append(b"".join(machine.run(samples, count=count)))
        name = describe(instructions[0])
        if len(emits[0]) != len(emits[1]):
            wanted, found = (np.array([len(data)]) for data in emits)
            self._compare(wanted, found, lambda _: f"{name}: bytes emitted")
        else:
            wanted, found = map(self.device.layouts[space].decode, emits)
            self._compare(wanted, found, place or (lambda i: f"{name}: {self.lane(i)}"))
        return wanted

    def registers(self, name: str) -> None:
        """Compare what does not depend on the line."""
        some = [r for r in KEPT if r not in (Register.WAIT_STALLS, Register.EMIT_STALLS)]
        wanted, found = (
            np.array([m.counters()[r] for r in some]) for m in (self.golden, self.device)
        )
        self._compare(wanted, found, lambda i: f"{some[i].name} after {name}")

    def _compare(self, wanted: np.ndarray, found: np.ndarray, place: Place) -> np.ndarray:
        wrong = np.flatnonzero(wanted != found)
        self.part.compared += len(wanted)
        self.part.wrong += len(wrong)
        for i in wrong[: MAX_DIFFERENCES - len(self.part.first)].tolist():
            self.part.first.append(Difference(place(i), int(wanted[i]), int(found[i])))
        return wrong

    def lane(self, i: int) -> str:
        return f"group {i // self.p}, lane {i % self.p}"

    # What tests are made of ---------------------------------------------------------------

    def learn_all(self, first: int, count: int, **fields: Any) -> None:
        """LEARN on tiles ``first + i * side + j`` from row plane i and column plane side + j."""
        side = self.side
        full, rest = divmod(count, side)
        line = LearnLevel(count=side, tile=1, col=1)
        learns = []
        if full:
            outer = (LearnLevel(count=full, tile=side, row=1), line)
            learns.append(Learn(outer=outer, tile=first, col=side, hold=True, **fields))
        if rest:
            outer = (replace(line, count=rest),)
            at = first + full * side
            learns.append(Learn(outer=outer, tile=at, row=full, col=side, hold=True, **fields))
        self.run(*learns)

    def show(self, tile: int, identity: int, **fields: Any) -> tuple[Mac, Emit]:
        """Emits a tile, exactly, column by column (`cell`)."""
        column = MacLevel(count=self.p, src=1, dst=1)
        mac = Mac(outer=(column,), tile=tile, src=identity, to_drive=True, **fields)
        return mac, Emit(kind=EmitKind.DRIVE, count=self.p**2)

    def cell(self, first: int, i: int) -> str:
        tile, at = divmod(i, self.p**2)
        return f"tile {first + tile}, row {at % self.p}, column {at // self.p}"

    def chunks(self) -> Iterator[tuple[int, int]]:
        """First tile and number of tiles of each `learn_all` that all tiles take."""
        depth, size = self.config.weight_depth, self.side**2
        return ((first, min(size, depth - first)) for first in range(0, depth, size))

    def clear(self) -> None:
        """All as after power-on, but for the registers that tell of the line."""
        for space in (Space.STATE, Space.DRIVE, Space.TABLE):
            self.write(space, 0, [0] * self.device.layouts[space].size)
        for first, count in self.chunks():
            self.learn_all(first, count, replace=True)
        self.write(Space.PROGRAM, 0, [0] * self.config.program_rows)
        self.write(Space.REGISTER, 0, [int(register in KEYS) for register in KEPT])
        if self.config.sample_buffer:
            self.write(Space.REGISTER, Register.WRONG, [0])
        self.device.read(Space.REGISTER, 0, 1)  # now the device has it all

    def set_up(self) -> None:
        """Blocks, tiles 0 (highest), 1 (lowest) to n - 1, drives, keys, counters near a carry."""
        rng, n, p, bits = Random(1), self.n, self.p, self.config.state_bits
        one = 1 << bits - 2
        edges = [0, 1, -1, one, -one, one - 1, 1 - one, one + 1]
        blocks = {
            0: np.eye(p, dtype=np.int64).reshape(-1).tolist(),
            self.src: [-2 * one] * p + [2 * one - 1] * p + _noise(rng, bits, (n - 2) * p),
            self.gate: [edges[(i // p + i % p) % 8] for i in range(n * p)],
            self.old: _noise(rng, bits // 2, n * p),
            self.dst: [0] * (n * p),
        }
        for group, words in blocks.items():
            self.write(Space.STATE, group * p, words)
        self.write(Space.DRIVE, 0, _noise(rng, bits + self.config.weight_bits - 1, n * p))
        self.write(Space.REGISTER, 0, [rng.getrandbits(32) | 0xFF00 for _ in KEPT])
        ends = LearnLevel(count=2, tile=1, col=1)
        self.run(Learn(outer=(ends,), row=self.src, col=self.src, replace=True))
        if n > 2:
            rest = (LearnLevel(count=n - 2, tile=1, row=1, col=1),)
            learn = Learn(outer=rest, tile=2, row=self.src + 2, col=self.gate, replace=True)
            self.run(learn, replace(learn, col=self.old, replace=False))


def _noise(rng: Random, bits: int, count: int) -> list[int]:
    return [rng.randrange(-1 << bits - 1, 1 << bits - 1) for _ in range(count)]


def _patterns(layout: SpaceLayout, count: int) -> Iterator[list[int]]:
    """Words, and their complements."""
    rng = Random(int(layout.space))
    words = [rng.randint(layout.low, layout.high) for _ in range(count)]
    yield words
    yield [layout.low + layout.high - word for word in words]


# Parts ----------------------------------------------------------------------------------------


def _memory(space: Space, pair: _Pair) -> None:
    layout = pair.device.layouts[space]
    place: dict[Space, Place] = {
        Space.PROGRAM: lambda i: f"PROGRAM row {i}",
        Space.REGISTER: lambda i: f"REGISTER {KEPT[i].name}",
    }
    count = len(KEPT) if space is Space.REGISTER else layout.size
    for words in _patterns(layout, count):
        pair.write(space, 0, words)
        pair.read(space, 0, count, place.get(space, lambda i: f"{space.name} {pair.lane(i)}"))


def _table(pair: _Pair) -> None:
    p, c = pair.p, pair.config
    layout = pair.device.layouts[Space.TABLE]
    zero = c.state_depth - 1
    most = min(c.drive_depth, zero)
    for words in _patterns(layout, layout.size):
        pair.write(Space.TABLE, 0, words)
        pair.write(Space.STATE, zero * p, [0] * p)
        for first in range(0, layout.size, most):
            count = min(most, layout.size - first)
            index = np.arange(first, first + count) - layout.size // 2
            pair.write(Space.DRIVE, 0, np.repeat(index, p))
            look_up = Mac(
                outer=(MacLevel(count=count, dst=1, drive=1),),
                src=zero,
                from_drive=True,
                activation=Activation.TABLE,
            )
            pair.run(look_up)
            place = partial(_entry, first, p)
            pair.read(Space.STATE, 0, count * p, place)


def _entry(first: int, p: int, i: int) -> str:
    return f"TABLE entry {first + i // p}, lane {i % p}"


def _weights(pair: _Pair) -> None:
    c, p, side = pair.config, pair.p, pair.side
    q = c.learn_shifts[0]
    column_bits = min(c.state_bits, max(2, c.weight_bits + q + 1 - c.state_bits))
    # Planes whose product is 1 at the rounding position.
    ones = min(q, c.state_bits - 1)
    units = [-(1 << ones)] * (side * p) + [-(1 << q - ones)] * (side * p)
    for complement in (False, True):
        for first, count in pair.chunks():
            rng = Random(first)
            rows, columns = (_noise(rng, b, side * p) for b in (c.state_bits, column_bits))
            pair.write(Space.STATE, 0, rows + columns)
            if not complement:
                pair.learn_all(first, count, replace=True)
                continue
            pair.learn_all(first, count, replace=True, sign=Sign.MINUS)
            pair.write(Space.STATE, 0, units)
            pair.learn_all(first, count, sign=Sign.MINUS)  # -1 - weight
        _sums(pair)


def _sums(pair: _Pair) -> None:
    """Compare sums of tiles times a key each: one wrong cell shows in any case, more of them but
    for a chance of one in thousands."""
    c, p, keys = pair.config, pair.p, 2 * pair.side
    rng, together = Random(2), min(keys, c.max_terms // p, c.weight_depth)
    pair.write(Space.STATE, 0, [word | 1 for word in _noise(rng, c.state_bits, keys * p)])
    pair.write(Space.STATE, keys * p, np.eye(p, dtype=np.int64).reshape(-1))

    def tiles(group: int) -> tuple[int, int]:
        return group * together, min(c.weight_depth, (group + 1) * together)

    groups = -(-c.weight_depth // together)
    for first in range(0, groups, c.drive_depth):
        count = min(c.drive_depth, groups - first)
        macs = []
        for start, end, dst in (
            (first * together, tiles(first + count - 1)[0], 0),
            (*tiles(first + count - 1), count - 1),  # perhaps fewer
        ):
            terms = min(together, end - start)
            if terms:
                macs.append(
                    Mac(
                        outer=(MacLevel(count=(end - start) // terms, tile=terms, dst=1),),
                        inner=(MacLevel(count=terms, tile=1, src=1),),
                        tile=start,
                        dst=dst,
                        to_drive=True,
                    )
                )
        pair.run(*macs)

        def place(i: int, first: int = first) -> str:
            start, end = tiles(first + i // p)
            return f"sum of tiles {start} to {end - 1}, row {i % p}"

        wrong = pair.read(Space.DRIVE, 0, count * p, place)
        if len(wrong):
            sums, pair.part.first = pair.part.first, []
            start, end = tiles(first + int(wrong[0]) // p)
            loop = Loop(count=end - start, step=1)
            shown = pair.show(start, keys, tile_x=1)
            pair.run(loop, *shown, Next(), space=Space.DRIVE, place=partial(pair.cell, start))
            pair.part.first = [*pair.part.first, *sums][:MAX_DIFFERENCES]


def _mac(pair: _Pair) -> None:
    c, p, n, rng = pair.config, pair.p, pair.n, Random(3)
    # Every state group as a source, with what earlier parts have left in them.
    terms = min(c.max_terms // p, c.state_depth, 1 << LEVEL_COUNT_BITS)
    groups = min(c.state_depth // terms, c.drive_depth, 1 << LEVEL_COUNT_BITS)
    sweep = Mac(
        outer=(MacLevel(count=groups, src=terms, dst=1),),
        inner=(MacLevel(count=terms, src=1),),
        to_drive=True,
    )
    pair.run(sweep)
    pair.read(Space.DRIVE, 0, groups * p, lambda i: f"{describe(sweep)}: {pair.lane(i)}")

    pair.set_up()
    longest = (MacLevel(count=min(c.max_terms // p, 1 << LEVEL_COUNT_BITS)),)
    for transposed, tile in product((False, True), (0, 1)):
        extreme = Mac(
            outer=(MacLevel(count=2, src=1, dst=1),), inner=longest, tile=tile, src=pair.src,
            dst=c.drive_depth - 2, transposed=transposed, to_drive=True,
        )  # fmt: skip
        given = Emit(kind=EmitKind.DRIVE, base=extreme.dst, count=2 * p)
        pair.run(extreme, given, space=Space.DRIVE)
    deep = [
        MacLevel(count=2, src=i == 0, tile=i == 1, flip=i % 2 == 0)
        for i in range(min(c.levels - 1, (c.max_terms // p).bit_length() - 1))
    ]
    added = Mac(
        outer=(MacLevel(count=n, dst=1, drive=1),), inner=tuple(deep), src=pair.src,
        from_drive=True, to_drive=True, sign=Sign.MINUS, transposed=True,
    )  # fmt: skip
    pair.run(added, Emit(kind=EmitKind.DRIVE, count=n * p), space=Space.DRIVE)

    terms = min(n, c.max_terms // p)
    shift = c.weight_bits - 1 + clog2(terms * p) // 2  # results about fill the state format
    shown = Emit(base=pair.dst, count=n * p)
    for transposed, activation, gating in product((False, True), c.activations, Gating):
        along, flip = rng.random() < 0.5, rng.random() < 0.5
        index_bits = c.table_bits if activation is Activation.TABLE else c.state_bits
        group = MacLevel(count=n, src=not along, tile=along, dst=1, gate=1, drive=1, flip=flip)
        mac = Mac(
            outer=(group,),
            inner=(MacLevel(count=terms, src=along, tile=not along),),
            src=pair.src,
            dst=pair.dst,
            gate=pair.gate,
            old=rng.choice([None, pair.old]),
            transposed=transposed,
            from_drive=rng.random() < 0.3,
            sign=rng.choice(c.signs),
            shift=shift + c.state_bits - index_bits,
            up=rng.choice([0, 2]),
            one=c.state_bits - 2,
            activation=activation,
            gating=gating,
            step=rng.choice([0, 1, 4]),
            tail=rng.randint(1, p),
        )  # fmt: skip
        pair.run(mac, shown)
    # A group of one tile that looks at a gate and at what was there: the second port decides how
    # long it takes.
    hurried = Mac(
        outer=(MacLevel(count=n, src=1, dst=1, gate=1),), src=pair.src, dst=pair.dst,
        gate=pair.gate, old=pair.old, gating=Gating.POSITIVE, step=1, shift=c.weight_bits,
    )  # fmt: skip
    pair.run(hurried, shown)
    _judge(pair)
    pair.registers("mac")


FLAG = (
    Loop(count=1, sweep=True, skip=Skip.UNLESS_FLAG),
    Next(),
    Emit(kind=EmitKind.COUNTERS, base=Register.SWEEPS),
)
"""Tells the flag: it is counted as a sweep."""


def _judge(pair: _Pair) -> None:
    """Judgements at the largest distance there is, and one below it."""
    c, p, n = pair.config, pair.p, pair.n
    olds = pair.golden.read(Space.STATE, pair.old * p, n * p).reshape(n, p)
    for i in range(n):
        mac = Mac(
            tile=n - 1 - i,
            src=pair.src + i,
            dst=pair.dst + i,
            old=pair.old + i,
            shift=c.weight_bits + clog2(p) + 1,
            step=i % 3,
        )
        new = pair.run(mac, Emit(base=mac.dst, count=p))
        for judge, distances in ((Judge.CHANGE, new - olds[i]), (Judge.VALUE, new)):
            edge = int(abs(distances).max())
            for tol in range(max(0, edge - 1), edge + 1):
                judged = replace(mac, judge=judge, tol=tol, fresh=True)
                pair.run(judged, *FLAG, space=Space.REGISTER)


def _learn(pair: _Pair) -> None:
    c, n = pair.config, pair.n
    pair.set_up()
    rng, terms = Random(4), min(c.learn_terms, n)
    together = {"stochastic", "bound", "decay"}.intersection(c.learn_flags)
    alone = ({flag} for flag in c.learn_flags if flag != "integral")
    sets: list[set[str]] = [set(), *alone, together]
    cases = [(position, dict.fromkeys(flags, True)) for position in (0, 1) for flags in sets]
    if "integral" in c.learn_flags:
        thresholds = (0, 1 << c.weight_bits - 2)
        cases += [(0, {"integral": True, "threshold": threshold}) for threshold in thresholds]
    starts = ((pair.src, pair.src), (pair.src + n - 1, pair.gate))  # ends of the format; anything
    for (position, mode), (row, col) in product(cases, starts):
        start = Learn(
            outer=(LearnLevel(count=2, tile=1, col=1),), row=row, col=col, replace=True, hold=True
        )
        _ties(pair, c.learn_shifts[position])
        flip = rng.random() < 0.5
        sums = (LearnLevel(count=terms, row=1, col=1, flip=flip),)
        for rows, cols, inner in (
            (pair.old, pair.src, sums), (pair.src, pair.old, sums), (pair.dst, pair.dst + 1, ()),
        ):  # fmt: skip
            learn = Learn(
                outer=() if "integral" in mode else (LearnLevel(count=2, tile=1),),
                inner=inner,
                row=rows,
                col=cols,
                sign=rng.choice([Sign.PLUS, Sign.MINUS]),
                position=position,
                **mode,
            )
            pair.run(
                start, learn, *pair.show(0, 0), *pair.show(1, 0), space=Space.DRIVE,
                place=partial(_learnt, pair, learn),
            )  # fmt: skip
    if "integral" in c.learn_flags:  # from a memory of 0 weights, then memories gain halves
        for q in (c.learn_shifts[1], c.learn_shifts[0] + c.integral_shift):
            first = Learn(row=pair.src + n - 1, col=pair.gate, replace=True, hold=True)
            pair.write(Space.STATE, pair.dst * pair.p, [0] * pair.p)
            pair.run(first, replace(first, tile=1, row=pair.dst))
            _ties(pair, q)
            learn = Learn(row=pair.dst, col=pair.dst + 1, integral=True)
            pair.run(
                learn, *pair.show(0, 0), *pair.show(1, 0), space=Space.DRIVE,
                place=partial(_learnt, pair, learn),
            )  # fmt: skip
    pair.registers("learn")


def _learnt(pair: _Pair, learn: Learn, i: int) -> str:
    return f"{describe(learn)}: {pair.cell(0, i)}"


def _ties(pair: _Pair, q: int) -> None:
    """Two planes at dst whose products are halves at rounding position q, of both signs."""
    bits, p = pair.config.state_bits, pair.p
    column = min(q - 1, bits - 2)
    row = q - 1 - column
    odd = [max(-1 << bits - 1, min((1 << bits - 1) - 1, (2 * i + 1) << row)) for i in range(p)]
    pair.write(Space.STATE, pair.dst * p, odd)
    pair.write(Space.STATE, (pair.dst + 1) * p, [(-1) ** i << column for i in range(p)])


def _sequencer(pair: _Pair) -> None:
    c, p, n = pair.config, pair.p, pair.n
    pair.set_up()
    shown = Emit(base=pair.dst, count=n * p)
    depth = c.loop_depth
    loops = [Loop(count=2, step=1, sweep=True)] * depth
    nested = Mac(
        src=pair.src, dst=pair.dst, tile_x=1, src_x=min(2, depth), dst_x=min(3, depth),
        shift=c.weight_bits,
    )  # fmt: skip
    pair.run(*loops, nested, shown, *[Next()] * depth)
    small = Mac(
        src=pair.src, dst=pair.dst, shift=c.acc_bits - 1, judge=Judge.VALUE, fresh=True, tol=1
    )
    for skip in (Skip.IF_FLAG, Skip.UNLESS_FLAG):
        look = (replace(FLAG[0], skip=skip), *FLAG[1:])
        pair.run(small, *look, space=Space.REGISTER)
        pair.run(*look, space=Space.REGISTER)
    settle = Mac(
        src=pair.src + 1, dst=pair.dst, old=pair.dst, tile=1, activation=Activation.CLIP11,
        one=c.state_bits - 2, shift=c.weight_bits, step=1, judge=Judge.CHANGE, fresh=True,
        tol=1 << c.state_bits - 6,
    )  # fmt: skip
    until = Loop(count=9, until=True, sweep=True)
    pair.run(until, settle, Next(), FLAG[2], space=Space.REGISTER)
    for pack, signed in product(Pack, (False, True)):
        bits = pack.bits or c.state_bits
        room = 0 if pack is Pack.WORD else c.state_bits - 1 - (bits - signed)
        if room >= 0:
            wait = Wait(
                dst=pair.dst, count=n * p - 1, pack=pack, signed=signed, shift=min(1, room),
                tick=signed,
            )  # fmt: skip
            pair.run(wait, shown)
    for base, count in ((pair.src, p), (pair.src, n * p), (pair.old, n * p)):
        pair.run(Emit(kind=EmitKind.ARGMAX, base=base, count=count), space=Space.INFO)
    pair.run(replace(nested, tile_x=0, src_x=0, dst_x=0), shown, count=False)
    pair.registers("sequencer")


def _lists(pair: _Pair) -> None:
    c, p, n = pair.config, pair.p, pair.n
    if not c.sample_buffer:
        return
    pair.set_up()
    pair.write(Space.REGISTER, Register.WRONG, [100])
    groups = min(c.sample_buffer // 2, c.weight_depth, c.max_terms // p)
    outputs = min(256, n * p)
    walk = Mac(inner=(MacLevel(count=groups, tile=1, src=1),), to_drive=True, walk=True)
    learn = Learn(outer=(LearnLevel(count=groups, tile=1, col=1),), position=1, walk=True)
    plain = replace(walk, inner=(MacLevel(count=groups, tile=1),), src=pair.src + n - 1, walk=False)
    answer = Emit(kind=EmitKind.ANSWER, base=pair.src, count=outputs)
    given = Emit(kind=EmitKind.DRIVE, count=p)
    for pack, signed, dense in product(Pack, (False, True), (False, True)):
        shift = c.state_bits - 2 - pack.bits
        if pack is Pack.WORD or shift < 0:
            continue
        wait = Wait(
            dst=pair.dst, count=groups * p - 1, pack=pack, signed=signed, dense=dense, tick=True,
            shift=shift, ahead=True, bias=True, outputs=outputs, low=-3, high=1 << c.state_bits - 2,
        )  # fmt: skip
        # So many samples that the buffer's rows come by more than once.
        for row in (pair.src + n - 1, pair.old):
            one = (wait, answer, walk, given, replace(learn, row=row), walk, given, plain, given)
            samples = min(4, (c.program_rows - 1) // sum(map(rows_of, one)))
            pair.run(*one * samples, space=Space.DRIVE)
        pair.read(Space.STATE, pair.dst * p, outputs, lambda i: f"target: {pair.lane(i)}")
    pair.read(Space.REGISTER, Register.WRONG, 1, lambda _: "WRONG after lists")
    pair.registers("lists")


COLUMN_BITS, BANK_BITS = 9, 2
"""A word's address in an SDRAM, lowest bits first; behind them are those of the row."""
PIECE = 32
"""Words that are written together."""
LEAST_MEMORY = 1 << 23
"""Bytes of the smallest SDRAM."""


def _samples(pair: _Pair) -> None:
    """All columns of a row; in each bank the first ones of the rows whose numbers have one bit, so
    that two of them are one where an address line is cut."""
    device = pair.device
    if not pair.config.sample_memory:
        return
    size = device.memory_bytes
    if size < LEAST_MEMORY:
        wanted, found = np.array([LEAST_MEMORY]), np.array([size])
        said = "sample memory, bytes that are read as written "
        said += f"({capture_window(device.counters()[Register.MEMORY])})"
        pair._compare(wanted, found, lambda _: said)
        return
    rows = size >> COLUMN_BITS + BANK_BITS + 1
    chosen = [0, *(1 << i for i in range(rows.bit_length() - 1)), rows - 1]
    starts = [
        ((row << BANK_BITS) + bank) << COLUMN_BITS
        for row in chosen
        for bank in range(1 << BANK_BITS)
    ]
    starts += range(PIECE, 1 << COLUMN_BITS, PIECE)
    drawn = Generator(0).integers(0, 1 << 16, len(starts) * PIECE)
    words = drawn.reshape(len(starts), PIECE).astype("<u2")
    for written in (words, ~words):
        for start, piece in zip(starts, written, strict=True):
            device.store(2 * start, piece.tobytes())
        found = b"".join(device.recall(2 * start, 2 * PIECE) for start in starts)
        read = np.frombuffer(found, "<u2")
        flat = written.reshape(-1)
        pair._compare(flat, read, lambda i, odd=flat ^ read: _word(starts, i, int(odd[i])))
    for start in starts:
        device.store(2 * start, bytes(2 * PIECE))


def _word(starts: list[int], i: int, odd: int) -> str:
    """Where a word of the sample memory is, and the bits of it that are wrong."""
    piece, at = divmod(i, PIECE)
    upper, column = divmod(starts[piece] + at, 1 << COLUMN_BITS)
    row, bank = divmod(upper, 1 << BANK_BITS)
    bits = ", ".join(str(bit) for bit in range(16) if odd >> bit & 1)
    return f"sample memory bank {bank}, row {row}, column {column}, bit {bits}"


PARTS: dict[str, Callable[[_Pair], None]] = {
    "program": partial(_memory, Space.PROGRAM),
    "state": partial(_memory, Space.STATE),
    "drive": partial(_memory, Space.DRIVE),
    "registers": partial(_memory, Space.REGISTER),
    "table": _table,
    "weights": _weights,
    "mac": _mac,
    "learn": _learn,
    "sequencer": _sequencer,
    "lists": _lists,
    "samples": _samples,
}
"""Parts in the order they run."""
