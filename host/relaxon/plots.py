"""Matplotlib, an extra, for pictures in files."""

from typing import Any

from relaxon_isa.errors import ToolError, install

__all__ = ["pyplot"]


def pyplot() -> Any:
    """`matplotlib.pyplot` that needs no screen. Raises ToolError if it is not installed."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ToolError(f"drawing needs matplotlib: {install('plots')}") from error
    return plt
