"""What modes cost: which machines are compared."""

from dataclasses import replace

from relaxon_boards.catalogue import find_board
from relaxon_boards.modes import variants


def test_each_mode_is_taken_out_or_put_in():
    board = find_board("ulx3s-25f")
    found = variants(board.name)
    assert list(found) == ["as it is", "without random", "without decay", "with integral"]
    prints = {replace(board, changes=changes).config.fingerprint for changes in found.values()}
    assert len(prints) == 4 and board.config.fingerprint in prints
