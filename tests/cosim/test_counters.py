"""The register file at its ports: every event counted once, as by the golden model's registers;
and in a core, whatever the host asks for meanwhile."""

import cocotb
import pytest
from cocotb.triggers import FallingEdge, ReadOnly

from relaxon_hdl.core import Core
from relaxon_hdl.counters import RegisterFile, counted
from relaxon_isa.config import ArrayConfig
from relaxon_isa.instructions import Halt, Loop, Mac, MacLevel, Next
from relaxon_isa.memory import COUNTER_BITS, Register, Space, registers
from relaxon_isa.presets import preset
from relaxon_isa.program import Builder
from relaxon_sim.cosim import bench, simulate
from relaxon_sim.golden.counters import KINDS
from relaxon_sim.golden.counters import RegisterFile as GoldenRegisterFile
from relaxon_sim.golden.device import GoldenDevice
from relaxon_sim.golden.hash import mix

CONFIGS = {
    "long": preset("default"),
    "short": preset("up5k"),
    "long, one kind": preset("gowin-9k"),
    "long, samples": preset("fast4"),
    "short, keys": preset("up5k").replace(dither_bits=8, kind_counters=True),
}
ACCESSES = 400
HALF = COUNTER_BITS // 2
BEATS = 4
"""Cycles for which the core writes or reads."""


@pytest.mark.parametrize("name", CONFIGS)
def test_counters(name, seed):
    config = CONFIGS[name]
    parameters = {"config": config.to_json()}
    simulate(
        RegisterFile(config), __file__, testcase="counts_all", parameters=parameters, seed=seed
    )


@cocotb.test()
async def counts_all(dut):
    config = ArrayConfig.from_json(bench.parameters()["config"])
    late = config.pipeline == "long"
    rng = bench.random_source("counters")
    golden = GoldenRegisterFile(config)
    bench.start_clock(dut)
    kept, counters = registers(config), counted(config)
    kinds = [Register.MAC_CYCLES, *map(Register, KINDS)]
    last_write = 0  # as the cycle before had it

    async def cycle(*, index=0, lock=0, write=0, data=0, rate=0.5, keys=0.0) -> tuple[int, ...]:
        """A cycle with random events; returns low, high, value and the register's value."""
        nonlocal last_write
        await FallingEdge(dut.clk)
        # One kind of cycle at a time.
        happened = {register for register in counters if rng.random() < rate} - set(kinds)
        if rng.random() < rate:
            happened.add(rng.choice(kinds))
        events = sum((register in happened) << i for i, register in enumerate(counters))
        update, sample = rng.random() < keys, rng.random() < keys
        dut.events.value, dut.counting.value = events, golden.counting
        dut.next_update.value, dut.next_sample.value = update, sample
        dut.index.value, dut.lock.value = index, lock
        dut.write.value, dut.data.value = write, data
        await ReadOnly()
        low, high = int(dut.low.value), int(dut.high.value)
        before = golden.read(index) if index in kept else 0
        if low and (last_write if late else write) and index in kept:
            golden.write(index, data)
        last_write = write
        for register in happened:
            counted = register if config.kind_counters or register not in KINDS else kinds[0]
            if register in (Register.LINK_ERRORS, Register.LINK_DROPS):
                golden.values[counted] += 1
            else:
                golden.count(counted)
        if update:
            golden.next_update()
        if sample and config.dither_bits:
            golden.values[Register.SAMPLE_KEY] = mix(golden.sample_key)
        return low, high, int(dut.value.value), before

    for _ in range(ACCESSES):
        golden.counting = rng.random() < 0.9
        rate = rng.choice([0.0, 0.1, 1.0])
        for _ in range(rng.choice([4, 5, 11, 40, 300])):
            await cycle(rate=rate, keys=0.2)
        for _ in range(3):  # keys stand still while they are read
            await cycle(rate=rate)
        assert int(dut.update_key.value) == golden.update_key
        assert int(dut.sample_key.value) == golden.sample_key
        index = rng.randrange(16)
        if rng.random() < 0.5:
            data = rng.choice([rng.getrandbits(32), 0xFFFF, 0xFFFFFFFF, 0x1FFFF])
            await cycle(index=index, lock=1, rate=rate)
            await cycle(index=index, lock=1, rate=rate)
            for _ in range(BEATS):
                await cycle(index=index, lock=1, write=1, data=data, rate=rate)
            await cycle(index=index, data=data, rate=rate)
        else:
            halves = []
            for since in range(5):
                low, high, value, before = await cycle(index=index, lock=1, rate=rate)
                if low and since <= 3 and not halves:
                    halves = [value, before]
                elif high and len(halves) == 2:
                    halves.append(value)
            assert len(halves) == 3, "not read in time"
            assert halves[0] | halves[2] << HALF == halves[1], Register(index)


@pytest.mark.parametrize("name", ["long", "short"])
def test_host_waits_and_no_event_is_lost(name):
    """A write of a register that has to wait for the end of a program keeps no counter from its
    turn."""
    config = CONFIGS[name]
    simulate(
        Core(config), __file__, testcase="write_waits", parameters={"config": config.to_json()}
    )


@cocotb.test()
async def write_waits(dut):
    config = ArrayConfig.from_json(bench.parameters()["config"])
    builder = Builder(config)
    builder.add(Loop(count=20, sweep=True))
    builder.add(
        Mac(outer=(MacLevel(count=8, dst=1),), inner=(MacLevel(count=9, src=1, tile=1),), dst=16)
    )
    builder.add(Next())
    builder.add(Halt())
    rows = builder.build().rows
    core = bench.CoreBench(dut, config)
    await core.begin()
    await core.write(Space.PROGRAM, 0, rows)
    core.start(0)
    await core.pause(10)
    await core.write(Space.REGISTER, Register.SAMPLES, [7])
    await core.until(lambda: core.done, "HALT")
    seen = await core.read(Space.REGISTER)
    golden = GoldenDevice(config)
    golden.load(rows)
    list(golden.run([]))
    golden.write(Space.REGISTER, Register.SAMPLES, [7])
    assert seen.tolist() == golden.read(Space.REGISTER).tolist()
