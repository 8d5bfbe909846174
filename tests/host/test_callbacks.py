"""Callbacks: who is told what and when, adapters with the real libraries, what a failure loses."""

import csv
import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import EntryPoint
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from relaxon import callbacks
from relaxon.backends import open_device
from relaxon.callbacks import Callback, Csv, Figures, make_callback
from relaxon.checkpoint import Checkpoint
from relaxon.cli import cli, watch
from relaxon.cli.watch import Watch, sparkline
from relaxon.datasets import Dataset
from relaxon.estimators import RelaxonClassifier, RelaxonRegressor
from relaxon.network import Network
from relaxon.record import digest_of
from relaxon.training import Trainer, TrainSettings
from relaxon_isa import ConfigError, RelaxonError, ToolError

RNG = np.random.default_rng(0)
X, Y = RNG.uniform(0, 1, (30, 4)), np.arange(30) % 2
DATA = Dataset("made", X, Y, X[:10], Y[:10])
NETWORK = Network((4, 3, 2))


def relaxon(*words: object) -> Result:
    return CliRunner().invoke(cli, [*map(str, words)])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    np.savez(tmp_path / "data.npz", x=X, y=Y)
    monkeypatch.chdir(tmp_path)
    return tmp_path


TRAIN = ("train", "--backend", "golden", "--data", "data.npz", "--layers", "4,3,2", "--epochs", 2)


class Notes(Callback):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Figures]] = []

    def on_start(self, trainer: Trainer) -> None:
        self.told.append(("start", {"epoch": trainer.epoch}))

    def on_samples(self, trainer: Trainer, figures: Figures) -> None:
        self.told.append(("samples", figures))

    def on_epoch(self, trainer: Trainer, figures: Figures) -> None:
        self.told.append(("epoch", figures))

    def on_end(self, trainer: Trainer) -> None:
        self.told.append(("end", {"epoch": trainer.epoch}))


def run(*told: Callback, every: int = 0) -> tuple[Trainer, list[np.ndarray], dict]:
    """Two epochs; the trainer, and weights and counters at its end."""
    with open_device("golden") as device:
        trainer = Trainer(device, NETWORK, DATA, TrainSettings(epochs=2), told, every)
        trainer.start()
        entries = list(trainer.epochs())
        assert entries == trainer.history and len(entries) == 2
        return trainer, trainer.weights(), trainer.summary()


def test_who_is_told_what_and_when() -> None:
    notes = Notes()
    trainer, weights, summary = run(notes, every=12)
    samples = ["samples"] * 3  # 12, 24 and 30
    assert [event for event, _ in notes.told] == ["start", *samples, "epoch", *samples, "epoch",
                                                  "end"]  # fmt: skip
    figures = [f for _, f in notes.told[1:-1]]
    assert [f["samples"] for f in figures] == [12, 24, 30, 30, 42, 54, 60, 60]
    assert [f["epoch"] for f in figures] == [1] * 4 + [2] * 4
    assert figures[-1]["test_accuracy"] == trainer.history[-1]["test"]["accuracy"]
    assert figures[-1]["online_accuracy"] == trainer.history[-1]["online_accuracy"]
    steps = [f for event, f in notes.told if event == "samples"]
    sizes = [12, 12, 6] * 2
    sweeps = sum(n * f["sweeps_per_sample"] for n, f in zip(sizes, steps, strict=True))
    assert sweeps == pytest.approx(60 * summary["sweeps_per_sample"])
    # Stops change no bit.
    assert digest_of(weights) == digest_of(run()[1])


def test_an_interrupted_training_is_ended() -> None:
    notes = Notes()
    with open_device("golden") as device:
        trainer = Trainer(device, NETWORK, DATA, TrainSettings(epochs=3), [notes])
        trainer.start()
        with pytest.raises(KeyboardInterrupt):
            for _ in trainer.epochs():
                raise KeyboardInterrupt
    del trainer
    assert [event for event, _ in notes.told] == ["start", "epoch", "end"]


# Failures ----------------------------------------------------------------------------------

BROKEN = """
from relaxon.callbacks import Callback

class Broken(Callback):
    def EVENT(self, *told):
        raise ZeroDivisionError("out of luck")
"""


@pytest.mark.parametrize(
    ("event", "epochs"), [("on_start", 0), ("on_samples", 1), ("on_epoch", 1), ("on_end", 2)]
)
def test_what_raises_ends_the_training_is_named_and_loses_nothing(
    folder: Path, event: str, epochs: int
) -> None:
    (folder / "broken.py").write_text(BROKEN.replace("EVENT", event))
    files = ("--checkpoint", "a.npz", "--record", "run.json", "--export", "w.npz")
    said = relaxon(
        *TRAIN, "--log", "broken.py:Broken", "--log", "csv:log.csv", "--every", 10, *files
    )
    assert said.exit_code == 3
    assert f"callback Broken, {event}: ZeroDivisionError: out of luck (broken.py, line 6)" in (
        said.stderr.replace("\n", " ")
    )
    assert f"after epoch {epochs} of 2" in said.stderr.replace("\n", " ")
    kept = json.loads((folder / "run.json").read_text())
    assert len(kept["history"]) == epochs and (folder / "w.npz").exists()
    assert [row["event"] for row in rows(folder / "log.csv")].count("epoch") == epochs
    if 0 < epochs < 2:  # goes on from there, to what a whole run ends with
        assert Checkpoint.load(folder / "a.npz").epoch == epochs
        assert relaxon("train", "--backend", "golden", "--resume", "a.npz", "--record",
                       "b.json", "--log", "csv:log.csv").exit_code == 0  # fmt: skip
        assert relaxon(*TRAIN, "--record", "c.json", "--every", 10).exit_code == 0
        ends = [json.loads((folder / f"{name}.json").read_text()) for name in "bc"]
        assert ends[0]["weights"] == ends[1]["weights"]
        assert ends[0]["counters"] == ends[1]["counters"]
        assert [row["event"] for row in rows(folder / "log.csv")].count("epoch") == 2


def test_a_record_tells_of_stops_and_is_reproduced(folder: Path) -> None:
    assert relaxon(*TRAIN, "--record", "run.json", "--every", 7).exit_code == 0
    assert json.loads((folder / "run.json").read_text())["spec"]["every"] == 7
    assert relaxon("reproduce", "run.json").stdout == "identical\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("cvs:log.csv", "did you mean csv?"),
        ("csv", "write csv:FILE"),
        ("mine.py:Mine", "no such Python file"),
        ("broken.py:BROKEN", "is no relaxon.callbacks.Callback"),
    ],
)
def test_what_is_no_callback_is_said(folder: Path, text: str, says: str) -> None:
    (folder / "broken.py").write_text("BROKEN = int\n")
    with pytest.raises(ConfigError, match=says.replace("?", r"\?")):
        make_callback(text)


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "wandb"])
def test_a_missing_library_is_said_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for module in ("tensorboardX", "mlflow", "wandb"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ToolError, match=rf"pip install '\.\[{name}\]'"):
        make_callback(f"{name}:x")


def test_packages_add_names(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("mine", "relaxon.callbacks:Csv", "relaxon.callbacks")
    monkeypatch.setattr(callbacks, "entry_points", lambda group: [point])
    made = make_callback("mine:log.csv")
    assert isinstance(made, Csv) and made.path == Path("log.csv")


# Adapters ----------------------------------------------------------------------------------


def rows(path: Path) -> list[dict]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_csv(folder: Path) -> None:
    said = relaxon(*TRAIN, "--log", "csv:log.csv", "--every", 10, "--loss", "--record", "run.json")
    assert said.exit_code == 0, said.output
    found, history = (
        rows(folder / "log.csv"),
        json.loads((folder / "run.json").read_text())["history"],
    )
    assert [row["event"] for row in found] == ["samples", "samples", "samples", "epoch"] * 2
    for row, entry in zip(found[3::4], history, strict=True):
        assert float(row["online_accuracy"]) == entry["online_accuracy"]
        assert float(row["test_accuracy"]) == entry["test"]["accuracy"]
        assert float(row["test_mse"]) == entry["test"]["mse"]
    (folder / "theirs.csv").write_text("a,b\n1,2\n")
    said = relaxon(*TRAIN, "--log", "csv:theirs.csv")
    assert said.exit_code == 5 and "name another file" in said.stderr.replace("\n", " ")
    assert (folder / "theirs.csv").read_text() == "a,b\n1,2\n"


@pytest.mark.filterwarnings("ignore")  # of the library's own
def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    trainer, *_ = run(make_callback(f"tensorboard:{tmp_path / 'tb'}"), every=10)
    found = reader.EventAccumulator(str(tmp_path / "tb")).Reload()
    assert {"test_accuracy", "sweeps_per_sample", "weight_saturations"} <= set(found.scalars.Keys())
    events = found.Scalars("test_accuracy")
    assert [event.step for event in events] == [30, 60]
    wanted = [entry["test"]["accuracy"] for entry in trainer.history]
    assert [event.value for event in events] == pytest.approx(wanted)


@pytest.mark.filterwarnings("ignore")
def test_mlflow_keeps_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow = pytest.importorskip("mlflow")
    store = (tmp_path / "runs").as_uri()
    trainer, *_ = run(make_callback(f"mlflow:{store}"))
    client = mlflow.MlflowClient(tracking_uri=store)
    experiment = client.get_experiment_by_name("relaxon")
    (kept,) = client.search_runs([experiment.experiment_id])
    assert kept.info.status == "FINISHED" and kept.data.params["rule.name"] == "ep-centered"
    history = client.get_metric_history(kept.info.run_id, "test_accuracy")
    assert [(m.step, m.value) for m in history] == [
        (30 * entry["epoch"], entry["test"]["accuracy"]) for entry in trainer.history
    ]


@pytest.mark.filterwarnings("ignore")
def test_wandb_keeps_the_run_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    run(make_callback("wandb:test"))
    (kept,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    until = time.monotonic() + 60  # its own process writes, and may not have ended
    while b"test_accuracy" not in kept.read_bytes():
        assert time.monotonic() < until
        time.sleep(0.2)


# Estimators --------------------------------------------------------------------------------


def test_estimators_tell_callbacks(tmp_path: Path) -> None:
    notes = Notes()
    told = [notes, f"csv:{tmp_path / 'log.csv'}"]
    model = RelaxonClassifier((3,), epochs=2, callbacks=told, random_state=0).fit(X, Y)
    assert [event for event, _ in notes.told] == ["start", "epoch", "epoch", "end"]
    assert len(rows(tmp_path / "log.csv")) == 2
    plain = RelaxonClassifier((3,), epochs=2, random_state=0).fit(X, Y)
    assert digest_of(model.checkpoint_.weights) == digest_of(plain.checkpoint_.weights)


class Late(Callback):
    def on_epoch(self, trainer: Trainer, figures: Figures) -> None:
        raise OSError("disk full")


def test_an_estimator_keeps_what_a_failing_callback_saw() -> None:
    model = RelaxonRegressor((3,), epochs=3, callbacks=[Late()], random_state=0)
    with pytest.raises(RelaxonError, match="callback Late, on_epoch"):
        model.fit(X, X[:, 0])
    assert model.n_iter_ == 1 == len(model.loss_curve_) and model.predict(X).shape == (30,)


# Watching ----------------------------------------------------------------------------------


def terminal(monkeypatch: pytest.MonkeyPatch, encoding: Callable = StringIO) -> Console:
    screen = Console(file=encoding(), force_terminal=True, width=100, highlight=False)
    monkeypatch.setattr(watch, "console", screen)
    return screen


def test_the_view_shows_what_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    view = Watch()
    with open_device("golden") as device, view:
        trainer = Trainer(device, NETWORK, DATA, TrainSettings(epochs=2), [view], every=10)
        trainer.start()
        for _ in trainer.epochs(loss=True, shown=view.shown):
            pass
        with screen.capture() as captured:
            screen.print(view.draw())
    text = captured.get()
    test = trainer.history[-1]["test"]
    for said in (f"{test['accuracy']:.2%}", f"{test['mse']:.5f}", "sweeps per sample", "samples/s",
                 "0:00:00 left", "0 states, 0 weights", "while training"):  # fmt: skip
        assert said in text
    assert len(view.curves["sweeps_per_sample"]) == 6


def test_sparklines() -> None:
    assert sparkline([0, 1, 2, 7], 10) == "▁▂▃█"
    assert sparkline([5, 0, 1], 2, ascii_only=True) == "_#"
    assert sparkline([3.0], 5) == "▁"


def test_where_there_is_no_terminal_watching_says_that_and_nothing_else(folder: Path) -> None:
    said = [relaxon(*TRAIN, *more, "--record", f"{len(more)}.json") for more in ((), ("--watch",))]
    note, _, rest = said[1].output.partition("\n")
    assert [s.exit_code for s in said] == [0, 0] and said[0].output == rest
    assert "--watch draws in a terminal alone" in note
    records = [json.loads((folder / f"{n}.json").read_text()) for n in (0, 1)]
    assert records[0]["counters"] == records[1]["counters"]
