"""Weights to PyTorch's order and back; what they compute is the same."""

import numpy as np
import pytest

from relaxon.network import Network
from relaxon.torch_order import from_torch, to_torch
from relaxon_isa.errors import DataError
from relaxon_sim.reference import Convolutions

NETWORK = Network.parse("7x6x3,5c3s2p1,4c2,3")


def forward(x, pairs):
    """Channel-first cross-correlations and a flattened linear layer, as PyTorch's, in numpy."""
    for (weight, bias), stride, padding in zip(pairs, (2, 1, 1), (1, 0, 0), strict=True):
        if weight.ndim == 2:
            return weight @ x.ravel() + bias
        x = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
        out, _, high, wide = weight.shape
        rows, columns = ((n - k) // stride + 1 for n, k in zip(x.shape[1:], (high, wide)))  # noqa: B905
        y = np.zeros((out, rows, columns))
        for i, j in np.ndindex(rows, columns):
            window = x[:, i * stride : i * stride + high, j * stride : j * stride + wide]
            y[:, i, j] = np.tensordot(weight, window, 3) + bias
        x = y
    raise AssertionError


def test_there_and_back():
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=shape) for shape in NETWORK.shapes]
    pairs = to_torch(NETWORK, weights)
    assert [w.shape for w, _ in pairs] == [(5, 3, 3, 3), (4, 5, 2, 2), (3, 4 * 3 * 2)]
    for before, after in zip(weights, from_torch(NETWORK, pairs), strict=True):
        assert np.array_equal(before, after)


def test_it_is_the_same_network():
    rng = np.random.default_rng(1)
    weights = [rng.normal(size=shape) for shape in NETWORK.shapes]
    parts = list(zip(weights, NETWORK.kernels, NETWORK.maps, strict=False))
    net = Convolutions(
        [w[:, :-1].reshape(len(w), k.height, k.width, m.channels) for w, k, m in parts],
        [w[:, -1] for w in weights],
        [(m.height, m.width) for m in NETWORK.maps],
        [2, 1, 1],
        [1, 0, 0],
    ).dense()
    x = rng.normal(size=(7, 6, 3))
    states = x.ravel()
    for w, b in zip(net.weights, net.biases, strict=True):
        states = w @ states + b
    found = forward(x.transpose(2, 0, 1), to_torch(NETWORK, weights))
    assert np.allclose(found, states)


def test_other_shapes_are_refused():
    pairs = to_torch(NETWORK, [np.zeros(shape) for shape in NETWORK.shapes])
    with pytest.raises(DataError, match=r"network 7x6x3-5c3s2p1-4c2-3 has"):
        from_torch(NETWORK, pairs[:2])
