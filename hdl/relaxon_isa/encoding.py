"""Program rows: the layout of each kind of row, instructions to rows and back."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import IntEnum

from .config import ArrayConfig, clog2
from .errors import ProgramError
from .instructions import (
    LEARN_FLAGS,
    LEVEL_COUNT_BITS,
    LOOP_COUNT_BITS,
    Emit,
    Halt,
    Instruction,
    Learn,
    LearnLevel,
    Loop,
    Mac,
    MacLevel,
    Next,
    Opcode,
    Wait,
    nest_levels,
)

__all__ = [
    "DRAIN_BITS",
    "OUTPUTS_BITS",
    "STREAMS",
    "RowLayout",
    "decode",
    "encode",
    "loop_ends",
    "row_layouts",
    "row_starts",
    "rows_of",
]


DRAIN_BITS = 5
"""Enough for every machine's longest drain."""


OUTPUTS_BITS = 9
"""A label is a byte."""


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
    inner levels``. In LEARN ``src`` is the column plane and ``dst`` the row plane. Fields of what a
    machine lacks take no bits of its rows.
    """
    tile, state = config.tile_addr_bits, config.state_addr_bits
    drive, row = config.drive_addr_bits, config.program_addr_bits
    dst = max(state, drive)
    nest = (("opcode", 3), ("levels", 3), ("inner", 3), ("sign", 2))
    drain = (("drain", DRAIN_BITS),) if config.drains else ()
    ahead = (
        *(("ahead", 1), ("bias", 1), ("dense", 1), ("outputs", OUTPUTS_BITS)),
        *(("low", config.state_bits), ("high", config.state_bits)),
    )
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
                *((flag, 1) for flag in config.mac_flags),
                *drain,
            )
        ),
        "LEARN": RowLayout(
            (
                *nest,
                ("tile_x", 2),
                ("src_x", 2),
                ("dst_x", 2),
                ("position", 1),
                *((flag, 1) for flag in LEARN_FLAGS),
                ("threshold", config.weight_bits),
                *((("walk", 1),) if config.sample_buffer else ()),
                *drain,
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
                *(ahead if config.sample_buffer else ()),
            )
        ),
        "EMIT": RowLayout(
            (
                ("opcode", 3),
                ("kind", 3 if config.sample_buffer else 2),
                ("base", max(dst, 5 if config.sample_memory else 4)),  # or a register's number
                ("base_x", 2),
                ("count", 16),
            )
        ),
        "HALT": RowLayout((("opcode", 3),)),
    }


STREAMS = ("tile", "src", "dst", "gate", "drive")
_LEARN_STREAMS = {"tile": "tile", "src": "col", "dst": "row"}


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


def loop_ends(instructions: Sequence[Instruction]) -> dict[int, int]:
    """From the index of each LOOP to that of its NEXT."""
    ends: dict[int, int] = {}
    open_loops: list[int] = []
    for i, instruction in enumerate(instructions):
        if isinstance(instruction, Loop):
            open_loops.append(i)
        elif isinstance(instruction, Next):
            ends[open_loops.pop()] = i
    return ends


def encode(
    config: ArrayConfig, instructions: Sequence[Instruction], at: int = 0
) -> tuple[int, ...]:
    """Instructions to program rows, to be loaded from row ``at`` on. They must have passed `check`
    and fit there."""
    layouts, ends = row_layouts(config), loop_ends(instructions)
    starts = [at + start for start in row_starts(instructions)]
    begins = {end: begin for begin, end in ends.items()}
    rows: list[int] = []
    for i, instruction in enumerate(instructions):
        if isinstance(instruction, Mac | Learn):
            rows += _encode_nest(instruction, layouts)
            continue
        source = instructions[begins.get(i, i)]  # a NEXT's row repeats fields of its LOOP
        values = {f.name: int(getattr(source, f.name)) for f in fields(source)}
        if isinstance(instruction, Loop):
            values |= {"count": instruction.count - 1, "end": starts[ends[i]] + 1}
        elif isinstance(instruction, Next):
            values["body"] = starts[begins[i]] + 1
        values["opcode"] = instruction.opcode
        rows.append(layouts[instruction.opcode.name].pack(values))
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


def _typed(kind: type, values: dict):
    """An instruction from raw field values, with the types its fields are declared with."""
    # What this machine's rows have no field for is at its default.
    typed = {f.name: values.get(f.name, f.default) for f in fields(kind)}
    for f in fields(kind):
        if isinstance(f.type, type) and issubclass(f.type, bool | IntEnum):
            typed[f.name] = f.type(typed[f.name])
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
                for name in ("low", "high"):
                    if name in values:
                        values[name] = _signed(values[name], config.state_bits)
                instruction = _typed(kind, values)
        except (ValueError, KeyError, IndexError) as error:
            raise ProgramError(f"row {at}: not an instruction ({error})") from error
        instructions.append(instruction)
        at += rows_of(instruction)
    return tuple(instructions)
