"""The compiled machine: memories, decoded programs, and runs in pieces."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from relaxon_device.base import Rows, blocks
from relaxon_isa import ArrayConfig, ConfigError, Opcode, ProgramError, Register, Space

from ..golden.counters import RegisterFile
from ..golden.exact import Integers
from ..golden.planes import Plane
from ..golden.sequencer import Run, Starved
from ..golden.state import Memories
from .layout import Layout
from .loader import load
from .status import Status
from .tables import (
    CPU,
    OPERATION,
    SEGMENT,
    TRIP,
    VECTOR,
    Operation,
    config_record,
    padded,
    record,
)

__all__ = ["Machine", "fits"]

WORK = 1 << 28
"""Products between two pauses of a run: some tenths of a second."""
ROOM = 1 << 20
"""Bytes of EMITs between two pauses; one EMIT has up to 2**16 words of 8 bytes."""
RECORDS = 1 << 13
"""EMITs between two pauses."""
LOOPS = 16
"""Loops that may be open: more than any configuration has."""
KNOWN = 4096
"""Decoded instructions kept from run to run."""


def fits(config: ArrayConfig) -> bool:
    """Whether 64 bits hold every value of this machine.

    MAC's sums are taken modulo 2**64 and wrap at ``acc_bits``; rounding adds a bit. LEARN's sum
    with decay and dither stays below three times its largest part.
    """
    q = config.learn_shifts[1]
    learn = max(config.learn_bits, config.weight_bits + q, q + 1) + 2
    return max(config.acc_bits + 1, learn) <= 64


class Machine(Memories):
    """A machine whose programs run in compiled code, bit for bit and cycle for cycle.

    Parameters
    ----------
    config
        The array configuration. Raises ConfigError if 64 bits are too few for it (`fits`).

    Members
    -------
    states, drives
        The memories S and D, `Plane` each.
    weights
        The tiles, a `Layout`.
    table
        The activation table, (2**table_bits,).
    registers
        `RegisterFile`
    sample, sample_rows
        The present sample's words, as those of S, and the row of its list that each is in.
    """

    def __init__(self, config: ArrayConfig):
        if not fits(config):
            raise ConfigError(
                f"accumulators of {config.acc_bits} bits and updates of {config.learn_bits} are "
                "too wide for the compiled engine, which has 64 for a sum and its rounding: use "
                "engine numpy"
            )
        self.config = config
        self.engine = load()
        self.states = Plane(config, config.state_depth, Integers(np.int32), "state group")
        self.drives = Plane(config, config.drive_depth, Integers(np.int64), "drive group")
        for plane in (self.states, self.drives):
            plane.words = padded(plane.words.size, plane.words.dtype)
        self.weights = Layout(config)
        self.table = np.zeros(1 << config.table_bits, np.int32)
        self.registers = RegisterFile(config)
        self.registers.values = np.array(self.registers.values, np.int64)
        self.sample = padded(self.states.words.size, np.int32)
        self.sample_rows = np.zeros(self.states.words.size, np.int32)
        self.cpu = record(CPU, {})
        self.left_over = False
        self.memories = (
            config_record(config),
            self.states.words,
            self.drives.words,
            self.table,
            self.registers.values,
            self.weights.words,
            self.weights.places,
            self.sample,
            self.sample_rows,
        )
        self.rows = [0] * config.program_rows
        self.at = np.full(config.program_rows, -1, np.int64)
        self._forget()

    def _forget(self) -> None:
        """Drop all decoded instructions."""
        self._known: dict[tuple[int, ...], int] = {}
        self.at[:] = -1
        self.operations = np.zeros(64, OPERATION)
        self.trips = np.zeros(0, TRIP)
        self.segments = np.zeros(0, SEGMENT)
        self.panel, self.stamps = np.zeros(0, np.int16), np.zeros((1, 2), np.int64)
        self._used = {"trips": 0, "segments": 0}
        self._panels: dict[bytes, tuple[int, int]] = {}
        self._sizes = (0,) * 5
        self._make_room((1,) * 5)

    # Memories -----------------------------------------------------------------------------

    @property
    def weights_array(self) -> NDArray:
        """A copy of the tiles, (weight_depth, p, p): tile, row, column. Assign to write."""
        return self.weights.words[self.weights.positions()].astype(np.int64)

    @weights_array.setter
    def weights_array(self, values: NDArray) -> None:
        self.weights.words[self.weights.positions()] = values

    @property
    def flag(self) -> bool:
        return bool(self.cpu["flag"][0])

    # Programs -----------------------------------------------------------------------------

    @property
    def program(self) -> tuple[int, ...]:
        """Program rows; write them through `write_program`."""
        return tuple(self.rows)

    def write_program(self, start: int, rows: Sequence[int]) -> None:
        """Program rows from ``start`` on; what they change takes effect at its next fetch."""
        self.rows[start : start + len(rows)] = [int(row) for row in rows]
        first = max(0, start - self.config.levels - 1)
        self.at[first : start + len(rows)] = -1

    def decode(self, row: int) -> None:
        """Put the instruction at a row into the tables. Raises ProgramError."""
        if row >= len(self.rows):
            raise ProgramError(f"the program runs past its last row, {len(self.rows) - 1}")
        levels = self.rows[row] >> 3 & 7
        nest = self.rows[row] & 7 in (Opcode.MAC, Opcode.LEARN)
        key = tuple(self.rows[row : row + (2 + levels if nest else 1)])
        index = self._known.get(key)
        if index is None:
            operation = Operation.decode(self.config, key)
            if operation.is_nest and self.weights.adopt(operation):
                self._forget()
            placed = self._placed(operation)
            index = self._known[key] = len(self._known)
            self.operations = grown(self.operations, index + 1)
            self.operations[index] = placed
        self.at[row] = index

    def _placed(self, operation: Operation) -> NDArray:
        """`OPERATION` of a decoded instruction, its trips and segments put into their tables."""
        values = dict(operation.values)
        if operation.is_nest:
            plan = self.weights.plan(operation)
            values |= plan.values
            values |= {"segment_at": self._put("segments", plan.segments)}
            values |= {"segments": len(plan.segments)}
            for name, trips in operation.trips.items():
                values |= {f"{name}_at": self._put("trips", trips), f"{name}s": len(trips)}
            if plan.panel:
                values |= self._panel(*plan.panel)
            self._make_room(plan.sizes)
        return record(OPERATION, values)[0]

    def _put(self, name: str, entries: NDArray) -> int:
        """Append to a table of that name; returns where."""
        at = self._used[name]
        self._used[name] = end = at + len(entries)
        setattr(self, name, grown(getattr(self, name), end))
        getattr(self, name)[at:end] = entries
        return at

    def _panel(self, tiles: NDArray, transposed: bool) -> dict[str, int]:
        """Number and place of the panel of these tiles, which all operations share."""
        key = np.append(tiles.ravel(), (len(tiles), transposed)).tobytes()
        if key not in self._panels:
            at, number = len(self.panel), len(self._panels) + 1
            self._panels[key] = number, at
            lanes, sources = (self.config.p * groups for groups in tiles.shape)
            line = -(-lanes // VECTOR) * VECTOR  # as `engine.in_vectors`
            self.panel = np.zeros(at + sources * line, np.int16)
            self.stamps = np.full((number + 1, 2), -1, np.int64)
            self._make_room(self._sizes, renew=True)
        number, at = self._panels[key]
        return {"panel": number, "panel_at": at}

    def _make_room(self, sizes: tuple[int, ...], *, renew: bool = False) -> None:
        """Make room for what an instruction gathers (``scratch`` of `engine.run`)."""
        most = tuple(map(max, self._sizes, sizes))
        if renew or most != self._sizes:
            self._sizes = most
            self.stamps[:] = -1  # numbers of LEARNs begin again
            sums, listed, lists, terms, line = most
            sums, listed = sums + VECTOR, max(listed, terms) + VECTOR
            self.scratch = (
                *(np.zeros(n, np.int64) for n in (sums, listed, listed)),
                np.zeros(listed, np.int32),
                np.zeros((lists + 1, max(terms, VECTOR)), np.int32),
                np.zeros((terms + 1, max(line, VECTOR)), np.int32),
                np.zeros(self.config.weight_depth + 1, np.int64),
                np.zeros(max(sums, line) + VECTOR, np.int32),
                self.panel,
                self.stamps,
                *(np.zeros(listed, np.int32) for _ in range(2)),
            )

    # Running ------------------------------------------------------------------------------

    def run(self, samples: Iterable[bytes] = (), *, row: int = 0, count: bool = True) -> Run:
        """Run from ``row`` to HALT; yields each EMIT's payload. Returns how many samples were
        taken and whether bytes of them are left.

        WAIT takes its bytes from ``samples``, asked for one more only when they run short. Raises
        `Starved` when there are no more.
        """
        source, taken = iter(samples), 0
        running = Running(self, row, count)
        while True:
            status = running.step()
            yield from running.emitted()
            if status == Status.HALTED:
                return taken, running.rest.size > 0
            if status == Status.STARVED:
                more = next(source, None)
                if more is None:
                    raise Starved(taken)
                taken += 1
                running.feed(np.frombuffer(more, np.uint8))

    def run_block(
        self, samples: Rows, *, row: int = 0, count: bool = True
    ) -> Iterator[list[bytes]]:
        """Run on samples (n, bytes) that are all there; yields lists of payloads, several times a
        second. Raises as `run`; afterwards ``left_over`` says whether bytes are left."""
        running, rest = Running(self, row, count), blocks(samples)
        while True:
            status = running.step()
            yield running.emitted()
            if status == Status.HALTED:
                self.left_over = running.rest.size > 0 or next(rest, None) is not None
                return
            if status == Status.STARVED:
                more = next(rest, None)
                if more is None:
                    raise Starved(len(samples))
                running.feed(more.reshape(-1))


class Running:
    """A run's own state: where the program stands, bytes for WAIT, payloads of EMIT.

    Members
    -------
    rest
        Bytes that no WAIT has taken yet.
    """

    def __init__(self, machine: Machine, row: int, count: bool):
        self.machine = machine
        if len(machine._known) > KNOWN:
            machine._forget()
        self.rest = np.empty(0, np.uint8)
        start = {"row": row, "counting": count, "pending": -1, "label": -1}
        self._cpu = machine.cpu = record(CPU, start)
        machine.sample[:] = 0
        self._loops = np.zeros((LOOPS, 2), np.int64)
        self._x = np.zeros(4, np.int64)
        self._out = np.empty(ROOM, np.uint8)
        self._ends = np.empty(RECORDS, np.int64)

    def feed(self, data: NDArray[np.uint8]) -> None:
        """More bytes for WAIT."""
        self.rest = np.concatenate((self.rest, data)) if self.rest.size else data

    def step(self, work: int | None = None) -> int:
        """Go on until the program halts, lacks bytes or room, or an instruction ends after so many
        products, by default some tenths of a second of them."""
        machine, cpu = self.machine, self._cpu[0]
        work = WORK if work is None else work
        cpu["work"], cpu["position"], cpu["end"] = work, 0, self.rest.size
        cpu["emits"] = cpu["emitted"] = 0
        own = (self._cpu, self._loops, self._x)
        machine.stamps[:] = -1  # weights may have been written
        while True:
            tables = (machine.at, machine.operations, machine.trips, machine.segments)
            places = (*tables, *machine.memories, machine.scratch)
            status = machine.engine(*places, *own, self.rest, self._out, self._ends)
            if status != Status.DECODE:
                break
            machine.decode(int(cpu["row"]))
        self.rest = self.rest[cpu["position"] :]
        if status == Status.ADDRESS:
            raise ProgramError(self._no_address())
        if status == Status.DEPTH:
            raise ProgramError(f"more than {LOOPS} LOOPs are open")
        if status == Status.UNOPENED:
            raise ProgramError("NEXT without a LOOP")
        return status

    def _no_address(self) -> str:
        config = self.machine.config
        places = {
            int(Space.STATE): ("state group", config.state_depth),
            int(Space.DRIVE): ("drive group", config.drive_depth),
            int(Space.REGISTER): ("register", len(Register)),
        }
        name, depth = places.get(int(self._cpu["space"][0]), ("tile", config.weight_depth))
        return f"{name} {self._cpu['address'][0]} asked; this machine has 0 to {depth - 1}"

    @property
    def left(self) -> int:
        """Products that the last `step` was asked for and did not come to."""
        return int(self._cpu["work"][0])

    def emitted(self) -> list[bytes]:
        """Payloads of the EMITs of the last `step`."""
        ends = [0, *self._ends[: self._cpu["emits"][0]].tolist()]
        data = self._out[: ends[-1]].tobytes()
        return [data[start:end] for start, end in pairwise(ends)]


def grown(table: NDArray, size: int) -> NDArray:
    """The table, or a longer copy, with room for that many entries."""
    if size <= len(table):
        return table
    result = np.zeros(max(size, 2 * len(table)), table.dtype)
    result[: len(table)] = table
    return result
