"""An order of samples: which record lies at a place."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib.wiring import In, Out

from relaxon_isa.order import HALF_BITS, ROUNDS

from .component import Component
from .hash import WORD, Hash

__all__ = ["Order"]

INDEX_BITS = 2 * HALF_BITS


class Order(Component):
    """Looks up a place of an order of the contract.

    Latency: 3 cycles for a place beyond the records; else 22 more for each time that it goes
    through the network.

    Members
    -------
    key : In(32), records : In(24)
        The order; to be steady from four cycles before ``start`` on.
    place : In(24), start : In(1)
        Look this place up. While another is looked up, not heard.
    record : Out(24), valid : Out(1)
        What lies there; until the next ``start``.
    """

    def __init__(self):
        self.hash = Hash()
        super().__init__(
            {
                "key": In(WORD),
                "records": In(INDEX_BITS),
                "place": In(INDEX_BITS),
                "start": In(1),
                "record": Out(INDEX_BITS),
                "valid": Out(1),
            }
        )

    def build(self, m: Module) -> None:
        m.submodules.hash = self.hash
        left, right = Signal(HALF_BITS, reset_less=True), Signal(HALF_BITS, reset_less=True)
        last = Signal(INDEX_BITS, reset_less=True)
        mask = Signal(HALF_BITS, reset_less=True)
        inside = Signal(reset_less=True)
        again = Signal(reset_less=True)  # it is not the place that was asked for
        beat = Signal(range(self.hash.latency + 1))
        number = Signal(range(ROUNDS))
        m.d.comb += [
            self.record.eq(Cat(*zip(right, left, strict=True))),
            self.hash.key.eq(self.key),
            self.hash.a.eq(Cat(right, number)),
        ]
        m.d.sync += [
            last.eq(self.records - 1),
            mask.eq(Cat(1, (last[2 * k :].any() for k in range(1, HALF_BITS)))),
            inside.eq(self.record < self.records),
        ]

        def begin() -> None:
            with m.If(self.start):
                m.d.sync += [Cat(*zip(right, left, strict=True)).eq(self.place), again.eq(0)]
                m.next = "COMPARE"

        with m.FSM(name="order"):
            with m.State("REST"):
                begin()
            with m.State("COMPARE"):
                m.next = "JUDGE"
            with m.State("JUDGE"):
                m.d.sync += again.eq(1)
                m.next = "ROUND"
                with m.If(inside == again):
                    m.next = "FOUND"
            with m.State("ROUND"):
                m.d.sync += beat.eq(beat + 1)
                with m.If(beat == self.hash.latency):
                    m.d.sync += [
                        beat.eq(0),
                        number.eq(number + 1),
                        left.eq(right),
                        right.eq(left ^ (self.hash.u & mask)),
                    ]
                    with m.If(number == ROUNDS - 1):
                        m.next = "COMPARE"
            with m.State("FOUND"):
                m.d.comb += self.valid.eq(1)
                begin()
