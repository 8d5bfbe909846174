"""UART, 8N1, least significant bit first: one receiver, one transmitter."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from .component import Component

__all__ = ["UartReceiver", "UartTransmitter"]


def check_divisor(divisor: int) -> None:
    if not isinstance(divisor, int) or divisor < 2:
        raise ValueError(f"divisor = {divisor!r}: must be an int, at least 2 clocks per bit")


class UartReceiver(Component):
    """Bytes of an 8N1 line.

    A start bit is a low level that is still low half a bit later; every bit is sampled in its
    middle (with two clocks a bit: in the second). A byte is out one cycle after its stop bit was
    sampled, so a sender that is half a bit early still is in time. A low stop bit is a framing
    error: no byte, and nothing is received until the line is high again.

    Throughput: a byte every ``10 * divisor`` cycles. No back-pressure.

    Parameters
    ----------
    divisor
        Clocks per bit, at least 2 (boards: at least 8).
    stages
        Flip-flops of the input synchroniser; 0 where the line belongs to this clock (simulation).

    Members
    -------
    rx : In(1)
        The line, idle high.
    o : Out(stream of 8 bits, always ready)
        ``o.payload`` holds until half a bit into the next start bit.
    error : Out(1)
        One cycle: a framing error, in place of a byte.
    busy : Out(1)
        The line is low, or a byte is on its way.
    """

    def __init__(self, divisor: int, *, stages: int = 2):
        check_divisor(divisor)
        if stages != 0 and stages < 2:
            raise ValueError(f"stages = {stages!r}: must be 0 or at least 2")
        self.divisor = divisor
        self.stages = stages
        super().__init__(
            {
                "rx": In(1, init=1),  # pyright: ignore[reportCallIssue] (older stubs)
                "o": Out(stream.Signature(8, always_ready=True)),
                "error": Out(1),
                "busy": Out(1),
            }
        )

    def build(self, m: Module) -> None:
        rx = Signal(init=1)
        if self.stages:
            m.submodules.sync = FFSynchronizer(self.rx, rx, init=1, stages=self.stages)
        else:
            m.d.comb += rx.eq(self.rx)

        timer = Signal(range(self.divisor))
        due = Signal()
        # A one that starts at the top and falls out with the eighth bit counts the bits.
        shift = Signal(8)
        m.d.comb += [due.eq(timer == 0), self.o.payload.eq(shift)]
        m.d.sync += [
            timer.eq(timer - 1),
            self.o.valid.eq(0),
            self.error.eq(0),
        ]
        with m.If(due):
            m.d.sync += timer.eq(self.divisor - 1)

        with m.FSM() as fsm:
            with m.State("IDLE"):
                m.d.sync += timer.eq(self.divisor // 2 - 1)
                with m.If(~rx):
                    m.next = "START"
            with m.State("START"):
                m.d.sync += shift.eq(0x80)
                with m.If(due):
                    m.next = "BITS"
                    with m.If(rx):  # a glitch
                        m.next = "IDLE"
            with m.State("BITS"), m.If(due):
                m.d.sync += shift.eq(Cat(shift[1:], rx))
                with m.If(shift[0]):
                    m.next = "STOP"
            with m.State("STOP"), m.If(due):
                m.d.sync += [self.o.valid.eq(rx), self.error.eq(~rx)]
                m.next = "BREAK"
                with m.If(rx):
                    m.next = "IDLE"
            with m.State("BREAK"), m.If(rx):
                m.next = "IDLE"

        m.d.comb += self.busy.eq(~fsm.ongoing("IDLE") | ~rx | self.o.valid | self.error)


class UartTransmitter(Component):
    """Sends bytes over an 8N1 line.

    Latency: the start bit begins one cycle after a byte is taken. Throughput: a byte every
    ``10 * divisor`` cycles exactly; the next byte is taken in the last cycle of the stop bit, so
    bytes that wait go out without a gap.

    Parameters
    ----------
    divisor
        Clocks per bit, at least 2.

    Members
    -------
    i : In(stream of 8 bits)
    tx : Out(1)
        The line, idle high.
    busy : Out(1)
        A byte is on the line. Low in the last cycle of its stop bit.
    """

    def __init__(self, divisor: int):
        check_divisor(divisor)
        self.divisor = divisor
        super().__init__(
            {
                "i": In(stream.Signature(8)),
                "tx": Out(1, init=1),  # pyright: ignore[reportCallIssue] (older stubs)
                "busy": Out(1),
            }
        )

    def build(self, m: Module) -> None:
        timer = Signal(range(self.divisor))
        left = Signal(range(10))  # bits after the one on the line
        shift = Signal(9, init=-1)

        m.d.comb += [
            self.tx.eq(shift[0]),
            self.busy.eq((timer != 0) | (left != 0)),
            self.i.ready.eq(~self.busy),
        ]
        with m.If(timer != 0):
            m.d.sync += timer.eq(timer - 1)
        with m.Elif(left != 0):
            m.d.sync += [
                timer.eq(self.divisor - 1),
                left.eq(left - 1),
                shift.eq(Cat(shift[1:], 1)),
            ]
        with m.Elif(self.i.valid):
            m.d.sync += [
                timer.eq(self.divisor - 1),
                left.eq(9),
                shift.eq(Cat(0, self.i.payload)),
            ]
