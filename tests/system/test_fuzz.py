"""The gateware's link under random bytes and damaged frames. A million of them, by command:
``python tests/system/test_fuzz.py``."""

import os
import random
import select
import tty

import numpy as np

from relaxon_device.link import decode_frame, encode_frame
from relaxon_device.serial import SerialDevice
from relaxon_isa.link import Command, Control, HostHeader
from relaxon_isa.memory import Register, Space
from relaxon_isa.presets import preset
from relaxon_sim.board import VirtualBoard

BYTES = 50_000
"""Random ones, and as many again of mutated frames."""
CONFIG = preset("default").replace(
    p=2, weight_depth=16, state_depth=16, drive_depth=4, program_rows=64, integral_shift=0,
    table_bits=0,
)  # fmt: skip
"""As in test_board.py, whose build serves both."""
SPACES = (Space.PROGRAM, Space.STATE, Space.DRIVE)
SESSION = 9


def write_all(port: str, data: bytes) -> bytes:
    """Write to a board and return what it says, until it says nothing for a while."""
    line = os.open(port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        tty.setraw(line)
        at, came = 0, b""
        while True:
            readable, writable, _ = select.select([line], [line] if at < len(data) else [], [], 1.0)
            if readable:
                came += os.read(line, 65536)
            if writable:
                at += os.write(line, data[at : at + 4096])
            if not (readable or writable):
                return came
    finally:
        os.close(line)


def mutated(rng: random.Random) -> bytes:
    """A frame that the board would act upon, a WRITE, but damaged."""
    body = bytes([Command.WRITE, rng.randrange(5), *rng.randbytes(2), rng.randrange(4), 20, 0])
    body += rng.randbytes(rng.randrange(20, 180))
    header = HostHeader(SESSION, Control(0), 0, 0, rng.randrange(256))
    while True:
        frame = bytearray(encode_frame(header, body))
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            at = rng.randrange(len(frame) - 1)
            match rng.randrange(5):
                case 0:
                    frame[at] ^= 1 << rng.randrange(8)
                case 1:
                    del frame[at]
                case 2:
                    frame.insert(at, frame[at])
                case 3:
                    frame.insert(at, rng.randrange(256))
                case 4:
                    other = rng.randrange(len(frame) - 1)
                    frame[at], frame[other] = frame[other], frame[at]
        if not any(part and decode_frame(part) for part in bytes(frame).split(b"\0")):
            return bytes(frame)


def contents(device: SerialDevice) -> dict[Space, np.ndarray]:
    return {space: device.read(space) for space in SPACES}


def fuzz(seed: int, size: int) -> int:
    """Send ``size`` random bytes and as many of mutated frames; returns LINK_ERRORS."""
    rng, values = random.Random(seed), np.random.default_rng(seed)
    with VirtualBoard(CONFIG) as board:
        with SerialDevice.open(board.port) as device:
            for space in SPACES:
                layout = device.layouts[space]
                high = min(layout.high, 2**63 - 1)
                device.write(space, 0, values.integers(layout.low, high, layout.size))
            before = contents(device)
        write_all(board.port, rng.randbytes(size))
        reset = encode_frame(HostHeader(SESSION, Control.RESET, 0, 0, 0))
        assert write_all(board.port, b"\0" + reset)
        frames = b""
        while len(frames) < size:
            frames += mutated(rng)
        assert write_all(board.port, frames) == b"", "a damaged frame was acted upon"
        with SerialDevice.open(board.port) as device:
            after = contents(device)
            assert all((before[space] == after[space]).all() for space in SPACES)
            return device.counters()[Register.LINK_ERRORS]


def test_what_is_damaged_changes_nothing(seed):
    assert fuzz(seed, BYTES) > 400


if __name__ == "__main__":
    print(f"{fuzz(1, 500_000)} damaged frames, nothing changed")
