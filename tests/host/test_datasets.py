"""Data sets: what loads, and what every mistake is told."""

import gzip
import sys
from pathlib import Path

import numpy as np
import pytest

from relaxon.datasets import Dataset, load
from relaxon_isa.errors import DataError

RNG = np.random.default_rng(3)
NAMES = [f"{p}-{k}" for p in ("train", "t10k") for k in ("images-idx3-ubyte", "labels-idx1-ubyte")]


def idx(values: np.ndarray) -> bytes:
    sizes = b"".join(n.to_bytes(4, "big") for n in values.shape)
    return bytes([0, 0, 8, values.ndim]) + sizes + values.astype(np.uint8).tobytes()


def idx_folder(folder: Path, *, packed: bool = False, dot: bool = False) -> dict[str, np.ndarray]:
    arrays = {
        NAMES[0]: RNG.integers(0, 256, (20, 4, 5)),
        NAMES[1]: np.arange(20) % 10,
        NAMES[2]: RNG.integers(0, 256, (6, 4, 5)),
        NAMES[3]: np.arange(6),
    }
    for name, values in arrays.items():
        name = name.replace("-idx", ".idx") if dot else name
        data = gzip.compress(idx(values)) if packed else idx(values)
        (folder / (f"{name}.gz" if packed else name)).write_bytes(data)
    return arrays


def npz(path: Path, **changes: object) -> Path:
    arrays: dict[str, object] = dict(
        x_train=RNG.random((20, 7)), y_train=np.arange(20) % 3, x_test=RNG.random((5, 7))
    )
    arrays |= dict(y_test=np.arange(5) % 3) | changes
    file = path / "set.npz"
    np.savez(file, **{k: v for k, v in arrays.items() if v is not None})  # type: ignore[arg-type]
    return file


def test_digits() -> None:
    pytest.importorskip("sklearn")
    data = load("digits")
    assert (data.x_train.shape, data.x_test.shape) == ((1437, 64), (360, 64))
    assert (data.classes, data.features, data.outputs) == (10, 64, 10)
    assert (data.x_train.dtype, data.y_train.dtype) == (np.float32, np.int64)
    assert (data.x_train.min(), data.x_train.max()) == (0, 1)
    again = load("digits", seed=5)  # its split is fixed
    assert (again.x_train == data.x_train).all()


def test_digits_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(DataError, match=r"pip install '\.\[data\]'"):
        load("digits")


@pytest.mark.parametrize(("packed", "dot"), [(False, False), (True, False), (False, True)])
def test_idx(tmp_path: Path, packed: bool, dot: bool) -> None:
    arrays = idx_folder(tmp_path, packed=packed, dot=dot)
    data = load(str(tmp_path))
    assert np.allclose(data.x_train, arrays[NAMES[0]].reshape(20, 20) / 255, atol=1e-7)
    assert (data.y_test == arrays[NAMES[3]]).all()
    assert data.classes == 10


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        (NAMES[0], None, f"has no {NAMES[0]}"),
        (NAMES[0], lambda d: d[:-1], "truncated: 415 bytes, 416 wanted for 20 x 4 x 5"),
        (NAMES[0], lambda d: d + b"\0", "too long"),
        (NAMES[0], lambda d: d[:9], "within its header"),
        (NAMES[1], lambda d: b"", "begins with nothing"),
        (NAMES[1], lambda d: b"\0\0\7\1" + d[4:], "begins with 00000701"),
        (NAMES[3], lambda d: idx(np.arange(5)), "6 samples in x_test, 5 in y_test"),
        (NAMES[3], lambda d: d[:-1] + b"\x0a", "label 10 of sample 5 in y_test"),
        (NAMES[2], lambda d: idx(np.zeros((6, 4, 4))), "20 features a sample, x_test 16"),
        (NAMES[0], lambda d: idx(np.zeros((0, 4, 5))), "holds nothing"),
    ],
)
def test_idx_errors(tmp_path: Path, name: str, change, says: str) -> None:
    idx_folder(tmp_path)
    file = tmp_path / name
    if change is None:
        file.unlink()
    else:
        file.write_bytes(change(file.read_bytes()))
    with pytest.raises(DataError, match=says) as error:
        load(tmp_path)
    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize(
    "data", [b"no gzip", gzip.compress(bytes(99), mtime=0)[:-9], b"\x1f\x8b\x08" * 20]
)
def test_damaged_gzip(tmp_path: Path, data: bytes) -> None:
    idx_folder(tmp_path, packed=True)
    (tmp_path / f"{NAMES[0]}.gz").write_bytes(data)
    with pytest.raises(DataError, match=NAMES[0]):
        load(tmp_path)


def test_npz_labels(tmp_path: Path) -> None:
    data = load(npz(tmp_path))
    assert (data.classes, data.outputs, data.features) == (3, 3, 7)
    assert load(npz(tmp_path), classes=5).outputs == 5


def test_npz_shapes_and_types(tmp_path: Path) -> None:
    images = RNG.integers(0, 256, (20, 3, 2)).astype(np.uint8)
    targets = RNG.normal(size=20)
    data = load(
        npz(tmp_path, x_train=images, y_train=targets, x_test=np.ones((5, 6)), y_test=targets[:5])
    )
    assert np.allclose(data.x_train, images.reshape(20, 6) / 255, atol=1e-7)
    assert (data.classes, data.outputs, data.y_train.shape) == (None, 1, (20, 1))
    several = np.arange(60).reshape(20, 3) % 2
    data = load(npz(tmp_path, y_train=several, y_test=several[:5]))
    assert (data.classes, data.outputs, data.y_train.dtype) == (None, 3, np.float32)


def test_npz_split_is_seeded(tmp_path: Path) -> None:
    x = np.linspace(0, 1, 50)[:, None]
    none = dict.fromkeys(("x_train", "y_train", "x_test", "y_test"))
    file = npz(tmp_path, x=x, y=np.arange(50), **none)
    data = load(file, classes=50)
    assert (len(data.x_train), len(data.x_test)) == (40, 10)
    assert sorted([*data.y_train, *data.y_test]) == list(range(50))
    assert np.allclose(data.x_test[:, 0] * 49, data.y_test, atol=1e-4)
    assert (load(file, classes=50).y_test == data.y_test).all()
    assert (load(file, classes=50, seed=1).y_test != data.y_test).any()
    with pytest.raises(DataError, match="cannot be split"):
        load(file, classes=50, test_fraction=1)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (dict(x_train=np.full((20, 7), np.nan)), "x_train has 140 values that are NaN"),
        (dict(x_test=np.full((5, 7), 1e300)), "x_test reaches to 1e\\+300"),
        (dict(x_train=np.ones(20)), "x_train is float64 of shape .20,"),
        (dict(x_train=np.ones((0, 7)), y_train=np.ones(0, int)), "holds nothing"),
        (dict(x_test=np.ones((5, 6))), "7 features a sample, x_test 6"),
        (dict(y_train=np.arange(19)), "20 samples in x_train, 19 in y_train"),
        (dict(y_test=np.full(5, 3)), "label 3 of sample 0 in y_test .5 such.; with 3 classes"),
        (dict(y_train=np.full(20, "cat")), "y_test: label 0 .5 such.; the classes are 'cat'"),
        (dict(y_train=np.full(20, np.inf), y_test=np.ones(5)), "y_train has 20 values"),
        (dict(y_train=np.ones((20, 2)), y_test=np.ones((5, 3))), "targets of the same width"),
        (dict(y_train=np.ones(20)), "must be labels, or targets of the same width"),
        (dict(y_train=np.full(20, None)), "plain arrays"),
        (dict(y_test=None), "holds x_test, x_train, y_train; wanted are"),
        (dict(x=np.ones((4, 2))), "holds x besides x_train, y_train, x_test, y_test"),
        (
            dict(x_train=None, y_train=None, x_test=None, y_test=None, x=np.ones((4, 2)), y=[1.0]),
            "first axis is the sample",
        ),
    ],
)
def test_npz_errors(tmp_path: Path, changes: dict[str, object], says: str) -> None:
    file = npz(tmp_path, **changes)
    with pytest.raises(DataError, match=says) as error:
        load(file)
    assert str(file) in str(error.value)


def test_labels_beyond_the_classes_asked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="with 2 classes labels are 0 to 1"):
        load(npz(tmp_path), classes=2)


def test_what_is_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such file.*mean digits.*accepted are 'digits'"):
        load("digit")
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(DataError, match="not a data set"):
        load(tmp_path / "a.txt")
    for content in (b"", b"text", b"PK\3\4 damaged"):
        (tmp_path / "a.npz").write_bytes(content)
        with pytest.raises(DataError, match=r"not an \.npz file"):
            load(tmp_path / "a.npz")
    np.save(tmp_path / "b", np.ones(3))
    (tmp_path / "b.npy").rename(tmp_path / "b.npz")
    with pytest.raises(DataError, match=r"not an \.npz file"):
        load(tmp_path / "b.npz")


def test_a_data_set_checks_itself() -> None:
    x, y = np.zeros((2, 3), np.float32), np.zeros(2, np.int64)
    assert Dataset("mine", x, y, x, y, 1).outputs == 1
    with pytest.raises(DataError, match=r"mine: x_train is float32 of shape \(3,\)"):
        Dataset("mine", x[0], y, x, y, 1)
    with pytest.raises(DataError, match="mine: y_train is complex128"):
        Dataset("mine", x, y.astype(complex), x, y, 1)


def stripes(classes: int | None) -> Dataset:
    x = np.eye(4, dtype=np.float32)
    return Dataset("stripes", x, np.arange(4), x, np.arange(4), classes or 4)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package that registers data sets."""
    info = tmp_path / "stripes-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stripes\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        f"[relaxon.datasets]\nstripes = {__name__}:stripes\nlost = nowhere.at.all:lost\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])


def test_data_sets_of_other_packages(package):
    assert load("stripes").classes == 4
    assert load("stripes", classes=7).classes == 7
    with pytest.raises(DataError, match=r"lost: its package cannot give nowhere\.at\.all"):
        load("lost")
