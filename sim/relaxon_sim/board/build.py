"""From a configuration to the virtual board's program, built once and kept in the user's cache."""

import hashlib
import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import relaxon_hdl
import relaxon_isa
from relaxon_hdl.tools.cache import made_once
from relaxon_hdl.tools.find import tool_version
from relaxon_isa import ArrayConfig, ToolError
from relaxon_isa.identity import fingerprint

from ..cells import cell_models
from ..model import Waves, compile_model, find_compiler, find_verilator, verilate

__all__ = ["CLOCK_HZ", "BoardOptions", "build_board"]

Report = Callable[[str], None]

CLOCK_HZ = 24_000_000
"""Frequency that the virtual board reports; it runs as fast as it can."""
KEEP = 60
"""Programs that stay in the cache; the ones not used for longest go."""


@dataclass(frozen=True, kw_only=True)
class BoardOptions:
    """Options of a virtual board's build, besides the configuration.

    Parameters
    ----------
    divisor
        Clocks a bit of the UART. 2 is the fastest.
    waves
        Build for waveforms of this kind; several times slower.
    build
        Name of the build that the board reports.
    family
        FPGA family whose primitives the gateware instantiates, simulated by their models; None
        for the portable ones.
    netlist
        Simulate what synthesis for ``family`` makes of the gateware, cell by cell, not the
        gateware itself. Takes minutes to build.
    """

    divisor: int = 2
    waves: Waves | None = None
    build: str = "virtual board"
    family: str | None = None
    netlist: bool = False


def _sources() -> Iterator[Path]:
    """Every file that the program is made from."""
    for package in (relaxon_isa, relaxon_hdl):
        for folder in package.__path__:
            yield from sorted(Path(folder).rglob("*.py"))
    here = Path(__file__).parent
    yield from (here / "build.py", here / "board.cpp", here.parent / "model.py")
    yield from sorted((here.parent / "cells").glob("*.v"))


def _key(config: ArrayConfig, options: BoardOptions) -> str:
    """Equal keys, equal programs.

    The sources stand for the Verilog that they would make, because making it takes longer than
    starting the board.
    """
    digest = hashlib.sha256()
    for source in _sources():
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    parts = (
        metadata.version("amaranth"),
        *map(tool_version, ("yosys", "verilator")),
        *(platform.machine(), platform.libc_ver(), os.environ.get("CXX"), options),
    )
    digest.update(f"{parts}".encode())
    return f"{fingerprint(config)}-{digest.hexdigest()[:16]}"


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
        Called with each step's name; not called when the cache has the program.

    Processes that ask for the same program at once build it once. A build that is interrupted
    leaves nothing. Raises ToolError if a tool is missing or fails.
    """
    options = options or BoardOptions()
    return made_once(
        "board",
        _key(config, options),
        "board",
        lambda work: _build(work, config, options, report or (lambda text: None)),
        KEEP,
    )


def _build(work: Path, config: ArrayConfig, options: BoardOptions, report: Report) -> None:
    # Missing tools are found before the first half minute has passed.
    find_compiler()
    find_verilator()
    from relaxon_hdl.tools.verilog import to_netlist, to_verilog
    from relaxon_hdl.top import Top  # Amaranth takes its time: only when needed

    models = cell_models(options.family)
    if options.netlist and not options.family:
        raise ToolError("a netlist is of a family's cells: name the family")
    top = Top(
        config,
        divisor=options.divisor,
        clock_hz=CLOCK_HZ,
        build=options.build,
        family=options.family,
        stages=0,
    )
    if options.family and options.netlist:
        report("synthesis")
        verilog = to_netlist(top, options.family)
    else:
        report("gateware to Verilog")
        verilog = to_verilog(top)
    (work / "top.v").write_text(verilog)
    report("Verilog to C++")
    verilate(work, waves=options.waves, models=models)
    report("compiling")
    compile_model(
        work,
        Path(__file__).with_name("board.cpp"),
        "board",
        waves=options.waves,
        defines={
            "DIVISOR": options.divisor,
            **({"SAMPLE_MEMORY": 1} if config.sample_memory else {}),
        },
        # Of a netlist there is so much that compiling takes longer than it saves.
        optimise="-O0" if options.netlist else "-O1",
    )
