"""What a network would cost on a machine, before there is a bitstream."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import inf

import numpy as np

from relaxon_device.base import Device
from relaxon_device.link import FRAME_BYTES
from relaxon_isa import (
    INDEX_BYTES,
    MAX_PAYLOAD,
    ArrayConfig,
    Loop,
    Program,
    Register,
    Space,
    registers,
)

from ..backends import open_device
from ..network import Network
from ..rules import make_rule, settings_for
from ..rules.settings import RuleSettings
from ..training import KINDS

__all__ = [
    "BEYOND",
    "COMMAND_BYTES",
    "FAR",
    "FREE_SWEEPS",
    "LISTED",
    "NUDGED_SWEEPS",
    "Cost",
    "count_cycles",
    "estimate",
    "fixed_settings",
    "sample_cycles",
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
INDEX_COST = INDEX_BYTES + (COMMAND_BYTES + 12) / 256
"""Bytes sent for a sample of a sample memory: its index, and its share of the commands that give
256 of them and then read the samples' counter."""
RECORD_CYCLES = 7
"""Cycles of a record besides one a word, refreshes included: tests/hdl/test_records.py holds the
machine to that."""


@dataclass(frozen=True)
class Cost:
    """One sample of a pass.

    ``kinds`` sum up to ``cycles``; a sample whose bytes have arrived needs no more. ``rx_bytes``
    and ``tx_bytes`` are those of the link's streams, seen from the board. ``memory_cycles`` are
    those of its record in the sample memory; 0: it comes over the line.
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
) -> dict[str, Cost]:
    """Cost of a sample in "training" and "inference", by the golden model's exact counters.

    With a recipe that stops early (`RECIPES`) sweeps depend on data: "within" is a training sample
    that its first pass brings within the margin, "beyond" one that stays beyond it and learns, and
    "training" their mean with a share of `BEYOND` beyond. A machine that walks over lists does so
    with a share of `LISTED` in them, and trains from its sample memory, if it has one.

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
            costs[name] = Cost(
                cycles=sum(kinds.values()),
                kinds=kinds,
                rx_bytes=INDEX_COST if held else COMMAND_BYTES + len(sample),
                tx_bytes=0 if labelled and name in trained else COMMAND_BYTES + 2,
                memory_cycles=(len(sample) + 1) // 2 + RECORD_CYCLES if held else 0,
            )
    if recipe:
        within, beyond = costs["within"].kinds, costs["beyond"].kinds
        mean = {k: round(within[k] + BEYOND * (beyond[k] - within[k])) for k in within}
        costs["training"] = replace(costs["within"], cycles=sum(mean.values()), kinds=mean)
    return costs


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
