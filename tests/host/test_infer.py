"""From a table to predictions of rows without labels, by command alone."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from relaxon.cli import cli
from relaxon.datasets import Dataset, load
from relaxon.network import Network
from relaxon.training import TrainSettings, check_data
from relaxon_isa.errors import DataError

KINDS = "aster", "iris", "rose"
TRAIN = ("train", "--backend", "golden", "--scale", "--rate-shifts", "3,5", "--epochs", "3")
INFER = ("infer", "--backend", "golden")


def relaxon(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(cli, [*map(str, arguments)])
    assert result.exit_code == code, result.output
    return " ".join(result.output.split()) if code else result.stdout


def rows_of(path: str) -> list[dict[str, str]]:
    with Path(path).open(newline="") as file:
        return [*csv.DictReader(file)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table of 60 flowers, and a run on it."""
    folder = tmp_path_factory.mktemp("flowers")
    rng = np.random.default_rng(0)
    lines = ["petal,sepal,species"]
    for i in range(60):
        petal, sepal = rng.normal((1.5 * (i % 3), -i % 3), 0.3)
        lines.append(f"{petal:.3f},{sepal:.3f},{KINDS[i % 3]}")
    (folder / "flowers.csv").write_text("\n".join(lines) + "\n")
    run = ("--record", folder / "run.json", "--checkpoint", folder / "run.npz")
    relaxon(*TRAIN, "--data", folder / "flowers.csv", *run)
    return folder


@pytest.fixture(autouse=True)
def folder(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in trained.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.chdir(tmp_path)


def test_rows_without_labels_are_all_answered() -> None:
    """Columns in another order, one more, and no species: the answers of the table itself."""
    table = rows_of("flowers.csv")
    lines = [f"{i},{row['sepal']},{row['petal']}" for i, row in enumerate(table)]
    Path("new.csv").write_text("id,sepal,petal\n" + "\n".join(lines) + "\n")
    relaxon(*INFER, "--weights", "run.npz", "--data", "new.csv", "--csv", "new_answers.csv")
    relaxon(*INFER, "--weights", "run.npz", "--all", "--csv", "all.csv")
    new, whole = rows_of("new_answers.csv"), rows_of("all.csv")
    assert [*new[0]] == ["sample", "predicted", *(f"output {kind}" for kind in KINDS)]
    assert [*whole[0]] == ["sample", "predicted", "label", *(f"output {kind}" for kind in KINDS)]
    assert [row["label"] for row in whole] == [row["species"] for row in table]
    assert [{k: v for k, v in row.items() if k != "label"} for row in whole] == new
    for row in new:
        assert row["predicted"] == max(KINDS, key=lambda kind: float(row[f"output {kind}"]))
    found = [row["predicted"] for row in new]
    document = json.loads(relaxon(*INFER, "--weights=run.npz", "--data=new.csv", "--json"))
    assert document["classes"] == found and "accuracy" not in document
    said = relaxon(*INFER, "--weights", "run.npz", "--data", "new.csv", "--limit", "4")
    assert said.split() == found[:4]
    right = np.mean([row["predicted"] == row["label"] for row in whole])
    assert right > 0.5
    assert "relaxon did not write it" in relaxon(
        *INFER, "--weights", "run.npz", "--csv", "all.csv", code=5
    )


def test_which_samples_are_answered_is_said(trained: Path) -> None:
    part = CliRunner().invoke(cli, [*INFER, "--weights", "run.npz"])
    assert "the test part" in part.stderr and "12 of 60 samples" in " ".join(part.stderr.split())
    data = str(trained / "flowers.csv")
    again = CliRunner().invoke(cli, [*INFER, "--weights", "run.npz", "--data", data])
    assert len(again.stdout.split()) == 60 and "what the network was trained on" in again.stderr


def test_rows_of_arrays_and_of_tables_without_titles() -> None:
    rows = rows_of("flowers.csv")
    x = np.array([[float(row["petal"]), float(row["sepal"])] for row in rows], np.float32)
    np.savez("x.npz", images=x)
    np.savetxt("plain.csv", x, delimiter=",", fmt="%.3f")
    wanted = relaxon(*INFER, "--weights", "run.npz", "--all")
    for data in ("x.npz", "plain.csv"):
        assert relaxon(*INFER, "--weights", "run.npz", "--data", data, "--unlabelled") == wanted
    assert relaxon(*INFER, "--weights", "run.npz", "--data", "x.npz") == wanted
    said = relaxon(*INFER, "--weights", "run.npz", "--data", "iris", "--unlabelled", code=5)
    assert "--unlabelled is about tables" in said


def test_targets_are_predicted_too() -> None:
    table = "a,b,sum,half\n" + "".join(
        f"{i / 40},{i % 5 / 5},{i / 80 + i % 5 / 10:.4f},{i / 80}\n" for i in range(40)
    )
    Path("real.csv").write_text(table)
    asked = ("--data", "real.csv", "--target", "sum", "--target", "half", "--hidden", "3")
    relaxon(*TRAIN, *asked, "--export", "w.npz")
    relaxon(*INFER, "--weights", "w.npz", "--data", "real.csv", "--csv", "known.csv")
    Path("new.csv").write_text("\n".join(line.rsplit(",", 2)[0] for line in table.splitlines()))
    relaxon(*INFER, "--weights", "w.npz", "--data", "new.csv", "--csv", "new_answers.csv")
    known, new = rows_of("known.csv"), rows_of("new_answers.csv")
    assert [*known[0]] == [
        "sample", "predicted sum", "predicted half", "target sum", "target half"
    ]  # fmt: skip
    assert [row["predicted sum"] for row in known] == [row["predicted sum"] for row in new]
    assert "target sum" not in new[0]


def test_targets_of_any_range_are_scaled_and_said_as_they_were() -> None:
    """A table of prices, whole numbers: the same run as of their scaled values."""
    prices = 50_000 + 1_000 * (np.arange(60) * 7 % 60)
    x = np.stack([np.arange(60) * 7 % 60 / 60, np.arange(60) % 4 / 4], axis=1)
    rows = [f"{a},{b},{price}\n" for (a, b), price in zip(x, prices, strict=True)]
    Path("prices.csv").write_text("a,b,price\n" + "".join(rows))
    asked = ("--data", "prices.csv", "--task", "regression", "--hidden", "4")
    said = relaxon(*TRAIN, *asked, code=5)
    assert "prices.csv: y_train: 1" in said and "--scale-targets" in said
    relaxon(*TRAIN, *asked, "--scale-targets", "--checkpoint", "w.npz", "--record", "w.json")
    assert relaxon("reproduce", "w.json") == "identical\n"
    relaxon(*INFER, "--weights", "w.npz", "--csv", "answers.csv")
    rows = rows_of("answers.csv")
    predicted, targets = (
        np.array([float(row[f"{kind} price"]) for row in rows]) for kind in ("predicted", "target")
    )
    assert np.allclose(targets.round(), targets, atol=0.05) and {*targets.round()} <= {*prices}
    history = json.loads(Path("w.json").read_text())["history"]
    data = load("prices.csv", task="regression", scale=True, scale_targets=True)
    assert data.target_scale is not None
    low, high = map(np.array, data.target_scale)
    error = np.mean((0.75 * (predicted - targets) / (high - low)) ** 2)
    assert error == pytest.approx(history[-1]["test"]["mse"], rel=1e-4)
    with pytest.raises(DataError, match="has labels, --scale-targets is about targets"):
        load("flowers.csv", scale_targets=True)


def test_labels_with_gaps_are_numbered_and_named() -> None:
    x = np.tile(np.eye(3, dtype=np.float32), (20, 1))
    y = np.tile([2, 4, 7], 20)
    data = load((x, y))
    assert (data.classes, data.names) == (3, (2, 4, 7))
    np.savez("gaps.npz", x=x, y=y)
    relaxon(*TRAIN, "--data", "gaps.npz", "--export", "w.npz")
    np.savez("some.npz", x=x[:6:2], y=y[:6:2])
    said = relaxon(*INFER, "--weights", "w.npz", "--data", "some.npz", "--csv", "a.csv")
    assert said == "" and {row["predicted"] for row in rows_of("a.csv")} <= {"2", "4", "7"}
    assert [row["label"] for row in rows_of("a.csv")] == ["2", "7", "4"]
    assert load((x, y), classes=8).names is None


def test_whole_numbers_that_are_rather_targets() -> None:
    x, ages = np.random.default_rng(0).random((60, 2)), np.arange(60) + 18
    with pytest.raises(DataError, match=r"60 different whole numbers.*--task regression"):
        load((x, ages))
    assert load((x, ages), task="classification").classes == 60
    assert load((x, ages), task="regression").classes is None
    assert load((x, ages % 2 * 1.0), task="classification").classes == 2
    with pytest.raises(DataError, match="no labels, but targets"):
        load((x, ages / 2), task="classification")


def test_layers_follow_from_the_data() -> None:
    spec = json.loads(Path("run.json").read_text())["spec"]
    assert spec["network"] == "2-32-3"
    assert spec["data_options"]["target"] == ["species"]
    said = relaxon(*TRAIN, "--layers", "2,3,3", "--hidden", "3", "--data", "flowers.csv", code=2)
    assert "leave --hidden out" in said
    np.savez("image.npz", x=np.random.default_rng(0).random((20, 6, 6)), y=np.arange(20) % 2)
    asked = ("--data", "image.npz", "--hidden", "2c4s2", "--record", "image.json")
    relaxon(*TRAIN[:3], "--epochs", "1", *asked)
    assert json.loads(Path("image.json").read_text())["spec"]["network"] == "6x6x1-2c4s2-2"


def test_outputs_that_no_class_has_are_told() -> None:
    said = CliRunner().invoke(cli, [*TRAIN, "--data", "flowers.csv", "--layers", "2,3,5"])
    assert "has 3 classes, the network 5 outputs" in " ".join(said.stderr.split())


def test_samples_to_answer_are_not_trained_on() -> None:
    data = load("flowers.csv", part="all", scale=(-10, 10))
    assert (len(data.x_train), len(data.x_test), data.features) == (0, 60, 2)
    check_data(Network((2, 3)), data, TrainSettings().rule)
    unknown = Dataset("new", data.x_train, data.y_train, data.x_test, data.y_test[:0], classes=3)
    assert (unknown.classes, len(unknown.y_test)) == (3, 0)
    with pytest.raises(DataError, match="60 samples in x_test, 59 in y_test"):
        Dataset("new", data.x_train, data.y_train, data.x_test, data.y_test[:59], classes=3)
