"""The hash under Verilator: the hand-computed words, and the golden model's for others."""

import cocotb
import numpy as np
import pytest
from cocotb.triggers import FallingEdge, ReadOnly

from relaxon_hdl.hash import Hash
from relaxon_sim.cosim import bench, simulate
from relaxon_sim.golden.hash import words
from vectors.arithmetic import HASH


@pytest.mark.parametrize("latency", [3, 4])
def test_hash(latency, seed):
    simulate(Hash(latency), __file__, parameters={"latency": latency}, seed=seed)


@cocotb.test()
async def words_come_one_pair_a_cycle(dut):
    rng = bench.random_source("hash")
    bench.start_clock(dut)
    latency = bench.parameters()["latency"]
    cases = [(key, [(a, u, v)]) for key, a, u, v in HASH]
    for _ in range(50):
        key = rng.choice([0xFFFFFFFF, rng.getrandbits(32)])
        addresses = np.array([rng.getrandbits(16) for _ in range(20)])
        pairs = [map(int, pair) for pair in words(key, addresses)]
        cases.append((key, list(zip(addresses, *pairs, strict=True))))
    for key, wanted in cases:
        seen = []
        for cycle in range(len(wanted) + latency):
            await FallingEdge(dut.clk)
            dut.key.value = key
            dut.a.value = int(wanted[cycle][0]) if cycle < len(wanted) else rng.getrandbits(16)
            await ReadOnly()
            seen.append((int(dut.u.value), int(dut.v.value)))
        assert seen[latency:] == [(u, v) for _, u, v in wanted], hex(key)
