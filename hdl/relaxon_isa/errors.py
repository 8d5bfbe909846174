"""The one error tree. The command line maps these classes to exit codes (`relaxon.cli`)."""

import sys

__all__ = [
    "ConfigError",
    "DataError",
    "DeviceError",
    "LinkError",
    "ProgramError",
    "RelaxonError",
    "ToolError",
    "install",
]


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
