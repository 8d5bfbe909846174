"""One seam per primitive of the fabric: memories, multiplier, delay; portable or instantiated."""

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Signal, Value, signed, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["FAMILIES", "MULTIPLIER_LATENCY", "Multiplier", "Ram", "WeightRam", "delay"]

FAMILIES = ("ice40", "ecp5")
"""FPGA families with primitives of their own here; None takes the portable ones."""

MULTIPLIER_LATENCY = 3

MAC16_SIDES = ("IRST", "ORST", "OLOAD", "ADDSUB", "OHOLD")
SPRAM_WIDTH, SPRAM_DEPTH = 16, 1 << 14


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
        # Read and then registered, which synthesis turns into the memory's own register. (Of a
        # synchronous port it would emulate what a collision reads, whatever the attribute says.)
        read = words.read_port(domain="comb")
        write = words.write_port()
        word = Signal(self.width, reset_less=True)
        m.d.sync += word.eq(read.data)
        m.d.comb += [
            read.addr.eq(self.r_addr),
            self.r_data.eq(word),
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
        if self.family == "ice40" and self.width <= SPRAM_WIDTH and self.depth <= SPRAM_DEPTH:
            out = Signal(SPRAM_WIDTH)
            m.submodules.spram = Instance(
                "SB_SPRAM256KA",
                i_CLOCK=ClockSignal(),
                i_ADDRESS=Cat(self.r_addr, Const(0, 14 - len(self.r_addr))),
                i_DATAIN=Cat(self.w_data, Const(0, SPRAM_WIDTH - self.width)),
                i_MASKWREN=Const(15, 4),
                i_WREN=self.w_en,
                i_CHIPSELECT=Const(1),
                i_STANDBY=Const(0),
                i_SLEEP=Const(0),
                i_POWEROFF=Const(1),  # low is off
                o_DATAOUT=out,
            )
            m.d.comb += self.r_data.eq(out)
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
        widest = max(len(self.a), len(self.b))
        if self.family == "ice40" and widest <= 16:
            self.mac16(m)
        elif self.family == "ecp5" and widest <= 18:
            self.mult18(m)
        else:
            self.portable(m)
        return m

    def portable(self, m: Module) -> None:
        a = Signal.like(self.a, reset_less=True)
        b = Signal.like(self.b, reset_less=True)
        within = Signal.like(self.p, reset_less=True)
        out = Signal.like(self.p, reset_less=True)
        m.d.sync += [a.eq(self.a), b.eq(self.b), within.eq(a * b), out.eq(within)]
        m.d.comb += self.p.eq(out)

    def mac16(self, m: Module) -> None:
        a, b, p = Signal(signed(16)), Signal(signed(16)), Signal(signed(32))
        sides = [f"{name}{side}" for name in MAC16_SIDES for side in ("TOP", "BOT")]
        tied = [*(f"{name}HOLD" for name in "ABCD"), *sides, "CI", "ACCUMCI", "SIGNEXTIN"]
        m.submodules.mac16 = Instance(
            "SB_MAC16",
            p_A_REG=Const(1, 1),
            p_B_REG=Const(1, 1),
            p_TOP_8x8_MULT_REG=Const(1, 1),
            p_BOT_8x8_MULT_REG=Const(1, 1),
            p_PIPELINE_16x16_MULT_REG1=Const(1, 1),
            p_PIPELINE_16x16_MULT_REG2=Const(1, 1),
            p_TOPOUTPUT_SELECT=Const(3, 2),
            p_BOTOUTPUT_SELECT=Const(3, 2),
            p_A_SIGNED=Const(1, 1),
            p_B_SIGNED=Const(1, 1),
            i_CLK=ClockSignal(),
            i_CE=Const(1),
            i_A=a,
            i_B=b,
            i_C=Const(0, 16),
            i_D=Const(0, 16),
            o_O=p,
            **{f"i_{name}": Const(0) for name in tied},
        )
        m.d.comb += [a.eq(self.a), b.eq(self.b), self.p.eq(p)]

    def mult18(self, m: Module) -> None:
        a, b, p = Signal(signed(18)), Signal(signed(18)), Signal(signed(36))
        m.submodules.mult18 = Instance(
            "MULT18X18D",
            p_REG_INPUTA_CLK="CLK0",
            p_REG_INPUTB_CLK="CLK0",
            p_REG_PIPELINE_CLK="CLK0",
            p_REG_OUTPUT_CLK="CLK0",
            p_GSR="DISABLED",
            i_CLK0=ClockSignal(),
            i_CE0=Const(1),
            i_RST0=Const(0),
            i_SIGNEDA=Const(1),
            i_SIGNEDB=Const(1),
            i_SOURCEA=Const(0),
            i_SOURCEB=Const(0),
            **{f"i_A{k}": a[k] for k in range(18)},
            **{f"i_B{k}": b[k] for k in range(18)},
            **{f"o_P{k}": p[k] for k in range(36)},
        )
        m.d.comb += [a.eq(self.a), b.eq(self.b), self.p.eq(p)]
