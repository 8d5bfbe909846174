"""The table of claims: quick rows are met, and a run goes on where it ended."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from relaxon.cli import cli
from relaxon.datasets import Dataset, load
from relaxon.network import Network
from relaxon.studies import claims
from relaxon.training import TrainSettings
from relaxon_isa import ConfigError

DAILY = ("no-nudge", "one-sided", "read-out", "lock-in", "background", "triangle")


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


def test_rates_are_chosen_on_what_is_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default's double is best on it, the default itself on the test set."""
    data, seen = load("iris"), []

    def trained(network: Network, data: Dataset, run: TrainSettings) -> dict:
        seen.append((data, run.seed, run.rule.rate_shifts))
        held_out = len(data.x_train) < len(whole.x_train)
        return {"accuracy": run.rule.rate_shifts == ((5, 8) if held_out else (6, 9))}

    whole = data
    monkeypatch.setattr(claims, "trained", trained)
    assert claims._trained(data, "8-4-3", 1) == 0
    choosing, judging = seen[:3], seen[3:]
    assert {shifts for *_, shifts in choosing} == {(6, 9), (5, 8), (7, 10)}
    for part, seed, _ in choosing:
        rows = np.vstack([part.x_train, part.x_test])
        assert len(rows) == len(data.x_train) and seed in claims.TUNED
        assert {*map(bytes, rows)} == {*map(bytes, data.x_train)}
    assert [seed for _, seed, _ in judging] == [*claims.JUDGED]
    assert not {*claims.JUDGED} & {*claims.TUNED}
    assert all(part is data and shifts == (5, 8) for part, _, shifts in judging)
