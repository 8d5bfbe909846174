"""Mutants of the day: nearly all of them are noticed. All over the machine: `tests/mutation.py`."""

from mutation import MACHINES, arguments_for, judge_mutants, report
from source_mutation import survivors

COUNT = 60
LEAST = 0.8
"""The share that has to be noticed of those that are not proved to change nothing. Of a large draw
it is nine tenths without the long checks (see .ci/log): 0.8 is more than twice the spread below."""


def test_mutants_of_the_day_are_noticed(day, capsys):
    machine, seed = day.choice(list(MACHINES)), day.getrandbits(30)
    verdicts = judge_mutants(machine, COUNT, seed, thorough=False)
    with capsys.disabled():
        print(f"\nmutants of {machine}, seed {seed}")
        score = report(verdicts, arguments_for(machine))
    assert len(verdicts) == COUNT
    assert score >= LEAST


def test_mutants_of_the_day_of_the_builders_refusals_are_noticed(day):
    """Three of them; one may be equivalent."""
    total, left = survivors("refusals", 3, day.getrandbits(30))
    assert total == 3 and len(left) <= 1, left
