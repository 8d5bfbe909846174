"""The instructions: fields, semantics as loop nests, encoding into program rows.

Notation. ``S[g]`` is group g of the state memory: P words, one per lane. ``D[g]`` likewise for the
wide drive memory. ``W[t]`` is tile t: P x P words, one per cell; row r, column c. ``X[d]`` is the
index of the d-th open LOOP (1 = outermost; ``X[0]`` = 0): 0 at entry, plus ``step`` at each repeat.
All addresses are affine: ``base + X[select] + sum over levels of trip * stride``. On a machine
with a sample buffer the present sample is a list for each column c: entries ``t = 0, 1, ..`` of a
group ``g_c[t]`` and a value ``v_c[t]`` (WAIT). T is the length of the longest. RUN empties them.

Every instruction reads memory as it was before it began, and the next one finds what it wrote: the
machine may begin that one earlier, but only where nobody can tell (`hazards`). The builder
(`check`) rejects nests whose result would depend on the order of reads and writes (a read of a
group after the same instruction wrote it) and nests that write a group or a tile twice. RUN clears
the flag.

Arithmetic. All words are signed two's complement. Products and sums are exact; accumulators and
drives hold ``acc_bits`` and wrap, which the builder's bound on terms excludes.

``hash(key, a)``, for dither and random planes, on 32-bit unsigned words (``rotl`` rotates left)::

    mix(x): x ^= x << 13; x ^= x >> 17; x ^= x << 5             (xorshift32)
    x = mix(key + a * 0x00010001)         # a: 16 bits
    U = mix(x + rotl(key, 16))
    V = mix(U + 0x9E3779B9)

Keys advance by ``key = mix(key)``.
"""

from dataclasses import dataclass, fields
from enum import IntEnum
from typing import ClassVar

__all__ = [
    "CONTRACT_VERSION",
    "LEARN_FLAGS",
    "MAC_FLAGS",
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
    "Sign",
    "Skip",
    "Wait",
    "describe",
    "nest_levels",
]

CONTRACT_VERSION = 3
"""Raised whenever an encoding, a semantic, a cycle count or a frame changes."""

LEVEL_COUNT_BITS = 12
LOOP_COUNT_BITS = 16
INDEX_SELECTS = 4
"""An address may add X[0] = 0 or the index of one of the three outermost open LOOPs."""


class Opcode(IntEnum):
    """The lowest 3 bits of an instruction's first row."""

    HALT = 0
    MAC = 1
    LEARN = 2
    LOOP = 3
    NEXT = 4
    WAIT = 5
    EMIT = 6


class Sign(IntEnum):
    """The sign of all products of a MAC or LEARN."""

    PLUS = 0
    MINUS = 1
    RANDOM = 2
    """Minus where bit 0 of SAMPLE_KEY is 1: the sample's random bit. Needs dither_bits > 0."""


class Activation(IntEnum):
    """The function of the rounded accumulator v (an integer). With ``u = v << up``:"""

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
    """What a MAC compares: the flag is cleared if any valid lane of any group is outside."""

    NONE = 0
    CHANGE = 1
    """abs(new - old) > tol: not settled."""
    VALUE = 2
    """abs(new) > tol: not within the margin."""


class Skip(IntEnum):
    """Whether a LOOP is skipped: its body and its NEXT are not executed at all."""

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
    """What an EMIT hands over."""

    PLANE = 0
    """``count`` words of S from neuron 0 of group ``base`` on, each in whole bytes."""
    DRIVE = 1
    """``count`` words of D likewise."""
    ARGMAX = 2
    """u16: which of ``count`` words of S from group ``base`` on is largest (first of equals)."""
    COUNTERS = 3
    """``count`` registers from number ``base`` on, 4 bytes each, as they were before this EMIT.
    Rejected are those that count this EMIT's own cycles: EMIT_CYCLES, EMIT_STALLS and, without
    kind_counters, MAC_CYCLES."""
    ANSWER = 4
    """Nothing, and no record: if what ARGMAX would say is not the present sample's label, WRONG
    counts one. Needs sample_buffer > 0."""


@dataclass(frozen=True, kw_only=True)
class MacLevel:
    """A level of MAC's nest: the number of trips and one stride per address. ``dst`` (and ``old``
    with it), ``drive`` and ``gate`` move in outer levels only. ``flip``: odd trips change the sign.
    """

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
                    if both: D[drive] = acc
                    v = acc if shift == 0 else floor((acc + 2**(shift-1)) / 2**shift)
                    a = activation(v << up)                           # Activation
                    if gating: a = a if S[gate] is inside else 0      # Gating
                    new = a if step == 0 else
                          S[old] + floor((a - S[old] + 2**(step-1)) / 2**step)
                    if judge: flag &= (CHANGE: abs(new - S[old]) <= tol, VALUE: abs(new) <= tol)
                    S[dst] = new

    The results of LINEAR, CLIP01, CLIP11 and RELU lie on a grid: they are multiples of ``2**up``.
    ``one`` is the binary point of the state format: ``2**one`` is 1.0. Ranges: ``up <= shift``,
    ``up < state_bits``, ``shift < acc_bits``, ``one <= state_bits - 2``, and ``up <= one`` where
    the activation clips at ``2**one``. ``old`` defaults to ``dst``. With to_drive, ``dst`` is a
    group of D; activation, gating, step, judge, shift, up and one must keep their defaults.
    ``walk``: the sample's lists take the place of the inner levels, of which there must be one,
    with strides of 1 of tile and src and without flip; source and transposed keep their defaults::

        for t in 0 .. max(T, 1) - 1:                              # one cycle
            for each column c with an entry t:
                acc[r] += s * W[tile + g_c[t]][r][c] * v_c[t]

    So the sums are those of the dense nest over the sample's groups; no outer level moves src.
    Excludes activation RANDOM.
    ``both`` excludes to_drive and activation RANDOM; with from_drive, a group of D is read and
    written by the same trip.
    ``drain``: cycles from the end of this instruction's issue to the start of the next one's, if
    that has been fetched by then; None: the builder computes the least (`hazards`). Machines
    without ``drains`` have None alone.
    ``tail = 0`` means P. The tail belongs to the outer level ``tail_level``, counted from the
    innermost of the outer ones (0); without outer levels, to the only trip. ``tile_x`` ..
    ``gate_x`` select the LOOP index that is added to a base (``dst_x``: dst and old).
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
    both: bool = False
    walk: bool = False
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
    drain: int | None = None

    @property
    def old_base(self) -> int:
        return self.dst if self.old is None else self.old

    @property
    def reads_old(self) -> bool:
        """Whether the old value is read at all (it costs a port cycle)."""
        return not self.to_drive and (self.step > 0 or self.judge is Judge.CHANGE)

    @property
    def uses_drive(self) -> bool:
        """Whether ``drive`` is an address at all: of what is read, or written beside the states."""
        return self.from_drive or self.both

    @property
    def reads_gate(self) -> bool:
        return not self.to_drive and self.gating is not Gating.NONE


MAC_FLAGS = ("both", "walk")
"""Flags of a MAC that not every machine has."""


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
    decay) keeps a memory m of the product in the tile after the weight's, two words per synapse::

        p = saturate(round(acc, learn_shifts[0])) to the weight format
        u = p - m                                                     # m = W[tile+1][r][c]
        m = saturate(m + round(u, integral_shift))
        g = u if abs(u) > threshold else 0                            # dead zone
        w = saturate(w + round(g, learn_shifts[1] - learn_shifts[0])); bound as above

    There ``position`` must be 0, rounding is to nearest (``stochastic`` is rejected), and only
    saturations of w are counted. ``drain`` as in MAC.

    ``walk``: the sample's lists take the place of the innermost outer level, which must have
    strides of 1 of tile and col, 0 of row, and no flip; col keeps its default, no other level moves
    it, and there are no inner levels::

        for t in 0 .. max(T, 1) - 1:                              # one cycle
            for each column c with an entry t:
                update W[tile + g_c[t]][r][c] as above, with acc[r][c] = s * S[row][r] * v_c[t]

    Weights and keys are those of the dense nest over the sample's groups: what would change a
    weight whose product is 0 (decay, replace, bound, integral, stochastic) is rejected.
    WEIGHT_SATURATIONS counts rows t in which a written cell met the end.
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
    walk: bool = False
    threshold: int = 0
    tile_x: int = 0
    col_x: int = 0
    row_x: int = 0
    drain: int | None = None


LEARN_FLAGS = tuple(f.name for f in fields(Learn) if f.type is bool and f.name != "walk")
"""LEARN's flags, in the order in which its row holds them."""


@dataclass(frozen=True, kw_only=True)
class Loop:
    """Open a loop: ``for trip in range(count)`` up to its NEXT, with ``X[depth] = trip * step``.

    ``skip``: do not execute body and NEXT if the flag is set (IF_FLAG) or clear (UNLESS_FLAG).
    ``until``: leave at NEXT when the flag is set. ``sweep``: each execution of NEXT counts a sweep.
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
    """Read ``count`` values of the sample into S: value n goes to lane n mod P of group
    ``dst + X[dst_x] + n div P`` as ``value << shift``. Other lanes keep their words.

    Values are unsigned unless ``signed``; WORD is always signed, with shift 0. Unused bits of the
    last byte are discarded. ``tick``: advance SAMPLE_KEY and count a sample, before the values.

    ``ahead``: take a whole sample from the buffer, which a loader fills as bytes arrive, while
    other instructions run: ``count`` values, then, if there are ``outputs``, a byte with the
    sample's label k. The values are not written to S but become the present sample::

        value n, for n < count:            group n div P, value << shift, to column n mod P
        with bias, as value n = count:     1.0, which is 2**(bits - signed) << shift, likewise
        entries of a column: its values in order, without those that are 0 (dense: all of them)
        for n < outputs:                   S[dst + X[dst_x] + n div P][n mod P] = high if n == k
                                                                                 else low

    A label of ``outputs`` or more is no output's. WAITs with ``ahead`` in one program have the same
    format (count, pack, signed, shift, bias, dense, outputs), which the loader takes from the first
    that runs; others are rejected beside them. WORD is rejected. RUN empties the buffer, and at
    HALT what the loader has taken is discarded like bytes that no WAIT has taken.
    """

    opcode: ClassVar[Opcode] = Opcode.WAIT
    dst: int = 0
    count: int = 1
    pack: Pack = Pack.B8
    signed: bool = False
    shift: int = 0
    tick: bool = False
    dst_x: int = 0
    ahead: bool = False
    bias: bool = False
    dense: bool = False
    outputs: int = 0
    low: int = 0
    high: int = 0

    @property
    def values(self) -> int:
        """Values of a sample, the constant one included."""
        return self.count + self.bias


@dataclass(frozen=True, kw_only=True)
class Emit:
    """Send data to the host as one EMIT record; `EmitKind` says which data."""

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


def nest_levels(instruction: Mac | Learn) -> tuple[MacLevel | LearnLevel, ...]:
    """All levels, innermost first."""
    return tuple(reversed((*instruction.outer, *instruction.inner)))


def describe(instruction: Instruction | MacLevel | LearnLevel) -> str:
    """One instruction (or level) in a line."""
    parts = []
    for f in fields(instruction):
        value = getattr(instruction, f.name)
        if f.name in ("outer", "inner"):
            parts += [f"{f.name}[{describe(level)}]" for level in value]
        elif value is True:
            parts.append(f.name)
        elif value != f.default:
            parts.append(f"{f.name}={getattr(value, 'name', value)}")
    opcode = getattr(instruction, "opcode", None)
    return " ".join(([opcode.name] if opcode is not None else []) + parts)
