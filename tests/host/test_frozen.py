"""What every rule compiles to, and what it leaves after a few samples: the same as ever.

Refactoring must not change a program row, a weight or a cycle. `vectors/frozen.json` holds hashes;
a change that is meant to change them renders it anew: ``python tests/host/test_frozen.py``.
"""

import hashlib
import json
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from relaxon.backends import open_device
from relaxon.datasets import Dataset
from relaxon.network import Network
from relaxon.rules import RULES, make_rule, settings_for
from relaxon.training import Trainer, TrainSettings
from relaxon_isa.errors import RelaxonError
from relaxon_isa.presets import PRESETS
from relaxon_sim.engines import ENGINES

FROZEN = Path(__file__).parents[1] / "vectors/frozen.json"
NETWORKS = ((9, 7, 5), (13, 11, 6, 4))
PACKED = ("8x8x1,4c4s2,3", "6x6x3,3c6s3p3,3")
"""Convolutions whose first layer's lanes hold blocks of pixels, on preset conv."""
ARCHITECTURES = ("layers", "skip:0>2", "backward")
MACHINES = [name for name, c in PRESETS.items() if "conv" not in name and not c.drains]
"""Those of convolutional networks are the others with more levels and memory; what overlaps has
programs of its own."""
TRAINED = ("default", "up5k", "ecp5-25f", "verify24")
"""Presets whose machine is also run: two ports and one, and wide words."""


def digest(*parts: object) -> str:
    text = json.dumps(parts, default=lambda value: np.asarray(value).tolist())
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@cache
def data(inputs: int, outputs: int) -> Dataset:
    """Samples from a formula, so that no generator's version matters."""
    x = (np.arange(4 * inputs) * 37 % 64 / 64).reshape(4, inputs).astype(np.float32)
    x[x < 0.2] = 0
    y = (np.arange(4 * outputs) * 11 % 16 / 16).reshape(4, outputs).astype(np.float32)
    return Dataset(name="formula", x_train=x, y_train=y, x_test=x, y_test=y)


@cache
def classes(inputs: int, outputs: int) -> Dataset:
    y = np.arange(4) % outputs
    x = data(inputs, outputs).x_train
    return Dataset(name="formula", x_train=x, y_train=y, x_test=x, y_test=y, classes=outputs)


def found(name: str, engine: str = "numpy") -> dict[str, str]:
    """Hashes of a rule's programs by network, preset, architecture and objective, and of what a
    few samples leave; or the kind of the refusal."""
    rule, hashes = RULES[name], {}
    cases = [
        *product(map(Network, NETWORKS), MACHINES, ARCHITECTURES, rule.OBJECTIVES),
        *product(map(Network.parse, PACKED), ["conv"], ["layers"], rule.OBJECTIVES),
    ]
    for network, preset, architecture, objective in cases:
        if architecture.partition(":")[0] in rule.ARCHITECTURES:
            continue
        key = " ".join((str(network), preset, architecture, objective))
        config = PRESETS[preset]
        try:
            settings = settings_for(name, network, architecture=architecture, objective=objective)
            made = make_rule(network, config, settings)
            rows = made.train_program()[0].rows, made.infer_program(outputs=True).rows
        except RelaxonError as error:
            hashes[key] = type(error).__name__
            continue
        hashes[key] = digest(*rows)
        if preset in TRAINED or network.convolves:
            hashes[key] += " " + after(network, preset, settings, engine)
    return hashes


def after(network: Network, preset: str, settings, engine: str) -> str:
    """Hash of weights, states, registers and outputs after four samples."""
    sizes = network.sizes
    of = classes if settings.objective == "cross-entropy" else data
    config = PRESETS[preset]
    with open_device("golden", config, engine=engine) as device:
        train = TrainSettings(epochs=1, shuffle=False, rule=settings)
        trainer = Trainer(device, network, of(sizes[0], sizes[-1]), train)
        start = [
            (np.arange(rows * columns) * 29 % 61 / 61 - 0.45).reshape(rows, columns)
            for rows, columns in trainer.layout.shapes
        ]
        trainer.start(trainer.rule.initial(start))
        trainer.run_epoch()
        registers = {r.name: v for r, v in sorted(device.counters().items())}
        outputs = trainer.predict(trainer.data.x_test, outputs=True)
        return digest([w.tolist() for w in trainer.weights()], registers, outputs)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", RULES)
def test_programs_and_results_are_as_ever(name, engine):
    if engine == "compiled":
        pytest.importorskip("numba", reason="numba is not installed")
    frozen, now = json.loads(FROZEN.read_text())[name], found(name, engine)
    assert {key: now[key] for key in frozen} == frozen


if __name__ == "__main__":
    FROZEN.write_text(json.dumps({name: found(name) for name in RULES}, indent=1) + "\n")
