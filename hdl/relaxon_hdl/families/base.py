"""What differs between FPGA families, as one object each.

No module of this package imports Amaranth before a method needs it: listing boards works without.
"""

from dataclasses import dataclass, field
from textwrap import dedent
from typing import TYPE_CHECKING, Any, NamedTuple

from relaxon_isa import ArrayConfig, ConfigError

if TYPE_CHECKING:
    from amaranth.hdl import Module, Signal, Value

__all__ = ["COPY", "LOGIC_DEPTH", "BlockRam", "Family", "LargeRam", "Pll", "Wheel"]

COPY = "relaxon_copy"
"""Attribute of the signals of `relaxon_hdl.primitives.copies`."""

LOGIC_DEPTH = 128
"""Words up to which a memory of logic is better than block RAM."""


class Pll(NamedTuple):
    """Dividers of a PLL, each at least 1.

    The oscillator runs at ``crystal / ref * feedback`` and the output at that divided by ``out``
    (iCE40: a power of two). ECP5: the output runs at ``crystal / ref * feedback`` and the
    oscillator at ``out`` times that.

    ``pad``: the clock's pin is the PLL's own (iCE40), which then contains its buffer.
    """

    ref: int
    feedback: int
    out: int
    pad: bool = False


class Wheel(NamedTuple):
    """A program as a Python package brings it.

    ``script`` is its name there, ``extra`` the part of relaxon that depends on ``package``. On PATH
    the program is called ``native`` (empty: by our name of it) and is used from ``oldest`` on.
    """

    script: str
    package: str
    extra: str = "boards"
    oldest: tuple[int, ...] = ()
    native: str = ""


@dataclass(frozen=True, kw_only=True)
class BlockRam:
    """A family's block RAM, and which memories are made of it.

    Parameters
    ----------
    shapes
        Bits of a word in each depth that a block can have, ascending powers of two.
    banked
        Whether one memory may be of blocks of different depths (`relaxon_hdl.primitives.banks`).
    others
        Blocks of link, counters and identity, the same for every machine.
    logic_words, logic_bits
        Words and bits up to which a memory is made of logic.
    label
        In reports.
    """

    shapes: dict[int, int]
    banked: bool = False
    others: int = 0
    logic_words: int = LOGIC_DEPTH
    logic_bits: int = 0
    label: str = "BRAM"

    def blocks(self, width: int, depth: int) -> int:
        """How many blocks a memory takes, of words of ``width`` bits."""
        if depth <= self.logic_words or width * depth <= self.logic_bits:
            return 0
        if self.banked:
            count = base = 0
            while base < depth:
                left = 1 << ((depth - base).bit_length() - 1)
                size = max(min(self.shapes), min(max(self.shapes), left))
                count += -(-width // self.shapes[size])
                base += size
            return count
        size = next((words for words in self.shapes if words >= depth), max(self.shapes))
        return -(-depth // size) * -(-width // self.shapes[size])


class LargeRam(NamedTuple):
    """Memories of one port beside the block RAMs: bits of a word, words, their label in reports."""

    width: int
    depth: int
    label: str


@dataclass(frozen=True, kw_only=True)
class Family:
    """One FPGA family; what is no value, a subclass overrides.

    Synthesis needs ``name``, ``suffix``, ``synthesis`` and ``cells``; place and route
    ``resources``, ``seed_files`` and ``wheels`` too; counting before synthesis ``block_ram`` and
    ``factor``. Everything else is a family's choice.

    Parameters
    ----------
    name
        The key in `relaxon_hdl.families.FAMILIES`.
    suffix
        How the file name of a bitstream ends.
    synthesis
        The command of yosys, with its options.
    resources
        Label in reports, and the name that nextpnr counts it under.
    cells
        Label in reports, and prefixes of synthesised cells; for what nextpnr does not count.
    seed_files
        Options of nextpnr that name a file which every seed writes.
    wheels
        Place and route tools and packers, and the packages to take them from if PATH has none.
    vendor
        Program of the vendor that makes the bitstream where open tools end with synthesis.
    experimental
        Caveat shown in listings and reports of its boards; empty if none.
    after_read
        Commands of yosys between reading the design and synthesis.
    primitives
        Module with a subclass ``Primitives`` of `relaxon_hdl.primitives.Portable`; empty if all is
        left to synthesis.
    trial
        A small machine for tests of the primitives and of the netlist; None if there are no
        primitives.
    block_ram
        What memories are made of; None if nobody has said.
    large_ram
        What weights with one port are made of where the device has it; None if the family has none.
    factor
        Bits of a multiplier's two signed factors; None if nobody has said.
    gate_cell, gate_ports
        The clock gate and its ports: clock in, enable, clock out. Empty: the crystal is the clock,
        steady before configuration ends.
    oscillator_hz, detector_hz
        Lowest and highest frequency of the PLL's oscillator and at its phase detector.
    """

    name: str
    suffix: str
    synthesis: str
    resources: dict[str, str] = field(default_factory=dict)
    cells: dict[str, tuple[str, ...]] = field(default_factory=dict)
    seed_files: tuple[str, ...] = ()
    wheels: dict[str, Wheel] = field(default_factory=dict)
    vendor: str = ""
    experimental: str = ""
    after_read: str = ""
    primitives: str = ""
    trial: ArrayConfig | None = None
    block_ram: BlockRam | None = None
    large_ram: LargeRam | None = None
    factor: tuple[int, int] | None = None
    gate_cell: str = ""
    gate_ports: tuple[str, str, str] = ("", "", "")
    oscillator_hz: tuple[float, float] = (0, float("inf"))
    detector_hz: tuple[float, float] = (0, float("inf"))

    @property
    def models(self) -> str:
        """Path of yosys' simulation models, below its shared files."""
        return f"{self.synthesis.split()[0].removeprefix('synth_')}/cells_sim.v"

    def rate(self, crystal_hz: int, pll: Pll) -> int:
        """Frequency in Hz of the PLL's output."""
        return crystal_hz * pll.feedback // pll.ref // pll.out

    def check_clock(self, crystal_hz: int, pll: Pll | None, clock_hz: int) -> None:
        """Raise ConfigError unless the PLL, or the crystal without one, makes ``clock_hz``."""
        if pll and type(self).pll is Family.pll:
            raise ConfigError(f"no PLL of {self.name} is known here: the crystal must be the clock")
        rate = self.rate(crystal_hz, pll) if pll else crystal_hz
        if rate != clock_hz:
            raise ConfigError(f"the {'PLL' if pll else 'crystal'} makes {rate} Hz, not {clock_hz}")
        limits = pll and (
            ("oscillator", clock_hz * pll.out, self.oscillator_hz),
            ("phase detector", crystal_hz / pll.ref, self.detector_hz),
        )
        for what, hz, (low, high) in limits or ():
            if not low <= hz <= high:
                raise ConfigError(
                    f"the PLL's {what} would run at {hz / 1e6:g} MHz: must be {low / 1e6:g} to "
                    f"{high / 1e6:g}"
                )

    def multipliers(self, config: ArrayConfig) -> dict[str, int]:
        """Multipliers that a machine takes, by what takes them. Needs ``factor``."""
        assert self.factor
        a, b = self.factor
        state, widest = config.state_bits, max(config.state_bits, config.weight_bits)
        # Of a wide factor's parts only the highest has a sign; that of a state may change: a bit.
        each = min(
            -(-state // (one - 1)) * -(-(widest - 1) // (other - 1))
            for one, other in ((a, b), (b, a))
        )
        return {"cells": config.p**2 * each}

    def places(self, device: str, config: ArrayConfig) -> dict[str, str]:
        """Of blocks of an array that fills a device: patterns (yosys') of their names in the array,
        and nextpnr's name of the place. Empty if the placer finds places for all."""
        return {}

    def platform(self, board: type) -> type:
        """Amaranth's platform class for open tools, from a board's of amaranth_boards.

        Yosys and nothing behind it, unless there is place and route.
        """
        if self.seed_files:
            return board
        from amaranth.build import TemplatedPlatform

        script = f"""\
            # {{{{autogenerated}}}}
            read_rtlil {{{{name}}}}.il
            {self.synthesis} {{{{get_override("synth_opts")|options}}}} -top {{{{name}}}}
            {{{{get_override("script_after_synth")}}}}
            write_json {{{{name}}}}.json
        """
        members = {
            "required_tools": ["yosys"],
            "file_templates": {
                **TemplatedPlatform.build_script_templates,
                "{{name}}.il": "# {{autogenerated}}\n{{emit_rtlil()}}\n",
                "{{name}}.ys": dedent(script),
            },
            "command_templates": [
                '{{invoke_tool("yosys")}} {{quiet("-q")}} -l {{name}}.rpt {{name}}.ys'
            ],
            # Yosys need not know the vendor's cells: Amaranth's portable ones stand for them.
            **dict.fromkeys(
                ("get_io_buffer", "get_ff_sync", "get_async_ff_sync"),
                lambda _, part: part.elaborate(None),
            ),
        }
        return type("SynthesisOnly", (board,), members)

    def overrides(self, mhz: float) -> dict[str, str]:
        """More of what Amaranth's build templates take, for an array clock of ``mhz``."""
        return {"script_after_read": self.after_read} if self.after_read else {}

    def pll(
        self,
        m: "Module",
        pll: Pll,
        crystal_hz: int,
        crystal: Any,
        raw: "Signal",
        locked: "Signal",
    ) -> "Signal":
        """Make ``raw`` from ``crystal`` (the pin itself with ``pll.pad``), and ``locked``.

        Returns what the gate takes: ``raw``, or another output in phase with it.
        """
        raise NotImplementedError

    def gate(
        self, m: "Module", raw: "Signal", source: "Signal", is_open: "Value", clk: "Signal"
    ) -> None:
        """Drive ``clk`` with ``source`` while ``is_open``, a signal of the clock ``raw``."""
        from amaranth.hdl import Instance

        i, ce, o = self.gate_ports
        ports = {f"i_{i}": source, f"i_{ce}": is_open, f"o_{o}": clk}
        m.submodules.gate = Instance(self.gate_cell, **ports)
