"""The golden model's two engines, and which of them a machine gets."""

import os

from relaxon_device.base import Device
from relaxon_isa import ArrayConfig, ConfigError, install, meant

from .compiled.loader import available

__all__ = ["ENGINE", "ENGINES", "fastest", "golden_device"]

ENGINES = ("numpy", "compiled")
"""numpy: readable, the judge of all others. compiled: the same bits and cycles as machine code."""
ENGINE = "RELAXON_ENGINE"
"""The environment variable that names the engine where nothing else does."""


def fastest(config: ArrayConfig) -> tuple[str, str]:
    """The fastest engine for a machine; and, where that is numpy, why."""
    if not available():
        return "numpy", f"the compiled one would be faster: {install('fast')}"
    from .compiled.machine import fits

    if not fits(config):
        return "numpy", "this machine's words are too wide for the compiled one"
    return "compiled", ""


def golden_device(config: ArrayConfig, engine: str | None = None) -> Device:
    """The golden model, with the engine of that name; by default the one that `ENGINE` names, or
    the `fastest`.

    Raises ConfigError for an engine that does not exist or is too narrow for the machine, and
    ToolError for one that is not installed.
    """
    engine = engine or os.environ.get(ENGINE) or fastest(config)[0]
    if engine == "numpy":
        from .golden.device import GoldenDevice

        return GoldenDevice(config)
    if engine == "compiled":
        from .compiled.device import CompiledDevice

        return CompiledDevice(config)
    raise ConfigError(f"no engine {engine!r}{meant(engine, ENGINES)}: wanted is numpy or compiled")
