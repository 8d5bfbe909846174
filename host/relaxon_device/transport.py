"""Byte transports: what a link needs of a line.

A transport reads, writes and closes; it knows nothing of frames. Anything with these three methods
will do, a simulated line too.
"""

import contextlib
import errno
import io
import os
import select
import sys
from typing import Protocol

import serial
from serial.tools import list_ports

from relaxon_isa import DeviceError, LinkError

from .link import FRAME_BYTES, MAX_BURST

__all__ = ["DEFAULT_BAUD", "SerialTransport", "Transport", "serial_ports"]

DEFAULT_BAUD = 1_000_000
"""Bits/s. Divides the clocks of all boards and of the usual USB bridges exactly."""


PSEUDO_TERMINALS = ("/dev/pts/", "/dev/ttys")
"""Of Linux and of macOS."""


class Transport(Protocol):
    """A line that carries bytes both ways, in order."""

    name: str
    """What a user calls it: the port."""

    def read(self, timeout: float) -> bytes:
        """The bytes that are there; if there are none, wait for some up to ``timeout`` seconds.

        Raises LinkError when the other end is gone.
        """
        ...

    def write(self, data: bytes) -> None:
        """Hand all of ``data`` to the line. Raises LinkError when it is gone or takes nothing."""
        ...

    def close(self) -> None:
        """Give the line back. More than once is allowed."""
        ...


def serial_ports() -> list[str]:
    """Names of the serial ports of this computer."""
    return sorted(port.device for port in list_ports.comports())


class SerialTransport:
    """A serial port, a pseudo-terminal, or a pyserial URL (``socket://host:port``).

    Parameters
    ----------
    port
        What the system calls it: ``/dev/ttyUSB0``, ``COM3``, ``/dev/pts/4``.
    baud
        Bits/s; a pseudo-terminal ignores it.

    Members
    -------
    paced
        Whether bytes go at the rate: not on a pseudo-terminal or a network, where they go as the
        other end finds the time.

    Raises DeviceError if the port does not exist, is in use or is no serial port.
    """

    def __init__(self, port: str, baud: int = DEFAULT_BAUD) -> None:
        self.name = port
        burst = 10 * FRAME_BYTES * (MAX_BURST + 2) / baud  # s that what is written at once takes
        try:
            # Two programs on one port would each lose half of the other's bytes.
            self._serial = serial.serial_for_url(
                port, baudrate=baud, timeout=0, write_timeout=2 + 2 * burst, exclusive=True
            )
        except (OSError, ValueError) as error:  # a SerialException is an OSError
            raise DeviceError(_why_not(port, error)) from error
        if sys.platform != "win32":  # else USB bridges hold bytes for 16 ms
            with contextlib.suppress(OSError, ValueError, AttributeError, NotImplementedError):
                self._serial.set_low_latency_mode(True)
        self._fd = None
        self._remote = "://" in port
        self.paced = not (self._remote or os.path.realpath(port).startswith(PSEUDO_TERMINALS))
        if os.name == "posix":
            with contextlib.suppress(io.UnsupportedOperation, AttributeError):
                self._fd = self._serial.fileno()

    def read(self, timeout: float) -> bytes:
        try:
            if self._fd is not None:
                if not select.select([self._fd], [], [], max(timeout, 0))[0]:
                    return b""
                data = os.read(self._fd, 1 << 16)
                if not data:  # readable, and nothing to read: hung up, or somebody else read it
                    if self._remote:
                        raise OSError(errno.EIO, "the other end hung up")
                    _ = self._serial.in_waiting  # a port that was hung up says so here
                return data
            self._serial.timeout = max(timeout, 0)
            return self._serial.read(1) + self._serial.read(self._serial.in_waiting)
        except BlockingIOError:
            return b""
        except (OSError, ValueError, TypeError) as error:  # what a closed port raises, too
            raise self._gone(error) from error

    def write(self, data: bytes) -> None:
        try:
            self._serial.write(data)
        except serial.SerialTimeoutException as error:
            raise LinkError(
                f"{self.name} takes no bytes: nobody reads at its other end; "
                "check that the board (or `relaxon virtual`) runs"
            ) from error
        except (OSError, ValueError, TypeError) as error:
            raise self._gone(error) from error

    def close(self) -> None:
        self._fd = None
        with contextlib.suppress(OSError):
            self._serial.close()

    def _gone(self, error: Exception) -> LinkError:
        return LinkError(
            f"{self.name} is gone ({error}): was the board unplugged or switched off, "
            "or `relaxon virtual` ended? Connect it again and resume"
        )


def _why_not(port: str, error: Exception) -> str:
    """Why a port does not open, and what to do."""
    number = getattr(error, "errno", None)
    names = ", ".join(serial_ports()) or "none"
    if number in (errno.ENOENT, errno.ENXIO, errno.ENODEV):
        return (
            f"no port {port}; this computer has: {names}. Plug the board in, "
            "or run `relaxon virtual` and use the port that it prints"
        )
    if number in (errno.EACCES, errno.EPERM):
        return (
            f"no permission to open {port}; on Linux: sudo usermod -aG dialout $USER, "
            "then log in again"
        )
    if number in (errno.EAGAIN, errno.EBUSY):
        return f"{port} is in use by another program; close that one first"
    return f"{port} is not a serial port that can be used ({error}); this computer has: {names}"
