"""A board's link, frame by frame, beside the naive one of the contract (`board_model.BoardLink`).

What the host never sends goes over a real line here: frames of other sessions, damaged, out of
turn, too long, more than the ring holds, old acknowledgements. Every answer is compared as a whole.
"""

import zlib
from dataclasses import replace
from random import Random

from relaxon_device.link import decode_frame, encode_frame
from relaxon_device.transport import Transport
from relaxon_isa.config import ArrayConfig
from relaxon_isa.instructions import Emit, Halt, Instruction, Loop, Next, Wait
from relaxon_isa.link import (
    BLOCK_BYTES,
    KEPT_BYTES,
    MAX_PAYLOAD,
    BoardError,
    BoardHeader,
    Command,
    Control,
    HostHeader,
    Record,
)
from relaxon_isa.memory import Register, Space, element_bytes
from relaxon_isa.program import Program

from .board_model import BoardLink

__all__ = ["wrong_answers", "wrong_long_sample"]

PATIENCE = 0.5
"""Seconds of the board's time that an answer may take."""
ROUNDS, FRAMES = 6, 25
OVERRUNS = 3
KEPT = 8 * KEPT_BYTES
"""Blocks that a frame tells of."""
LONG = 0xD8D0
"""Bytes; bits of all places are among those of the length."""
RUN_ROW_0 = bytes([Command.RUN, 0, 0, 0])


class Wrong(Exception):
    """The board does not do what the contract says."""


class _Talk:
    """The test's end of a line, and the model of the board at its other end."""

    def __init__(self, line: Transport, config: ArrayConfig, rng: Random) -> None:
        self.line, self.config, self.rng = line, config, rng
        self.model = BoardLink(config.rx_bytes - 2, config.tx_bytes, config.selective_repeat)
        self.came = b""
        self.name = 0

    def send(self, control: int, seq: int, ack: int, payload: bytes = b"", session=None) -> None:
        """To the board and to the model."""
        self.name = (self.name + self.rng.randint(1, 3)) % 256
        session = self.model.session if session is None else session
        header = HostHeader(session, Control(control), seq % 65536, ack % 65536, self.name)
        self.raw(encode_frame(header, payload))

    def raw(self, data: bytes) -> None:
        self.line.write(data)
        self.model.receive(data)
        self.model.line.clear()

    def frame(self) -> bytes:
        """The board's next one."""
        line = self.line
        end = line.clock() + PATIENCE  # type: ignore[attr-defined]
        while True:
            found, delimiter, rest = self.came.partition(b"\0")
            if delimiter:
                self.came = rest
            if line.clock() > end:  # type: ignore[attr-defined]
                raise Wrong("no answer")
            if delimiter and found:
                return found + delimiter
            if not delimiter:
                self.came += line.read(0.02)

    def answers(self, what: str) -> None:
        """What the model says the board says, byte for byte."""
        while expected := self.model.transmit():
            if (found := self.frame()) != expected:
                raise Wrong(f"{what}: {self.read(found)} instead of {self.read(expected)}")

    def read(self, frame: bytes) -> str:
        found = decode_frame(frame[:-1])
        return f"{found[0]}, {len(found[1])} bytes" if found else frame.hex(" ")

    # What is tried ---------------------------------------------------------------------------

    def reset(self) -> None:
        session = self.rng.choice([s for s in range(1, 16) if s != self.model.session])
        self.model.status = Control(0)
        self.send(Control.RESET, self.rng.randrange(99), 0, b"", session)
        expected = decode_frame(self.model.transmit()[:-1])
        header, payload = self.header()
        while header.session != session:  # frames of before are on their way
            header, payload = self.header()
        # The program may have been running as it was made.
        header = replace(header, control=header.control & ~Control.RUNNING)
        if (header, payload) != expected:
            raise Wrong(f"RESET: {header} instead of {expected}")

    def shut(self) -> None:
        """From now on the command unit takes nothing: a program waits for a sample, and a RUN for
        that program."""
        stream = self.program_write() + RUN_ROW_0 * 2 + bytes(8)
        self.send(0, 0, 0, stream)
        self.model.transmit()
        before, header = None, self.header()[0]
        while header != before or not header.control & Control.RUNNING:  # until all stands still
            before = header
            self.send(Control.RESEND, 0, 0)
            self.model.transmit()
            header = replace(self.header()[0], name=before.name)
        self.model.rx[:] = bytes(self.model.rx_bytes - header.room)
        self.model.status = Control.RUNNING
        self.send(Control.RESEND, 0, 0)
        self.answers("a program that waits")

    def program_write(self, *instructions: Instruction) -> bytes:
        """A WRITE of a program of these, or of a WAIT, and HALT."""
        rows = Program(self.config, (*(instructions or (Wait(count=1),)), Halt())).rows
        width = element_bytes(self.config, Space.PROGRAM)
        data = b"".join(int(row).to_bytes(width, "little") for row in rows)
        return bytes([Command.WRITE, Space.PROGRAM, 0, 0, 0, len(rows), 0]) + data

    def fill(self, number: int) -> None:
        """A frame somewhere in the host's stream, or none of it, or no frame at all."""
        rng, model = self.rng, self.model
        at = model.rx_offset
        block = -(-at // BLOCK_BYTES) * BLOCK_BYTES
        begin = rng.choice([at, at, block + 64 * rng.randrange(34), at + rng.randint(-200, 600)])
        few = 1 << rng.randrange(8)
        size = rng.choice([64, 128, 192, few, rng.randint(1, 192), max(1, min(192, model.room))])
        if begin == at and rng.random() < 0.5:
            size = min(size, block + 64 - at) or 64
        payload = rng.randbytes(size)
        kind = rng.random()
        if kind < 0.1:
            session = rng.choice([s for s in range(16) if s != model.session])
            self.send(rng.choice([0, Control.RESEND]), at, 0, payload, session)
        elif kind < 0.2:
            header = HostHeader(model.session, Control(0), at % 65536, 0, self.name)
            frame = bytearray(encode_frame(header, payload))
            if rng.random() < 0.7:
                frame[rng.randrange(len(frame) - 1)] ^= 1 << rng.randrange(8)
            else:  # a byte less than the last block's code says
                code = 0
                while code + frame[code] < len(frame) - 1:
                    code += frame[code]
                frame[code] += 1
            self.raw(bytes(frame))
        elif kind < 0.25:
            self.send(0, at, 0, rng.randbytes(MAX_PAYLOAD + rng.randint(1, 40)))
        elif kind < 0.3:
            self.raw(b"\0" * rng.randint(1, 3) + rng.randbytes(rng.randint(1, 7)) + b"\0")
        elif kind < 0.35:
            self.send(0, at, 0)  # says nothing, and is not answered
        elif kind < 0.45:
            self.send(Control.RESEND, at, rng.randrange(1 << 16) if rng.random() < 0.5 else 0)
        else:
            self.send(0, begin, 0, payload)
        self.answers(f"frame {number}")

    def deliver(self, stream: bytes) -> None:
        """The stream, until the board has all of it: each of its 32 blocks once behind a gap, then
        frames in any order and again."""
        model, rng = self.model, self.rng
        pairs = [*range(0, KEPT, 2), *range(KEPT + 1, 2 * KEPT, 2)] if model.keeps else []
        for first in pairs:
            for block in (*range(model.rx_offset // BLOCK_BYTES, first), first + 1, first):
                self.hand_over(stream, block * BLOCK_BYTES, BLOCK_BYTES)
        while model.rx_offset < len(stream):
            at = model.rx_offset
            block = -(-at // BLOCK_BYTES) * BLOCK_BYTES
            begin = rng.choice([at, at, block, block + 64, max(0, at - 100)])
            self.hand_over(stream, begin, rng.choice([1, 64, 64, 128, rng.randint(1, 192)]))

    def hand_over(self, stream: bytes, begin: int, size: int) -> None:
        """A frame of so many bytes of the stream from there on, which may not be the next ones."""
        model, room = self.model, self.model.rx_bytes
        self.send(0, begin, 0, stream[begin : begin + size] or b"\0")
        model.rx.clear()  # the command unit takes what comes
        while model.transmit():
            header, data = self.header()
            wrong = (header.ack, header.kept) != (model.rx_offset % 65536, self.kept())
            if wrong or data or not room - MAX_PAYLOAD <= header.room <= room:
                raise Wrong(f"delivery: {header} at {model.rx_offset}")

    def exchange(self, stream: bytes, right: bytes, at: int = 0) -> None:
        """The stream from there on in frames, and again what was not taken, until this came."""
        answer, refused = b"", 0
        while at < len(stream) or len(answer) < len(right):
            part = stream[at : at + MAX_PAYLOAD]
            header = self.ask(at, len(answer), part, again=refused > 0)
            while True:
                found, data = header
                if data and found.seq == len(answer) % 65536:
                    answer += data
                if found.name == self.name:
                    break
                header = self.header()
            refused = refused + 1 if found.ack == at % 65536 and not data else 0
            at += (found.ack - at) % 65536
            if refused > 1000 or answer != right[: len(answer)]:
                break
        if answer != right:
            raise Wrong(f"{len(stream)} bytes are answered by {len(answer)}, or by wrong ones")

    def ask(
        self, at: int, taken: int, payload: bytes, *, again: bool = False
    ) -> tuple[BoardHeader, bytes]:
        """Send a frame, with RESEND if it is empty or ``again``; the board's next frame."""
        self.name = (self.name + 1) % 256
        control = Control.RESEND if again or not payload else Control(0)
        header = HostHeader(self.model.session, control, at % 65536, taken % 65536, self.name)
        self.line.write(encode_frame(header, payload))
        return self.header()

    def answer(self, at: int, payload: bytes) -> BoardHeader:
        """Send a frame, and acknowledge nothing; the header of the frame that names it."""
        header, _ = self.ask(at, 0, payload)
        while header.name != self.name:
            header, _ = self.header()
        return header

    def take_a_long_sample(self, size: int) -> None:
        """One SAMPLE for thousands of WAITs, whose last values come back."""
        sample = self.rng.randbytes(size)
        program = (Loop(count=size // 16), Wait(count=16), Next(), Emit(count=2))
        stream = self.program_write(*program) + RUN_ROW_0
        stream += bytes([Command.SAMPLE]) + size.to_bytes(2, "little") + sample
        right = bytes([Record.EMIT, 4, 0, sample[-16], 0, sample[-15], 0, Record.DONE, 0, 0])
        self.exchange(stream, right)

    def overrun(self) -> None:
        """While nothing that the board says is acknowledged its program stands still, somewhere in
        the ring; then more comes than that holds, of which nothing may be taken."""
        config, rng = self.config, self.rng
        words = config.state_depth * config.p
        width = config.state_bits // 8
        first = config.tx_bytes // (words * width) + 2
        then = config.rx_bytes // words + 3
        program = [Emit(count=words)] * first
        loop = [Loop(count=then), Wait(count=words), Emit(count=words), Next()]
        stream = bytes([Command.SAMPLE, 0, 0]) * rng.randrange(100)  # says nothing
        stream += bytes([Command.WRITE, Space.STATE, 0, 0, 0]) + words.to_bytes(2, "little")
        stream += bytes(words * width) + self.program_write(*program, *loop) + RUN_ROW_0
        sample = rng.randbytes(then * words)
        stream += bytes([Command.SAMPLE]) + len(sample).to_bytes(2, "little") + sample
        record = bytes([Record.EMIT]) + (words * width).to_bytes(2, "little")
        right = (record + bytes(words * width)) * first
        for at in range(0, len(sample), words):
            values = sample[at : at + words]
            right += record + b"".join(v.to_bytes(width, "little") for v in values)
        at, still = 0, 0
        while still < 12:  # as far as the ring goes, and then what must not get into it
            said = self.answer(at, stream[at : at + rng.choice([1, 64, 150, MAX_PAYLOAD])])
            still = still + 1 if said.ack == at % 65536 else 0
            at += (said.ack - at) % 65536
            size = rng.randint(said.room + 1, said.room + 99)
            if size <= MAX_PAYLOAD and at + size < len(stream):
                self.answer(at, rng.randbytes(size))
        self.exchange(stream, right + bytes([Record.DONE, 0, 0]), at)

    def wait(self) -> None:
        """WAITING is told of a program that waits, and no byte on its way; its memory is read
        meanwhile."""
        width, count = self.config.state_bits // 8, 2 * self.config.p
        words = self.rng.randbytes(count * width)
        place = bytes([Space.STATE, 0, 0, 0, count, 0])
        stream = bytes([Command.WRITE]) + place + words + self.program_write() + RUN_ROW_0
        stream += bytes([Command.READ]) + place
        self.exchange(stream, bytes([Record.DATA, len(words), 0]) + words)
        control = Control(0)
        for _ in range(20):
            control = self.ask(len(stream), 3 + len(words), b"")[0].control
            if control == Control.RUNNING | Control.WAITING:
                return
        raise Wrong(f"{control} of a program that waits")

    def lack_room(self) -> None:
        """WAITING is not told of a program whose EMITs find no room."""
        config = self.config
        words = config.state_depth * config.p
        emits = config.tx_bytes // (words * config.state_bits // 8) + 2
        stream = self.program_write(*[Emit(count=words)] * emits) + RUN_ROW_0
        at, control = 0, Control(0)
        for _ in range(20):
            header = self.ask(at, 0, b"" if at else stream)[0]
            at, control = header.ack, header.control
            if control & Control.WAITING:
                break
        if control != Control.RUNNING:
            raise Wrong(f"{control} of a program without room for its EMITs")

    def counts(self) -> None:
        """What the link has counted since power-on, behind a READ of nothing; registers that the
        machine lacks are 0, whatever is written."""
        config, model = self.config, self.model
        read = bytes([Command.READ, Space.STATE, 0, 0, 0, 0, 0])
        read += bytes([Command.READ, Space.REGISTER, Register.LINK_ERRORS, 0, 0, 2, 0])
        right = bytes([Record.DATA, 0, 0, Record.DATA, 8, 0])
        right += model.link_errors.to_bytes(4, "little") + model.link_drops.to_bytes(4, "little")
        lacking = [] if config.sample_buffer else [Register.WRONG]
        lacking += [] if config.dither_bits else [Register.UPDATE_KEY, Register.SAMPLE_KEY]
        for register in lacking:
            place = bytes([Space.REGISTER, register, 0, 0, 1, 0])
            read += bytes([Command.WRITE]) + place + self.rng.randbytes(4)
            read += bytes([Command.READ]) + place
            right += bytes([Record.DATA, 4, 0]) + bytes(4)
        self.exchange(read, right)

    def reopen(self) -> None:
        """While a program runs its ring is filled until the host's window is nearly shut; when it
        opens again the board says so by itself."""
        config, model = self.config, self.model
        least = min(MAX_PAYLOAD, config.rx_bytes // 2)
        begun = self.program_write(Loop(count=1 << 15), Next()) + RUN_ROW_0
        self.exchange(begun, b"")
        at, words = 0, 16
        size = 7 + words * config.state_bits // 8
        write = bytes([Command.WRITE, Space.STATE, 0, 0, 0, words, 0]) + bytes(size - 7)
        stream = write * (-(-(model.rx_bytes - least + 1) // size))
        while at < len(stream):
            part = stream[at : at + MAX_PAYLOAD]
            if self.ask(len(begun) + at, 0, part)[0].control != Control.RUNNING:
                return  # a slow computer: the program has ended
            at += len(part)
        headers = [self.header()]
        while headers[-1][0].room < config.rx_bytes // 2:
            headers.append(self.header())
        done = b"".join(data for _, data in headers)
        if done != bytes([Record.DONE, 0, 0]):
            raise Wrong(f"{done.hex(' ')} of a program without EMITs")

    def checksum(self) -> None:
        """One that is right says nothing; behind a wrong one nothing is heard."""
        read = bytes([Command.READ, Space.INFO, 0, 0, 0, 1, 0])
        stream = read + bytes([Command.CHECKSUM])
        stream += zlib.crc32(stream).to_bytes(4, "little") + read + bytes([Command.CHECKSUM])
        wrong = zlib.crc32(stream) ^ 1 << self.rng.randrange(32)
        data = bytes([Record.DATA, 1, 0, ord("{")])
        error = bytes([Record.ERROR, 1, 0, BoardError.WRONG_CHECKSUM])
        self.exchange(stream + wrong.to_bytes(4, "little") + read, data * 2 + error)

    def kept(self) -> int | None:
        return sum(1 << k % 32 for k in self.model.kept) if self.model.keeps else None

    def header(self) -> tuple[BoardHeader, bytes]:
        found = decode_frame(self.frame()[:-1])
        if not found:
            raise Wrong("a damaged frame")
        header = found[0]
        if header.control & Control.WAITING and header.room < self.config.rx_bytes - 2:
            raise Wrong(f"{header} of a program that waits, and bytes on their way to it")
        return found

    def take(self, data: bytes) -> None:
        """The board sends this; ask again from anywhere, acknowledge any part, wrongly too."""
        model, rng = self.model, self.rng
        seen = 0
        while seen < len(data):
            header, part = self.header()
            if header.seq != seen or part != data[seen : seen + len(part)]:
                raise Wrong(f"{len(part)} bytes of the board's stream from {header.seq} on")
            seen += len(part)
        model.tx, model.sent, model.tx_offset = bytearray(data), len(data), 0
        while model.tx:
            ack = model.tx_offset + rng.choice([0, 0, 1, rng.randint(0, 300), len(model.tx)])
            if rng.random() < 0.3:  # beyond what was sent, or long ago: of no effect
                ack = rng.choice([len(data) + rng.randint(1, 9), -rng.randint(1, 99)])
            self.send(Control.RESEND, model.rx_offset, ack)
            self.answers("sent again")


def wrong_answers(line: Transport, config: ArrayConfig, seed: int) -> list[str]:
    """Play with the board on this line, which has a ``clock``; what is wrong, in words."""
    rng = Random(seed)
    talk = _Talk(line, config, rng)
    try:
        talk.raw(b"\0")
        for _ in range(ROUNDS):
            talk.reset()
            talk.shut()
            for number in range(FRAMES):
                talk.fill(number)
        talk.reset()
        width = config.state_bits // 8
        count = min(config.state_depth * config.p, 150)
        values = rng.randbytes(count * width)
        write = bytes([Command.WRITE, Space.STATE, 0, 0, 0, count, 0])
        write = (write + rng.randbytes(len(values))) * 24 + write + values
        read = bytes([Command.READ, Space.STATE, 0, 0, 0, count, 0])
        talk.deliver(write)
        talk.send(0, talk.model.rx_offset, 0, read)
        talk.model.rx.clear()
        talk.model.transmit()
        record = bytes([Record.DATA, *len(values).to_bytes(2, "little")]) + values
        talk.take(record)
        talk.reset()
        talk.wait()
        talk.reset()
        talk.lack_room()
        talk.reset()
        talk.counts()
        talk.reset()
        talk.checksum()
        talk.reset()
        talk.reopen()
        for _ in range(OVERRUNS):
            talk.reset()
            talk.overrun()
    except Wrong as error:
        return [str(error)]
    return []


def wrong_long_sample(line: Transport, config: ArrayConfig, seed: int) -> list[str]:
    """Have one SAMPLE of very many bytes taken; what is wrong, in words."""
    talk = _Talk(line, config, Random(seed))
    try:
        talk.raw(b"\0")
        talk.reset()
        talk.take_a_long_sample(LONG)
    except Wrong as error:
        return [str(error)]
    return []
