"""The table of claims: quick rows are met, and a run goes on where it ended."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from relaxon.cli import cli
from relaxon.studies import claims
from relaxon_isa import ConfigError

DAILY = (
    *("no-nudge", "centered-double", "read-out", "lock-in", "carriers", "temporal-tuned"),
    *("window", "background", "triangle"),
)


def run(*arguments: str) -> list[dict]:
    ran = CliRunner().invoke(cli, ["bench", "claims", "--json", *arguments])
    assert ran.exit_code == 0, ran.output
    return json.loads(ran.stdout)


def test_rows_are_met_kept_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep, table = tmp_path / "rows", tmp_path / "claims.md"
    only = [f"--only={key}" for key in DAILY]
    rows = run(*only, "--keep", str(keep))
    assert [row["key"] for row in rows] == list(DAILY) and all(row["met"] for row in rows)
    monkeypatch.setattr(claims, "_measured", None)  # what is kept is not measured again
    assert run(*only, "--keep", str(keep), "--write", str(table)) == rows
    text = table.read_text()
    assert all(f"--only {key}`" in text for key in DAILY)
    assert "Left out by this run's `--only`: bit-exact, " in text


def test_what_is_not_met_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    claim = claims.CLAIMS["window"]
    worse = claims.Claim("window", claim.system, claim.claim, claim.wanted, lambda: (1.0, False))
    monkeypatch.setitem(claims.CLAIMS, "window", worse)
    (row,) = claims.measure(["window"])
    assert row.met is False and row.reason == "not looked into"
    (row,) = claims.measure(["mnist-500"])
    assert row.met is None and "needs --mnist" in row.reason
    with pytest.raises(ConfigError, match="no claim 'widow'"):
        claims.measure(["widow"])
