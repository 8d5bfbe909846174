"""Mutants of the whole machine: small changes of its logic, many of them in one virtual board.

Yosys draws the mutants, over all source lines, wires and cells: a bit of a cell's port is inverted,
stuck, or mixed with another. A board holds a few hundred of them, and its environment variable
MUTANT says which one is alive; 0, none.
"""

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from signal import SIGUSR1

import relaxon_sim
from relaxon_device.transport import SerialTransport
from relaxon_hdl.tools.find import find_tool
from relaxon_hdl.tools.run import run_tool
from relaxon_hdl.tools.verilog import to_rtlil
from relaxon_hdl.top import Top
from relaxon_isa.config import ArrayConfig
from relaxon_isa.errors import DeviceError, ToolError
from relaxon_sim.model import compile_model, verilate

from .board_model import FaultyLine

__all__ = ["BATCH", "BUILD", "CLOCK_HZ", "DIVISOR", "Mutant", "MutantLine", "Mutants"]

BATCH = 250
"""Mutants of one board."""
DIVISOR = 2
CLOCK_HZ = 24_000_000
BUILD = "mutants"
LIMIT = 30
"""Seconds of a board's time: a mutant may never stop to say something."""

_FLATTEN = """\
read_rtlil design.il
rename top machine
proc
flatten
opt_expr
opt_clean -purge
memory_collect
write_rtlil flat.il
"""
_DRAW = """\
delete -port machine/quiet
opt_clean
mutate -list {count} -seed {seed} -o mutants.txt
"""
"""``quiet`` serves simulators alone: what it hangs on is left out."""
_APPLY = """\
read_rtlil flat.il
{mutants}
write_verilog -norename -noattr design.v
"""
_PROVE = """\
read_rtlil boxed.il
rename machine sound
read_rtlil boxed.il
mutate {mutant}
equiv_make sound machine pair
clean -purge
select -set reached pair/{cell}_gold %co*:-$equiv[Y]
select -assert-min 1 @reached
equiv_simple @reached
equiv_status -assert @reached
"""
"""Behind the points that are proved equal, the machines are equal: what is to be proved are those
that the cell reaches first. (Of the mutant's own cell nothing may be left.)"""
_INDUCT = """\
read_rtlil flat.il
delete -port machine/quiet
opt_clean
design -save start
select -set part machine/c:{part}*
select -assert-max {cells} @part
submod -name sound @part
design -stash sound
design -load start
mutate {mutant}
select -set part machine/c:{part}* machine/c:$auto$mutate* %u
submod -name mutant @part
design -stash mutant
design -copy-from sound sound
design -copy-from mutant mutant
miter -equiv -flatten -make_outputs sound mutant both
hierarchy -top both
flatten
opt
sat -tempinduct -set-init-zero -maxsteps {steps} -prove trigger 0 -verify both
"""
"""The part of the machine that the cell is in, given the same inputs twice, gives the same outputs
ever after, whatever numbers its registers have: by induction over steps. (A register whose wire a
mutant took has no start of its own any more: it is 0, as `Mutants.draw` sees to.)"""
_TOP = """
module top(input clk, input rx, output tx, output quiet);
  import "DPI-C" function int mutant_alive();
  reg [{high}:0] alive;
  initial alive = mutant_alive();
  machine machine(.clk(clk), .rx(rx), .tx(tx), .quiet(quiet), .alive(alive));
endmodule
"""
_MAIN = """\
#include <cstdlib>
#include "{board}"
extern "C" int mutant_alive() {{
    const char* const number = std::getenv("MUTANT");
    return number ? std::atoi(number) : 0;
}}
"""
STEPS, CELLS = 40, 18
"""Limits of a proof by induction: steps, and cells of the part. A larger one takes minutes."""
SMALLEST_PART = 400
"""Of how many mutants of the machine one at least is of any module that is asked for."""
NOT_LOGIC = ("CLK", "RD_CLK", "WR_CLK", "RD_ARST", "RD_SRST")
"""Ports that are clocks, or that no memory of ours has."""
_MEMORY = re.compile(r"  cell \$mem_v2 \S+\n")
_SOURCES = re.compile(r'(["|])[^"|\s]*/(relaxon_hdl|amaranth)/')
"""Where sources lie on this computer."""
_INIT = re.compile(r"  attribute \\init \d+'(\S+)\n(?:  attribute .*\n)*  wire (?:.* )?(\S+)\n")
_REGISTER = re.compile(r"  cell \S*ff\S* (\S+)\n(?:    .*\n)*?    connect \\Q (.*)\n")
_PLACE = re.compile(r"-src \S*relaxon_hdl/(\S+)\.py:(\d+)")


@dataclass(frozen=True)
class Mutant:
    """One change.

    Members
    -------
    command
        Options of yosys' ``mutate`` that make it.
    """

    command: str

    @property
    def options(self) -> dict[str, str]:
        return dict(re.findall(r"-(\w+) (\S+)", self.command))

    @property
    def cell(self) -> str:
        """The path of its cell in the machine."""
        return self.options["cell"].replace("$flatten", "").replace("\\", "")

    @property
    def module(self) -> str:
        """The gateware's module in which it is written, or the machine's part that it is in."""
        if found := _PLACE.search(self.command):
            return found[1]
        _, part, *rest = self.cell.split(".")
        return rest[0] if part == "core" else part

    @property
    def change(self) -> str:
        """What it does, wherever in the sources that is written today."""
        option = self.options
        wire = f" ({option['wire']}[{option['wirebit']}])" if "wire" in option else ""
        mixed = f" with bit {option['ctrlbit']}" if "ctrlbit" in option else ""
        return (
            f"{option['mode']}{mixed} of {option['port']}[{option['portbit']}] of {self.cell}{wire}"
        )

    def __str__(self) -> str:
        found = _PLACE.search(self.command)
        line = f".py:{found[2]}" if found else ""
        return f"{self.module}{line}: {self.change}"


class Mutants:
    """The mutants of one configuration.

    Parameters
    ----------
    config
        The machine.
    work
        A directory for what is built.
    """

    def __init__(self, config: ArrayConfig, work: Path) -> None:
        self.config, self.work = config, work
        top = Top(config, divisor=DIVISOR, clock_hz=CLOCK_HZ, build=BUILD, stages=0)
        text = to_rtlil(top, sources=True)
        (work / "design.il").write_text(_SOURCES.sub(r"\1\2/", text))
        self._yosys(_FLATTEN)

    def draw(self, wanted: int, seed: int, module: str = "") -> list[Mutant]:
        """So many mutants, of one `Mutant.module` or of all, the same ones for the same gateware
        and seed; fewer if there are not so many."""
        count = wanted * SMALLEST_PART if module else wanted + wanted // 8 + 9
        self._yosys("read_rtlil flat.il\n" + _DRAW.format(count=count, seed=seed))
        lines = (self.work / "mutants.txt").read_text().splitlines()
        found = [Mutant(line.partition(" ")[2]) for line in lines]
        flat = (self.work / "flat.il").read_text()
        # A register behind a mutant's choice would not start at 1, whatever is alive.
        ones = {name for bits, name in _INIT.findall(flat) if "1" in bits}
        starting = {cell for cell, q in _REGISTER.findall(flat) if ones & set(q.split())}
        return [
            mutant
            for mutant in found
            if module in ("", mutant.module)
            and mutant.options["port"] not in NOT_LOGIC
            and not (mutant.options["port"] == "Q" and mutant.options["cell"] in starting)
        ][:wanted]

    def build(self, mutants: Sequence[Mutant]) -> Path:
        """The program of a board that holds these mutants; the first is number 1."""
        width = len(mutants).bit_length()
        commands = [
            f"mutate {mutant.command} -ctrl alive {width} {number}"
            for number, mutant in enumerate(mutants, 1)
        ]
        self._yosys(_APPLY.format(mutants="\n".join(commands)))
        home = Path(tempfile.mkdtemp(prefix="board-", dir=self.work))
        verilog = (self.work / "design.v").read_text() + _TOP.format(high=width - 1)
        (home / "top.v").write_text(verilog)
        # A mutant may choose two of exclusive cases, or none: then it has a value, too.
        verilate(home, options=["--no-assert", "--x-assign", "0"])
        board = Path(relaxon_sim.__path__[0], "board", "board.cpp")
        (home / "main.cpp").write_text(_MAIN.format(board=board))
        compile_model(home, home / "main.cpp", "board", defines={"DIVISOR": DIVISOR})
        return home / "board"

    def equivalent(self, mutant: Mutant) -> bool:
        """Whether a proof is found that it changes nothing: from equal registers and equal words
        read, every register, every port of a memory and every output become equal; or the part
        that it is in gives equal outputs from the start on.

        Memories are black boxes for the first; nothing is proved of mutants of their ports, nor by
        the second of a part that has one.
        """
        boxed = self.work / "boxed.il"
        if not boxed.exists():
            numbers = count()
            text = (self.work / "flat.il").read_text()
            boxed.write_text(
                _MEMORY.sub(lambda _: f"  cell \\memory \\memory{next(numbers)}\n", text)
            )
        if mutant.options["port"].startswith(("RD_", "WR_")):
            return False
        cell = mutant.options["cell"]
        limits = {"steps": STEPS, "cells": CELLS}
        for script in (
            _PROVE.format(mutant=mutant.command, cell=cell),
            _INDUCT.format(mutant=mutant.command, part=cell.rpartition(".")[0] + ".", **limits),
        ):
            with suppress(ToolError):  # no proof
                self._yosys(script)
                return True
        return False

    def _yosys(self, script: str) -> None:
        (self.work / "script.ys").write_text(script)
        run_tool([find_tool("yosys"), "-q", "-s", "script.ys"], "yosys", directory=self.work)


class MutantLine(SerialTransport):
    """The line to a board in which one mutant is alive, for a `SerialDevice` with its `clock`.

    Time is the board's processor time, and that for which it sleeps while the host waits: however
    busy the computer is, no board is too late for that. Reading raises DeviceError after `LIMIT`.

    Parameters
    ----------
    program
        A board of `Mutants.build`.
    number
        The mutant; 0 for none.
    faults
        What happens to bytes on the way: to the board, and from it.
    """

    def __init__(
        self, program: Path, number: int, faults: tuple[FaultyLine, FaultyLine] | None = None
    ) -> None:
        self._board = subprocess.Popen(
            [program, "--watch-stdin", "--stats"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "MUTANT": str(number)},
            text=True,
        )
        assert self._board.stdout
        super().__init__(self._board.stdout.readline().strip(), CLOCK_HZ // DIVISOR)
        self._to_board, self._to_host = faults or (FaultyLine(0), FaultyLine(0))
        self._slept = 0.0
        self.byte_cycles = 0
        """Of the board's fastest byte, once the line is closed; 0 if it sent no two."""

    def _process(self) -> tuple[bool, float]:
        """Whether the board sleeps, and the seconds that it has computed."""
        stat = Path(f"/proc/{self._board.pid}/stat").read_text().rpartition(")")[2].split()
        return stat[0] == "S", (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")

    def clock(self) -> float:
        return self._slept + self._process()[1]

    def read(self, timeout: float) -> bytes:
        if self.clock() > LIMIT:
            raise DeviceError(f"no end after {LIMIT} s")
        data = super().read(timeout)
        if not data and timeout > 0 and self._process()[0]:
            self._slept += timeout
        return self._to_host.carry(data)

    def write(self, data: bytes) -> None:
        super().write(self._to_board.carry(data))

    def break_line(self) -> None:
        """The line to the board is low for a byte's time, stop bit and all."""
        self._board.send_signal(SIGUSR1)

    def close(self) -> None:
        super().close()
        try:
            said, _ = self._board.communicate(timeout=LIMIT)  # its standard input ends
            self.byte_cycles = json.loads(said)["byte_cycles"]
        except subprocess.TimeoutExpired:
            self._board.kill()
            self._board.communicate()
