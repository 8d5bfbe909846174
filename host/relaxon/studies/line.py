"""What the line carries, measured on the gateware: the virtual board's clocks and bytes."""

from relaxon_device.serial import UNPACED_SECONDS, SerialDevice
from relaxon_device.transport import SerialTransport
from relaxon_isa import ArrayConfig, Program, Register
from relaxon_isa.identity import fingerprint

from ..backends import virtual_board
from ..datasets import Dataset
from ..network import Network
from ..rules import make_rule
from ..training import Progress, silent
from .estimate import count_cycles, estimate, fixed_settings
from .faults import FaultyTransport

__all__ = ["BITS", "CLOCK_HZ", "DIVISOR", "line"]

CLOCK_HZ, DIVISOR = 75_000_000, 25
"""3 Mbaud."""
BITS = (8, 4, 1)
"""Of an input."""


def line(
    config: ArrayConfig,
    network: Network,
    data: Dataset,
    *,
    samples: int,
    bits: tuple[int, ...] = BITS,
    divisor: int = DIVISOR,
    progress: Progress = silent,
) -> list[dict]:
    """A row for each width of inputs, dense and, where the machine has them, as zero runs.

    Of a training sample, as the difference of two runs of which one trains ``samples`` more:
    ``cycles`` (of a clock of `CLOCK_HZ`), bytes ``up`` and ``down`` the line; ``payload``, its
    inputs and targets, dense; ``share`` of the line that dense payload takes up;
    ``samples_per_second``, and what `estimate` says, ``estimated`` (of dense samples).
    """
    config = config.replace(sample_memory=False)  # all of them come over the line
    rows = []
    with virtual_board(config, divisor=divisor) as board:
        wire = FaultyTransport(SerialTransport(board.port), 0.0, 0)
        with SerialDevice(wire, expected=fingerprint(config), timeout=UNPACED_SECONDS) as device:
            device.simulated = True
            for width in bits:
                settings = fixed_settings(network, input_bits=width)
                rule = make_rule(network, config, settings)
                rule.prepare(device)  # weights change no cycle
                labelled = rule.takes_ahead()
                program, marks = rule.train_program(labelled=labelled)
                inputs = rule.encode_inputs(data.x_train[: samples + 1])
                encode = rule.encode_labels if labelled else rule.encode_targets
                targets = encode(data.y_train[: samples + 1])
                given = [x + y for x, y in zip(inputs, targets, strict=True)]
                cost = estimate(network, config, input_bits=width)["training"]
                limit = min(cost.link_rate(CLOCK_HZ / divisor), cost.compute_rate(CLOCK_HZ))
                for runs in (False, True) if config.zero_runs else (False,):
                    device.zero_runs = runs
                    few, many = (
                        _counts(device, wire, program.patch(marks.samples, count=n)[0], given[:n])
                        for n in (1, 1 + samples)
                    )
                    progress(samples + 2)
                    cycles, up, down = ((m - f) / samples for f, m in zip(few, many, strict=True))
                    rows.append(
                        {
                            "bits": width,
                            "zero_runs": runs,
                            "payload": len(given[0]),
                            "up": up,
                            "down": down,
                            "cycles": cycles,
                            "share": len(given[0]) * 10 * divisor / cycles,
                            "samples_per_second": CLOCK_HZ / cycles,
                            "estimated": None if runs else limit,
                        }
                    )
    return rows


def _counts(
    device: SerialDevice, wire: FaultyTransport, program: Program, samples: list[bytes]
) -> tuple[int, int, int]:
    """Cycles of a run, those without a byte to take included, and bytes up and down."""
    device.load(program.rows)  # only what the board does not hold travels: not to be counted
    device.counters()  # answered behind it
    sent, received = wire.sent, wire.received
    cycles = sum(count_cycles(device, program, samples).values())
    counters = device.counters()
    cycles += counters[Register.WAIT_STALLS] + counters[Register.EMIT_STALLS]
    return cycles, wire.sent - sent, wire.received - received
