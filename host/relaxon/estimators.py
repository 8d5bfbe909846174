"""scikit-learn estimators: `RelaxonClassifier` and `RelaxonRegressor`.

They go where scikit-learn's own go: pipelines, grid search, cross-validation, learning curves::

    from relaxon.estimators import RelaxonClassifier

    model = RelaxonClassifier(hidden_layers=(32,), epochs=10, random_state=0)
    model.fit(x_train, y_train).score(x_test, y_test)

A fitted estimator holds the run as a `relaxon.checkpoint.Checkpoint`, no device: that is opened
for each call and closed after it, so estimators are copied, pickled and sent to other processes.
Needs scikit-learn 1.6 or newer.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from relaxon_isa import ConfigError, ToolError, install

from . import checks
from .backends import open_device
from .callbacks import make_callback
from .checkpoint import Checkpoint
from .datasets import TARGETS, Dataset, range_of, span_of
from .network import Conv, Image, Network
from .rules import settings_for
from .runs import choose_preset, refuse_other_preset, spec_of
from .training import Trainer, TrainSettings, training_for

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data
except ImportError as error:
    raise ToolError(f"estimators need scikit-learn 1.6 or newer: {install('data')}") from error

__all__ = ["RelaxonClassifier", "RelaxonRegressor"]

LOSS_SAMPLES = 1000
"""Training samples that the loss is taken of, at most."""


class RelaxonEstimator(BaseEstimator):
    """What both estimators share.

    Parameters
    ----------
    hidden_layers
        The hidden layers, input side first: sizes as 32, convolutions as "12c6s2p1" (12 channels,
        kernel 6 x 6, stride 2, padding 1) or `relaxon.network.Conv`, as in `relaxon train
        --layers`. Inputs and outputs follow from the data.
    input_shape
        Height, width and channels of the image that a sample's features are, row by row, channels
        last, such as (28, 28, 1) or "28x28x1": what convolutions need. None: features in a row.
    rule
        Learning rule (`relaxon rules`), or one of your own, "file.py:Class".
    epochs
        Passes over the data that one ``fit`` makes.
    beta, rate_shifts, objective
        As in `relaxon.rules.settings.RuleSettings`; None: the rule's own.
    settings
        Other fields of `RuleSettings`, by name.
    rate_halvings, init_gain, shuffle, order
        As in `relaxon.training.TrainSettings`; ``rate_halvings`` None: 2, and 4 with convolutions.
    feature_range
        Lowest and highest value of the features, each a number or one a feature: they are mapped
        to 0 and 1, and what is beyond is cut off. None: those of the data of the first ``fit`` or
        ``partial_fit``.
    random_state
        A whole number is the seed as in `relaxon train --seed`.
    warm_start
        ``fit`` goes on from the weights that are there, in ``epochs`` more.
    backend
        "golden", "virtual", or the name of a serial port.
    engine
        Of the golden model: "numpy" or "compiled"; None: the faster one that there is.
    callbacks
        Told of the training: `relaxon.callbacks.Callback`, or texts as ``csv:log.csv``. One that
        raises ends ``fit`` after that epoch, whose weights are kept.
    preset
        Machine that golden and virtual are built as, by the name of a preset or of a TOML file
        (`relaxon.machines`); None: as `relaxon train` chooses it.

    Attributes
    ----------
    checkpoint_
        The run: integer weights, counters, settings, history. ``checkpoint_.save(path)`` writes
        what ``relaxon infer --weights`` reads.
    n_iter_, loss_curve_
        Epochs so far, and after each the loss: the mean squared error of the outputs, as they are
        in the machine, on the training samples, at most `LOSS_SAMPLES` evenly spread ones.
    data_min_, data_max_
        The feature range.
    n_features_in_, feature_names_in_
        As in scikit-learn.
    """

    checkpoint_: Checkpoint
    loss_curve_: list[float]

    _CHECKS: ClassVar[dict[str, bool]]
    """What `validate_data` asks of the answers."""

    def __init__(
        self,
        hidden_layers: Sequence[int | str | Conv] = (32,),
        *,
        input_shape: Sequence[int] | str | None = None,
        rule: str = "ep-centered",
        epochs: int = 10,
        beta: float | None = None,
        rate_shifts: Sequence[int] | None = None,
        objective: str | None = None,
        settings: dict | None = None,
        rate_halvings: int | None = None,
        init_gain: float = 0.5,
        shuffle: bool = True,
        order: str = "generator",
        feature_range: tuple | None = None,
        random_state: Any = None,
        warm_start: bool = False,
        backend: str = "golden",
        engine: str | None = None,
        preset: str | None = None,
        callbacks: Sequence | None = None,
    ) -> None:
        self.hidden_layers = hidden_layers
        self.input_shape = input_shape
        self.rule = rule
        self.epochs = epochs
        self.beta = beta
        self.rate_shifts = rate_shifts
        self.objective = objective
        self.settings = settings
        self.rate_halvings = rate_halvings
        self.init_gain = init_gain
        self.shuffle = shuffle
        self.order = order
        self.feature_range = feature_range
        self.random_state = random_state
        self.warm_start = warm_start
        self.backend = backend
        self.engine = engine
        self.preset = preset
        self.callbacks = callbacks

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Train for ``epochs`` on X (samples, features) and y (samples,)."""
        fresh = not (self.warm_start and hasattr(self, "checkpoint_"))
        x, answers = self._take(X, y, fresh)
        return self._train(x, answers, self.epochs, fresh, self.rate_halvings)

    def _take(
        self, X: ArrayLike, y: ArrayLike, fresh: bool, classes: ArrayLike | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Samples as the machine takes them; a ``fresh`` run learns ranges and, unless they are
        given, classes."""
        x, answers = self._validated(X, y, reset=fresh, **self._CHECKS)
        answers = self._answers(answers, fresh, classes)
        if fresh:
            ends = self.feature_range
            self.data_min_, self.data_max_ = (
                (x.min(axis=0), x.max(axis=0))
                if ends is None
                else map(np.array, range_of("feature_range", ends, x.shape[1]))
            )
        return self._scaled(x), answers

    def _validated(self, *arrays: ArrayLike, **how: bool) -> Any:
        """`validate_data`, which is typed by its defaults."""
        for name, values in zip("Xy", arrays, strict=False):
            checks.unmasked(name, values)
        validate: Any = validate_data
        return validate(self, *arrays, dtype=np.float64, **how)

    def _scaled(self, x: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):  # features about the largest number that there is
            span = self.data_max_ - self.data_min_
            part = (x - self.data_min_) / np.where(span > 0, span, 1)
        return np.clip(part, 0, 1).astype(np.float32)

    def _train(
        self, x: np.ndarray, y: np.ndarray, epochs: int, fresh: bool, halvings: int | None
    ) -> Self:
        saved, losses = (None, []) if fresh else (self.checkpoint_, self.loss_curve_)
        if fresh:
            drawn = self.random_state
            if not isinstance(drawn, int | np.integer):
                drawn = check_random_state(drawn).randint(1 << 31)
            self.seed_ = int(drawn)
        data = self._dataset(x, y)
        network = self._network(data)
        checks.kind("settings", self.settings or {}, Mapping, "fields of RuleSettings by name")
        rule = {"beta": self.beta, "rate_shifts": self.rate_shifts, "objective": self.objective}
        chosen = {**rule, **(self.settings or {})}.items()
        given: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in chosen if v is not None
        }
        settings = training_for(
            network,
            settings_for(self.rule, network, **given),
            epochs=(saved.epoch if saved else 0) + checks.whole("epochs", epochs, 1, 100_000),
            seed=self.seed_,
            rate_halvings=halvings,
            init_gain=self.init_gain,
            shuffle=self.shuffle,
            order=self.order,
        )
        with self._open(network, data, settings, saved) as trainer:
            if saved:
                trainer.resume(saved)
            else:
                trainer.start()
            trainer.told.callbacks += [
                make_callback(one) if isinstance(one, str) else one for one in self.callbacks or ()
            ]
            new = []
            try:
                for _ in trainer.epochs(evaluate=False):
                    new.append(trainer.evaluate(loss=True)["mse"])
            finally:
                if new and sys.exc_info()[1] in (None, trainer.told.failed):
                    spec = spec_of("arrays", data, network, settings)
                    self.checkpoint_ = trainer.checkpoint(spec)
                    self.loss_curve_ = [*losses, *new]
                    self.n_iter_ = self.checkpoint_.epoch
        return self

    def _network(self, data: Dataset) -> Network:
        """Raises ConfigError where layers, image and data do not go together."""
        shape, hidden = self.input_shape, self.hidden_layers
        if isinstance(hidden, str) or not isinstance(hidden, Sequence | np.ndarray):
            raise ConfigError(f"hidden_layers = {hidden!r}: give a list of layers, as (32,)")
        if shape is None:
            if any(isinstance(n, str | Conv) for n in hidden):
                raise ConfigError(
                    f"hidden_layers = {hidden!r} without input_shape: convolutions need the "
                    "image's height, width and channels, as input_shape=(28, 28, 1)"
                )
            return Network.parse((data.features, *hidden, data.outputs))
        sizes = shape.split("x") if isinstance(shape, str) else shape
        parts = [*sizes] if isinstance(sizes, Iterable) else []
        if len(parts) != 3 or not all(str(n).strip().isdecimal() for n in parts):
            raise ConfigError(
                f"input_shape = {shape!r}: give height, width and channels, as (28, 28, 1)"
            )
        image = Image(*map(int, parts))
        if (pixels := image.height * image.width * image.channels) != data.features:
            raise ConfigError(
                f"input_shape = {shape!r}: such an image has {pixels} values, a sample has "
                f"{data.features} features"
            )
        return Network.parse((image, *hidden, data.outputs))

    @contextmanager
    def _open(
        self, network: Network, data: Dataset, settings: TrainSettings, saved: Checkpoint | None
    ) -> Iterator[Trainer]:
        """A trainer on the device, which is closed after it."""
        chosen = choose_preset(self.backend, self.preset, network, data, settings, saved)
        options = {} if self.engine is None else {"engine": self.engine}
        with open_device(self.backend, chosen, **options) as device:
            refuse_other_preset(self.backend, self.preset, device.config)
            yield Trainer(device, network, data, settings)

    @property
    def _example(self) -> np.ndarray:
        """An answer as `_answers` returns them."""
        raise NotImplementedError

    def _answers(self, y: np.ndarray, fresh: bool, classes: ArrayLike | None) -> np.ndarray:
        """Answers as `Dataset` takes them; a ``fresh`` run learns what there are."""
        raise NotImplementedError

    def _dataset(self, x: np.ndarray, y: np.ndarray) -> Dataset:
        raise NotImplementedError

    def _run(self, X: ArrayLike, *, outputs: bool) -> np.ndarray:
        """The class's number (n,), or the outputs (n, k), of each sample."""
        check_is_fitted(self, "checkpoint_")
        x = self._scaled(self._validated(X, reset=False))
        saved = self.checkpoint_
        settings = TrainSettings.from_json(saved.spec["settings"])
        some = self._dataset(x[:1], self._example)
        with self._open(saved.network, some, settings, saved) as trainer:
            trainer.resume(saved)
            return trainer.predict(x, outputs=outputs)


class RelaxonClassifier(ClassifierMixin, RelaxonEstimator):
    """Classes, by the output that is highest when the network has settled.

    Parameters and attributes are those of `RelaxonEstimator`, and ``classes_``. How many answers
    were right while training, ``checkpoint_.history`` says.
    """

    _CHECKS: ClassVar = {}

    def partial_fit(self, X: ArrayLike, y: ArrayLike, classes: ArrayLike | None = None) -> Self:
        """Train on X and y once, without a schedule of rates.

        ``classes``: all that there will be; needed in the first call, which also learns the range
        of the features unless ``feature_range`` says it.
        """
        fresh = not hasattr(self, "checkpoint_")
        if fresh and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit")
        x, answers = self._take(X, y, fresh, classes)
        return self._train(x, answers, 1, fresh, 0)

    def predict(self, X: ArrayLike) -> np.ndarray:
        """The class of each sample, (samples,)."""
        found = self._run(X, outputs=False)
        return self.classes_[found]

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """The outputs, (samples, classes); of two classes the second's minus the first's,
        (samples,)."""
        outputs = self._run(X, outputs=True)
        return outputs[:, 1] - outputs[:, 0] if outputs.shape[1] == 2 else outputs

    @property
    def _example(self) -> np.ndarray:
        return np.zeros(1, np.int64)

    def _answers(self, y: np.ndarray, fresh: bool, classes: ArrayLike | None) -> np.ndarray:
        check_classification_targets(y)
        known = np.unique(y if classes is None else np.asarray(classes))
        if fresh:
            self.classes_ = known
        elif classes is not None and not np.array_equal(known, self.classes_):
            raise ValueError(f"classes {known} given, before they were {self.classes_}")
        if len(unknown := np.setdiff1d(y, self.classes_)):
            raise ValueError(f"labels {unknown} are none of the classes {self.classes_}")
        return np.searchsorted(self.classes_, y)

    def _dataset(self, x: np.ndarray, y: np.ndarray) -> Dataset:
        some = slice(None, None, -(-len(x) // LOSS_SAMPLES))
        return Dataset("arrays", x, y, x[some], y[some], classes=len(self.classes_))


class RelaxonRegressor(RegressorMixin, RelaxonEstimator):
    """Real targets, one or several a sample: the outputs when the network has settled.

    The range of the targets of the first ``fit`` or ``partial_fit`` is mapped to `TARGETS`; what
    outputs of 0 to 1 do not reach is cut off. Parameters and attributes are those of
    `RelaxonEstimator`, and ``target_min_``, ``target_max_``.
    """

    _CHECKS: ClassVar = {"multi_output": True, "y_numeric": True}

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def partial_fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Train on X and y once, without a schedule of rates. The first call learns the ranges of
        features (unless ``feature_range`` says it) and targets."""
        fresh = not hasattr(self, "checkpoint_")
        x, answers = self._take(X, y, fresh)
        return self._train(x, answers, 1, fresh, 0)

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Targets, (samples,) or (samples, outputs) as those trained on."""
        outputs = self._run(X, outputs=True)
        low, high = TARGETS
        found = self.target_min_ + (outputs - low) / (high - low) * self._span
        return found if self.target_min_.ndim else found[:, 0]

    @property
    def _span(self) -> np.ndarray:
        return span_of(self.target_min_, self.target_max_)

    @property
    def _example(self) -> np.ndarray:
        return np.zeros((1, self.target_min_.size), np.float32)

    def _answers(self, y: np.ndarray, fresh: bool, classes: ArrayLike | None) -> np.ndarray:
        y = checks.reals("y", y)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if fresh:
            self.target_min_, self.target_max_ = y.min(axis=0), y.max(axis=0)
        if y.shape[1:] != self.target_min_.shape:
            raise ValueError(f"y of shape {y.shape}: the targets before had another width")
        low, high = TARGETS
        scaled = low + (y - self.target_min_) / self._span * (high - low)
        return np.clip(scaled, 0, 1).astype(np.float32).reshape(len(y), -1)

    def _dataset(self, x: np.ndarray, y: np.ndarray) -> Dataset:
        some = slice(None, None, -(-len(x) // LOSS_SAMPLES))
        return Dataset("arrays", x, y, x[some], y[some])
