"""Bytes that no host sent: the board still answers, and no memory changed that was not framed."""

import random

import numpy as np
import pytest

from relaxon.backends import virtual_board
from relaxon_device.serial import UNPACED_SECONDS, SerialDevice
from relaxon_device.transport import SerialTransport, Transport
from relaxon_isa.memory import Register, Space
from relaxon_isa.presets import preset

SPACES = (Space.PROGRAM, Space.STATE, Space.DRIVE)
CHUNK = 5000
"""Bytes after which the board is asked whether it still answers."""


class Recorder:
    """A transport that keeps what the host wrote."""

    def __init__(self, inner: Transport) -> None:
        self.inner, self.name = inner, inner.name
        self.sent = bytearray()

    def write(self, data: bytes) -> None:
        self.sent += data
        self.inner.write(data)

    def read(self, timeout: float) -> bytes:
        return self.inner.read(timeout)

    def close(self) -> None:
        self.inner.close()


def mutated(frames: list[bytes], rng: random.Random) -> bytes:
    """A frame, damaged: a bit flipped, cut short, a piece of it twice, or of another in it."""
    frame = bytearray(rng.choice(frames))
    at, to = sorted(rng.randrange(len(frame) + 1) for _ in range(2))
    match rng.randrange(4):
        case 0:
            frame[rng.randrange(len(frame))] ^= 1 << rng.randrange(8)
        case 1:
            del frame[at : to + 1]
        case 2:
            frame[at:at] = frame[at : to + 1] or b"\xff"
        case 3:
            frame[at:to] = rng.choice(frames)[at : to + 1]
    return bytes(frame)


@pytest.mark.parametrize("count", [100_000, pytest.param(1_000_000, marks=pytest.mark.long)])
def test_no_memory_changes_by_what_is_no_frame(count):
    """Half of the bytes at random, half frames of the session itself, damaged."""
    rng = random.Random(count)
    with virtual_board(preset("default")) as board:

        def opened() -> tuple[SerialDevice, Recorder]:
            line = Recorder(SerialTransport(board.port))
            return SerialDevice(line, timeout=UNPACED_SECONDS), line

        device, line = opened()
        kept = {}
        for space in SPACES:
            layout = device.layouts[space]
            kept[space] = [rng.randint(layout.low, layout.high) for _ in range(layout.size)]
            device.write(space, 0, kept[space])
        errors = device.counters()[Register.LINK_ERRORS]
        device.close()
        done = 0
        while done < count:
            device, line = opened()
            device.write(Space.STATE, 0, kept[Space.STATE])  # frames of this very session
            device.read(Space.STATE, 0, 1)
            frames = [f for f in bytes(line.sent).split(b"\0") if len(f) > 20]
            whole, noise = set(frames), bytearray()
            while len(noise) < CHUNK:
                bad = rng.randbytes(rng.randrange(1, 300)) if rng.random() < 0.5 else b""
                bad = bad or mutated(frames, rng)
                noise += b"" if bad in whole else bad.replace(b"\0", b"\1") + b"\0"
            line.inner.write(bytes(noise))
            done += len(noise)
            line.close()
        device, _ = opened()
        with device:
            for space in SPACES:
                assert np.array_equal(device.read(space), kept[space]), space
            assert device.counters()[Register.LINK_ERRORS] - errors > count / 1000
