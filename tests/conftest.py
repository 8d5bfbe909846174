"""Makes what tests share importable (``random_programs``, ``golden.naive``, ``vectors.*``), and
seeds: every random test takes the fixture ``seed``, printed on failure, set by ``--seed``."""

import os
import sys
from pathlib import Path

import pytest

# As the command line sets it, and before numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=0, help="seed of the random tests")


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The run's seed; printed, so that a failure shows it."""
    value = request.config.getoption("--seed")
    print(f"seed {value} (set with --seed)")
    return value
