"""Logical statements of the product, by package: `python tests/statements.py --against REVISION`.

A statement is a node of the syntax tree; docstrings, those of attributes included, are left out.
Layout, comments and line length do not count.
"""

import argparse
import ast
import io
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("hdl", "host", "sim", "boards")


def statements(source: str) -> int:
    """Statements of a module without its docstrings."""
    return sum(
        isinstance(node, ast.stmt)
        and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        for node in ast.walk(ast.parse(source))
    )


def present() -> Iterator[tuple[str, str]]:
    """Path and text of the product's modules as they lie here."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), path.read_text()


def at(revision: str) -> Iterator[tuple[str, str]]:
    """The same of a git revision. Raises subprocess.CalledProcessError if there is none."""
    command = ["git", "-C", str(ROOT), "archive", revision, *FOLDERS]
    archive = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        for member in files:
            file = files.extractfile(member) if member.name.endswith(".py") else None
            if file:
                yield member.name, file.read().decode()


def by_package(modules: Iterator[tuple[str, str]]) -> Counter[str]:
    """Statements of each package, the folder below one of `FOLDERS`."""
    counts: Counter[str] = Counter()
    for path, source in modules:
        counts["/".join(PurePosixPath(path).parts[:2])] += statements(source)
    return counts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", metavar="REVISION", help="git revision to compare with")
    arguments = parser.parse_args()
    now = by_package(present())
    before = by_package(at(arguments.against)) if arguments.against else None
    rows = [(package, now[package]) for package in sorted({*now, *(before or ())})]
    for package, count in [*rows, ("total", now.total())]:
        line = f"{package:<24}{count:>8,}"
        if before is not None:
            was = before.total() if package == "total" else before[package]
            line += f"{was:>8,}{count - was:>+8,}"
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
