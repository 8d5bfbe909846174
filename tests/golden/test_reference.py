"""The float64 reference against itself: finite differences, energies, a case by hand."""

from itertools import pairwise

import numpy as np
import pytest

from relaxon_sim.reference import Reference


def random_case(rng: np.random.Generator) -> tuple[Reference, np.ndarray, np.ndarray]:
    sizes = (6, 5, 4, 3)
    weights = [rng.uniform(-0.5, 0.5, (n, m)) for m, n in pairwise(sizes)]
    biases = [rng.uniform(0, 0.5, n) for n in sizes[1:]]
    return Reference(weights, biases), rng.uniform(0, 1, 6), rng.uniform(0, 1, 3)


def clean_cases(count: int):
    """Cases whose units cross no bound and whose gradient is not zero."""
    rng = np.random.default_rng(0)
    while count:
        net, x, y = random_case(rng)
        free = net.free(x).states
        plus, minus = (net.nudged(x, y, beta, free).states for beta in (0.2, -0.2))
        moves = np.abs(plus[0] - minus[0]).max() > 1e-3
        if moves and not net.crossings(free, plus, minus):
            count -= 1
            yield net, x, y


def cosine(a: list[np.ndarray], b: list[np.ndarray]) -> float:
    u, v = (np.concatenate([m.ravel() for m in arrays]) for arrays in (a, b))
    return float(u @ v / np.linalg.norm(u) / np.linalg.norm(v))


def error(a: list[np.ndarray], b: list[np.ndarray]) -> float:
    u, v = (np.concatenate([m.ravel() for m in arrays]) for arrays in (a, b))
    return float(np.linalg.norm(u - v) / np.linalg.norm(v))


@pytest.mark.parametrize("by_cost", [False, True], ids=["current", "cost"])
def test_updates_estimate_the_gradient(by_cost: bool) -> None:
    for net, x, y in clean_cases(3):
        dw, db = net.gradient(x, y)
        down = [-g for g in (*dw, *db)]
        w, b = net.centered(x, y, 0.01, by_cost=by_cost)
        assert error([*w, *b], down) < 2e-3
        w, b = net.one_sided(x, y, 0.01, by_cost=by_cost)
        assert error([*w, *b], down) < 5e-2
        assert cosine([*w, *b], down) > 0.999


def test_recurrent_backpropagation_is_the_gradient() -> None:
    for net, x, y in clean_cases(3):
        wanted = net.gradient(x, y)
        found = net.adjoint(x, y, net.free(x).states)
        assert error([*found[0], *found[1]], [*wanted[0], *wanted[1]]) < 1e-5


def test_energy_never_rises() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        net, x, _ = random_case(rng)
        states = [rng.uniform(0, 1, len(b)) for b in net.biases]
        energy = net.energy(x, states)
        for _ in range(10):
            states = net.relax(x, states, cap=1).states
            now = net.energy(x, states)
            assert now <= energy + 1e-12
            energy = now


def test_energy_is_what_the_current_descends() -> None:
    net, x, _ = random_case(np.random.default_rng(2))
    states = [np.full(len(b), 0.4) for b in net.biases]
    for layer in (1, 2, 3):
        current = net.current(x, states, layer)
        for i in range(len(current)):
            moved = [s.copy() for s in states]
            moved[layer - 1][i] += 1e-6
            slope = (net.energy(x, moved) - net.energy(x, states)) / 1e-6
            assert slope == pytest.approx(states[layer - 1][i] - current[i], abs=1e-5)


def test_one_neuron_by_hand() -> None:
    """o = 0.5 x + 0.1; nudged by beta (y - o), or to (a + beta y) / (1 + beta)."""
    net = Reference([np.array([[0.5]])], [np.array([0.1])])
    x, y = np.array([0.8]), np.array([0.9])
    free = net.free(x).states
    assert free[0] == pytest.approx(0.5)
    assert net.energy(x, free) == pytest.approx(0.125 - 0.2 - 0.05)
    assert net.cost(free[0], y) == pytest.approx(0.08)
    assert net.nudged(x, y, 0.5, free).states[0] == pytest.approx(0.7)
    assert net.nudged_by_cost(x, y, 0.5, free).states[0] == pytest.approx(0.95 / 1.5)
    w, b = net.centered(x, y, 0.5)
    assert w[0] == pytest.approx(0.4 * 0.8) and b[0] == pytest.approx(0.4)
    w, b = net.gradient(x, y)
    assert w[0] == pytest.approx(-0.4 * 0.8) and b[0] == pytest.approx(-0.4)
