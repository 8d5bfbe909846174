"""Training from a sample memory: the bits of a run over the line, and nothing on wrong data."""

from typing import Any

import numpy as np
import pytest

from relaxon.datasets import Dataset
from relaxon.network import Network
from relaxon.rules import settings_for
from relaxon.training import FEISTEL, ORDERS, Trainer, TrainSettings
from relaxon_device.base import Device
from relaxon_isa import (
    MEMORY_HEADER_BYTES,
    DataError,
    DeviceError,
    OrderPart,
    Wait,
    preset,
)
from relaxon_sim.golden import GoldenDevice

CONFIG = preset("fast4").replace(weight_depth=128, state_depth=128, drive_depth=32)
SIZES = (23, 9, 3)
COUNT = 60
STRIDE = 14
"""23 inputs of 4 bits, a label, and a byte that makes it even."""


def data(seed: int = 3) -> Dataset:
    rng = np.random.default_rng(seed)
    x = rng.random((COUNT, 23)) * (rng.random((COUNT, 23)) < 0.4)
    x, y = x.astype(np.float32), np.arange(COUNT) % 3
    return Dataset(name="made", x_train=x, y_train=y, x_test=x[:9], y_test=y[:9], classes=3)


def trainer(
    device: Device, samples: Dataset | None = None, order: str = ORDERS[0], **how
) -> Trainer:
    network = Network(SIZES)
    rule = settings_for("ep-centered", network.depth, recipe="fast")
    settings = TrainSettings(epochs=3, order=order, rule=rule)
    made = Trainer(device, network, samples or data(), settings, **how)
    made.start()
    return made


def left(made: Trainer) -> dict:
    """What the epochs leave, with their history."""
    history = [*made.epochs()]
    weights = [w.tolist() for w in made.weights()]
    return {"history": history, "weights": weights, "counters": made.counters()}


class AnySize(GoldenDevice):
    """Its memory may be cut short, as no chip is."""

    @property
    def memory_bytes(self) -> int:
        return len(self.memory)


def room_for(device: AnySize, count: int) -> None:
    """A memory of so many records, and half of another."""
    device.memory = device.memory[: MEMORY_HEADER_BYTES + count * STRIDE + STRIDE // 2]


@pytest.fixture
def device():
    with AnySize(CONFIG) as opened:
        yield opened


@pytest.fixture(scope="module")
def streamed() -> dict[str, dict]:
    """By kind of order."""
    found = {}
    for order in ORDERS:
        with GoldenDevice(CONFIG) as opened:
            made = trainer(opened, order=order, stream=True)
            found[order] = left(made)
            assert made.stored == 0 and not opened.memory.any()
    return found


@pytest.mark.parametrize("held", [COUNT, 23, 1, 0])
@pytest.mark.parametrize("every", [0, 7])
@pytest.mark.parametrize("order", ORDERS)
def test_bits_are_those_of_a_run_over_the_line(device, streamed, held, every, order):
    """Whether all samples fit, some, or none; in runs of any size."""
    if held < COUNT:
        room_for(device, held)
    ways: set[str] = set()

    def note(name: str) -> None:
        run = getattr(device, name)

        def noted(*some, **how):
            if how.get("count", True):  # in training
                ways.add(name)
            return run(*some, **how)

        setattr(device, name, noted)

    note("run_ordered")
    note("run_stored")
    made = trainer(device, order=order, every=every)
    assert made.stored == held
    wanted = streamed[order]
    found = left(made)
    if every:  # each run begins anew, which takes cycles
        found["counters"] = wanted["counters"]
    assert found == wanted
    makes = order == FEISTEL and held == COUNT
    assert ways == ({"run_ordered" if makes else "run_stored"} if held else set())


def test_each_kind_of_order_is_another_run(streamed):
    assert streamed[FEISTEL]["weights"] != streamed[ORDERS[0]]["weights"]


def test_samples_are_sent_once(device, monkeypatch):
    sent: list[int] = []
    store = device.store
    monkeypatch.setattr(device, "store", lambda at, some: sent.append(len(some)) or store(at, some))
    told: list[int] = []
    made = trainer(device)
    assert made.hold(told.append) == COUNT == sum(told)
    assert sum(sent) == 2 * MEMORY_HEADER_BYTES + COUNT * STRIDE
    assert made.hold() == 0
    again = trainer(device)
    sent.clear()
    assert again.hold() == 0 and not sent
    other = trainer(device, data(seed=4))
    assert other.hold() == COUNT
    assert trainer(device).hold() == COUNT  # the first one's are gone


TESTS_AT = -(-(MEMORY_HEADER_BYTES + COUNT * STRIDE) // 12) * 12
"""Where the test samples' header is: their records have 12 bytes."""


def test_test_samples_lie_behind_and_are_sent_once(device, streamed, monkeypatch):
    sent: list[int] = []
    store = device.store
    monkeypatch.setattr(device, "store", lambda at, some: sent.append(at) or store(at, some))
    tested: list[int] = []
    run = device.run_stored

    def noted(*some, **how):
        if not how.get("count", True):
            tested.extend(some[0])
        return run(*some, **how)

    monkeypatch.setattr(device, "run_stored", noted)
    wanted = streamed[ORDERS[0]]
    assert left(trainer(device)) == wanted
    first = TESTS_AT // 12
    assert tested == [*range(first, first + 9)] * 3  # in the memory's order, every epoch
    assert [at for at in sent if at >= TESTS_AT] == [TESTS_AT, TESTS_AT + 1024, TESTS_AT]
    assert device.memory[TESTS_AT:].any() and not device.memory[TESTS_AT + 1024 + 9 * 12 :].any()
    sent.clear()
    again = trainer(device)
    assert left(again) == wanted and not sent
    assert again.predict().tolist() == again.predict(data().x_test).tolist()


def test_where_test_samples_do_not_fit_they_are_streamed(device, streamed):
    room_for(device, COUNT)
    assert left(trainer(device)) == streamed[ORDERS[0]]


def test_a_changed_test_sample_is_noticed(device, streamed):
    made = trainer(device)
    made.run_epoch()
    before = made.evaluate()
    made.start()
    device.memory[TESTS_AT + 1024 + 4 * 12] ^= 1
    made.run_epoch()
    assert made.evaluate() == before  # sent again
    run = device.run_stored

    def flips(*args, **how):
        found = run(*args, **how)
        device.memory[TESTS_AT + 1024 + 4 * 12] ^= 1
        return found

    device.run_stored = flips
    with pytest.raises(DeviceError, match=r"has changed .*sample 4 differs in 1 of 12 bytes"):
        made.evaluate()


def test_a_changed_bit_is_noticed_before_and_after(device, streamed):
    trainer(device).hold()
    device.memory[MEMORY_HEADER_BYTES + 17 * STRIDE + 5] ^= 16
    made = trainer(device)
    assert made.hold() == COUNT  # sent again
    run = made.device.run_stored

    def flips(*args, **how):
        found = run(*args, **how)
        device.memory[MEMORY_HEADER_BYTES + 17 * STRIDE + 5] ^= 16
        return found

    made.device.run_stored = flips
    message = r"has changed .*sample 17 differs in 1 of 13 bytes, first at address 1267: 0x.., not"
    with pytest.raises(DeviceError, match=message):
        made.run_epoch()
    assert made.epoch == 0 and not made.history
    made.device.run_stored = run
    made.start()
    assert left(made) == streamed[ORDERS[0]]


def test_power_that_failed_and_a_transfer_cut_short(device):
    made = trainer(device)
    made.hold()
    device.memory[:] = 0
    with pytest.raises(DeviceError, match="differs in"):
        made.run_epoch()
    made.start()
    store = device.store

    def cut(address: int, some: bytes) -> None:
        if address > MEMORY_HEADER_BYTES:
            raise KeyboardInterrupt
        store(address, some)
        if address:
            raise KeyboardInterrupt

    device.store = cut
    with pytest.raises(KeyboardInterrupt):
        made.hold()
    assert not device.memory[:MEMORY_HEADER_BYTES].any()
    device.store = store
    assert trainer(device).hold() == COUNT
    device.memory[:MEMORY_HEADER_BYTES] = 0
    other = trainer(device)
    made.start()
    assert made._store
    made._store.sure = True
    with pytest.raises(DeviceError, match="its header is gone"):
        made.run_epoch()
    other.start()
    assert other.hold() == COUNT


def test_a_memory_that_keeps_nothing(device):
    device._store = lambda address, some: None
    with pytest.raises(DeviceError, match=r"does not keep what it is sent: sample 0 .*--stream"):
        trainer(device).run_epoch()


def test_others_must_be_as_many_as_asked_for(device):
    trainer(device)
    with pytest.raises(DataError, match="2 samples are to be sent, 0 given"):
        device.run_stored(np.array([0, -1, -1]), wait=Wait(ahead=True))


def test_targets_are_streamed(device):
    """Real-valued ones are no labels, and lie in no record."""
    x = data().x_train
    with_targets = Dataset(name="t", x_train=x, y_train=x[:, :3], x_test=x, y_test=x[:, :3])
    network = Network(SIZES)
    rule = settings_for("ep-centered", network.depth, recipe="fast", margin=0.1)
    made = Trainer(device, network, with_targets, TrainSettings(epochs=1, rule=rule))
    made.start()
    made.run_epoch()
    assert made.stored == 0 and not device.memory.any()


PART = {"key": 1, "records": COUNT, "first": 0, "count": 5}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"key": -1}, r"key = -1: must be a whole number, at least 0 and at most 4294967295"),
        ({"key": 1 << 32}, "key = 4294967296"),
        ({"records": 0}, "records = 0: must be a whole number, at least 1 and at most 16777215"),
        ({"records": 1 << 24}, "records = 16777216"),
        ({"first": -1}, "first = -1: must be a whole number, at least 0"),
        ({"count": 0}, "count = 0: must be a whole number, at least 1"),
        ({"count": 2.0}, "count = 2.0"),
        ({"first": "0"}, "first = '0'"),
        ({"key": None}, "key = None"),
        ({"first": COUNT - 4}, "places 56 to 60 of an order of 60 records: there are none"),
    ],
)
def test_what_is_no_part_of_an_order(device, change, said):
    with pytest.raises(DataError, match=said):
        device.run_ordered(OrderPart(**PART | change))


def test_a_part_of_an_order_is_asked_of_a_memory(device):
    with pytest.raises(DataError, match="None is no part of an order: an OrderPart is wanted"):
        device.run_ordered(None)
    numbers: dict[str, Any] = {name: np.uint32(value) for name, value in PART.items()}
    part = OrderPart(**numbers)
    assert part == OrderPart(**PART) and part.encode() == OrderPart(**PART).encode()
    none = GoldenDevice(preset("fast4").replace(sample_memory=False))
    for run in (lambda: none.run_ordered(part), lambda: none.run_stored(np.array([0]))):
        with pytest.raises(DeviceError, match="has no sample memory"):
            run()
