"""`Device`: the one interface of golden model, virtual board and serial board."""

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext, suppress
from functools import cached_property
from math import inf
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from relaxon_isa import (
    COUNTER_BITS,
    INFO_BYTES,
    KEYS,
    ArrayConfig,
    DataError,
    DeviceError,
    Halt,
    ProgramError,
    Register,
    Space,
    Wait,
    decode,
    record_address,
    registers,
    row_bits,
    wait_bytes,
)
from relaxon_isa.capture import memory_size
from relaxon_isa.identity import Identity
from relaxon_isa.order import OrderPart

from .link import LinkStats

__all__ = ["Device", "Rows", "SpaceLayout"]

BLOCK = 1 << 12
"""Samples that are asked of `Rows` at a time."""


class Rows(Protocol):
    """Samples (n, bytes): an array, or what makes some of them when they are asked for."""

    def __len__(self) -> int: ...
    def __getitem__(self, some: slice, /) -> NDArray[np.uint8]: ...


NONE = np.zeros((0, 0), np.uint8)
"""No samples."""


class SpaceLayout:
    """How a space looks to the host: a line of elements.

    Parameters
    ----------
    config
        The machine.
    space
        One of its spaces.

    Members
    -------
    size
        Elements; 0 where the configuration leaves the space out.
    lanes
        Elements a group: ``p`` for STATE and DRIVE, else 1. Element ``i`` has the address
        (group ``i // lanes``, lane ``i % lanes``), so planes come in neuron order.
    low, high
        The values an element can have, both included.
    dtype
        Of the arrays that `Device.read` returns: int64, or object (Python ints) beyond 64 bits.
    """

    def __init__(self, config: ArrayConfig, space: Space) -> None:
        self.space = space
        self.lanes = config.p if space in (Space.STATE, Space.DRIVE) else 1
        size, bits, signed = {
            Space.PROGRAM: (config.program_rows, row_bits(config), False),
            Space.STATE: (config.p * config.state_depth, config.state_bits, True),
            Space.DRIVE: (config.p * config.drive_depth, config.acc_bits, True),
            Space.TABLE: (
                1 << config.table_bits if config.table_bits else 0,
                config.state_bits,
                True,
            ),
            Space.REGISTER: (len(registers(config)), COUNTER_BITS, False),
            Space.INFO: (INFO_BYTES, 8, False),
        }[space]
        self.size = size
        self.signed = signed
        self.element_bytes = (bits + 7) // 8
        self.low = -(1 << bits - 1) if signed else 0
        self.high = (1 << bits - signed) - 1
        narrow = self.low >= -(1 << 63) and self.high < 1 << 63
        self.dtype: np.dtype = np.dtype(np.int64 if narrow else object)

    def encode(self, values: np.ndarray) -> bytes:
        """Elements as the link carries them: little-endian, sign-extended to whole bytes."""
        if self.dtype == object:
            return b"".join(
                int(v).to_bytes(self.element_bytes, "little", signed=self.signed) for v in values
            )
        octets = values.astype("<i8").view(np.uint8).reshape(-1, 8)
        return octets[:, : self.element_bytes].tobytes()

    def decode(self, data: bytes) -> np.ndarray:
        """Inverse of `encode`."""
        if self.dtype == object:
            width = self.element_bytes
            values = [
                int.from_bytes(data[i : i + width], "little", signed=self.signed)
                for i in range(0, len(data), width)
            ]
            return np.array(values, dtype=object)
        elements = np.frombuffer(data, np.uint8).reshape(-1, self.element_bytes)
        octets = np.zeros((len(elements), 8), np.uint8)
        octets[:, : self.element_bytes] = elements
        if self.signed and self.element_bytes < 8:
            octets[:, self.element_bytes :] = np.where(elements[:, -1:] & 0x80, 0xFF, 0)
        return octets.reshape(-1).view("<i8").astype(np.int64)


class Device(ABC):
    """A machine that holds memories and runs programs.

    All backends answer alike, bit for bit. A backend supplies the methods marked abstract; what
    they are given has been checked. A device is a context manager that closes itself.

    Members
    -------
    identity
        What the device says of itself (`relaxon_isa.link.Identity`).
    config
        Its `ArrayConfig`.
    unused
        Whether nobody had used the machine since power-on when it was opened.
    user
        Who loaded the weights that are in it (`relaxon.checks.claim`).
    simulated
        Whether it runs at another speed than the clock and the rate that it claims.
    run_limit
        Seconds that a run may go on without a byte from or to a board; then it is a LinkError.
    reconnects
        Whether `reconnect` can help.
    """

    identity: Identity
    unused = True
    user: object = None
    simulated = False
    run_limit = inf
    reconnects = False

    @property
    def config(self) -> ArrayConfig:
        return self.identity.config

    @property
    def link_stats(self) -> LinkStats | None:
        """What happened on the line so far; None where there is none."""
        return None

    # Memories -----------------------------------------------------------------------------

    @cached_property
    def layouts(self) -> dict[Space, SpaceLayout]:
        """`SpaceLayout` of every space."""
        return {space: SpaceLayout(self.config, space) for space in Space}

    def read(self, space: Space, start: int = 0, count: int | None = None) -> np.ndarray:
        """Elements ``start`` to ``start + count - 1`` of a space.

        Parameters
        ----------
        space
            Any but TABLE, which cannot be read.
        start
            Index of an element; in STATE and DRIVE the neuron's, group * p + lane.
        count
            How many; without it, all to the end.

        Returns an array of shape (count,), dtype int64; object (Python ints) where elements are
        wider than 64 bits, as program rows are. Raises DeviceError if there are no such elements.
        """
        layout = self.layouts[space]
        if space is Space.TABLE:
            raise DeviceError("TABLE cannot be read: every lane has a copy, none has a way out")
        start = operator.index(start)  # numpy's integers, too
        count = layout.size - start if count is None else operator.index(count)
        self._check_range(layout, start, count)
        return self._read(layout, start, count) if count else np.empty(0, layout.dtype)

    def write(self, space: Space, start: int, values: ArrayLike) -> None:
        """Write elements from ``start`` on.

        Parameters
        ----------
        space
            Any but INFO.
        start
            As in `read`.
        values
            Integers, shape (count,), within the format of the space.

        May return before a board has them; what is asked of it later comes after. Raises
        DeviceError, before anything is written, if an element or a value does not exist.
        """
        layout = self.layouts[space]
        if space is Space.INFO:
            raise DeviceError("INFO cannot be written: it is what the device says of itself")
        start = operator.index(start)  # numpy's integers, too
        array = self._check_values(layout, start, values)
        self._check_range(layout, start, len(array))
        if len(array):
            self._write(layout, start, array)

    def load(self, rows: Sequence[int], at: int = 0) -> None:
        """Have program rows in program memory from row ``at`` on: those that the device holds
        already, as far as it has been told, need not travel.

        Raises ProgramError if they do not fit.
        """
        if at < 0 or at + len(rows) > self.config.program_rows:
            raise ProgramError(
                f"{len(rows)} program rows at row {at}: the device has {self.config.program_rows}"
            )
        for start, stop in self._new_rows(rows, at):
            self.write(Space.PROGRAM, at + start, rows[start:stop])

    def _new_rows(self, rows: Sequence[int], at: int) -> Iterable[tuple[int, int]]:
        """Ranges of rows that are not in program memory from row ``at`` on yet."""
        return [(0, len(rows))]

    def counters(self) -> dict[Register, int]:
        """All registers and counters."""
        values = self.read(Space.REGISTER)
        return {register: int(values[register]) for register in registers(self.config)}

    def _check_range(self, layout: SpaceLayout, start: int, count: int) -> None:
        if start < 0 or count < 0 or start + count > layout.size:
            name = layout.space.name
            has = f"0 to {layout.size - 1}" if layout.size else "none"
            raise DeviceError(
                f"{name}: elements {start} to {start + count - 1} asked, the device has {has}"
            )

    def _check_values(self, layout: SpaceLayout, start: int, values: ArrayLike) -> np.ndarray:
        name = layout.space.name
        # numpy would turn Python ints beyond 64 bits into floats.
        array = np.asarray(values, dtype=object if layout.dtype == object else None)
        if array.ndim != 1:
            raise DeviceError(f"{name}: values of shape {array.shape} given, one dimension wanted")
        whole = array.dtype.kind in "iub" or (
            array.dtype == object and all(isinstance(v, int | np.integer) for v in array)
        )
        if array.size and not whole:
            raise DeviceError(f"{name}: values of type {array.dtype} given, integers wanted")
        wrong = np.flatnonzero((array < layout.low) | (array > layout.high))
        if len(wrong):
            raise DeviceError(
                f"{name}: {array[wrong[0]]} for element {start + wrong[0]} ({len(wrong)} such): "
                f"must be {layout.low} to {layout.high}"
            )
        if layout.space is Space.REGISTER and self.config.dither_bits:  # else there are no keys
            for key in KEYS:
                if start <= key < start + len(array) and not array[key - start]:
                    raise DeviceError(f"REGISTER: {key.name} is a seed and must not be 0")
        return array.astype(layout.dtype)

    @abstractmethod
    def _read(self, layout: SpaceLayout, start: int, count: int) -> np.ndarray:
        """Elements that exist; shape (count,), ``layout.dtype``, count >= 1."""

    @abstractmethod
    def _write(self, layout: SpaceLayout, start: int, values: np.ndarray) -> None:
        """Write elements that exist, with values that fit; ``layout.dtype``, at least one."""

    # Programs -----------------------------------------------------------------------------

    def run(
        self, samples: Iterable[bytes] = (), *, row: int = 0, count: bool = True
    ) -> Iterator[bytes]:
        """Run the program at ``row`` until it halts; yield what each EMIT hands over.

        Parameters
        ----------
        samples
            The bytes that the program's WAITs take, no more and no fewer; how they are cut
            does not matter to the machine. They are asked for ahead of their use, as far as a
            device buffers. Between two of them the iterable may `read` and `write` this device:
            that happens when the program has taken all samples before it and waits for the next.
        row
            Where the program begins.
        count
            Whether cycles and events count in this run.

        Nothing happens before the first ``next``. A run that ends early (the caller stops
        iterating, an exception, Ctrl-C) is aborted by `reset`, so the device can be used again;
        memories stay as the machine had them at that moment. Raises DeviceError if ``row`` does
        not exist, if the program waits for a byte when samples are used up, or if it halts and
        samples are left.
        """
        return self._run(iter(samples), self._checked_row(row), count)

    def _checked_row(self, row: int) -> int:
        row = operator.index(row)
        if not 0 <= row < self.config.program_rows:
            raise DeviceError(
                f"run at row {row}: the device has rows 0 to {self.config.program_rows - 1}"
            )
        return row

    def run_all(
        self,
        samples: Rows,
        *,
        row: int = 0,
        count: bool = True,
        progress: Callable[[int], None] = lambda count: None,
    ) -> list[bytes]:
        """`run` on samples that are all there, (n, bytes); returns all payloads.

        Devices may take many samples at a time. ``progress`` is called with the number of
        payloads since its last call.
        """
        payloads = []
        each = (bytes(sample) for block in blocks(samples) for sample in block)
        for payload in self.run(each, row=row, count=count):
            payloads.append(payload)
            progress(1)
        return payloads

    @abstractmethod
    def _run(self, samples: Iterator[bytes], row: int, count: bool) -> Iterator[bytes]:
        """`run` from a row that exists."""

    # Sample memory ------------------------------------------------------------------------

    @property
    def memory_bytes(self) -> int:
        """Bytes of sample memory that answer; 0: there is none."""
        if not self.config.sample_memory:
            return 0
        return memory_size(int(self.read(Space.REGISTER, Register.MEMORY, 1)[0]))

    def store(self, address: int, data: bytes) -> None:
        """Write bytes to sample memory, from an even address on; behind an odd last byte a 0.

        Raises DeviceError if there are no such bytes, DataError if the address is odd.
        """
        if address % 2:
            raise DataError(
                f"sample memory: address {address} is odd, and a word has two bytes: begin at "
                f"{address - 1}"
            )
        data = data + bytes(len(data) % 2)
        self._check_memory(address, len(data))
        self._store(address, data)

    def check(self, address: int, count: int) -> int:
        """CRC-32, that of zlib, of bytes of sample memory, read as samples are.

        Raises as `store`.
        """
        self._check_memory(address, count)
        return self._crc(address, count) if count else 0

    def recall(self, address: int, count: int) -> bytes:
        """Bytes of sample memory. Raises as `store`."""
        self._check_memory(address, count)
        return self._recall(address, count) if count else b""

    def run_stored(
        self,
        indices: NDArray[np.integer],
        samples: Rows = NONE,
        *,
        wait: Wait | None = None,
        row: int = 0,
        count: bool = True,
        progress: Callable[[int], None] = lambda count: None,
    ) -> list[bytes]:
        """`run_all` on records of sample memory, by their indices (n,); -1 stands for the next of
        ``samples``, which are sent.

        ``wait``: the first WAIT that is ahead of the program at ``row``; without it the program is
        read. Raises DeviceError if there is no sample memory or no such record in it, if the
        program takes none, or fewer or more than there are (on a board one that takes a few less
        must count samples: ``count``, and its WAITs have ``tick``); DataError if there are not as
        many samples as -1.
        """
        wait = self._stored_format(wait, row)
        if (sent := np.count_nonzero(indices < 0)) != len(samples):
            raise DataError(f"{sent} samples are to be sent, {len(samples)} given")
        last = record_address(self.config, wait, int(indices.max(initial=0)))
        self._check_memory(last, wait_bytes(self.config, wait))
        return self._run_stored(indices, samples, wait, self._checked_row(row), count, progress)

    def run_ordered(
        self,
        part: OrderPart,
        *,
        wait: Wait | None = None,
        row: int = 0,
        count: bool = True,
        progress: Callable[[int], None] = lambda count: None,
    ) -> list[bytes]:
        """`run_stored` on a part of an order of all records, which the machine makes by itself.

        Raises as `run_stored`; DataError if the part goes beyond its records.
        """
        if not isinstance(part, OrderPart):
            raise DataError(f"{part!r} is no part of an order: an OrderPart is wanted")
        if part.first + part.count > part.records:
            raise DataError(
                f"places {part.first} to {part.first + part.count - 1} of an order of "
                f"{part.records} records: there are none beyond {part.records - 1}"
            )
        wait = self._stored_format(wait, row)
        last = record_address(self.config, wait, part.records - 1)
        self._check_memory(last, wait_bytes(self.config, wait))
        return self._run_ordered(part, wait, self._checked_row(row), count, progress)

    def _waits(self, row: int) -> Iterator[Wait]:
        """Those of the program at a row."""
        rows = self.read(Space.PROGRAM, self._checked_row(row)).tolist()
        for instruction in decode(self.config, rows):
            if isinstance(instruction, Halt):
                return
            if isinstance(instruction, Wait):
                yield instruction

    def _stored_format(self, wait: Wait | None, row: int) -> Wait:
        """That of records: ``wait``, or the first WAIT that is ahead of the program at a row."""
        if not self.config.sample_memory:
            raise DeviceError("the device has no sample memory: run_all sends it the samples")
        ahead = (other for other in self._waits(row) if other.ahead)
        if wait := wait or next(ahead, None):
            return wait
        raise DeviceError(f"the program at row {row} takes no samples ahead: it needs such a WAIT")

    def _check_memory(self, address: int, count: int) -> None:
        size = self.memory_bytes
        if address < 0 or address + count > size:
            has = f"{size} bytes" if size else "none"
            last = address + count - 1
            raise DeviceError(
                f"sample memory: bytes {address} to {last} asked, the device has {has}"
            )

    def _store(self, address: int, data: bytes) -> None:
        """Write bytes that exist."""
        raise NotImplementedError

    def _crc(self, address: int, count: int) -> int:
        """`check` of bytes that exist, at least one."""
        raise NotImplementedError

    def _recall(self, address: int, count: int) -> bytes:
        """`recall` of bytes that exist, at least one."""
        raise NotImplementedError

    def _run_stored(
        self,
        indices: NDArray[np.integer],
        samples: Rows,
        wait: Wait,
        row: int,
        count: bool,
        progress: Callable[[int], None],
    ) -> list[bytes]:
        """`run_stored` of records that exist."""
        raise NotImplementedError

    def _run_ordered(
        self,
        part: OrderPart,
        wait: Wait,
        row: int,
        count: bool,
        progress: Callable[[int], None],
    ) -> list[bytes]:
        """`run_ordered` of records that exist."""
        raise NotImplementedError

    @abstractmethod
    def reset(self) -> None:
        """Abort what runs and what is queued. Memories, registers and counters stay."""

    # Life ---------------------------------------------------------------------------------

    def reconnect(self) -> None:
        """Take a line that broke again, under its name. What the machine holds is unknown after it.

        Raises DeviceError if no board, or another machine, answers there.
        """
        raise DeviceError("this device has no line that could be taken again")

    @abstractmethod
    def close(self) -> None:
        """Finish what was queued and let the device go. More than once is allowed."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # The first error is the one to tell; a line that failed may fail again while it is closed.
        with suppress(DeviceError) if error else nullcontext():
            self.close()


def blocks(samples: Rows) -> Iterator[NDArray[np.uint8]]:
    """Samples some at a time."""
    for start in range(0, len(samples), BLOCK):
        yield samples[start : start + BLOCK]


def starved(samples: int) -> DeviceError:
    """The error of a program that waits when samples are used up; the same on all devices."""
    return DeviceError(
        f"the program waits for another sample after all {samples} given; "
        "give as many as its loops take"
    )


def left_over() -> DeviceError:
    """The error of a program that halts before it took all samples; the same on all devices."""
    return DeviceError(
        "the program halted and did not take all of the samples; give as many as its loops take"
    )
