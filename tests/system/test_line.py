"""Training over a line with faults, and what a line without carries: the short forms of `relaxon
bench faults` and `relaxon bench link`."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from relaxon.backends import virtual_board
from relaxon.cli import cli
from relaxon.datasets import load
from relaxon.network import Network
from relaxon.rules import make_rule, settings_for
from relaxon.studies.estimate import fixed_settings, latency_of
from relaxon.studies.faults import FAULTS, FaultyTransport, busy
from relaxon.studies.line import CLOCK_HZ, line
from relaxon.studies.speed import synthetic
from relaxon.training import Trainer, TrainSettings
from relaxon_device.link import encode_runs
from relaxon_device.serial import UNPACED_SECONDS, SerialDevice
from relaxon_device.transport import SerialTransport
from relaxon_isa.errors import LinkError
from relaxon_isa.presets import preset
from support.evil import EvilLine


class Wire:
    """A transport to nowhere."""

    name = "wire"

    def __init__(self) -> None:
        self.taken = bytearray()

    def write(self, data: bytes) -> None:
        self.taken += data

    def read(self, timeout: float) -> bytes:
        return bytes(1000)

    def close(self) -> None:
        pass


@pytest.fixture
def no_delays(monkeypatch):
    monkeypatch.setattr("relaxon.studies.faults.DELAY_SECONDS", 0.0)


def test_every_fault_comes_at_its_rate(no_delays):
    wire = Wire()
    line = FaultyTransport(wire, 0.02, 1)
    for _ in range(100):
        line.write(bytes(1000))
        assert line.read(0.0) != b""
    assert line.sent == 100_000 and wire.taken != bytes(100_000)
    assert set(line.met) == set(FAULTS)
    assert sum(line.met.values()) == pytest.approx(4000, rel=0.2)  # cuts take some bytes away
    assert line.met["flip"] == pytest.approx(line.met["duplicate"], rel=0.2)


def test_a_line_without_faults_changes_nothing():
    wire = Wire()
    line = FaultyTransport(wire, 0.0, 1)
    line.write(bytes(range(256)))
    assert wire.taken == bytes(range(256)) and line.read(0.0) == bytes(1000)
    assert not line.met and (line.sent, line.received) == (256, 1000)


def test_faults_depend_on_bytes_alone(no_delays):
    """However the bytes are cut into writes."""
    wires = [Wire(), Wire()]
    for wire, size in zip(wires, (1, 500), strict=True):
        line = FaultyTransport(wire, 0.05, 3)
        for start in range(0, 2000, size):
            line.write(bytes(i % 256 for i in range(start, start + size)))
    assert wires[0].taken == wires[1].taken


@pytest.mark.parametrize("name", ["default", "up5k"])
def test_a_sample_changed_under_a_right_crc_ends_training(name):
    """On the gateware, and with nothing beside it that would notice."""
    network, data = Network.parse("64,8,10"), load("digits")
    data = replace(data, x_train=data.x_train[:8], y_train=data.y_train[:8])
    settings = TrainSettings(epochs=1, rule=settings_for("ep-centered", network))
    with virtual_board(preset(name)) as board:
        line = EvilLine(SerialTransport(board.port), b"")
        line.done = True
        with SerialDevice(line, timeout=UNPACED_SECONDS) as device:
            trainer = Trainer(device, network, data, settings)
            trainer.start()
            sample = trainer.rule.encode_inputs(data.x_train[:1])[0]
            sample = encode_runs(sample) if device.zero_runs else sample
            line.mark, line.done = sample[4:12], False
            with pytest.raises(LinkError, match="no frame's CRC noticed"):
                trainer.run_epoch()
            assert line.done


def test_training_over_a_line_with_faults_is_the_same(tmp_path):
    arguments = ["--config", "default", "--samples", "8", "--epochs", "1", "--layers", "64,8,10"]
    arguments += ["--rate", "0", "--rate", "1e-3", "--seed", "2", "--json"]
    told = CliRunner().invoke(cli, ["bench", "faults", *arguments], catch_exceptions=False)
    assert told.exit_code == 0
    clean, faulty = json.loads(told.stdout)
    assert clean["result"] == faulty["result"] == "identical"
    assert sum(clean["faults"].values()) == 0 == clean["link"]["damaged"]
    assert sum(faulty["faults"].values()) > 0
    assert faulty["sent"] + faulty["received"] > clean["sent"] + clean["received"]


def test_busy_processes_end_with_the_trial():
    with busy(1) as processes:
        assert processes and all(process.poll() is None for process in processes)
    assert all(process.returncode for process in processes)
    with busy(0) as processes:
        assert not processes


def test_what_the_line_did_is_told(monkeypatch):
    """After a training with errors, and by `info`; not after one without."""
    with virtual_board(preset("default")) as board:

        def opened(rate: float) -> SerialDevice:
            wire = FaultyTransport(SerialTransport(board.port), rate, 5)
            device = SerialDevice(wire, timeout=UNPACED_SECONDS)
            device.simulated = True
            return device

        for rate in (3e-3, 0.0):
            for place in ("train", "device"):
                monkeypatch.setattr(
                    f"relaxon.cli.{place}.open_device", lambda *_, rate=rate: opened(rate)
                )
            train = ["train", "--backend", "virtual", "--data", "iris", "--layers", "8,6,3"]
            ran = CliRunner().invoke(cli, [*train, "--epochs", "1", "--no-verify"])
            assert ran.exit_code == 0, ran.output
            assert ("lost and sent again" in ran.stderr) == (rate > 0)
            assert ("frames that the board dropped" in ran.stdout) == (rate > 0)
            info = CliRunner().invoke(cli, ["info", "--backend", "virtual", "--no-self-test"])
            (said,) = (line for line in info.stdout.splitlines() if line.startswith("line "))
            assert ("about 0e+00 errors" in said) == (rate == 0)


NETWORK = Network.parse("784,64,10")
DIVISOR = 2
"""As the suites' boards have it; `relaxon bench link` simulates 3 Mbaud."""


def test_the_line_is_full_of_payload_and_the_estimate_right():
    """`relaxon bench link`, short: 8 bits dense, and as zero runs."""
    config, data = preset("default"), synthetic(NETWORK, 5)
    dense, runs = line(config, NETWORK, data, samples=4, bits=(8,), divisor=DIVISOR)
    assert dense["payload"] == 804 and dense["share"] > 0.94
    assert dense["samples_per_second"] == pytest.approx(dense["estimated"], rel=0.05)
    assert 5 * dense["down"] < dense["up"] < 804 / 0.92
    assert runs["up"] < dense["up"] / 2 and runs["cycles"] < 0.7 * dense["cycles"]


@pytest.mark.parametrize(("name", "bits"), [("default", 8), ("default", 1), ("up5k", 8)])
def test_a_prediction_takes_as_long_as_said(name, bits):
    """The gateware's cycles of 20 more, beside `relaxon bench latency` without USB."""
    config = preset(name)
    rule = make_rule(NETWORK, config, fixed_settings(NETWORK, input_bits=bits))
    program, sample = rule.infer_program(), bytes([0x5A] * (784 * bits // 8))
    lives = []
    for count in (2, 22):
        board = virtual_board(config, divisor=DIVISOR)
        with board, SerialDevice(SerialTransport(board.port), timeout=UNPACED_SECONDS) as device:
            device.zero_runs = False
            rule.prepare(device)
            device.load(program.rows)
            for _ in range(count):
                assert len(list(device.run([sample]))) == 1
        lives.append(board.stats)
    few, many = lives
    cycles, sent = ((getattr(many, n) - getattr(few, n)) / 20 for n in ("cycles", "bytes_in"))
    baud = CLOCK_HZ / DIVISOR
    said = latency_of(NETWORK, config, clock_hz=CLOCK_HZ, baud=baud, input_bits=bits)
    # The host acknowledges the answer when it has it, and the clock goes on for two bytes' time.
    behind = 10 * DIVISOR * (sent - said.bytes_up + 2)
    assert cycles - behind == pytest.approx(said.total * CLOCK_HZ, rel=0.05)
