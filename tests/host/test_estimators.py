"""scikit-learn's own checks of the estimators, and what they do not ask."""

import pickle
import warnings
from contextlib import ExitStack
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from relaxon.backends import virtual_board
from relaxon.estimators import RelaxonClassifier, RelaxonRegressor
from relaxon.network import Conv
from relaxon_isa import ConfigError, DataError, preset

SMALL: dict[str, Any] = {
    "hidden_layers": (8,),
    "epochs": 4,
    "rate_shifts": (3, 5),
    "random_state": 0,
}
X: Any
Y: Any
X, Y = load_iris(return_X_y=True)
NAMES: Any = np.array(["setosa", "versicolor", "virginica"])[Y]


def classifier(**changes: Any) -> RelaxonClassifier:
    return RelaxonClassifier(**SMALL | changes)


def regressor(**changes: Any) -> RelaxonRegressor:
    return RelaxonRegressor(**SMALL | changes)


# No check is expected to fail.
@parametrize_with_checks([classifier(), regressor()])
def test_scikit_learn_checks(estimator, check) -> None:
    check(estimator)


def copied(model: RelaxonClassifier) -> Any:
    """An estimator of the same parameters that is not fitted; `clone`'s type is too wide."""
    return clone(model)


def same(one, other) -> bool:
    """Whether two fitted estimators hold the same bits."""
    return all(map(np.array_equal, one.checkpoint_.weights, other.checkpoint_.weights))


@pytest.mark.parametrize("backend", ["virtual", "port"])
def test_a_board_learns_what_golden_learns(backend: str) -> None:
    """Few samples, all three classes: weights, keys, counters and outputs are golden's."""
    x, y = X[::10], NAMES[::10]
    golden = classifier(epochs=1, preset="default").fit(x, y)
    board = copied(golden).set_params(backend=backend)
    with ExitStack() as stack:
        if backend == "port":  # a board on a serial port, which brings its own machine
            port = stack.enter_context(virtual_board(preset("default"))).port
            board.set_params(backend=port, preset=None)
        board.fit(x, y)
        outputs = board.decision_function(x)
    assert same(golden, board)
    differing = set(golden.checkpoint_.registers.items()) ^ set(board.checkpoint_.registers.items())
    assert {name for name, _ in differing} <= {"WAIT_STALLS", "EMIT_STALLS"}  # the line's
    assert np.array_equal(golden.decision_function(x), outputs)
    assert golden.loss_curve_ == board.loss_curve_


def test_partial_fit_is_one_epoch_without_a_schedule() -> None:
    whole = classifier(epochs=2, rate_halvings=0).fit(X, NAMES)
    steps = classifier()
    for _ in range(2):
        steps.partial_fit(X, NAMES, classes=np.unique(NAMES))
    assert same(whole, steps)
    assert steps.n_iter_ == len(steps.loss_curve_) == 2
    with pytest.raises(ValueError, match="none of the classes"):
        steps.partial_fit(X[:2], ["setosa", "rose"])
    with pytest.raises(ValueError, match="first call"):
        classifier().partial_fit(X, Y)


def test_partial_fit_of_a_regressor_keeps_the_ranges_of_its_first_call() -> None:
    model = regressor().partial_fit(X[:, :3], X[:, 3])
    low, high = model.target_min_, model.target_max_
    model.partial_fit(X[:, :3], X[:, 3] * 100)
    assert (model.target_min_, model.target_max_) == (low, high) == (X[:, 3].min(), X[:, 3].max())


def test_warm_start_goes_on() -> None:
    """Two fits of two epochs end with the bits of one of four, if no rate changes."""
    whole = classifier(rate_halvings=0).fit(X, Y)
    steps = classifier(rate_halvings=0, epochs=2, warm_start=True).fit(X, Y).fit(X, Y)
    assert same(whole, steps)
    assert steps.n_iter_ == 4
    assert whole.loss_curve_ == steps.loss_curve_
    assert same(steps.set_params(warm_start=False).fit(X, Y), copied(steps).fit(X, Y))


def test_pickled_it_predicts_and_goes_on() -> None:
    model = classifier(epochs=2).fit(X, NAMES)
    copy = pickle.loads(pickle.dumps(model))
    assert np.array_equal(copy.predict(X), model.predict(X))
    assert set(copy.predict(X)) <= set(NAMES)
    assert same(copy.partial_fit(X, NAMES), model.partial_fit(X, NAMES))


def test_settings_by_name_reach_the_rule() -> None:
    model = classifier(
        epochs=1, rule="pcn", beta=None, settings={"free_cap": 7, "input_bits": 4}
    ).fit(X, Y)
    rule = model.checkpoint_.spec["settings"]["rule"]
    assert (rule["name"], rule["free_cap"], rule["input_bits"]) == ("pcn", 7, 4)
    with pytest.raises((ConfigError, TypeError), match="free_caps"):
        classifier(settings={"free_caps": 7}).fit(X, Y)


def test_the_kind_of_order_reaches_the_run() -> None:
    runs = [classifier(epochs=1, order=order).fit(X, Y) for order in ("generator", "feistel")]
    assert [run.checkpoint_.spec["settings"]["order"] for run in runs] == ["generator", "feistel"]
    assert not same(*runs) and same(runs[0], classifier(epochs=1).fit(X, Y))
    with pytest.raises(ConfigError, match="must be 'generator' or 'feistel'"):
        classifier(order="sorted").fit(X, Y)


def test_features_beyond_their_range_are_cut_off() -> None:
    model = classifier(epochs=1, feature_range=(0, 8)).fit(X, Y)
    assert (model.data_min_ == 0).all() and (model.data_max_ == 8).all()
    assert np.array_equal(
        model.decision_function([[9, -1, 8, 0]]), model.decision_function([[8, 0, 8, 0]])
    )


def test_grid_search_in_processes() -> None:
    """In a pipeline, over a setting of the rule, two processes at a time."""
    steps = make_pipeline(StandardScaler(), classifier(epochs=12))
    grid = {"relaxonclassifier__beta": [0.25, 0.5]}
    search = GridSearchCV(steps, grid, cv=2, n_jobs=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # loky, of workers that ended
        search.fit(X, NAMES)
    assert search.best_score_ > 0.8
    assert search.predict(X[:3]).tolist() == ["setosa"] * 3


@pytest.mark.filterwarnings("default")  # of Dask's own
def test_grid_search_on_a_dask_cluster() -> None:
    """The workers of a cluster do what processes here do: the same scores, the same network."""
    distributed = pytest.importorskip("distributed")
    grid = {"beta": [0.25, 0.5], "hidden_layers": [(4,), (8,)]}

    def search(jobs: int) -> Any:
        return GridSearchCV(classifier(epochs=2), grid, cv=2, n_jobs=jobs).fit(X, NAMES)

    cluster = distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=None)
    with cluster, distributed.Client(cluster), joblib.parallel_config("dask"):
        there = search(-1)
    here = search(1)
    assert here.best_params_ == there.best_params_
    scores = "mean_test_score"
    assert here.cv_results_[scores].tolist() == there.cv_results_[scores].tolist()
    assert same(here.best_estimator_, there.best_estimator_)


def test_the_loss_is_the_outputs_squared_error() -> None:
    model = classifier(epochs=2).fit(X, NAMES)
    wanted = 0.75 * np.eye(3)[Y]
    error = np.mean((model.decision_function(X) - wanted) ** 2)
    assert model.loss_curve_[-1] == pytest.approx(error) and len(model.loss_curve_) == 2


# Images and frames ------------------------------------------------------------------------------

IMAGES: Any
DIGITS: Any
IMAGES, DIGITS = (part[:150] for part in load_digits(return_X_y=True))


def test_convolutions() -> None:
    """Written as for --layers, or as objects; the run says its network as the command does."""
    model = classifier(
        hidden_layers=("6c4s2", 20), input_shape=(8, 8, 1), epochs=3, rate_shifts=None
    ).fit(IMAGES, DIGITS)
    assert model.checkpoint_.spec["network"] == "8x8x1-6c4s2-20-10"
    assert model.score(IMAGES, DIGITS) > 0.5
    other = copied(model).set_params(hidden_layers=[Conv(6, 4, 2), 20], input_shape="8x8x1")
    assert same(model, other.fit(IMAGES, DIGITS))
    assert np.array_equal(pickle.loads(pickle.dumps(model)).predict(IMAGES), model.predict(IMAGES))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"hidden_layers": ("6c4s2",)}, "convolutions need the image's height, width"),
        ({"input_shape": (8, 8)}, "give height, width and channels, as"),
        ({"input_shape": (8, 8, 3)}, "such an image has 192 values, a sample has 64 features"),
        ({"hidden_layers": "32"}, "give a list of layers"),
        ({"hidden_layers": ("6c9",), "input_shape": (8, 8, 1)}, "its kernel is 1 to 8"),
    ],
)
def test_layers_that_do_not_go_with_the_data_are_refused(changes: dict, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        classifier(**{"rate_shifts": None} | changes).fit(IMAGES, DIGITS)


def test_features_are_scaled_inside() -> None:
    """Any positive scale and shift of a feature leads to the same bits."""
    plain = classifier(epochs=1).fit(X, Y)
    moved = classifier(epochs=1).fit(X * np.array([4, 0.5, 1, 256]) - 8, Y)
    assert same(plain, moved)
    assert np.array_equal(plain.predict(X), moved.predict(X * np.array([4, 0.5, 1, 256]) - 8))


def test_frames() -> None:
    """A DataFrame's names of columns are kept and asked for; labels may be a Series of texts."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=["sepal length", "sepal width", "length", "width"])
    labels = pandas.Series(NAMES, name="species")
    model: Any = classifier(epochs=1).fit(frame, labels)
    assert model.feature_names_in_.tolist() == frame.columns.tolist()
    plain = classifier(epochs=1).fit(X, NAMES)
    assert same(model, plain)
    assert model.predict(frame).tolist() == plain.predict(X).tolist()
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame.rename(columns={"width": "depth"}))
    assert np.isfinite(
        regressor(epochs=1).fit(frame[["length"]], frame["width"]).predict(frame[["length"]])
    ).all()


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (classifier(epochs="1"), "epochs = '1'"),
        (classifier(input_shape=5), "input_shape = 5"),
        (classifier(rule=None), "rule: a str wanted"),
        (classifier(settings=[1]), "settings: a Mapping wanted"),
        (classifier(feature_range=3), "feature_range of 1 values, the data has 4"),
        (classifier(feature_range=([0] * 5, [1] * 5)), "feature_range of 5 and 5 values"),
        (classifier(feature_range=(1, 0)), "the lowest value first"),
        (classifier(feature_range=(0, np.nan)), "feature_range has 1 values that are NaN"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_parameters_that_make_no_sense_are_named(model: RelaxonClassifier, says: str) -> None:
    with pytest.raises((ConfigError, DataError), match=says):
        model.fit(X, Y)


def test_what_is_masked_or_no_number_is_refused_and_yes_and_no_are_numbers() -> None:
    with pytest.raises(DataError, match="X has 600 masked values"):
        classifier().fit(np.ma.masked_all(X.shape), Y)
    with pytest.raises(DataError, match="y: <U10 given, real numbers wanted"):
        regressor().fit(X, NAMES)
    assert regressor(epochs=1).fit(X, Y > 0).predict(X[:2]).shape == (2,)
    assert same(
        classifier(epochs=1, feature_range=np.array([0, 8])).fit(X, Y),
        classifier(epochs=1, feature_range=(0, 8)).fit(X, Y),
    )
