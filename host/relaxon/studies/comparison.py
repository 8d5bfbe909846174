"""Rules beside each other: `relaxon bench rules` and the plot it draws.

The comparison follows the taxonomy of Momeni et al. 2025 and, for bias and variance of an update
against the gradient, the framework of Richards et al. 2019.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from relaxon_isa import DataError, preset

from ..backends import open_device
from ..datasets import Dataset, load
from ..lab import Lab
from ..network import Network, initial_weights
from ..parallel import Pool, one_by_one
from ..rules import first_preset, rule_class, rule_digest, settings_for
from ..rules.base import Rule
from ..training import Progress, Trainer, TrainSettings, silent, training_for
from .kept import kept, key_of
from .plots import pyplot

__all__ = [
    "Task",
    "accuracies",
    "accuracy",
    "alignment",
    "cosine",
    "digits",
    "draw",
    "measure_of",
    "reference_of",
    "rules",
    "trained",
    "updates",
]

NETWORK = Network((64, 32, 10))
COSINE_SAMPLES = 100
COSINE_SHIFT = 3
"""Updates are compared with gradients at a rate of 2**-3, so that few of them round to nothing."""


@dataclass(frozen=True)
class Task:
    """What rules are compared on: a network, and a data set with options of `load`, of which only
    the first ``train_samples`` are learned; None: all."""

    network: Network = NETWORK
    data: str = "digits"
    how: dict = field(default_factory=dict)
    train_samples: int | None = None

    def load(self) -> Dataset:
        data = load(self.data, **self.how)
        if self.train_samples is None:
            return data
        if self.train_samples > (there := len(data.y_train)):
            raise DataError(
                f"{self.data}: {self.train_samples} training samples asked for, {there} there"
            )
        part = slice(self.train_samples)
        return data.changed(x_train=data.held("x_train")[part], y_train=data.y_train[part])


DIGITS = Task()


def accuracy(
    name: str,
    seed: int,
    epochs: int = 10,
    data: Dataset | None = None,
    settings: dict | None = None,
    training: dict | None = None,
    progress: Progress = silent,
    task: Task = DIGITS,
) -> dict:
    """Train with a rule's defaults, 64-32-10 on digits unless ``task`` is another; test accuracy
    (of targets: mean squared error) and cost of a sample.

    ``settings``: changes of `RuleSettings`; ``training``: of `TrainSettings`.
    """
    rule = settings_for(name, task.network, **(settings or {}))
    run = training_for(task.network, rule, epochs=epochs, seed=seed, **(training or {}))
    found = trained(task.network, data or task.load(), run, progress)
    return {"rule": name, "seed": seed, **found}


def trained(
    network: Network, data: Dataset, run: TrainSettings, progress: Progress = silent
) -> dict:
    """Train on golden; what `Trainer.evaluate` says at the end, and the cost of a sample."""
    with open_device("golden", first_preset(network, run.rule)) as device:
        trainer = Trainer(device, network, data, run)
        trainer.start()
        while trainer.epoch < run.epochs:
            trainer.run_epoch(progress)
        summary = trainer.summary()
        needs = trainer.layout.needs
        return {
            **trainer.evaluate(),
            "sweeps": summary["sweeps_per_sample"],
            "cycles": summary["cycles_per_sample"],
            "state_saturations": summary["state_saturations"],
            "weight_saturations": summary["weight_saturations"],
            "words_a_neuron": len(trainer.layout.planes),
            "words_a_synapse": needs.words * (2 if needs.backward else 1),
        }


def measure_of(run: dict) -> str:
    """What a run is judged by: accuracy, or mse where there are no classes."""
    return "accuracy" if "accuracy" in run else "mse"


def digits(
    data: Dataset,
    seeds: int = 5,
    epochs: int = 10,
    progress: Progress = silent,
    network: Network = NETWORK,
) -> list[dict]:
    """Test accuracy of centered EP, one row per seed: of the defaults ("accuracy"), and of the same
    program without the first layer's LEARN ("frozen"), a read-out of random features."""
    variants = {"accuracy": {"frozen": ()}, "frozen": {"frozen": (1,)}}
    return accuracies(variants, network, data, seeds, epochs, progress)


def accuracies(
    variants: Mapping[str, dict],
    network: Network,
    data: Dataset,
    seeds: int,
    epochs: int,
    progress: Progress,
) -> list[dict]:
    """Test accuracy of centered EP by changes of its settings, by name: an entry a seed."""
    rows: list[dict] = []
    for seed in range(seeds):
        rows.append({"seed": seed})
        for name, changes in variants.items():
            found = accuracy(
                "ep-centered", seed, epochs, data, changes, progress=progress, task=Task(network)
            )
            rows[-1][name] = found["accuracy"]
    return rows


def alignment(name: str, seed: int = 0, samples: int = COSINE_SAMPLES, task: Task = DIGITS) -> dict:
    """A rule's update, sample by sample, against the gradient of the squared error.

    `updates` and gradients, sample by sample: the mean and the standard deviation of the cosine
    over samples, and the cosine of the mean update with the mean gradient (its bias). The gradient
    is that of the rule's own network: at the free fixed point (`Reference.adjoint`), of a forward
    pass, or of resistors. None of convolutional networks, for which it is not measured.
    """
    if task.network.convolves:
        return dict.fromkeys(("cosine", "cosine_deviation", "cosine_of_means"))
    found = list(updates(name, seed, samples, task))
    rule, gradients = rule_class(name), []
    for before, x, y, _ in found:
        slopes = _slopes(rule, before, x, y, task.network.depth)
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
    name: str, seed: int = 0, samples: int = COSINE_SAMPLES, task: Task = DIGITS
) -> Iterator[tuple[list[np.ndarray], np.ndarray, np.ndarray, np.ndarray]]:
    """What a rule changes on each of the data's first samples, always from the same weights.

    These are the initial ones with biases 0.25, so that few units sit at a bound. Gives weights
    (all), input, target, and the change of those into the layers as a vector.
    """
    data, network = task.load(), task.network
    settings = settings_for(name, network, input_bits=16, frozen=())
    settings = replace(settings, rate_shifts=(COSINE_SHIFT,) * network.depth)
    with Lab.open("golden", network, settings, preset(first_preset(network, settings))) as lab:
        weights = lab.rule.initial(initial_weights(lab.layout, seed))
        for w in weights[: network.depth]:
            w[:, -1] = 0.25
        targets = lab.rule.targets_of(data.y_train[:samples])
        for x, y, target in zip(data.x_train, data.y_train, targets, strict=False):
            lab.load_weights(weights)
            before = lab.weights()
            lab.train_step(x, y)
            pairs = list(zip(lab.weights(), before, strict=True))[: network.depth]
            changes = [(new - old).ravel() for new, old in pairs]
            yield before, x, target, np.concatenate(changes)


def _slopes(
    rule: type[Rule], weights: Sequence[np.ndarray], x: np.ndarray, y: np.ndarray, depth: int
):
    """The gradient, of weights and of biases, in double precision by code that no rule shares."""
    from relaxon_sim.reference import Directed, Reference, Resistors

    own, others = weights[:depth], weights[depth:]
    parts = [w[:, :-1] for w in own], [w[:, -1] for w in own]
    if rule.RESISTIVE:
        return Resistors(*parts).adjoint(x, y)
    if not rule.SYMMETRIC:
        directed = Directed(*parts, backward=[w[:, :-1] for w in others])
        slopes, biases = directed.adjoint(x, y, directed.free(x).states)
        return slopes[:depth], biases
    reference = Reference(*parts)
    if rule.FEEDFORWARD:
        return reference.backpropagation(x, y, rule.FEEDFORWARD)
    return reference.adjoint(x, y, reference.free(x).states)


def reference_of(network: Network, weights: Sequence[np.ndarray], feedback: int = 0) -> Any:
    """The independent model of a network in double precision, `relaxon_sim.reference.Convolutions`:
    real weights as the machine's, bias last; what comes from above times 2**-feedback."""
    from relaxon_sim.reference import Convolutions

    parts = list(zip(weights, network.kernels, network.maps, strict=False))
    return Convolutions(
        [w[:, :-1].reshape(len(w), k.height, k.width, m.channels) for w, k, m in parts],
        [w[:, -1] for w, _, _ in parts],
        [(m.height, m.width) for m in network.maps],
        [k.stride for k in network.kernels],
        [k.padding for k in network.kernels],
        2.0**-feedback,
    )


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
    task: Task = DIGITS,
) -> list[dict]:
    """One row a rule: accuracy over seeds (of targets: mse), cost of a sample, memory, update
    against gradient.

    Parameters
    ----------
    pool
        Of `relaxon.parallel.open_pool`: where rules and seeds run side by side. Default: in turn.
    keep
        A folder: what has ended is kept there and not run again, unless the data, the source of
        relaxon or of the rule's own file (not of what that imports) is another by then.
    progress
        Called with 1 as each training and each comparison of an update ends.
    """
    trainings = [(name, seed, epochs) for name in names for seed in seeds]
    digest, calls = task.load().digest, []
    for function, arguments in (
        *(("accuracy", training) for training in trainings),
        *(("alignment", (name,)) for name in names),
    ):
        key = key_of([function, arguments, rule_digest(arguments[0]), digest, str(task.network)])
        calls.append((_kept, (keep, key, function, arguments, task)))
    done = {}
    for arguments, result in pool(calls):
        done[arguments] = result
        progress(1)
    rows = []
    for name in names:
        mine = [done[arguments] for arguments in trainings if arguments[0] == name]
        measure = measure_of(mine[0])
        found = [run[measure] for run in mine]
        row = {
            "rule": name,
            measure: float(np.mean(found)),
            "lowest": min(found),
            "highest": max(found),
            "sweeps": float(np.mean([run["sweeps"] for run in mine])),
            "cycles": float(np.mean([run["cycles"] for run in mine])),
        }
        words = ("words_a_neuron", "words_a_synapse")
        rows.append({**row, **{name: mine[0][name] for name in words}, **done[(name,)]})
    return rows


def _kept(
    keep: Path | None, key: str, function: str, arguments: tuple, task: Task
) -> tuple[tuple, dict]:
    """Arguments and what came of them, now or in an earlier run."""

    def call() -> dict:
        return {"accuracy": accuracy, "alignment": alignment}[function](*arguments, task=task)

    return arguments, kept(keep, key, call)


def draw(rows: Sequence[dict], path: Path) -> None:
    """Accuracy and update cosine of every rule, to a picture file."""
    plt = pyplot()
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 0.4 * len(rows) + 1.5), sharey=True)
    names, measure = [row["rule"] for row in rows], measure_of(rows[0])
    scale = 100 if measure == "accuracy" else 1
    mean = np.array([row[measure] for row in rows])
    spread = [mean - [row["lowest"] for row in rows], [row["highest"] for row in rows] - mean]
    left.barh(names, scale * mean, xerr=scale * np.array(spread), color="0.7")
    left.set_xlabel("test accuracy, %" if measure == "accuracy" else "test mean squared error")
    measured = [row for row in rows if row["cosine"] is not None]
    right.errorbar(
        [row["cosine"] for row in measured],
        [row["rule"] for row in measured],
        xerr=[row["cosine_deviation"] for row in measured],
        fmt="o",
        color="0.2",
    )
    right.set_xlabel("cosine of update and gradient, over samples")
    left.invert_yaxis()
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)
