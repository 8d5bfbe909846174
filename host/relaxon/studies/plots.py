"""Matplotlib, an extra, for pictures in files."""

from pathlib import Path
from typing import Any

from relaxon_isa import DataError, ToolError, install

__all__ = ["check_picture", "pyplot"]


def pyplot() -> Any:
    """`matplotlib.pyplot` that needs no screen. Raises ToolError if it is not installed."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ToolError(f"drawing needs matplotlib: {install('plots')}") from error
    return plt


def check_picture(path: Path) -> None:
    """Before long work: whether a picture can have that name. Raises DataError, ToolError."""
    pyplot()
    from matplotlib.backend_bases import FigureCanvasBase

    known = FigureCanvasBase.get_supported_filetypes()
    if path.suffix[1:].lower() not in known:
        raise DataError(f"{path}: a picture's name ends in .{', .'.join(sorted(known))}")
