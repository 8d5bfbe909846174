"""EP's velocities beside recurrent backpropagation's error derivatives, step by step.

In the second phase, the states' velocities are the error derivatives that the side network computes
(Scellier & Bengio 2019, theorem 1): with synchronous steps of size eps from the free state s*,

    (s_{k+1} - s_k) / (beta eps) = lambda_k,
    lambda_{k+1} = lambda_k + eps (D J lambda_k - lambda_k),

lambda_0 = y - o at the outputs and 0 below. Both run on the same machine, from planes to planes;
the second also in double precision, from a matrix that shares no code with them.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from relaxon_isa import Activation, Builder, Gating, Halt, Program

from ..generator import Generator
from ..lab import Lab
from ..network import Network, initial_weights
from ..rules import settings_for
from ..rules.base import Rule
from .comparison import cosine, reference_of, updates
from .plots import pyplot

__all__ = ["NETWORK", "STEP", "draw", "equivalence", "from_free", "gradients", "interior"]

NETWORK = Network((12, 16, 16, 6))
STEP = 3
"""eps = 2**-3."""


def _program(rule: Rule, old: str, new: str, *, side: bool) -> Program:
    """One synchronous step of all layers, from planes ``old`` to planes ``new``."""
    b, lay = Builder(rule.config), rule.layout
    for layer in range(1, lay.depth + 1):
        state = {**rule.to_state(layer), **rule.tail(layer), "old": rule.at(old, layer)}
        drive = rule.objective.drive(layer) or lay.held("static", layer)
        if side:
            state |= {"activation": Activation.LINEAR, "gating": Gating.IN01}
        rule.drive_layer(
            b,
            layer,
            rule.sources(layer, old, old),
            dst=rule.at(new, layer),
            drive=None if side else drive,
            gate=rule.at("free", layer) if side else None,
            step=STEP,
            **state,
        )
    b.add(Halt())
    return b.build()


def _trace(lab: Lab, planes: tuple[str, str], steps: int, *, side: bool) -> Iterator[np.ndarray]:
    """States of all layers, joined, before the first step and after each."""
    programs = [_program(lab.rule, *order, side=side) for order in (planes, (planes[1], planes[0]))]
    yield np.concatenate(lab.states(planes[0]))
    for k in range(steps):
        lab.run(programs[k % 2])
        yield np.concatenate(lab.states(planes[(k + 1) % 2]))


def interior(lab: Lab, seed: int) -> tuple[int, np.ndarray, np.ndarray]:
    """Load weights and a sample whose free and nudged states have no unit at a bound, searched from
    ``seed`` on. Returns the seed, the free states, joined, and the target."""
    network, gain = lab.network, 0.25 if lab.network.convolves else 0.5
    while True:
        rng = Generator(seed)
        weights = initial_weights(network, seed, gain)
        dense = reference_of(network, weights, lab.settings.feedback).dense()
        for i, w in enumerate(weights):  # states about 1/2, where no unit is at a bound
            sums = dense.weights[i].sum(axis=1)
            if i + 1 < len(weights):
                sums = sums + dense.feedback * dense.weights[i + 1].sum(axis=0)
            w[:, -1] = 0.5 - sums.reshape(-1, len(w)).mean(axis=0) / 2
        lab.load_weights(weights)
        free = np.concatenate(lab.relax_free(rng.uniform(0, 1, network.sizes[0])))
        y = lab.plane("free", network.depth) + rng.uniform(-0.2, 0.2, network.sizes[-1])
        lab.relax_nudged(y)
        nudged = np.concatenate(lab.states("plus"))
        if all(((s > 0.02) & (s < 0.98)).all() for s in (free, nudged)):
            return seed, free, y
        seed += 1


def from_free(lab: Lab, free: np.ndarray, steps: int) -> np.ndarray:
    """States, (steps + 1, units), of synchronous steps with the nudge that is loaded."""
    for layer, s in enumerate(np.split(free, np.cumsum(lab.network.sizes[1:])[:-1]), start=1):
        lab.set_plane("plus", s, layer)
    return np.array(list(_trace(lab, ("plus", "minus"), steps, side=False)))


def equivalence(
    steps: int = 30, beta: float = 0.25, seed: int = 0, backend: str = "golden"
) -> dict:
    """Both traces on the verification preset, 12-16-16-6, 22 fraction bits.

    Free states without a unit at a bound are searched from ``seed`` on. Returns per step the
    relative error of the velocities (to the side network on the machine and in double precision),
    and the traces, (steps, units).
    """
    fine = {"grid": 22, "free_cap": 2000, "beta": beta, "input_bits": 16}
    settings = settings_for("ep-positive", NETWORK.depth, **fine)
    with Lab.open(backend, NETWORK, settings, "verify24") as lab:
        seed, free, _ = interior(lab, seed)
        sizes = np.cumsum(NETWORK.sizes[1:])
        trace = from_free(lab, free, steps)
        velocities = np.diff(trace, axis=0) * 2**STEP / beta
        error = np.zeros(len(free))
        error[-NETWORK.sizes[-1] :] = lab.plane("e")
        lab.configure(settings_for("rbp", NETWORK.depth, **fine))
        for layer, (s, e) in enumerate(
            zip(np.split(free, sizes[:-1]), np.split(error, sizes[:-1]), strict=True), start=1
        ):
            lab.set_plane("free", s, layer)
            lab.set_plane("plus", e, layer)
        side = np.array(list(_trace(lab, ("plus", "minus"), steps - 1, side=True)))
        real = [w[:, :-1] for w in lab.weights()]
    joint = np.zeros((len(free),) * 2)
    for i in (1, 2):
        below, above = (slice(*ends) for ends in _ends(i))
        joint[above, below], joint[below, above] = real[i], real[i].T
    exact = [error]
    for _ in range(steps - 1):
        exact.append(exact[-1] + (joint @ exact[-1] - exact[-1]) / 2**STEP)

    def apart(wanted: np.ndarray) -> list[float]:
        gaps = np.linalg.norm(velocities - wanted, axis=1) / np.linalg.norm(wanted, axis=1)
        return [float(gap) for gap in gaps]

    return {
        "seed": seed,
        "beta": beta,
        "steps": steps,
        "error_machine": apart(side),
        "error_double": apart(np.array(exact)),
        "velocities": velocities,
        "derivatives": side,
    }


def gradients(samples: int = 100) -> float:
    """Mean cosine of the updates of centered EP and of ``rbp``, both settled, on preset default:
    64-32-10, digits' first samples, the same weights (`comparison.updates`)."""
    pairs = zip(updates("ep-centered", 0, samples), updates("rbp", 0, samples), strict=True)
    return float(np.mean([cosine(ep[-1], rbp[-1]) for ep, rbp in pairs]))


def _ends(layer: int) -> list[tuple[int, int]]:
    """Where the layers ``layer`` and ``layer`` + 1 lie in a joined state."""
    ends = np.cumsum([0, *NETWORK.sizes[1:]])
    return [(int(ends[i]), int(ends[i + 1])) for i in (layer - 1, layer)]


def draw(result: dict, path: Path) -> None:
    """Velocities (lines) and error derivatives (dots) of a few units of each layer."""
    plt = pyplot()
    figure, axes = plt.subplots(1, NETWORK.depth, figsize=(12, 3.5))
    start = 0
    for layer, size in enumerate(NETWORK.sizes[1:], start=1):
        axis = axes[layer - 1]
        for unit in range(start, start + 4):
            (line,) = axis.plot(result["velocities"][:, unit])
            axis.plot(result["derivatives"][:, unit], ".", color=line.get_color())
        axis.set_title(f"layer {layer}")
        axis.set_xlabel("step")
        start += size
    axes[0].set_ylabel("velocity / (beta eps), lambda")
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)
