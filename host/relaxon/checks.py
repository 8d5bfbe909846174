"""Checks of what comes in, the same at every door: `Dataset`, `Trainer`, `Lab`, command line.

Arrays may be of any real type: numpy's, lists, what has ``to_numpy`` (DataFrames). Each function
returns what it checked in the type that the machine's side wants, or raises DataError that names
the array, what it is and what is wanted.
"""

import operator
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from numbers import Real
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from relaxon_device.base import Device
from relaxon_isa import ConfigError, DataError

__all__ = [
    "answers",
    "claim",
    "class_names",
    "features",
    "finite",
    "history",
    "index",
    "integers",
    "kind",
    "label",
    "listed",
    "naming",
    "one_hot",
    "owned",
    "plain",
    "reals",
    "signed",
    "unit",
    "unmasked",
    "weights",
    "whole",
    "within",
]

T = TypeVar("T")
MANY = 1 << 31
"""No class has as high a number."""


def array(name: str, values: Any) -> np.ndarray:
    """Numbers or text, of any of numpy's types."""
    if hasattr(values, "toarray"):
        raise DataError(f"{name} is a sparse matrix: give what its toarray() returns")
    unmasked(name, values)
    try:
        found = np.asarray(values.to_numpy() if hasattr(values, "to_numpy") else values)
        if found.dtype == object:  # columns of several types; text, as pandas keeps it
            text = all(isinstance(v, str) for v in found.flat)
            plain = np.array(found.tolist())
            whole = plain.dtype.kind in "iub" and plain.shape == found.shape
            found = plain if whole else found.astype(str if text else np.float64)
        return found.astype(str) if found.dtype.kind == "S" else found
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{name}: no array of numbers or labels ({error})") from error


def reals(
    name: str, values: Any, shape: tuple[int, ...] | None = None, kind: DTypeLike = np.float64
) -> np.ndarray:
    """Finite real numbers, of that shape if one is given."""
    found = array(name, values)
    if found.dtype.kind not in "fiub":
        raise DataError(f"{name}: {found.dtype} given, real numbers wanted")
    if shape is not None and found.shape != shape:
        raise DataError(f"{name}: shape {found.shape} given, {shape} wanted")
    finite(name, found)
    with np.errstate(over="ignore"):
        short = found.astype(kind)
    if short.itemsize < found.itemsize and not np.isfinite(short).all():
        raise DataError(f"{name} reaches to {np.abs(found).max():g}: no {short.dtype} is as large")
    return short


def unmasked(name: str, values: Any) -> None:
    """Raise DataError for values that are masked: what is under a mask is no value."""
    if np.ma.is_masked(values):
        raise DataError(
            f"{name} has {np.ma.count_masked(values)} masked values: fill them in, or leave their "
            "rows or columns out"
        )


def finite(name: str, values: np.ndarray) -> None:
    """Raise DataError for NaN and infinities, and say where the first is."""
    if np.isfinite(values).all():
        return
    bad = np.argwhere(~np.isfinite(values))
    axes = "row ", "column ", *[""] * 3
    first = ", ".join(f"{axis}{i}" for axis, i in zip(axes, bad[0], strict=False))
    raise DataError(
        f"{name} has {len(bad)} values that are NaN or infinite, the first in {first or 'it'} "
        "(counted from 0): fill them in, or leave their rows or columns out"
    )


def integers(name: str, values: Any, shape: tuple[int, ...]) -> np.ndarray:
    """The machine's own integers, int64, as they are."""
    found = array(name, values)
    if found.dtype.kind not in "iub" or found.shape != shape:
        raise DataError(
            f"{name}: {found.dtype} of shape {found.shape} given, integers of shape {shape} wanted"
        )
    return signed(name, found)


def signed(name: str, found: np.ndarray) -> np.ndarray:
    """Integers as int64, none of them wrapped."""
    if found.dtype == np.uint64 and found.size and found.max() > np.iinfo(np.int64).max:
        raise DataError(f"{name}: {found.max()} is too large a number for 64 bits with a sign")
    return found.astype(np.int64)


def features(name: str, x: Any, width: int | None = None, *, octets: bool = False) -> np.ndarray:
    """Samples as float32, (samples, features): uint8 is divided by 255, unless ``octets`` are to
    stay; more axes are joined."""
    found = array(name, x)
    if found.ndim < 2:
        raise DataError(
            f"{name} is {found.dtype} of shape {found.shape}; wanted is (samples, features): one "
            "sample is x[None]"
        )
    if not found.size:
        raise DataError(f"{name} of shape {found.shape} holds nothing")
    if found.dtype == np.uint8:
        flat = found.reshape(len(found), -1)
        flat = unit(flat) if not octets else flat.copy() if flat.flags.writeable else flat
    else:
        flat = reals(name, found, kind=np.float32).reshape(len(found), -1)
    if width is not None and flat.shape[1] != width:
        raise DataError(f"{name} has {flat.shape[1]} features a sample, {width} wanted")
    return flat


def unit(x: np.ndarray) -> np.ndarray:
    """Features as float32: uint8 is divided by 255."""
    return x.astype(np.float32) / np.float32(255) if x.dtype == np.uint8 else x


def within(name: str, x: np.ndarray, bits: int) -> None:
    """Raise DataError for features that inputs of that many bits cannot carry."""
    if x.dtype == np.uint8:
        return  # 0 to 1, all of them
    low, top = (-2, 2) if bits == 16 else (0, 1)
    if x.size and (x.min() < low or x.max() > top or (bits == 16 and x.max() == top)):
        wide = "" if bits == 16 else ", or --input-bits 16 for -2 <= value < 2"
        raise DataError(
            f"{name} reaches from {x.min()!s} to {x.max()!s}, inputs of {bits} bits carry {low} to "
            f"{top}: --scale (load(..., scale=True)) maps each feature to 0 to 1, --scale 0,255 "
            f"all by one range{wide}; uint8 is taken as 0 to 255"
        )


ANSWERS = (
    "accepted are labels (whole numbers, booleans or text) of shape (samples,), and targets "
    "(real numbers) of shape (samples,) or (samples, outputs)"
)


def answers(
    name: str, y: Any, classes: Sequence | None = None, *, numbered: bool = False
) -> tuple[np.ndarray, tuple | None]:
    """What samples are to give: labels, int64 (samples,), or targets, float32 (samples, outputs).

    Labels are whole numbers, booleans or text, one a sample. What is not 0 to n - 1 is numbered
    from 0 in its order; what the labels were is the second value returned. ``classes``: those of
    another part of the data, which hold for this one too. ``numbered``: whole numbers are classes'
    numbers already.
    """
    found = array(name, y)
    if found.dtype.kind in "iubUS" and found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    if found.dtype.kind in ("f" if found.ndim == 1 else "fiub") and found.ndim in (1, 2):
        targets = reals(name, found, kind=np.float32)
        if found.ndim == 2 and not found.shape[1]:
            raise DataError(f"{name} of shape {found.shape} holds nothing; {ANSWERS}")
        return targets if found.ndim == 2 else targets[:, None], None
    if found.dtype.kind not in "iubUS" or found.ndim != 1:
        raise DataError(f"{name} is {found.dtype} of shape {found.shape}; {ANSWERS}")
    seen = np.unique(found).tolist() if classes is None else list(classes)
    plain = classes is None and found.dtype.kind in "iu"
    if plain and (numbered or seen == [*range(len(seen))]):
        return signed(name, found), None
    number = {value: i for i, value in enumerate(seen)}
    if unknown := [value for value in found.tolist() if value not in number]:
        raise DataError(
            f"{name}: label {unknown[0]!r} ({len(unknown)} such); the classes are "
            + ", ".join(map(repr, seen[:20]))
            + (", ..." if len(seen) > 20 else "")
        )
    return np.array([number[v] for v in found.tolist()], dtype=np.int64), tuple(seen)


def class_names(name: str, names: Any) -> tuple | None:
    """What classes are called, in their order: numbers, booleans or text, each once."""
    if names is None:
        return None
    found = array(f"{name}: names", names)
    if found.dtype.kind not in "iubU" or found.ndim != 1 or len(np.unique(found)) < found.size:
        raise DataError(
            f"{name}: names {names!r}: wanted are the labels of the classes in their order, each "
            "once, as ('cat', 'dog')"
        )
    return tuple(found.tolist())


def one_hot(y: np.ndarray) -> np.ndarray | None:
    """The labels of rows that are 1 in one place and 0 elsewhere, (samples, classes) of any type,
    as int64 (samples,); None if they are not that."""
    if y.ndim != 2 or y.shape[1] < 2 or not y.size or y.dtype.kind not in "fiub":
        return None
    fits = ((y == 0) | (y == 1)).all() and (y.sum(axis=1) == 1).all()
    return y.argmax(axis=1).astype(np.int64) if fits else None


def listed(name: str, values: Any) -> list:
    """What an iterable gives. Raises DataError for what is none."""
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise DataError(f"{name}: a list wanted, {type(values).__name__} given")
    return [*values]


def weights(
    matrices: Iterable[Any], shapes: Sequence[tuple[int, int]], *, raw: bool = False
) -> list[np.ndarray]:
    """Matrices of these shapes, bias last: real numbers, or the machine's integers."""
    given = listed("weights", matrices)
    made = [array(f"weights W{i}", w) for i, w in enumerate(given, start=1)]
    found = [w.shape for w in made]
    if found != [*shapes]:
        raise DataError(
            f"weights of shapes {found} given, {[*shapes]} wanted (the last column is the bias)"
        )
    check = integers if raw else reals
    return [check(f"weights W{i}", w, w.shape) for i, w in enumerate(made, start=1)]


@contextmanager
def naming(name: str) -> Iterator[None]:
    """A DataError about values says whose they are."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{name}: {error}") from error


def label(name: str, value: Any, classes: int) -> int:
    """The number of a class."""
    if not 0 <= value < classes:
        raise DataError(f"{name}: label {value} given, a label of 0 to {classes - 1} wanted")
    return int(value)


def whole(name: str, value: Any, low: int, high: int) -> int:
    """A whole number of any integer type. Raises ConfigError for others, and out of range."""
    try:
        number = operator.index(value)
    except TypeError:
        number = low - 1
    if not low <= number <= high:
        raise ConfigError(f"{name} = {value!r}: must be a whole number, {low} to {high}")
    return number


def index(name: str, value: Any) -> int:
    """A number of a layer and the like, of any integer type."""
    try:
        return operator.index(value)
    except TypeError:
        raise ConfigError(f"{name} {value!r}: must be a whole number") from None


def plain(value: Any) -> Any:
    """A setting as JSON has it: Python's own number for one of numpy's."""
    return value.item() if isinstance(value, np.generic) else value


def kind(name: str, value: Any, wanted: type[T], remedy: str) -> T:
    """What is handed in, if it is of that type. Raises ConfigError for others."""
    if not isinstance(value, wanted):
        raise ConfigError(
            f"{name}: a {wanted.__name__} wanted, {type(value).__name__} given: {remedy}"
        )
    return value


def history(entries: list) -> None:
    """Raise ValueError unless these are entries of `Trainer.history`, read from a file."""
    for entry in entries:
        tests = entry.get("test") if isinstance(entry, dict) else None
        if not isinstance(entry, dict) or not isinstance(tests, dict | None):
            raise ValueError(f"history: {entry!r}")
        named = [*entry.items(), *(tests or {}).items()]
        numbers = [value for name, value in named if name not in ("test", "weights")]
        if not {"epoch", "samples"} <= {*entry} or not all(isinstance(n, Real) for n in numbers):
            raise ValueError(f"history: {entry!r}")


def claim(device: Device, user: object) -> None:
    """What is in the device's memories is ``user``'s from now on."""
    device.user = user


def owned(device: Device, user: object) -> None:
    """Raise ConfigError unless the device's memories hold what ``user`` loaded."""
    if device.user is user:
        return
    raise ConfigError(
        "nothing was loaded yet: call start() or resume() first"
        if device.user is None
        else "another Trainer or Lab has loaded this device since: call start() or resume() again, "
        "or open a device for each"
    )
