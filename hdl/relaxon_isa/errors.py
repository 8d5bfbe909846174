"""The one error tree. The command line maps these classes to exit codes (`relaxon.cli`)."""

import sys
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TypeVar

__all__ = [
    "ConfigError",
    "DataError",
    "DeviceError",
    "LinkError",
    "ProgramError",
    "RelaxonError",
    "ToolError",
    "choose",
    "install",
    "meant",
]

T = TypeVar("T")


class RelaxonError(Exception):
    """What was asked, what is possible, and the remedy, in words for the user."""


class ConfigError(RelaxonError):
    """An array configuration that cannot exist, or a network that does not fit one."""


class ProgramError(RelaxonError):
    """A program that the configuration cannot run."""


class DataError(RelaxonError):
    """A file, a sample or a label that cannot be used."""


class DeviceError(RelaxonError):
    """A board that is absent, different from what the host expects, or does not do as told."""


class LinkError(DeviceError):
    """The line to the board does not carry what it should."""


class ToolError(RelaxonError):
    """A tool (compiler, synthesis) that is missing or failed."""


def install(extra: str) -> str:
    """The remedy where a package is missing. relaxon is on no index: its clone has the extras."""
    return f"in the folder of relaxon's clone, {sys.executable} -m pip install '.[{extra}]'"


def meant(name: str, known: Iterable[str]) -> str:
    """ " (did you mean ...?)" for the known name that is closest to a misspelt one, else ""."""
    names = {other.lower(): other for other in known}
    close = get_close_matches(name.lower(), names, n=1)
    return f" (did you mean {names[close[0]]}?)" if close else ""


def choose(kind: str, name: str, known: Mapping[str, T]) -> T:
    """The value of ``name`` in ``known``, whatever its case. Raises ConfigError that lists the
    names, and says which was probably meant."""
    for key, value in known.items():
        if key.lower() == name.lower():
            return value
    raise ConfigError(f"no {kind} {name!r}{meant(name, known)}; there are: {', '.join(known)}")
