"""An SDR SDRAM chip that asserts what its data sheet demands, and a test bench around it.

Nothing here comes from the gateware: commands, addresses and times are those of the data sheets
(the slowest of IS42S16160G, MT48LC16M16A2, AS4C16M16SA, AS4C32M16SB and W9825G6KH, CAS latency 2).
"""

import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from itertools import count
from types import SimpleNamespace
from typing import Any, NamedTuple

from amaranth.lib import io
from amaranth.sim import Simulator

__all__ = ["Bus", "Chip", "pins", "simulate_chip"]

START = 200e3
RCD, RP, RAS, RC, RRD, RFC, WR = 20, 20, 50, 70, 20, 70, 20
LONGEST_RAS = 100e3
INTERVAL = 64e6 / 8192
ACCESS, HOLD = 6.0, 2.7
"""ns. Access and hold time of a word at CAS latency 2."""
LATENCY = 2
MODE_CYCLES = 2
AGO = -1e9
FILLED = 8
"""Cycles until the registers at the pins hold something."""


class Bus(NamedTuple):
    """The pins at an edge of the chip's clock; levels of control pins as they are at the pads."""

    cke: int
    cs_n: int
    ras_n: int
    cas_n: int
    we_n: int
    bank: int
    address: int
    dqm: int
    data: int
    driven: int


@dataclass
class Bank:
    row: int | None = None
    activated: float = AGO
    precharged: float = AGO
    written: float = AGO


@dataclass
class Chip:
    """A chip of 8,192 rows of 512 words in 4 banks.

    Parameters
    ----------
    period
        Of its clock, in ns.
    postponed
        Refreshes that may be owed at any time.
    start
        Time from power-up to the first command, in ns.
    """

    period: float
    postponed: float = 8
    start: float = START
    cells: dict[tuple[int, int, int], int] = field(default_factory=dict)
    banks: list[Bank] = field(default_factory=lambda: [Bank() for _ in range(4)])
    state: str = "power"
    refreshes: int = 0
    refreshed: float = AGO
    activated: float = AGO
    mode_set: float = AGO
    alive_since: float = 0
    words: list[tuple[float, float, int | None]] = field(default_factory=list)
    """Words on the bus: from, to, and which; None is undefined."""

    def edge(self, now: float, bus: Bus) -> None:
        """A rising edge of the clock, in ns since power-up. Raises AssertionError."""
        self.words = [word for word in self.words if word[1] > now - self.period]
        assert bus.cke, "clock enable is low"
        if self.state != "alive":
            assert bus.dqm == 3, "DQM is low before the chip is started"
        else:
            assert bus.dqm == 0, "a word is masked"
            owed = (now - self.alive_since) / INTERVAL - self.refreshes
            assert owed <= self.postponed, f"{owed:.1f} refreshes are owed"
        for bank in self.banks:
            assert bank.row is None or now - bank.activated <= LONGEST_RAS, "a row is open too long"
        names = {
            (1, 1, 1): None,
            (0, 1, 1): self.activate,
            (1, 0, 1): self.read,
            (1, 0, 0): self.write,
            (0, 1, 0): self.precharge,
            (0, 0, 1): self.refresh,
            (0, 0, 0): self.set_mode,
        }
        code = (1, 1, 1) if bus.cs_n else (bus.ras_n, bus.cas_n, bus.we_n)
        assert code in names, "BURST TERMINATE with bursts of one word"
        command = names[code]
        if command != self.write:
            assert not bus.driven, "the bus is driven without a WRITE"
        if command:
            assert now >= self.start, "a command too soon after power-up"
            command(now, bus)

    def bus(self, now: float) -> int | None:
        """The word on the bus; None if it is undefined."""
        return next((word for start, end, word in self.words if start <= now < end), None)

    def drives(self, now: float) -> bool:
        """Whether the chip's outputs may be on."""
        return any(start - ACCESS <= now < end + self.period - HOLD for start, end, _ in self.words)

    def check(self, now: float, since: float, least: float, name: str) -> None:
        assert now - since >= least - 1e-3, f"{name}: {now - since:.1f} of {least} ns"

    def ready(self, now: float) -> None:
        self.check(now, self.refreshed, RFC, "tRFC")
        self.check(now, self.mode_set, MODE_CYCLES * self.period, "tMRD")

    def closed(self, now: float) -> None:
        for bank in self.banks:
            assert bank.row is None, "a row is open"
            self.check(now, bank.precharged, RP, "tRP")

    def activate(self, now: float, bus: Bus) -> None:
        assert self.state == "alive", "ACTIVATE before the chip is started"
        self.ready(now)
        bank = self.banks[bus.bank]
        assert bank.row is None, "ACTIVATE in a bank with an open row"
        self.check(now, bank.precharged, RP, "tRP")
        self.check(now, bank.activated, RC, "tRC")
        self.check(now, self.activated, RRD, "tRRD")
        bank.row, bank.activated, self.activated = bus.address, now, now

    def access(self, now: float, bus: Bus) -> tuple[int, int, int]:
        bank = self.banks[bus.bank]
        assert bank.row is not None, "no row is open in this bank"
        self.check(now, bank.activated, RCD, "tRCD")
        assert bus.address < 512, "not a column, or with auto-precharge"
        return bus.bank, bank.row, bus.address

    def read(self, now: float, bus: Bus) -> None:
        place = self.access(now, bus)
        begin = now + (LATENCY - 1) * self.period
        self.words.append(
            (begin + ACCESS, now + LATENCY * self.period + HOLD, self.cells.get(place))
        )

    def write(self, now: float, bus: Bus) -> None:
        place = self.access(now, bus)
        assert bus.driven, "a WRITE without data"
        assert not self.drives(now), "bus conflict"
        self.cells[place] = bus.data
        self.banks[bus.bank].written = now

    def precharge(self, now: float, bus: Bus) -> None:
        for number, bank in enumerate(self.banks):
            if bus.address >> 10 & 1 or number == bus.bank:
                if bank.row is not None:
                    self.check(now, bank.activated, RAS, "tRAS")
                    self.check(now, bank.written, WR, "tWR")
                    bank.precharged = now
                bank.row = None
        if self.state == "power":
            assert bus.address >> 10 & 1, "the first PRECHARGE is of all banks"
            self.state = "precharged"
            for bank in self.banks:
                bank.precharged = now

    def refresh(self, now: float, bus: Bus) -> None:
        assert self.state != "power", "REFRESH before a PRECHARGE"
        self.ready(now)
        self.closed(now)
        self.refreshed = now
        self.refreshes += 1

    def set_mode(self, now: float, bus: Bus) -> None:
        assert self.state == "precharged", "MODE REGISTER SET before a PRECHARGE, or twice"
        assert self.refreshes >= 8, "MODE REGISTER SET before 8 refreshes"
        self.ready(now)
        self.closed(now)
        assert (bus.bank, bus.address) == (0, LATENCY << 4), "not CAS latency 2, bursts of 1"
        self.state, self.mode_set, self.alive_since, self.refreshes = "alive", now, now, 0


def pins() -> SimpleNamespace:
    """The chip's pins, named as amaranth_boards does."""
    out = {"clk": 1, "clk_en": 1, "ba": 2, "a": 13, "dqm": 2}
    low = ("cs", "ras", "cas", "we")
    return SimpleNamespace(
        **{name: io.SimulationPort("o", width) for name, width in out.items()},
        **{name: io.SimulationPort("o", 1, invert=True) for name in low},
        dq=io.SimulationPort("io", 16),
    )


def simulate_chip(
    dut: Any,
    clock_hz: float,
    testbench: Callable[[Any], Coroutine[Any, Any, None]],
    *,
    way: float = 5.0,
    postponed: float = 8,
    start: float = START,
    longest: int = 200_000,
    chips: list[Chip] | None = None,
) -> Chip:
    """Run a test bench beside a `Chip` on the pins ``dut.ports``; return the chip.

    ``way`` is the time in ns that the clock takes to the chip and its words back to the pads.
    The chip is put into ``chips`` before it begins. Raises AssertionError after ``longest``
    cycles, and whenever the chip does.
    """
    period = 1e9 / clock_hz
    chip = Chip(period, postponed, start)
    if chips is not None:
        chips.append(chip)
    ports, garbage = dut.ports, random.Random(1)
    names = ("clk_en", "cs", "ras", "cas", "we", "ba", "a", "dqm", "dq")
    levels = [*(getattr(ports, name).o for name in names), ports.dq.oe]

    async def pads(ctx):
        async def present(edge: float) -> None:
            if not chip.words:
                return
            at = edge - way
            word = chip.bus(at)
            ctx.set(ports.dq.i, garbage.getrandbits(16) if word is None else word)
            assert not (ctx.get(ports.dq.oe) and chip.drives(at)), "bus conflict"

        for cycle in count():
            await ctx.tick()
            now = cycle * period
            assert cycle < longest, f"not over after {longest} cycles"
            await ctx.delay(period / 4 * 1e-9)
            clock = [ctx.get(ports.clk.o)]
            await present(now + period / 2)
            if cycle > FILLED:
                chip.edge(now + period / 2, Bus(*map(ctx.get, levels)))
            await ctx.delay(period / 2 * 1e-9)
            clock.append(ctx.get(ports.clk.o))
            assert cycle <= FILLED or clock == [0, 1], "the clock does not rise in mid-cycle"
            await present(now + period)

    simulator = Simulator(dut)
    simulator.add_clock(period * 1e-9)
    simulator.add_testbench(pads, background=True)
    simulator.add_testbench(testbench)
    simulator.run()
    return chip
