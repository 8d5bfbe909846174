"""A stream through registers."""

from amaranth.hdl import Module, ShapeLike, Signal
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from .component import Component

__all__ = ["SkidBuffer"]


class SkidBuffer(Component):
    """Cuts a stream: ``valid``, ``payload`` and ``ready`` each come from a register.

    ::

        i --+--------------> o
            '-> spare --'

    Latency: one cycle. Throughput: an element per cycle. Holds up to two.

    Parameters
    ----------
    shape
        Of an element; a byte if it is not given.

    Members
    -------
    i : In(stream of shape), o : Out(stream of shape)
        ``i`` is ready while ``spare`` is empty, which takes what comes while ``o`` is not taken.
    """

    def __init__(self, shape: ShapeLike = 8):
        self.shape = shape
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def build(self, m: Module) -> None:
        payload = Signal(self.shape, reset_less=True)
        spare = Signal(self.shape, reset_less=True)
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
