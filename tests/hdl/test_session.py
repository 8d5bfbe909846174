"""The gateware answers the transcripts' host as they say, to the byte."""

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In

from relaxon_hdl.command import CommandUnit
from relaxon_hdl.component import Component
from relaxon_hdl.core import Core
from relaxon_hdl.link import LinkEngine
from relaxon_hdl.memory.unit import WordMemory
from relaxon_isa.config import ArrayConfig
from relaxon_isa.identity import encode_info
from support import session
from support.pysim import simulate
from support.session import MAX_PAYLOAD, Mismatch, Step, host_frame, matches, unframe

REST = LinkEngine.PAUSE
"""Cycles between two frames."""
QUIET = 100
"""Cycles after which nothing more is taken to come."""
LIMIT = 12_000
"""Cycles that a step may take."""


class Words(Component):
    """A memory of 2048 words, which come again and again in the addresses of 8 MiB, and are read
    right at moments 1 to 4."""

    def __init__(self):
        super().__init__({"chip": In(WordMemory())})

    def build(self, m):
        m.submodules.words = words = Memory(shape=16, depth=2048, init=[])
        read, write = words.read_port(domain="comb"), words.write_port()
        chip, asked = self.chip, self.chip.request.payload
        place, left, writing = Signal(11), Signal(11), Signal()
        m.d.comb += [
            chip.alive.eq(1),
            chip.request.ready.eq(left == 0),
            chip.i.ready.eq((left != 0) & writing),
            chip.word.valid.eq((left != 0) & ~writing),
            chip.word.payload.eq(read.data ^ ((chip.phase < 1) | (chip.phase > 4))),
            read.addr.eq(place),
            write.addr.eq(place),
            write.data.eq(chip.i.payload),
            write.en.eq(chip.i.valid & chip.i.ready),
        ]
        with m.If(chip.word.valid | write.en):
            m.d.sync += [place.eq(place + 1), left.eq(left - 1)]
        with m.If(chip.request.valid & chip.request.ready):
            m.d.sync += [place.eq(asked.address), left.eq(asked.count), writing.eq(asked.write)]


class Board(wiring.Component):
    """The whole machine but its UART."""

    def __init__(self, config: ArrayConfig, info: bytes):
        super().__init__({})
        self.config, self.info = config, info
        self.link = LinkEngine(config)
        self.byte, self.valid = Signal(8), Signal()

    def elaborate(self, platform):
        m = Module()
        m.submodules.link = link = self.link
        m.submodules.command = command = CommandUnit(self.config, self.info)
        m.submodules.core = core = Core(self.config)
        if self.config.sample_memory:
            m.submodules.words = words = Words()
            wiring.connect(m, core.chip, words.chip)
        wiring.connect(m, link.port, command.link)
        wiring.connect(m, command.core, core.bus)
        m.d.comb += [
            link.line_in.payload.eq(self.byte),
            link.line_in.valid.eq(self.valid),
            link.line_out.ready.eq(1),
        ]
        return m


class Line:
    """The test's end of the line: frames in and out, one after the other."""

    def __init__(self, ctx, board: Board):
        self.ctx, self.board = ctx, board
        self.out = b""  # bytes of the board, not looked at yet
        self.session = self.given = self.taken = self.name = 0
        self.early = 0  # bytes that were sent ahead of their turn
        self.payload = b""  # of the board's stream

    async def cycle(self, byte: int | None = None) -> None:
        board, ctx = self.board, self.ctx
        ctx.set(board.valid, byte is not None)
        ctx.set(board.byte, byte or 0)
        out = board.link.line_out
        _, _, valid, value = await ctx.tick().sample(out.valid, out.payload)
        if valid:
            self.out += bytes([value])

    async def send(self, data: bytes) -> None:
        for byte in data:
            await self.cycle(byte)
            if byte == 0:
                await self.rest(REST)

    async def rest(self, cycles: int) -> None:
        for _ in range(cycles):
            await self.cycle()

    async def frames(self) -> list[tuple[int, int, int, int, bytes]]:
        """The frames that the board sends until it has been still for long."""
        still = 0
        while still < QUIET:
            before = len(self.out)
            await self.cycle()
            still = still + 1 if len(self.out) == before else 0
        *whole, self.out = self.out.split(b"\0")
        return [unframe(each, 12) for each in whole if each]

    async def take(self) -> int | None:
        """Put the payloads together and acknowledge; the last frame's control byte, if any came."""
        control = None
        for control, seq, ack, name, payload in await self.frames():
            assert control & 0x0F == self.session and ack <= self.given + self.early
            assert name == self.name & 0xFF
            assert seq == self.taken % 65536
            self.payload += payload
            self.taken += len(payload)
            if payload:
                await self.send(host_frame(self.session, self.given, self.taken, self.name))
        return control

    async def give(self, data: bytes) -> None:
        for at in range(0, len(data), MAX_PAYLOAD):
            part = data[at : at + MAX_PAYLOAD]
            self.name += 1
            await self.send(host_frame(self.session, self.given, self.taken, self.name, part))
            self.given += len(part)
            await self.take()

    async def play(self, step: Step) -> None:
        if step.frames_sent:
            await self.send(step.frames_sent)
            if not step.frames_answered:
                await self.frames()
                return
            await self.rest(QUIET)
            if self.out != step.frames_answered:
                raise Mismatch(f"line {step.line}: the board answers {self.out.hex(' ')}")
            self.session, _, _, self.name, _ = unframe(self.out[:-1], 12)
            self.session &= 0x0F
            self.out, self.given, self.taken = b"", 0, 0
            self.early = len(unframe(step.frames_sent.strip(b"\0"), 6)[4])
        await self.give(bytes(b or 0 for b in step.sent))
        for _ in range(LIMIT // QUIET):
            if len(self.payload) >= len(step.answered):
                break
            await self.take()
        if not matches(step.answered, self.payload):
            raise Mismatch(f"line {step.line}: the board answers {self.payload.hex(' ')}")
        self.payload = b""
        if step.status is not None:
            self.name += 1
            await self.send(host_frame(self.session | 0x20, self.given, self.taken, self.name))
            assert await self.take() == step.status, f"line {step.line}"


@pytest.mark.parametrize("transcript", session.MACHINES)
def test_gateware_plays_the_session(transcript):
    config = ArrayConfig(**session.MACHINES[transcript])
    info = encode_info(config, build="session", clock_hz=1, baud=1)
    board = Board(config, info)

    async def play(ctx):
        line = Line(ctx, board)
        for step in session.steps(transcript, info):
            await line.play(step)

    simulate(board, play)
