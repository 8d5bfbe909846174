"""Seeds: every random test takes the fixture ``seed``, printed on failure, set by ``--seed``;
``--programs`` says how many random programs judge the golden model.

What tests share lies in the package ``support`` and, by hand, in ``vectors``."""

import os

import pytest

# As the command line sets it, and before numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=0, help="seed of the random tests")
    parser.addoption("--programs", type=int, default=40, help="random programs a golden machine")


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The run's seed; printed, so that a failure shows it."""
    value = request.config.getoption("--seed")
    print(f"seed {value} (set with --seed)")
    return value


@pytest.fixture
def programs(request: pytest.FixtureRequest) -> int:
    """How many random programs run on each of the golden model's machines."""
    return request.config.getoption("--programs")
