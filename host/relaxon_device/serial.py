"""`SerialDevice`: a machine at the other end of a serial line, a board or the virtual board."""

import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import inf
from typing import Any, Self

import numpy as np

from relaxon_isa import (
    COUNTER_BITS,
    INDEX_BYTES,
    INFO_BYTES,
    BoardError,
    Command,
    DeviceError,
    LinkError,
    Record,
    Register,
    Space,
    Wait,
    wait_bytes,
)
from relaxon_isa.identity import decode_info
from relaxon_isa.order import OrderPart

from .base import Device, Rows, SpaceLayout, blocks, left_over, starved
from .link import FRAME_BYTES, QUESTION, HostLink, LinkStats, RecordReader, encode_runs
from .transport import DEFAULT_BAUD, SerialTransport, Transport

__all__ = ["UNPACED_SECONDS", "SerialDevice"]

CHUNK_BYTES = 4096
"""Longest READ or WRITE. Long enough to cost no time, short enough to see progress."""
RECORDS_AT_ONCE = 256
"""Of one INDICES or ORDER: the next READ is answered behind them."""
SAMPLES_A_POLL = 64
"""Samples sent between two readings of the samples' counter."""
HIGH_WATER = 1 << 15
"""Bytes queued ahead of the board: two of the largest rings."""
ANSWER_SECONDS = 0.1
"""How long a board's answer to `QUESTION` takes at most: two short frames, USB and schedulers."""
UNPACED_SECONDS = 4.0
"""`HostLink`'s timeout where nothing holds the line to its rate: a simulated board's computer may
be busy."""
PATIENCE = 32
"""How many timeouts a board may be silent, or take nothing."""
INTERRUPTED_SECONDS = 0.3
"""How long a board is given to stop after Ctrl-C."""
NOTHING = object()


@dataclass
class _Answer:
    """The DATA record of one READ; ``told`` is called with it as it comes."""

    size: int
    data: bytes | None = None
    told: Callable[[bytes], None] | None = None


@dataclass
class _Run:
    """What a running program has said and the caller has not heard yet."""

    emits: deque[bytes] = field(default_factory=deque)
    done: bool = False
    left_over: bool = False


class SerialDevice(Device):
    """The device at the other end of a transport.

    Commands are sent without waiting for each; the link's window is the only brake.

    Parameters
    ----------
    transport
        The line; the device closes it. See `open` for a port by its name.
    expected
        Fingerprint that the board must have; without it, any that this host understands.
    timeout
        Of `HostLink`: seconds of silence until the host asks, before it knows the line. It gives up
        after `PATIENCE` of them.
    clock
        Seconds, monotonic. A simulated line brings its own.

    Members
    -------
    zero_runs
        Whether samples travel as zero runs where that is shorter; by default if the machine can.

    Raises DeviceError if no board answers (within about 2 s, or ``timeout`` if that is
    more), or another than expected.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        expected: str | None = None,
        timeout: float = 0.25,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport: Transport | None = transport
        self._again: Callable[[], Transport] | None = None  # opens the line anew
        self._name = transport.name
        self._clock = clock
        self._patience = 20 * timeout
        # Another session than the last program's, most likely: its late frames then do not count.
        self._link = HostLink(
            timeout=timeout, patience=PATIENCE * timeout, session=time.time_ns() % 15
        )
        self._dirty = True  # the board may be amid something: reset before use
        try:
            self._connect(expected)
        except BaseException:
            transport.close()
            raise

    @classmethod
    def open(cls, port: str, baud: int = DEFAULT_BAUD, *, expected: str | None = None) -> Self:
        """The device on a serial port, pseudo-terminal or pyserial URL. Raises DeviceError."""
        transport = SerialTransport(port, baud)
        timeout = max(0.25, 6 * 10 * FRAME_BYTES / baud)  # 6 frames, 10 bits a byte
        device = cls(
            transport, expected=expected, timeout=timeout if transport.paced else UNPACED_SECONDS
        )
        device.simulated = not transport.paced
        device._again = lambda: SerialTransport(port, baud)
        return device

    @property
    def reconnects(self) -> bool:
        return self._again is not None

    def reconnect(self) -> None:
        if self._again is None:
            return super().reconnect()
        if self._transport:
            self._transport.close()
        self._dirty, self._transport = True, None
        self._transport = self._again()
        self._connect(self.identity.fingerprint)

    def _connect(self, expected: str | None) -> None:
        try:
            self._ask_whether_unused()
            with self._guard():
                answer = self._ask(Space.INFO, 0, 0, INFO_BYTES, INFO_BYTES)
                self._pump(lambda: answer.data is not None)
            self.unused = self._link.unused
        except LinkError as error:
            raise DeviceError(
                f"no relaxon board answers on {self._name}: {error}. Check that this is the "
                "board's port, that its bitstream is loaded and that the baud rate is the "
                "bitstream's"
            ) from error
        try:
            self.identity = decode_info(answer.data or b"")
        except DeviceError as error:
            raise DeviceError(f"{self._name}: {error}") from error
        self.zero_runs = self.config.zero_runs
        if expected is not None and self.identity.fingerprint != expected:
            raise DeviceError(
                f"{self._name}: the board's fingerprint is {self.identity.fingerprint}, expected "
                f"was {expected}; load the bitstream of that configuration, or use this board's"
            )

    def _ask_whether_unused(self) -> None:
        assert self._transport
        self._transport.write(QUESTION)
        end = self._clock() + ANSWER_SECONDS
        while not self._link.unused and (left := end - self._clock()) > 0:
            self._link.receive(self._transport.read(left), self._clock())

    @property
    def link_stats(self) -> LinkStats:
        return self._link.stats

    # The line -----------------------------------------------------------------------------

    def _exchange(self, *, wait: bool, more: bool = False) -> None:
        """Write what is due; read what is there, or ``wait`` for some until the link's deadline."""
        if self._transport is None:
            raise DeviceError(f"{self._name}: the device is closed")
        now = self._clock()
        out = self._link.transmit(now, more=more)
        if out:
            self._transport.write(out)
        wait = wait and not out  # there may be more to write
        data = self._transport.read(min(self._link.deadline - now, self._patience) if wait else 0.0)
        for record, payload in self._reader.feed(self._link.receive(data, self._clock())):
            self._dispatch(record, payload)

    def _pump(self, until: Callable[[], object]) -> None:
        """Exchange until ``until()``. Outside of runs the board must make progress."""
        progress, since = None, 0.0
        while True:
            self._exchange(wait=False)  # acknowledges, too, what ended the last wait
            if until():
                return
            latest = (self._link.backlog, self._link.stats.bytes_received)
            patience = self.run_limit if self._run_now else self._patience
            if latest != progress or not self._link.ready:
                progress, since = latest, self._clock()
            elif self._clock() - since > patience:
                stats = self._link.stats
                seen = f" (since the port was opened {stats})" if stats.errors else ""
                raise LinkError(
                    "the board's link works, but it has not done what was asked for "
                    f"{patience:.1f} s{seen}; reset or reload the board"
                )
            self._exchange(wait=True)

    def _dispatch(self, record: Record, payload: bytes) -> None:
        run = self._run_now
        if record is Record.DATA and self._answers:
            answer = self._answers.popleft()
            if len(payload) != answer.size:
                raise LinkError(f"{answer.size} bytes were asked for, {len(payload)} came")
            answer.data = payload
            if answer.told:
                answer.told(payload)
        elif record is Record.EMIT and run:
            run.emits.append(payload)
        elif record is Record.DONE and run:
            run.done = True
        elif record is Record.ERROR and payload[:1] == bytes([BoardError.SAMPLE_WITHOUT_PROGRAM]):
            if run:
                run.left_over = True
        elif record is Record.ERROR and payload[:1] == bytes([BoardError.WRONG_CHECKSUM]):
            raise LinkError(
                "the board has not received what the host sent: bytes were changed on the line and "
                "no frame's CRC noticed. Nothing since the last checkpoint counts: go on from there"
            )
        elif record is Record.ERROR:
            raise LinkError(
                f"the board refuses a command (error {payload.hex()}): host and "
                "board are out of step; the device is reset at its next use"
            )
        else:
            raise LinkError(f"{record.name} record that nobody asked for")

    def _send(self, data: bytes) -> None:
        """Append to the host's stream."""
        self._stream_crc = zlib.crc32(data, self._stream_crc)
        self._checked = False
        self._link.send(data)

    @contextmanager
    def _guard(self) -> Iterator[None]:
        """Whatever ends the block early, the device can be used afterwards."""
        if self._dirty:
            self.reset()
        try:
            yield
        except LinkError as error:
            self._dirty = True  # now the line would only fail again: reset at the next use
            if self._name in str(error):
                raise
            raise LinkError(f"{self._name}: {error}") from error
        except BaseException as error:
            # The first error is the one to tell; and nobody who pressed Ctrl-C waits for a board.
            with suppress(DeviceError):
                self._reset(INTERRUPTED_SECONDS if isinstance(error, KeyboardInterrupt) else inf)
            raise

    def reset(self) -> None:
        self._reset(inf)

    def _reset(self, seconds: float) -> None:
        """`reset`, tried for so long at most."""
        self._dirty = True
        self._rows: dict[int, int] = {}  # of program memory, by place: what the board was sent
        self._reader = RecordReader()
        self._answers: deque[_Answer] = deque()
        self._run_now: _Run | None = None
        self._stream_crc = 0  # of the host's stream
        self._checked = True  # a READ was asked for last: it waits for a CHECKSUM
        self._link.reset(self._clock())
        end = self._clock() + seconds
        self._pump(lambda: self._link.ready or self._clock() > end)
        self._dirty = not self._link.ready

    def close(self) -> None:
        if self._transport is None:
            return
        try:
            if not self._dirty and not self._run_now:
                with self._guard():
                    if not self._checked:  # whatever was written, somebody counts on it
                        self._read(self.layouts[Space.REGISTER], 0, 1)
            elif self._run_now and not self._dirty:
                self.reset()
        finally:
            self._transport.close()
            self._transport = None

    # Memories -----------------------------------------------------------------------------

    def _ask(self, space: Space, group: int, lane: int, count: int, size: int) -> _Answer:
        self._checksum()
        self._command(Command.READ, space, group, lane, count)
        return self._answer(size)

    def _answer(self, size: int) -> _Answer:
        """The DATA record of the command that was sent last."""
        self._checked = True
        answer = _Answer(size)
        self._answers.append(answer)
        return answer

    def _checksum(self) -> None:
        """Have the board compare what it has taken so far. What it answers to any command behind
        this one is an answer to what the host has sent."""
        self._send(bytes([Command.CHECKSUM]))
        self._send(self._stream_crc.to_bytes(4, "little"))

    def _command(self, command: Command, space: Space, group: int, lane: int, count: int) -> None:
        self._send(
            bytes([command, space])
            + group.to_bytes(2, "little")
            + bytes([lane])
            + count.to_bytes(2, "little")
        )

    def _read(self, layout: SpaceLayout, start: int, count: int) -> np.ndarray:
        chunk = CHUNK_BYTES // layout.element_bytes
        with self._guard():
            answers = []
            for at in range(start, start + count, chunk):
                size = min(chunk, start + count - at)
                place = divmod(at, layout.lanes)
                answers.append(self._ask(layout.space, *place, size, size * layout.element_bytes))
            self._pump(lambda: answers[-1].data is not None)
        return layout.decode(b"".join(answer.data or b"" for answer in answers))

    def _new_rows(self, rows: Sequence[int], at: int) -> Iterable[tuple[int, int]]:
        new = [self._dirty or self._rows.get(i) != row for i, row in enumerate(rows, at)]
        edges = [i for i, (a, b) in enumerate(pairwise([False, *new, False])) if a != b]
        return zip(edges[::2], edges[1::2], strict=True)

    def _write(self, layout: SpaceLayout, start: int, values: np.ndarray) -> None:
        chunk = CHUNK_BYTES // layout.element_bytes
        with self._guard():
            if layout.space is Space.PROGRAM:
                self._rows |= dict(enumerate(values.tolist(), start))
            for at in range(0, len(values), chunk):
                part = values[at : at + chunk]
                place = divmod(start + at, layout.lanes)
                self._command(Command.WRITE, layout.space, *place, len(part))
                self._send(layout.encode(part))
                self._pump(lambda: self._link.backlog < HIGH_WATER)

    # Sample memory ------------------------------------------------------------------------

    def _span(self, command: Command, address: int, count: int) -> bytes:
        size = 4 if command is Command.CHECK else 2
        return bytes([command]) + address.to_bytes(4, "little") + count.to_bytes(size, "little")

    def _store(self, address: int, data: bytes) -> None:
        with self._guard():
            for at in range(0, len(data), CHUNK_BYTES):
                part = data[at : at + CHUNK_BYTES]
                self._send(self._span(Command.STORE, address + at, len(part)) + part)
                self._pump(lambda: self._link.backlog < HIGH_WATER)

    def _crc(self, address: int, count: int) -> int:
        with self._guard():
            self._checksum()
            self._send(self._span(Command.CHECK, address, count))
            answer = self._answer(4)
            self._pump(lambda: answer.data is not None)
        return int.from_bytes(answer.data or b"", "little")

    def _recall(self, address: int, count: int) -> bytes:
        with self._guard():
            answers = []
            self._checksum()
            for at in range(0, count, CHUNK_BYTES):
                size = min(CHUNK_BYTES, count - at)
                self._send(self._span(Command.RECALL, address + at, size))
                answers.append(self._answer(size))
            self._pump(lambda: answers[-1].data is not None)
        return b"".join(answer.data or b"" for answer in answers)

    def _run_stored(
        self,
        indices: np.ndarray,
        samples: Rows,
        wait: Wait,
        row: int,
        count: bool,
        progress: Callable[[int], None],
    ) -> list[bytes]:
        parts, shape = _parts(indices, samples), (len(indices), wait_bytes(self.config, wait))
        return self._all(parts, shape, row, count, self._send_part, progress, 1)

    def _run_ordered(
        self,
        part: OrderPart,
        wait: Wait,
        row: int,
        count: bool,
        progress: Callable[[int], None],
    ) -> list[bytes]:
        end = part.first + part.count
        starts = range(part.first, end, RECORDS_AT_ONCE)
        parts = (replace(part, first=at, count=min(RECORDS_AT_ONCE, end - at)) for at in starts)
        shape = (part.count, wait_bytes(self.config, wait))
        return self._all(parts, shape, row, count, self._send_order, progress, 1)

    def _send_part(self, part: bytes | np.ndarray) -> int:
        """A sample, or indices of records."""
        if isinstance(part, bytes):
            return self._send_sample(part)
        listed = b"".join(int(index).to_bytes(INDEX_BYTES, "little") for index in part)
        self._send(bytes([Command.INDICES]) + len(part).to_bytes(2, "little") + listed)
        return len(part)

    def _send_order(self, part: OrderPart) -> int:
        self._send(part.encode())
        return part.count

    # Programs -----------------------------------------------------------------------------

    def run_all(
        self,
        samples: Rows,
        *,
        row: int = 0,
        count: bool = True,
        progress: Callable[[int], None] = lambda count: None,
    ) -> list[bytes]:
        each = (bytes(sample) for block in blocks(samples) for sample in block)
        row = self._checked_row(row)
        shape = (len(samples), len(next(iter(samples[:1]), b"")))
        return self._all(each, shape, row, count, self._send_sample, progress, SAMPLES_A_POLL)

    def _all(
        self,
        parts: Iterator[Any],
        shape: tuple[int, int],
        row: int,
        count: bool,
        send: Callable[[Any], int],
        progress: Callable[[int], None],
        every: int,
    ) -> list[bytes]:
        """`_launch` to its end; returns all payloads. ``progress`` is told of payloads or of the
        samples' counter, which is read after ``every`` parts, whichever is more.

        ``shape``: samples, and bytes of one. What a program left over that the machine had taken
        ahead of it, a few samples, no record tells of, but that counter does."""
        told, taken = 0, shape[0]

        def tell(done: int) -> None:
            nonlocal told
            if done > told:
                progress(done - told)
                told = done

        before = 0

        def polled(answer: bytes) -> None:
            nonlocal taken
            taken = (int.from_bytes(answer, "little") - before) % (1 << COUNTER_BITS)
            tell(taken)

        polls = count and self.config.sample_buffer > 0  # else a READ waits for the run's end
        if polls:
            before = int(self.read(Space.REGISTER, Register.SAMPLES, 1)[0])
        payloads = []
        for payload in self._launch(parts, row, count, send, polled if polls else None, every):
            payloads.append(payload)
            tell(len(payloads))
        if taken < shape[0] and all(
            wait.tick and wait_bytes(self.config, wait) == shape[1] for wait in self._waits(row)
        ):
            with self._guard():
                raise left_over()
        return payloads

    def _run(self, samples: Iterator[bytes], row: int, count: bool) -> Iterator[bytes]:
        return self._launch(samples, row, count, self._send_sample)

    def _launch(
        self,
        samples: Iterator[Any],
        row: int,
        count: bool,
        send: Callable[[Any], int],
        polled: Callable[[bytes], None] | None = None,
        every: int = 1,
    ) -> Iterator[bytes]:
        """`run` on what ``send`` sends, as so many samples as it says; ``polled`` is given the
        samples' counter after ``every`` of them, and at the end."""
        if self._run_now and not self._dirty:
            raise DeviceError(f"{self._name}: a program runs already; end that run first")
        with self._guard():
            run = self._run_now = _Run()
            self._send(bytes([Command.RUN]) + row.to_bytes(2, "little") + bytes([count]))
            given = 0
            # READ waits until the program ends or wants a byte. One sent after the last sample
            # so tells the end of the run: answered before DONE, the program wants more samples;
            # after DONE, every sample that was left over has been complained about.
            end: _Answer | None = None

            def news() -> object:
                if end is None:
                    return run.emits or run.done or self._link.backlog < HIGH_WATER
                return run.emits or end.data is not None

            while end is None or end.data is None:
                if self._run_now is not run:
                    raise DeviceError(f"{self._name}: the run was aborted by a reset")
                if end is None and (run.done or self._link.backlog < HIGH_WATER):
                    self._exchange(wait=False, more=True)  # the next sample may take its time
                    sample = next(samples, NOTHING)
                    if sample is NOTHING:
                        end = self._ask(Space.REGISTER, 0, 0, 1, 4)
                        end = self._poll(polled) if polled else end
                    elif run.done:
                        raise left_over()
                    else:
                        given += send(sample)
                        if polled and given % every == 0:
                            self._poll(polled)
                else:
                    self._pump(news)
                while run.emits:
                    yield run.emits.popleft()
            if not run.done:
                raise starved(given)
            if run.left_over:
                raise left_over()
            self._run_now = None

    def _poll(self, polled: Callable[[bytes], None]) -> _Answer:
        """Ask for the samples' counter, which machines with a sample buffer tell at once."""
        answer = self._ask(Space.REGISTER, Register.SAMPLES, 0, 1, 4)
        answer.told = polled
        return answer

    def _send_sample(self, sample: object) -> int:
        if not isinstance(sample, bytes | bytearray | memoryview):
            raise DeviceError(f"a sample of type {type(sample).__name__}: bytes wanted")
        data = bytes(sample)
        for at in range(0, len(data), 0xFFFF):
            command, part = Command.SAMPLE, data[at : at + 0xFFFF]
            if self.zero_runs and len(runs := encode_runs(part)) < len(part):
                command, part = Command.RUNS, runs
            self._send(bytes([command]) + len(part).to_bytes(2, "little") + part)
        return 1


def _parts(indices: np.ndarray, samples: Rows) -> Iterator[bytes | np.ndarray]:
    """Indices of records some at a time, and for each -1 the next of ``samples``."""
    sent = 0
    for at in range(0, len(indices), RECORDS_AT_ONCE):
        some = indices[at : at + RECORDS_AT_ONCE]
        for part in np.split(some, np.flatnonzero(np.diff(some < 0)) + 1):
            if part[0] >= 0:
                yield part
                continue
            yield from map(bytes, samples[sent : sent + len(part)])
            sent += len(part)
