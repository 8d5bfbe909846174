"""A case on a device: what it leaves behind there, and how that differs from another device's."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from relaxon_device.base import Device
from relaxon_isa.memory import Register, Space
from relaxon_isa.program import Program

__all__ = ["OUTSIDE", "Case", "Memory", "differences", "observe"]

OUTSIDE = (
    Register.WAIT_STALLS,
    Register.EMIT_STALLS,
    Register.LINK_ERRORS,
    Register.LINK_DROPS,
    Register.MEMORY,
)
"""Registers that depend on the line and the board, not on the program."""

Memory = dict[Space, tuple[int, list[int]]]
"""For each space the first element and the values from there on."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """What to write and what to run.

    Members
    -------
    program
        The program, for row 0.
    samples
        The bytes its WAITs take, cut anywhere.
    counting
        Whether the run counts.
    memory
        What to write before the run; registers included: seeds, and counters close to their end.
    """

    program: Program
    samples: Sequence[bytes]
    counting: bool = True
    memory: Memory


def observe(device: Device, case: Case, *, whole: bool = True) -> dict[str, object]:
    """Everything that a case leaves behind: EMITs, states, drives, registers but `OUTSIDE`.

    With ``whole=False``, of states and drives only what the case writes before the run: a
    simulation takes long to read them all.
    """
    for space, (start, values) in case.memory.items():
        device.write(space, start, values)
    device.load(case.program.rows)
    seen: dict[str, object] = {"emits": list(device.run(case.samples, count=case.counting))}
    for space in (Space.STATE, Space.DRIVE):
        start, values = case.memory.get(space, (0, []))
        seen[space.name] = device.read(space) if whole else device.read(space, start, len(values))
    registers = device.counters()
    return seen | {r.name: value for r, value in registers.items() if r not in OUTSIDE}


def differences(a: dict[str, object], b: dict[str, object]) -> list[str]:
    """Names of what differs, with the first place."""
    found = []
    for name, value in a.items():
        other = b[name]
        if isinstance(value, np.ndarray) and isinstance(other, np.ndarray):
            places = np.flatnonzero(value != other)
            if len(places):
                i = places[0]
                found.append(f"{name}[{i}] (of {len(places)}): {value[i]} against {other[i]}")
        elif value != other:
            found.append(f"{name}: {value} against {other}")
    return found
