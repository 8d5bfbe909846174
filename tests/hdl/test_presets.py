"""Every preset but the simulated one elaborates: the whole machine, link included, with its
family's primitives."""

import pytest
from amaranth.back import rtlil

from relaxon_hdl.top import Top
from relaxon_isa.presets import PRESETS

BUILT = [name for name in PRESETS if name != "large"]  # a million words of weights take minutes
FAMILIES = {"up5k": "ice40", "ecp5-25f": "ecp5", "ecp5-85f": "ecp5", "gowin": "gowin"}


@pytest.mark.parametrize("name", BUILT)
def test_elaborates(name):
    family = next((f for board, f in FAMILIES.items() if name.startswith(board)), None)
    config = PRESETS[name]
    top = Top(config, divisor=8, clock_hz=25_000_000, family=family)
    text = rtlil.convert(top, emit_src=False)
    multipliers = {"ice40": "\\SB_MAC16", "ecp5": "\\MULT18X18D"}.get(family or "", "$mul")
    assert text.count(f"cell {multipliers} ") >= config.p**2
