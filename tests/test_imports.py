"""Who may import whom."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

ALLOWED = {
    "hdl/relaxon_isa": set(),
    "hdl/relaxon_hdl": {"relaxon_isa", "amaranth"},
    "host/relaxon_device": {"relaxon_isa"},
    "host/relaxon": {"relaxon_isa", "relaxon_device", "relaxon_sim"},
    "sim/relaxon_sim": {"relaxon_isa", "relaxon_hdl", "relaxon_device", "amaranth"},
    "sim/relaxon_sim/golden": {"relaxon_isa", "relaxon_device"},
    "boards/relaxon_boards": {"relaxon_isa", "relaxon_hdl", "amaranth", "amaranth_boards"},
}
OURS = {path.name: path for path in ROOT.glob("*/relaxon*") if path.is_dir()}
GUARDED = OURS.keys() | {"amaranth", "amaranth_boards"}


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


def modules() -> dict[str, Path]:
    """Every module of ours, by its full name."""
    return {
        ".".join(path.relative_to(folder.parent).with_suffix("").parts).removesuffix(
            ".__init__"
        ): path
        for folder in OURS.values()
        for path in folder.rglob("*.py")
    }


def arrows(name: str, path: Path, known: dict[str, Path]) -> Iterator[str]:
    """Our modules that a module imports as it is loaded, or for its types (TYPE_CHECKING)."""
    todo: list[ast.AST] = [ast.parse(path.read_text())]
    while todo:
        node = todo.pop()
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                continue  # runs later, when all is loaded
            case ast.Import(names=names):
                yield from (alias.name for alias in names if alias.name in known)
            case ast.ImportFrom(module=module, names=names, level=level):
                package = name.split(".") + ([""] if path.name == "__init__.py" else [])
                parts = package[:-level] if level else []
                base = ".".join([*parts, *filter(None, [module])])
                for full in (f"{base}.{alias.name}" for alias in names):
                    if full in known or base in known:
                        yield full if full in known else base
        todo += ast.iter_child_nodes(node)


def test_no_module_imports_itself_by_way_of_others():
    known = modules()
    graph = {name: set(arrows(name, path, known)) for name, path in known.items()}
    TopologicalSorter(graph).prepare()  # a CycleError names the circle
