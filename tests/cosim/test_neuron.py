"""The neuron lane and its decoder under Verilator, against the golden model's lanes."""

from collections import defaultdict
from dataclasses import replace
from random import Random

import cocotb
import numpy as np
import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In
from cocotb.triggers import FallingEdge, ReadOnly

from relaxon_hdl.neuron import Lane, LaneDecoder
from relaxon_hdl.schedule import Schedule
from relaxon_isa.config import ArrayConfig
from relaxon_isa.errors import ProgramError
from relaxon_isa.instructions import Gating, Halt, Judge, Mac, MacLevel
from relaxon_isa.memory import Register, row_bits
from relaxon_isa.presets import preset
from relaxon_isa.program import Program
from relaxon_sim.cosim import bench, simulate
from relaxon_sim.golden import Machine
from relaxon_sim.golden.hash import lane_bits, words
from support.extremes import EXTREMES
from support.random_programs import random_word

GROUPS = 12
"""Of one instruction."""
BATCHES = 150


def machine(config: ArrayConfig) -> ArrayConfig:
    """One lane, with planes for the old values, the gates and the new ones."""
    depth = 3 * GROUPS + 1
    return config.replace(p=1, weight_depth=2, state_depth=depth, drive_depth=GROUPS)


CONFIGS = {name: machine(preset(name)) for name in ("default", "verify24", "up5k")}
CONFIGS |= {name: machine(config) for name, config in EXTREMES.items()}


class DecodedLane(wiring.Component):
    """A lane and what decodes a MAC's head row for it."""

    row: Signal

    def __init__(self, config: ArrayConfig):
        self.config = config
        self.lane = Lane(config)
        members = {k: v for k, v in self.lane.signature.members.items() if k != "control"}
        super().__init__({"row": In(row_bits(config)), **members})

    def elaborate(self, platform):
        m = Module()
        m.submodules.lane = lane = self.lane
        m.submodules.decoder = decoder = LaneDecoder(self.config)
        m.d.comb += [decoder.row.eq(self.row), lane.control.eq(decoder.control)]
        for name, member in self.signature.members.items():
            if name != "row":
                mine, its = getattr(self, name), getattr(lane, name)
                m.d.comb += its.eq(mine) if member.flow is In else mine.eq(its)
        return m


@pytest.mark.parametrize("name", CONFIGS)
def test_neuron(name, seed):
    simulate(DecodedLane(CONFIGS[name]), __file__, parameters={"machine": name}, seed=seed)


def some_mac(config: ArrayConfig, rng: Random) -> Mac:
    """One destination group after the other, from D."""
    while True:
        top = config.state_bits - 2
        judge = rng.choice(list(Judge))
        mac = Mac(
            outer=(MacLevel(count=GROUPS, dst=1, gate=1, drive=1),),
            src=3 * GROUPS,
            from_drive=True,
            old=GROUPS,
            gate=2 * GROUPS,
            shift=rng.choice([0, 1, rng.randrange(config.acc_bits)]),
            up=rng.choice([0, 0, 1, rng.randint(0, top + 1)]),
            one=rng.choice([0, top, rng.randint(0, top)]),
            activation=rng.choice(config.activations),
            gating=rng.choice(list(Gating)),
            step=rng.choice([0, 0, 1, 2, 15]),
            judge=judge,
            fresh=bool(judge),
            tol=rng.choice([0, 1, 4, (1 << top) - 1]),
        )
        try:
            Program(config, (mac, Halt()))
        except ProgramError:
            continue
        return mac


def accumulator(mac: Mac, config: ArrayConfig, rng: Random) -> int:
    """At a tie or beside it, or anything; of any size."""
    bits = rng.choice([4, config.table_bits, mac.one + 1, config.state_bits, config.acc_bits])
    value = random_word(rng, max(2, bits))
    if rng.random() < 0.7:
        half = 1 << mac.shift >> 1
        value = (value << mac.shift >> min(mac.up, mac.shift)) + half + rng.randint(-1, 1)
    return signed_word(value, config.acc_bits)


def signed_word(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (value >> (bits - 1) << bits)


class LaneBench:
    """The lane's ports, by a plan. Whatever is not planned is random."""

    def __init__(self, dut, config: ArrayConfig, rng: Random):
        self.dut, self.config, self.rng = dut, config, rng
        self.when = Schedule(config)
        self.widths = {
            "sum": config.state_bits + config.weight_bits,
            "first": 1,
            "d": config.acc_bits,
            "gate": config.state_bits,
            "old_inverted": config.state_bits,
            "chance": 1,
        }

    async def cycle(self, values: dict) -> None:
        await FallingEdge(self.dut.clk)
        for name, width in self.widths.items():
            value = values.get(name, self.rng.getrandbits(width))
            getattr(self.dut, name).value = value & ((1 << width) - 1)
        self.dut.write.value = 0
        if self.config.table_bits:
            self.dut.t_en.value = "t_data" in values
            self.dut.t_addr.value = values.get("t_addr", 0)
            self.dut.t_data.value = values.get("t_data", 0)

    async def write_table(self, table: list[int]) -> None:
        mask = (1 << self.config.state_bits) - 1
        for address, entry in enumerate(table):
            await self.cycle({"t_addr": address, "t_data": entry & mask})

    async def run(self, row: int, mac: Mac, groups: list[dict]) -> list[dict]:
        """What comes of each group: acc, new, and the two pulses."""
        rng, when = self.rng, self.when
        await self.cycle({})
        self.dut.row.value = row
        for _ in range(when.sum):
            await self.cycle({})
        accesses = max(1, mac.reads_old + bool(mac.gating))
        to_activated, to_new = when.activated - when.acc, when.new - when.acc
        plan: dict[int, dict] = defaultdict(dict)
        ends, at, acc = [], 0, 0
        for group in groups:
            at = max(at, acc + accesses - len(group["sums"]))
            plan[at] |= {"first": 1, "d": group["d"]}
            for last, value in enumerate(group["sums"], at):
                plan[last] |= {"sum": value}
                plan[last].setdefault("first", 0)
            acc = at + len(group["sums"])
            plan[acc + when.rounded - when.acc]["chance"] = group["chance"]
            if mac.gating:
                plan[acc - when.acc + when.gate]["gate"] = group["gate"]
            plan[acc + to_activated]["old_inverted"] = ~group["old"] if mac.reads_old else -1
            ends.append(acc)
            at = acc + rng.choice([0, 0, 1, 4])
        dut, seen = self.dut, []
        for cycle in range(ends[-1] + to_new + 1):
            await self.cycle(plan.get(cycle, {}))
            await ReadOnly()
            seen.append(
                (
                    dut.acc.value.to_signed(),
                    int(dut.saturated.value),
                    dut.new.value.to_signed(),
                    int(dut.judged.value),
                )
            )
        return [
            {
                "acc": seen[end][0],
                "saturated": seen[end + to_activated][1],
                "new": seen[end + to_new][2],
                "judged": seen[end + to_new][3],
            }
            for end in ends
        ]


@cocotb.test()
async def computes(dut):
    config = CONFIGS[bench.parameters()["machine"]]
    rng = bench.random_source("neuron")
    bench.start_clock(dut)
    lane = LaneBench(dut, config, rng)
    golden = Machine(config)
    if config.table_bits:
        golden.table[:] = [
            random_word(rng, config.state_bits) for _ in range(1 << config.table_bits)
        ]
        await lane.write_table([int(x) for x in golden.table])
    flags = saturations = 0
    for _ in range(BATCHES):
        mac = some_mac(config, rng)
        from_drive = rng.random() < 0.7
        chances = lane_bits(words(golden.registers.sample_key, np.arange(GROUPS))[0], 1)
        groups, accs = [], []
        for i in range(GROUPS):
            acc = accumulator(mac, config, rng)
            width = lane.widths["sum"]
            sums = [random_word(rng, width) for _ in range(rng.randint(1, 4))]
            total = sum(sums)
            start = signed_word(acc - total, config.acc_bits)
            if not from_drive:
                acc, start = total, rng.getrandbits(config.acc_bits)
            accs.append(acc)
            old, gate = (random_word(rng, config.state_bits) for _ in range(2))
            if rng.random() < 0.3:
                gate = rng.choice([0, 1, -1, 1 << mac.one, -1 << mac.one])
            chance = int(chances[i, 0])
            groups.append({"d": start, "sums": sums, "old": old, "gate": gate, "chance": chance})

        golden.write_drive(0, np.array(accs, dtype=golden.numbers.dtype))
        olds, gates = ([group[name] for group in groups] for name in ("old", "gate"))
        golden.states.words[:] = [*[0] * GROUPS, *olds, *gates, 0]
        before = golden.registers.read(Register.STATE_SATURATIONS)
        golden.write_program(0, Program(config, (mac, Halt())).rows)
        list(golden.run([]))

        told = mac if from_drive else replace(mac, from_drive=False, outer=())
        head = Program(config, (told, Halt())).rows[0]
        seen = await lane.run(head, mac, groups)
        assert [s["acc"] for s in seen] == accs, mac
        assert [s["new"] for s in seen] == golden.state[:GROUPS, 0].tolist(), mac
        met = golden.registers.read(Register.STATE_SATURATIONS) - before
        assert sum(s["saturated"] for s in seen) == met, mac
        if mac.judge:
            assert any(s["judged"] for s in seen) != golden.flag, mac
        flags += golden.flag
        saturations += met
    assert flags and saturations
