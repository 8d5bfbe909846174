"""Weights in and out of a machine, by programs: no memory port is spent on them.

Reading: a MAC of a tile with the identity's column c puts the tile's column c on the lanes.
Writing: LEARN with *replace* adds up P terms, the tile's columns times the identity's, and
rounds at a position whose 1.0 the identity holds.
"""

import numpy as np

from relaxon_device.base import Device
from relaxon_isa import (
    ArrayConfig,
    Builder,
    ConfigError,
    Emit,
    EmitKind,
    Halt,
    Learn,
    LearnLevel,
    Mac,
    MacLevel,
    Pack,
    Program,
    Space,
    Wait,
)

from .layout import Layout

__all__ = [
    "load_identity",
    "load_layers",
    "read_layers",
    "read_tiles",
    "write_tiles",
]

TILES_A_RUN = 1 << 16


def _scratch(config: ArrayConfig) -> tuple[int, int]:
    """State groups of the identity and of a tile's columns: the top of the state memory."""
    return config.state_depth - 2 * config.p, config.state_depth - config.p


def load_identity(device: Device, group: int, value: int) -> None:
    """``value`` (raw) on the diagonal of P state groups from ``group`` on, else 0."""
    p = device.config.p
    device.write(Space.STATE, group * p, (np.eye(p, dtype=np.int64) * value).reshape(-1))


def _read_program(config: ArrayConfig, tile: int, count: int) -> Program:
    p = config.p
    identity, columns = _scratch(config)
    b = Builder(config)
    with b.loop(count, step=1):
        b.add(
            Mac(outer=(MacLevel(count=p, src=1, dst=1),), tile=tile, tile_x=1, src=identity,
                dst=columns)
        )  # fmt: skip
        b.add(Emit(kind=EmitKind.PLANE, base=columns, count=p * p))
    b.add(Halt())
    return b.build()


def _write_program(config: ArrayConfig, tile: int, count: int) -> Program:
    p = config.p
    identity, columns = _scratch(config)
    terms = 1 << config.learn_terms.bit_length() - 1 if p > config.learn_terms else p
    b = Builder(config)
    with b.loop(count, step=1):
        b.add(Wait(dst=columns, count=p * p, pack=Pack.WORD, signed=True))
        # Columns that share a LEARN; the first one replaces, the others add to zeros of their own.
        for first in range(0, p, terms):
            inner = (LearnLevel(count=min(terms, p - first), row=1, col=1),)
            b.add(
                Learn(inner=inner, tile=tile, tile_x=1, row=columns + first, col=identity + first,
                      replace=first == 0, hold=True)
            )  # fmt: skip
    b.add(Halt())
    return b.build()


def _load(device: Device, program: Program) -> int:
    """Load a program into the last rows, where it leaves most others alone; returns its first."""
    row = device.config.program_rows - len(program.rows)
    device.load(program.rows_at(row), row)
    return row


def _need_narrow(config: ArrayConfig) -> None:
    if config.weight_bits > config.state_bits:
        raise ConfigError(
            f"weights of {config.weight_bits} bits pass through states of {config.state_bits}: "
            "weight access needs weight_bits <= state_bits"
        )


def read_tiles(device: Device, tile: int, count: int) -> np.ndarray:
    """Tiles as int64 of shape (count, P, P), row r and column c of each as in the contract.

    Overwrites the last rows of program memory and the scratch groups; nothing else, and no counter.
    """
    config = device.config
    _need_narrow(config)
    load_identity(device, _scratch(config)[0], 1)
    p = config.p
    parts = []
    for start in range(tile, tile + count, TILES_A_RUN):
        number = min(TILES_A_RUN, tile + count - start)
        parts += device.run(row=_load(device, _read_program(config, start, number)), count=False)
    words = device.layouts[Space.STATE].decode(b"".join(parts)).reshape(count, p, p)
    return words.transpose(0, 2, 1)  # the machine sends columns


def write_tiles(device: Device, tile: int, values: np.ndarray) -> None:
    """Load tiles, int64 of shape (count, P, P). Side effects as `read_tiles`.

    Raises ConfigError for values outside the weight format; nothing is loaded then.
    """
    config = device.config
    _need_narrow(config)
    values = np.asarray(values, dtype=np.int64)
    limit = 1 << (config.weight_bits - 1)
    if values.size and (values.min() < -limit or values.max() >= limit):
        raise ConfigError(f"weights must be {-limit} to {limit - 1}; nothing was loaded")
    load_identity(device, _scratch(config)[0], 1 << config.learn_shifts[0])
    encode = device.layouts[Space.STATE].encode
    for start in range(0, len(values), TILES_A_RUN):
        part = values[start : start + TILES_A_RUN]
        row = _load(device, _write_program(config, tile + start, len(part)))
        samples = map(encode, part.transpose(0, 2, 1).reshape(len(part), -1))
        for _ in device.run(samples, row=row, count=False):
            pass


def load_layers(device: Device, layout: Layout, weights: list[np.ndarray]) -> None:
    """Load every block's integer matrix (`Layout.shapes`)."""
    tiles = [block.to_tiles(w) for block, w in zip(layout.blocks, weights, strict=True)]
    write_tiles(device, 0, np.concatenate(tiles))


def read_layers(device: Device, layout: Layout) -> list[np.ndarray]:
    """Every block's integer matrix (`Layout.shapes`)."""
    tiles = read_tiles(device, 0, layout.weight_tiles)
    return [block.from_tiles(tiles[block.extent]) for block in layout.blocks]
