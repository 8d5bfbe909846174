"""What data sets are read from: names, published files, tables, objects, OpenML's protocol."""

import gzip
import hashlib
import json
import pickle
import threading
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from relaxon.backends import open_device
from relaxon.cli import cli
from relaxon.datasets import Dataset, load
from relaxon.network import Network
from relaxon.rules import settings_for
from relaxon.training import Trainer, training_for
from relaxon_isa.errors import DataError
from relaxon_isa.presets import preset

RNG = np.random.default_rng(7)
any_load: Any = load


@pytest.fixture(autouse=True)
def nothing_elsewhere(tmp_path, monkeypatch):
    """No data of this computer, and no network: what answers at a closed port."""
    monkeypatch.chdir(tmp_path)
    for name in ("RELAXON_DATA", "XDG_DATA_HOME", "SCIKIT_LEARN_DATA"):
        monkeypatch.setenv(name, str(tmp_path / name))
    openml_at(monkeypatch, "http://127.0.0.1:9")


def openml_at(monkeypatch, address: str) -> None:
    openml = pytest.importorskip("sklearn.datasets._openml")
    for name in ("_SEARCH_NAME", "_DATA_INFO", "_DATA_FEATURES", "_DATA_QUALITIES"):
        path = getattr(openml, name).split("/api/")[1]
        monkeypatch.setattr(openml, name, f"{address}/api/{path}")


def idx(path: Path, values: np.ndarray, code: int = 8) -> None:
    kinds = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
    sizes = b"".join(n.to_bytes(4, "big") for n in values.shape)
    data = bytes([0, 0, code, values.ndim]) + sizes + values.astype(kinds[code]).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def published(folder: Path, prefix: str = "", test: str = "t10k", ending: str = "") -> np.ndarray:
    """A small data set in the published files; returns its images to train."""
    images = RNG.integers(0, 256, (6, 4, 5))
    for part, some in (("train", images), (test, images[:2])):
        idx(folder / f"{prefix}{part}-images-idx3-ubyte{ending}", some)
        idx(folder / f"{prefix}{part}-labels-idx1-ubyte{ending}", np.arange(len(some)) % 2)
    return images


# Names ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "place"),
    [("mnist", "mnist"), ("fashion-mnist", "FashionMNIST/raw"), ("kmnist", "KMNIST/raw")],
)
def test_names_are_looked_for_where_data_lie(name, place, tmp_path, monkeypatch):
    images = published(tmp_path / "lake" / place, ending=".gz")
    monkeypatch.setenv("RELAXON_DATA", f"{tmp_path / 'other'}:{tmp_path / 'lake'}")
    data = load(name)
    assert (data.x_train == (images.reshape(6, 20) / np.float32(255)).astype(np.float32)).all()
    assert (data.name, data.image, data.classes) == (name, (4, 5, 1), 2)
    assert load(tmp_path / "lake" / name).digest == data.digest


def test_emnist_by_its_splits(tmp_path):
    letters = published(tmp_path / "gzip", "emnist-letters-", "test", ".gz")
    digits = published(tmp_path / "gzip", "emnist-digits-", "test")
    for name, images in (("emnist-letters", letters), ("emnist-digits", digits)):
        data = load(tmp_path / "gzip" / name)
        upright = images.swapaxes(1, 2).reshape(6, 20) / np.float32(255)
        assert np.array_equal(data.x_train, upright.astype(np.float32))
        assert data.image == (5, 4, 1)
    with pytest.raises(DataError, match=r"several data sets: say .*emnist-digits or .*letters"):
        load(tmp_path / "gzip")
    with pytest.raises(DataError, match="no files of emnist-byclass in"):
        load(tmp_path / "gzip" / "emnist-byclass")


def test_a_name_whose_files_are_nowhere(monkeypatch):
    with pytest.raises(DataError, match=r"no files of cifar-10 in .* or .*RELAXON_DATA"):
        load("cifar-10")
    with pytest.raises(DataError, match=r"no files of mnist in .*fetch_openml.*needs a network"):
        load("mnist")


def test_a_run_by_name_says_where_it_was(tmp_path):
    published(tmp_path / "here" / "mnist")
    common = ["train", "--backend", "golden", "--layers", "20,3,2", "--epochs", "1"]
    result = CliRunner().invoke(
        cli, [*common, "--data", "here/mnist", "--bits", "4", "--checkpoint", "c.npz"]
    )
    assert result.exit_code == 0, result.output
    for more in ([], ["--data", "here/mnist"]):
        result = CliRunner().invoke(
            cli, ["infer", "--weights", "c.npz", "--backend", "golden", "--json", *more]
        )
        assert json.loads(result.stdout)["samples"] == 2


# IDX and CIFAR-10 --------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [9, 11, 12, 13, 14])
def test_idx_of_other_types(code, tmp_path):
    x = (RNG.integers(0, 3, (6, 4)) / (2 if code > 12 else 1)).astype(float).clip(0, 1)
    for part in ("train", "t10k"):
        idx(tmp_path / f"{part}-images-idx2-float", x, code)
        idx(tmp_path / f"{part}-labels-idx2-ubyte", np.eye(3)[np.arange(6) % 3])
    data = load(tmp_path)
    assert np.array_equal(data.x_train, x.astype(np.float32)) and data.image is None
    assert data.classes == 3 and data.y_train.tolist() == [0, 1, 2, 0, 1, 2]


def test_idx_of_other_axes(tmp_path):
    published(tmp_path)
    idx(tmp_path / "train-labels-idx1-ubyte", np.zeros((6, 2, 2)))
    with pytest.raises(DataError, match="begins with 00000803, labels of 1 or 2 axes"):
        load(tmp_path)


def cifar(folder: Path, kind: str) -> np.ndarray:
    """Six batches of two records; returns the images to train, rows, columns, channels."""
    images = RNG.integers(0, 256, (12, 3, 32, 32)).astype(np.uint8)
    folder.mkdir()
    for i, name in enumerate([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]):
        rows, labels = images[2 * i : 2 * i + 2].reshape(2, -1), [i, 9 - i]
        if kind == "binary":
            data = b"".join(bytes([y]) + x.tobytes() for x, y in zip(rows, labels, strict=True))
            (folder / f"{name}.bin").write_bytes(data)
        else:
            batch = {b"data": rows, b"labels": labels, b"batch_label": b"batch"}
            (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
    return images[:10].transpose(0, 2, 3, 1)


@pytest.mark.parametrize("kind", ["binary", "python"])
def test_cifar(kind, tmp_path):
    images = cifar(tmp_path / "cifar-10", kind)
    data = load("cifar-10")
    assert np.array_equal(data.x_train, (images / np.float32(255)).reshape(10, -1))
    assert (data.image, data.classes, data.x_test.shape) == ((32, 32, 3), 10, (2, 3072))
    assert data.named(data.y_train).tolist()[:4] == ["airplane", "truck", "automobile", "ship"]
    assert load("cifar-10", resize="8x8").features == 192


def test_three_convolutions_learn_from_a_file_of_cifar(tmp_path):
    """20, 40 and 80 channels on the large machine, with levels and planes for maps."""
    cifar(tmp_path / "cifar-10", "binary")
    data = load("cifar-10")
    parts = ("x_train", "y_train", "x_test", "y_test")
    few = replace(data, **{part: getattr(data, part)[:2] for part in parts})
    network = Network.parse("32x32x3,20c4s2p1,40c4s2p1,80c4s2p1,10")
    more = {"levels": 7, "learn_terms": 512, "state_depth": 8192, "drive_depth": 2048}
    with open_device("golden", preset("large").replace(**more)) as device:
        settings = training_for(network, settings_for("ep-centered", network), epochs=1)
        trainer = Trainer(device, network, few, settings)
        trainer.start()
        before = trainer.real_weights()
        trainer.run_epoch()
        for old, new in zip(before, trainer.real_weights(), strict=True):
            assert np.count_nonzero(old != new) > 0.05 * old.size


def test_damaged_cifar(tmp_path):
    cifar(tmp_path / "b", "binary")
    (tmp_path / "b" / "test_batch.bin").write_bytes(bytes(3072))
    with pytest.raises(DataError, match=r"test_batch\.bin: 3072 bytes.*records of 3073"):
        load(tmp_path / "b")
    (tmp_path / "b" / "data_batch_4.bin").unlink()
    with pytest.raises(DataError, match=r"data_batch_4\.bin is not there"):
        load(tmp_path / "b")
    cifar(tmp_path / "p", "python")
    (tmp_path / "p" / "test_batch").write_bytes(pickle.dumps(partial(print, "run")))
    with pytest.raises(DataError, match=r"test_batch: no batch .*partial has no place in it"):
        load(tmp_path / "p")


# .npz and tables ---------------------------------------------------------------------------------


def test_npz_with_any_keys(tmp_path):
    x, y = RNG.random((10, 4)), np.arange(10) % 2
    np.savez("m.npz", train_images=x, train_labels=y[:, None], val_images=x, test=x[:4], t=y[:4])
    data = load("m.npz", keys=("train_images", "train_labels", "test", "t"))
    assert (data.features, data.classes, len(data.x_test)) == (4, 2, 4)
    assert len(load("m.npz", keys=["val_images", "train_labels"]).x_test) == 2
    for keys in (("val_images",), ("val_images", "nothing")):
        with pytest.raises(DataError, match=r"m\.npz: holds t, test, train_images.*--keys val_im"):
            load("m.npz", keys=keys)
    with pytest.raises(DataError, match=r"--keys says what they are called here"):
        load("m.npz")
    with pytest.raises(DataError, match=r"m\.npz: --target is about tables"):
        load("m.npz", keys=["val_images", "train_labels"], target="y")
    np.savez("xx.npz", x=x, X=x, y=y)
    with pytest.raises(DataError, match="--keys"):
        load("xx.npz")


FLOWERS = "kind,wide,long,7\n" + "".join(
    f"{'rose' if i % 2 else 'aster'},{i / 10},{1 - i / 10},{i % 3}\n" for i in range(10)
)


@pytest.mark.parametrize("target", ["kind", 0, "-4", ["kind"]])
def test_csv_with_a_target(target, tmp_path):
    Path("f.csv").write_text(FLOWERS)
    data = load("f.csv", target=target, scale=True)
    assert data.names == ("aster", "rose") and data.features == 3


def test_csv_targets_of_several_columns(tmp_path):
    Path("f.csv").write_text(FLOWERS.replace("aster", "5").replace("rose", "6"))
    data = load("f.csv", target=["wide", "long"], scale=True)
    assert (data.classes, data.outputs, data.features) == (None, 2, 2)
    assert load("f.csv", target="1:3", scale=True).digest == data.digest
    assert load("f.csv", target="7", scale=True).classes == 3  # a title before a number
    Path("h.csv").write_text("a;b;c\n" + "0,5;1;0\n0,7;0;1\n".replace(",", ".") * 5)
    data = load("h.csv", target="1:3")
    assert (data.classes, data.features) == (2, 1)


@pytest.mark.parametrize(
    ("text", "target", "says"),
    [
        (FLOWERS, "kinds", r"no column 'kinds' \(did you mean kind\?\); there are 0 to 3"),
        (FLOWERS, 4, "no column '4'; there are 0 to 3"),
        (FLOWERS, None, r"row 2, column 0 \(kind\): 'aster' is no number"),
        (FLOWERS + "rose,,1,1\n", "kind", r"row 12, column 1 \(wide\): '' is no number"),
        (FLOWERS + "rose,nan,1,1\n", "kind", r"row 12, column 1 \(wide\): 'nan' is no number"),
        (FLOWERS + " ,1,1,1\n", "kind", r"row 12, column 0 \(kind\): '' is no label or target"),
        (FLOWERS + "\nrose,1\n", "kind", "row 13 has 2 cells, the first has 4"),
        (",a,b\n0,1,x\n1,2,y\n", "b", "column 0 has no title and numbers the rows.*--columns 1:"),
        ("a,a,b\n1,2,3\n", "a", "no column 'a'.*several have that title"),
        ("", None, "it is empty"),
        ("a\n1\n", None, "nothing is left"),
    ],
)
def test_csv_errors(text, target, says, tmp_path):
    Path("f.csv").write_text(text)
    with pytest.raises(DataError, match=rf"f\.csv: .*{says}"):
        load("f.csv", target=target)


def test_csv_as_others_write_it(tmp_path):
    """Semicolons and decimal commas, tabs, blanks around cells, empty rows at the end."""
    Path("f.csv").write_text(FLOWERS)
    plain = load("f.csv", target="kind", scale=True)
    lines = FLOWERS.splitlines()
    others = {
        "semicolons.csv": FLOWERS.replace(",", ";").replace(".", ","),
        "tabs.tsv": FLOWERS.replace(",", "\t"),
        "blanks.csv": "\n".join(line.replace(",", " , ") + " " for line in lines) + "\n",
        "rows.csv": FLOWERS + ",,,\n,,,\n",
        "columns.csv": "\n".join(f"{i},{line}" for i, line in enumerate(lines)) + "\n",
    }
    for name, text in others.items():
        Path(name).write_text(text)
        columns = ["wide", "long", "7"] if name == "columns.csv" else None
        data = load(name, target="kind", columns=columns, scale=True)
        assert (data.digest, data.names) == (plain.digest, plain.names), name
    without = FLOWERS.replace(",", ";").replace(".", ",").partition("\n")[2]
    Path("plain.csv").write_text(without)  # 0,5;1,5;2: semicolons cut
    assert load("plain.csv", target=0, scale=True).digest == plain.digest
    for column in ("1:4", [1, 2, 3]):
        data = load("plain.csv", target=0, columns=column, scale=True)
        assert data.digest == plain.digest and data.options["columns"] == [1, 2, 3]
    with pytest.raises(DataError, match="column wide cannot be a feature and the target"):
        load("f.csv", target="wide", columns=["wide"])


def test_data_frames():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {"kind": ["aster", "rose"] * 5, "on": [True, False] * 5, "long": np.arange(10) / 9}
    )
    frame["kind"] = frame["kind"].astype("category")
    data = load(frame, target="kind")
    assert data.names == ("aster", "rose") and data.features == 2 and data.name == "DataFrame"
    assert load(frame, target=0).digest == data.digest
    with pytest.raises(DataError, match=r"DataFrame: column kind: .* real numbers wanted"):
        load(frame, target="on")
    frame.loc[3, "long"] = np.nan
    with pytest.raises(DataError, match="column long has 1 values that are NaN"):
        load(frame, target="kind")


# One-hot labels --------------------------------------------------------------------------------


def test_one_hot_labels():
    x, y = RNG.random((6, 2)), np.array([0, 2, 1, 2, 0, 0])
    for kind in (int, float, bool):
        hot = np.eye(4)[y].astype(kind)
        data = Dataset("hot", x, hot, x[:2], hot[:2])
        assert (data.classes, data.y_train.tolist(), data.y_test.tolist()) == (4, [*y], [0, 2])
    some = np.array([[0.0, 1.0], [1, 0], [1, 1], [0, 1], [0, 1], [1, 0]])  # targets, not labels
    data = Dataset("targets", x, some, x[:2], some[:2])
    assert (data.classes, data.outputs, data.y_test.tolist()) == (None, 2, some[:2].tolist())


# Objects -----------------------------------------------------------------------------------------


def test_torch():
    torch = pytest.importorskip("torch")
    images, labels = torch.rand(10, 3, 4, 5), torch.arange(10) % 2
    whole = torch.utils.data.TensorDataset(images, labels)
    data = any_load((whole, torch.utils.data.Subset(whole, [1, 2])))
    assert (data.image, data.classes, data.y_test.tolist()) == ((4, 5, 3), 2, [1, 0])
    assert np.array_equal(data.x_train.reshape(10, 4, 5, 3), images.permute(0, 2, 3, 1).numpy())


class Samples:
    """What a data set of another package is at least."""

    def __init__(self, samples):
        self.samples = samples

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, i):
        return self.samples[i]


def test_hugging_face(tmp_path):
    datasets = pytest.importorskip("datasets")
    image = pytest.importorskip("PIL.Image")
    pixels = RNG.integers(0, 256, (10, 4, 5)).astype(np.uint8)
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])}
    )
    rows = {"image": [image.fromarray(x) for x in pixels], "label": [0, 1] * 5}
    part = datasets.Dataset.from_dict(rows, features=features)
    data = any_load(datasets.DatasetDict({"train": part, "test": part}))
    assert (data.image, data.names, data.classes) == ((4, 5, 1), ("cat", "dog"), 2)
    assert np.array_equal(data.x_test, (pixels / np.float32(255)).reshape(10, 20))


def test_objects_of_pairs_and_mappings():
    image = pytest.importorskip("PIL.Image")
    pixels = RNG.integers(0, 256, (10, 4, 5)).astype(np.uint8)
    pairs = [(image.fromarray(x), "ab"[i % 2]) for i, x in enumerate(pixels)]
    data = load(Samples(pairs))
    assert (data.image, data.names, len(data.x_test)) == ((4, 5, 1), ("a", "b"), 2)
    mappings = [{"img": x, "fine": 1, "coarse": i % 3} for i, (x, _) in enumerate(pairs)]
    assert load(Samples(mappings), keys=("img", "coarse")).classes == 3
    with pytest.raises(DataError, match=r"samples have img, fine, coarse: keys="):
        load(Samples(mappings))
    with pytest.raises(DataError, match="all of one size"):
        load(Samples([*pairs, (image.fromarray(pixels[0, :3]), "a")]))
    with pytest.raises(DataError, match="holds train, valid; wanted are train"):
        load({"train": Samples(pairs), "valid": Samples(pairs)})


def test_arrays_and_what_is_nothing():
    x, y = RNG.random((10, 2)), np.arange(10) % 2
    assert len(load((x, y)).x_train) == 8
    assert len(load((x, y, x, y)).x_test) == 10
    assert len(load((x, y.tolist())).x_train) == 8
    assert load((x, [*"ab"] * 5)).names == ("a", "b")
    x[7, 1] = np.nan
    with pytest.raises(DataError, match=r"1 values that are NaN .* in row 7, column 1"):
        load((x, y))
    for wrong in (None, 5, (1, 2)):
        with pytest.raises(DataError, match="is no data set; accepted are"):
            any_load(wrong)


# What is done to features ------------------------------------------------------------------------


def test_resizing_takes_means():
    x = RNG.random((10, 8, 8)).astype(np.float32)
    y = np.arange(10) % 2
    data = load((x, y, x, y), resize="4x4")
    means = x.reshape(10, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(10, 16)
    assert np.allclose(data.x_train, means, atol=1e-6) and data.image == (4, 4, 1)
    flat = x.reshape(10, 64)
    assert load((flat, y, flat, y), resize="8x8:4x4").digest == data.digest
    for text, says in (("4", "write rows"), ("0x4", "write rows"), ("9x9:4x4", "images of 9 x 9")):
        with pytest.raises(DataError, match=says):
            load((flat, y, flat, y), resize=text)
    with pytest.raises(DataError, match=r"64 features a sample are no images: .*28x28:4x4"):
        load((flat, y, flat, y), resize="4x4")


def test_rounding_is_that_of_inputs():
    from relaxon.rules.encoding import octets_of

    x, y = RNG.random((10, 8)), np.arange(10) % 2
    data = load((x, y, x, y), bits=3)
    assert set(np.unique(data.x_train * 8)) <= set(range(8))
    assert np.array_equal(octets_of(data.x_train, 3), octets_of(x, 3))
    with pytest.raises(DataError, match="x_train reaches from"):
        load((x * 2, y, x, y), bits=3)


def test_one_range_for_all_features():
    x, y = RNG.integers(0, 250, (10, 8)), np.arange(10) % 2
    data = load((x, y, x, y), scale=(0, 255))
    assert np.allclose(data.x_train, x / 255, atol=1e-7)
    again = any_load((x, y, x, y), scale=data.scale)
    assert again.digest == data.digest
    for wrong in ((0, [1, 2]), 5):
        with pytest.raises(DataError, match="the data has 8"):
            any_load((x, y, x, y), scale=wrong)


def test_options_by_command(tmp_path):
    Path("f.csv").write_text(FLOWERS)
    arguments = ["train", "--backend", "golden", "--data", "f.csv", "--target", "kind"]
    arguments += ["--scale", "0,2", "--bits", "5", "--layers", "3,3,2", "--epochs", "1"]
    arguments += ["--record", "r.json", "--export", "w.npz"]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    said = json.loads(Path("r.json").read_text())["spec"]["data_options"]
    assert (said["target"], said["bits"], said["scale"]) == (["kind"], 5, [[0.0] * 3, [2.0] * 3])
    result = CliRunner().invoke(cli, ["reproduce", "r.json"])
    assert "identical" in result.output, result.output
    result = CliRunner().invoke(cli, ["infer", "--weights", "w.npz", "--backend", "golden"])
    assert set(result.stdout.split()) <= {"rose", "aster"}, result.output
    for below in (["--scale", "-3,3"], ["--scale=-3,3"]):
        result = CliRunner().invoke(cli, [*arguments[:7], *below, *arguments[-8:-4]])
        assert result.exit_code == 0, result.output
    result = CliRunner().invoke(cli, ["train", "--scale", "1", "--backend", "golden"])
    assert "lowest and highest value" in result.output


# OpenML ------------------------------------------------------------------------------------------


@pytest.fixture
def openml(monkeypatch):
    """A server that speaks OpenML's protocol and has one data set, of text labels."""
    arff = "@RELATION f\n@ATTRIBUTE wide REAL\n@ATTRIBUTE kind {aster,rose}\n@DATA\n" + "".join(
        f"{i / 10},{'rose' if i % 2 else 'aster'}\n" for i in range(10)
    )
    feature = {"is_ignore": "false", "is_row_identifier": "false", "number_of_missing_values": "0"}
    answers = {
        "data/list/data_name/flowers/limit/2/status/active/": {
            "data": {"dataset": [{"did": 42, "version": 1, "status": "active"}]}
        },
        "data/features/42": {
            "data_features": {
                "feature": [
                    {"index": "0", "name": "wide", "data_type": "numeric", "is_target": "false"}
                    | feature,
                    {"index": "1", "name": "kind", "data_type": "nominal", "is_target": "true",
                     "nominal_value": ["aster", "rose"]} | feature,
                ]
            }
        },
        "data/qualities/42": {
            "data_qualities": {"quality": [{"name": "NumberOfInstances", "value": "10"}]}
        },
    }  # fmt: skip

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            path = self.path.removeprefix("/api/v1/json/")
            found = arff.encode() if path == "/f.arff" else None
            if path in answers:
                found = json.dumps(answers[path]).encode()
            self.send_response(200 if found else 404)
            self.end_headers()
            self.wfile.write(found or b"")

        def log_message(self, format, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    address = f"http://127.0.0.1:{server.server_port}"
    answers["data/42"] = {
        "data_set_description": {
            "id": "42",
            "name": "flowers",
            "version": "1",
            "status": "active",
            "format": "ARFF",
            "url": f"{address}/f.arff",
            "md5_checksum": hashlib.md5(arff.encode()).hexdigest(),
        }
    }
    openml_at(monkeypatch, address)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield
    server.shutdown()
    server.server_close()


def test_openml(openml):
    data = load("openml:flowers")
    assert (data.names, data.features, len(data.x_train)) == (("aster", "rose"), 1, 8)
    assert load("openml:42").digest == data.digest
    with pytest.raises(DataError, match=r"openml:7: scikit-learn's fetch_openml cannot get it"):
        load("openml:7")
