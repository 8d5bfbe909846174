"""The board's side of the link contract, written naively, and a line with faults.

`BoardLink` is the receiver and sender of `relaxon_isa.link`; `BoardModel` adds command unit,
memories and "programs", which are Python generators. Nothing here imports the host.
"""

import random
import zlib
from collections import deque
from collections.abc import Callable, Generator

from cobs import cobs

from relaxon_isa.config import ArrayConfig
from relaxon_isa.identity import encode_info
from relaxon_isa.link import (
    BLOCK_BYTES,
    MAX_PAYLOAD,
    BoardError,
    BoardHeader,
    Command,
    Control,
    HostHeader,
    Record,
    crc16,
)
from relaxon_isa.memory import INFO_BYTES, Space, element_bytes, registers

Program = Callable[["BoardModel"], Generator[int | bytes, bytes, None]]
"""Yields a number to WAIT for so many bytes (and is sent them), bytes to EMIT them; ends: HALT."""


class BoardLink:
    """The numbered rules of the contract. `rx` and `tx` are the rings' contents."""

    def __init__(self, rx_bytes: int = 256, tx_bytes: int = 256, keeps: bool = True) -> None:
        self.rx_bytes, self.tx_bytes, self.keeps = rx_bytes, tx_bytes, keeps
        self.session = 0
        self.line = bytearray()
        self.link_errors = self.link_drops = 0
        self.status = Control(0)
        self.restart()

    def restart(self) -> None:
        self.rx = bytearray()
        self.tx = bytearray()  # from the first byte not acknowledged on
        self.rx_offset = 0  # of the next byte expected
        self.kept: dict[int, bytes] = {}  # blocks by their number
        self.name = 0
        self.tx_offset = 0  # of tx[0]
        self.sent = 0  # bytes of tx that are on the line
        self.answer: Control | None = None
        self.closed = False  # the host saw less room than a frame takes

    @property
    def room(self) -> int:
        return self.rx_bytes - len(self.rx)

    def receive(self, data: bytes) -> None:
        for byte in data:
            if byte:
                self.line.append(byte)
            elif self.line:
                self.frame(bytes(self.line))
                self.line.clear()

    def frame(self, data: bytes) -> None:
        try:
            body = cobs.decode(data)
        except cobs.DecodeError:
            body = b""
        good = crc16(body[:-2]).to_bytes(2, "big") == body[-2:]
        if not (good and 8 <= len(body) <= 8 + MAX_PAYLOAD):
            self.link_errors += 1
            return
        header, payload = HostHeader.unpack(body), body[6:-2]
        if header.control & Control.RESET and header.session:
            self.session = header.session
            self.restart()
            self.name = header.name
            self.reset()
            self.answer = Control.RESET
            return
        if header.session != self.session:
            return
        self.name = header.name
        taken = (header.ack - self.tx_offset) % (1 << 16)
        if taken <= self.sent:
            del self.tx[:taken]
            self.tx_offset += taken
            self.sent -= taken
        if header.control & Control.RESEND:
            self.sent = 0
        if payload:
            ahead = (header.seq - self.rx_offset) % (1 << 16)
            if ahead == 0 and len(payload) <= self.room:
                self.take(payload)
                while self.rx_offset // BLOCK_BYTES in self.kept:
                    self.take(self.kept[self.rx_offset // BLOCK_BYTES])
            elif self.keeps and self.may_keep(ahead, payload):
                for at in range(0, len(payload), BLOCK_BYTES):
                    number = (self.rx_offset + ahead + at) // BLOCK_BYTES
                    self.kept[number] = payload[at : at + BLOCK_BYTES]
            else:
                self.link_drops += 1
        if (payload or header.control & Control.RESEND) and self.answer is None:
            self.answer = Control(0)

    def take(self, data: bytes) -> None:
        self.rx += data
        self.rx_offset += len(data)
        self.kept = {k: v for k, v in self.kept.items() if k * BLOCK_BYTES >= self.rx_offset}

    def may_keep(self, ahead: int, payload: bytes) -> bool:
        start, end = self.rx_offset + ahead, self.rx_offset + ahead + len(payload)
        return (
            start % BLOCK_BYTES == 0
            and len(payload) % BLOCK_BYTES == 0
            and ahead + len(payload) <= self.room
            and (end - 1) // BLOCK_BYTES - self.rx_offset // BLOCK_BYTES <= 31
        )

    def reset(self) -> None:
        """The command unit's part of RESET."""

    def make(self, control: Control, payload: bytes) -> bytes:
        header = BoardHeader(
            self.session,
            control | self.status,
            (self.tx_offset + self.sent) % (1 << 16),
            self.rx_offset % (1 << 16),
            self.name,
            self.room,
            sum(1 << k % 32 for k in self.kept) if self.keeps else None,
        )
        self.answer = None
        self.closed = self.room < min(MAX_PAYLOAD, self.rx_bytes // 2)
        body = header.pack() + payload
        return cobs.encode(body + crc16(body).to_bytes(2, "big")) + b"\0"

    def transmit(self) -> bytes:
        """The next frame, if there is one to send."""
        if self.answer is not None and self.answer & Control.RESET:
            return self.make(self.answer, b"")
        payload = bytes(self.tx[self.sent : self.sent + MAX_PAYLOAD])
        reopened = self.closed and self.room >= self.rx_bytes // 2
        if not payload and self.answer is None and not reopened:
            return b""
        frame = self.make(Control(0), payload)
        self.sent += len(payload)
        return frame


class BoardModel(BoardLink):
    """A board: link, command unit, memories (bytes, as they travel) and programs by row."""

    def __init__(self, config: ArrayConfig, programs: dict[int, Program] | None = None) -> None:
        super().__init__(config.rx_bytes, config.tx_bytes, config.selective_repeat)
        self.config = config
        self.programs = programs or {}
        sizes = {
            Space.PROGRAM: config.program_rows,
            Space.STATE: config.p * config.state_depth,
            Space.DRIVE: config.p * config.drive_depth,
            Space.TABLE: 1 << config.table_bits,
            Space.REGISTER: len(registers(config)),
            Space.INFO: INFO_BYTES,
        }
        self.width = {space: element_bytes(config, space) for space in Space}
        self.memory = {s: bytearray(n * self.width[s]) for s, n in sizes.items()}
        self.memory[Space.INFO][:] = encode_info(config, build="model", clock_hz=1, baud=1)
        self.deaf = False  # True: dead from now on
        self.reset()

    def reset(self) -> None:
        self.program: Generator[int | bytes, bytes, None] | None = None
        self.wish: int | bytes | None = None  # what the program waits for
        self.wait_bytes = bytearray()
        self.out: deque[bytes] = deque()  # records that found no room in the ring
        self.crc = 0  # of all that was taken of the host's stream
        self.sample_left = 0
        self.runs = False  # the sample comes as zero runs
        self.zeros = 0  # of them that are still to be handed over
        self.run_at = 0  # what comes next: 0 the zeros, 1 the number of literals, 2 these
        self.literals = 0
        self.complained = False
        self.write_left: tuple[Space, int, int] | None = None
        self.refusing = False

    # Program and command unit -------------------------------------------------------------

    def say(self, record: Record, payload: bytes = b"") -> None:
        self.out.append(bytes([record]) + len(payload).to_bytes(2, "little") + payload)

    def step(self) -> None:
        """Do all that can be done now."""
        while self.flush() | self.step_program() | self.step_command():
            pass
        waiting = isinstance(self.wish, int)
        self.status = (Control.RUNNING if self.program else Control(0)) | (
            Control.WAITING if waiting else Control(0)
        )

    def flush(self) -> bool:
        moved = False
        while self.out and (room := self.tx_bytes - len(self.tx)):
            record = self.out.popleft()
            self.tx += record[:room]
            if record[room:]:
                self.out.appendleft(record[room:])
            moved = True
        return moved

    def step_program(self) -> bool:
        if not self.program or self.out:
            return False
        if isinstance(self.wish, int):
            if len(self.wait_bytes) < self.wish:
                return False
            given, self.wait_bytes = bytes(self.wait_bytes), bytearray()
        else:
            given = b""
        try:
            self.wish = self.program.send(given or None)  # type: ignore[arg-type]
        except StopIteration:
            self.program = self.wish = None
            self.say(Record.DONE)
            return True
        if isinstance(self.wish, bytes):
            self.say(Record.EMIT, self.wish)
        return True

    def step_command(self) -> bool:
        if self.refusing:
            return bool(self.pop(len(self.rx)))
        if self.sample_left or self.zeros:
            return self.step_runs() if self.runs else self.step_sample()
        if self.write_left:
            return self.step_write()
        if not self.rx or (not self.program and self.out):
            return False
        stalled = isinstance(self.wish, int) and len(self.wait_bytes) < self.wish
        code = self.rx[0]
        if code in (Command.WRITE, Command.READ):
            if len(self.rx) < 7 or (self.program and not stalled) or self.out:
                return False
            space, group, lane = Space(self.rx[1]), self.u16(2), self.rx[4]
            lanes = self.config.p if space in (Space.STATE, Space.DRIVE) else 1
            width, count = self.width[space], self.u16(5)
            at = (group * lanes + lane) * width
            self.pop(7)
            assert at + count * width <= len(self.memory[space]), "the host asked beyond the end"
            if code == Command.READ:
                self.say(Record.DATA, bytes(self.memory[space][at : at + count * width]))
            else:
                self.write_left = (space, at, count * width)
        elif code == Command.RUN:
            if len(self.rx) < 4 or self.program:
                return False
            self.program = self.programs[self.u16(1)](self)
            self.wish = None
            self.pop(4)
        elif code == Command.SAMPLE or (code == Command.RUNS and self.config.zero_runs):
            if len(self.rx) < 3:
                return False
            self.sample_left, self.complained = self.u16(1), False
            self.runs, self.run_at = code == Command.RUNS, 0
            self.pop(3)
        elif code == Command.CHECKSUM:
            if len(self.rx) < 5:
                return False
            self.pop(1)
            crc = self.crc.to_bytes(4, "little")
            if self.pop(4) != crc:
                self.refuse(BoardError.WRONG_CHECKSUM)
        else:
            self.refuse(BoardError.UNKNOWN_COMMAND)
        return True

    def refuse(self, error: BoardError) -> None:
        self.say(Record.ERROR, bytes([error]))
        self.refusing = True

    def u16(self, at: int) -> int:
        return int.from_bytes(self.rx[at : at + 2], "little")

    def pop(self, size: int) -> bytes:
        """The next bytes of the host's stream, as many as there are."""
        data = bytes(self.rx[:size])
        del self.rx[:size]
        self.crc = zlib.crc32(data, self.crc)
        return data

    def step_write(self) -> bool:
        assert self.write_left
        space, at, left = self.write_left
        part = self.pop(left)
        self.memory[space][at : at + len(part)] = part
        rest = left - len(part)
        self.write_left = (space, at + len(part), rest) if rest else None
        return bool(part)

    def wanted(self, size: int) -> int:
        """How many of so many bytes of a sample can be taken now, or lost."""
        if not self.program:
            if not self.complained and size:
                self.complained = True
                self.say(Record.ERROR, bytes([BoardError.SAMPLE_WITHOUT_PROGRAM]))
            return size
        return min(size, self.wish - len(self.wait_bytes)) if isinstance(self.wish, int) else 0

    def hand_over(self, data: bytes) -> None:
        if self.program:
            self.wait_bytes += data

    def step_sample(self) -> bool:
        part = self.pop(self.wanted(min(self.sample_left, len(self.rx))))
        self.hand_over(part)
        self.sample_left -= len(part)
        return bool(part)

    def step_runs(self) -> bool:
        if self.zeros:
            size = self.wanted(self.zeros)
            self.hand_over(bytes(size))
            self.zeros -= size
            return bool(size)
        if self.run_at == 2:
            part = self.pop(self.wanted(min(self.literals, self.sample_left, len(self.rx))))
            self.hand_over(part)
            self.literals -= len(part)
            self.run_at = 2 if self.literals else 0
        else:
            part = self.pop(1)
            number = sum(part)
            if part and self.run_at == 0:
                self.zeros, self.run_at = number, 1
            elif part:
                self.literals, self.run_at = number, 2 if number else 0
        self.sample_left -= len(part)
        return bool(part)


class FaultyLine:
    """Carries bytes in order; loses, damages, repeats and invents some. Rates a byte or chunk."""

    def __init__(self, seed: int, flip: float = 0.0, lose: float = 0.0, chunk: float = 0.0) -> None:
        self.random = random.Random(seed)
        self.flip, self.lose, self.chunk = flip, lose, chunk

    def carry(self, data: bytes) -> bytes:
        rng = self.random
        if data and rng.random() < self.chunk:
            fault = rng.randrange(3)
            data = (b"", data + data, data + rng.randbytes(rng.randrange(1, 300)))[fault]
        if not (self.flip or self.lose):
            return data
        out = bytearray()
        for byte in data:
            draw = rng.random()
            if draw < self.flip:
                out.append(byte ^ 1 << rng.randrange(8))
            elif draw >= self.flip + self.lose:
                out.append(byte)
        return bytes(out)


class Rig:
    """A transport to a `BoardModel` over two faulty lines, with a clock of its own.

    `read` hands over at most one frame of the board and 1 ms passes; if none comes, all of the
    time to wait passes.
    """

    name = "rig"

    def __init__(
        self,
        board: BoardModel,
        to_board: FaultyLine | None = None,
        to_host: FaultyLine | None = None,
    ) -> None:
        self.board = board
        self.to_board = to_board or FaultyLine(0)
        self.to_host = to_host or FaultyLine(0)
        self.now = 0.0
        self.on_its_way = bytearray()
        self.closed = False

    def clock(self) -> float:
        return self.now

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.on_its_way += self.to_board.carry(data)

    def read(self, timeout: float) -> bytes:
        assert not self.closed
        if self.board.deaf:
            self.now += max(timeout, 0.001)
            return b""
        self.board.receive(bytes(self.on_its_way[:230]))  # about a frame a millisecond
        del self.on_its_way[:230]
        self.board.step()
        data = self.to_host.carry(self.board.transmit())
        self.now += 0.001 if data or self.on_its_way else max(timeout, 0.001)
        return data

    def close(self) -> None:
        self.closed = True
