"""What errors on the line cost, in simulated time: 3 Mbaud, latencies of USB adapters."""

import random

import pytest

from relaxon.network import Network
from relaxon.studies.estimate import COMMAND_BYTES, Cost, latency_of
from relaxon_isa.presets import preset
from support.simulated_line import LATENCY_UP, Rate, measure

COMPUTE = 2528 / 75e6
"""Seconds of a training sample, 784-128-10 on ecp5-85f."""
BYTES = 784 + 20
SAMPLES = 120


def samples(count: int, size: int = BYTES, share: float = 1.0) -> list[bytes]:
    """Samples of which a share of bytes is not 0, in one place."""
    rng = random.Random(7)
    some = [bytes(rng.randrange(1, 256) for _ in range(int(share * size))) for _ in range(count)]
    return [each.ljust(size, b"\0") for each in some]


GIVEN = samples(SAMPLES)


def rate(name: str, latency: float, up: float = 0.0, down: float = 0.0) -> Rate:
    return measure(preset(name), GIVEN, latency=latency, compute=COMPUTE, up=up, down=down)


@pytest.mark.parametrize("latency", [0.0, 0.001, 0.002])
def test_errors_cost_little(latency: float) -> None:
    clean = rate("ecp5-85f", latency)
    assert clean.samples * (BYTES + 3) * 10 / 3e6 > 0.93
    assert rate("ecp5-85f", latency, up=1e-3).samples > 0.75 * clean.samples
    assert rate("ecp5-85f", latency, up=3e-3).samples > 0.4 * clean.samples
    assert rate("ecp5-85f", latency, down=3e-3).samples > 0.9 * clean.samples


@pytest.mark.parametrize(("errors", "most"), [(1e-4, 1.3), (1e-3, 2.0), (3e-3, 4.0)])
def test_errors_take_few_bytes_more(errors: float, most: float) -> None:
    clean, bad = rate("default", 0.001), rate("default", 0.001, errors, errors)
    assert bad.up + bad.down < most * (clean.up + clean.down)


def test_a_board_that_keeps_nothing_goes_on_too() -> None:
    clean = rate("up5k", 0.001)
    assert rate("up5k", 0.001, up=1e-3).samples > 0.4 * clean.samples
    assert rate("up5k", 0.001, 1e-2, 1e-2).samples > 0


@pytest.mark.parametrize("latency", [0.0, 0.002])
@pytest.mark.parametrize(("name", "size"), [("default", 804), ("default", 412), ("up5k", 804)])
def test_estimate_is_right(name: str, size: int, latency: float) -> None:
    """Within 5 %."""
    config, cost = preset(name), Cost(1, {}, COMMAND_BYTES + size, COMMAND_BYTES + 2)
    found = measure(config, samples(150, size), latency=latency, compute=COMPUTE)
    said = cost.link_rate(3e6, latency, config.rx_bytes - 2)
    assert found.samples == pytest.approx(said, rel=0.05)


@pytest.mark.parametrize("latency", [0.0, 0.001, 0.002])
@pytest.mark.parametrize("name", ["default", "up5k"])
def test_a_prediction_takes_as_long_as_said(name: str, latency: float) -> None:
    """Within 5 %, rings that wait for room included."""
    config, network = preset(name), Network.parse("784,64,10")
    usb = latency + LATENCY_UP
    said = latency_of(network, config, clock_hz=24_000_000, baud=3e6, usb=usb)
    found = measure(config, samples(1, 784), latency=latency, compute=said.array)
    assert 1 / found.samples == pytest.approx(said.total, rel=0.05)


def test_zero_runs_take_the_bytes_that_they_save() -> None:
    """A fifth of the bytes is not 0, as in MNIST."""
    given = samples(SAMPLES, share=0.2)
    runs = measure(preset("default"), given)
    dense = measure(preset("default").replace(zero_runs=False), given)
    assert runs.samples > 3.5 * dense.samples
