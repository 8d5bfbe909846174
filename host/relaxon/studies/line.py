"""What the line carries, measured on the gateware: the virtual board's clocks and bytes."""

from dataclasses import dataclass, replace

from relaxon_device.serial import UNPACED_SECONDS, SerialDevice
from relaxon_device.transport import SerialTransport
from relaxon_isa import ArrayConfig
from relaxon_isa.identity import fingerprint

from ..backends import virtual_board
from ..datasets import Dataset
from ..network import Network
from ..rules import make_rule
from ..training import Progress, Trainer, TrainSettings, silent
from .estimate import COMMAND_BYTES, Cost, fixed_settings

__all__ = ["BITS", "CLOCK_HZ", "DIVISOR", "line"]

CLOCK_HZ, DIVISOR = 75_000_000, 25
"""3 Mbaud."""
BITS = (8, 4, 1)
"""Of an input."""


@dataclass(frozen=True)
class _Life:
    """A board's cycles and bytes from its start to its stop."""

    cycles: int
    up: int
    down: int


def _train(
    config: ArrayConfig,
    network: Network,
    data: Dataset,
    bits: int,
    zero_runs: bool,
    samples: int,
    progress: Progress,
) -> _Life:
    data = replace(data, x_train=data.x_train[:samples], y_train=data.y_train[:samples])
    settings = TrainSettings(epochs=1, rule=fixed_settings(network, input_bits=bits))
    board = virtual_board(config, divisor=DIVISOR)
    with board:
        transport = SerialTransport(board.port)
        with SerialDevice(
            transport, expected=fingerprint(config), timeout=UNPACED_SECONDS
        ) as device:
            device.simulated, device.zero_runs = True, zero_runs
            trainer = Trainer(device, network, data, settings)
            trainer.start()
            trainer.run_epoch(progress)
    stats = board.stats
    assert stats
    return _Life(stats.cycles, stats.bytes_in, stats.bytes_out)


def line(
    config: ArrayConfig,
    network: Network,
    data: Dataset,
    *,
    samples: int,
    bits: tuple[int, ...] = BITS,
    progress: Progress = silent,
) -> list[dict]:
    """A row for each width of inputs, dense and, where the machine has them, as zero runs.

    Of a training sample, as the difference of two boards' lives of which one trains ``samples``
    more: ``cycles`` (of a clock of `CLOCK_HZ`), bytes ``up`` and ``down`` the line; ``payload``,
    its inputs and targets, dense; ``share`` of the line that dense payload takes up;
    ``samples_per_second``, and what `estimate` says, ``estimated`` (of dense samples).
    """
    rows = []
    for width in bits:
        rule = make_rule(network, config, fixed_settings(network, input_bits=width))
        inputs = rule.encode_inputs(data.x_train[:1])
        targets = rule.encode_targets(data.y_train[:1])
        payload = len(inputs[0]) + len(targets[0])
        for runs in (False, True) if config.zero_runs else (False,):
            few, many = (
                _train(config, network, data, width, runs, count, progress)
                for count in (1, 1 + samples)
            )
            cycles = (many.cycles - few.cycles) / samples
            cost = Cost(0, {}, COMMAND_BYTES + payload, COMMAND_BYTES + 2)
            rows.append(
                {
                    "bits": width,
                    "zero_runs": runs,
                    "payload": payload,
                    "up": (many.up - few.up) / samples,
                    "down": (many.down - few.down) / samples,
                    "cycles": cycles,
                    "share": payload * 10 * DIVISOR / cycles,
                    "samples_per_second": CLOCK_HZ / cycles,
                    "estimated": None if runs else cost.link_rate(CLOCK_HZ / DIVISOR),
                }
            )
    return rows
