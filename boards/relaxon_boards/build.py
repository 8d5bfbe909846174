"""From a board to a bitstream and a report, with Amaranth's own build plan."""

import json
import os
import re
import shutil
import subprocess
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from relaxon_isa.config import CONTRACT_VERSION
from relaxon_isa.errors import ToolError
from relaxon_isa.identity import fingerprint

from .board import Board
from .floorplan import floorplan_script
from .report import Placement, Report, read_placement, read_synthesis
from .tools import INSTALL, find_tool, tool_version

__all__ = ["BITSTREAM", "TimingError", "build", "build_with_vendor", "prepare"]

NAME = "top"
OUTPUTS = ("--log", "--asc", "--textcfg", "--write", "--report")
"""Options of nextpnr whose file is a seed's own."""

REPORT, STAT = f"{NAME}.report.json", f"{NAME}.stat.json"

BITSTREAM = {"ice40": ".bin", "ecp5": ".bit", "gowin": ".fs", "xilinx": ".bit"}
"""How a family's bitstreams end."""

TOO_SMALL = re.compile(
    r"no Bels remaining|[Uu]nable to (place|find)|[Ff]ailed to (place|expand|find)|"
    r"more .* than available|too many"
)

Progress = Callable[[str], None]
Pool = Callable[[Iterable[tuple[Callable, tuple]]], Iterable]


class TimingError(ToolError):
    """No seed reaches the array's clock."""


def prepare(board: Board, *, baud: int | None = None):
    """Amaranth's build plan of the machine on a board. Raises ToolError without Amaranth."""
    try:
        from relaxon_hdl.primitives import PREPARE

        platform = board.make_platform()
    except ImportError as error:
        raise ToolError(f"building needs {error.name}: {INSTALL}") from error
    mhz = board.clock_hz / 1e6
    options = f"--freq {mhz:g} --report {REPORT} --timing-allow-fail {board.place_opts}"
    more = {}
    if board.family == "ice40":  # whose router forgets --freq for a clock from logic
        more["add_constraints"] = f"set_frequency clk {mhz:g}"
    if board.family in PREPARE:
        more["script_after_read"] = PREPARE[board.family]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of memories that a primitive replaces
        return platform.prepare(
            _machine(board, baud),
            NAME,
            emit_src=False,
            synth_opts=board.synth_opts,
            script_after_synth=f"{floorplan_script(board)}\ntee -q -o {STAT} stat -json".strip(),
            nextpnr_opts=options,
            **more,
        )


def build(
    board: Board,
    directory: Path,
    *,
    baud: int | None = None,
    seeds: int = 1,
    pool: Pool = lambda work: (function(*arguments) for function, arguments in work),
    progress: Progress = lambda text: None,
) -> Report:
    """Synthesise, place and route with seeds 1 .. ``seeds``, pack the fastest.

    Everything stays in ``directory``: what the tools wrote, a folder a seed, the bitstream,
    ``report.json`` and ``report.txt``. Raises TimingError, after the report is written and
    without a bitstream, where no seed reaches the clock; ToolError for all else.

    Parameters
    ----------
    baud
        Instead of the board's default.
    pool
        Takes calls, a function and its arguments each, and gives results as they are done, as
        `relaxon.parallel.open_pool` does; other computers have to see ``directory``.
    progress
        Called with what happens now.
    """
    board.divisor(baud)  # what cannot be is said before minutes of work
    with _writing(directory):
        directory.mkdir(parents=True, exist_ok=True)
    progress("elaborating")
    plan = prepare(board, baud=baud)
    commands = json.loads(plan.files[f"build_{NAME}.json"])["commands"]
    tools = {}
    for command in commands:
        progress(f"looking for {command[0]}")  # YoWASP compiles it now, if it is the first call
        tools[command[0]] = tool_version(command[0])
    with _writing(directory):
        plan.extract(directory)
        bitstream = _cleared(board, directory)

    progress("synthesising")
    seconds = {"synthesis": _run(commands[0], directory)}
    synthesised = read_synthesis(directory / STAT, board.family, board.capacity)
    if len(commands) == 1:  # there is nothing behind synthesis
        for name, (used, available) in synthesised.items():
            if used > available:
                raise ToolError(
                    f"the device is too small for this configuration: {used} {name}, it has "
                    f"{available}"
                )
        report = _report(
            board,
            baud,
            tools=tools,
            resources=synthesised,
            seconds=seconds,
            note=board.experimental,
        )
        write(report, directory)
        return report
    _, place, pack = commands

    progress(f"placing and routing, {seeds} seed{'s'[: seeds > 1]}")
    start = time.monotonic()
    placements: list[Placement] = []
    failures: list[ToolError] = []
    work = [(_place, (board.family, place, directory.absolute(), n + 1)) for n in range(seeds)]
    for placed in pool(work):
        if isinstance(placed, ToolError):
            failures.append(placed)
            said = str(placed)
        else:
            placements.append(placed)
            said = f"seed {placed.seed} {placed.fmax_mhz:.2f} MHz"
        done = len(placements) + len(failures)
        progress(f"placing and routing, {done} of {seeds} done: {said}")
    if not placements:
        raise failures[0]
    seconds["place and route"] = time.monotonic() - start
    placements.sort(key=lambda p: p.seed)
    best = max(placements, key=lambda p: p.fmax_mhz)

    found: dict = {
        "tools": tools,
        "resources": best.resources | synthesised,
        "fmax_mhz": best.fmax_mhz,
        "seed": best.seed,
        "seeds": {str(p.seed): p.fmax_mhz for p in placements},
        "critical_path": best.path,
        "seconds": seconds,
        "note": board.experimental,
    }
    report = _report(board, baud, **found)
    if report.passed:
        progress("packing")
        home = directory / f"seed-{best.seed}"
        _run(pack, home)
        made = home / f"{NAME}{bitstream.suffix}"
        _put(bitstream, lambda part: shutil.copyfile(made, part))
        report = _report(board, baud, **found, bitstream=bitstream.name)
    write(report, directory)
    if not report.passed:
        raise TimingError(
            f"{board.name} reaches {best.fmax_mhz:.2f} MHz, its clock is {report.clock_mhz:g} MHz: "
            f"no bitstream was made; try more --seeds ({directory / 'report.txt'} has the "
            "critical path)"
        )
    return report


def build_with_vendor(board: Board, directory: Path, *, baud: int | None = None) -> None:
    """Hand the design to the vendor's tool, as Amaranth does. Raises ToolError without it."""
    if not board.vendor_platform:
        raise ToolError(f"{board.name} is built by open tools alone: leave --vendor out")
    if not shutil.which(os.environ.get("VIVADO") or "vivado"):
        raise ToolError("no vivado: put it on PATH, or name it in the environment variable VIVADO")
    os.environ.setdefault("YOSYS", find_tool("yosys"))  # Amaranth writes Verilog with it
    try:
        platform = board.make_platform(vendor=True)
        with _writing(directory), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as in `prepare`
            bitstream = _cleared(board, directory)
            platform.build(_machine(board, baud), NAME, str(directory))
            bitstream.with_stem(NAME).replace(bitstream)
    except ImportError as error:
        raise ToolError(f"building needs {error.name}: {INSTALL}") from error
    except subprocess.CalledProcessError as error:
        raise ToolError(
            f"vivado failed ({error.returncode}): {directory} has its log, if it came to one"
        ) from error


def _machine(board: Board, baud: int | None):
    from .machine import Machine

    return Machine(board, baud=baud, build=f"{board.name} {fingerprint(board.config)}"[:31])


@contextmanager
def _writing(directory: Path) -> Iterator[None]:
    """What the disk refuses is an error that says where."""
    try:
        yield
    except OSError as error:
        raise ToolError(f"cannot build in {directory}: {error.strerror}") from error


def _put(path: Path, fill: Callable[[Path], object]) -> None:
    """A file is there whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    with _writing(path.parent):
        try:
            fill(part)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def _cleared(board: Board, directory: Path) -> Path:
    """Where the bitstream goes. An earlier build's files are not this one's: they are gone."""
    bitstream = directory / f"{board.name}{BITSTREAM[board.family]}"
    for path in (bitstream, *(directory / f"report.{kind}" for kind in ("json", "txt"))):
        path.unlink(missing_ok=True)
    for seed in directory.glob("seed-[0-9]*/"):  # of what we made: the user may name any folder
        for path in seed.glob(f"{NAME}.*"):
            path.unlink()
        if not any(seed.iterdir()):
            seed.rmdir()
    return bitstream


def write(report: Report, directory: Path) -> None:
    for kind, text in (("json", report.to_json()), ("txt", report.text())):
        _put(directory / f"report.{kind}", lambda part, text=text: part.write_text(text))


def _report(board: Board, baud: int | None, **found) -> Report:
    return Report(
        board=board.name,
        device=board.device,
        preset=board.preset,
        fingerprint=fingerprint(board.config),
        contract=CONTRACT_VERSION,
        p=board.config.p,
        clock_mhz=board.clock_hz / 1e6,
        baud=board.clock_hz // board.divisor(baud),
        **found,
    )


def _place(family: str, place: list[str], directory: Path, seed: int) -> Placement | ToolError:
    """A full device may be routable with one seed and not with another: no reason to give up."""
    home = directory / f"seed-{seed}"
    command = [*place[:1], "--seed", str(seed)]
    for flag, value in pairwise(place):
        command.append(f"{home.name}/{value}" if flag in OUTPUTS else value)
    try:
        with _writing(directory):
            home.mkdir(exist_ok=True)
        _run(command, directory)
    except ToolError as error:
        return error
    return read_placement(home / REPORT, family, seed)


def _run(command: list[str], directory: Path) -> float:
    """Run a tool there; seconds that it took."""
    start = time.monotonic()
    path = find_tool(command[0])
    try:
        done = subprocess.run(
            [path, *command[1:]], cwd=directory, capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise ToolError(f"cannot run {path}: {error.strerror}") from error
    if done.returncode:
        said = (done.stdout + done.stderr).strip().splitlines()
        errors = [line for line in said if "ERROR" in line or "rror:" in line] or (
            said[-3:] or ["it said nothing"]
        )
        if any(map(TOO_SMALL.search, errors)):
            raise ToolError(
                f"the device is too small for this configuration: {' / '.join(errors[-3:])}"
            )
        raise ToolError(
            f"{command[0]} failed ({done.returncode}) in {directory}: {' / '.join(errors[-3:])}"
        )
    return time.monotonic() - start
