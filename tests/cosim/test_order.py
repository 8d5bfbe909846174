"""Orders of samples under Verilator: each place, as the golden model looks it up."""

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge

from relaxon_hdl.order import Order
from relaxon_sim.cosim import bench, simulate
from relaxon_sim.golden.order import records_at

CYCLES = 22
"""Of one time through the network."""


def test_order(seed):
    simulate(Order(), __file__, seed=seed)


@cocotb.test()
async def looks_up_what_the_golden_model_does(dut):
    rng = bench.random_source("order")
    bench.start_clock(dut)
    dut.start.value = 0
    await FallingEdge(dut.clk)
    sizes = [0, 1, 2, 3, 4, 5, 60_000, (1 << 16) + 1, (1 << 24) - 1]
    sizes += [rng.getrandbits(24) >> rng.randrange(24) for _ in range(30)]
    through = set()
    for records in sizes:
        key = rng.choice([0, 0xFFFFFFFF, rng.getrandbits(32)])
        dut.key.value, dut.records.value = key, records
        places = {
            0,
            records - 1,
            records,
            (1 << 24) - 1,
            *(rng.randrange(records + 1) for _ in "12345"),
        }
        for _ in range(4):
            await FallingEdge(dut.clk)
        for place in (place % (1 << 24) for place in places):
            dut.place.value, dut.start.value = place, 1
            await FallingEdge(dut.clk)
            dut.place.value, cycles = rng.getrandbits(24), 1
            while not int(dut.valid.value):
                dut.start.value = rng.random() < 0.3  # not heard before it is found
                await FallingEdge(dut.clk)
                cycles += 1
                assert cycles < 10_000, "watchdog"
            dut.start.value = 0
            right = int(records_at(key, records, np.array([place]))[0])
            assert int(dut.record.value) == right, (key, records, place)
            times, rest = divmod(cycles - 3, CYCLES)
            assert rest == 0 and (times > 0) == (place < records)
            through.add(min(times, 3))
            await FallingEdge(dut.clk)
            assert int(dut.valid.value), "it stays"
    assert through == {0, 1, 2, 3}
