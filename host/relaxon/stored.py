"""Samples in a machine's sample memory, sent once."""

import zlib

import numpy as np
from numpy.typing import NDArray

from relaxon_device.base import Device, Rows
from relaxon_isa import (
    INDEX_BYTES,
    MEMORY_HEADER_BYTES,
    DataError,
    DeviceError,
    MemoryHeader,
    Program,
    Wait,
    record_address,
    record_stride,
    wait_bytes,
)
from relaxon_isa.order import OrderPart

__all__ = ["SampleStore"]

STORED = 1 << 8
"""Samples sent between two reports of progress."""


class SampleStore:
    """The samples of a part of a data set in a device's sample memory.

    As many as fit lie there, the first ones; the others travel with each run, in their turn, so
    that a run comes to the same bits wherever its samples are. `run` and `run_ordered` trust what
    `hold` left, and `check` tells afterwards whether that was right: what was trained before it
    failed does not count.

    Parameters
    ----------
    device
        A machine with a sample memory.
    program
        Its first WAIT that is ahead takes the samples.
    samples
        What that WAIT takes, (n, bytes).
    digest
        Of the data set.
    behind
        The bytes of memory before this one are another's.

    Members
    -------
    held
        How many samples lie in the memory, once `hold` was called; 0: it has no room for one, and
        there is nothing to hold or run.
    sure
        Whether the memory holds them, as far as is known.
    end
        The first byte behind them.
    """

    def __init__(
        self, device: Device, program: Program, samples: Rows, digest: str, behind: int = 0
    ) -> None:
        ahead = (i for i in program.instructions if isinstance(i, Wait) and i.ahead)
        self.device, self._wait, self._samples = device, next(ahead), samples
        self._stride = record_stride(device.config, self._wait)
        # Whole strides are left out, so that records have indices here too.
        self._first = -(-behind // self._stride)
        self._begin = self._first * self._stride
        room = max(0, device.memory_bytes - self._begin - MEMORY_HEADER_BYTES) // self._stride
        self.held = max(0, min(len(samples), room, (1 << 8 * INDEX_BYTES) - self._first))
        self.sure = False
        self.end = self._begin + MEMORY_HEADER_BYTES + self.held * self._stride
        size = wait_bytes(device.config, self._wait)
        if samples[:1].shape[1] != size:
            raise DataError(f"samples of {samples[:1].shape[1]} bytes, a record has {size}")
        self._header = MemoryHeader(
            digest=digest, records=self.held, record_bytes=size, crc=self._crc(0, self.held)
        )

    def hold(self, progress=lambda done: None) -> int:
        """Have the samples in the memory; returns how many had to be sent: none where it holds
        them already. ``progress`` is called with the number of samples since its last call.

        Raises DeviceError if the memory does not keep what it is sent.
        """
        if self.sure or self._whole():
            self.sure = True
            progress(self.held)
            return 0
        # Whoever comes after half of it is told.
        self.device.store(self._begin, bytes(MEMORY_HEADER_BYTES))
        for start in range(0, self.held, STORED):
            data = self._bytes(start, stop := min(start + STORED, self.held))
            self.device.store(self._address(start), data)
            progress(stop - start)
        if not self._same(0, self.held):
            raise DeviceError(
                f"the sample memory does not keep what it is sent: {self._fault()}; --stream "
                "trains without it, 'relaxon info --self-test' tests it"
            )
        self.device.store(self._begin, self._header.encode())
        self.sure = True
        return self.held

    def check(self) -> None:
        """Raise DeviceError unless the memory holds what `hold` left, header and all."""
        self.sure = False
        if not self._whole():
            raise DeviceError(
                f"the sample memory has changed since it was loaded: {self._fault()}; what came "
                "of it meanwhile does not count"
            )
        self.sure = True

    def run(
        self,
        order: NDArray[np.integer],
        others: Rows,
        progress,
        row: int = 0,
        count: bool = True,
    ) -> list[bytes]:
        """`Device.run_stored` on samples by their indices in the data set, (n,); ``others``: those
        among them that the memory does not hold, in their order."""
        stored = np.where(order < self.held, self._first + order, -1)
        return self.device.run_stored(
            stored, others, wait=self._wait, row=row, count=count, progress=progress
        )

    def run_ordered(self, key: int, first: int, count: int, progress) -> list[bytes]:
        """`Device.run_ordered` on places of the order that ``key`` names of the samples that the
        memory holds."""
        part = OrderPart(key=key, records=self.held, first=first, count=count)
        return self.device.run_ordered(part, wait=self._wait, progress=progress)

    # The memory

    def _whole(self) -> bool:
        header = self._header.encode()
        found = self.device.check(self._begin, MEMORY_HEADER_BYTES)
        return found == zlib.crc32(header) and self._same(0, self.held)

    def _same(self, start: int, stop: int) -> bool:
        """Whether the memory holds these samples."""
        size = (stop - start - 1) * self._stride + self._header.record_bytes
        wanted = self._header.crc if stop - start == self.held else self._crc(start, stop)
        return self.device.check(self._address(start), size) == wanted

    def _fault(self) -> str:
        """What is the first that differs."""
        if self._same(0, self.held):
            return "its header is gone"
        low, high = 0, self.held
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._same(low, middle) else (low, middle)
        address = self._address(low)
        wanted = self._bytes(low, low + 1)[: self._header.record_bytes]
        found = self.device.recall(address, len(wanted))
        odd = [i for i, (a, b) in enumerate(zip(found, wanted, strict=True)) if a != b]
        if not odd:
            return f"sample {low} was read wrong once, and is right now"
        at = odd[0]
        return (
            f"sample {low} differs in {len(odd)} of {len(wanted)} bytes, first at address "
            f"{address + at}: {found[at]:#04x}, not {wanted[at]:#04x}"
        )

    def _address(self, index: int) -> int:
        return record_address(self.device.config, self._wait, self._first + index)

    def _bytes(self, start: int, stop: int) -> bytes:
        """Samples as the memory holds them."""
        rows = self._samples[start:stop]
        return np.pad(rows, ((0, 0), (0, self._stride - rows.shape[1]))).tobytes()

    def _crc(self, start: int, stop: int) -> int:
        """Of samples as the memory holds them, without what is behind the last."""
        crc = 0
        for at in range(start, stop, STORED):
            data = self._bytes(at, min(at + STORED, stop))
            last = at + STORED >= stop
            crc = zlib.crc32(data[: len(data) - (self._padding if last else 0)], crc)
        return crc

    @property
    def _padding(self) -> int:
        return self._stride - wait_bytes(self.device.config, self._wait)
