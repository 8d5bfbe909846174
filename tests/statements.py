"""Logical statements of the product, by package: `python tests/statements.py --against REVISION`.

A statement is a node of the syntax tree; docstrings, those of attributes included, are left out.
Layout, comments and line length do not count. The last row says how many of all are imports, which
grow with the number of modules that the same code is in.
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


def statements(nodes: list[ast.AST]) -> int:
    """Statements among the nodes of a module, docstrings left out."""
    return sum(
        isinstance(node, ast.stmt)
        and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        for node in nodes
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
    """Statements of each package (the folder below one of `FOLDERS`), in all, and imports."""
    counts: Counter[str] = Counter()
    for path, source in modules:
        nodes = list(ast.walk(ast.parse(source)))
        count = statements(nodes)
        counts["/".join(PurePosixPath(path).parts[:2])] += count
        counts["total"] += count
        counts["imports"] += sum(isinstance(node, ast.Import | ast.ImportFrom) for node in nodes)
    return counts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", metavar="REVISION", help="git revision to compare with")
    arguments = parser.parse_args()
    now = by_package(present())
    before = by_package(at(arguments.against)) if arguments.against else None
    for row in sorted(
        {*now, *(before or ())}, key=lambda row: ("/" not in row, row == "imports", row)
    ):
        line = f"{row:<24}{now[row]:>8,}"
        if before is not None:
            line += f"{before[row]:>8,}{now[row] - before[row]:>+8,}"
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
