"""The registers: keys and counters."""

from amaranth.hdl import Array, Const, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from relaxon_isa.config import ArrayConfig
from relaxon_isa.memory import COUNTER_BITS, Register

from .hash import mix

__all__ = ["COUNTED", "Registers"]

KEYS = (Register.UPDATE_KEY, Register.SAMPLE_KEY)
KINDS = (
    Register.MAC_CYCLES,
    Register.LEARN_CYCLES,
    Register.CONTROL_CYCLES,
    Register.WAIT_CYCLES,
    Register.EMIT_CYCLES,
)
COUNTED = tuple(register for register in Register if register not in KEYS)


class Registers(wiring.Component):
    """Keys and counters of `Register`, written by the host, advanced by events.

    Members
    -------
    events : In
        A bit for each of `COUNTED`, in that order: count one.
    counting : In(1)
        Count events, those of the link apart, which always count.
    hold_cycles : In(1)
        Without kind_counters: keep this cycle for later, when hold_cycles has fallen.
    next_update, next_sample : In(1)
        Advance a key.
    index : In(4), value : Out(32)
    data : In(32), write : In(1)
        Set the register ``index``.
    update_key, sample_key : Out(32)
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        super().__init__(
            {
                "events": In(len(COUNTED)),
                "counting": In(1),
                "hold_cycles": In(1),
                "next_update": In(1),
                "next_sample": In(1),
                "index": In(4),
                "value": Out(COUNTER_BITS),
                "data": In(COUNTER_BITS),
                "write": In(1),
                "update_key": Out(COUNTER_BITS),
                "sample_key": Out(COUNTER_BITS),
            }
        )

    def elaborate(self, platform):
        m = Module()
        config = self.config
        values = {register: Const(0, COUNTER_BITS) for register in Register}

        def writable(register: Register, signal: Signal) -> None:
            values[register] = signal
            with m.If(self.write & (self.index == register)):
                m.d.sync += signal.eq(self.data)

        if config.dither_bits:
            advance = (self.next_update, self.next_sample)
            keys = (self.update_key, self.sample_key)
            for register, go, out in zip(KEYS, advance, keys, strict=True):
                key = Signal(COUNTER_BITS, init=1, name=register.name.lower())
                m.d.comb += out.eq(key)
                with m.If(go):
                    m.d.sync += key.eq(mix(key))
                writable(register, key)

        events = {}
        for bit, register in enumerate(COUNTED):
            always = register in (Register.LINK_ERRORS, Register.LINK_DROPS)
            events[register] = self.events[bit] & (always | self.counting)
        if not config.kind_counters:
            # An EMIT of counters shows them as they were before it, so its own cycles come late.
            owed = Signal(7)
            cycle = Signal()
            amount = Signal(8)
            for register in KINDS:
                with m.If(events.pop(register)):
                    m.d.comb += cycle.eq(1)
            with m.If(self.hold_cycles):
                m.d.sync += owed.eq(owed + cycle)
            with m.Else():
                m.d.comb += amount.eq(owed + cycle)
                m.d.sync += owed.eq(0)
            events[Register.MAC_CYCLES] = amount
        for register, amount in events.items():
            counter = Signal(COUNTER_BITS, name=register.name.lower())
            m.d.sync += counter.eq(counter + amount)
            writable(register, counter)
        padded = [values[register] for register in Register]
        padded += [Const(0, COUNTER_BITS)] * (16 - len(padded))
        m.d.comb += self.value.eq(Array(padded)[self.index])
        return m
