"""Let Optuna look for settings, on held-out training data; then test what it found.

    python examples/optuna_study.py digits 64,32,10 --trials 30

Optuna proposes learning rates, beta and margin; each trial trains the golden model on four fifths
of the training data and is judged by the other fifth, over several seeds; a trial that is behind
after its first seeds is given up. Only the best settings see the test data, once. ``--storage
sqlite:///study.db`` keeps the study: the same command goes on with it.
"""

import argparse

import numpy as np
import optuna

from relaxon.datasets import Dataset, load
from relaxon.network import Network
from relaxon.rules import settings_for
from relaxon.studies.comparison import measure_of, trained
from relaxon.studies.sweep import without_test
from relaxon.training import TrainSettings


def judged(
    network: Network, data: Dataset, rule: str, chosen: dict, epochs: int, seed: int
) -> float:
    """Accuracy, or minus the mean squared error, on the test part of ``data``."""
    rates = (chosen["rate"],) * (network.depth - 1) + (chosen["rate_out"],)
    settings = settings_for(
        rule, network, rate_shifts=rates, beta=chosen["beta"], margin=chosen["margin"]
    )
    run = trained(network, data, TrainSettings(epochs=epochs, seed=seed, rule=settings))
    return run["accuracy"] if measure_of(run) == "accuracy" else -run["mse"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data")
    parser.add_argument("layers")
    parser.add_argument("--rule", default="ep-centered")
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--storage", help="as sqlite:///study.db")
    options = parser.parse_args()
    network, data = Network.parse(options.layers), load(options.data)
    part = without_test(data, held_out=0.2)

    def objective(trial: optuna.Trial) -> float:
        chosen = {
            "rate": trial.suggest_int("rate", 3, 9),
            "rate_out": trial.suggest_int("rate_out", 4, 11),
            "beta": trial.suggest_categorical("beta", [0.125, 0.25, 0.5, 1.0]),
            "margin": trial.suggest_categorical("margin", [0.0, 0.125, 0.25]),
        }
        scores: list[float] = []
        for seed in range(options.seeds):
            scores.append(judged(network, part, options.rule, chosen, options.epochs, seed))
            trial.report(float(np.mean(scores)), seed)
            if trial.should_prune():
                raise optuna.TrialPruned
        return float(np.mean(scores))

    study = optuna.create_study(
        study_name=f"{options.data} {options.layers} {options.rule}",
        storage=options.storage,
        load_if_exists=True,
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=0),
    )
    study.optimize(objective, n_trials=options.trials)
    found = [
        judged(network, data, options.rule, study.best_params, options.epochs, seed)
        for seed in range(options.seeds)
    ]
    print("settings, chosen on held-out training data:", study.best_params)
    print("held-out:", round(study.best_value, 4), " test:", round(float(np.mean(found)), 4))


if __name__ == "__main__":
    main()
