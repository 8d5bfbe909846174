"""Programs as tables: what the compiled engine reads in place of instructions.

The tables' columns are the contract's fields (`relaxon_isa.instructions`), so a field that is new
there is a column here, and the engine alone has to say what it does.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relaxon_isa import (
    ArrayConfig,
    Emit,
    EmitKind,
    Learn,
    LearnLevel,
    Loop,
    Mac,
    MacLevel,
    Next,
    Opcode,
    Register,
    Space,
    Wait,
    decode,
    drain_cycles,
    element_bytes,
    fetch_cycles,
    group_cycles,
    hiding_cycles,
    issue_cycles,
    row_layouts,
    rows_of,
    wait_bytes,
)
from relaxon_isa.check import check_fields

__all__ = [
    "CONFIG",
    "CPU",
    "OPERATION",
    "SEGMENT",
    "TRIP",
    "Operation",
    "config_record",
    "padded",
    "record",
]


def _columns(*kinds: type, without: Sequence[str] = ()) -> list[str]:
    names = dict.fromkeys(f.name for kind in kinds for f in fields(kind))
    return [name for name in names if name not in without]


LEVELS = ("outer", "inner")
STRIDES = _columns(MacLevel, LearnLevel, without=("count", "flip"))

TRIP = np.dtype([(name, np.int32) for name in (*STRIDES, "sign", "lanes")])
"""One trip of a nest's outer or inner levels: what it adds to each address, its sign (+1 or -1)
by the levels with ``flip``, and, of MAC's outer levels, the valid lanes."""

DERIVED = (
    *("opcode", "rows", "fetch", "own", "hides", "control", "counter"),
    *("least", "hides_list", "constant"),
    *("body", "end"),
    *("bytes", "word_bytes"),
    *("uses_drive", "reads_old", "reads_gate", "q", "gain", "idle"),
    *("outer_at", "outers", "column_at", "columns", "inner_at", "inners"),
    *("segment_at", "segments", "one_tile", "src_line", "source_run", "source_line", "lines"),
    *("short", "panel", "panel_at", "wide", "narrow"),
)
OPERATION = np.dtype(
    [
        (name, np.int64)
        for name in (*_columns(Mac, Learn, Loop, Wait, Emit, without=LEVELS), *DERIVED)
    ]
)
"""One decoded instruction: the fields of all kinds, and

opcode, rows, fetch, own, hides
    What it is, its program rows, its cycles (`relaxon_isa.cycles`).
least, hides_list, constant
    Of a walk: the least cycles of a list, which ``own`` and ``hides`` leave out, and whether
    ``hides`` is to have them, too; else least is 0. Of a WAIT that is ahead: its constant value.
control, counter
    Registers that count its exposed fetch and its own cycles.
body, end
    Rows at which NEXT repeats, and at which a LOOP that is passed over goes on.
bytes, word_bytes
    Bytes that a WAIT takes; bytes of a word of WAIT or EMIT.
uses_drive, reads_old, reads_gate
    As of `Mac`.
q, gain, idle
    Of LEARN: the rounding position, the integral mode's second shift, and whether a product of 0
    leaves its weight as it is.
outer_at, outers, column_at, columns, inner_at, inners
    First trip and number of trips of the outer and inner levels. LEARN's outer levels are taken
    as rows x columns where none moves both planes: ``columns`` are those that move the column
    plane. Else, and in MAC, there is one column trip, which adds nothing.
segment_at, segments, one_tile, src_line, source_run, source_line, lines, short, panel, panel_at
    How a MAC meets the weights (`layout.plan`): its segments; whether it has one tile alone, and
    whether a segment's sources follow each other then; tiles whose weights lie together by source,
    0 if those of a source lie together; how many sources follow each other, all along; whether all
    tiles exist and have lines of destinations; whether weights and states have 16 bits; if all
    segments multiply the same tiles, the number of the panel that these become, from 1 on, and
    where it begins.
wide, narrow
    Of LEARN: 1 or 2 if its tiles are one matrix, in lines of rows or columns, and whether 32 bits
    hold its products.
"""

SEGMENT = np.dtype([(name, np.int64) for name in ("first", "groups", "lanes", "wide")])
"""Trips of MAC's outer levels that write neighbouring groups, so that they are one line of lanes:
the first, how many, their valid lanes, and whether their tiles lie together, too."""

VECTOR = 16
"""Words that the engine looks at together."""

CONFIG = np.dtype(
    [
        (f.name, np.int64)
        for f in fields(ArrayConfig)
        if f.name != "learn_shifts" and f.type in (int, bool, "int", "bool")
    ]
    + [(name, np.int64) for name in ("acc_bits", "tile_mask", "state_mask", "drive_mask")]
)
"""An `ArrayConfig`'s numbers, and the masks of addresses."""

CPU = np.dtype(
    [
        (name, np.int64)
        for name in (
            *("row", "pending", "flag", "hidden", "depth", "counting", "work", "listed", "label"),
            *("position", "end", "emits", "emitted", "space", "address"),
        )
    ]
)
"""Where a run stands: next row, an operation that waits for bytes or room (or -1), flag, cycles
that the last operation hides, open loops, whether to count, products until the next pause, T and
label of the present sample; place and end in the samples; records and bytes emitted; an address
that does not exist."""

CYCLES_OF = {
    Opcode.MAC: Register.MAC_CYCLES,
    Opcode.LEARN: Register.LEARN_CYCLES,
    Opcode.WAIT: Register.WAIT_CYCLES,
    Opcode.EMIT: Register.EMIT_CYCLES,
}


def padded(size: int, dtype: Any) -> NDArray:
    """Zeros that the engine may read a vector of beyond their end."""
    return np.zeros(size + VECTOR, dtype)[:size]


def record(dtype: np.dtype, values: dict[str, Any]) -> NDArray:
    """An array (1,) of that type; fields without a value are 0."""
    result = np.zeros(1, dtype)
    for name in dtype.names or ():
        result[name] = values.get(name, 0)
    return result


def config_record(config: ArrayConfig) -> NDArray:
    """`CONFIG` of a configuration."""
    values = {name: getattr(config, name, 0) for name in CONFIG.names or ()}
    values["tile_mask"] = (1 << config.tile_addr_bits) - 1
    values["state_mask"] = (1 << config.state_addr_bits) - 1
    values["drive_mask"] = (1 << config.drive_addr_bits) - 1
    return record(CONFIG, values)


def trips(levels: Sequence[MacLevel | LearnLevel], lanes: int) -> NDArray:
    """`TRIP` of every trip, outermost level first: an axis a level."""
    result = np.zeros([level.count for level in levels], TRIP)
    result["sign"], result["lanes"] = 1, lanes
    for axis, level in enumerate(levels):
        trip = np.arange(level.count).reshape(-1, *[1] * (len(levels) - axis - 1))
        for f in fields(level):
            if f.name in STRIDES:
                result[f.name] += (trip * getattr(level, f.name)).astype(np.int32)
        if level.flip:
            result["sign"] *= (1 - 2 * (trip & 1)).astype(np.int32)
    return result


@dataclass(frozen=True)
class Operation:
    """A decoded instruction.

    Members
    -------
    values
        Of `OPERATION`, all but the places of trips.
    trips
        Arrays (n,) of `TRIP`: "outer", "column" and "inner".
    separate
        Whether no outer level of this LEARN moves both planes.
    """

    values: dict[str, int]
    trips: dict[str, NDArray]
    separate: bool

    @property
    def is_mac(self) -> bool:
        return self.values["opcode"] == Opcode.MAC

    @property
    def is_nest(self) -> bool:
        return self.values["opcode"] in (Opcode.MAC, Opcode.LEARN)

    @classmethod
    def decode(cls, config: ArrayConfig, rows: Sequence[int]) -> "Operation":
        """The first instruction of these rows. Raises ProgramError."""
        instruction = decode(config, rows)[0]
        check_fields(config, instruction)  # nothing outside the contract is computed
        values = row_layouts(config)[instruction.opcode.name].unpack(rows[0])
        if isinstance(instruction, Next):
            values["step"] = (values["step"] ^ 0x8000) - 0x8000
        values |= {
            f.name: int(value)
            for f in fields(instruction)
            if isinstance(value := getattr(instruction, f.name), int)
        }
        control = Register.CONTROL_CYCLES if config.kind_counters else Register.MAC_CYCLES
        counter = CYCLES_OF.get(instruction.opcode, control) if config.kind_counters else control
        values |= {
            "opcode": int(instruction.opcode),
            "rows": rows_of(instruction),
            "fetch": fetch_cycles(instruction),
            "own": issue_cycles(config, instruction) + drain_cycles(config, instruction),
            "hides": hiding_cycles(config, instruction),
            "control": int(control),
            "counter": int(counter),
            "word_bytes": element_bytes(config, Space.STATE),
        }
        if isinstance(instruction, Mac | Learn) and instruction.walk:
            values["own"] = drain_cycles(config, instruction)
            values["least"] = group_cycles(config, instruction, 1)
            values["hides"], values["hides_list"] = values["own"], config.prefetch
        outer: Sequence[MacLevel | LearnLevel] = ()
        inner: Sequence[MacLevel | LearnLevel] = ()
        columns: Sequence[LearnLevel] = ()
        separate = False
        match instruction:
            case Mac():
                outer, inner = instruction.outer, instruction.inner
                values["old"] = instruction.old_base
                values["uses_drive"] = instruction.uses_drive
                values["reads_old"] = instruction.reads_old
                values["reads_gate"] = instruction.reads_gate
            case Learn():
                outer, inner = instruction.outer, instruction.inner
                sides = [
                    [level for level in outer if bool(level.col) is at] for at in (False, True)
                ]
                separate = all(level.row == 0 for level in sides[1])
                if separate:
                    outer, columns = sides
                first, second = config.learn_shifts
                values["q"], values["gain"] = (
                    config.learn_shifts[instruction.position],
                    second - first,
                )
                m = instruction
                values["idle"] = not (m.decay or m.replace or m.bound or m.integral)
            case Wait():
                values["bytes"] = wait_bytes(config, instruction)
                scale = instruction.pack.bits - instruction.signed + instruction.shift
                values["constant"] = 1 << scale if instruction.bias else 0
            case Emit(kind=EmitKind.DRIVE):
                values["word_bytes"] = element_bytes(config, Space.DRIVE)
        table = trips(outer, config.p)
        if isinstance(instruction, Mac) and instruction.tail:
            axis = len(outer) - 1 - instruction.tail_level
            last = np.moveaxis(table, axis, 0)[-1] if outer else table
            last["lanes"] = instruction.tail
        parts = {"outer": table, "column": trips(columns, 0), "inner": trips(inner, 0)}
        return cls(values, {name: part.reshape(-1) for name, part in parts.items()}, separate)
