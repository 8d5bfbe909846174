"""Data sets: digits, iris, IDX folders (MNIST and its kin) and .npz files, all in one shape.

Another package adds one by an entry point of the group ``relaxon.datasets``: a function of the
number of classes (or None) that returns a `Dataset`.
"""

import gzip
import hashlib
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import numpy as np

from relaxon_isa.errors import DataError, install, meant

from .generator import Generator

__all__ = ["NAMED", "Dataset", "load"]

ACCEPTED = (
    "accepted are 'digits', 'iris', a folder with the four IDX files of MNIST or Fashion-MNIST "
    "(train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-..., each plain or .gz), and an .npz "
    "file with x_train, y_train, x_test, y_test, or with x, y"
)
DIGITS_TEST = 360
IRIS_TEST = 50


@dataclass(frozen=True)
class Dataset:
    """Samples and what they mean.

    Parameters
    ----------
    name
        Where it comes from; errors begin with it.
    x_train, x_test
        Features in [0, 1], float32, shape (samples, features).
    y_train, y_test
        Labels, int64, shape (samples,), 0 to ``classes`` - 1; or targets, float32, shape
        (samples, outputs).
    classes
        Number of classes; None where there are targets.

    Raises DataError on NaN and infinities, values and labels out of range, shapes that disagree.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    classes: int | None = None

    def __post_init__(self) -> None:
        for part in ("train", "test"):
            self._check(part, getattr(self, f"x_{part}"), getattr(self, f"y_{part}"))
        if self.x_train.shape[1:] != self.x_test.shape[1:]:
            raise DataError(
                f"{self.name}: x_train has {self.features} features a sample, "
                f"x_test {self.x_test.shape[1]}"
            )
        if self.y_train.shape[1:] != self.y_test.shape[1:]:
            raise DataError(
                f"{self.name}: y_train has shape {self.y_train.shape}, y_test {self.y_test.shape}; "
                "both must be labels, or targets of the same width"
            )

    @property
    def features(self) -> int:
        """Input values per sample."""
        return self.x_train.shape[1]

    @property
    def outputs(self) -> int:
        """Outputs that a network needs: classes, or values per target."""
        return self.y_train.shape[1] if self.classes is None else self.classes

    @property
    def digest(self) -> str:
        """16 hex digits over all samples: equal means the same data in the same order."""
        digest = hashlib.sha256()
        for array in (self.x_train, self.y_train, self.x_test, self.y_test):
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()[:16]

    def _check(self, part: str, x: np.ndarray, y: np.ndarray) -> None:
        def check(ok: bool | np.bool_, says: str) -> None:
            if not ok:
                raise DataError(f"{self.name}: {says}")

        check(
            x.dtype == np.float32 and x.ndim == 2,
            f"x_{part} is {x.dtype} of shape {x.shape}; wanted is float32, (samples, features)",
        )
        check(x.size > 0, f"x_{part} of shape {x.shape} holds nothing")
        check(len(x) == len(y), f"{len(x)} samples in x_{part}, {len(y)} in y_{part}")
        check(np.isfinite(x).all(), f"x_{part} has {_count_bad(x)} values that are NaN or infinite")
        check(
            x.min() >= 0 and x.max() <= 1,
            f"x_{part} reaches from {x.min():g} to {x.max():g}; scale it to 0 to 1, "
            "or store it as uint8 (0 to 255)",
        )
        if self.classes is None:
            check(
                y.dtype == np.float32 and y.ndim == 2 and y.shape[1] > 0,
                f"y_{part} is {y.dtype} of shape {y.shape}; targets are float32, "
                "(samples, outputs)",
            )
            bad = _count_bad(y)
            check(not bad, f"y_{part} has {bad} values that are NaN or infinite")
        else:
            check(
                y.dtype == np.int64 and y.ndim == 1,
                f"y_{part} is {y.dtype} of shape {y.shape}; labels are int64, (samples,)",
            )
            wrong = np.flatnonzero((y < 0) | (y >= self.classes))
            if wrong.size:
                raise DataError(
                    f"{self.name}: label {y[wrong[0]]} of sample {wrong[0]} in y_{part} "
                    f"({wrong.size} such); with {self.classes} classes labels are "
                    f"0 to {self.classes - 1}"
                )


def load(
    source: str | Path,
    *,
    classes: int | None = None,
    test_fraction: float = 0.2,
    seed: int = 0,
) -> Dataset:
    """A data set by name or path.

    Parameters
    ----------
    source
        ``digits`` (8 x 8, 1,437 to train and 360 to test), ``iris`` (4 measures scaled to [0, 1]
        and what they lack of 1: 8 inputs; 100 to train and 50 to test; both need scikit-learn), a
        folder of IDX files, or an .npz file. Its x may be float in [0, 1], bool or uint8 (divided
        by 255), of any shape whose first axis is the sample. Its y is labels if it is integers in
        one dimension, else targets.
    classes
        How many classes the labels may name; without it, as many as the training labels show.
    test_fraction, seed
        How an .npz file with x and y is split: shuffled by the seed, the last part is the test.

    Raises DataError that says what was found and what is accepted.
    """
    if source in NAMED:
        return NAMED[str(source)](classes)
    for point in entry_points(group="relaxon.datasets", name=str(source)):
        return _registered(point)(classes)
    path = Path(source)
    if path.is_dir():
        return _idx_folder(path, classes)
    if not path.is_file():
        raise DataError(
            f"{source}: no such file, folder or data set{meant(str(source), NAMED)}; {ACCEPTED}"
        )
    if path.suffix != ".npz":
        raise DataError(f"{source}: not a data set; {ACCEPTED}")
    return _npz(path, classes, test_fraction, seed)


def _registered(point: EntryPoint) -> Callable[[int | None], Dataset]:
    """What an entry point of another package names. Raises DataError if that cannot be imported."""
    try:
        return point.load()
    except Exception as error:
        raise DataError(
            f"data set {point.name}: its package cannot give {point.value} "
            f"({type(error).__name__}: {error})"
        ) from error


def _dataset(
    name: str, parts: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray], classes: int | None
) -> Dataset:
    """The set with its arrays in the types that `Dataset` wants."""
    x_train, y_train, x_test, y_test = parts
    x_train, x_test = _features(name, "x_train", x_train), _features(name, "x_test", x_test)
    y_train, y_test = _answers(name, "y_train", y_train), _answers(name, "y_test", y_test)
    labels = y_train.dtype == np.int64
    if labels and classes is None:
        classes = int(y_train.max(initial=0)) + 1
    return Dataset(name, x_train, y_train, x_test, y_test, classes if labels else None)


def _features(name: str, key: str, x: np.ndarray) -> np.ndarray:
    if x.dtype.kind not in "fub" or (x.dtype.kind == "u" and x.dtype != np.uint8) or x.ndim < 2:
        raise DataError(
            f"{name}: {key} is {x.dtype} of shape {x.shape}; accepted are float (0 to 1), bool "
            "and uint8 (0 to 255) of shape (samples, ...)"
        )
    scale = 255 if x.dtype == np.uint8 else 1
    with np.errstate(over="ignore"):  # beyond float32: infinite, and refused as that
        return x.reshape(len(x), int(np.prod(x.shape[1:]))).astype(np.float32) / np.float32(scale)


def _answers(name: str, key: str, y: np.ndarray) -> np.ndarray:
    if y.dtype.kind in "iu" and y.ndim == 1:
        return y.astype(np.int64)
    if y.dtype.kind in "fiub" and y.ndim in (1, 2):
        with np.errstate(over="ignore"):
            return y.reshape(len(y), -1 if len(y) else 1).astype(np.float32)
    raise DataError(
        f"{name}: {key} is {y.dtype} of shape {y.shape}; accepted are integer labels of shape "
        "(samples,) and float targets of shape (samples,) or (samples, outputs)"
    )


def _count_bad(values: np.ndarray) -> int:
    return int(np.count_nonzero(~np.isfinite(values)))


# Sources --------------------------------------------------------------------------------------


def _from_sklearn(name: str) -> tuple[np.ndarray, np.ndarray]:
    try:
        datasets = import_module("sklearn.datasets")  # heavy, and an extra
    except ImportError as error:
        raise DataError(
            f"{name}: needs scikit-learn, which is not installed: {install('data')}"
        ) from error
    return getattr(datasets, f"load_{name}")(return_X_y=True)


def _digits(classes: int | None) -> Dataset:
    x, y = _from_sklearn("digits")
    x, y = (x / 16).astype(np.float32), y.astype(np.int64)  # pixels are 0 to 16
    return _dataset("digits", _split(x, y, DIGITS_TEST, seed=0), classes)


def _iris(classes: int | None) -> Dataset:
    x, y = _from_sklearn("iris")
    x = (x - x.min(axis=0)) / np.ptp(x, axis=0)
    # Both poles of each source: conductances are positive, so a measure that counts against a
    # class needs its complement.
    x = np.concatenate([x, 1 - x], axis=1).astype(np.float32)
    return _dataset("iris", _split(x, y.astype(np.int64), IRIS_TEST, seed=0), classes)


def _split(
    x: np.ndarray, y: np.ndarray, test: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    order = Generator(seed).permutation(len(x))
    train, rest = order[: len(x) - test], order[len(x) - test :]
    return x[train], y[train], x[rest], y[rest]


NAMED: dict[str, Callable[[int | None], Dataset]] = {"digits": _digits, "iris": _iris}
"""Data sets that need no path."""


def _npz(path: Path, classes: int | None, test_fraction: float, seed: int) -> Dataset:
    name = str(path)
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("no archive of arrays")
        with path.open("rb") as file:  # by path, numpy leaves a file that is no archive open
            archive = np.load(file, allow_pickle=False)
            data = {key: archive[key] for key in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"{name}: not an .npz file of plain arrays ({error}); {ACCEPTED}"
        ) from error
    split = ("x_train", "y_train", "x_test", "y_test")
    if all(key in data for key in split):
        return _dataset(name, tuple(data[key] for key in split), classes)  # type: ignore[arg-type]
    if not ("x" in data and "y" in data):
        found = ", ".join(sorted(data)) or "nothing"
        raise DataError(f"{name}: holds {found}; {ACCEPTED}")
    x, y = data["x"], data["y"]
    if not x.ndim or not y.ndim or len(x) != len(y):
        raise DataError(f"{name}: x has shape {x.shape}, y {y.shape}; the first axis is the sample")
    test = round(len(x) * test_fraction)
    if not 0 < test < len(x):
        raise DataError(
            f"{name}: {len(x)} samples cannot be split into {1 - test_fraction:g} to train and "
            f"{test_fraction:g} to test"
        )
    return _dataset(name, _split(x, y, test, seed), classes)


def _idx_folder(path: Path, classes: int | None) -> Dataset:
    parts = [
        _idx(_idx_file(path, f"{part}-{kind}-idx{dimensions}-ubyte"), dimensions)
        for part in ("train", "t10k")
        for kind, dimensions in (("images", 3), ("labels", 1))
    ]
    return _dataset(str(path), tuple(parts), classes)  # type: ignore[arg-type]


def _idx_file(folder: Path, name: str) -> Path:
    # Some copies of the files were unpacked with a dot before idx.
    names = [name, f"{name}.gz", name.replace("-idx", ".idx"), f"{name.replace('-idx', '.idx')}.gz"]
    for candidate in names:
        if (folder / candidate).is_file():
            return folder / candidate
    raise DataError(f"{folder}: has no {name} (nor {name}.gz); {ACCEPTED}")


def _idx(path: Path, dimensions: int) -> np.ndarray:
    """An IDX file of bytes: magic 00 00 08 and the dimensions, their sizes, the values."""
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:  # gzip.BadGzipFile is an OSError
        raise DataError(f"{path}: cannot be read ({error})") from error
    magic = bytes([0, 0, 8, dimensions])
    if data[:4] != magic:
        raise DataError(
            f"{path}: begins with {data[:4].hex() or 'nothing'}, an IDX file of bytes in "
            f"{dimensions} dimension{'s' * (dimensions > 1)} with {magic.hex()}"
        )
    head = 4 + 4 * dimensions
    if len(data) < head:
        raise DataError(f"{path}: ends within its header, after {len(data)} of {head} bytes")
    shape = tuple(int(n) for n in np.frombuffer(data, ">u4", dimensions, 4))
    want = head + int(np.prod(shape, dtype=object))
    if len(data) != want:
        kind = "truncated" if len(data) < want else "too long"
        raise DataError(
            f"{path}: {kind}: {len(data)} bytes, {want} wanted for {' x '.join(map(str, shape))}"
        )
    return np.frombuffer(data, np.uint8, offset=head).reshape(shape)
