"""Sweeps: what a file may say, that no run is lost or done twice, statistics, the commands."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from relaxon.cli import cli
from relaxon.parallel import one_by_one
from relaxon.studies import sweep
from relaxon.studies.comparison import Task
from relaxon.studies.kept import kept
from relaxon.studies.statistics import holm, interval, paired
from relaxon_isa.errors import ConfigError, DataError

EXAMPLE = Path(__file__).parents[2] / "examples" / "optuna_study.py"
SWEEP = """
data = "two.npz"
layers = "4,3,2"
rules = ["ep-centered", "backprop"]
seeds = 2
epochs = 1
[grid]
beta = [0.25, 0.5]
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    x = rng.random((60, 4)).astype(np.float32)
    np.savez("two.npz", x=x, y=(x[:, 0] > 0.5).astype(int))
    np.savez("real.npz", x=x, y=x[:, :2] / 2)
    return tmp_path


def plan(text: str = SWEEP) -> sweep.Plan:
    Path("s.toml").write_text(text)
    return sweep.read_plan(Path("s.toml"))


def relaxon(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == code, result.output
    return result.output if code else result.stdout


class Counted:
    """A pool of this process that counts runs, and is interrupted after some."""

    def __init__(self, most: int = 1000) -> None:
        self.most, self.done = most, 0

    def __call__(self, work):
        for result in one_by_one(work):
            self.done += 1
            yield result
            if self.done == self.most:
                raise KeyboardInterrupt


# The file ----------------------------------------------------------------------------------------


def test_what_a_file_asks_for():
    found = plan(SWEEP + "[rule.ep-centered.settings]\nmargin = 0.125\n")
    assert found.choices["ep-centered"] == [
        {"epochs": 1, "margin": 0.125, "beta": beta} for beta in (0.25, 0.5)
    ]
    assert found.choices["backprop"] == [{"epochs": 1}]
    assert found.notes == ["rule backprop does not use beta"]
    assert (found.seeds, found.baseline, sweep.trials(found)[1]) == ([0, 1], "ep-centered", 8)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("seeds = 2", "seed = 2"), r"seed is not known \(did you mean seeds\?\); there are data"),
        (("seeds = 2", "seeds = 'a'"), "seeds = 'a': wanted is how many seeds"),
        (("seeds = 2", "seeds = [1, 1]"), "wanted are 1 or more, all different"),
        (("seeds = 2", "seeds = 0"), "wanted are 1 or more, all different"),
        (('data = "two.npz"', ""), "data is not there: a name, file or folder"),
        (("two.npz", "no.npz"), r"no\.npz: no such file, folder or data set"),
        (("4,3,2", "4,3,x"), "'x' is no layer"),
        (("4,3,2", "5,3,2"), "has 4 inputs a sample"),
        (("backprop", "backprob"), r"no rule 'backprob' \(did you mean backprop"),
        (('"backprop"', '"ep-centered"'), "wanted are names, each once"),
        (("beta = [", "betta = ["), r"betta is no setting \(did you mean beta\?\); there are arch"),
        (("beta = [0.25, 0.5]", "beta = 0.5"), "grid.beta = 0.5: wanted is a list of values"),
        (("0.25, 0.5", "0.25, 9"), "rule ep-centered with epochs = 1, beta = 9: beta = 9: must be"),
        (("[grid]", "[grid]\nrate_shifts = [3]"), "rule ep-centered with .*rate_shifts = 3"),
        (("[grid]", "[rule.pcn]\n[grid]"), "rule.pcn is not known; there are ep-centered"),
        (("[grid]", "[rule]\nbackprop = 3\n[grid]"), "rule.backprop = 3: wanted is a table"),
        (("[grid]", "[rule.backprop.settings]\nbeta = 1\n[grid]"), "does not use beta: leave"),
        (("[grid]", "[data-options]\ncolumn = 1\n[grid]"), "data-options.column is not known"),
        (("[grid]", 'choose = "best"\n[grid]'), "chosen on one of held-out, test"),
        (("[grid]", "held-out = 2\n[grid]"), "the held-out part is between 0 and 1"),
        (("[grid]", 'baseline = "pcn"\n[grid]'), "the rules are ep-centered, backprop"),
        (("[grid]", "[grid"), "no TOML .Expected ']'"),
    ],
)
def test_what_a_file_cannot_mean(change, says):
    assert change[0] in SWEEP
    with pytest.raises((ConfigError, DataError), match=rf"s\.toml: .*{says}"):
        plan(SWEEP.replace(*change))


# Runs --------------------------------------------------------------------------------------------


def test_an_interrupted_sweep_goes_on(tmp_path, monkeypatch):
    """No run is lost or done twice, and the end is that of an unbroken one."""
    whole, keep, ran, run = sweep.run_plan(plan()), tmp_path / "kept", [], sweep.Trial.run
    monkeypatch.setattr(sweep.Trial, "run", lambda trial: ran.append(trial.key()) or run(trial))
    for most in (1, 3, 6):  # of 8: while settings are chosen, and later
        with pytest.raises(KeyboardInterrupt):
            sweep.run_plan(plan(), Counted(most), keep)
        assert len(ran) == most
    again = sweep.run_plan(plan(), one_by_one, keep)
    assert json.dumps(again) == json.dumps(whole)
    assert len(ran) == len(set(ran)) == 8
    assert sorted(path.name for path in keep.iterdir()) == sorted(f"{key}.json" for key in ran)


def test_ctrl_c_loses_no_run(tmp_path):
    """A process that gets SIGINT ends with 130, and the same command goes on to the same table."""
    plan('data = "two.npz"\nhidden = "3"\nrules = ["ep-centered"]\nseeds = 4\nepochs = 20\n')
    command = [sys.executable, "-m", "relaxon", "sweep", "s.toml", "--json"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    # Where these tests are started in the background, SIGINT may be ignored, and inherited.
    with subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        until = time.monotonic() + 120
        while not (done := [*tmp_path.glob("s.toml.runs/*.json")]):
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and "the same command goes on" in " ".join(said.split())
    times = {path: path.stat().st_mtime_ns for path in tmp_path.glob("s.toml.runs/*.json")}
    assert len(done) <= len(times) < 4
    again = relaxon("sweep", "s.toml", "--json")
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert again == relaxon("sweep", "s.toml", "--json", "--keep", "other")


def test_what_is_kept_is_not_run_again(tmp_path, monkeypatch):
    sweep.run_plan(plan(), keep=tmp_path / "kept")
    ran = []
    monkeypatch.setattr(sweep.Trial, "run", lambda trial: ran.append(trial) or {})
    sweep.run_plan(plan(), keep=tmp_path / "kept")
    assert not ran


def test_everything_that_decides_is_in_the_key(tmp_path):
    Path("mine.py").write_text(
        "from relaxon.rules.ep import CenteredEP\n\n\nclass Mine(CenteredEP):\n    name = 'mine'\n"
    )
    text = SWEEP.replace("backprop", "mine.py:Mine")
    other = text.replace

    def keys(text: str) -> set[str]:
        made = plan(text)
        rule = "mine.py:Mine"
        return {made.trial(rule, made.choices[rule][0], seed, 0.0).key() for seed in made.seeds}

    first = keys(text)
    assert keys(text) == first and len(first) == 2
    assert keys(other("seeds = 2", "seeds = [1, 2]")) & first
    for change in (("epochs = 1", "epochs = 2"), ("4,3,2", "4,4,2"), ("0.25", "0.375")):
        assert not keys(other(*change)) & first
    Path("mine.py").write_text(Path("mine.py").read_text() + "    # another\n")
    assert not keys(text) & first
    Path("mine.py").write_text(Path("mine.py").read_text().replace("    # another\n", ""))
    assert keys(text) == first
    made = plan(text)
    settings = made.choices["ep-centered"][0]
    held_out = {made.trial("ep-centered", settings, 0, part).key() for part in (0.0, 0.2, 0.3)}
    assert len(held_out) == 3


def test_a_damaged_file_is_computed_again(tmp_path):
    calls = []

    def compute() -> dict:
        calls.append(1)
        return {"x": 1}

    for _ in range(2):
        assert kept(tmp_path, "k", compute) == {"x": 1}
    (tmp_path / "k.json").write_text('{"x"')
    assert kept(tmp_path, "k", compute) == {"x": 1} and len(calls) == 2


def test_settings_are_chosen_without_the_test_data(monkeypatch):
    """The best on held-out data is taken, though it is the worst on the test data."""
    seen = []

    def run(trial: sweep.Trial) -> dict:
        seen.append((trial.held_out, trial.settings.rule.beta))
        right = trial.settings.rule.beta / 2 if trial.held_out else 1 - trial.settings.rule.beta
        return {"accuracy": right, "sweeps": 1.0, "cycles": 1.0}

    monkeypatch.setattr(sweep.Trial, "run", run)
    text = SWEEP.replace('"ep-centered", "backprop"', '"ep-centered"')
    result = sweep.run_plan(plan(text))
    (row,) = result["rows"]
    assert (row["settings"]["beta"], row["accuracy"], row["chosen_by"]) == (0.5, 0.5, 0.25)
    assert {beta for held_out, beta in seen if not held_out} == {0.5}
    assert result["chosen_on"] == "held-out"
    result = sweep.run_plan(plan(text.replace("[grid]", 'choose = "test"\n[grid]')))
    assert result["rows"][0]["settings"]["beta"] == 0.25 and len(result["runs"]) == 4


# Statistics --------------------------------------------------------------------------------------


def test_statistics():
    """Student 1908's data on sleep, whose t is 4.0621 (p 0.0028), and Holm's steps by hand."""
    one = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    other = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    found = paired(one, other)
    assert found["difference"] == pytest.approx(1.58)
    assert found["interval"] == pytest.approx([0.7001, 2.4599], abs=1e-4)
    assert found["p_t"] == pytest.approx(0.002833, abs=1e-6)
    assert 0.003 < found["p_wilcoxon"] < 0.02
    assert holm([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06])
    assert paired([1.0, 2.0], [1.0, 2.0])["p_t"] == 1.0
    assert paired([1.5, 2.5], [1.0, 2.0])["interval"] == [0.5, 0.5]
    assert interval([0.9, 1.0, 1.0], 0, 1) == [pytest.approx(0.82324, abs=1e-5), 1]
    assert interval([1.0]) is None and paired([1.0], [2.0])["p_t"] is None


# Commands ----------------------------------------------------------------------------------------


def test_the_command(tmp_path):
    pytest.importorskip("matplotlib")
    plan()
    files = ("--csv", "runs.csv", "--plot", "s.png")
    said = relaxon("sweep", "s.toml", *files)
    assert "against ep-centered, seed by seed" in said
    assert "chosen on a held-out part of the training data" in said
    assert Path("s.png").stat().st_size > 1000
    with Path("runs.csv").open() as file:
        rows = [*csv.DictReader(file)]
    assert len(rows) == 8 and {row["judged_by"] for row in rows} == {
        "held-out training data",
        "test data",
    }
    assert "relaxon did not write it" in relaxon("sweep", "s.toml", *files, code=5)
    document = json.loads(relaxon("sweep", "s.toml", "--json"))
    assert document["measure"] == "accuracy" and len(document["pairs"]) == 1


def test_no_accuracy_beyond_100_percent():
    runs = [{"accuracy": right, "sweeps": 1.0, "cycles": 1.0} for right in (0.9, 1.0, 1.0, 1.0)]
    row = sweep._row("ep-centered", {}, None, runs, "accuracy")
    assert row["interval"][0] < 0.9 and row["interval"][1] == 1


def test_a_file_that_is_none():
    assert "No such file" in (said := relaxon("sweep", "nosuch.toml", code=5))
    assert "docs/comparing.md has one" in " ".join(said.split())
    for command in ("reproduce", "report"):
        said = " ".join(relaxon(command, "nosuch.json", code=5).split())
        assert "No such file or directory; 'relaxon train --record run.json'" in said
    said = " ".join(relaxon("reproduce", "two.npz", code=5).split())
    assert "two.npz: no record of a run: it is no JSON" in said
    said = " ".join(relaxon("sweep", "two.npz", code=5).split())
    assert "two.npz: no TOML" in said


def test_real_targets_are_judged_by_their_error():
    plan(SWEEP.replace("two", "real"))
    assert "test mse" in relaxon("sweep", "s.toml")


def test_rules_on_data_of_ones_own():
    Path("t.csv").write_text(
        "kind,a,b\n" + "".join(f"{'uv'[i % 2]},{i % 2 + i / 99},{i}\n" for i in range(40))
    )
    Path("mine.py").write_text(
        "from relaxon.rules.ep import CenteredEP\n\n\nclass Mine(CenteredEP):\n    name = 'mine'\n"
    )
    common = ("bench", "rules", "--data", "t.csv", "--target", "kind", "--scale", "--seeds", "1")
    layers = ("--layers", "2,4,2", "--epochs", "1")
    rules = ("--rules", "ep-centered,mine.py:Mine")
    document = json.loads(relaxon(*common, *layers, *rules, "--keep", "kept", "--json"))
    kept_before = [*Path("kept").glob("*.json")]
    first, second = document["rules"]
    assert second["rule"] == "mine.py:Mine" and first["accuracy"] == second["accuracy"]
    relaxon(*common, "--hidden", "4", "--epochs", "1", *rules, "--keep", "kept", "--json")
    assert len([*Path("kept").glob("*.json")]) == len(kept_before)
    relaxon(*common, *layers, *rules, "--keep", "kept", "--train-samples", "9", "--json")
    assert len([*Path("kept").glob("*.json")]) == 2 * len(kept_before)
    said = relaxon(*common, *layers, "--train-samples", "99", code=5)
    assert "99 training samples asked for, 32 there" in " ".join(said.split())
    said = relaxon(*common, "--layers", "3,2", *rules, code=5)
    assert "has 2 inputs a sample, the network 3-2 takes 3" in " ".join(said.split())


def test_rules_learn_a_part():
    whole, part = (Task(train_samples=n).load() for n in (None, 9))
    assert np.array_equal(part.x_train, whole.x_train[:9])
    assert np.array_equal(part.y_train, whole.y_train[:9])
    assert np.array_equal(part.x_test, whole.x_test)


def test_optuna_study():
    pytest.importorskip("optuna")
    arguments = ["two.npz", "4,3,2", "--trials", "3", "--epochs", "1", "--seeds", "2"]
    said = subprocess.run(
        [sys.executable, EXAMPLE, *arguments], capture_output=True, text=True, check=True
    ).stdout
    assert "chosen on held-out training data" in said and "test: " in said
