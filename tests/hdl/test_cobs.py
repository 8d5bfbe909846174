"""CobsDecoder and CobsEncoder against the ``cobs`` package."""

import random

import pytest
from cobs import cobs

from relaxon_hdl.cobs import CobsDecoder, CobsEncoder
from support.pysim import simulate


def decode(stream, seed: int | None = None) -> list[bytes | None]:
    """Frames out of a CobsDecoder; None is a bad one. An item None of ``stream`` is a lost byte."""
    dut = CobsDecoder()
    frames = []
    rng = random.Random(seed)

    async def testbench(ctx):
        frame = bytearray()
        items = list(stream)
        while items or ctx.get(dut.o.valid) or ctx.get(dut.end):
            idle = seed is not None and rng.random() < 0.5
            item = 0xEE if idle or not items else items.pop(0)
            ctx.set(dut.i.valid, not idle and item is not None)
            ctx.set(dut.spoil, item is None)
            ctx.set(dut.i.payload, item or 0)
            last = not items
            valid, payload, end, bad = (
                ctx.get(dut.o.valid),
                ctx.get(dut.o.payload),
                ctx.get(dut.end),
                ctx.get(dut.bad),
            )
            assert not (valid and end)
            if valid:
                frame.append(payload)
            if end:
                frames.append(None if bad else bytes(frame))
                frame.clear()
            await ctx.tick()
            if last:
                ctx.set(dut.i.valid, 0)
                ctx.set(dut.spoil, 0)
                items = []
                if not (ctx.get(dut.o.valid) or ctx.get(dut.end)):
                    break

    simulate(dut, testbench)
    return frames


def contents(length: int, rng: random.Random) -> bytes:
    kind = rng.choice(["random", "zeros", "ones", "sparse", "dense"])
    if kind == "random":
        return rng.randbytes(length)
    if kind == "sparse":
        return bytes(rng.choice([0, 0, 0, 1, 255]) for _ in range(length))
    if kind == "dense":
        return bytes(rng.choice([0] + [7] * 100) for _ in range(length))
    return (b"\0" if kind == "zeros" else b"\xff") * length


def test_decoder_takes_every_length():
    seed = 11
    print(f"seed {seed}")
    rng = random.Random(seed)
    frames = [contents(length, rng) for length in range(210)]
    stream = b"".join(cobs.encode(frame) + b"\0" * rng.randint(1, 3) for frame in frames)
    assert decode(stream) == frames


@pytest.mark.parametrize("length", [253, 254, 255, 508, 509, 700])
@pytest.mark.parametrize("byte", [b"\x01", b"\xff"])
def test_decoder_takes_whole_blocks(length, byte):
    """A block of 254 bytes stands for no zero at its end."""
    frames = [byte * length, byte * length + b"\0", byte * length + b"\0\0x"]
    assert decode(b"".join(cobs.encode(frame) + b"\0" for frame in frames)) == frames


def test_decoder_with_idle_cycles():
    for seed in (12, 13):
        print(f"seed {seed}")
        rng = random.Random(seed)
        frames = [contents(rng.randint(0, 40), rng) for _ in range(40)]
        stream = b"".join(cobs.encode(frame) + b"\0" for frame in frames)
        assert decode(stream, seed) == frames


def test_decoder_refuses_frames_cut_short():
    """Every proper prefix is judged as the package judges it, and the next frame is whole."""
    whole = cobs.encode(b"ab\0cde\0\0f")
    for cut in range(1, len(whole)):
        try:
            expected = cobs.decode(whole[:cut])
        except cobs.DecodeError:
            expected = None
        assert decode(whole[:cut] + b"\0" + cobs.encode(b"next") + b"\0") == [expected, b"next"]


def test_decoder_spoils_one_frame():
    good = [*list(cobs.encode(b"good\x00")), 0]
    for place in range(len(good)):
        stream = good + good[:place] + [None] + good[place:] + good
        assert decode(stream) == [b"good\0", None, b"good\0"]
    # A lost byte between delimiters is a frame, and a bad one.
    assert decode([*good, None, 0, 0, *good]) == [b"good\0", None, b"good\0"]


def encode(dut: CobsEncoder, frames, seed: int | None = None, aborts: float = 0) -> bytes:
    """What a CobsEncoder makes of ``frames``, some begun and aborted before."""
    rng = random.Random(seed)
    out = bytearray()

    async def put(ctx, frame):
        for byte in frame:
            while seed is not None and rng.random() < 0.3:
                await ctx.tick()
            ctx.set(dut.i.payload, byte)
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
            ctx.set(dut.i.valid, 0)

    async def testbench(ctx):
        for frame in frames:
            if rng.random() < aborts:
                await put(ctx, contents(rng.randint(0, 30), rng))
                ctx.set(dut.abort, 1)
                await ctx.tick()
                ctx.set(dut.abort, 0)
            await put(ctx, frame)
            assert ctx.get(dut.used) == len(frame) + 1
            ctx.set(dut.finish, 1)
            await ctx.tick()
            ctx.set(dut.finish, 0)
            while True:
                ready = seed is None or rng.random() < 0.5
                ctx.set(dut.o.ready, ready)
                # Has no effect on a frame that is going out.
                ctx.set(dut.abort, rng.random() < aborts and ctx.get(dut.sending))
                _, _, valid, byte = await ctx.tick().sample(dut.o.valid, dut.o.payload)
                if valid and ready:
                    out.append(byte)
                    if byte == 0:
                        break
            ctx.set(dut.abort, 0)
            ctx.set(dut.o.ready, 0)
            assert not ctx.get(dut.sending)

    simulate(dut, testbench)
    return bytes(out)


def test_encoder_takes_every_length():
    seed = 14
    print(f"seed {seed}")
    rng = random.Random(seed)
    frames = [contents(length, rng) for length in range(1, CobsEncoder.CAPACITY + 1)]
    frames += [byte * CobsEncoder.CAPACITY for byte in (b"\0", b"\xff")]
    assert encode(CobsEncoder(), frames) == b"".join(cobs.encode(f) + b"\0" for f in frames)


def test_encoder_with_idle_cycles_back_pressure_and_aborts():
    seed = 15
    print(f"seed {seed}")
    rng = random.Random(seed)
    frames = [contents(rng.randint(1, 50), rng) for _ in range(60)]
    expected = b"".join(cobs.encode(f) + b"\0" for f in frames)
    assert encode(CobsEncoder(), frames, seed, aborts=0.3) == expected


def test_encoder_latency():
    """Three cycles from ``finish`` to the first byte, two from the delimiter to ready."""
    dut = CobsEncoder()

    async def testbench(ctx):
        await ctx.tick().until(dut.i.ready)
        ctx.set(dut.finish, 1)
        await ctx.tick()
        ctx.set(dut.finish, 0)
        ctx.set(dut.o.ready, 1)
        trace = []
        for _ in range(8):
            trace.append((ctx.get(dut.o.valid), ctx.get(dut.i.ready)))
            await ctx.tick()
        assert trace == [(0, 0), (0, 0), (1, 0), (0, 0), (1, 0), (0, 0), (0, 0), (0, 1)]

    simulate(dut, testbench)
