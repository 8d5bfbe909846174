"""The recipe fast on a machine that has what makes it fast: the same bits in fewer cycles."""

import numpy as np
import pytest

from relaxon.backends import open_device
from relaxon.datasets import Dataset
from relaxon.network import Network
from relaxon.rules import settings_for
from relaxon.studies.estimate import estimate
from relaxon.training import Trainer, TrainSettings
from relaxon_isa import ArrayConfig, Learn, Mac, Register, preset

FAST = preset("fast4").replace(weight_depth=128, state_depth=128, drive_depth=32)
PLAIN = FAST.replace(drains=False, prefetch=False, both=False, sample_buffer=0, sample_memory=False)


def data(inputs: int, outputs: int) -> Dataset:
    rng = np.random.default_rng(3)
    x = rng.random((60, inputs)) * (rng.random((60, inputs)) < 0.4)
    x, y = x.astype(np.float32), np.arange(60) % outputs
    return Dataset(name="made", x_train=x, y_train=y, x_test=x[:9], y_test=y[:9], classes=outputs)


def trained(config: ArrayConfig, sizes: tuple[int, ...], **settings) -> tuple[Trainer, dict, dict]:
    network = Network(sizes)
    rule = settings_for("ep-centered", network.depth, recipe="fast", **settings)
    with open_device("golden", config, engine="numpy") as device:
        train = TrainSettings(epochs=2, rate_halvings=1, rule=rule)
        trainer = Trainer(device, network, data(sizes[0], sizes[-1]), train)
        trainer.start()
        entries = [trainer.run_epoch() for _ in range(2)]
        found = {
            "weights": [w.tolist() for w in trainer.weights()],
            "history": entries,
            "test": trainer.evaluate(),
        }
        return trainer, found, device.counters()


@pytest.mark.parametrize(
    ("sizes", "rows", "updates"),
    [((21, 9, 3), 158, 2), ((21, 9, 3), 157, 1), ((18, 7, 6, 4), 278, 2), ((18, 7, 6, 4), 277, 1)],
)
def test_the_same_bits_in_fewer_cycles(sizes: tuple[int, ...], rows: int, updates: int) -> None:
    """Also where the program memory is too small for a second copy of the update."""
    machines = FAST.replace(program_rows=rows), PLAIN
    (fast, one, counted), (plain, other, before) = (trained(c, sizes) for c in machines)
    assert one == other
    assert counted[Register.SAMPLES] == before[Register.SAMPLES] == 120
    cycles = [
        sum(counters[r] for r in Register if r.name.endswith("_CYCLES"))
        for counters in (counted, before)
    ]
    assert cycles[0] < 0.7 * cycles[1]
    nests = [i for i in fast._train.instructions if isinstance(i, Mac | Learn)]
    assert sum(nest.walk for nest in nests) == 1 + updates
    assert not any(i.walk for i in plain._train.instructions if isinstance(i, Mac | Learn))


def test_estimates_walk_over_lists() -> None:
    """784-128-10: of 66 groups 15 are in the longest list of an estimate's sample."""
    network, config = Network((784, 128, 10)), preset("ecp5-85f-fast")
    costs = estimate(network, config, recipe="fast", input_bits=4)
    dense = estimate(network, config.replace(sample_buffer=0), recipe="fast", input_bits=4)
    within, beyond = costs["within"], costs["beyond"]
    assert (within.cycles, beyond.cycles) == (215, 685)
    forward = learn = 11 * (66 - 15)  # but for drains
    assert abs(dense["beyond"].kinds["learn"] - beyond.kinds["learn"] - learn) <= 3
    assert abs(dense["within"].kinds["mac"] - within.kinds["mac"] - forward) <= 10
    assert within.rx_bytes == 3 + 392 + 1 and within.tx_bytes == 0
    assert dense["inference"].cycles - costs["inference"].cycles > forward


@pytest.mark.parametrize("margin", [0.25, 0.4])
def test_answers_are_counted_whatever_the_margin(margin: float) -> None:
    """Within 0.4 of targets 0 and 0.75 an answer may be wrong, so every sample is compared."""
    accuracies = [
        [entry["online_accuracy"] for entry in found["history"]]
        for _, found, _ in (trained(c, (21, 9, 3), margin=margin) for c in (FAST, PLAIN))
    ]
    assert accuracies[0] == accuracies[1]


def test_what_the_buffer_cannot_take_comes_as_before() -> None:
    small = FAST.replace(sample_buffer=16)  # 8 groups: 31 inputs and the constant one
    for inputs, ahead in ((31, True), (32, False)):
        trainer, found, _ = trained(small, (inputs, 5, 3))
        assert trainer.rule.takes_ahead() == ahead
        assert found == trained(PLAIN, (inputs, 5, 3))[1]
    for unlike in ({"input_bits": 16}, {"stochastic": True}):
        trainer, _, _ = trained(FAST, (21, 9, 3), **unlike)
        assert not trainer.rule.takes_ahead()
