"""Every board elaborates to what the tools take, and says what it is."""

import ast
import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from relaxon.cli import cli
from relaxon.layout import Layout
from relaxon.network import Network
from relaxon_boards.board import Board, Pll
from relaxon_boards.build import prepare
from relaxon_boards.catalogue import BOARDS, find_board
from relaxon_hdl.families import FAMILIES, find_family
from relaxon_isa.errors import ConfigError
from relaxon_isa.presets import PRESETS

FIRST = {board.preset: board.name for board in reversed(BOARDS.values())}
ELSEWHERE = {"ecpix5-85f"}
"""Whose machine tests/boards/test_floorplan.py elaborates."""

PROMISED = {
    "ecp5-25f": "196-120-10",
    "ecp5-85f": "784-128-10",
    "ecp5-85f-memory": "784-128-10",
    "up5k": "784-64-10",
    "hx8k": "64-40-10",
    "gowin-9k": "196-56-10",
    "gowin-20k": "196-64-10",
    "artix-35": "784-64-10",
    "artix-100": "784-128-10",
    "large": "784-500-10",
}


@pytest.mark.parametrize("name", BOARDS)
def test_board_elaborates(name):
    """With its own preset once a preset; elsewhere a small one stands in."""
    board = BOARDS[name]
    if FIRST[board.preset] != name or name in ELSEWHERE:
        board = replace(board, preset="hx8k")
    plan = prepare(board)
    text = plan.files["top.il"]
    assert text.startswith("attribute") or "module \\top" in text
    commands = json.loads(plan.files["build_top.json"])["commands"]
    family = find_family(board.family)
    gates = {f"\\{other.gate_cell}" for other in FAMILIES.values() if other.gate_cell}
    assert {gate for gate in gates if gate in text} == gates & {f"\\{family.gate_cell}"}
    if not family.seed_files:  # synthesis only
        assert len(commands) == 1
        return
    place = commands[1]
    assert place[place.index("--freq") + 1] == f"{board.clock_hz / 1e6:g}"
    constraints = next(
        content for file, content in plan.files.items() if file.endswith((".pcf", ".lpf", ".cst"))
    )
    for pin in ("uart_0__rx", "uart_0__tx", "clk"):
        assert pin in constraints


@pytest.mark.parametrize(("name", "layers"), PROMISED.items())
def test_preset_holds_what_it_promises(name, layers):
    Layout(Network.parse(layers), PRESETS[name])


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_line_rate_is_one_that_the_usb_chip_makes(board):
    divisor = board.divisor()
    assert divisor >= 8
    assert board.clock_hz / divisor == pytest.approx(board.baud, rel=0.005)


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_pll_is_within_its_familys_limits(board):
    family, pll = find_family(board.family), board.pll
    if pll is None:
        assert board.clock_hz == board.crystal_hz
        return
    oscillator = board.clock_hz * pll.out
    assert family.oscillator_hz[0] <= oscillator <= family.oscillator_hz[1] < 2e9
    assert family.detector_hz[0] <= board.crystal_hz / pll.ref <= family.detector_hz[1] < 1e9
    assert board.family != "ice40" or pll.out in (1, 2, 4, 8, 16, 32, 64)


@pytest.mark.parametrize(
    ("pll", "message"),
    [
        (Pll(ref=1, feedback=32, out=16), "oscillator would run at 384 MHz: must be 533 to 1066"),
        (Pll(ref=2, feedback=128, out=32), "phase detector would run at 6 MHz: must be 10 to"),
    ],
)
def test_pll_beyond_its_limits_is_refused(pll, message):
    with pytest.raises(ConfigError, match=f"icebreaker: the PLL's {message}"):
        replace(BOARDS["icebreaker"], pll=pll)


def test_pll_that_makes_another_frequency_is_refused():
    with pytest.raises(ConfigError, match="icebreaker: the PLL makes 23625000 Hz, not 24000000"):
        replace(BOARDS["icebreaker"], pll=Pll(ref=1, feedback=63, out=32, pad=True))


@pytest.mark.parametrize(
    ("baud", "message"),
    [
        (4_000_000, "3000000 at most"),
        (2_870_000, "cannot do 2870000 baud within 2 %: the nearest are 2666666 and 3000000"),
    ],
)
def test_line_rates_that_the_clock_does_not_make(baud, message):
    with pytest.raises(ConfigError, match=message):
        find_board("icebreaker").divisor(baud)


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli, list(arguments))
    return result.exit_code, result.stdout, " ".join(result.stderr.split())


def test_unknown_board_lists_the_names():
    for command in ("build", "flash", "estimate"):
        code, _, said = run(command, "nosuch")
        assert code == 3
        assert "no board 'nosuch'; there are: " in said and "icebreaker, icesugar" in said


def test_boards_are_listed():
    code, out, _ = run("boards", "--json")
    rows = {row["board"]: row for row in json.loads(out)}
    assert code == 0 and set(rows) == set(BOARDS)
    assert rows["icebreaker"]["networks"] == ["64-32-10", "196-120-10", "784-64-10"]
    assert rows["tang-nano-9k"]["experimental"]
    code, out, _ = run("boards")
    assert code == 0 and all(name in out for name in BOARDS)
    assert "no timing of Gowin's multipliers" in " ".join(out.split())
    assert "* arty-a7-35, arty-a7-100: experimental: synthesis only" in out


def names_in(path: Path) -> set[int]:
    """Lines where a module has the name of a family for anything but to say what a board is of."""
    tree = ast.parse(path.read_text())
    said = {
        word.value
        for word in ast.walk(tree)
        if isinstance(word, ast.keyword) and word.arg in ("family", "primitives")
    }
    return {
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and node.value in FAMILIES and node not in said
    }


def test_what_differs_by_family_is_asked_of_it():
    """Nothing else compares with a family's name, or has a table by it."""
    root = Path(__file__).parents[2]
    homes = root / "hdl/relaxon_hdl/families"
    paths = [
        p for folder in ("hdl", "host", "sim", "boards") for p in (root / folder).rglob("*.py")
    ]
    named = {path for path in paths if names_in(path)}
    assert named == {homes / f"{name}.py" for name in FAMILIES}  # it sees what it is to see


def test_experimental_boards():
    assert {b.family for b in BOARDS.values() if b.experimental} == {"gowin", "xilinx"}


@pytest.mark.parametrize(
    ("name", "message"),
    [("hx8k", "leave --vendor out"), ("arty-a7-35", "no vivado: put it on PATH")],
)
def test_vendor_build_without_its_tool(name, message, monkeypatch, tmp_path):
    monkeypatch.delenv("VIVADO", raising=False)
    code, _, said = run("build", name, "--vendor", "--directory", str(tmp_path))
    assert code == 8 and message in said


@pytest.mark.parametrize(("name", "how"), [("icebreaker", ""), ("arty-a7-35", " --vendor")])
def test_flashing_without_a_bitstream(name, how, tmp_path):
    code, _, said = run("flash", name, "--directory", str(tmp_path))
    assert code == 5 and said.endswith(f"make it with relaxon build {name}{how}")


def test_flashing_an_empty_bitstream(tmp_path):
    (tmp_path / "icebreaker.bin").touch()
    code, _, said = run("flash", "icebreaker", "--directory", str(tmp_path))
    assert code == 5 and "icebreaker.bin is empty: build it again" in said


def test_flashing_by_hand(tmp_path):
    (tmp_path / "icesugar.bin").write_text("x")
    code, _, said = run("flash", "icesugar", "--directory", str(tmp_path))
    assert code == 8 and "copy the .bin to the USB drive" in said


@pytest.mark.parametrize("permanent", [False, True])
def test_flashing_calls_the_loader(tmp_path, monkeypatch, permanent):
    log = tmp_path / "log"
    loader = tmp_path / "loader"
    loader.write_text(f'#!/bin/sh\necho "$@" >> {log}\n')
    loader.chmod(0o755)
    monkeypatch.setenv("OPENFPGALOADER", str(loader))
    bitstream = tmp_path / "ulx3s-85f.bit"
    bitstream.write_text("x")
    arguments = ["flash", "ulx3s-85f", "--directory", str(tmp_path)]
    code, _, said = run(*arguments, *(["--permanent"] if permanent else []))
    assert code == 0, said
    called = log.read_text().splitlines()[-1].split()
    assert called == ["-b", "ulx3s", *(["-f"] if permanent else []), str(bitstream)]


def test_loader_without_its_libraries(tmp_path, monkeypatch):
    loader = tmp_path / "loader"
    loader.write_text('#!/bin/sh\necho "loading shared libraries: libusb" >&2\nexit 127')
    loader.chmod(0o755)
    monkeypatch.setenv("OPENFPGALOADER", str(loader))
    (tmp_path / "hx8k.bin").write_text("x")
    code, _, said = run("flash", "hx8k", "--directory", str(tmp_path))
    assert code == 8 and "libusb-1.0-0" in said


def test_config_is_the_presets():
    for board in BOARDS.values():
        assert isinstance(board, Board) and board.config is PRESETS[board.preset]


THEIRS = """\
from dataclasses import replace
from relaxon_boards.catalogue import BOARDS
from relaxon_isa.presets import preset

tiny = replace(
    BOARDS["icebreaker"], name="tiny", preset="tiny-2", machine=preset("up5k").replace(loop_depth=2)
)
nothing = 5
"""


def install_package(folder: Path, points: str) -> None:
    """A package with entry points, as pip leaves it in a folder of sys.path."""
    (folder / "tiny_boards.py").write_text(THEIRS)
    info = folder / "tiny_boards-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-boards\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[relaxon.boards]\n{points}\n")


def test_a_board_of_another_package(tmp_path, monkeypatch):
    """With a machine of its own, which no preset has."""
    install_package(tmp_path, "tiny = tiny_boards:tiny")
    monkeypatch.syspath_prepend(tmp_path)
    board = find_board("tiny")
    assert board.config == PRESETS["up5k"].replace(loop_depth=2)
    code, out, _ = run("boards", "--json")
    rows = {row["board"]: row for row in json.loads(out)}
    assert code == 0 and rows["tiny"]["preset"] == "tiny-2" and set(rows) == {*BOARDS, "tiny"}
    code, out, _ = run("estimate", "tiny", "--layers", "64,32,10")
    assert code == 0 and "64-32-10 fits tiny (2 x 2 cells" in out
    assert "tiny" in run("build", "nosuch")[2]


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ("tiny_boards:nothing", "is no relaxon_boards.board.Board"),
        ("tiny_boards:absent", "AttributeError"),
        ("tiny_boards_absent:tiny", "ModuleNotFoundError"),
    ],
)
def test_an_entry_point_that_is_no_board(point, message, tmp_path, monkeypatch):
    install_package(tmp_path, f"tiny = {point}")
    monkeypatch.syspath_prepend(tmp_path)
    code, _, said = run("boards")
    assert code == 3 and f"board {point} (entry point tiny)" in said and message in said
    assert find_board("icebreaker") is BOARDS["icebreaker"]
