"""Convolutions on the golden model and on the gateware: vectors by hand, and digits."""

import numpy as np
import pytest

from relaxon.backends import open_device
from relaxon.connections import Region
from relaxon.datasets import Dataset
from relaxon.layout import Layout
from relaxon.network import Network
from relaxon.rules import make_rule, settings_for
from relaxon.training import TrainSettings
from relaxon.weights import load_layers, read_layers
from relaxon_isa import Builder
from relaxon_isa.instructions import Halt, Learn, Mac
from relaxon_isa.memory import Space
from relaxon_isa.presets import preset
from relaxon_isa.program import Program
from support.short_training import few_digits, trained
from vectors import convolution as vectors

CONFIG = preset("conv")
LAYOUT = Layout(Network.parse("5x5x2,2c1,2c3s2,3"), CONFIG)
_, BELOW, ABOVE, _ = LAYOUT.layers
BLOCK = LAYOUT.block(2)


@pytest.fixture(scope="module", params=["golden", "virtual"])
def machine(request):
    with open_device(request.param, CONFIG) as device:
        yield device


def put(device, plane, layer, neurons, scale=1):
    """Neurons (y, x, c) into a plane that is 0 otherwise."""
    values = np.zeros((layer.height, layer.width, layer.channels), dtype=np.int64)
    for place, value in neurons.items():
        values[place] = scale * value
    words = np.zeros(layer.groups * layer.p, dtype=np.int64)
    words[layer.lanes] = values.ravel()
    device.write(Space.STATE, plane * layer.p, words)


def run(device, *instructions):
    device.load(Program(device.config, (*instructions, Halt())).rows)
    list(device.run())


def prepared(device):
    device.write(Space.STATE, 0, np.zeros(device.layouts[Space.STATE].size, dtype=np.int64))
    biased = np.column_stack([vectors.MATRIX, vectors.BIASES])
    others = [np.zeros(shape, dtype=np.int64) for shape in (LAYOUT.shapes[0], LAYOUT.shapes[2])]
    load_layers(device, LAYOUT, [others[0], biased, others[1]])
    put(device, LAYOUT.plane("free", 1), BELOW, vectors.BELOW)
    device.write(Space.STATE, LAYOUT.constant * CONFIG.p, [1000])


def test_windows_up(machine):
    """Biases first, one drive for all positions; then the windows, from it."""
    prepared(machine)
    static, up = LAYOUT.held("static", 2), LAYOUT.held("partial", 2)
    assert static.row == static.column == 0
    src = BELOW.plane(LAYOUT.plane("free", 1))
    nests = [*BLOCK.static(LAYOUT.x, static), BLOCK.forward(src, dst=up, drive=static)]
    run(machine, *(Mac(**nest, to_drive=True) for nest in nests))
    found = machine.read(Space.DRIVE, up.base * CONFIG.p, 4 * CONFIG.p).reshape(2, 2, CONFIG.p)
    for (y, x, o), wanted in vectors.UP.items():
        assert found[y, x, o] == wanted + 1000 * vectors.BIASES[o]
    assert not found[..., 2:].any()


def test_windows_down(machine):
    prepared(machine)
    put(machine, LAYOUT.plane("plus", 2), ABOVE, vectors.RISE)
    src, dst = (a.plane(LAYOUT.plane("plus", i)) for a, i in ((ABOVE, 2), (BELOW, 1)))
    nests = BLOCK.transposed(src, dst=dst)
    assert len(nests) == 4  # a MAC for each parity of row and column
    run(machine, *(Mac(**nest) for nest in nests))
    words = machine.read(Space.STATE, LAYOUT.plane("plus", 1) * CONFIG.p, BELOW.groups * CONFIG.p)
    found = words[BELOW.lanes].reshape(5, 5, 2)
    assert found.transpose(2, 0, 1).tolist() == vectors.DOWN
    halo = np.delete(words, BELOW.lanes)
    assert not halo.any()


def test_weights_learn_from_all_positions(machine):
    """States at 2**7, so that products are whole weights: LEARN rounds at 2**14."""
    prepared(machine)
    put(machine, LAYOUT.plane("free", 1), BELOW, vectors.BELOW, 128)
    put(machine, LAYOUT.plane("rise", 2), ABOVE, vectors.RISE, 128)
    machine.write(Space.STATE, LAYOUT.constant * CONFIG.p, [128])
    nests = BLOCK.learn(LAYOUT.plane("rise", 2), LAYOUT.plane("free", 1))
    run(machine, *(Learn(**nest) for nest in nests))
    change = read_layers(machine, LAYOUT)[1] - np.column_stack([vectors.MATRIX, vectors.BIASES])
    assert change[:, -1].tolist() == [4, 2]
    wanted = np.zeros((2, 3, 3, 2), dtype=np.int64)
    for place, value in vectors.CHANGE.items():
        wanted[place] = value
    assert np.array_equal(change[:, :-1].reshape(2, 3, 3, 2), wanted)


def test_pixel_blocks(machine):
    """Sent over what was there before, so that what no pixel is has to be written as well; up to
    the drives of both positions, and LEARN."""
    network = Network.parse("4x3x1,2c4s2p1,3")
    settings = settings_for("ep-centered", network, input_bits=8, input_offset=0.0)
    rule = make_rule(network, CONFIG, settings)
    lay, block, p = rule.layout, rule.layout.block(1), CONFIG.p
    machine.write(Space.STATE, 0, np.full(machine.layouts[Space.STATE].size, -7777))
    biased = np.column_stack([vectors.BLOCK_MATRIX, vectors.BIASES])
    load_layers(machine, lay, [biased, np.zeros(lay.shapes[1], dtype=np.int64)])
    machine.write(Space.STATE, lay.constant * p, [128, *[0] * (p - 1)])
    put(machine, lay.plane("rise", 1), lay.layers[1], vectors.BLOCK_RISE, 128)
    b, static = Builder(CONFIG), lay.held("static", 1)
    rule.take_input(b, tick=True)
    for nest in block.static(lay.x, static):
        b.add(Mac(**nest, to_drive=True))
    for nest in block.learn(lay.plane("rise", 1), lay.x):
        b.add(Learn(**nest))
    b.add(Halt())
    machine.load(b.build().rows)
    sent = np.ravel(vectors.SENT)
    list(machine.run([bytes(2 * sent.astype(np.uint8))]))  # 8 bits stand for 14: 128 each
    assert machine.read(Space.STATE, 0, len(sent)).tolist() == (128 * sent).tolist()
    found = machine.read(Space.DRIVE, static.base * p, 2 * p).reshape(2, p)
    for (y, o), wanted in vectors.BLOCK_UP.items():
        assert found[y, o] == 128 * (wanted + vectors.BIASES[o])
    change = read_layers(machine, lay)[0] - biased
    assert np.array_equal(change, np.column_stack([vectors.BLOCK_CHANGE, [1, 2]]))


def test_transposed_macs_visit_each_neuron_once():
    nests = BLOCK.transposed(Region(0), dst=BELOW.plane(0))
    sizes = [np.prod([level.count for level in nest["outer"]]) for nest in nests]
    assert sum(sizes) == BELOW.positions * BELOW.column


def test_digits_train_alike_on_golden_and_gateware():
    """Weights, planes, drives, counters and cycles of 8x8x1-16c4s2-10, defaults as they are."""
    network = Network.parse("8x8x1,16c4s2,10")
    settings = TrainSettings(epochs=1, rule=settings_for("ep-centered", network))
    left = []
    for backend in ("golden", "virtual"):
        with open_device(backend, CONFIG) as device:
            left.append(trained(device, network, few_digits(200), settings))
    assert left[0] == left[1]
    assert left[0]["accuracy"]["accuracy"] > 0.5


TINY = Network.parse("5x6x2,4c4s2p1,3c2,3")
"""Blocks of 2 x 2 pixels, some of which lie partly beyond the image on each side."""


@pytest.fixture(scope="module")
def both():
    """Golden and gateware, alike before the first training, and so behind each."""
    with open_device("golden", CONFIG) as golden, open_device("virtual", CONFIG) as board:
        for device in (golden, board):
            for space in (Space.STATE, Space.DRIVE):
                device.write(space, 0, np.zeros(device.layouts[space].size, int))
        yield golden, board


@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        ("ep-centered", {"input_bits": 4}),
        ("ep-centered", {"input_bits": 16}),
        ("ep-centered", {"objective": "cross-entropy"}),
        ("ep-random", {"input_offset": 0.0, "stochastic": True}),
        ("lock-in", {}),
        ("pcn", {}),
        ("rbp", {}),
        ("backprop", {}),
    ],
    ids=str,
)
def test_rules_train_maps_alike_on_golden_and_gateware(rule, changes, both):
    """Weights, planes, drives, counters and cycles: packed and padded, two layers of windows."""
    rng = np.random.default_rng(2)
    x, y = rng.random((12, TINY.sizes[0])).astype(np.float32), np.arange(12) % 3
    data = Dataset(name="made", x_train=x, y_train=y, x_test=x[:5], y_test=y[:5], classes=3)
    settings = TrainSettings(epochs=1, rule=settings_for(rule, TINY, **changes))
    left = []
    for device in both:
        size = device.layouts[Space.REGISTER].size
        device.write(Space.REGISTER, 2, np.zeros(size - 2, int))
        left.append(trained(device, TINY, data, settings))
    assert left[0] == left[1]
