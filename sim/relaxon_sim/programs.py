"""Programs that the virtual board and bitstreams need, as this computer has them."""

from collections.abc import Iterator

from relaxon_hdl.tools.cache import cache_dir
from relaxon_hdl.tools.find import TOOLS, find_tool, tool_version
from relaxon_isa import ToolError

from .model import find_compiler

__all__ = ["cache_dir", "programs"]


def programs() -> Iterator[tuple[str, str, str]]:
    """Name, version and path, and where there is none or an old one the remedy, else ""."""
    for name in [*TOOLS, "C++ compiler"]:
        try:
            if name in TOOLS:
                yield name, f"{tool_version(name)}, {find_tool(name)}", ""
            else:
                yield name, " ".join(find_compiler()), ""
        except ToolError as error:
            found, _, remedy = str(error).partition(": ")
            yield name, found, remedy
