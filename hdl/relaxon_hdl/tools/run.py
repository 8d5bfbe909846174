"""Running a program to its end, with one form of error."""

import ctypes
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from relaxon_isa import ToolError

from .yowasp import compile_once

__all__ = ["run_tool"]

PR_SET_PDEATHSIG = 1
"""``prctl`` of Linux: the signal that a process gets when the one that started it ends."""
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
TELLING = re.compile(r"ERROR|rror:|cannot find")
"""Of a program's output, the lines that say why it failed."""


def _end_with_parent() -> None:
    """In a new process: end when the one that started it does, even if that is killed."""
    assert _prctl
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def run_tool(
    command: Sequence[str],
    name: str,
    *,
    directory: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run a program to its end and return its standard output.

    ``name`` is what errors call it, ``environment`` are variables beside those there are. Raises
    ToolError with the exit code and the lines of output that tell why, if it fails.
    """
    compile_once(command[0])
    try:
        done = subprocess.run(
            command,
            cwd=directory,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            preexec_fn=_end_with_parent if _prctl else None,
        )
    except OSError as error:
        raise ToolError(f"cannot run {name} ({command[0]}): {error.strerror}") from error
    if done.returncode:
        lines = f"{done.stdout}\n{done.stderr}".strip().splitlines()
        telling = [line for line in lines if TELLING.search(line)][:8] or lines[-3:]
        said = " / ".join(telling) or "it said nothing"
        raise ToolError(f"{name} failed ({done.returncode}): {said}")
    return done.stdout
