"""Compiling the engine, once for a computer and a version, and loading it from then on."""

import hashlib
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from types import ModuleType
from typing import Any

import platformdirs
from filelock import FileLock

from relaxon_isa import ToolError, install

__all__ = ["available", "compiled", "load"]

Engine = Callable[..., int]


def available() -> bool:
    """Whether numba is installed."""
    return find_spec("numba") is not None


@cache
def load() -> Engine:
    """`engine.run` as machine code.

    Kept in the user's cache. If it has to be compiled, a line on stderr says so. Raises
    ToolError without numba.
    """
    if not available():
        raise ToolError(f"the compiled engine needs numba: {install('fast')}; or use engine numpy")
    config: Any = import_module("numba.core.config")
    folder = _folder()
    with FileLock(folder / "lock") if folder else nullcontext():  # one process compiles
        known = folder is not None and any(folder.rglob("*.nbi"))
        if not known:
            print("compiling the golden model's engine, once on this computer ...", file=sys.stderr)
        before, start = config.CACHE_DIR, time.perf_counter()
        config.CACHE_DIR = str(folder or "")
        try:
            engine = compiled(import_module(f"{__package__}.engine"), cached=folder is not None)
        finally:
            config.CACHE_DIR = before
        if not known:
            print(f"... done in {time.perf_counter() - start:.0f} s", file=sys.stderr)
    return engine


def compiled(module: ModuleType, *, cached: bool = False) -> Engine:
    """``module.run`` compiled for the arrays of `machine.Machine`."""
    import numba
    from numba import types

    from .tables import CONFIG, CPU, OPERATION, SEGMENT, TRIP

    def array(dtype: Any, ndim: int = 1, readonly: bool = False) -> types.Array:
        return types.Array(dtype, ndim, "C", readonly=readonly)

    records = [array(numba.from_dtype(dtype)) for dtype in (OPERATION, TRIP, SEGMENT, CONFIG)]
    i16, i32, i64, u8 = types.int16, types.int32, types.int64, types.uint8
    gathered = [array(i64), array(i32), array(i32, 2), array(i32, 2), array(i64)]
    shorts = [array(i32), array(i16), array(i64, 2)]
    listed = [array(i32), array(i32)]
    scratch = types.Tuple([array(i64), array(i64), *gathered, *shorts, *listed])
    sample = (array(i32), array(i32))
    memories = (array(i32), array(i64), array(i32), array(i64), array(i32), array(i64, 2), *sample)
    own = (array(numba.from_dtype(CPU)), array(i64, 2), array(i64))
    streams = (array(u8, readonly=True), array(u8), array(i64))
    signature = i64(array(i64), *records, *memories, scratch, *own, *streams)
    # No counts of references: all arrays belong to the caller, and counting takes longer than a
    # short MAC.
    options: dict[str, Any] = {"cache": cached, "nogil": True, "_nrt": False}  # the last is private
    return numba.njit(signature, **options)(module.run)


def _folder() -> Path | None:
    """Where machine code is kept: a folder for each state of the sources, numba and processor.

    None if no folder can be written: then every process compiles.
    """
    import llvmlite.binding as llvm
    import numba
    from numba.core import config as numbas

    import relaxon_isa

    config: Any = numbas
    target = (llvm.get_host_cpu_name(), config.CPU_NAME, config.CPU_FEATURES)
    state = (numba.__version__, sys.version, *target, __file__)  # numba keeps code by its path
    digest = hashlib.sha256(repr(state).encode())
    own = [Path(__file__).with_name(f"{name}.py") for name in ("engine", "tables", "status")]
    for source in (*sorted(Path(relaxon_isa.__path__[0]).glob("*.py")), *own, Path(__file__)):
        digest.update(source.read_bytes())
    usual = platformdirs.user_cache_path("relaxon", appauthor=False)
    for base in (usual, Path(gettempdir()) / "relaxon"):
        folder = base / f"engine-{digest.hexdigest()[:16]}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            TemporaryFile(dir=folder).close()
        except OSError:
            continue
        return folder
    return None
