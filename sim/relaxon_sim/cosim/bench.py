"""What cocotb benches share: seeds, a core driven at its `CoreSignature`, a UART's two pins.

Cycles are counted from falling edge to falling edge: inputs change at the falling edge, outputs are
looked at when they have settled behind it, and what is valid and ready then moves at the rising
edge. So nothing depends on who comes first at an edge.
"""

import json
import os
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.simtime import get_sim_time
from cocotb.task import resume
from cocotb.triggers import Event, FallingEdge, First, ReadOnly, Timer
from numpy.typing import ArrayLike

from relaxon_device.base import Device, SpaceLayout, left_over, starved
from relaxon_hdl.bus import element_bits
from relaxon_isa import ArrayConfig, Record, Space, row_bits
from relaxon_isa.identity import decode_info, encode_info

__all__ = [
    "PERIOD_NS",
    "CoreBench",
    "CosimDevice",
    "UartTransport",
    "Watchdog",
    "parameters",
    "random_source",
    "start_clock",
]

PERIOD_NS = 10


class Watchdog(AssertionError):
    """Something did not happen in the cycles that it may take."""


def parameters() -> dict:
    """What the test gave `simulate` as ``parameters``."""
    return json.loads(os.environ.get("RELAXON_PARAMETERS", "{}"))


def random_source(name: str = "") -> random.Random:
    """A generator that depends on the run's seed and ``name`` alone; the seed is printed."""
    return random.Random(f"{os.environ.get('COCOTB_RANDOM_SEED', '1')} {name}")


def start_clock(dut: Any) -> None:
    Clock(dut.clk, PERIOD_NS, unit="ns").start(start_high=False)


class CoreBench:
    """Drives a `Core` (``bus__...`` are its ports) as the command unit does, cycle by cycle.

    Parameters
    ----------
    dut
        The simulated core.
    config
        The machine.
    rng
        Decides about idle cycles.
    idle
        Probability of a cycle without an offer, while sample bytes are left.
    pressure
        Probability of a cycle in which no EMIT byte is taken.
    watchdog
        Cycles that anything may take without a byte, an element or an end.

    Members
    -------
    cycles
        Cycles since `begin`.
    """

    def __init__(
        self,
        dut: Any,
        config: ArrayConfig,
        *,
        rng: random.Random | None = None,
        idle: float = 0.0,
        pressure: float = 0.0,
        watchdog: int = 200_000,
    ) -> None:
        self.config = config
        self.idle = idle
        self.pressure = pressure
        self.watchdog = watchdog
        self.cycles = 0
        self.layouts = {space: SpaceLayout(config, space) for space in Space}
        self._dut = dut
        self._rng = rng or random_source("core")
        self._last: dict[str, int] = {}
        self._ports: dict[str, Any] = {}
        self._request: dict[str, int] | None = None
        self._answer: int | None = None
        self._launch: int | None = None
        self._samples: deque[int] = deque()
        self._offered = False
        self._abort = False
        self._emitted = bytearray()
        self._halted = False  # since the program began
        self.done = True  # and all of its bytes are taken
        self._progress = 0

    async def begin(self) -> None:
        """Start the clock; nothing runs."""
        for name in ("memory__valid", "run__valid", "sample__valid", "emit__ready", "abort"):
            self._put(name, 0)
        for name in ("link_error", "link_drop"):
            self._put(name, 0)
        start_clock(self._dut)
        await self._cycle()

    # A cycle ------------------------------------------------------------------------------

    def _port(self, name: str) -> Any:
        port = self._ports.get(name)
        if port is None:
            port = self._ports[name] = getattr(self._dut, f"bus__{name}")
        return port

    def _put(self, name: str, value: int) -> None:
        if self._last.get(name) != value:
            self._port(name).value = value
            self._last[name] = value

    def _get(self, name: str) -> int:
        return int(self._port(name).value)

    async def _cycle(self) -> None:
        await FallingEdge(self._dut.clk)
        self.cycles += 1
        self._put("abort", int(self._abort))
        request = self._request
        self._put("memory__valid", int(request is not None))
        if request is not None:
            for name, value in request.items():
                self._put(f"memory__{name}", value)
        self._put("run__valid", int(self._launch is not None))
        if self._launch is not None:
            self._put("run__payload", self._launch)
        # What was offered stays offered until it is taken.
        self._offered = bool(self._samples) and (
            self._offered or not self.idle or self._rng.random() >= self.idle
        )
        self._put("sample__valid", int(self._offered))
        if self._offered:
            self._put("sample__payload", self._samples[0])
        taking = not self.pressure or self._rng.random() >= self.pressure
        self._put("emit__ready", int(taking))

        await ReadOnly()
        moved = False
        if request is not None and self._get("memory__ready"):
            self._answer = self._get("memory__rdata")
            self._request = None
            moved = True
        if self._launch is not None and self._get("run__ready"):
            self._launch = None
            moved = True
        if self._offered and self._get("sample__ready"):
            self._samples.popleft()
            self._offered = False
            moved = True
        if taking and self._get("emit__valid"):
            self._emitted.append(self._get("emit__payload"))
            moved = True
        if self._get("done"):
            self._halted = moved = True
        if self._halted and not self._get("emit__valid"):
            self.done = True
        self._abort = False
        if moved:
            self._progress = self.cycles

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Cycles until ``condition()``. Raises Watchdog if nothing moves for long."""
        self._progress = self.cycles
        while not condition():
            await self._cycle()
            if self.cycles - self._progress > self.watchdog:
                raise Watchdog(f"nothing for {self.watchdog} cycles, waiting for {what}")

    async def pause(self, cycles: int) -> None:
        """So many cycles, whatever happens."""
        for _ in range(cycles):
            await self._cycle()

    # Memories -----------------------------------------------------------------------------

    async def _access(
        self, space: Space, element: int, value: int | None, early: bool = False
    ) -> int:
        layout = self.layouts[space]
        index, lane = divmod(element, layout.lanes)
        self._answer = None
        self._request = {"space": space, "index": index, "lane": lane, "write": value is not None}
        if self.config.sample_buffer:
            self._request["early"] = early
        if value is not None:
            self._request["wdata"] = value & ((1 << element_bits(self.config)) - 1)
        what = f"{space.name} element {element}"
        await self.until(lambda: self._answer is not None, what)
        return self._answer or 0

    async def write(self, space: Space, start: int, values: ArrayLike) -> None:
        """Write elements, in neuron order, one after the other."""
        for i, value in enumerate(np.asarray(values, dtype=object)):
            await self._access(space, start + i, int(value))

    async def read(self, space: Space, start: int = 0, count: int | None = None) -> np.ndarray:
        """Elements as `Device.read` returns them. Without ``count``, all from ``start`` on."""
        layout = self.layouts[space]
        bits = row_bits(self.config) if space is Space.PROGRAM else 8 * layout.element_bytes
        values = []
        for i in range(layout.size - start if count is None else count):
            word = await self._access(space, start + i, None) & ((1 << bits) - 1)
            values.append(word - (1 << bits) if layout.signed and word >> (bits - 1) else word)
        return np.array(values, dtype=layout.dtype)

    async def glance(self, register: int) -> int:
        """A register's value while a program runs, which SAMPLES and WRONG can be asked for."""
        return await self._access(Space.REGISTER, register, None, early=True)

    # Programs -----------------------------------------------------------------------------

    def start(self, row: int = 0, *, count: bool = True) -> None:
        """Ask for a run; it begins with the cycles of whatever is awaited next."""
        self._halted = self.done = False
        self._launch = row | int(count) << 16

    def feed(self, data: bytes) -> None:
        """Offer bytes to WAIT."""
        self._samples.extend(data)

    @property
    def waiting(self) -> bool:
        """Whether the program is stalled in WAIT, and all bytes offered are taken."""
        return not self._samples and self._launch is None and bool(self._get("waiting"))

    @property
    def unused(self) -> int:
        """Sample bytes that were offered and not taken."""
        return len(self._samples)

    def emits(self) -> list[bytes]:
        """What whole EMIT records held that came since the last call."""
        records = []
        while len(self._emitted) >= 3:
            tag, size = self._emitted[0], int.from_bytes(self._emitted[1:3], "little")
            assert tag == Record.EMIT, f"record of tag 0x{tag:02x}"
            if len(self._emitted) < 3 + size:
                break
            records.append(bytes(self._emitted[3 : 3 + size]))
            del self._emitted[: 3 + size]
        return records

    async def run(
        self,
        rows: Sequence[int] | None = None,
        samples: bytes | Iterable[bytes] = b"",
        *,
        row: int = 0,
        count: bool = True,
    ) -> list[bytes]:
        """Load a program, unless it is there, and run it to its end; returns what EMITs held.

        Raises Watchdog if it does not halt, and AssertionError if sample bytes are left over.
        """
        if rows is not None:
            await self.write(Space.PROGRAM, row, rows)
        self.feed(samples if isinstance(samples, bytes) else b"".join(samples))
        self.start(row, count=count)
        await self.until(lambda: self.done, f"the program at row {row}")
        assert not self._samples, f"{len(self._samples)} sample bytes were not taken"
        emits = self.emits()
        assert not self._emitted, "the program ended within an EMIT record"
        return emits

    async def abort(self) -> None:
        """Stop what runs, as a RESET of the link does."""
        self._abort = True
        self._request = self._launch = None
        self._samples.clear()
        self._offered = False
        await self._cycle()
        pressure, self.pressure = self.pressure, 0.0
        await self.until(
            lambda: not (self._get("running") or self._get("emit__valid")), "the end of a run"
        )
        self.pressure = pressure
        self._emitted.clear()
        self.done = True


class CosimDevice(Device):
    """A `CoreBench` behind the interface that boards have, for code that knows no cocotb.

    That code runs in a thread that the simulation waits for::

        await cocotb.task.bridge(observe)(CosimDevice(core), case)
    """

    def __init__(self, core: CoreBench) -> None:
        self.core = core
        info = encode_info(core.config, build="cocotb", clock_hz=0, baud=0)
        self._info = np.frombuffer(info, np.uint8)
        self.identity = decode_info(info)

    def _read(self, layout: SpaceLayout, start: int, count: int) -> np.ndarray:
        if layout.space is Space.INFO:
            return self._info[start : start + count].astype(layout.dtype)
        return resume(self.core.read)(layout.space, start, count)

    def _write(self, layout: SpaceLayout, start: int, values: np.ndarray) -> None:
        resume(self.core.write)(layout.space, start, values)

    def _run(self, samples: Iterator[bytes], row: int, count: bool) -> Iterator[bytes]:
        core = self.core
        over = resume(core.until)

        def settled() -> bool:
            return core.done or core.waiting

        core.start(row, count=count)
        given = 0
        try:
            over(settled, "HALT or WAIT")
            yield from core.emits()
            for sample in samples:
                given += 1
                if core.done:
                    raise left_over()
                core.feed(bytes(sample))
                over(settled, "HALT or WAIT")
                yield from core.emits()
                if core.unused:
                    raise left_over()
            if not core.done:
                raise starved(given)
        finally:
            if not core.done or core.unused:
                self.reset()

    def reset(self) -> None:
        resume(self.core.abort)()

    def close(self) -> None:
        pass


class UartTransport:
    """The pins ``rx`` and ``tx`` of a simulated `Top` as a transport of the host.

    `read` and `write` are for code in a thread (`cocotb.task.bridge`); time is the simulation's::

        line = UartTransport(dut, divisor=4)
        await cocotb.task.bridge(body)(SerialDevice(line, clock=line.clock))

    Parameters
    ----------
    dut
        The simulated design.
    divisor
        Clocks a bit.
    skew
        How much faster than the design's the host's clock is, as a fraction.
    """

    name = "cocotb"

    def __init__(self, dut: Any, *, divisor: int, skew: float = 0.0) -> None:
        self._dut = dut
        self._bit_ps = round(PERIOD_NS * 1000 * divisor)
        self._host_bit_ps = round(self._bit_ps / (1 + skew))
        self._received = bytearray()
        self._arrived = Event()
        self.broken = 0
        dut.rx.value = 1
        start_clock(dut)
        cocotb.start_soon(self._listen())

    @staticmethod
    def clock() -> float:
        """Seconds for the host: a hundred a simulated second, so that it asks in time."""
        return get_sim_time("ns") * 1e-7

    async def _listen(self) -> None:
        tx = self._dut.tx
        await Timer(self._bit_ps, unit="ps")
        while True:
            await FallingEdge(tx)
            await Timer(self._bit_ps * 3 // 2, unit="ps")
            byte = 0
            for i in range(8):
                byte |= int(tx.value) << i
                await Timer(self._bit_ps, unit="ps")
            if int(tx.value):
                self._received.append(byte)
            else:
                self.broken += 1
            self._arrived.set()

    async def send(self, data: bytes) -> None:
        """Draw bytes on the line, back to back."""
        rx = self._dut.rx
        for byte in data:
            frame, level = byte << 1 | 0x200, 1
            length = 0
            for i in range(10):  # a wait for each change of level, not for each bit
                bit = frame >> i & 1
                if bit != level:
                    if length:
                        await Timer(length, unit="ps")
                    rx.value = level = bit
                    length = 0
                length += self._host_bit_ps
            await Timer(length, unit="ps")

    async def receive(self, timeout: float) -> bytes:
        """The bytes that are there, or that come within ``timeout`` of `clock`'s seconds."""
        if not self._received and timeout > 0:
            self._arrived.clear()
            await First(self._arrived.wait(), Timer(max(1, round(timeout * 1e7)), unit="ns"))
        data = bytes(self._received)
        self._received.clear()
        return data

    def read(self, timeout: float) -> bytes:
        return resume(self.receive)(timeout)

    def write(self, data: bytes) -> None:
        resume(self.send)(data)

    def close(self) -> None:
        pass
