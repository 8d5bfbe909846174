"""A line that changes what no frame's CRC shows."""

from cobs import cobs

from relaxon_device.transport import Transport
from relaxon_isa.link import CRC_BYTES, HOST_HEADER_BYTES, crc16

__all__ = ["EvilLine"]


class EvilLine:
    """A transport that looks for bytes in the host's stream, changes a bit behind them once, and
    makes the frame's CRC right again.

    Parameters
    ----------
    inner
        The line.
    mark
        Bytes of a frame's payload; the bit is the next byte's lowest.
    """

    def __init__(self, inner: Transport, mark: bytes) -> None:
        self.inner, self.mark, self.name = inner, mark, inner.name
        self.done = False

    def write(self, data: bytes) -> None:
        self.inner.write(b"\0".join(map(self._frame, data.split(b"\0"))))

    def _frame(self, data: bytes) -> bytes:
        body = bytearray(cobs.decode(data) if data else b"")
        at = body.find(self.mark, HOST_HEADER_BYTES, -CRC_BYTES - 1)
        if self.done or at < 0:
            return data
        self.done = True
        body[at + len(self.mark)] ^= 1
        body[-CRC_BYTES:] = crc16(bytes(body[:-CRC_BYTES])).to_bytes(CRC_BYTES, "big")
        return cobs.encode(bytes(body))

    def read(self, timeout: float) -> bytes:
        return self.inner.read(timeout)

    def close(self) -> None:
        self.inner.close()
