"""The mutation score of our Python: the builder's refusals, the host's link, the compiled engine.

Cosmic Ray changes an operator, a number, a keyword of a module at a time, in a copy of the sources;
the module's tests have to fail. A sample is drawn by a seed; survivors are printed with their
place. (`mutation.py` does the same to the gateware.)
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

from cosmic_ray.commands import init
from cosmic_ray.mutating import mutate_and_test
from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import MutationSpec, TestOutcome

__all__ = ["TARGETS", "survivors"]

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("hdl", "host", "sim", "boards", "tests", "docs")
SECONDS = 300.0
"""After so long a test has noticed: it does not end."""


class Target(NamedTuple):
    """A module and the tests that judge it."""

    module: str
    tests: str


TARGETS = {
    "link": Target(
        "host/relaxon_device/link.py", "tests/host/test_link.py tests/host/test_session.py"
    ),
    "refusals": Target("hdl/relaxon_isa/check.py", "tests/isa"),
    "engine": Target("sim/relaxon_sim/compiled/engine.py", "tests/golden/test_compiled.py"),
}


def described(spec: MutationSpec) -> str:
    """Where a mutation is and what it does."""
    line, column = spec.start_pos
    name = spec.operator_name.removeprefix("core/")
    return f"{spec.module_path.name}:{line}:{column + 1}: {name} in {spec.definition_name}"


def survivors(
    target: str, count: int, seed: int, told: Callable[[str], object] = lambda text: None
) -> tuple[int, list[str]]:
    """Draw and judge mutants of one of `TARGETS`: how many there were, and those that no test
    noticed. ``told`` hears of each.

    Raises AssertionError if the tests fail without a mutant.
    """
    module, tests = TARGETS[target]
    with tempfile.TemporaryDirectory(prefix="relaxon-mutants-") as directory:
        work = Path(directory)
        for name in SOURCES:
            shutil.copytree(ROOT / name, work / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", work)
        with use_db(str(work / "session.sqlite"), WorkDB.Mode.create) as session:
            init([work / module], session, {})
            specs = [item.mutations[0] for item in session.pending_work_items]
        drawn = Random(seed).sample(
            sorted(specs, key=lambda s: (s.start_pos, s.operator_name, s.occurrence)),
            min(count, len(specs)),
        )
        # What a test starts by itself is the copy too.
        paths = [*(str(work / name) for name in SOURCES), os.environ.get("PYTHONPATH", "")]
        os.environ |= {
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "XDG_CACHE_HOME": str(work / "cache"),
        }
        command = f"{sys.executable} -m pytest -x -q -p no:cacheprovider {tests}"
        before = Path.cwd()
        os.chdir(work)
        try:
            sound = mutate_and_test([], command, SECONDS)
            assert sound.test_outcome is TestOutcome.SURVIVED, f"without a mutant: {sound.output}"
            left = []
            for spec in drawn:
                result = mutate_and_test([spec], command, SECONDS)
                survives = result.test_outcome is TestOutcome.SURVIVED
                told(f"{described(spec)}: {'SURVIVES' if survives else 'noticed'}")
                if survives:
                    changed = [
                        line
                        for line in (result.diff or "").splitlines()
                        if line[:1] in "+-" and line[:3] not in ("+++", "---")
                    ]
                    left.append("\n    ".join([described(spec), *changed]))
        finally:
            os.chdir(before)
    return len(drawn), left


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}")
    parser.add_argument("--count", type=int, default=50, help="mutants of each")
    parser.add_argument("--seed", type=int, default=1, help="of the draw")
    arguments = parser.parse_args()
    if unknown := set(arguments.targets) - set(TARGETS):
        parser.error(f"no target {', '.join(sorted(unknown))}: there are {', '.join(TARGETS)}")
    scores = []
    for target in arguments.targets or TARGETS:
        total, left = survivors(
            target, arguments.count, arguments.seed, lambda text: print(text, flush=True)
        )
        scores.append(
            f"{target:<12}{total - len(left):>5} of {total:>5}{1 - len(left) / total:>8.1%}"
        )
        for text in left:
            print(f"survives: {text}")
    print("\n".join(scores))
    return 0


if __name__ == "__main__":
    sys.exit(main())
