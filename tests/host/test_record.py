"""A run's record, and the run done again from it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from relaxon.cli import cli

DATA = {"x": np.arange(60).reshape(20, 3) / 60, "y": np.arange(20) % 2}


def relaxon(*words: object) -> Result:
    return CliRunner().invoke(cli, [*map(str, words)])


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two epochs on golden, with tests, from data beside it."""
    folder = tmp_path_factory.mktemp("run")
    np.savez(folder / "data.npz", **DATA)
    asked = ("--data", folder / "data.npz", "--layers", "3,4,2", "--epochs", 2)
    done = relaxon("train", "--backend", "golden", *asked, "--record", folder / "run.json")
    assert done.exit_code == 0, done.output
    return folder / "run.json"


@pytest.mark.parametrize("backend", ["golden", "virtual"])
def test_a_run_is_identical_on_any_backend(record: Path, backend: str) -> None:
    said = relaxon("reproduce", record, "--backend", backend)
    assert (said.exit_code, said.stdout) == (0, "identical\n"), said.output


def weights(run: dict) -> None:
    run["weights"] = "0" * 32


def history(run: dict) -> None:
    run["history"][1]["online_accuracy"] += 0.05


def counters(run: dict) -> None:
    run["counters"]["SWEEPS"] += 1


def data(run: dict) -> None:
    run["spec"]["data_digest"] = "0" * 16


def machine(run: dict) -> None:
    run["machine"]["fingerprint"] = "0" * 16


def rule(run: dict) -> None:
    run["spec"]["rule_digest"] = "0" * 16


def start(run: dict) -> None:
    run["spec"]["init"] = "0" * 32


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (weights, "weights: digest was 0000"),
        (history, "history: epoch 2 was"),
        (counters, "counters: SWEEPS"),
        (data, "data: digest of"),
        (machine, "machine: golden has fingerprint"),
        (rule, "rule: ep-centered is not what"),
        (start, "weights at the start"),
    ],
)
def test_what_differs_is_said(
    record: Path, tmp_path: Path, change: Callable[[dict], None], said: str
) -> None:
    run = json.loads(record.read_text())
    change(run)
    (tmp_path / "other.json").write_text(json.dumps(run))
    result = relaxon("reproduce", tmp_path / "other.json")
    assert result.exit_code == 9
    assert said in result.stderr
    assert "identical" not in result.stdout


def test_only_counters_of_the_line_may_differ(record: Path, tmp_path: Path) -> None:
    run = json.loads(record.read_text())
    run["counters"] |= {"WAIT_STALLS": 7, "LINK_ERRORS": 1}
    (tmp_path / "other.json").write_text(json.dumps(run))
    assert relaxon("reproduce", tmp_path / "other.json").stdout == "identical\n"


@pytest.mark.parametrize(
    ("member", "value", "said"),
    [
        ("version", 2, "a record of version 2"),
        ("format", "another", "its format is 'another'"),
        ("notes", "text", "notes: not known"),
        ("history", {}, "history: damaged"),
        ("spec", {"noise": 1}, "noise: not known here"),
        ("spec", {}, "does not say data"),
    ],
)
def test_what_it_does_not_know_it_refuses(
    record: Path, tmp_path: Path, member: str, value: object, said: str
) -> None:
    run = json.loads(record.read_text()) | {member: value}
    (tmp_path / "other.json").write_text(json.dumps(run))
    result = relaxon("reproduce", tmp_path / "other.json")
    assert result.exit_code == 5
    assert said in result.stderr.replace("\n", " ")


def test_data_that_moved_are_named(record: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "moved.npz", **DATA)
    assert relaxon("reproduce", record, "--data", tmp_path / "moved.npz").stdout == "identical\n"
    np.savez(tmp_path / "others.npz", **DATA | {"y": 1 - DATA["y"]})
    assert relaxon("reproduce", record, "--data", tmp_path / "others.npz").exit_code == 9


def test_a_resumed_run_is_the_run(record: Path, tmp_path: Path) -> None:
    """From the weights given at the start, by way of a checkpoint, to the same record."""
    rng = np.random.default_rng(0)
    one, two = rng.uniform(-1, 1, (4, 3)), rng.uniform(-1, 1, (2, 4))
    np.savez(tmp_path / "first.npz", W1=one, W2=two)
    source = record.parent / "data.npz"
    kept = tmp_path / "kept.npz"
    asked = ("--data", source, "--layers", "3,4,2", "--init", tmp_path / "first.npz")
    relaxon("train", "--backend", "golden", *asked, "--epochs", 2, "--checkpoint", kept)
    run = ("--resume", kept, "--record", tmp_path / "run.json")
    assert relaxon("train", "--backend", "golden", *run).exit_code == 0
    init = ("--init", tmp_path / "first.npz")
    assert relaxon("reproduce", tmp_path / "run.json", *init).stdout == "identical\n"
    assert relaxon("reproduce", tmp_path / "run.json").exit_code == 9
