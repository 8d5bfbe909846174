"""docs/isa.md and docs/memory-map.md, rendered from the contract: `python -m relaxon_isa.document`.

Run it in the repository's root; a test checks that the files are as it would write them.
"""

import ast
import inspect
from enum import IntEnum
from pathlib import Path

from . import cycles, instructions, link, memory
from .config import ArrayConfig
from .encoding import row_layouts
from .memory import Register, Space, element_bytes, row_bits
from .presets import PRESETS

__all__ = ["render"]

NOTE = "<!-- Rendered from the contract by `python -m relaxon_isa.document`: change it there. -->"


def _members(enum: type[IntEnum]) -> list[tuple[str, int, str]]:
    """Members of an enum with the docstring that stands behind each in the source."""
    body = ast.parse(inspect.getsource(enum)).body[0]
    assert isinstance(body, ast.ClassDef)
    texts: dict[str, str] = {}
    name = ""
    for node in body.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and name:
            texts[name] = " ".join(inspect.cleandoc(str(node.value.value)).split())
    return [(m.name, m.value, texts.get(m.name, "")) for m in enum]


def _enum(enum: type[IntEnum]) -> str:
    rows = [f"| {value} | `{name}` | {text} |" for name, value, text in _members(enum)]
    head = [f"### {enum.__name__}", "", inspect.getdoc(enum) or "", "", "| value | name | |"]
    return "\n".join([*head, "|--:|---|---|", *rows, ""])


def _quoted(text: str | None) -> str:
    """A docstring as it stands: its loop nests and tables are laid out by hand."""
    return f"```text\n{inspect.cleandoc(text or '')}\n```\n"


def _isa() -> str:
    config = PRESETS["default"]
    parts = [NOTE, "", "# Instructions", "", _quoted(instructions.__doc__)]
    for kind in (
        instructions.Mac,
        instructions.Learn,
        instructions.Loop,
        instructions.Next,
        instructions.Wait,
        instructions.Emit,
        instructions.Halt,
    ):
        parts += [f"## {kind.opcode.name}", "", _quoted(kind.__doc__)]
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
    parts += ["## Encoding", "", _quoted(row_layouts.__doc__)]
    parts += [
        f"Widths below are those of the `default` preset, whose rows have {row_bits(config)} bits; "
        "lowest bits first.",
        "",
        "| row | fields (bits) |",
        "|---|---|",
    ]
    for name, layout in row_layouts(config).items():
        listed = ", ".join(f"{field} ({width})" for field, width in layout.fields)
        parts.append(f"| {name} | {listed} |")
    parts += ["", "## Cycles", "", _quoted(cycles.__doc__)]
    parts += ["| preset | MAC drain | LEARN drain |", "|---|--:|--:|"]
    parts += [
        f"| {name} | {cycles.mac_latency(c)} | {cycles.learn_latency(c)} |"
        for name, c in PRESETS.items()
    ]
    return "\n".join(parts) + "\n"


def _memory_map() -> str:
    parts = [NOTE, "", "# Memory map", "", inspect.getdoc(Space) or "", ""]
    names = list(PRESETS)
    parts += [
        "| value | space | | bytes an element (" + ", ".join(names) + ") |",
        "|--:|---|---|---|",
    ]
    for name, value, text in _members(Space):
        sizes = ", ".join(str(element_bytes(PRESETS[n], Space(value))) for n in names)
        parts.append(f"| {value} | `{name}` | {text} | {sizes} |")
    parts += ["", "## Registers", "", inspect.getdoc(Register) or "", ""]
    parts += ["| number | register | |", "|--:|---|---|"]
    parts += [f"| {value} | `{name}` | {text} |" for name, value, text in _members(Register)]
    parts += ["", "## Presets", "", _quoted(ArrayConfig.__doc__)]
    fields = list(ArrayConfig.__dataclass_fields__)
    parts += ["| | " + " | ".join(names) + " |", "|---|" + "--:|" * len(names)]
    for field in fields:
        values = " | ".join(str(getattr(PRESETS[n], field)) for n in names)
        parts.append(f"| {field} | {values} |")
    for field in ("acc_bits", "learn_bits"):
        values = " | ".join(str(getattr(PRESETS[n], field)) for n in names)
        parts.append(f"| {field} (computed) | {values} |")
    parts += ["", "# Link", "", _quoted(link.__doc__), _quoted(memory.__doc__)]
    return "\n".join(parts[:-1]) + "\n"


def render() -> dict[str, str]:
    """File name under docs/ to contents."""
    return {"isa.md": _isa(), "memory-map.md": _memory_map()}


if __name__ == "__main__":
    for name, text in render().items():
        (Path("docs") / name).write_text(text)
