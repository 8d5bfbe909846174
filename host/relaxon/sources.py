"""What data sets are read from: names, files, folders, and objects of other packages.

Each reader gives a `Raw`; `relaxon.datasets.load` makes a `Dataset` of it. Errors name the file and
say what is possible.
"""

import csv
import gzip
import io
import os
import pickle
import re
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import numpy as np
from platformdirs import user_data_path

from relaxon_isa import DataError, install, meant

from . import checks
from .generator import Generator

__all__ = ["ACCEPTED", "NAMED", "PUBLISHED", "Asked", "Raw", "called", "read", "split", "takes"]

Pair: TypeAlias = tuple[np.ndarray, np.ndarray]
"""x and y."""
UNKNOWN = np.empty(0)
"""The y of samples whose labels or targets are not there."""
DIGITS_TEST = 360
IRIS_TEST = 50
HOME = "RELAXON_DATA"
"""Environment variable: folders in which data sets known by name are looked for."""

ACCEPTED = (
    "accepted are 'digits', 'iris'; 'mnist', 'fashion-mnist', 'kmnist', 'emnist-balanced' (or "
    "another split) and 'cifar-10', where their files are; 'openml:NAME'; a folder of IDX files "
    "(train-images-idx3-ubyte, ..., plain or .gz) or of CIFAR-10's batches; an .npz file; a .csv "
    "file"
)


@dataclass(frozen=True)
class Raw:
    """Arrays as they were read, unchecked; images are (samples, rows, columns[, channels]).

    ``test`` is None where the source has no test part. ``names``: of the classes, where y has their
    numbers. A y of length 0 beside samples: the source has no labels or targets. ``columns``,
    ``target``: of a table, which columns are the features and the target, by title or number.
    """

    train: Pair
    test: Pair | None = None
    names: tuple | None = None
    columns: tuple[int | str, ...] | None = None
    target: tuple[int | str, ...] | None = None


@dataclass(frozen=True)
class Asked:
    """Options of `relaxon.datasets.load` that readers take."""

    target: Any = None
    keys: Sequence[str] | None = None
    columns: Sequence | None = None
    labelled: bool | None = True


TABLES = "tables (.csv, DataFrames)"
OF = {
    "target": "tables (.csv, DataFrames, OpenML)",
    "keys": ".npz and mappings",
    "columns": TABLES,
    "unlabelled": f"{TABLES} and .npz files",
}
"""What an option is about."""
TABULAR = ("target", "columns", "unlabelled")


def read(source: Any, asked: Asked) -> Raw:
    """Read a data set; options as of `relaxon.datasets.load`."""
    if isinstance(asked.keys, str) or not isinstance(asked.keys, Sequence | None):
        raise DataError(f"{called(source)}: keys {asked.keys!r}: wanted is a list of names")
    given = {
        "target": asked.target is not None,
        "keys": asked.keys is not None,
        "columns": asked.columns is not None,
        "unlabelled": asked.labelled is False,
    }
    for name, value in given.items():
        if value and name not in takes(source):
            raise DataError(f"{called(source)}: --{name} is about {OF[name]}: leave it out")
    return _read(source, asked)


def takes(source: Any) -> tuple[str, ...]:
    """Which of the options in `OF` such a source takes."""
    if not isinstance(source, str | Path):
        if _is_frame(source):
            return TABULAR
        return () if isinstance(source, tuple) and source and _is_array(source[0]) else ("keys",)
    if str(source).lower().startswith("openml:"):
        return ("target",)
    kinds = {".npz": ("keys", "unlabelled"), ".csv": TABULAR, ".tsv": TABULAR}
    return kinds.get(Path(source).suffix, ())


def _read(source: Any, asked: Asked) -> Raw:
    if not isinstance(source, str | Path):
        return _objects(source, asked)
    name, path = str(source), Path(source)
    if name in NAMED:
        return NAMED[name]()
    if name.lower().startswith("openml:"):
        return Raw(_openml(name[len("openml:") :], asked.target))
    try:
        folder, file = path.is_dir(), path.is_file()
    except OSError as error:  # too long a name
        raise DataError(f"{name[:80]}: {error.strerror}; {ACCEPTED}") from error
    if folder:
        return _folder(path)
    if file:
        if path.suffix == ".npz":
            return _npz(path, asked)
        if path.suffix in (".csv", ".tsv"):
            return _csv(path, asked)
        raise DataError(f"{source}: not a data set; {ACCEPTED}")
    if path.name.lower() in PUBLISHED:
        return _published(path)
    known = [*NAMED, *PUBLISHED]
    raise DataError(f"{source}: no such file, folder or data set{meant(name, known)}; {ACCEPTED}")


def called(source: Any) -> str:
    """What errors name a data set by."""
    return str(source) if isinstance(source, str | Path) else type(source).__name__


def split(name: str, pair: Pair, test_fraction: float, seed: int) -> tuple[Pair, Pair]:
    """x and y in a part to train and one to test, shuffled by the seed."""
    x, y = (checks.array(name, part) for part in pair)
    if not np.ndim(x) or not np.ndim(y) or len(x) != len(y):
        raise DataError(
            f"{name}: x has shape {np.shape(x)}, y {np.shape(y)}; the first axis is the sample"
        )
    test = round(len(x) * test_fraction)
    if not 0 < test < len(x):
        raise DataError(
            f"{name}: {len(x)} samples cannot be split into {1 - test_fraction:g} to train and "
            f"{test_fraction:g} to test"
        )
    return _cut(x, y, test, seed)


def _cut(x: np.ndarray, y: np.ndarray, test: int, seed: int = 0) -> tuple[Pair, Pair]:
    order = Generator(seed).permutation(len(x))
    train, rest = order[: len(x) - test], order[len(x) - test :]
    return (x[train], y[train]), (x[rest], y[rest])


# scikit-learn and OpenML ---------------------------------------------------------------------


def _sklearn_datasets(name: str) -> Any:
    try:
        return import_module("sklearn.datasets")  # heavy, and an extra
    except ImportError as error:
        raise DataError(
            f"{name}: needs scikit-learn, which is not installed: {install('data')}"
        ) from error


def _digits() -> Raw:
    x, y = _sklearn_datasets("digits").load_digits(return_X_y=True)
    x, y = (x / 16).astype(np.float32), y.astype(np.int64)  # pixels are 0 to 16
    return Raw(*_cut(x.reshape(-1, 8, 8), y, DIGITS_TEST))


def _iris() -> Raw:
    x, y = _sklearn_datasets("iris").load_iris(return_X_y=True)
    x = (x - x.min(axis=0)) / np.ptp(x, axis=0)
    # Both poles of each source: conductances are positive, so a measure that counts against a
    # class needs its complement.
    x = np.concatenate([x, 1 - x], axis=1).astype(np.float32)
    return Raw(*_cut(x, y, IRIS_TEST))


NAMED: dict[str, Callable[[], Raw]] = {"digits": _digits, "iris": _iris}
"""Data sets that need no path."""


def _openml(name: str, target: Any = None) -> Pair:
    """A data set of OpenML, by name or number, whole, through scikit-learn, which keeps it."""
    which = {"data_id": int(name)} if name.isdecimal() else {"name": name}
    if target is not None:
        which["target_column"] = target
    parser = "pandas" if find_spec("pandas") else "liac-arff"
    datasets = _sklearn_datasets(f"openml:{name}")
    try:
        with warnings.catch_warnings(action="ignore"):  # of copies that it then gets anew
            x, y = datasets.fetch_openml(
                **which, return_X_y=True, as_frame=False, parser=parser, n_retries=1
            )
    except (OSError, ValueError, KeyError) as error:  # no network; no such set; no such column
        raise DataError(
            f"openml:{name}: scikit-learn's fetch_openml cannot get it "
            f"({type(error).__name__}: {error}); it needs a network, or its copy of an earlier time"
        ) from error
    if y is None:
        raise DataError(f"openml:{name}: has no target of its own: name one with --target COLUMN")
    return x, _numbers(np.asarray(y))


# Data sets that people know, from their published files ---------------------------------------


@dataclass(frozen=True)
class Known:
    """Where a data set's files may lie in a folder of data sets (torchvision's places among them),
    and its name at OpenML, if it has one there in the published order."""

    folders: tuple[str, ...]
    openml: str | None = None


EMNIST = ("balanced", "letters", "digits", "byclass", "bymerge", "mnist")
PUBLISHED = {
    "mnist": Known(("mnist", "MNIST/raw"), "mnist_784"),
    "fashion-mnist": Known(("fashion-mnist", "FashionMNIST/raw"), "Fashion-MNIST"),
    "kmnist": Known(("kmnist", "KMNIST/raw"), "Kuzushiji-MNIST"),
    **{
        f"emnist-{part}": Known((f"emnist-{part}", "emnist", "emnist/gzip", "EMNIST/raw", "."))
        for part in EMNIST
    },
    "cifar-10": Known(("cifar-10", "cifar-10-batches-bin", "cifar-10-batches-py")),
}
"""Data sets known by name whose files have to be had."""
OPENML_TRAIN = 60_000
"""Of the 70,000 samples that MNIST and its kin have at OpenML, the first so many are to train."""


def _published(path: Path) -> Raw:
    """``mnist``: from a folder of data sets or OpenML; ``FOLDER/mnist``: from that folder."""
    name = path.name.lower()
    known = PUBLISHED[name]
    if len(path.parts) > 1:
        homes = [path.parent]
    else:
        given = [Path(home) for home in os.environ.get(HOME, "").split(os.pathsep) if home]
        homes = [Path(), *given, user_data_path("relaxon"), Path("/usr/share/datasets")]
    for folder in (home / part for home in homes for part in known.folders):
        if _holds(folder, name):
            return _folder(folder, name)
    said = (
        f"{path}: no files of {name} in {' or '.join(map(str, homes))}: name the folder that has "
        f"them (--data FOLDER), or the folder that has that, in {HOME}"
    )
    if known.openml is None or len(path.parts) > 1:
        raise DataError(said)
    try:
        x, y = _openml(known.openml)
    except DataError as error:
        raise DataError(f"{said}; {error}") from error
    x = np.asarray(x).reshape(-1, 28, 28).astype(np.uint8)
    return Raw((x[:OPENML_TRAIN], y[:OPENML_TRAIN]), (x[OPENML_TRAIN:], y[OPENML_TRAIN:]))


def _holds(folder: Path, name: str) -> bool:
    """Whether a folder has files of the data set of that name."""
    if not folder.is_dir():
        return False
    if name == "cifar-10":
        return any(folder.glob("data_batch_1*"))
    prefixes, own = _prefixes(folder), not name.startswith("emnist-") or folder.name == name
    return f"{name}-" in prefixes or (own and "" in prefixes)


def _prefixes(folder: Path) -> set[str]:
    """What stands before "train-images" in the names of a folder's IDX files."""
    return {file.name.split("train-images")[0] for file in folder.glob("*train-images*idx*")}


def _folder(path: Path, name: str = "") -> Raw:
    """A folder of IDX files or of CIFAR-10's batches. ``name``: which, if it has several."""
    if any(path.glob("data_batch_*")):
        return _cifar(path)
    prefixes = _prefixes(path)
    if wanted := {p for p in prefixes if p == f"{name}-"}:
        prefixes = wanted
    if len(prefixes) > 1:
        ways = " or ".join(str(path / p.rstrip("-")) for p in sorted(prefixes))
        raise DataError(f"{path}: has the files of several data sets: say {ways}")
    prefix = prefixes.pop() if prefixes else ""
    parts = []
    for part in (("train",), ("t10k", "test")):
        x, y = (_idx(_idx_file(path, prefix, part, kind), kind) for kind in ("images", "labels"))
        # EMNIST's images lie on their sides: rows are stored as columns.
        parts.append((x.swapaxes(1, 2) if prefix.startswith("emnist-") and x.ndim == 3 else x, y))
    return Raw(*parts)


def _idx_file(folder: Path, prefix: str, parts: Sequence[str], kind: str) -> Path:
    # Some copies of the files were unpacked with a dot before idx; other types have other endings.
    for part in parts:
        pattern = re.compile(rf"{re.escape(prefix)}{part}-{kind}[-.]idx\d.*")
        if found := [file for file in folder.iterdir() if pattern.fullmatch(file.name)]:
            return min(found, key=lambda file: (file.suffix == ".gz", file.name))
    name = f"{prefix}{parts[0]}-{kind}-idx{3 if kind == 'images' else 1}-ubyte"
    raise DataError(f"{folder}: has no {name} (nor {name}.gz); {ACCEPTED}")


IDX_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
IDX_AXES = {"images": (2, 4, "2 to 4"), "labels": (1, 2, "1 or 2")}


def _idx(path: Path, kind: str) -> np.ndarray:
    """An IDX file: magic 00 00, the type and the number of axes, their sizes, the values."""
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:  # gzip.BadGzipFile is an OSError
        raise DataError(f"{path}: cannot be read ({error})") from error
    low, high, words = IDX_AXES[kind]
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in IDX_TYPES:
        raise DataError(
            f"{path}: begins with {data[:4].hex() or 'nothing'}, an IDX file with 0000, its type "
            f"({', '.join(f'{code:02x}' for code in IDX_TYPES)}) and its number of axes"
        )
    if not low <= data[3] <= high:
        raise DataError(f"{path}: begins with {data[:4].hex()}, {kind} of {words} axes are wanted")
    kept, head = np.dtype(IDX_TYPES[data[2]]), 4 + 4 * data[3]
    if len(data) < head:
        raise DataError(f"{path}: ends within its header, after {len(data)} of {head} bytes")
    shape = tuple(int(n) for n in np.frombuffer(data, ">u4", data[3], 4))
    want = head + int(np.prod(shape, dtype=object)) * kept.itemsize
    if len(data) != want:
        wrong = "truncated" if len(data) < want else "too long"
        raise DataError(
            f"{path}: {wrong}: {len(data)} bytes, {want} wanted for {' x '.join(map(str, shape))}"
        )
    values = np.frombuffer(data, kept, offset=head).reshape(shape)
    return values.astype(kept.newbyteorder("="), copy=False)


CIFAR_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"
)  # fmt: skip
CIFAR_IMAGE = (3, 32, 32)  # as stored: channels first


def _cifar(folder: Path) -> Raw:
    """CIFAR-10's batches, binary (a byte of label and 3,072 of image a record) or of Python."""
    ending = ".bin" if any(folder.glob("data_batch_*.bin")) else ""
    parts = []
    for names in ([f"data_batch_{i}" for i in range(1, 6)], ["test_batch"]):
        batches = []
        for path in (folder / f"{name}{ending}" for name in names):
            if not path.is_file():
                raise DataError(f"{folder}: CIFAR-10's {path.name} is not there")
            batches.append(_cifar_binary(path) if ending else _cifar_python(path))
        x, y = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
        parts.append((x.reshape(-1, *CIFAR_IMAGE).transpose(0, 2, 3, 1), y.astype(np.int64)))
    return Raw(*parts, names=CIFAR_CLASSES)


def _cifar_binary(path: Path) -> Pair:
    record, data = 1 + int(np.prod(CIFAR_IMAGE)), np.fromfile(path, np.uint8)
    if not len(data) or len(data) % record:
        raise DataError(
            f"{path}: {len(data)} bytes, a whole number of CIFAR-10's records of {record} is wanted"
        )
    rows = data.reshape(-1, record)
    return rows[:, 1:], rows[:, 0]


class _Arrays(pickle.Unpickler):
    """Reads pickles of numpy arrays and plain values; a pickle could run any code otherwise."""

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith(("numpy", "_codecs")) and name in (
            "_reconstruct",
            "ndarray",
            "dtype",
            "_frombuffer",
            "encode",
        ):
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        raise pickle.UnpicklingError(f"{module}.{name} has no place in it")


def _cifar_python(path: Path) -> Pair:
    try:
        with path.open("rb") as file:
            batch = _Arrays(file, encoding="bytes").load()
        batch = {k.decode() if isinstance(k, bytes) else k: v for k, v in batch.items()}
        x, y = np.asarray(batch["data"]), np.asarray(batch["labels"])
        if x.dtype != np.uint8 or x.shape != (len(y), int(np.prod(CIFAR_IMAGE))):
            raise ValueError(f"data is {x.dtype} of shape {x.shape}")
    except Exception as error:  # what a damaged pickle raises is anything
        raise DataError(
            f"{path}: no batch of CIFAR-10's Python version ({type(error).__name__}: {error})"
        ) from error
    return x, y


# .npz files --------------------------------------------------------------------------------------

KEYS = ("x_train", "y_train", "x_test", "y_test"), ("x", "y"), ("data", "target")
"""Names of the arrays in an .npz file, in any case."""


def _npz(path: Path, asked: Asked) -> Raw:
    """Four arrays, or two to be split; or samples alone."""
    keys = asked.keys
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("no archive of arrays")
        with path.open("rb") as file:  # by path, numpy leaves a file that is no archive open
            archive = np.load(file, allow_pickle=False)
            wanted = [key for key in archive.files if keys is None or key in keys]
            data = {key: archive[key] for key in wanted}
            held = ", ".join(sorted(archive.files)) or "nothing"
    except Exception as error:  # whatever numpy makes of damaged bytes
        raise DataError(
            f"{path}: not an .npz file of plain arrays ({error}); {ACCEPTED}"
        ) from error
    if asked.labelled is False or (asked.labelled is None and len(data) == 1):
        alone = [k for k in data if len(data) == 1 or (keys is None and k.lower() == "x")]
        if len(alone) != 1:
            raise DataError(
                f"{path}: holds {held}: --keys says which array has the samples, as --keys images"
            )
        return Raw((data[alone[0]], UNKNOWN))
    if keys is not None:
        if len(keys) not in (2, 4) or not set(keys) <= data.keys():
            raise DataError(
                f"{path}: holds {held}; --keys {','.join(keys)} does not name x,y or "
                "x_train,y_train,x_test,y_test among them"
            )
        return _paired([data[key] for key in keys])
    by_name = {key.lower(): key for key in data}
    for names in KEYS:
        if set(names) <= by_name.keys() and len(by_name) == len(data):
            if left := sorted(by_name.keys() - set(names)):
                raise DataError(
                    f"{path}: holds {', '.join(left)} besides {', '.join(names)}: say which it is "
                    "with --keys"
                )
            return _paired([data[by_name[name]] for name in names])
    raise DataError(
        f"{path}: holds {held}; wanted are x_train, y_train, x_test, y_test, or x, y: --keys says "
        "what they are called here, as --keys images,labels"
    )


def _paired(arrays: Sequence[Any]) -> Raw:
    """Of x, y, or of x_train, y_train, x_test, y_test."""
    return Raw(*((arrays[i], arrays[i + 1]) for i in range(0, len(arrays), 2)))


# Tables ------------------------------------------------------------------------------------------


DELIMITERS = "\t;,"
SEEN = 50
"""Rows that a table's delimiter is known by."""


def _csv(path: Path, asked: Asked) -> Raw:
    """The columns of features, and the target's: numbers, or text."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        delimiter = _delimiter(text)
        reader = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True)
        # Spreadsheets leave rows of empty cells.
        lines = [(reader.line_num, row) for row in reader if any(map(str.strip, row))]
        if not lines:
            raise ValueError("it is empty")
        for line, row in lines:
            if len(row) != len(lines[0][1]):
                raise ValueError(
                    f"row {line} has {len(row)} cells, the first has {len(lines[0][1])}"
                )
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not in UTF-8: save it as that ({error})") from error
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path}: no table of numbers with labels or targets ({error})") from error
    titles = [cell.strip() for cell in lines[0][1]]
    features, chosen = _parts(path, titles, asked)
    named = {*titles} & {*_asked(asked.target), *_asked(asked.columns)}
    numeric = all(not titles[i] or _number(titles[i], delimiter) for i in features)
    if head := not numeric or not all(map(_number, named)):
        lines = lines[1:]
    if not features or not lines:
        raise DataError(f"{path}: no table of numbers with labels or targets (nothing is left)")
    table = np.array([row for _, row in lines])
    table[:, chosen] = np.char.strip(table[:, chosen])
    if delimiter != ",":
        _points_for_commas(table, [*features, *chosen])
    if head and not titles[0] and 0 in features and _counts(table[:, 0]):
        raise DataError(
            f"{path}: column 0 has no title and numbers the rows, as pandas writes its index: "
            f"choose features, --columns 1:{len(titles) - (max(chosen, default=0) > 1)}"
        )

    def refuse(column: int, wrong: np.ndarray, why: str) -> NoReturn:
        first, count = int(wrong.argmax()), int(wrong.sum())
        title = f" ({titles[column]})" if head else ""
        more = f" ({count} such rows)" if count > 1 else ""
        raise DataError(
            f"{path}: row {lines[first][0]}, column {column}{title}: "
            f"{lines[first][1][column]!r} {why}{more}"
        )

    for j in chosen:
        if (empty := table[:, j] == "").any():
            refuse(j, empty, f"is no label or target: {UNFILLED}")
    try:
        x = table[:, features].astype(np.float64)
    except ValueError:
        x = np.full((1, 1), np.nan)
    for j in features if not np.isfinite(x).all() else ():
        if (wrong := np.array([not _finite(cell) for cell in table[:, j]])).any():
            refuse(j, wrong, f"is no number: {TEXT if wrong.all() else MISSING}")
    return Raw(
        (x, _answers([_numbers(table[:, j]) for j in chosen])),
        columns=_called_by(titles, features) if head else tuple(features),
        target=_called_by(titles, chosen) if head else tuple(chosen),
    )


TEXT = "give text columns numbers, name the target (--target), or choose features (--columns)"
MISSING = "fill it in, or leave its row or its column (--columns) out"
UNFILLED = "fill it in, or leave the row out; 'relaxon infer' answers tables without that column"


def _delimiter(text: str) -> str:
    """Tab, semicolon or comma: the first that cuts all rows into equally many cells."""
    start = text.split("\n", SEEN)[:SEEN]
    for delimiter in DELIMITERS:
        widths = {len(row) for row in csv.reader(start, delimiter=delimiter) if row}
        if len(widths) == 1 and widths.pop() > 1:
            return delimiter
    first = next((line for line in start if line.strip()), "")
    return max(",;\t", key=first.count)


def _counts(cells: np.ndarray) -> bool:
    """Whether a column is 0, 1, 2, ..."""
    return all(cell == str(i) for i, cell in enumerate(cells))


COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
"""A number with a comma for the point, as tables have that are cut by others than commas."""


def _points_for_commas(table: np.ndarray, columns: list[int]) -> None:
    """Write 1.5 for 1,5, in columns that have no points."""
    for j in columns:
        cells = table[:, j]
        if not any("." in cell for cell in cells):
            table[:, j] = [c.replace(",", ".") if COMMA.fullmatch(c) else c for c in cells]


def _frame(frame: Any, asked: Asked) -> Raw:
    """Of a DataFrame of pandas or polars: the columns of features, and the target's."""
    titles, name = [str(title) for title in frame.columns], type(frame).__name__
    columns = [frame[title] for title in frame.columns]
    features, chosen = _parts(name, titles, asked)
    x = [checks.reals(f"{name}: column {titles[i]}", columns[i]) for i in features]
    if not x:
        raise DataError(f"{name}: no columns besides {', '.join(titles[i] for i in chosen)}")
    y = [checks.array(f"{name}: column {titles[i]}", columns[i]) for i in chosen]
    return Raw(
        (np.column_stack(x), _answers(y)),
        columns=_called_by(titles, features),
        target=_called_by(titles, chosen),
    )


def _parts(where: Any, titles: list[str], asked: Asked) -> tuple[list[int], list[int]]:
    """Numbers of a table's columns: of the features, and of the target (none: it has none)."""
    named = [part for part in _asked(asked.columns) if isinstance(part, str)]
    if not asked.labelled and len(named) == len(titles) and all(map(_number, titles)):
        return [*range(len(titles))], []  # the features alone, without their titles
    features = None if asked.columns is None else _columns(where, titles, asked.columns)
    chosen: list[int] = []
    if asked.labelled:
        chosen = _columns(where, titles, asked.target)
    elif asked.labelled is None:  # if it has one
        with suppress(DataError):
            chosen = _columns(where, titles, asked.target)
        if features is not None and {*chosen} & {*features}:
            chosen = []
    if features is None:
        features = [i for i in range(len(titles)) if i not in chosen]
    if both := [titles[i] for i in features if i in chosen]:
        raise DataError(f"{where}: column {both[0]} cannot be a feature and the target")
    return features, chosen


def _asked(target: Any) -> list[int | str]:
    """Columns as they were asked for, a list."""
    if target is None:
        return []
    whole = isinstance(target, str) or not isinstance(target, Sequence)
    return [
        int(part) if isinstance(part, int | np.integer) else str(part)
        for part in ([target] if whole else target)
    ]


def _columns(where: Any, titles: list[str], asked: Any) -> list[int]:
    """Which columns are meant: titles, numbers from 0 (-1 is the last), ranges of them."""
    count, found = len(titles), []
    # In a row of samples "0" is no title.
    titled = 2 * sum(map(_number, titles)) < count
    for part in _asked(asked) or [-1]:
        text, number = str(part), bool(re.fullmatch(r"-?\d+", str(part)))
        ends = re.fullmatch(r"(-?\d*):(-?\d*)", text)
        if isinstance(part, str) and titles.count(text) == 1 and (titled or not number):
            found.append(titles.index(text))
        elif number and -count <= int(text) < count:
            found.append(int(text) % count)
        elif ends and (
            some := range(count)[slice(*(int(e) if e else None for e in ends.groups()))]
        ):
            found += some
        else:
            listed = ", ".join(titles[:20]) + (", ..." if count > 20 else "")
            twice = ": several have that title" if titles.count(text) > 1 else ""
            raise DataError(
                f"{where}: no column {text!r}{meant(text, titles)}{twice}; there are 0 to "
                f"{count - 1} (-1 is the last; 4:7 is 4 to 6), in the first row {listed}"
            )
    return list(dict.fromkeys(found))


def _called_by(titles: list[str], columns: list[int]) -> tuple[int | str, ...]:
    """By title, where that says which, else by number."""
    return tuple(titles[j] if titles.count(titles[j]) == 1 else j for j in columns)


def _answers(columns: list[np.ndarray]) -> np.ndarray:
    if not columns:
        return UNKNOWN
    return columns[0] if len(columns) == 1 else np.column_stack(columns)


def _numbers(text: np.ndarray) -> np.ndarray:
    """Whole numbers, else real ones, else the text as it is."""
    for kind in (np.int64, np.float64) if text.dtype.kind in "OUS" else ():
        with suppress(ValueError, OverflowError):
            return text.astype(kind)
    return text.astype(str) if text.dtype == object else text


def _number(text: str, delimiter: str = ",") -> bool:
    if delimiter != "," and COMMA.fullmatch(text):
        return True
    try:
        return float(text) is not None
    except ValueError:
        return False


def _finite(text: str) -> bool:
    return _number(text) and isfinite(float(text))


# Objects -----------------------------------------------------------------------------------------

LABELS = ("label", "labels", "target", "y")


def _objects(source: Any, asked: Asked) -> Raw:
    """DataFrames, data sets of torch and Hugging Face, mappings and tuples of their parts."""
    keys = asked.keys
    if _is_frame(source):
        return _frame(source, asked)
    if isinstance(source, Mapping):
        if not {"train"} <= source.keys() <= {"train", "test"}:
            raise DataError(
                f"{called(source)}: holds {', '.join(map(str, source))}; wanted are train, and "
                "test if there is one: load((parts['train'], parts['validation'])) names others"
            )
        source = tuple(source[part] for part in ("train", "test") if part in source)
    if isinstance(source, tuple) and source and _is_array(source[0]):
        if len(source) in (2, 4):
            return _paired(source)
        raise DataError(
            f"{len(source)} arrays: wanted are x, y, or x_train, y_train, x_test, y_test"
        )
    parts = source if isinstance(source, tuple) else (source,)
    if not 1 <= len(parts) <= 2 or not all(
        hasattr(part, "__len__") and hasattr(part, "__getitem__") and not isinstance(part, bytes)
        for part in parts
    ):
        raise DataError(
            f"{source!r} is no data set; {ACCEPTED}; in Python a DataFrame, (x, y), and what has a "
            "length and gives (image, label) by number, as torch's and Hugging Face's, or a pair "
            "of these, to train and to test"
        )
    pairs = [_samples(part, keys) for part in parts]
    features = getattr(parts[0], "features", None)
    labels = getattr(features, "get", lambda key: None)(_pair_of(parts[0], keys)[1])
    names = getattr(labels, "names", None)
    return Raw(*pairs, names=tuple(names) if names else None)


def _is_frame(source: Any) -> bool:
    return hasattr(source, "columns") and hasattr(source, "to_numpy")


def _is_array(part: Any) -> bool:
    return isinstance(part, np.ndarray | list) or hasattr(part, "to_numpy")


def _pair_of(samples: Any, keys: Sequence[str] | None) -> Sequence[Any]:
    """Under which keys a sample has its image and its label."""
    sample = samples[0]
    if not isinstance(sample, Mapping):
        return 0, 1
    names = [*sample]
    if keys is None and len(names) == 2 and (label := [n for n in names if n in LABELS]):
        keys = [n for n in names if n != label[0]] + label[:1]
    if keys is None or len(keys) != 2 or not set(keys) <= set(names):
        raise DataError(
            f"{called(samples)}: samples have {', '.join(map(str, names))}: keys=('image', "
            "'label') says which two of them to take; of a table make a DataFrame (to_pandas())"
        )
    return keys


def _samples(samples: Any, keys: Sequence[str] | None) -> Pair:
    name = called(samples)
    if not len(samples):
        raise DataError(f"{name}: holds nothing")
    first, second = _pair_of(samples, keys)
    try:
        pairs = ((sample[first], sample[second]) for sample in _each(samples))
        x, y = zip(*((_plain(image, True), _plain(label)) for image, label in pairs), strict=True)
        return np.stack(x), np.stack(y)
    except (TypeError, ValueError, IndexError, KeyError) as error:
        raise DataError(
            f"{name}: its samples are no pairs of an image and a label, all of one size "
            f"({type(error).__name__}: {error})"
        ) from error


def _each(samples: Any) -> Iterator[Any]:
    return (samples[i] for i in range(len(samples)))


def _plain(value: Any, image: bool = False) -> np.ndarray:
    """An array of a tensor, an image, a list; torch's images, channels first, get them last."""
    if not hasattr(value, "detach"):
        return np.asarray(value)
    found = value.detach().cpu().numpy()
    return np.moveaxis(found, 0, -1) if image and found.ndim == 3 else found
