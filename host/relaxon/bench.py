"""Measurements behind `relaxon bench`."""

import time
from collections import Counter
from dataclasses import replace

import numpy as np

from relaxon_isa.errors import ConfigError
from relaxon_isa.memory import Register, Space
from relaxon_isa.presets import preset

from .backends import open_device
from .datasets import Dataset, load
from .lab import Lab
from .network import Network, initial_weights
from .rules import make_rule
from .rules.settings import RuleSettings, default_rate_shifts
from .training import KINDS, Progress, Trainer, TrainSettings

__all__ = ["cycles", "digits", "golden", "gradient", "settle"]

FREE_SWEEPS, NUDGED_SWEEPS = 6, 4

GRADIENT_NETWORK = Network((20, 15, 10, 5))
GRADIENT_GRID = 14
FAINT = 8
"""Steps of the grid by which some unit of each layer has to move between the nudged phases."""
DIGITS_NETWORK = Network((64, 32, 10))

NETWORKS = ("64-32-10", "196-120-10", "784-128-10", "784-128-64-10")
SIZES = (4, 8, 12)


def _fixed(network: Network) -> RuleSettings:
    """Fixed sweeps, so that cycles do not depend on data."""
    return RuleSettings(
        rate_shifts=default_rate_shifts(network.depth),
        free_cap=FREE_SWEEPS,
        nudged_cap=NUDGED_SWEEPS,
        fixed_sweeps=True,
    )


def cycles() -> list[dict]:
    """One row a network, array size and pass: cycles by the golden model's counters."""
    rows = []
    for text in NETWORKS:
        network = Network.parse(text)
        for p in SIZES:
            config = preset("default").replace(p=p, weight_depth=1 << 14, drive_depth=512)
            with open_device("golden", config) as device:
                rule = make_rule(network, config, _fixed(network))
                rule.prepare(device)
                for name, program in (
                    ("training", rule.resident_program()),
                    ("inference", rule.infer_program(resident=True)),
                ):
                    device.write(Space.REGISTER, Register.MAC_CYCLES, [0] * (len(Register) - 2))
                    device.load(program.rows)
                    for _ in device.run():
                        pass
                    counters = device.counters()
                    kinds = {kind: counters[register] for kind, register in KINDS.items()}
                    total = sum(kinds.values())
                    rows.append({"network": text, "p": p, "pass": name, "cycles": total, **kinds})
    return rows


def _synthetic(network: Network, samples: int) -> Dataset:
    """Samples with MNIST's share of zeros (81 %), labels at random."""
    rng = np.random.default_rng(0)
    features, outputs = network.sizes[0], network.sizes[-1]
    x = rng.uniform(0.2, 1, (samples, features)) * (rng.random((samples, features)) < 0.19)
    y = rng.integers(0, outputs, samples)
    x = x.astype(np.float32)
    return Dataset(
        x_train=x, y_train=y, x_test=x[:1], y_test=y[:1], classes=outputs, name="synthetic"
    )


def golden(network: Network, data: str | None, samples: int) -> dict:
    """Training samples/s, golden and plain float numpy, one after the other in this process."""
    dataset = load(data) if data else _synthetic(network, samples)
    dataset = replace(dataset, x_train=dataset.x_train[:samples], y_train=dataset.y_train[:samples])
    settings = TrainSettings(epochs=1, rate_halvings=0, rule=_fixed(network))
    config = preset("default").replace(p=12, weight_depth=1 << 14)
    with open_device("golden", config) as device:
        trainer = Trainer(device, network, dataset, settings)
        trainer.start()
        weights = trainer.real_weights()
        start = time.perf_counter()
        trainer.run_epoch()
        golden_time = time.perf_counter() - start
    start = time.perf_counter()
    float_epoch(weights, dataset, settings.rule)
    float_time = time.perf_counter() - start
    count = len(dataset.x_train)
    return {
        "network": str(network),
        "samples": count,
        "golden_per_second": count / golden_time,
        "float_per_second": count / float_time,
        "ratio": float_time / golden_time,
    }


def float_epoch(weights: list[np.ndarray], data: Dataset, ep: RuleSettings) -> None:
    """Centered EP, batch 1, in plain numpy doubles, with the same sweeps; updates ``weights``."""
    w = [m[:, :-1].copy() for m in weights]
    b = [m[:, -1].copy() for m in weights]
    depth = len(w)
    rates = [2.0**-shift for shift in ep.rate_shifts]

    def sweep(s, still, layers):
        for i in layers:
            a = still[i] if i == 0 else still[i] + w[i] @ s[i - 1]
            if i + 1 < depth:
                a = a + w[i + 1].T @ s[i + 1]
            s[i] = np.clip(a, 0, 1)

    for x, label in zip(data.x_train.astype(np.float64), data.y_train, strict=True):
        still = [w[0] @ x + b[0], *b[1:]]
        free = [np.zeros(len(v)) for v in b]
        for _ in range(ep.free_cap):
            sweep(free, still, range(depth))
        y = np.full(len(b[-1]), ep.targets[0])
        y[label] = ep.targets[1]
        states = []
        for sign in (1, -1):
            nudged = [*still[:-1], still[-1] + sign * ep.beta * (y - free[-1])]
            s = list(free)
            for _ in range(ep.nudged_cap):
                sweep(s, nudged, range(depth - 1, -1, -1))
            states.append(s)
        plus, minus = states
        for i in range(depth):
            rate = rates[i] / (2 * ep.beta)
            if i == 0:
                w[0] += rate * np.outer(plus[0] - minus[0], x)
            else:
                w[i] += rate * (np.outer(plus[i], plus[i - 1]) - np.outer(minus[i], minus[i - 1]))
            b[i] += rate * (plus[i] - minus[i])


def settle(network: Network, data: Dataset, samples: int, seed: int) -> dict[int, int]:
    """Free-phase sweeps until nothing moves, at initial weights: {sweeps: samples}."""
    counts: Counter[int] = Counter()
    with Lab.open("golden", network) as lab:
        lab.load_weights(initial_weights(network, seed))
        for x in data.x_train[:samples]:
            before = lab.counters()[Register.SWEEPS]
            lab.relax_free(x.astype(np.float64))
            counts[lab.counters()[Register.SWEEPS] - before] += 1
    return dict(sorted(counts.items()))


def gradient(
    networks: int = 200, seed: int = 0, beta: float = 0.125, progress: Progress | None = None
) -> dict:
    """Centered EP's update on the golden model against the gradient of the cost.

    Random networks (weights as training starts with, biases uniform in [0, 0.5], inputs and
    targets uniform in [0, 1], all on the machine's grids) take one training step at a rate of 1,
    states on a grid of 2**-14. Its cosine, layer by layer and bias included, is taken with minus
    the finite differences of the cost in float64 (`relaxon_sim.reference`). Networks in which a
    unit crosses a bound between the phases, in either arithmetic ("crossing"), or in which a layer
    has no gradient ("zero") are drawn again and counted: there the gradient is not what EP
    estimates. So are those in which no unit of a layer moves by `FAINT` steps of the grid
    ("faint"): the rounding of the states is then a good part of what is measured. The smallest
    cosine among them is returned too.

    Returns counts, and one entry a layer: smallest, median and mean cosine.
    """
    from relaxon_sim.reference import Reference

    network = GRADIENT_NETWORK
    settings = RuleSettings(
        beta=beta,
        rate_shifts=(0,) * network.depth,
        grid=GRADIENT_GRID,
        input_bits=16,
        free_cap=1000,
        nudged_cap=1000,
    )
    rng = np.random.default_rng(seed)
    cosines: list[list[float]] = []
    rejected = {"crossing": 0, "zero": 0, "faint": 0}
    faintest = 1.0
    with Lab.open("golden", network, settings) as lab:

        def uniform(count: int, high: float, frac: int) -> np.ndarray:
            return np.rint(rng.uniform(0, high, count) * 2.0**frac) / 2.0**frac

        while len(cosines) < networks:
            if sum(rejected.values()) > 100 + 50 * networks:
                raise ConfigError(
                    f"beta = {beta:g}: {len(cosines)} of {networks} networks found, rejected "
                    f"{rejected}; a nudge of 1/32 to 1/4 is neither lost nor large"
                )
            weights = initial_weights(network, int(rng.integers(1 << 32)))
            for w in weights:
                w[:] = np.rint(w * 2.0**lab.formats.weight_frac) / 2.0**lab.formats.weight_frac
                w[:, -1] = uniform(len(w), 0.5, lab.formats.weight_frac)
            x = uniform(network.sizes[0], 1, lab.formats.state_frac)
            y = uniform(network.sizes[-1], 1, lab.formats.state_frac)
            reference = Reference([w[:, :-1].copy() for w in weights], [w[:, -1] for w in weights])
            free = reference.free(x).states
            nudged = [reference.nudged(x, y, b, free).states for b in (beta, -beta)]
            lab.load_weights(weights)
            lab.train_step(x, y)
            if reference.crossings(free, *nudged, *map(lab.states, ("free", "plus", "minus"))):
                rejected["crossing"] += 1
                continue
            updates = [new - old for new, old in zip(lab.weights(), weights, strict=True)]
            slopes = reference.gradient(x, y, step=1e-5, start=free, tolerance=1e-11)
            gradients = [np.column_stack(pair) for pair in zip(*slopes, strict=True)]
            if min(map(np.linalg.norm, gradients)) < 1e-6:  # what finite differences resolve
                rejected["zero"] += 1
                continue
            found = [_cosine(u, -g) for u, g in zip(updates, gradients, strict=True)]
            moves = map(np.subtract, lab.states("plus"), lab.states("minus"))
            if min(np.abs(move).max() for move in moves) * 2.0**GRADIENT_GRID < FAINT:
                rejected["faint"] += 1
                faintest = min(faintest, *found)
                continue
            cosines.append(found)
            if progress:
                progress(1)
    layers = [
        {
            "layer": i,
            "min": float(np.min(values)),
            "median": float(np.median(values)),
            "mean": float(np.mean(values)),
        }
        for i, values in enumerate(np.transpose(cosines), start=1)
    ]
    return {
        "network": str(network),
        "networks": networks,
        "rejected": rejected,
        "faint_steps": FAINT,
        "faint_min": faintest,
        "seed": seed,
        "beta": beta,
        "grid": GRADIENT_GRID,
        "layers": layers,
    }


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    """0 where one of them is all zero."""
    norms = np.linalg.norm(a) * np.linalg.norm(b)
    return float(np.vdot(a, b) / norms) if norms else 0.0


def digits(
    data: Dataset, seeds: int = 5, epochs: int = 10, progress: Progress | None = None
) -> list[dict]:
    """Test accuracy of 64-32-10 on digits by the defaults of training, one row a seed, and of the
    same program with the first layer's LEARN left out: what a read-out of random features gets."""
    rows = []
    for seed in range(seeds):
        row: dict = {"seed": seed}
        for name, frozen in (("accuracy", ()), ("frozen", (1,))):
            settings = TrainSettings(epochs=epochs, seed=seed, rule=RuleSettings(frozen=frozen))
            with open_device("golden") as device:
                trainer = Trainer(device, DIGITS_NETWORK, data, settings)
                trainer.start()
                while trainer.epoch < epochs:
                    trainer.run_epoch(progress)
                row[name] = trainer.evaluate()["accuracy"]
        rows.append(row)
    return rows
