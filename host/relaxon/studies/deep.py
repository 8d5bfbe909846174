"""What Laborieux et al. (2021) found for deep networks, asked of the machine.

The bias of one nudged phase beside two of opposite nudges (section 3.1), cross-entropy beside
squared error (section 3.2), weights of their own for what comes from above, which decay aligns with
the forward ones (section 3.3; Kolen & Pollack 1994).
"""

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from ..backends import open_device
from ..datasets import Dataset
from ..lab import Lab
from ..network import Network
from ..rules import first_preset, settings_for
from ..training import Progress, Trainer, silent, training_for
from .bptt import fine_machine
from .comparison import accuracies, cosine, reference_of
from .equivalence import interior
from .plots import pyplot

__all__ = ["BETAS", "OBJECTIVES", "aligned", "draw", "nudges", "objectives"]

BETAS = tuple(2.0**-k for k in range(5, -1, -1))
PHASES = {"one-sided": "ep-positive", "centered": "ep-centered"}
OBJECTIVES = ("squared-error", "cross-entropy")
RATE = 1


def nudges(
    network: Network,
    betas: Sequence[float] = BETAS,
    samples: int = 10,
    feedback: int = 0,
    progress: Progress = silent,
) -> list[dict]:
    """EP's update on the machine against the gradient, for nudges of the same strength.

    Random weights, inputs and targets such that no unit is at a bound; words as of `bptt`. The
    gradient is that of `relaxon_sim.reference`. Returns an entry for each beta:
    of "one-sided" and "centered" the mean over samples of ``error``, |update - gradient| over
    |gradient|, and of ``cosine``, over all layers joined.
    """
    fine: dict[str, Any] = {
        "grid": 25 if network.convolves else 22,
        "free_cap": 1000,
        "nudged_cap": 1000,
    }
    fine |= {"tolerance": 0.0, "input_bits": 16, "input_offset": 0.0, "feedback": feedback}
    rows: list[dict] = [{"beta": beta, **{name: [] for name in PHASES}} for beta in betas]
    shifts = (RATE,) * network.depth
    settings = {k: settings_for(r, network, **fine, rate_shifts=shifts) for k, r in PHASES.items()}
    with Lab.open("golden", network, settings["centered"], fine_machine(network)) as lab:
        seed = 0
        for _ in range(samples):
            lab.configure(settings["one-sided"], beta=max(betas))
            seed, _, y = interior(lab, seed)
            x, weights, seed = lab.plane("x"), lab.weights(), seed + 1
            slope = _slope(network, weights, x, y, feedback)
            for row, name in product(rows, PHASES):
                lab.configure(settings[name], beta=row["beta"])
                lab.load_weights(weights)
                lab.train_step(x, y)
                pairs = zip(lab.weights(), weights, strict=True)
                update = np.concatenate([(b - a).ravel() for b, a in pairs]) * 2.0**RATE
                error = np.linalg.norm(update - slope) / np.linalg.norm(slope)
                row[name].append((error, cosine(update, slope)))
                progress(1)
    for row in rows:
        for name in PHASES:
            error, angle = np.mean(row[name], axis=0)
            row[name] = {"error": float(error), "cosine": float(angle)}
    return rows


def _slope(
    network: Network, weights: Sequence[np.ndarray], x: np.ndarray, y: np.ndarray, feedback: int
) -> np.ndarray:
    """Minus the gradient, as the machine's matrices joined: EP in double precision at a nudge of
    which nothing is left to see."""
    net = reference_of(network, weights, feedback)
    kernels, biases = net.shared(*net.dense().centered(x, y, 1e-4))
    pairs = zip(kernels, biases, strict=True)
    return np.concatenate([np.column_stack([k.reshape(len(k), -1), b]).ravel() for k, b in pairs])


def objectives(
    network: Network, data: Dataset, seeds: int = 5, epochs: int = 10, progress: Progress = silent
) -> list[dict]:
    """Test accuracy by each of `OBJECTIVES`, all else by default: an entry a seed."""
    variants = {name: {"objective": name} for name in OBJECTIVES}
    return accuracies(variants, network, data, seeds, epochs, progress)


def aligned(
    network: Network,
    data: Dataset,
    seed: int = 0,
    epochs: int = 10,
    stochastic: bool = False,
    progress: Progress = silent,
) -> list[dict]:
    """Train with weights of their own for each direction. An entry an epoch, and one before:
    ``cosines`` of forward and backward weights, layer by layer from the second on, and test
    ``accuracy``. Rates stay what they are, as decay does; ``stochastic``: the rounding of updates
    (`RuleSettings`)."""
    rule = settings_for("ep-centered", network, architecture="backward", stochastic=stochastic)
    run = training_for(network, rule, epochs=epochs, seed=seed, rate_halvings=0)
    rows = []
    with open_device("golden", first_preset(network, rule)) as device:
        trainer = Trainer(device, network, data, run)
        trainer.start()
        for epoch in range(epochs + 1):
            if epoch:
                trainer.run_epoch(progress)
            weights = trainer.real_weights()
            own, backward = weights[1 : network.depth], weights[network.depth :]
            pairs = [(w[:, :-1], b[:, :-1]) for w, b in zip(own, backward, strict=True)]
            angles = [cosine(*pair) for pair in pairs]
            found = trainer.evaluate()["accuracy"]
            rows.append({"epoch": epoch, "accuracy": found, "cosines": angles})
    return rows


def draw(rows: Sequence[dict], path: Path) -> None:
    """What `nudges` returns: error against beta."""
    plt = pyplot()
    figure, axis = plt.subplots(figsize=(5, 4))
    for name in PHASES:
        axis.loglog([r["beta"] for r in rows], [r[name]["error"] for r in rows], "o-", label=name)
    axis.set_xlabel("beta")
    axis.set_ylabel("error of the update / gradient")
    axis.legend()
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)
