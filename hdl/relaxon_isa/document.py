"""docs/isa.md and docs/memory-map.md, rendered from the contract: `python -m relaxon_isa.document`.

Run it in the repository's root; a test checks that the files are as it would write them.
"""

import ast
import inspect
import sys
from dataclasses import astuple, fields
from enum import IntEnum
from functools import cache
from pathlib import Path
from types import FunctionType, ModuleType

from . import capture, cycles, hazards, instructions, link, order, samples
from .config import ArrayConfig
from .encoding import row_layouts
from .errors import ConfigError
from .memory import Register, Space, element_bytes, row_bits
from .presets import PRESETS

__all__ = ["contract", "render"]

NOTE = "<!-- Rendered from the contract by `python -m relaxon_isa.document`: change it there. -->"


@cache
def _source(module: str) -> ast.Module:
    """A module's syntax tree. Docstrings are read from it, since ``python -OO`` drops them."""
    try:
        return ast.parse(inspect.getsource(sys.modules[module]))
    except OSError as error:
        raise ConfigError(
            f"the source of {module} is missing: the contract is stated in it; install relaxon "
            "with its .py files"
        ) from error


def _definition(thing: type | FunctionType) -> ast.ClassDef | ast.FunctionDef:
    return next(
        node
        for node in _source(thing.__module__).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == thing.__name__
    )


def _doc(thing: type | FunctionType | ModuleType) -> str:
    """A docstring as it stands in the source."""
    is_module = isinstance(thing, ModuleType)
    node = _source(thing.__name__) if is_module else _definition(thing)
    return ast.get_docstring(node) or ""


@cache
def _members(enum: type[IntEnum]) -> list[tuple[str, int, str]]:
    """Members of an enum with the docstring that stands behind each in the source."""
    texts: dict[str, str] = {}
    name = ""
    for node in _definition(enum).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and name:
            texts[name] = " ".join(inspect.cleandoc(str(node.value.value)).split())
    return [(m.name, m.value, texts.get(m.name, "")) for m in enum]


def _enum(enum: type[IntEnum]) -> str:
    rows = [f"| {value} | `{name}` | {text} |" for name, value, text in _members(enum)]
    head = [f"### {enum.__name__}", "", _doc(enum), "", "| value | name | |"]
    return "\n".join([*head, "|--:|---|---|", *rows, ""])


def _quoted(thing: type | FunctionType | ModuleType) -> str:
    """Its docstring, whose loop nests and tables are laid out by hand."""
    return f"```text\n{_doc(thing)}\n```\n"


def _isa(machines: dict[str, ArrayConfig], shown: str) -> str:
    config = machines[shown]
    parts = [NOTE, "", "# Instructions", "", _quoted(instructions)]
    for kind in (
        instructions.Mac,
        instructions.Learn,
        instructions.Loop,
        instructions.Next,
        instructions.Wait,
        instructions.Emit,
        instructions.Halt,
    ):
        parts += [f"## {kind.opcode.name}", "", _quoted(kind)]
    parts += ["## Fields that choose", ""]
    for enum in (
        instructions.Sign,
        instructions.Activation,
        instructions.Gating,
        instructions.Judge,
        instructions.Skip,
        instructions.Pack,
        instructions.EmitKind,
    ):
        parts.append(_enum(enum))
    parts += ["## Encoding", "", _quoted(row_layouts)]
    parts += [
        f"Widths below are those of the `{shown}` preset, whose rows have {row_bits(config)} bits; "
        "lowest bits first.",
        "",
        "| row | fields (bits) |",
        "|---|---|",
    ]
    for name, layout in row_layouts(config).items():
        listed = ", ".join(f"{field} ({width})" for field, width in layout.fields)
        parts.append(f"| {name} | {listed} |")
    parts += ["", "## Cycles", "", _quoted(cycles)]
    parts += ["| preset | MAC drain | LEARN drain |", "|---|--:|--:|"]
    parts += [
        f"| {name} | {cycles.mac_latency(c)} | {cycles.learn_latency(c)} |"
        for name, c in machines.items()
    ]
    parts += ["", "## Drains", "", _quoted(hazards), "### Stages", "", _quoted(cycles.Stages)]
    overlapping = {name: c for name, c in machines.items() if c.drains}
    parts += ["| preset | " + " | ".join(f.name for f in fields(cycles.Stages)) + " |"]
    parts += ["|---|" + "--:|" * len(fields(cycles.Stages))]
    parts += [
        f"| {name} | {' | '.join(map(str, astuple(cycles.stages(c))))} |"
        for name, c in overlapping.items()
    ]
    return "\n".join(parts) + "\n"


def _memory_map(machines: dict[str, ArrayConfig]) -> str:
    parts = [NOTE, "", "# Memory map", "", _doc(Space), ""]
    names = list(machines)
    parts += [
        "| value | space | | bytes an element (" + ", ".join(names) + ") |",
        "|--:|---|---|---|",
    ]
    for name, value, text in _members(Space):
        sizes = ", ".join(str(element_bytes(machines[n], Space(value))) for n in names)
        parts.append(f"| {value} | `{name}` | {text} | {sizes} |")
    parts += ["", "## Registers", "", _doc(Register), ""]
    parts += ["| number | register | |", "|--:|---|---|"]
    parts += [f"| {value} | `{name}` | {text} |" for name, value, text in _members(Register)]
    parts += ["", "## Presets", "", _quoted(ArrayConfig)]
    parts += ["| | " + " | ".join(names) + " |", "|---|" + "--:|" * len(names)]
    computed = ("acc_bits", "learn_bits")
    for field in (*ArrayConfig.__dataclass_fields__, *computed):
        values = " | ".join(str(getattr(machines[n], field)) for n in names)
        parts.append(f"| {field}{' (computed)' * (field in computed)} | {values} |")
    parts += ["", "# Sample memory", "", _quoted(samples), "# Link", "", _quoted(link)]
    # Of no other machine: what it says is no part of their fingerprints.
    if any(config.sample_memory for config in machines.values()):
        parts += ["# Order of samples", "", _quoted(order)]
        parts += ["# Capture of the sample memory's words", "", _quoted(capture)]
    return "\n".join(parts) + "\n"


def contract(machines: dict[str, ArrayConfig], shown: str) -> dict[str, str]:
    """The contract's pages, file name under docs/ to contents.

    ``machines`` (by name) are those that tables list; ``shown`` is the one whose rows are.
    """
    return {"isa.md": _isa(machines, shown), "memory-map.md": _memory_map(machines)}


def render() -> dict[str, str]:
    """The pages as they are in docs/."""
    return contract(PRESETS, "default")


if __name__ == "__main__":
    for name, text in render().items():
        (Path("docs") / name).write_text(text)
