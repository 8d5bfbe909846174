"""Primitives of the ECP5: block RAM, carry chain, multiplier."""

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Signal, signed

from . import LOGIC_DEPTH, Multiplier, MuxAdder, Portable, Ram

__all__ = ["Primitives"]

DP16K_WIDTHS = {1024: 18, 2048: 9, 4096: 4, 8192: 2, 16384: 1}
DP16K_WIDE = 512
"""Up to how many words a block of 36 bits to a word is the better one, which is left to synthesis:
no document says how its two halves' registers are enabled."""


class Primitives(Portable):
    multiplier_cell = "\\MULT18X18D"

    def ram(self, m: Module, ram: Ram, r_data: Signal) -> int:
        """Blocks of 18 kb with their output registers, of the widest shape that is deep enough.
        One port writes, the other reads."""
        least = DP16K_WIDE if ram.width > 18 else LOGIC_DEPTH
        if ram.latency < 2 or not least < ram.depth <= max(DP16K_WIDTHS):
            return super().ram(m, ram, r_data)
        lines = next(width for depth, width in DP16K_WIDTHS.items() if depth >= ram.depth)
        low = {18: 4, 9: 3}.get(lines, lines // 2)  # address bits below a word of that width
        bytes_on = Const(3 if lines == 18 else 0, low)  # the enables of a word's two bytes
        written, read = Signal(14), Signal(14)
        m.d.comb += [
            written.eq(Cat(bytes_on, ram.w_addr)),
            read.eq(Cat(Const(0, low), ram.r_addr)),
        ]
        for at in range(0, ram.width, lines):
            data, word = Signal(18), Signal(18, name=f"read_{at}")
            m.d.comb += [
                data.eq(ram.w_data[at : at + lines]),
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
                i_WEA=ram.w_en,
                i_WEB=Const(0),
                **{f"i_RST{port}": Const(0) for port in "AB"},
                **{f"i_CS{port}{k}": Const(0) for port in "AB" for k in range(3)},
                **{f"i_ADA{k}": written[k] for k in range(14)},
                **{f"i_ADB{k}": read[k] for k in range(14)},
                **{f"i_DIA{k}": data[k] for k in range(18)},
                **{f"i_DIB{k}": Const(0) for k in range(18)},
                **{f"o_DOB{k}": word[k] for k in range(18)},
            )
        return 2

    def adder(self, m: Module, adder: MuxAdder) -> None:
        """A table makes a ^ (choose ? b : c). Where that is 0 the carry is a, which is what the
        table has at choose = c = 0, where the block looks for it."""
        width = len(adder.s) + len(adder.s) % 2
        a, b, c, s = (Signal(signed(width), name=f"{name}_wide") for name in "abcs")
        flip = -1 if adder.subtract else 0
        table = 0
        for line in range(16):
            bit_a, bit_b, chosen, bit_c = (line >> k & 1 for k in range(4))
            table |= (bit_a ^ (bit_b if chosen else bit_c)) << line
        carries = Signal(width // 2 + 1)
        m.d.comb += [
            *(a.eq(adder.a), b.eq(adder.b ^ flip), c.eq(adder.c ^ flip), adder.s.eq(s)),
            carries[0].eq(1 if adder.subtract else adder.carry),
        ]
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
                **{f"i_C{j}": adder.choose for j in (0, 1)},
                **{f"i_D{j}": c[k + j] for j in (0, 1)},
                **{f"o_S{j}": s[k + j] for j in (0, 1)},
            )

    def multiply(self, m: Module, multiplier: Multiplier) -> None:
        if max(len(multiplier.a), len(multiplier.b)) > 18:
            return super().multiply(m, multiplier)
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
        m.d.comb += [a.eq(multiplier.a), b.eq(multiplier.b), multiplier.p.eq(p)]
