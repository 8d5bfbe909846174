"""Whether a machine fits a board's memories and multipliers, counted before synthesis.

What logic it takes is known after synthesis alone.
"""

from collections.abc import Iterator
from typing import NamedTuple

from relaxon_hdl.lists import ENTRY_BITS, sharing
from relaxon_isa import ArrayConfig, ConfigError, row_bits
from relaxon_isa.config import RANGES

from .board import Board

__all__ = ["Need", "check_fit", "needs", "possible"]

SHAPES = {
    "ecp5": {512: 36, 1024: 18, 2048: 9, 4096: 4, 8192: 2, 16384: 1},
    "ice40": {256: 16, 512: 8, 1024: 4, 2048: 2},
    "gowin": {512: 36, 1024: 18, 2048: 9},
    "xilinx": {512: 36, 1024: 18, 2048: 9, 4096: 4, 8192: 2, 16384: 1},
}
"""A family's block RAM: bits of a word in each depth that it can have."""
MIXED = ("ice40", "gowin")
"""Families whose memories are of blocks of different depths (`relaxon_hdl.primitives.banks`)."""
IN_LOGIC = {"ecp5": 128, "ice40": 0, "gowin": 128, "xilinx": 128}
"""Words up to which a memory is made of logic."""
BITS_IN_LOGIC = {"xilinx": 2048}
"""Bits, likewise."""
OTHERS = {"ecp5": 2, "ice40": 5, "gowin": 2, "xilinx": 0}
"""Block RAMs of link, counters and identity, the same for every machine."""
FACTOR = {"ecp5": (18, 18), "gowin": (18, 18), "xilinx": (25, 18)}
"""Bits of a multiplier's signed factors."""
SPRAM_BITS, SPRAM_WORDS = 16, 1 << 14
STEP = 128
"""Depths that are tried as what would fit."""


class Need(NamedTuple):
    """A resource that a machine takes of a board: how much, of what, and how much there is."""

    used: int
    available: int
    parts: dict[str, int]

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {n}" for name, n in self.parts.items() if n)
        return f"{self.used} ({parts}), there are {self.available}"


def needs(board: Board, config: ArrayConfig) -> dict[str, Need]:
    """What a machine takes of a board's multipliers and memories, by the label of the resource.

    Nothing of boards whose ``capacity`` does not say what there is, and of families of others."""
    family, cells = board.family, config.p**2
    if family not in SHAPES:
        return {}
    memories = {
        "weights": (cells, config.weight_bits, config.weight_depth),
        "states": (2 * config.p, config.state_bits, config.state_depth),  # two reads at a time
        "drives": (config.p, config.acc_bits, config.drive_depth),
        "tables": (config.p, config.state_bits, 1 << config.table_bits if config.table_bits else 0),
        "program": (1, row_bits(config), config.program_rows),
        "link": (1, 8, config.rx_bytes),
        "others": (1, 8, config.tx_bytes),
    }
    blocks = {
        name: count * _blocks(family, width, depth)
        for name, (count, width, depth) in memories.items()
    }
    blocks["link"] += blocks.pop("others")
    blocks["lists"] = sum(
        _blocks(family, ENTRY_BITS * len(columns), config.sample_buffer)
        for columns in sharing(config.p)
    )
    blocks["others"] = OTHERS[family] + config.sample_memory  # words on their way into it
    found: dict[str, dict[str, int]] = {}
    single = config.weight_ports == 1 and config.weight_bits <= SPRAM_BITS
    if "SPRAM" in board.capacity and single and config.weight_depth <= SPRAM_WORDS:
        blocks["weights"] = 0
        found["SPRAM"] = {"weights": cells}
    found["BRAM18" if family == "xilinx" else "BRAM"] = blocks
    found["DSP"] = _multipliers(board, config)
    return {
        label: Need(sum(parts.values()), board.capacity[label], parts)
        for label, parts in found.items()
        if label in board.capacity
    }


def _blocks(family: str, width: int, depth: int) -> int:
    """Block RAMs of a memory."""
    if depth <= IN_LOGIC[family] or width * depth <= BITS_IN_LOGIC.get(family, 0):
        return 0
    shapes = SHAPES[family]
    if family in MIXED:
        count = base = 0
        while base < depth:
            left = 1 << ((depth - base).bit_length() - 1)
            size = max(min(shapes), min(max(shapes), left))
            count += -(-width // shapes[size])
            base += size
        return count
    size = next((words for words in shapes if words >= depth), max(shapes))
    return -(-depth // size) * -(-width // shapes[size])


def _multipliers(board: Board, config: ArrayConfig) -> dict[str, int]:
    cells = config.p**2
    state, widest = config.state_bits, max(config.state_bits, config.weight_bits)
    if board.family == "ice40":  # 16 bits and no more; and a lane's shifter is one
        return {"cells": cells * (widest <= 16), "lanes": config.p * (state <= 16)}
    a, b = FACTOR[board.family]
    # Of a wide factor's parts only the highest has a sign; the sign of a state may change: a bit.
    each = min(
        -(-state // (one - 1)) * -(-(widest - 1) // (other - 1)) for one, other in ((a, b), (b, a))
    )
    return {"cells": cells * each}


def _fits(board: Board, config: ArrayConfig) -> bool:
    return all(need.used <= need.available for need in needs(board, config).values())


def possible(board: Board, config: ArrayConfig) -> Iterator[tuple[str, int]]:
    """Fields whose change alone makes a machine fit a board, each with the nearest value."""
    for field in ("weight_depth", "state_depth", "drive_depth", "p", "weight_bits", "state_bits"):
        value, low = getattr(config, field), RANGES[field][0]
        step = STEP if field.endswith("depth") else 1
        for smaller in range((value - 1) // step * step, low - 1, -step):
            try:
                changed = config.replace(**{field: smaller})
            except ConfigError:
                continue
            if _fits(board, changed):
                yield field, smaller
                break
    if config.table_bits and _fits(board, config.replace(table_bits=0)):
        yield "table_bits", 0


def check_fit(board: Board, config: ArrayConfig) -> None:
    """Raise ConfigError if a board lacks multipliers or memories for a machine: it says which,
    and what would fit."""
    over = {k: need for k, need in needs(board, config).items() if need.used > need.available}
    if not over:
        return
    would = " or ".join(f"{field} = {value}" for field, value in possible(board, config))
    for p in range(config.p - 1, 0, -1) if not would else ():
        if found := next(possible(board, config.replace(p=p)), None):
            would = f"p = {p} with {found[0]} = {found[1]}"
            break
    raise ConfigError(
        f"the machine does not fit {board.name}: it needs "
        + "; ".join(f"{label} {need}" for label, need in over.items())
        + (f". What would fit, all else as it is: {would}" if would else ". Nothing near would fit")
        + f"; to start from the machine that it is built as: relaxon config {board.name}"
    )
