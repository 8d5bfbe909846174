"""Primitives of Gowin's families: block RAM."""

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Signal, Value

from ..families.gowin import BLOCK_RAM
from . import LOGIC_DEPTH, Portable, Ram, banks

__all__ = ["Primitives"]


class Primitives(Portable):
    def ram(self, m: Module, ram: Ram, r_data: Signal) -> int:
        """Blocks of 18 kb, one port to write and one to read. Instances, since synthesis takes
        blocks of two equal ports, whose second one nextpnr does not time (nextpnr #1786). Without
        their output registers, of which few work (apicula #251)."""
        if ram.depth <= LOGIC_DEPTH:
            return super().ram(m, ram, r_data)
        banks(m, ram, r_data, tuple(BLOCK_RAM.shapes), sdpx9)
        return 1


def sdpx9(m: Module, ram: Ram, base: int, size: int, here: Value) -> Value:
    lines = BLOCK_RAM.shapes[size]
    inside = size.bit_length() - 1
    below = 14 - inside  # address lines below a word's; to write they enable its bytes
    written, read = Signal(14, name=f"to_{base}"), Signal(14, name=f"from_{base}")
    m.d.comb += [
        written.eq(Cat(Const((1 << lines // 9) - 1 if lines > 9 else 0, below), ram.w_addr)),
        read.eq(Cat(Const(0, below), ram.r_addr)),
    ]
    words = []
    for low in range(0, ram.width, lines):
        data, word = Signal(36), Signal(36, name=f"read_{base}_{low}")
        m.d.comb += data.eq(ram.w_data[low : low + lines])
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
            i_CEA=ram.w_en & here,
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
    return Cat(words)[: ram.width]
