"""Training on a device: reproducible, resumable, undisturbed by validation, strict about input."""

import json
import os
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from relaxon.backends import open_device
from relaxon.checkpoint import Checkpoint, load_float_weights, save_float_weights
from relaxon.cli import cli
from relaxon.datasets import Dataset, load
from relaxon.lab import Lab
from relaxon.network import Network, initial_weights
from relaxon.rules import RULES, settings_for
from relaxon.rules.settings import RuleSettings
from relaxon.training import FEISTEL, ORDERS, Trainer, TrainSettings
from relaxon_isa.errors import ConfigError, DataError
from relaxon_isa.memory import Register, Space
from relaxon_isa.presets import preset

NETWORK = Network((64, 16, 10))
WITHOUT_BETA = {"in-silico", "contrastive", "rbp", "backprop", "feedback-alignment", "spsa"}
NUDGED = [name for name in RULES if name not in WITHOUT_BETA]


@pytest.fixture(scope="module")
def data():
    digits = load("digits")
    return Dataset(
        name="a few digits",
        x_train=digits.x_train[:120],
        y_train=digits.y_train[:120],
        x_test=digits.x_test[:60],
        y_test=digits.y_test[:60],
        classes=10,
    )


def trainer(data, settings=None, network=NETWORK):
    device = open_device("golden")
    return Trainer(device, network, data, settings or TrainSettings(epochs=3))


def same(a, b):
    return all(map(np.array_equal, a, b))


def test_validation_disturbs_nothing(data):
    plain, watched = trainer(data), trainer(data)
    plain.start()
    watched.start()
    for _ in range(2):
        plain.run_epoch()
        watched.evaluate()
        watched.run_epoch()
        watched.weights()
    assert same(plain.weights(), watched.weights())
    assert plain.device.counters() == watched.device.counters()


def test_seeds_decide(data):
    runs = []
    for seed in (1, 1, 2):
        run = trainer(data, TrainSettings(epochs=1, seed=seed))
        run.start()
        run.run_epoch()
        runs.append(run.weights())
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])


def order(data, kind, seed=0, epoch=0):
    return trainer(data, TrainSettings(order=kind, seed=seed)).order(epoch).tolist()


@pytest.mark.parametrize("kind", ORDERS)
def test_an_order_is_a_function_of_seed_epoch_and_kind(data, kind):
    orders = [order(data, kind, seed, epoch) for seed, epoch in ((0, 0), (0, 1), (1, 0), (1, 1))]
    assert all(sorted(one) == [*range(120)] for one in orders)
    assert len({tuple(one) for one in orders}) == 4
    assert order(data, kind, 1, 1) == orders[3]
    other = ORDERS[kind == ORDERS[0]]
    assert order(data, other, 1, 1) != orders[3]


def test_an_order_that_the_machine_makes_stays_what_it_is(data):
    """What a checkpoint's run goes on with."""
    assert order(data, FEISTEL, 3, 2)[:6] == [85, 28, 101, 118, 36, 46]


@pytest.mark.parametrize("kind", ORDERS)
def test_an_order_of_as_many_samples_as_mnist_has_no_pattern(kind):
    """Steps between neighbours, of which random numbers make a third on average; and the serial
    correlation of places next to each other, and next but one."""
    count = 60_000
    blank = np.zeros((count, 1), np.float32)
    data = Dataset("blank", blank, blank[:, 0].astype(int), blank[:1], np.zeros(1, int), classes=1)
    run = trainer(data, TrainSettings(order=kind), Network((1, 1, 1)))
    found = []
    for epoch in range(30):
        places = run.order(epoch)
        lags = [np.corrcoef(places[:-lag], places[lag:])[0, 1] for lag in (1, 2)]
        found.append([np.abs(np.diff(places)).mean() / count, *lags])
    mean, deviation = np.mean(found, axis=0), np.std(found, axis=0)
    print(f"{kind}: step, lag 1, lag 2: mean {mean}, standard deviation {deviation}")
    assert mean == pytest.approx([1 / 3, 0, 0], abs=0.004)
    assert (deviation < [0.002, 0.01, 0.015]).all()


def test_more_samples_than_the_machine_numbers_are_refused(data, monkeypatch):
    monkeypatch.setattr("relaxon.training.MOST", 120)
    trainer(data)
    with pytest.raises(DataError, match=r"120 samples .* 119 at most: --order generator"):
        trainer(data, TrainSettings(order=FEISTEL))


def test_a_checkpoint_keeps_the_kind_of_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("some.npz", x=np.random.default_rng(0).uniform(0, 1, (40, 4)), y=np.arange(40) % 2)

    def run(*words: str) -> str:
        done = CliRunner().invoke(cli, ["train", "--backend", "golden", *words])
        assert done.exit_code == 0, done.output
        return done.stderr

    asked = ("--data", "some.npz", "--layers", "4,3,2", "--epochs", "2", "--order", FEISTEL)
    said = run(*asked, "--checkpoint", "whole.npz", "--record", "run.json")
    assert "the host makes the order of --order feistel, as this machine has no sample" in said
    whole = Checkpoint.load(Path("whole.npz"))
    assert whole.spec["settings"]["order"] == FEISTEL
    said = CliRunner().invoke(cli, ["reproduce", "run.json"])
    assert said.stdout == "identical\n", said.output
    settings = TrainSettings.from_json(whole.spec["settings"])
    half = trainer(load("some.npz"), settings, Network((4, 3, 2)))
    half.start()
    half.run_epoch()
    half.checkpoint(whole.spec).save(Path("half.npz"))
    run("--resume", "half.npz", "--checkpoint", "half.npz", "--verify")
    assert same(Checkpoint.load(Path("half.npz")).weights, whole.weights)
    words = ["train", "--backend", "golden", "--resume", "half.npz", "--order", ORDERS[0]]
    refused = CliRunner().invoke(cli, words)
    assert refused.exit_code == 2 and "leave out --order" in " ".join(refused.stderr.split())
    refused = CliRunner().invoke(cli, [*words[:-2], "--no-shuffle"])
    assert refused.exit_code == 2 and "leave out --no-shuffle" in " ".join(refused.stderr.split())
    whole.spec["settings"]["order"] = "other"
    whole.save(Path("odd.npz"))
    record = json.loads(Path("run.json").read_text())
    record["spec"]["settings"]["order"] = "other"
    Path("odd.json").write_text(json.dumps(record))
    for words in (
        ["train", "--backend", "golden", "--resume", "odd.npz"],
        ["reproduce", "odd.json"],
    ):
        refused = CliRunner().invoke(cli, words)
        assert refused.exit_code == 5
        assert f"{words[-1]}: these are no settings" in refused.stderr.replace("\n", " ")
        assert "order = 'other'" in refused.stderr.replace("\n", " ")


def test_a_checkpoint_of_before_orders_had_kinds_goes_on():
    kept = TrainSettings(epochs=3).to_json()
    del kept["order"]
    assert TrainSettings.from_json(kept) == TrainSettings(epochs=3, order=ORDERS[0])


def test_resume_ends_with_the_same_bits(data, tmp_path):
    whole = trainer(data)
    whole.start()
    while whole.epoch < 3:
        whole.run_epoch()
    first = trainer(data)
    first.start()
    first.run_epoch()
    path = tmp_path / "run.npz"
    first.checkpoint({"data": "x"}).save(path)
    second = trainer(data)
    second.resume(Checkpoint.load(path))
    while second.epoch < 3:
        second.run_epoch()
    assert same(whole.weights(), second.weights())
    assert whole.device.counters() == second.device.counters()


def test_counts_go_on_where_the_counters_of_the_machine_wrap(data, tmp_path):
    first = trainer(data)
    first.start()
    first.run_epoch()
    begun = first.checkpoint({})
    first.run_epoch()
    near = dict(begun.registers)
    near["MAC_CYCLES"] = wrapped = (3 << 32) - 1000
    replace(begun, registers=near).save(tmp_path / "near.npz")
    second = trainer(data)
    second.resume(Checkpoint.load(tmp_path / "near.npz"))
    second.run_epoch()
    new = first.counters()[Register.MAC_CYCLES] - begun.registers["MAC_CYCLES"]
    assert second.device.counters()[Register.MAC_CYCLES] == new - 1000
    assert second.counters() == {**first.counters(), Register.MAC_CYCLES: wrapped + new}
    assert second.checkpoint({}).registers["MAC_CYCLES"] == wrapped + new
    kinds = second.summary()["cycles_by_kind"]
    assert kinds["mac"] == (wrapped + new) / 240
    assert kinds["learn"] == first.summary()["cycles_by_kind"]["learn"]


def test_no_run_is_long_enough_to_wrap_a_counter_twice(data, monkeypatch):
    whole, cut = trainer(data), trainer(data)
    whole.start()
    whole.run_epoch()
    cut.start()
    monkeypatch.setattr("relaxon.training.most_cycles", lambda program: 1 << 27)
    runs = []
    run_all = cut.device.run_all
    cut.device.run_all = lambda samples, **how: runs.append(len(samples)) or run_all(samples, **how)
    cut.run_epoch()
    assert runs == [31, 31, 31, 27]
    assert same(whole.weights(), cut.weights())


def test_checkpoint_of_another_machine_is_refused(data):
    run = trainer(data)
    run.start()
    checkpoint = run.checkpoint({})
    other = Trainer(open_device("golden", preset("ecp5-25f")), NETWORK, data, TrainSettings())
    with pytest.raises(DataError, match="fingerprint"):
        other.resume(checkpoint)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", b"\x93NUMPY"])
def test_damaged_checkpoint(tmp_path, content):
    path = tmp_path / "run.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"run\.npz"):
        Checkpoint.load(path)


def test_full_disk_keeps_the_old_checkpoint(data, tmp_path):
    """A real write failure: the process may not write files larger than 4 kB."""
    run = trainer(data)
    run.start()
    path = tmp_path / "run.npz"
    run.checkpoint({"n": 1}).save(path)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, hard))
    try:
        with pytest.raises(DataError, match="the file that was there before is kept"):
            run.checkpoint({"n": 2}).save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_float_weights_out_and_in(data, tmp_path):
    run = trainer(data)
    run.start()
    run.run_epoch()
    path = tmp_path / "w.npz"
    save_float_weights(path, run.real_weights())
    again = trainer(data)
    again.start(load_float_weights(path)[0])
    assert same(run.weights(), again.weights())
    with pytest.raises(DataError, match=r"\(16, 65\).* given, .*\(17, 65\).* wanted"):
        trainer(data, network=Network((64, 17, 10))).start(load_float_weights(path)[0])


def test_what_does_not_go_together_is_refused(data):
    with pytest.raises(DataError, match="the first of --layers must be 64"):
        trainer(data, network=Network((63, 16, 10)))
    with pytest.raises(DataError, match="at least 10"):
        trainer(data, network=Network((64, 16, 9)))
    with pytest.raises(ConfigError, match=r"784-500-10 does not fit .* fits"):
        Lab.open("golden", "784-500-10")
    with pytest.raises(ConfigError, match="3 learning-rate shifts for 2 weight layers"):
        trainer(data, TrainSettings(rule=RuleSettings(rate_shifts=(5, 5, 5))))
    with pytest.raises(ConfigError, match="beta"):
        RuleSettings(beta=4)


def test_real_targets(data):
    """Targets instead of classes: the mean squared error falls."""
    rng = np.random.default_rng(3)
    x = rng.uniform(0, 1, (200, 8)).astype(np.float32)
    mix = rng.uniform(0, 0.25, (8, 3))
    y = (0.8 * x @ mix).astype(np.float32)
    targets = Dataset(name="t", x_train=x, y_train=y, x_test=x[:50], y_test=y[:50])
    settings = TrainSettings(epochs=6, rate_halvings=0, rule=RuleSettings(rate_shifts=(3, 3)))
    run = trainer(targets, settings, Network((8, 12, 3)))
    run.start()
    before = run.evaluate()["mse"]
    while run.epoch < 6:
        run.run_epoch()
    assert run.evaluate()["mse"] < before / 4
    assert run.predict(x[:5], outputs=True).shape == (5, 3)


# One phase at a time -----------------------------------------------------------------------------


def lab(rule="ep-centered", **changes):
    settings = settings_for(rule, 2, rate_shifts=(2, 2), **changes)
    bench = Lab.open("golden", "20-15-5", settings)
    bench.load_weights(bench.rule.initial(initial_weights(bench.layout, 5, gain=1)))
    return bench


@pytest.mark.parametrize("rule", NUDGED)
def test_without_a_nudge_no_weight_changes(rule):
    rng = np.random.default_rng(0)
    with lab(rule, beta=0.0) as bench:
        before = bench.weights(raw=True)
        for _ in range(5):
            bench.train_step(rng.uniform(0, 1, 20), rng.uniform(0, 1, 5))
        # The read-outs of ep-local learn from errors, not from phases.
        kept = bench.network.depth if rule == "ep-local" else len(before)
        assert same(before[:kept], bench.weights(raw=True)[:kept])


@pytest.mark.parametrize("rule", ["ep-positive", "ep-negative", "ep-centered"])
def test_update_is_the_formula_even_from_an_unsettled_state(rule):
    """Free planes are arbitrary, not a fixed point: the update is still the formula's."""
    rng = np.random.default_rng(1)
    beta, rate = 0.5, 2.0**-2
    with lab(rule, beta=beta) as bench:
        x, y = rng.uniform(0, 1, 20), rng.uniform(0, 1, 5)
        bench.relax_free(x)
        for layer, size in ((1, 15), (2, 5)):
            bench.set_plane("free", rng.integers(0, 256, size) / 256, layer)
        bench.relax_nudged(y)
        before = bench.weights()
        bench.update()
        names = {
            "ep-positive": ("plus", "free", beta),
            "ep-negative": ("free", "minus", beta),
            "ep-centered": ("plus", "minus", 2 * beta),
        }
        a, b, distance = names[rule]
        x = bench.plane("x")
        states = {name: [x, *bench.states(name)] for name in (a, b)}
        for i, (old, new) in enumerate(zip(before, bench.weights(), strict=True)):
            one = np.ones(1)
            above = [states[n][i + 1] for n in (a, b)]
            below = [np.concatenate([states[n][i], one]) for n in (a, b)]
            wanted = rate / distance * (np.outer(above[0], below[0]) - np.outer(above[1], below[1]))
            assert np.abs(wanted).max() > 0.01
            # States of 8 fraction bits: only the weight is rounded, halves away from zero.
            steps = np.sign(wanted) * np.floor(np.abs(wanted) * 2.0**13 + 0.5)
            assert np.array_equal((new - old) * 2.0**13, steps)


def test_margin_skips_what_is_right_already():
    rng = np.random.default_rng(2)
    with lab(margin=0.125, input_bits=16) as bench:
        x = rng.uniform(0, 1, 20)
        output = bench.relax_free(x)[-1]
        before = bench.weights(raw=True)
        bench.train_step(x, np.clip(output + 0.12, 0, 1))
        assert same(before, bench.weights(raw=True))
        bench.train_step(x, np.clip(output + 0.25, 0, 1))
        assert not same(before, bench.weights(raw=True))


def test_three_hidden_layers_settle_and_learn(data):
    network = Network((64, 20, 16, 12, 10))
    settings = TrainSettings(epochs=1, rule=RuleSettings(rate_shifts=(4, 4, 4, 5)))
    run = trainer(data, settings, network)
    run.start()
    before = run.weights()
    run.run_epoch()
    assert all(not np.array_equal(a, b) for a, b in zip(before, run.weights(), strict=True))
    # Settled well below the caps (40 + 20).
    assert run.summary()["sweeps_per_sample"] < 45


def test_lab_reads_back_what_it_loads():
    rng = np.random.default_rng(4)
    with lab() as bench:
        weights = [rng.integers(-(1 << 15), 1 << 15, shape) for shape in bench.network.shapes]
        bench.load_weights(weights, raw=True)
        assert same(weights, bench.weights(raw=True))
        y = rng.integers(-(1 << 15), 1 << 15, 5)
        bench.set_plane("y", y, raw=True)
        assert np.array_equal(bench.plane("y", raw=True), y)
        assert bench.drive("static", 1).shape == (15,)
        assert bench.counters()[Register.SAMPLES] == 0
        with pytest.raises(DataError, match="NaN"):
            bench.set_plane("y", np.full(5, np.nan))
        with pytest.raises(ConfigError, match="plane 'z'"):
            bench.plane("z")
        assert len(bench.device.read(Space.STATE, 0, 7)) == 7


# The command -------------------------------------------------------------------------------------


def relaxon(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "relaxon", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,
    )


@pytest.mark.parametrize("data", ["iris", "some.npz"])
def test_a_checkpoint_finds_its_data_from_any_folder(data, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "some.npz", x=rng.uniform(0, 1, (20, 8)), y=np.arange(20) % 3)
    golden = ("train", "--backend", "golden", "--epochs", "1", "--layers", "8,4,3")
    monkeypatch.chdir(tmp_path)
    run = relaxon(*golden, "--data", data, "--checkpoint", "run.npz")
    assert run.returncode == 0, run.stderr
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = relaxon("train", "--backend", "golden", "--resume", "../run.npz")
    assert again.returncode == 0, again.stderr
    inferred = relaxon("infer", "--backend", "golden", "--weights", "../run.npz")
    assert inferred.returncode == 0 and "accuracy" in inferred.stderr
    other = relaxon("infer", "--backend", "golden", "--weights", "../run.npz", "--data", "digits")
    assert other.returncode == 5 and "with 3 classes labels are 0 to 2" in other.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["train", "--backend", "golden", "--layers", "64,abc"], 3, "write them like 64,32,10"),
        (["train", "--backend", "golden", "--layers", "64,90000,10"], 3, "64-1956-10 fits"),
        (["train", "--layers", "64,1100,10"], 3, "fits"),
        (["train", "--backend", "golden", "--data", "/nonexistent"], 5, "/nonexistent"),
        (["train", "--backend", "/dev/nonexistent"], 6, "/dev/nonexistent"),
        (["train", "--backend", ""], 6, "no backend '': wanted is golden, virtual"),
        (["train", "--backend", "@3000000"], 6, "no backend '@3000000'"),
        (["train", "--backend", "golden", "--preset", "ice"], 3, "no preset 'ice'"),
        (["train", "--backend", "golden", "--checkpoint", "/no/where/x"], 5, "no folder"),
        (["train", "--backend", "golden", "--resume", "/no/where/x"], 5, "no such file"),
        (["train", "--backend", "golden", "--rate-shifts", "5,x"], 2, "write numbers"),
        (["train", "--backend", "golden", "--epochs", "0"], 3, "epochs = 0"),
        (["infer", "--weights", "/no/where", "--backend", "golden"], 5, "no such file"),
        (["train", "--backend", "golden", "--checkpoint", "/dev/null"], 5, "replaced"),
        (["train", "--backend", "golden", "--init-gain", "nan"], 3, "init_gain = nan"),
        (["train", "--backend", "golden", "--order", "fiestel"], 2, "'generator', 'feistel'"),
        (["train", "--no-shuffle", "--order", "feistel"], 3, "order = 'feistel' needs shuffle"),
        (["bench", "rules", "--plot", "/no/where/x.png"], 5, "no folder"),
        (["bench", "rules", "--plot", "x.foo"], 5, "name ends in"),
        (["train", "--architecture", "backward:1"], 3, "must be layers"),
        (["bench", "equivalence", "--plot", "/no/where/x.png"], 5, "no folder"),
        (["frobnicate"], 2, "No such command"),
    ],
    ids=lambda v: v if isinstance(v, str) else None,
)
def test_errors_and_exit_codes(arguments, code, says):
    result = relaxon(*arguments)
    assert result.returncode == code, result.stderr
    assert says in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("layers", ["784,900,900,10", "64,90000,10", "64" + 20 * ",8" + ",10"])
def test_nothing_is_announced_before_a_refusal(layers):
    result = relaxon("train", "--backend", "golden", "--layers", layers)
    said = [line for line in result.stderr.splitlines() if not line.endswith(" ...")]
    assert result.returncode in (3, 4, 5) and said[0].startswith(
        "error: "
    )  # but what is waited for


@pytest.mark.parametrize("arguments", [["--help"], ["info"], ["boards", "--json"]])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_standard_output_is_said_in_a_line(arguments, unbuffered):
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "relaxon", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        )
    assert result.returncode == 5
    assert result.stderr.count("\n") == 1 and "No space left on device" in result.stderr


def test_nobody_reading_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as pipe:
        command = [sys.executable, "-m", "relaxon", "info"]
        result = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, check=False)
    assert result.stderr == b""


@pytest.mark.parametrize(
    ("image", "layers", "given", "bits"),
    [
        ((28, 28), "784,3,2", [], 4),
        ((28, 28), "784,3,2", ["--input-bits", "8"], 8),
        ((28, 28), "28x28x1,2c6s4,2", [], 8),
        ((784,), "784,3,2", [], 8),
        ((8, 8), "64,3,2", [], 8),
        ((8, 8), "64,3,2", ["--recipe", "fast"], 4),
    ],
)
def test_images_like_mnists_travel_with_few_bits(image, layers, given, bits, tmp_path):
    """And what a checkpoint says holds."""
    images = np.random.default_rng(0).integers(0, 256, (20, *image)).astype(np.uint8)
    images, kept = images / 255 if image == (784,) else images, str(tmp_path / "run.npz")
    np.savez(tmp_path / "data.npz", x=images, y=np.arange(20) % 2)
    asked = ["--data", str(tmp_path / "data.npz"), "--layers", layers, "--epochs", "1", *given]
    ran = CliRunner().invoke(cli, ["train", "--backend", "golden", *asked, "--checkpoint", kept])
    by_default = bits == 4 and not given
    assert ran.exit_code == 0, ran.output
    assert f"inputs of {bits} bits" in ran.stderr
    assert ("the default for images like MNIST's" in ran.stderr) == by_default
    again = CliRunner().invoke(cli, ["train", "--backend", "golden", "--resume", kept])
    assert f"inputs of {bits} bits\n" in again.stderr
