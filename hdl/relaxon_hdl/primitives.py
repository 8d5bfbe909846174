"""One seam per primitive of the fabric: memories, multiplier, delay; portable or instantiated."""

from amaranth.hdl import Module, Signal, Value, signed, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["MULTIPLIER_LATENCY", "Multiplier", "Ram", "WeightRam", "delay"]

MULTIPLIER_LATENCY = 3


def delay(m: Module, value: Value, cycles: int, name: str, *, reset: bool = False) -> list[Signal]:
    """``value`` and its past: entry k is ``value`` k cycles ago. Entries nobody uses cost nothing.

    ``reset``: the registers start (and reset) at 0, for what must not happen by chance.
    """
    stages = [value]
    for k in range(1, cycles + 1):
        stage = Signal(value.shape(), name=f"{name}_{k}", reset_less=not reset)
        m.d.sync += stage.eq(stages[-1])
        stages.append(stage)
    return stages


def ram_members(width: int, depth: int) -> dict:
    address = (depth - 1).bit_length()
    return {
        "r_addr": In(address),
        "r_data": Out(width),
        "w_addr": In(address),
        "w_data": In(width),
        "w_en": In(1),
    }


class Ram(wiring.Component):
    """A memory with one read and one write port.

    ``r_data`` is the word at the ``r_addr`` of the cycle before. A read of the word written in the
    same cycle is undefined (the schedule has none), which saves the fabric's collision logic.

    Parameters
    ----------
    width, depth
        Bits of a word, words.

    Members
    -------
    r_addr : In, r_data : Out, w_addr : In, w_data : In, w_en : In(1)

    Attributes
    ----------
    words : MemoryData
        For simulations that look inside.
    """

    def __init__(self, width: int, depth: int):
        self.width = width
        self.depth = depth
        self.words = memory.MemoryData(shape=unsigned(width), depth=depth, init=[])
        super().__init__(ram_members(width, depth))

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = words = memory.Memory(self.words, attrs={"no_rw_check": 1})
        read = words.read_port()
        write = words.write_port()
        m.d.comb += [
            read.addr.eq(self.r_addr),
            self.r_data.eq(read.data),
            write.addr.eq(self.w_addr),
            write.data.eq(self.w_data),
            write.en.eq(self.w_en),
        ]
        return m


class WeightRam(wiring.Component):
    """A cell's weights.

    With 2 ports as `Ram`. With 1 port there is one address, ``r_addr``: a cycle with ``w_en``
    writes there and ``r_data`` of the next cycle is undefined.

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

    def __init__(self, width: int, depth: int, ports: int, family: str | None = None):
        self.width = width
        self.depth = depth
        self.ports = ports
        self.family = family
        self.ram = Ram(width, depth)
        super().__init__(ram_members(width, depth))

    def elaborate(self, platform):
        m = Module()
        if self.ports == 2:
            m.submodules.ram = ram = self.ram
            wiring.connect(m, wiring.flipped(self), ram)
            return m
        m.submodules.ram = ram = self.ram
        m.d.comb += [
            ram.r_addr.eq(self.r_addr),
            ram.w_addr.eq(self.r_addr),
            ram.w_data.eq(self.w_data),
            ram.w_en.eq(self.w_en),
            self.r_data.eq(ram.r_data),
        ]
        return m


class Multiplier(wiring.Component):
    """A signed product, registered before, within and after the multiplier.

    ``p[t] = a[t - 3] * b[t - 3]``; latency `MULTIPLIER_LATENCY`.

    Parameters
    ----------
    a_bits, b_bits
        Widths of the factors.
    family
        FPGA family; None for the portable multiplier.

    Members
    -------
    a, b : In(signed), p : Out(signed)
    """

    def __init__(self, a_bits: int, b_bits: int, family: str | None = None):
        self.family = family
        super().__init__(
            {
                "a": In(signed(a_bits)),
                "b": In(signed(b_bits)),
                "p": Out(signed(a_bits + b_bits)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        a = Signal.like(self.a, reset_less=True)
        b = Signal.like(self.b, reset_less=True)
        within = Signal.like(self.p, reset_less=True)
        out = Signal.like(self.p, reset_less=True)
        m.d.sync += [a.eq(self.a), b.eq(self.b), within.eq(a * b), out.eq(within)]
        m.d.comb += self.p.eq(out)
        return m
