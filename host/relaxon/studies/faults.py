"""Training over a line with faults: a proxy before the virtual board, which is the gateware."""

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from random import Random

import numpy as np

from relaxon_device.base import Device
from relaxon_device.serial import UNPACED_SECONDS, SerialDevice
from relaxon_device.transport import SerialTransport, Transport
from relaxon_isa import ArrayConfig, Register, RelaxonError
from relaxon_isa.identity import fingerprint

from ..backends import open_device, virtual_board
from ..datasets import Dataset
from ..network import Network
from ..rules import settings_for
from ..training import Progress, Trainer, TrainSettings, silent

__all__ = ["FAULTS", "RATES", "SAME_OR_NOT", "FaultyTransport", "Outcome", "busy", "faults"]

RATES = (0.0, 1e-4, 1e-3, 3e-3, 1e-2)
"""Faults a byte."""
BYTE_FAULTS = ("flip", "lose", "insert", "duplicate")
FAULTS = (*BYTE_FAULTS, "cut", "delay")
SAME_OR_NOT = ("identical", "different")
RARE = 50
"""One fault in so many is a cut, and one a delay: they are longer than a byte."""
CUT_BYTES = 40
DELAY_SECONDS = 0.05
OF_THE_LINE = (
    Register.WAIT_STALLS,
    Register.EMIT_STALLS,
    Register.LINK_ERRORS,
    Register.LINK_DROPS,
)
"""Counters that depend on how bytes arrive."""
BUSY = """
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
while True:
    pass
"""
"""Computes until its input ends, which it does with the process that began it."""


class FaultyTransport:
    """A transport that damages another's bytes, both ways.

    Parameters
    ----------
    inner
        The line; closed with this one.
    rate
        Faults a byte: a bit flipped, a byte lost, inserted or duplicated, equally often; one fault
        in `RARE` loses up to `CUT_BYTES` bytes, another holds all bytes up to `DELAY_SECONDS`.
    seed
        Of the faults. Their places depend on the seed and on the bytes before them alone.

    Members
    -------
    sent, received
        Bytes written and read, as the host sees them.
    met
        How many of each of `FAULTS`.
    """

    def __init__(self, inner: Transport, rate: float, seed: int) -> None:
        self.inner, self.rate, self.name = inner, rate, inner.name
        self.sent = self.received = 0
        self.met: Counter[str] = Counter()
        self._ways = {way: _Way(rate, Random(f"{seed} {way}"), self.met) for way in ("up", "down")}

    def write(self, data: bytes) -> None:
        self.sent += len(data)
        self.inner.write(self._ways["up"].carry(data))

    def read(self, timeout: float) -> bytes:
        data = self._ways["down"].carry(self.inner.read(timeout))
        self.received += len(data)
        return data

    def close(self) -> None:
        self.inner.close()


class _Way:
    """One direction of a `FaultyTransport`."""

    def __init__(self, rate: float, random: Random, met: Counter[str]) -> None:
        self.rate, self.random, self.met = rate, random, met
        self.lost = 0  # bytes that a cut still takes
        self._count_down()

    def _count_down(self) -> None:
        self.clean = int(self.random.expovariate(self.rate)) if self.rate else 1 << 62

    def carry(self, data: bytes) -> bytes:
        out = bytearray()
        for byte in data:
            if self.lost:
                self.lost -= 1
            elif self.clean:
                self.clean -= 1
                out.append(byte)
            else:
                out += self._fault(byte)
                self._count_down()
        return bytes(out)

    def _fault(self, byte: int) -> bytes:
        random, draw = self.random, self.random.randrange(RARE)
        kind = FAULTS[4 + draw] if draw < 2 else random.choice(BYTE_FAULTS)
        self.met[kind] += 1
        match kind:
            case "flip":
                return bytes([byte ^ 1 << random.randrange(8)])
            case "insert":
                return bytes([random.randrange(256), byte])
            case "duplicate":
                return bytes([byte, byte])
            case "delay":
                time.sleep(random.uniform(0, DELAY_SECONDS))
                return bytes([byte])
            case "cut":
                self.lost = random.randrange(CUT_BYTES)
        return b""


class Outcome:
    """What a training left: integer weights, counters and history, for comparison."""

    def __init__(self, trainer: Trainer) -> None:
        self.weights = trainer.weights()
        counters = trainer.device.counters()
        self.counters = {r: v for r, v in counters.items() if r not in OF_THE_LINE}
        self.history = trainer.history

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Outcome)
            and all(map(np.array_equal, self.weights, other.weights))
            and (self.counters, self.history) == (other.counters, other.history)
        )


def _train(
    device: Device, network: Network, data: Dataset, settings: TrainSettings, progress: Progress
) -> Outcome:
    trainer = Trainer(device, network, data, settings)
    trainer.start()
    while trainer.epoch < settings.epochs:
        trainer.run_epoch(progress)
    return Outcome(trainer)


@contextmanager
def busy(a_processor: int) -> Iterator[list[subprocess.Popen]]:
    """Processes beside this one that do nothing but compute, so many for each processor."""
    command = [sys.executable, "-c", BUSY]
    count = a_processor * (os.cpu_count() or 1)
    found = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(count)]
    try:
        yield found
    finally:
        for process in found:
            process.kill()
            process.communicate()


def faults(
    config: ArrayConfig,
    network: Network,
    data: Dataset,
    *,
    samples: int,
    epochs: int,
    rates: tuple[float, ...] = RATES,
    seed: int = 0,
    progress: Progress = silent,
) -> list[dict]:
    """A row for each rate: one training on a virtual board of its own, beside the golden model.

    ``result`` is one of `SAME_OR_NOT` or the message that the training ended with; ``sent``,
    ``received`` bytes of the line, ``seconds`` from the first frame to the last.
    """
    data = replace(data, x_train=data.x_train[:samples], y_train=data.y_train[:samples])
    settings = TrainSettings(epochs=epochs, seed=seed, rule=settings_for("ep-centered", network))
    with open_device("golden", config) as device:
        wanted = _train(device, network, data, settings, silent)
    rows = []
    for rate in rates:
        with virtual_board(config) as board:
            line = FaultyTransport(SerialTransport(board.port), rate, seed)
            stats, start = {}, time.monotonic()
            try:
                with SerialDevice(
                    line, expected=fingerprint(config), timeout=UNPACED_SECONDS
                ) as device:
                    device.simulated = True
                    stats = device.link_stats.__dict__
                    found = _train(device, network, data, settings, progress)
                result = SAME_OR_NOT[found != wanted]
            except RelaxonError as error:
                result = str(error)
            rows.append(
                {
                    "rate": rate,
                    "sent": line.sent,
                    "received": line.received,
                    "seconds": time.monotonic() - start,
                    "faults": {kind: line.met[kind] for kind in FAULTS},
                    "link": dict(stats),
                    "result": result,
                }
            )
    return rows
