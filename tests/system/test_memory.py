"""Training data in the virtual board's sample memory, through the link: as on the golden model."""

import json
import zlib
from dataclasses import replace
from math import ceil
from random import Random
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from relaxon.backends import open_device
from relaxon.cli import cli
from relaxon.datasets import Dataset
from relaxon.network import Network
from relaxon.rules import settings_for
from relaxon.training import Trainer, TrainSettings
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
    OrderPart,
    Pack,
    Register,
    Space,
    Wait,
    preset,
    record_stride,
)
from relaxon_isa.capture import captures
from support.observe import OUTSIDE
from support.short_training import few_digits, left_by, trained

CONFIG = preset("fast4").replace(
    p=2,
    weight_depth=1024,
    state_depth=256,
    drive_depth=64,
    program_rows=512,
    sample_buffer=128,
    dither_bits=0,
    integral_shift=0,
)
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


def run_over(device: Device, data: bytes, order: np.ndarray) -> dict[str, Any]:
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
        wanted = run_over(golden, data, order)
        assert len({*wanted["emits"]}) > RUNS // 2
    with open_device("virtual", CONFIG) as board:
        assert board.memory_bytes == 1 << 23
        assert captures(board.counters()[Register.MEMORY]) == [2, 3, 4, 5]  # as board.cpp has it
        assert run_over(board, data, order) == wanted
        # Records and the line give the same, and end where there is no more.
        board.load(program(3).rows)
        lines = [data[k * STRIDE :][:32] for k in (1, 2, 3)]
        given = [*board.run(lines)]
        assert len(given) == 3
        with pytest.raises(DeviceError):
            board.run_stored(np.array([1, 2]))
        assert board.recall(0, 2) == b'{"'


def said(device: Device, loops: int, part: OrderPart) -> list[str]:
    """What is said of a program over so many samples that is given a part of an order; of such
    indices; and of such samples over the line."""
    device.load(program(loops).rows)
    samples = np.zeros((part.count, 32), np.uint8)
    found = []
    for run in (
        lambda: device.run_ordered(part),
        lambda: device.run_stored(np.arange(part.count) % part.records),
        lambda: device.run_all(samples),
    ):
        with pytest.raises(DeviceError) as error:
            run()
        found.append(str(error.value))
    device.load(program(2).rows)
    assert len(device.run_ordered(replace(part, count=2))) == 2
    return found


def test_too_few_and_too_many_records_are_told_as_golden_does():
    """A few too many lie in the machine already when the program halts, and no record says so."""
    sizes = ((5, 6), (5, 8), (50, 60), (256, 257), (300, 40), (300, 290))
    over = [(loops, OrderPart(key=1, records=300, first=0, count=count)) for loops, count in sizes]
    told = []
    for backend in ("golden", "virtual"):
        with open_device(backend, CONFIG) as device:
            told.append([said(device, loops, part) for loops, part in over])
        with pytest.raises(DeviceError, match="the device is closed"):
            device.run_ordered(over[0][1], wait=TAKE)
        with pytest.raises(DeviceError, match="the device is closed"):
            device.run_stored(np.array([0]), wait=TAKE)
    assert told[1] == told[0]
    assert "after all 290 given" in told[0][-1][0]


def few(inputs: int, classes: int, count: int = 90) -> Dataset:
    """Sparse samples, one of them all zeros."""
    rng = np.random.default_rng(inputs)
    x = rng.random((count, inputs)) * (rng.random((count, inputs)) < 0.4)
    x[count // 2] = 0
    x, y = x.astype(np.float32), np.arange(count) % classes
    return Dataset(name="made", x_train=x, y_train=y, x_test=x[:9], y_test=y[:9], classes=classes)


NETWORKS = [
    pytest.param(few_digits(600), (64, 32, 10), id="digits"),
    pytest.param(few(9, 3), (9, 5, 3), id="9-5-3"),
    pytest.param(few(30, 4), (30, 12, 4), id="30-12-4"),
    pytest.param(few(25, 2), (25, 9, 7, 2), id="25-9-7-2"),
    pytest.param(few(12, 6), (12, 17, 6), id="12-17-6"),
]


@pytest.mark.parametrize(("data", "sizes"), NETWORKS)
def test_training_from_memory_leaves_the_golden_models_machine(data, sizes):
    """Its memory is paced as the controller paces it, refreshes included."""
    network = Network(sizes)
    rule = settings_for("ep-centered", network.depth, recipe="fast")
    settings = TrainSettings(epochs=1, rule=rule)
    with open_device("golden", CONFIG) as golden:
        streamed = trained(golden, network, data, settings, stream=True)
        assert trained(golden, network, data, settings) == streamed
    count = len(data.x_train)
    with open_device("virtual", CONFIG) as board:
        told: list[int] = []
        trainer = Trainer(board, network, data, settings)
        trainer.start()
        assert trainer.hold() == count
        assert board.link_stats
        before = board.link_stats.bytes_sent
        trainer.run_epoch(told.append)
        a_sample = (board.link_stats.bytes_sent - before) / count
        assert sum(told) == count and (len(told) > 2 or count < 257)
        # Indices have 3 bytes; the program and the counters travel once an epoch, and how often
        # the host asks for progress is the computer's. The samples themselves have 33 bytes.
        assert a_sample > 3 and (a_sample < 16 or count < 500)
        print(f"{a_sample:.2f} bytes a sample sent in an epoch of {count}")
        assert trained(board, network, data, settings) == streamed


def test_an_order_that_the_machine_makes_is_not_sent():
    """Nor is a program that the board holds: an epoch of 600 digits sends less than a byte each."""
    few = few_digits(600)
    x, y = np.tile(few.x_train, (2, 1)), np.tile(few.y_train, 2)
    data, network = replace(few, x_train=x, y_train=y), Network((64, 32, 10))
    rule = settings_for("ep-centered", network.depth, recipe="fast")
    settings = TrainSettings(epochs=1, order="feistel", rule=rule)
    with open_device("golden", CONFIG) as golden:
        streamed = trained(golden, network, data, settings, stream=True)
    with open_device("virtual", CONFIG) as board:
        trainer = Trainer(board, network, data, settings)
        trainer.start()
        assert trainer.hold() == len(x) == 1200
        assert board.link_stats
        before = board.link_stats.bytes_sent
        trainer.run_epoch()
        sent = board.link_stats.bytes_sent - before
        print(f"{sent} bytes sent in an epoch of {len(x)} samples")
        assert sent < len(x) / 2
        assert left_by(trainer) == streamed
        # Test samples are sent once too: then each is a place of 3 bytes.
        right = trainer.evaluate()
        before = board.link_stats.bytes_sent
        assert trainer.evaluate() == right
        assert board.link_stats.bytes_sent - before < 4 * len(few.x_test) + 200
        trainer._tests = None
        assert trainer.evaluate() == right  # streamed
        # What a sample adds to that: an ORDER and a question for progress for 256 of them.
        some = Trainer(board, network, few, settings)
        some.start()
        some.hold()
        before = board.link_stats.bytes_sent
        some.run_epoch()
        fewer = board.link_stats.bytes_sent - before
        print(f"{fewer} bytes sent in an epoch of {len(few.x_train)} samples")
        assert fewer < len(few.x_train) / 2
        assert sent - fewer == 25 * (ceil(1200 / 256) - ceil(600 / 256))


def test_parts_of_an_order_that_the_machine_makes():
    network, data = Network((9, 5, 3)), few(9, 3)
    rule = settings_for("ep-centered", network.depth, recipe="fast")
    settings = TrainSettings(epochs=2, order="feistel", rule=rule)
    left = []
    for backend, stream in (("golden", True), ("golden", False), ("virtual", False)):
        with open_device(backend, CONFIG) as device:
            trainer = Trainer(device, network, data, settings, every=40, stream=stream)
            trainer.start()
            history = [trainer.run_epoch(), trainer.run_epoch()]
            left.append((history, left_by(trainer)))
    assert left[1] == left[0] and left[2] == left[0]


def test_what_a_board_forgot_is_sent_again():
    """A transfer that a reset cuts short, a bit that flipped, a header that is gone."""
    network, data = Network((9, 5, 3)), few(9, 3)
    settings = TrainSettings(
        epochs=1, rule=settings_for("ep-centered", network.depth, recipe="fast")
    )

    def trainer() -> Trainer:
        made = Trainer(board, network, data, settings)
        made.start()
        return made

    with open_device("virtual", CONFIG) as board:
        size = len(data.x_train)
        with pytest.raises(KeyboardInterrupt):
            trainer().hold(interrupt)
        board.reset()
        assert board.recall(0, 2) == bytes(2)
        assert trainer().hold() == size
        assert trainer().hold() == 0
        at = MEMORY_HEADER_BYTES + 20 * 6
        word = board.recall(at, 2)
        board.store(at, bytes([word[0] ^ 4, word[1]]))
        made = trainer()
        assert made._store
        made._store.sure = True  # it flips only now
        message = r"sample 20 differs in 1 of 6 bytes, .* address 1144"
        with pytest.raises(DeviceError, match=message):
            made.run_epoch()
        assert made.epoch == 0
        assert trainer().hold() == size
        board.store(0, bytes(MEMORY_HEADER_BYTES))  # as after a power failure
        assert trainer().hold() == size


def interrupt(done: int) -> None:
    raise KeyboardInterrupt


def test_info_says_where_the_memory_reads_right():
    asked = ["info", "--backend", "virtual", "--preset", "fast4", "--no-self-test", "--json"]
    said = json.loads(CliRunner().invoke(cli, asked).stdout)
    assert said["capture"].startswith("..####..: ") and said["counters"]["memory"] == 1 << 23
