"""One seam per primitive of the fabric: memories, multiplier, delay; portable or instantiated.

A seam takes ``family``, the name of an FPGA family; None leaves everything to synthesis
(`Portable`). What a family instantiates instead is in the module of its name.
"""

import importlib
from collections.abc import Callable
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import memory as untyped
from amaranth.lib.wiring import In, Out

from ..component import Component
from ..families import find_family
from ..families.base import COPY, LOGIC_DEPTH

__all__ = [
    "LOGIC_DEPTH",
    "MULTIPLIER_LATENCY",
    "DelayLine",
    "Multiplier",
    "MuxAdder",
    "Portable",
    "Ram",
    "RightShift",
    "WeightRam",
    "banks",
    "copies",
    "delay",
    "primitives",
]

memory: Any = untyped  # its stub is of an earlier version

MULTIPLIER_LATENCY = 3


def delay(m: Module, value: Value, cycles: int, name: str, *, reset: bool = False) -> list[Value]:
    """``value`` and its past: entry k is ``value`` k cycles ago. Entries nobody uses cost nothing.

    ``reset``: the registers start (and reset) at 0, for what must not happen by chance.
    """
    stages: list[Value] = [value]
    for k in range(1, cycles + 1):
        stage = Signal(value.shape(), name=f"{name}_{k}", reset_less=not reset)
        m.d.sync += stage.eq(stages[-1])
        stages.append(stage)
    return stages


def copies(m: Module, value: Value, count: int, name: str, *, reset: bool = False) -> list[Signal]:
    """``count`` registered copies of ``value`` (one cycle late), to limit fan-out.

    Families whose synthesis would merge them again keep them apart (`Family.after_read`).
    """
    registers = [
        Signal(value.shape(), name=f"{name}_copy_{k}", reset_less=not reset, attrs={COPY: 1})
        for k in range(count)
    ]
    m.d.sync += [register.eq(value) for register in registers]
    return registers


def ram_members(width: int, depth: int) -> dict:
    address = (depth - 1).bit_length()
    return {
        "r_addr": In(address),
        "r_data": Out(width),
        "w_addr": In(address),
        "w_data": In(width),
        "w_en": In(1),
    }


class Seam(Component):
    """A component that a family may make in its own way.

    ``made_by`` is the method of `Portable` that makes it.
    """

    family: str | None
    made_by: str

    def build(self, m: Module) -> None:
        getattr(primitives(self.family), self.made_by)(m, self)


class Ram(Seam):
    """A memory with one read and one write port.

    ``r_data`` is the word at the ``r_addr`` of ``latency`` cycles before. A read of the word
    written in the same cycle is undefined (the schedule has none), which saves the fabric's
    collision logic.

    Parameters
    ----------
    width, depth
        Bits of a word, words.
    family
        FPGA family; None for the portable memory.
    latency
        1 or 2. With 2 the word is in a register, the memory's own where it has one, and is there
        early in its cycle.

    Members
    -------
    r_addr : In, r_data : Out, w_addr : In, w_data : In, w_en : In(1)

    Attributes
    ----------
    words : MemoryData
        For simulations that look inside (of the portable memory).
    """

    def __init__(self, width: int, depth: int, family: str | None = None, *, latency: int = 1):
        self.width = width
        self.depth = depth
        self.family = family
        self.latency = latency
        self.words = memory.MemoryData(shape=unsigned(width), depth=depth, init=[])
        super().__init__(ram_members(width, depth))

    def build(self, m: Module) -> None:
        word = Signal(self.width)
        made = primitives(self.family).ram(m, self, word)
        m.d.comb += self.r_data.eq(delay(m, word, self.latency - made, "word")[-1])


def banks(
    m: Module,
    ram: Ram,
    r_data: Signal,
    depths: tuple[int, ...],
    blocks: Callable[[Module, Ram, int, int, Value], Value],
) -> None:
    """Make a memory of blocks, in the shapes that need the fewest without an output multiplexer
    beyond two: a depth of 768 is 512 words in blocks of one shape and 256 in blocks of another.

    Parameters
    ----------
    r_data
        The word read, one cycle late.
    depths
        Words of a block in each of its shapes, ascending powers of two.
    blocks
        ``blocks(m, ram, base, size, here)`` makes the blocks of ``size`` words from ``base`` on and
        returns what they read; they are written where ``here`` is high.
    """
    reads, base = [], 0
    while base < ram.depth:
        left = ram.depth - base
        size = max(depths[0], min(depths[-1], 1 << (left.bit_length() - 1)))
        inside = size.bit_length() - 1
        here = ram.w_addr[inside:] == base >> inside
        reads.append((base >> inside, inside, blocks(m, ram, base, size, here)))
        base += size
    address = Signal.like(ram.r_addr, reset_less=True)
    m.d.sync += address.eq(ram.r_addr)
    m.d.comb += r_data.eq(reads[-1][2])
    for tag, inside, word in reversed(reads[:-1]):
        with m.If(address[inside:] == tag):
            m.d.comb += r_data.eq(word)


class DelayLine(Seam):
    """``o`` is ``i`` of ``cycles`` ago, kept in a memory where registers are dear.

    Parameters
    ----------
    width
    cycles
        2 at least.
    family
        FPGA family; None for the portable memory.

    Members
    -------
    i : In, o : Out
    """

    def __init__(self, width: int, cycles: int, family: str | None = None):
        self.cycles = cycles
        self.ring = Ram(width, 1 << cycles.bit_length(), family)
        super().__init__({"i": In(width), "o": Out(width)})

    def build(self, m: Module) -> None:
        m.submodules.ring = ring = self.ring
        at = Signal.like(ring.w_addr)
        m.d.sync += at.eq(at + 1)
        m.d.comb += [
            ring.w_addr.eq(at),
            ring.w_data.eq(self.i),
            ring.w_en.eq(1),
            ring.r_addr.eq(at - (self.cycles - 1)),
            self.o.eq(ring.r_data),
        ]


class RightShift(Seam):
    """``o = i >> by``, and the bit of ``i`` below: the last one shifted out (0 if ``by`` is 0).
    Combinational.

    Parameters
    ----------
    width
    family
        FPGA family; None for the portable shifter.

    Members
    -------
    i : In(signed), by : In(4), o : Out(signed), below : Out(1)
    """

    made_by = "shift"

    def __init__(self, width: int, family: str | None = None):
        self.family = family
        super().__init__(
            {
                "i": In(signed(width)),
                "by": In(4),
                "o": Out(signed(width)),
                "below": Out(1),
            }
        )


class MuxAdder(Seam):
    """``s = a + (b if choose else c) + carry``, or with ``subtract`` ``a - (b if choose else c)``.
    Combinational.

    The tables of ECP5's carry chains choose on the way, which synthesis does not see.

    Parameters
    ----------
    a_bits, b_bits, c_bits, s_bits
        Widths.
    subtract
    family
        FPGA family; None for a multiplexer and an adder.

    Members
    -------
    a, b, c : In(signed), choose : In(1), s : Out(signed)
    carry : In(1)
        Not where it subtracts.
    """

    made_by = "adder"

    def __init__(
        self,
        a_bits: int,
        b_bits: int,
        c_bits: int,
        s_bits: int,
        family: str | None = None,
        *,
        subtract: bool = False,
    ):
        self.family = family
        self.subtract = subtract
        super().__init__(
            {
                "a": In(signed(a_bits)),
                "b": In(signed(b_bits)),
                "c": In(signed(c_bits)),
                "choose": In(1),
                "s": Out(signed(s_bits)),
                **({} if subtract else {"carry": In(1)}),
            }
        )


class WeightRam(Seam):
    """A cell's weights.

    With 2 ports as `Ram` of latency 2. With 1 port of latency 1, and there is one address,
    ``r_addr``: a cycle with ``w_en`` writes there and ``r_data`` of the next cycle is undefined.

    Parameters
    ----------
    width, depth
        Bits of a word, words.
    ports
        1 or 2.
    family
        FPGA family; None for the portable memory.

    Members
    -------
    As `Ram`; ``w_addr`` is ignored with one port.
    """

    made_by = "weights"

    def __init__(self, width: int, depth: int, ports: int, family: str | None = None):
        self.width = width
        self.depth = depth
        self.ports = ports
        self.family = family
        super().__init__(ram_members(width, depth))


class Multiplier(Seam):
    """A signed product, registered before, within and after the multiplier.

    ``p[t] = a[t - 3] * b[t - 3]``, or minus it; latency `MULTIPLIER_LATENCY`.

    Parameters
    ----------
    a_bits, b_bits
        Widths of the factors.
    family
        FPGA family; None for the portable multiplier.

    Members
    -------
    a, b : In(signed), p : Out(signed)
    negate : In(1)
        A cycle before ``p``: change its sign. Only where `Portable.negates`, at no cost there;
        elsewhere a factor one bit wider is cheaper, since it serves many cells.
    """

    made_by = "multiply"

    def __init__(self, a_bits: int, b_bits: int, family: str | None = None):
        self.family = family
        super().__init__(
            {
                "a": In(signed(a_bits)),
                "b": In(signed(b_bits)),
                "p": Out(signed(a_bits + b_bits)),
                "negate": In(1),
            }
        )


class Portable:
    """How the seams are made where a family has nothing better: what synthesis infers.

    A family's class ``Primitives`` overrides what it instantiates. Each method adds to ``m``, the
    module of the seam that it is given.

    Attributes
    ----------
    multiplier_cell
        Type of the cell that multiplies, in RTLIL.
    """

    multiplier_cell = "$mul"

    def ram(self, m: Module, ram: Ram, r_data: Signal) -> int:
        """Drive ``r_data`` with the word read; returns with which latency, at most the RAM's."""
        # Read and then registered, which synthesis turns into the memory's own register. (Of a
        # synchronous port it would emulate what a collision reads, whatever the attribute says.)
        m.submodules.memory = words = memory.Memory(ram.words, attrs={"no_rw_check": 1})
        read = words.read_port(domain="comb")
        write = words.write_port()
        word = Signal(ram.width, reset_less=True)
        m.d.sync += word.eq(read.data)
        m.d.comb += [
            read.addr.eq(ram.r_addr),
            r_data.eq(word),
            write.addr.eq(ram.w_addr),
            write.data.eq(ram.w_data),
            write.en.eq(ram.w_en),
        ]
        return 1

    def weights(self, m: Module, weights: WeightRam) -> None:
        two = weights.ports == 2
        family = weights.family if two else None
        m.submodules.ram = ram = Ram(weights.width, weights.depth, family, latency=weights.ports)
        m.d.comb += [
            ram.r_addr.eq(weights.r_addr),
            ram.w_addr.eq(weights.w_addr if two else weights.r_addr),
            ram.w_data.eq(weights.w_data),
            ram.w_en.eq(weights.w_en),
            weights.r_data.eq(ram.r_data),
        ]

    def shift(self, m: Module, shift: RightShift) -> None:
        shifted = Cat(Const(0, 1), shift.i).as_signed() >> shift.by
        m.d.comb += Cat(shift.below, shift.o).eq(shifted)

    def adder(self, m: Module, adder: MuxAdder) -> None:
        a, chosen = adder.a, Mux(adder.choose, adder.b, adder.c)
        m.d.comb += adder.s.eq(a - chosen if adder.subtract else a + chosen + adder.carry)

    def multiply(self, m: Module, multiplier: Multiplier) -> None:
        a = Signal.like(multiplier.a, reset_less=True)
        b = Signal.like(multiplier.b, reset_less=True)
        within = Signal.like(multiplier.p, reset_less=True)
        out = Signal.like(multiplier.p, reset_less=True)
        m.d.sync += [a.eq(multiplier.a), b.eq(multiplier.b), within.eq(a * b), out.eq(within)]
        m.d.comb += multiplier.p.eq(out)

    def negates(self, a_bits: int, b_bits: int) -> bool:
        """Whether the multiplier can change its product's sign (`Multiplier.negate`)."""
        return False


def primitives(family: str | None) -> Portable:
    """How the seams of a family are made. Raises ConfigError if there is no such family."""
    module = find_family(family).primitives if family else ""
    return importlib.import_module(module).Primitives() if module else Portable()
