"""Matplotlib, an extra, for pictures in files."""

from typing import Any

from relaxon_isa.errors import ToolError

__all__ = ["pyplot"]


def pyplot() -> Any:
    """`matplotlib.pyplot` that needs no screen. Raises ToolError if it is not installed."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ToolError(
            "drawing needs matplotlib: python -m pip install 'relaxon[plots]'"
        ) from error
    return plt
