"""The registers: keys and counters."""

from collections.abc import Iterable

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from relaxon_isa import COUNTER_BITS, KEYS, ArrayConfig, Register, registers

from .access import RegisterPort
from .hash import mix
from .primitives import Ram
from .schedule import Scheduled

__all__ = ["RegisterFile", "counted", "event_layout"]

KINDS = (
    Register.MAC_CYCLES,
    Register.LEARN_CYCLES,
    Register.CONTROL_CYCLES,
    Register.WAIT_CYCLES,
    Register.EMIT_CYCLES,
)
ALWAYS = (Register.LINK_ERRORS, Register.LINK_DROPS)
HALF = COUNTER_BITS // 2
INDEX_BITS = 4
WAITING_BITS = 7
"""A counter's turn comes every 2 * 2**INDEX_BITS cycles, or three times as many where ``lock``
takes two turns of three. Its events until then have to fit."""


def counted(config: ArrayConfig) -> tuple[Register, ...]:
    """The registers that count events."""
    others = (*KEYS, Register.MEMORY)
    return tuple(r for r in registers(config) if r not in others)


def event_layout(registers: Iterable[Register]) -> data.StructLayout:
    """A bit for each of these counters: count one."""
    return data.StructLayout({register.name.lower(): 1 for register in registers})


class RegisterFile(Scheduled):
    """Keys and counters of `Register`, written by the host, advanced by events.

    A counter's 32 bits are two words of one memory. Events wait in a few bits each until their
    counter's turn::

        turn --> memory --> low + waiting, then high + carry --> memory
                              `--> value

    Parameters
    ----------
    config
        The machine.
    family
        FPGA family whose memory is instantiated; None for the portable one.

    Members
    -------
    events : In(event_layout)
        Of each that is `counted`.
    counting : In(1)
        Count events. Those of the link always count.
    next_update, next_sample : In(1)
        Advance a key.
    index : In(4), lock : In(1)
        While ``lock`` is high every turn serves register ``index``, and the others wait. Hold it
        for at most 8 cycles, then low for at least 4, or their events overflow (`WAITING_BITS`).
    value : Out(16)
        With ``low`` and, a cycle later, ``high``: the halves of the locked register, the first
        time at most 3 and 4 cycles after ``lock`` rises. Events that came before the cycle of
        ``low`` are counted.
    low, high : Out(1)
        Which half ``value`` is.
    write : In(1), data : In(32)
        With ``lock``, and from 2 cycles after it rose: for 4 cycles, set the register. ``data``
        and ``index`` stay for one cycle more.
    update_key, sample_key : Out(32)
        The keys; 0 if the machine has none.
    watch : In(4), watched_low, watched_high : Out(1)
        With a sample buffer: ``value`` is register ``watch``'s low, a cycle later high half, as its
        turn comes anyway.
    """

    def __init__(self, config: ArrayConfig, family: str | None = None):
        super().__init__(
            config,
            {
                "events": In(event_layout(counted(config))),
                "counting": In(1),
                "next_update": In(1),
                "next_sample": In(1),
                **RegisterPort(config).flip().members,
                "update_key": Out(COUNTER_BITS),
                "sample_key": Out(COUNTER_BITS),
            },
            family,
        )

    def build(self, m: Module) -> None:
        m.submodules.words = words = Ram(HALF, 2 << INDEX_BITS, self.family)

        # Whose turn it is: its low word is read in the even cycle, its high one in the odd.

        config, when = self.config, self.when
        index = when.late(m, self.index, "index")
        lock = when.late(m, self.lock, "lock")
        write = when.late(m, self.write, "write")
        odd = Signal()
        turn = Signal(INDEX_BITS)
        chosen = Signal(INDEX_BITS)
        place = Signal(INDEX_BITS)  # of the word that was read
        mine = Signal()
        first = Signal()
        m.d.comb += [
            chosen.eq(Mux(odd, place, Mux(lock, index, turn))),
            words.r_addr.eq(Cat(odd, chosen)),
        ]
        m.d.sync += [odd.eq(~odd), place.eq(chosen), first.eq(~odd), turn.eq(turn + (odd & ~mine))]
        with m.If(~odd):
            m.d.sync += mine.eq(lock)

        # Events ----------------------------------------------------------------------------------

        counts = {}
        for register in counted(config):
            always = register in ALWAYS
            target = register
            if register in KINDS and not config.kind_counters:
                target = Register.MAC_CYCLES
            event = self.events[register.name.lower()]
            counts[target] = counts.get(target, 0) | (event & (always | self.counting))
        waiting: list[Value] = [Const(0, WAITING_BITS)] * (1 << INDEX_BITS)
        counts = {
            register: when.late(m, event, f"event_{register.name.lower()}", reset=True)
            for register, event in counts.items()
        }
        after = list(waiting)
        for register, event in counts.items():
            waits = Signal(WAITING_BITS, name=f"waiting_{register.name.lower()}")
            m.d.sync += waits.eq(waits + event)
            if when.short:
                with m.If(first & (place == register)):
                    m.d.sync += waits.eq(event)
            else:  # what comes in the two cycles of the turn is in the sum already
                with m.If((~odd & (chosen == register)) | (first & (place == register))):
                    m.d.sync += waits.eq(0)
            waiting[register] = waits
            after[register] = waits + event

        # The sum ---------------------------------------------------------------------------------

        carry = Signal()
        total = Signal(HALF + 1)
        if when.short:
            added = words.r_data + Mux(first, Array(waiting)[place], carry)
        else:  # what waits is taken as the word is read; one more event comes a cycle later
            waited = Signal(WAITING_BITS, reset_less=True)
            now = [counts.get(register, Const(0, 1)) for register in range(1 << INDEX_BITS)]
            m.d.sync += waited.eq(Array(after)[chosen])
            more, bit = Mux(first, waited, 0), Mux(first, Array(now)[place], carry)
            added = (Cat(1, words.r_data) + Cat(bit, more))[1:]
        m.d.comb += [
            total.eq(added),
            words.w_addr.eq(Cat(~first, place)),
            words.w_data.eq(total),
            words.w_en.eq(Array(Const(r in counts, 1) for r in range(1 << INDEX_BITS))[place]),
            self.value.eq(total),
            self.low.eq(mine & first),
            self.high.eq(mine & ~first),
        ]
        if config.sample_buffer:
            here = place == self.watch
            m.d.comb += [self.watched_low.eq(here & first), self.watched_high.eq(here & ~first)]
        m.d.sync += carry.eq(total[HALF])
        with m.If(write & mine):
            m.d.comb += words.w_data.eq(Mux(first, self.data[:HALF], self.data[HALF:]))
            m.d.sync += carry.eq(0)

        # Keys ------------------------------------------------------------------------------------

        if config.dither_bits:
            advance = (self.next_update, self.next_sample)
            keys = (self.update_key, self.sample_key)
            for register, go, out in zip(KEYS, advance, keys, strict=True):
                key = Signal(COUNTER_BITS, init=1, name=register.name.lower())
                m.d.comb += out.eq(key)
                with m.If(when.late(m, go, f"next_{register.name.lower()}", reset=True)):
                    m.d.sync += key.eq(mix(key))
                with m.If(place == register):
                    m.d.comb += self.value.eq(Mux(first, key[:HALF], key[HALF:]))
                    with m.If(write & mine):
                        m.d.sync += key.eq(self.data)
