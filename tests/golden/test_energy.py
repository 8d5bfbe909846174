"""The free phase settles: the integer energy never rises, and an exact fixed point is reached."""

import numpy as np
import pytest

from relaxon.lab import Lab
from relaxon.rules.settings import RuleSettings


def integer_energy(x, states, weights, state_frac, weight_frac):
    """2 E * 2**(2 state_frac + weight_frac), exactly, in Python integers.

    E = 1/2 sum s^2 - sum_l s_l^T W_l s_{l-1} - sum b s.
    """
    one = 1 << state_frac
    energy = 0
    below = x
    for state, weight in zip(states, weights, strict=True):
        energy += (int(np.dot(state, state))) << weight_frac
        current = weight[:, :-1].astype(object) @ below.astype(object)
        current = current + weight[:, -1].astype(object) * one
        energy -= 2 * int(np.dot(state.astype(object), current))
        below = state
    return energy


def float_energy(x, states, weights):
    energy, below = 0.0, x
    for state, weight in zip(states, weights, strict=True):
        energy += 0.5 * state @ state - state @ (weight[:, :-1] @ below + weight[:, -1])
        below = state
    return energy


@pytest.mark.parametrize(("sizes", "grid"), [("20-15-10-5", 8), ("20-15-10-5", 14), ("9-30-4", 6)])
def test_energy_never_rises_from_one_layers_step_to_the_next(sizes, grid, seed):
    rng = np.random.default_rng(seed)
    falls = 0
    with Lab.open(
        "golden", sizes, RuleSettings(rate_shifts=(5,) * sizes.count("-"), grid=grid)
    ) as lab:
        f = lab.formats
        for _ in range(5):
            weights = [rng.normal(0, 0.6, shape) for shape in lab.network.shapes]
            lab.load_weights(weights)
            lab.relax_free(rng.uniform(0, 1, lab.network.sizes[0]))
            x, weights = lab.plane("x", raw=True), lab.weights(raw=True)
            for layer in range(1, lab.layout.depth + 1):  # anywhere on the grid
                values = rng.integers(0, (1 << grid) + 1, lab.network.sizes[layer])
                lab.set_plane("free", values << (f.state_frac - grid), layer, raw=True)
            states = lab.states(raw=True)
            energy = integer_energy(x, states, weights, f.state_frac, f.weight_frac)
            real = float_energy(lab.plane("x"), lab.states(), lab.weights())
            for _ in range(200):
                before = states
                for layer in range(1, lab.layout.depth + 1):
                    lab.relax_layer(layer)
                    states = lab.states(raw=True)
                    after = integer_energy(x, states, weights, f.state_frac, f.weight_frac)
                    after_real = float_energy(lab.plane("x"), lab.states(), lab.weights())
                    assert after <= energy
                    assert after_real <= real + 1e-12
                    falls += after < energy
                    energy, real = after, after_real
                if all(map(np.array_equal, before, states)):
                    break
            else:
                pytest.fail("no fixed point in 200 sweeps")
    assert falls > 5
