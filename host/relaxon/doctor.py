"""What this computer has of all that relaxon can use, and what to do about the rest."""

import json
import os
import platform
import re
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from getpass import getuser
from importlib import metadata
from pathlib import Path

from serial.tools import list_ports

from relaxon_isa import CONTRACT_VERSION, DataError, install
from relaxon_sim.programs import cache_dir, programs

from .checkpoint import REPORT

__all__ = ["Finding", "examine", "port_findings", "usb_findings", "write_report"]

REQUIREMENT = r"([\w.-]+)(?:\[[^]]*\])?([^;]*)(?:;.*extra == ['\"](\w+)['\"])?.*"
BRIDGES = ("0403", "1a86", "10c4", "1209")
"""USB vendors of the boards' bridges: FTDI, WCH, Silicon Labs, pid.codes."""
RULES = ("etc/udev/rules.d", "run/udev/rules.d", "usr/lib/udev/rules.d", "lib/udev/rules.d")
RULES_OF = "https://github.com/trabucayre/openFPGALoader, file 99-openfpgaloader.rules"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for.

    ``remedy`` is empty where nothing has to be done. ``wrong``: it is there and does not work;
    what is only absent may not be needed.
    """

    subject: str
    found: str
    remedy: str = ""
    wrong: bool = False


def examine() -> Iterator[Finding]:
    """Everything, in the order in which a run needs it."""
    yield Finding("Python", f"{platform.python_version()} on {platform.platform()}")
    yield from package_findings()
    yield from (Finding(f"tool {name}", found, todo) for name, found, todo in programs())
    yield cache_finding()
    yield from port_findings()
    yield from usb_findings()


def write_report(path: Path, device: dict) -> None:
    """Write what `relaxon info` found of a ``device``, and what the computer has, as JSON to be
    sent to others: without names of folders, of the user and of the computer. Raises DataError."""
    findings = [
        {"subject": f.subject, "found": f.found, "wrong": f.wrong}
        for f in examine()
        if f.subject != "cache"
    ]
    document = {
        "format": REPORT,
        "relaxon": metadata.version("relaxon"),
        "contract": CONTRACT_VERSION,
        "device": device,
        "computer": findings,
    }
    private = {str(Path.home()): "~", str(Path.cwd()): ".", platform.node(): "HOST"}
    with suppress(OSError, KeyError, ImportError):  # a user without a name
        private[getuser()] = "USER"
    text = json.dumps(document, indent=1)
    for name in sorted(private, key=len, reverse=True):
        if len(name) > 1:
            text = re.sub(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", private[name], text)
    # A program's folder says where it was installed: its name says enough.
    text = re.sub(r"(?<![\w:/])(?:~|\.|[A-Za-z]:)?(?:[/\\]+[\w.+@-]+)+[/\\]+(?=[\w.+-]+)", "", text)
    try:
        path.write_text(text + "\n")
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}") from error


def package_findings() -> Iterator[Finding]:
    """Packages that relaxon asks for, each with the extras that want it."""
    wanted: dict[str, tuple[str, list[str]]] = {}
    for text in metadata.requires("relaxon") or []:
        name, bounds, extra = re.fullmatch(REQUIREMENT, text).groups()  # type: ignore[union-attr]
        if name != "relaxon":
            wanted.setdefault(name, (bounds, []))[1].extend([extra] if extra else [])
    for name, (bounds, extras) in sorted(wanted.items()):
        remedy = install(extras[0]) if extras else f"{sys.executable} -m pip install {name}"
        subject = f"package {name}" + (f" ({', '.join(extras)})" if extras else "")
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield Finding(subject, "absent", remedy, wrong=not extras)
            continue
        least = re.search(r">=([\d.]+)", bounds)
        if least and _numbers(found) < _numbers(least[1]):
            yield Finding(subject, f"{found}, needed is {least[1]} or later", remedy, wrong=True)
        else:
            yield Finding(subject, found)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)[:3]))


def cache_finding() -> Finding:
    """The folder of what is compiled once."""
    folder = cache_dir()
    if os.access(folder, os.W_OK):
        return Finding("cache", str(folder))
    return Finding("cache", f"{folder} cannot be written", f"chown -R $USER {folder}", wrong=True)


def port_findings(root: Path = Path("/")) -> Iterator[Finding]:
    """Serial ports: the right to open them; and on Linux how long an FTDI bridge holds bytes.

    ``root``: of the file system with dev and sys.
    """
    ports = sorted(list_ports.comports(), key=lambda port: port.device)
    if not ports:
        yield Finding(
            "serial ports", "none", "plug the board in; in a virtual machine, pass its USB on to it"
        )
    for port in ports:
        subject, what = f"port {port.device}", port.description
        node = root / port.device.lstrip("/")
        if os.name == "posix" and not os.access(node, os.R_OK | os.W_OK):
            yield Finding(subject, f"{what}: no right to open it", _right(node), wrong=True)
            continue
        timer = root / "sys/class/tty" / Path(port.device).name / "device/latency_timer"
        if not timer.is_file():
            yield Finding(subject, what)
        elif (held := int(timer.read_text())) > 1:
            remedy = (
                "relaxon asks for 1 ms when it opens the port; if this stays: "
                f"echo 1 | sudo tee {timer}"
            )
            yield Finding(subject, f"{what}: FTDI latency timer {held} ms", remedy)
        else:
            yield Finding(subject, f"{what}: FTDI latency timer {held} ms")


def _right(node: Path) -> str:
    """How a user gets the right to open a device node."""
    if sys.platform != "win32":
        import grp

        with suppress(KeyError, OSError):
            status = node.stat()
            if status.st_mode & stat.S_IWGRP and status.st_gid:
                group = grp.getgrgid(status.st_gid).gr_name
                return f"sudo usermod -aG {group} $USER, then log in again"
    return f"sudo chmod a+rw {node}"


def usb_findings(root: Path = Path("/")) -> Iterator[Finding]:
    """On Linux: udev rules for boards, and the right to program those that are plugged in."""
    bus = root / "sys/bus/usb/devices"
    if not bus.is_dir():
        return
    rules = [
        path.name
        for folder in RULES
        for path in sorted((root / folder).glob("*.rules"))
        if re.search(r'idVendor\}=="0403"', path.read_text(errors="replace"))
    ]
    remedy = (
        f"copy it from {RULES_OF}, to /etc/udev/rules.d; then "
        "sudo udevadm control --reload && sudo udevadm trigger, and plug the board in again"
    )
    yield Finding("udev rules", ", ".join(rules) or "none for FTDI", "" if rules else remedy)
    for device in sorted(bus.iterdir()):
        values = [_read(device / name) for name in ("idVendor", "idProduct", "busnum", "devnum")]
        if values[0] not in BRIDGES:
            continue
        node = root / f"dev/bus/usb/{int(values[2]):03}/{int(values[3]):03}"
        name = f"USB {values[0]}:{values[1]}"
        what = _read(device / "product") or "a USB device"
        if os.access(node, os.R_OK | os.W_OK):
            yield Finding(name, what)
        else:
            yield Finding(name, f"{what}: no right to program it", remedy, wrong=True)


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
