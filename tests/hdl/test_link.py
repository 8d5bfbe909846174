"""LinkEngine and Link against frames packed and judged by `relaxon_isa.link` and ``cobs``.

Most tests hand bytes to the engine, as fast as it takes them; the last ones go over the UART.
"""

import random
from collections import deque
from dataclasses import replace

import pytest
from cobs import cobs

from relaxon_hdl.link import Link, LinkEngine
from relaxon_isa.link import (
    BLOCK_BYTES,
    CRC_RESIDUE,
    MAX_PAYLOAD,
    BoardHeader,
    Control,
    HostHeader,
    crc16,
)
from relaxon_isa.presets import preset
from support.board_model import BoardLink
from support.pysim import simulate

NONE = Control(0)
LOST = None  # in place of a byte: a framing error
SESSION = 5
NAME = 0xA7
SHORT = preset("up5k")
"""A machine with the short pipeline and rings of 512 bytes, which keeps nothing."""
MACHINES = {
    "up5k": SHORT,
    "short": SHORT.replace(selective_repeat=True),
    "default": preset("default").replace(rx_bytes=512, tx_bytes=512),
}


def frame(payload=b"", *, seq=0, ack=0, control=NONE, session=SESSION, name=NAME) -> bytes:
    """A frame's bytes without COBS."""
    head = HostHeader(session, control, seq & 0xFFFF, ack & 0xFFFF, name).pack() + payload
    return head + crc16(head).to_bytes(2, "big")


def wire(raw: bytes) -> list[int]:
    return [*cobs.encode(raw), 0]


class EngineBench:
    """A LinkEngine with everything around it, a cycle at a time."""

    RX = TX = 512

    def __init__(self, seed: int = 0, machine: str = "up5k", ring: int = RX):
        print(f"seed {seed}")
        self.rng = random.Random(seed)
        self.config = MACHINES[machine].replace(rx_bytes=ring, tx_bytes=ring)
        self.dut = LinkEngine(self.config)
        self.line = deque()  # bytes still to go to the board
        self.pause = 0
        self.line_rate = 1.0  # chance a cycle of a byte on the line
        self.out_rate = 1.0  # ... and of taking one from it
        self.take_rate = 1.0  # ... and from the host's stream
        self.give = deque()  # bytes still to go into the board's stream
        self.give_rate = 1.0
        self.taken = bytearray()  # of the host's stream
        self.partial = bytearray()
        self.frames = []  # (BoardHeader, payload) the board sent
        self.errors = self.drops = self.resets = 0
        self.running = self.waiting = 0
        self.cycles = 0
        self.inputs = {}
        self.held = 0  # in the ring's output, while nothing is taken
        self.ticks = None

    def send(self, raw: bytes) -> None:
        self.line.extend(wire(raw))

    async def cycle(self, ctx):
        dut, chance = self.dut, self.rng.random
        send = bool(self.line) and self.pause == 0 and chance() < self.line_rate
        self.pause -= self.pause > 0
        item = self.line.popleft() if send else 0
        if send and item == 0:
            self.pause = dut.PAUSE
        ready, take, give = (
            chance() < rate for rate in (self.out_rate, self.take_rate, self.give_rate)
        )
        give = give and bool(self.give)
        for signal, value in (
            (dut.line_in.valid, send and item is not LOST),
            (dut.line_in.payload, item or 0),
            (dut.line_error, item is LOST),
            (dut.line_out.ready, ready),
            (dut.port.from_host.ready, take),
            (dut.port.to_host.valid, give),
            (dut.port.to_host.payload, self.give[0] if give else 0),
            (dut.port.running, self.running),
            (dut.port.waiting, self.waiting),
        ):
            if self.inputs.get(id(signal)) != value:  # to set a signal costs time
                self.inputs[id(signal)] = value
                ctx.set(signal, value)
        if self.ticks is None:
            self.ticks = aiter(
                ctx.tick().sample(
                    dut.line_out.valid,
                    dut.line_out.payload,
                    dut.port.from_host.valid,
                    dut.port.from_host.payload,
                    dut.port.to_host.ready,
                    dut.port.link_error,
                    dut.port.link_drop,
                    dut.port.reset,
                )
            )
        _, _, out, out_byte, have, have_byte, taken, error, drop, reset = await anext(self.ticks)
        self.cycles += 1
        if out and ready:
            self.byte_out(out_byte)
        if have and take:
            self.taken.append(have_byte)
        if give and taken:
            self.give.popleft()
        self.errors += error
        self.drops += drop
        self.resets += reset

    def byte_out(self, byte: int) -> None:
        if byte:
            self.partial.append(byte)
            return
        raw = cobs.decode(bytes(self.partial))
        self.partial.clear()
        assert crc16(raw) == CRC_RESIDUE
        header, size = BoardHeader.unpack(raw)
        payload = raw[size:-2]
        assert (header.kept is not None) == self.config.selective_repeat
        assert len(payload) <= MAX_PAYLOAD
        self.frames.append((header, payload))

    async def run(self, ctx, cycles: int):
        for _ in range(cycles):
            await self.cycle(ctx)

    async def until(self, ctx, condition, limit: int = 5000):
        for _ in range(limit):
            if condition():
                return
            await self.cycle(ctx)
        raise AssertionError("watchdog")

    async def settle(self, ctx, limit: int = 5000):
        """Until everything is sent and the engine says that it is quiet, and then it is."""
        await self.until(ctx, lambda: not self.line and not self.give, limit)
        await self.run(ctx, 3)
        await self.until(ctx, lambda: ctx.get(self.dut.quiet), limit)
        before = len(self.frames), len(self.taken), len(self.partial)
        await self.run(ctx, 30)
        assert before == (len(self.frames), len(self.taken), len(self.partial))
        assert ctx.get(self.dut.quiet)

    async def reset(self, ctx, session: int = SESSION):
        self.send(frame(control=Control.RESET, session=session))
        await self.settle(ctx)
        self.saw(0, control=Control.RESET, session=session)

    def saw(self, ack: int, *, control=NONE, session=SESSION, name=NAME, kept=0, left=MAX_PAYLOAD):
        """Of the frames sent this is the first: an empty one. Of the bytes in the ring up to
        ``left`` may not have gone when it was made."""
        seen, payload = self.frames.pop(0)
        most = self.config.rx_bytes - 2
        assert most - left <= seen.room <= most
        bits = kept if self.config.selective_repeat else None
        expected = BoardHeader(session, control, 0, ack & 0xFFFF, name, most, bits)
        assert (replace(seen, room=most), payload) == (expected, b"")

    def play(self, scenario):
        simulate(self.dut, scenario)


def in_engine(**options):
    """The test is an ``async def (ctx, bench)``; it runs after a RESET."""

    def decorate(scenario):
        def test():
            bench = EngineBench(**options)

            async def play(ctx):
                await bench.reset(ctx)
                await scenario(ctx, bench)

            bench.play(play)

        test.__name__ = scenario.__name__
        test.__doc__ = scenario.__doc__
        return test

    return decorate


def contents(length: int, rng: random.Random) -> bytes:
    choice = rng.randrange(4)
    if choice == 0:
        return bytes(length)
    if choice == 1:
        return b"\xff" * length
    if choice == 2:
        return bytes(rng.choice([0, 0, 1]) for _ in range(length))
    return rng.randbytes(length)


# Rules 1 and 2: RESET and session -------------------------------------------------------------


def test_board_never_reset_is_in_session_0():
    bench = EngineBench()

    async def scenario(ctx):
        bench.send(frame(b"x", session=3))
        await bench.settle(ctx)
        assert not bench.frames
        # RESET to session 0 is none: an ordinary frame of the session there is.
        bench.send(frame(b"abc", session=0, control=Control.RESET))
        await bench.settle(ctx)
        bench.saw(3, session=0)
        assert (bench.taken, bench.resets, bench.errors, bench.drops) == (b"abc", 0, 0, 0)

    bench.play(scenario)


@in_engine()
async def test_wrong_session_is_ignored(ctx, bench):
    for session in set(range(16)) - {SESSION}:
        bench.send(frame(b"x", session=session, control=Control.RESEND))
    await bench.settle(ctx)
    assert not bench.frames and not bench.taken
    assert (bench.resets, bench.errors, bench.drops) == (1, 0, 0)


@in_engine()
async def test_reset_restarts_both_streams(ctx, bench):
    for session in (6, 6, 15, 1):  # also the same again
        bench.taken = bytearray()
        bench.send(frame(b"abc", session=bench_session(bench)))
        bench.give.extend(b"12345")
        await bench.settle(ctx)
        assert bench.taken == b"abc"
        assert b"".join(payload for _, payload in bench.frames) == b"12345"
        bench.frames.clear()
        resets = bench.resets
        bench.session = session
        await bench.reset(ctx, session)
        assert bench.resets == resets + 1


def bench_session(bench) -> int:
    return getattr(bench, "session", SESSION)


@in_engine()
async def test_reset_drops_what_is_in_the_rings(ctx, bench):
    bench.take_rate = 0
    bench.send(frame(b"never taken"))
    await bench.run(ctx, 300)
    assert ctx.get(bench.dut.port.from_host.valid)
    bench.frames.clear()
    bench.send(frame(control=Control.RESET, session=9))
    await bench.until(ctx, lambda: bench.resets == 2)
    assert not ctx.get(bench.dut.port.from_host.valid)
    bench.take_rate = 1
    bench.send(frame(b"taken", session=9))
    await bench.settle(ctx)
    assert bench.taken == b"taken"


@in_engine()
async def test_reset_within_a_frame(ctx, bench):
    """A frame that RESET cut short is an error; RESET then has to come again, or be preceded by a
    delimiter."""
    bench.line.extend(wire(frame(b"cut short"))[:-3])
    bench.send(frame(control=Control.RESET, session=9))
    await bench.settle(ctx)
    assert (bench.errors, bench.resets, bench.frames) == (1, 1, [])
    bench.line.extend([*wire(frame(b"cut short"))[:-3], 0])
    await bench.reset(ctx, 9)
    assert (bench.errors, bench.resets, bench.taken) == (2, 2, b"")


@pytest.mark.parametrize("control", [Control.RESET, Control.RESEND])
def test_reset_and_resend_at_any_time_of_a_frame_made(control):
    """Whatever the engine is doing, what follows is whole and begins where it should."""
    bench = EngineBench(seed=21)

    async def scenario(ctx):
        await bench.reset(ctx)
        session = SESSION
        for delay in range(0, 90):
            data = bytes([delay, 0, 1, 2, 3, 0, 0, 255]) * 3
            bench.give.extend(data)
            await bench.run(ctx, delay)
            old = session
            if control == Control.RESET:
                session = session % 15 + 1
                bench.give.clear()
            bench.send(frame(session=session, control=control))
            await bench.until(ctx, lambda: not bench.line)
            if control == Control.RESET:
                await bench.until(ctx, lambda delay=delay: bench.resets == delay + 2)
                bench.give.extend(b"new")
                data = b"new"
            await bench.settle(ctx)
            new = [(h, p) for h, p in bench.frames if h.session == session]
            assert all(h.session in (old, session) for h, _ in bench.frames)
            if control == Control.RESET:
                assert [h.control for h, _ in new] == [Control.RESET] + [NONE] * (len(new) - 1)
                assert new[0][1] == b""
            got = host_takes(new)
            assert got == data
            bench.frames.clear()
            if control == Control.RESEND:  # start over
                await bench.reset(ctx)
                bench.frames.clear()

    bench.play(scenario)


def host_takes(frames, expected: int = 0) -> bytes:
    """A host's stream out of the frames that came: what is in sequence, and new."""
    got = bytearray()
    for header, payload in frames:
        known = (expected + len(got) - header.seq) & 0xFFFF
        got += payload[known:]
    return bytes(got)


# Bad frames -----------------------------------------------------------------------------------


@in_engine(seed=22)
async def test_corrupted_frames_do_nothing(ctx, bench):
    good = wire(frame(b"a\0bcd", control=Control.RESEND))
    for place in range(len(good) - 1):
        bad = list(good)
        bad[place] ^= 1 << bench.rng.randrange(8)
        errors = bench.errors
        bench.line.extend([0, *bad, 0])
        await bench.settle(ctx)
        assert bench.errors - errors == (2 if place > 0 and bad[place] == 0 else 1), place
    assert not bench.frames and not bench.taken and not bench.drops
    bench.line.extend(good)
    await bench.settle(ctx)
    assert bench.taken == b"a\0bcd"


@in_engine()
async def test_lost_bytes_and_lone_delimiters(ctx, bench):
    good = wire(frame(b"abc"))
    for place in range(len(good)):
        bench.line.extend([*good[:place], LOST, *good[place:], 0, 0])
    await bench.settle(ctx)
    assert (bench.errors, bench.frames, bench.taken) == (len(good), [], b"")
    bench.line.extend([0, 0, 0, *good, 0, 0])
    await bench.settle(ctx)
    assert (bench.errors, len(bench.frames), bench.taken) == (len(good), 1, b"abc")


@in_engine(seed=23)
async def test_frames_too_short_or_too_long(ctx, bench):
    def ended(head: bytes) -> bytes:
        return head + crc16(head).to_bytes(2, "big")

    bad = [ended(frame()[:length]) for length in range(6)]
    bad += [frame(bytes(length)) for length in (193, 194, 240, 248, 254, 256, 300, 448, 457, 500)]
    for raw in bad:
        bench.send(raw)
        await bench.settle(ctx)
    assert (bench.errors, bench.frames, bench.taken) == (len(bad), [], b"")
    bench.send(frame(b"x" * MAX_PAYLOAD))
    await bench.settle(ctx)
    assert (bench.errors, len(bench.taken)) == (len(bad), MAX_PAYLOAD)


# The host's stream ----------------------------------------------------------------------------


def test_payload_lengths_from_the_host():
    """With idle cycles and back-pressure, every frame answered by one. All short and long ones, and
    every fifth between; the decoder alone takes them all."""
    bench = EngineBench(seed=24)

    async def scenario(ctx):
        await bench.reset(ctx)
        sent = bytearray()
        ends = (*range(20), *range(MAX_PAYLOAD - 20, MAX_PAYLOAD + 1))
        lengths = [*ends, *range(20, MAX_PAYLOAD - 20, 5)]
        for length in bench.rng.sample(lengths, len(lengths)):
            bench.line_rate = bench.rng.choice([1, 0.7])
            bench.take_rate = bench.rng.choice([1, 0.8])
            payload = contents(length, bench.rng)
            bench.send(frame(payload, seq=len(sent)))
            sent += payload
            await bench.until(ctx, lambda: not bench.line)
            await bench.run(ctx, 2)
            await bench.until(ctx, lambda: ctx.get(bench.dut.quiet))
            assert bench.taken == sent
            if length:
                bench.saw(len(sent))
            assert not bench.frames
        assert (bench.errors, bench.drops) == (0, 0)

    bench.play(scenario)


def test_payload_lengths_to_the_host():
    """What is in the ring when a frame is made is in the frame."""
    bench = EngineBench(seed=25)

    async def scenario(ctx):
        await bench.reset(ctx)
        got = 0
        for length in [1, 2, 3, 190, 191, 192, 193, *bench.rng.sample(range(400), 20)]:
            bench.out_rate = bench.rng.choice([1, 0.7])
            reply = contents(length, bench.rng)
            bench.give.extend(reply)
            await bench.until(ctx, lambda: not bench.give)
            await bench.run(ctx, 2)
            await bench.until(ctx, lambda: ctx.get(bench.dut.quiet))
            assert host_takes(bench.frames, got) == reply
            assert len(bench.frames) <= 1 + (length + 1) // MAX_PAYLOAD
            got += length
            bench.frames.clear()
            bench.send(frame(ack=got))
            await bench.until(ctx, lambda: not bench.line)

    bench.play(scenario)


@in_engine()
async def test_duplicates_and_gaps_are_dropped_and_answered(ctx, bench):
    bench.send(frame(b"abcd"))
    await bench.settle(ctx)
    for seq in (0, 3, 5, 4 + 256, 4 - 256, 0x8004):
        bench.frames.clear()
        drops = bench.drops
        bench.send(frame(b"no", seq=seq))
        await bench.settle(ctx)
        assert bench.drops == drops + 1
        bench.saw(4)
    bench.send(frame(b"ef", seq=4))
    await bench.settle(ctx)
    assert bench.taken == b"abcdef"


@in_engine(seed=25)
async def test_ring_full_drop_and_reopening(ctx, bench):
    for _ in range(3):  # at different places of the ring
        bench.frames.clear()
        bench.taken.clear()
        drops = bench.drops
        base = getattr(bench, "base", 0)
        bench.take_rate = 0
        room = bench.RX - 2
        seq = base
        stored = bytearray()
        while room > 1:
            length = min(room - 1, bench.rng.choice([150, MAX_PAYLOAD]))
            payload = bench.rng.randbytes(length)
            bench.send(frame(payload, seq=seq))
            await bench.run(ctx, 500)
            room -= length
            seq += length
            stored += payload
            # One byte has left the ring for the output.
            header, _ = bench.frames[-1]
            assert (header.ack, header.room) == (seq & 0xFFFF, room + 1)
        # Two bytes of room: three do not fit, two do, then one does not.
        for payload, fits in ((b"\0\0\0", False), (b"ab", True), (b"c", False), (b"d", False)):
            answers = len(bench.frames)
            bench.send(frame(payload, seq=seq))
            await bench.run(ctx, 200)
            if fits:
                seq += len(payload)
                stored += payload
                room -= len(payload)
            else:
                drops += 1
            assert bench.drops == drops
            assert len(bench.frames) == answers + 1
            header, _ = bench.frames[-1]
            assert (header.ack, header.room) == (seq & 0xFFFF, room + 1)
        # Nothing is said before half of the ring is free, one frame is then.
        bench.frames.clear()
        bench.take_rate = 1
        half = bench.RX // 2
        await bench.until(ctx, lambda half=half: len(bench.taken) >= half - 8)
        assert not bench.frames and not ctx.get(bench.dut.line_out.valid)
        await bench.settle(ctx)
        assert bench.taken == stored
        ((header, payload),) = bench.frames
        assert payload == b"" and header.ack == seq & 0xFFFF
        assert half <= header.room <= half + 10
        bench.base = seq
    assert bench.errors == 0


@in_engine()
async def test_window_that_never_shut_does_not_reopen(ctx, bench):
    bench.take_rate = 0
    bench.send(frame(bytes(192)))
    bench.send(frame(bytes(108), seq=192))
    await bench.run(ctx, 600)
    assert bench.frames[-1][0].room == bench.RX - 2 - 300 + 1 >= MAX_PAYLOAD
    bench.frames.clear()
    bench.take_rate = 1
    await bench.settle(ctx)
    assert not bench.frames


def test_smallest_ring():
    """A ring of 256 bytes is half free below a whole payload: it must not reopen for ever."""
    bench = EngineBench(ring=256)

    async def scenario(ctx):
        await bench.reset(ctx)
        bench.take_rate = 0
        bench.send(frame(bytes(range(192))))
        await bench.run(ctx, 400)
        bench.frames.clear()
        bench.take_rate = 1
        await bench.settle(ctx)
        assert [header.ack for header, _ in bench.frames] == [192]
        assert bench.taken == bytes(range(192))

    bench.play(scenario)


# Frames behind a gap -----------------------------------------------------------------------------

KEEPS = ["short", "default"]


def test_answers_name_the_frame_that_was_acted_upon():
    """Any good one of the session; not a damaged one, nor one of another session."""
    bench = EngineBench(machine="up5k")

    async def scenario(ctx):
        await bench.reset(ctx)
        bench.send(frame(b"abc", name=1))
        await bench.settle(ctx)
        bench.saw(3, name=1)
        bench.send(frame(b"dropped", seq=9, name=2))
        await bench.settle(ctx)
        bench.saw(3, name=2)
        bench.send(frame(seq=3, name=3))  # is not answered, but named by what comes
        bad = bytearray(frame(b"x", seq=3, name=4))
        bad[-1] ^= 1
        bench.send(bytes(bad))
        bench.send(frame(b"x", session=SESSION + 1, name=5))
        await bench.settle(ctx)
        assert not bench.frames
        bench.give.extend(b"z")
        await bench.settle(ctx)
        header, payload = bench.frames.pop()
        assert (header.name, payload) == (3, b"z")
        bench.send(frame(control=Control.RESET, session=9, name=6))
        await bench.settle(ctx)
        bench.saw(0, control=Control.RESET, session=9, name=6)

    bench.play(scenario)


@pytest.mark.parametrize("machine", KEEPS)
def test_frames_behind_a_gap_are_kept(machine):
    bench = EngineBench(machine=machine, seed=31)
    data = bench.rng.randbytes(510)

    async def scenario(ctx):
        await bench.reset(ctx)
        bits = 0
        for begin, end in ((128, 192), (320, 384), (192, 320), (192, 256)):
            bench.send(frame(data[begin:end], seq=begin))
            await bench.settle(ctx)
            for block in range(begin // 64, end // 64):
                bits |= 1 << block
            bench.saw(0, kept=bits)
        assert (bench.drops, bench.taken) == (0, b"")
        # What would be written over them is not, right or wrong.
        bad = bytearray(frame(bytes(64), seq=128))
        bad[-1] ^= 1
        bench.send(bytes(bad))
        bench.send(frame(b"\xff" * 192, seq=256)[:-1] + b"\0")
        await bench.settle(ctx)
        assert bench.errors == 2 and not bench.frames
        # Neither whole blocks nor within the window: dropped.
        for begin, end in ((65, 129), (64, 127), (448, 512), (0xFFC0, 0xFFC0 + 64), (2048, 2112)):
            drops = bench.drops
            bench.send(frame(bytes(end - begin), seq=begin))
            await bench.settle(ctx)
            assert bench.drops == drops + 1
            bench.saw(0, kept=bits)
        bench.send(frame(data[:100]))
        await bench.settle(ctx)
        bench.saw(100, kept=bits)
        bench.send(frame(data[100:128], seq=100))
        await bench.settle(ctx)
        bench.saw(384, left=384)
        assert bench.taken == data[:384]

    bench.play(scenario)


@pytest.mark.parametrize("machine", KEEPS)
def test_a_frame_in_order_reaches_into_kept_blocks(machine):
    """It is taken; what is behind its end in the block that it ends in is kept no longer."""
    bench = EngineBench(machine=machine, seed=32)
    data = bench.rng.randbytes(400)

    async def scenario(ctx):
        await bench.reset(ctx)
        bench.send(frame(data[64:256], seq=64))
        await bench.settle(ctx)
        bench.saw(0, kept=0b1110)
        bench.send(frame(data[:150]))
        await bench.settle(ctx)
        bench.saw(150, kept=0b1000)
        bench.send(frame(data[150:192], seq=150))
        await bench.settle(ctx)
        bench.saw(256, left=256)
        assert bench.taken == data[:256]

    bench.play(scenario)


@pytest.mark.parametrize("machine", MACHINES)
def test_receiver_is_the_model(machine):
    """Frames in order, behind gaps, again, damaged, too far, while the ring fills and empties: the
    gateware says of each what a board written from the contract's text says."""
    bench = EngineBench(machine=machine, seed=33)
    rng, size = bench.rng, bench.RX
    model = BoardLink(size - 2, size, bench.config.selective_repeat)
    stream = rng.randbytes(20_000)

    def place() -> tuple[int, int]:
        """Where a frame begins, and its length."""
        at = model.rx_offset
        block = -(-at // BLOCK_BYTES) * BLOCK_BYTES
        begin = rng.choice([at, at, block + 64 * rng.randrange(9), at + rng.randint(-200, 600)])
        length = rng.choice([64, 64, 128, 192, rng.randint(1, 192)])
        if begin == at and rng.random() < 0.7:
            length = min(length, block + 64 - at) or 64
        return max(begin, 0), length

    async def scenario(ctx):
        await bench.reset(ctx)
        model.receive(bytes(wire(frame(control=Control.RESET))))
        model.transmit()
        taken, kept_some = bytearray(), 0
        for number in range(90):
            begin, length = place()
            raw = bytearray(frame(stream[begin : begin + length], seq=begin, name=number))
            if rng.random() < 0.15:
                raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
            before = model.rx_offset
            errors, drops = bench.errors, bench.drops
            bench.send(bytes(raw))
            await bench.until(ctx, lambda: not bench.line)
            await bench.run(ctx, 100)
            model.line.clear()
            was = model.link_errors, model.link_drops
            model.receive(bytes(wire(bytes(raw))))
            assert bench.errors - errors == model.link_errors - was[0]
            assert bench.drops - drops == model.link_drops - was[1]
            answered = model.answer is not None
            model.transmit()
            assert bool(bench.frames) == answered
            if answered:
                header, payload = bench.frames.pop()
                kept = sum(1 << k % 32 for k in model.kept)
                assert payload == b"" and header.name == number
                assert header.ack == model.rx_offset and not bench.frames
                assert header.kept == (kept if bench.config.selective_repeat else None)
                kept_some += bool(kept)
            assert before <= model.rx_offset
            if bench.take_rate:
                taken += model.rx
                model.rx.clear()
                total = len(taken)
                await bench.until(ctx, lambda total=total: len(bench.taken) == total)
            elif model.rx and bench.held == 0:
                bench.held = 1
                taken += model.rx[:1]  # in the ring's output
                del model.rx[:1]
            if rng.random() < 0.2:
                bench.take_rate = 1 - bench.take_rate
                await bench.until(ctx, lambda: ctx.get(bench.dut.quiet) or not bench.take_rate)
                bench.frames.clear()
                model.transmit()
                if bench.take_rate:
                    taken += model.rx
                    model.rx.clear()
                    bench.held = 0
        bench.take_rate = 1
        await bench.settle(ctx)
        assert bench.taken == taken + model.rx == stream[: model.rx_offset]
        assert (kept_some > 2) == bench.config.selective_repeat
        assert model.rx_offset > 2000

    bench.play(scenario)


# The board's stream ---------------------------------------------------------------------------


@in_engine()
async def test_header_says_running_and_waiting(ctx, bench):
    for bench.running, bench.waiting in ((0, 0), (1, 0), (1, 1)):
        bench.send(frame(control=Control.RESEND))
        await bench.settle(ctx)
        (header, _), *_ = bench.frames
        bench.frames.clear()
        assert header.control == bench.running * Control.RUNNING | bench.waiting * Control.WAITING


@in_engine(seed=26)
async def test_unacknowledged_bytes_fill_the_ring(ctx, bench):
    data = bench.rng.randbytes(700)
    bench.give.extend(data)
    await bench.run(ctx, 4000)
    assert len(bench.give) == 700 - bench.TX
    assert host_takes(bench.frames) == data[: bench.TX]
    assert {len(payload) for _, payload in bench.frames} >= {MAX_PAYLOAD}
    # Every acknowledgement makes just that much room.
    for ack, kept in ((1, 187), (150, 38), (187, 1), (188, 0)):
        bench.send(frame(ack=ack))
        await bench.run(ctx, 1500)
        assert len(bench.give) == kept
    await bench.settle(ctx)
    assert host_takes(bench.frames) == data


@in_engine(seed=27)
async def test_resend_goes_back_to_what_is_acknowledged(ctx, bench):
    data = bench.rng.randbytes(450)
    bench.give.extend(data)
    await bench.settle(ctx)
    last = 0
    for ack in (0, 10, 10, 200, 449, 450):
        bench.frames.clear()
        bench.send(frame(ack=ack, control=Control.RESEND))
        await bench.settle(ctx)
        assert bench.frames[0][0].seq == ack
        assert host_takes(bench.frames, ack) == data[ack:]
        # Nothing that was never sent, nor what is acknowledged already, is acknowledged.
        for wrong in (451, ack - 1, ack + 0x8000, ack + 1024):
            if ack <= wrong <= 450:
                continue
            bench.frames.clear()
            bench.send(frame(ack=wrong, control=Control.RESEND))
            await bench.settle(ctx)
            assert bench.frames[0][0].seq == ack
            assert host_takes(bench.frames, ack) == data[ack:]
        last = ack
    assert last == 450 and bench.drops == 0


@in_engine(seed=28)
async def test_acknowledged_while_it_is_sent_again(ctx, bench):
    """The host has more than what a RESEND asks for: the board skips what it has once it was sent
    again; no byte is wrong and none is missing."""
    data = bench.rng.randbytes(500)
    for delay in range(0, 400, 79):
        bench.give.extend(data)
        await bench.settle(ctx)
        bench.frames.clear()
        bench.send(frame(control=Control.RESEND))
        await bench.run(ctx, 40 + delay)
        bench.send(frame(ack=450))
        bench.send(frame(ack=450, control=Control.RESEND))
        await bench.settle(ctx)
        assert host_takes(bench.frames, 450) == data[450:]
        for header, payload in bench.frames:  # what was made before is right as well
            if header.seq + len(payload) <= 450 or header.seq >= 450:
                assert payload == data[header.seq : header.seq + len(payload)]
        bench.frames.clear()
        await bench.reset(ctx)


@in_engine(seed=29)
async def test_not_acknowledged_before_it_is_sent(ctx, bench):
    """Bytes in the ring that no frame has carried cannot be acknowledged."""
    data = bench.rng.randbytes(300)
    bench.out_rate = 0
    bench.give.extend(data)
    await bench.run(ctx, 500)  # one frame waits for the line
    assert not bench.give
    bench.send(frame(ack=300))
    await bench.run(ctx, 100)
    bench.out_rate = 1
    await bench.settle(ctx)
    assert host_takes(bench.frames) == data
    assert len(bench.frames) == 2
    bench.frames.clear()
    bench.send(frame(control=Control.RESEND))  # it was not: all of it is still there
    await bench.settle(ctx)
    assert host_takes(bench.frames) == data


# Long runs -------------------------------------------------------------------------------------


@pytest.mark.long
def test_offsets_wrap():
    """Both streams, past 2**16, with every length of payload. (So do the random programs of
    `system`, which take more bytes than that, but they do not say what was wrong.)"""
    bench = EngineBench(seed=30)

    async def scenario(ctx):
        await bench.reset(ctx)
        total = 0x10000 + 500
        data = bench.rng.randbytes(total)
        back = bench.rng.randbytes(total)
        bench.give.extend(back)
        # This host minds no window, so `o` must keep up. The receive ring is not read while it is
        # written: a byte then takes 1 + 1 / (1 - rate) cycles, which is as fast as the line at a
        # rate of 0.38. (At 0.45 the ring was full after 20 frames, and the next was dropped.)
        bench.line_rate = 0.3
        sent = got = 0
        in_frames = 0
        while sent < total or got < total:
            for header, payload in bench.frames:
                if header.seq == got & 0xFFFF:
                    assert payload == back[got : got + len(payload)]
                    got += len(payload)
                in_frames = header.ack
            bench.frames.clear()
            length = min(total - sent, 180)
            bench.send(frame(data[sent : sent + length], seq=sent, ack=got))
            sent += length
            await bench.until(ctx, lambda: not bench.line)
            await bench.until(ctx, lambda: bench.frames)
        await bench.settle(ctx)
        assert bench.taken == data
        assert (bench.errors, bench.drops) == (0, 0)
        assert in_frames < 0x8000

    bench.play(scenario)


@pytest.mark.parametrize("seed", (40, 41))
def test_streams_survive_a_bad_line(seed):
    """A simple host and a line that corrupts, loses and repeats: both streams arrive whole."""
    bench = EngineBench(seed=seed)
    rng = bench.rng

    async def scenario(ctx):
        await bench.reset(ctx)
        data = contents(1200, rng) + rng.randbytes(800)
        back = contents(1200, rng) + rng.randbytes(800)
        bench.give.extend(back)
        bench.give_rate = 0.2
        bench.take_rate = 0.3
        acked = sent = got = 0
        window = bench.RX - 2
        silent = 0
        for _ in range(3000):
            if acked == got == len(data) == len(back):
                break
            heard = False
            for header, payload in bench.frames:
                if rng.random() < 0.15:
                    continue  # corrupted on its way
                heard = True
                assert header.session == SESSION
                assert back[header.seq : header.seq + len(payload)] == payload or header.seq < got
                if header.seq == got:
                    got += len(payload)
                if acked <= header.ack <= len(data):
                    acked = header.ack
                    window = header.room
            bench.frames.clear()
            silent = 0 if heard else silent + 1
            control = NONE
            if silent > 3 or rng.random() < 0.05:
                silent = 0
                sent = acked
                control = Control.RESEND
            length = max(0, min(rng.choice([0, 1, 7, 60, 192]), acked + window - sent))
            raw = frame(data[sent : sent + length], seq=sent, ack=got, control=control)
            sent += len(data[sent : sent + length])
            line: list[int | None] = [*wire(raw)]
            fate = rng.random()
            if fate < 0.1:
                line[rng.randrange(len(line))] = rng.choice([LOST, 0, 0x55])
            elif fate < 0.15:
                line = line + line
            elif fate < 0.2:
                line = []
            bench.line.extend(line)
            await bench.until(ctx, lambda: not bench.line)
            await bench.run(ctx, rng.choice([0, 20, 300]))
        assert (acked, got) == (len(data), len(back))
        await bench.run(ctx, 3000)  # what is still in the ring
        assert bench.taken == data
        assert bench.errors and bench.drops

    bench.play(scenario)


# Over the UART ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("divisor", "stages"), [(2, 0), (5, 2)])
def test_link_over_the_line(divisor, stages):
    """Frames both ways at once without a pause, as a host that never waits sends them."""
    seed = 50 + divisor
    print(f"seed {seed}")
    rng = random.Random(seed)
    dut = Link(SHORT, divisor=divisor, stages=stages)
    payloads = [contents(length, rng) for length in (192, 0, 1, 43, 192, 7)]
    back = rng.randbytes(300)
    line = wire(frame(control=Control.RESET))
    seq = 0
    for payload in payloads:
        line += wire(frame(payload, seq=seq, control=Control.RESEND if not payload else NONE))
        seq += len(payload)
    bits = deque()
    for byte in line:
        for bit in [0, *(byte >> k & 1 for k in range(8)), 1]:
            bits.extend([bit] * divisor)
    line_levels = list(bits)
    length = len(bits)
    taken = bytearray()
    wave = []
    quiet = []
    state = {"reset": 0}

    async def host(ctx):
        for _ in range(length + 600 * 10 * divisor):
            ctx.set(dut.rx, bits.popleft() if bits else 1)
            _, _, tx, calm, valid, byte, reset = await ctx.tick().sample(
                dut.tx,
                dut.quiet,
                dut.port.from_host.valid,
                dut.port.from_host.payload,
                dut.port.reset,
            )
            wave.append(tx)
            quiet.append(calm)
            if valid:
                taken.append(byte)
            state["reset"] += reset

    async def board(ctx):
        await ctx.tick().until(dut.port.reset)
        await ctx.tick()
        for byte in back:
            ctx.set(dut.port.to_host.payload, byte)
            ctx.set(dut.port.to_host.valid, 1)
            await ctx.tick().until(dut.port.to_host.ready)
        ctx.set(dut.port.to_host.valid, 0)

    async def ready(ctx):
        ctx.set(dut.port.from_host.ready, 1)

    simulate(dut, ready, host, board, watchdog=length + 700 * 10 * divisor)

    # Bytes of one frame follow each other without a gap.
    frames = []
    encoded = bytearray()
    place = wave.index(0)
    while True:
        bits_of_byte = wave[place + divisor // 2 : place + 10 * divisor : divisor]
        assert bits_of_byte[0] == 0 and bits_of_byte[9] == 1
        byte = sum(bit << k for k, bit in enumerate(bits_of_byte[1:9]))
        place += 10 * divisor
        if byte:
            encoded.append(byte)
            continue
        raw = cobs.decode(bytes(encoded))
        encoded.clear()
        assert crc16(raw) == CRC_RESIDUE
        header, size = BoardHeader.unpack(raw)
        frames.append((header, raw[size:-2]))
        if 0 not in wave[place:]:
            break
        place += wave[place:].index(0)

    assert taken == b"".join(payloads)
    assert host_takes([item for item in frames if not item[0].control]) == back
    assert frames[0][0].control == Control.RESET
    assert frames[-1][0].ack == seq
    assert state["reset"] == 1
    # Never quiet while a bit that tells something is on either line; quiet at the end.
    assert not any(calm for calm, tx in zip(quiet, wave, strict=True) if tx == 0)
    seen = zip(quiet[stages:], line_levels, strict=False)
    assert not any(calm for calm, rx in seen if rx == 0)
    assert all(quiet[max(place, length) + 10 :])
