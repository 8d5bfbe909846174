"""The lanes' banks under Amaranth's simulator: every word is where it was written, on time."""

from collections import deque
from random import Random

import pytest
from amaranth.sim import Simulator

from relaxon_hdl.planes import DriveBank, StateBank
from relaxon_hdl.schedule import Schedule
from relaxon_isa.presets import preset

CYCLES = 2000
PORTS = {StateBank: {"a_addr": "a_data", "b_addr": "b_data"}, DriveBank: {"r_addr": "r_data"}}


@pytest.mark.parametrize("preset_name", ["default", "up5k"])
@pytest.mark.parametrize("kind", PORTS)
def test_reads_what_was_written(kind, preset_name, seed):
    config = preset(preset_name).replace(state_depth=24, drive_depth=24)
    latency = Schedule(config).read
    bank, ports = kind(config), PORTS[kind]
    rng = Random(seed)
    words = [0] * 24

    async def bench(ctx):
        # Of each cycle under way, what its reads must find; in the end it must have been all words.
        wanted: deque[dict[str, int]] = deque()
        seen = set()
        for _ in range(CYCLES):
            if len(wanted) == latency:
                for port, word in wanted.popleft().items():
                    assert ctx.get(getattr(bank, port)) == word
            place, word = rng.randrange(24), rng.getrandbits(len(bank.w_data))
            writes = rng.random() < 0.5
            ctx.set(bank.w_addr, place)
            ctx.set(bank.w_data, word)
            ctx.set(bank.w_en, writes)
            reads = {}
            for address, port in ports.items():
                # What a read finds of a word that is being written is undefined.
                read = rng.choice([k for k in range(24) if k != place])
                ctx.set(getattr(bank, address), read)
                reads[port] = words[read]
                seen.add((port, read))
            wanted.append(reads)
            if writes:
                words[place] = word
            await ctx.tick()
        assert len(seen) == 24 * len(ports)

    simulator = Simulator(bank)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
