"""The one error tree. The command line maps these classes to exit codes (`relaxon.cli`)."""

import sys
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TypeVar

__all__ = [
    "ConfigError",
    "DataError",
    "DeviceError",
    "DifferenceError",
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
    """Base of all errors meant for the user: what was asked, what is possible, the remedy."""


class ConfigError(RelaxonError):
    """The array configuration is impossible, or the network does not fit it."""


class ProgramError(RelaxonError):
    """The configuration cannot run the program."""


class DataError(RelaxonError):
    """A file, a sample or a label cannot be used."""


class DeviceError(RelaxonError):
    """The board is absent, is not the expected one, or does not respond."""


class LinkError(DeviceError):
    """The line to the board loses or damages more than the link can repair."""


class DifferenceError(RelaxonError):
    """A run that is done again is not, or did not end as, the one before."""


class ToolError(RelaxonError):
    """A tool (compiler, synthesis) is missing or failed."""


def install(extra: str) -> str:
    """Command that installs the packages of ``extra``, as the remedy in an error's text.

    relaxon is on no package index: its clone has the extras.
    """
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
