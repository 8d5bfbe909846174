"""Whether a machine fits a board's memories and multipliers, counted before synthesis.

What logic it takes is known after synthesis alone.
"""

from collections.abc import Iterator
from typing import NamedTuple

from relaxon_hdl.families import find_family
from relaxon_hdl.lists import ENTRY_BITS, sharing
from relaxon_isa import ArrayConfig, ConfigError, row_bits
from relaxon_isa.config import RANGES

from .board import Board

__all__ = ["Need", "check_fit", "needs", "possible"]

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

    Nothing of boards whose ``capacity`` does not say what there is. Raises ConfigError if the
    board's family does not say what its blocks hold."""
    family, cells = find_family(board.family), config.p**2
    ram, large = family.block_ram, family.large_ram
    if ram is None or family.factor is None:
        raise ConfigError(
            f"{board.name}: whether a machine fits is counted from block RAMs and multipliers, and "
            f"those of {family.name} are not described here: build the board as it is, or add them "
            "to its family (block_ram, factor)"
        )
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
        name: count * ram.blocks(width, depth) for name, (count, width, depth) in memories.items()
    }
    blocks["link"] += blocks.pop("others")
    blocks["lists"] = sum(
        ram.blocks(ENTRY_BITS * len(columns), config.sample_buffer) for columns in sharing(config.p)
    )
    blocks["others"] = ram.others + config.sample_memory  # words on their way into it
    found: dict[str, dict[str, int]] = {}
    if large and large.label in board.capacity:
        single = config.weight_ports == 1 and config.weight_bits <= large.width
        if single and config.weight_depth <= large.depth:
            blocks["weights"] = 0
            found[large.label] = {"weights": cells}
    found[ram.label] = blocks
    found["DSP"] = family.multipliers(config)
    return {
        label: Need(sum(parts.values()), board.capacity[label], parts)
        for label, parts in found.items()
        if label in board.capacity
    }


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
    and what would fit. Raises it, too, where that cannot be counted (`needs`)."""
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
