"""All boards: one file each, and one line here; those of other packages by entry point."""

from importlib.metadata import entry_points

from relaxon_isa import ConfigError, choose

from . import arty, ecpix5, hx8k, icebreaker, icepi_zero, icesugar, icesugar_pro, tang, ulx3s
from .board import Board

__all__ = ["BOARDS", "all_boards", "find_board"]

BOARDS: dict[str, Board] = {
    board.name: board
    for module in (ulx3s, ecpix5, icepi_zero, icesugar_pro, icebreaker, icesugar, hx8k, tang, arty)
    for board in module.BOARDS
}
"""The boards of this package."""


def all_boards() -> dict[str, Board]:
    """`BOARDS`, then those of other packages: entry points of the group ``relaxon.boards``, each a
    `Board`. Of two with one name, the first counts. Raises ConfigError if one is no board."""
    found = dict(BOARDS)
    for point in entry_points(group="relaxon.boards"):
        whose = f"board {point.value} (entry point {point.name})"
        try:
            board = point.load()
        except Exception as error:  # somebody else's code
            raise ConfigError(f"{whose}: {type(error).__name__}: {error}") from error
        if not isinstance(board, Board):
            raise ConfigError(f"{whose} is no relaxon_boards.board.Board")
        found.setdefault(board.name, board)
    return found


def find_board(name: str) -> Board:
    """The board of that name. Raises ConfigError that lists the names."""
    return choose("board", name, BOARDS if name in BOARDS else all_boards())
