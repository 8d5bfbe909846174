"""A serial line in simulated time: a baud rate, the latency of a USB adapter, byte errors.

The host is the real one; the board is `BoardModel`, whose programs take time. The virtual board's
cycles would hide time-outs: its clock stands still while its computer works.
"""

import random
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass

from relaxon_device import SerialDevice
from relaxon_device.link import LinkStats
from relaxon_isa.config import ArrayConfig

from .board_model import BoardModel

__all__ = ["LATENCY_UP", "Rate", "SimulatedLine", "measure"]

LATENCY_UP = 0.0002
"""Seconds from a write to the first bit."""


class TimedBoard(BoardModel):
    """A program's computing takes until `busy_until`; the link never waits."""

    now = busy_until = 0.0

    def step_program(self) -> bool:
        return self.now >= self.busy_until and super().step_program()


class Errors:
    """Each byte is hit at a rate: a bit flipped, lost, doubled, or another one before it."""

    def __init__(self, rate: float, seed: int) -> None:
        self.rate, self.random, self.bytes = rate, random.Random(seed), 0

    def carry(self, data: bytes) -> bytes:
        self.bytes += len(data)
        if not self.rate:
            return data
        rng, out = self.random, bytearray()
        for byte in data:
            if rng.random() >= self.rate:
                out.append(byte)
                continue
            kind = rng.randrange(4)
            if kind == 0:
                out.append(byte ^ 1 << rng.randrange(8))
            elif kind == 2:
                out += bytes([byte, byte])
            elif kind == 3:
                out += bytes([rng.randrange(256), byte])
        return bytes(out)


class SimulatedLine:
    """A transport. Bytes arrive one after the other at the line's rate, the board's frames
    ``latency`` seconds later."""

    name = "simulated line"

    def __init__(
        self, board: TimedBoard, baud: float, latency: float, up: Errors, down: Errors
    ) -> None:
        self.board, self.latency, self.up, self.down = board, latency, up, down
        self.byte = 10 / baud
        self.now = 0.0
        self.on_its_way: deque[tuple[float, bytes]] = deque()  # up: when it is there
        self.answers: deque[tuple[float, bytes]] = deque()
        self.up_free = self.down_free = 0.0

    def clock(self) -> float:
        return self.now

    def write(self, data: bytes) -> None:
        data = self.up.carry(data)
        at = max(self.now + LATENCY_UP, self.up_free)
        for start in range(0, len(data), 10):
            part = data[start : start + 10]
            at += self.byte * len(part)
            self.on_its_way.append((at, part))
        self.up_free = at

    def read(self, timeout: float) -> bytes:
        end = self.now + max(timeout, 0.0)
        while True:
            self._step(end)
            if self.now >= end or (self.answers and self.answers[0][0] <= self.now):
                break
        out = b""
        while self.answers and self.answers[0][0] <= self.now:
            out += self.answers.popleft()[1]
        return out

    def _step(self, end: float) -> None:
        """On to where something happens next, ten bytes' time at least."""
        board = self.board
        events = [end, *(at for at, _ in [*list(self.on_its_way)[:1], *list(self.answers)[:1]])]
        events += [t for t in (board.busy_until, self.down_free) if t > self.now]
        self.now = max(self.now + 10 * self.byte, min(events))
        board.now = self.now
        while self.on_its_way and self.on_its_way[0][0] <= self.now:
            board.receive(self.on_its_way.popleft()[1])
        board.step()
        if self.down_free <= self.now and (frame := board.transmit()):
            self.down_free = max(self.down_free, self.now) + self.byte * len(frame)
            self.answers.append((self.down_free + self.latency, self.down.carry(frame)))

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class Rate:
    """What a run came to: samples a second, bytes on the line a sample."""

    samples: float
    up: float
    down: float
    stats: LinkStats


def measure(
    config: ArrayConfig,
    samples: list[bytes],
    *,
    baud: float = 3e6,
    latency: float = 0.001,
    compute: float = 0.0,
    up: float = 0.0,
    down: float = 0.0,
    seed: int = 1,
) -> Rate:
    """Run samples of equal sizes through a board that computes for so many seconds and emits a
    byte for each; byte errors at the rates ``up`` and ``down``."""

    def program(board: BoardModel) -> Generator[int | bytes, bytes, None]:
        assert isinstance(board, TimedBoard)
        for sample in samples:
            taken = yield len(sample)
            assert taken == sample
            board.busy_until = board.now + compute
            yield b"x"

    board = TimedBoard(config, {0: program})
    errors = Errors(up, seed), Errors(down, seed + 1)
    line = SimulatedLine(board, baud, latency, *errors)
    device = SerialDevice(line, clock=line.clock)
    start, before = line.now, [way.bytes for way in errors]
    emits = list(device.run(samples))
    assert emits == [b"x"] * len(samples)
    sent = [way.bytes - first for way, first in zip(errors, before, strict=True)]
    count = len(samples)
    return Rate(count / (line.now - start), sent[0] / count, sent[1] / count, device.link_stats)
