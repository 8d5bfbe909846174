"""The sequencer: fetches rows, walks loops, counts cycles."""

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TYPE_CHECKING

from relaxon_isa.cycles import drain_cycles, fetch_cycles, issue_cycles, wait_bytes
from relaxon_isa.errors import ProgramError
from relaxon_isa.instructions import (
    Emit,
    Learn,
    Mac,
    Opcode,
    Skip,
    Wait,
    decode,
    row_layouts,
    rows_of,
)
from relaxon_isa.memory import Register

from .array import Work, compile_learn, compile_mac

if TYPE_CHECKING:
    from .machine import Machine

__all__ = ["Run", "Sequencer", "Starved"]

Run = Generator[bytes, None, tuple[int, bool]]
"""EMIT payloads; at last, how many samples were taken and whether bytes of them are left."""

VARIANTS = 4096
"""Compiled nests kept for one instruction's loop indices."""

CYCLES_OF = {
    Opcode.MAC: Register.MAC_CYCLES,
    Opcode.LEARN: Register.LEARN_CYCLES,
    Opcode.WAIT: Register.WAIT_CYCLES,
    Opcode.EMIT: Register.EMIT_CYCLES,
}


class Starved(Exception):
    """The program waits and there are no more samples; args[0] were taken."""


def signed(value: int, bits: int) -> int:
    """Two's complement of a field."""
    return value - (1 << bits) if value >> (bits - 1) else value


class Operation:
    """One decoded instruction.

    Members
    -------
    opcode, rows, fetch, own, drain
        What it is, its program rows and its cycles (`relaxon_isa.cycles`).
    register
        The counter of its own cycles.
    fields
        Its first row's fields, for LOOP and NEXT.
    step
        NEXT's step, signed.
    work
        For MAC and LEARN, called with the loop indices.
    """

    def __init__(self, machine: "Machine", rows: Sequence[int]):
        config = machine.config
        self.instruction = instruction = decode(config, rows)[0]
        self.machine = machine
        self.opcode = instruction.opcode
        self.rows = rows_of(instruction)
        self.fetch = fetch_cycles(instruction)
        self.drain = drain_cycles(config, instruction)
        self.own = issue_cycles(config, instruction) + self.drain
        control = Register.CONTROL_CYCLES if config.kind_counters else Register.MAC_CYCLES
        self.control = control
        self.register = CYCLES_OF.get(self.opcode, control) if config.kind_counters else control
        self.fields = row_layouts(config)[self.opcode.name].unpack(rows[0])
        self.step = signed(self.fields.get("step", 0), 16)
        self.work: Callable[[Sequence[int]], None] = self._compile
        self.variants: dict[tuple[int, ...], Work] = {}
        if isinstance(instruction, Wait):
            self.bytes = wait_bytes(config, instruction)

    def forget(self) -> None:
        """Drop what was compiled: weights have moved."""
        self.work = self._compile
        self.variants.clear()

    def _compile(self, x: Sequence[int]) -> None:
        instruction = self.instruction
        assert isinstance(instruction, Mac | Learn)
        make = compile_mac if isinstance(instruction, Mac) else compile_learn
        selects = {getattr(instruction, name) for name in vars(instruction) if name.endswith("_x")}
        used = sorted(selects - {0})
        machine = self.machine
        if not used:
            work = make(machine, instruction, x)
            self.work = lambda x: work()
            work()
            return

        def by_index(x: Sequence[int]) -> None:
            key = tuple([x[i] for i in used])
            work = self.variants.get(key)
            if work is None:
                if len(self.variants) >= VARIANTS:
                    self.variants.clear()
                work = make(machine, instruction, x)
                self.variants[key] = work
            work()

        self.work = by_index
        by_index(x)


class Sequencer:
    """Program memory and the walk through it.

    Operations are cached by the contents of their rows, so rows that the host writes again as
    they were cost nothing and any other change takes effect when it is next fetched.
    """

    def __init__(self, machine: "Machine"):
        self.machine = machine
        config = machine.config
        self.rows = [0] * config.program_rows
        self.at: list[Operation | None] = [None] * config.program_rows
        self.known: dict[tuple[int, ...], Operation] = {}
        self.longest = config.levels + 2

    def write(self, start: int, rows: Sequence[int]) -> None:
        """Program rows from ``start`` on."""
        self.rows[start : start + len(rows)] = [int(row) for row in rows]
        first = max(0, start - self.longest)
        self.at[first : start + len(rows)] = [None] * (start + len(rows) - first)

    def forget_work(self) -> None:
        for operation in self.known.values():
            operation.forget()

    def fetch(self, row: int) -> Operation:
        """The operation at a row."""
        if row >= len(self.rows):
            raise ProgramError(f"the program runs past its last row, {len(self.rows) - 1}")
        opcode = self.rows[row] & 7
        levels = self.rows[row] >> 3 & 7
        count = 2 + levels if opcode in (Opcode.MAC, Opcode.LEARN) else 1
        key = tuple(self.rows[row : row + count])
        operation = self.known.get(key)
        if operation is None:
            operation = self.known[key] = Operation(self.machine, key)
        self.at[row] = operation
        return operation

    def run(self, samples: Iterator[bytes], row: int, count: bool) -> Run:
        """See `Machine.run`."""
        machine, at = self.machine, self.at
        registers = machine.registers
        machine.counting = count
        machine.flag = False
        x = [0, 0, 0, 0]  # X[0] = 0 and the indices of the three outermost loops
        open_loops: list[list[int]] = []  # [trip, count, index]
        stream = bytearray()
        taken = drain = 0
        while True:
            operation = at[row] if row < len(at) else None
            if operation is None:
                operation = self.fetch(row)
            if count:
                exposed = operation.fetch - drain
                if exposed > 0:
                    registers[operation.control] += exposed
            drain = operation.drain
            row += operation.rows
            opcode = operation.opcode
            if opcode is Opcode.MAC or opcode is Opcode.LEARN:
                operation.work(x)
            elif opcode is Opcode.LOOP:
                fields = operation.fields
                skip = fields["skip"]
                if skip and machine.flag == (skip == Skip.IF_FLAG):
                    row = fields["end"]
                else:
                    open_loops.append([0, fields["count"] + 1, 0])
                    if len(open_loops) < len(x):
                        x[len(open_loops)] = 0
            elif opcode is Opcode.NEXT:
                fields = operation.fields
                if not open_loops:
                    raise ProgramError("NEXT without a LOOP")
                loop = open_loops[-1]
                if fields["sweep"] and count:
                    registers[Register.SWEEPS] += 1
                loop[0] += 1
                if loop[0] == loop[1] or (fields["until"] and machine.flag):
                    open_loops.pop()
                else:
                    row = fields["body"]
                    if len(open_loops) < len(x):
                        x[len(open_loops)] += operation.step
            elif opcode is Opcode.WAIT:
                instruction = operation.instruction
                assert isinstance(instruction, Wait)
                if instruction.tick:
                    machine.tick()
                need = operation.bytes
                while len(stream) < need:
                    more = next(samples, None)
                    if more is None:
                        raise Starved(taken)
                    machine.counting = count
                    taken += 1
                    stream += more
                machine.take(instruction, x, bytes(stream[:need]))
                del stream[:need]
            elif opcode is Opcode.EMIT:
                instruction = operation.instruction
                assert isinstance(instruction, Emit)
                payload = machine.give(instruction, x)
                if count:
                    registers[operation.register] += operation.own
                yield payload
                continue
            if count:
                registers[operation.register] += operation.own
            if opcode is Opcode.HALT:
                return taken, bool(stream)
