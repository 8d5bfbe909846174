"""How many sweeps the free phase takes."""

from collections import Counter

import numpy as np

from relaxon_isa import Register

from ..datasets import Dataset
from ..lab import Lab
from ..network import Network, initial_weights

__all__ = ["settle"]


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
