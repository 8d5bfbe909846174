"""Who may import whom."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

ALLOWED = {
    "hdl/relaxon_isa": set(),
    "hdl/relaxon_hdl": {"relaxon_isa", "amaranth"},
    "host/relaxon": {"relaxon_isa", "relaxon_sim"},
    "sim/relaxon_sim": {"relaxon_isa", "relaxon_hdl", "relaxon", "amaranth"},
    "sim/relaxon_sim/golden": {"relaxon_isa", "relaxon"},
    "boards/relaxon_boards": {"relaxon_isa", "relaxon_hdl", "amaranth", "amaranth_boards"},
}
OURS = {"relaxon", "relaxon_isa", "relaxon_hdl", "relaxon_sim", "relaxon_boards"}
GUARDED = OURS | {"amaranth", "amaranth_boards"}


def imported(path: Path) -> set[str]:
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.append(node.module or "")
    return {name.partition(".")[0] for name in names} & GUARDED


@pytest.mark.parametrize("package", ALLOWED)
def test_package_imports_only_what_it_may(package):
    folder = ROOT / package
    for path in folder.rglob("*.py"):
        assert imported(path) <= ALLOWED[package] | {folder.name}, path


@pytest.mark.parametrize("module", ["relaxon.cli", "relaxon_boards.catalogue"])
def test_importing_it_does_not_take_amaranth(module):
    code = f"import sys, {module}; sys.exit('amaranth' in sys.modules)"
    paths = [str(ROOT / name) for name in ("hdl", "host", "sim", "boards")]
    prefix = f"import sys; sys.path[:0] = {paths!r}; "
    assert subprocess.run([sys.executable, "-c", prefix + code], check=False).returncode == 0
