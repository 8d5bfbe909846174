"""Simulation models of FPGA primitives: yosys' own, and ours beside this file where it has none."""

import re
from pathlib import Path

from relaxon_hdl.families import find_family
from relaxon_hdl.tools.verilog import yosys_share
from relaxon_isa import ToolError

__all__ = ["cell_models"]

_INCLUDE = re.compile(r'^`include "(?P<name>[^"]+)"$', re.MULTILINE)
_MODULE = re.compile(r"^(\(\*.*\*\)\n)?module +(?P<name>\w+)\b(?s:.*?)^endmodule$", re.MULTILINE)


def cell_models(family: str | None) -> str:
    """Verilog text with the models of a family's primitives; empty for the portable ones.

    Ours stand in place of yosys' of the same name, which are taken out: of two modules of a name
    Verilator takes the one that it likes.

    Raises ConfigError if the family is unknown, ToolError if yosys' files are not found.
    """
    if family is None:
        return ""

    def read(path: Path) -> str:
        if not path.exists():
            raise ToolError(f"no {path}, where the models of {family}'s cells should be")
        return _INCLUDE.sub(lambda match: read(path.parent / match["name"]), path.read_text())

    path = Path(__file__).with_name(f"{family}.v")
    ours = path.read_text() if path.exists() else ""
    names = {match["name"] for match in _MODULE.finditer(ours)}
    theirs = read(yosys_share() / find_family(family).models)
    kept = _MODULE.sub(lambda match: "" if match["name"] in names else match[0], theirs)
    return f"{ours}\n{kept}"
