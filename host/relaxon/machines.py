"""Machines: those that have a name, the presets, and one's own, in a TOML file.

A file has fields of `ArrayConfig`, and may say which preset has the values of the others::

    base = "ecp5-85f"     # without it: the defaults of ArrayConfig
    weight_bits = 12
    weight_depth = 512

`relaxon config PRESET` writes all fields of a preset, each with what it means.
"""

import inspect
import json
import re
import tomllib
from dataclasses import asdict, fields
from pathlib import Path

from relaxon_isa import PRESETS, ArrayConfig, ConfigError, DataError, meant, preset
from relaxon_isa.identity import fingerprint

__all__ = ["SUFFIX", "find_machine", "is_file", "preset_of", "read_machine", "to_toml"]

SUFFIX = ".toml"
BASE = "base"
FIELDS = {field.name: field.type for field in fields(ArrayConfig)}


def is_file(name: str) -> bool:
    """Whether a machine's name is that of a file."""
    return name.lower().endswith(SUFFIX)


def find_machine(name: str | Path) -> ArrayConfig:
    """The machine of that name: a preset, or a TOML file (``*.toml``).

    Raises ConfigError that names the field that is wrong, or lists the presets; DataError if there
    is no such file.
    """
    if isinstance(name, Path) or is_file(name):
        return read_machine(Path(name))
    return preset(name)


def read_machine(path: Path) -> ArrayConfig:
    """The machine that a TOML file describes. Raises as `find_machine`."""
    try:
        given = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise DataError(
            f"{path}: no such file; relaxon config default > {path} makes one to start from"
        ) from None
    except (OSError, ValueError) as error:  # a TOMLDecodeError is a ValueError
        raise DataError(f"{path}: cannot be read as TOML ({error})") from error
    base = given.pop(BASE, None)
    try:
        if base is not None and not isinstance(base, str):
            raise ConfigError(f"base = {base!r}: must be the name of a preset")
        for name, value in given.items():
            if name not in FIELDS:
                raise ConfigError(
                    f"no field {name!r}{meant(name, [BASE, *FIELDS])}; there are: "
                    f"{', '.join([BASE, *FIELDS])}"
                )
            given[name] = _value(name, value)
        return preset(base).replace(**given) if base else ArrayConfig(**given)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _value(name: str, value: object) -> object:
    """A value of the file as `ArrayConfig` takes it, which checks what it may be."""
    wanted = FIELDS[name]
    if wanted is not bool and isinstance(value, bool):  # which Python takes for an int
        raise ConfigError(f"{name} = {json.dumps(value)}: must be no truth value")
    if wanted is bool and not isinstance(value, bool):
        raise ConfigError(f"{name} = {value!r}: must be true or false")
    if wanted is int and not isinstance(value, int):
        raise ConfigError(f"{name} = {value!r}: must be a whole number")
    if name == "learn_shifts":
        if not isinstance(value, list):
            raise ConfigError(f"{name} = {value!r}: must be two whole numbers, as [14, 20]")
        return tuple(value)
    return value


def preset_of(wanted: str) -> str | None:
    """Name of the preset that has a fingerprint, or None."""
    return next((name for name, config in PRESETS.items() if fingerprint(config) == wanted), None)


def to_toml(config: ArrayConfig, title: str = "") -> str:
    """A machine as TOML, each field below what it means; `read_machine` reads it back."""
    meanings = _meanings()
    lines = [f"# {line}" for line in title.splitlines()]
    told = None
    for name, value in asdict(config).items():
        if (meaning := meanings.get(name)) != told:
            lines += ["", *(f"# {line}" for line in meaning or [])]
            told = meaning
        lines.append(f"{name} = {json.dumps(value)}")
    return "\n".join(lines).strip() + "\n"


def _meanings() -> dict[str, list[str]]:
    """What the docstring of `ArrayConfig` says of each field; fields that share a text share it."""
    found: dict[str, list[str]] = {}
    text: list[str] = []
    for line in (inspect.getdoc(ArrayConfig) or "").splitlines():
        if re.fullmatch(r"\w+(, \w+)*", line):
            text = []
            found |= dict.fromkeys(line.split(", "), text)
        elif line.startswith("    "):
            text.append(line.strip())
    return found
