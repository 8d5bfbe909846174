"""Rules beside each other: `relaxon bench rules` and the plot it draws.

The comparison follows the taxonomy of Momeni et al. 2025 and, for bias and variance of an update
against the gradient, the framework of Richards et al. 2019.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

import relaxon
import relaxon_device
import relaxon_isa
import relaxon_sim
from relaxon_isa import preset

from ..backends import open_device
from ..datasets import Dataset, load
from ..lab import Lab
from ..network import Network, initial_weights
from ..parallel import Pool, one_by_one
from ..rules import first_preset, rule_class, rule_digest, settings_for
from ..rules.base import Rule
from ..training import Progress, Trainer, TrainSettings, silent
from .plots import pyplot

__all__ = ["accuracy", "alignment", "cosine", "digits", "draw", "rules", "updates"]

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
    progress: Progress = silent,
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
            trainer.run_epoch(progress)
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


def digits(
    data: Dataset, seeds: int = 5, epochs: int = 10, progress: Progress = silent
) -> list[dict]:
    """Test accuracy of centered EP, one row per seed: of the defaults ("accuracy"), and of the same
    program without the first layer's LEARN ("frozen"), a read-out of random features."""
    return [
        {
            "seed": seed,
            **{
                name: accuracy(
                    "ep-centered", seed, epochs, data, {"frozen": frozen}, progress=progress
                )["accuracy"]
                for name, frozen in (("accuracy", ()), ("frozen", (1,)))
            },
        }
        for seed in range(seeds)
    ]


def alignment(name: str, seed: int = 0, samples: int = COSINE_SAMPLES) -> dict:
    """A rule's update, sample by sample, against the gradient of the squared error.

    `updates` and gradients, sample by sample: the mean and the standard deviation of the cosine
    over samples, and the cosine of the mean update with the mean gradient (its bias). The gradient
    is that of the rule's own network: at the free fixed point (`Reference.adjoint`), of a forward
    pass, or of resistors.
    """
    found = list(updates(name, seed, samples))
    rule, gradients = rule_class(name), []
    for before, x, y, _ in found:
        slopes = _slopes(rule, before, x, y)
        gradients.append(
            -np.concatenate([np.column_stack(pair).ravel() for pair in zip(*slopes, strict=True)])
        )
    changes = [update for *_, update in found]
    cosines = [cosine(*pair) for pair in zip(changes, gradients, strict=True)]
    return {
        "cosine": float(np.mean(cosines)),
        "cosine_deviation": float(np.std(cosines)),
        "cosine_of_means": cosine(np.mean(changes, axis=0), np.mean(gradients, axis=0)),
    }


def updates(
    name: str, seed: int = 0, samples: int = COSINE_SAMPLES
) -> Iterator[tuple[list[np.ndarray], np.ndarray, np.ndarray, np.ndarray]]:
    """What a rule changes on each of digits' first samples, always from the same weights.

    These are the initial ones with biases 0.25, so that few units sit at a bound. Gives weights
    (all), input, target, and the change of those into the layers as a vector.
    """
    data = load("digits")
    settings = settings_for(name, NETWORK.depth, input_bits=16, frozen=())
    settings = replace(settings, rate_shifts=(COSINE_SHIFT,) * NETWORK.depth)
    with Lab.open("golden", NETWORK, settings, preset(first_preset(NETWORK, settings))) as lab:
        weights = lab.rule.initial(initial_weights(lab.layout, seed))
        for w in weights[: NETWORK.depth]:
            w[:, -1] = 0.25
        targets = lab.rule.class_targets(NETWORK.sizes[-1])
        for x, label in zip(data.x_train[:samples], data.y_train[:samples], strict=True):
            lab.load_weights(weights)
            before = lab.weights()
            lab.train_step(x, np.int64(label))
            pairs = list(zip(lab.weights(), before, strict=True))[: NETWORK.depth]
            changes = [(new - old).ravel() for new, old in pairs]
            yield before, x, targets[label], np.concatenate(changes)


def _slopes(rule: type[Rule], weights: Sequence[np.ndarray], x: np.ndarray, y: np.ndarray):
    """The gradient, of weights and of biases, in double precision by code that no rule shares."""
    from relaxon_sim.reference import Directed, Reference, Resistors

    own, others = weights[: NETWORK.depth], weights[NETWORK.depth :]
    parts = [w[:, :-1] for w in own], [w[:, -1] for w in own]
    if rule.RESISTIVE:
        return Resistors(*parts).adjoint(x, y)
    if not rule.SYMMETRIC:
        directed = Directed(*parts, backward=[w[:, :-1] for w in others])
        slopes, biases = directed.adjoint(x, y, directed.free(x).states)
        return slopes[: NETWORK.depth], biases
    reference = Reference(*parts)
    if rule.FEEDFORWARD:
        return reference.backpropagation(x, y, rule.FEEDFORWARD)
    return reference.adjoint(x, y, reference.free(x).states)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Of the angle between two vectors; 0 if one of them is 0."""
    norms = np.linalg.norm(a) * np.linalg.norm(b)
    return float(np.vdot(a, b) / norms) if norms else 0.0


def rules(
    names: Sequence[str],
    seeds: Iterable[int] = range(5),
    epochs: int = 10,
    pool: Pool = one_by_one,
    keep: Path | None = None,
    progress: Progress = silent,
) -> list[dict]:
    """One row a rule: accuracy over seeds, cost of a sample, memory, update against gradient.

    Parameters
    ----------
    pool
        Of `relaxon.parallel.open_pool`: where rules and seeds run side by side. Default: in turn.
    keep
        A folder of joblib's: what has ended is kept there and not run again, unless the source of
        relaxon or of the rule's own file (not of what that imports) is another by then.
    progress
        Called with 1 as each training and each comparison of an update ends.
    """
    trainings = [(name, seed, epochs) for name in names for seed in seeds]
    work = [*((accuracy, task) for task in trainings), *((alignment, (name,)) for name in names)]
    done = {}
    for task, result in pool((_kept, (keep, *call)) for call in work):
        done[task] = result
        progress(1)
    rows = []
    for name in names:
        mine = [done[task] for task in trainings if task[0] == name]
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
        rows.append({**row, **{name: mine[0][name] for name in words}, **done[(name,)]})
    return rows


def _kept(keep: Path | None, function: Callable, task: tuple) -> tuple[tuple, dict]:
    """A task and what came of it, now or in an earlier run with the same files of rules."""
    if keep is None:
        return task, function(*task)
    from joblib import Memory

    run: Any = Memory(keep, verbose=0).cache(_run)
    return task, run(function.__name__, task, (_sources(), rule_digest(task[0])))


@cache
def _sources() -> str:
    """A digest of all that a training's figures come from."""
    digest = sha256()
    for package in (relaxon_isa, relaxon_device, relaxon_sim, relaxon):
        for path in sorted(Path(package.__path__[0]).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _run(function: str, task: tuple, digests: tuple) -> dict:
    return {"accuracy": accuracy, "alignment": alignment}[function](*task)


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
