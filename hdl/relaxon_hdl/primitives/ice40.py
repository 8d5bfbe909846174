"""Primitives of the iCE40: block RAM, single-port RAM, multiplier."""

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Signal, Value, signed

from ..families.ice40 import BLOCK_RAM, FACTOR, LARGE_RAM
from . import Multiplier, Portable, Ram, RightShift, WeightRam, banks

__all__ = ["Primitives"]

MAC16_SIDES = ("IRST", "ORST", "OLOAD", "OHOLD")
RAM40_DEPTHS = tuple(BLOCK_RAM.shapes)
RAM40_LINES = (tuple(range(16)), tuple(range(0, 16, 2)), (1, 5, 9, 13), (3, 11))
"""Of a block's 16 data lines, those that carry data in each of its shapes."""


class Primitives(Portable):
    multiplier_cell = "\\SB_MAC16"

    def negates(self, a_bits: int, b_bits: int) -> bool:
        return max(a_bits, b_bits) <= FACTOR

    def multiply(self, m: Module, multiplier: Multiplier) -> None:
        if not self.negates(len(multiplier.a), len(multiplier.b)):
            return super().multiply(m, multiplier)
        product = Signal(signed(32))
        mac16(m, multiplier.a, multiplier.b, product, negate=multiplier.negate, registered=True)
        m.d.comb += multiplier.p.eq(product)

    def shift(self, m: Module, shift: RightShift) -> None:
        """A spare multiplier shifts: by 2**(15 - by), of all but the lowest bit, which matters only
        where ``by`` is 0 or 1."""
        if len(shift.i) > 17:
            return super().shift(m, shift)
        upper = shift.i[1:].as_signed()  # 16 bits at most
        product = Signal(signed(32))
        power = Signal(16)
        m.d.comb += power.eq(Const(1 << 15, 16) >> shift.by)
        mac16(m, upper, power, product, b_signed=False)
        lowest = shift.i[0]
        m.d.comb += [
            shift.below.eq(product[13] | (lowest & (shift.by == 1))),
            shift.o.eq(Cat(product[14] | (lowest & (shift.by == 0)), product[15:31])),
        ]

    def weights(self, m: Module, weights: WeightRam) -> None:
        fits = weights.width <= LARGE_RAM.width and weights.depth <= LARGE_RAM.depth
        if weights.ports > 1 or not fits:
            return super().weights(m, weights)
        out = Signal(LARGE_RAM.width)
        m.submodules.spram = Instance(
            "SB_SPRAM256KA",
            i_CLOCK=ClockSignal(),
            i_ADDRESS=Cat(weights.r_addr, Const(0, 14 - len(weights.r_addr))),
            i_DATAIN=Cat(weights.w_data, Const(0, LARGE_RAM.width - weights.width)),
            i_MASKWREN=Const(15, 4),
            i_WREN=weights.w_en,
            i_CHIPSELECT=Const(1),
            i_STANDBY=Const(0),
            i_SLEEP=Const(0),
            i_POWEROFF=Const(1),  # low is off
            o_DATAOUT=out,
        )
        m.d.comb += weights.r_data.eq(out)

    def ram(self, m: Module, ram: Ram, r_data: Signal) -> int:
        """Blocks of 4 kb. Instances, since the inferred ones pay a LUT a bit for the zero that a
        register starts with."""
        banks(m, ram, r_data, RAM40_DEPTHS, ram40)
        return 1


def ram40(m: Module, ram: Ram, base: int, size: int, here: Value) -> Value:
    mode = RAM40_DEPTHS.index(size)
    lines = RAM40_LINES[mode]
    inside = size.bit_length() - 1
    bits = []
    for low in range(0, ram.width, len(lines)):
        data = ram.w_data[low : low + len(lines)]
        w_lines: list[Value] = [Const(0, 1)] * 16
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
            i_RADDR=narrow(ram.r_addr, inside),
            i_WCLK=ClockSignal(),
            i_WCLKE=ram.w_en & here,
            i_WE=Const(1),
            i_WADDR=narrow(ram.w_addr, inside),
            i_WDATA=Cat(w_lines),
            i_MASK=Const(0, 16),
            o_RDATA=r_lines,
        )
        bits += [r_lines[lines[k]] for k in range(len(data))]
    return Cat(bits)


def narrow(address: Value, bits: int) -> Value:
    """The lowest ``bits`` of an address, on a block's 11 lines."""
    low = address[:bits]
    return Cat(low, Const(0, 11 - len(low)))


def mac16(
    m: Module,
    a: Value,
    b: Value,
    product: Signal,
    *,
    negate: Value | int = 0,
    registered: bool = False,
    b_signed: bool = True,
) -> None:
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
