"""Programs: a builder that refuses what cannot run and says why, a listing, patches."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

from .check import check
from .config import ArrayConfig
from .encoding import encode, row_starts, rows_of
from .errors import ProgramError
from .hazards import with_drains
from .instructions import Instruction, Learn, Loop, Mac, Next, Skip, describe

__all__ = ["Builder", "Program"]


@dataclass(frozen=True)
class Program:
    """A checked program: instructions and the rows that encode them.

    Drains that are left out are computed, those that are given are proved (`hazards`).
    """

    config: ArrayConfig
    instructions: tuple[Instruction, ...]
    computed: frozenset[int] = field(init=False, compare=False, default=frozenset())
    """Indices of the instructions whose drain was left out."""

    def __post_init__(self) -> None:
        check(self.config, self.instructions)
        found = with_drains(self.config, self.instructions)
        pairs = enumerate(zip(self.instructions, found, strict=True))
        object.__setattr__(self, "computed", frozenset(i for i, (a, b) in pairs if a is not b))
        object.__setattr__(self, "instructions", found)

    @cached_property
    def rows(self) -> tuple[int, ...]:
        """Program rows, to be loaded from row 0 on."""
        return encode(self.config, self.instructions)

    def rows_at(self, at: int) -> tuple[int, ...]:
        """Program rows, to be loaded from row ``at`` on. Raises ProgramError if they end beyond the
        machine's last."""
        if not 0 <= at <= self.config.program_rows - len(self.rows):
            raise ProgramError(
                f"{len(self.rows)} rows at row {at}: the machine has {self.config.program_rows}"
            )
        return encode(self.config, self.instructions, at)

    @cached_property
    def starts(self) -> list[int]:
        """The first row of each instruction."""
        return row_starts(self.instructions)

    def patch(self, index: int, **changes: object) -> tuple["Program", int, tuple[int, ...]]:
        """Change fields of one instruction.

        Returns the new program, the index of the first row that differs, and the rows from there
        to the last one that differs (a LOOP's NEXT may be among them, and other drains that were
        computed). Raises ProgramError if the number of loop levels changes or if the new program
        cannot run.
        """
        instructions = [
            replace(x, drain=None) if i in self.computed and isinstance(x, Mac | Learn) else x
            for i, x in enumerate(self.instructions)
        ]
        old = instructions[index]
        instructions[index] = new = replace(old, **changes)  # type: ignore[arg-type]
        if rows_of(new) != rows_of(old):
            raise ProgramError("a patch may not change the number of loop levels")
        program = _checked(self.config, tuple(instructions))
        differ = [i for i, (a, b) in enumerate(zip(self.rows, program.rows, strict=True)) if a != b]
        if not differ:
            return program, self.starts[index], ()
        return program, differ[0], program.rows[differ[0] : differ[-1] + 1]

    def listing(self) -> str:
        """The program as text, a line per instruction: row, name, fields that differ from their
        defaults; loops are indented."""
        lines, indent = [], 0
        for start, instruction in zip(self.starts, self.instructions, strict=True):
            if isinstance(instruction, Next):
                indent -= 1
            lines.append(f"{start:4}  {'  ' * indent}{describe(instruction)}")
            if isinstance(instruction, Loop):
                indent += 1
        return "\n".join(lines)


@lru_cache(maxsize=64)
def _checked(config: ArrayConfig, instructions: tuple[Instruction, ...]) -> Program:
    """A program, checked and encoded once: every epoch patches its own in the same way."""
    return Program(config, instructions)


class Builder:
    """Collects instructions; `build` checks and freezes them.

    ::

        b = Builder(config)
        with b.loop(20, until=True, sweep=True):
            b.add(Mac(...))
        b.add(Halt())
        program = b.build()
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        self.instructions: list[Instruction] = []

    def add(self, instruction: Instruction) -> int:
        """Append; returns the instruction's index (for `Program.patch`)."""
        self.instructions.append(instruction)
        return len(self.instructions) - 1

    @contextmanager
    def loop(
        self,
        count: int,
        *,
        until: bool = False,
        sweep: bool = False,
        skip: Skip = Skip.NEVER,
        step: int = 0,
    ) -> Iterator[int]:
        """A LOOP around the block; yields the LOOP's index."""
        yield self.add(Loop(count=count, until=until, sweep=sweep, skip=skip, step=step))
        self.add(Next())

    def build(self) -> Program:
        return Program(self.config, tuple(self.instructions))
