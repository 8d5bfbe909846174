"""The golden run beside a training: what it came to in time is compared, and what is said of it."""

import time

import pytest

from relaxon.backends import open_device
from relaxon.datasets import load
from relaxon.network import Network
from relaxon.rules import settings_for
from relaxon.runs import spec_of
from relaxon.training import Trainer, TrainSettings
from relaxon.verify import GoldenRun
from relaxon_isa import preset

NETWORK = Network((8, 6, 3))


@pytest.mark.parametrize("odd", [False, True])
def test_a_run_that_is_waited_for_no_longer_is_compared_as_far_as_it_came(odd):
    data, rule = load("iris"), settings_for("ep-centered", NETWORK)
    settings = TrainSettings(epochs=100_000, rule=rule)
    with open_device("golden") as device:
        trainer = Trainer(device, NETWORK, data, settings)
        trainer.start()
        golden = GoldenRun(preset("default"), spec_of("iris", data, NETWORK, settings))
        trainer.run_epoch()
        weights = trainer.weights()
        weights[0][0, 0] += odd
        golden.note(1, lambda: weights)
        golden.note(2, lambda: pytest.fail("so soon after the last, it is not read"))
        end = time.monotonic() + 120
        while 1 not in golden._found and time.monotonic() < end:
            time.sleep(0.1)
        assert golden.compare(100_000, weights, 0) == (not odd, 1)


def test_a_run_without_a_golden_one_in_time_says_that_nothing_was_compared():
    data, rule = load("iris"), settings_for("ep-centered", NETWORK)
    settings = TrainSettings(epochs=100_000, rule=rule)
    golden = GoldenRun(preset("default"), spec_of("iris", data, NETWORK, settings))
    assert golden.compare(100_000, [], 0) == (True, 0)
