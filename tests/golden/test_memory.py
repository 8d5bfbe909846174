"""Sample memory: the same bits as over the line, and what a header says."""

from zlib import crc32

import numpy as np
import pytest

from relaxon_isa import (
    MEMORY_HEADER_BYTES,
    DataError,
    DeviceError,
    Emit,
    EmitKind,
    Halt,
    Loop,
    Mac,
    MacLevel,
    MemoryHeader,
    Next,
    Pack,
    Program,
    Register,
    Space,
    Wait,
    preset,
    record_address,
    record_stride,
)
from relaxon_sim.golden import GoldenDevice

CONFIG = preset("fast4")
TAKE = Wait(count=10, pack=Pack.B4, ahead=True, bias=True, outputs=3, low=-5, high=7, dst=20)
"""5 bytes and a label: 6."""
RECORDS = np.random.default_rng(0).integers(0, 256, (9, 6), dtype=np.uint8)
ORDER = np.array([8, 0, 3, 3, 7])


def program(count: int) -> Program:
    listed = MacLevel(count=3, tile=1, src=1)
    sums = Mac(inner=(listed,), tile=4, dst=30, walk=True, from_drive=True, drive=1, both=True)
    give = (Emit(base=30, count=4), Emit(kind=EmitKind.ANSWER, base=20, count=3))
    return Program(CONFIG, (Loop(count=count), TAKE, sums, *give, Next(), Halt()))


def loaded() -> GoldenDevice:
    device = GoldenDevice(CONFIG)
    device.machine.weights_array = np.arange(64 * 16).reshape(64, 4, 4) % 97
    device.load(program(len(ORDER)).rows)
    return device


def test_records_by_hand() -> None:
    assert (record_stride(CONFIG, TAKE), record_address(CONFIG, TAKE, 3)) == (6, 1024 + 18)
    odd = Wait(count=10, pack=Pack.B4, ahead=True)
    assert (record_stride(CONFIG, odd), record_address(CONFIG, odd, 3)) == (6, 1024 + 18)


def test_from_memory_as_over_the_line() -> None:
    line, memory = loaded(), loaded()
    assert memory.memory_bytes == 1 << 25
    memory.store(MEMORY_HEADER_BYTES, RECORDS.tobytes())
    over_line = line.run_all(RECORDS[ORDER])
    told: list[int] = []
    assert memory.run_stored(ORDER, progress=told.append) == over_line
    assert sum(told) == len(ORDER) and len(set(over_line)) == 5  # D adds up
    assert np.array_equal(line.read(Space.DRIVE), memory.read(Space.DRIVE))
    assert line.counters() == memory.counters()
    assert memory.counters()[Register.WRONG] == sum(RECORDS[ORDER, -1] > 2)


def test_check_and_recall() -> None:
    device = loaded()
    device.store(2000, b"digits")
    assert device.check(1999, 8) == crc32(b"\0digits\0")
    assert device.recall(2002, 3) == b"git"
    assert (device.check(0, 0), device.recall(5, 0)) == (0, b"")
    end = 1 << 25
    device.store(end - 2, b"x")
    assert device.recall(end - 2, 2) == b"x\0"
    with pytest.raises(DeviceError, match=f"bytes {end - 2} to {end + 1} asked, the device has "):
        device.store(end - 2, b"xyz")
    with pytest.raises(DataError, match="address 7 is odd"):
        device.store(7, b"x")
    with pytest.raises(DeviceError, match="the device has none"):
        GoldenDevice(preset("default")).check(0, 1)


def test_what_cannot_run_from_memory() -> None:
    device = loaded()
    with pytest.raises(DeviceError, match="sample memory: bytes 37748752"):
        device.run_stored(np.array([0, 6291288]))
    device.load(Program(CONFIG, (Mac(dst=1), Halt())).rows)
    with pytest.raises(DeviceError, match="the program at row 0 takes no samples ahead"):
        device.run_stored(ORDER)


def test_the_size_is_not_written() -> None:
    device = GoldenDevice(CONFIG)
    device.write(Space.REGISTER, Register.MEMORY, [5])
    assert device.counters()[Register.MEMORY] == 1 << 25
    assert Register.MEMORY not in GoldenDevice(preset("default")).counters()


def test_headers() -> None:
    header = MemoryHeader(digest="ab" * 32, records=60000, record_bytes=393, crc=1 << 31)
    data = header.encode()
    assert len(data) == MEMORY_HEADER_BYTES and MemoryHeader.decode(data) == header
    for other in (b"", bytes(1024), data.replace(b"relaxon", b"another"), b"[]", b"{"):
        assert MemoryHeader.decode(other) is None
