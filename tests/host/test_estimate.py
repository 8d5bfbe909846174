"""Estimates are what the gateware's counters show."""

import json

import pytest
from click.testing import CliRunner

from relaxon.backends import open_device
from relaxon.cli import cli
from relaxon.network import Network
from relaxon.rules import make_rule
from relaxon.studies.estimate import estimate, fixed_settings, sample_cycles
from relaxon_isa.presets import preset


@pytest.mark.parametrize(
    ("name", "layers", "inputs"),
    [
        ("default", "19,12,7,5", 10),
        ("up5k", "19,12,7,5", 10),
        ("conv", "8x6x1,6c4s2,5c2p1,5", 24),
        ("conv", "7x6x1,6c4s2p1,5", 4 * 4 * 4 // 2),  # blocks of 7 + 1 rows, 6 + 2 columns
        ("conv", "7x6x2,6c3s3p1,5", 3 * 3 * 9),  # each with bytes of its own
    ],
)
def test_cycles_are_those_of_the_gateware(name, layers, inputs):
    """``inputs``: bytes of a sample's inputs, in 4 bits each."""
    network, config = Network.parse(layers), preset(name)
    costs = estimate(network, config, free_sweeps=5, nudged_sweeps=3, input_bits=4)
    rule = make_rule(network, config, fixed_settings(network, 5, 3, 4))
    train, _ = rule.train_program()
    with open_device("virtual", config) as device:
        rule.prepare(device)
        for kind, program, size in (
            ("training", train, inputs + 10),  # targets are words
            ("inference", rule.infer_program(), inputs),
        ):
            assert sample_cycles(device, program, bytes([0x5A] * size)) == costs[kind].kinds
            assert costs[kind].rx_bytes == 3 + size


def test_rates():
    cost = estimate(Network.parse("784,64,10"), preset("up5k"))["training"]
    assert cost.compute_rate(2 * cost.cycles) == 2
    # SAMPLE, 784 inputs of 8 bits, 10 targets of 16; 202 bytes of line for 192 of payload
    assert cost.link_rate(3_000_000) == pytest.approx(300_000 / (807 * 202 / 192))


@pytest.mark.parametrize(
    ("baud", "latency_ms", "measured"), [(12e6, 2.2, 1020), (12e6, 16.2, 150), (3e6, 16.2, 144)]
)
def test_latency_of_the_line_as_simulated(baud, latency_ms, measured):
    """Measured with the real host and a model of the board in simulated time, ring of 2,048."""
    cost = estimate(Network.parse("784,64,10"), preset("default"))["training"]
    assert cost.link_rate(baud, latency_ms / 1000, 2046) == pytest.approx(measured, rel=0.05)


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli, ["estimate", *arguments])
    return result.exit_code, result.stdout, " ".join(result.stderr.split())


def test_command():
    code, out, _ = run("icebreaker", "--layers", "784,64,10", "--json")
    found = json.loads(out)
    assert code == 0 and found["baud"] == 3_000_000
    assert found["training"]["cycles"] > found["inference"]["cycles"] > 0
    code, out, _ = run("icebreaker", "--layers", "784,64,10", "--input-bits", "1")
    assert code == 0 and "784-64-10 fits icebreaker" in out
    code, out, _ = run("icebreaker", "--layers", "784,64,10", "--baud", "1")
    assert code == 0 and "0.000118" in out  # samples/s


def test_without_layers_the_largest_usual_network_that_fits():
    for board, network in (("hx8k", "64-32-10"), ("ulx3s-85f", "784-128-10")):
        code, out, _ = run(board)
        assert code == 0 and f"{network} fits {board}" in out


def test_network_that_does_not_fit_is_told_what_would():
    code, _, said = run("icebreaker", "--layers", "784,128,10")
    assert code == 3
    assert "784-82-10 fits" in said and "ulx3s-85f" in said
    code, _, said = run("icebreaker", "--layers", "78400,12,10")
    assert code == 3 and "78400-12-10 fits no board" in said and "too small for these" in said


def test_a_program_too_long_is_said_with_boards_that_have_room():
    said = CliRunner().invoke(cli, ["estimate", "hx8k", "--layers", "4,3,3,3,3,3,3,3,3,3,2"])
    text = " ".join(said.stderr.split())
    assert said.exit_code == 3 and "hx8k: the program takes" in text
    assert "4-3-3-3-3-3-3-3-3-3-2 fits ulx3s" in text
    assert "icebreaker" not in text.partition("2 fits")[2]


def test_cycles_are_not_said_to_be_of_a_kind_by_machines_that_do_not_count_kinds():
    said = CliRunner().invoke(cli, ["estimate", "hx8k", "--layers", "8,6,3", "--json"])
    training = json.loads(said.stdout)["training"]
    assert training["kinds"] == {"all": training["cycles"]}


def test_a_machine_with_a_sample_memory():
    """MNIST at 4 bits: indices in place of samples on the line, 197 words a record."""
    arguments = ["ulx3s-85f", "--preset", "ecp5-85f-memory", "--layers", "784,128,10"]
    arguments += ["--recipe", "fast", "--input-bits", "4"]
    result = CliRunner().invoke(cli, ["estimate", *arguments, "--json"])
    found = json.loads(result.stdout)
    assert (found["order"], found["input_bits"]) == ("generator", 4)
    assert found["share_beyond"] == 0.08 and found["beyond"]["cycles"] > 0
    training, inference = found["training"], found["inference"]
    assert training["memory_cycles"] == 204
    assert training["memory_rate"] == found["clock_hz"] / 204
    assert 3 < training["rx_bytes"] < 3.1 and inference["rx_bytes"] == 3 + 392
    assert "memory_rate" not in inference
    lines = CliRunner().invoke(cli, ["estimate", *arguments]).stdout.splitlines()
    assert lines[1].split()[-2:] == ["limited", "by"] and "samples/s, memory" in lines[1]
    limits = {line.split()[0]: line.split()[-1] for line in lines[2:6]}
    assert limits == dict.fromkeys(limits, "line") | {"inference": "line"}
    # An order that the machine makes: 13 bytes and 12 for 256 samples.
    result = CliRunner().invoke(cli, ["estimate", *arguments, "--order", "feistel", "--json"])
    made = json.loads(result.stdout)["training"]
    assert made["rx_bytes"] == 25 / 256
    said = (
        f"with --order feistel 0.10 bytes, and {made['compute_rate']:.0f} samples/s, limited by "
        "the array"
    )
    assert lines[-1].startswith("in training the line carries each sample's place") and lines[
        -1
    ].endswith(said)
    assert {k: v for k, v in made.items() if k not in ("rx_bytes", "link_rate")} == {
        k: v for k, v in training.items() if k not in ("rx_bytes", "link_rate")
    }
    lines = CliRunner().invoke(cli, ["estimate", *arguments, "--order", "feistel"]).stdout
    limits = {line.split()[0]: line.split()[-1] for line in lines.splitlines()[2:6]}
    assert limits == {
        "within": "array",
        "beyond": "array",
        "training": "array",
        "inference": "line",
    }
    assert "each sample's place" not in lines


@pytest.mark.parametrize(
    ("preset", "recipe", "said"),
    [
        ("ecp5-85f-fast", "fast", "no sample memory"),
        ("ecp5-85f-memory", None, "samples go over the line"),
    ],
)
def test_an_order_that_saves_nothing(preset, recipe, said):
    words = ["ulx3s-85f", "--preset", preset, "--layers", "9,5,3", "--order", "feistel"]
    words += ["--recipe", recipe] if recipe else []
    text = CliRunner().invoke(cli, ["estimate", *words]).stdout
    wanted = f"--order feistel saves nothing here: {said}, so the host makes the order"
    assert text.splitlines()[-1] == wanted


def test_an_order_is_worth_what_limits_then():
    words = ["ulx3s-85f", "--preset", "ecp5-85f-memory", "--layers", "9,5,3", "--recipe", "fast"]
    text = CliRunner().invoke(cli, ["estimate", *words, "--baud", "1000000"]).stdout
    made = CliRunner().invoke(cli, ["estimate", *words, "--baud", "1000000", "--order", "feistel"])
    row = next(line.split() for line in made.stdout.splitlines() if line.startswith("training"))
    limit = row[-1]
    rate = min(map(float, row[2:5]))
    assert text.endswith(f"and {rate:.0f} samples/s, limited by the {limit}\n") and limit != "line"


def test_finding_a_place_takes_longer_than_reading_a_small_record():
    network, config = Network((9, 5, 3)), preset("ecp5-85f-memory")
    costs = {
        order: estimate(network, config, recipe="fast", order=order)["training"]
        for order in ("generator", "feistel")
    }
    assert costs["generator"].memory_cycles == 5 + 7 and costs["feistel"].memory_cycles == 93
