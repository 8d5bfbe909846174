"""Exact cycles of a training and of an inference sample, over networks and array sizes."""

from itertools import product

import numpy as np

from relaxon_isa import ArrayConfig, Program, Space, preset

from ..backends import open_device
from ..network import Network
from ..rules import make_rule, settings_for
from ..rules.base import Rule
from .estimate import FAR, FREE_SWEEPS, NUDGED_SWEEPS, count_cycles, fixed_settings

__all__ = ["cycles", "cycles_of"]

NETWORKS = (
    *("64-32-10", "196-120-10", "784-128-10", "784-128-64-10"),
    *("8x8x1-16c4s2-10", "28x28x1-12c6s2-36c4s2-10", "28x28x1-24c6s2-48c4s2-10"),
)
SIZES = (4, 8, 12)


def cycles() -> list[dict]:
    """`cycles_of` a table of networks on arrays of three sizes, each with enough memory."""
    rows = []
    for text, p in product(NETWORKS, SIZES):
        network = Network.parse(text)
        config = preset("default").replace(p=p, weight_depth=1 << 14, drive_depth=512)
        if network.convolves:
            config = preset("conv").replace(p=p)
        rows += cycles_of(network, config)
    return rows


def cycles_of(network: Network, config: ArrayConfig) -> list[dict]:
    """One row a pass: cycles by the golden model's counters, and what the network takes of the
    machine's memories. Raises ConfigError if it does not fit."""
    free, nudged = (4, 1) if network.convolves else (FREE_SWEEPS, NUDGED_SWEEPS)
    rule = make_rule(network, config, fixed_settings(network, free, nudged))
    passes = [("training", rule, rule.resident_program(), 0.0)]
    if not network.convolves:
        fast = settings_for("ep-centered", network, recipe="fast")
        some = make_rule(network, config, fast)
        passes.append(("fast, within", some, some.resident_program(), 0.0))
        passes.append(("fast, beyond", some, some.resident_program(), FAR))
    passes.append(("inference", rule, rule.infer_program(resident=True), 0.0))
    rows, lay = [], rule.layout
    memory = {"states": lay.state_groups, "drives": lay.drive_groups, "tiles": lay.tiles}
    for name, some, program, target in passes:
        kinds = _count(some, program, target)
        row = {"network": str(network), "p": config.p, "pass": name, "cycles": sum(kinds.values())}
        rows.append({**row, **kinds, **memory})
    return rows


def _count(rule: Rule, program: Program, target: float) -> dict[str, int]:
    """Cycles of a sample whose inputs and weights are 0, and whose outputs all have one target."""
    with open_device("golden", rule.config, engine="numpy") as device:
        rule.prepare(device)
        targets = np.full(rule.layout.network.sizes[-1], target * 2**rule.formats.state_frac, int)
        device.write(Space.STATE, rule.layout.y * rule.config.p, targets)
        return count_cycles(device, program)
