"""The whole machine on three pins."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from relaxon_isa import ArrayConfig
from relaxon_isa.identity import encode_info

from .command import CommandUnit
from .component import Component
from .core import Core
from .link import Link
from .memory.unit import WordMemory

__all__ = ["Top"]

STUCK_BITS = 12


class Top(Component):
    """UART in, UART out: link, command unit and core.

    ::

        rx --> +------+ -- LinkSignature --> +-------------+ -- CoreSignature --> +------+
               | Link |                      | CommandUnit |                      | Core |
        tx <-- +------+ <------------------- +-------------+ <------------------- +------+

    Parameters
    ----------
    config
        The machine.
    divisor
        Clocks per bit of the UART, at least 2.
    clock_hz
        Frequency of the clock. It is in the identity text, like ``build``; nothing else depends on
        it.
    build
        Human-readable name of the build.
    family
        FPGA family whose primitives are instantiated; see `Core`.
    stages
        Flip-flops of the synchroniser of ``rx``; 0 where the line belongs to this clock.

    Members
    -------
    rx : In(1), tx : Out(1)
        The line, idle high.
    quiet : Out(1)
        No register except the stall counters will change until ``rx`` falls: no program runs, or it
        is stalled in WAIT, or in EMIT for 2**`STUCK_BITS` cycles because the host acknowledges
        nothing. Lets a simulator stop its clock; unused, it costs nothing.
    chip : Out(WordMemory)
        Of a machine with a sample memory. Where nothing is connected no memory is found.
    """

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
        chip = {"chip": Out(WordMemory())} if config.sample_memory else {}
        super().__init__(
            {
                **chip,
                "rx": In(1, init=1),  # pyright: ignore[reportCallIssue] (older stubs)
                "tx": Out(1, init=1),  # pyright: ignore[reportCallIssue]
                "quiet": Out(1),
            }
        )

    def build(self, m: Module) -> None:
        m.submodules.link = link = Link(self.config, divisor=self.divisor, stages=self.stages)
        m.submodules.command = command = CommandUnit(self.config, self.info)
        m.submodules.core = core = Core(self.config, self.family)
        wiring.connect(m, link.port, command.link)
        wiring.connect(m, command.core, core.bus)
        if self.config.sample_memory:
            wiring.connect(m, core.chip, wiring.flipped(self.chip))

        # The board has no timers: an EMIT blocked for so long behind an idle line waits for the
        # host, whatever else lies in the rings.
        emit = core.bus.emit
        blocked = Signal(STUCK_BITS)
        stuck = Signal()
        at_rest = core.quiet & link.quiet & command.quiet
        m.d.comb += [
            link.rx.eq(self.rx),
            self.tx.eq(link.tx),
            stuck.eq(blocked.all()),
            self.quiet.eq(self.rx & (stuck | at_rest)),
        ]
        with m.If(~emit.valid | emit.ready | ~link.tx | ~self.rx):
            m.d.sync += blocked.eq(0)
        with m.Elif(~stuck):
            m.d.sync += blocked.eq(blocked + 1)
