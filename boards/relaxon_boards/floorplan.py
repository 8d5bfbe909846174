"""Places for the blocks of an array that fills its device.

A placer starts from where wires would like their ends to be, and moves apart what overlaps. Of
12 x 12 cells on an 85F, which take 144 of its 156 multipliers and 200 to 207 of its 208 block RAMs,
it makes more wires that way than the router finds room for (docs/decisions.md, ECP5). So these
blocks have places here, and the placer finds those of the rest.
"""

from .board import Board

__all__ = ["floorplan", "floorplan_script"]

# LFE5U-85F and LFE5UM5G-85F, one die, by nextpnr's coordinates: a group of blocks has four
# multipliers in each of three rows and four block RAMs in each of four.
GROUPS = (4, 13, 22, 31, 40, 49, 58, 69, 78, 87, 96, 105, 114)
MIDDLE = 6
MULTIPLIERS = ((0, "MULT18_0"), (1, "MULT18_1"), (4, "MULT18_4"), (5, "MULT18_5"))
MULTIPLIER_ROWS = (10, 34, 58)
RAMS = ((0, "EBR0"), (2, "EBR1"), (4, "EBR2"), (6, "EBR3"))
RAM_ROWS = (22, 46, 70, 82)


def multiplier(group: int, row: int, slot: int) -> str:
    """nextpnr's name of a multiplier."""
    column, name = MULTIPLIERS[slot]
    return f"X{GROUPS[group] + column}/Y{MULTIPLIER_ROWS[row]}/{name}"


def block_ram(group: int, row: int, slot: int) -> str:
    """nextpnr's name of a block RAM."""
    column, name = RAMS[slot]
    return f"X{GROUPS[group] + column}/Y{RAM_ROWS[row]}/{name}"


def floorplan(board: Board) -> dict[str, str]:
    """Of blocks with a place of their own: patterns (yosys') of their names in the array, and
    nextpnr's name of the place. Empty for all but 12 x 12 cells on an 85F.

    * A lane has a group, and a cell a multiplier and a block RAM of neighbouring rows in it.
    * A lane's cells are in three rows of four, as its adder tree takes them. A cell is in the same
      row as its mirror image, whose weight it takes in a transposed tile: so these wires do not
      cross rows.
    * Lanes leave out the middle group. There is the first port of every lane's states, whose words
      go to all groups; and room for what all lanes deal with, the sequencer before all.
    """
    p = board.config.p
    if board.primitives != "ecp5" or "-85F-" not in board.device or p != 12:
        return {}
    places = {}
    for lane in range(p):
        group = lane + (lane >= MIDDLE)
        for column in range(p):
            row, slot = (lane // 4 + column // 4) % 3, column % 4
            cell = f"cell_{lane}_{column}"
            places[f"{cell}.multiplier.mult18"] = multiplier(group, row, slot)
            places[f"{cell}.weights.ram.block_0"] = block_ram(group, row, slot)
        places[f"state_{lane}.a.block_0"] = block_ram(MIDDLE, lane // 4, lane % 4)
        places[f"state_{lane}.b.block_0"] = block_ram(group, 3, 1)
        # Amaranth puts "$" and a number behind some of these names, which signals have too, and
        # yosys makes two blocks of a memory of 36 bits.
        for half in range(2):
            places[f"drive_{lane}[.$]*memory.0.{half}"] = block_ram(group, 3, 2 + half)
    return places


def floorplan_script(board: Board) -> str:
    """`floorplan` as commands of yosys after synthesis. They fail where a block is not found."""
    lines = []
    for pattern, place in floorplan(board).items():
        blocks = f"*/c:*.array.{pattern}"
        lines += [f"select -assert-count 1 {blocks}", f'setattr -set BEL "{place}" {blocks}']
    return "\n".join(lines)
