"""Files that are written whole or not at all: beside their place first, then put there.

Checkpoints are written in a way of their own (`checkpoint.write_npz`), since they may be hours of
training.
"""

from contextlib import suppress
from pathlib import Path

from relaxon_isa import DataError

__all__ = ["replace", "write"]


def replace(path: Path, content: str | bytes) -> None:
    """Write a file; what was there before stays until then. Nothing is left of it after an
    OSError."""
    part = path.with_name(f"{path.name}.part")  # what a killed process left of it is overwritten
    try:
        part.write_bytes(content.encode() if isinstance(content, str) else content)
        part.replace(path)
    except OSError:
        with suppress(OSError):
            part.unlink()
        raise


def write(path: Path, content: str | bytes) -> None:
    """`replace`, for a path that the user named: raises DataError."""
    try:
        replace(path, content)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error})") from error
