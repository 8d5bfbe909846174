"""Convolutions on the golden model and on the gateware: vectors by hand, and digits."""

import numpy as np
import pytest

from relaxon.backends import open_device
from relaxon.connections import Region
from relaxon.layout import Layout
from relaxon.network import Network
from relaxon.rules import settings_for
from relaxon.training import TrainSettings
from relaxon.weights import load_layers, read_layers
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
