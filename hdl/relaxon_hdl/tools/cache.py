"""The user's cache: what takes long to make is made once, by one process."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import platformdirs
from filelock import FileLock, Timeout

from relaxon_isa import ToolError

__all__ = ["cache_dir", "file_lock", "made_once", "replacing", "scratch"]

ABANDONED = 3600.0
"""Seconds after which nobody works any more in a build's directory."""


def cache_dir(*parts: str) -> Path:
    """A directory of the user's cache that is ours, made if it is not there."""
    path = platformdirs.user_cache_path("relaxon", appauthor=False).joinpath(*parts)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ToolError(
            f"no cache directory {path} ({error.strerror}); set XDG_CACHE_HOME to one that "
            "can be written"
        ) from error
    return path


@contextmanager
def file_lock(path: Path, *, busy: str = "") -> Iterator[None]:
    """Hold an exclusive lock of that name, whose folder is there.

    Waits for the process that holds it now; with ``busy`` raises ToolError of that text instead.
    """
    try:
        with FileLock(path, timeout=0 if busy else -1):  # given back by the system after a crash
            yield
    except Timeout as error:
        raise ToolError(busy) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name to write to, whose file becomes ``path`` at the end: whole or not at all."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def scratch(root: Path) -> Iterator[Path]:
    """A directory for work in a folder of the cache, gone at the end. What killed processes left of
    theirs goes, too, once it is `ABANDONED`."""
    for path in root.glob("build-*"):
        with suppress(FileNotFoundError):  # another process removes the same
            if path.stat().st_mtime < time.time() - ABANDONED:
                shutil.rmtree(path, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="build-", dir=root) as directory:
        yield Path(directory)


def made_once(kind: str, key: str, program: str, make: Callable[[Path], object], keep: int) -> Path:
    """Path of a file that ``make`` leaves in a work directory, from the cache or made now.

    Processes that ask for the same file at once make it once; what is interrupted leaves nothing.

    Parameters
    ----------
    kind
        Folder of the cache.
    key
        Name of the file's own folder there. Equal keys, equal files.
    program
        The file's name.
    make
        Called with the work directory.
    keep
        How many files of a kind stay; those not used for longest go.
    """
    root = cache_dir(kind)
    home = root / key
    if not home.exists():
        with file_lock(root / f"{key}.lock"):
            if not home.exists():
                with scratch(root) as work:
                    make(work)
                    done = work / "done"
                    done.mkdir()
                    (work / program).rename(done / program)
                    done.rename(home)
                with suppress(FileNotFoundError):  # another process removes the same
                    _prune(root, keep)
    os.utime(home)
    return home / program


def _prune(root: Path, keep: int) -> None:
    """Remove all but the ``keep`` folders last used."""
    builds = set(root.glob("build-*"))
    homes = [path for path in root.iterdir() if path.is_dir() and path not in builds]
    homes.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in homes[keep:]:
        shutil.rmtree(path, ignore_errors=True)
