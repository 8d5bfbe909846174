"""The instructions: fields, semantics as loop nests, encoding into program rows.

Notation. ``S[g]`` is group g of the state memory: P words, one a lane. ``D[g]`` likewise for the
wide drive memory. ``W[t]`` is tile t: P x P words, one a cell; row r, column c. ``X[d]`` is the
index of the d-th open LOOP (1 = outermost; ``X[0]`` = 0): 0 at entry, plus ``step`` at each repeat.
All addresses are affine: ``base + X[select] + sum over levels of trip * stride``.

Every instruction reads memory as it was before it began and ends before the next begins. The
builder (`program`) refuses nests in which that could make a difference (a read of a group after
the same instruction wrote it) and nests that write a place twice. RUN clears the flag.

Arithmetic. All words are signed two's complement. Products and sums are exact; accumulators and
drives hold ``acc_bits`` and wrap, which the builder's bound on terms excludes.

``hash(key, a)``, for dither and random planes, on 32-bit unsigned words (``rotl`` rotates left)::

    mix(x): x ^= x << 13; x ^= x >> 17; x ^= x << 5             (xorshift32)
    x = mix(key + a * 0x00010001)         # a: 16 bits
    U = mix(x + rotl(key, 16))
    V = mix(U + 0x9E3779B9)

Keys advance by ``key = mix(key)``.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import IntEnum
from typing import ClassVar

from .config import ArrayConfig, clog2
from .errors import ProgramError

__all__ = [
    "Activation",
    "Emit",
    "EmitKind",
    "Gating",
    "Halt",
    "Instruction",
    "Judge",
    "Learn",
    "LearnLevel",
    "Loop",
    "Mac",
    "MacLevel",
    "Next",
    "Opcode",
    "Pack",
    "RowLayout",
    "Sign",
    "Skip",
    "Wait",
    "decode",
    "encode",
    "row_layouts",
]

LEVEL_COUNT_BITS = 12
LOOP_COUNT_BITS = 16
INDEX_SELECTS = 4
"""An address may add X[0] = 0 or the index of one of the three outermost open LOOPs."""


class Opcode(IntEnum):
    HALT = 0
    MAC = 1
    LEARN = 2
    LOOP = 3
    NEXT = 4
    WAIT = 5
    EMIT = 6


class Sign(IntEnum):
    PLUS = 0
    MINUS = 1
    RANDOM = 2
    """Minus where bit 0 of SAMPLE_KEY is 1: the sample's random bit. Needs dither_bits > 0."""


class Activation(IntEnum):
    """What becomes of the rounded accumulator v (an integer), ``u = v << up``."""

    LINEAR = 0
    """u, saturated to the state format (counted)."""
    CLIP01 = 1
    """u clipped to 0 .. 2**one: the hard sigmoid."""
    CLIP11 = 2
    """u clipped to -2**one .. 2**one."""
    RELU = 3
    """max(u, 0), saturated to the state format (counted)."""
    TABLE = 4
    """TABLE[clip(v, -2**(n-1), 2**(n-1) - 1) + 2**(n-1)], n = table_bits. Needs table_bits > 0."""
    RANDOM = 5
    """-2**one where bit 0 of rotl(U, 3 * lane) is 1, else 2**one, with (U, V) =
    hash(SAMPLE_KEY, the group's dst address). Tiles and sources are read and ignored.
    Needs dither_bits > 0."""


class Gating(IntEnum):
    """Pass the activation's value where the gate plane's word g is inside, else 0."""

    NONE = 0
    IN01 = 1
    """0 < g < 2**one"""
    IN11 = 2
    """-2**one < g < 2**one"""
    POSITIVE = 3
    """g > 0"""


class Judge(IntEnum):
    """What clears the machine's flag: any valid lane of any group outside the tolerance."""

    NONE = 0
    CHANGE = 1
    """abs(new - old) > tol: not settled."""
    VALUE = 2
    """abs(new) > tol: not within the margin."""


class Skip(IntEnum):
    """Whether a LOOP is passed over altogether."""

    NEVER = 0
    IF_FLAG = 1
    UNLESS_FLAG = 2


class Pack(IntEnum):
    """How WAIT's values are packed: unsigned or signed fields of 1, 2, 4 or 8 bits, the first in
    a byte's lowest bits; or WORD, a state word in whole bytes, least significant first."""

    B1 = 0
    B2 = 1
    B4 = 2
    B8 = 3
    WORD = 4

    @property
    def bits(self) -> int:
        """Bits of a value; 0 for WORD, which has the configuration's state width."""
        return 0 if self is Pack.WORD else 1 << self.value


class EmitKind(IntEnum):
    PLANE = 0
    """``count`` words of S from neuron 0 of group ``base`` on, each in whole bytes."""
    DRIVE = 1
    """``count`` words of D likewise."""
    ARGMAX = 2
    """u16: which of ``count`` words of S from group ``base`` on is largest (first of equals)."""
    COUNTERS = 3
    """``count`` registers from number ``base`` on, 4 bytes each, as they were before this EMIT.
    Refused are those that count its own cycles: EMIT_CYCLES, EMIT_STALLS and, without
    kind_counters, MAC_CYCLES."""


@dataclass(frozen=True, kw_only=True)
class MacLevel:
    """A level of MAC's nest: trips and one stride an address. ``dst`` (and ``old`` with it),
    ``drive`` and ``gate`` move in outer levels only. ``flip``: odd trips change the sign."""

    count: int
    tile: int = 0
    src: int = 0
    dst: int = 0
    drive: int = 0
    gate: int = 0
    flip: bool = False


@dataclass(frozen=True, kw_only=True)
class LearnLevel:
    """A level of LEARN's nest. ``tile`` moves in outer levels only. ``flip`` as in MAC."""

    count: int
    tile: int = 0
    col: int = 0
    row: int = 0
    flip: bool = False


@dataclass(frozen=True, kw_only=True)
class Mac:
    """Multiply and accumulate tiles, then write drives or states.

    ::

        if judge and fresh: flag = 1
        for each trip of the outer levels (outermost first):          # one destination group
            acc[0..P-1] = D[drive] if from_drive else 0
            for each trip of the inner levels:                        # one tile a cycle
                s = sign, changed once for every level with flip whose trip is odd
                if transposed: acc[c] += s * sum over r of W[tile][r][c] * S[src][r]
                else:          acc[r] += s * sum over c of W[tile][r][c] * S[src][c]
            for each lane < (tail if outer[-1 - tail_level] is at its last trip, else P):
                if to_drive:
                    D[dst] = acc
                else:
                    v = acc if shift == 0 else floor((acc + 2**(shift-1)) / 2**shift)
                    a = activation(v << up)                           # Activation
                    if gating: a = a if S[gate] is inside else 0      # Gating
                    new = a if step == 0 else
                          S[old] + floor((a - S[old] + 2**(step-1)) / 2**step)
                    if judge: flag &= (CHANGE: abs(new - S[old]) <= tol, VALUE: abs(new) <= tol)
                    S[dst] = new

    ``up <= shift`` (up: fraction bits of the state format below the grid), ``shift < acc_bits``,
    ``one <= state_bits - 2``, and ``up <= one`` where the activation clips at it. ``old`` defaults
    to ``dst``. With to_drive, ``dst`` is a group of D and activation, gating, step and judge stay
    at rest. ``tail = 0`` means P. The tail belongs to the outer level ``tail_level``, counted from
    the innermost of the outer ones (0); without outer levels, to the only trip.
    ``tile_x`` .. ``gate_x`` select the LOOP index that is added to a base (``dst_x``: dst and old).
    """

    opcode: ClassVar[Opcode] = Opcode.MAC
    outer: tuple[MacLevel, ...] = ()
    inner: tuple[MacLevel, ...] = ()
    tile: int = 0
    src: int = 0
    dst: int = 0
    old: int | None = None
    drive: int = 0
    gate: int = 0
    transposed: bool = False
    from_drive: bool = False
    to_drive: bool = False
    sign: Sign = Sign.PLUS
    shift: int = 0
    up: int = 0
    one: int = 0
    activation: Activation = Activation.LINEAR
    gating: Gating = Gating.NONE
    step: int = 0
    judge: Judge = Judge.NONE
    fresh: bool = False
    tol: int = 0
    tail: int = 0
    tail_level: int = 0
    tile_x: int = 0
    src_x: int = 0
    dst_x: int = 0
    drive_x: int = 0
    gate_x: int = 0

    @property
    def old_base(self) -> int:
        return self.dst if self.old is None else self.old

    @property
    def reads_old(self) -> bool:
        """Whether the old value is read at all (it costs a port cycle)."""
        return not self.to_drive and (self.step > 0 or self.judge is Judge.CHANGE)

    @property
    def reads_gate(self) -> bool:
        return not self.to_drive and self.gating is not Gating.NONE


@dataclass(frozen=True, kw_only=True)
class Learn:
    """Update weights in place.

    ::

        base = tile + X[tile_x]
        for each trip of the outer levels:                            # one tile
            acc[r][c] = 0
            for each trip of the inner levels:                        # one term
                s = sign, changed once for every level with flip whose trip is odd
                acc[r][c] += s * S[row][r] * S[col][c]
            q = learn_shifts[position]
            x = acc - (w << (q - decay_shift) if decay else 0)        # w = W[tile][r][c]
            new = (0 if replace else w) + round(x, q)
            saturate new to the weight format (counted); if bound: new = max(new, 0)
            W[tile][r][c] = new, if not diagonal or r == c
        if not hold: UPDATE_KEY = mix(UPDATE_KEY)

    ``round`` is to nearest, halves away from zero; or, if ``stochastic``::

        round(x, q) = floor((x + ((2*h + 1) << (q - dither_bits - 1))) / 2**q)
        (U, V) = hash(UPDATE_KEY, (tile address - base) mod 2**16)
        h = low dither_bits of (rotl(U, 3*r mod 32) ^ rotl(V, 5*c mod 32))

    ``integral`` (temporal contrastive learning; needs integral_shift > 0; excludes replace and
    decay) keeps a memory m of the product in the tile after the weight's, two words a synapse::

        p = saturate(round(acc, learn_shifts[0])) to the weight format
        u = p - m                                                     # m = W[tile+1][r][c]
        m = saturate(m + round(u, integral_shift))
        g = u if abs(u) > threshold else 0                            # dead zone
        w = saturate(w + round(g, learn_shifts[1] - learn_shifts[0])); bound as above

    There ``position`` is 0, rounding is to nearest (``stochastic`` is refused), and a weight
    saturation is one of w.
    """

    opcode: ClassVar[Opcode] = Opcode.LEARN
    outer: tuple[LearnLevel, ...] = ()
    inner: tuple[LearnLevel, ...] = ()
    tile: int = 0
    col: int = 0
    row: int = 0
    sign: Sign = Sign.PLUS
    position: int = 0
    stochastic: bool = False
    replace: bool = False
    diagonal: bool = False
    bound: bool = False
    decay: bool = False
    hold: bool = False
    integral: bool = False
    threshold: int = 0
    tile_x: int = 0
    col_x: int = 0
    row_x: int = 0


@dataclass(frozen=True, kw_only=True)
class Loop:
    """Open a loop: ``for trip in range(count)`` up to its NEXT, with ``X[depth] = trip * step``.

    ``skip``: pass over body and NEXT at once if the flag is set (or is not). ``until``: leave at
    NEXT when the flag is set. ``sweep``: NEXT counts a sweep each time it is executed.
    """

    opcode: ClassVar[Opcode] = Opcode.LOOP
    count: int
    until: bool = False
    sweep: bool = False
    skip: Skip = Skip.NEVER
    step: int = 0


@dataclass(frozen=True, kw_only=True)
class Next:
    """Close the innermost loop: leave if its trips are done or (until and flag), else repeat."""

    opcode: ClassVar[Opcode] = Opcode.NEXT


@dataclass(frozen=True, kw_only=True)
class Wait:
    """Take values from the sample source into S: neuron n = 0 .. count-1 goes to lane n mod P of
    group ``dst + X[dst_x] + n div P`` as ``value << shift``. Other lanes keep what they had.

    Values are unsigned unless ``signed``; WORD is always signed, with shift 0. Bits left in the
    last byte are dropped. ``tick``: advance SAMPLE_KEY and count a sample, before the values.
    """

    opcode: ClassVar[Opcode] = Opcode.WAIT
    dst: int = 0
    count: int = 1
    pack: Pack = Pack.B8
    signed: bool = False
    shift: int = 0
    tick: bool = False
    dst_x: int = 0


@dataclass(frozen=True, kw_only=True)
class Emit:
    """Hand something to the link, as one EMIT record (`EmitKind`)."""

    opcode: ClassVar[Opcode] = Opcode.EMIT
    kind: EmitKind = EmitKind.PLANE
    base: int = 0
    count: int = 1
    base_x: int = 0


@dataclass(frozen=True, kw_only=True)
class Halt:
    """End the program."""

    opcode: ClassVar[Opcode] = Opcode.HALT


Instruction = Mac | Learn | Loop | Next | Wait | Emit | Halt


# Encoding -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RowLayout:
    """Fields of a row, lowest bits first."""

    fields: tuple[tuple[str, int], ...]

    @property
    def width(self) -> int:
        return sum(width for _, width in self.fields)

    def pack(self, values: Mapping[str, int]) -> int:
        """Values to a row; negative ones are taken modulo their width."""
        row = offset = 0
        for name, width in self.fields:
            row |= (values.get(name, 0) & ((1 << width) - 1)) << offset
            offset += width
        return row

    def unpack(self, row: int) -> dict[str, int]:
        values = {}
        for name, width in self.fields:
            values[name] = row & ((1 << width) - 1)
            row >>= width
        return values


def row_layouts(config: ArrayConfig) -> dict[str, RowLayout]:
    """The rows of a program, by name.

    MAC and LEARN take a head row, a ``bases`` row and one ``level`` row a level, innermost level
    first; the other instructions take one row. The lowest 3 bits of an instruction's first row are
    its opcode. A level row holds ``count - 1`` and, for each address, what to add when this level
    steps and all levels inside it start again: ``stride - sum of (count - 1) * stride of the
    inner levels``. In LEARN ``src`` is the column plane and ``dst`` the row plane.
    """
    tile, state = config.tile_addr_bits, config.state_addr_bits
    drive, row = config.drive_addr_bits, config.program_addr_bits
    dst = max(state, drive)
    nest = (("opcode", 3), ("levels", 3), ("inner", 3), ("sign", 2))
    return {
        "MAC": RowLayout(
            (
                *nest,
                ("tile_x", 2),
                ("src_x", 2),
                ("dst_x", 2),
                ("drive_x", 2),
                ("gate_x", 2),
                ("transposed", 1),
                ("from_drive", 1),
                ("to_drive", 1),
                ("shift", clog2(config.acc_bits)),
                ("up", 5),
                ("one", 5),
                ("activation", 3),
                ("gating", 2),
                ("step", 4),
                ("judge", 2),
                ("fresh", 1),
                ("tail", clog2(config.p + 1)),
                ("tail_level", 3),
                ("tol", config.state_bits - 1),
            )
        ),
        "LEARN": RowLayout(
            (
                *nest,
                ("tile_x", 2),
                ("src_x", 2),
                ("dst_x", 2),
                ("position", 1),
                ("stochastic", 1),
                ("replace", 1),
                ("diagonal", 1),
                ("bound", 1),
                ("decay", 1),
                ("hold", 1),
                ("integral", 1),
                ("threshold", config.weight_bits),
            )
        ),
        "bases": RowLayout(
            (
                ("tile", tile),
                ("src", state),
                ("dst", dst),
                ("old", state),
                ("gate", state),
                ("drive", drive),
            )
        ),
        "level": RowLayout(
            (
                ("count", LEVEL_COUNT_BITS),
                ("flip", 1),
                ("tile", tile),
                ("src", state),
                ("dst", dst),
                ("gate", state),
                ("drive", drive),
            )
        ),
        "LOOP": RowLayout(
            (
                ("opcode", 3),
                ("count", LOOP_COUNT_BITS),  # count - 1
                ("skip", 2),
                ("end", row),  # the row after the loop's NEXT
                ("until", 1),
                ("sweep", 1),
                ("step", 16),
            )
        ),
        "NEXT": RowLayout(
            (
                ("opcode", 3),
                ("until", 1),
                ("sweep", 1),
                ("step", 16),
                ("body", row),  # the row after the LOOP
            )
        ),
        "WAIT": RowLayout(
            (
                ("opcode", 3),
                ("dst", state),
                ("dst_x", 2),
                ("count", 16),
                ("pack", 3),
                ("signed", 1),
                ("shift", 5),
                ("tick", 1),
            )
        ),
        "EMIT": RowLayout(
            (
                ("opcode", 3),
                ("kind", 2),
                ("base", dst),
                ("base_x", 2),
                ("count", 16),
            )
        ),
        "HALT": RowLayout((("opcode", 3),)),
    }


STREAMS = ("tile", "src", "dst", "gate", "drive")
_LEARN_STREAMS = {"tile": "tile", "src": "col", "dst": "row"}


def nest_levels(instruction: Mac | Learn) -> tuple[MacLevel | LearnLevel, ...]:
    """All levels, innermost first."""
    return tuple(reversed((*instruction.outer, *instruction.inner)))


def rows_of(instruction: Instruction) -> int:
    """Program rows of an instruction."""
    if isinstance(instruction, Mac | Learn):
        return 2 + len(instruction.outer) + len(instruction.inner)
    return 1


def _strides(level: MacLevel | LearnLevel) -> dict[str, int]:
    if isinstance(level, MacLevel):
        return {name: getattr(level, name) for name in STREAMS}
    return {name: getattr(level, _LEARN_STREAMS.get(name, ""), 0) for name in STREAMS}


def _encode_nest(instruction: Mac | Learn, layouts: dict[str, RowLayout]) -> list[int]:
    levels = nest_levels(instruction)
    head = {
        f.name: int(value)
        for f in fields(instruction)
        if isinstance(value := getattr(instruction, f.name), int)
    }
    if isinstance(instruction, Mac):
        bases = head | {"old": instruction.old_base}
        if instruction.tail:  # on the wire the level counts from the innermost of all
            head["tail_level"] = instruction.tail_level + len(instruction.inner)
    else:
        head |= {"src_x": instruction.col_x, "dst_x": instruction.row_x}
        bases = {"tile": instruction.tile, "src": instruction.col, "dst": instruction.row}
    head |= {
        "opcode": instruction.opcode,
        "levels": len(levels),
        "inner": len(instruction.inner),
    }
    rows = [layouts[instruction.opcode.name].pack(head), layouts["bases"].pack(bases)]
    rewind = dict.fromkeys(STREAMS, 0)
    for level in levels:
        strides = _strides(level)
        delta = {name: strides[name] - rewind[name] for name in STREAMS}
        rows.append(layouts["level"].pack(delta | {"count": level.count - 1, "flip": level.flip}))
        for name in STREAMS:
            rewind[name] += (level.count - 1) * strides[name]
    return rows


def encode(config: ArrayConfig, instructions: Sequence[Instruction]) -> tuple[int, ...]:
    """Instructions to program rows. They must have passed `program.check`."""
    layouts = row_layouts(config)
    starts = row_starts(instructions)
    rows: list[int] = []
    open_loops: list[int] = []
    loop_of_next: dict[int, int] = {}
    next_of_loop: dict[int, int] = {}
    for i, instruction in enumerate(instructions):
        if isinstance(instruction, Loop):
            open_loops.append(i)
        elif isinstance(instruction, Next):
            loop_of_next[i] = open_loops.pop()
            next_of_loop[loop_of_next[i]] = i
    for i, instruction in enumerate(instructions):
        match instruction:
            case Mac() | Learn():
                rows += _encode_nest(instruction, layouts)
                continue
            case Loop():
                values = {
                    "count": instruction.count - 1,
                    "skip": instruction.skip,
                    "end": starts[next_of_loop[i]] + 1,
                    "until": instruction.until,
                    "sweep": instruction.sweep,
                    "step": instruction.step,
                }
            case Next():
                loop = instructions[loop_of_next[i]]
                assert isinstance(loop, Loop)
                values = {
                    "until": loop.until,
                    "sweep": loop.sweep,
                    "step": loop.step,
                    "body": starts[loop_of_next[i]] + 1,
                }
            case _:
                values = {f.name: int(getattr(instruction, f.name)) for f in fields(instruction)}
        name = instruction.opcode.name
        rows.append(layouts[name].pack(values | {"opcode": instruction.opcode}))
    return tuple(rows)


def row_starts(instructions: Iterable[Instruction]) -> list[int]:
    """The first row of each instruction."""
    starts, row = [], 0
    for instruction in instructions:
        starts.append(row)
        row += rows_of(instruction)
    return starts


def _signed(value: int, width: int) -> int:
    return value - (1 << width) if value >> (width - 1) else value


def _decode_nest(kind: type, rows: Sequence[int], layouts: dict[str, RowLayout]) -> Mac | Learn:
    head = layouts[kind.opcode.name].unpack(rows[0])
    bases = layouts["bases"].unpack(rows[1])
    widths = dict(layouts["level"].fields)
    count, inner = head["levels"], head["inner"]
    rewind = dict.fromkeys(STREAMS, 0)
    levels: list[MacLevel | LearnLevel] = []
    for row in rows[2 : 2 + count]:
        values = layouts["level"].unpack(row)
        trips = values["count"] + 1
        strides = {}
        for name in STREAMS:
            stride = _signed((values[name] + rewind[name]) % (1 << widths[name]), widths[name])
            rewind[name] += (trips - 1) * stride
            strides[name] = stride
        common = {"count": trips, "flip": bool(values["flip"])}
        if kind is Mac:
            levels.append(MacLevel(**common, **strides))
        else:
            levels.append(
                LearnLevel(**common, **{v: strides[k] for k, v in _LEARN_STREAMS.items()})
            )
    values = {**head, **bases, "inner": tuple(reversed(levels[:inner]))}
    values["outer"] = tuple(reversed(levels[inner:]))
    if kind is Mac:
        if values["tail"]:
            values["tail_level"] -= inner
        if values["old"] == values["dst"]:
            values["old"] = None
    else:
        values |= {"col": bases["src"], "row": bases["dst"]}
        values |= {"col_x": head["src_x"], "row_x": head["dst_x"]}
    return _typed(kind, values)


_ENUMS = {
    "sign": Sign,
    "activation": Activation,
    "gating": Gating,
    "judge": Judge,
    "skip": Skip,
    "pack": Pack,
    "kind": EmitKind,
}


def _typed(kind: type, values: dict):
    """An instruction from raw field values, with the types its fields are declared with."""
    typed = {}
    for f in fields(kind):
        value = values[f.name]
        if f.name in _ENUMS:
            value = _ENUMS[f.name](value)
        elif f.type is bool:
            value = bool(value)
        typed[f.name] = value
    return kind(**typed)


def decode(config: ArrayConfig, rows: Sequence[int]) -> tuple[Instruction, ...]:
    """Program rows to instructions, up to the end of ``rows``. Raises ProgramError."""
    layouts = row_layouts(config)
    kinds = {kind.opcode: kind for kind in (Mac, Learn, Loop, Next, Wait, Emit, Halt)}
    instructions: list[Instruction] = []
    at = 0
    while at < len(rows):
        try:
            kind = kinds[Opcode(rows[at] & 7)]
            values = layouts[kind.opcode.name].unpack(rows[at])
            if kind in (Mac, Learn):
                instruction = _decode_nest(kind, rows[at:], layouts)
            elif kind is Loop:
                step = _signed(values["step"], 16)
                instruction = _typed(Loop, values | {"count": values["count"] + 1, "step": step})
            else:
                instruction = _typed(kind, values)
        except (ValueError, KeyError, IndexError) as error:
            raise ProgramError(f"row {at}: not an instruction ({error})") from error
        instructions.append(instruction)
        at += rows_of(instruction)
    return tuple(instructions)


def changed(instruction: Instruction, **changes: object) -> Instruction:
    """A copy with some fields changed."""
    return replace(instruction, **changes)  # type: ignore[arg-type]
