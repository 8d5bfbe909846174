"""EP's update of each layer, step by step, beside backpropagation through time.

From a free fixed point, with synchronous steps of size eps, the increments of EP's update are the
gradients that backpropagation through time gives the weights as used that many steps before the
end (Ernoult et al. 2019; per layer: Laborieux et al. 2021):

    (s_l s_{l-1}^T at step k + 1 - the same at k) / beta = -dC/dW_l(T - 1 - k)  as beta -> 0.

One phase has an error linear in beta, the mean of +beta and -beta has none. The states are the
machine's; time is unrolled in double precision, by a matrix that shares no code with them.
"""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from relaxon_isa import ArrayConfig, preset

from ..lab import Lab
from ..network import Network
from ..rules import settings_for
from .comparison import reference_of
from .equivalence import NETWORK, STEP, from_free, interior
from .plots import pyplot

__all__ = ["draw", "fine_machine", "through_time"]


def through_time(
    steps: int = 30,
    beta: float = 0.02,
    seed: int = 0,
    network: Network = NETWORK,
    feedback: int = 0,
) -> dict:
    """Weights of 24 bits, states on a grid of 2**-22, with convolutions 2**-25; no unit at a bound.

    A kernel's increments are the sums over its positions. With scaled ``feedback`` an increment of
    layer l is over 2**-(feedback (L - l)) too, as in training.

    Returns, for "one-sided" and "centered", an entry a layer: ``rmse``, the root mean square
    difference of all increments over that of backpropagation's, and ``signs``, the share of
    increments of the other sign; and the increments, each (layers of) (steps, channels, window).
    """
    fine: dict[str, Any] = {
        "grid": 25 if network.convolves else 22,
        "free_cap": 2000,
        "nudged_cap": 200,
    }
    fine |= {"input_bits": 16, "input_offset": 0.0, "tolerance": 0.0}
    fine |= {"beta": beta, "feedback": feedback}
    settings = settings_for("ep-positive", network, **fine)
    with Lab.open("golden", network, settings, fine_machine(network)) as lab:
        seed, free, y = interior(lab, seed)
        x, output = lab.plane("x"), lab.plane("free", network.depth)
        traces = []
        for target in (y, 2 * output - y):  # the nudge, and minus the nudge
            lab.relax_nudged(target)
            traces.append(from_free(lab, free, steps))
        pull = output - lab.plane("y")  # of the mirrored target, so that of y
        net = reference_of(network, lab.weights(), feedback)
    units = [beta * net.feedback ** (network.depth - k) for k in range(1, network.depth + 1)]
    plus, minus = (_products(net, x, trace) for trace in traces)
    both = [(p - m) / 2 for p, m in zip(plus, minus, strict=True)]
    one, two = (
        [np.diff(products, axis=0) / unit for products, unit in zip(found, units, strict=True)]
        for found in (plus, both)
    )
    exact = _bptt(net, x, free, pull, steps)
    found = {"bptt": exact, "one-sided": one, "centered": two}
    result: dict = {"network": str(network), "seed": seed, "steps": steps, "beta": beta}
    result["increments"] = found
    for name in ("one-sided", "centered"):
        result[name] = [
            {
                "layer": layer,
                "rmse": float(np.linalg.norm(own - exact) / np.linalg.norm(exact)),
                "signs": float(np.mean(own * exact < 0)),
            }
            for layer, (own, exact) in enumerate(
                zip(found[name], found["bptt"], strict=True), start=1
            )
        ]
    return result


def fine_machine(network: Network) -> ArrayConfig:
    """Words of 24 bits; for convolutions, whose units see many small weights, states of 28."""
    if not network.convolves:
        return preset("verify24")
    wide = {"state_bits": 28, "weight_bits": 24, "learn_shifts": (26, 32), "max_terms": 1024}
    return preset("conv").replace(**wide)


def _products(net: Any, x: np.ndarray, trace: np.ndarray) -> list[np.ndarray]:
    """s_l s_{l-1}^T of each layer at every step, added up over the positions of a kernel: (steps +
    1, channels, window)."""
    return _steps(net, ([np.outer(*pair) for pair in _pairs(net, x, s)] for s in trace))


def _pairs(net: Any, x: np.ndarray, states: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Each layer's part of the joined states, and that of the layer below."""
    layers = [x, *np.split(states, _ends(net)[1:-1])]
    return [(above, below) for below, above in pairwise(layers)]


def _ends(net: Any) -> np.ndarray:
    """Where the layers lie in joined states."""
    return np.cumsum([0, *(len(b) for b in net.dense().biases)])


def _steps(net: Any, found: Any) -> list[np.ndarray]:
    """Matrices by pairs of neurons of every step as those by kernel elements, layer by layer."""
    biases = net.dense().biases
    kernels = [net.shared(matrices, biases)[0] for matrices in found]
    return [np.array(k).reshape(len(k), len(k[0]), -1) for k in zip(*kernels, strict=True)]


def _bptt(
    net: Any, x: np.ndarray, free: np.ndarray, pull: np.ndarray, steps: int
) -> list[np.ndarray]:
    """-dC/dW_l of the weights as used k + 1 steps before the end; ``pull``: y - o."""
    ends, dense = _ends(net), net.dense()
    joint = np.zeros((len(free), len(free)))
    for i, w in enumerate(dense.weights[1:]):
        below, above = slice(*ends[i : i + 2]), slice(*ends[i + 1 : i + 3])
        joint[above, below], joint[below, above] = w, dense.feedback * w.T
    eps = 2.0**-STEP
    step = (1 - eps) * np.eye(len(free)) + eps * joint
    back, slopes = np.concatenate([np.zeros(len(free) - len(pull)), pull]), []
    states = _pairs(net, x, free)
    for _ in range(steps):
        errors = _pairs(net, np.zeros(len(x)), back)
        slopes.append(
            [
                eps * (np.outer(error, below) + dense.feedback * np.outer(above, fed))
                for (error, fed), (above, below) in zip(errors, states, strict=True)
            ]
        )
        back = step.T @ back
    return _steps(net, slopes)


def draw(result: dict, path: Path) -> None:
    """Increments of the largest updates of each layer: backpropagation through time as lines, one
    phase as crosses, two as dots."""
    plt, found = pyplot(), result["increments"]
    figure, axes = plt.subplots(1, len(found["bptt"]), figsize=(12, 3.5))
    for layer, axis in enumerate(axes):
        exact = found["bptt"][layer].reshape(result["steps"], -1)
        for k in np.abs(exact).max(axis=0).argsort()[-4:]:
            (line,) = axis.plot(exact[:, k])
            for name, mark in (("one-sided", "x"), ("centered", ".")):
                own = found[name][layer].reshape(result["steps"], -1)
                axis.plot(own[:, k], mark, color=line.get_color(), markersize=4)
        axis.set_title(f"layer {layer + 1}")
        axis.set_xlabel("step")
    axes[0].set_ylabel("increment of the update")
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)
