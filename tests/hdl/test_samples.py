"""The sample buffer makes the lists that the contract says, while others are read."""

import random
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from relaxon_hdl import samples
from relaxon_hdl.samples import SampleBuffer
from relaxon_isa.encoding import encode
from relaxon_isa.instructions import Halt, Pack, Wait
from relaxon_isa.presets import preset
from support.pysim import simulate

FAST = preset("fast4")


def lists(wait: Wait, p: int, raw: list[int]) -> list[list[tuple[int, int]]]:
    """Each column's entries: group and value."""
    values = [value << wait.shift for value in raw]
    if wait.bias:
        values.append(1 << (wait.pack.bits - wait.signed) << wait.shift)
    found: list[list[tuple[int, int]]] = [[] for _ in range(p)]
    for n, value in enumerate(values):
        if value or wait.dense:
            found[n % p].append((n // p, value))
    return found


def packed(wait: Wait, raw: list[int], label: int) -> list[int]:
    """A sample's bytes."""
    bits = wait.pack.bits
    number = sum((value & ((1 << bits) - 1)) << (bits * n) for n, value in enumerate(raw))
    length = (len(raw) * bits + 7) // 8
    return [*number.to_bytes(length, "little"), *([label] if wait.outputs else [])]


LARGEST = "half the ring"
FORMATS = {
    "images": Wait(dst=0, count=61, pack=Pack.B4, shift=10, ahead=True, bias=True, outputs=10),
    "dense": Wait(dst=0, count=37, pack=Pack.B8, shift=3, ahead=True, dense=True),
    "signed": Wait(dst=0, count=40, pack=Pack.B2, signed=True, shift=2, ahead=True, bias=True),
    "bits": Wait(dst=0, count=50, pack=Pack.B1, shift=14, ahead=True, outputs=3),
    "odd": Wait(dst=0, count=30, pack=Pack.B2, shift=10, ahead=True, bias=True, outputs=7),
    "one": Wait(dst=0, count=1, pack=Pack.B8, signed=True, ahead=True, outputs=2),
    LARGEST: Wait(dst=0, count=1, pack=Pack.B4, ahead=True, dense=True),
}


def exercise(buffer, name: str, p: int, from_memory: bool, count: int = 14) -> None:
    """Lists of random samples, read while others come, are what the contract says."""
    config = FAST.replace(p=p)
    wait = FORMATS[name]
    if name == LARGEST:
        wait = replace(wait, count=p * config.sample_buffer // 2)
    if wait.values > p * config.sample_buffer // 2:  # larger, and no power of two
        config = config.replace(sample_buffer=max(96, 2 * -(-wait.values // p)))
    rng = random.Random(name)
    bits, low = wait.pack.bits, -(1 << (wait.pack.bits - 1)) if wait.signed else 0
    taken = []
    for _ in range(count):
        zeros = rng.choice((0, 0.5, 0.8, 1))
        raw = [
            0 if rng.random() < zeros else low + rng.randrange(1 << bits) for _ in range(wait.count)
        ]
        taken.append((raw, rng.randrange(256)))
    dut = buffer(config)
    row = encode(config, [wait, Halt()])[0]
    latency = 2

    async def line(ctx):
        ctx.set(dut.row, row)
        ctx.set(dut.start, 1)
        for raw, label in taken:
            data = packed(wait, raw, label)
            words = [{"bytes": byte | rng.randrange(256) << 8, "both": 0} for byte in data]
            if from_memory:
                data += [rng.randrange(256)] * (len(data) % 2)
                words = [
                    {"bytes": low | high << 8, "both": 1}
                    for low, high in zip(data[::2], data[1::2], strict=True)
                ]
            for word in words:
                ctx.set(dut.sample.payload, word)
                ctx.set(dut.sample.valid, 1)
                while not (await ctx.tick().sample(dut.sample.ready))[2]:
                    pass
                ctx.set(dut.sample.valid, 0)
                if rng.random() < 0.1:
                    await ctx.tick()

    async def trains(ctx):
        for number, (raw, label) in enumerate(taken):
            still = 0 if number == 4 else 60
            while still < 60:  # the ring is filled
                still = 0 if ctx.get(dut.sample.valid) and ctx.get(dut.sample.ready) else still + 1
                await ctx.tick()
            cycles = 0
            while not ctx.get(dut.whole):
                await ctx.tick()
                cycles += 1
                assert cycles < 2000, "watchdog"
            ctx.set(dut.take, 1)
            await ctx.tick()
            ctx.set(dut.take, 0)
            wanted = lists(wait, p, raw)
            longest = max(map(len, wanted))
            assert ctx.get(dut.listed) == max(longest, 1)
            if wait.outputs:
                assert ctx.get(dut.label) == label
            for t in range(max(longest, 1) + latency):
                ctx.set(dut.at, min(t, max(longest, 1) - 1))
                if t >= latency:
                    for c, entries in enumerate(wanted):
                        value = ctx.get(dut.values[c])
                        if t - latency < len(entries):
                            assert (ctx.get(dut.groups[c]), value) == entries[t - latency]
                        else:
                            assert value == 0
                await ctx.tick()

    simulate(dut, line, trains)


@pytest.mark.parametrize(("number", "p"), [*enumerate([1, 2, 3, 9, 12])])
@pytest.mark.parametrize("name", FORMATS)
def test_lists_are_those_of_the_samples(name, number, p):
    """Every format on every P; for each of both, some of bytes and some of words."""
    words = (number + [*FORMATS].index(name)) % 2 > 0
    exercise(SampleBuffer, name, p, words, 4 if name == LARGEST else 14)


FAULTS = {
    "always-on value of signed samples doubled": (
        'Mux(keeps["signed"], 1 << (bits - 1), 1 << bits)',
        "1 << bits",
    ),
    "all values signed": ('raw[-1] & keeps["signed"]', "raw[-1]"),
    "the end of a list is not seen": (
        "self.at < lengths[j]",
        "self.at <= lengths[j]",
    ),
    "the next group one too early": ("if d > j", "if d >= j"),
    "the group stays": ("group.eq(group + wraps)", "group.eq(group)"),
    "zeros are listed": ('keeps["dense"] | value.any()', "1"),
    "zeros of dense samples are not": ('keeps["dense"] | value.any()', "value.any()"),
    "a label beside values is not seen": ("in_first = second[8] &", "in_first = 0 &"),
    "a label where the byte is full": ("taken <= per_byte", "taken < per_byte"),
    "a full ring is written": ("full = kept_rows + rows == depth", "full = 0"),
    "a full ring is written a cycle late": ("(asked & ~needs)", "asked"),
    "a full ring takes nothing into its rows": ("(asked & ~needs)", "0"),
    "rows are never free again": ("kept_rows + added - removed", "kept_rows + added"),
    "lengths go on": ("                    lengths.eq(0),\n", ""),
}


def faulty(old: str, new: str):
    """The buffer of a module with a piece of its source replaced."""
    source = Path(samples.__file__).read_text()
    assert source.count(old) == 1, old
    module = ModuleType("relaxon_hdl.faulty")
    module.__package__ = "relaxon_hdl"
    exec(compile(source.replace(old, new), "faulty", "exec"), module.__dict__)
    return module.SampleBuffer


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_caught(name):
    with pytest.raises(AssertionError):
        for case in ("bits", "one", "signed", "dense", LARGEST):
            exercise(
                faulty(*FAULTS[name]),
                case,
                4,
                case in ("bits", "one"),
                {"dense": 14, LARGEST: 3}.get(case, 9),
            )
