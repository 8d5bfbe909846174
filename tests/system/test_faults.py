"""Of the seeded faults, none gets past the random programs (`python tests/faults.py`)."""

import pytest

from faults import FAULTS, caught_at


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_caught(name, seed):
    assert caught_at(name, seed=seed), "no program differs: improve random_programs"
