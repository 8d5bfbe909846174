"""A stream through registers."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from .component import Component

__all__ = ["SkidBuffer"]


class SkidBuffer(Component):
    """Cuts a stream of bytes: ``valid``, ``payload`` and ``ready`` each come from a register.

    ::

        i --+--------------> o
            '-> spare --'

    Latency: one cycle. Throughput: a byte per cycle. Holds up to two bytes.

    Members
    -------
    i : In(stream of 8 bits), o : Out(stream of 8 bits)
        ``i`` is ready while ``spare`` is empty; ``spare`` takes the byte that comes while ``o`` is
        not taken.
    """

    def __init__(self):
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(8))})

    def build(self, m: Module) -> None:
        payload = Signal(8, reset_less=True)
        spare = Signal(8, reset_less=True)
        full = Signal()  # there is something in spare
        m.d.comb += [self.i.ready.eq(~full), self.o.payload.eq(payload)]
        with m.If(~full):
            m.d.sync += spare.eq(self.i.payload)
        with m.If(~self.o.valid | self.o.ready):
            m.d.sync += [
                self.o.valid.eq(full | self.i.valid),
                full.eq(0),
                payload.eq(self.i.payload),
            ]
            with m.If(full):
                m.d.sync += payload.eq(spare)
        with m.Elif(self.i.valid):
            m.d.sync += full.eq(1)
