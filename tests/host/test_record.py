"""A run's record, and the run done again from it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from relaxon.cli import cli
from relaxon.training import Trainer
from support.runs import DATA, KINDS, RULE, SMALL, folder_of_data


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
    run["weights"] = run["matrices"]["W2"] = "0" * 32


def history(run: dict) -> None:
    run["history"][1]["online_accuracy"] = 0.05


def within(run: dict) -> None:
    """Weights that differ after the first epoch, and lead to the same answers."""
    for entry in run["history"]:
        entry["weights"] = "0" * 32


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
        (weights, "weights: W2 differ, W1 identical"),
        (history, "history: first in epoch 2: online_accuracy was 0.05, is"),
        (within, "history: first in epoch 1: weights was 0000"),
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


def test_only_what_is_the_boards_may_differ(record: Path, tmp_path: Path) -> None:
    run = json.loads(record.read_text())
    run["counters"] |= {"WAIT_STALLS": 7, "LINK_ERRORS": 1, "MEMORY": 1 << 23}
    (tmp_path / "other.json").write_text(json.dumps(run))
    assert relaxon("reproduce", tmp_path / "other.json").stdout == "identical\n"


@pytest.mark.parametrize(
    ("member", "value", "said"),
    [
        ("version", 1, "a record of version 1"),
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


# Every kind of run -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_run_is_identical(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder_of_data(tmp_path)
    done = relaxon("train", "--backend", "golden", *KINDS[kind], "--record", "run.json")
    assert done.exit_code == 0, done.output
    said = relaxon("reproduce", "run.json")
    assert (said.exit_code, said.stdout) == (0, "identical\n"), said.output


def test_a_run_on_the_gateware_is_identical_on_golden(record: Path, tmp_path: Path) -> None:
    asked = ("--data", record.parent / "data.npz", *SMALL, "--record", tmp_path / "run.json")
    done = relaxon("train", "--backend", "virtual", "--no-verify", *asked)
    assert done.exit_code == 0, done.output
    assert relaxon("reproduce", tmp_path / "run.json").stdout == "identical\n"


def test_a_rule_of_ones_own_is_known_by_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder_of_data(tmp_path)
    relaxon("train", "--backend", "golden", *KINDS["own rule"], "--record", "run.json")
    (tmp_path / "moved").mkdir()
    (tmp_path / "mine.py").rename(tmp_path / "moved/mine.py")
    assert relaxon("reproduce", "run.json").exit_code != 0
    there = ("--rule", "moved/mine.py:Halves")
    assert relaxon("reproduce", "run.json", *there).stdout == "identical\n"
    (tmp_path / "moved/mine.py").write_text(RULE.replace("0.25", "0.5"))
    changed = relaxon("reproduce", "run.json", *there)
    assert changed.exit_code == 9
    assert "is not what the run used" in changed.stderr.replace("\n", " ")


def test_an_interrupted_run_leaves_the_record_of_its_whole_epochs(
    record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the third epoch: two are reproduced."""
    kept, run = tmp_path / "run.json", Trainer.run_epoch

    def interrupted(trainer: Trainer, *arguments: Any) -> dict:
        if trainer.epoch == 2:
            raise KeyboardInterrupt
        return run(trainer, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "run_epoch", interrupted)
        asked = ("--data", record.parent / "data.npz", "--layers", "3,4,2", "--epochs", 4)
        cut = relaxon("train", "--backend", "golden", *asked, "--record", kept)
        assert cut.exit_code != 0
    assert [entry["epoch"] for entry in json.loads(kept.read_text())["history"]] == [1, 2]
    assert relaxon("reproduce", kept).stdout == "identical\n"
