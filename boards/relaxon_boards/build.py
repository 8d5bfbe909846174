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

from relaxon_hdl.families import find_family
from relaxon_hdl.tools.cache import file_lock, replacing
from relaxon_hdl.tools.find import find_tool, tool_version
from relaxon_hdl.tools.run import run_tool
from relaxon_isa import CONTRACT_VERSION, ToolError, install
from relaxon_isa.identity import fingerprint

from .board import Board
from .floorplan import floorplan_script
from .report import Placement, Report, digest_of, read_placement, read_synthesis

__all__ = ["TimingError", "bitstream_path", "build", "build_with_vendor", "prepare"]

NAME = "top"
REPORT, STAT = f"{NAME}.report.json", f"{NAME}.stat.json"

NO_ROOM = re.compile(
    r"no Bels remaining|[Uu]nable to (place|find)|[Ff]ailed to (place|expand|find)|"
    r"more .* than available|too many"
)
TOO_SMALL = "the device is too small for this configuration"

Progress = Callable[[str], None]
Pool = Callable[[Iterable[tuple[Callable, tuple]]], Iterable]


class TimingError(ToolError):
    """No seed reaches the array's clock."""


def prepare(board: Board, *, baud: int | None = None):
    """Amaranth's build plan of the machine on a board. Raises ToolError without Amaranth."""
    try:
        platform = board.make_platform()
    except ImportError as error:
        raise ToolError(f"building needs {error.name}: {install('boards')}") from error
    mhz = board.clock_hz / 1e6
    options = f"--freq {mhz:g} --report {REPORT} --timing-allow-fail"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of memories that a primitive replaces
        return platform.prepare(
            _design(board, baud),
            NAME,
            emit_src=False,
            script_after_synth=f"{floorplan_script(board)}\ntee -q -o {STAT} stat -json".strip(),
            nextpnr_opts=options,
            **find_family(board.family).overrides(mhz),
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

    Everything stays in ``directory``: the tools' files, a folder per seed, the bitstream,
    ``report.json`` and ``report.txt``. One build at a time works there. Raises TimingError, after
    the report is written and without a bitstream, if no seed reaches the clock; ToolError for all
    else.

    Parameters
    ----------
    baud
        Instead of the board's default.
    pool
        Takes calls, a function and its arguments each, and gives results as they are done, as
        `relaxon.parallel.open_pool` does; other computers have to see ``directory``.
    progress
        Called with the step that begins, as text.
    """
    board.divisor(baud)  # what cannot be is said before minutes of work
    with _locked(directory):
        progress("elaborating")
        plan = prepare(board, baud=baud)
        commands = json.loads(plan.files[f"build_{NAME}.json"])["commands"]
        tools = {command[0]: tool_version(command[0]) for command in commands}
        with _writing(directory):
            plan.extract(directory)
            bitstream = _cleared(board, directory)

        progress("synthesising")
        seconds = {"synthesis": _run(commands[0], directory)}
        resources = read_synthesis(directory / STAT, board.family, board.capacity)
        found: dict = {"tools": tools, "seconds": seconds, "note": board.experimental}
        if len(commands) == 1:  # there is nothing behind synthesis
            for name, (used, available) in resources.items():
                if used > available:
                    raise ToolError(f"{TOO_SMALL}: {used} {name}, it has {available}")
            report = _report(board, baud, **found, resources=resources)
            write(report, directory)
            return report
        _, place, pack = commands

        start = time.monotonic()
        placements = _placements(board, place, directory, seeds, pool, progress)
        seconds["place and route"] = time.monotonic() - start
        best = max(placements, key=lambda p: p.fmax_mhz)
        found |= {
            "resources": best.resources | resources,
            "fmax_mhz": best.fmax_mhz,
            "seed": best.seed,
            "seeds": {str(p.seed): p.fmax_mhz for p in placements},
            "critical_path": best.path,
        }
        report = _report(board, baud, **found)
        if report.passed:
            progress("packing")
            home = directory / f"seed-{best.seed}"
            _run(pack, home)
            with _writing(directory), replacing(bitstream) as part:
                shutil.copyfile(home / f"{NAME}{bitstream.suffix}", part)
            made = {"bitstream": bitstream.name, "digest": digest_of(bitstream)}
            report = _report(board, baud, **found, **made)
        write(report, directory)
    if not report.passed:
        raise TimingError(
            f"{board.name} reaches {best.fmax_mhz:.2f} MHz, its clock is {report.clock_mhz:g} MHz: "
            f"no bitstream was made; try more --seeds ({directory / 'report.txt'} has the "
            "critical path)"
        )
    return report


def _placements(
    board: Board,
    place: list[str],
    directory: Path,
    seeds: int,
    pool: Pool,
    progress: Progress,
) -> list[Placement]:
    """Results of seeds 1 .. ``seeds`` in order, without those that failed. Raises ToolError if all
    did."""
    progress(f"placing and routing, {seeds} seed{'s'[: seeds > 1]}")
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
    return sorted(placements, key=lambda p: p.seed)


def build_with_vendor(board: Board, directory: Path, *, baud: int | None = None) -> None:
    """Hand the design to the vendor's tool, as Amaranth does. Raises ToolError without it."""
    vendor = find_family(board.family).vendor
    if not vendor:
        raise ToolError(f"{board.name} is built by open tools alone: leave --vendor out")
    find_tool(vendor)
    os.environ.setdefault("YOSYS", find_tool("yosys"))  # Amaranth writes Verilog with it
    try:
        platform = board.make_platform(vendor=True)
        with _locked(directory), _writing(directory), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as in `prepare`
            bitstream = _cleared(board, directory)
            platform.build(_design(board, baud), NAME, str(directory))
            bitstream.with_stem(NAME).replace(bitstream)
    except ImportError as error:
        raise ToolError(f"building needs {error.name}: {install('boards')}") from error
    except subprocess.CalledProcessError as error:
        raise ToolError(
            f"{vendor} failed ({error.returncode}): {directory} has its log, if it came to one"
        ) from error


def _design(board: Board, baud: int | None):
    from .top import BoardTop

    return BoardTop(board, baud=baud, build=f"{board.name} {fingerprint(board.config)}"[:31])


@contextmanager
def _writing(directory: Path) -> Iterator[None]:
    """Turn what the disk refuses into an error that names the place."""
    try:
        yield
    except OSError as error:
        raise ToolError(f"cannot build in {directory}: {error.strerror}") from error


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Make a directory and keep other builds out of it."""
    with _writing(directory):
        directory.mkdir(parents=True, exist_ok=True)
        (directory / ".lock").touch()
    busy = f"another build works in {directory}: wait for its end, or name another --directory"
    with file_lock(directory / ".lock", busy=busy):
        yield


def bitstream_path(board: Board, directory: Path) -> Path:
    """Where `build` puts a board's bitstream."""
    return directory / f"{board.name}{find_family(board.family).suffix}"


def _cleared(board: Board, directory: Path) -> Path:
    """Path of the bitstream. Removes what an earlier build made, which is not this one's."""
    bitstream = bitstream_path(board, directory)
    for path in (bitstream, *(directory / f"report.{kind}" for kind in ("json", "txt"))):
        path.unlink(missing_ok=True)
    for seed in directory.glob("seed-[0-9]*/"):  # of what we made: the user may name any folder
        for path in seed.glob(f"{NAME}.*"):
            path.unlink()
        if not any(seed.iterdir()):
            seed.rmdir()
    return bitstream


def write(report: Report, directory: Path) -> None:
    """Write ``report.json`` and ``report.txt``."""
    for kind, text in (("json", report.to_json()), ("txt", report.text())):
        with _writing(directory), replacing(directory / f"report.{kind}") as part:
            part.write_text(text)


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
    """One seed's result, or its error: a full device may be routable with another seed."""
    home = directory / f"seed-{seed}"
    command = [*place[:1], "--seed", str(seed)]
    files = ("--log", "--report", *find_family(family).seed_files)
    for flag, value in pairwise(place):
        command.append(f"{home.name}/{value}" if flag in files else value)
    try:
        with _writing(directory):
            home.mkdir(exist_ok=True)
        _run(command, directory)
    except ToolError as error:
        return error
    return read_placement(home / REPORT, family, seed)


def _run(command: list[str], directory: Path) -> float:
    """Run a tool of the plan there; seconds that it took."""
    path, start = find_tool(command[0]), time.monotonic()
    try:
        run_tool([path, *command[1:]], command[0], directory=directory)
    except ToolError as error:
        small = NO_ROOM.search(str(error))
        text = f"{TOO_SMALL}: {error}" if small else f"{error}; its files are in {directory}"
        raise ToolError(text) from error
    return time.monotonic() - start
