"""Xilinx Artix-7: an estimate by yosys; the bitstream takes Vivado."""

from .base import BlockRam, Family

__all__ = ["FAMILY"]


class Xilinx(Family):
    def pll(self, m, pll, crystal_hz, crystal, raw, locked):
        from amaranth.hdl import Const, Instance, Signal

        feedback = Signal()
        m.submodules.pll = Instance(
            "PLLE2_BASE",
            p_CLKIN1_PERIOD=1e9 / crystal_hz,
            p_DIVCLK_DIVIDE=pll.ref,
            p_CLKFBOUT_MULT=pll.feedback,
            p_CLKOUT0_DIVIDE=pll.out,
            i_CLKIN1=crystal,
            i_CLKFBIN=feedback,
            i_RST=Const(0),
            i_PWRDWN=Const(0),
            o_CLKFBOUT=feedback,
            o_CLKOUT0=raw,
            o_LOCKED=locked,
        )
        return raw


FAMILY = Xilinx(
    name="xilinx",
    suffix=".bit",
    synthesis="synth_xilinx -family xc7 -flatten",
    cells={
        "LUT": ("LUT",),
        "FF": ("FD",),
        "DSP": ("DSP48",),
        "BRAM18": ("RAMB36", "RAMB36", "RAMB18"),  # a RAMB36 is two of them
    },
    block_ram=BlockRam(
        shapes={512: 36, 1024: 18, 2048: 9, 4096: 4, 8192: 2, 16384: 1},
        logic_bits=2048,
        label="BRAM18",
    ),
    factor=(25, 18),
    vendor="vivado",
    experimental=(
        "experimental: synthesis only, no timing and no bitstream; --vendor hands the design to "
        "Vivado, which nobody has tried"
    ),
    gate_cell="BUFGCE",
    gate_ports=("I", "CE", "O"),
    oscillator_hz=(800e6, 1600e6),
    detector_hz=(19e6, 450e6),
)
