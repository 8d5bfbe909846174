"""The measuring bench says what it was asked for and what there is."""

import numpy as np
import pytest

from relaxon.lab import Lab
from relaxon_isa.errors import ConfigError, DataError

NETWORK = "8-6-3"
WRONG = {
    "a layer that is not there": (lambda lab: lab.relax_layer(3), ConfigError, "layer 3.*layer 2"),
    "the input as a layer": (lambda lab: lab.relax_layer(0), ConfigError, "layer 0"),
    "an unknown drive": (lambda lab: lab.drive("stat", 1), ConfigError, "'static' of layer 1"),
    "an unknown plane": (lambda lab: lab.plane("fre", 1), ConfigError, "free, plus"),
    "a plane of the input": (lambda lab: lab.plane("free", 0), ConfigError, "layers 1 to 2"),
    "a label too high": (lambda lab: lab.train_step(np.zeros(8), 3), DataError, "0 to 2"),
    "a negative label": (lambda lab: lab.train_step(np.zeros(8), -1), DataError, "0 to 2"),
    "a target of another size": (
        lambda lab: lab.train_step(np.zeros(8), np.zeros(4)),
        DataError,
        r"\(3,\) wanted",
    ),
    "an input of another size": (
        lambda lab: lab.train_step(np.zeros(7), 1),
        DataError,
        r"\(8,\) wanted",
    ),
    "text": (lambda lab: lab.set_plane("x", np.array(["a"] * 8)), DataError, "real numbers"),
    "an unknown setting": (lambda lab: lab.configure(bet=1), ConfigError, "no setting bet.*beta"),
    "settings that are none": (lambda lab: lab.configure("beta"), ConfigError, "RuleSettings want"),
    "frozen layers that are not there": (
        lambda lab: lab.configure(frozen=(9,)),
        ConfigError,
        "layers 1 to 2",
    ),
    "a text as a list": (lambda lab: lab.configure(rate_shifts="5,7"), ConfigError, "whole numb"),
    "one target": (lambda lab: lab.configure(targets=(1,)), ConfigError, "two numbers"),
    "a yes that is a text": (lambda lab: lab.configure(early_stop="no"), ConfigError, "True or F"),
    "options that are a list": (lambda lab: lab.configure(options=[1]), ConfigError, "a mapping"),
    "a layer that is a text": (lambda lab: lab.plane("free", "1"), ConfigError, "layer '1'"),
    "a layer that is a fraction": (lambda lab: lab.relax_layer(1.0), ConfigError, "layer 1.0"),
    "half a layer": (lambda lab: lab.drive("static", 1.5), ConfigError, "layer 1.5"),
    "a plane that is a list": (lambda lab: lab.plane(["x"]), ConfigError, "a str wanted"),
    "the input of another layer": (
        lambda lab: lab.plane("x", 7),
        ConfigError,
        "plane 'x' of lay",
    ),
    "no weights": (lambda lab: lab.load_weights(3), DataError, "a list wanted, int given"),
    "one matrix of weights": (lambda lab: lab.load_weights(np.zeros((6, 9))), DataError, r"\(9,\)"),
    "rows of different lengths": (
        lambda lab: lab.load_weights([[[1], [1, 2]], [[1]]]),
        DataError,
        "weights W1: no array",
    ),
    "integers that would wrap": (
        lambda lab: lab.set_plane("x", np.full(8, 2**63, np.uint64), raw=True),
        DataError,
        str(2**63),
    ),
    "no program": (lambda lab: lab.run("halt"), ConfigError, "a Program wanted"),
    "samples of text": (
        lambda lab: lab.run(lab.rule.train_program()[0], ["abc"]),
        ConfigError,
        "a bytes wanted, str given",
    ),
    "no number": (
        lambda lab: lab.relax_free(np.full(8, np.nan)),
        DataError,
        "8 values that are NaN",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_use_is_refused_and_changes_nothing(case):
    attempt, error, message = WRONG[case]
    with Lab.open("golden", NETWORK) as lab:
        rng = np.random.default_rng(0)
        lab.load_weights([rng.uniform(-1, 1, shape) for shape in lab.layout.shapes])
        lab.train_step(rng.uniform(0, 1, 8), 1)
        weights, free = lab.weights(raw=True), lab.states(raw=True)
        settings = lab.settings
        with pytest.raises(error, match=message):
            attempt(lab)
        assert all(map(np.array_equal, weights, lab.weights(raw=True)))
        assert all(map(np.array_equal, free, lab.states(raw=True)))
        assert lab.settings is settings
