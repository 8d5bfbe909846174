"""Of the seeded faults, none gets past the random programs: a few each day, and all of them by
`python tests/faults.py`."""

import pytest

from faults import FAULTS, caught_at, faulty_source


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_still_one_of_this_gateware(name):
    compile(faulty_source(name), name, "exec")


def test_faults_of_the_day_are_caught(day, seed):
    for name in day.sample(list(FAULTS), 2):
        assert caught_at(name, seed=seed), f"{name}: no program differs: improve random_programs"
