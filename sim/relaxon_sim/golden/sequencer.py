"""The sequencer: fetches rows, walks loops, counts cycles."""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import fields
from functools import partial
from typing import Any

from relaxon_isa import (
    Emit,
    EmitKind,
    Learn,
    Mac,
    Opcode,
    ProgramError,
    Register,
    Skip,
    Wait,
    decode,
    drain_cycles,
    fetch_cycles,
    hiding_cycles,
    issue_cycles,
    row_layouts,
    rows_of,
    wait_bytes,
)
from relaxon_isa.check import check_fields

from .array import compile_learn, compile_mac, sliding_learn, sliding_mac
from .state import State
from .transfer import TransferUnit

__all__ = ["Run", "Sequencer", "Starved"]

Work = Callable[..., Any]

Run = Generator[bytes, None, tuple[int, bool]]
"""EMIT payloads; at last, how many samples were taken and whether bytes of them are left."""

SLIDE_FROM = 32
"""Loop indices from which on a nest that uses them for tiles alone slides."""
VARIANTS = 1024
"""Compiled nests kept for one instruction's loop indices."""

# Plain ints: this is the innermost loop.
HALT, LOOP, NEXT, WAIT, EMIT = map(
    int, (Opcode.HALT, Opcode.LOOP, Opcode.NEXT, Opcode.WAIT, Opcode.EMIT)
)
NESTS = (int(Opcode.MAC), int(Opcode.LEARN))
SWEEPS = int(Register.SWEEPS)

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
    opcode, rows, fetch, own, hides
        What it is, its program rows and its cycles (`relaxon_isa.cycles`).
    register
        The counter of its own cycles.
    count, skip, until, sweep, step, target
        Of LOOP and NEXT, as their own rows say; the row to go on at when a loop is passed over
        (LOOP) or repeats (NEXT).
    tick, bytes
        Of WAIT.
    walks, silent
        Whether the present sample decides its cycles; whether it is an EMIT without a record.
    at
        For MAC, LEARN, WAIT and EMIT: from loop indices to the function that does the work.
    """

    def __init__(self, state: State, transfer: TransferUnit, rows: Sequence[int]):
        config = state.config
        self.instruction = instruction = decode(config, rows)[0]
        self.state, self.transfer = state, transfer
        self.opcode = int(instruction.opcode)
        check_fields(config, instruction)  # nothing outside the contract is computed
        self.rows = rows_of(instruction)
        self.fetch = fetch_cycles(instruction)
        self.own = issue_cycles(config, instruction) + drain_cycles(config, instruction)
        self.hides = hiding_cycles(config, instruction)
        self.walks = isinstance(instruction, Mac | Learn) and instruction.walk
        self.silent = isinstance(instruction, Emit) and instruction.kind is EmitKind.ANSWER
        control = Register.CONTROL_CYCLES if config.kind_counters else Register.MAC_CYCLES
        self.control = int(control)
        own = CYCLES_OF.get(instruction.opcode, control) if config.kind_counters else control
        self.register = int(own)
        values = row_layouts(config)[instruction.opcode.name].unpack(rows[0])
        self.count = values.get("count", 0) + 1
        self.skip, self.until, self.sweep = (values.get(n, 0) for n in ("skip", "until", "sweep"))
        self.target = values["end"] if self.opcode == LOOP else values.get("body", 0)
        self.step = signed(values.get("step", 0), 16)
        self.at: Callable[[Sequence[int]], Work] = self._compile
        self.variants: dict[tuple[int, ...], Work] = {}
        self.tick = isinstance(instruction, Wait) and instruction.tick
        self.bytes = wait_bytes(config, instruction) if isinstance(instruction, Wait) else 0

    def take_time(self) -> None:
        """The cycles of a walk over the present sample, in ``own`` and ``hides``."""
        config, listed = self.state.config, self.state.sample.listed
        issue = issue_cycles(config, self.instruction, listed)
        self.own = issue + drain_cycles(config, self.instruction)
        self.hides = hiding_cycles(config, self.instruction, listed)

    def forget(self) -> None:
        """Drop all compiled work: weights have moved in memory."""
        self.at = self._compile
        self.variants.clear()

    def _make(self, x: Sequence[int]) -> Work:
        state = self.state
        match self.instruction:
            case Mac() as mac:
                return compile_mac(state, mac, x)
            case Learn() as learn:
                return compile_learn(state, learn, x)
            case Wait() as wait:
                return self.transfer.wait(wait, x)
            case Emit() as emit:
                return self.transfer.emit(emit, x)
        raise TypeError(self.instruction)

    def _make_sliding(self) -> Callable[[int], None] | None:
        """From a loop index that moves tiles alone to the work; None if there is no such."""
        match self.instruction:
            case Mac(tile_x=x, src_x=0, dst_x=0, drive_x=0, gate_x=0) as mac if x:
                return sliding_mac(self.state, mac)
            case Learn(tile_x=x, col_x=0, row_x=0) as learn if x:
                return sliding_learn(self.state, learn)
        return None

    def _compile(self, x: Sequence[int]) -> Work:
        """Puts a function of the loop indices in place of itself."""
        instruction = self.instruction
        selects = [
            getattr(instruction, f.name) for f in fields(instruction) if f.name.endswith("_x")
        ]
        used = sorted(set(selects) - {0})
        if not used:
            work = self._make(x)
            self.at = lambda x: work
            return work

        variants = self.variants

        def by_index(x: Sequence[int]) -> Work:
            key = tuple([x[i] for i in used])
            work = variants.get(key)
            if work is None:
                if len(variants) == SLIDE_FROM:
                    work_at = self._make_sliding()
                    if work_at is not None:
                        self.at = lambda x: partial(work_at, x[used[0]])
                        return self.at(x)
                if len(variants) >= VARIANTS:
                    variants.clear()
                work = variants[key] = self._make(x)
            return work

        self.at = by_index
        return by_index(x)


class Sequencer:
    """Program memory and the walk through it.

    Operations are cached by the contents of their rows, so rows that the host writes again as
    they were cost nothing and any other change takes effect when it is next fetched.

    Parameters
    ----------
    state
        What programs read and write.
    transfer
        Executes WAIT and EMIT.
    """

    def __init__(self, state: State, transfer: TransferUnit):
        self.state, self.transfer = state, transfer
        state.weights.moved = self.forget_work
        config = state.config
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
            if len(self.known) >= VARIANTS:
                self.known.clear()
                self.at[:] = [None] * len(self.at)
            operation = self.known[key] = Operation(self.state, self.transfer, key)
        self.at[row] = operation
        return operation

    def run(self, samples: Iterator[bytes], row: int, count: bool) -> Run:
        """See `Machine.run`."""
        state, at = self.state, self.at
        registers = state.registers.values
        state.registers.counting = count
        state.flag = False
        state.sample.clear()
        x = [0, 0, 0, 0]  # X[0] = 0 and the indices of the three outermost loops
        open_loops: list[list[int]] = []  # [trips done, count]
        stream = bytearray()
        taken = hidden = 0
        while True:
            operation = at[row] if row < len(at) else None
            if operation is None:
                operation = self.fetch(row)
            if count and operation.fetch > hidden:
                registers[operation.control] += operation.fetch - hidden
            if operation.walks:
                operation.take_time()
            hidden = operation.hides
            row += operation.rows
            opcode = operation.opcode
            if opcode in NESTS:
                operation.at(x)()
            elif opcode == LOOP:
                if operation.skip and state.flag == (operation.skip == Skip.IF_FLAG):
                    row = operation.target
                else:
                    open_loops.append([0, operation.count])
                    if len(open_loops) < len(x):
                        x[len(open_loops)] = 0
            elif opcode == NEXT:
                if not open_loops:
                    raise ProgramError("NEXT without a LOOP")
                loop = open_loops[-1]
                if operation.sweep and count:
                    registers[SWEEPS] += 1
                loop[0] += 1
                if loop[0] == loop[1] or (operation.until and state.flag):
                    open_loops.pop()
                else:
                    row = operation.target
                    if len(open_loops) < len(x):
                        x[len(open_loops)] += operation.step
            elif opcode == WAIT:
                if operation.tick:
                    state.registers.next_sample()
                need = operation.bytes
                while len(stream) < need:
                    more = next(samples, None)
                    if more is None:
                        raise Starved(taken)
                    taken += 1
                    stream += more
                operation.at(x)(bytes(stream[:need]))
                del stream[:need]
            elif opcode == EMIT:
                payload = operation.at(x)()
                if count:
                    registers[operation.register] += operation.own
                if not operation.silent:
                    yield payload
                continue
            if count:
                registers[operation.register] += operation.own
            if opcode == HALT:
                return taken, bool(stream)
