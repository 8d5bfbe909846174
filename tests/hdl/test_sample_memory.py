"""The sample memory's unit between the host's tasks and a memory, whatever size that has."""

import random
import zlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

from relaxon_hdl.bus import Task
from relaxon_hdl.memory import unit
from relaxon_hdl.memory.unit import SampleMemory
from relaxon_isa import Halt, Pack, Wait, encode, preset, record_address, record_stride
from relaxon_isa.capture import captures, kept_capture
from support.pysim import simulate

CONFIG = preset("fast4")
WAIT = Wait(dst=0, count=9, pack=Pack.B4, ahead=True, outputs=3)
STRIDE = record_stride(CONFIG, WAIT)


class Bench:
    """A unit before a memory in Python: ``bits`` of a word's address, None if nothing answers;
    all words are read right in the phases of ``window`` alone."""

    def __init__(
        self,
        bits: int | None,
        window: Sequence[int] = range(2, 6),
        seed: int = 0,
        made=SampleMemory,
    ):
        self.dut = made(CONFIG)
        self.bits, self.window = bits, window
        self.rng = random.Random(seed)
        self.words: dict[int, int] = {}
        self.done = False

    async def memory(self, ctx):
        dut = self.dut
        await ctx.tick().repeat(20)
        ctx.set(dut.chip.alive, 1)
        while not self.done:
            ctx.set(dut.chip.request.ready, 1)
            *_, valid, asked = await ctx.tick().sample(
                dut.chip.request.valid, dut.chip.request.payload
            )
            ctx.set(dut.chip.request.ready, 0)
            if not valid:
                continue
            await ctx.tick().repeat(self.rng.choice([2, 4]))
            for k in range(asked.count):
                place = (asked.address + k) % (1 << (self.bits or 1))
                if asked.write:
                    ctx.set(dut.chip.i.ready, 1)
                    while True:
                        *_, given, word = await ctx.tick().sample(
                            dut.chip.i.valid, dut.chip.i.payload
                        )
                        if given:
                            break
                    ctx.set(dut.chip.i.ready, 0)
                    self.words[place] = word
                    continue
                word = self.words.get(place, 0)
                odd = place % 2 == 0 and ctx.get(dut.chip.phase) not in self.window
                if self.bits is None or odd:
                    word ^= 0x11
                ctx.set(dut.chip.word.payload, word)
                ctx.set(dut.chip.word.valid, 1)
                await ctx.tick()
                ctx.set(dut.chip.word.valid, 0)

    async def task(self, ctx, kind: Task, address: int, length: int, data: bytes = b"") -> bytes:
        dut = self.dut
        ctx.set(dut.task.payload, {"kind": kind, "address": address, "length": length})
        ctx.set(dut.task.valid, 1)
        while not (await ctx.tick().sample(dut.task.ready))[2]:
            pass
        ctx.set(dut.task.valid, 0)
        for byte in data:
            ctx.set(dut.store.payload, byte)
            ctx.set(dut.store.valid, 1)
            while not (await ctx.tick().sample(dut.store.ready))[2]:
                pass
            ctx.set(dut.store.valid, 0)
            await ctx.tick().repeat(self.rng.choice([1, 1, 9]))
        answer = bytearray()
        while len(answer) < {Task.STORE: 0, Task.CHECK: 4, Task.RECALL: length}[kind]:
            ready = self.rng.random() < 0.7
            ctx.set(dut.answer.ready, ready)
            *_, valid, byte = await ctx.tick().sample(dut.answer.valid, dut.answer.payload)
            if valid and ready:
                answer.append(byte)
        ctx.set(dut.answer.ready, 0)
        return bytes(answer)

    async def found(self, ctx) -> int:
        while not ctx.get(self.dut.idle):
            await ctx.tick()
        return ctx.get(self.dut.size)

    async def records(self, ctx, indices) -> list[bytes]:
        """The records that come for indices, by words."""
        dut = self.dut
        ctx.set(dut.start, 1)
        got: list[int] = []

        async def more(until) -> None:
            while not until():
                ready = self.rng.random() < 0.6
                ctx.set(dut.o.ready, ready)
                *_, taken, valid, word = await ctx.tick().sample(
                    dut.index.ready, dut.o.valid, dut.o.payload
                )
                if valid and ready:
                    got.extend((word.bytes & 0xFF, word.bytes >> 8))
                if taken:
                    ctx.set(dut.index.valid, 0)

        for index in indices:
            ctx.set(dut.index.payload, index)
            ctx.set(dut.index.valid, 1)
            await more(lambda: not ctx.get(dut.index.valid))
        await more(lambda: len(got) >= STRIDE * len(indices))
        ctx.set(dut.o.ready, 0)
        return [bytes(got[k : k + STRIDE]) for k in range(0, len(got), STRIDE)]

    def run(self, scenario, watchdog: int = 100_000) -> None:
        async def bench(ctx):
            ctx.set(self.dut.row, encode(CONFIG, [WAIT, Halt()])[0])
            await scenario(ctx)
            self.done = True

        simulate(self.dut, bench, self.memory, watchdog=watchdog)


SIZES = {22: 1 << 23, 23: 1 << 24, 24: 1 << 25, None: 0}


@pytest.mark.parametrize("bits", SIZES)
def test_size_and_phase_are_found(bits):
    for window in (range(1, 5), range(3, 4), (2, 3, 4, 6)):
        bench = Bench(bits, window)

        async def scenario(ctx, bench=bench, window=window):
            assert await bench.found(ctx) == SIZES[bits]
            if bits is not None:
                moments = captures(ctx.get(bench.dut.window))
                assert moments == list(window)
                assert ctx.get(bench.dut.chip.phase) == kept_capture(moments)
            else:
                assert ctx.get(bench.dut.window) == 0

        bench.run(scenario)


def test_what_was_stored_is_checked_recalled_and_handed_on(seed):
    bench = Bench(22, seed=seed)
    data = bench.rng.randbytes(1024 + 5 * STRIDE)
    size = 1 << 23

    async def scenario(ctx):
        await bench.found(ctx)
        await bench.task(ctx, Task.STORE, 0, len(data), data)
        for start, count in ((0, len(data)), (3, 7), (4, 1), (1021, 20)):
            part = data[start : start + count]
            crc = await bench.task(ctx, Task.CHECK, start, count)
            assert int.from_bytes(crc, "little") == zlib.crc32(part)
            assert await bench.task(ctx, Task.RECALL, start, count) == part
        # Records, and a task between them.
        records = [data[record_address(CONFIG, WAIT, k) :][:STRIDE] for k in range(5)]
        order = [3, 0, 4, 4, 1]
        assert await bench.records(ctx, order) == [records[k] for k in order]
        assert await bench.task(ctx, Task.RECALL, 0, 4) == data[:4]
        # What was asked for and not taken is forgotten.
        dut = bench.dut
        for index in (1, 2):
            ctx.set(dut.index.payload, index)
            ctx.set(dut.index.valid, 1)
            while not (await ctx.tick().sample(dut.index.ready))[2]:
                pass
            ctx.set(dut.index.valid, 0)
            await ctx.tick().repeat(bench.rng.randrange(1, 40))
        ctx.set(dut.start, 0)
        ctx.set(dut.clear, 1)
        await ctx.tick()
        ctx.set(dut.clear, 0)
        assert await bench.records(ctx, [2, 3]) == records[2:4]
        # An odd byte alone has a 0 beside it; beyond the end nothing is stored, and 0 read.
        await bench.task(ctx, Task.STORE, 10, 1, b"x")
        assert await bench.task(ctx, Task.RECALL, 9, 4) == data[9:10] + b"x\0" + data[12:13]
        await bench.task(ctx, Task.STORE, size - 2, 4, b"last")
        assert await bench.task(ctx, Task.RECALL, size - 2, 6) == b"la" + bytes(4)
        assert await bench.task(ctx, Task.RECALL, 0, 2) == data[:2]

    bench.run(scenario)


def exercise(sample_memory) -> None:
    """A little of all, with a fault perhaps."""
    bench = Bench(22, range(1, 5), made=sample_memory)
    data = bench.rng.randbytes(28)

    async def scenario(ctx):
        assert await bench.found(ctx) == 1 << 23
        assert ctx.get(bench.dut.chip.phase) == 2
        assert ctx.get(bench.dut.window) == 0b11110
        await bench.task(ctx, Task.STORE, 1020, 28, data)
        crc = await bench.task(ctx, Task.CHECK, 1021, 26)
        assert int.from_bytes(crc, "little") == zlib.crc32(data[1:27])
        assert await bench.task(ctx, Task.RECALL, 1023, 4) == data[3:7]
        dut = bench.dut
        ctx.set(dut.start, 1)
        ctx.set(dut.index.payload, 2)
        ctx.set(dut.index.valid, 1)
        while not (await ctx.tick().sample(dut.index.ready))[2]:
            pass
        ctx.set(dut.index.valid, 0)
        assert ctx.get(dut.pending) and not ctx.get(dut.idle)
        while not ctx.get(dut.chip.request.valid):
            await ctx.tick()
        await ctx.tick()
        ctx.set(dut.start, 0)
        ctx.set(dut.clear, 1)
        await ctx.tick()
        ctx.set(dut.clear, 0)
        records = [data[4 + STRIDE * k :][:STRIDE] for k in range(3)]
        assert await bench.records(ctx, [2, 0]) == [records[2], records[0]]
        await bench.task(ctx, Task.STORE, (1 << 23) - 2, 4, b"last")
        assert await bench.task(ctx, Task.RECALL, (1 << 23) - 1, 2) == b"a\0"
        assert await bench.task(ctx, Task.RECALL, 1020, 2) == data[:2]

    bench.run(scenario, watchdog=4000)


FAULTS = {
    "the first phase that works": ("first + sizes", "first"),
    "the window from its other end": (
        "self.window.eq(Cat(self.window[1:], right & same))",
        "self.window.eq(Cat(right & same, self.window[:-1]))",
    ),
    "the window of the last word": ("self.window[1:], right & same", "self.window[1:], same"),
    "a larger memory": ("large.eq(Cat(same, large))", "large.eq(3)"),
    "probing words are left over": ("& ~drops & ~self.asked)", "& ~drops)"),
    "words of before are handed on": ("m.d.sync += drops.eq(1)", "m.d.sync += drops.eq(0)"),
    "stored beyond the end": (
        "self.write(m, task.address[1:], ~beyond)",
        "self.write(m, task.address[1:], 1)",
    ),
    "read beyond the end": ("Mux(beyond, 0, Mux(", "Mux(0, 0, Mux("),
    "an odd begin is even": ("Mux(task.address[0], bytes_[8:]", "Mux(task.address[0], bytes_[:8]"),
    "a word too few": ("(task.address[0] + task.length + 1) >> 1", "task.length >> 1"),
    "CRC not inverted": ("self.answer.payload.eq(~crc[:8])", "self.answer.payload.eq(crc[:8])"),
    "another CRC": ("0xEDB88320", "0x82F63B78"),
}


def faulty(old: str, new: str):
    """The unit of a module with a piece of its source replaced."""
    source = Path(unit.__file__).read_text()
    assert source.count(old) == 1, old
    module = ModuleType("relaxon_hdl.memory.faulty")
    module.__package__ = "relaxon_hdl.memory"
    exec(compile(source.replace(old, new), "faulty", "exec"), module.__dict__)
    return module.SampleMemory


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_caught(name):
    with pytest.raises(AssertionError):
        exercise(faulty(*FAULTS[name]))


def test_exercise_finds_nothing_without_a_fault():
    exercise(SampleMemory)
