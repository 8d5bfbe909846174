"""Weights in .safetensors files, in PyTorch's order; PyTorch itself is not needed."""

import numpy as np
import pytest
from click.testing import CliRunner

from relaxon.checkpoint import kind_of, load_float_weights, save_float_weights
from relaxon.cli import cli
from relaxon.network import Network, initial_weights
from relaxon_isa.errors import DataError

safetensors = pytest.importorskip("safetensors.numpy")
CONV = Network.parse("9x8x2,5c3s2p1,4c2,3")


def run(*arguments: str) -> str:
    result = CliRunner().invoke(cli, [*arguments, "--backend", "golden"])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_there_and_back(tmp_path):
    path, weights = tmp_path / "w.safetensors", initial_weights(CONV, 0)
    save_float_weights(path, weights, {"network": str(CONV)})
    assert kind_of(path) == "relaxon weights"
    found, about = load_float_weights(path)
    assert about == {"network": str(CONV)}
    assert all(np.array_equal(a, b) for a, b in zip(found, weights, strict=True))
    shapes = {name: t.shape for name, t in safetensors.load_file(path).items()}
    assert shapes["layers.0.weight"] == (5, 2, 3, 3)


def test_a_run_by_safetensors(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = ["--data", "iris", "--layers", "8,6,3", "--epochs", "1"]
    for name in ("w.npz", "w.safetensors"):
        run("train", *small, "--export", name)
    answers = [run("infer", "--weights", n) for n in ("w.npz", "w.safetensors")]
    assert answers[0] == answers[1]
    runs = [run("train", *small, "--init", n, "--json") for n in ("w.npz", "w.safetensors")]
    assert runs[0] == runs[1]


def test_files_of_others(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    tensors = {f"fc{i}.weight": rng.uniform(-1, 1, (3, 3)).astype(np.float32) for i in range(11)}
    safetensors.save_file({"fc10.bias": np.ones(3, np.float32), **tensors}, "o.safetensors")
    network = Network((3,) * 12)
    found, about = load_float_weights(tmp_path / "o.safetensors", network)
    assert np.array_equal(found[9][:, :-1], tensors["fc9.weight"]) and about == {}
    assert found[10][:, -1].tolist() == [1, 1, 1] and not found[0][:, -1].any()
    with pytest.raises(DataError, match=r"o\.safetensors: does not say of which network"):
        load_float_weights(tmp_path / "o.safetensors")
    with pytest.raises(DataError, match=r"o\.safetensors: weights of shapes"):
        load_float_weights(tmp_path / "o.safetensors", Network((3, 2)))
    (tmp_path / "bad.safetensors").write_bytes(b"nothing of that kind")
    with pytest.raises(DataError, match=r"bad\.safetensors: not a \.safetensors file"):
        load_float_weights(tmp_path / "bad.safetensors", network)
    with pytest.raises(DataError, match=r"gone\.safetensors: no such file"):
        load_float_weights(tmp_path / "gone.safetensors", network)
    safetensors.save_file(tensors | {"norm.running_mean": np.ones(3)}, "n.safetensors")
    with pytest.raises(DataError, match=r"norm\.running_mean: wanted are weights and biases"):
        load_float_weights(tmp_path / "n.safetensors", network)
    with pytest.raises(DataError, match=r"no layer of PyTorch has: export \.npz"):
        save_float_weights(tmp_path / "s.safetensors", found, {"network": "3-3-3"})
