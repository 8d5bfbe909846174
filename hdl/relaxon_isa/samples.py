"""The sample memory: records of one size, behind a header that says what they are.

Addresses are of bytes. The header takes the first `HEADER_BYTES`; it is the host's alone, the
machine does not read it. Record i begins at ``HEADER_BYTES + i * stride``, where the stride is the
record's bytes, rounded up to an even number. A record has the bytes that a SAMPLE has for one WAIT
with ``ahead``: values, and the label if the WAIT has ``outputs``; so both give the same bits. The
format is that of the program's WAITs, as for the loader.

The header is JSON, padded with zeros. The host writes it last and clears it first, so that records
are whole where a header is. Before a run from memory it has header and records CHECKed: power may
have failed, bits may have flipped.
"""

import json
from dataclasses import asdict, dataclass

from .config import CONTRACT_VERSION, ArrayConfig
from .cycles import wait_bytes
from .errors import DataError
from .instructions import Wait

__all__ = ["HEADER_BYTES", "INDEX_BYTES", "MemoryHeader", "record_address", "record_stride"]

HEADER_BYTES = 1024
"""A whole number of rows of every memory."""
INDEX_BYTES = 3
MAGIC = "relaxon samples"


def record_stride(config: ArrayConfig, wait: Wait) -> int:
    """Bytes from a record to the next."""
    size = wait_bytes(config, wait)
    return size + size % 2


def record_address(config: ArrayConfig, wait: Wait, index: int) -> int:
    """The byte that a record begins with."""
    return HEADER_BYTES + index * record_stride(config, wait)


@dataclass(frozen=True, kw_only=True)
class MemoryHeader:
    """What a sample memory holds.

    Parameters
    ----------
    digest
        Of the data set, hexadecimal.
    records
        How many.
    record_bytes
        Bytes of one, without what makes its stride even.
    crc
        CRC-32 of all records, from the first one's first byte to the last one's last, gaps between
        them as zeros.
    """

    digest: str
    records: int
    record_bytes: int
    crc: int

    def encode(self) -> bytes:
        """`HEADER_BYTES` bytes. Raises DataError if a digest is too long."""
        fields = {"magic": MAGIC, "contract": CONTRACT_VERSION, **asdict(self)}
        text = json.dumps(fields, separators=(",", ":")).encode()
        if len(text) > HEADER_BYTES:
            raise DataError(f"a header of {len(text)} bytes: at most {HEADER_BYTES}")
        return text.ljust(HEADER_BYTES, b"\0")

    @classmethod
    def decode(cls, data: bytes) -> "MemoryHeader | None":
        """None if there is no header of this contract."""
        try:
            fields = json.loads(bytes(data).rstrip(b"\0"))
            if (fields.pop("magic"), fields.pop("contract")) != (MAGIC, CONTRACT_VERSION):
                return None
            return cls(**fields)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
