"""The whole machine on three pins."""

from typing import Any

from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from relaxon_isa.config import ArrayConfig
from relaxon_isa.identity import encode_info

from .command import CommandUnit
from .core import Core
from .link import Link
from .schedule import Schedule
from .slices import Slice
from .verilog import to_verilog

__all__ = ["Top", "to_verilog"]

STUCK_BITS = 12


class Top(wiring.Component):
    """UART in, UART out: link, command unit and core.

    ::

        rx --> +------+ ---- host's stream ---> +---------+ -- CoreSignature --> +------+
               | Link |                         | Command |                      | Core |
        tx <-- +------+ <--- board's stream --- | Unit    | <------------------- +------+
                                                +---------+

    Parameters
    ----------
    config
        The machine.
    divisor
        Clocks a bit of the UART, at least 2.
    clock_hz
        Frequency of the clock. What the board says of itself, like ``build``; nothing depends
        on it.
    build
        Which build this is: a few words for people.
    family
        Of `Core`: the FPGA family whose primitives are instantiated; None for the portable ones.
    stages
        Flip-flops of the synchroniser of ``rx``; 0 where the line belongs to this clock.

    Members
    -------
    rx : In(1), tx : Out(1)
        The line, idle high.
    quiet : Out(1)
        Nothing will change any more without a falling edge of ``rx``: no program runs, or it is
        stalled in WAIT, or for long in EMIT because the host acknowledges nothing; and all the
        rest is at rest. Counters of stalls are no change. For simulators that like to sleep; where
        it is left open, synthesis takes it out.
    """

    rx: Signal
    tx: Signal
    quiet: Signal

    def __init__(
        self,
        config: ArrayConfig,
        *,
        divisor: int,
        clock_hz: int,
        build: str = "",
        family: str | None = None,
        stages: int = 2,
    ):
        self.config = config
        self.divisor = divisor
        self.stages = stages
        self.family = family
        self.info = encode_info(config, build=build, clock_hz=clock_hz, baud=clock_hz // divisor)
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1), "quiet": Out(1)})

    def elaborate(self, platform):
        m = Module()

        m.submodules.link = link = Link(
            divisor=self.divisor,
            rx_bytes=self.config.rx_bytes,
            tx_bytes=self.config.tx_bytes,
            stages=self.stages,
            registered=not Schedule(self.config).merged,
        )
        m.submodules.command = command = CommandUnit(self.config, self.info)
        m.submodules.core = core = Core(self.config, self.family)

        bus: Any = core.bus

        waiting = bus.waiting
        if Schedule(self.config).merged:
            wiring.connect(m, link.o, command.i)
        else:  # the bytes come from a block RAM, and decide much
            come = Slice()
            m.submodules.come = ResetInserter(link.reset)(come)
            wiring.connect(m, link.o, come.i)
            wiring.connect(m, come.o, command.i)
            # The host must not read that a program waits when a byte is on its way.
            waiting = waiting & ~link.o.valid & ~come.o.valid
        wiring.connect(m, command.o, link.i)
        wiring.connect(m, command.core, bus)
        m.d.comb += [
            link.rx.eq(self.rx),
            self.tx.eq(link.tx),
            link.running.eq(bus.running),
            link.waiting.eq(waiting),
            command.reset.eq(link.reset),
            command.link_error.eq(link.link_error),
            command.link_drop.eq(link.link_drop),
        ]

        # The board has no timers: an EMIT blocked for so long behind an idle line waits for the
        # host, whatever else lies in the rings.
        blocked = Signal(STUCK_BITS)
        stuck = Signal()
        m.d.comb += stuck.eq(blocked.all())
        with m.If(~bus.emit.valid | bus.emit.ready | ~link.tx | ~self.rx):
            m.d.sync += blocked.eq(0)
        with m.Elif(~stuck):
            m.d.sync += blocked.eq(blocked + 1)

        at_rest = core.quiet & link.quiet & command.quiet
        m.d.comb += self.quiet.eq(self.rx & (stuck | at_rest))
        return m
