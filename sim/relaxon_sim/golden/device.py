"""The golden model behind the interface that boards have."""

from collections.abc import Callable, Iterator
from typing import Any
from zlib import crc32

import numpy as np

from relaxon_device.base import Device, Rows, SpaceLayout, left_over, starved
from relaxon_isa import (
    ArrayConfig,
    DeviceError,
    Space,
    Wait,
    record_address,
    record_stride,
    wait_bytes,
)
from relaxon_isa.identity import decode_info, encode_info
from relaxon_isa.order import OrderPart

from .counters import MEMORY_BYTES
from .machine import Machine
from .order import records_at
from .sequencer import Starved

__all__ = ["GoldenDevice"]


class GoldenDevice(Device):
    """A board in this process.

    Parameters
    ----------
    config
        The array configuration.
    machine
        The machine to drive, one with the members of `Machine`; a new one if there is none.

    Members
    -------
    machine
        The `Machine`, weights and all.
    memory
        The sample memory's bytes.
    engine
        The name of what runs programs.
    """

    engine = "numpy"
    _closed = False

    def __init__(self, config: ArrayConfig, machine: Any = None) -> None:
        self.machine = machine or Machine(config)
        self.info = encode_info(config, build=f"golden {self.engine}", clock_hz=0, baud=0)
        self.identity = decode_info(self.info)
        self.memory = np.zeros(MEMORY_BYTES if config.sample_memory else 0, np.uint8)

    def _read(self, layout: SpaceLayout, start: int, count: int) -> np.ndarray:
        machine, end = self.machine, start + count
        match layout.space:
            case Space.PROGRAM:
                values = machine.program[start:end]
            case Space.STATE:
                values = machine.states.words[start:end]
            case Space.DRIVE:
                values = machine.drives.words[start:end]
            case Space.REGISTER:
                values = [machine.registers.read(i) for i in range(start, end)]
            case _:
                values = list(self.info[start:end])
        return np.array(values, dtype=layout.dtype)

    def _write(self, layout: SpaceLayout, start: int, values: np.ndarray) -> None:
        machine, end = self.machine, start + len(values)
        match layout.space:
            case Space.PROGRAM:
                machine.write_program(start, values.tolist())
            case Space.STATE:
                machine.states.words[start:end] = values
            case Space.DRIVE:
                machine.write_drive(start, values)
            case Space.TABLE:
                machine.table[start:end] = values
            case _:
                for which, value in enumerate(values, start):
                    machine.registers.write(which, int(value))

    def _run(self, samples: Iterator[bytes], row: int, count: bool) -> Iterator[bytes]:
        try:
            _, rest = yield from self.machine.run(samples, row=row, count=count)
        except Starved as error:
            raise starved(error.args[0]) from None
        if rest or any(samples):
            raise left_over()

    @property
    def memory_bytes(self) -> int:
        if self._closed and self.config.sample_memory:
            raise DeviceError("golden model: the device is closed")
        return super().memory_bytes

    def _store(self, address: int, data: bytes) -> None:
        self.memory[address : address + len(data)] = np.frombuffer(data, np.uint8)

    def _crc(self, address: int, count: int) -> int:
        return crc32(self.memory[address : address + count].tobytes())

    def _recall(self, address: int, count: int) -> bytes:
        return self.memory[address : address + count].tobytes()

    def _run_stored(
        self,
        indices: np.ndarray,
        samples: Rows,
        wait: Wait,
        row: int,
        count: bool,
        progress: Callable[[int], None],
    ) -> list[bytes]:
        at = record_address(self.config, wait, 0)
        stored = indices >= 0
        at = at + np.asarray(indices[stored], np.int64) * record_stride(self.config, wait)
        records = np.empty((len(indices), wait_bytes(self.config, wait)), np.uint8)
        records[stored] = self.memory[at[:, None] + np.arange(records.shape[1])]
        if len(samples):
            records[~stored] = samples[: len(samples)]
        return self.run_all(records, row=row, count=count, progress=progress)

    def _run_ordered(
        self,
        part: OrderPart,
        wait: Wait,
        row: int,
        count: bool,
        progress: Callable[[int], None],
    ) -> list[bytes]:
        places = np.arange(part.first, part.first + part.count)
        records = records_at(part.key, part.records, places)
        return self._run_stored(records, np.empty((0, 0), np.uint8), wait, row, count, progress)

    def reset(self) -> None:
        """Do nothing: nothing is queued, and nothing runs outside `run`."""

    def close(self) -> None:
        self._closed = True
