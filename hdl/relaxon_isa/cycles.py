"""Exact cycle costs: what the counters of a machine show after a program.

A run's cycles are the sum over executed instructions, in order, of

* its **own** cycles (`issue_cycles` + `drain_cycles`), counted under its kind
  (MAC, LEARN, WAIT, EMIT; LOOP, NEXT and HALT under CONTROL), and
* its **exposed fetch**: ``max(0, fetch_cycles - drain_cycles of the instruction before)``,
  counted under CONTROL; an instruction is fetched while the one before drains.

The first instruction of a run has nothing before it. Stalls (cycles of a WAIT without a byte, of
an EMIT without room) are counted in registers of their own and are in none of these.
"""

from math import prod

from .config import ArrayConfig, clog2
from .encoding import rows_of
from .instructions import Emit, EmitKind, Instruction, Learn, Mac, Pack, Wait
from .memory import COUNTER_BITS, Space, element_bytes

__all__ = ["drain_cycles", "fetch_cycles", "issue_cycles", "learn_latency", "mac_latency"]

RECORD_HEADER_BYTES = 3
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


def fetch_cycles(instruction: Instruction) -> int:
    """Cycles to read an instruction's rows and to be ready to issue."""
    return rows_of(instruction) + 2


def trips(levels) -> int:
    return prod(level.count for level in levels)


def issue_cycles(config: ArrayConfig, instruction: Instruction) -> int:
    """Cycles in which an instruction issues work (or executes, for LOOP, NEXT and HALT: 1)."""
    match instruction:
        case Mac():
            # The second port of a bank serves old and gate, one a cycle.
            port_uses = instruction.reads_old + instruction.reads_gate
            return trips(instruction.outer) * max(trips(instruction.inner), port_uses)
        case Learn():
            words = 2 if instruction.integral else 1
            accesses = words * (1 if config.weight_ports == 2 else 2)
            return trips(instruction.outer) * max(trips(instruction.inner), accesses)
        case Wait():
            return instruction.count + wait_bytes(config, instruction)
        case Emit():
            return RECORD_HEADER_BYTES + emit_issue(config, instruction)
        case _:
            return 1


def wait_bytes(config: ArrayConfig, instruction: Wait) -> int:
    """Bytes that a WAIT takes from the sample source."""
    if instruction.pack is Pack.WORD:
        return instruction.count * element_bytes(config, Space.STATE)
    return (instruction.count * instruction.pack.bits + 7) // 8


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


def emit_issue(config: ArrayConfig, instruction: Emit) -> int:
    """`READ_CYCLES` to read each element, one cycle to send each byte."""
    return READ_CYCLES * instruction.count + emit_bytes(config, instruction)


def drain_cycles(config: ArrayConfig, instruction: Instruction) -> int:
    """Cycles after the last issue before the next instruction may issue."""
    match instruction:
        case Mac():
            return mac_latency(config)
        case Learn():
            return learn_latency(config)
        case _:
            return 0
