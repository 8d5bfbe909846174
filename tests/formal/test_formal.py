"""What proves can also refuse (`support.formal`)."""

import pytest
from amaranth.hdl import Module
from amaranth.lib.wiring import In, Out

from relaxon_hdl.component import Component
from support.formal import Assert, Assume, Harness, prove


class Counter(Component):
    """Counts the cycles of ``on``, up to ``last`` and then from 0."""

    def __init__(self, last: int):
        self.last = last
        super().__init__({"on": In(1), "count": Out(8)})

    def elaborate(self, platform):
        m = Module()
        with m.If(self.on):
            m.d.sync += self.count.eq(self.count + 1)
            with m.If(self.count == self.last):
                m.d.sync += self.count.eq(0)
        return m


class Never(Harness):
    """The count never is ``number``."""

    def __init__(self, last: int, number: int, *, stands: bool = False):
        self.number, self.stands = number, stands
        super().__init__(Counter(last))

    def properties(self, m: Module) -> None:
        m.d.comb += Assert(self.dut.count != self.number)
        if self.stands:
            m.d.comb += Assume(~self.dut.on)


@pytest.mark.parametrize("bits", [False, True])
def test_what_is_true_is_proved_and_what_is_not_is_refused(bits):
    prove(Never(9, 10), 1, bits=bits)
    prove(Never(9, 9, stands=True), 1, bits=bits)
    with pytest.raises(AssertionError):
        prove(Never(9, 2), 3, bits=bits)  # from power-up, in the third cycle
    with pytest.raises(AssertionError):
        prove(Never(9, 9), 3, bits=bits)  # true for longer than one looks, but no step holds
    with pytest.raises(AssertionError):
        prove(Never(9, 11), 1, bits=bits)  # never so, but 10 leads there, which is not excluded
