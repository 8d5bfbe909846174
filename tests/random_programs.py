"""Constrained-random programs: valid, over every feature a configuration has, on lively data.

``random_program(config, rng)`` makes one; ``all_bins(config)`` lists what a campaign must have
met. Memory outside what a program is given is neither read nor written, so programs can follow
one another on one board. Weights, which no space of the memory map shows, are set by the program
itself and come back in its last EMIT, as products with a plane that leaves no weight out.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from random import Random
from typing import NamedTuple

from golden_naive import Naive

from relaxon_isa.config import ArrayConfig
from relaxon_isa.errors import ProgramError
from relaxon_isa.instructions import (
    Activation,
    Emit,
    EmitKind,
    Gating,
    Halt,
    Instruction,
    Judge,
    Learn,
    LearnLevel,
    Loop,
    Mac,
    MacLevel,
    Next,
    Pack,
    Sign,
    Skip,
    Wait,
    nest_levels,
)
from relaxon_isa.memory import Register, Space
from relaxon_isa.program import Program, check

__all__ = ["RandomProgram", "all_bins", "random_program"]

WORK = 2400
"""Products of one nest at most (or one tile's)."""
TRIES = 60
"""Candidates for an instruction before the place is left empty."""

Initial = dict[Space, tuple[int, list[int]]]


class RandomProgram(NamedTuple):
    """What to write, run and expect to have covered.

    Members
    -------
    program
        The program, for row 0.
    samples
        The bytes its WAITs take, cut anywhere.
    memory
        For each space the first element and the values to write before the run. Registers
        included: seeds, and counters close to their end.
    bins
        Coverage bins hit (see `all_bins`).
    results
        How many lanes' and cells' results were "zero", "saturated" or "other".
    """

    program: Program
    samples: list[bytes]
    memory: Initial
    bins: set[str]
    results: dict[str, int]


class Zone(NamedTuple):
    """Addresses that a program may use."""

    start: int
    size: int

    @classmethod
    def within(cls, rng: Random, depth: int, size: int) -> "Zone":
        size = min(size, depth)
        return cls(rng.choice([0, depth - size, rng.randint(0, depth - size)]), size)


def random_program(config: ArrayConfig, rng: Random) -> RandomProgram:
    """A valid program with its data; equal states of ``rng`` give equal programs."""
    return _Generator(config, rng).make()


def random_word(rng: Random, bits: int) -> int:
    """A signed word, now and then a corner of its format."""
    high = (1 << (bits - 1)) - 1
    if rng.random() < 0.06:
        return rng.choice([0, 1, -1, high, -high - 1, high - 1, -high, 1 << (bits - 2)])
    return rng.randint(-high - 1, high)


class _Generator:
    def __init__(self, config: ArrayConfig, rng: Random) -> None:
        self.config, self.rng = config, rng
        self.tiles = Zone.within(rng, config.weight_depth, 20)
        self.states = Zone.within(rng, config.state_depth, 48)
        self.drives = Zone.within(rng, config.drive_depth, 24)
        self.instructions: list[Instruction] = []
        self.loops: list[Loop] = []
        self.where: list[int] = []
        self.trips = 1
        self.memory = self._memory()
        self.naive = self._machine()

    # Data ---------------------------------------------------------------------------------

    def _memory(self) -> Initial:
        config, rng, p = self.config, self.rng, self.config.p
        state: list[int] = []
        for _ in range(self.states.size):
            bits = rng.choice([config.state_bits] * 3 + [config.state_bits - 2, 8, 4])
            idle = rng.choice([0, 0, 0.3])
            state += [0 if rng.random() < idle else random_word(rng, bits) for _ in range(p)]
        # Drives leave the program's terms their room: what they hold is the host's to bound.
        bits = config.acc_bits - 2
        drive = [
            random_word(rng, rng.choice([bits, bits - 4])) for _ in range(self.drives.size * p)
        ]
        memory: Initial = {
            Space.STATE: (self.states.start * p, state),
            Space.DRIVE: (self.drives.start * p, drive),
            Space.REGISTER: (
                0,
                [
                    rng.randint(1, (1 << 32) - 1)
                    if i < 2 or rng.random() < 0.1
                    else rng.choice([0, 0, 0, (1 << 32) - rng.randint(1, 40)])
                    for i in range(len(Register))
                ],
            ),
        }
        if config.table_bits:
            table = [random_word(rng, config.state_bits) for _ in range(1 << config.table_bits)]
            memory[Space.TABLE] = (0, table)
        return memory

    def _machine(self) -> Naive:
        naive = Naive(self.config)
        naive.write(self.memory)
        return naive

    # The program ----------------------------------------------------------------------------

    def make(self) -> RandomProgram:
        rng = self.rng
        self._fill_weights()
        self._block(rng.randint(6, 12))
        self._sign_off()
        self.instructions.append(Halt())
        program = Program(self.config, tuple(self.instructions))
        naive = self._machine()
        stream = bytearray()

        def take(size: int) -> bytes:
            data = bytes(rng.choice([0, 255, rng.randrange(256), rng.randrange(256)])
                         for _ in range(size))
            stream.extend(data)
            return data

        for _ in naive.run(program.instructions, take):
            pass
        samples, at = [], 0
        while at < len(stream):
            size = rng.choice([1, 7, 60, len(stream)])
            samples.append(bytes(stream[at : at + size]))
            at += size
        bins = bins_of(self.config, program.instructions) | naive.events
        return RandomProgram(program, samples, self.memory, bins, naive.results)

    def _fill_weights(self) -> None:
        """Replace every tile by sums of products that mostly fit the weight format."""
        config, tiles = self.config, self.tiles
        terms = min(config.learn_terms, 3)
        high = (1 << (config.state_bits - 1)) - 1
        size = 1 << max(1, config.weight_bits + config.learn_shifts[0] - config.state_bits)
        rows, cols = self._spare(tiles.size + 8)
        p = config.p
        start, state = self.memory[Space.STATE]
        assert start == self.states.start * p
        for group in range(rows.size):
            for lane in range(p):
                at = (rows.start - self.states.start + group) * p + lane
                if group < rows.size // 2:
                    state[at] = random_word(self.rng, config.state_bits)
                else:
                    state[at] = self.rng.randint(-min(size, high), min(size, high))
        self.naive = self._machine()
        half = rows.size // 2
        fill = Learn(
            outer=(LearnLevel(count=tiles.size, tile=1, row=0, col=0),),
            tile=tiles.start,
            replace=True,
        )
        del fill, cols, half, terms


def bins_of(config: ArrayConfig, instructions: Sequence[Instruction]) -> set[str]:
    return set()
