"""The host where there is no Linux, and the system suite on a board that is there: both with the
virtual board, over TCP and on its pseudo-terminal."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from relaxon.backends import tcp_bridge, virtual_board
from relaxon.record import RunRecord, reproduce
from relaxon_isa.errors import ToolError
from relaxon_isa.presets import preset

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def port() -> Iterator[str]:
    with virtual_board(preset("default")) as running:
        yield running.port


def python(*arguments: str, **more) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, env=env, **more
    )


ELSEWHERE = """
import builtins, os, signal, sys, types

ONLY_UNIX = {"termios", "tty", "pty", "fcntl", "resource", "grp", "pwd", "posix", "syslog"}
import_any = builtins.__import__

def guarded(name, globals=None, *rest, **more):
    ours = ((globals or {}).get("__name__") or "").startswith("relaxon")
    if ours and name.partition(".")[0] in ONLY_UNIX:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return import_any(name, globals, *rest, **more)

builtins.__import__ = guarded
from relaxon.cli import main
import relaxon_device.transport as transport

for module, names in (
    (signal, ("SIGHUP", "SIGKILL", "SIGALRM", "SIGUSR1", "SIGPIPE")),
    (os, ("fork", "getuid", "geteuid", "setsid", "killpg", "openpty", "ttyname")),
):
    for name in names:
        delattr(module, name)
# A file descriptor cannot be waited for on Windows: the transport then asks pyserial.
transport.os = types.SimpleNamespace(name="nt", path=os.path)
sys.argv = ["relaxon", *sys.argv[1:]]
main()
"""


def test_a_host_without_unix_trains_over_tcp(port, tmp_path):
    record = tmp_path / "run.json"
    with tcp_bridge(port, 0) as bridge:
        said = python(
            *("-c", ELSEWHERE, "train", "--backend", bridge.url, "--data", "iris"),
            *("--layers", "8,6,3", "--epochs", "1", "--no-verify", "--record", str(record)),
        )
    assert said.returncode == 0 and "test accuracy" in said.stdout, said.stderr
    run = RunRecord.load(record)
    assert run.machine["build"] == "virtual board"
    assert run.differences(reproduce(run, backend="golden")) == []
    assert (said := python("-c", ELSEWHERE, "--version")).returncode == 0, said.stderr
    said = python("-c", ELSEWHERE, "train", "--backend", "golden", "--data", "iris", "--epochs",
                  "1", "--layers", "8,6,3")  # fmt: skip
    assert said.returncode == 0, said.stderr


def test_a_tcp_port_in_use(port):
    with tcp_bridge(port, 0) as bridge, virtual_board(preset("default")) as other:
        number = int(bridge.url.rpartition(":")[2])
        with pytest.raises(ToolError, match=f"cannot listen on TCP port {number}"):
            tcp_bridge(other.port, number)


def test_training_goes_on_when_a_port_comes_back(port, tmp_path):
    """The line breaks in the second epoch; the run is the bits of one that was never broken."""
    with tcp_bridge(port, 0) as bridge:
        number = int(bridge.url.rpartition(":")[2])
        command = [
            *(sys.executable, "-m", "relaxon", "train", "--backend", bridge.url, "--data", "iris"),
            *("--layers", "8,6,3", "--epochs", "20", "--json"),
        ]
        run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert run.stderr
        for line in run.stderr:
            if line.startswith("epoch 2/20"):
                break
    with tcp_bridge(port, number):
        out, said = run.communicate(timeout=300)
    assert run.returncode == 0, said
    assert json.loads(out)["weights_identical"]


def test_the_system_suite_on_a_port(port):
    """`pytest --port=NAME`: what a board is judged by, and nothing that is not about the board."""
    chosen = ("tests/system", "-q", "-p", "no:cacheprovider", "-k", "memories or lock-in")
    with tcp_bridge(port, 0) as line:
        said = python("-m", "pytest", f"--port={line.url}", *chosen, cwd=ROOT)
    assert said.returncode == 0, said.stdout + said.stderr
    count = re.search(r"(\d+) passed, (\d+) deselected", said.stdout)
    assert count and int(count[1]) >= 2 and int(count[2]) > 50, said.stdout
