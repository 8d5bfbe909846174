"""Of the seeded faults, none gets past the random programs: one of the gateware and one of the
compiled engine a day, and all of them by `python tests/faults.py`."""

import pytest

from faults import ENGINE_FAULTS, FAST_FAULTS, FAULTS, KNOWN, caught_at, faulty_source


@pytest.mark.parametrize("name", [*FAULTS, *FAST_FAULTS, *ENGINE_FAULTS])
def test_fault_is_still_one_of_this_source(name):
    compile(faulty_source(KNOWN[name]), name, "exec")


def test_a_fault_of_the_day_is_caught(day, seed):
    name = day.choice([*FAULTS, *FAST_FAULTS])
    assert caught_at(name, seed=seed), f"{name}: no program differs: improve random_programs"


def test_an_engine_fault_of_the_day_is_caught(day, seed):
    pytest.importorskip("numba", reason="numba is not installed")
    name = day.choice(list(ENGINE_FAULTS))
    assert caught_at(name, seed=seed), f"{name}: no program differs: improve random_programs"
