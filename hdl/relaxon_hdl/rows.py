"""Program rows as the gateware reads them."""

from amaranth.hdl import Value
from amaranth.lib import data

from relaxon_isa import ArrayConfig, row_layouts

__all__ = ["row_view"]


def row_view(config: ArrayConfig, name: str, row: Value) -> data.View:
    """The fields of a program row by name: of the ``name`` in `row_layouts` whatever ``row`` is."""
    layout = data.StructLayout(dict(row_layouts(config)[name].fields))
    return data.View(layout, row[: layout.size])
