"""The array alone under Verilator: tiles as a sequencer would issue them, and slower."""

from dataclasses import replace

import cocotb
import numpy as np
import pytest
from cocotb.triggers import FallingEdge, ReadOnly

from campaign import CAMPAIGN
from relaxon_hdl.array import Array
from relaxon_hdl.nest import issue_layout
from relaxon_hdl.schedule import Schedule
from relaxon_isa.config import ArrayConfig
from relaxon_isa.cycles import drain_cycles, issue_cycles, wait_bytes
from relaxon_isa.instructions import Halt, Learn, Mac, Wait
from relaxon_isa.memory import Register, Space
from relaxon_isa.presets import preset
from relaxon_isa.program import Program
from relaxon_sim.cosim import bench, simulate
from relaxon_sim.golden.machine import Machine
from support.naive import Naive
from support.random_programs import random_program
from support.tiles import levels_of, tokens

MEMORIES = {"weight_depth": 64, "state_depth": 64, "drive_depth": 16, "program_rows": 256}
CONFIGS = {
    "campaign": CAMPAIGN,
    "one weight port": preset("up5k").replace(**MEMORIES),
    "24 bits": preset("verify24").replace(**MEMORIES),
    "walks over lists": preset("fast4"),
    "walks, all wait": preset("fast4").replace(drains=False, prefetch=False, p=3),
}
PROGRAMS = 3
SATURATIONS = {"state": Register.STATE_SATURATIONS, "weight": Register.WEIGHT_SATURATIONS}


@pytest.mark.parametrize("name", CONFIGS)
def test_array(name, seed):
    config = CONFIGS[name]
    array = Array(config)
    simulate(array, __file__, parameters={"config": config.to_json()}, seed=seed)


class ArrayBench:
    """What sequencer and core do to the array's ports."""

    def __init__(self, dut, config: ArrayConfig, rng):
        self.dut, self.config, self.rng = dut, config, rng
        self.layout = dict(issue_layout(config))
        self.lists: list[list[tuple[int, int]]] = []  # each column's entries
        self.rows = [0, 0]  # of the lists, asked for in the cycles before
        self.saturated = dict.fromkeys(SATURATIONS, 0)

    async def cycle(self, issue: dict[str, int] | None = None) -> None:
        """One cycle, with a tile or without."""
        word = 0
        for name, value in (issue or {}).items():
            word |= value << self.layout[name].offset
        self.dut.issue.value = word
        if self.config.sample_buffer:
            self.show_lists()
        await ReadOnly()
        if self.config.sample_buffer:
            self.rows = [int(self.dut.list_row.value), self.rows[0]]
        for name in self.saturated:
            self.saturated[name] += int(getattr(self.dut, f"{name}_saturated").value)
        await FallingEdge(self.dut.clk)

    def show_lists(self) -> None:
        """What the sample buffer answers. Beyond a list's end no group is known."""
        groups = values = 0
        bits, most = self.config.state_bits, self.config.sample_buffer // 2
        for column, entries in enumerate(self.lists):
            group, value = self.rng.randrange(most), 0
            if self.rows[1] < len(entries):
                group, value = entries[self.rows[1]]
            groups |= group << (most - 1).bit_length() * column
            values |= (value & ((1 << bits) - 1)) << bits * column
        self.dut.groups.value, self.dut.values.value = groups, values

    async def write(self, space: Space, start: int, values: list[int]) -> None:
        dut, config = self.dut, self.config
        strobe = getattr(dut, f"element__write_{space.name.lower()}")
        for i, value in enumerate(values, start):
            if space is Space.TABLE:
                dut.element__index.value = i
            else:
                dut.element__index.value, dut.element__lane.value = divmod(i, config.p)
            dut.element__data.value = value & ((1 << config.acc_bits) - 1)
            strobe.value = 1
            await self.cycle()
            strobe.value = 0
            await self.cycle()

    async def planes(self) -> dict[Space, list[int]]:
        """All of S and D."""
        dut, config = self.dut, self.config
        found = {Space.STATE: [], Space.DRIVE: []}
        depths = {Space.STATE: config.state_depth, Space.DRIVE: config.drive_depth}
        dut.element__read.value = 1
        for group in range(max(depths.values())):
            dut.element__index.value = group
            for lane in range(config.p):
                dut.element__lane.value = lane
                for _ in range(1 + Schedule(config).read):
                    await self.cycle()
                await ReadOnly()
                for space, depth in depths.items():
                    if group < depth:
                        port = getattr(dut, f"element__{space.name.lower()}")
                        found[space].append(port.value.to_signed())
                await FallingEdge(dut.clk)
        dut.element__read.value = 0
        return found

    async def execute(self, op: Mac | Learn, row: int, keys: tuple[int, int], idle: float) -> None:
        """One instruction of which this is the head row, and its drain."""
        dut, rng = self.dut, self.rng
        dut.row.value = row
        dut.update_key.value, dut.sample_key.value = keys
        dut.clear_flag.value = 1
        await self.cycle()
        dut.clear_flag.value = 0
        listed = max(1, *map(len, self.lists), 0)
        tiles = tokens(self.config, op, [0, 0, 0, 0], listed)
        least = issue_cycles(self.config, op, listed) // sum(t["first"] for t in tiles)
        offset = (op.old_base - op.dst) if isinstance(op, Mac) else 0
        levels = levels_of(op, listed)[::-1]  # the innermost is 0
        trip = [0] * len(levels)
        age = 0
        for i, token in enumerate(tiles):
            if token["first"] and i:  # within a group there are no pauses
                while age < least or rng.random() < idle:
                    await self.cycle()
                    age += 1
            age = 1 if token["first"] else age + 1
            spent = sum(
                (k >= len(levels) or trip[k] == levels[k].count - 1) << k
                for k in range(self.config.levels)
            )
            more = {
                "valid": 1,
                "begin": int(i == 0),
                "spent": spent,
                "old_offset": offset % (1 << self.config.state_addr_bits),
            }
            await self.cycle(token | more)
            for k in range(len(levels)):
                trip[k] = (trip[k] + 1) % levels[k].count
                if trip[k]:
                    break
        for _ in range(drain_cycles(self.config, op) + 2):
            await self.cycle()


@cocotb.test()
async def executes_as_the_golden_model(dut):
    config = ArrayConfig.from_json(bench.parameters()["config"])
    rng = bench.random_source("array")
    bench.start_clock(dut)
    golden = Machine(config)
    array = ArrayBench(dut, config, rng)
    for name in ("row", "update_key", "sample_key", "clear_flag"):
        getattr(dut, name).value = 0
    for name in ("read", "index", "lane", "data", "write_state", "write_drive", "write_table"):
        getattr(dut, f"element__{name}").value = 0
    await FallingEdge(dut.clk)
    executed = walked = 0
    for _ in range(PROGRAMS):
        case = random_program(config, rng)
        waits = [op for op in case.program.instructions if isinstance(op, Wait) and op.ahead]
        idle = rng.choice([0.0, 0.2, 0.6])
        for space, (start, values) in case.memory.items():
            if space is Space.REGISTER:
                continue
            await array.write(space, start, values)
            match space:
                case Space.STATE:
                    golden.states.words[start : start + len(values)] = values
                case Space.DRIVE:
                    golden.write_drive(start, np.asarray(values))
                case Space.TABLE:
                    golden.table[:] = values
        for instruction in case.program.instructions:
            if not isinstance(instruction, Mac | Learn):
                continue
            indices = [name for name in vars(instruction) if name.endswith("_x")]
            op = replace(instruction, drain=None, **dict.fromkeys(indices, 0))
            before: tuple[Wait, ...] = ()
            samples: list[bytes] = []
            if op.walk:
                wait = replace(waits[0], outputs=0, tick=False, dst=0, dst_x=0)
                zeros = rng.choice([0.3, 0.8, 1])
                size = wait_bytes(config, wait)
                samples = [bytes(rng.getrandbits(8) * (rng.random() > zeros) for _ in range(size))]
                naive = Naive(config)
                naive.take_sample(wait, samples[0])
                array.lists = naive.lists
                before = (wait,)
            program = Program(config, (*before, op, Halt()))
            keys = rng.getrandbits(32), rng.getrandbits(32)
            golden.registers.write(Register.UPDATE_KEY, keys[0])
            golden.registers.write(Register.SAMPLE_KEY, keys[1])
            for register in SATURATIONS.values():
                golden.registers.write(register, 0)
            golden.write_program(0, program.rows)
            list(golden.run(samples))
            array.saturated = dict.fromkeys(SATURATIONS, 0)
            await array.execute(op, program.rows[program.starts[len(before)]], keys, idle)
            listing = program.listing()
            counted = {name: golden.registers.read(r) for name, r in SATURATIONS.items()}
            assert bool(dut.flag.value) == golden.flag, listing
            found = await array.planes()
            assert found[Space.STATE] == golden.state.reshape(-1).tolist(), listing
            assert found[Space.DRIVE] == golden.drive.reshape(-1).tolist(), listing
            assert array.saturated == counted, listing
            executed += 1
            walked += op.walk
    assert walked or not config.sample_buffer
    assert executed > 10 * PROGRAMS
