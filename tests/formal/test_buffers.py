"""The skid buffer is a queue of two."""

from amaranth.hdl import Module, Mux, Signal

from relaxon_hdl.buffers import SkidBuffer
from support.formal import Assert, Harness, prove


class Queue(Harness):
    """Bytes come out once each, in order, and none is made up; ready while there is room."""

    def properties(self, m: Module) -> None:
        i, o = self.dut.i, self.dut.o
        spare = self.look("spare", 8)
        first, second, held = Signal(8), Signal(8), Signal(2)
        after, put = Signal(2), Signal()
        m.d.comb += [put.eq(i.valid & i.ready), after.eq(held - (o.valid & o.ready))]
        m.d.sync += held.eq(after + put)
        with m.If(o.valid & o.ready):
            m.d.sync += first.eq(second)
        with m.If(put):
            m.d.sync += Mux(after == 0, first, second).eq(i.payload)
        m.d.comb += [
            Assert(o.valid == (held != 0)),
            Assert(i.ready == (held != 2)),
            Assert((held == 0) | (o.payload == first)),
            # What makes it inductive.
            Assert(held <= 2),
            Assert((held != 2) | (spare == second)),
        ]


def test_queue_of_two():
    """By induction, for any use."""
    prove(Queue(SkidBuffer()), 2)
