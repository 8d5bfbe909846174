"""A pytest plugin: the processor time that each suite took, beside its share of `BUDGET`, and
with ``--costs N`` the tests that took the most.

A suite is a folder of ``tests``; a module beside the folders is one of its own. The time is that
of the test processes and of all children that they have waited for (boards, compilers, commands),
whatever the number of workers. Beyond a share is a warning, for computers differ. Skipped tests
are counted by their reason.
"""

import resource
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

__all__ = ["BUDGET", "suite_of"]

TESTS = Path(__file__).resolve().parents[1]
BUDGET: dict[str, float] = tomllib.loads((TESTS / "budget.toml").read_text())["minutes"]
"""Minutes of processor time by suite."""

SPENT = pytest.StashKey[dict[str, float]]()
"""Seconds by test."""


def processor_time() -> float:
    """Seconds of this process and of its children up to now."""
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(use.ru_utime + use.ru_stime for use in map(resource.getrusage, whose))


def suite_of(test: str) -> str:
    """The folder of ``tests`` that a test (``tests/isa/test_config.py::test_name``) lies in, or
    its module's own name."""
    return test.partition("::")[0].split("/")[1].removesuffix(".py")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--costs", type=int, default=0, help="list the tests of most CPU time")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[SPENT] = {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    before = processor_time()
    result = yield
    item.config.stash[SPENT][item.nodeid] = processor_time() - before
    return result


def pytest_sessionfinish(session: pytest.Session) -> None:
    output = getattr(session.config, "workeroutput", {})  # of a worker of xdist
    output["spent"] = session.config.stash[SPENT]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node) -> None:
    """A worker has ended (xdist)."""
    node.config.stash[SPENT].update(getattr(node, "workeroutput", {}).get("spent", {}))


def pytest_terminal_summary(terminalreporter) -> None:
    write = terminalreporter.write_line
    reasons = Counter(report.longrepr[2] for report in terminalreporter.stats.get("skipped", ()))
    for reason, count in sorted(reasons.items()):
        write(f"skipped {count}: {reason.removeprefix('Skipped: ')}")
    spent = terminalreporter.config.stash[SPENT]
    by_cost = sorted(spent, key=spent.__getitem__, reverse=True)
    for test in by_cost[: terminalreporter.config.option.costs]:
        write(f"{spent[test]:6.1f} CPU seconds  {test}")
    for suite in sorted(set(map(suite_of, spent))):
        minutes = sum(seconds for test, seconds in spent.items() if suite_of(test) == suite) / 60
        share = BUDGET.get(suite, 0)
        line = f"{suite:<16}{minutes:6.2f} of {share:5.2f} CPU minutes"
        beyond = minutes > share
        write(f"{line}: BEYOND ITS SHARE" if beyond else line, yellow=beyond)
    write(f"{'all':<16}{sum(spent.values()) / 60:6.2f} of {sum(BUDGET.values()):5.2f} CPU minutes")
