"""Seeds: every random test takes the fixture ``seed``, printed on failure, set by ``--seed``.

What tests share lies in the package ``support`` and, by hand, in ``vectors``."""

import os

import pytest

# As the command line sets it, and before numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=0, help="seed of the random tests")


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The run's seed; printed, so that a failure shows it."""
    value = request.config.getoption("--seed")
    print(f"seed {value} (set with --seed)")
    return value
