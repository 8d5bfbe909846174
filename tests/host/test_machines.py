"""Machines of one's own: from TOML and to it, on the command line, in Python, and on a board."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from relaxon.cli import cli
from relaxon.lab import Lab
from relaxon.machines import find_machine, read_machine, to_toml
from relaxon_isa.errors import ConfigError, DataError
from relaxon_isa.identity import fingerprint
from relaxon_isa.presets import PRESETS

OWN = PRESETS["up5k"].replace(weight_bits=12, weight_depth=512)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file with `OWN`, in the current folder."""
    monkeypatch.chdir(tmp_path)
    Path("own.toml").write_text('base = "up5k"\nweight_bits = 12\nweight_depth = 512\n')
    return "own.toml"


@pytest.mark.parametrize("name", PRESETS)
def test_presets_there_and_back(name, tmp_path):
    path = tmp_path / "m.toml"
    path.write_text(CliRunner().invoke(cli, ["config", name]).stdout)
    assert read_machine(path) == PRESETS[name]
    told = path.read_text()
    assert all(re.search(rf"^{field} = ", told, re.M) for field in json.loads(OWN.to_json()))
    assert "# Number of tiles: words in each cell's weight memory.\nweight_depth" in told


def test_base_and_defaults(own, tmp_path):
    assert find_machine(own) == find_machine(tmp_path / own) == OWN
    assert find_machine("UP5K") == PRESETS["up5k"]
    Path("m.toml").write_text("")
    assert find_machine("m.toml") == PRESETS["default"].replace(integral_shift=0)
    assert read_machine(Path(own)) == OWN
    Path("m.toml").write_text(to_toml(OWN))
    assert find_machine("m.toml") == OWN


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("weight_dephts = 3", r"no field 'weight_dephts' \(did you mean weight_depth\?\); there"),
        ("weight_bits = 99", "weight_bits = 99: must be an int, 4 to 32"),
        ("weight_bits = true", "weight_bits = true: must be"),
        ("weight_bits = 1.5", "weight_bits = 1.5: must be a whole number"),
        ("weight_bits = '12'", "weight_bits = '12': must be a whole number"),
        ("kind_counters = 1", "kind_counters = 1: must be true or false"),
        ("learn_shifts = [3]", "learn_shifts = .*two ints"),
        ("learn_shifts = [3, 'x']", "learn_shifts = .*two ints"),
        ("learn_shifts = 3", "learn_shifts = 3: must be two whole numbers"),
        ("pipeline = 3", "pipeline = 3: must be"),
        ("rx_bytes = 300", "rx_bytes = 300: must be a power of two"),
        ("base = 'up5'", r"no preset 'up5' \(did you mean up5k\?\)"),
        ("base = 5", "base = 5: must be the name of a preset"),
        ("[p]\nx = 1", "p = .*whole number"),
    ],
)
def test_wrong_field_is_named(text, said, tmp_path):
    path = tmp_path / "m.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=rf"m\.toml: {said}"):
        read_machine(path)


def test_wrong_file(tmp_path):
    path = tmp_path / "m.toml"
    with pytest.raises(DataError, match="no such file; relaxon config default > "):
        read_machine(path)
    path.write_bytes(b"p = \xff")
    with pytest.raises(DataError, match="cannot be read as TOML"):
        read_machine(path)
    path.write_text("p = 3\np = 4")
    with pytest.raises(DataError, match="cannot be read as TOML"):
        read_machine(path)
    with pytest.raises(DataError, match="cannot be read"):
        find_machine(tmp_path.rename(tmp_path.with_suffix(".toml")))


def run(*command: str, code: int = 0) -> str:
    said = CliRunner().invoke(cli, command)
    assert said.exit_code == code, said.output
    return said.output


def test_a_run_on_it(own):
    """Trained, continued, reproduced, applied; and refused where the machine is another."""
    train = ("train", "--backend", "golden", "--data", "iris", "--layers", "8,6,3")
    both = ("--config", own, "--epochs", "1", "--checkpoint", "x.npz", "--record", "r.json")
    assert "golden model of machine own.toml" in run(*train, *both)
    said = run("infer", "--backend", "golden", "--weights", "x.npz", "--config", own)
    assert "accuracy" in said
    assert "identical" in run("reproduce", "r.json")
    said = run("infer", "--backend", "golden", "--weights", "x.npz", code=3)
    assert f"no preset (fingerprint {fingerprint(OWN)}): --config says" in said
    said = run("infer", "--backend", "golden", "--weights", "x.npz", "--preset", "up5k", code=5)
    assert fingerprint(OWN) in said
    assert "one machine, not own.toml and up5k" in run(*train, *both, "--preset", "up5k", code=2)


def test_it_is_listed_as_presets_are(own):
    alone, beside = run("info", "--config", own), run("info", "--presets", "--config", own)
    line = re.search(rf"^{own} +2 x 2 +16/12 +2048 +3 .*{fingerprint(OWN)}", alone, re.M)
    assert line and re.search(rf"^{own} .*{fingerprint(OWN)}", beside, re.M)
    assert "ecp5-85f" in beside and "ecp5-85f" not in alone
    assert json.loads(run("info", "--config", own, "--json"))[own] == json.loads(OWN.to_json())


def test_python_takes_it(own):
    with Lab.open("golden", "8-6-3", config=own) as lab:
        assert lab.device.config == OWN
    from relaxon.estimators import RelaxonClassifier

    x, y = [[0.0], [1.0]] * 10, ["no", "yes"] * 10
    model = RelaxonClassifier((4,), epochs=3, rate_shifts=(2, 2), preset=own, random_state=0)
    assert model.fit(x, y).checkpoint_.fingerprint == fingerprint(OWN)
    assert list(model.predict([[0.0], [1.0]])) == ["no", "yes"]
