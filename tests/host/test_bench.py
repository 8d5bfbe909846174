"""The measuring commands: what they claim on few networks, and that each prints JSON."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from relaxon.cli import cli
from relaxon.lab import Lab
from relaxon.studies import gradient


def test_centered_update_is_the_gradient():
    """200 of them: `relaxon bench gradient`."""
    told: list[int] = []
    result = gradient.gradient(20, progress=told.append)
    assert sum(told) == result["networks"] == 20
    assert [row["layer"] for row in result["layers"]] == [1, 2, 3]
    assert all(row["min"] >= 0.99 for row in result["layers"])


def test_a_wrong_update_is_not_the_gradient(monkeypatch):
    """The judge judges: a machine that is given another target fails."""
    real = Lab.train_step
    monkeypatch.setattr(Lab, "train_step", lambda lab, x, y: real(lab, x, np.flip(y)))
    result = gradient.gradient(3)
    assert min(row["min"] for row in result["layers"]) < 0.9


@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        (["cycles"], {"network", "p", "pass", "cycles", "mac", "learn", "control"}),
        (["golden", "--layers", "20,8,4", "--samples", "20"], {"cases", "first_use"}),
        (["settle", "--samples", "5"], {"sweeps"}),
        (["gradient", "--networks", "1"], {"layers", "rejected", "seed", "beta", "grid"}),
        (["digits", "--seeds", "1", "--epochs", "1"], {"epochs", "runs", "mean"}),
    ],
    ids=lambda v: v[0] if isinstance(v, list) else "",
)
def test_json(arguments, keys):
    result = CliRunner().invoke(cli, ["bench", *arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert keys <= set(document[0] if isinstance(document, list) else document)
