"""The board's end of the link under Verilator, the host's own end at the other side of a line that
damages, loses and repeats bytes."""

from collections import deque
from typing import Any

import cocotb
import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In
from cocotb.triggers import FallingEdge, ReadOnly

from relaxon_device.link import HostLink
from relaxon_hdl.link import LinkEngine
from relaxon_isa.presets import preset
from relaxon_sim.cosim import bench, simulate

SECONDS = 5e-5
"""A cycle, for the host's timeouts."""
BYTES = 1500
LIMIT = 400_000


class Ported(wiring.Component):
    """A `LinkEngine` without a port that is a constant."""

    line_in: stream.Interface
    line_out: stream.Interface
    line_error: Signal
    port: Any
    quiet: Signal

    def __init__(self, engine: LinkEngine):
        self.engine = engine
        super().__init__({**engine.signature.members, "line_in": In(stream.Signature(8))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.engine = engine = self.engine
        wiring.connect(m, wiring.flipped(self.line_in), engine.line_in)
        wiring.connect(m, engine.line_out, wiring.flipped(self.line_out))
        wiring.connect(m, engine.port, wiring.flipped(self.port))
        m.d.comb += [engine.line_error.eq(self.line_error), self.quiet.eq(engine.quiet)]
        return m


@pytest.mark.parametrize("keeps", [True, False], ids=["keeps", "drops"])
@pytest.mark.parametrize("faults", [0.0, 0.001, 0.005])
def test_link(faults, keeps, seed):
    """Both streams arrive whole, whatever the line and both ends' readiness do."""
    machine = preset("default").replace(rx_bytes=512, tx_bytes=512, selective_repeat=keeps)
    engine = LinkEngine(machine)
    simulate(Ported(engine), __file__, parameters={"faults": faults}, seed=seed)


@cocotb.test()
async def streams_arrive_whole(dut):
    faults = bench.parameters()["faults"]
    rng = bench.random_source("link")
    bench.start_clock(dut)
    host = HostLink(timeout=0.1, patience=60.0)
    host.reset(0.0)
    there, back = rng.randbytes(BYTES), rng.randbytes(BYTES)
    taken, got, sent = bytearray(), bytearray(), 0
    line: deque[int] = deque()
    pause = given = errors = 0
    rates = dict.fromkeys(("take", "give", "line"), 0.5)
    for cycle in range(LIMIT):
        now = cycle * SECONDS
        if host.ready and sent < BYTES and rng.random() < 0.01:
            size = rng.choice([1, 30, 300])
            host.send(there[sent : sent + size])
            sent = min(BYTES, sent + size)
        if not line:
            line.extend(host.transmit(now))
        if cycle % 500 == 0:
            rates = {name: rng.choice([0.05, 0.5, 1.0]) for name in rates}

        await FallingEdge(dut.clk)
        pause -= 1
        byte, error = None, False
        if line and pause < 0:
            byte = line.popleft()
            pause = rng.choice([LinkEngine.PAUSE, LinkEngine.PAUSE + 1, 40])
            if rng.random() < faults:
                fate = rng.randrange(3)
                error = fate == 0  # no stop bit
                if fate == 1:
                    byte ^= 1 << rng.randrange(8)
                elif fate == 2:
                    line.appendleft(byte)
        dut.line_in__valid.value = byte is not None and not error
        dut.line_in__payload.value = byte or 0
        dut.line_error.value = error
        dut.line_out__ready.value = ready = rng.random() < rates["line"]
        dut.port__from_host__ready.value = takes = rng.random() < rates["take"]
        gives = given < BYTES and rng.random() < rates["give"]
        dut.port__to_host__valid.value = gives
        dut.port__to_host__payload.value = back[given] if gives else 0
        await ReadOnly()
        if ready and int(dut.line_out__valid.value):
            byte = int(dut.line_out__payload.value)
            if rng.random() < faults:
                byte ^= 1 << rng.randrange(8)
            got += host.receive(bytes([byte]), now)
        if takes and int(dut.port__from_host__valid.value):
            taken.append(int(dut.port__from_host__payload.value))
        given += gives and int(dut.port__to_host__ready.value)
        if int(dut.port__reset.value):  # both streams begin anew
            assert not got
            taken.clear()
            given = 0
        errors += int(dut.port__link_error.value)
        if len(taken) == len(got) == BYTES and not host.backlog:
            break
    assert taken == there and got == back, (len(taken), len(got))
    assert bool(errors) == bool(faults)
