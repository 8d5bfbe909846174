"""Programs in the user's cache: put in whole, and the oldest forgotten."""

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

__all__ = ["install", "prune"]

ABANDONED = 3600.0
"""Seconds after which nobody works any more in a build's directory."""


def install(work: Path, files: Sequence[str], home: Path) -> None:
    """Move files of a build's directory to ``home``, which is there with all of them or not."""
    done = work / "done"
    done.mkdir()
    for name in files:
        (work / name).rename(done / name)
    done.rename(home)


def prune(root: Path, keep: int) -> None:
    """Forget all but the ``keep`` programs last used, and what killed builds have left."""
    homes = []
    for path in root.iterdir():
        if not path.is_dir():
            continue
        if not path.name.startswith("build-"):
            homes.append(path)
        elif path.stat().st_mtime < time.time() - ABANDONED:
            shutil.rmtree(path, ignore_errors=True)
    homes.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for home in homes[keep:]:
        shutil.rmtree(home, ignore_errors=True)
