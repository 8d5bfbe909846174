"""Weights in the order of PyTorch's layers: `torch.nn.Conv2d` and `torch.nn.Linear`.

PyTorch puts channels first: a kernel is (out, in, height, width), and what flattens a map goes
channel by channel. Here channels are last (`relaxon.network.Network`). Arrays are numpy's; PyTorch
is not needed: ``conv.weight.detach().numpy()`` gives one, ``torch.from_numpy`` takes one.
"""

import numpy as np

from relaxon_isa import DataError

from .network import Conv, Network

__all__ = ["from_torch", "to_torch"]

Pair = tuple[np.ndarray, np.ndarray]


def to_torch(network: Network, weights: list[np.ndarray]) -> list[Pair]:
    """Weight and bias of each layer, from matrices of `Network.shapes` (bias last): weight (out,
    in, height, width) of a convolution, (out, in) of a plain layer, in channel-first order."""
    pairs = []
    for matrix, shape, layer in zip(weights, _windows(network), network.layers[1:], strict=False):
        kernel = matrix[:, :-1].reshape(shape).transpose(0, 3, 1, 2)
        pairs.append((kernel if isinstance(layer, Conv) else _flat(kernel), matrix[:, -1]))
    return pairs


def from_torch(network: Network, pairs: list[Pair]) -> list[np.ndarray]:
    """Inverse of `to_torch`. Raises DataError for other shapes than the network's."""
    zeros = [np.zeros(shape) for shape in network.shapes]
    wanted = [(w.shape, b.shape) for w, b in to_torch(network, zeros)]
    found = [(np.shape(w), np.shape(b)) for w, b in pairs]
    if found != wanted:
        raise DataError(f"weights of shapes {found}: network {network} has {wanted}")
    matrices = []
    for (weight, bias), (out, high, wide, into) in zip(pairs, _windows(network), strict=True):
        kernel = np.reshape(weight, (out, into, high, wide)).transpose(0, 2, 3, 1)
        matrices.append(np.column_stack([_flat(kernel), bias]))
    return matrices


def _windows(network: Network) -> list[tuple[int, int, int, int]]:
    """Out, height, width and in of each layer's window."""
    layers = zip(network.maps[1:], network.kernels, network.maps, strict=False)
    return [(up.channels, k.height, k.width, low.channels) for up, k, low in layers]


def _flat(kernel: np.ndarray) -> np.ndarray:
    return kernel.reshape(len(kernel), -1)
