"""The SDRAM controller on a chip that asserts its data sheet."""

import random
from pathlib import Path
from types import ModuleType

import pytest

import relaxon_hdl.memory.sdram as right
from relaxon_hdl.memory.sdram import Timing
from relaxon_isa.errors import ConfigError
from support.sdram_chip import ACCESS, HOLD, pins, simulate_chip

CLOCKS = (75e6, 90e6)
WORDS = 1 << 24
RECORD = 197
"""Words of an MNIST record with 4 bits a value, and its label."""
PHASE = 2
"""3 T: inside the window for a way of 5 ns, at both clocks."""
SOON = 5e3
"""ns from power-up to the first command, where 200 us are not what is tested."""


def begin():
    return 0


async def taken(ctx, ready) -> None:
    """Until a cycle in which ``ready`` is high is over."""
    while not (await ctx.tick().sample(ready))[2]:
        pass


async def ask(ctx, dut, address: int, count: int, write: int = 0) -> None:
    ctx.set(dut.request.payload, {"address": address, "count": count, "write": write})
    ctx.set(dut.request.valid, 1)
    await taken(ctx, dut.request.ready)
    ctx.set(dut.request.valid, 0)


async def put(ctx, dut, words, pause=begin) -> None:
    for word in words:
        for _ in range(pause()):
            await ctx.tick()
        ctx.set(dut.i.payload, word)
        ctx.set(dut.i.valid, 1)
        await taken(ctx, dut.i.ready)
        ctx.set(dut.i.valid, 0)


async def write(ctx, dut, address, words, pause=begin) -> None:
    await ask(ctx, dut, address, len(words), 1)
    await put(ctx, dut, words, pause)


async def take(ctx, dut, count: int) -> list[int]:
    words = []
    while len(words) < count:
        _, _, valid, word = await ctx.tick().sample(dut.o.valid, dut.o.payload)
        if valid:
            words.append(word)
    return words


async def read(ctx, dut, address: int, count: int) -> list[int]:
    await ask(ctx, dut, address, count)
    return await take(ctx, dut, count)


def run(clock_hz: float, testbench, *, module=right, phase=PHASE, soon=True, **options):
    """A test bench on a controller and its chip, from power-up."""
    timing = module.Timing.at(clock_hz)
    if soon:
        timing = timing._replace(start=1)
        options["start"] = SOON
    dut = module.Sdram(pins(), timing)

    async def bench(ctx):
        ctx.set(dut.phase, phase)
        await testbench(ctx, dut)
        assert ctx.get(dut.alive)

    return simulate_chip(dut, clock_hz, bench, **options)


def cell(place: int) -> tuple[int, int, int]:
    """Bank, row and column of a word: column, bank, row from the lowest bit of an address on."""
    return place >> 9 & 3, place >> 11, place & 511


def words_of(rng: random.Random, count: int) -> list[int]:
    return [rng.getrandbits(16) for _ in range(count)]


EDGES = [
    (0, 1),
    (511, 1),
    (511, 2),
    (510, 3),
    (512 * 3 + 500, 40),  # from bank 3 into bank 0
    (2048 * 77 - 1, 514),  # three rows, one word in the first and one in the last
    (WORDS - 3, 3),
    (512 * 2 + 300, 2047),  # five rows: one more than there are banks
]


@pytest.mark.parametrize("clock_hz", CLOCKS)
def test_words_come_back_from_any_address(clock_hz):
    rng = random.Random(1)
    requests = [*EDGES, *((rng.randrange(WORDS - 64), rng.randrange(1, 64)) for _ in range(12))]
    data = [words_of(rng, count) for _, count in requests]

    expected = {}
    for (address, _), words in zip(requests, data, strict=True):
        expected |= dict(enumerate(words, address))

    async def bench(ctx, dut):
        for (address, _), words in zip(requests, data, strict=True):
            await write(ctx, dut, address, words)
        for address, count in requests:
            words = [expected[place] for place in range(address, address + count)]
            assert await read(ctx, dut, address, count) == words

    chip = run(clock_hz, bench, postponed=3)
    assert chip.cells == {cell(place): word for place, word in expected.items()}


def test_nothing_is_asked_for_and_what_follows_is_whole():
    async def bench(ctx, dut):
        await write(ctx, dut, 700, [1, 2, 3])
        await ask(ctx, dut, 123, 0)
        await ask(ctx, dut, 124, 0, 1)
        assert await read(ctx, dut, 700, 3) == [1, 2, 3]

    run(75e6, bench)


def test_words_to_write_may_take_their_time():
    """Rows are closed for refreshes meanwhile, and opened again."""
    rng = random.Random(2)
    words = words_of(rng, 40)

    async def bench(ctx, dut):
        await write(ctx, dut, 490, words, lambda: rng.choice((0, 0, 1, 5, 700)))
        assert await read(ctx, dut, 490, 40) == words

    run(75e6, bench, postponed=2)


@pytest.mark.parametrize("clock_hz", CLOCKS)
def test_mnist_record_takes_204_cycles_at_most(clock_hz):
    """Back to back in memory, in random order, refreshes included."""
    rng = random.Random(3)
    order = [rng.randrange(60_000) for _ in range(60)]
    records = {index: words_of(rng, RECORD) for index in order}
    cycles = 0

    async def bench(ctx, dut):
        nonlocal cycles
        for index in order:
            for place, word in enumerate(records[index], index * RECORD):
                chips[0].cells[cell(place)] = word
        asked, got = 0, []
        while not ctx.get(dut.alive):
            await ctx.tick()
        while len(got) < RECORD * len(order):
            index = order[min(asked, len(order) - 1)]
            ctx.set(dut.request.payload, {"address": index * RECORD, "count": RECORD})
            ctx.set(dut.request.valid, asked < len(order))
            _, _, ready, valid, word = await ctx.tick().sample(
                dut.request.ready, dut.o.valid, dut.o.payload
            )
            asked += ready
            if valid:
                got.append(word)
            cycles += 1
        assert got == [word for index in order for word in records[index]]

    chips: list = []
    chip = run(clock_hz, bench, postponed=2, chips=chips)
    crossed = sum(index * RECORD % 512 + RECORD > 512 for index in order)
    assert crossed > 15
    assert chip.refreshes >= cycles / clock_hz / 7.8125e-6 - 2
    print(f"{cycles / len(order):.2f} cycles a record, {crossed} of {len(order)} cross a row")
    assert cycles <= 204 * len(order)


def test_start_takes_200_microseconds():
    async def bench(ctx, dut):
        await write(ctx, dut, 5, [77])
        assert await read(ctx, dut, 5, 1) == [77]

    run(75e6, bench, soon=False)


@pytest.mark.parametrize("clock_hz", CLOCKS)
@pytest.mark.parametrize("way", [0.5, 3, 5, 8])
def test_phases_that_read_right_are_those_of_the_window(clock_hz, way):
    words = words_of(random.Random(4), 40)
    period = 1e9 / clock_hz
    right_ones = []

    async def bench(ctx, dut):
        await write(ctx, dut, 1000, words)
        for phase in range(8):
            ctx.set(dut.phase, phase)
            await ctx.tick().repeat(12)
            await ask(ctx, dut, 1000, 40)
            if await take(ctx, dut, 40) == words:
                right_ones.append(phase)

    run(clock_hz, bench, way=way)
    within = [
        phase
        for phase in range(8)
        if 1.5 * period + ACCESS <= (4 + phase) / 2 * period - way < 2.5 * period + HOLD
    ]
    print(f"{clock_hz / 1e6:g} MHz, {way} ns: phases {within}")
    assert right_ones == within != []


@pytest.mark.parametrize("clock_hz", [5e6, 101e6])
def test_clock_that_the_chip_cannot_have_is_refused(clock_hz):
    with pytest.raises(ConfigError, match="from 10 to 100 MHz"):
        Timing.at(clock_hz)


FAULTS = {
    "tRCD a cycle short": ("rcd=cycles(20)", "rcd=cycles(20) - 1"),
    "tRP a cycle short": ("rp=cycles(20)", "rp=cycles(20) - 1"),
    "tRFC a cycle short": ("rfc=cycles(70)", "rfc=cycles(70) - 1"),
    "tWR a cycle short": ("wr=cycles(20)", "wr=cycles(20) - 1"),
    "tRAS a cycle short": ("ras=cycles(50)", "ras=cycles(50) - 1"),
    "tMRD a cycle short": ("mrd=2", "mrd=1"),
    "refreshes are missed": ("done.eq(1)]\n", "done.eq(1), self.command.eq(Command.NOP)]\n"),
    "refreshes are late": ("int(64e-3 / 8192", "int(64e-3 / 4096"),
    "a request is not interrupted": ("If(owed >= POSTPONED)", "If(0)"),
    "too few refreshes at the start": ("REFRESHES_AT_START = 8", "REFRESHES_AT_START = 7"),
    "starts too soon": ("starting == t.start", "starting == 0"),
    "masked before the start": ("(~controller.alive).replicate(2)", "0"),
    "another CAS latency": ("MODE = CAS_LATENCY << 4", "MODE = 3 << 4"),
    "bursts of two": ("MODE = CAS_LATENCY << 4", "MODE = CAS_LATENCY << 4 | 1"),
    "one bank is closed": ("ALL_BANKS = 1 << 10", "ALL_BANKS = 0"),
    "opened in a wrong bank": ("self.bank.eq(here)", "self.bank.eq(here ^ self.command[2])"),
    "read in a wrong bank": ("self.bank.eq(here)", "self.bank.eq(here ^ self.read)"),
    "written in a wrong bank": ("self.bank.eq(here)", "self.bank.eq(here ^ self.drive)"),
    "a wrong row": ("here[BANK_BITS:]", "here[BANK_BITS - 1 :]"),
    "the next row is opened in this one's bank": ("[here.eq(following), activate()]", "activate()"),
    "rows are not counted": ("& ~opened.all()", ""),
    "column stays": ("column.eq(column + 1)", "column.eq(column)"),
    "a word too few": ("request.count - 1", "request.count - 2"),
    "a word too many": ("request.count - 1", "request.count"),
    "drives while it reads": ("self.drive.eq(write)", "self.drive.eq(1)"),
    "does not drive": ("dq.oe.eq(controller.drive)", "dq.oe.eq(0)"),
    "data a cycle late": ("controller.word,", "delay(m, controller.word, 16, 1, 'late'),"),
    "wrong capture edge": ("Mux(self.phase[0],", "Mux(~self.phase[0],"),
    "captured a cycle late": ('1, first, "read")', '1, first + 1, "read")'),
    "captured a cycle early": ('1, first, "read")', '1, first - 1, "read")'),
    "clock not inverted": ("clk.o[0].eq(0)", "clk.o[0].eq(1)"),
    "commands without the data's delay": ("OUTPUT_STAGES, name))", "0, name))"),
}


def faulty(old: str, new: str) -> ModuleType:
    """The controller's module with a piece of its source replaced."""
    source = Path(right.__file__).read_text()
    assert source.count(old) == 1, old
    module = ModuleType("relaxon_hdl.memory.faulty")
    module.__package__ = "relaxon_hdl.memory"
    exec(compile(source.replace(old, new), "faulty", "exec"), module.__dict__)
    return module


def exercise(module: ModuleType) -> None:
    """A little of all: short, long and slow requests, rows and banks, and what was there before."""
    rng = random.Random(5)
    chips: list = []

    async def bench(ctx, dut):
        before, place = words_of(rng, 12), 0xAB35FE
        await write(ctx, dut, place - 5, before)
        assert await read(ctx, dut, place - 5, 12) == before
        assert [chips[0].cells.get(cell(place + n)) for n in range(-5, 7)] == before
        assert await read(ctx, dut, place, 1) + await read(ctx, dut, place + 1, 2) == before[5:8]
        slow = iter([0, 0, 0, 3_600])
        words = words_of(rng, 6)
        await write(ctx, dut, 4000, words, lambda: next(slow, 0))
        await write(ctx, dut, 4006 + 512, [1])
        assert await read(ctx, dut, 4000, 6) == words
        refreshes = chips[0].refreshes
        while chips[0].refreshes == refreshes:
            await ctx.tick()
        assert len(await read(ctx, dut, 2048 * 9 + 511, 2047)) == 2047
        assert await read(ctx, dut, place - 5, 12) == before

    run(90e6, bench, module=module, chips=chips, postponed=2.5, longest=9_000)


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_caught(name):
    with pytest.raises(AssertionError):
        exercise(faulty(*FAULTS[name]))


def test_exercise_finds_nothing_without_a_fault():
    exercise(right)
