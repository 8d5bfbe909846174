"""The synapse cell under Verilator, driven as the array drives it, against the golden model's."""

from collections import defaultdict
from random import Random
from typing import Any

import cocotb
import numpy as np
import pytest
from amaranth.hdl import Const
from cocotb.triggers import FallingEdge, ReadOnly

from relaxon_hdl.schedule import Schedule
from relaxon_hdl.synapse import CELL_FLAGS, SYNAPSE_CONTROL, Synapse
from relaxon_isa.config import ArrayConfig
from relaxon_isa.instructions import Learn
from relaxon_isa.presets import preset
from relaxon_sim.cosim import bench, simulate
from relaxon_sim.golden import synapse as golden
from relaxon_sim.golden.exact import numbers_for
from support.extremes import EXTREMES
from support.random_programs import random_word

CONFIGS = {
    "default": preset("default").replace(weight_depth=16),
    "verify24": preset("verify24").replace(weight_depth=16),
    "one port": preset("up5k").replace(weight_depth=16),
    "one port, decay and dither": preset("default").replace(
        weight_depth=16, weight_ports=1, pipeline="short", integral_shift=0
    ),
    "no decay": preset("default").replace(weight_depth=16, decay_shift=0),
    **{name: config.replace(weight_depth=16) for name, config in EXTREMES.items()},
}
BATCHES = 60


@pytest.mark.parametrize(
    ("name", "on_diagonal", "family"),
    [
        *((name, True, None) for name in CONFIGS),
        ("default", False, None),
        ("default", True, "ecp5"),
    ],
)
def test_synapse(name, on_diagonal, family, seed):
    config = CONFIGS[name]
    simulate(
        Synapse(config, on_diagonal, family),
        __file__,
        family=family,
        parameters={"config": config.to_json(), "on_diagonal": on_diagonal},
        seed=seed,
    )


class Cell:
    """The cell's ports, by a plan: what they have in which cycle. Whatever data is not planned is
    random, so that nothing is used at another time than it should."""

    def __init__(self, dut, config: ArrayConfig, rng: Random):
        self.dut, self.config, self.rng = dut, config, rng
        self.when = Schedule(config)
        self.widths = {
            "col": config.state_bits + 1,
            "mirror": config.weight_bits,
            "row_b": config.state_bits,
            "r_addr": config.tile_addr_bits,
            "w_addr": config.tile_addr_bits,
            "u": config.dither_bits,
            "v": config.dither_bits,
        }

    def gap(self) -> int:
        return self.rng.choice([0, 0, 0, 1, 5])

    async def play(self, plan: dict, modes: dict, threshold: int = 0) -> list[dict[str, int]]:
        """What comes out in every cycle, up to the last that is planned."""
        rng, dut = self.rng, self.dut
        ports = {name: width for name, width in self.widths.items() if width}
        seen = []
        for cycle in range(max(plan) + 1):
            values = plan.get(cycle, {})
            control = {"negate": rng.randint(0, 1)} | modes
            control |= {name: values[name] for name in SYNAPSE_CONTROL.members if name in values}
            await FallingEdge(dut.clk)
            dut.control.value = Const.cast(SYNAPSE_CONTROL.const(control)).value
            dut.threshold.value = threshold
            for name, width in ports.items():
                value = values.get(name, rng.getrandbits(width))
                getattr(dut, name).value = value & ((1 << width) - 1)
            await ReadOnly()
            out = {name: getattr(dut, name).value for name in ("product", "weight")}
            seen.append({name: value.to_signed() for name, value in out.items()})
            seen[-1]["saturated"] = int(dut.saturated.value)
        return seen

    async def multiply(
        self, jobs: list[tuple[int, int]], mirrored: list[int] | None = None
    ) -> tuple[list[int], list[int]]:
        """Weights of tiles, and the words' products with them, or with the mirrored cell's."""
        when = self.when
        plan: dict[int, dict] = defaultdict(dict)
        ends, at = [], 0
        for k, (tile, word) in enumerate(jobs):
            plan[at + when.operand - self.config.weight_ports]["r_addr"] = tile
            plan[at + when.operand] |= {"col": word}
            if mirrored:
                plan[at + when.operand] |= {"mirror": mirrored[k]}
            ends.append(at + when.product)
            at += 1 + self.gap()
        plan[ends[-1]] |= {}  # the last cycle that matters
        seen = await self.play(plan, {"transposed": bool(mirrored)})
        early = when.product - when.operand
        return [seen[end - early]["weight"] for end in ends], [seen[end]["product"] for end in ends]

    async def learn(self, learn: Learn, jobs: list[dict]) -> list[int]:
        """Whether the weights of the jobs' tiles saturated."""
        when = self.when
        names = ("position", *CELL_FLAGS)
        modes = {"learn": 1} | {name: int(getattr(learn, name)) for name in names}
        accesses = 2 if learn.integral or self.config.weight_ports == 1 else 1
        end = when.integral_write if learn.integral else when.learn_write
        plan: dict[int, dict] = defaultdict(dict)
        ends, at, last = [], 0, -accesses
        for job in jobs:
            at = max(at, last + accesses - len(job["terms"]) + 1)
            plan[at + when.product] |= {"first": 1}
            plan[at + when.dither] |= {"u": job["u"], "v": job["v"]}
            for last, (row, col, sign) in enumerate(job["terms"], at):
                plan[last + when.operand] |= {"row_b": row, "col": (-1) ** sign * col}
            at = last + 1 + self.gap()
            tile = job["tile"]
            if learn.integral:
                plan[last + when.memory_address]["r_addr"] = tile + 1
                plan[last + when.integral_address]["r_addr"] = tile
                plan[last + when.memory_write] |= {"write_memory": 1, "w_addr": tile + 1}
            else:
                plan[last + when.learn_address]["r_addr"] = tile
            plan[last + end] |= {"write": 1, "w_addr": tile}
            if self.config.weight_ports == 1:
                plan[last + end]["r_addr"] = tile
            ends.append(last + end)
        seen = await self.play(plan, modes, learn.threshold)
        return [seen[end]["saturated"] for end in ends]


def lively_word(rng: Random, bits: int) -> int:
    """Powers of two make ties, the rest makes corners."""
    if rng.random() < 0.5:
        return rng.choice([-1, 1]) << rng.randrange(bits - 1)
    return random_word(rng, rng.choice([bits, bits, 4]))


def some_learn(config: ArrayConfig, rng: Random) -> Learn:
    if "integral" in config.learn_flags and rng.random() < 0.3:
        most = (1 << config.weight_bits) - 1
        threshold = min(most, rng.choice([0, 8, 64, rng.randint(0, most)]))
        return Learn(
            integral=True,
            threshold=threshold,
            bound=rng.random() < 0.3,
            diagonal=rng.random() < 0.2,
        )
    able = set(config.learn_flags) - {"hold", "integral"}
    flags: dict[str, Any] = {flag: True for flag in sorted(able) if rng.random() < 0.3}
    if "replace" in flags:
        flags.pop("decay", None)
    return Learn(position=rng.randint(0, 1), **flags)


@cocotb.test()
async def learns_and_multiplies(dut):
    parameters = bench.parameters()
    config = ArrayConfig.from_json(parameters["config"])
    rng = bench.random_source("synapse")
    numbers = numbers_for(config)
    bench.start_clock(dut)
    cell = Cell(dut, config, rng)
    weights = [0] * config.weight_depth
    saturations = 0
    for batch in range(BATCHES):
        most = min(config.learn_terms, 4096 if batch % 10 == 0 else 16)
        learn = some_learn(config, rng)
        tiles = list(range(0, config.weight_depth, 2 if learn.integral else 1))
        rng.shuffle(tiles)
        jobs, accumulators = [], []
        for tile in tiles[: rng.randint(1, len(tiles))]:
            count = rng.choice([1, 1, 2, min(3, most), most])
            bits = config.state_bits
            terms = [
                (lively_word(rng, bits), lively_word(rng, bits), rng.randint(0, 1))
                for _ in range(count)
            ]
            u, v = (rng.getrandbits(max(1, config.dither_bits)) for _ in "uv")
            jobs.append({"tile": tile, "terms": terms, "u": u, "v": v})
            accumulators.append(sum((-1) ** sign * row * col for row, col, sign in terms))

        met = await cell.learn(learn, jobs)
        unit = golden.Synapse(config, numbers, learn)
        places = [job["tile"] for job in jobs]
        w, acc = (
            np.array(values, dtype=numbers.dtype)
            for values in ([weights[tile] for tile in places], accumulators)
        )
        memory = None
        if learn.integral:
            m = np.array([weights[tile + 1] for tile in places], dtype=numbers.dtype)
            new, memory, clipped = unit.integrate(w, m, acc)
        else:
            h = np.array([job["u"] ^ job["v"] for job in jobs]) if learn.stochastic else None
            new, clipped = unit.update(w, acc, h)
        writes = parameters["on_diagonal"] or not learn.diagonal
        if clipped is None or not writes:
            clipped = [False] * len(jobs)
        assert met == list(clipped), learn
        saturations += sum(met)
        for i, tile in enumerate(places):
            if writes:
                weights[tile] = int(new[i])
                if memory is not None:
                    weights[tile + 1] = int(memory[i])

        pairs = [(tile, 1) for tile in range(config.weight_depth)]
        assert await cell.multiply(pairs) == (weights, weights), learn
        pairs = [
            (rng.randrange(config.weight_depth), lively_word(rng, config.state_bits))
            for _ in range(20)
        ]
        own = [weights[tile] for tile, _ in pairs]
        mirrored = [lively_word(rng, config.weight_bits) for _ in pairs]
        for others in (None, mirrored):
            products = [w * word for w, (_, word) in zip(others or own, pairs, strict=True)]
            assert await cell.multiply(pairs, others) == (own, products)
    assert saturations
