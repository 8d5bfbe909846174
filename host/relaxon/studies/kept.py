"""Results that are computed once: a file each, named by everything that decides the result."""

import json
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from filelock import FileLock

import relaxon
import relaxon_device
import relaxon_isa
import relaxon_sim

from .. import files

__all__ = ["kept", "key_of", "sources"]


@cache
def sources() -> str:
    """A digest of all code of relaxon that figures of a training come from."""
    digest = sha256()
    for package in (relaxon_isa, relaxon_device, relaxon_sim, relaxon):
        for path in sorted(Path(package.__path__[0]).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def key_of(decides: Any) -> str:
    """24 hex digits over JSON values that, with relaxon's code, decide a result."""
    text = json.dumps([sources(), decides], sort_keys=True, default=str)
    return sha256(text.encode()).hexdigest()[:24]


def kept(folder: Path | None, key: str, function: Callable[..., dict], *arguments: Any) -> dict:
    """What a function gives, JSON values: from the folder if it is there, else computed now and
    written there, whole or not at all. Two processes do not compute the same at the same time."""
    if folder is None:
        return function(*arguments)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{key}.json"
    if (found := _read(path)) is not None:
        return found
    with FileLock(folder / f"{key}.lock") as lock:
        if (found := _read(path)) is None:
            found = function(*arguments)
            files.replace(path, json.dumps(found, indent=1) + "\n")
    # Who waits for the lock finds the result, so its file may go.
    Path(lock.lock_file).unlink(missing_ok=True)
    return found


def _read(path: Path) -> dict | None:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None
