"""All boards."""

from relaxon_isa.errors import choose

from . import arty, ecpix5, hx8k, icebreaker, icepi_zero, icesugar, icesugar_pro, tang, ulx3s
from .board import Board

__all__ = ["BOARDS", "find_board"]

BOARDS: dict[str, Board] = {
    board.name: board
    for module in (ulx3s, ecpix5, icepi_zero, icesugar_pro, icebreaker, icesugar, hx8k, tang, arty)
    for board in module.BOARDS
}


def find_board(name: str) -> Board:
    """The board of that name. Raises ConfigError that lists the names."""
    return choose("board", name, BOARDS)
