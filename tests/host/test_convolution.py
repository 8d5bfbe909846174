"""Convolutional networks: description, layout, and the updates of an independent model."""

from itertools import product
from typing import Any

import numpy as np
import pytest

from relaxon.backends import open_device
from relaxon.datasets import Dataset, load
from relaxon.lab import Lab
from relaxon.layout import Layout
from relaxon.network import Conv, Image, Network, initial_weights
from relaxon.rules import RULES, make_rule, settings_for
from relaxon.rules.encoding import to_levels
from relaxon.studies import bptt, deep
from relaxon.studies.comparison import Task, accuracy, reference_of
from relaxon.training import TrainSettings, training_for
from relaxon_isa.errors import ConfigError
from relaxon_isa.memory import Register, Space
from relaxon_isa.presets import PRESETS
from relaxon_sim.reference import Convolutions
from support.short_training import trained

MACHINE = PRESETS["conv"].replace(learn_terms=2048, max_terms=4096, program_rows=1024)
FINE = MACHINE.replace(state_bits=28, weight_bits=24, learn_shifts=(26, 32), max_terms=1024)
"""Words of 28 and 24 bits, so that what differs is not rounding."""


def joined(kernels: list[np.ndarray], biases: list[np.ndarray]) -> list[np.ndarray]:
    """As the machine's matrices."""
    pairs = zip(kernels, biases, strict=True)
    return [np.column_stack([k.reshape(len(k), -1), b]) for k, b in pairs]


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a.ravel() @ b.ravel() / np.linalg.norm(a) / np.linalg.norm(b))


def updated(network, rule="ep-centered", seed=0, p=4, gain=0.4, **changes):
    """Reference, input, target and change of weights of one training sample."""
    fine = {"grid": 23, "free_cap": 400, "nudged_cap": 400, "input_bits": 16, "input_offset": 0.0}
    fine |= {"rate_shifts": (1,) * network.depth, "beta": 0.125, "tolerance": 0.0, "feedback": 0}
    settings = settings_for(rule, network, **{**fine, **changes})
    rng = np.random.default_rng(seed)
    with Lab(open_device("golden", FINE.replace(p=p)), network, settings) as lab:
        weights = initial_weights(lab.layout, seed, gain)
        for w in weights[: network.depth]:
            w[:, -1] = rng.uniform(0.1, 0.3, len(w))
        lab.load_weights(weights)
        before = lab.weights()[: network.depth]
        x = rng.uniform(0, 1, network.sizes[0])
        free = lab.relax_free(x)[-1]
        y = np.where(free > 0.5, free - 0.3, free + 0.3)
        lab.train_step(x, y)
        after = lab.weights()[: network.depth]
        assert lab.counters()[Register.STATE_SATURATIONS] == 0
        x, y = lab.plane("x"), lab.plane("y")
    change = [new - old for new, old in zip(after, before, strict=True)]
    return reference_of(network, before, settings.feedback), x, y, change


# Description --------------------------------------------------------------------------------------


def test_text_and_objects_say_the_same():
    network = Network.parse("28x28x1,12c6s2,36c4s2p1,10")
    layers = (Image(28, 28, 1), Conv(12, 6, 2), Conv(36, 4, stride=2, padding=1), 10)
    assert network == Network(layers) == Network.parse(str(network))
    assert str(network) == "28x28x1-12c6s2-36c4s2p1-10"
    assert [str(m) for m in network.maps] == ["28x28x1", "12x12x12", "6x6x36", "1x1x10"]
    assert network.shapes == [(12, 37), (36, 193), (10, 1297)]
    assert network.fans == [(36, 108), (192, 144), (1296, 10)]
    assert Network.parse("8x8x1,32,10").shapes == Network((64, 32, 10)).shapes


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("28x28,12c6,10", "'28x28' is no layer; write neurons as 32"),
        ("784,12c6,10", "what layer 12c6 convolves has no rows and columns"),
        ("28x28x1,12c30,10", "a map of 28x28x1 below; its kernel is 1 to 28"),
        ("28x28x1,12c6s2", "the output a number of neurons"),
        ("8x8x1,4c3,9x9x1,3", "the input alone is an image"),
        ("8x8x1,4c3s0,3", "layer 4c3s0: channels, kernel and stride are whole numbers from 1 on"),
        ("8x8x1,4c3p3,3", "padding is less than the kernel"),
        ("8x0x1,5", "image 8x0x1"),
    ],
)
def test_what_is_no_network_is_said_with_what_is(text, says):
    with pytest.raises(ConfigError, match=says):
        Network.parse(text)


# Updates ------------------------------------------------------------------------------------------


def test_the_independent_model_has_the_gradient_of_finite_differences():
    """Of the cost by kernels, where feedback is scaled too; norms are the gradient's."""
    network = Network.parse("5x6x2,3c3s2p1,4c2,2")
    rng = np.random.default_rng(3)
    weights = [rng.uniform(-0.3, 0.3, shape) for shape in network.shapes]
    for w in weights:
        w[:, -1] = rng.uniform(0.2, 0.4, len(w))
    x, y = rng.uniform(0, 1, network.sizes[0]), rng.uniform(0.3, 0.6, 2)
    for feedback in (0, 1, 3):
        net = reference_of(network, weights, feedback)
        kernels, biases = net.shared(*net.dense().centered(x, y, 1e-4))

        def cost(net: Convolutions = net) -> float:
            dense = net.dense()
            return dense.cost(dense.free(x).states[-1], y)

        for value, slopes in zip((*net.kernels, *net.biases), (*kernels, *biases), strict=True):
            found = np.zeros_like(slopes)
            for index in np.ndindex(value.shape):
                kept, costs = value[index], []
                for step in (1e-5, -1e-5):
                    value[index] = kept + step
                    costs.append(cost())
                value[index] = kept
                found[index] = (costs[1] - costs[0]) / 2e-5
            assert np.allclose(found, slopes, rtol=1e-4, atol=1e-7)


def random_network(rng: np.random.Generator) -> Network:
    """One to three convolutions, kernels 2 to 6, strides 1 to 3, with and without padding."""
    size = int(rng.integers(7, 13))
    layers: list = [Image(size, int(rng.integers(7, 13)), int(rng.integers(1, 4)))]
    for _ in range(rng.integers(1, 4)):
        below = Network((*layers, 1)).maps[-2]
        kernel = int(rng.integers(2, 7))
        padding = int(rng.integers(0, 2))
        if kernel <= min(below.height, below.width) + 2 * padding:
            layers.append(Conv(int(rng.integers(2, 8)), kernel, int(rng.integers(1, 4)), padding))
    return Network((*layers, int(rng.integers(2, 6))))


def packed_network(rng: np.random.Generator, shifted: bool) -> Network:
    """The first layer's stride is 2 or 3 and its kernel, the image and the padding are multiples of
    it. If ``shifted``, image or padding are none, and the stride may be twice as much."""
    side = int(rng.integers(2, 4))
    while True:
        size, padding = rng.integers(6, 12, 2), int(rng.integers(0, 3))
        kernel = side * int(rng.integers(1 if padding < side else 2, 3))
        if shifted == any(n % side for n in (*size, padding)):
            break
    stride = side * int(rng.integers(1, 3)) if shifted and kernel % (2 * side) else side
    first = Conv(int(rng.integers(3, 7)), kernel, stride, padding)
    layers: list = [Image(int(size[0]), int(size[1]), int(rng.integers(1, 4))), first]
    above = Network((*layers, 1)).maps[1]
    if min(above.height, above.width) > 1:
        layers.append(Conv(int(rng.integers(2, 6)), 2, 1, int(rng.integers(0, 2))))
    return Network((*layers, int(rng.integers(2, 6))))


@pytest.mark.parametrize(
    ("kind", "seed"), [*product(["any"], range(20)), *product(["packed", "shifted"], range(10))]
)
def test_updates_of_random_networks_are_those_of_the_independent_model(kind, seed):
    """Cosine and norm in each layer, weights and biases; P = 3 to 12, feedback 1 to 1/8."""
    rng = np.random.default_rng(seed)
    p, feedback = 3 + seed % 2, seed % 4
    network = random_network(rng) if kind == "any" else packed_network(rng, kind == "shifted")
    if kind != "any":
        p = 12 if seed % 2 else 4
        first = Layout(network, FINE.replace(p=p)).layers[0]
        assert first.side > 1 and any(first.blank) == (kind == "shifted")
    fine = {"grid": 25, "beta": 2.0, "feedback": feedback}
    net, x, y, change = updated(network, seed=seed, p=p, **fine)
    wanted = joined(*net.shared(*net.dense().centered(x, y, 2.0)))
    for found, gradient in zip(change, wanted, strict=True):
        assert cosine(found, gradient) > 0.999
        assert np.linalg.norm(found) == pytest.approx(0.5 * np.linalg.norm(gradient), rel=0.01)


@pytest.mark.parametrize("p", [4, 12])
@pytest.mark.parametrize(
    ("text", "rule", "bits", "changes"),
    [
        ("8x8x1,4c4s2,3", "ep-centered", 8, {}),
        ("7x6x1,4c4s2p1,3c2,3", "ep-centered", 4, {}),
        ("5x8x3,3c3s3p1,3", "pcn", 16, {}),
        ("9x7x2,3c6s3p2,3", "backprop", 8, {"input_offset": 0.0}),
        ("10x9x1,4c6s4p3,3", "lock-in", 1, {"input_offset": 0.0}),
        ("6x6x3,5c2s2p1,3", "ep-centered", 2, {"objective": "cross-entropy"}),
    ],
)
def test_packing_changes_no_bit(text, rule, bits, changes, p, monkeypatch):
    """Weights and outputs with blocks of pixels in the lanes are those with a pixel a position:
    whatever the bits of an input, with and without sign; fewer cycles. On both engines alike."""
    pytest.importorskip("numba", reason="numba is not installed")
    network, config = Network.parse(text), MACHINE.replace(p=p)
    settings = TrainSettings(epochs=1, rule=settings_for(rule, network, input_bits=bits, **changes))
    rng = np.random.default_rng(4)
    x, y = rng.random((9, network.sizes[0])).astype(np.float32), np.arange(9) % 3
    data = Dataset(name="made", x_train=x, y_train=y, x_test=x, y_test=y, classes=3)

    def left(engine: str) -> dict:
        with open_device("golden", config, engine=engine) as device:
            return trained(device, network, data, settings)

    packed, fast = left("numpy"), left("compiled")
    assert packed == fast
    monkeypatch.setattr(Layout, "side", 1)
    apart = left("numpy")
    assert packed["weights"] == apart["weights"] and packed["accuracy"] == apart["accuracy"]
    for kind in ("MAC_CYCLES", "LEARN_CYCLES"):
        assert packed["registers"][kind] <= apart["registers"][kind]
    assert packed["registers"]["MAC_CYCLES"] < apart["registers"]["MAC_CYCLES"]


def test_first_layers_are_packed_by_what_divides_kernel_and_stride():
    def side(text: str, p: int = 12) -> tuple[int, tuple[int, ...]]:
        first = Layout(Network.parse(text), MACHINE.replace(p=p)).layers[0]
        return first.side, first.blank

    assert side("28x28x1,12c6s2,10") == (2, (0, 0, 0, 0))
    assert side("8x8x3,20c4s2p1,10") == (2, (1, 1, 1, 1))  # blocks begin with the first window
    assert side("8x9x1,4c6s2p3,3") == (2, (1, 1, 1, 0))  # a whole block of the padding is halo
    assert side("13x12x1,4c6s4,3") == (2, (0, 1, 0, 0))  # two blocks a step
    # Kernels that leave a part of a block would need weights that stay 0.
    assert side("28x28x1,4c5s2,10") == side("9x9x2,6c3s2,4") == (1, (0, 0, 0, 0))
    assert side("8x8x3,4c4s2p1,10", p=3) == (1, (0, 0, 0, 0))  # whose lanes are full


WINDOWS = Network.parse("9x9x2,6c3s2,5c2,4")


@pytest.mark.parametrize(
    ("rule", "feedback"),
    [("ep-positive", 0), ("ep-positive", 2), ("rbp", 0), ("backprop", 0), ("pcn", 0),
     ("pcn-random", 0), ("pcn once", 0), ("pc-alm", 0), ("feedback-alignment", 0),
     ("frequency-quasistatic", 0), ("frequency", 0), ("ep-random", 0), ("ep-2017", 0),
     ("lock-in", 0), ("ep-momentum", 0), ("ep-centered true-cost", 0)],
)  # fmt: skip
def test_other_rules_follow_their_gradients(rule, feedback):
    rule, _, objective = rule.partition(" ") if rule.endswith("cost") else (rule, "", "")
    # Recurrent backpropagation takes an output at a bound for one that can move.
    options: dict[str, Any] = {"gain": 0.2} if rule == "rbp" else {}
    options |= {"objective": objective} if objective else {}
    nudged = rule in ("ep-random", "ep-2017", "lock-in", "ep-momentum", "ep-centered")
    options |= {"beta": 1 / 32} if nudged else {}
    options |= {"options": {"sweeps": 40}, "beta": 1 / 32} if rule.startswith("pcn") else {}
    if rule == "pcn once":  # one sweep, no closing prediction
        rule, options["options"] = "pcn", {"sweeps": 1, "closing": 0}
    if rule.startswith("frequency"):  # beside the adjoint gradient, at a small nudge
        options["beta"] = 1 / 32
        options["options"] = {"points": 4 if rule.endswith("static") else 64}
    net, x, y, change = updated(WINDOWS, rule, feedback=feedback, **options)
    dense = net.dense()
    if rule == "ep-positive":
        slopes = dense.one_sided(x, y, 0.125)
    elif rule == "rbp" or nudged or rule.startswith("frequency"):
        slopes = dense.adjoint(x, y, dense.free(x).states)
    else:
        slopes = dense.backpropagation(x, y, "relu")
    wanted = joined(*net.shared(*slopes))
    sign = 1 if rule == "ep-positive" else -1
    least = [0.999] * 3 if rule != "feedback-alignment" else [-1, -1, 0.999]
    for found, gradient, bound in zip(change, wanted, least, strict=True):
        assert cosine(found, sign * gradient) > bound


def test_continual_updates_follow_the_gradient_at_small_rates():
    """They change the weights that the same phase relaxes with, so only small ones agree."""
    network = Network.parse("6x6x1,3c3s3,4")
    net, x, y, change = updated(network, "continual", beta=1 / 32, rate_shifts=(11, 11))
    dense = net.dense()
    wanted = joined(*net.shared(*dense.adjoint(x, y, dense.free(x).states)))
    for found, gradient in zip(change, wanted, strict=True):
        assert cosine(found, -gradient) > 0.99


def test_weights_of_both_directions_learn_on_maps():
    """Where both directions have the same weights, the two updates add up to the gradient of a
    network with one weight a connection."""
    fine = {"grid": 23, "free_cap": 400, "nudged_cap": 400, "input_bits": 16, "input_offset": 0.0}
    settings = settings_for("aep", WINDOWS, **fine, beta=1 / 32, rate_shifts=(1, 1, 1))
    rng, depth = np.random.default_rng(1), WINDOWS.depth
    with Lab(open_device("golden", FINE), WINDOWS, settings) as lab:
        weights = initial_weights(lab.layout, 1, 0.2)
        for w in weights[:depth]:
            w[:, -1] = rng.uniform(0.1, 0.3, len(w))
        both = [np.column_stack([w[:, :-1], np.zeros(len(w))]) for w in weights[1:depth]]
        lab.load_weights([*weights[:depth], *both])
        before, x = lab.weights(), rng.uniform(0, 1, WINDOWS.sizes[0])
        y = lab.relax_free(x)[-1] + 0.2
        lab.train_step(x, y)
        x, y = lab.plane("x"), lab.plane("y")
        change = [new - old for new, old in zip(lab.weights(), before, strict=True)]
    net = reference_of(WINDOWS, before[:depth])
    dense = net.dense()
    wanted = joined(*net.shared(*dense.adjoint(x, y, dense.free(x).states)))
    for i, (found, gradient) in enumerate(zip(change, wanted, strict=False)):
        assert cosine(found + (change[depth + i - 1] if i else 0), -gradient) > 0.999


def test_outputs_are_held_on_top_of_windows():
    """Coupled learning, feedback scaled: the clamped output is o + beta (y - o)."""
    settings = settings_for("coupled-positive", WINDOWS, input_bits=16)
    assert settings.feedback == 3
    with Lab(open_device("golden", MACHINE), WINDOWS, settings) as lab:
        lab.load_weights(initial_weights(lab.layout, 1))
        free = lab.relax_free(np.full(WINDOWS.sizes[0], 0.5))[-1]
        y = np.array([0.1, 0.9, 0.4, 0.2])
        held = lab.relax_nudged(y)["plus"][-1]
        assert np.allclose(held, free + 0.5 * (y - free), atol=2.0**-10)


@pytest.mark.parametrize(
    ("feedback", "beta", "largest"), [(0, 0.02, 0.01), (1, 0.02, 0.05), (3, 0.5, 0.05)]
)
def test_updates_are_backpropagations_through_time_step_by_step(feedback, beta, largest):
    """Of kernels, in each layer; 5 % and 2 % are asked. What is left is rounding."""
    network = Network.parse("8x8x2,6c3s2,8c2,5")
    result = bptt.through_time(beta=beta, network=network, feedback=feedback)
    for one, two in zip(result["one-sided"], result["centered"], strict=True):
        assert two["rmse"] < largest and two["signs"] < 0.02
        assert two["rmse"] < one["rmse"]


def test_two_nudges_err_less_than_one():
    """The error of one is linear in beta; of two, rounding is left."""
    small, large = deep.nudges(Network.parse("6x6x1,4c3s2,3"), (1 / 64, 1 / 32), samples=2)
    assert large["one-sided"]["error"] > 1.7 * small["one-sided"]["error"] > 0.0003
    for row in (small, large):
        assert row["centered"]["error"] < 0.1 * row["one-sided"]["error"]


def test_decay_aligns_weights_of_both_directions(compiled):
    """To 1 where updates are rounded at random; to nearest, small weights do not decay."""
    network, digits = Network.parse("8x8x1,4c4s2,10"), load("digits")
    angles = {
        stochastic: [row["cosines"][0] for row in deep.aligned(network, digits, 0, 4, stochastic)]
        for stochastic in (True, False)
    }
    assert abs(angles[True][0]) < 0.2 < angles[True][1] < angles[True][2] and angles[True][4] > 0.99
    assert 0.2 < angles[False][1] < angles[False][4] < 0.97


# Everything that may be asked ---------------------------------------------------------------------


def test_rules_that_cannot_are_refused_with_the_reason():
    refused = {}
    for name in RULES:
        try:
            make_rule(WINDOWS, MACHINE, settings_for(name, WINDOWS)).train_program()
        except ConfigError as error:
            refused[name] = str(error)
    assert set(refused) == {
        "in-silico", "resistive", "tcl", "spsa"
    }  # fmt: skip
    assert "outer product of two planes" in refused["spsa"]
    for changes, says in (
        ({"objective": "cross-entropy", "feedback": 1}, "squared-error or clamping do"),
        ({"architecture": "skip:0>2"}, "no scale of its"),
        ({"name": "continual", "feedback": 1}, "rule continual, which do not go together"),
    ):
        settings = settings_for(changes.pop("name", "ep-centered"), WINDOWS, **changes)
        with pytest.raises(ConfigError, match=says):
            make_rule(WINDOWS, MACHINE, settings)


def test_digits_by_the_defaults(compiled):
    """The mean of five seeds, ten epochs, is 97.9 %."""
    task = Task(Network.parse("8x8x1,16c4s2,10"))
    found = [accuracy("ep-centered", seed, task=task)["accuracy"] for seed in range(5)]
    assert np.mean(found) >= 0.97


def test_a_machine_with_few_levels_says_what_is_missing():
    with pytest.raises(ConfigError, match="levels"):
        make_rule(WINDOWS, PRESETS["default"], settings_for("ep-centered", WINDOWS))


@pytest.mark.parametrize("bits", [4, 8, 16])
@pytest.mark.parametrize(
    "text",
    ["8x8x1,4c4s2,3", "7x6x3,5c3s2p1,3", "6x6x4,4c3,3", "7x6x1,4c4s2p1,3", "5x9x2,3c6s3p4,3"],
)
def test_inputs_arrive_where_they_belong(text, bits):
    """Pixel blocks, halos inside the rows, full groups; an offset makes them signed."""
    network = Network.parse(text)
    settings = settings_for("ep-centered", network, input_bits=bits)
    x = np.random.default_rng(0).integers(0, 8, network.sizes[0]) / 8
    with Lab(open_device("golden", MACHINE), network, settings) as lab:
        lab.train_step(x, 1)
        assert np.array_equal(lab.plane("x"), x - 0.25)
        lab.set_plane("x", x)
        assert np.array_equal(lab.plane("x"), x)


def in_blocks(image: np.ndarray, side: int, first: int) -> np.ndarray:
    """Pixels of each block of ``side`` x ``side``, row by row, with zeros around the image, whose
    first pixel has row and column ``first`` of the first block."""
    padded = np.pad(image, [(first, -(first + n) % side) for n in image.shape])
    rows, columns = (n // side for n in padded.shape)
    apart = padded.reshape(rows, side, columns, side).swapaxes(1, 2)
    return apart.reshape(rows * columns, side**2)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("offset", [0.0, 0.75])
@pytest.mark.parametrize(
    ("text", "side", "first"), [("7x6x1,4c4s2p1,3", 2, 1), ("5x8x1,3c3s3p2,3", 3, 2)]
)
def test_border_blocks_are_zero_beyond_the_image(text, side, first, bits, offset):
    """Every sample writes them, over what was there: the number 0, whatever an input of 0 is."""
    network, signed = Network.parse(text), offset > 0
    settings = settings_for("ep-centered", network, input_bits=bits, input_offset=offset)
    x = np.random.default_rng(1).choice([0, 0.75], network.sizes[0])
    sent = to_levels(x - offset, bits, signed) / 2.0 ** (bits - signed) if bits < 16 else x - offset
    assert (sent[x == 0] != 0).all() == signed
    with Lab(open_device("golden", MACHINE), network, settings) as lab:
        image = sent.reshape(network.maps[0].height, network.maps[0].width)
        blocks, groups = in_blocks(image, side, first), lab.layout.layers[0].groups
        lab.device.write(Space.STATE, 0, np.full(groups * MACHINE.p, 4321))
        lab.train_step(x, 1)
        found = lab.device.read(Space.STATE, 0, groups * MACHINE.p).reshape(len(blocks), -1)
        assert np.array_equal(found[:, : side**2] / 2.0**lab.formats.state_frac, blocks)


def test_small_errors_have_no_side():
    """With all halvings of the default, an error and its opposite make opposite words of the error
    plane, to a 2,000th: a drift would let deep networks of many positions die in the epoch of the
    second one."""
    network = Network.parse("28x28x1,12c6s2,36c4s2,10")
    settings = training_for(network, settings_for("ep-centered", network))
    rule = make_rule(network, PRESETS["ecp5-85f-conv"], settings.rule)
    words = rule.constants()["gain"] * 2**rule.formats.weight_frac
    error = np.arange(-2000, 2001) * int(words[0, 0])
    for layer, halvings in product((1, 2, 3), range(settings.rate_halvings + 1)):
        for shift in (rule.rate_shift(layer) + halvings - lean for lean in (0, 1)):
            plane = (error + (1 << (shift - 1))) >> shift
            assert np.all(abs(plane + plane[::-1]) * 2000 <= abs(plane))


def test_halved_rates_lose_no_small_difference_of_hidden_states():
    """A step of the grid, times the least rate of the default schedule, is not rounded to 0 on its
    way into the weights from below: where it was, accuracy on Fashion-MNIST fell in the last
    epochs."""
    network = Network.parse("28x28x1,12c6s2,36c4s2,10")
    settings = training_for(network, settings_for("ep-centered", network))
    rule = make_rule(network, PRESETS["ecp5-85f-conv"], settings.rule)
    gain = int(rule.constants()["gain"][0, 0] * 2**rule.formats.weight_frac)
    for layer in (1, 2):
        step = 1 << rule.to_state(layer)["up"]
        shift = rule.rate_shift(layer) + settings.rate_halvings
        assert (step * gain + (1 << (shift - 1))) >> shift >= 1
