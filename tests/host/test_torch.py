"""PyTorch beside the machine: the same weights, energies and gradients."""

import numpy as np
import pytest

from relaxon.lab import Lab
from relaxon.network import Network, initial_weights
from relaxon.rules import settings_for
from relaxon_isa.errors import ConfigError, DataError
from relaxon_isa.presets import PRESETS
from relaxon_sim.reference import Convolutions, Reference

torch = pytest.importorskip("torch", reason="the extra torch is large, and not installed")
from relaxon.torch import EnergyModel, from_state_dict, to_state_dict  # noqa: E402

DENSE = Network.parse("20,15,10,5")
CONV = Network.parse("9x8x2,5c3s2p1,4c2,3")
FINE = {"input_bits": 16, "input_offset": 0.0, "tolerance": 0.0, "free_cap": 500}
FINE |= {"nudged_cap": 500, "beta": 0.25}


FINE_MACHINE = PRESETS["conv"].replace(
    p=4, learn_terms=2048, program_rows=1024, state_bits=28, weight_bits=24, learn_shifts=(26, 32),
    max_terms=1024,
)  # fmt: skip
"""Words of 28 and 24 bits, so that what differs is not rounding."""


def reference(network: Network, weights: list[np.ndarray]) -> Reference:
    """In double precision, by code that PyTorch has no part in."""
    parts = list(zip(weights, network.kernels, network.maps, strict=False))
    return Convolutions(
        [w[:, :-1].reshape(len(w), k.height, k.width, m.channels) for w, k, m in parts],
        [w[:, -1] for w in weights],
        [(m.height, m.width) for m in network.maps],
        [k.stride for k in network.kernels],
        [k.padding for k in network.kernels],
    ).dense()


def lab(network: Network, seed: int, **changes) -> Lab:
    settings = settings_for(
        "ep-centered", network, rate_shifts=(0,) * network.depth, **FINE | changes
    )
    opened = Lab.open("golden", network, settings, FINE_MACHINE)
    weights = initial_weights(network, seed)
    rng = np.random.default_rng(seed)
    for w in weights:
        w[:, -1] = rng.uniform(0.1, 0.4, len(w))
    opened.load_weights(weights)
    return opened


def drawn(network: Network, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed + 100)
    return rng.uniform(0, 1, network.sizes[0]), rng.uniform(0.2, 0.8, network.sizes[-1])


def tensors(*arrays: np.ndarray):
    return [torch.from_numpy(a)[None] for a in arrays]


@pytest.mark.parametrize("network", [DENSE, CONV], ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_energies_are_the_machines(network, seed):
    """At the machine's states, equal to double precision; at the minimum that PyTorch finds, lower
    by no more than what rounding of the states costs."""
    with lab(network, seed, feedback=0, grid=23) as bench:
        bench.relax_free(drawn(network, seed)[0])
        x, states, weights = bench.plane("x"), bench.states(), bench.weights()
        model = EnergyModel(network, bench.settings, weights)
    wanted = reference(network, weights).energy(x, states)
    (rows,) = tensors(x)
    found = model.energy(rows, model.from_machine(states)).item()
    assert found == pytest.approx(wanted, rel=1e-12)
    free = model.free(rows)
    assert -1e-12 <= found - model.energy(rows, free).item() < sum(network.sizes) * 2.0**-44
    for mine, its in zip(model.to_machine(free), states, strict=True):
        assert np.abs(mine[0] - its).max() < 8 * 2.0**-23


@pytest.mark.parametrize(
    ("network", "feedback"), [(DENSE, 0), (DENSE, 2), (CONV, 0), (CONV, 1)], ids=str
)
@pytest.mark.parametrize("seed", range(3))
def test_gradients_are_the_machines_updates(network, feedback, seed):
    with lab(network, seed, feedback=feedback, grid=23) as bench:
        x, y = drawn(network, seed)
        before = bench.weights()
        bench.train_step(x, y)
        updates = [new - old for new, old in zip(bench.weights(), before, strict=True)]
        model = EnergyModel(network, bench.settings, before)
        x, y = bench.plane("x"), bench.plane("y")
    for update, gradient in zip(updates, model.gradients(*tensors(x, y)), strict=True):
        u, g = update.ravel(), -gradient.ravel()
        assert u @ g / np.linalg.norm(u) / np.linalg.norm(g) >= 0.999


def test_an_optimiser_of_pytorch_learns():
    rng = np.random.default_rng(0)
    x, y = (torch.from_numpy(rng.uniform(0.2, 0.8, (8, n))) for n in (6, 2))
    model = EnergyModel("6,8,2", weights=initial_weights(Network((6, 8, 2)), 0))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.5)

    def cost() -> float:
        return float(((model.free(x, tolerance=1e-5)[-1] - y) ** 2).mean())

    first = cost()
    for _ in range(20):
        optimiser.zero_grad()
        model.backward(x, y, tolerance=1e-5)
        optimiser.step()
    assert cost() < first / 2


def test_other_rules_are_refused():
    with pytest.raises(ConfigError, match=r"rule pcn, .* follows ep-centered"):
        EnergyModel(DENSE, settings_for("pcn", DENSE))


# Weights -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", [DENSE, CONV], ids=str)
def test_state_dicts_there_and_back(network):
    weights = initial_weights(network, 3)
    state = to_state_dict(network, weights)
    EnergyModel(network).load_state_dict(state)
    for before, after in zip(weights, from_state_dict(network, state), strict=True):
        assert np.array_equal(before, after)


def test_state_dicts_of_others():
    plain = torch.nn.Sequential(
        torch.nn.Conv2d(2, 5, 3, 2, 1), torch.nn.Conv2d(5, 4, 2, bias=False), torch.nn.Flatten(),
        torch.nn.Linear(4 * 4 * 3, 3),
    )  # fmt: skip
    found = from_state_dict(CONV, plain.state_dict())
    assert [w.shape for w in found] == CONV.shapes and not found[1][:, -1].any()
    with pytest.raises(DataError, match=r"the state_dict: 0\.running_mean, .*wanted are weights"):
        from_state_dict(CONV, torch.nn.Sequential(torch.nn.BatchNorm1d(3)).state_dict())
    with pytest.raises(DataError, match="network 20-15-10-5 has"):
        from_state_dict(DENSE, plain.state_dict())
