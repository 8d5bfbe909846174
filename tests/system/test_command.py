"""The command line from end to end: what it says, what it ends with, what it leaves behind."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from relaxon.backends import open_device
from relaxon.checkpoint import Checkpoint
from relaxon.cli import DIFFERENT, cli
from relaxon.datasets import load
from relaxon.network import Network
from relaxon.rules import first_preset, settings_for
from relaxon.studies import comparison
from relaxon.training import Trainer, TrainSettings
from relaxon.weights import read_tiles, write_tiles
from support.observe import OUTSIDE

COMMAND = [sys.executable, "-m", "relaxon"]


@pytest.fixture
def few_digits(tmp_path: Path) -> Path:
    """A hundred digits to train on, in a file."""
    digits = load("digits")
    path = tmp_path / "few.npz"
    np.savez(
        path,
        x_train=digits.x_train[:100],
        y_train=digits.y_train[:100],
        x_test=digits.x_test[:20],
        y_test=digits.y_test[:20],
    )
    return path


def train(data: Path, *options: str) -> list[str]:
    return ["train", "--data", str(data), "--layers", "64,12,10", *options]


def test_one_bit_flipped_in_the_boards_memory_is_seen(few_digits, monkeypatch):
    """After training and before the weights come back, one bit of one weight changes."""
    honest = CliRunner().invoke(cli, train(few_digits, "--epochs", "1"))
    assert honest.exit_code == 0, honest.stderr
    assert honest.stdout.splitlines()[-1] == "weights: identical to golden"
    read = Trainer.weights

    def flip_and_read(trainer: Trainer) -> list[np.ndarray]:
        tile = read_tiles(trainer.device, 5, 1)
        tile[0, 2, 1] ^= 1
        write_tiles(trainer.device, 5, tile)
        return read(trainer)

    monkeypatch.setattr(Trainer, "weights", flip_and_read)
    flipped = CliRunner().invoke(cli, train(few_digits, "--epochs", "1"))
    assert flipped.exit_code == DIFFERENT, flipped.stderr
    assert flipped.stdout.splitlines()[-1] == "weights: different from golden"
    assert flipped.stdout.splitlines()[:-1] == honest.stdout.splitlines()[:-1]


@pytest.mark.parametrize("backend", ["golden", "virtual"])
def test_ctrl_c_and_resume_end_as_if_nothing_had_been(backend, few_digits, tmp_path):
    broken, whole = tmp_path / "broken.npz", tmp_path / "whole.npz"
    options = ["--epochs", "8" if backend == "virtual" else "60", "--no-evaluate"]
    process = subprocess.Popen(
        [*COMMAND, *train(few_digits, *options, "--backend", backend, "--checkpoint", str(broken))],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Where these tests are started in the background, SIGINT may be ignored, and inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 120
    while not broken.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of the group
    _, message = process.communicate(timeout=60)
    assert process.returncode == 130, message
    assert "Traceback" not in message
    assert f"--resume {broken}" in " ".join(message.split())
    epochs = Checkpoint.load(broken).epoch
    assert 1 <= epochs < 60
    resumed = CliRunner().invoke(
        cli,
        ["train", "--backend", backend, "--resume", str(broken), "--checkpoint", str(broken),
         "--no-evaluate", "--json"],
    )  # fmt: skip
    assert resumed.exit_code == 0, resumed.stderr
    assert json.loads(resumed.stdout).get("weights_identical", True)
    golden = train(few_digits, *options, "--backend", "golden", "--checkpoint", str(whole))
    assert CliRunner().invoke(cli, golden).exit_code == 0
    kept = [Checkpoint.load(path) for path in (whole, broken)]
    assert all(map(np.array_equal, *(checkpoint.weights for checkpoint in kept)))
    counted = [
        {k: v for k, v in checkpoint.registers.items() if k not in {r.name for r in OUTSIDE}}
        for checkpoint in kept
    ]
    assert counted[0] == counted[1]


def test_ctrl_c_ends_a_self_test_and_says_what_is_left():
    process = subprocess.Popen(
        [*COMMAND, "info", "--backend", "virtual", "--self-test"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stderr
    for line in process.stderr:  # it says what it does, and that within two seconds
        if "self-test" in line:
            break
    start = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "the self-test's patterns" in " ".join(said.split())
    assert time.monotonic() - start < 5  # on a busy computer; it used to be 10 to 40


@pytest.mark.parametrize("preset", ["default", "up5k"])
def test_a_run_goes_on_and_answers_on_the_virtual_board(preset, few_digits, tmp_path):
    """The UP5K's machine has no keys: they are saved as 0, and go back."""
    saved, exported = str(tmp_path / "c.npz"), str(tmp_path / "w.npz")
    on = ["--backend", "virtual", "--preset", preset]
    run = train(few_digits, "--epochs", "1", *on, "--checkpoint", saved, "--export", exported)
    result = CliRunner().invoke(cli, run)
    assert result.exit_code == 0, result.output
    answers = []
    for file, backend in ((saved, on), (exported, on), (saved, ["--backend", "golden"])):
        said = CliRunner().invoke(cli, ["infer", "--weights", file, *backend, "--json"])
        assert said.exit_code == 0, said.output
        answers.append(json.loads(said.stdout)["classes"])
    assert answers[0] == answers[1] == answers[2]
    again = CliRunner().invoke(cli, ["train", "--resume", saved, "--backend", "virtual"])
    assert again.exit_code == 0, again.output


def test_full_disk_ends_the_run_and_keeps_the_checkpoint(few_digits, tmp_path):
    """A real refusal to write: files of this process may not grow beyond half a kilobyte."""
    path = tmp_path / "run.npz"
    first = train(few_digits, "--epochs", "1", "--backend", "golden", "--checkpoint", str(path))
    assert CliRunner().invoke(cli, first).exit_code == 0
    before = path.read_bytes()
    limited = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (512, resource.RLIM_INFINITY));"
        "from relaxon.cli import main; main()"
    )
    second = train(few_digits, "--epochs", "2", "--backend", "golden", "--checkpoint", str(path))
    result = subprocess.run(
        [sys.executable, "-c", limited, *second], capture_output=True, text=True, check=False
    )
    assert result.returncode == 5
    assert "the file that was there before is kept" in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
    assert path.read_bytes() == before
    assert {p.name for p in tmp_path.iterdir()} == {"run.npz", "few.npz"}


@pytest.mark.parametrize("option", ["--export", "--checkpoint"])
def test_a_target_that_goes_away_loses_nothing(option, few_digits, tmp_path, monkeypatch):
    """The folder is removed while the run trains: its weights are elsewhere, and it says where."""
    folder, spare = tmp_path / "gone", tmp_path / "spare"
    folder.mkdir()
    spare.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(spare))
    run_epoch = Trainer.run_epoch

    def lose_the_folder(trainer: Trainer, *rest) -> dict:
        if folder.exists():
            folder.rmdir()
        return run_epoch(trainer, *rest)

    monkeypatch.setattr(Trainer, "run_epoch", lose_the_folder)
    golden = train(few_digits, "--epochs", "1", "--backend", "golden")
    result = CliRunner().invoke(cli, [*golden, option, str(folder / "run.npz")])
    (written,) = spare.iterdir()
    taker = {"--export": "--init", "--checkpoint": "--resume"}[option]
    assert result.exit_code == 5 and "Traceback" not in result.stderr
    assert f"No such file or directory); what it was to hold is in {written}, for {taker}" in (
        " ".join(result.stderr.split())
    )
    if option == "--export":
        assert "cycles per sample" in result.stdout
        again = [*golden, taker, str(written)]
    else:
        again = ["train", "--backend", "golden", taker, str(written)]
    assert CliRunner().invoke(cli, again).exit_code == 0


def test_a_golden_run_that_fails_takes_nothing_with_it(few_digits, monkeypatch):
    monkeypatch.setattr("relaxon.verify.MODULE", "relaxon.nothing")
    result = CliRunner().invoke(
        cli, train(few_digits, "--epochs", "1", "--backend", "golden", "--verify")
    )
    assert result.exit_code == 8 and "the golden run failed" in " ".join(result.stderr.split())
    assert "cycles per sample" in result.stdout


def broken_data(folder: Path, what: str) -> Path:
    path = folder / "data.npz"
    x = np.random.default_rng(0).random((50, 8)).astype(np.float32)
    y = np.arange(50) % 3
    if what == "NaN":
        x[3, 4] = np.nan
    elif what == "label below":
        y[7] = -1
    elif what == "label above":
        np.savez(path, x_train=x, y_train=y, x_test=x, y_test=y + 7)
        return path
    elif what == "text":
        path.write_text("not numbers")
        return path
    np.savez(path, x=x, y=y)
    return path


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("NaN", "x has 1 values that are NaN or infinite, the first in row"),
        ("label below", "has 4 classes, the network 8-6-3 has 3 outputs"),
        ("label above", "labels are 0 to 2"),
        ("text", "not an .npz file"),
        ("fewer outputs", "the last of --layers must be at least 3"),
    ],
)
@pytest.mark.parametrize("backend", ["golden", "virtual"])
def test_data_that_is_no_good_is_refused_before_anything_happens(what, says, backend, tmp_path):
    path = broken_data(tmp_path, what)
    kept = tmp_path / "run.npz"
    outputs = 2 if what == "fewer outputs" else 3
    result = CliRunner().invoke(
        cli,
        ["train", "--data", str(path), "--layers", f"8,6,{outputs}", "--backend", backend,
         "--checkpoint", str(kept)],
    )  # fmt: skip
    assert result.exit_code == 5
    assert says in " ".join(result.stderr.split())
    assert "building" not in result.stderr and not kept.exists()


def test_a_port_where_nobody_answers():
    controller, terminal = pty.openpty()
    try:
        result = CliRunner().invoke(cli, ["train", "--backend", os.ttyname(terminal)])
    finally:
        os.close(controller)
        os.close(terminal)
    assert result.exit_code == 6
    assert "no relaxon board answers" in " ".join(result.stderr.split())


def test_a_checkpoint_finds_its_preset_again_and_refuses_others(few_digits, tmp_path):
    path = str(tmp_path / "run.npz")
    on = ["--backend", "golden"]
    first = train(few_digits, "--epochs", "1", "--preset", "ecp5-25f", *on, "--checkpoint", path)
    assert CliRunner().invoke(cli, first).exit_code == 0
    inferred = CliRunner().invoke(
        cli, ["infer", "--weights", path, "--data", str(few_digits), *on, "--json"]
    )
    assert len(json.loads(inferred.stdout)["classes"]) == 20
    refused = CliRunner().invoke(cli, ["train", "--resume", path, *on, "--preset", "default"])
    assert refused.exit_code == 5 and "fingerprint" in refused.stderr


def test_hidden_layer_learns(compiled):
    """One seed; five of them: `relaxon bench digits`."""
    (run,) = comparison.digits(load("digits"), seeds=1)
    assert run["accuracy"] >= 0.96
    assert run["frozen"] <= 0.90


@pytest.mark.parametrize("arguments", [["info"], ["info", "--backend", "golden"]])
def test_info_json(arguments):
    result = CliRunner().invoke(cli, [*arguments, "--json"])
    assert json.loads(result.stdout)


FASHION = Path("/usr/share/datasets/fashion-mnist")


@pytest.mark.skipif(not FASHION.is_dir(), reason="needs Debian's package dataset-fashion-mnist")
def test_fashion_after_an_epoch_is_what_floating_point_reaches(compiled):
    """The first of ten epochs; all of them: `relaxon train --data FOLDER --layers 784,128,10
    --input-bits 8`."""
    network = Network((784, 128, 10))
    with open_device("golden", first_preset(network, settings_for("ep-centered", 2))) as device:
        trainer = Trainer(device, network, load(FASHION), TrainSettings(epochs=10))
        trainer.start()
        trainer.run_epoch()
        accuracy = trainer.evaluate()["accuracy"]
    assert accuracy == pytest.approx(0.84, abs=0.003)


def test_the_first_tenth_of_mnist_is_learnt(mnist):
    """One pass; all of it: `relaxon train --data FOLDER --layers 784,128,10`."""
    whole = load(mnist)
    assert (len(whole.x_train), len(whole.x_test), whole.classes) == (60_000, 10_000, 10)
    data = replace(
        whole,
        x_train=whole.x_train[:6000],
        y_train=whole.y_train[:6000],
        x_test=whole.x_test[:2000],
        y_test=whole.y_test[:2000],
    )
    network = Network((784, 128, 10))
    with open_device("golden", first_preset(network, settings_for("ep-centered", 2))) as device:
        trainer = Trainer(device, network, data, TrainSettings(epochs=1))
        trainer.start()
        trainer.run_epoch()
        assert trainer.evaluate()["accuracy"] > 0.85
