"""The sequencer under Verilator: what it issues for random programs, and how it counts cycles."""

from collections import Counter
from collections.abc import Sequence

import cocotb
import pytest
from amaranth.lib import data
from cocotb.triggers import FallingEdge, ReadOnly

from campaign import CAMPAIGN
from relaxon_hdl.nest import issue_layout
from relaxon_hdl.sequencer import Sequencer
from relaxon_isa.config import ArrayConfig
from relaxon_isa.cycles import drain_cycles, fetch_cycles, hiding_cycles, issue_cycles
from relaxon_isa.instructions import Emit, Halt, Instruction, Learn, Loop, Mac, Next, Skip, Wait
from relaxon_isa.presets import preset
from relaxon_sim.cosim import bench, simulate
from support.random_programs import random_program
from support.tiles import tokens

SMALL = CAMPAIGN.replace(levels=3, loop_depth=2, p=2)
CONFIGS = {
    "four loops": CAMPAIGN,
    "small": SMALL,
    "drains": SMALL.replace(drains=True),
    "prefetch": SMALL.replace(prefetch=True),
    "both": CAMPAIGN.replace(drains=True, prefetch=True, both=True),
    "walks over lists": preset("fast4"),
    "walks, all wait": preset("fast4").replace(drains=False, prefetch=False),
    "short pipeline": SMALL.replace(pipeline="short", weight_ports=1, integral_shift=0),
}
PROGRAMS = 12
LIMIT = 50_000


@pytest.mark.parametrize("name", CONFIGS)
def test_sequencer(name, seed):
    simulate(Sequencer(CONFIGS[name]), __file__, parameters={"config": name}, seed=seed)


def expected(
    config: ArrayConfig, program: Sequence[Instruction], flag: bool, listed: int
) -> tuple[list[dict], Counter, list[int]]:
    """Tiles, cycles and events, and X of every WAIT and EMIT, while the flag and the rows of the
    sample's lists are what they are."""
    issued: list[dict] = []
    counts: Counter[str] = Counter()
    indices: list[int] = []
    loops: list[list] = []  # where, LOOP, trip
    at = hidden = 0
    while True:
        op = program[at]
        at += 1
        index = [0, *(trip * loop.step for _, loop, trip in loops)]
        counts["control_cycles"] += max(0, fetch_cycles(op) - hidden)
        hidden = hiding_cycles(config, op, listed)
        own = issue_cycles(config, op, listed) + drain_cycles(config, op)
        match op:
            case Mac() | Learn():
                issued += tokens(config, op, index, listed)
                counts[f"{op.opcode.name.lower()}_cycles"] += own
                counts["learned"] += isinstance(op, Learn) and not op.hold
            case Wait() | Emit():
                indices.append(index[op.dst_x if isinstance(op, Wait) else op.base_x] % (1 << 16))
            case _:
                counts["control_cycles"] += own
        match op:
            case Loop():
                if op.skip is not Skip.NEVER and (op.skip is Skip.IF_FLAG) == flag:
                    depth = 1
                    while depth:
                        depth += isinstance(program[at], Loop) - isinstance(program[at], Next)
                        at += 1
                else:
                    loops.append([at, op, 0])
            case Next():
                body, loop, trip = loops[-1]
                counts["sweeps"] += loop.sweep
                if trip == loop.count - 1 or (loop.until and flag):
                    loops.pop()
                else:
                    loops[-1][2] += 1
                    at = body
            case Halt():
                return issued, counts, indices


def fields(layout: data.StructLayout, port) -> dict[str, int]:
    word = int(port.value)
    return {name: word >> f.offset & ((1 << f.width) - 1) for name, f in layout}


@cocotb.test()
async def issues_what_programs_say(dut):
    config = CONFIGS[bench.parameters()["config"]]
    rng = bench.random_source("sequencer")
    layout, events = issue_layout(config), Sequencer(config).events.shape()
    bench.start_clock(dut)
    for name in ("run__valid", "abort", "program__write", "flag", "stalled", "finished"):
        getattr(dut, name).value = 0
    if config.sample_buffer:
        dut.ahead.value = dut.lacking.value = dut.settled.value = 0

    async def load(rows):
        for i, row in enumerate(rows):
            await FallingEdge(dut.clk)
            dut.program__index.value, dut.program__data.value = i, row
            dut.program__write.value = 1
        await FallingEdge(dut.clk)
        dut.program__write.value = 0

    for _ in range(PROGRAMS):
        program = random_program(config, rng).program
        flag = rng.random() < 0.5
        await load(program.rows)
        dut.flag.value = flag
        listed = rng.choice([1, 1, 2, 5])
        ahead = 0  # cycles of a WAIT that is ahead: all of them alike
        if config.sample_buffer:
            dut.listed.value = listed
            waits = [i for i in program.instructions if isinstance(i, Wait) and i.ahead]
            ahead = issue_cycles(config, waits[0]) if waits else 0
        dut.run__payload.value = 0
        dut.run__valid.value = 1
        issued, indices = [], []
        counts: Counter[str] = Counter()
        left = left_ahead = 0  # cycles of a WAIT or EMIT still to come
        index_in = 0  # cycles until X of a WAIT that is ahead is there
        begun = False
        for _ in range(LIMIT):
            await ReadOnly()
            issue = fields(layout, dut.issue)
            if issue["valid"]:
                issued.append(issue)
            counts.update(fields(events, dut.events))
            counts["learned"] += int(dut.learned.value)
            if int(dut.done.value):
                break
            run = int(dut.emit_run.value) | (int(dut.wait_run.value) and not ahead)
            if begun or index_in == 1:  # since the cycle before
                indices.append(int(dut.index.value))
            index_in -= bool(index_in)
            begun = run and not left
            if begun:
                left = rng.randint(2, 9)
            await FallingEdge(dut.clk)
            dut.run__valid.value = 0
            left -= bool(left)
            dut.finished.value = left == 1
            dut.stalled.value = left > 1 and rng.random() < 0.5
            lacks = settled = False
            if ahead and int(dut.wait_run.value):  # it stalls before its first cycle alone
                if not left_ahead:
                    left_ahead, index_in = ahead + rng.choice([0, 0, 3]), 2
                lacks = left_ahead > ahead
                dut.stalled.value = lacks
                dut.finished.value = settled = left_ahead == 1
                left_ahead -= 1
            if config.sample_buffer:
                dut.ahead.value = int(ahead > 0 and int(dut.wait_run.value))
                dut.lacking.value = lacks
                dut.settled.value = settled
        else:
            raise AssertionError(f"no HALT\n{program.listing()}")
        await FallingEdge(dut.clk)
        wanted, wanted_counts, wanted_indices = expected(config, program.instructions, flag, listed)
        assert [
            {name: got[name] for name in want} for got, want in zip(issued, wanted, strict=True)
        ] == wanted, program.listing()
        for name in ("wait_cycles", "emit_cycles"):  # as many as this bench pleases
            del counts[name]
        assert +counts == +wanted_counts, program.listing()
        assert indices == wanted_indices, program.listing()
