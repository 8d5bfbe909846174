"""Records come from a memory as they lie there, and are asked for only where there is room."""

import random

import pytest

from relaxon_hdl.memory.records import ROOM, RecordReader
from relaxon_isa import Halt, Pack, Wait, encode, preset, record_address, record_stride
from support.pysim import simulate

CONFIG = preset("fast4").replace(p=12, sample_buffer=512)
FORMATS = {
    "images": Wait(dst=0, count=784, pack=Pack.B4, ahead=True, bias=True, outputs=10),
    "bits": Wait(dst=0, count=57, pack=Pack.B1, ahead=True),
    "bytes": Wait(dst=0, count=1400, pack=Pack.B8, signed=True, ahead=True, outputs=2),
    "small": Wait(dst=0, count=1, pack=Pack.B2, ahead=True, outputs=2),
}
CYCLES = {"images": 204}
"""A record's, at most, if the memory never waits."""


def word_at(address: int) -> int:
    return (address * 40503 + 12345) >> 3 & 0xFFFF


@pytest.mark.parametrize("slow", [False, True], ids=["at once", "slowly"])
@pytest.mark.parametrize("name", FORMATS)
def test_records_are_handed_on_in_order(name, slow, seed):
    wait, rng = FORMATS[name], random.Random(seed)
    stride = record_stride(CONFIG, wait)
    top = ((1 << 25) - 1024) // stride
    records = [rng.randrange(top) for _ in range(6)] + [0, top - 1, 1]
    wanted = [
        word_at(record_address(CONFIG, wait, index) // 2 + k)
        for index in records
        for k in range(stride // 2)
    ]
    dut = RecordReader(CONFIG)
    row = encode(CONFIG, [wait, Halt()])[0]
    waiting = 0  # words asked for, and not handed on
    got: list[int] = []
    cycles = 0

    async def host(ctx):
        ctx.set(dut.row, row)
        for _ in range(5):
            assert not ctx.get(dut.index.ready)
            await ctx.tick()
        ctx.set(dut.start, 1)
        for index in records:
            ctx.set(dut.index.payload, index)
            ctx.set(dut.index.valid, 1)
            while not (await ctx.tick().sample(dut.index.ready))[2]:
                pass
            ctx.set(dut.index.valid, 0)

    async def chip(ctx):
        nonlocal waiting
        while len(got) < len(wanted):
            ctx.set(dut.request.ready, 1)
            *_, valid, asked = await ctx.tick().sample(dut.request.valid, dut.request.payload)
            if not valid:
                continue
            assert not asked.write and asked.count
            waiting += asked.count
            assert waiting <= ROOM
            ctx.set(dut.request.ready, 0)
            await ctx.tick().repeat(6 if slow else 3)
            for k in range(asked.count):
                ctx.set(dut.word.payload, word_at(asked.address + k))
                ctx.set(dut.word.valid, 1)
                await ctx.tick()
                ctx.set(dut.word.valid, 0)

    async def buffer(ctx):
        nonlocal waiting, cycles
        while len(got) < len(wanted):
            ready = not slow or rng.random() < 0.5
            ctx.set(dut.o.ready, ready)
            *_, valid, word = await ctx.tick().sample(dut.o.valid, dut.o.payload)
            cycles += bool(got)
            if valid and ready:
                assert word.both
                got.append(word.bytes)
                waiting -= 1
        await ctx.tick().repeat(3)
        assert ctx.get(dut.idle)

    simulate(dut, host, chip, buffer)
    assert got == wanted
    if name in CYCLES and not slow:
        assert cycles <= CYCLES[name] * len(records)
