"""Simulation models of FPGA primitives: yosys' own, and ours beside this file where it has none."""

from pathlib import Path

from relaxon_hdl.verilog import yosys_share
from relaxon_isa.errors import ToolError

__all__ = ["cell_models"]

YOSYS_MODELS = {
    "ice40": ("ice40/cells_sim.v",),
    "ecp5": ("ecp5/cells_sim.v",),
    "gowin": ("gowin/cells_sim.v",),
}
"""Of each family, below yosys' shared files."""


def cell_models(family: str | None) -> list[Path]:
    """Verilog files with the models of a family's primitives; none for the portable ones.

    Raises ToolError if the family is unknown, or yosys' files are not found.
    """
    if family is None:
        return []
    if family not in YOSYS_MODELS:
        raise ToolError(f"no family {family!r}; there are: {', '.join(YOSYS_MODELS)}")
    share = yosys_share()
    paths = [share / name for name in YOSYS_MODELS[family]]
    for path in paths:
        if not path.exists():
            raise ToolError(f"no {path}, where the models of {family}'s cells should be")
    ours = Path(__file__).with_name(f"{family}.v")
    return [*([ours] if ours.exists() else []), *paths]
