"""Training data in the virtual board's sample memory, through the link: as on the golden model."""

import zlib
from random import Random
from typing import Any

import numpy as np
import pytest

from relaxon.backends import open_device
from relaxon_device.base import Device
from relaxon_isa import (
    MEMORY_HEADER_BYTES,
    Builder,
    DeviceError,
    Emit,
    EmitKind,
    Halt,
    Learn,
    LearnLevel,
    Mac,
    MacLevel,
    MemoryHeader,
    Pack,
    Space,
    Wait,
    preset,
    record_stride,
)
from support.observe import OUTSIDE

CONFIG = preset("fast4").replace(p=2, weight_depth=64, dither_bits=0, integral_shift=0)
TAKE = Wait(
    dst=8, count=61, pack=Pack.B4, ahead=True, tick=True, bias=True, outputs=4, low=-9, high=90
)
GROUPS = TAKE.values // CONFIG.p
STRIDE = record_stride(CONFIG, TAKE)
RECORDS, RUNS = 40, 300


def program(count: int):
    walk = MacLevel(count=GROUPS, tile=1, src=1)
    b = Builder(CONFIG)
    with b.loop(count):
        b.add(TAKE)
        b.add(Mac(inner=(walk,), dst=24, shift=4, walk=True))
        b.add(Emit(kind=EmitKind.ANSWER, base=24, count=2))
        b.add(Learn(outer=(LearnLevel(count=GROUPS, tile=1, col=1),), row=20, walk=True))
        b.add(Emit(base=24, count=2))
    b.add(Halt())
    return b.build()


def trained(device: Device, data: bytes, order: np.ndarray) -> dict[str, Any]:
    """What a run from memory leaves, with what is said of the memory."""
    header = MemoryHeader(digest="ab", records=RECORDS, record_bytes=STRIDE, crc=zlib.crc32(data))
    device.write(Space.STATE, 20 * CONFIG.p, [3 << 12, -5 << 12])
    device.load(program(len(order)).rows)
    device.store(MEMORY_HEADER_BYTES, data)
    device.store(0, header.encode())
    assert MemoryHeader.decode(device.recall(0, MEMORY_HEADER_BYTES)) == header
    assert device.check(MEMORY_HEADER_BYTES, len(data)) == header.crc
    assert device.recall(MEMORY_HEADER_BYTES + 7, 9) == data[7:16]
    emits = device.run_stored(order)
    counters = {r.name: v for r, v in device.counters().items() if r not in OUTSIDE}
    return {"emits": emits, **counters, "states": device.read(Space.STATE).tolist()}


def test_a_run_from_memory_is_the_golden_models(seed):
    rng = Random(seed)
    data = b"".join(
        bytes(rng.choice([0, 0, rng.randrange(256)]) for _ in range(31))
        + bytes([rng.randrange(5)] + [0] * (STRIDE - 32))
        for _ in range(RECORDS)
    )
    order = np.array([rng.randrange(RECORDS) for _ in range(RUNS)])
    with open_device("golden", CONFIG) as golden:
        wanted = trained(golden, data, order)
        assert len({*wanted["emits"]}) > RUNS // 2
    with open_device("virtual", CONFIG) as board:
        assert board.memory_bytes == 1 << 23
        assert trained(board, data, order) == wanted
        # Records and the line give the same, and end where there is no more.
        board.load(program(3).rows)
        lines = [data[k * STRIDE :][:32] for k in (1, 2, 3)]
        given = [*board.run(lines)]
        assert len(given) == 3
        with pytest.raises(DeviceError):
            board.run_stored(np.array([1, 2]))
        assert board.recall(0, 2) == b'{"'
