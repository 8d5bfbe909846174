"""The link: two reliable byte streams over one UART, host to board and board to host.

Line
    8 data bits, no parity, 1 stop bit, least significant bit first.
Frame
    ``COBS(header payload crc) 00``. The CRC is CRC-16/GENIBUS (polynomial 0x1021, initial value
    0xFFFF, not reflected, inverted at the end) over header and payload, most significant byte
    first; over a whole frame it is `CRC_RESIDUE`. Inverted, because else a zero byte more behind a
    frame (a damaged delimiter) would pass. A frame of `MAX_PAYLOAD` bytes is one COBS block.
    A delimiter may be sent at any time; empty frames (two delimiters in a row) are ignored.
Header, 7 bytes, little-endian
    ===== ==== ==================================================================
    byte  name meaning
    ===== ==== ==================================================================
    0     ctl  bits 0-3 session (1 to 15; 0 is a board that was never reset),
               bit 4 RESET, bit 5 RESEND, bit 6 RUNNING, bit 7 WAITING (board only)
    1-2   seq  offset in the sender's stream, mod 2**16, of the first payload byte
    3-4   ack  offset in the peer's stream, mod 2**16, of the next byte expected
    5-6   room bytes the sender can take beyond ``ack`` (host: 0xFFFF)
    ===== ==== ==================================================================

The board's receiver, on a frame with a good CRC and whole length (at least 9 bytes decoded, at
most 9 + MAX_PAYLOAD):

1. RESET set (and session not 0): adopt the session; both streams restart at offset 0 with empty
   rings; the command unit and a running program are aborted, the pipeline drains; memories,
   registers and counters keep their contents. Answer with an empty frame that has RESET set.
2. Session differs from its own: ignore.
3. ``ack`` within what was sent and not yet acknowledged: release those bytes of the transmit ring.
4. RESEND set: send again from ``ack`` on.
5. Payload not empty: if ``seq`` is the offset expected and the payload fits in the ring, take it;
   else drop it and count LINK_DROPS.
6. Unless the frame had neither payload nor RESEND: answer with at least one frame (data or empty),
   whose ``ack`` and ``room`` are those of the moment it is made.

A bad frame is dropped and counted in LINK_ERRORS. The board also sends a frame whenever it has
unsent bytes, and an empty one when ``room``, having been less than MAX_PAYLOAD and less than half
of its ring, grows to half of it (the host's window reopens). The board has no timers: after
silence the host sends an empty frame with RESEND, which both asks for what was lost and shows what
arrived.

Commands (the host's stream; integers little-endian; executed strictly in order)
    ========= ==== ====================================================================
    WRITE     0x01 space u8, group u16, lane u8, count u16, elements
    READ      0x02 space u8, group u16, lane u8, count u16 (count >= 1)
    RUN       0x03 row u16, flags u8 (bit 0: counters count)
    SAMPLE    0x04 length u16, bytes for WAIT
    STORE     0x05 address u32, length u16, bytes for the sample memory
    CHECK     0x06 address u32, length u32 (length >= 1)
    RECALL    0x07 address u32, length u16 (length >= 1)
    INDICES   0x08 count u16, that many indices of records, u24 each
    ========= ==== ====================================================================
    WRITE and READ wait until no program runs, or one is stalled in WAIT for a byte; but on a
    machine with a sample buffer a READ of one register, SAMPLES or WRONG, waits for nothing. RUN
    waits until no program runs. SAMPLE hands its bytes to WAIT as they are taken; bytes that arrive
    while no program runs are discarded and answered by one ERROR record. An unknown command byte
    is answered by an ERROR record and everything after it is discarded until RESET. The DONE
    record of a HALT precedes the DATA of a READ that waited for it; a SAMPLE is answered by at
    most one ERROR.

    Machines without a sample memory do not know the last four. STORE, CHECK and RECALL wait as
    WRITE does; bytes beyond the memory are discarded, and read as 0. CHECK reads by the path that
    samples take. INDICES hands records (`samples`) to WAITs that are ahead, as SAMPLE would hand
    their bytes; for other WAITs, and while no program runs, it is as a SAMPLE of no bytes that is
    answered by an ERROR record.

Records (the board's stream): tag u8, length u16, then that many bytes
    ========= ==== ====================================================================
    DATA      0x81 the elements of a READ; the bytes of a RECALL; of a CHECK the CRC-32
                   (ISO-HDLC, as of zlib), u32
    EMIT      0x82 what an EMIT hands over
    DONE      0x83 empty; a program met HALT
    ERROR     0x84 one byte, `BoardError`
    ========= ==== ====================================================================
"""

import struct
from binascii import crc_hqx
from dataclasses import dataclass
from enum import IntEnum, IntFlag

__all__ = [
    "CRC_BYTES",
    "CRC_RESIDUE",
    "HEADER_BYTES",
    "MAX_PAYLOAD",
    "BoardError",
    "Command",
    "Control",
    "Header",
    "Record",
    "crc16",
]

HEADER_BYTES = 7
CRC_BYTES = 2
CRC_RESIDUE = 0xE2F0
MAX_PAYLOAD = 200
SESSION_MASK = 0x0F


class Control(IntFlag):
    """Bits of the header's first byte above the session."""

    RESET = 0x10
    RESEND = 0x20
    RUNNING = 0x40
    WAITING = 0x80


class Command(IntEnum):
    WRITE = 0x01
    READ = 0x02
    RUN = 0x03
    SAMPLE = 0x04
    STORE = 0x05
    CHECK = 0x06
    RECALL = 0x07
    INDICES = 0x08


class Record(IntEnum):
    DATA = 0x81
    EMIT = 0x82
    DONE = 0x83
    ERROR = 0x84


class BoardError(IntEnum):
    """What an ERROR record says."""

    UNKNOWN_COMMAND = 1
    SAMPLE_WITHOUT_PROGRAM = 2


@dataclass(frozen=True)
class Header:
    """A frame's header; see the module's table."""

    session: int
    control: Control
    seq: int
    ack: int
    room: int

    def pack(self) -> bytes:
        return struct.pack("<BHHH", self.session | self.control, self.seq, self.ack, self.room)

    @classmethod
    def unpack(cls, data: bytes) -> "Header":
        ctl, seq, ack, room = struct.unpack("<BHHH", data[:HEADER_BYTES])
        return cls(ctl & SESSION_MASK, Control(ctl & ~SESSION_MASK), seq, ack, room)


def crc16(data: bytes) -> int:
    """CRC-16/GENIBUS; `CRC_RESIDUE` over a frame that ends in its own CRC."""
    return crc_hqx(data, 0xFFFF) ^ 0xFFFF
