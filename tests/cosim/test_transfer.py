"""The transfer unit at its ports: WAITs and EMITs as the golden model executes them, in the
contract's cycles."""

from collections import deque
from dataclasses import replace

import cocotb
import numpy as np
import pytest
from cocotb.triggers import FallingEdge, ReadOnly

from relaxon_hdl.transfer import TransferUnit
from relaxon_isa.config import ArrayConfig
from relaxon_isa.cycles import READ_CYCLES, issue_cycles, wait_bytes
from relaxon_isa.encoding import encode
from relaxon_isa.errors import ProgramError
from relaxon_isa.instructions import Emit, EmitKind, Halt, Pack, Wait
from relaxon_isa.link import Record
from relaxon_isa.memory import Register
from relaxon_isa.presets import preset
from relaxon_isa.program import Builder
from relaxon_sim.cosim import bench, simulate
from relaxon_sim.golden.state import State
from relaxon_sim.golden.transfer import TransferUnit as GoldenTransferUnit

CONFIGS = {
    "long": preset("default").replace(p=3),
    "samples": preset("fast4").replace(p=3, sample_memory=False),
    "short": preset("up5k"),
    "wide": preset("verify24"),
    "one lane": preset("hx8k"),
}
CASES = 60


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("idle", [0.0, 0.4])
def test_transfer(name, idle, seed):
    config = CONFIGS[name]
    simulate(
        TransferUnit(config),
        __file__,
        parameters={"config": config.to_json(), "idle": idle},
        seed=seed,
    )


def size(rng, most: int) -> int:
    """1 to ``most``: mostly small, often both bytes of a count."""
    return min(most, rng.choice([rng.randint(1, 20), rng.randint(1, 300), rng.randint(200, 1500)]))


def instruction(config: ArrayConfig, rng) -> tuple[Wait | Emit, int]:
    """A legal one, and what its loop index adds to its base."""
    kinds = [Wait, Wait, EmitKind.PLANE, EmitKind.DRIVE, EmitKind.ARGMAX, None]
    if config.sample_buffer:
        kinds += ["ahead", "ahead", EmitKind.ANSWER, EmitKind.ANSWER]
    kind = rng.choice(kinds)
    while True:
        if kind is None:
            first = Register.SWEEPS
            base = rng.randrange(first, len(Register))
            emit = Emit(
                kind=EmitKind.COUNTERS, base=base, count=rng.randint(1, len(Register) - base)
            )
            moved, index = emit, rng.randint(0, base)
        else:
            drive = kind is EmitKind.DRIVE
            depth = config.drive_depth if drive else config.state_depth
            count = size(rng, depth * config.p)
            if kind in ("ahead", EmitKind.ANSWER):
                count = min(count, rng.choice([3, 20, 256]))
            base = rng.randint(0, depth - (count + config.p - 1) // config.p)
            index = rng.choice([0, rng.randint(0, base)])
            if isinstance(kind, EmitKind):
                moved = Emit(kind=kind, base=base, count=count)
            elif kind == "ahead":
                top = 1 << (config.state_bits - 1)
                moved = Wait(
                    dst=base,
                    count=rng.randint(1, 20),
                    pack=Pack.B4,
                    tick=rng.random() < 0.5,
                    ahead=True,
                    outputs=rng.choice([0, count, count]),
                    low=rng.randrange(-top, top),
                    high=rng.randrange(-top, top),
                )
            else:
                moved = Wait(
                    dst=base,
                    count=count,
                    pack=rng.choice(list(Pack)),
                    signed=rng.random() < 0.5,
                    shift=rng.choice([0, rng.randint(0, config.state_bits - 2)]),
                    tick=rng.random() < 0.5,
                )
        builder = Builder(config)
        builder.add(moved)
        builder.add(Halt())
        try:
            builder.build()
        except ProgramError:
            continue
        return moved, index


def lowered(moved: Wait | Emit, by: int) -> Wait | Emit:
    """The instruction with a base that a loop index has to make up for."""
    if isinstance(moved, Wait):
        return replace(moved, dst=moved.dst - by)
    return replace(moved, base=moved.base - by)


@cocotb.test()
async def moves_what_the_golden_model_moves(dut):
    options = bench.parameters()
    config, idle = ArrayConfig.from_json(options["config"]), options["idle"]
    short = config.pipeline == "short"
    rng = bench.random_source("transfer")
    bench.start_clock(dut)
    state = State(config)
    top, high = 1 << (config.state_bits - 1), 1 << (config.acc_bits - 1)
    few = [rng.randrange(-top, top) for _ in range(3)]  # so that maxima are often several
    state.state = np.array([rng.choice(few) for _ in range(config.state_depth * config.p)])
    state.drive = np.array(
        [rng.randrange(-high, high) for _ in range(config.drive_depth * config.p)], dtype=object
    )
    for register in range(Register.MAC_CYCLES, len(Register)):
        state.registers.write(register, rng.getrandbits(32))
    golden = GoldenTransferUnit(state)

    def word(space: int, group: int, lane: int) -> int:
        """What is read at a place; anything where there is nothing."""
        plane = {1: state.state, 2: state.drive}.get(space)
        if plane is None:
            return state.registers.read(group) if group < len(Register) else rng.getrandbits(32)
        return int(plane[group, lane]) if group < len(plane) else rng.getrandbits(8)

    def value_of(handle) -> int:
        return int(handle.value)

    for name in ("wait_run", "emit_run", "hold", "sample__valid", "emit__ready", "data", "word"):
        getattr(dut, name).value = 0

    buffered = config.sample_buffer > 0
    waited = 0
    for _ in range(CASES):
        moved, index = instruction(config, rng)
        waits = isinstance(moved, Wait)
        row, *_ = encode(config, [lowered(moved, index), Halt()])
        ahead = waits and moved.ahead
        answers = isinstance(moved, Emit) and moved.kind is EmitKind.ANSWER
        on_label = moved.high if isinstance(moved, Wait) else 0
        sent = rng.randbytes(wait_bytes(config, moved)) if waits and not ahead else b""
        label, labelled = rng.randrange(rng.choice([3, 20, 256])), rng.random() < 0.8
        if isinstance(moved, Emit) and answers and rng.random() < 0.5:
            label = int(state.states.words[moved.base * config.p :][: moved.count].argmax()) % 256
        takes = wrong = 0
        given, record, places = deque(sent), bytearray(), deque()
        stalls = ticks = reads = cycles = 0
        written, values = {}, deque()
        wrote = 0
        offered = False
        for phase in ("run", "after"):
            while True:
                await FallingEdge(dut.clk)
                running = phase == "run"
                dut.wait_run.value, dut.emit_run.value = running and waits, running and not waits
                dut.row.value = row
                dut.index.value = index if short or cycles or not running else rng.getrandbits(16)
                hold = rng.random() < idle / 2 and not (buffered and offered)
                dut.hold.value = hold
                # What was offered stays offered until it is taken.
                free = rng.random() >= idle and not (buffered and hold)
                offered = bool(given) and (offered or free)
                dut.sample__valid.value = offered
                dut.sample__payload.value = given[0] if offered else rng.getrandbits(8)
                dut.emit__ready.value = ready = rng.random() >= idle
                for port, ago, width in (
                    (dut.data, READ_CYCLES, max(config.acc_bits, 32)),
                    (dut.word, READ_CYCLES - 1, config.state_bits),
                ):
                    read = rng.getrandbits(8)
                    if len(places) >= ago:
                        space, group, lane = places[-ago]
                        if answers:  # one word a cycle: its lane is asked for later
                            lane = places[-1][2]
                        read = word(space, group, lane)
                    port.value = read & ((1 << width) - 1)
                if buffered:
                    dut.whole.value = rng.random() >= idle
                    # The label comes as the sample has been taken.
                    known = answers or takes
                    dut.label.value = label if known else rng.getrandbits(8)
                    dut.labelled.value = labelled if known else rng.getrandbits(1)
                await ReadOnly()
                place = value_of(dut.group), value_of(dut.lane)
                places.append((value_of(dut.space), *place))
                if wrote and ahead:
                    assert place[1] == 0
                    for k in range(config.p):
                        if value_of(dut.lanes) >> k & 1:
                            hit = value_of(dut.hits) >> k & 1
                            new = on_label if hit else value_of(dut.value)
                            written[place[0], k] = new % (1 << config.state_bits)
                elif wrote:
                    written[place] = values[-1] if short else value_of(dut.value)
                    if buffered:
                        assert not value_of(dut.lanes) and not value_of(dut.hits)
                if buffered:
                    takes += value_of(dut.take)
                    assert not value_of(dut.take) or value_of(dut.whole)
                    wrong += value_of(dut.wrong)
                wrote = value_of(dut.write)
                if wrote and short:
                    values.append(value_of(dut.value))
                if not running:
                    assert not wrote
                    break
                cycles += 1
                stalls += value_of(dut.stalled)
                ticks += value_of(dut.tick)
                if offered and value_of(dut.sample__ready):
                    assert not int(dut.hold.value)
                    given.popleft()
                    offered = False
                if ready and value_of(dut.emit__valid):
                    newer = buffered and value_of(dut.newer)
                    record.append(value_of(dut.newer_byte if newer else dut.emit__payload))
                reads += value_of(dut.read_counter)
                assert cycles < 50_000, "watchdog"
                if value_of(dut.finished):
                    break
        assert cycles - stalls == issue_cycles(config, moved), moved
        waited += stalls
        assert ticks == (waits and moved.tick)
        assert not given
        counters = not waits and moved.kind is EmitKind.COUNTERS
        assert reads == (READ_CYCLES * moved.count if counters else 0), (reads, moved)
        assert takes == ahead
        if isinstance(moved, Emit):
            state.sample.label = label if labelled else -1
            before = state.registers.read(Register.WRONG)
            payload = golden.emit(moved, [0])()
            header = bytes([Record.EMIT, *len(payload).to_bytes(2, "little")])
            assert record == (b"" if answers else header + payload)
            assert not answers or not payload
            if answers:
                assert state.registers.read(Register.WRONG) - before == wrong, moved
                state.registers.write(Register.WRONG, before)
        elif ahead:
            data = bytes(wait_bytes(config, moved) - 1) + bytes([label])
            golden.wait(moved, [0])(data if moved.outputs else bytes(wait_bytes(config, moved)))
            mask = (1 << config.state_bits) - 1
            neurons = [moved.dst * config.p + i for i in range(moved.outputs)]
            places = [divmod(neuron, config.p) for neuron in neurons]
            assert written == {place: int(state.state[place]) & mask for place in places}, moved
        else:
            golden.wait(moved, [0])(sent)
            mask = (1 << config.state_bits) - 1
            neurons = [moved.dst * config.p + i for i in range(moved.count)]
            places = [divmod(neuron, config.p) for neuron in neurons]
            wanted = {place: int(state.state[place]) & mask for place in places}
            assert written == wanted, moved
    assert bool(waited) == bool(idle)
