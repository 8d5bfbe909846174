"""Learning rules, objectives, architectures: what each one is, and what does not go together."""

from dataclasses import replace
from math import inf, nan
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

from relaxon.backends import open_device
from relaxon.checkpoint import Checkpoint
from relaxon.cli import cli
from relaxon.datasets import Dataset, load
from relaxon.lab import Lab
from relaxon.network import Network, initial_weights
from relaxon.rules import (
    RULES,
    features_of,
    make_rule,
    rule_class,
    rule_digest,
    settings_for,
)
from relaxon.studies import bptt, comparison, equivalence
from relaxon.studies.temporal import teeth
from relaxon.training import Trainer, TrainSettings
from relaxon.weights import read_tiles
from relaxon_isa.errors import ConfigError, ProgramError
from relaxon_isa.memory import Register
from relaxon_isa.presets import preset
from relaxon_sim.reference import Directed, Reference, Resistors

NETWORK = Network((20, 15, 5))


def lab(name, network=NETWORK, seed=3, **changes):
    settings = settings_for(name, network.depth, **{"input_bits": 16, **changes})
    bench = Lab.open("golden", network, settings)
    weights = initial_weights(bench.layout, seed)
    for w in weights[: network.depth]:
        w[:, -1] = 0.25
    bench.load_weights(weights)
    return bench


def sample(seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 1, 20), rng.uniform(0, 1, 5)


def step(bench, seed=0):
    """The change of weights, one vector, by one sample."""
    before = bench.weights()
    bench.train_step(*sample(seed))
    pairs = zip(bench.weights(), before, strict=True)
    return np.concatenate([(new - old).ravel() for new, old in pairs])


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


@pytest.mark.parametrize("points", [3, 4, 6])
def test_lock_in_of_few_points_is_centered_ep(points):
    """Phases with the same nudge run once; N = 4 has centered EP's very bits."""
    top = np.sin(2 * np.pi / points) if points != 4 else 1.0
    with (
        lab("lock-in", options={"points": points}, beta=0.5) as a,
        lab("ep-centered", beta=0.5 * top) as b,
    ):
        one, other = step(a), step(b)
        if points == 4:
            assert np.array_equal(one, other)
            assert a.counters() == b.counters()
        assert cosine(one, other) > 0.999


def test_lock_in_adds_up_its_pairs():
    with lab("lock-in", options={"points": 12}, rate_shifts=(2, 2)) as bench:
        x, y = sample()
        bench.relax_free(x)
        states = bench.relax_nudged(y)
        before = bench.weights()
        bench.update()
        assert list(states) == ["plus", "minus", "plus1", "minus1", "plus2", "minus2"]
        wanted = 0.0
        for level, pair in ((1.0, ""), (np.sqrt(0.75), "1"), (0.5, "2")):
            c = 2 * level / 12 / 0.5 * (1 if level == 1 else 2)
            s = [states[name + pair] for name in ("plus", "minus")]
            wanted = wanted + c / 4 * (np.outer(s[0][1], s[0][0]) - np.outer(s[1][1], s[1][0]))
        found = (bench.weights()[1] - before[1])[:, :-1]
        assert np.allclose(found, wanted, atol=2.0**-11)


def test_random_sign_is_one_of_the_two_and_both_occur():
    """With linear outputs, so that the negative phase has the same dynamics."""
    same = {"output": "linear", "rate_shifts": (2, 2)}
    with lab("ep-positive", **same) as plus, lab("ep-negative", **same) as minus:
        wanted = [step(plus), step(minus)]
        assert not np.array_equal(wanted[0], wanted[1])
        met = set()
        for key in range(1, 12):
            with lab("ep-random", **same) as bench:
                bench.device.write(4, Register.SAMPLE_KEY, [key])  # type: ignore[arg-type]
                found = step(bench)
                met |= {i for i, w in enumerate(wanted) if np.allclose(found, w, atol=2.0**-12)}
        assert met == {0, 1}


@pytest.mark.parametrize(("name", "part"), [("coupled-centered", 0.5), ("contrastive", 1.0)])
def test_outputs_are_held(name, part):
    with lab(name) as bench:
        x, y = sample()
        free = bench.relax_free(x)[-1]
        states = bench.relax_nudged(y)
        assert np.allclose(states["plus"][-1], free + part * (y - free), atol=2.0**-8)
        if "minus" in states:
            assert np.allclose(states["minus"][-1], free - part * (y - free), atol=2.0**-8)


@pytest.mark.parametrize("name", ["ep-centered", "ep-positive", "ep-negative"])
@pytest.mark.parametrize("architecture", ["layers", "skip:0>2"])
def test_true_cost_is_minimised_with_its_divisor(name, architecture):
    """Nudged outputs are at (a +- beta y) / (1 +- beta), hidden units at their minimum."""
    changes = {"objective": "true-cost", "grid": 12, "architecture": architecture}
    with lab(name, free_cap=200, nudged_cap=200, **changes) as bench:
        x, y = sample()
        bench.relax_free(x)
        first, second, *skip = bench.weights()
        for plane, (hidden, output) in bench.relax_nudged(y).items():
            beta = -0.5 if plane == "minus" else 0.5
            a = second[:, :-1] @ hidden + second[:, -1]
            for w in skip:
                a = a + w @ np.append(bench.plane("x"), 1)
            wanted = (a + beta * y) / (1 + beta)
            low, high = (0, 1) if bench.rule.output == "clip" else (-2, 2)
            assert np.allclose(output, wanted.clip(low, high), atol=2.0**-11)
            below = first @ np.append(bench.plane("x"), 1) + second[:, :-1].T @ output
            assert np.allclose(hidden, below.clip(0, 1), atol=2.0**-11)


def test_true_cost_has_the_gradient_of_the_fixed_current():
    fine = {"grid": 13, "beta": 0.0625, "free_cap": 200, "nudged_cap": 200, "rate_shifts": (2, 2)}
    with (
        lab("ep-centered", objective="true-cost", **fine) as a,
        lab("ep-centered", **fine) as b,
    ):
        assert cosine(step(a), step(b)) > 0.999


def test_objective_and_rule_are_chosen_apart():
    rates = (2, 2)
    with (
        lab("ep-centered", objective="clamping", rate_shifts=rates) as a,
        lab("coupled-centered", rate_shifts=rates) as b,
    ):
        assert np.array_equal(step(a), step(b))


@pytest.mark.parametrize("name", ["rbp", "frequency", "frequency-quasistatic", "lock-in"])
def test_update_is_that_of_recurrent_backpropagation_in_double_precision(name):
    """The closed form of the side network, where no output is at a bound."""
    fine = {"grid": 13, "free_cap": 200, "nudged_cap": 60, "beta": 0.125}
    with lab(name, seed=5, rate_shifts=(1, 1), **fine) as bench:
        x, _ = sample()
        free = bench.relax_free(x)
        assert ((free[-1] > 0) & (free[-1] < 0.8)).all()
        y = free[-1] + 0.2
        before = bench.weights()
        bench.train_step(x, y)
        change = [new - old for new, old in zip(bench.weights(), before, strict=True)]
        reference = reference_of(before)
        settled = reference.free(bench.plane("x")).states
        dw, db = reference.adjoint(bench.plane("x"), y, settled)
        wanted = np.concatenate([np.column_stack(pair).ravel() for pair in zip(dw, db)])  # noqa: B905
        assert cosine(np.concatenate([c.ravel() for c in change]), -wanted) > 0.98


def reference_of(weights):
    return Reference([w[:, :-1].copy() for w in weights], [w[:, -1].copy() for w in weights])


def test_velocities_are_the_error_derivatives_of_recurrent_backpropagation():
    """Synchronous steps on the verification preset; 5 % over 20 steps is asked."""
    result = equivalence.equivalence(steps=22)
    assert np.linalg.norm(result["derivatives"][-1]) > 0.01
    for name in ("error_machine", "error_double"):
        assert max(result[name]) < 1e-3
    assert equivalence.gradients(samples=20) > 0.95


def test_updates_are_backpropagations_through_time_step_by_step():
    """5 % and 2 % are asked of each layer; with one phase the error of order beta comes on top,
    most in the last layer, where it is not hidden by rounding."""
    result = bptt.through_time()
    for one, two in zip(result["one-sided"], result["centered"], strict=True):
        assert two["rmse"] < 0.01 and two["signs"] < 0.01
        assert two["rmse"] < one["rmse"]
    assert result["centered"][-1]["rmse"] < 0.5 * result["one-sided"][-1]["rmse"]


@pytest.mark.parametrize("name", ["pcn", "pcn-random", "backprop", "in-silico"])
def test_forward_rules_follow_backpropagation(name):
    with lab(name, rate_shifts=(1, 1)) as bench:
        _, y = sample()
        before = bench.weights()
        found = step(bench)
        slopes = reference_of(before).backpropagation(bench.plane("x"), y, "relu")
        wanted = np.concatenate([np.column_stack(p).ravel() for p in zip(*slopes, strict=True)])
        assert cosine(found, -wanted) > (0.98 if name == "pcn-random" else 0.999)
        assert found @ -wanted == pytest.approx(0.5 * wanted @ wanted, rel=0.1)


# Rules of 2025 and 2026 -------------------------------------------------------------------------

DEEP = Network((20, 14, 9, 5))
FINE = {"grid": 13, "free_cap": 400, "nudged_cap": 400, "beta": 0.125}


def learned(name, network=DEEP, seed=17, **changes):
    """Lab, input, target, weights before and their changes; no output at a bound."""
    depth = network.depth
    with lab(name, network, seed, rate_shifts=(1,) * depth, **{**FINE, **changes}) as bench:
        x, _ = sample()
        free = bench.relax_free(x)[-1]
        if not bench.rule.FEEDFORWARD:
            assert ((free > 0) & (free < 0.8)).all()
        before = bench.weights()
        bench.train_step(x, free + 0.2)
        pairs = zip(bench.weights(), before, strict=True)
        changes = [new - old for new, old in pairs]
        return bench, bench.plane("x"), bench.plane("y"), before, changes


def real(weights):
    return [w[:, :-1] for w in weights], [w[:, -1] for w in weights]


def directed(before, network=DEEP):
    own, others = before[: network.depth], before[network.depth :]
    return Directed(*real(own), backward=real(others)[0])


@pytest.mark.parametrize("network", [NETWORK, DEEP], ids=str)
def test_weights_of_both_directions_learn_by_the_gradient_of_a_network_without_energy(network):
    """Each matrix, biases too; EP's and the vector field's update of such a network is another."""
    near = {**FINE, "beta": 1 / 32}  # no unit reaches a bound
    _, x, y, before, changes = learned("aep", network, 5, **near)
    net = directed(before, network)
    dw, db = net.adjoint(x, y, net.free(x).states)
    for i, (found, slope) in enumerate(zip(changes, dw, strict=True)):
        wanted = -np.column_stack([slope, db[i] if i < network.depth else 0 * slope[:, 0]])
        assert cosine(found.ravel(), wanted.ravel()) > 0.999
        assert np.linalg.norm(found) == pytest.approx(0.5 * np.linalg.norm(wanted), rel=0.01)
    plain = {"architecture": "backward", "rate_shifts": (1,) * network.depth}
    with lab("ep-centered", network, 5, **{**near, **plain}) as bench:
        bench.load_weights(before)
        bench.train_step(x, y)
        other = bench.weights()[0] - before[0]
    assert cosine(other.ravel(), -np.column_stack([dw[0], db[0]]).ravel()) < 0.95


def test_the_gradient_of_a_network_without_energy_is_that_of_finite_differences():
    before = initial_weights(make_rule(DEEP, preset("default"), settings_for("aep", 3)).layout, 5)
    for w in before[:3]:
        w[:, -1] = 0.25
    net, (x, y) = directed(before), sample()
    dw, db = net.adjoint(x, y, net.free(x).states)
    for values, slopes in zip((*net.weights, *net.backward, *net.biases), (*dw, *db), strict=True):
        index, costs = np.unravel_index(np.abs(slopes).argmax(), slopes.shape), []
        kept = values[index]
        for step in (1e-6, -1e-6):
            values[index] = kept + step
            costs.append(net.cost(net.free(x).states[-1], y))
        values[index] = kept
        assert (costs[0] - costs[1]) / 2e-6 == pytest.approx(slopes[index], rel=1e-3)


def test_hidden_layers_follow_the_gradient_of_their_own_errors_as_well():
    """The whole cost's, by finite differences; the read-outs by their error. Without the local
    errors, alpha = 0, the bits are those of ep-centered."""
    local = {"options": {"alpha": 0.5, "readout": 2}, "beta": 1 / 32}
    _, x, y, before, changes = learned("ep-local", **local)
    net, heads = reference_of(before[:3]), [w[:, :-1] for w in before[3:]]

    def cost():
        *hidden, output = net.free(x).states
        missed = [y - head @ s for head, s in zip(heads, hidden, strict=True)]
        return net.cost(output, y) + 0.5 * sum(0.5 * m @ m for m in missed)

    slopes = []
    for values in (*net.weights, *net.biases):
        slopes.append(np.zeros_like(values))
        for index in np.ndindex(values.shape):
            kept, costs = values[index], []
            for step in (1e-6, -1e-6):
                values[index] = kept + step
                costs.append(cost())
            values[index] = kept
            slopes[-1][index] = (costs[0] - costs[1]) / 2e-6
    for found, pair in zip(changes[:3], zip(slopes[:3], slopes[3:], strict=True), strict=True):
        assert cosine(found.ravel(), -np.column_stack(pair).ravel()) > 0.99
    for found, head, s in zip(changes[3:], heads, net.free(x).states, strict=False):
        wanted = np.outer(y - head @ s, s) / 4
        assert np.allclose(found[:, :-1], wanted, atol=2.0**-10) and not found[:, -1].any()
    *_, alone = learned("ep-local", options={"alpha": 0})
    *_, plain = learned("ep-centered")
    assert all(map(np.array_equal, alone, plain))


@pytest.mark.parametrize("momentum", [0, 0.25, 0.5])
def test_momentum_changes_the_way_and_not_the_rest(momentum):
    """States, and so updates, of ep-centered: to the bit without momentum."""
    how = {"options": {"momentum": momentum}, "tolerance": 2.0**-13 if momentum else 0}
    _, x, y, before, changes = learned("ep-momentum", **how)
    *_, plain = learned("ep-centered")
    if not momentum:
        assert all(map(np.array_equal, changes, plain))
    dw, db = reference_of(before).centered(x, y, 0.125)
    for found, pair in zip(changes, zip(dw, db, strict=True), strict=True):
        assert cosine(found.ravel(), np.column_stack(pair).ravel()) > 0.99


def test_momentum_settles_a_stiff_network_in_fewer_sweeps():
    """Two layers that nearly excite themselves: the heavy ball beside plain sweeps, to within a
    step of the grid, and nearer to the rest."""
    found, step = {}, 2.0**-12
    for name, options in (("ep-centered", {}), ("ep-momentum", {"momentum": 0.25})):
        settings = {"options": options, "free_cap": 400, "grid": 12, "tolerance": step}
        with lab(name, Network((4, 8, 8)), **settings) as bench:
            first = np.column_stack([np.full((8, 4), 0.01), np.full(8, 0.02)])
            second = np.column_stack([np.full((8, 8), 0.118), np.zeros(8)])  # 0.944 times itself
            bench.load_weights([first, second])
            states = bench.relax_free(np.ones(4))
            rest = reference_of(bench.weights()).free(bench.plane("x")).states
            far = max(np.abs(a - b).max() for a, b in zip(states, rest, strict=True))
            found[name] = bench.counters()[Register.SWEEPS], far
    (plain, apart), (sweeps, near) = found["ep-centered"], found["ep-momentum"]
    assert sweeps < 0.6 * plain and near < apart


@pytest.mark.parametrize("beta", [0.125, 1.0])
@pytest.mark.parametrize("network", [NETWORK, DEEP], ids=str)
def test_multipliers_come_to_backpropagation_whatever_the_nudge(network, beta):
    """Every layer's update; activities are back at the forward pass."""
    _, x, y, before, changes = learned("pc-alm", network, grid=12, beta=beta)
    dw, db = reference_of(before).backpropagation(x, y, "relu")
    for found, pair in zip(changes, zip(dw, db, strict=True), strict=True):
        wanted = -np.column_stack(pair).ravel()
        assert cosine(found.ravel(), wanted) > 0.999
        assert found.ravel() @ wanted == pytest.approx(0.5 * wanted @ wanted, rel=0.02)


def test_multipliers_and_activities_follow_the_steps_of_the_augmented_lagrangian():
    """Sweep by sweep, written out in double precision."""
    steps = settings_for("pc-alm", 3, input_bits=16, options={"sweeps": 2})
    with Lab.open("golden", DEEP, steps) as bench:
        weights = initial_weights(bench.layout, 2)
        for w in weights:
            w[:, -1] = 0.1
        bench.load_weights(weights)
        (x, y), (w, b) = sample(), real(bench.weights())
        free = bench.relax_free(x)
        x, y = bench.plane("x"), y.round(3)
        bench.relax_nudged(y)
        h = [x, *free[:-1]]
        dual = [np.zeros(len(s)) for s in h]
        passed = 0.5 * (y - free[-1])
        for _ in range(2):
            m = passed
            for k in (2, 1):
                mind = np.maximum(w[k - 1] @ h[k - 1] + b[k - 1], 0)
                h[k] = mind + w[k].T @ m - dual[k]
                dual[k] = dual[k] + h[k] - mind
                m = dual[k] * (mind > 0)
        for k in (1, 2):
            assert np.allclose(bench.plane("active", k), h[k], atol=2.0**-9)
            assert np.allclose(bench.plane("dual", k), dual[k], atol=2.0**-9)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("pc-alm", {"sweeps": 1}, "a whole number, 2 to"),
        ("pcn", {"closing": 2}, "closing = 2: must be 0 or 1"),
        ("ep-momentum", {"momentum": 1}, "0 <= momentum < 1"),
        ("ep-local", {"alpha": 9}, "alpha beta below 4"),
    ],
)
def test_options_without_sense_are_refused(name, options, says):
    with pytest.raises(ConfigError, match=says):
        lab(name, options=options)


@pytest.mark.parametrize("name", ["pcn", "pcn-random"])
@pytest.mark.parametrize("network", [NETWORK, DEEP], ids=str)
def test_one_sweep_without_closing_is_the_first_of_many(name, network):
    """States and errors are those that a sweep with predictions of its own comes to."""
    once = {"sweeps": 1, "closing": 0}
    with lab(name, network, grid=12, options=once) as bench:
        x, y = sample()
        bench.relax_free(x)
        states = bench.relax_nudged(y)
        free, w = bench.states("free"), bench.weights()
        for plane, sign in zip(states, (1, -1), strict=False):
            eps = sign * 0.5 * bench.plane("e")
            if name == "pcn-random":  # of either sign, as the sample's bit says
                eps *= np.sign(eps @ bench.plane("eps", network.depth))
            for k in range(network.depth, 0, -1):
                error = {"plus": "eps", "minus": "eps-"}[plane]
                assert np.allclose(bench.plane(error, k), eps, atol=2.0**-10)
                if k > 1:
                    below = bench.plane("x") if k == 2 else free[k - 3]
                    a = w[k - 2] @ np.append(below, 1)
                    h = np.maximum(a + w[k - 1][:, :-1].T @ eps, 0)
                    assert np.allclose(states[plane][k - 2], h, atol=2.0**-10)
                    eps = (h - free[k - 2]) * (free[k - 2] > 0)


def test_predictive_coding_is_at_rest_when_free():
    """E and its derivative by the weights are 0 after the forward pass: no nudge, no update."""
    with lab("pcn", beta=0.0) as bench:
        assert not step(bench).any()


def test_feedback_alignment_keeps_its_random_weights():
    with lab("feedback-alignment") as bench:
        before = bench.weights(raw=True)
        step(bench)
        after = bench.weights(raw=True)
        assert not np.array_equal(before[1], after[1])
        assert np.array_equal(before[2], after[2])


@pytest.mark.parametrize("phase", [3, 7, 11])
def test_frequency_propagation_needs_no_synchrony(phase):
    """From another phase of the waveform on: less than 2 % of the update, and no free state."""
    with (
        lab("frequency", rate_shifts=(1, 1)) as a,
        lab("frequency", rate_shifts=(1, 1), options={"phase": phase}) as b,
    ):
        one, other = step(a), step(b)
    assert np.linalg.norm(one - other) < 0.02 * np.linalg.norm(one)


# Temporal contrastive learning ------------------------------------------------------------------


def test_a_tooth_is_learned_inside_a_window_of_amplitudes():
    """Nothing below, a constant share inside, next to nothing above: both ramps pass there. The
    window is as wide as the ramps' lengths differ."""
    amplitudes = np.geomspace(0.01, 1.2, 49)
    share = teeth(amplitudes) / amplitudes
    assert not share[amplitudes < 2.0**-5].any()
    met = amplitudes[share > 0]
    top = amplitudes[share > 0.5].max()
    assert top / met.min() == pytest.approx(18 / 2, rel=0.2)
    inside = share[(amplitudes > 0.5 * top) & (amplitudes < 0.95 * top)]
    assert np.ptp(inside) < 0.05 * inside.mean() and inside.mean() > 0.8
    assert share[amplitudes > 1.2 * top].max() < 0.15 * inside.mean()


def test_a_constant_background_teaches_nothing():
    amplitudes = np.array([0.1, 0.2, 0.4])
    plain = teeth(amplitudes)
    assert teeth(amplitudes, background=0.5) == pytest.approx(plain, rel=0.03)


def test_a_symmetric_triangle_teaches_nothing():
    """The negative control: equal ramps, of the same length in all as the sawtooth's."""
    amplitudes = np.array([0.1, 0.2, 0.4])
    assert np.abs(teeth(amplitudes, warm=1, up=10, down=10)).max() < 1e-4
    assert teeth(amplitudes, warm=1).min() > 0.03


def test_memories_begin_at_the_products_of_the_settled_state():
    with lab("tcl", beta=0.0, rate_shifts=(1, 2)) as bench:
        assert not step(bench).any()
        block = bench.layout.block(1)
        first, end = block.extent.start, block.extent.stop
        found = block.from_tiles(read_tiles(bench.device, first + 1, end - first))
        products = np.outer(bench.plane("free", 1), np.append(bench.plane("x"), 1)) / 2
        frac = 2 * bench.formats.state_frac - bench.device.config.learn_shifts[0]
        assert np.allclose(found / 2.0**frac, products, atol=2.0**-13)
        assert products.max() > 0.2


def test_temporal_contrastive_learning_follows_ep():
    """A sawtooth does; of equal ramps that both pass the dead zone little is left."""
    with lab("tcl") as a, lab("ep-positive", grid=12, rate_shifts=(1, 2)) as b:
        one, other = step(a), step(b)
    assert cosine(one, other) > 0.9
    with lab("tcl", options={"up": 1, "down": 1, "warm": 4}) as bench:
        assert np.linalg.norm(step(bench)) < 0.06 * np.linalg.norm(one)


def test_held_weights_get_what_the_tooth_added_up():
    with lab("tcl", options={"held": 1}) as bench:
        before, change = bench.weights(), step(bench)
        for k, block in enumerate(bench.layout.blocks):
            first, end = block.extent.start, block.extent.stop
            tiles = read_tiles(bench.device, first + 1, end - first - 1)
            added = block.from_tiles(np.concatenate([tiles, tiles[:1]]))
            found = bench.weights()[k] - before[k]
            assert np.array_equal(added / 2.0**bench.formats.weight_frac, found)
        assert change.any()


def test_equal_ramps_teach_nothing_where_weights_are_held():
    """In a network, and at the edge of the dead zone, where weights that act do learn."""
    equal = {"up": 5, "down": 5, "warm": 1}
    with (
        lab("tcl", options={"held": 1}) as a,
        lab("ep-positive", grid=12, rate_shifts=(1, 2)) as b,
        lab("tcl", options={**equal, "held": 1}) as c,
        lab("tcl", options=equal) as d,
    ):
        sawtooth, ep, held, acting = step(a), step(b), step(c), step(d)
    assert cosine(sawtooth, ep) > 0.75
    assert np.linalg.norm(held) < 0.2 * np.linalg.norm(sawtooth)
    assert abs(cosine(held, ep)) < 0.2 and cosine(acting, ep) > 0.9


# Resistors --------------------------------------------------------------------------------------


def resistors(x, y, network=(9, 7, 5, 3), **changes):
    """What one sample changes, and the gradient by nodal analysis, one vector each."""
    changes = {"rate_shifts": (1,) * (len(network) - 1), "input_bits": 16, **changes}
    settings = settings_for("resistive", len(network) - 1, **changes)
    with Lab.open("golden", Network(network), settings) as bench:
        weights = bench.rule.initial(initial_weights(bench.layout, 1))
        for w in weights:
            w[:, -1] = 0.2
        bench.load_weights(weights)
        before = bench.weights()
        bench.train_step(x, y)
        after = bench.weights()
        reference = Resistors([w[:, :-1] for w in before], [w[:, -1] for w in before])
        slopes = reference.adjoint(bench.plane("x"), y)
    change = np.concatenate([(a - b).ravel() for a, b in zip(after, before, strict=True)])
    pairs = zip(*slopes, strict=True)
    return change, -np.concatenate([np.column_stack(pair).ravel() for pair in pairs])


def test_resistors_learn_by_the_product_of_voltage_drops():
    """The adjoint of Kirchhoff's law, from a waveform that is slower than the network; from another
    phase of it on the same; from as fast a waveform as one sweep a step not quite."""
    x, y = np.random.default_rng(2).uniform(0, 1, 9), np.array([0.3, 0.7, 0.3])
    slow, wanted = resistors(x, y, options={"sweeps": 16})
    assert cosine(slow, wanted) > 0.999
    assert np.linalg.norm(slow) == pytest.approx(0.5 * np.linalg.norm(wanted), rel=0.02)
    late, _ = resistors(x, y, options={"sweeps": 16, "phase": 5})
    assert np.linalg.norm(late - slow) < 0.02 * np.linalg.norm(slow)
    fast, _ = resistors(x, y, options={"sweeps": 1})
    assert cosine(fast, wanted) < 0.95


def test_resistors_learn_nothing_if_a_carrier_is_off():
    """No error current; or all sources at one voltage, so that no current flows."""
    x, y = np.random.default_rng(2).uniform(0, 1, 9), np.array([0.3, 0.7, 0.3])
    nominal, _ = resistors(x, y)
    silent, _ = resistors(x, y, beta=0.0)
    still, _ = resistors(np.ones(9), y)
    assert not silent.any()
    assert np.linalg.norm(still) < 0.01 * np.linalg.norm(nominal)


def test_conductances_stay_positive():
    """Steps that are far too large stop at 0."""
    settings = settings_for("resistive", 2, rate_shifts=(0, 0), input_bits=16)
    with Lab.open("golden", NETWORK, settings) as bench:
        bench.load_weights(bench.rule.initial(initial_weights(bench.layout, 1)))
        for seed in range(5):
            x, y = sample(seed)
            bench.train_step(x, np.round(y))
        weights = np.concatenate([w.ravel() for w in bench.weights()])
        assert weights.min() == 0 and np.count_nonzero(weights == 0) > 10


def test_half_steps_are_those_of_the_paper():
    """s = clip(s + (drive - s) / 2), all layers at once, in double precision."""
    with lab("ep-2017", free_cap=6, beta=1.0) as bench:
        x, _ = sample()
        (first, bias), (second, other) = ((w[:, :-1], w[:, -1]) for w in bench.weights())
        bench.relax_free(x)
        h, o = np.zeros(15), np.zeros(5)
        a = h
        for _ in range(6):
            a = first @ bench.plane("x") + bias + second.T @ o
            b = second @ h + other
            h, o = np.clip((h + a) / 2, 0, 1), np.clip((o + b) / 2, 0, 1)
        assert np.abs(bench.plane("free", 1) - h).max() < 2.0**-10
        assert np.abs(bench.plane("free", 2) - o).max() < 2.0**-10
        assert not np.allclose(h, np.clip(a, 0, 1), atol=2.0**-8)  # far from settled


def test_kolen_pollack_backward_weights_converge():
    """||W_f - W_b|| shrinks as (1 - 2**-decay)^n; both get the same update."""
    with lab("ep-centered", architecture="backward", rate_shifts=(5, 5)) as bench:
        apart = []
        for seed in range(200):
            step(bench, seed)
            _, forward, backward = bench.weights()
            apart.append(np.linalg.norm((forward - backward)[:, :-1]))
        rate = (1 - 2.0**-bench.device.config.decay_shift) ** 199
        assert apart[-1] == pytest.approx(apart[0] * rate, rel=0.02)


def test_stochastic_updates_are_right_on_average():
    """At a rate that to nearest rounds every update away, their mean over 400 tries from the same
    weights is the update at a rate that is not rounded, divided by the ratio of both."""
    with lab("ep-centered", rate_shifts=(0, 0)) as bench:
        exact = step(bench)
    tries, shift = 400, 14
    with lab("ep-centered", rate_shifts=(shift, shift)) as bench:
        assert not step(bench).any()
    with lab("ep-centered", rate_shifts=(shift, shift), stochastic=True) as bench:
        weights, total = bench.weights(), 0
        for _ in range(tries):
            total = total + step(bench)
            bench.load_weights(weights)
    assert cosine(total, exact) > 0.98
    assert total @ exact / (exact @ exact) * 2**shift / tries == pytest.approx(1, rel=0.03)


def test_cross_entropy_read_out():
    fine = {"grid": 13, "beta": 0.0625}
    with lab("ep-centered", objective="cross-entropy", rate_shifts=(3, 3), **fine) as bench:
        x, label = sample()[0], np.int64(2)
        hidden, logits = bench.relax_free(x)
        before = bench.weights()
        bench.train_step(x, label)
        logits = 8 * logits
        softmax = np.exp(logits) / np.exp(logits).sum()
        assert np.allclose(bench.plane("softmax", 2), softmax, atol=0.02)
        wanted = np.outer(np.eye(5)[2] - softmax, np.append(hidden, 1)) / 8
        change = bench.weights()[1] - before[1]
        assert cosine(change.ravel(), wanted.ravel()) > 0.99
        # What reaches the hidden layer: the gradient of the cross-entropy.
        inside = (hidden > 0) & (hidden < 1)
        pull = before[1][:, :-1].T @ (np.eye(5)[2] - softmax) * inside
        found = bench.weights()[0] - before[0]
        wanted = np.outer(pull, np.append(bench.plane("x"), 1))
        assert cosine(found.ravel(), wanted.ravel()) > 0.99


def test_skip_connections_follow_the_gradient():
    network = Network((8, 7, 6, 5))
    changes = {"architecture": "skip:0>2,1>3", "grid": 13, "rate_shifts": (1, 1, 1)}
    rng = np.random.default_rng(5)
    x, y = rng.uniform(0, 1, 8), rng.uniform(0, 1, 5)
    with lab("ep-centered", network, beta=0.125, free_cap=300, nudged_cap=300, **changes) as bench:
        assert [w.shape for w in bench.weights()][3:] == [(6, 9), (5, 8)]

        def cost(weights):
            bench.load_weights(weights)
            return 0.5 * np.sum((y - bench.relax_free(x)[-1]) ** 2)

        before = bench.weights()
        bench.train_step(x, y)
        change = [new - old for new, old in zip(bench.weights(), before, strict=True)]
        assert all(np.abs(c).max() > 0 for c in change)
        assert not change[4][:, -1].any()  # a bias comes with the input alone
        # Along the update of the skip connections alone, the cost falls as the update says.
        size = 0.5
        moved = [*before[:3], *(w + size * c for w, c in zip(before[3:], change[3:], strict=True))]
        other = [*before[:3], *(w - size * c for w, c in zip(before[3:], change[3:], strict=True))]
        slope = (cost(other) - cost(moved)) / (2 * size)
        assert slope == pytest.approx(2 * sum(np.sum(c**2) for c in change[3:]), rel=0.15)


def test_perturbed_weights_are_restored():
    """With a learning rate that rounds to nothing, every bit is back."""
    with lab("spsa", rate_shifts=(24, 24)) as bench:
        before = bench.weights(raw=True)
        for seed in range(3):
            step(bench, seed)
        assert all(map(np.array_equal, before, bench.weights(raw=True)))
        assert bench.counters()[Register.WEIGHT_SATURATIONS] == 0


def test_perturbation_follows_the_gradient_on_average():
    with lab("spsa", rate_shifts=(5, 5)) as bench:
        before = bench.weights()
        x, y = sample()
        total = 0.0
        for _ in range(400):
            bench.load_weights(before)
            bench.train_step(x, y)
            pairs = zip(bench.weights(), before, strict=True)
            total = total + np.concatenate([(new - old).ravel() for new, old in pairs])
        reference = reference_of(before)
        slopes = reference.adjoint(bench.plane("x"), y, reference.free(bench.plane("x")).states)
        wanted = np.concatenate([np.column_stack(p).ravel() for p in zip(*slopes, strict=True)])
        assert cosine(total, -wanted) > 0.5


# What does not go together -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "changes", "says"),
    [
        ("ep-negative", {"output": "clip"}, "use --output linear"),
        ("contrastive", {"beta": 0.5}, "rule coupled-positive"),
        ("coupled-positive", {"objective": "squared-error"}, "coupled-positive pursues clamping"),
        ("ep-centered", {"objective": "true-cost", "beta": 1.0}, "at most 0.75"),
        ("lock-in", {"options": {"points": 2}}, "the sine is 0 everywhere"),
        ("lock-in", {"options": {"pionts": 8}}, "it has points"),
        ("rbp", {"architecture": "backward"}, "symmetric weights"),
        ("pcn", {"architecture": "skip:0>2"}, "from layer to layer"),
        ("pcn", {"objective": "cross-entropy"}, "pursues squared-error"),
        ("ep-centered", {"architecture": "skip:0>1"}, "at least two above"),
        ("ep-centered", {"architecture": "skip:0-2"}, "write skip connections as"),
        ("ep-centered", {"architecture": "ring"}, "layers, skip:... or backward"),
        (
            "ep-centered",
            {"architecture": "skip:0>2", "objective": "cross-entropy"},
            "takes the last hidden layer alone",
        ),
        ("feedback-alignment", {"architecture": "backward"}, "they stay as they are"),
        ("backprop", {"output": "clip"}, "its outputs are linear"),
        ("spsa", {"options": {"delta": 1}}, "2 to 10"),
        ("tcl", {"options": {"up": 0.1}}, "tau is 4 of them"),
        ("tcl", {"options": {"held": 2}}, "must be 0 or 1"),
        ("tcl", {"options": {"up": nan}}, "must be a finite number"),
        ("lock-in", {"options": {"points": inf}}, "must be a finite number"),
        ("pcn", {"options": {"sweeps": 0}}, "a whole number, 1 to 65536"),
        ("pcn-random", {"options": {"sweeps": 2.5}}, "a whole number, 1 to 65536"),
        ("frequency", {"options": {"phase": 0.5}}, "a whole number, 0 to 15"),
        ("resistive", {"options": {"ordered": 2}}, "must be 0 or 1"),
        ("tcl", {"architecture": "backward"}, "symmetric weights"),
        ("resistive", {"output": "clip"}, "its voltages are linear"),
        ("resistive", {"architecture": "skip:0>2"}, "neighbouring layers alone"),
        ("ep-2017", {"nudged_cap": 5}, "by twos"),
    ],
)
def test_nonsense_is_refused_with_the_reason(name, changes, says):
    with pytest.raises(ConfigError, match=says.replace("(", r"\(").replace("...", r"\.\.\.")):
        make_rule(NETWORK, preset("default"), settings_for(name, 2, **changes))


def test_a_machine_without_the_mode_refuses_by_name():
    for name, says in (
        ("ep-random", "RANDOM: .* built without it"),
        ("continual", "stochastic: .* built without it"),
        ("tcl", "integral: .* built without it"),
    ):
        rule = make_rule(NETWORK, preset("up5k"), settings_for(name, 2))
        with pytest.raises(ProgramError, match=says):
            rule.train_program()
    with pytest.raises(ConfigError, match="no rule 'hebb'"):
        rule_class("hebb")


OWN = '''
from relaxon.rules.ep import PositiveEP


class Loud(PositiveEP):
    """Twice the update."""

    name = "loud"
    paper = "none"
    summary = "free; +beta; 2 (ss+ - ss0) / beta"

    def gains(self):
        return [2 * gain for gain in super().gains()]
'''


def test_a_rule_in_a_file_of_ones_own(tmp_path: Path):
    path = tmp_path / "loud.py"
    path.write_text(OWN)
    with lab(f"{path}:Loud", rate_shifts=(2, 2)) as a, lab("ep-positive", rate_shifts=(1, 1)) as b:
        assert np.allclose(step(a), step(b), atol=2.0**-13)
    said = CliRunner().invoke(cli, ["rules", "--rule", f"{path}:Loud"])
    assert said.exit_code == 0 and "loud: none" in said.stdout
    wrong = CliRunner().invoke(cli, ["rules", "--rule", f"{path}:Quiet"])
    assert wrong.exit_code == 3 and "no class Quiet" in " ".join(wrong.stderr.split())


def test_a_checkpoint_finds_its_rule_file_and_sees_that_it_changed(tmp_path, monkeypatch):
    def relaxon(*arguments):
        said = CliRunner().invoke(cli, [*arguments, "--backend", "golden"])
        return said.exit_code, " ".join(said.stderr.split())

    rule = tmp_path / "loud.py"
    rule.write_text(OWN)
    monkeypatch.chdir(tmp_path)
    options = ("--data", "iris", "--layers", "8,3,3", "--epochs", "1", "--checkpoint", "run.npz")
    assert relaxon("train", "--rule", "loud.py:Loud", *options)[0] == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    go_on = ("train", "--resume", "../run.npz")
    ask = ("infer", "--weights", "../run.npz", "--data", "iris")
    assert relaxon(*go_on)[0] == relaxon(*ask)[0] == 0
    rule.write_text(OWN.replace("2 * gain", "3 * gain"))
    for command in (go_on, ask):
        code, said = relaxon(*command)
        assert code == 5 and f"{rule}:Loud, is gone or was changed since" in said
    rule.unlink()
    assert relaxon(*go_on)[0] == 5


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = 1\n)", "SyntaxError: unmatched ')' (line 2)"),
        ("\nraise RuntimeError('boom')", "RuntimeError: boom (mine.py, line 2)"),
        ("import nothing_of_that_name", "No module named 'nothing_of_that_name' (mine.py, line 1)"),
        ("import sys\n\nsys.exit(3)", "SystemExit: 3 (mine.py, line 3)"),
    ],
)
def test_a_mistake_in_a_rule_file_is_said_to_be_there(text, says, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"rule file .*mine\.py cannot be read: ") as caught:
        rule_class(f"{path}:Mine")
    assert str(caught.value).endswith(says)


MINE = """
from relaxon.rules.ep import PositiveEP

class Mine(PositiveEP):
    name, paper, summary = "mine", "none", "none"
"""


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("    def train_body(self, b, m):\n        self.relx(b)\n", "'relx' (mine.py, line 7)"),
        ("    def gains(self):\n        return [1 / 0]\n", "division by zero (mine.py, line 7)"),
        ("    def gains(self):\n        return []\n", "cannot be compiled: ValueError"),
        (
            "    def nudged_phase(self, b):\n        self.layout.drive('nudge', 9)\n",
            "cannot be compiled: drive 'nudge' of layer 9: there are",
        ),
        (
            "    def update(self, b, m):\n        self.layout.plane('pluss', 1)\n",
            "(mine.py, line 7)",
        ),
        ("    DEFAULTS = {'betta': 0.5}\n", "needs DEFAULTS by names of name, objective"),
        ("    OPTIONS = {'k': 3}\n", "needs OPTIONS, name: (default, meaning)"),
        ("    OBJECTIVES = ('hinge',)\n", "needs OBJECTIVES, a tuple of some of squared-error"),
        ("    OBJECTIVES = 'clamping'\n", "needs OBJECTIVES, a tuple of some of squared-error"),
        ("    name = None\n", "needs name, paper and summary"),
    ],
)
def test_a_mistake_in_a_rule_of_ones_own_is_an_error_that_says_where(text, says, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(MINE + text)
    for command in (["train", "--epochs", "1", "--backend", "golden"], ["rules"]):
        said = CliRunner().invoke(cli, [*command, "--rule", f"{path}:Mine"])
        assert said.exit_code == 3, said.output
        assert says in " ".join(said.stderr.split()) and f"{path}:Mine" in said.stderr


def test_a_program_of_ones_own_that_cannot_run_names_the_rule(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(MINE + "    def update(self, b, m):\n        b.add(self.combine(1, 0, [-1]))\n")
    said = CliRunner().invoke(cli, ["train", "--backend", "golden", "--rule", f"{path}:Mine"])
    text = " ".join(said.stderr.split())
    assert said.exit_code == 4 and f"{path}:Mine cannot be compiled: instruction 18" in text


def test_an_option_that_is_a_whole_number_stays_one(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        MINE + "    OPTIONS = {'points': (2, 'a number')}\n"
        "    def gains(self):\n        return [1.0 / len(range(self.option('points')))]\n"
    )
    command = ["train", "--epochs", "1", "--backend", "golden", "--rule", f"{path}:Mine"]
    assert CliRunner().invoke(cli, [*command, "-o", "points=4"]).exit_code == 0
    said = CliRunner().invoke(cli, [*command, "-o", "points=4.5"])
    assert said.exit_code == 3 and "TypeError" in said.stderr


def test_a_registered_rule_is_listed_and_its_mistakes_are_its_own(tmp_path, monkeypatch):
    (tmp_path / "minelib.py").write_text(MINE)
    info = tmp_path / "minelib-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: minelib\nVersion: 1\n")
    points = "[relaxon.rules]\nmine = minelib:Mine\npath = pathlib:Path\ngone = nowhere:X\n"
    (info / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(tmp_path)
    assert rule_class("mine").name == "mine" and rule_digest("mine")
    with pytest.raises(ConfigError, match="spsa, mine, path, gone; your own"):
        rule_class("nope")
    with pytest.raises(ConfigError, match="entry point path, pathlib:Path, is no class derived"):
        rule_class("path")
    with pytest.raises(ConfigError, match="rule gone cannot be read: ModuleNotFoundError"):
        rule_class("gone")


@pytest.mark.parametrize(("name", "features"), [("ep-centered", []), ("tcl", ["integral"])])
def test_features_that_a_rule_needs(name, features):
    assert features_of(NETWORK, settings_for(name, 2)) == features


def test_cross_entropy_is_about_classes(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        f"{k}_{part}": rng.random((8, n))
        for k, n in (("x", 6), ("y", 2))
        for part in ("train", "test")
    }
    np.savez(tmp_path / "real.npz", **arrays)  # pyright: ignore[reportArgumentType] (theirs)
    command = [
        "train",
        "--data",
        str(tmp_path / "real.npz"),
        "--layers",
        "6,4,2",
        "--backend",
        "golden",
    ]
    said = CliRunner().invoke(cli, [*command, "--objective", "cross-entropy"])
    assert said.exit_code == 5 and "cross-entropy is about classes" in " ".join(said.stderr.split())


def test_a_plane_that_is_not_there_is_named():
    rule = make_rule(NETWORK, preset("default"), settings_for("ep-positive", 2))
    with pytest.raises(ConfigError, match="no plane 'nope' of layer 1: layers 1 to 2 have free"):
        rule.layout.plane("nope", 1)


def test_rules_are_listed():
    said = " ".join(CliRunner().invoke(cli, ["rules"]).stdout.split())
    for name, rule in RULES.items():
        assert f"{name}: {rule.paper}" in said


@pytest.mark.parametrize(
    "choice",
    [
        ["--architecture", "backward"],
        ["--rule", "feedback-alignment"],
        ["--rule", "lock-in", "-o", "points=12", "--architecture", "skip:0>2"],
        ["--rule", "ep-random", "--objective", "cross-entropy"],
    ],
    ids=" ".join,
)
def test_the_command_resumes_with_the_same_bits(choice, tmp_path):
    """A checkpoint has all weights and all choices; the golden run beside has them too."""
    rng = np.random.default_rng(0)
    x, y = rng.random((60, 8)).astype(np.float32), np.arange(60) % 3
    data = tmp_path / "few.npz"
    np.savez(data, x_train=x, y_train=y, x_test=x, y_test=y)
    common = ["--backend", "golden", "--data", str(data), "--layers", "8,7,3", *choice]
    kept = tmp_path / "run.npz"

    def train(*arguments):
        said = CliRunner().invoke(cli, ["train", "--json", *arguments])
        assert said.exit_code == 0, said.output
        return said

    train(*common, "--epochs", "2", "--verify", "--checkpoint", str(kept))
    whole = Checkpoint.load(kept)
    before = TrainSettings.from_json(whole.spec["settings"])
    with open_device("golden") as device:
        trainer = Trainer(device, whole.network, load(data), before)
        trainer.start()
        trainer.run_epoch()
        trainer.checkpoint(whole.spec).save(kept)
    train("--backend", "golden", "--resume", str(kept), "--verify", "--checkpoint", str(kept))
    assert all(map(np.array_equal, whole.weights, Checkpoint.load(kept).weights))
    assert len(whole.weights) == len(Checkpoint.load(kept).weights)


# Learning ----------------------------------------------------------------------------------------


def test_comparison(tmp_path):
    ended: list[int] = []
    keep = tmp_path / "kept"
    rows = comparison.rules(["pcn"], seeds=[0], epochs=1, keep=keep, progress=ended.append)
    assert ended == [1, 1]
    assert rows[0]["accuracy"] > 0.85 and rows[0]["cosine"] > 0.99
    with pytest.MonkeyPatch.context() as patch:  # what is kept is not run again
        patch.setattr(comparison, "accuracy", None)
        with pytest.raises(TypeError):
            comparison.rules(["pcn"], seeds=[0], epochs=1)
        patch.setattr(comparison, "accuracy", SimpleNamespace(__name__="accuracy"))
        assert comparison.rules(["pcn"], seeds=[0], epochs=1, keep=keep) == rows
    pytest.importorskip("matplotlib")
    comparison.draw(rows, tmp_path / "rules.png")
    assert (tmp_path / "rules.png").stat().st_size > 1000


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits")


FEW = {"spsa": 0.2, "continual": 0.7, "resistive": 0.6, "ep-2017": 0.7}
"""Accuracy after one epoch, where it is not 80 %."""


@pytest.mark.parametrize("name", [name for name in RULES if name != "frequency-quasistatic"])
def test_every_rule_learns_digits(name, digits):
    """One epoch, one seed; the table: `relaxon bench rules`."""
    network = Network((64, 32, 10))
    epochs = 3 if name == "spsa" else 1
    settings = TrainSettings(epochs=epochs, rule=settings_for(name, network.depth))
    with open_device("golden") as device:
        trainer = Trainer(device, network, digits, settings)
        trainer.start()
        while trainer.epoch < epochs:
            trainer.run_epoch()
        assert trainer.evaluate()["accuracy"] > FEW.get(name, 0.8)


@pytest.mark.usefixtures("compiled")
def test_resistors_learn_iris():
    """93 % is asked: linear nodes, positive conductances, frequency propagation."""
    settings = settings_for("resistive", 2, options={"ordered": 1})
    run = TrainSettings(epochs=20, rule=settings)
    with open_device("golden") as device:
        trainer = Trainer(device, Network((8, 4, 3)), load("iris"), run)
        trainer.start()
        while trainer.epoch < run.epochs:
            trainer.run_epoch()
        assert trainer.evaluate()["accuracy"] >= 0.93


@pytest.mark.usefixtures("compiled")
def test_equal_ramps_do_not_learn_digits(digits):
    """The negative control of temporal contrastive learning, on the samples of half an epoch."""
    few = replace(digits, x_train=digits.x_train[:700], y_train=digits.y_train[:700])
    found = []
    for options in ({}, {"up": 1, "down": 1, "warm": 4}):
        settings = TrainSettings(epochs=1, rule=settings_for("tcl", 2, options=options))
        with open_device("golden") as device:
            trainer = Trainer(device, Network((64, 32, 10)), few, settings)
            trainer.start()
            trainer.run_epoch()
            found.append(trainer.evaluate()["accuracy"])
    sawtooth, triangle = found
    assert sawtooth > 0.7 and triangle < 0.3


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("ep-random", 0.97),
        ("coupled-centered", 0.965),
        ("lock-in", 0.97),
        ("rbp", 0.965),
        ("frequency", 0.97),
        ("contrastive", 0.9),
        ("continual", 0.9),
        ("pcn", 0.97),
        ("tcl", 0.9),
        ("ep-2017", 0.9),
    ],
)
def test_acceptance_on_digits(name, least):
    """One seed of the table; ten epochs."""
    assert comparison.accuracy(name, 0)["accuracy"] >= least


def test_a_machine_without_a_mode_is_refused_by_name_and_others_are_named():
    command = ["train", "--rule", "tcl", "--backend", "golden", "--preset", "ecp5-25f"]
    said = CliRunner().invoke(cli, command)
    text = " ".join(said.stderr.split())
    assert said.exit_code == 4 and "rule tcl" in text
    assert "needs a machine with: integral. Presets that have it and hold this network: " in text
    assert "default, large" in text
