"""SDR SDRAM of 16 bits: a stream of words to or from any address, and all that keeps it alive.

One set of timings serves every part, that of the slowest (IS42S16160G, MT48LC16M16A2,
AS4C16M16SA, AS4C32M16SB, W9825G6KH), and 512 columns of a row are used, which all of them have:
boards of one name differ by batch.
"""

from enum import IntEnum
from math import ceil
from typing import Any, NamedTuple

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, io, stream
from amaranth.lib.wiring import In, Out

from relaxon_isa import ConfigError
from relaxon_isa.capture import CAPTURE_BITS, FIRST_CAPTURE

from ..component import Component
from .ddr import OUTPUT_STAGES, ddr_buffer

__all__ = [
    "ADDRESS_BITS",
    "CAS_LATENCY",
    "COUNT_BITS",
    "MODE",
    "REQUEST",
    "Command",
    "Sdram",
    "SdramController",
    "Timing",
]

COLUMN_BITS, BANK_BITS, ROW_BITS = 9, 2, 13
ADDRESS_BITS = COLUMN_BITS + BANK_BITS + ROW_BITS
"""Bits of a word's address: column (lowest), bank, row. So the row that follows is in another
bank, and is opened while this one is read."""
COUNT_BITS = 11
"""Bits of a request's number of words."""
CAS_LATENCY = 2
MODE = CAS_LATENCY << 4
"""The mode register: bursts of one word."""
ALL_BANKS = 1 << 10
"""Address bit 10 of a PRECHARGE."""
REFRESHES_AT_START = 8
POSTPONED = 2
"""Refreshes owed at which a request is interrupted; the chip would allow eight."""


class Command(IntEnum):
    """RAS, CAS and WE (bits 2 to 0); 1 is asserted, which is low at the pin."""

    NOP = 0b000
    ACTIVATE = 0b100
    READ = 0b010
    WRITE = 0b011
    PRECHARGE = 0b101
    REFRESH = 0b110
    MODE = 0b111


class Timing(NamedTuple):
    """What the slowest part needs, in cycles of the array's clock, and the refresh interval."""

    rcd: int
    rp: int
    rfc: int
    wr: int
    ras: int
    mrd: int
    refi: int
    start: int
    """Refresh intervals until the first command: 200 us at least."""

    @classmethod
    def at(cls, clock_hz: float) -> "Timing":
        """Timings at a clock. Raises ConfigError where CAS latency 2 is too slow for it."""
        if not 10e6 <= clock_hz <= 100e6:
            raise ConfigError(
                f"the SDRAM cannot run at {clock_hz / 1e6:g} MHz: from 10 to 100 MHz is possible"
            )

        def cycles(ns: float) -> int:
            return ceil(ns * clock_hz / 1e9 - 1e-6)

        return cls(
            rcd=cycles(20),  # tRRD too
            rp=cycles(20),
            rfc=cycles(70),
            wr=cycles(20),
            ras=cycles(50),
            mrd=2,
            refi=int(64e-3 / 8192 * clock_hz),
            start=27,
        )


REQUEST = data.StructLayout({"address": ADDRESS_BITS, "count": COUNT_BITS, "write": 1})
"""``count`` words from word ``address`` on; written if ``write``, else read."""


class SdramController(Component):
    """Turns requests into commands of the chip.

    A request opens its row, and a row that it crosses into one word's time before, in another
    bank; at its end all rows are closed. Refreshes are done between two requests. A request is
    interrupted for them where `POSTPONED` are owed, and where a fifth row is wanted, as each bank
    holds one.

    Latency of the first READ or WRITE: after the request was taken, 1 + ``rcd`` cycles. Throughput:
    a word a cycle; a cycle more for each row that is crossed into, ``1 + rp + rcd - 1`` between
    requests that follow at once.

    Parameters
    ----------
    timing
        In cycles.

    Members
    -------
    request : In(stream of `REQUEST`)
        ``ready`` while no other is under way.
    i : In(stream of 16 bits)
        Words to write.
    read : Out(1)
        This cycle's command is a READ.
    alive : Out(1)
        The chip has been started.
    command : Out(`Command`), address : Out(13), bank : Out(2), word : Out(16), drive : Out(1)
        What the pins say; ``drive``: ``word`` too.
    """

    def __init__(self, timing: Timing):
        if timing.rcd > 2:
            raise ConfigError("a row that follows is opened one word ahead: 2 cycles at most")
        self.timing = timing
        super().__init__(
            {
                "request": In(stream.Signature(REQUEST)),
                "i": In(stream.Signature(16)),
                "read": Out(1),
                "alive": Out(1),
                "command": Out(Command),
                "address": Out(ROW_BITS),
                "bank": Out(BANK_BITS),
                "word": Out(16),
                "drive": Out(1),
            }
        )

    def build(self, m: Module) -> None:
        t = self.timing

        # Refreshes
        tick = Signal(range(t.refi))
        due = Signal()
        done = Signal()
        owed = Signal(4)  # before the start: intervals waited
        m.d.comb += due.eq(tick == t.refi - 1)
        m.d.sync += [tick.eq(Mux(due, 0, tick + 1)), owed.eq(owed + due - done)]

        # Timers: until the next command, and until rows may be closed
        wait = Signal(range(max(t.rcd, t.rp, t.rfc, t.mrd)))
        open_ = Signal(range(max(t.ras, t.wr)))
        now = wait == 0
        m.d.sync += [wait.eq(wait - ~now), open_.eq(open_ - (open_ != 0))]

        # The request: its next word, and its last word's column and how many rows after this
        busy = Signal()
        write = Signal()
        column = Signal(COLUMN_BITS)
        last = Signal(COLUMN_BITS)
        row = Signal(ROW_BITS + BANK_BITS)
        after = Signal(range(((1 << COUNT_BITS) >> COLUMN_BITS) + 1))
        request = self.request.payload
        m.d.comb += self.request.ready.eq(~busy)
        with m.If(self.request.valid & ~busy):
            m.d.sync += [
                busy.eq(request.count != 0),
                write.eq(request.write),
                Cat(column, row).eq(request.address),
                Cat(last, after).eq(request.address[:COLUMN_BITS] + request.count - 1),
            ]

        ahead = Signal()  # the next row is open
        opened = Signal(BANK_BITS)  # rows that were opened before the last one
        wanted = Signal()  # a next row, which a bank is left for: found out a cycle before
        m.d.sync += wanted.eq((after != 0) & ~ahead & ~opened.all())
        following = Signal.like(row)
        here = Signal.like(row)
        m.d.comb += [
            following.eq(row + 1),
            here.eq(row),
            self.bank.eq(here),
            self.address.eq(column),
            self.word.eq(self.i.payload),
        ]

        def activate() -> list:
            return [
                self.command.eq(Command.ACTIVATE),
                self.address.eq(here[BANK_BITS:]),
            ]

        starting = Signal(5)
        with m.FSM():
            with m.State("START"):
                m.d.sync += [starting.eq(starting + due), owed.eq(REFRESHES_AT_START)]
                with m.If(starting == t.start):
                    m.next = "CLOSE"
            with m.State("CLOSE"), m.If(open_ == 0):
                m.d.comb += [self.command.eq(Command.PRECHARGE), self.address.eq(ALL_BANKS)]
                m.d.sync += [wait.eq(t.rp - 1), opened.eq(0), ahead.eq(0)]
                m.next = "CLOSED"
            with m.State("CLOSED"), m.If(now):
                with m.If(owed != 0):
                    m.d.comb += [self.command.eq(Command.REFRESH), done.eq(1)]
                    m.d.sync += wait.eq(t.rfc - 1)
                with m.Elif(~self.alive):
                    m.d.comb += [
                        self.command.eq(Command.MODE),
                        self.bank.eq(0),
                        self.address.eq(MODE),
                    ]
                    m.d.sync += [wait.eq(t.mrd - 1), self.alive.eq(1)]
                with m.Elif(busy):
                    m.d.comb += activate()
                    m.d.sync += [wait.eq(t.rcd - 1), open_.eq(t.ras - 1)]
                    m.next = "OPEN"
            with m.State("OPEN"):
                stalls = write & ~self.i.valid
                with m.If(owed >= POSTPONED):
                    m.next = "CLOSE"
                with m.Elif(now & wanted):
                    m.d.comb += [here.eq(following), activate()]
                    m.d.sync += [open_.eq(t.ras - 1), opened.eq(opened + 1), ahead.eq(1)]
                    m.d.sync += wanted.eq(0)
                with m.Elif(now & ~stalls):
                    m.d.comb += [
                        self.command.eq(Mux(write, Command.WRITE, Command.READ)),
                        self.read.eq(~write),
                        self.drive.eq(write),
                        self.i.ready.eq(write),
                    ]
                    m.d.sync += column.eq(column + 1)
                    with m.If(write & (open_ < t.wr)):
                        m.d.sync += open_.eq(t.wr - 1)
                    with m.If((after == 0) & (column == last)):
                        m.d.sync += busy.eq(0)
                        m.next = "CLOSE"
                    with m.Elif(column.all()):
                        m.d.sync += [row.eq(following), after.eq(after - 1), ahead.eq(0)]
                        m.d.sync += wanted.eq((after != 1) & ~opened.all())
                        with m.If(~ahead):
                            m.next = "CLOSE"


class Sdram(Component):
    """`SdramController` on a chip's pins.

    The chip's clock is the array's, inverted at the pad. When its words are taken is chosen by
    ``phase`` in half cycles: phase p takes what is at the pads `FIRST_CAPTURE` + p half cycles
    after the READ began there, by the documentation of `amaranth.lib.io.DDRBuffer`; a platform's
    buffers may add whole cycles.

    Parameters
    ----------
    ports
        The chip's pins: ``clk``, ``clk_en``, ``cs``, ``ras``, ``cas``, ``we``, ``ba``, ``a``,
        ``dq``, ``dqm``, as resource "sdram" of a platform names them.
    timing
        In cycles.

    Members
    -------
    request, i, alive
        As in `SdramController`.
    o : Out(stream of 16 bits)
        Words that were read. They do not wait.
    phase : In(`CAPTURE_BITS`)
        Constant while words are read.
    """

    def __init__(self, ports, timing: Timing):
        self.ports = ports
        self.controller = SdramController(timing)
        super().__init__(
            {
                "request": In(stream.Signature(REQUEST)),
                "i": In(stream.Signature(16)),
                "o": Out(stream.Signature(16, always_ready=True)),
                "alive": Out(1),
                "phase": In(CAPTURE_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        clk = ddr_buffer(io.Direction.Output, self.ports.clk, platform)
        dq = ddr_buffer(io.Direction.Bidir, self.ports.dq, platform)
        self.transfer(m, clk, dq)
        return m

    def build(self, m: Module) -> None:
        m.submodules.controller = controller = self.controller
        ports = self.ports
        m.d.comb += [
            controller.request.valid.eq(self.request.valid),
            controller.request.payload.eq(self.request.payload),
            self.request.ready.eq(controller.request.ready),
            controller.i.valid.eq(self.i.valid),
            controller.i.payload.eq(self.i.payload),
            self.i.ready.eq(controller.i.ready),
            self.alive.eq(controller.alive),
        ]

        # Commands wait for the data's longer way.
        we, cas, ras = controller.command
        controls = {
            "ras": ras,
            "cas": cas,
            "we": we,
            "ba": controller.bank,
            "a": controller.address,
            "cs": 1,
            "clk_en": 1,
            "dqm": (~controller.alive).replicate(2),
        }
        for name, value in controls.items():
            buffer = io.FFBuffer(io.Direction.Output, getattr(ports, name))
            m.submodules[name] = buffer
            m.d.comb += buffer.o.eq(delay(m, value, len(buffer.o), OUTPUT_STAGES, name))

    def transfer(self, m: Module, clk: Any, dq: Any) -> None:
        """Connects clock and data to their buffers."""
        controller = self.controller
        m.submodules.clk = clk
        m.submodules.dq = dq
        m.d.comb += [
            clk.o[0].eq(0),
            clk.o[1].eq(1),
            dq.o[0].eq(controller.word),
            dq.o[1].eq(controller.word),
            dq.oe.eq(controller.drive),
        ]

        # A READ of this cycle is at the pads 1 + OUTPUT_STAGES edges later, its word FIRST_CAPTURE
        # half cycles after that, and in the buffer's register an edge later.
        first = 1 + OUTPUT_STAGES + FIRST_CAPTURE // 2 + 1
        reads = [delay(m, controller.read, 1, first, "read")]
        for half in range((1 << CAPTURE_BITS) // 2 - 1):
            reads.append(delay(m, reads[-1], 1, 1, f"read_{half}"))
        m.d.sync += [
            self.o.valid.eq(Array(reads)[self.phase[1:]]),
            self.o.payload.eq(Mux(self.phase[0], dq.i[1], dq.i[0])),
        ]


def delay(m: Module, value, width: int, cycles: int, name: str):
    """``value`` as it was some cycles ago."""
    for stage in range(cycles):
        later = Signal(width, name=f"{name}_{stage + 1}")
        m.d.sync += later.eq(value)
        value = later
    return value
