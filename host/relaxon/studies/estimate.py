"""What a network would cost on a machine, before there is a bitstream."""

from collections.abc import Iterable
from dataclasses import dataclass

from relaxon_device.base import Device
from relaxon_device.link import FRAME_BYTES
from relaxon_isa import MAX_PAYLOAD, ArrayConfig, Program, Register, Space, element_bytes

from ..backends import open_device
from ..network import Network
from ..rules import make_rule, settings_for
from ..rules.settings import RuleSettings
from ..training import KINDS

__all__ = [
    "COMMAND_BYTES",
    "FREE_SWEEPS",
    "NUDGED_SWEEPS",
    "Cost",
    "count_cycles",
    "estimate",
    "fixed_settings",
    "sample_cycles",
]

FREE_SWEEPS, NUDGED_SWEEPS = 6, 4
"""What phases are taken to need where nobody says otherwise."""
COMMAND_BYTES = 3
"""A SAMPLE command's own bytes; an EMIT record's likewise."""


@dataclass(frozen=True)
class Cost:
    """One sample of a pass.

    ``kinds`` sum up to ``cycles``; a sample whose bytes have arrived needs no more. ``rx_bytes``
    and ``tx_bytes`` are those of the link's streams, seen from the board.
    """

    cycles: int
    kinds: dict[str, int]
    rx_bytes: int
    tx_bytes: int

    def compute_rate(self, clock_hz: float) -> float:
        """Samples/s of an array that never waits."""
        return clock_hz / self.cycles

    def link_rate(self, baud: float) -> float:
        """Samples/s of a line that never waits: 10 bits a byte, full frames."""
        line = max(self.rx_bytes, self.tx_bytes) * FRAME_BYTES / MAX_PAYLOAD
        return baud / (10 * line)


def fixed_settings(
    network: Network,
    free_sweeps: int = FREE_SWEEPS,
    nudged_sweeps: int = NUDGED_SWEEPS,
    input_bits: int = 8,
) -> RuleSettings:
    """Phases of a given number of sweeps, so that cycles do not depend on data."""
    return settings_for(
        "ep-centered",
        network.depth,
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
) -> dict[str, Cost]:
    """Cost of a sample in "training" and "inference", by the golden model's exact counters.

    Raises ConfigError, with what would fit, for a network that does not.
    """
    settings = fixed_settings(network, free_sweeps, nudged_sweeps, input_bits)
    rule = make_rule(network, config, settings)
    train, _ = rule.train_program()
    word = element_bytes(config, Space.STATE)
    inputs = (network.sizes[0] * input_bits + 7) // 8
    costs = {}
    with open_device("golden", config, engine="numpy") as device:
        rule.prepare(device)
        for name, program, targets in (
            ("training", train, word * network.sizes[-1]),
            ("inference", rule.infer_program(), 0),
        ):
            sample = bytes(inputs + targets)
            kinds = sample_cycles(device, program, sample)
            costs[name] = Cost(
                cycles=sum(kinds.values()),
                kinds=kinds,
                rx_bytes=COMMAND_BYTES + len(sample),
                tx_bytes=COMMAND_BYTES + 2,
            )
    return costs


def count_cycles(device: Device, program: Program, samples: Iterable[bytes] = ()) -> dict[str, int]:
    """Cycles by kind (`relaxon.training.KINDS`) of one run of a program."""
    device.write(Space.REGISTER, Register.MAC_CYCLES, [0] * (len(Register) - 2))
    device.load(program.rows)
    for _ in device.run(samples):
        pass
    counters = device.counters()
    return {kind: counters[register] for kind, register in KINDS.items()}


def sample_cycles(device: Device, program: Program, sample: bytes) -> dict[str, int]:
    """Cycles by kind that one sample more costs a program whose first LOOP counts samples."""
    one, two = (count_cycles(device, program.patch(0, count=n)[0], [sample] * n) for n in (1, 2))
    return {kind: two[kind] - one[kind] for kind in KINDS}
