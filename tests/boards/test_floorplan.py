"""Places of blocks: each once, for blocks that the machine has."""

import re

import pytest

from relaxon_boards.build import prepare
from relaxon_boards.catalogue import BOARDS
from relaxon_boards.floorplan import floorplan, floorplan_script

PLANNED = [board for board in BOARDS.values() if floorplan(board)]


@pytest.mark.parametrize("board", PLANNED, ids=lambda board: board.name)
def test_every_block_has_a_place_of_its_own(board):
    plan = floorplan(board)
    p = board.config.p
    assert len(set(plan.values())) == len(plan) == 2 * p * p + 4 * p
    kinds = [re.fullmatch(r"X\d+/Y\d+/(MULT18_|EBR)\d", bel) for bel in plan.values()]
    assert [kind and kind[1] for kind in kinds].count("MULT18_") == p * p and all(kinds)


@pytest.mark.parametrize("board", PLANNED, ids=lambda board: board.name)
def test_a_cell_is_in_the_row_of_its_mirror_image(board):
    plan = floorplan(board)
    for row in range(board.config.p):
        for column in range(row):
            for block in ("multiplier.mult18", "weights.ram.block_0"):
                here, there = (
                    plan[f"cell_{r}_{c}.{block}"].split("/")[1]
                    for r, c in ((row, column), (column, row))
                )
                assert here == there


def test_the_machine_has_these_blocks():
    """As the hierarchy names them before yosys flattens it; of the split in two of a drive's
    memory yosys alone can tell, and `floorplan_script` makes it do so."""
    board = BOARDS["ecpix5-85f"]
    text = prepare(board).files["top.il"]
    modules = {}
    for module in re.finditer(r"^module \\(\S+)\n(.*?)^end$", text, re.MULTILINE | re.DOTALL):
        modules[module[1]] = re.findall(r"^  (?:cell|memory) .*\\(\S+)$", module[2], re.MULTILINE)
    for pattern in floorplan(board):
        *path, block = re.sub(r"\.0\.\d$", "", pattern.replace("[.$]*", ".")).split(".")
        found = [
            cells
            for name, cells in modules.items()
            if re.fullmatch(rf".*\.array\.{re.escape('.'.join(path))}(\$\d+)?", name)
        ]
        assert len(found) == 1, pattern
        assert block in found[0], (pattern, found[0])


def test_yosys_is_told_of_boards_with_a_plan_alone():
    assert {board.preset for board in PLANNED} == {"ecp5-85f", "ecp5-85f-memory"}
    assert floorplan_script(BOARDS["icebreaker"]) == ""
    assert floorplan_script(PLANNED[0]).count("select -assert-count 1 ") == len(
        floorplan(PLANNED[0])
    )
