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

import numpy as np

from ..lab import Lab
from ..rules import settings_for
from .equivalence import NETWORK, STEP, from_free, interior
from .plots import pyplot

__all__ = ["draw", "through_time"]


def through_time(steps: int = 30, beta: float = 0.02, seed: int = 0) -> dict:
    """12-16-16-6 on preset verify24, 22 fraction bits, no unit at a bound.

    Returns, for "one-sided" and "centered", an entry a layer: ``rmse``, the root mean square
    difference of all increments over that of backpropagation's, and ``signs``, the share of
    increments of the other sign; and the increments, each (layers of) (steps, above, below).
    """
    fine = {"grid": 22, "free_cap": 2000, "beta": beta, "input_bits": 16}
    settings = settings_for("ep-positive", NETWORK.depth, **fine)
    with Lab.open("golden", NETWORK, settings, "verify24") as lab:
        seed, free, y = interior(lab, seed)
        x, output = lab.plane("x"), lab.plane("free", NETWORK.depth)
        traces = []
        for target in (y, 2 * output - y):  # the nudge, and minus the nudge
            lab.relax_nudged(target)
            traces.append(from_free(lab, free, steps))
        pull = output - lab.plane("y")  # of the mirrored target, so that of y
        weights = [w[:, :-1] for w in lab.weights()]
    plus, minus = (_products(x, trace) for trace in traces)
    found = {
        "bptt": _bptt(weights, x, free, pull, steps),
        "one-sided": [np.diff(p, axis=0) / beta for p in plus],
        "centered": [np.diff(p - m, axis=0) / (2 * beta) for p, m in zip(plus, minus, strict=True)],
    }
    result: dict = {"seed": seed, "steps": steps, "beta": beta, "increments": found}
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


def _products(x: np.ndarray, trace: np.ndarray) -> list[np.ndarray]:
    """s_l s_{l-1}^T of each layer at every step: (steps + 1, above, below)."""
    layers = [np.tile(x, (len(trace), 1)), *_layers(trace)]
    return [above[:, :, None] * below[:, None, :] for below, above in pairwise(layers)]


def _layers(states: np.ndarray) -> list[np.ndarray]:
    return np.split(states, np.cumsum(NETWORK.sizes[1:])[:-1], axis=-1)


def _bptt(
    weights: list[np.ndarray], x: np.ndarray, free: np.ndarray, pull: np.ndarray, steps: int
) -> list[np.ndarray]:
    """-dC/dW_l of the weights as used k + 1 steps before the end; ``pull``: y - o."""
    ends = np.cumsum([0, *NETWORK.sizes[1:]])
    joint = np.zeros((len(free), len(free)))
    for i, w in enumerate(weights[1:]):
        below, above = slice(*ends[i : i + 2]), slice(*ends[i + 1 : i + 3])
        joint[above, below], joint[below, above] = w, w.T
    eps = 2.0**-STEP
    step = (1 - eps) * np.eye(len(free)) + eps * joint
    back, slopes = np.concatenate([np.zeros(len(free) - len(pull)), pull]), []
    layers = [x, *_layers(free)]
    for _ in range(steps):
        errors = [np.zeros(len(x)), *_layers(back)]
        slopes.append(
            [
                eps * (np.outer(errors[i], layers[i - 1]) + np.outer(layers[i], errors[i - 1]))
                for i in range(1, len(layers))
            ]
        )
        back = step.T @ back
    return [np.array(layer) for layer in zip(*slopes, strict=True)]


def draw(result: dict, path: Path) -> None:
    """Increments of the largest updates of each layer: backpropagation through time as lines, one
    phase as crosses, two as dots."""
    plt = pyplot()
    figure, axes = plt.subplots(1, NETWORK.depth, figsize=(12, 3.5))
    found = result["increments"]
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
