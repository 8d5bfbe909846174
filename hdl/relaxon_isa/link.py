"""The link: two reliable byte streams over one UART, host to board and board to host.

Line
    8 data bits, no parity, 1 stop bit, least significant bit first.
Frame
    ``COBS(header payload crc) 00``. The CRC is CRC-16/GENIBUS (polynomial 0x1021, initial value
    0xFFFF, not reflected, inverted at the end) over header and payload, most significant byte
    first; over a whole frame it is `CRC_RESIDUE`. Inverted, because else a zero byte more behind a
    frame (a damaged delimiter) would pass. A frame of `MAX_PAYLOAD` bytes is one COBS block.
    A delimiter may be sent at any time; empty frames (two delimiters in a row) are ignored.
Header, little-endian
    ===== ===== ==================================================================
    byte  name  meaning
    ===== ===== ==================================================================
    0     ctl   bits 0-3 session (1 to 15; 0 is a board that was never reset),
                bit 4 RESET, bit 5 RESEND (host only),
                bit 6 RUNNING, bit 7 WAITING (board only)
    1-2   seq   offset in the sender's stream, mod 2**16, of the first payload byte
    3-4   ack   offset in the peer's stream, mod 2**16, of the next byte expected
    5     name  host: this frame's number, mod 256; board: of the host's frames that it
                acted upon, the latest one's name
    6-7   room  board only: bytes it can take beyond ``ack``; bit 15 KEEPS: ``kept`` follows
    8-11  kept  board only, in every frame if its configuration has ``selective_repeat``, else
                never. Bit k mod 32 is set: block k of the host's stream, bytes ``64 * k`` to
                ``64 * k + 63``, is kept, where k is one of the 32 numbers from ``ack // 64`` on
    ===== ===== ==================================================================
    So the host's header has 6 bytes, the board's 8 or 12. The host counts ``name`` up with every
    frame that has a payload or RESEND, and gives to others the name of the frame before; it has at
    most 127 names on their way. The line keeps its order: what was sent with a name up to the one
    in an answer, and is beyond that answer's ``ack`` and not kept, is lost.

The board's receiver, on a frame with a good CRC and whole length (at least 8 bytes decoded, at
most 8 + MAX_PAYLOAD):

1. RESET set (and session not 0): adopt session and name; both streams restart at offset 0 with
   empty rings and nothing kept; the command unit and a running program are aborted, the pipeline
   drains; memories, registers and counters keep their contents. Answer with an empty frame that has
   RESET set.
2. Session differs from its own: ignore. Else adopt the name.
3. ``ack`` within what was sent (since the board last went back) and not yet acknowledged: release
   those bytes of the transmit ring.
4. RESEND set: send again from ``ack`` on.
5. Payload not empty: if ``seq`` is the offset expected and the payload fits in the ring, take it
   (blocks that it passes are kept no longer), and then every block that follows and is kept.
   Else, with ``selective_repeat``, if ``seq`` lies beyond the offset expected, ``seq`` and the
   payload's length are multiples of 64, the payload ends within ``room``, and its last block is at
   most 31 blocks behind the one of the offset expected: keep its blocks.
   Else drop it and count LINK_DROPS.
6. Unless the frame had neither payload nor RESEND: answer with at least one frame (data or empty),
   whose ``ack``, ``name``, ``room`` and ``kept`` are those of the moment it is made.

A frame may be made while rule 5 takes kept blocks one by one: its ``ack`` and ``kept`` say how far
that is, and the bit of the block of ``ack`` itself may still be set. A bad frame is dropped and
counted in LINK_ERRORS; whatever its header says, it changes nothing that is expected, valid or
kept. The board also sends a frame whenever it has unsent bytes, and an empty one when ``room``,
having been less than MAX_PAYLOAD and less than half of its ring, grows to half of it (the host's
window reopens). The board has no timers: after silence the host sends an empty frame with RESEND,
which both asks for what was lost and shows what arrived.

Commands (the host's stream; integers little-endian; executed strictly in order)
    ========= ==== ====================================================================
    WRITE     0x01 space u8, group u16, lane u8, count u16, elements
    READ      0x02 space u8, group u16, lane u8, count u16 (count >= 1)
    RUN       0x03 row u16, flags u8 (bit 0: counters count)
    SAMPLE    0x04 length u16, bytes for WAIT
    CHECKSUM  0x05 CRC-32 (ISO-HDLC, as of zlib) of the host's stream from RESET up to these
                   four bytes, u32
    RUNS      0x06 length u16, bytes for WAIT as zero runs
    STORE     0x07 address u32, length u16, bytes for the sample memory
    CHECK     0x08 address u32, length u32 (length >= 1)
    RECALL    0x09 address u32, length u16 (length >= 1)
    INDICES   0x0A count u16, that many indices of records, u24 each
    ========= ==== ====================================================================
    WRITE and READ wait until no program runs, or one is stalled in WAIT for a byte; but on a
    machine with a sample buffer a READ of one register, SAMPLES or WRONG, waits for nothing. RUN
    waits until no program runs. SAMPLE hands its bytes to WAIT as they are taken; bytes that arrive
    while no program runs are discarded and answered by one ERROR record. An unknown command byte
    is answered by an ERROR record and everything after it is discarded until RESET. The DONE
    record of a HALT precedes the DATA of a READ that waited for it; a SAMPLE is answered by at
    most one ERROR.

    CHECKSUM is the stream's check from end to end: the command unit runs the CRC over every byte
    that it takes, of commands and of what they bring, discarded or not, those of CHECKSUMs too.
    It waits for nothing. Where the CRCs agree nothing is said; where they differ it is as with an
    unknown command: an ERROR record, and everything after it is discarded until RESET.

    Machines without ``zero_runs`` do not know RUNS, which is a SAMPLE but for the form of its
    bytes: a number z (u8), which stands for z bytes 0; a number n (u8); n bytes as they are; and so
    on from another z. It ends where ``length`` ends, be that after a z, an n or amid the n bytes.
    The rule of bytes that no program takes holds for the bytes that it stands for.

    Machines without a sample memory do not know the last four. STORE, CHECK and RECALL wait as
    WRITE does; bytes beyond the memory are discarded, and read as 0. A STORE's address is even (its
    lowest bit is ignored), and behind an odd last byte a 0 is stored. CHECK and RECALL read by the
    path that samples take. INDICES hands records (`samples`) to WAITs that are ahead, as SAMPLE
    would hand their bytes, in turn with these; indices that arrive while no program runs, or while
    one is stalled in a WAIT that is not ahead, are discarded and answered by one ERROR record.

Records (the board's stream): tag u8, length u16, then that many bytes
    ========= ==== ====================================================================
    DATA      0x81 the elements of a READ; the bytes of a RECALL; of a CHECK the CRC-32
                   (ISO-HDLC, as of zlib), u32
    EMIT      0x82 what an EMIT hands over
    DONE      0x83 empty; a program met HALT
    ERROR     0x84 one byte, `BoardError`: 1 unknown command, 2 sample without a program, 3 wrong
                   checksum
    ========= ==== ====================================================================
"""

import struct
from binascii import crc_hqx
from dataclasses import dataclass
from enum import IntEnum, IntFlag

__all__ = [
    "BLOCK_BYTES",
    "BOARD_HEADER_BYTES",
    "CRC_BYTES",
    "CRC_RESIDUE",
    "HOST_HEADER_BYTES",
    "KEEPS",
    "KEPT_BYTES",
    "MAX_PAYLOAD",
    "STREAM_RESIDUE",
    "BoardError",
    "BoardHeader",
    "Command",
    "Control",
    "HostHeader",
    "Record",
    "crc16",
]

HOST_HEADER_BYTES = 6
BOARD_HEADER_BYTES = 8
"""Without ``kept``."""
KEEPS = 0x8000
KEPT_BYTES = 4
CRC_BYTES = 2
CRC_RESIDUE = 0xE2F0
BLOCK_BYTES = 64
"""Unit of what is kept behind a gap."""
MAX_PAYLOAD = 3 * BLOCK_BYTES
STREAM_RESIDUE = 0x2144DF1C
"""CRC-32 of any bytes followed by their own CRC-32."""
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
    CHECKSUM = 0x05
    RUNS = 0x06
    STORE = 0x07
    CHECK = 0x08
    RECALL = 0x09
    INDICES = 0x0A
    ORDER = 0x0B
    """See `order`."""


class Record(IntEnum):
    DATA = 0x81
    EMIT = 0x82
    DONE = 0x83
    ERROR = 0x84


class BoardError(IntEnum):
    """What an ERROR record says."""

    UNKNOWN_COMMAND = 1
    SAMPLE_WITHOUT_PROGRAM = 2
    WRONG_CHECKSUM = 3


@dataclass(frozen=True)
class HostHeader:
    """The header of the host's frames; see the module's table."""

    session: int
    control: Control
    seq: int
    ack: int
    name: int

    def pack(self) -> bytes:
        return struct.pack("<BHHB", self.session | self.control, self.seq, self.ack, self.name)

    @classmethod
    def unpack(cls, data: bytes) -> "HostHeader":
        """From the first bytes of ``data``. Raises struct.error if there are too few."""
        ctl, *rest = struct.unpack_from("<BHHB", data)
        return cls(ctl & SESSION_MASK, Control(ctl & ~SESSION_MASK), *rest)


@dataclass(frozen=True)
class BoardHeader:
    """The header of the board's frames; ``kept`` is None without KEEPS."""

    session: int
    control: Control
    seq: int
    ack: int
    name: int
    room: int
    kept: int | None = None

    def pack(self) -> bytes:
        ctl = self.session | self.control
        room = self.room if self.kept is None else self.room | KEEPS
        data = struct.pack("<BHHBH", ctl, self.seq, self.ack, self.name, room)
        return data if self.kept is None else data + self.kept.to_bytes(KEPT_BYTES, "little")

    @classmethod
    def unpack(cls, data: bytes) -> "tuple[BoardHeader, int]":
        """From the first bytes of ``data``; and how many they are. Raises struct.error if there
        are too few."""
        ctl, seq, ack, name, room = struct.unpack_from("<BHHBH", data)
        kept = struct.unpack_from("<I", data, BOARD_HEADER_BYTES)[0] if room & KEEPS else None
        control = Control(ctl & ~SESSION_MASK)
        header = cls(ctl & SESSION_MASK, control, seq, ack, name, room & ~KEEPS, kept)
        return header, BOARD_HEADER_BYTES + KEPT_BYTES * (kept is not None)


def crc16(data: bytes) -> int:
    """CRC-16/GENIBUS; `CRC_RESIDUE` over a frame that ends in its own CRC."""
    return crc_hqx(data, 0xFFFF) ^ 0xFFFF
