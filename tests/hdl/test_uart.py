"""UartReceiver and UartTransmitter against a line drawn bit by bit."""

import gc
import random
import warnings

import pytest
from amaranth.hdl import Module, UnusedElaboratable

from relaxon_hdl.uart import UartReceiver, UartTransmitter
from support.pysim import simulate


def levels(data: bytes, clocks_a_bit: float, idle=lambda: 0, stop: int = 1) -> list[int]:
    """The line, a level a cycle, sent with a clock of its own."""
    edges = []  # (time, level)
    time = 0.0
    for byte in data:
        for bit in [0, *(byte >> k & 1 for k in range(8)), stop]:
            edges.append((time, bit))
            time += clocks_a_bit
        edges.append((time, 1))
        time += idle()
    line = []
    level = 1
    for cycle in range(int(time) + 1):
        while edges and edges[0][0] <= cycle:
            level = edges.pop(0)[1]
        line.append(level)
    return line


def receive(dut: UartReceiver, line: list[int], settle: int = 0) -> tuple[bytes, int]:
    """What the receiver makes of ``line``: bytes, and how many errors."""
    got = bytearray()
    errors = 0

    async def testbench(ctx):
        nonlocal errors
        for level in [1] * 3 + line + [1] * (12 * dut.divisor + settle):
            ctx.set(dut.rx, level)
            _, _, valid, payload, error = await ctx.tick().sample(
                dut.o.valid, dut.o.payload, dut.error
            )
            if valid:
                got.append(payload)
            errors += error
        assert not ctx.get(dut.busy)

    simulate(dut, testbench)
    return bytes(got), errors


@pytest.mark.parametrize("divisor", [2, 3, 8, 13])
@pytest.mark.parametrize("stages", [0, 2])
def test_receiver_takes_bytes_without_a_gap(divisor, stages):
    data = bytes([0x00, 0xFF, 0x55, 0xAA, 0x01, 0x80]) + random.Random(1).randbytes(40)
    line = levels(data, divisor)
    assert receive(UartReceiver(divisor, stages=stages), line, stages) == (data, 0)


@pytest.mark.parametrize("drift", [0.97, 1.03])
@pytest.mark.parametrize("divisor", [8, 40])
def test_receiver_bears_a_clock_that_is_off(divisor, drift):
    rng = random.Random(divisor)
    data = rng.randbytes(30)
    # The slow sender fits any number of bytes, the fast one too: each start bit is a new zero.
    line = levels(data, divisor * drift, idle=lambda: rng.choice([0, 0, rng.random() * 50]))
    assert receive(UartReceiver(divisor), line) == (data, 0)


def test_receiver_latency():
    """The byte is out one cycle after the middle of its stop bit."""
    divisor = 6
    dut = UartReceiver(divisor, stages=0)

    async def testbench(ctx):
        for cycle, level in enumerate(levels(b"\x35", divisor)):
            ctx.set(dut.rx, level)
            assert ctx.get(dut.o.valid) == (cycle == 9 * divisor + divisor // 2 + 1)
            await ctx.tick()

    simulate(dut, testbench)


def test_receiver_reports_a_low_stop_bit_and_a_break():
    divisor = 4
    dut = UartReceiver(divisor, stages=0)
    line = (
        levels(b"\x12", divisor)
        + levels(b"\x34", divisor, stop=0)
        + levels(b"\x56", divisor)
        + [0] * 25 * divisor  # a break is one error, however long
        + [1] * divisor
        + levels(b"\x78", divisor)
    )
    assert receive(dut, line) == (b"\x12\x56\x78", 2)


def test_receiver_takes_no_glitch_for_a_start_bit():
    divisor = 8
    line = [1, 0, 0, 0, 1, 1, 1, 1, 1, 1, *levels(b"\xa5", divisor)]
    assert receive(UartReceiver(divisor, stages=0), line) == (b"\xa5", 0)


@pytest.mark.parametrize("divisor", [2, 3, 8])
def test_transmitter_draws_the_line(divisor):
    dut = UartTransmitter(divisor)
    data = bytes([0x00, 0xFF]) + random.Random(2).randbytes(20)
    seen = []

    async def testbench(ctx):
        queue = list(data)
        for _ in range((len(data) * 10 + 1) * divisor):
            ctx.set(dut.i.valid, bool(queue))
            ctx.set(dut.i.payload, queue[0] if queue else 0)
            _, _, ready, tx = await ctx.tick().sample(dut.i.ready, dut.tx)
            if ready and queue:
                queue.pop(0)
            seen.append(tx)
        assert not ctx.get(dut.busy)

    simulate(dut, testbench)
    assert seen == ([1] + levels(data, divisor) + [1] * divisor)[: len(seen)]


@pytest.mark.parametrize("divisor", [2, 8])
def test_transmitter_to_receiver_with_idle_cycles(divisor):
    seed = 3
    print(f"seed {seed}")
    rng = random.Random(seed)
    m = Module()
    m.submodules.transmitter = transmitter = UartTransmitter(divisor)
    m.submodules.receiver = receiver = UartReceiver(divisor, stages=2)
    m.d.comb += receiver.rx.eq(transmitter.tx)
    data = rng.randbytes(60)
    got = bytearray()

    async def testbench(ctx):
        queue = list(data)
        while len(got) < len(data):
            if not ctx.get(transmitter.i.valid) and queue and rng.random() < 0.1:
                ctx.set(transmitter.i.payload, queue.pop(0))
                ctx.set(transmitter.i.valid, 1)
            _, _, ready, sent, valid, payload, error = await ctx.tick().sample(
                transmitter.i.ready,
                transmitter.i.valid,
                receiver.o.valid,
                receiver.o.payload,
                receiver.error,
            )
            if ready and sent:
                ctx.set(transmitter.i.valid, 0)
            if valid:
                got.append(payload)
            assert not error

    simulate(m, testbench)
    assert got == data


@pytest.mark.parametrize("divisor", [1, 0, 2.5])
def test_divisor_is_checked(divisor):
    with warnings.catch_warnings():
        # Amaranth warns of what was made and not used when it is collected: be that here.
        warnings.simplefilter("ignore", UnusedElaboratable)
        with pytest.raises(ValueError, match="at least 2"):
            UartReceiver(divisor)
        with pytest.raises(ValueError, match="at least 2"):
            UartTransmitter(divisor)
        gc.collect()
