"""Places for the blocks of an array that fills its device.

A placer starts from where wires would like their ends to be, and moves apart what overlaps. Of
12 x 12 cells on an 85F, which take 144 of its 156 multipliers and 200 to 207 of its 208 block RAMs,
it makes more wires that way than the router finds room for (docs/decisions.md, ECP5). So these
blocks have places, which their family knows, and the placer finds those of the rest.
"""

from relaxon_hdl.families import find_family

from .board import Board

__all__ = ["floorplan", "floorplan_script"]


def floorplan(board: Board) -> dict[str, str]:
    """`Family.places` of a board's machine. Empty for boards that leave all to synthesis, whose
    blocks have other names."""
    if not board.primitives:
        return {}
    return find_family(board.primitives).places(board.device, board.config)


def floorplan_script(board: Board) -> str:
    """`floorplan` as commands of yosys after synthesis. They fail where a block is not found."""
    lines = []
    for pattern, place in floorplan(board).items():
        blocks = f"*/c:*.array.{pattern}"
        lines += [f"select -assert-count 1 {blocks}", f'setattr -set BEL "{place}" {blocks}']
    return "\n".join(lines)
