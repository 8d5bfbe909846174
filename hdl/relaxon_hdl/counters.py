"""The registers: keys and counters."""

from amaranth.hdl import Array, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from relaxon_isa.config import ArrayConfig
from relaxon_isa.memory import COUNTER_BITS, Register

from .hash import mix
from .primitives import Ram

__all__ = ["COUNTED", "Registers"]

KEYS = (Register.UPDATE_KEY, Register.SAMPLE_KEY)
KINDS = (
    Register.MAC_CYCLES,
    Register.LEARN_CYCLES,
    Register.CONTROL_CYCLES,
    Register.WAIT_CYCLES,
    Register.EMIT_CYCLES,
)
ALWAYS = (Register.LINK_ERRORS, Register.LINK_DROPS)
COUNTED = tuple(register for register in Register if register not in KEYS)
HALF = COUNTER_BITS // 2
WAITING_BITS = 6
CYCLES_WAITING_BITS = 7
"""A counter waits ``2 * len(Register)`` cycles for its turn, and a few in which there are none.
While an EMIT reads it, it may miss one; but in an EMIT it is cycles only that go on."""


class Registers(wiring.Component):
    """Keys and counters of `Register`, written by the host, advanced by events.

    The counters are words of one memory, in halves. Events wait in a few bits each, and one
    counter after the other gets what waits for it, two cycles each::

        turn, half --> memory --> (+ waiting, or carry) --> memory
                                     `--> value

    Members
    -------
    events : In
        A bit for each of `COUNTED`, in that order: count one.
    counting : In(1)
        Count events, those of the link apart, which always count.
    emitting : In(1)
        An EMIT of counters executes; without kind_counters, the cycles counted meanwhile are not
        in the values read.
    next_update, next_sample : In(1)
        Advance a key.
    index : In(4)
    hold : In(1)
        From a cycle before ``write`` until after it.
    read, upper : In(1)
        Read the register ``index``, which has stood for two cycles at least: a cycle with ``read``,
        then a cycle with both.
    value : Out(16)
        A cycle after each: the half.
    write : In(1), data : In(16)
        Set a half of the register ``index``: the upper one with ``upper``.
    update_key, sample_key : Out(32)
    """

    def __init__(self, config: ArrayConfig, family: str | None = None):
        self.config = config
        self.family = family
        super().__init__(
            {
                "events": In(len(COUNTED)),
                "counting": In(1),
                "emitting": In(1),
                "next_update": In(1),
                "next_sample": In(1),
                "index": In(4),
                "hold": In(1),
                "read": In(1),
                "upper": In(1),
                "value": Out(HALF),
                "write": In(1),
                "data": In(HALF),
                "update_key": Out(COUNTER_BITS),
                "sample_key": Out(COUNTER_BITS),
            }
        )

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.words = words = Ram(HALF, 32, self.family)

        counts = {}
        for bit, register in enumerate(COUNTED):
            shared = not config.kind_counters and register in KINDS
            target = Register.MAC_CYCLES if shared else register
            event = self.events[bit] & (self.counting | (register in ALWAYS))
            counts[target] = counts.get(target, 0) | event

        # Turns. None begins for the counter that an EMIT is about to read, nor while the host has
        # its turn; but what has begun is finished, since its events wait no longer.

        turn = Signal(range(len(Register)))
        half = Signal()  # of the turn: its upper half comes now
        kept = Signal()
        taken = Signal()  # the word read is to be written again
        place = Signal(5, reset_less=True)
        upper = place[4]
        carry = Signal(reset_less=True)
        first = Signal()
        m.d.comb += [
            first.eq(~half & ~kept),
            kept.eq(self.hold | self.read | (self.emitting & (turn == self.index))),
            words.r_addr.eq(Mux(half | first, Cat(turn, half), Cat(self.index, self.upper))),
        ]
        m.d.sync += [taken.eq(half | first), place.eq(words.r_addr), half.eq(first)]
        with m.If(half | ~(self.hold | self.read | first)):
            m.d.sync += turn.eq(turn + 1)
            with m.If(turn == len(Register) - 1):
                m.d.sync += turn.eq(0)

        waiting = []
        for register in range(16):
            waits = Const(0)
            if register in counts:
                bits = CYCLES_WAITING_BITS if register in KINDS else WAITING_BITS
                waits = Signal(bits, name=f"waiting_{Register(register).name.lower()}")
                here = (taken & (place == register)) | (self.write & (self.index == register))
                m.d.sync += waits.eq(Mux(here, 0, waits) + counts[register])
            waiting.append(waits)
        amount = Signal(CYCLES_WAITING_BITS + 1)
        own = Const(0)  # cycles of the EMIT under way
        m.d.comb += amount.eq(Array(waiting)[place[:4]])
        if not config.kind_counters:
            own = Signal(range(128))
            with m.If(~self.emitting):
                m.d.sync += own.eq(0)
            with m.Elif(counts[Register.MAC_CYCLES]):
                m.d.sync += own.eq(own + 1)
            with m.If(~taken & (place[:4] == Register.MAC_CYCLES) & self.emitting):
                m.d.comb += amount.eq(Array(waiting)[place[:4]] - own)
        addend = Signal(HALF + 1)
        total = Signal(HALF + 1)
        m.d.comb += [
            addend.eq(Mux(upper, carries, amount.as_signed())),
            total.eq(words.r_data + addend),
        ]
        exists = Signal()
        m.d.comb += exists.eq(Array(Const(r in counts, 1) for r in range(16))[self.index])
        m.d.comb += [
            words.w_addr.eq(place),
            words.w_data.eq(total),
            words.w_en.eq(taken),
            self.value.eq(total),
        ]
        with m.If(self.write):
            m.d.comb += [
                words.w_addr.eq(self.index),
                words.w_data.eq(self.data),
                words.w_en.eq(exists),
            ]

        if config.dither_bits:
            advance = (self.next_update, self.next_sample)
            keys = (self.update_key, self.sample_key)
            for register, go, out in zip(KEYS, advance, keys, strict=True):
                key = Signal(COUNTER_BITS, init=1, name=register.name.lower())
                m.d.comb += out.eq(key)
                with m.If(go):
                    m.d.sync += key.eq(mix(key))
                with m.If(self.write & (self.index == register)):
                    m.d.sync += key.eq(self.data)
                with m.If(place == register):
                    m.d.comb += self.value.eq(key)
        return m
