"""Data sets, all in one shape, checked: `Dataset`; and the door to them, `load`.

Another package adds one by an entry point of the group ``relaxon.datasets``: a function of the
number of classes (or None) that returns a `Dataset`.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint, entry_points
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from relaxon_isa import ConfigError, DataError, install

from . import checks
from .rules.encoding import to_levels
from .sources import NAMED, PUBLISHED, Asked, Raw, called, read, split

__all__ = [
    "NAMED",
    "PUBLISHED",
    "TARGETS",
    "TASKS",
    "Dataset",
    "load",
    "range_of",
    "span_of",
]


PARTS = "train", "test"
TASKS = "classification", "regression"
TARGETS = (0.125, 0.875)
"""Outputs for the lowest and the highest target: a state at its bound, 0 or 1, learns nothing."""


DIGESTED = 1 << 10
"""Samples at a time."""


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
        the run's ``input_bits`` decide: 0 to 1, or with 16 bits -2 <= value < 2. One part may have
        no samples. What was given as uint8 is kept as that, a quarter of the memory, and divided
        whenever x_train or x_test is asked for: `held` gives it as it is.
    y_train, y_test
        Labels, int64 (samples,), 0 to ``classes`` - 1; or targets, float32 (samples, outputs).
        See `relaxon.checks.answers` for labels that are numbered; rows that are 1 in one place and
        0 elsewhere, in both parts, are labels. Without a training part y_test may be empty: samples
        to be answered; as targets they are of shape (0, outputs).
    classes
        How many classes there are, where more than the training labels show. None for targets.
    names
        What the labels were, in order, if they were not 0, 1, ...
    scale
        Lowest and highest value of each feature that x_train and x_test were scaled by.
    target_scale
        Lowest and highest value of each target, which became `TARGETS`.
    image
        Rows, columns and channels of what was given as (samples, rows, columns[, channels]).
    options
        What `load` was told besides classes, names and scales.

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
    target_scale: tuple[list[float], list[float]] | None = None
    image: tuple[int, int, int] | None = None
    options: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        names, fixed = checks.class_names(self.name, self.names), self.classes is not None
        classes = checks.whole("classes", self.classes, 1, checks.MANY) if fixed else None
        if names and classes not in (None, len(names)):
            raise DataError(f"{self.name}: {len(names)} names of {classes} classes")
        arrays = {
            key: checks.array(f"{self.name}: {key}", getattr(self, key))
            for key in (f"{which}_{part}" for part in PARTS for which in "xy")
        }
        filled = [part for part in PARTS if arrays[f"x_{part}"].size] or [*PARTS[:1]]
        for part in {*PARTS} - {*filled}:
            if arrays[f"y_{part}"].size:
                raise self._disagree(part, 0, len(arrays[f"y_{part}"]))
        answers, hot = self._labels([arrays[f"y_{part}"] for part in filled])
        values: dict = {}
        found = None  # what the labels of the first part were
        for part, y in zip(filled, answers, strict=True):
            where, first = f"{self.name}: {{}}_{part}", not values
            values[f"x_{part}"] = checks.features(
                where.format("x"), arrays[f"x_{part}"], octets=True
            )
            # With n classes, 1 to n are all of them.
            seen = np.unique(y) if fixed else y
            counted = fixed and not (
                len(seen) == classes and np.array_equal(seen, np.arange(1, len(seen) + 1))
            )
            known = found or (names if y.dtype.kind in "bU" else None)
            values[f"y_{part}"], more = checks.answers(
                where.format("y"), y, known, numbered=bool(names or hot) or counted or not first
            )
            if more and not (first or found or names):
                raise DataError(
                    f"{where.format('y')} has labels such as {more[0]!r}, y_{filled[0]} numbers: "
                    "one kind in both parts"
                )
            found = found or more
        names = names or found
        x, y = (values[f"{which}_{filled[0]}"] for which in "xy")
        for part in {*PARTS} - {*filled}:
            values |= {f"x_{part}": x[:0], f"y_{part}": y[:0]}
        shown = len(names) if names else hot or int(y.max(initial=0)) + 1
        classes = classes or checks.whole("classes", shown, 1, checks.MANY)
        values |= {"names": names, "classes": classes if y.ndim == 1 else None}
        if len(axes := arrays[f"x_{filled[0]}"].shape[1:]) in (2, 3):
            values["image"] = (*axes, 1)[:3]
        for part in ("x_train", "x_test"):
            object.__delattr__(self, part)  # `__getattr__` gives them
        values["_held"] = {part: values.pop(part) for part in ("x_train", "x_test")}
        for key, value in values.items():
            object.__setattr__(self, key, value)
        for part in PARTS:
            self._check(part, self.held(f"x_{part}"), getattr(self, f"y_{part}"))
        if self.held("x_test").shape[1:] != (self.features,):
            raise DataError(
                f"{self.name}: x_train has {self.features} features a sample, "
                f"x_test {self.held('x_test').shape[1]}"
            )
        if self.y_train.shape[1:] != self.y_test.shape[1:]:
            raise DataError(
                f"{self.name}: y_train has shape {self.y_train.shape}, y_test {self.y_test.shape}; "
                "both must be labels, or targets of the same width"
            )

    def __getattr__(self, name: str) -> np.ndarray:
        """x_train and x_test, from what is held."""
        if name not in ("x_train", "x_test"):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return checks.unit(self.held(name))

    def held(self, part: str) -> np.ndarray:
        """x_train or x_test as it is kept: float32, or uint8, which `checks.unit` divides."""
        return self.__dict__["_held"][part]

    def changed(self, **fields: Any) -> "Dataset":
        """As `dataclasses.replace`, which would make float32 of what is held."""
        return replace(self, **{**self.__dict__["_held"], **fields})

    @property
    def features(self) -> int:
        """Input values per sample."""
        return self.held("x_train").shape[1]

    @property
    def outputs(self) -> int:
        """Outputs that a network needs: classes, or values per target."""
        return self.y_train.shape[1] if self.classes is None else self.classes

    @property
    def digest(self) -> str:
        """16 hex digits over all samples: equal means the same data in the same order."""
        digest = hashlib.sha256()
        for array in (self.held("x_train"), self.y_train, self.held("x_test"), self.y_test):
            digest.update(f"{checks.unit(array[:1]).dtype.str}{array.shape}".encode())
            for start in range(0, len(array), DIGESTED):
                some = checks.unit(array[start : start + DIGESTED])
                digest.update(np.ascontiguousarray(some).data)
        return digest.hexdigest()[:16]

    def named(self, labels: np.ndarray) -> np.ndarray:
        """Labels as they were before they were numbered."""
        return labels if self.names is None else np.array(self.names)[labels]

    def scaled(self, x: np.ndarray) -> np.ndarray:
        """Features of other samples, scaled as these were; what is beyond is cut off."""
        return x if self.scale is None else rescale(x, *self.scale)

    def unscaled(self, y: np.ndarray) -> np.ndarray:
        """Targets, or outputs that stand for them, as they were before they were scaled."""
        if self.target_scale is None:
            return y
        low, high = map(np.asarray, self.target_scale)
        return low + (y - TARGETS[0]) / (TARGETS[1] - TARGETS[0]) * span_of(low, high)

    def _labels(self, parts: list[np.ndarray]) -> tuple[list[np.ndarray], int]:
        """Each part's y, as labels if all rows are one-hot; and of how many classes, or 0."""
        labels = [found for found in map(checks.one_hot, parts) if found is not None]
        widths = {y.shape[1:] for y in parts}
        if len(widths) > 1 or len(labels) < len(parts):
            return parts, 0
        return labels, widths.pop()[0]

    def _disagree(self, part: str, samples: int, answers: int) -> DataError:
        return DataError(f"{self.name}: {samples} samples in x_{part}, {answers} in y_{part}")

    def _check(self, part: str, x: np.ndarray, y: np.ndarray) -> None:
        unknown = part == "test" and not len(y) and not len(self.held("x_train"))
        if len(x) != len(y) and not unknown:
            raise self._disagree(part, len(x), len(y))
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


def span_of(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Widths of ranges; 1 where the range is a point."""
    return np.where(high > low, high - low, 1)


def range_of(name: str, scale: Any, width: int) -> list[np.ndarray]:
    """Lowest and highest value of each of ``width`` columns. Raises DataError for others."""
    try:
        low, high = (checks.reals(name, bound) for bound in scale)
        bounds = [np.broadcast_to(bound, width) for bound in (low, high)]
    except (TypeError, ValueError):
        sizes = [np.size(bound) for bound in scale] if np.iterable(scale) else [1]
        raise DataError(
            f"{name} of {' and '.join(map(str, sizes))} values, the data has {width}: wanted are "
            f"the lowest and the highest value, numbers or {width} of them each"
        ) from None
    if (low > high).any() or (low.ndim == 0 and low == high):
        raise DataError(f"{name} from {scale[0]} to {scale[1]}: the lowest value first")
    return bounds


def rescale(x: np.ndarray, low: ArrayLike, high: ArrayLike) -> np.ndarray:
    """Each feature from its range to 0 to 1, float32; 0 where the range is a point."""
    low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
    return np.clip((x - low) / span_of(low, high), 0, 1).astype(np.float32)


def load(
    source: Any,
    *,
    target: Any = None,
    columns: Sequence | None = None,
    keys: Sequence[str] | None = None,
    task: str | None = None,
    classes: int | None = None,
    names: Sequence | None = None,
    resize: str | None = None,
    scale: bool | Sequence = False,
    scale_targets: bool | Sequence = False,
    bits: int | None = None,
    test_fraction: float = 0.2,
    seed: int = 0,
    part: str = "split",
    labelled: bool | None = None,
) -> Dataset:
    """A data set by name, path, or of an object.

    Parameters
    ----------
    source
        * ``digits`` (8 x 8, 1,437 to train and 360 to test), ``iris`` (4 measures scaled to [0, 1]
          and what they lack of 1: 8 inputs; 100 to train and 50 to test); both need scikit-learn.
        * ``mnist``, ``fashion-mnist``, ``kmnist``, ``emnist-balanced`` (``-letters``, ``-digits``,
          ``-byclass``, ``-bymerge``, ``-mnist``), ``cifar-10``: their published files, looked for
          in this folder, in those that the environment variable RELAXON_DATA names, in the user's
          folder of data and in /usr/share/datasets; ``FOLDER/mnist``: in that folder. The first
          three come from OpenML where they are not found and there is a network.
        * ``openml:NAME`` or ``openml:NUMBER``, by scikit-learn's fetch_openml.
        * a folder of IDX files (of any of their types), or of CIFAR-10's batches (binary or
          Python's); an .npz file; a .csv file, with or without a row of titles.
        * a DataFrame; arrays or frames, ``(x, y)`` or ``(x_train, y_train, x_test, y_test)``; what
          has a length and gives (image, label) by number, as data sets of torch and Hugging Face
          do, or a pair of these, to train and to test, or ``{"train": ..., "test": ...}``. Images
          of torch tensors are channels first, others channels last.
    target
        Of a table: the column of the label or target, by its title or number (-1, the last, by
        default), or several: a list; "4:7" is columns 4 to 6.
    columns
        Of a table: the columns of the features, in their order, said likewise; default: all but
        the target's.
    keys
        Of an .npz file: what x, y, or x_train, y_train, x_test, y_test are called in it. Of samples
        that are mappings: those of image and label.
    task
        "classification": y are labels, whole numbers of any type too; "regression": targets. None:
        as `relaxon.checks.answers` says; whole numbers of which most samples have another one are
        refused.
    classes
        How many classes the labels may name; without it, as many as the training labels show.
    names
        Classes in order, where they are not numbered from 0: those of the data trained on.
    resize
        "14x14": rows and columns that images get, each pixel the mean of what it covers (Pillow);
        "28x28:14x14" says what features that are no images yet have.
    scale
        Scale each feature of the training part to 0 to 1, and the test part likewise; or the lowest
        and highest value, numbers for all features or lists (`Dataset.scale` of the data trained
        on).
    scale_targets
        Scale each target so that the training part reaches from `TARGETS`' lower to their upper
        value; or the lowest and highest value (`Dataset.target_scale` of the data trained on).
    bits
        Round features to that many bits, 1 to 8, as inputs of that many bits do.
    test_fraction, seed
        How what has no test part is split: shuffled by the seed, the last part is the test.
    part
        "split"; "answer": samples for a trained network, the test part if the source has one, else
        all, in their order, and no training part; "all": all, likewise.
    labelled
        Of "answer" and "all": whether there are labels or targets; None: where they are found, in
        tables and .npz files.

    Labels are described in `relaxon.checks.answers`; rows that are 1 in one place and 0 elsewhere
    are labels, too. Raises DataError that says what was found and what is accepted.
    """
    seed = checks.whole("seed", seed, 0, (1 << 63) - 1)
    if part not in ("split", "answer", "all") or task not in (None, *TASKS):
        raise DataError(f"part {part!r} of 'split', 'answer', 'all'; task {task!r} of {TASKS}")
    if not isinstance(test_fraction, Real) or not 0 <= test_fraction <= 1:
        raise ConfigError(f"test_fraction = {test_fraction!r}: must be a number, 0 to 1")
    test_fraction = float(test_fraction)
    bits = None if bits is None else checks.whole("bits", bits, 1, 8)
    scale, scale_targets = (
        bool(asked) if asked is None or isinstance(asked, np.bool_) else asked
        for asked in (scale, scale_targets)
    )
    names = checks.class_names(called(source), names)
    asked = Asked(target, keys, columns, part == "split" or labelled)
    # Names say how many classes there are; labels that a number of classes comes with are counted.
    made, raw = _made(source, asked, task, None if names else classes, test_fraction, seed, part)
    if names and names != made.names and not len(made.y_train) + len(made.y_test):
        made = replace(made, names=names, classes=len(names), y_test=np.empty(0, np.int64))
    elif names and names != made.names:
        y = (
            checks.answers(made.name, made.named(y), names)[0] for y in (made.y_train, made.y_test)
        )
        made = made.changed(y_train=next(y), y_test=next(y), names=names, classes=len(names))
    if resize is not None:
        made = _resized(made, resize)
    if scale is not False:
        made = _scaled(made, scale)
    if scale_targets is not False:
        made = _scaled_targets(made, scale_targets)
    if bits is not None:
        made = _rounded(made, bits)
    given = {
        "target": list(raw.target) if raw and raw.target else target,
        "columns": list(raw.columns) if raw and raw.columns else columns,
        "keys": keys,
        "task": task,
        "resize": resize,
        "bits": bits,
    }
    options = {name: value for name, value in given.items() if value is not None}
    if (test_fraction, seed) != (0.2, 0):
        options |= {"test_fraction": test_fraction, "seed": seed}
    return made.changed(options=options)


def _made(
    source: Any,
    asked: Asked,
    task: str | None,
    classes: int | None,
    test_fraction: float,
    seed: int,
    part: str,
) -> tuple[Dataset, Raw | None]:
    """And what was read, unless another package made it."""
    if isinstance(source, str) and source not in NAMED:
        for point in entry_points(group="relaxon.datasets", name=source):
            made, raw = _registered(point)(classes), None
            return (_whole(made) if part == "all" else made), raw
    raw = read(source, asked)
    name = called(source)
    if raw.names and classes is None:
        classes = len(raw.names)
    if raw.test:
        if not np.size(raw.train[0]):
            raise DataError(f"{name}: x_train of shape {np.shape(raw.train[0])} holds nothing")
        pairs = [(x, _as_task(name, y, task)) for x, y in (raw.train, raw.test)]
        made = Dataset(name, *pairs[0], *pairs[1], classes=classes, names=raw.names)
        return (_whole(made) if part == "all" else made), raw
    x, y = (checks.array(f"{name}: {which}", v) for which, v in zip("xy", raw.train, strict=True))
    names, known = raw.names, y.size or not x.size
    if known:
        y = _as_task(name, y, task)
        if y.ndim == 1 and y.dtype.kind in "iubUS" and not (names or classes):
            _refuse_unclear(name, y, task)
            y, names = checks.answers(f"{name}: y", y)
            classes = len(names) if names else None
    if x.dtype.kind == "f":  # where it stands in the source
        checks.finite(f"{name}: x", x)
    if part == "split":
        train, test = split(name, (x, y), test_fraction, seed)
    else:
        empty = np.empty(0, np.int64) if classes else np.empty((0, 1))
        train, test = (x[:0], y[:0] if known else empty), (x, y if known else empty)
    return Dataset(name, *train, *test, classes=classes, names=names), raw


def _as_task(name: str, y: Any, task: str | None) -> np.ndarray:
    """Labels or targets in a type that says which of the two they are."""
    found = checks.array(f"{name}: y", y)
    if task == "regression":
        return checks.reals(f"{name}: y", found)
    if task == "classification" and found.dtype.kind == "f" and found.ndim == 1:
        numbers = checks.reals(f"{name}: y", found)
        if not np.array_equal(numbers, np.rint(numbers)):
            raise DataError(
                f"{name}: y has numbers such as {numbers[numbers % 1 != 0][0]:g}: {TARGET}"
            )
        return numbers.astype(np.int64)
    several = found.ndim == 2 and found.shape[1] > 1
    if task == "classification" and several and checks.one_hot(found) is None:
        raise DataError(f"{name}: y has {found.shape[1]} columns of numbers: {TARGET}")
    return found


TARGET = "no labels, but targets: leave --task classification out"
FEW = 5
"""Samples a label, below which whole numbers may be meant as targets."""


def _refuse_unclear(name: str, y: np.ndarray, task: str | None) -> None:
    count = len(np.unique(y))
    if task is None and y.dtype.kind in "iu" and count > 20 and len(y) < FEW * count:
        raise DataError(
            f"{name}: y has {count} different whole numbers in {len(y)} samples: --task regression "
            "takes them as targets, --task classification as labels (task= in load)"
        )


def _whole(data: Dataset) -> Dataset:
    """All samples as the test part."""
    x = np.concatenate([data.held(f"x_{part}") for part in PARTS])
    y = np.concatenate([getattr(data, f"y_{part}") for part in PARTS])
    return replace(data, x_train=x[:0], y_train=y[:0], x_test=x, y_test=y)


def _registered(point: EntryPoint) -> Callable[[int | None], Dataset]:
    """What an entry point of another package names. Raises DataError if that cannot be imported."""
    try:
        return point.load()
    except Exception as error:
        raise DataError(
            f"data set {point.name}: its package cannot give {point.value} "
            f"({type(error).__name__}: {error})"
        ) from error


# What is done to features -------------------------------------------------------------------------


def _scaled(data: Dataset, scale: Any) -> Dataset:
    x = data.x_train
    ends = (x.min(axis=0), x.max(axis=0)) if scale is True else scale
    low, high = range_of(f"{data.name}: scale", ends, data.features)
    return replace(
        data,
        x_train=rescale(x, low, high),
        x_test=rescale(data.x_test, low, high),
        scale=(np.asarray(low).tolist(), np.asarray(high).tolist()),
    )


def _scaled_targets(data: Dataset, scale: Any) -> Dataset:
    y = data.y_train
    if data.classes is not None:
        raise DataError(f"{data.name} has labels, --scale-targets is about targets: leave it out")
    if scale is True and not len(y):
        raise DataError(f"{data.name}: targets are scaled by those trained on, which are not here")
    ends = (y.min(axis=0), y.max(axis=0)) if scale is True else scale
    low, high = range_of(f"{data.name}: scale_targets", ends, data.outputs)
    factor = (TARGETS[1] - TARGETS[0]) / span_of(low, high)
    parts = (
        (TARGETS[0] + (y - low) * factor).astype(np.float32) if len(y) else y
        for y in (data.y_train, data.y_test)
    )
    return data.changed(
        y_train=next(parts),
        y_test=next(parts),
        target_scale=(low.tolist(), high.tolist()),
    )


def _rounded(data: Dataset, bits: int) -> Dataset:
    for part in ("x_train", "x_test"):
        checks.within(f"{data.name}: {part}", getattr(data, part), 8)
    x_train, x_test = (
        (to_levels(x, bits) / (1 << bits)).astype(np.float32) for x in (data.x_train, data.x_test)
    )
    return replace(data, x_train=x_train, x_test=x_test)


def _resized(data: Dataset, resize: str) -> Dataset:
    found = re.fullmatch(r"(?:(\d+)x(\d+):)?(\d+)x(\d+)", str(resize))
    if not found or not 0 < int(found[3]) * int(found[4]) <= 1 << 20:
        raise DataError(
            f"resize {resize!r}: write rows and columns, as 14x14 or 28x28:14x14, a million pixels "
            "at most"
        )
    rows, columns, channels = data.image or (0, 0, 0)
    if found[1]:
        rows, columns = int(found[1]), int(found[2])
        channels = data.features // max(1, rows * columns)
    if not rows or rows * columns * channels != data.features:
        raise DataError(
            f"{data.name}: {data.features} features a sample are no images"
            + (f" of {rows} x {columns}" if rows else "")
            + f": say what they are, as --resize 28x28:{found[3]}x{found[4]}"
        )
    size = int(found[3]), int(found[4])
    x_train, x_test = (
        _shrunk(x.reshape(-1, rows, columns, channels), size) for x in (data.x_train, data.x_test)
    )
    return replace(data, x_train=x_train, x_test=x_test)


def _shrunk(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    try:
        from PIL import Image
    except ImportError as error:
        raise DataError(f"resizing needs Pillow: {install('data')}") from error
    planes = images.transpose(0, 3, 1, 2)
    made = np.zeros((*planes.shape[:2], *size), dtype=np.float32)
    for i, j in np.ndindex(planes.shape[:2]):
        plane = Image.fromarray(planes[i, j])
        made[i, j] = np.asarray(plane.resize((size[1], size[0]), Image.Resampling.BOX))
    return made.transpose(0, 2, 3, 1)
