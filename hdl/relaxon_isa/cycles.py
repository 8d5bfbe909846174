"""Exact cycle costs: what the counters of a machine show after a program.

A run's cycles are the sum over executed instructions, in order, of

* its **own** cycles (`issue_cycles` + `drain_cycles`), counted under its kind
  (MAC, LEARN, WAIT, EMIT; LOOP, NEXT and HALT under CONTROL), and
* its **exposed fetch**: ``max(0, fetch_cycles - hiding_cycles of the instruction before)``,
  counted under CONTROL. An instruction is fetched while the one before drains; with ``prefetch``,
  while a MAC or LEARN issues and drains, and while a WAIT with ``ahead`` executes.

Of a walk over lists the present sample decides: its T rows are ``listed`` below. At its stages the
tiles of a walk are `WALK` cycles later than others.

The first instruction of a run has nothing before it. Stalls (cycles of a WAIT without a byte, of
an EMIT without room) are counted in registers of their own and are in none of these; a WAIT with
``ahead`` stalls before its first cycle alone.

A drain is MAC's or LEARN's field of that name where the configuration has ``drains``. Else, and
with None in the field (before the builder has computed it), it is the instruction's whole latency,
`mac_latency` or `learn_latency`.
"""

from dataclasses import dataclass
from math import prod

from .config import ArrayConfig, clog2
from .encoding import rows_of
from .instructions import Emit, EmitKind, Instruction, Learn, Mac, Pack, Wait
from .memory import COUNTER_BITS, Space, element_bytes

__all__ = [
    "AHEAD_CYCLES",
    "ANSWER_CYCLES",
    "READ_CYCLES",
    "WALK",
    "Stages",
    "drain_cycles",
    "fetch_cycles",
    "group_cycles",
    "groups_of",
    "hiding_cycles",
    "issue_cycles",
    "latency",
    "learn_latency",
    "mac_latency",
    "stages",
]

RECORD_HEADER_BYTES = 3
AHEAD_CYCLES = 4
"""Of a WAIT with ``ahead``, to go to the next sample."""
ANSWER_CYCLES = 5
"""Of an EMIT of kind ANSWER, beside one a word: there is no record to send between two of them, so
that one follows the other to where they are compared."""
WALK = 3
"""What a walk's tiles are later: each column adds its entry to the address."""
READ_CYCLES = 4
"""Cycles from an element's address to the element: address, word, lane, element."""


def mac_latency(config: ArrayConfig) -> int:
    """Cycles from the issue of a MAC's last tile to the moment the next instruction may issue."""
    return (12 if config.pipeline == "short" else 14) + clog2(config.p)


def learn_latency(config: ArrayConfig) -> int:
    """Likewise for LEARN's last term. With one weight port, there is one cycle to change a weight;
    the integral mode's steps follow the others'."""
    summed = 6 if config.pipeline == "short" else 7
    if config.weight_ports == 1:
        return summed
    return summed + 2 + (config.decay_shift > 0) + (4 if config.integral_shift else 0)


@dataclass(frozen=True)
class Stages:
    """When the long pipeline meets memories: cycles after the issue of the tile that does.

    An access happens at its stage: what is written at stage w of one tile is found by a read that
    happens in a later cycle; in the same cycle, neither is defined. ``first`` and ``last`` are a
    group's (of a LEARN: a tile's) first and last tile.

    Attributes
    ----------
    operand
        Every tile: MAC reads S[src] and W, LEARN S[row] and S[col].
    drive
        MAC, first: reads D[drive].
    gate, old
        MAC, last: reads S[gate] and S[old], by the port of S that LEARN reads S[row] by.
    sums
        MAC, last: writes D.
    states
        MAC, last: writes S.
    flag
        MAC, last: a LOOP or NEXT of this cycle or later finds what was judged. With ``fresh``, the
        flag is set as the first group is judged, not before.
    weights
        LEARN, every tile: reads W, by the port that MAC reads W by.
    learned
        LEARN, last: writes W.
    """

    operand: int
    drive: int
    gate: int
    old: int
    sums: int
    states: int
    flag: int
    weights: int
    learned: int


def stages(config: ArrayConfig) -> Stages:
    """Of a machine with the long pipeline. LEARNs in integral mode are not described: nothing is in
    flight beside one."""
    tree = clog2(config.p)
    return Stages(
        operand=1,
        drive=4 + tree,
        gate=6 + tree,
        old=7 + tree,
        sums=7 + tree,
        states=14 + tree,
        flag=15 + tree + config.drains,  # a register more
        weights=5,
        learned=9 + (config.decay_shift > 0),
    )


def fetch_cycles(instruction: Instruction) -> int:
    """Cycles to read an instruction's rows and to be ready to issue."""
    return rows_of(instruction) + 2


def trips(levels) -> int:
    return prod(level.count for level in levels)


def groups_of(nest: Mac | Learn) -> int:
    """Groups of a MAC, tiles of a LEARN; of a LEARN that walks, lists of tiles."""
    walks = isinstance(nest, Learn) and nest.walk
    return trips(nest.outer[:-1] if walks else nest.outer)


def group_cycles(config: ArrayConfig, nest: Mac | Learn, listed: int | None = None) -> int:
    """Cycles of one of `groups_of`: one a tile or term, unless its memories' ports take longer.

    ``listed``: rows of the present sample's lists, if the nest walks; by default as many as if
    there were no zeros.
    """
    inner = trips(nest.inner)
    if nest.walk:
        dense = nest.outer[-1].count if isinstance(nest, Learn) else inner
        inner = max(1, dense if listed is None else listed)
    if isinstance(nest, Mac):
        # The second port of a bank serves old and gate, one a cycle.
        return max(inner, nest.reads_old + nest.reads_gate)
    words = 2 if nest.integral else 1
    return max(inner, words * (1 if config.weight_ports == 2 else 2))


def issue_cycles(config: ArrayConfig, instruction: Instruction, listed: int | None = None) -> int:
    """Cycles in which an instruction issues work (or executes, for LOOP, NEXT and HALT: 1).

    ``listed`` as of `group_cycles`.
    """
    match instruction:
        case Mac() | Learn():
            return groups_of(instruction) * group_cycles(config, instruction, listed)
        case Wait(ahead=True):
            return AHEAD_CYCLES + -(-instruction.outputs // config.p)
        case Wait():
            return instruction.count + wait_bytes(config, instruction)
        case Emit(kind=EmitKind.ANSWER):
            return ANSWER_CYCLES + instruction.count
        case Emit():
            return RECORD_HEADER_BYTES + emit_issue(config, instruction)
        case _:
            return 1


def wait_bytes(config: ArrayConfig, instruction: Wait) -> int:
    """Bytes that a WAIT takes from the sample source."""
    if instruction.pack is Pack.WORD:
        return instruction.count * element_bytes(config, Space.STATE)
    label = instruction.ahead and instruction.outputs > 0
    return (instruction.count * instruction.pack.bits + 7) // 8 + label


def emit_bytes(config: ArrayConfig, instruction: Emit) -> int:
    """Payload bytes of an EMIT record."""
    match instruction.kind:
        case EmitKind.PLANE:
            return instruction.count * element_bytes(config, Space.STATE)
        case EmitKind.DRIVE:
            return instruction.count * element_bytes(config, Space.DRIVE)
        case EmitKind.COUNTERS:
            return instruction.count * COUNTER_BITS // 8
        case EmitKind.ARGMAX:
            return 2
        case EmitKind.ANSWER:
            return 0


def emit_issue(config: ArrayConfig, instruction: Emit) -> int:
    """`READ_CYCLES` to read each element, one cycle to send each byte."""
    return READ_CYCLES * instruction.count + emit_bytes(config, instruction)


def latency(config: ArrayConfig, instruction: Instruction) -> int:
    """Cycles from an instruction's last issue until all that it does has been done."""
    match instruction:
        case Mac():
            judges = config.drains and instruction.judge > 0
            return mac_latency(config) + judges + WALK * instruction.walk
        case Learn():
            return learn_latency(config) + WALK * instruction.walk
        case _:
            return 0


def drain_cycles(config: ArrayConfig, instruction: Instruction) -> int:
    """Cycles after the last issue before the next instruction may issue."""
    drain = getattr(instruction, "drain", None)
    return latency(config, instruction) if drain is None else drain


def hiding_cycles(config: ArrayConfig, instruction: Instruction, listed: int | None = None) -> int:
    """Cycles of an instruction in which the next one is fetched.

    ``listed`` as of `group_cycles`.
    """
    drain = drain_cycles(config, instruction)
    ahead = isinstance(instruction, Wait) and instruction.ahead
    if config.prefetch and (ahead or isinstance(instruction, Mac | Learn)):
        return issue_cycles(config, instruction, listed) + drain
    return drain
