"""Geometry has one home: what a block of weights looks like is asked of it."""

import ast
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from relaxon import connections
from relaxon.layout import Layout, MemoryNeeds
from relaxon.network import Network
from relaxon_isa.presets import PRESETS

ROOT = Path(__file__).parents[2]
HOMES = ("connections.py", "layout.py")
ASKED = {"lower", "upper", "shape", "extent"}
"""What anyone may read of a block: which layers, its matrix, its words of weight memory."""


def reads(path: Path) -> set[str]:
    return {node.attr for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Attribute)}  # fmt: skip


def test_nothing_but_block_and_layout_knows_how_tiles_lie():
    names = {field.name for field in fields(connections.Block)}
    names |= {
        name for name, value in vars(connections.Block).items() if isinstance(value, property)
    }
    inner = {name for name in names - ASKED if not name.startswith("_")}
    assert inner >= {"below", "above", "first_tile", "words_each", "tile_columns"}
    paths = [p for folder in ("host", "sim", "tests/host") for p in (ROOT / folder).rglob("*.py")]
    known = {path.name for path in paths if path.name in HOMES and reads(path) & inner}
    assert known == set(HOMES)  # the check sees what it is to see
    for path in paths:
        assert path.name in HOMES or not reads(path) & inner, path


@pytest.mark.parametrize("words", [1, 2])
def test_matrices_come_back_from_tiles(words):
    needs = MemoryNeeds(words=words, backward=True, skips=((0, 2), (1, 3)))
    layout = Layout(Network((9, 8, 7, 5)), PRESETS["default"], needs)
    rng = np.random.default_rng(0)
    at = 0
    for block in layout.blocks:
        matrix = rng.integers(-99, 99, block.shape)
        tiles = block.to_tiles(matrix)
        assert block.extent == slice(at, at + len(tiles))
        assert np.array_equal(block.from_tiles(tiles), matrix)
        assert words == 1 or not tiles[1::2].any()
        at += len(tiles)
    assert at == layout.weight_tiles
