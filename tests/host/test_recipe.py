"""Relaxing only as far as needed: early_stop, the recipe fast, what is said of their speed."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from relaxon.backends import open_device
from relaxon.checkpoint import Checkpoint
from relaxon.cli import cli
from relaxon.datasets import Dataset
from relaxon.lab import Lab
from relaxon.network import Network, initial_weights
from relaxon.rules import RULES, make_rule, settings_for
from relaxon.rules.settings import recipe_settings
from relaxon.studies import throughput
from relaxon.studies.estimate import estimate
from relaxon.training import Trainer, TrainSettings, check_data
from relaxon.weights import read_tiles
from relaxon_isa import ConfigError, DataError, Register, Space, preset
from relaxon_isa.instructions import Judge, Loop, Mac, Skip
from support.naive import Naive
from support.short_training import few_digits, trained

NETWORK = Network((20, 15, 5))
DEEPER = Network((20, 13, 9, 5))
SUPPORTED = [
    "ep-centered", "ep-positive", "ep-negative", "ep-random", "coupled-positive",
    "coupled-negative", "coupled-centered", "contrastive", "lock-in", "continual", "rbp",
    "aep", "ep-local",
]  # fmt: skip


def classes(samples: int = 24) -> Dataset:
    rng = np.random.default_rng(7)
    x, y = rng.random((samples, 20)).astype(np.float32), np.arange(samples) % 5
    return Dataset(name="few", x_train=x, y_train=y, x_test=x, y_test=y, classes=5)


def left(network: Network, rule, halvings: int = 2, epochs: int = 6, backend: str = "golden"):
    """Weights and answers after a training whose rates are halved."""
    settings = TrainSettings(epochs=epochs, rate_halvings=halvings, init_gain=1.0, rule=rule)
    with open_device(backend, "default") as device:
        trainer = Trainer(device, network, classes(), settings)
        trainer.start()
        online = [trainer.run_epoch()["online_accuracy"] for _ in range(epochs)]
        return [w.tolist() for w in trainer.weights()], online, trainer


CHOICES = [
    *((name, {}) for name in SUPPORTED),
    ("ep-centered", {"objective": "true-cost"}),
    ("ep-centered", {"objective": "clamping"}),
    ("ep-centered", {"output": "linear"}),
    ("ep-centered", {"architecture": "skip:0>2"}),
    ("ep-positive", {"architecture": "backward"}),
    ("ep-centered", {"frozen": (2,)}),
]


@pytest.mark.parametrize("network", [NETWORK, DEEPER], ids=str)
@pytest.mark.parametrize(("name", "changes"), CHOICES, ids=str)
def test_what_never_meets_its_target_learns_the_same_bits(name, changes, network):
    """Targets between two steps of the grid are never met exactly: with margin 0 both phases run
    to their caps, as with fixed_sweeps, and every bit of the weights is the same. Unrolled sweeps
    and scaled states change none."""
    if network is DEEPER and changes.get("architecture") == "skip:0>2":
        changes = {"architecture": "skip:0>2,1>3"}
    same = {"free_cap": 5, "nudged_cap": 3, "targets": (0.1, 0.7), "rate_shifts": None, **changes}
    same["rate_shifts"] = (4,) * network.depth
    stopping = settings_for(name, network.depth, early_stop=True, **same)
    if name in ("continual", "rbp"):  # their own nudged phases end as ever
        plain = settings_for(name, network.depth, **{**same, "free_cap": 5})
        stopping = replace(stopping, free_cap=60)
        plain = replace(plain, free_cap=60)
    else:
        plain = settings_for(name, network.depth, fixed_sweeps=True, **same)
    one, other = left(network, stopping), left(network, plain)
    assert one[:2] == other[:2]
    start = initial_weights(one[2].layout, 0, 1.0)
    assert not all(map(np.allclose, one[2].real_weights(), start))


@pytest.mark.parametrize("halvings", [0, 2, 5, 9])
def test_any_number_of_halvings_has_the_bits_of_differences(halvings):
    """Scaled states are learned from only as long as no rate shifts one of their bits away."""
    fixed = {"free_cap": 5, "nudged_cap": 3, "targets": (0.1, 0.7)}
    stopping = settings_for("ep-centered", 2, early_stop=True, **fixed)
    plain = settings_for("ep-centered", 2, fixed_sweeps=True, **fixed)
    rule = make_rule(NETWORK, preset("default"), stopping)
    assert rule.scales(halvings) == (halvings <= 2)
    assert left(NETWORK, stopping, halvings, 10)[:2] == left(NETWORK, plain, halvings, 10)[:2]
    if halvings <= 2:
        fewer = len(rule.train_program(halvings=halvings)[0].rows)
        assert fewer < len(rule.train_program(halvings=halvings + 1)[0].rows) or halvings < 2


@pytest.mark.parametrize("network", [NETWORK, DEEPER], ids=str)
def test_it_relaxes_until_the_outputs_are_within_the_margin_and_then_learns_nothing(network):
    """Sweeps of every sample, and whether it learns, by free phases of 1, 2 ... sweeps."""
    margin, cap = 0.2, 4
    settings = settings_for(
        "ep-centered", network.depth, early_stop=True, margin=margin, free_cap=cap, nudged_cap=2,
        input_bits=16,
    )  # fmt: skip
    rng, met = np.random.default_rng(2), set()
    with Lab.open("golden", network, settings) as lab:
        weights = initial_weights(lab.layout, 5, 1.0)
        for spread in np.linspace(0.1, 0.5, 40):
            x, outputs = rng.uniform(0, 1, 20), []
            for sweeps in range(1, cap + 1):
                lab.configure(early_stop=False, fixed_sweeps=True, free_cap=sweeps)
                lab.load_weights(weights)
                lab.relax_free(x)
                outputs.append(lab.plane("free", network.depth, raw=True))
            y = np.rint(outputs[1] + rng.uniform(-spread, spread, 5) * 2**14)
            near = [bool(np.abs(o - y).max() <= int(margin * 2**14)) for o in outputs]
            wanted = near.index(True) + 1 if True in near else cap
            y /= 2**14
            lab.configure(settings)
            lab.load_weights(weights)
            raw, before = lab.weights(raw=True), lab.counters()
            lab.train_step(x, y)
            sweeps, learned = (
                lab.counters()[r] - before[r] for r in (Register.SWEEPS, Register.LEARN_CYCLES)
            )
            assert sweeps == wanted - 1  # those after the first
            assert bool(learned) == (True not in near)
            assert learned or all(map(np.array_equal, raw, lab.weights(raw=True)))
            met.add((wanted, bool(learned)))
    assert {learned for _, learned in met} == {True, False} and len(met) > 2


def test_only_the_outputs_are_judged():
    """By a MAC of the first sweep and one of the others, against the target's plane; nothing asks
    for a flag in the nudged phase."""
    rule = make_rule(DEEPER, preset("default"), settings_for("ep-centered", 3, recipe="fast"))
    program = rule.train_program()[0].instructions
    for judged in (i for i in program if isinstance(i, Mac) and i.judge is not Judge.NONE):
        assert judged.judge is Judge.CHANGE and judged.fresh
        assert judged.old == rule.layout.y and judged.dst == rule.layout.plane("free", 3)
    loops = [i for i in program if isinstance(i, Loop)]
    assert [(i.count, i.until, i.skip) for i in loops] == [
        (1, False, Skip.NEVER),
        (1, False, Skip.IF_FLAG),
        (3, True, Skip.NEVER),
        (1, False, Skip.IF_FLAG),
    ]


def test_the_naive_machine_agrees():
    network = Network((6, 5, 3))
    changes = {"margin": 0.25, "rate_shifts": (3, 4), "free_cap": 4}
    settings = settings_for("ep-centered", 2, recipe="fast", **changes)
    config = preset("default")
    rng = np.random.default_rng(1)
    with Lab.open("golden", network, settings) as lab:
        lab.load_weights(initial_weights(lab.layout, 2, 1.0))
        program, marks = lab.rule.train_program()
        program = program.patch(marks.samples, count=12)[0]
        samples = [
            lab.rule.encode_inputs(rng.random((1, 6)))[0]
            + lab.rule.encode_targets(rng.choice([0, 0.5], (1, 3)))[0]
            for _ in range(12)
        ]
        naive, count = Naive(config), lab.layout.tiles
        for tile, values in enumerate(read_tiles(lab.device, 0, count)):
            naive.W[tile] = values.ravel().tolist()
        lab.rule.prepare(lab.device)
        for space in (Space.STATE, Space.DRIVE, Space.REGISTER):
            naive.write({space: (0, lab.device.read(space).tolist())})
        data = iter(b"".join(samples))
        emits = list(naive.run(program.instructions, lambda n: bytes(next(data) for _ in range(n))))
        assert lab.run(program, samples) == emits
        registers = lab.device.read(Space.REGISTER).tolist()
        assert registers == naive.registers[: len(registers)]
        for tile, values in enumerate(read_tiles(lab.device, 0, count)):
            assert values.ravel().tolist() == naive.W[tile]
        assert {"loop.settled", "loop.skipped.IF_FLAG"} <= naive.events


def test_inference_relaxes_as_ever():
    stopping = settings_for("ep-centered", 2, early_stop=True, margin=0.25)
    rules = [
        make_rule(NETWORK, preset("default"), s) for s in (stopping, settings_for("ep-centered", 2))
    ]
    assert rules[0].infer_program().rows == rules[1].infer_program().rows


@pytest.mark.parametrize("name", sorted(set(RULES) - set(SUPPORTED)))
def test_other_rules_refuse_with_the_reason(name):
    with pytest.raises(ConfigError, match=f"early_stop with rule {name}: it"):
        make_rule(
            NETWORK, preset("default"), settings_for(name, 2, early_stop=True, fixed_sweeps=False)
        )


def test_refusals(tmp_path):
    with pytest.raises(ConfigError, match="cross-entropy: the outputs take no part"):
        make_rule(
            NETWORK,
            preset("default"),
            settings_for("ep-centered", 2, objective="cross-entropy", early_stop=True),
        )
    with pytest.raises(ConfigError, match="early_stop = True: must be off with fixed_sweeps"):
        settings_for("ep-centered", 2, early_stop=True, fixed_sweeps=True)
    with pytest.raises(ConfigError, match="recipe 'fats': there are fast"):
        settings_for("ep-centered", 2, recipe="fats")
    x = np.zeros((3, 20), np.float32)
    real = Dataset(name="real", x_train=x, y_train=x[:, :5], x_test=x, y_test=x[:, :5])
    stopping = settings_for("ep-centered", 2, early_stop=True)
    check_data(NETWORK, real, replace(stopping, margin=0.1))
    with pytest.raises(DataError, match="early_stop needs a margin"):
        check_data(NETWORK, real, stopping)
    own = tmp_path / "own.py"
    own.write_text(
        "from relaxon.rules.ep import PositiveEP\n\n"
        "class Own(PositiveEP):\n    name, paper, summary = 'own', 'none', 'none'\n"
        "    def free_phase(self, b):\n        super().free_phase(b)\n"
    )
    with pytest.raises(ConfigError, match="rule own: its free phase is its own"):
        make_rule(NETWORK, preset("default"), settings_for(f"{own}:Own", 2, early_stop=True))


def test_the_recipe_is_a_set_of_defaults(tmp_path):
    assert settings_for("ep-centered", 2, recipe="fast") == settings_for(
        "ep-centered", 2, **recipe_settings("fast", 2)
    )
    kept = tmp_path / "run.npz"
    command = ["train", "--backend", "golden", "--recipe", "fast", "--margin", "0.125"]
    said = CliRunner().invoke(cli, [*command, "--epochs", "1", "--checkpoint", str(kept), "--json"])
    assert said.exit_code == 0, said.output
    assert json.loads(said.stdout)["sweeps_per_sample"] < 4
    saved = TrainSettings.from_json(Checkpoint.load(kept).spec["settings"]).rule
    assert saved == settings_for("ep-centered", 2, recipe="fast", margin=0.125)
    said = CliRunner().invoke(cli, ["infer", "--backend", "golden", "--weights", str(kept)])
    assert said.exit_code == 0 and "accuracy" in said.stderr
    said = CliRunner().invoke(cli, ["train", "--resume", str(kept), "--recipe", "fast"])
    assert said.exit_code == 2 and "leave out --recipe" in " ".join(said.stderr.split())


def test_digits_are_learned_as_well_in_fewer_cycles():
    """The recipe against the default, on a few of the samples: what is lost in accuracy, and what
    is won in cycles."""
    found = []
    for recipe in (None, "fast"):
        rule = settings_for("ep-centered", 2, recipe=recipe)
        with open_device("golden", "default") as device:
            run = TrainSettings(epochs=3, rule=rule)
            after = trained(device, Network((64, 32, 10)), few_digits(600), run)
        found.append(after)
    cycles = [
        sum(v for k, v in after["registers"].items() if k.endswith("_CYCLES")) for after in found
    ]
    assert cycles[1] < 0.75 * cycles[0]
    accuracies = [after["accuracy"]["accuracy"] for after in found]
    assert accuracies[1] > accuracies[0] - 0.06


def test_estimates_are_the_ends_of_what_samples_cost():
    """A sample within the margin at its first pass, one that learns; on the golden model."""
    network, config = Network((64, 12, 10)), preset("default")
    costs = estimate(network, config, input_bits=4, recipe="fast")
    with open_device("golden", config) as device:
        meter = throughput.Meter(device)
        run = TrainSettings(epochs=3, rule=settings_for("ep-centered", 2, recipe="fast"))
        few = few_digits(200)
        targets = np.outer(np.arange(200) % 2 * 1.5, np.ones(10)).astype(np.float32)
        data = replace(few, y_train=targets, y_test=targets[:40], classes=None)
        trainer = Trainer(meter, network, data, run)
        trainer.start()
        before = trainer.device.counters()
        while trainer.epoch < 3:
            trainer.run_epoch()
        after = trainer.device.counters()
    cycles = meter.cycles().sum(axis=1)
    assert len(cycles) == 3 * 199
    assert cycles.min() == costs["within"].cycles and cycles.max() == costs["beyond"].cycles
    whole = sum(after[r] - before[r] for r in throughput.KINDS.values())
    assert 0 < whole - cycles.sum() <= 3 * (costs["beyond"].cycles + 100)  # a sample each run
    assert costs["within"].cycles < costs["training"].cycles < costs["beyond"].cycles
    said = CliRunner().invoke(
        cli, ["estimate", "ulx3s-85f", "--recipe", "fast", "--input-bits", "8"]
    )
    assert said.exit_code == 0 and "with recipe fast, and 8% of the samples" in said.stdout


needs_compiler = pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler here")


@needs_compiler
def test_the_c_program_learns():
    data = few_digits(1000)
    run = TrainSettings(epochs=10, rule=settings_for("ep-centered", 2, recipe="fast"))
    found = throughput.rival(Network((64, 32, 10)), data, run)
    assert found["accuracy"] > 0.8 and 0 < found["learned"] < 0.8
    assert found["samples_per_second"] > 10_000
    with pytest.raises(ConfigError, match="one hidden layer, 64-32-16-10 has not"):
        throughput.rival(Network((64, 32, 16, 10)), data, run)


@needs_compiler
def test_speed_is_measured(tmp_path):
    rng = np.random.default_rng(0)
    x, y = (
        (rng.random((40, 784)) * (rng.random((40, 784)) < 0.2)).astype(np.float32),
        np.arange(40) % 10,
    )
    np.savez(tmp_path / "few.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    command = [
        "bench",
        "speed",
        "--data",
        str(tmp_path / "few.npz"),
        "--seeds",
        "1",
        "--epochs",
        "1",
    ]
    said = CliRunner().invoke(cli, [*command, "--board", "ulx3s-25f", "--json"])
    assert said.exit_code == 0, said.output
    (row,) = json.loads(said.stdout)
    fast = CliRunner().invoke(
        cli, [*command, "--board", "ulx3s-85f", "--preset", "ecp5-85f-fast", "--json"]
    )
    (quick,) = json.loads(fast.stdout)
    (run,) = quick["machine"]
    # What is answered is counted for samples beyond the margin alone.
    own = run["cycles_by_kind"]
    assert quick["preset"] == "ecp5-85f-fast"
    assert own["emit"] == pytest.approx(15 * run["learned"])
    assert run["resident"] == pytest.approx(run["cycles"] - own["wait"] - own["emit"])
    assert row["network"] == "196-120-10" and row["clock_hz"] > 0 and row["ratio"] > 0
    (machine,), (c,) = row["machine"], row["c"]
    assert machine["cycles_p95"] >= machine["resident"] > 0 and c["samples_per_second"] > 0
    assert machine["samples_per_second"] == pytest.approx(row["clock_hz"] / machine["cycles"])
    assert sum(machine["cycles_by_kind"].values()) == pytest.approx(machine["cycles"])


def test_speed_is_refused_before_any_training(tmp_path, monkeypatch):
    x, y = np.zeros((10, 784), np.float32), np.arange(10)
    np.savez(tmp_path / "few.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    monkeypatch.setattr(throughput, "compare", lambda *_: pytest.fail("trained"))
    command = ["bench", "speed", "--data", str(tmp_path / "few.npz")]
    said = CliRunner().invoke(cli, [*command, "--preset", "ecp5-85f-fast"])
    assert said.exit_code == 3 and "does not fit ulx3s-25f" in said.stderr, said.output
    monkeypatch.setenv("CC", "no-such-compiler")
    said = CliRunner().invoke(cli, command)
    assert said.exit_code == 8 and "no no-such-compiler here" in said.stderr, said.output


def test_without_a_compiler_it_says_so(monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler -O2")
    data, run = few_digits(20), TrainSettings(rule=settings_for("ep-centered", 2, recipe="fast"))
    with pytest.raises(Exception, match="no no-such-compiler here"):
        throughput.rival(Network((64, 32, 10)), data, run)
