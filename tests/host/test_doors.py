"""Doors: what users hand in, in the wrong shape, order or place; and what a run leaves behind."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from relaxon import checks
from relaxon.backends import open_device
from relaxon.checkpoint import (
    Checkpoint,
    load_float_weights,
    save_float_weights,
    write_npz,
)
from relaxon.cli import cli
from relaxon.datasets import Dataset, load
from relaxon.lab import Lab
from relaxon.network import Network
from relaxon.rules import RULES, settings_for, unused_settings
from relaxon.rules.settings import RuleSettings
from relaxon.training import Trainer, TrainSettings, remarks, run_limit
from relaxon_hdl.tools.cache import ABANDONED, scratch
from relaxon_isa.errors import ConfigError, DataError, DeviceError
from relaxon_isa.identity import decode_info, encode_info
from relaxon_isa.instructions import Halt
from relaxon_isa.presets import PRESETS, preset
from relaxon_isa.program import Builder
from relaxon_sim.golden.device import GoldenDevice

X = np.random.default_rng(0).uniform(0, 1, (60, 6)).astype(np.float32)
Y = (X[:, 0] * 2.99).astype(int)
ANOTHER = np.random.default_rng(1).uniform(0, 1, (3, 6))
GOLDEN = ("--backend", "golden")

# What is handed in here is often not of the types that are declared.
AnyDataset: Any = Dataset
AnyNetwork: Any = Network
AnyLab: Any = Lab
AnySettings: Any = TrainSettings
AnyRuleSettings: Any = RuleSettings
any_load: Any = load
SMALL = ("--layers", "6,4,3", "--epochs", "1")


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Small data sets in the folder that a command runs in."""
    monkeypatch.chdir(tmp_path)
    np.savez("cls.npz", x=X, y=Y)
    np.savez("reg.npz", x=X, y=X[:, :2] * 2 - 1)
    return tmp_path


def relaxon(*arguments: str, code: int = 0) -> str:
    """Standard output of a command; what it says on standard error if it is refused."""
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == code, result.output
    return " ".join((result.stderr if code else result.stdout).split())


def train(*arguments: str, data: str = "cls.npz", code: int = 0) -> str:
    return relaxon("train", *GOLDEN, "--data", data, *SMALL, *arguments, code=code)


def trainer(data: Dataset | None = None, layers: str = "6-4-3", **settings) -> Trainer:
    data = data or Dataset("few", X[:40], Y[:40], X[40:], Y[40:])
    rule = settings_for("ep-centered", 2, **settings)
    network = Network.parse(layers)
    return Trainer(open_device("golden"), network, data, TrainSettings(epochs=2, rule=rule))


# Save and load on every machine -------------------------------------------------------------------


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("rule", ["ep-centered", "ep-random", "backprop", "lock-in"])
def test_save_and_load_on_every_machine(name, rule, files):
    settings = settings_for(rule, 2)
    machine = (*GOLDEN, "--preset", name)
    result = CliRunner().invoke(
        cli,
        ["train", *machine, "--data", "cls.npz", "--layers", "6,4,3", "--rule", rule, "--epochs",
         "2", "--checkpoint", "whole.npz", "--export", "w.npz"],
    )  # fmt: skip
    if result.exit_code == 4:
        pytest.skip("this machine cannot run the rule")
    assert result.exit_code == 0, result.output
    half = Trainer(
        open_device("golden", name),
        Network((6, 4, 3)),
        load("cls.npz"),
        TrainSettings(epochs=2, rule=settings),
    )
    half.start()
    half.run_epoch()
    half.checkpoint(Checkpoint.load(Path("whole.npz")).spec).save(Path("half.npz"))
    relaxon("train", *machine, "--resume", "half.npz", "--checkpoint", "half.npz")
    whole, again = (Checkpoint.load(Path(f"{n}.npz")) for n in ("whole", "half"))
    assert all(map(np.array_equal, whole.weights, again.weights))
    assert whole.registers == again.registers
    answers = [
        json.loads(relaxon("infer", *machine, "--weights", file, "--json"))["classes"]
        for file in ("whole.npz", "w.npz")
    ]
    assert answers[0] == answers[1]
    train("--rule", rule, "--preset", name, "--init", "w.npz")


# Outputs and inputs -------------------------------------------------------------------------------


def test_no_output_replaces_an_input(files):
    rule = (
        "from relaxon.rules.ep import CenteredEP\n\n\nclass Once(CenteredEP):\n    name = 'once'\n"
    )
    Path("once.py").write_text(rule)
    Path("link.npz").symlink_to("cls.npz")
    os.link("cls.npz", "hard.npz")
    train("--export", "w.npz", "--checkpoint", "c.npz")
    kept = {path.name: path.read_bytes() for path in Path().iterdir() if path.is_file()}
    for arguments in (
        ("--checkpoint", "cls.npz"),
        ("--export", "cls.npz"),
        ("--export", "cls.npz", "--force"),
        ("--export", "../" + files.name + "/cls.npz"),
        ("--export", "link.npz"),
        ("--export", "hard.npz"),
        ("--init", "w.npz", "--export", "w.npz"),
        ("--rule", "once.py:Once", "--export", "once.py"),
        ("--rule", "once.py:Once", "--export", "once.py", "--force"),
    ):
        assert "this command reads it" in train(*arguments, code=5), arguments
    said = relaxon("train", *GOLDEN, "--resume", "c.npz", "--export", "c.npz", code=5)
    assert "this command reads it" in said
    assert {path.name: path.read_bytes() for path in Path().iterdir() if path.is_file()} == kept


def test_machines_rules_and_data_of_every_command_are_inputs(files):
    Path("once.py").write_text(
        "from relaxon.rules.ep import CenteredEP\n\n\nclass Once(CenteredEP):\n    name = 'once'\n"
    )
    Path("m.toml").write_text('base = "default"\n')
    Path("s.toml").write_text(
        'data = "cls.npz"\nlayers = "6,4,3"\nrules = ["once.py:Once"]\nseeds = 1\nepochs = 1\n'
    )
    Path("folder").mkdir()
    Path("folder/images").write_bytes(b"pixels")
    train("--rule", "once.py:Once", "--record", "r.json")
    kept = {path: path.read_bytes() for path in Path().rglob("*.*") if path.is_file()}
    machine = ("--config", "m.toml")
    for command in (
        ("train", *GOLDEN, "--data", "cls.npz", *SMALL, *machine, "--export", "m.toml"),
        ("info", *GOLDEN, *machine, "--report", "m.toml"),
        ("virtual", *machine, "--vcd", "m.toml"),
        ("report", "r.json", "-o", "cls.npz"),
        ("report", "r.json", "-o", "once.py"),
        ("sweep", "s.toml", "--csv", "once.py"),
        ("sweep", "s.toml", "--csv", "cls.npz"),
        ("bench", "claims", "--mnist", "folder", "--write", "folder/images"),
    ):
        assert "this command reads it" in relaxon(*command, "--force", code=5), command
    assert "a file each" in relaxon("sweep", "s.toml", "--csv", "a.svg", "--plot", "a.svg", code=2)
    assert {path: path.read_bytes() for path in Path().rglob("*.*") if path.is_file()} == kept


def test_an_idx_file_of_the_data_is_not_replaced(files):
    Path("idx").mkdir()
    names = [f"{p}-{k}" for p in ("train", "t10k") for k in ("images-idx3", "labels-idx1")]
    for name in names:
        images = "images" in name
        sizes = (6, 2, 3) if images else (6,)
        head = bytes([0, 0, 8, len(sizes)]) + b"".join(n.to_bytes(4, "big") for n in sizes)
        body = bytes(36) if images else bytes(range(3)) * 2
        Path(f"idx/{name}-ubyte").write_bytes(head + body)
    train(data="idx")
    assert "this command reads it" in train(
        "--export", "idx/train-images-idx3-ubyte", data="idx", code=5
    )


def test_only_what_relaxon_wrote_is_replaced(files):
    Path("mine.npz").write_bytes(b"years of work")
    assert "relaxon did not write it" in train("--export", "mine.npz", code=5)
    assert Path("mine.npz").read_bytes() == b"years of work"
    train("--export", "mine.npz", "--force")
    train("--export", "mine.npz")
    train("--checkpoint", "mine.npz")
    Path("x.png").write_bytes(b"a photograph")
    plot = ("bench", "equivalence", "--steps", "2", "--plot", "x.png")
    assert "relaxon did not write it" in relaxon(*plot, code=5)


def test_what_a_killed_run_left_beside_a_checkpoint_goes(files):
    Path("c.npz.part").write_bytes(b"half of it")
    train("--checkpoint", "c.npz")
    assert {p.name for p in Path().iterdir()} == {"c.npz", "cls.npz", "reg.npz"}


# Files that say what they are ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "options"),
    [
        ("cls.npz", ("--architecture", "skip:0>2", "--rate-shifts", "3,3")),
        ("reg.npz", ("--output", "linear")),
        ("cls.npz", ("--rule", "pcn")),
        ("cls.npz", ("--architecture", "backward")),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, tuple) else v,
)
def test_exported_weights_are_relaxed_as_they_were_trained(data, options, files):
    layers = ("--layers", "6,4,2") if data == "reg.npz" else ()
    train(*options, *layers, "--export", "e.npz", "--checkpoint", "c.npz", data=data)
    saved, exported = (
        json.loads(relaxon("infer", *GOLDEN, "--weights", file, "--outputs", "--json"))["outputs"]
        for file in ("c.npz", "e.npz")
    )
    assert saved == exported
    said = relaxon("infer", *GOLDEN, "--weights", "e.npz", "--layers", "6,5,3", code=5)
    assert "says itself what it is" in said


def test_a_file_with_something_unknown_is_refused_by_name(files):
    train("--architecture", "skip:0>2", "--export", "e.npz")
    with np.load("e.npz") as arrays:
        bare = {name: arrays[name] for name in arrays.files if name != "meta"}
    np.savez("bare.npz", **bare)
    np.savez("more.npz", **bare, scale=np.ones(3))
    infer = ("infer", *GOLDEN, "--layers", "6,4,3", "--data", "cls.npz", "--weights")
    assert "(3, 7)" in relaxon(*infer, "bare.npz", code=5)
    assert "scale is no weight" in relaxon(*infer, "more.npz", code=5)
    relaxon(*infer, "bare.npz", "--architecture", "skip:0>2")
    assert "architecture skip:0>2, asked for is layers" in train("--init", "e.npz", code=5)
    train("--init", "e.npz", "--architecture", "skip:0>2")
    np.savez("cls.npz", x=X, y=Y, groups=Y)
    assert "holds groups besides x, y" in train(code=5)
    np.savez("c.npz", meta="no json", weights_1=np.ones(3))
    assert "not a file of relaxon checkpoint" in relaxon(
        "train", *GOLDEN, "--resume", "c.npz", code=5
    )


def test_a_checkpoint_with_something_unknown_is_refused_by_name(files):
    train("--checkpoint", "c.npz")
    with np.load("c.npz") as found:
        arrays = dict(found)
    for add in ("array", "meta", "registers", "spec"):
        changed, meta = dict(arrays), json.loads(str(arrays["meta"]))
        if add == "array":
            changed["scale"] = np.ones(3)
        {"meta": meta, "array": {}}.get(add, meta.get(add))["scale"] = 1
        write_npz(Path("more.npz"), changed | {"meta": np.array(json.dumps(meta))}, "--resume")
        said = relaxon("infer", *GOLDEN, "--weights", "more.npz", code=5)
        assert "scale" in said and "not known here" in said


def members(document: Any, *path) -> list[tuple]:
    """Where values stand in a JSON document, two of each list."""
    inside = document.items() if isinstance(document, dict) else ()
    inside = enumerate(document[:2]) if isinstance(document, list) else inside
    return [place for key, value in inside for place in ((*path, key), *members(value, *path, key))]


def with_another(document: Any, path: tuple, value: Any) -> Any:
    made = json.loads(json.dumps(document))
    place = made
    for key in path[:-1]:
        place = place[key]
    if value == "absent":
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return made


@pytest.mark.parametrize("file", ["c.npz", "e.npz", "r.json"])
def test_what_is_damaged_is_an_error_of_ours_or_runs(file, files):
    """Whatever a value of a checkpoint, of exported weights or of a record was turned into."""
    train("--checkpoint", "c.npz", "--export", "e.npz", "--record", "r.json")
    arrays: dict = {}
    if file == "r.json":
        document, commands = json.loads(Path(file).read_text()), [["reproduce", "odd.npz"]]
    else:
        with np.load(file) as found:
            arrays = dict(found)
        document = json.loads(str(arrays["meta"]))
        commands = [["infer", *GOLDEN, "--weights", "odd.npz"]]
        if file == "c.npz":
            commands.append(["train", *GOLDEN, "--resume", "odd.npz"])
    for path in members(document):
        if path[:2] == ("machine", "config") and len(path) > 2:
            continue  # another machine
        for value in ([], "x", "absent"):
            odd = json.dumps(with_another(document, path, value))
            if arrays:
                arrays["meta"] = np.array(odd)
                np.savez("odd.npz", **arrays)
            else:
                Path("odd.npz").write_text(odd)
            for command in commands:
                result = CliRunner().invoke(cli, command)
                assert isinstance(result.exception, SystemExit | None), (path, value, command)
    raw = Path(file).read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(raw), 60):
        changed = bytearray(raw)
        changed[place] ^= 1 << rng.integers(8)
        Path("odd.npz").write_bytes(changed[: None if place % 3 else place])
        result = CliRunner().invoke(cli, commands[0])
        assert isinstance(result.exception, SystemExit | None), (place, commands[0])


def test_weights_of_others_go_in_without_biases(files, tmp_path):
    w = [np.full((4, 6), 0.25), np.full((3, 4), 0.5)]
    np.savez("others.npz", W1=w[0], W2=w[1])
    found, about = load_float_weights(Path("others.npz"))
    assert about == {} and [f.shape for f in found] == [(4, 7), (3, 5)]
    relaxon("infer", *GOLDEN, "--weights", "others.npz", "--layers", "6,4,3", "--data", "cls.npz")
    save_float_weights(tmp_path / "again.npz", found)
    assert all(map(np.array_equal, found, load_float_weights(tmp_path / "again.npz")[0]))


# One door, one check ------------------------------------------------------------------------------

REFUSED = {
    "weights of another shape": (lambda t: t.start([np.ones((2, 2))]), r"\(2, 2\).*\(4, 7\)"),
    "weights transposed": (lambda t: t.start([np.ones((7, 4))]), r"\(7, 4\).*\(4, 7\)"),
    "weights that are no numbers": (lambda t: t.start([np.full((4, 7), "a")]), "real numbers"),
    "NaN among weights": (lambda t: t.start([np.full((4, 7), np.nan)]), "W1 has 28 values"),
    "a feature too few": (lambda t: t.predict(ANOTHER[:, :5]), "5 features a sample, 6 wanted"),
    "one sample in one dimension": (lambda t: t.predict(ANOTHER[0]), r"one sample is x\[None\]"),
    "no samples": (lambda t: t.predict(ANOTHER[:0]), "holds nothing"),
    "NaN": (lambda t: t.predict(ANOTHER * np.nan), "18 values that are NaN"),
    "too large": (lambda t: t.predict(ANOTHER * 5), "--scale"),
    "no list of weights": (lambda t: t.start(3), "weights: a list wanted, int given"),
    "one matrix of weights": (lambda t: t.start(np.ones((4, 7))), r"\(7,\)"),
    "weights in rows of different lengths": (lambda t: t.start([[[1], [1, 2]]]), "W1: no array"),
    "masked weights": (lambda t: t.start([np.ma.masked_all((4, 7))]), "28 masked values"),
    "a checkpoint without registers": (
        lambda t: t.resume(replace(t.checkpoint({}), registers={})),
        "lacks the registers UPDATE_KEY",
    ),
    "a checkpoint of real weights": (
        lambda t: t.resume(replace(t.checkpoint({}), weights=t.real_weights())),
        "integers of shape",
    ),
    "rows of different lengths": (lambda t: t.predict([[1.0] * 6, [1.0] * 5]), "no array"),
    "text": (lambda t: t.predict([["a"] * 6]), "real numbers"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_trainer_refuses(case):
    attempt, message = REFUSED[case]
    run = trainer()
    run.start()
    before = run.weights()
    with pytest.raises(DataError, match=message):
        attempt(run)
    assert all(map(np.array_equal, before, run.weights()))


def as_any(value: Any) -> Any:
    return value


def trained_by(**changes: Any) -> Trainer:
    given: dict[str, Any] = {
        "device": open_device("golden"),
        "network": "6-4-3",
        "data": Dataset("few", X[:40], Y[:40], X[40:], Y[40:]),
        "settings": TrainSettings(epochs=2),
    }
    return Trainer(**given | changes)


class Frame:
    """As much of a DataFrame as matters here."""

    def __init__(self, values) -> None:
        self.values = values

    def to_numpy(self):
        return np.array(self.values, dtype=object)

    def __array__(self, *_):
        raise TypeError("not like that")


@pytest.mark.parametrize(
    "given",
    [ANOTHER, ANOTHER.tolist(), ANOTHER.astype(np.float32), Frame(ANOTHER), ANOTHER.astype(object)],
    ids=["float64", "list", "float32", "frame", "object"],
)
def test_predict_takes_any_numbers(given):
    run = trainer()
    run.start()
    assert np.array_equal(run.predict(given), run.predict(ANOTHER.astype(np.float32)))
    assert run.predict((ANOTHER * 255).astype(np.uint8)).shape == (3,)


def test_training_needs_weights_of_its_own():
    run = trainer()
    with pytest.raises(ConfigError, match="nothing was loaded yet"):
        run.run_epoch()
    with pytest.raises(ConfigError, match="nothing was loaded yet"):
        run.predict(ANOTHER)
    run.start()
    other = Trainer(run.device, run.network, run.data, run.settings)
    other.start()
    with pytest.raises(ConfigError, match="another Trainer or Lab"):
        run.run_epoch()
    other.run_epoch()
    Lab(run.device, "6-4-3")
    with pytest.raises(ConfigError, match="another Trainer or Lab"):
        other.evaluate()


@pytest.mark.parametrize(
    ("attempt", "error", "message"),
    [
        (lambda: AnySettings(epochs=2.5), ConfigError, "epochs = 2.5"),
        (lambda: AnySettings(seed=1.5), ConfigError, "seed = 1.5"),
        (lambda: AnySettings(init_gain="1"), ConfigError, "init_gain = '1'"),
        (lambda: AnyRuleSettings(beta="0.5"), ConfigError, "beta = '0.5'"),
        (lambda: AnyRuleSettings(free_cap=2.5), ConfigError, "free_cap = 2.5"),
        (lambda: settings_for("ep-centered", 2, betta=3), ConfigError, "did you mean beta"),
        (lambda: any_load(None), DataError, "None is no data set"),
        (lambda: load("cls.npz", seed=-1), ConfigError, "seed = -1"),
        (lambda: any_load("cls.npz", classes=2.5), ConfigError, "classes = 2.5"),
        (lambda: AnyNetwork((6, 2.5, 3)), ConfigError, "positive whole number"),
        (lambda: AnyNetwork("64"), ConfigError, "positive whole number"),
        (lambda: Lab.open("golden", (6, 0, 3)), ConfigError, "positive whole number"),
        (lambda: AnyLab.open("golden", None), ConfigError, "positive whole number"),
        (lambda: AnyLab.open(None, "6-4-3"), ConfigError, "backend None"),
        (lambda: AnyLab.open("golden", "6-4-3", config=None), ConfigError, "config None"),
        (lambda: Lab.open("golden", "6-4-3", engin="numpy"), ConfigError, "argument 'engin'"),
        (lambda: AnyLab("golden", "6-4-3"), ConfigError, "a Device wanted, str given: open_device"),
        (lambda: AnyLab(open_device("golden"), "6-4-3", {}), ConfigError, "a RuleSettings wanted"),
        (lambda: trained_by(device="golden"), ConfigError, "a Device wanted, str given"),
        (lambda: trained_by(network=None), ConfigError, "positive whole number"),
        (lambda: trained_by(data=(X, Y)), ConfigError, r"a Dataset wanted, tuple given: load\("),
        (lambda: trained_by(settings=None), ConfigError, "a TrainSettings wanted"),
        (lambda: trained_by(callbacks=["cvs:log"]), ConfigError, "no callback 'cvs'"),
        (lambda: trained_by(callbacks=[print]), ConfigError, "a Callback wanted"),
        (lambda: trained_by().resume(as_any("c.npz")), ConfigError, "Checkpoint.load"),
        (lambda: trained_by().order(-1), ConfigError, "epoch = -1"),
        (lambda: AnySettings(rule="pcn"), ConfigError, "a RuleSettings wanted, str given"),
        (lambda: AnySettings(shuffle="no"), ConfigError, "a bool wanted, str given"),
        (lambda: AnySettings(order="fiestel"), ConfigError, "order = 'fiestel': must be 'gen"),
        (lambda: AnySettings(order=None), ConfigError, "a str wanted, NoneType given"),
        (lambda: AnySettings(order="feistel", shuffle=False), ConfigError, "needs shuffle"),
        (lambda: settings_for("pcn", as_any(2.5)), ConfigError, "network = 2.5"),
        (lambda: AnyDataset("d", [[0.5]], [2**63 + 5], [[0.5]], [0]), DataError, str(2**63 + 5)),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_nonsense_is_refused_by_our_own_errors(attempt, error, message, files):
    with pytest.raises(error, match=message):
        attempt()


def test_numpys_numbers_are_numbers():
    run = trained_by(settings=AnySettings(shuffle=np.bool_(False), init_gain=np.float32(0.5)))
    rule = settings_for("ep-centered", 2, beta=np.float32(0.5), early_stop=np.bool_(False))
    rule = replace(rule, rate_shifts=np.array([5, 7]), targets=np.array([0, 0.5]))
    again = json.loads(json.dumps(replace(run.settings, rule=rule).to_json()))
    assert TrainSettings.from_json(again) == replace(run.settings, rule=rule)
    assert run.order(as_any(np.int64(1))).tolist() == [*range(40)]


def test_a_trainer_takes_layers_as_a_lab_does():
    networks = "6-4-3", (6, 4, 3), np.array([6, 4, 3]), Network((6, 4, 3))
    assert len({trained_by(network=network).network for network in networks}) == 1


def test_numpys_integers_are_integers():
    sizes = (np.int64(6), np.uint8(4), np.int32(3))
    assert AnyNetwork(sizes) == Network((6, 4, 3))
    assert AnySettings(epochs=np.int64(3)) == TrainSettings(epochs=3)
    assert json.dumps(AnySettings(epochs=np.int64(3), seed=np.uint8(1)).to_json())
    with Lab.open("golden", (4, 3, 2)) as lab:
        assert str(lab.network) == "4-3-2"


# Labels, features, targets ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("y", "names"),
    [
        (np.array(["cat", "dog", "eel"])[Y], ("cat", "dog", "eel")),
        (np.array(["cat", "dog", "eel"], dtype=object)[Y], ("cat", "dog", "eel")),
        (Y > 0, (False, True)),
        (Y + 1, (1, 2, 3)),
        (np.where(Y > 0, 1, -1), (-1, 1)),
        (np.array([b"cat", b"dog", b"eel"])[Y], ("cat", "dog", "eel")),
        ((Y > 0).astype(object), (False, True)),
        (Y[:, None], None),
        (Y.astype(np.uint64), None),
        (Y.astype(object), None),
        (np.eye(3)[Y].astype(object), None),
        (Y.tolist(), None),
    ],
    ids=["text", "object", "bool", "from 1", "-1 and 1", "bytes", "objects of bool", "column",
         "uint64", "objects of whole numbers", "objects one-hot", "list"],
)  # fmt: skip
def test_labels_are_numbered_and_named_again(y, names):
    data = AnyDataset("few", X, y, X, y)
    assert data.names == names and data.y_train.dtype == np.int64
    again = load((X, y, X, y), names=data.names, classes=data.classes)  # as a checkpoint says it
    assert again.names == names and np.array_equal(again.y_test, data.y_test)
    wanted = data.named(Y if data.outputs == 3 else (Y > 0).astype(int))
    assert np.array_equal(data.named(data.y_train), wanted)
    run = trainer(data, f"6-4-{data.outputs}")
    run.start()
    assert set(run.predict(X).tolist()) <= set(np.unique(wanted).tolist())


@pytest.mark.parametrize("kind", ["npz", "csv"])
def test_labels_in_words_from_file_to_answer(kind, files):
    words = np.array(["cat", "dog", "eel"])[Y]
    if kind == "npz":
        np.savez("words.npz", data=X, target=words)
    else:
        rows = [",".join([*map(str, x), word]) for x, word in zip(X, words, strict=True)]
        Path("words.csv").write_text("\n".join(["a,b,c,d,e,f,what", *rows]))
    name = f"words.{kind}"
    train("--checkpoint", "c.npz", "--export", "e.npz", data=name)
    for file in ("c.npz", "e.npz"):
        found = json.loads(relaxon("infer", *GOLDEN, "--weights", file, "--json"))
        assert set(found["classes"]) <= {"cat", "dog", "eel"}
    # Another file, in which a class does not occur, is read by the classes of the first.
    np.savez("two.npz", x=X[Y > 0], y=words[Y > 0])
    found = relaxon("infer", *GOLDEN, "--weights", "c.npz", "--data", "two.npz", "--json")
    assert set(json.loads(found)["classes"]) <= {"cat", "dog", "eel"}


LABELS = np.array(["cat", "dog"])[np.minimum(Y, 1)]
BEYOND = np.where(Y > 0, 2**63 + 5, 0).astype(np.uint64)
NOT_TAKEN = {
    "a part whose samples are missing": (lambda: few(X[:0], Y), "0 samples in x_train, 60 in y"),
    "rows of different lengths": (lambda: few([[1.0], [1.0, 2.0]], [0, 1]), "x_train: no array"),
    "labels of different lengths": (lambda: few(X, [[1], [1, 2]] * 30), "y_train: no array"),
    "targets of no columns": (lambda: few(X, np.zeros((60, 0))), "holds nothing"),
    "masked values": (lambda: few(np.ma.array(X, mask=X > 0.5), Y), "[0-9]+ masked values"),
    "a sparse matrix": (lambda: few(Sparse(), Y), "sparse matrix: give what its toarray"),
    "beyond float32": (lambda: few(X.astype(float) * 1e39, Y), r"reaches to .*e\+38: no float32"),
    "beyond int64": (lambda: few(X, BEYOND, classes=3), str(2**63 + 5)),
    "text where numbers were": (
        lambda: AnyDataset("d", X, Y, X, LABELS), "y_test has labels such as 'cat', y_train num",
    ),
    "a name for two": (lambda: few(X, Y, names=("a", "a", "b")), "names .* each once"),
    "names that are a text": (lambda: any_load((X, Y), names="abc"), "names 'abc'.* each once"),
    "names that are a number": (lambda: any_load((X, Y), names=5), "names 5.* each once"),
    "more classes than names": (lambda: few(X, Y, names=("a", "b", "c"), classes=5), "3 names"),
    "classes that are a text": (lambda: few(X, Y, classes="3"), "classes = '3'"),
    "classes beyond memory": (lambda: few(X, Y, classes=1 << 70), "classes = 11805"),
    "no labels": (lambda: any_load((X, None)), r"y \(\)"),
    "columns of real numbers as classes": (
        lambda: load((X, X[:, :2]), task="classification"), "y has 2 columns of numbers",
    ),
    "a scale that is NaN": (lambda: load((X, Y), scale=(0, np.nan)), "scale has 1 values"),
    "a scale of no width": (lambda: load((X, Y), scale=(0, 0)), "the lowest value first"),
    "a scale of targets turned round": (
        lambda: load((X, X[:, 0]), scale_targets=(1, 0)), "scale_targets from 1 to 0",
    ),
    "a scale of targets that is one number": (
        lambda: any_load((X, X[:, 0]), scale_targets=3), "scale_targets of 1 values",
    ),
    "a test part that is a text": (lambda: any_load((X, Y), test_fraction="a"), "'a': must be a"),
    "a test part that is NaN": (lambda: load((X, Y), test_fraction=np.nan), "nan: must be a num"),
    "images beyond memory": (lambda: load((X, Y), resize="3x2:99999x99999"), "a million pixels"),
    "bits 0": (lambda: load((X, Y), bits=0), "bits = 0"),
    "too long a name": (lambda: load("a" * 5000), "aaa: File name too long"),
}  # fmt: skip


def few(x, y, **more) -> Dataset:
    return AnyDataset("d", x, y, X, Y, **more)


class Sparse:
    """As much of SciPy's sparse matrices as matters here."""

    def toarray(self):
        return X


@pytest.mark.parametrize("case", NOT_TAKEN)
def test_data_that_are_not_taken(case):
    attempt, message = NOT_TAKEN[case]
    with pytest.raises((DataError, ConfigError), match=message):
        attempt()


def test_names_say_the_order_of_labels_in_words():
    words = np.array(["cat", "dog", "eel"])[Y]
    data = AnyDataset("d", X, words, X, words, names=("eel", "dog", "cat"))
    assert data.y_train.tolist() == (2 - Y).tolist()
    assert data.named(np.arange(3)).tolist() == ["eel", "dog", "cat"]


def test_numpys_numbers_among_the_options_of_load_are_kept_as_json(files):
    options = {"seed": np.int64(3), "test_fraction": np.float32(0.5), "bits": np.uint8(4)}
    data = any_load((X, Y), scale=np.bool_(True), **options)
    assert json.loads(json.dumps(data.options)) == {"seed": 3, "test_fraction": 0.5, "bits": 4}
    assert data.scale and any_load((X, Y), scale=np.bool_(False)).scale is None


def test_how_far_features_reach_is_said_exactly():
    with pytest.raises(DataError, match=r"to 1\.0000001, inputs of 8 bits"):
        trainer(few(X * 0 + np.float32(1 + 2**-23), Y))


def test_a_name_too_long_for_the_system_is_an_error_of_ours(files):
    for option in ("--checkpoint", "--init", "--record"):
        assert "File name too long" in train(option, "a" * 5000, code=5)


def test_whole_floats_are_targets_and_the_remedy_is_named(files):
    np.savez("floats.npz", x=X, y=Y.astype(float))
    assert "y.astype(int)" in train(data="floats.npz", code=5)


def test_a_class_that_only_the_test_part_has(files):
    np.savez("parts.npz", x_train=X[:9], y_train=np.arange(9) % 2, x_test=X[:3], y_test=[0, 1, 2])
    assert "--classes" in train(data="parts.npz", code=5)
    train("--classes", "3", "--checkpoint", "c.npz", data="parts.npz")
    relaxon("train", *GOLDEN, "--resume", "c.npz")


def test_features_are_scaled_on_request_and_as_they_were(files):
    np.savez("far.npz", x=100 * X.astype(float) - 30, y=Y)
    said = train(data="far.npz", code=5)
    assert "far.npz: x_train" in said and "--scale" in said
    train("--scale", "--checkpoint", "c.npz", "--export", "e.npz", data="far.npz")
    for file in ("c.npz", "e.npz"):
        relaxon("infer", *GOLDEN, "--weights", file, "--data", "far.npz")
    relaxon("train", *GOLDEN, "--resume", "c.npz", "--verify")
    data = load("far.npz", scale=True)
    run = trainer(data)
    run.start()
    assert np.array_equal(run.predict(100 * X.astype(float) - 30), run.predict(100 * X - 30))
    assert data.x_train.min() == 0 and data.x_train.max() == 1


def test_signed_features_go_in_as_words():
    x = X * 3 - 1.5
    data = Dataset("signed", x, Y, x, Y)
    with pytest.raises(DataError, match="--input-bits 16"):
        trainer(data)
    trainer(data, input_bits=16).start()
    with pytest.raises(DataError, match="--scale"):
        trainer(Dataset("far", x * 2, Y, x, Y), input_bits=16)


def test_targets_beyond_the_format_are_named():
    y = np.full((60, 3), 3.5)
    with pytest.raises(DataError, match=r"few: y_train: 3\.5 is beyond"):
        trainer(AnyDataset("few", X, y, X, y), output="linear")


# Said, or refused ---------------------------------------------------------------------------------


def test_what_is_hardly_meant_is_said(files):
    result = CliRunner().invoke(
        cli, ["train", *GOLDEN, "--data", "reg.npz", "--layers", "6,4,2", "--epochs", "1"]
    )
    assert result.exit_code == 0 and "--output linear" in result.stderr
    clip, linear = (
        trainer(load("reg.npz"), "6-4-2", output=output) for output in ("clip", "linear")
    )
    assert "--output linear" in remarks(clip.rule, clip.data)[0]
    assert not remarks(linear.rule, linear.data)
    one = Dataset("one", X, np.zeros(60, int), X, np.zeros(60, int))
    assert "single class" in remarks(trainer(one).rule, one)[0]
    turned, still = trainer(targets=(0.75, 0.0)), trainer(frozen=(1, 2))
    assert "right by chance" in remarks(turned.rule, turned.data)[0]
    assert "frozen" in remarks(still.rule, still.data)[0]
    idle = trainer(beta=0.0)
    assert "nothing is learned" in remarks(idle.rule, idle.data)[0]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--rule", "backprop", "--beta", "0.1"), 3, "--beta"),
        (("--rule", "backprop", "--free-cap", "3", "--nudged-cap", "2"), 3, "--nudged-cap"),
        (("--rule", "pcn", "--tolerance", "0.5"), 3, "--tolerance"),
        (("--rule", "spsa", "--nudged-cap", "3"), 3, "--nudged-cap"),
        (("--rule", "frequency", "-o", "points=8", "-o", "points=4"), 2, "given twice"),
        (("--loss", "--no-evaluate"), 2, "--no-evaluate"),
        (("--stream",), 3, "--stream is about boards with a sample memory"),
        (("--retry", "3"), 2, "leave it out with golden"),
        (("--preset", ""), 2, "an empty name"),
        (("--keys", ""), 2, "an empty list"),
        (("--layers", ""), 2, "an empty list"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, tuple) else "",
)
def test_an_option_that_nobody_reads_is_refused(arguments, code, says, files):
    assert says in train(*arguments, code=code)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(("--watch",), "--watch draws in a terminal"), (("--every", "9"), "nobody to tell")],
)
def test_an_option_that_shows_nothing_is_said_to(arguments, says, files):
    result = CliRunner().invoke(cli, ["train", *GOLDEN, "--data", "cls.npz", *SMALL, *arguments])
    assert result.exit_code == 0 and says in " ".join(result.stderr.split())


def test_a_log_is_an_output_too(files):
    train("--export", "w.npz")
    kept = Path("w.npz").read_bytes()
    for arguments, code, says in (
        (("--log", "csv:a.csv", "--checkpoint", "./a.csv"), 2, "a file each"),
        (("--log", "csv:a.csv", "--log", "csv:../" + files.name + "/a.csv"), 2, "a file each"),
        (("--log", "csv:w.npz", "--init", "w.npz"), 5, "this command reads it"),
        (("--log", "csv:cls.npz", "--force"), 5, "this command reads it"),
        (("--log", "csv:w.npz", "--force"), 5, "is no such log"),
        (("--log", "csv:no/a.csv"), 5, "no folder no"),
    ):
        assert says in train(*arguments, code=code), arguments
    assert Path("w.npz").read_bytes() == kept and not Path("a.csv").exists()


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs /dev/zero")
def test_a_file_without_an_end_is_not_read(files):
    """Reading one whole takes all memory that there is."""
    assert "no file" in relaxon("reproduce", "/dev/zero", code=5)
    for option in ("--init", "--resume"):
        arguments = ("--data", "cls.npz", *SMALL) if option == "--init" else ()
        said = relaxon("train", *GOLDEN, *arguments, option, "/dev/zero", code=5)
        assert "no archive of arrays" in said
    assert "is not a file that could be replaced" in train("--log", "csv:/dev/zero", code=5)
    assert "no such file, folder or data set" in train(data="/dev/zero", code=5)


def test_a_checkpoint_of_another_machine_is_named(files):
    train("--checkpoint", "c.npz")
    other = ("--preset", "hx8k")
    said = [
        relaxon("train", *GOLDEN, *other, "--resume", "c.npz", code=5),
        relaxon("infer", *GOLDEN, *other, "--weights", "c.npz", code=5),
    ]
    assert all("error: c.npz: the checkpoint is of a machine" in text for text in said)


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "--layers", "6,4,3", "--rate-shifts", "5"),
        ("train", "--rate-shifts", "5"),
        ("train", "--rule", "backprop", "--beta", "0.3"),
        ("train", "--rule", "frequency", "-o", "points=3"),
        ("train", "--architecture", "skip:0>9"),
        ("train", "--objective", "cross-entropy", "--rule", "backprop"),
        ("train", "--epochs", "0"),
        ("train", "--preset", "up5"),
        ("train", "--preset", "up5k", "--layers", "64,999,10"),
        ("train", "--backend", "golde"),
        ("train", "--init", "no.npz"),
        ("train", "--init", "w.npz", "--layers", "6,5,3"),
        ("train", "--log", "cvs:x"),
        ("train", "--checkpoint", "no/c.npz"),
        ("train", "--resume", "c.npz", "--export", "no/c.npz"),
        ("train", "--export", "mine.npz"),
        ("infer", "--weights", "c.npz", "--csv", "no/a.csv"),
        ("infer", "--weights", "c.npz", "--preset", "up5"),
        ("infer", "--weights", "c.npz", "--backend", "golde"),
    ],
    ids=" ".join,
)
def test_what_needs_no_data_is_refused_before_they_are_read(arguments, files, monkeypatch):
    train("--checkpoint", "c.npz", "--export", "w.npz")
    Path("mine.npz").write_bytes(b"years of work")

    def late(*_, **__):
        raise AssertionError("read")

    monkeypatch.setattr("relaxon.cli.train.read_data", late)
    monkeypatch.setattr("relaxon.cli.train.load_data", late)
    command, *rest = arguments
    result = CliRunner().invoke(cli, [command, *GOLDEN, *rest])
    assert result.exit_code in (3, 5, 6) and "error:" in result.stderr


@pytest.mark.parametrize(
    "command",
    [
        "bench faults --rate nan",
        "bench latency --latency inf",
        "bench bptt --beta nan",
        "bench bptt --beta inf",
        "estimate icebreaker --layers 8,4,2 --latency nan",
    ],
)
def test_a_number_of_a_range_is_finite(command):
    relaxon(*command.split(), code=2)


def test_a_machine_without_layers_is_refused_where_the_table_has_its_own():
    assert "give both, or neither" in relaxon("bench", "cycles", "--preset", "up5k", code=2)


def test_a_list_of_machines_is_of_no_device():
    assert "leave one out" in relaxon("info", "--presets", *GOLDEN, code=2)


def test_targets_of_classes_are_refused_where_there_are_none(files):
    said = train("--targets", "0,1", "--layers", "6,4,2", data="reg.npz", code=3)
    assert "--targets is about classes" in said


@pytest.mark.parametrize("rule", RULES)
def test_unused_settings_change_nothing_and_used_ones_something(rule):
    """By the programs and constants themselves: nobody declares what a rule reads."""
    network, settings = Network((8, 6, 5, 3)), settings_for(rule, 3)
    config = preset("large")
    unused = unused_settings(network, config, settings)
    changes = {"beta": 0.25, "free_cap": 8, "nudged_cap": 6, "tolerance": 0.125}

    def made(**changed):
        one = RULES[rule](network, config, settings_for(rule, 3, **changed))
        program = one.train_program()[0]
        tiles = {k: v for k, v in one.constants().items() if k != "beta" or "beta" not in unused}
        return program.rows, [value.tobytes() for value in tiles.values()]

    for name in changes.keys() & unused:
        assert made(**{name: changes[name]}) == made(), name
    for name in changes.keys() - unused - ({"beta"} if rule == "contrastive" else set()):
        assert made(**{name: changes[name]}) != made(), name


# Lab ----------------------------------------------------------------------------------------------


def test_integers_mean_one_thing_in_the_lab():
    with Lab.open("golden", "4-3-2") as lab:
        lab.relax_free([1, 1, 1, 1])
        assert lab.plane("x").tolist() == [1] * 4
        lab.relax_nudged([0, 1])
        assert lab.plane("y").tolist() == [0, 1]
        lab.train_step([0, 0, 0, 0], [0, 1])
        assert lab.plane("x").tolist() == [0] * 4
        lab.set_plane("x", [1, 2, 3, 4], raw=True)
        assert lab.plane("x", raw=True).tolist() == [1, 2, 3, 4]
        lab.load_weights([np.ones(shape, int) for shape in lab.network.shapes])
        assert lab.weights()[0][0, 0] == 1
        lab.load_weights([np.ones(shape, int) for shape in lab.network.shapes], raw=True)
        assert lab.weights(raw=True)[0][0, 0] == 1
        for x, message in ((np.full(4, np.nan), "NaN"), (np.full(4, 7.0), "reaches from 7")):
            with pytest.raises(DataError, match=message):
                lab.train_step(x, 1)
        with pytest.raises(DataError, match="integers of shape"):
            lab.set_plane("x", [0.5] * 4, raw=True)


def test_arrays_are_named_where_they_are_wrong():
    with pytest.raises(DataError, match=r"mine: shape \(2,\) given, \(3,\) wanted"):
        checks.reals("mine", [1, 2], (3,))


# Runs that cannot end, and what they leave --------------------------------------------------------


def test_a_run_is_bounded_by_its_cycles_and_the_clock():
    class Slow:
        identity = type("", (), {"clock_hz": 1000})
        simulated = False

    builder = Builder(preset("default"))
    with builder.loop(1000), builder.loop(1000):
        pass
    builder.add(Halt())
    limit = run_limit(Slow(), builder.build())  # type: ignore[arg-type]
    assert 10 + 2 * 1e6 / 1000 < limit < 10 + 2 * 3e7 / 1000
    assert run_limit(open_device("golden"), builder.build()) == float("inf")


def wait_for(ready, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not ready() and time.monotonic() < end:
        time.sleep(0.05)
    assert ready()


def verifiers() -> set[str]:
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"relaxon.verify" in path.read_bytes():
                found.add(path.parent.name)
        except OSError:
            continue
    return found


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_of_a_run_that_is_ended(number, files, monkeypatch):
    scratch = files / "scratch"
    scratch.mkdir()
    before = verifiers()

    def defaults() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for other in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(other, signal.SIG_DFL)

    process = subprocess.Popen(
        [sys.executable, "-m", "relaxon", "train", *GOLDEN, "--verify", "--data", "cls.npz",
         "--layers", "6,4,3", "--epochs", "100000", "--checkpoint", "c.npz"],
        stderr=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": str(scratch)},
        preexec_fn=defaults,
    )  # fmt: skip
    wait_for(lambda: Path("c.npz").exists() and verifiers() - before)
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    if number != signal.SIGKILL:
        assert process.returncode == 130 and "--resume c.npz" in " ".join(said.split())
    wait_for(lambda: not verifiers() - before, 10)
    assert not list(scratch.iterdir())
    Checkpoint.load(Path("c.npz"))


@pytest.mark.skipif(sys.platform != "linux", reason="needs prctl")
def test_a_tool_ends_with_what_started_it(files):
    tool = (
        "import os, pathlib, time; pathlib.Path('pid').write_text(str(os.getpid())); time.sleep(99)"
    )
    code = (
        "import sys; from relaxon_hdl.tools.run import run_tool; "
        f"run_tool([sys.executable, '-c', {tool!r}], 'a tool')"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    wait_for(lambda: Path("pid").exists() and Path("pid").read_text())
    process.kill()
    process.wait()
    running = Path("/proc", Path("pid").read_text(), "stat")
    wait_for(lambda: not running.exists() or " Z " in running.read_text(), 10)


def test_what_killed_builds_left_goes(files):
    for name, age in (("build-old", 2 * ABANDONED), ("build-new", 0), ("kept", 2 * ABANDONED)):
        Path(name).mkdir()
        then = time.time() - age
        os.utime(name, (then, then))
    with scratch(Path()) as work:
        assert work.is_dir()
    assert {path.name for path in Path().iterdir() if path.is_dir()} == {"build-new", "kept"}


def test_the_first_error_is_the_one_that_is_told():
    class Broken(GoldenDevice):
        def close(self):
            raise DeviceError("while closing")

    with pytest.raises(DataError, match="the first"), Broken(preset("default")):
        raise DataError("the first")
    with pytest.raises(DeviceError, match="while closing"), Broken(preset("default")):
        pass


def test_layers_far_too_large_are_told_what_fits():
    sizes = {}
    for hidden in ("100000", "99999999999999999999"):
        said = relaxon("train", "--layers", f"6,{hidden},3", *GOLDEN, code=3)
        sizes[hidden] = said.rpartition("; ")[2]
    assert len(set(sizes.values())) == 1 and "fits" in sizes["100000"]


def identity(change) -> bytes:
    info = encode_info(preset("up5k"), build="b", clock_hz=1, baud=1)
    found = json.loads(info.rstrip(b"\0"))
    change(found)
    return json.dumps(found).encode()


@pytest.mark.parametrize("key", ["magic", "config", "fingerprint", "build", "clock_hz", "baud"])
def test_an_identity_that_lacks_something_is_a_device_error(key):
    with pytest.raises(DeviceError):
        decode_info(identity(lambda info: info.pop(key)))
    for nonsense in (None, [], {"a": 1}, "x"):
        changed = identity(lambda info, value=nonsense: info.update({key: value}))
        if key == "build":
            decode_info(changed)
        else:
            with pytest.raises(DeviceError):
                decode_info(changed)


@pytest.mark.parametrize("data", [b"", b"[" * 1024, b"[]", b"\xff\xfe", b"7", b'"relaxon"'])
def test_what_is_no_identity_is_a_device_error(data):
    with pytest.raises(DeviceError):
        decode_info(data)
