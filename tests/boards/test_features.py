"""What features cost: which machines are compared."""

import sys
from dataclasses import replace

import pytest

from relaxon_boards.catalogue import find_board
from relaxon_boards.features import main, variants
from relaxon_isa.identity import fingerprint


def test_each_feature_is_taken_out_or_put_in():
    board = find_board("ulx3s-25f")
    found = variants(board.name)
    assert list(found) == [
        *("as it is", "without random", "without decay", "with integral"),
        *("without selective repeat", "without zero runs"),
    ]
    prints = {fingerprint(replace(board, changes=changes).config) for changes in found.values()}
    assert len(prints) == 6 and fingerprint(board.config) in prints


def test_unknown_board_is_a_wrong_command_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["features", "nosuch"])
    with pytest.raises(SystemExit):
        main()
    assert "no board 'nosuch'" in capsys.readouterr().err
