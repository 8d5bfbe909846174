"""Stalls are counted to the cycle: what a run takes longer than without them, and why."""

import random

import pytest

from relaxon_hdl.core import Core
from relaxon_isa.config import ArrayConfig
from relaxon_isa.cycles import wait_bytes
from relaxon_isa.instructions import Emit, EmitKind, Halt, Loop, Next, Pack, Wait
from relaxon_isa.memory import Register, Space
from relaxon_isa.presets import preset
from relaxon_isa.program import Program
from support import session
from support.pysim import simulate

LONG = ArrayConfig(**session.MACHINE)
SHORT = preset("up5k").replace(**{k: v for k, v in session.MACHINE.items() if k != "table_bits"})
STALLS = (Register.WAIT_STALLS, Register.EMIT_STALLS)


class Bench:
    """A core whose bytes come and go as the test wants."""

    def __init__(self, ctx, core: Core):
        self.ctx, self.bus = ctx, core.bus

    async def access(self, space: Space, index: int, data: int | None = None) -> int:
        ctx, memory = self.ctx, self.bus.memory
        ctx.set(memory.space, space)
        ctx.set(memory.index, index)
        ctx.set(memory.write, data is not None)
        ctx.set(memory.wdata, data or 0)
        ctx.set(memory.valid, 1)
        ready = value = 0
        while not ready:
            _, _, ready, value = await ctx.tick().sample(memory.ready, memory.rdata)
        ctx.set(memory.valid, 0)
        return value & 0xFFFFFFFF

    async def registers(self) -> dict[Register, int]:
        return {register: await self.access(Space.REGISTER, register) for register in Register}

    async def run(self, samples: bytes, bytes_late: float, room_late: float, count: bool) -> int:
        """Cycles from RUN to HALT, where a byte is late, or room for one, with these chances."""
        ctx, bus, rng = self.ctx, self.bus, random.Random(5)
        ctx.set(bus.run.payload.row, 0)
        ctx.set(bus.run.payload.count, count)
        ctx.set(bus.run.valid, 1)
        await ctx.tick().until(bus.run.ready)
        ctx.set(bus.run.valid, 0)
        given = cycles = done = 0
        while not done:
            give = given < len(samples) and rng.random() >= bytes_late
            ctx.set(bus.sample.valid, give)
            ctx.set(bus.sample.payload, samples[given] if give else 0)
            ctx.set(bus.emit.ready, rng.random() >= room_late)
            _, _, taken, done = await ctx.tick().sample(bus.sample.ready, bus.done)
            given += give and taken
            cycles += 1
        assert given == len(samples)
        return cycles


@pytest.mark.parametrize("config", [LONG, SHORT], ids=["long", "short"])
def test_stalls(config):
    core = Core(config)
    waits = (Wait(count=5, pack=Pack.B4), Wait(dst=4, count=3, pack=Pack.WORD))
    emits = (Emit(count=3), Emit(kind=EmitKind.ARGMAX, count=4), Emit(kind=EmitKind.DRIVE, count=2))
    program = Program(config, (Loop(count=4), *waits, *emits, Next(), Halt()))
    samples = bytes(range(4 * sum(wait_bytes(config, wait) for wait in waits)))

    async def play(ctx):
        bench = Bench(ctx, core)
        for row, data in enumerate(program.rows):
            await bench.access(Space.PROGRAM, row, data)
        for register, start in zip(STALLS, (0x1FFF0, 0x3FFF8), strict=True):
            await bench.access(Space.REGISTER, register, start)
        before = await bench.registers()
        quick = await bench.run(samples, 0, 0, count=True)
        after = await bench.registers()
        assert [after[r] for r in STALLS] == [before[r] for r in STALLS]
        cycles = {r: after[r] - before[r] for r in Register if r not in STALLS}
        for bytes_late, room_late in ((0.6, 0), (0, 0.4), (0.3, 0.7)):
            before = after
            taken = await bench.run(samples, bytes_late, room_late, count=True)
            after = await bench.registers()
            waited, blocked = (after[r] - before[r] for r in STALLS)
            assert waited + blocked == taken - quick
            assert (waited > 0, blocked > 0) == (bytes_late > 0, room_late > 0)
            assert {r: after[r] - before[r] for r in cycles} == cycles
        await bench.run(samples, 0.5, 0.5, count=False)
        assert await bench.registers() == after

    simulate(core, play)


@pytest.mark.parametrize("config", [LONG, SHORT], ids=["long", "short"])
def test_what_the_link_drops_is_counted_apart(config):
    """Before any program, so with counting off: the link's registers count always."""
    core = Core(config)
    pulses = {Register.LINK_ERRORS: 3, Register.LINK_DROPS: 7}

    async def play(ctx):
        bench = Bench(ctx, core)
        before = await bench.registers()
        for signal, count in zip(
            (core.bus.link_error, core.bus.link_drop), pulses.values(), strict=True
        ):
            for level in [1, 0] * count:
                ctx.set(signal, level)
                await ctx.tick()
        after = await bench.registers()
        assert {r: after[r] - before[r] for r in Register if after[r] != before[r]} == pulses

    simulate(core, play)
