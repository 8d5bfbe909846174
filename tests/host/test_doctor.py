"""What `relaxon doctor` says of computers that are made up."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from relaxon import doctor
from relaxon.cli import cli


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def usb(root: Path, vendor: str = "0403", number: str = "7") -> None:
    """A device of that vendor on bus 1."""
    values = {"idVendor": vendor, "idProduct": "6015", "busnum": "1", "devnum": number}
    for name, value in (values | {"product": "ULX3S FPGA"}).items():
        put(root / f"sys/bus/usb/devices/1-{number}" / name, f"{value}\n")


def test_this_computer() -> None:
    said = CliRunner().invoke(cli, ["doctor", "--json"])
    document = json.loads(said.stdout)
    found = {finding["subject"]: finding for finding in document["findings"]}
    assert found["package numpy"]["found"] and not found["package numpy"]["remedy"]
    assert {"tool yosys", "tool nextpnr-ecp5", "tool C++ compiler"} <= found.keys()
    assert said.exit_code == (8 if any(f["wrong"] for f in found.values()) else 0)
    assert "numpy" in CliRunner().invoke(cli, ["doctor"]).stdout


def test_a_report_names_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a user can send: device, self-test, counters, versions; no folder, user or computer."""
    home = put(tmp_path / "home/grace/x", "").parent
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USER", "grace")
    monkeypatch.setenv("LOGNAME", "grace")
    monkeypatch.setattr(doctor.platform, "node", lambda: "labmachine")
    found = (
        doctor.Finding("tool yosys", f"0.70, {home}/bin/yosys on labmachine of grace"),
        doctor.Finding("tool icepack", "1.2, C:\\Users\\grace\\icepack.exe", wrong=True),
        doctor.Finding("port /dev/ttyUSB0", "FT231X"),
        doctor.Finding("cache", str(home / "cache")),
    )
    monkeypatch.setattr(doctor, "examine", lambda: iter(found))
    path = tmp_path / "report.json"
    ask = ["info", "--backend", "golden", "--self-test", "--report", str(path)]
    said = CliRunner().invoke(cli, ask)
    assert said.exit_code == 0, said.output
    text = path.read_text()
    assert not any(word in text for word in ("grace", "labmachine", "home", "Users"))
    document = json.loads(text)
    assert (
        document["device"]["self_test"]["passed"] and "mac_cycles" in document["device"]["counters"]
    )
    assert [f["found"] for f in document["computer"]] == [
        "0.70, yosys on HOST of USER", "1.2, icepack.exe", "FT231X"
    ]  # fmt: skip
    assert CliRunner().invoke(cli, ask).exit_code == 0  # relaxon wrote what it replaces
    path.write_text("mine")
    assert CliRunner().invoke(cli, ask).exit_code == 5


def test_absent_and_old_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ["numpy>=1000.1", "no-such-package>=1; extra == 'data'", "no-base-package"]
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: asked)
    base, extra, old = doctor.package_findings()
    assert (base.subject, base.found, base.wrong) == ("package no-base-package", "absent", True)
    assert (extra.subject, extra.wrong) == ("package no-such-package (data)", False)
    assert "[data]" in extra.remedy
    assert "needed is 1000.1 or later" in old.found and old.wrong


def test_latency_timer_and_rights_of_ports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ports = [SimpleNamespace(device=f"/dev/ttyUSB{n}", description="FT231X") for n in (0, 1, 2)]
    monkeypatch.setattr(doctor.list_ports, "comports", lambda: ports)
    for n, held in ((0, 16), (1, 1)):
        put(tmp_path / f"dev/ttyUSB{n}", "")
        put(tmp_path / f"sys/class/tty/ttyUSB{n}/device/latency_timer", f"{held}\n")
    slow, fast, closed = doctor.port_findings(tmp_path)
    assert "16 ms" in slow.found and "echo 1 | sudo tee" in slow.remedy and not slow.wrong
    assert "1 ms" in fast.found and not fast.remedy
    assert closed.wrong and "chmod" in closed.remedy
    monkeypatch.setattr(doctor.list_ports, "comports", lambda: [])
    (none,) = doctor.port_findings(tmp_path)
    assert none.remedy and not none.wrong


def test_udev_rules_and_rights_of_boards(tmp_path: Path) -> None:
    assert list(doctor.usb_findings(tmp_path)) == []  # no Linux
    usb(tmp_path)
    usb(tmp_path, vendor="046d", number="8")  # a mouse
    rules, board = doctor.usb_findings(tmp_path)
    assert "none" in rules.found and "99-openfpgaloader.rules" in rules.remedy
    assert board.subject == "USB 0403:6015" and board.wrong and "ULX3S" in board.found
    put(tmp_path / "dev/bus/usb/001/007", "")
    put(tmp_path / "etc/udev/rules.d/99-fpga.rules", 'ATTRS{idVendor}=="0403", MODE="666"\n')
    rules, board = doctor.usb_findings(tmp_path)
    assert (rules.found, rules.remedy) == ("99-fpga.rules", "")
    assert not board.wrong and not board.remedy
