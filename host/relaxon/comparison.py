"""Rules beside each other: `relaxon bench rules` and the plot it draws.

The comparison follows the taxonomy of Momeni et al. 2025 and, for bias and variance of an update
against the gradient, the framework of Richards et al. 2019.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from relaxon_isa.config import preset
from relaxon_isa.errors import ToolError

from .backends import open_device
from .datasets import Dataset, load
from .lab import Lab
from .network import Network, initial_weights
from .plots import pyplot
from .rules import first_preset, rule_class, settings_for
from .rules.base import Rule
from .training import Trainer, TrainSettings

__all__ = ["accuracy", "alignment", "draw", "rules"]

NETWORK = Network((64, 32, 10))
COSINE_SAMPLES = 100
COSINE_SHIFT = 3
"""Updates are compared with gradients at a rate of 2**-3, so that few of them round to nothing."""


def accuracy(
    name: str,
    seed: int,
    epochs: int = 10,
    data: Dataset | None = None,
    settings: dict | None = None,
    training: dict | None = None,
) -> dict:
    """Train 64-32-10 on digits with a rule's defaults; test accuracy and cost of a sample.

    ``settings``: changes of `RuleSettings`; ``training``: of `TrainSettings`.
    """
    rule = settings_for(name, NETWORK.depth, **(settings or {}))
    run = TrainSettings(epochs=epochs, seed=seed, rule=rule, **(training or {}))
    with open_device("golden", first_preset(NETWORK, rule)) as device:
        trainer = Trainer(device, NETWORK, data or load("digits"), run)
        trainer.start()
        while trainer.epoch < epochs:
            trainer.run_epoch()
        summary = trainer.summary()
        found = trainer.evaluate()["accuracy"]
        needs = trainer.layout.needs
        planes = len(trainer.layout.planes)
    return {
        "rule": name,
        "seed": seed,
        "accuracy": found,
        "sweeps": summary["sweeps_per_sample"],
        "cycles": summary["cycles_per_sample"],
        "state_saturations": summary["state_saturations"],
        "weight_saturations": summary["weight_saturations"],
        "words_a_neuron": planes,
        "words_a_synapse": needs.words * (2 if needs.backward else 1),
    }


def alignment(name: str, seed: int = 0, samples: int = COSINE_SAMPLES) -> dict:
    """A rule's update, sample by sample, against the gradient of the squared error.

    At initial weights with biases 0.25 (so that few units sit at a bound), digits' first samples,
    one update each from the same weights. Returns the mean and the standard deviation of the
    cosine over samples, and the cosine of the mean update with the mean gradient (its bias).
    The gradient is that of the rule's own network: at the free fixed point
    (`Reference.adjoint`), of a forward pass, or of resistors.
    """
    rule = rule_class(name)
    data = load("digits")
    settings = settings_for(name, NETWORK.depth, input_bits=16, frozen=())
    settings = replace(settings, rate_shifts=(COSINE_SHIFT,) * NETWORK.depth)
    cosines, updates, gradients = [], [], []
    with Lab.open("golden", NETWORK, settings, preset(first_preset(NETWORK, settings))) as lab:
        weights = lab.rule.initial(initial_weights(lab.layout, seed))
        for w in weights[: NETWORK.depth]:
            w[:, -1] = 0.25
        for x, label in zip(data.x_train[:samples], data.y_train[:samples], strict=True):
            lab.load_weights(weights)
            before = lab.weights()
            lab.train_step(x, np.int64(label))
            after = lab.weights()
            pairs = list(zip(after, before, strict=True))[: NETWORK.depth]
            update = np.concatenate([(new - old).ravel() for new, old in pairs])
            y = lab.rule.class_targets(NETWORK.sizes[-1])[label]
            slopes = _slopes(rule, before[: NETWORK.depth], x, y)
            gradient = -np.concatenate(
                [np.column_stack(pair).ravel() for pair in zip(*slopes, strict=True)]
            )
            cosines.append(_cosine(update, gradient))
            updates.append(update)
            gradients.append(gradient)
    return {
        "cosine": float(np.mean(cosines)),
        "cosine_deviation": float(np.std(cosines)),
        "cosine_of_means": _cosine(np.mean(updates, axis=0), np.mean(gradients, axis=0)),
    }


def _slopes(rule: type[Rule], weights: Sequence[np.ndarray], x: np.ndarray, y: np.ndarray):
    """The gradient, of weights and of biases, in double precision by code that no rule shares."""
    from relaxon_sim.reference import Reference, Resistors

    parts = [w[:, :-1] for w in weights], [w[:, -1] for w in weights]
    if rule.RESISTIVE:
        return Resistors(*parts).adjoint(x, y)
    reference = Reference(*parts)
    if rule.FEEDFORWARD:
        return reference.backpropagation(x, y, rule.FEEDFORWARD)
    return reference.adjoint(x, y, reference.free(x).states)


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    norms = np.linalg.norm(a) * np.linalg.norm(b)
    return float(np.vdot(a, b) / norms) if norms else 0.0


def rules(
    names: Sequence[str], seeds: Iterable[int] = range(5), epochs: int = 10, jobs: int = 1
) -> list[dict]:
    """One row a rule: accuracy over seeds, cost of a sample, memory, update against gradient.

    Rules and seeds run in ``jobs`` processes of joblib; a surrounding
    ``joblib.parallel_config(backend="dask")`` sends them to a cluster instead.
    """
    try:
        from joblib import Parallel, delayed
    except ImportError as error:
        raise ToolError(
            "comparing rules needs joblib, which comes with python -m pip install 'relaxon[data]'"
        ) from error
    seeds = list(seeds)
    work = [(name, seed) for name in names for seed in seeds]
    runs: Any = Parallel(n_jobs=jobs)(delayed(accuracy)(*pair, epochs) for pair in work)
    aligned: Any = Parallel(n_jobs=jobs)(delayed(alignment)(name) for name in names)
    rows = []
    for name, cosines in zip(names, aligned, strict=True):
        mine = [run for run in runs if run["rule"] == name]
        found = [run["accuracy"] for run in mine]
        row = {
            "rule": name,
            "accuracy": float(np.mean(found)),
            "lowest": min(found),
            "highest": max(found),
            "sweeps": float(np.mean([run["sweeps"] for run in mine])),
            "cycles": float(np.mean([run["cycles"] for run in mine])),
        }
        words = ("words_a_neuron", "words_a_synapse")
        rows.append({**row, **{name: mine[0][name] for name in words}, **cosines})
    return rows


def draw(rows: Sequence[dict], path: Path) -> None:
    """Accuracy and update cosine of every rule, to a picture file."""
    plt = pyplot()
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 0.4 * len(rows) + 1.5), sharey=True)
    names = [row["rule"] for row in rows]
    mean = np.array([row["accuracy"] for row in rows])
    spread = [mean - [row["lowest"] for row in rows], [row["highest"] for row in rows] - mean]
    left.barh(names, 100 * mean, xerr=100 * np.array(spread), color="0.7")
    left.set_xlabel("test accuracy, %")
    right.errorbar(
        [row["cosine"] for row in rows],
        names,
        xerr=[row["cosine_deviation"] for row in rows],
        fmt="o",
        color="0.2",
    )
    right.set_xlabel("cosine of update and gradient, over samples")
    left.invert_yaxis()
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)
