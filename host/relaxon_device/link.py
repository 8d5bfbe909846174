"""The host's half of the link (`relaxon_isa.link`), without I/O and without a clock.

Bytes that a transport read go into `HostLink.receive`, bytes that it is to write come out of
`HostLink.transmit`; both are told the time. The same class so serves a serial port, a bench and
a simulated line with faults.

Both directions are go-back-N. Only frames with a good CRC and of this session count:

========================== =================================================================
what the host notices      what it does
========================== =================================================================
a gap, a damaged frame     asks: an empty frame with RESEND, from the next byte it expects
its own bytes not taken    goes back: sends again from the first byte not acknowledged
silence                    asks, which also brings the board's ``ack`` and ``room`` up to date
silence, again and again   ends with a LinkError
========================== =================================================================
"""

from dataclasses import dataclass

from cobs import cobs

from relaxon_isa import (
    CRC_BYTES,
    HEADER_BYTES,
    MAX_PAYLOAD,
    SESSION_MASK,
    Control,
    Header,
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
]

FRAME_BYTES = HEADER_BYTES + MAX_PAYLOAD + CRC_BYTES + 2
"""Bytes on the line of the longest frame: one COBS block and its delimiter."""

HOST_ROOM = 0xFFFF
MIN_CHUNK = 128
"""Less room than this is not worth a frame: the board tells when half of its ring (256 bytes at
least) is free again."""
MAX_BURST = 8
"""Data frames that one `HostLink.transmit` makes, so that reading never waits for long."""
BACKOFF = 4
"""When silence repeats, it is waited for up to so many timeouts."""
RESET_INTERVAL = 0.2
RESET_TRIES = 9
"""Together under 2 s: how long a board that is not there can keep a user waiting, unless
`HostLink`'s timeout, that of a slow line, is longer."""


def encode_frame(header: Header, payload: bytes = b"") -> bytes:
    """The frame as it goes over the line, delimiter included."""
    body = header.pack() + payload
    return cobs.encode(body + crc16(body).to_bytes(CRC_BYTES, "big")) + b"\0"


def decode_frame(data: bytes) -> tuple[Header, bytes] | None:
    """Header and payload of a frame without its delimiter; None if it is damaged."""
    try:
        body = cobs.decode(data)
    except cobs.DecodeError:
        return None
    size = len(body) - HEADER_BYTES - CRC_BYTES
    if not 0 <= size <= MAX_PAYLOAD:
        return None
    if crc16(body[:-CRC_BYTES]) != int.from_bytes(body[-CRC_BYTES:], "big"):
        return None
    return Header.unpack(body), body[HEADER_BYTES:-CRC_BYTES]


QUESTION = b"\0" + encode_frame(Header(0, Control.RESEND, 0, 0, HOST_ROOM))
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
    went_back: int = 0
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
        return self.damaged + self.gaps + self.went_back

    def __str__(self) -> str:
        return (
            f"{self.damaged} frames damaged, {self.gaps} after a gap, {self.went_back} times sent "
            f"again ({self.bytes_repeated} of {self.bytes_sent} bytes), {self.foreign} of other "
            "sessions"
        )


class _Watch:
    """A stopwatch on one direction: counts how often its time ran out since progress was seen."""

    def __init__(self, timeout: float, backoff: int = 1) -> None:
        self.timeout = timeout
        self.backoff = backoff
        self.restart(0.0)

    def restart(self, now: float) -> None:
        self.since = self.started = now
        self.tries = 0

    @property
    def due(self) -> float:
        return self.since + self.timeout * min(1 << self.tries, self.backoff)

    def expired(self, now: float) -> bool:
        if now < self.due:
            return False
        self.since = now
        self.tries += 1
        return True


class HostLink:
    """Two reliable byte streams over a line that loses, damages and repeats.

    Call `reset` first (`QUESTION` may go before it); then, whenever bytes arrived or `deadline` is
    reached, `receive` and `transmit`. While nobody waits for the board neither needs to be called.

    Parameters
    ----------
    timeout
        Seconds of silence before the host asks; a few times a frame's time on the line. A reset
        is waited for as long, and nearly 2 s at least.
    retries
        Silences in a row, each longer than the one before up to 4 timeouts, after which
        `transmit` raises LinkError.
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

    def __init__(self, *, timeout: float = 0.25, retries: int = 8, session: int = 0) -> None:
        self.retries = retries
        self.stats = LinkStats()
        self.unused = False
        self._session = session
        self._line = bytearray()  # of a frame whose delimiter has not come
        self._heard = _Watch(timeout, BACKOFF)  # the board's frames are whole and in order
        self._taken = _Watch(timeout, BACKOFF)  # the board takes what the host sends
        self._resetting = _Watch(max(RESET_INTERVAL, timeout / RESET_TRIES))
        self._clear()

    def _clear(self) -> None:
        self.ready = False
        self.status = Control(0)
        # Offsets are whole integers here; only headers wrap them. Sent and not acknowledged is
        # [_una, _high), of which [_next, _high) is to be sent again. _queue starts at _una.
        self._una = self._next = self._high = 0
        self._limit = 0  # how far the board's room reaches
        self._queue = bytearray()
        self._fresh = False  # the queue was empty: no silence before now counts
        self._stale = 0  # answers still due to frames sent before the host went back
        self._probed = False  # the board's next frame tells what it has
        self._expect = 0  # offset of the board's next byte
        self._gap = -1  # how far ahead of _expect the last frame was (0: damaged); -1: no gap
        self._owe = self._ask = False
        self._asked_at = float("-inf")

    # Queues -------------------------------------------------------------------------------

    def reset(self, now: float) -> None:
        """Begin a fresh session. Drops what was queued; the board's command unit starts anew."""
        self._clear()
        self._session = self._session % SESSION_MASK + 1
        self._resetting.restart(now)
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
            return self._resetting.due
        return min(self._heard.due, self._taken.due) if self._queue else self._heard.due

    # The board's frames -------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> bytes:
        """Take bytes off the line; return what they add to the board's stream.

        Raises LinkError if the line echoes.
        """
        if not data:
            return b""
        self.stats.line_bytes += len(data)
        *frames, rest = (bytes(self._line) + data).split(b"\0")
        self._line[:] = rest[:FRAME_BYTES]  # longer is damaged anyhow: keep it so, not all of it
        return b"".join(self._frame(frame, now) for frame in frames if frame)

    def _frame(self, data: bytes, now: float) -> bytes:
        frame = decode_frame(data)
        if frame is None:
            self.stats.damaged += 1
            # One question, and not one for every frame that noise makes.
            if self.ready and (self._gap < 0 or now - self._asked_at > self._heard.timeout / 8):
                self._ask = True
                self._gap = max(self._gap, 0)
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
            if header.room == HOST_ROOM:
                raise LinkError(
                    "the port sends back what the host sent: a loopback, or a terminal with echo; "
                    "connect it to a board"
                )
            if not self.ready:
                self.ready = True
                self._limit = header.room
                self._ask = False
                self._heard.restart(now)
                self._taken.restart(now)
            return b""  # a second answer: the host repeated its reset
        if not self.ready:
            return b""  # of the same number, an older session
        self._acknowledge(header, payload, now)
        return self._take(header, payload, now)

    def _acknowledge(self, header: Header, payload: bytes, now: float) -> None:
        taken = (header.ack - self._una) & 0xFFFF
        if taken > self._high - self._una:
            return  # older than what is known
        limit = self._una + taken + header.room
        if taken:
            del self._queue[:taken]
            self._una += taken
            self._next = max(self._next, self._una)
            self._stale = 0
        # An answer that takes nothing and gives no room: the board dropped a frame.
        dropped = not (taken or payload) and limit == self._limit
        if self._next > self._una and (self._probed or dropped):
            if self._stale and not self._probed:
                self._stale -= 1
            else:
                self._go_back()
        if taken or self._una == self._high:
            self._taken.restart(now)
        self._probed = False
        self._limit = limit

    def _go_back(self) -> None:
        self._stale = -(-(self._next - self._una) // MAX_PAYLOAD)
        self._next = self._una
        self.stats.went_back += 1

    def _take(self, header: Header, payload: bytes, now: float) -> bytes:
        ahead = (header.seq - self._expect) & 0xFFFF
        self._owe |= bool(payload)  # a repetition too: its ack was lost
        if ahead >= 0x8000:  # repeats what is known, and may go on beyond it
            payload = payload[0x10000 - ahead :]
            if not payload:
                return b""
        elif ahead:
            self.stats.gaps += 1
            # One question a gap. When offsets fall the board has gone back, and what it began
            # with was lost again.
            if self._gap < 0 or (payload and ahead <= self._gap):
                self._ask = True
            self._gap = ahead
            return b""
        self._gap = -1
        self._heard.restart(now)
        self._expect += len(payload)
        self.stats.bytes_received += len(payload)
        return payload

    # The host's frames --------------------------------------------------------------------

    def transmit(self, now: float, *, more: bool = False) -> bytes:
        """Bytes that are to go over the line now. Call again while it returns some.

        With ``more`` the caller is about to send more: while something is on its way, only full
        frames are made. Raises LinkError when the retries are used up.
        """
        if not self.ready:
            return self._transmit_reset(now)
        if self._fresh:
            self._fresh = False
            self._heard.restart(now)
            self._taken.restart(now)
        silent = self._heard.expired(now)
        stuck = bool(self._queue) and self._taken.expired(now)
        if silent or stuck:
            self._ask = self._probed = True
        if max(self._heard.tries, self._taken.tries) > self.retries:
            raise LinkError(self._given_up(now))
        out = []
        if self._ask:
            self._ask = False
            self._asked_at = now
            self.stats.asked += 1
            out.append(self._make(Control.RESEND))
        for _ in range(MAX_BURST):
            pending = len(self._queue) - (self._next - self._una)
            size = min(pending, MAX_PAYLOAD, self._limit - self._next)
            if size <= 0 or size < min(pending, MIN_CHUNK):
                break
            if more and size < MAX_PAYLOAD and self._high > self._una:
                break
            start = self._next - self._una
            out.append(self._make(Control(0), bytes(self._queue[start : start + size])))
            self.stats.bytes_repeated += max(0, min(self._next + size, self._high) - self._next)
            self._next += size
            self._high = max(self._high, self._next)
            self.stats.bytes_sent += size
        if self._owe:
            out.append(self._make(Control(0)))
        return b"".join(out)

    def _transmit_reset(self, now: float) -> bytes:
        if self._resetting.expired(now):
            self._ask = True
            if self._resetting.tries >= RESET_TRIES:
                raise LinkError(
                    f"no answer to RESET, sent {RESET_TRIES} times in "
                    f"{now - self._resetting.started:.1f} s{self._seen()}"
                )
        if not self._ask:
            return b""
        self._ask = False
        return b"\0" + self._make(Control.RESET)  # whatever hangs on the line ends here

    def _given_up(self, now: float) -> str:
        heard, taken = self._heard, self._taken
        if heard.tries > self.retries:
            what = f"nothing in order from the board for {now - heard.started:.1f} s"
        else:
            what = (
                f"the board took none of {self._high - self._una} bytes in "
                f"{now - taken.started:.1f} s"
            )
        return f"{what}, asked {self.retries} times and more{self._seen()}"

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
        return (
            f"; since the port was opened {stats.damaged} frames came damaged, {stats.gaps} after "
            f"a gap, {stats.foreign} of other sessions"
        )

    def _make(self, control: Control, payload: bytes = b"") -> bytes:
        self._owe = False
        header = Header(
            self._session, control, self._next & 0xFFFF, self._expect & 0xFFFF, HOST_ROOM
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
