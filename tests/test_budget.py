"""Each suite has its share of the processor time, and children's time counts."""

import subprocess
import sys

from support.budget import BUDGET, TESTS, processor_time, suite_of


def test_every_suite_has_a_share_and_together_they_are_45_minutes():
    suites = {suite_of(str(path.relative_to(TESTS.parent))) for path in TESTS.rglob("test_*.py")}
    assert suites <= set(BUDGET)
    assert round(sum(BUDGET.values()), 6) == 45


def test_a_childs_time_counts():
    before = processor_time()
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    subprocess.run([sys.executable, "-c", burn], check=True)
    assert 0.3 <= processor_time() - before < 1
