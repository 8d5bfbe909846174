"""Every preset but the simulated one elaborates: the whole machine, link included, with its
family's primitives. At most 2 x 2 cells: more are more of the same, and take a minute."""

import pytest

from relaxon_boards.catalogue import BOARDS
from relaxon_hdl.primitives import primitives
from relaxon_hdl.tools.verilog import to_rtlil
from relaxon_hdl.top import Top
from relaxon_isa.presets import PRESETS

BUILT = [name for name in PRESETS if name != "large"]  # a million words of weights take minutes
FAMILIES = {board.preset: board.primitives for board in BOARDS.values()}


@pytest.mark.parametrize("name", BUILT)
def test_elaborates(name):
    family = FAMILIES.get(name)
    config = PRESETS[name]
    config = config.replace(p=min(config.p, 2))
    top = Top(config, divisor=8, clock_hz=25_000_000, family=family)
    text = to_rtlil(top)
    multiplier = primitives(family).multiplier_cell
    assert text.count(f"cell {multiplier} ") >= config.p**2
