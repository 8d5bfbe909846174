"""Rules of one's own: in a Python file, or in a package that registers them."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from traceback import extract_tb
from typing import Any

from relaxon_isa import ConfigError, RelaxonError

from .base import Rule
from .objectives import OBJECTIVES
from .settings import RuleSettings

__all__ = ["blamed", "load_file", "load_object", "load_point", "own_file", "registered"]

HOME = Path(__file__).parents[1]


def own_file(name: str) -> tuple[Path, str] | None:
    """File and class of a rule of one's own, "file.py:Class"; None for the others."""
    path, colon, attribute = name.rpartition(":")
    return (Path(path), attribute) if colon and path.endswith(".py") else None


def registered() -> dict[str, EntryPoint]:
    """Entry points of the group ``relaxon.rules`` by name."""
    return {point.name: point for point in entry_points(group="relaxon.rules")}


def load_point(point: EntryPoint) -> type[Rule]:
    """The rule class that an entry point names. Raises ConfigError if it is none."""
    with blamed(f"rule {point.name} cannot be read"):
        rule = point.load()
    return _declared(rule, f"entry point {point.name}, {point.value},")


def load_file(path: Path, attribute: str) -> type[Rule]:
    """The rule class ``attribute`` of a Python file. Raises ConfigError if it is none."""
    return _declared(load_object(path, attribute, "rule file"), f"{path}:{attribute}")


def load_object(path: Path, attribute: str, kind: str = "file") -> Any:
    """What a Python file calls ``attribute``. Raises ConfigError if there is no such thing."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ConfigError(f"{kind} {path}: no such Python file")
    module = importlib.util.module_from_spec(spec)
    with blamed(f"{kind} {path} cannot be read"):
        spec.loader.exec_module(module)
    if not hasattr(module, attribute):
        need = " derived from relaxon.rules.base.Rule" if kind == "rule file" else ""
        raise ConfigError(f"{path} has no class {attribute}{need}")
    return getattr(module, attribute)


@contextmanager
def blamed(whose: str, file: Path | None = None) -> Iterator[None]:
    """Turn exceptions of a user's code into errors that name its file and line.

    ``file``: where that code is; None: not known yet. Our own errors keep their class; a
    ConfigError that did not pass through the file is about settings, and raised as it is.
    """
    try:
        yield
    except RelaxonError as error:
        place = file and _place(error, file)
        if not place and isinstance(error, ConfigError):
            raise
        raise type(error)(f"{whose}: {error}{place or ''}") from error
    except (Exception, SystemExit) as error:
        said = f"{type(error).__name__}: {getattr(error, 'msg', error)}"
        raise ConfigError(f"{whose}: {said}{_place(error, file)}") from error


def _place(error: BaseException, file: Path | None) -> str:
    """The last line of the traceback that is in the file; or neither ours nor Python's own, and of
    an installed package only if there is no other: some wrap functions that a file calls."""
    if isinstance(error, SyntaxError):
        return f" (line {error.lineno})"
    found = ""
    for frame in reversed(extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        foreign = path.exists() and HOME not in path.parents and path.parent.name != "importlib"
        if path.resolve() == file.resolve() if file else foreign:
            found = found or f" ({path.name}, line {frame.lineno})"
            if file or "site-packages" not in path.parts:
                return f" ({path.name}, line {frame.lineno})"
    return found


def _declared(rule: object, whose: str) -> type[Rule]:
    """Return the class if it declares what every rule must. Raises ConfigError otherwise."""
    if not (isinstance(rule, type) and issubclass(rule, Rule)):
        raise ConfigError(f"{whose} is no class derived from relaxon.rules.base.Rule")
    names = [item.name for item in fields(RuleSettings)]
    for ok, need in (
        (
            all(isinstance(getattr(rule, key, None), str) for key in ("name", "paper", "summary")),
            "name, paper and summary, a text each",
        ),
        (
            isinstance(rule.OBJECTIVES, tuple) and set() < set(rule.OBJECTIVES) <= set(OBJECTIVES),
            f"OBJECTIVES, a tuple of some of {', '.join(OBJECTIVES)}",
        ),
        (set(rule.DEFAULTS) <= set(names), f"DEFAULTS by names of {', '.join(names)}"),
        (
            all(isinstance(o, tuple) and len(o) == 2 for o in rule.OPTIONS.values()),
            "OPTIONS, name: (default, meaning)",
        ),
    ):
        if not ok:
            raise ConfigError(f"{whose} needs {need}")
    return rule
