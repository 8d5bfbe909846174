"""Weights in the order of PyTorch's layers: `torch.nn.Conv2d` and `torch.nn.Linear`.

PyTorch puts channels first: a kernel is (out, in, height, width), and what flattens a map goes
channel by channel. Here channels are last (`relaxon.network.Network`). Arrays are numpy's; PyTorch
is not needed: ``conv.weight.detach().numpy()`` gives one, ``torch.from_numpy`` takes one.
"""

import re
from collections.abc import Mapping

import numpy as np

from relaxon_isa import DataError

from .network import Conv, Network

__all__ = ["from_torch", "named", "paired", "to_torch"]

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


def named(pairs: list[Pair]) -> dict[str, np.ndarray]:
    """``layers.0.weight``, ``layers.0.bias``, ...: as a ``state_dict`` names them."""
    kinds = ("weight", "bias")
    return {
        f"layers.{i}.{kind}": array
        for i, pair in enumerate(pairs)
        for kind, array in zip(kinds, pair, strict=True)
    }


def paired(whose: str, arrays: Mapping[str, np.ndarray], in_order: bool = True) -> list[Pair]:
    """Weights and biases by the names of a ``state_dict``: a bias that is not there is 0.

    ``in_order``: the names stand input side first; else their numbers say the order. Raises
    DataError for a name that is none of these.
    """
    names = list(arrays)
    if not in_order:
        names.sort(key=lambda n: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", n)])
    layers = {n.removesuffix("weight"): arrays[n] for n in names if n.endswith("weight")}
    if odd := [n for n in names if n.removesuffix("weight").removesuffix("bias") not in layers]:
        raise DataError(
            f"{whose}: {', '.join(odd)}: wanted are weights and biases of convolutions and linear "
            "layers, as conv1.weight, conv1.bias, fc.weight"
        )
    return [(w, arrays.get(f"{n}bias", np.zeros(len(w)))) for n, w in layers.items()]


def _windows(network: Network) -> list[tuple[int, int, int, int]]:
    """Out, height, width and in of each layer's window."""
    layers = zip(network.maps[1:], network.kernels, network.maps, strict=False)
    return [(up.channels, k.height, k.width, low.channels) for up, k, low in layers]


def _flat(kernel: np.ndarray) -> np.ndarray:
    return kernel.reshape(len(kernel), -1)
