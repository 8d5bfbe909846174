"""Changes of the kinds that slipped through once do not any more: a few each day, and all of them
by `python tests/holes.py`."""

import pytest

from faults import faulty_source
from holes import HOLES, KINDS, is_caught

QUICK = [name for name, hole in HOLES.items() if not hole.slow]


def test_every_kind_has_a_change():
    assert {hole.kind for hole in HOLES.values()} == set(KINDS)


@pytest.mark.parametrize("name", HOLES)
def test_change_is_still_one_of_this_source(name):
    compile(faulty_source(HOLES[name].fault), name, "exec")


def test_changes_of_the_day_are_caught(day):
    for name in day.sample(QUICK, 2):
        assert is_caught(HOLES[name]), f"{name}: {HOLES[name].test} does not notice"


def test_a_change_of_nothing_is_not_caught():
    hole = HOLES["what is far behind is taken for a gap"]
    same = hole.fault._replace(wrong="if ahead > 0x7FFF:")
    assert not is_caught(hole._replace(fault=same))
