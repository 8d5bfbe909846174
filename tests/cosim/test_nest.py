"""The nest walker under Amaranth's simulator, against the nests' tiles in plain Python."""

from collections.abc import Iterator
from random import Random

import pytest
from amaranth.sim import Simulator

from campaign import CAMPAIGN
from relaxon_hdl.nest import HEAD_ROWS, INDEX_BITS, NestWalker
from relaxon_isa.config import ArrayConfig
from relaxon_isa.cycles import issue_cycles
from relaxon_isa.instructions import INDEX_SELECTS, Learn, Mac
from relaxon_isa.presets import preset
from support.random_programs import random_program
from support.tiles import levels_of, tokens

CONFIGS = {
    "long pipeline": CAMPAIGN,
    "walks over lists": preset("fast4"),
    "short pipeline": CAMPAIGN.replace(
        levels=3, loop_depth=2, pipeline="short", weight_ports=1, integral_shift=0
    ),
}
NESTS = 60


def random_nests(config: ArrayConfig, rng: Random) -> Iterator[tuple[Mac | Learn, tuple[int, ...]]]:
    """Nests of random programs, each with its rows; where lists may be walked over, mostly so."""
    while True:
        program = random_program(config, rng).program
        for op in program.instructions:
            if isinstance(op, Mac | Learn):
                if config.sample_buffer and not op.walk and rng.random() < 0.7:
                    continue
                rows = HEAD_ROWS + len(op.outer) + len(op.inner)
                start = program.starts[program.instructions.index(op)]
                yield op, program.rows[start : start + rows]


def spent(nest: Mac | Learn, levels: int, listed: int) -> list[int]:
    """For each tile, a bit per level that is at its last trip; the innermost is bit 0."""
    counts = [level.count for level in levels_of(nest, listed)][::-1]
    found, trip = [], [0] * len(counts)
    while True:
        at_end = [t == count - 1 for t, count in zip(trip, counts, strict=True)]
        found.append(sum(end << k for k, end in enumerate(at_end)) | -(1 << len(counts)))
        if all(at_end):
            return [bits & ((1 << levels) - 1) for bits in found]
        for k, end in enumerate(at_end):
            trip[k] = 0 if end else trip[k] + 1
            if not end:
                break


@pytest.mark.parametrize("name", CONFIGS)
def test_walks_every_tile_once_and_in_order(name, seed):
    config = CONFIGS[name]
    rng = Random(seed)
    walker = NestWalker(config)
    walks = set()

    async def bench(ctx):
        async def load(rows):
            ctx.set(walker.load, 1)
            for count, row in enumerate([0, *rows]):  # in the first cycle there is no row yet
                ctx.set(walker.count, count)
                ctx.set(walker.row, row if count else rng.getrandbits(len(walker.row)))
                await ctx.tick()
            ctx.set(walker.load, 0)

        async def walk(rows, limit):
            """Tokens, and the cycle in which each came, from the walk's first on."""
            seen, level = [], 0
            ctx.set(walker.begin, 1)
            for cycle in range(limit):
                # A short pipeline reads the row that was named, a long one none.
                row = rng.getrandbits(len(walker.row))
                if config.pipeline == "short" and cycle and HEAD_ROWS + level < len(rows):
                    row = rows[HEAD_ROWS + level]
                ctx.set(walker.row, row)
                level = ctx.get(walker.level)
                issue = ctx.get(walker.issue)
                if issue.valid:
                    seen.append((cycle, {field: issue[field] for field in issue.shape().members}))
                if ctx.get(walker.ended):
                    return seen, cycle
                await ctx.tick()
                ctx.set(walker.begin, 0)
                ctx.set(walker.walk, 1)
            raise AssertionError("the walk does not end")

        nests = random_nests(config, rng)
        for _ in range(NESTS):
            op, rows = next(nests)
            if rng.random() < 0.3:  # one that is given up
                await load(next(nests)[1])
                ctx.set(walker.begin, 1)
                await ctx.tick().repeat(rng.randint(1, 5))
                ctx.set(walker.begin, 0)
            index = [0, *(rng.getrandbits(INDEX_BITS) for _ in range(INDEX_SELECTS - 1))]
            ctx.set(walker.indices, walker.indices.shape().const(index))
            listed = rng.choice([1, 1, 2, 3, config.sample_buffer // 2])
            if config.sample_buffer:
                ctx.set(walker.listed, listed)
            await load(rows)
            await ctx.tick().repeat(rng.choice([1, 1, 4]))
            cycles = issue_cycles(config, op, listed)
            seen, ended = await walk(rows, cycles + 2)
            ctx.set(walker.walk, 0)
            wanted = tokens(config, op, index, listed)
            if op.walk:
                walks.add((type(op), listed))
            for token, bits in zip(wanted, spent(op, config.levels, listed), strict=True):
                token["spent"] = bits
            got = [{field: token[field] for field in wanted[0]} for _, token in seen]
            assert got == wanted, op
            assert [token["begin"] for _, token in seen] == [1, *[0] * (len(wanted) - 1)], op
            assert seen[0][0] == 1 and ended == cycles, op
            if isinstance(op, Mac):
                offset = (op.old_base - op.dst) % (1 << config.state_addr_bits)
                assert seen[0][1]["old_offset"] == offset, op

    simulator = Simulator(walker)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert not config.sample_buffer or len(walks) > 4
