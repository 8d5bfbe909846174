"""FPGA families: one file each, and one line here."""

from relaxon_isa import choose

from . import ecp5, gowin, ice40, xilinx
from .base import Family, Pll

__all__ = ["FAMILIES", "Family", "Pll", "find_family"]

FAMILIES: dict[str, Family] = {
    module.FAMILY.name: module.FAMILY for module in (ecp5, gowin, ice40, xilinx)
}


def find_family(name: str) -> Family:
    """The family of that name. Raises ConfigError that lists the names."""
    return choose("FPGA family", name, FAMILIES)
