"""Mutants of the day: nearly all of them are noticed. All over the machine: `tests/mutation.py`."""

import pytest

from mutation import MACHINES, judge_mutants
from source_mutation import survivors

COUNT = 60
LEAST = 42
"""Mutants that have to be noticed. About one in nine is not, for many change nothing; 42 of 60 are
more than four times the spread below that."""


@pytest.mark.long  # until its whole run has been seen to fit the budget
def test_mutants_of_the_day_are_noticed(day, capsys):
    machine, seed = day.choice(list(MACHINES)), day.getrandbits(30)
    verdicts = judge_mutants(machine, COUNT, seed, thorough=False)
    survivors = [mutant for mutant, verdict in verdicts.items() if not verdict.check]
    with capsys.disabled():
        print(f"\nmutants of {machine}, seed {seed}: {len(survivors)} of {COUNT} survive")
        for mutant in survivors:
            print(f"  {mutant}")
    assert len(verdicts) == COUNT
    assert COUNT - len(survivors) >= LEAST


def test_mutants_of_the_day_of_the_builders_refusals_are_noticed(day):
    """Three of them; one may be equivalent."""
    total, left = survivors("refusals", 3, day.getrandbits(30))
    assert total == 3 and len(left) <= 1, left
