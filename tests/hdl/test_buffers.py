"""SkidBuffer: every byte once and in order, a byte a cycle, and nothing from one side to the other
within a cycle."""

import random

import pytest

from relaxon_hdl.buffers import SkidBuffer
from support.pysim import simulate

BYTES = 300


@pytest.mark.parametrize(("give", "take"), [(1, 1), (0.5, 1), (1, 0.5), (0.5, 0.5), (0.9, 0.1)])
def test_bytes_pass(give, take, seed):
    rng = random.Random(f"{seed} {give} {take}")
    dut = SkidBuffer()
    sent, taken, cycles = [rng.randrange(256) for _ in range(BYTES)], [], 0

    async def testbench(ctx):
        nonlocal cycles
        left = list(sent)
        offered = False
        while len(taken) < BYTES:
            cycles += 1
            offered = bool(left) and (offered or rng.random() < give)
            ready = ctx.get(dut.i.ready)
            valid, byte = ctx.get(dut.o.valid), ctx.get(dut.o.payload)
            ctx.set(dut.i.valid, offered)
            ctx.set(dut.i.payload, left[0] if offered else rng.randrange(256))
            takes = rng.random() < take
            ctx.set(dut.o.ready, takes)
            assert ready == ctx.get(dut.i.ready)
            assert (valid, byte) == (ctx.get(dut.o.valid), ctx.get(dut.o.payload))
            if valid and takes:
                taken.append(byte)
            if offered and ready:
                left.pop(0)
                offered = False
            await ctx.tick()

    simulate(dut, testbench, watchdog=20 * BYTES)
    assert taken == sent
    if give == take == 1:
        assert cycles == BYTES + 1
