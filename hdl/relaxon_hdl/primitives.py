"""One seam per primitive of the fabric: memories, multiplier, delay; portable or instantiated."""

from collections.abc import Callable

from amaranth.hdl import (
    Cat,
    ClockSignal,
    Const,
    Instance,
    Module,
    Mux,
    Signal,
    Value,
    signed,
    unsigned,
)
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

__all__ = [
    "FAMILIES",
    "MULTIPLIER_LATENCY",
    "DelayLine",
    "Multiplier",
    "MuxAdder",
    "Ram",
    "RightShift",
    "WeightRam",
    "copies",
    "delay",
]

FAMILIES = ("ice40", "ecp5", "gowin")
"""FPGA families with primitives of their own here; None takes the portable ones."""

MULTIPLIER_LATENCY = 3

COPY = "relaxon_copy"
"""Attribute of the signals of `copies`."""
PREPARE = {"ecp5": f"setattr -set keep 1 */a:{COPY} %ci1:+$dff[Q] */t:$dff %i"}
"""What yosys is told of a family after reading. Copies are kept apart, as equal registers would be
made one again; elsewhere arrays are small and registers dear."""

MAC16_SIDES = ("IRST", "ORST", "OLOAD", "OHOLD")
RAM40_DEPTHS = (256, 512, 1024, 2048)
RAM40_LINES = (tuple(range(16)), tuple(range(0, 16, 2)), (1, 5, 9, 13), (3, 11))
"""Of a block's 16 data lines, those that carry data in each of its shapes."""
SPRAM_WIDTH, SPRAM_DEPTH = 16, 1 << 14
SDPX9_WIDTHS = {512: 36, 1024: 18, 2048: 9}
DP16K_WIDTHS = {1024: 18, 2048: 9, 4096: 4, 8192: 2, 16384: 1}
LOGIC_DEPTH, DP16K_WIDE = 128, 512
"""Up to how many words a memory of logic is the better one, or a block of 36 bits to a word, which
is left to synthesis: no document says how its two halves' registers are enabled."""


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


def copies(m: Module, value: Value, count: int, name: str, *, reset: bool = False) -> list[Signal]:
    """``value`` of a cycle ago, ``count`` times: a register each for what many are told, so that no
    net has to reach all of them. `PREPARE` keeps them apart."""
    registers = []
    for k in range(count):
        register = Signal(
            value.shape(), name=f"{name}_copy_{k}", reset_less=not reset, attrs={COPY: 1}
        )
        m.d.sync += register.eq(value)
        registers.append(register)
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


class Ram(wiring.Component):
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

    def elaborate(self, platform):
        m = Module()
        word = Signal(self.width)
        ends = self.latency
        if self.family == "ice40":
            self.banks(m, word, RAM40_DEPTHS, self.ram40)
        elif self.family == "gowin" and self.depth > LOGIC_DEPTH:
            self.banks(m, word, tuple(SDPX9_WIDTHS), self.sdpx9)
        elif self.family == "ecp5" and ends == 2 and self.fits_dp16k:
            self.dp16k(m, word)
            ends = 1
        else:
            self.portable(m, word)
        m.d.comb += self.r_data.eq(delay(m, word, ends - 1, "word")[-1])
        return m

    @property
    def fits_dp16k(self) -> bool:
        least = DP16K_WIDE if self.width > 18 else LOGIC_DEPTH
        return least < self.depth <= max(DP16K_WIDTHS)

    def portable(self, m: Module, r_data: Signal) -> None:
        # Read and then registered, which synthesis turns into the memory's own register. (Of a
        # synchronous port it would emulate what a collision reads, whatever the attribute says.)
        m.submodules.memory = words = memory.Memory(self.words, attrs={"no_rw_check": 1})
        read = words.read_port(domain="comb")
        write = words.write_port()
        word = Signal(self.width, reset_less=True)
        m.d.sync += word.eq(read.data)
        m.d.comb += [
            read.addr.eq(self.r_addr),
            r_data.eq(word),
            write.addr.eq(self.w_addr),
            write.data.eq(self.w_data),
            write.en.eq(self.w_en),
        ]

    def banks(
        self,
        m: Module,
        r_data: Signal,
        depths: tuple[int, ...],
        blocks: Callable[[Module, int, int, Value], Value],
    ) -> None:
        """Blocks in the shapes that need the fewest without an output multiplexer beyond two: a
        depth of 768 is 512 words in blocks of one shape and 256 in blocks of another.

        ``blocks`` makes those of ``size`` words from ``base`` on, and returns what they read; they
        are written where the last argument is high.
        """
        parts, base = [], 0
        while base < self.depth:
            left = self.depth - base
            size = max(depths[0], min(depths[-1], 1 << (left.bit_length() - 1)))
            parts.append((base, size))
            base += size
        reads = []
        for base, size in parts:
            inside = size.bit_length() - 1
            here = self.w_addr[inside:] == base >> inside
            reads.append((base >> inside, inside, blocks(m, base, size, here)))
        address = Signal.like(self.r_addr, reset_less=True)
        m.d.sync += address.eq(self.r_addr)
        m.d.comb += r_data.eq(reads[-1][2])
        for tag, inside, word in reversed(reads[:-1]):
            with m.If(address[inside:] == tag):
                m.d.comb += r_data.eq(word)

    def ram40(self, m: Module, base: int, size: int, here: Value) -> Value:
        """Blocks of 4 kb. Instances, since the inferred ones pay a LUT a bit for the zero that a
        register starts with."""
        mode = RAM40_DEPTHS.index(size)
        lines = RAM40_LINES[mode]
        inside = size.bit_length() - 1
        bits = []
        for low in range(0, self.width, len(lines)):
            data = self.w_data[low : low + len(lines)]
            w_lines = [Const(0, 1)] * 16
            for k, bit in enumerate(data):
                w_lines[lines[k]] = bit
            r_lines = Signal(16, name=f"read_{base}_{low}")
            m.submodules[f"block_{base}_{low}"] = Instance(
                "SB_RAM40_4K",
                p_READ_MODE=mode,
                p_WRITE_MODE=mode,
                i_RCLK=ClockSignal(),
                i_RCLKE=Const(1),
                i_RE=Const(1),
                i_RADDR=narrow(self.r_addr, inside),
                i_WCLK=ClockSignal(),
                i_WCLKE=self.w_en & here,
                i_WE=Const(1),
                i_WADDR=narrow(self.w_addr, inside),
                i_WDATA=Cat(w_lines),
                i_MASK=Const(0, 16),
                o_RDATA=r_lines,
            )
            bits += [r_lines[lines[k]] for k in range(len(data))]
        return Cat(bits)

    def sdpx9(self, m: Module, base: int, size: int, here: Value) -> Value:
        """Blocks of 18 kb, one port to write and one to read. Instances, since synthesis takes
        blocks of two equal ports, whose second one nextpnr does not time (nextpnr #1786). Without
        their output registers, of which few work (apicula #251)."""
        lines = SDPX9_WIDTHS[size]
        inside = size.bit_length() - 1
        below = 14 - inside  # address lines below a word's; to write they enable its bytes
        written, read = Signal(14, name=f"to_{base}"), Signal(14, name=f"from_{base}")
        m.d.comb += [
            written.eq(Cat(Const((1 << lines // 9) - 1 if lines > 9 else 0, below), self.w_addr)),
            read.eq(Cat(Const(0, below), self.r_addr)),
        ]
        words = []
        for low in range(0, self.width, lines):
            data, word = Signal(36), Signal(36, name=f"read_{base}_{low}")
            m.d.comb += data.eq(self.w_data[low : low + lines])
            m.submodules[f"block_{base}_{low}"] = Instance(
                "SDPX9B",
                p_BIT_WIDTH_0=lines,
                p_BIT_WIDTH_1=lines,
                p_READ_MODE=Const(0, 1),
                p_RESET_MODE="SYNC",
                p_BLK_SEL_0=Const(0, 3),
                p_BLK_SEL_1=Const(0, 3),
                i_CLKA=ClockSignal(),
                i_CLKB=ClockSignal(),
                i_CEA=self.w_en & here,
                i_CEB=Const(1),
                i_OCE=Const(1),
                i_RESETA=Const(0),
                i_RESETB=Const(0),
                i_BLKSELA=Const(0, 3),
                i_BLKSELB=Const(0, 3),
                i_ADA=written,
                i_ADB=read,
                i_DI=data,
                o_DO=word,
            )
            words.append(word[:lines])
        return Cat(words)[: self.width]

    def dp16k(self, m: Module, r_data: Signal) -> None:
        """Blocks of 18 kb with their output registers, of the widest shape that is deep enough.
        One port writes, the other reads."""
        lines = next(width for depth, width in DP16K_WIDTHS.items() if depth >= self.depth)
        low = {18: 4, 9: 3}.get(lines, lines // 2)  # address bits below a word of that width
        bytes_on = Const(3 if lines == 18 else 0, low)  # the enables of a word's two bytes
        written, read = Signal(14), Signal(14)
        m.d.comb += [
            written.eq(Cat(bytes_on, self.w_addr)),
            read.eq(Cat(Const(0, low), self.r_addr)),
        ]
        for at in range(0, self.width, lines):
            data, word = Signal(18), Signal(18, name=f"read_{at}")
            m.d.comb += [
                data.eq(self.w_data[at : at + lines]),
                r_data[at : at + lines].eq(word),
            ]
            m.submodules[f"block_{at}"] = Instance(
                "DP16KD",
                p_DATA_WIDTH_A=lines,
                p_DATA_WIDTH_B=lines,
                p_REGMODE_A="NOREG",
                p_REGMODE_B="OUTREG",
                p_WRITEMODE_A="NORMAL",
                p_WRITEMODE_B="NORMAL",
                p_RESETMODE="SYNC",
                p_ASYNC_RESET_RELEASE="SYNC",
                p_CSDECODE_A="0b000",
                p_CSDECODE_B="0b000",
                p_GSR="DISABLED",
                i_CLKA=ClockSignal(),
                i_CLKB=ClockSignal(),
                i_CEA=Const(1),
                i_CEB=Const(1),
                i_OCEA=Const(1),
                i_OCEB=Const(1),
                i_WEA=self.w_en,
                i_WEB=Const(0),
                **{f"i_RST{port}": Const(0) for port in "AB"},
                **{f"i_CS{port}{k}": Const(0) for port in "AB" for k in range(3)},
                **{f"i_ADA{k}": written[k] for k in range(14)},
                **{f"i_ADB{k}": read[k] for k in range(14)},
                **{f"i_DIA{k}": data[k] for k in range(18)},
                **{f"i_DIB{k}": Const(0) for k in range(18)},
                **{f"o_DOB{k}": word[k] for k in range(18)},
            )


def narrow(address: Value, bits: int) -> Value:
    """The lowest ``bits`` of an address, on a block's 11 lines."""
    low = address[:bits]
    return Cat(low, Const(0, 11 - len(low)))


class DelayLine(wiring.Component):
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

    def elaborate(self, platform):
        m = Module()
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
        return m


class RightShift(wiring.Component):
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

    def elaborate(self, platform):
        m = Module()
        width = len(self.i)
        if self.family != "ice40" or width > 17:
            m.d.comb += Cat(self.below, self.o).eq(Cat(Const(0, 1), self.i).as_signed() >> self.by)
            return m
        # A spare multiplier shifts: by 2**(15 - by), of all but the lowest bit, which matters only
        # where ``by`` is 0 or 1.
        upper = self.i[1:].as_signed()  # 16 bits at most
        product = Signal(signed(32))
        power = Signal(16)
        m.d.comb += power.eq(Const(1 << 15, 16) >> self.by)
        mac16(m, upper, power, product, b_signed=False)
        lowest = self.i[0]
        m.d.comb += [
            self.below.eq(product[13] | (lowest & (self.by == 1))),
            self.o.eq(Cat(product[14] | (lowest & (self.by == 0)), product[15:31])),
        ]
        return m


class MuxAdder(wiring.Component):
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

    def elaborate(self, platform):
        m = Module()
        if self.family == "ecp5":
            self.ccu2c(m)
            return m
        chosen = Mux(self.choose, self.b, self.c)
        m.d.comb += self.s.eq(self.a - chosen if self.subtract else self.a + chosen + self.carry)
        return m

    def ccu2c(self, m: Module) -> None:
        """A table makes a ^ (choose ? b : c). Where that is 0 the carry is a, which is what the
        table has at choose = c = 0, where the block looks for it."""
        width = len(self.s) + len(self.s) % 2
        a, b, c, s = (Signal(signed(width), name=f"{name}_wide") for name in "abcs")
        flip = -1 if self.subtract else 0
        m.d.comb += [a.eq(self.a), b.eq(self.b ^ flip), c.eq(self.c ^ flip), self.s.eq(s)]
        table = 0
        for line in range(16):
            bit_a, bit_b, chosen, bit_c = (line >> k & 1 for k in range(4))
            table |= (bit_a ^ (bit_b if chosen else bit_c)) << line
        carries = Signal(width // 2 + 1)
        m.d.comb += carries[0].eq(1 if self.subtract else self.carry)
        for k in range(0, width, 2):
            m.submodules[f"bits_{k}"] = Instance(
                "CCU2C",
                p_INIT0=Const(table, 16),
                p_INIT1=Const(table, 16),
                p_INJECT1_0="NO",
                p_INJECT1_1="NO",
                i_CIN=carries[k // 2],
                o_COUT=carries[k // 2 + 1],
                **{f"i_A{j}": a[k + j] for j in (0, 1)},
                **{f"i_B{j}": b[k + j] for j in (0, 1)},
                **{f"i_C{j}": self.choose for j in (0, 1)},
                **{f"i_D{j}": c[k + j] for j in (0, 1)},
                **{f"o_S{j}": s[k + j] for j in (0, 1)},
            )


class WeightRam(wiring.Component):
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

    def __init__(self, width: int, depth: int, ports: int, family: str | None = None):
        self.width = width
        self.depth = depth
        self.ports = ports
        self.family = family
        self.spram = (
            ports == 1 and family == "ice40" and width <= SPRAM_WIDTH and depth <= SPRAM_DEPTH
        )
        super().__init__(ram_members(width, depth))

    def elaborate(self, platform):
        m = Module()
        if self.spram:
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
        two = self.ports == 2
        family = self.family if two else None
        m.submodules.ram = ram = Ram(self.width, self.depth, family, latency=self.ports)
        m.d.comb += [
            ram.r_addr.eq(self.r_addr),
            ram.w_addr.eq(self.w_addr if two else self.r_addr),
            ram.w_data.eq(self.w_data),
            ram.w_en.eq(self.w_en),
            self.r_data.eq(ram.r_data),
        ]
        return m


class Multiplier(wiring.Component):
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
        A cycle before ``p``: change its sign. Only where `negates`, which costs nothing there;
        elsewhere a factor one bit wider is cheaper, since it serves many cells.
    """

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

    @staticmethod
    def negates(a_bits: int, b_bits: int, family: str | None) -> bool:
        """Whether the primitive can change the product's sign."""
        return family == "ice40" and max(a_bits, b_bits) <= 16

    def elaborate(self, platform):
        m = Module()
        widest = max(len(self.a), len(self.b))
        if self.negates(len(self.a), len(self.b), self.family):
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
        product = Signal(signed(32))
        mac16(m, self.a, self.b, product, negate=self.negate, registered=True)
        m.d.comb += self.p.eq(product)

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


def mac16(m: Module, a, b, product, *, negate=0, registered=False, b_signed=True) -> None:
    """An SB_MAC16: ``product = a * b``; or with three registers, and minus that if ``negate``."""
    a16, b16 = Signal(signed(16)), Signal(signed(16))
    m.d.comb += [a16.eq(a), b16.eq(b)]
    if registered:
        # The third register is the accumulator's, behind 0 + product or 0 - product.
        options = {
            "p_A_REG": Const(1, 1),
            "p_B_REG": Const(1, 1),
            "p_TOP_8x8_MULT_REG": Const(1, 1),
            "p_BOT_8x8_MULT_REG": Const(1, 1),
            "p_PIPELINE_16x16_MULT_REG1": Const(1, 1),
            "p_TOPOUTPUT_SELECT": Const(1, 2),
            "p_BOTOUTPUT_SELECT": Const(1, 2),
            "p_TOPADDSUB_LOWERINPUT": Const(2, 2),
            "p_BOTADDSUB_LOWERINPUT": Const(2, 2),
            "p_TOPADDSUB_UPPERINPUT": Const(1, 1),
            "p_BOTADDSUB_UPPERINPUT": Const(1, 1),
            "p_TOPADDSUB_CARRYSELECT": Const(2, 2),
        }
    else:
        options = {"p_TOPOUTPUT_SELECT": Const(3, 2), "p_BOTOUTPUT_SELECT": Const(3, 2)}
    sides = [f"{name}{side}" for name in MAC16_SIDES for side in ("TOP", "BOT")]
    tied = [*(f"{name}HOLD" for name in "ABCD"), *sides, "CI", "ACCUMCI", "SIGNEXTIN"]
    m.submodules.mac16 = Instance(
        "SB_MAC16",
        **options,
        p_A_SIGNED=Const(1, 1),
        p_B_SIGNED=Const(b_signed, 1),
        i_CLK=ClockSignal(),
        i_CE=Const(1),
        i_A=a16,
        i_B=b16,
        i_C=Const(0, 16),
        i_D=Const(0, 16),
        i_ADDSUBTOP=negate,
        i_ADDSUBBOT=negate,
        o_O=product,
        **{f"i_{name}": Const(0) for name in tied},
    )
