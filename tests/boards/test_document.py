"""docs/boards.md is what the committed reports say; regressions are seen."""

from dataclasses import replace
from pathlib import Path

import pytest

from relaxon_boards.catalogue import BOARDS
from relaxon_boards.document import REPORTS, main, render
from relaxon_boards.report import Report, regressions
from relaxon_hdl.families import find_family
from relaxon_isa.config import CONTRACT_VERSION
from relaxon_isa.errors import DataError
from relaxon_isa.identity import fingerprint
from relaxon_isa.presets import PRESETS

ROOT = Path(__file__).parents[2]
COMMITTED = sorted((ROOT / REPORTS).glob("*.json"))


def test_page_is_as_rendered():
    page = (ROOT / "docs/boards.md").read_text()
    assert page == render(ROOT), "run: python -m relaxon_boards.document"


def test_command(tmp_path, monkeypatch, capsys):
    def document(*arguments: str) -> tuple[object, str]:
        monkeypatch.setattr("sys.argv", ["document", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return ended.value.code, out + err

    monkeypatch.chdir(tmp_path)
    code, said = document("--help")
    assert code == 0 and "[REPORT ...]" in said
    assert "nosuch: not a build report" in document("nosuch")[1]
    assert document()[0] == 2  # not the root of a repository
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr("sys.argv", ["document", str(COMMITTED[0])])
    main()
    assert [path.name for path in (tmp_path / REPORTS).iterdir()] == [COMMITTED[0].name]
    page = (tmp_path / "docs/boards.md").read_text()
    assert f"`{COMMITTED[0].stem}`" in page and "Other machines" not in page
    # The same of a machine that is not the board's own stands beside it.
    mine = fingerprint(PRESETS["artix-35"])
    other = replace(Report.read(COMMITTED[0]), preset="artix-35", fingerprint=mine)
    (tmp_path / "report.json").write_text(other.to_json())
    monkeypatch.setattr("sys.argv", ["document", "report.json"])
    main()
    assert {path.name for path in (tmp_path / REPORTS).iterdir()} == {
        COMMITTED[0].name, f"{other.board}.artix-35.json",
    }  # fmt: skip
    assert f"| `{other.board} artix-35` |" in (tmp_path / "docs/boards.md").read_text()
    # A machine of one's own is no preset, whatever its file is called.
    for preset in ("mine", "artix-100"):
        (tmp_path / "report.json").write_text(replace(other, preset=preset).to_json())
        code, said = document("report.json")
        assert code == 2 and f"its machine is no preset {preset}" in said


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_committed_report_is_of_the_board_as_it_is(path):
    report, (name, _, preset) = Report.read(path), path.stem.partition(".")
    board = BOARDS[name]
    assert (report.board, report.preset) == (name, preset or board.preset)
    assert report.contract <= CONTRACT_VERSION
    row = f"{name} {preset}".strip()
    said = f"| `{row}` (before contract {CONTRACT_VERSION}) |" in render(ROOT)
    if report.contract == CONTRACT_VERSION:
        assert report.fingerprint == fingerprint(PRESETS[report.preset]) and not said
        assert f"| `{row}` |" in render(ROOT)
    else:
        assert said
    assert report.clock_mhz == board.clock_hz / 1e6
    assert report.passed or find_family(board.family).vendor
    assert report.note == board.experimental
    assert regressions(report, report) == []


def test_regressions_are_seen():
    old = Report(
        board="x", device="x", preset="x", fingerprint="", contract=1, p=1, clock_mhz=24, baud=1,
        tools={}, resources={"LC": (5000, 5280), "DSP": (6, 8)}, fmax_mhz=30.0, seed=1,
        seeds={"1": 30.0},
    )  # fmt: skip

    def found(**changes) -> list[str]:
        return regressions(replace(old, **changes), old)

    assert found() == []
    assert found(resources={"LC": (5100, 5280), "DSP": (6, 8)}, fmax_mhz=27.1) == []
    assert found(resources={"LC": (5101, 5280), "DSP": (6, 8)}) == ["LC: 5101, was 5000"]
    assert found(fmax_mhz=26.9) == ["Fmax: 26.90 MHz, was 30.00 MHz"]
    assert found(fmax_mhz=None) == ["Fmax: 0.00 MHz, was 30.00 MHz"]


def test_what_is_no_report_is_refused(tmp_path):
    path = tmp_path / "report.json"
    for text in ("", "[]", "{}", '{"passed": true, "critical_path": [], "resources": {}}'):
        path.write_text(text)
        with pytest.raises(DataError, match="not a build report"):
            Report.read(path)
