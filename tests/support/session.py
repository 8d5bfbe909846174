"""The transcripts tests/vectors/session*.txt: read, and played to the host.

Frames, COBS and CRC are made here without the contract's code, and codes are only in the
transcript. Nothing of relaxon is imported before a session is played, so that a test can put
altered modules in their place.
"""

from collections import deque
from pathlib import Path
from typing import Any, NamedTuple

from cobs import cobs

__all__ = [
    "MACHINES",
    "Mismatch",
    "Step",
    "board_frame",
    "host_frame",
    "matches",
    "play_to_host",
    "steps",
    "unframe",
]

VECTORS = Path(__file__).parents[1] / "vectors"
MACHINE: dict[str, Any] = {
    "p": 2, "weight_depth": 16, "state_depth": 16, "drive_depth": 16, "program_rows": 64,
    "levels": 2, "loop_depth": 2, "max_terms": 16, "learn_terms": 2, "decay_shift": 0,
    "table_bits": 2, "rx_bytes": 256, "tx_bytes": 256,
}  # fmt: skip
MEMORY: dict[str, Any] = {
    "sample_buffer": 16, "sample_memory": True, "drains": True, "prefetch": True, "both": True,
}  # fmt: skip
MACHINES = {"session": MACHINE, "session_memory": MACHINE | MEMORY}
"""By transcript, its board's configuration, where it is not the default."""
ROOM = 0x8000 | 256
"""With KEEPS."""
MAX_PAYLOAD = 192
CHECKSUM = 0x05
PATIENCE = 400
"""Reads without a byte after which a host is taken to wait for ever."""


class Mismatch(AssertionError):
    """The session is not the transcript's."""


class Step(NamedTuple):
    """What belongs together: the host's doing, and the bytes each side has to send.

    Patterns are lists of bytes, None for any.
    """

    line: int
    action: str
    sent: list[int | None]
    answered: list[int | None]
    frames_sent: bytes
    frames_answered: bytes
    status: int | None


def steps(transcript: str, identity: bytes) -> list[Step]:
    """The steps of a transcript, for a board with this identity text."""
    found: list[Step] = []
    parts: dict[str, list[str]] = {}
    start = 0
    stream = b""  # of the host's since the reset
    lines = (VECTORS / f"{transcript}.txt").read_text().splitlines()
    for number, line in enumerate([*lines, ""], 1):
        mark, _, rest = line.partition(" ")
        if mark in ("$", ">", "<", ">>", "<<", "?"):
            start = start or number
            parts.setdefault(mark, []).append(rest)
        elif not mark and parts:  # an empty line
            step = _step(
                start, {m: " ".join(texts) for m, texts in parts.items()}, identity, stream
            )
            sent = bytes(b or 0 for b in step.sent)
            stream = sent if step.frames_answered else stream + sent
            found.append(step)
            parts, start = {}, 0
    return found


def _step(line: int, parts: dict[str, str], identity: bytes, stream: bytes) -> Step:
    status = parts.get("?")
    return Step(
        line=line,
        action=parts.get("$", ""),
        sent=_pattern(parts.get(">", ""), identity, stream),
        answered=_pattern(parts.get("<", ""), identity, b""),
        frames_sent=bytes.fromhex(parts.get(">>", "")),
        frames_answered=bytes.fromhex(parts.get("<<", "")),
        status=int(status, 16) if status else None,
    )


def _pattern(text: str, identity: bytes, stream: bytes) -> list[int | None]:
    result: list[int | None] = []
    for word in text.split():
        if word == "identity":
            result += identity
        elif word == "check":
            result.append(CHECKSUM)
            before = stream + bytes(b or 0 for b in result)
            result += _crc32(before)
        else:
            result.append(None if word == ".." else int(word, 16))
    return result


def matches(pattern: list[int | None], data: bytes) -> bool:
    return len(pattern) == len(data) and all(
        p in (None, b) for p, b in zip(pattern, data, strict=True)
    )


# Frames, from the contract's text -------------------------------------------------------------


def _crc(data: bytes) -> bytes:
    """CRC-16/GENIBUS, bit by bit."""
    register = 0xFFFF
    for byte in data:
        register ^= byte << 8
        for _ in range(8):
            register = (register << 1 ^ (0x1021 if register >> 15 else 0)) & 0xFFFF
    return (register ^ 0xFFFF).to_bytes(2, "big")


def _crc32(data: bytes) -> bytes:
    """CRC-32/ISO-HDLC, bit by bit, as it travels."""
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0xEDB88320 if register & 1 else 0)
    return (register ^ 0xFFFFFFFF).to_bytes(4, "little")


def host_frame(control: int, seq: int, ack: int, name: int, payload: bytes = b"") -> bytes:
    """A frame of the host's with its delimiter; ``control`` is the header's first byte."""
    numbers = b"".join((n & 0xFFFF).to_bytes(2, "little") for n in (seq, ack))
    body = bytes([control]) + numbers + bytes([name & 0xFF]) + payload
    return cobs.encode(body + _crc(body)) + b"\0"


def board_frame(control: int, seq: int, ack: int, name: int, payload: bytes = b"") -> bytes:
    """A frame of a board that has room and keeps nothing."""
    numbers = b"".join((n & 0xFFFF).to_bytes(2, "little") for n in (seq, ack))
    more = bytes([name & 0xFF]) + ROOM.to_bytes(2, "little") + bytes(4)
    body = bytes([control]) + numbers + more + payload
    return cobs.encode(body + _crc(body)) + b"\0"


def unframe(data: bytes, header: int) -> tuple[int, int, int, int, bytes]:
    """First byte, seq, ack, name and payload of a frame before its delimiter, whose header is so
    long: 6 the host's, 12 the board's."""
    body = cobs.decode(data)
    if _crc(body[:-2]) != body[-2:]:
        raise Mismatch(f"wrong CRC in {body.hex()}")
    seq, ack = (int.from_bytes(body[i : i + 2], "little") for i in (1, 3))
    return body[0], seq, ack, body[5], body[header:-2]


# The host -------------------------------------------------------------------------------------


class ScriptedBoard:
    """A transport with a board that knows a transcript only. Time passes when nothing comes."""

    name = "transcript"

    def __init__(self) -> None:
        self.now = 0.0
        self.line: deque[bytes] = deque()  # to the host
        self.raw = b""  # from the host
        self.script: list[Step] = []
        self.heard = b""  # payload of this step
        self.session = self.taken = self.given = self.number = self.idle = 0

    def clock(self) -> float:
        return self.now

    def read(self, timeout: float) -> bytes:
        self.now += 1e-4
        if self.line:
            self.idle = 0
            return self.line.popleft()
        self.idle += 1
        if self.idle > PATIENCE:
            raise Mismatch(f"the host waits; heard {self.heard.hex()} and {self.raw.hex()}")
        self.now += timeout
        return b""

    def write(self, data: bytes) -> None:
        self.raw += data
        if self.script and self.script[0].frames_sent:
            self._literal()
            return
        *frames, self.raw = self.raw.split(b"\0")
        for each in filter(None, frames):
            self._take(*unframe(each, 6))
        self._answer()

    def close(self) -> None:
        pass

    def _literal(self) -> None:
        step = self.script[0]
        if self.raw[0]:  # first what acknowledges the step before
            head, delimiter, rest = self.raw.partition(b"\0")
            if not delimiter:
                return
            self._take(*unframe(head, 6))
            self.raw = rest
        if not step.frames_sent.startswith(self.raw):
            raise Mismatch(f"line {step.line}: {self.raw.hex(' ')} on the line")
        if self.raw == step.frames_sent:
            self.session = unframe(self.raw.strip(b"\0"), 6)[0] & 0x0F
            self.raw = self.heard = b""
            self.taken = self.given = self.number = 0
            self.line.append(step.frames_answered)
            self.script.pop(0)

    def _take(self, control: int, seq: int, ack: int, name: int, payload: bytes) -> None:
        self.number += bool(payload or control & 0x20)
        known = control in (self.session, self.session | 0x20) and name == self.number & 0xFF
        if not known or ack > self.given:
            raise Mismatch(f"header {control:02x} {seq} {ack} {name}")
        if payload and seq == self.taken & 0xFFFF:
            self.heard += payload
            self.taken += len(payload)
        if payload or control & 0x20:
            self.line.append(board_frame(self.session, self.given, self.taken, self.number))

    def _answer(self) -> None:
        if not self.script or len(self.heard) < len(self.script[0].sent):
            return
        step = self.script.pop(0)
        if not matches(step.sent, self.heard):
            raise Mismatch(f"line {step.line}: the host sent {self.heard.hex(' ')}")
        self.heard = b""
        data = bytes(b or 0 for b in step.answered)
        for at in range(0, len(data), MAX_PAYLOAD):
            part = data[at : at + MAX_PAYLOAD]
            self.line.append(board_frame(self.session, self.given, self.taken, self.number, part))
            self.given += len(part)


def play_to_host(transcript: str, monkeypatch) -> None:
    """Do what a transcript's host does, with `SerialDevice`. Raises Mismatch."""
    import numpy as np

    from relaxon_device import link, serial
    from relaxon_isa import instructions, memory
    from relaxon_isa.config import ArrayConfig
    from relaxon_isa.errors import DeviceError
    from relaxon_isa.identity import encode_info
    from relaxon_isa.link import BoardError, Control, Record
    from relaxon_isa.order import OrderPart
    from relaxon_isa.program import Program

    config = ArrayConfig(**MACHINES[transcript])
    info = encode_info(config, build="session", clock_hz=1, baud=1)
    board = ScriptedBoard()
    monkeypatch.setattr(serial.time, "time_ns", lambda: 0)  # the session begins at 1
    device: Any = None

    def connect() -> bool:
        nonlocal device
        device = serial.SerialDevice(board, clock=board.clock)
        return device.unused and device.config == config

    def run(*samples: str, row: int = 0) -> list[str]:
        data = [bytes.fromhex(sample) for sample in samples]
        return [emit.hex() for emit in device.run(data, row=row)]

    def left_over(sample: str, row: int) -> bool:
        try:
            list(device.run([bytes.fromhex(sample)], row=row, count=False))
        except DeviceError as error:
            return "did not take all" in str(error)
        return False

    def status(expected: int) -> bool:
        host = link.HostLink()
        host.reset(0.0)
        host.transmit(0.0)
        assert step.status is not None
        session = step.status & 0x0F
        for number in range(2, session + 1):
            host.reset(float(number))
            host.transmit(float(number))
        for control in (session | 0x10, step.status):
            host.receive(board_frame(control, 0, 0, 0), 0.0)
        return host.ready and host.status == expected

    def record(tag: Record, code: BoardError) -> bool:
        return link.RecordReader().feed(bytes(b or 0 for b in step.answered)) == [
            (tag, bytes([code]))
        ]

    names = {
        **vars(instructions), **vars(memory), "Control": Control, "Record": Record,
        "BoardError": BoardError, "connect": connect, "connected": lambda: True, "run": run,
        "then": lambda: None,
        "left_over": left_over, "status": status, "record": record,
        "reset": lambda: device.reset(),
        "read": lambda *place: device.read(*place).tolist(),
        "write": lambda *what: device.write(*what),
        "load": lambda *program: device.load(Program(config, program).rows),
        "store": lambda address, data: device.store(address, bytes.fromhex(data)),
        "check": lambda *span: device.check(*span),
        "recall": lambda *span: device.recall(*span).hex(" "),
        "run_stored": lambda wait, *records: device.run_stored(np.array(records), wait=wait),
        "run_ordered": lambda wait, **part: device.run_ordered(OrderPart(**part), wait=wait),
        "registers": lambda *but: {
            register.name: value for register, value in device.counters().items()
            if register.name not in but
        },
    }  # fmt: skip
    every = [step for step in steps(transcript, info) if step.action]
    board.script = [
        step for step in steps(transcript, info)
        if (step.frames_answered and step.frames_sent[0] == 0)  # a frame of the host's
        or (step.action and step.sent and step.status is None and "record(" not in step.action)
    ]  # fmt: skip
    for step in every:
        if eval(step.action, names) is False:  # the transcript is ours
            raise Mismatch(f"line {step.line}: {step.action}")
    if device is not None:
        device.close()
    if board.script:
        raise Mismatch(f"line {board.script[0].line}: never sent")
