"""What a synapse of temporal contrastive learning sees: one tooth of a product."""

from collections.abc import Iterable
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ..lab import Lab
from ..network import Network
from ..rules import settings_for

__all__ = ["teeth"]


def teeth(
    amplitudes: Iterable[float], background: float = 0.0, dead: float = 2.0**-5, **options: float
) -> NDArray[np.float64]:
    """What a synapse learns from one tooth, over the product's amplitude, in units of tau / 32."""
    options = {"up": 2, "down": 18, "dead": dead, **options}
    fine: dict[str, Any] = {"grid": 20, "output": "linear", "beta": 1.0, "input_bits": 16}
    settings = settings_for("tcl", 1, rate_shifts=(0,), options=options, **fine)
    found = []
    with Lab.open("golden", Network((1, 1)), settings, "verify24") as bench:
        for amplitude in amplitudes:
            bench.load_weights([np.array([[0.0, background]])])
            bench.train_step(np.array([1.0]), np.array([background + amplitude]))
            found.append(32 / cast(Any, bench.rule).tau * bench.weights()[0][0, 0])
    return np.array(found)
