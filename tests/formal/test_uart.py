"""The UART's receiver takes what its transmitter sends."""

import pytest
from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from relaxon_hdl.component import Component
from relaxon_hdl.uart import UartReceiver, UartTransmitter
from support.formal import Assert, Harness, prove


class Wire(Component):
    """A transmitter whose line a receiver listens to."""

    def __init__(self, divisor: int):
        self.transmitter = UartTransmitter(divisor)
        self.receiver = UartReceiver(divisor, stages=0)
        super().__init__(
            {
                "i": In(stream.Signature(8)),
                "o": Out(stream.Signature(8, always_ready=True)),
                "error": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.transmitter, m.submodules.receiver = self.transmitter, self.receiver
        sender, receiver = self.transmitter, self.receiver
        m.d.comb += [
            sender.i.valid.eq(self.i.valid),
            sender.i.payload.eq(self.i.payload),
            self.i.ready.eq(sender.i.ready),
            receiver.rx.eq(sender.tx),
            self.o.valid.eq(receiver.o.valid),
            self.o.payload.eq(receiver.o.payload),
            self.error.eq(receiver.error),
        ]
        return m


class Transfer(Harness):
    """Every byte comes out once, in the middle of its stop bit and unchanged, with any pauses."""

    def __init__(self, divisor: int):
        self.divisor = divisor
        super().__init__(Wire(divisor))

    def properties(self, m: Module) -> None:
        dut, divisor = self.dut, self.divisor
        bits = (divisor - 1).bit_length()
        length, middle = 10 * divisor, 9 * divisor + divisor // 2 + 1
        # Cycles since the byte on the line was taken, 0 without one; and the byte.
        since, byte = Signal(range(length + 2)), Signal(8)
        with m.If(dut.i.valid & dut.i.ready):
            m.d.sync += [since.eq(1), byte.eq(dut.i.payload)]
        with m.Elif(since != 0):
            m.d.sync += since.eq(Mux(since == length, 0, since + 1))
        comes, sent = Signal(), Signal(8)
        m.d.sync += [comes.eq(since == middle), sent.eq(byte)]
        m.d.comb += [
            Assert(~dut.error),
            Assert(dut.o.valid == comes),
            Assert(~comes | (dut.o.payload == sent)),
            Assert(dut.i.ready == ((since == 0) | (since == length))),
        ]

        # What makes it inductive: where both machines are in each of the byte's cycles.
        timer, left = self.look("transmitter.timer", bits), self.look("transmitter.left", 4)
        line = self.look("transmitter.shift", 9)
        clock, shift = self.look("receiver.timer", bits), self.look("receiver.shift", 8)
        state = self.look("receiver.fsm_state", 3)
        IDLE, START, BITS, STOP = range(4)
        frame = Signal(10)
        m.d.comb += [
            frame.eq((1 << 9) | (byte << 1)),
            Assert(since <= length),
        ]
        with m.If(since == 0):
            m.d.comb += [Assert((timer == 0) & (left == 0) & line[0]), Assert(state == IDLE)]
        for cycle in range(1, length + 1):
            bit = (cycle - 1) // divisor
            with m.If(since == cycle):
                m.d.comb += [
                    Assert(left == 9 - bit),
                    Assert(timer == divisor - 1 - (cycle - 1) % divisor),
                    Assert(line[: 10 - bit] == frame[bit:][:9] if bit else line == frame[:9]),
                ]
                heard = cycle - 1  # cycles that the receiver has seen of the byte
                if heard == 0 or cycle > middle:
                    m.d.comb += Assert(state == IDLE)
                elif heard <= divisor // 2:
                    m.d.comb += [
                        Assert(state == START),
                        Assert(clock == divisor // 2 - heard),
                    ]
                else:
                    sampled, phase = divmod(heard - divisor // 2 - 1, divisor)
                    m.d.comb += Assert(clock == divisor - 1 - phase)
                    if sampled < 8:
                        marked = (1 << (7 - sampled)) | 0
                        known = Signal(8, name=f"known_{cycle}")
                        m.d.comb += [
                            known.eq((byte << (8 - sampled)) | marked),
                            Assert((state == BITS) & (shift == known)),
                        ]
                    else:
                        m.d.comb += Assert((state == STOP) & (shift == byte))


@pytest.mark.parametrize("divisor", [2, 3, 8])
def test_receiver_takes_what_is_sent(divisor):
    """By induction, for any bytes with any pauses, in one clock domain."""
    prove(Transfer(divisor), 2)
