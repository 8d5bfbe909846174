"""Files are written whole or not at all, and nothing else is left."""

from pathlib import Path

import pytest

from relaxon import files
from relaxon_isa.errors import DataError


def test_what_was_there_stays_until_the_new_one_is_whole(tmp_path, monkeypatch):
    path = tmp_path / "page.html"
    files.write(path, "one\n")
    files.write(path, b"two\n")
    assert path.read_text() == "two\n"

    def full(self: Path, content: bytes) -> None:
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DataError, match=r"page\.html: cannot be written \(No space left on"):
        files.write(path, "three\n")
    with pytest.raises(OSError, match="No space left"):
        files.replace(path, "three\n")
    assert path.read_text() == "two\n" and [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("place", ["none/page", "file/page", "folder"])
def test_a_place_that_cannot_be_written_is_said(place, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match="cannot be written"):
        files.write(tmp_path / place, "text")
    assert {path.name for path in tmp_path.iterdir()} == {"file", "folder"}
