"""The host's half of the link (`relaxon_isa.link`), without I/O and without a clock.

Bytes that a transport read go into `HostLink.receive`, bytes that it is to write come out of
`HostLink.transmit`; both are told the time. The same class so serves a serial port, a bench and
a simulated line with faults.

Only frames with a good CRC and of this session count. Every answer names the frame that it
answers, so the host knows what is lost and never has to guess by the time:

========================== =================================================================
what the host notices      what it does
========================== =================================================================
a piece of its stream lost sends it again, under a new name: that piece alone where the board keeps
                           frames behind a gap, else all from it on
many pieces lost           cuts its stream into shorter frames
a gap, a damaged frame     asks: an empty frame with RESEND, from the next byte it expects; not
                           again before an answer names that question, or is overdue
silence, for longer than   asks, which also settles what its own frames before have come to;
answers took so far        waits longer from time to time
silence for ``patience``   ends with a LinkError
========================== =================================================================
"""

import re
from collections import deque
from dataclasses import dataclass
from math import exp
from struct import error as TooShort

from cobs import cobs

from relaxon_isa import (
    BLOCK_BYTES,
    BOARD_HEADER_BYTES,
    CRC_BYTES,
    HOST_HEADER_BYTES,
    KEPT_BYTES,
    MAX_PAYLOAD,
    SESSION_MASK,
    BoardHeader,
    Control,
    HostHeader,
    LinkError,
    Record,
    crc16,
)

__all__ = [
    "FRAME_BYTES",
    "QUESTION",
    "HostLink",
    "LinkStats",
    "RecordReader",
    "decode_frame",
    "encode_frame",
    "encode_runs",
]

OVERHEAD = HOST_HEADER_BYTES + CRC_BYTES + 2
FRAME_BYTES = OVERHEAD + MAX_PAYLOAD
"""Bytes on the line of the host's longest frame: one COBS block and its delimiter."""
LINE_BYTES = BOARD_HEADER_BYTES + KEPT_BYTES + MAX_PAYLOAD + CRC_BYTES + 2
"""Of the board's longest."""

KEPT_BLOCKS = 8 * KEPT_BYTES

WORTH = 8
"""Less room than this part of the board's ring, and than a full frame, is not worth a frame: the
board tells when half of its ring is free again."""
MAX_BURST = 8
"""Data frames that one `HostLink.transmit` makes, so that reading never waits for long."""
MAX_NAMES = 64
"""Data frames on their way; as many names again are left for questions."""
SHORTEST_WAIT = 0.02
"""Seconds of silence before the host asks, at least: a computer's own delays are no silence."""
LONGEST_WAIT = 2.0
"""As it asks again and again; longer only where answers take longer."""
MEMORY_BYTES = 1 << 14
"""How many of the last bytes sent tell how bad the line is."""
QUESTIONS = 8
"""Asked in vain, or times that the same bytes were lost, before the host may give up."""
RESET_INTERVAL = 0.2
RESET_TRIES = 9
"""Together under 2 s: how long a board that is not there can keep a user waiting, unless
`HostLink`'s timeout, that of a slow line, is longer."""


def encode_frame(header: HostHeader | BoardHeader, payload: bytes = b"") -> bytes:
    """The frame as it goes over the line, delimiter included."""
    body = header.pack() + payload
    return cobs.encode(body + crc16(body).to_bytes(CRC_BYTES, "big")) + b"\0"


def decode_frame(data: bytes) -> tuple[BoardHeader, bytes] | None:
    """Header and payload of a board's frame without its delimiter; None if it is damaged."""
    try:
        body = cobs.decode(data)
        if crc16(body[:-CRC_BYTES]) != int.from_bytes(body[-CRC_BYTES:], "big"):
            return None
        header, start = BoardHeader.unpack(body[:-CRC_BYTES])
    except (cobs.DecodeError, TooShort):
        return None
    payload = body[start:-CRC_BYTES]
    return (header, payload) if len(payload) <= MAX_PAYLOAD else None


RUN = re.compile(rb"(\0{0,255})((?:[^\0]|\0(?=\0?[^\0])){0,255})")
"""Zeros, and what stands as it is until the next three zeros: fewer would not pay."""


def encode_runs(data: bytes) -> bytes:
    """What a RUNS carries for these bytes of a sample."""
    out = bytearray()
    for zeros, literals in RUN.findall(data):
        out.append(len(zeros))
        out.append(len(literals))
        out += literals
    # The last match is empty; and where zeros end the sample, they end the command.
    del out[-2:]
    return bytes(out[:-1] if data.endswith(b"\0") else out)


QUESTION = b"\0" + encode_frame(HostHeader(0, Control.RESEND, 0, 0, 0))
"""Before the first RESET: only a board that was never reset since power-on answers."""


@dataclass
class LinkStats:
    """What happened on the line since the link was made; frames, bytes where said."""

    whole: int = 0
    damaged: int = 0
    foreign: int = 0
    """Frames of another session."""
    gaps: int = 0
    asked: int = 0
    """RESENDs sent."""
    lost: int = 0
    """Frames of the host's that had to be sent again."""
    bytes_sent: int = 0
    """Payload, repetitions included."""
    bytes_repeated: int = 0
    bytes_received: int = 0
    """Payload, repetitions left out."""
    line_bytes: int = 0
    """All that came off the line, frames or not."""

    @property
    def errors(self) -> int:
        """How often something was wrong with the line."""
        return self.damaged + self.gaps + self.lost

    @property
    def rate(self) -> float:
        """Errors a byte, about: of the way that has more."""
        up = self.lost / max(1, self.bytes_sent)
        return max(up, self.damaged / max(1, self.line_bytes))

    def __str__(self) -> str:
        return (
            f"about {self.rate:.0e} errors a byte: {self.damaged} frames damaged, {self.gaps} "
            f"after a gap, {self.lost} lost and sent again ({self.bytes_repeated} of "
            f"{self.bytes_sent} bytes), {self.foreign} of other sessions"
        )


class _RoundTrip:
    """How long answers take, and so how long to wait for one (RFC 6298).

    ``timeout``: seconds to wait while none has come.
    """

    def __init__(self, timeout: float) -> None:
        self.mean = 0.0
        self.deviation = 0.0
        self.timeout = timeout
        self.longest = max(timeout, LONGEST_WAIT)

    def took(self, seconds: float) -> None:
        if not self.mean:
            self.mean, self.deviation = seconds, seconds / 2
        else:
            self.deviation += (abs(seconds - self.mean) - self.deviation) / 4
            self.mean += (seconds - self.mean) / 8
        self.timeout = min(max(SHORTEST_WAIT, self.mean + 4 * self.deviation), self.longest)


class _Damage:
    """How often frames are lost, and so how long they should be."""

    SIZES = tuple(range(BLOCK_BYTES, MAX_PAYLOAD + 1, BLOCK_BYTES))

    def __init__(self) -> None:
        self.bytes = self.lost = 0.0
        self.best = MAX_PAYLOAD
        self.bad = False

    def settled(self, size: int, lost: bool) -> None:
        """A frame of so many bytes of payload arrived, or did not."""
        self.bytes += size + OVERHEAD
        self.lost += lost
        if self.bytes > MEMORY_BYTES:
            self.bytes /= 2
            self.lost /= 2
        # Bytes are hit independently at this rate, more or less: that much of the line arrives.
        rate = self.lost / max(self.bytes, MEMORY_BYTES / 2)
        self.bad = rate * KEPT_BLOCKS * BLOCK_BYTES > 0.1
        self.best = max(self.SIZES, key=lambda n: n / (n + OVERHEAD) * exp(-rate * (n + OVERHEAD)))


@dataclass(slots=True)
class _Piece:
    """Bytes [start, end) of the host's stream that one frame carried, not acknowledged."""

    start: int
    end: int
    name: int
    lost: bool = False
    kept: bool = False


class HostLink:
    """Two reliable byte streams over a line that loses, damages and repeats.

    Call `reset` first (`QUESTION` may go before it); then, whenever bytes arrived or `deadline` is
    reached, `receive` and `transmit`. While nobody waits for the board neither needs to be called.

    Parameters
    ----------
    timeout
        Seconds of silence before the host asks, while no answer has shown how long one takes. A
        reset is waited for as long, and nearly 2 s at least.
    patience
        Seconds without progress, asked for all along, after which `transmit` raises LinkError.
    session
        The last session used, 0 to 15; `reset` takes the next one.

    Members
    -------
    ready
        Whether the board has answered the reset.
    unused
        Whether the board said that it was never reset since power-on: its answer to `QUESTION`.
    status
        RUNNING and WAITING as the board's latest frame had them.
    stats
        `LinkStats`.
    """

    def __init__(self, *, timeout: float = 0.25, patience: float = 8.0, session: int = 0) -> None:
        self.patience = patience
        self.stats = LinkStats()
        self.unused = False
        self._session = session
        self._line = bytearray()  # of a frame whose delimiter has not come
        self._round_trip = _RoundTrip(timeout)
        self._damage = _Damage()
        self._reset_wait = max(RESET_INTERVAL, timeout / RESET_TRIES)
        self._clear(0.0)

    def _clear(self, now: float) -> None:
        self.ready = False
        self.status = Control(0)
        # Offsets and names are whole integers here; only headers wrap them. Sent and not
        # acknowledged is [_una, _next), cut into _pieces; _high is where _next has been before the
        # host went back. _queue starts at _una.
        self._una = self._next = self._high = 0
        self._limit = self._window = 0  # how far the board's room reaches, and did at first
        self._queue = bytearray()
        self._pieces: deque[_Piece] = deque()
        self._keeps = False
        self._name = self._answered = 0  # the last given, the last answered
        self._sent_at: deque[tuple[int, float]] = deque()  # names not answered, and when
        self._fresh = False  # the queue was empty: no silence before now counts
        self._expect = 0  # offset of the board's next byte
        self._question = 0  # name of the last one
        self._asked_at = now
        self._owe = self._ask = False
        self._silent_since = self._heard_at = self._taken_at = now
        self._tries = self._refused = 0
        self._hello = b""  # the reset as it went out

    # Queues -------------------------------------------------------------------------------

    def reset(self, now: float) -> None:
        """Begin a fresh session. Drops what was queued; the board's command unit starts anew."""
        self._clear(now)
        self._session = self._session % SESSION_MASK + 1
        self._ask = True

    def send(self, data: bytes) -> None:
        """Append to the host's stream."""
        self._fresh |= not self._queue
        self._queue += data

    @property
    def backlog(self) -> int:
        """Bytes that the board has not acknowledged, sent or not."""
        return len(self._queue)

    @property
    def deadline(self) -> float:
        """When `transmit` wants to be called although nothing arrived."""
        if not self.ready:
            return self._silent_since + self._reset_wait
        wait = self._round_trip.timeout
        return self._silent_since + min(wait * (1 << self._tries), self._round_trip.longest)

    def _expired(self, now: float) -> bool:
        if now < self.deadline:
            return False
        self._silent_since = now
        self._tries += 1
        return True

    # The board's frames -------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> bytes:
        """Take bytes off the line; return what they add to the board's stream.

        Raises LinkError if the line echoes.
        """
        if not data:
            return b""
        self.stats.line_bytes += len(data)
        *frames, rest = (bytes(self._line) + data).split(b"\0")
        self._line[:] = rest[:LINE_BYTES]  # longer is damaged anyhow: keep it so, not all of it
        return b"".join(self._frame(frame, now) for frame in frames if frame)

    def _frame(self, data: bytes, now: float) -> bytes:
        if data == self._hello:
            raise LinkError(
                "the port sends back what the host sent: a loopback, or a terminal with echo; "
                "connect it to a board"
            )
        frame = decode_frame(data)
        if frame is None:
            self.stats.damaged += 1
            if self.ready:
                self._noise(now)
            return b""
        self.stats.whole += 1
        header, payload = frame
        if header.session == 0:  # never ours, which `reset` begins at 1
            self.unused = True
            return b""
        if header.session != self._session:
            self.stats.foreign += 1
            return b""
        self.status = header.control & (Control.RUNNING | Control.WAITING)
        if header.control & Control.RESET:
            if not self.ready:
                self.ready = True
                self._limit = self._window = header.room
                self._keeps = header.kept is not None
                self._ask = False
                self._tries = 0
                self._silent_since = self._heard_at = self._taken_at = now
            return b""  # a second answer: the host repeated its reset
        if not self.ready:
            return b""  # of the same number, an older session
        self._acknowledge(header, now)
        return self._take(header, payload, now)

    def _acknowledge(self, header: BoardHeader, now: float) -> None:
        named = (header.name - self._answered) & 0xFF
        taken = (header.ack - self._una) & 0xFFFF
        if named > self._name - self._answered or taken > self._high - self._una:
            return  # what no board of this session says: the CRC was right by chance
        self._answered += named
        while self._sent_at and self._sent_at[0][0] <= self._answered:
            name, sent = self._sent_at.popleft()
            if name == self._answered:
                self._round_trip.took(now - sent)
        if taken:
            del self._queue[:taken]
            self._una += taken
            self._next = max(self._next, self._una)
            self._refused = 0
        self._limit = self._una + header.room
        self._settle(header.kept or 0)
        if taken or not self._pieces:
            self._taken_at = now

    def _settle(self, kept: int) -> None:
        """What the answered pieces have come to."""
        pieces, una = self._pieces, self._una
        while pieces and pieces[0].end <= una:
            piece = pieces.popleft()
            if not (piece.lost or piece.kept):
                self._damage.settled(piece.end - piece.start, False)
        if pieces:
            pieces[0].start = max(pieces[0].start, una)
        first = una // BLOCK_BYTES
        for piece in pieces:
            if piece.name > self._answered or piece.lost or piece.kept:
                continue
            blocks = range(piece.start // BLOCK_BYTES, -(-piece.end // BLOCK_BYTES))
            piece.kept = all(
                k - first < KEPT_BLOCKS and kept >> k % KEPT_BLOCKS & 1 for k in blocks
            )
            self._damage.settled(piece.end - piece.start, not piece.kept)
            if not piece.kept:
                self.stats.lost += 1
                self._refused += piece.start == una
                if not self._keeps:  # nothing behind it is taken either, nor will be
                    pieces.clear()
                    self._next = una
                    return
                piece.lost = True

    def _take(self, header: BoardHeader, payload: bytes, now: float) -> bytes:
        ahead = (header.seq - self._expect) & 0xFFFF
        self._owe |= bool(payload)  # a repetition too: its ack was lost
        if ahead >= 0x8000:  # repeats what is known, and may go on beyond it
            payload = payload[0x10000 - ahead :]
            if not payload:
                return b""
        elif ahead:
            self.stats.gaps += 1
            self._ask |= self._question <= self._answered
            return b""
        self._tries = 0
        self._silent_since = self._heard_at = now
        self._expect += len(payload)
        self.stats.bytes_received += len(payload)
        return payload

    def _noise(self, now: float) -> None:
        """A damaged frame: ask for it, and not for every frame that noise makes."""
        wait = self._round_trip.mean / 2 or self._round_trip.timeout
        self._ask |= self._question <= self._answered or now - self._asked_at > wait

    # The host's frames --------------------------------------------------------------------

    def transmit(self, now: float, *, more: bool = False) -> bytes:
        """Bytes that are to go over the line now. Call again while it returns some.

        With ``more`` the caller is about to send more: while something is on its way, only full
        frames are made. Raises LinkError when patience is at an end.
        """
        if not self.ready:
            return self._transmit_reset(now)
        if self._fresh:
            self._fresh = False
            self._silent_since = self._heard_at = self._taken_at = now
        self._ask |= self._expired(now)
        self._give_up(now)
        out = []
        if self._ask:
            self._ask = False
            self._asked_at = now
            self.stats.asked += 1
            out.append(self._make(now, Control.RESEND, b"", self._next))
            self._question = self._name
        for _ in range(MAX_BURST):
            piece = self._lost_piece() or self._new_piece(more)
            if piece is None:
                break
            start, end = piece.start - self._una, piece.end - self._una
            out.append(self._make(now, Control(0), bytes(self._queue[start:end]), piece.start))
            piece.name, piece.lost = self._name, False
            self.stats.bytes_sent += end - start
            self.stats.bytes_repeated += max(0, min(piece.end, self._high) - piece.start)
            self._high = max(self._high, piece.end)
        if self._owe:
            out.append(self._make(now, Control(0), b"", self._next))
        return b"".join(out)

    def _lost_piece(self) -> _Piece | None:
        """The next to be sent again, not longer than frames are now."""
        if self._name - self._answered >= MAX_NAMES:
            return None
        for at, piece in enumerate(self._pieces):
            if piece.lost:
                if piece.end - piece.start <= self._damage.best:
                    return piece
                first = _Piece(piece.start, self._cut(piece.start), 0)
                piece.start = first.end
                self._pieces.insert(at, first)
                return first
        return None

    def _cut(self, start: int) -> int:
        """Where a frame ends that begins there, but not the stream; blocks are kept whole."""
        return (start + self._damage.best) // BLOCK_BYTES * BLOCK_BYTES

    def _new_piece(self, more: bool) -> _Piece | None:
        """Of what was not sent yet, as far as the board has room for it."""
        start, end, limit = self._next, self._una + len(self._queue), self._limit
        if self._keeps and self._damage.bad:
            # No further than the board could keep it; and what waits for its turn on the line is
            # before what will be lost and sent again, which nothing goes on without.
            limit = min(limit, (self._una // BLOCK_BYTES + KEPT_BLOCKS) * BLOCK_BYTES)
            limit = min(limit, start + (limit - self._una) // 2 - self._in_flight)
        room = limit - start
        worth = min(self._damage.best, max(BLOCK_BYTES, self._window // WORTH))
        if end == start or room < min(end - start, worth):
            return None
        if self._name - self._answered >= MAX_NAMES:
            return None
        if end - start > min(room, self._damage.best):
            end = min(limit, start + self._damage.best)
            if self._keeps:
                end = min(self._cut(start), limit // BLOCK_BYTES * BLOCK_BYTES)
        elif more and end - start < self._damage.best and self._pieces:
            return None
        if end <= start:
            return None
        self._next = end
        self._pieces.append(_Piece(start, end, 0))
        return self._pieces[-1]

    @property
    def _in_flight(self) -> int:
        """Bytes of which no answer has said what became of them."""
        return sum(p.end - p.start for p in self._pieces if p.name > self._answered)

    def _transmit_reset(self, now: float) -> bytes:
        if self._expired(now):
            self._ask = True
            if self._tries >= RESET_TRIES:
                raise LinkError(
                    f"no answer to RESET, sent {RESET_TRIES} times in "
                    f"{now - self._heard_at:.1f} s{self._seen()}"
                )
        if not self._ask:
            return b""
        self._ask = False
        frame = self._make(now, Control.RESET, b"", 0)
        self._hello = frame[:-1]
        return b"\0" + frame  # whatever hangs on the line ends here

    def _give_up(self, now: float) -> None:
        """Raise LinkError at the end of patience, if the board was asked often enough, too: a
        computer that slept has heard nothing for long."""
        heard, taken = now - self._heard_at, now - self._taken_at
        if heard > self.patience and self._tries > QUESTIONS:
            what = f"nothing in order from the board for {heard:.1f} s"
        elif taken > self.patience and self._refused > QUESTIONS:
            what = f"the board took none of {self._high - self._una} bytes in {taken:.1f} s"
        else:
            return
        raise LinkError(f"{what}, asked {QUESTIONS} times and more{self._seen()}")

    def _seen(self) -> str:
        """What the line showed, to tell a dead line from a bad one."""
        stats = self.stats
        if not stats.whole:
            if not stats.line_bytes:
                return "; not one byte came"
            return (
                f"; {stats.line_bytes} bytes came and no whole frame among them, as from a line "
                "with another baud rate or a device that is no board"
            )
        return f"; since the port was opened {stats}"

    def _make(self, now: float, control: Control, payload: bytes, seq: int) -> bytes:
        self._owe = False
        if payload or control & Control.RESEND:
            self._name += 1
            self._sent_at.append((self._name, now))
        header = HostHeader(
            self._session, control, seq & 0xFFFF, self._expect & 0xFFFF, self._name & 0xFF
        )
        return encode_frame(header, payload)


class RecordReader:
    """Cuts the board's stream into records."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> list[tuple[Record, bytes]]:
        """The records that ``data`` completes. Raises LinkError at a tag that is none."""
        self._bytes += data
        records = []
        while self._bytes:
            try:
                tag = Record(self._bytes[0])
            except ValueError:
                raise LinkError(
                    f"record of unknown kind 0x{self._bytes[0]:02x}: host and board disagree on "
                    "the stream; reset the device"
                ) from None
            end = 3 + int.from_bytes(self._bytes[1:3], "little")
            if len(self._bytes) < max(end, 3):
                break
            records.append((tag, bytes(self._bytes[3:end])))
            del self._bytes[:end]
        return records
