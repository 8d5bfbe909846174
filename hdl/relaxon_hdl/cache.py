"""The user's cache: what takes long to make is made once, by one process."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from relaxon_isa.errors import ToolError

__all__ = ["cache_dir", "file_lock"]


def cache_dir(*parts: str) -> Path:
    """A directory of the user's cache that is ours, made if it is not there."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification has relative paths ignored.
    base = Path(root) if root and Path(root).is_absolute() else Path.home() / ".cache"
    path = base.joinpath("relaxon", *parts)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ToolError(
            f"no cache directory {path} ({error.strerror}); set XDG_CACHE_HOME to one that "
            "can be written"
        ) from error
    return path


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold an exclusive lock of that name; waits for the process that holds it now."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # given back when the file is closed, crash included
        yield
