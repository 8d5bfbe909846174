"""Centered EP's update against the gradient of the cost."""

import numpy as np

from relaxon_isa import ConfigError

from ..generator import Generator
from ..lab import Lab
from ..network import Network, initial_weights
from ..rules.settings import RuleSettings
from ..training import Progress, silent
from .comparison import cosine

__all__ = ["gradient"]

NETWORK = Network((20, 15, 10, 5))
GRID = 14
FAINT = 8
"""Steps of the grid by which some unit of each layer has to move between the nudged phases."""


def gradient(
    networks: int = 200, seed: int = 0, beta: float = 0.125, progress: Progress = silent
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

    network = NETWORK
    settings = RuleSettings(
        beta=beta,
        rate_shifts=(0,) * network.depth,
        grid=GRID,
        input_bits=16,
        free_cap=1000,
        nudged_cap=1000,
    )
    rng = Generator(seed)
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
            weights = initial_weights(network, int(rng.integers(0, 1 << 32, 1)[0]))
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
            found = [cosine(u, -g) for u, g in zip(updates, gradients, strict=True)]
            moves = map(np.subtract, lab.states("plus"), lab.states("minus"))
            if min(np.abs(move).max() for move in moves) * 2.0**GRID < FAINT:
                rejected["faint"] += 1
                faintest = min(faintest, *found)
                continue
            cosines.append(found)
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
        "grid": GRID,
        "layers": layers,
    }
