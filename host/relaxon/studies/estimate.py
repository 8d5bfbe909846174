"""What a network would cost on a machine, before there is a bitstream."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import inf

import numpy as np

from relaxon_device.base import Device
from relaxon_device.link import FRAME_BYTES
from relaxon_isa import (
    BOARD_HEADER_BYTES,
    CRC_BYTES,
    INDEX_BYTES,
    KEPT_BYTES,
    MAX_PAYLOAD,
    ArrayConfig,
    Loop,
    Program,
    Register,
    Space,
    Wait,
    drain_cycles,
    issue_cycles,
    registers,
)
from relaxon_isa.order import OrderPart

from ..backends import open_device
from ..network import Network
from ..rules import make_rule, settings_for
from ..rules.settings import RuleSettings
from ..training import FEISTEL, KINDS, ORDERS

__all__ = [
    "BEYOND",
    "COMMAND_BYTES",
    "FAR",
    "FREE_SWEEPS",
    "LISTED",
    "NUDGED_SWEEPS",
    "PLACE_COSTS",
    "Cost",
    "Latency",
    "count_cycles",
    "estimate",
    "fixed_settings",
    "latency_of",
    "made_by_machine",
    "sample_cycles",
    "usual_latency",
]

FREE_SWEEPS, NUDGED_SWEEPS = 6, 4
"""What phases are taken to need where nobody says otherwise."""
BEYOND = 0.08
"""Share of samples that learn with recipe fast: MNIST, 784-128-10, the mean of ten epochs by
`relaxon bench speed`. A network that is still far from its targets has more, a trained one less."""
FAR = 1.75
"""A target that no output comes near: they end at 1."""
LISTED = 0.22
"""Share of a sample's groups that the longest list of its non-zero inputs has: MNIST on 12 columns,
14.7 rows of 66 groups (`relaxon bench speed`). Cycles of a machine that walks over lists count with
as many inputs other than 0."""
COMMAND_BYTES = 3
"""A SAMPLE command's own bytes; an EMIT record's likewise."""
POLL_BYTES = 12
"""Of the commands that read the samples' counter after 256 samples of a sample memory."""
PLACE_COSTS = {
    ORDERS[0]: INDEX_BYTES + (COMMAND_BYTES + POLL_BYTES) / 256,
    FEISTEL: (len(OrderPart(key=0, records=1, first=0, count=1).encode()) + POLL_BYTES) / 256,
}
"""Bytes sent for a sample of a sample memory, by `TrainSettings.order`: its index, or nothing of
its own; and its share of what is sent for 256."""
AROUND_BYTES = 16
"""Of the commands around a single sample: RUN before it, CHECKSUM and READ behind."""
ENDING_BYTES = 2 * COMMAND_BYTES + 4
"""Of the records behind its EMIT: DONE and that READ's DATA."""
RECORD_CYCLES = 7
"""Cycles of a record besides one a word, refreshes included: tests/hdl/test_records.py holds the
machine to that."""
PLACE_CYCLES = 5 + 4 * 22
"""In which a machine finds the record at a place of its own order, beside the reading of the record
before: the mean of the number of samples that takes longest (60,000 samples: 29)."""


@dataclass(frozen=True)
class Cost:
    """One sample of a pass.

    ``kinds`` sum up to ``cycles``; a sample whose bytes have arrived needs no more. ``rx_bytes``
    and ``tx_bytes`` are those of the link's streams, seen from the board. ``memory_cycles`` are
    those of its record in the sample memory, found and read; 0: it comes over the line.
    """

    cycles: int
    kinds: dict[str, int]
    rx_bytes: float
    tx_bytes: int
    memory_cycles: int = 0

    def compute_rate(self, clock_hz: float) -> float:
        """Samples/s of an array that never waits."""
        return clock_hz / self.cycles

    def memory_rate(self, clock_hz: float) -> float:
        """Samples/s of the sample memory; infinite where it is not used."""
        return clock_hz / self.memory_cycles if self.memory_cycles else inf

    def link_rate(self, baud: float, latency: float = 0.0, room: float = inf) -> float:
        """Samples/s of the line beside an array that never waits: 10 bits a byte, full frames.

        ``latency``: seconds that answers take besides their time on the line. The host sends
        ``room`` bytes ahead at most, so that no more go over the line a round trip, which is the
        latency and the time of a frame and a half.
        """
        frame = 10 * FRAME_BYTES / baud
        line = max(self.rx_bytes, self.tx_bytes) * frame / MAX_PAYLOAD
        window = self.rx_bytes * (latency + 1.5 * frame) / room if latency else 0.0
        return 1 / max(line, window)


@dataclass(frozen=True)
class Latency:
    """One prediction, from the host's first byte to the run's last record.

    Seconds of its parts, one behind the other: ``up``, its bytes on the line and waits for room in
    the board's ring; ``array``, the program from the last of them on; ``down``, the answer's
    bytes; ``usb``, what adapter and computer add. Bytes on the line both ways.
    """

    up: float
    array: float
    down: float
    usb: float
    bytes_up: int
    bytes_down: int

    @property
    def total(self) -> float:
        return self.up + self.array + self.down + self.usb


def usual_latency(usb: str) -> float:
    """Seconds that an adapter takes from byte to byte, by its name: those of FTDI as relaxon sets
    them, or the most of what others do."""
    return 0.0012 if usb.startswith("FT") else 0.002


def latency_of(
    network: Network,
    config: ArrayConfig,
    *,
    clock_hz: int,
    baud: float,
    usb: float = 0.0,
    free_sweeps: int = FREE_SWEEPS,
    input_bits: int = 8,
) -> Latency:
    """`Latency` of ``Device.run`` with one sample and a program that is loaded, inputs dense.

    ``usb``: seconds. Raises ConfigError as `estimate`.
    """
    cost = estimate(network, config, free_sweeps=free_sweeps, input_bits=input_bits)["inference"]
    rule = make_rule(network, config, fixed_settings(network, free_sweeps, input_bits=input_bits))
    byte, room = 10 / baud, config.rx_bytes - 2
    sent = round(cost.rx_bytes) + AROUND_BYTES
    last = sent % MAX_PAYLOAD or MAX_PAYLOAD
    # An empty frame of the board's: the answer to each of the host's, and around records.
    frame = BOARD_HEADER_BYTES + KEPT_BYTES * config.selective_repeat + CRC_BYTES + 2
    # After so much a full ring has room again: `Cost.link_rate`.
    turn = usb + (1.5 * FRAME_BYTES + frame) * byte
    waits = (sent - 1) // room * max(0.0, turn - _on_line(room) * byte)
    # WAIT takes bytes as they come: what is left of it are those of the last frame.
    wait = sum(
        issue_cycles(config, i) + drain_cycles(config, i)
        for i in rule.infer_program().instructions
        if isinstance(i, Wait) and not i.ahead
    )
    cycles = cost.cycles - wait * max(0.0, 1 - last / sent)
    # The answer to the last frame is on its way first.
    return Latency(
        up=_on_line(sent) * byte + waits,
        array=max(cycles / clock_hz, frame * byte),
        down=(2 * frame + cost.tx_bytes + ENDING_BYTES) * byte,
        usb=usb,
        bytes_up=_on_line(sent),
        bytes_down=2 * frame + cost.tx_bytes + ENDING_BYTES,
    )


def _on_line(sent: int) -> int:
    """Bytes on the line of so many of the host's stream, in full frames."""
    return sent + -(-sent // MAX_PAYLOAD) * (FRAME_BYTES - MAX_PAYLOAD)


def fixed_settings(
    network: Network,
    free_sweeps: int = FREE_SWEEPS,
    nudged_sweeps: int = NUDGED_SWEEPS,
    input_bits: int = 8,
) -> RuleSettings:
    """Phases of a given number of sweeps, so that cycles do not depend on data."""
    return settings_for(
        "ep-centered",
        network,
        free_cap=free_sweeps,
        nudged_cap=nudged_sweeps,
        fixed_sweeps=True,
        input_bits=input_bits,
    )


def estimate(
    network: Network,
    config: ArrayConfig,
    *,
    free_sweeps: int = FREE_SWEEPS,
    nudged_sweeps: int = NUDGED_SWEEPS,
    input_bits: int = 8,
    recipe: str | None = None,
    order: str = ORDERS[0],
) -> dict[str, Cost]:
    """Cost of a sample in "training" and "inference", by the golden model's exact counters.

    With a recipe that stops early (`RECIPES`) sweeps depend on data: "within" is a training sample
    that its first pass brings within the margin, "beyond" one that stays beyond it and learns, and
    "training" their mean with a share of `BEYOND` beyond. A machine that walks over lists does so
    with a share of `LISTED` in them, and trains from its sample memory, if it has one, in an order
    of that kind.

    Raises ConfigError, with what would fit, for a network that does not.
    """
    settings = fixed_settings(network, free_sweeps, nudged_sweeps, input_bits)
    if recipe:
        settings = settings_for("ep-centered", network, recipe=recipe, input_bits=input_bits)
    rule = make_rule(network, config, settings)
    features, outputs = network.sizes[0], network.sizes[-1]
    labelled = rule.takes_ahead()
    train, _ = rule.train_program(labelled=labelled)
    x = np.zeros((1, features))
    if labelled:
        x[:, : round(LISTED * features)] = 1
        near, far = rule.encode_labels(np.array([min(outputs, 255), 0]))
        infer = _to_the_cap(rule.infer_program())
    else:
        near, far = rule.encode_targets(np.outer((0, FAR), np.ones(outputs)))
        to_the_cap = replace(settings, early_stop=False, fixed_sweeps=True)
        infer = make_rule(network, config, to_the_cap).infer_program()
    inputs = rule.encode_inputs(x)[0]
    trained = {"within": near, "beyond": far} if recipe else {"training": near}
    costs = {}
    with open_device("golden", config, engine="numpy") as device:
        rule.prepare(device)
        for name, program, targets in (
            *((name, train, targets) for name, targets in trained.items()),
            ("inference", infer, b""),
        ):
            sample = inputs + targets
            kinds = sample_cycles(device, program, sample)
            held = config.sample_memory and labelled and name in trained
            record = (len(sample) + 1) // 2 + RECORD_CYCLES
            costs[name] = Cost(
                cycles=sum(kinds.values()),
                kinds=kinds,
                rx_bytes=PLACE_COSTS[ORDERS[0]] if held else COMMAND_BYTES + len(sample),
                tx_bytes=0 if labelled and name in trained else COMMAND_BYTES + 2,
                memory_cycles=record if held else 0,
            )
            if held and order == FEISTEL:
                costs[name] = made_by_machine(costs[name])
    if recipe:
        within, beyond = costs["within"].kinds, costs["beyond"].kinds
        mean = {k: round(within[k] + BEYOND * (beyond[k] - within[k])) for k in within}
        costs["training"] = replace(costs["within"], cycles=sum(mean.values()), kinds=mean)
    return costs


def made_by_machine(cost: Cost) -> Cost:
    """`Cost` of a sample of a sample memory, where the machine makes the order."""
    cycles = max(cost.memory_cycles, PLACE_CYCLES)
    return replace(cost, rx_bytes=PLACE_COSTS[FEISTEL], memory_cycles=cycles)


def _to_the_cap(program: Program) -> Program:
    """The program with loops that go on though the flag is set."""
    return Program(
        program.config,
        tuple(replace(i, until=False) if isinstance(i, Loop) else i for i in program.instructions),
    )


def count_cycles(device: Device, program: Program, samples: Iterable[bytes] = ()) -> dict[str, int]:
    """Cycles by kind (`relaxon.training.KINDS`) of one run of a program."""
    device.write(Space.REGISTER, Register.MAC_CYCLES, [0] * (len(registers(device.config)) - 2))
    device.load(program.rows)
    for _ in device.run(samples):
        pass
    counters = device.counters()
    return {kind: counters[register] for kind, register in KINDS.items()}


def sample_cycles(device: Device, program: Program, sample: bytes) -> dict[str, int]:
    """Cycles by kind that one sample more costs a program whose first LOOP counts samples. (Its
    drains are those of a LOOP that repeats, if it has more than one trip.)"""
    loop = next(i for i, x in enumerate(program.instructions) if isinstance(x, Loop))
    less, more = (
        count_cycles(device, program.patch(loop, count=n)[0], [sample] * n) for n in (2, 3)
    )
    return {kind: more[kind] - less[kind] for kind in KINDS}
