"""The virtual board as a process: its life, its clients, its cache, what it needs."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from relaxon.cli import cli
from relaxon.machines import to_toml
from relaxon.weights import read_tiles, write_tiles
from relaxon_device.serial import SerialDevice
from relaxon_hdl.tools.run import run_tool
from relaxon_isa.config import ArrayConfig
from relaxon_isa.errors import ToolError
from relaxon_isa.identity import fingerprint
from relaxon_isa.instructions import Emit, EmitKind, Halt, Pack, Wait
from relaxon_isa.memory import Register, Space
from relaxon_isa.presets import preset
from relaxon_isa.program import Builder
from relaxon_sim.board import BoardOptions, VirtualBoard, build_board, virtual_device
from relaxon_sim.board import build as board_build
from relaxon_sim.model import find_compiler

SMALL = preset("default").replace(
    p=2, weight_depth=16, state_depth=16, drive_depth=4, program_rows=64, integral_shift=0,
    table_bits=0,
)  # fmt: skip


@pytest.fixture(scope="module")
def board() -> Iterator[VirtualBoard]:
    """One board for the tests that leave it running."""
    with VirtualBoard(SMALL) as running:
        yield running


def echo_program(config: ArrayConfig):
    """Each sample's bytes come back as words, for ever."""
    b = Builder(config)
    with b.loop(60_000):
        b.add(Wait(dst=0, count=4, pack=Pack.B8, tick=True))
        b.add(Emit(kind=EmitKind.PLANE, base=0, count=4))
    b.add(Halt())
    return b.build()


def cpu_ticks(pid: int) -> int:
    """Clock ticks (10 ms each) that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def ticks_in_a_second(pid: int) -> int:
    before = cpu_ticks(pid)
    time.sleep(1)
    return cpu_ticks(pid) - before


def wait_until_gone(pid: int) -> None:
    for _ in range(100):
        status = Path(f"/proc/{pid}/status")
        if not status.exists() or "State:\tZ" in status.read_text():
            return
        time.sleep(0.05)
    raise AssertionError(f"process {pid} is still there")


def test_answers_and_sleeps(board):
    with SerialDevice.open(board.port) as device:
        assert device.identity.build == "virtual board"
        assert ticks_in_a_second(board.pid) <= 2
    # A program that waits for samples is no reason to be awake either.
    with SerialDevice.open(board.port) as device:
        device.load(echo_program(SMALL).rows)
        pauses = []

        def samples():
            yield b"abcd"
            time.sleep(0.2)
            pauses.append(ticks_in_a_second(board.pid))

        with pytest.raises(Exception, match="waits for another sample"):
            list(device.run(samples()))
        assert pauses[0] <= 10  # the host asks now and then


def test_a_machine_of_ones_own_is_known_by_its_file(board, tmp_path):
    """The board says what it is; --config says what it should be."""
    own, other = tmp_path / "own.toml", tmp_path / "other.toml"
    own.write_text(to_toml(SMALL))
    other.write_text(to_toml(SMALL.replace(p=3)))
    told = CliRunner().invoke(cli, ["info", "--backend", board.port, "--config", str(own)])
    assert told.exit_code == 0 and fingerprint(SMALL) in told.stdout
    told = CliRunner().invoke(cli, ["info", "--backend", board.port, "--config", str(other)])
    assert told.exit_code == 3 and "it has p 2, not 3; leave --config out" in told.stderr


CLIENT = """
import sys
from relaxon_device.serial import SerialDevice
device = SerialDevice.open(sys.argv[1])
run = device.run(b"abcd" for _ in range(60_000))
next(run)
print("running", flush=True)
for _ in run: pass
"""


def test_survives_its_client(board):
    """A client is killed amid a run; the board goes to sleep, and serves the next one."""
    with SerialDevice.open(board.port) as device:
        device.load(echo_program(SMALL).rows)
    command = [sys.executable, "-c", CLIENT, board.port]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ) as client:
        assert client.stdout and client.stdout.readline() == b"running\n"
        client.send_signal(signal.SIGKILL)
    time.sleep(0.5)
    assert ticks_in_a_second(board.pid) <= 2
    with SerialDevice.open(board.port) as device:
        assert device.identity.config == SMALL
        device.write(Space.REGISTER, Register.SAMPLES, [0])
        run = device.run(b"wxyz" for _ in range(10))
        assert next(run) == b"".join(bytes([c, 0]) for c in b"wxyz")
        assert isinstance(run, Generator)
        run.close()


def test_breaks_on_the_line_cost_frames_alone(board):
    """A break is a byte without a stop bit; what it meets is sent again, and it wakes a board that
    sleeps."""
    with SerialDevice.open(board.port) as device:
        program = Builder(SMALL)
        with program.loop(400):
            program.add(Wait(dst=0, count=4, pack=Pack.B8, tick=True))
            program.add(Emit(kind=EmitKind.PLANE, base=0, count=4))
        program.add(Halt())
        device.load(program.build().rows)

        def samples():
            for number in range(400):
                if number % 20 == 0:
                    os.kill(board.pid, signal.SIGUSR1)
                    time.sleep(0.02)
                yield bytes([number % 256, 1, 2, 3])

        emits = list(device.run(samples()))
        errors = device.counters()[Register.LINK_ERRORS]
        time.sleep(0.2)
        os.kill(board.pid, signal.SIGUSR1)
        time.sleep(0.2)
        assert device.counters()[Register.LINK_ERRORS] == errors + 1
        assert errors >= 5
        assert emits == [bytes([n % 256, 0, 1, 0, 2, 0, 3, 0]) for n in range(400)]


def test_many_bytes_unread(board):
    """A line that nobody reads does not fill memory, and works when somebody does."""
    fd = os.open(board.port, os.O_RDWR | os.O_NOCTTY)
    os.write(fd, os.urandom(3000))
    os.close(fd)
    with SerialDevice.open(board.port) as device:
        assert device.identity.config == SMALL


def test_ends_with_its_parent():
    """The parent's death ends the board, however sudden it is."""
    script = (
        "import sys, json; from relaxon_isa.config import ArrayConfig;"
        "from relaxon_sim.board import VirtualBoard;"
        f"b = VirtualBoard(ArrayConfig.from_json({SMALL.to_json()!r})).start();"
        "print(b.pid, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
    wait_until_gone(pid)


def test_ctrl_c_is_for_the_host():
    with VirtualBoard(SMALL) as board:
        pid = board.pid
        assert os.getsid(pid) != os.getsid(0)
    wait_until_gone(pid)
    assert board.stats is not None and board.stats.broken == 0


def test_device_owns_its_board():
    device = virtual_device(SMALL)
    pid = device.board.pid
    device.read(Space.STATE)
    device.close()
    device.close()
    wait_until_gone(pid)
    stats = device.board.stats
    assert stats is not None and stats.bytes_out > 1024 and stats.cycles > 10_000
    assert stats.byte_cycles == 20  # ten bits of two clocks, back to back


def test_second_start_uses_the_cache(monkeypatch):
    first = build_board(SMALL)

    def build(*arguments):
        raise AssertionError("built again")

    monkeypatch.setattr(board_build, "_build", build)
    told: list[str] = []
    assert build_board(SMALL, report=told.append) == first
    assert not told
    with pytest.raises(AssertionError, match="built again"):
        build_board(SMALL, BoardOptions(divisor=3))
    with pytest.raises(AssertionError, match="built again"):
        build_board(SMALL.replace(levels=5))


def test_one_build_for_two_processes(tmp_path, monkeypatch):
    """Both get the program; the one that comes second waits and builds nothing."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    script = (
        "import time; from relaxon_sim.board import build_board, build;"
        "from relaxon_isa.presets import preset;"
        "build._build = lambda work, *rest: "
        "(print('built'), time.sleep(1), (work / 'board').touch());"
        "print(build_board(preset('default')))"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    both = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=env)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=60)[0].split() for process in both]
    assert sorted(len(lines) for lines in said) == [1, 2]
    assert said[0][-1] == said[1][-1]
    assert not list((tmp_path / "relaxon" / "board").glob("build-*"))


@pytest.mark.parametrize("missing, named", [("compiler", "apt install g"), ("CXX", "'nocxx'")])
def test_missing_compiler(tmp_path, monkeypatch, missing, named):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    if missing == "CXX":
        monkeypatch.setenv("CXX", "nocxx")
    else:
        monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match=named):
        virtual_device(SMALL)
    assert not list(tmp_path.glob("relaxon/board/*/board"))


def test_compiler_behind_a_wrapper(monkeypatch):
    """As in CXX="ccache g++"; `env` wraps here."""
    monkeypatch.setenv("CXX", "env g++")
    command = find_compiler()
    assert command == [shutil.which("env"), "g++"]
    assert "Free Software" in run_tool([*command, "--version"], "g++")


def test_compiler_that_fails(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CXX", "false")
    monkeypatch.setattr("relaxon_hdl.top.Top", lambda *arguments, **options: None)
    monkeypatch.setattr(
        "relaxon_hdl.tools.verilog.to_verilog", lambda top: "module top(input clk); endmodule"
    )
    with pytest.raises(ToolError, match=r"C\+\+ compiler failed"):
        build_board(SMALL)
    assert not list(tmp_path.glob("relaxon/board/build-*"))


def test_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "relaxon").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ToolError, match="XDG_CACHE_HOME"):
        build_board(SMALL)


def test_waveforms(tmp_path):
    """A VCD of the whole design, closed properly."""
    path = tmp_path / "board.vcd"
    with virtual_device(SMALL, vcd=path) as device:
        device.write(Space.STATE, 0, [1])
    text = path.read_text()
    assert "$enddefinitions" in text and " quiet " in text and "sequencer" in text
    assert text.rstrip().rpartition("\n")[2]
    with pytest.raises(ToolError, match="only one"):
        VirtualBoard(SMALL, vcd=path, fst=path)


def test_waveforms_nowhere(tmp_path):
    with pytest.raises(ToolError, match="cannot write"):
        VirtualBoard(SMALL, vcd=tmp_path / "no" / "board.vcd").start()


def test_info_tests_a_board_once_and_leaves_used_ones_alone():
    def info(*options: str) -> dict:
        result = CliRunner().invoke(cli, ["info", "--backend", board.port, "--json", *options])
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)["self_test"]

    with VirtualBoard(SMALL) as board:
        assert info()["passed"]
        with SerialDevice.open(board.port) as device:
            tiles = np.arange(16 * 4).reshape(16, 2, 2)
            write_tiles(device, 0, tiles)
        again = info()
        assert "in use since power-on" in again["said"] and "passed" not in again
        with SerialDevice.open(board.port) as device:
            assert np.array_equal(read_tiles(device, 0, 16), tiles)
        assert info("--self-test")["passed"]
        with SerialDevice.open(board.port) as device:
            assert not read_tiles(device, 0, 16).any()
    with VirtualBoard(SMALL) as board:
        assert info("--no-self-test")["said"] == "not run"
        assert "in use" in info()["said"]
