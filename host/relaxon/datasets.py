"""Data sets: digits, iris, IDX folders (MNIST and its kin) and .npz files, all in one shape.

Another package adds one by an entry point of the group ``relaxon.datasets``: a function of the
number of classes (or None) that returns a `Dataset`.
"""

import csv
import gzip
import hashlib
import zipfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from relaxon_isa import DataError, install, meant

from . import checks
from .generator import Generator

__all__ = ["NAMED", "Dataset", "load"]

ACCEPTED = (
    "accepted are 'digits', 'iris', a folder with the four IDX files of MNIST or Fashion-MNIST "
    "(train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-..., each plain or .gz), an .npz file "
    "with x_train, y_train, x_test, y_test, or with x, y, and a .csv file with labels or targets "
    "in its last column"
)
Parts: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""x_train, y_train, x_test, y_test."""
DIGITS_TEST = 360
IRIS_TEST = 50


@dataclass(frozen=True)
class Dataset:
    """Samples and what they mean. Arrays of any real type, lists and DataFrames are accepted and
    kept as said below.

    Parameters
    ----------
    name
        Where it comes from; errors begin with it.
    x_train, x_test
        Features, float32, (samples, features); uint8 is divided by 255. How large they may be,
        the run's ``input_bits`` decide: 0 to 1, or with 16 bits -2 <= value < 2. The test part
        may have no samples.
    y_train, y_test
        Labels, int64 (samples,), 0 to ``classes`` - 1; or targets, float32 (samples, outputs).
        See `relaxon.checks.answers` for labels that are numbered.
    classes
        How many classes there are, where more than the training labels show. None for targets.
    names
        What the labels were, in order, if they were not 0, 1, ...
    scale
        Lowest and highest value of each feature that x_train and x_test were scaled by.

    Raises DataError on NaN and infinities, labels out of range, shapes that disagree.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    classes: int | None = None
    names: tuple | None = None
    scale: tuple[list[float], list[float]] | None = None

    def __post_init__(self) -> None:
        where, names = f"{self.name}: ", self.names
        x, fixed = checks.features(where + "x_train", self.x_train), self.classes is not None
        y, found = checks.answers(where + "y_train", self.y_train, numbered=bool(names) or fixed)
        values: dict = {"x_train": x, "y_train": y, "x_test": x[:0], "y_test": y[:0]}
        if np.size(self.x_test):
            values["x_test"] = checks.features(where + "x_test", self.x_test)
            values["y_test"], _ = checks.answers(
                where + "y_test", self.y_test, found, numbered=True
            )
        names = names or found
        shown = len(names) if names else int(y.max(initial=0)) + 1
        classes = checks.whole("classes", self.classes if fixed else shown, 1, checks.MANY)
        values |= {"names": names, "classes": classes if y.ndim == 1 else None}
        for key, value in values.items():
            object.__setattr__(self, key, value)
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

    def named(self, labels: np.ndarray) -> np.ndarray:
        """Labels as they were before they were numbered."""
        return labels if self.names is None else np.array(self.names)[labels]

    def scaled(self, x: np.ndarray) -> np.ndarray:
        """Features of other samples, scaled as these were; what is beyond is cut off."""
        return x if self.scale is None else rescale(x, *self.scale)

    def _check(self, part: str, x: np.ndarray, y: np.ndarray) -> None:
        if len(x) != len(y):
            raise DataError(f"{self.name}: {len(x)} samples in x_{part}, {len(y)} in y_{part}")
        if self.classes is None or y.ndim != 1:
            return
        wrong = np.flatnonzero((y < 0) | (y >= self.classes))
        if wrong.size:
            raise DataError(
                f"{self.name}: label {y[wrong[0]]} of sample {wrong[0]} in y_{part} "
                f"({wrong.size} such); with {self.classes} classes labels are "
                f"0 to {self.classes - 1}: --classes (load(..., classes=N)) says how many there "
                "are, where the training part does not show all"
            )


def rescale(x: np.ndarray, low: ArrayLike, high: ArrayLike) -> np.ndarray:
    """Each feature from its range to 0 to 1, float32; 0 where the range is a point."""
    low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
    span = np.where(high > low, high - low, 1)
    return np.clip((x - low) / span, 0, 1).astype(np.float32)


def load(
    source: str | Path,
    *,
    classes: int | None = None,
    names: Sequence | None = None,
    scale: bool | Sequence = False,
    test_fraction: float = 0.2,
    seed: int = 0,
) -> Dataset:
    """A data set by name or path.

    Parameters
    ----------
    source
        ``digits`` (8 x 8, 1,437 to train and 360 to test), ``iris`` (4 measures scaled to [0, 1]
        and what they lack of 1: 8 inputs; 100 to train and 50 to test; both need scikit-learn), a
        folder of IDX files, an .npz file (arrays as `Dataset` takes them), or a .csv file: a row a
        sample, its last column the label or target, a first row of titles if it has one.
    classes
        How many classes the labels may name; without it, as many as the training labels show.
    names
        Classes in order, where they are not numbered from 0: those of the data trained on.
    scale
        Scale each feature of the training part to 0 to 1, and the test part likewise; or two lists,
        its lowest and highest value of each (`Dataset.scale` of the data trained on).
    test_fraction, seed
        How a file without a test part is split: shuffled by the seed, the last part is the test.

    Raises DataError that says what was found and what is accepted.
    """
    if not isinstance(source, str | Path):
        raise DataError(f"{source!r} is no data set; {ACCEPTED}")
    seed = checks.whole("seed", seed, 0, (1 << 63) - 1)
    made = _find(str(source), classes, test_fraction, seed)
    if names and tuple(names) != made.names:
        y = (
            checks.answers(str(source), made.named(y), names)[0]
            for y in (made.y_train, made.y_test)
        )
        made = replace(
            made, y_train=next(y), y_test=next(y), names=tuple(names), classes=len(names)
        )
    if scale is False:
        return made
    low, high = (made.x_train.min(axis=0), made.x_train.max(axis=0)) if scale is True else scale
    if np.shape(low) != (made.features,) or np.shape(high) != (made.features,):
        raise DataError(f"{source}: scale of {np.size(low)} features, the data has {made.features}")
    return replace(
        made,
        x_train=rescale(made.x_train, low, high),
        x_test=rescale(made.x_test, low, high),
        scale=(np.asarray(low).tolist(), np.asarray(high).tolist()),
    )


def _find(source: str, classes: int | None, test_fraction: float, seed: int) -> Dataset:
    if source in NAMED:
        return NAMED[source](classes)
    for point in entry_points(group="relaxon.datasets", name=source):
        return _registered(point)(classes)
    path = Path(source)
    if path.is_dir():
        return _idx_folder(path, classes)
    if not path.is_file():
        raise DataError(
            f"{source}: no such file, folder or data set{meant(source, NAMED)}; {ACCEPTED}"
        )
    readers = {".npz": _npz, ".csv": _csv}
    if path.suffix not in readers:
        raise DataError(f"{source}: not a data set; {ACCEPTED}")
    parts = readers[path.suffix](path)
    if len(parts) == 2:
        parts = [*_cut(source, parts[0], parts[1], test_fraction, seed)]
    x_train, y_train, x_test, y_test = parts
    return Dataset(source, x_train, y_train, x_test, y_test, classes)


def _registered(point: EntryPoint) -> Callable[[int | None], Dataset]:
    """What an entry point of another package names. Raises DataError if that cannot be imported."""
    try:
        return point.load()
    except Exception as error:
        raise DataError(
            f"data set {point.name}: its package cannot give {point.value} "
            f"({type(error).__name__}: {error})"
        ) from error


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
    return Dataset("digits", *_split(x, y, DIGITS_TEST, seed=0), classes=classes)


def _iris(classes: int | None) -> Dataset:
    x, y = _from_sklearn("iris")
    x = (x - x.min(axis=0)) / np.ptp(x, axis=0)
    # Both poles of each source: conductances are positive, so a measure that counts against a
    # class needs its complement.
    x = np.concatenate([x, 1 - x], axis=1).astype(np.float32)
    return Dataset("iris", *_split(x, y, IRIS_TEST, seed=0), classes=classes)


def _split(x: np.ndarray, y: np.ndarray, test: int, seed: int) -> Parts:
    order = Generator(seed).permutation(len(x))
    train, rest = order[: len(x) - test], order[len(x) - test :]
    return x[train], y[train], x[rest], y[rest]


NAMED: dict[str, Callable[[int | None], Dataset]] = {"digits": _digits, "iris": _iris}
"""Data sets that need no path."""


KEYS = ("x_train", "y_train", "x_test", "y_test"), ("x", "y"), ("data", "target")
"""Names of the arrays in an .npz file, in any case."""


def _npz(path: Path) -> list:
    """Four arrays, or two to be split."""
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("no archive of arrays")
        with path.open("rb") as file:  # by path, numpy leaves a file that is no archive open
            archive = np.load(file, allow_pickle=False)
            data = {key.lower(): archive[key] for key in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"{path}: not an .npz file of plain arrays ({error}); {ACCEPTED}"
        ) from error
    for keys in KEYS:
        if set(keys) <= data.keys():
            if left := sorted(data.keys() - set(keys)):
                raise DataError(f"{path}: holds {', '.join(left)} besides {', '.join(keys)}")
            return [data[key] for key in keys]
    raise DataError(f"{path}: holds {', '.join(sorted(data)) or 'nothing'}; {ACCEPTED}")


def _csv(path: Path) -> list:
    """The columns but the last, and the last: numbers, or text."""
    try:
        with path.open(newline="") as file:
            rows = [row for row in csv.reader(file) if row]
        head = rows and not all(map(_number, rows[0][:-1]))
        table = np.array(rows[1:] if head else rows)
        x = table[:, :-1].astype(np.float64)
    except (OSError, ValueError, IndexError, csv.Error) as error:
        raise DataError(
            f"{path}: no table of numbers with labels or targets in its last column ({error})"
        ) from error
    y = table[:, -1]
    for kind in (np.int64, np.float64):
        with suppress(ValueError):
            return [x, y.astype(kind)]
    return [x, y]


def _number(text: str) -> bool:
    try:
        return float(text) is not None
    except ValueError:
        return False


def _cut(name: str, x: np.ndarray, y: np.ndarray, test_fraction: float, seed: int) -> Parts:
    """x and y in a part to train and one to test."""
    if not x.ndim or not y.ndim or len(x) != len(y):
        raise DataError(f"{name}: x has shape {x.shape}, y {y.shape}; the first axis is the sample")
    test = round(len(x) * test_fraction)
    if not 0 < test < len(x):
        raise DataError(
            f"{name}: {len(x)} samples cannot be split into {1 - test_fraction:g} to train and "
            f"{test_fraction:g} to test"
        )
    return _split(x, y, test, seed)


def _idx_folder(path: Path, classes: int | None) -> Dataset:
    x_train, y_train, x_test, y_test = [
        _idx(_idx_file(path, f"{part}-{kind}-idx{dimensions}-ubyte"), dimensions)
        for part in ("train", "t10k")
        for kind, dimensions in (("images", 3), ("labels", 1))
    ]
    return Dataset(str(path), x_train, y_train, x_test, y_test, classes)


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
