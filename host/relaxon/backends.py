"""Opening a device by name."""

import os
import sys
from collections.abc import Callable
from inspect import signature
from types import ModuleType

from relaxon_device.base import Device
from relaxon_isa import ArrayConfig, ConfigError, DeviceError, ToolError, install, meant

from .machines import find_machine

__all__ = ["BACKENDS", "open_device", "tcp_bridge", "virtual_board"]

BACKENDS = ("golden", "virtual")
"""Besides these, a backend is the name of a serial port."""


def open_device(backend: str, config: ArrayConfig | str = "default", **options: object) -> Device:
    """Open "golden" (the golden model), "virtual" (the gateware, compiled, on a pseudo-terminal) or
    a serial port ("/dev/ttyUSB0", "COM3"; "/dev/ttyUSB0@3000000" where 1,000,000 baud is not it).

    ``config`` (or the name of a preset, or of a TOML file: `relaxon.machines`) is what golden and
    virtual are built as; a board brings its own. ``options`` go to the backend; golden's is
    ``engine``, "numpy" or "compiled", by default the faster one of those that are installed and
    wide enough. Raises ConfigError, DataError, DeviceError or ToolError.
    """
    if not isinstance(backend, str):
        raise ConfigError(f"backend {backend!r}: must be golden, virtual or a port's name")
    if isinstance(config, str):
        config = find_machine(config)
    if not isinstance(config, ArrayConfig):
        raise ConfigError(f"config {config!r}: must be an ArrayConfig, a preset's name or a file's")
    if backend.lower() == "golden":
        from relaxon_sim.engines import golden_device

        return _opened(backend, golden_device, config, options)
    if backend.lower() == "virtual":
        return _opened(backend, _simulation().virtual_device, config, {"report": _say, **options})
    from relaxon_device.serial import SerialDevice

    port, rate = port_of(backend)
    return _opened(backend, SerialDevice.open, port, {"baud": rate, **options})


def port_of(backend: str) -> tuple[str, int]:
    """A serial port's name and rate. Raises DeviceError for what cannot be one."""
    from relaxon_device.transport import DEFAULT_BAUD, serial_ports

    port, at, rate = backend.rpartition("@") if "://" not in backend else (backend, "", "")
    if not at:
        port, rate = backend, str(DEFAULT_BAUD)
    hint = "" if os.sep in port else meant(port, BACKENDS)
    if not port or hint:
        raise DeviceError(
            f"no backend {backend!r}{hint}: wanted is golden, virtual, or a serial port (this "
            f"computer has: {', '.join(serial_ports()) or 'none'})"
        )
    if not (rate.isdecimal() and int(rate)):
        raise DeviceError(f"{backend}: the rate {rate!r} is no number of bits/s, as @3000000 is")
    return port, int(rate)


def _opened(backend: str, opens: Callable, what: object, options: dict) -> Device:
    """A device; options that its backend does not have are refused."""
    try:
        signature(opens).bind(what, **options)
    except TypeError as error:
        raise ConfigError(f"backend {backend}: {error}") from error
    return opens(what, **options)


def virtual_board(config: ArrayConfig, **options: object):
    """A running virtual board, a context manager with ``port`` and ``wait``."""
    return _simulation().VirtualBoard(config, **{"report": _say, **options})


def tcp_bridge(port: str, number: int):
    """A serial port on a TCP port of this computer, a context manager with ``url``."""
    from relaxon_device.transport import SerialTransport

    return _simulation().Bridge(SerialTransport(port), number)


def _say(step: str) -> None:
    """Building a virtual board takes minutes, once: nobody is to wait for it in silence."""
    print(f"building the virtual board (kept for later runs): {step}", file=sys.stderr, flush=True)


def _simulation() -> ModuleType:
    try:
        import relaxon_sim.board as simulation
    except ImportError as error:
        raise ToolError(f"the virtual board needs {error.name}: {install('sim')}") from error
    return simulation
