"""Programs: a builder that refuses what cannot run and says why, a listing, patches."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property

from .check import check
from .config import ArrayConfig
from .encoding import encode, row_starts, rows_of
from .errors import ProgramError
from .instructions import Instruction, Loop, Next, Skip, describe

__all__ = ["Builder", "Program"]


@dataclass(frozen=True)
class Program:
    """A checked program: instructions and the rows that encode them."""

    config: ArrayConfig
    instructions: tuple[Instruction, ...]

    def __post_init__(self) -> None:
        check(self.config, self.instructions)

    @cached_property
    def rows(self) -> tuple[int, ...]:
        """Program rows, to be loaded from row 0 on."""
        return encode(self.config, self.instructions)

    @cached_property
    def starts(self) -> list[int]:
        """The first row of each instruction."""
        return row_starts(self.instructions)

    def patch(self, index: int, **changes: object) -> tuple["Program", int, tuple[int, ...]]:
        """Change fields of one instruction.

        Returns the new program, the index of the first row that differs, and the rows from there
        to the last one that differs (a LOOP's NEXT may be among them). Raises ProgramError if the
        number of loop levels changes or if the new program cannot run.
        """
        old = self.instructions[index]
        new = replace(old, **changes)  # type: ignore[arg-type]
        if rows_of(new) != rows_of(old):
            raise ProgramError("a patch may not change the number of loop levels")
        instructions = (*self.instructions[:index], new, *self.instructions[index + 1 :])
        program = Program(self.config, instructions)
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
