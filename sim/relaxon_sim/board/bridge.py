"""A board's port on TCP: what pyserial's ``socket://host:port`` connects to."""

import socket
import threading
from contextlib import suppress
from typing import Self

from relaxon_device.transport import Transport
from relaxon_isa import DeviceError, ToolError

__all__ = ["Bridge"]

POLL_SECONDS = 0.1
"""How long a read waits before it looks whether the client is still there."""


class Bridge:
    """Carries bytes between a line and one TCP client at a time. A context manager.

    Parameters
    ----------
    line
        The board's; the bridge closes it.
    port, host
        Where to listen; port 0 takes a free one. Whoever reaches it commands the board: by default
        this computer alone.

    Members
    -------
    url
        What a host gives to ``--backend``.

    Raises ToolError if the port cannot be had.
    """

    def __init__(self, line: Transport, port: int = 0, host: str = "127.0.0.1") -> None:
        self._line = line
        self._ending = threading.Event()
        try:
            self._listener = socket.create_server((host, port))
        except OSError as error:
            raise ToolError(f"cannot listen on TCP port {port}: {error.strerror}") from error
        self.url = f"socket://{host}:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        while not self._ending.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            with client:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                there = threading.Event()
                reader = threading.Thread(target=self._to_client, args=(client, there), daemon=True)
                reader.start()
                with suppress(OSError, DeviceError):
                    while data := client.recv(1 << 16):
                        self._line.write(data)
                there.set()
                reader.join()

    def _to_client(self, client: socket.socket, gone: threading.Event) -> None:
        with suppress(OSError, DeviceError):
            while not gone.is_set() and not self._ending.is_set():
                if data := self._line.read(POLL_SECONDS):
                    client.sendall(data)

    def close(self) -> None:
        """End it; more than once is allowed."""
        self._ending.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        if self._thread.is_alive():
            self._thread.join(2 * POLL_SECONDS)
        self._line.close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
