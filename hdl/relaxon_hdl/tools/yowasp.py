"""YoWASP's tools: WebAssembly that a first call compiles to machine code, for up to minutes."""

import hashlib
import os
import subprocess
import sys
from importlib import util
from pathlib import Path

import platformdirs

from .cache import cache_dir, file_lock
from .find import TOOLS

__all__ = ["compile_once"]


def compile_once(program: str) -> None:
    """Compile a program of YoWASP's if that is still to be done, and say so on standard error.

    Of several processes one compiles and the others wait. Other programs are left alone.
    """
    code = _machine_code(Path(program).stem)
    if code is None or code.exists():
        return
    with file_lock(cache_dir("yowasp") / f"{code.name}.lock"):  # it writes its cache in place
        if not code.exists():
            print(f"compiling {program} for this computer: once, up to minutes", file=sys.stderr)
            command = [program, "--version"]  # if that fails, so will the call that comes next
            subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)


def _machine_code(script: str) -> Path | None:
    """Where yowasp_runtime keeps a program's machine code; None if it is not YoWASP's."""
    package = next((wheel.package for wheel in TOOLS.values() if wheel.script == script), "")
    module, wasm = package.replace("-", "_"), f"{script.removeprefix('yowasp-')}.wasm"
    spec = util.find_spec(module) if module.startswith("yowasp") else None
    if not (spec and spec.origin):
        return None
    digest = hashlib.sha1(Path(spec.origin).with_name(wasm).read_bytes()).hexdigest()
    usual = platformdirs.user_cache_path("YoWASP", appauthor=False)
    return Path(os.environ.get("YOWASP_CACHE_DIR", usual)) / module / wasm / digest
