"""Exact cycles of a training and of an inference sample, over networks and array sizes."""

import numpy as np

from relaxon_isa import Program, Space, preset

from ..backends import open_device
from ..network import Network
from ..rules import make_rule, settings_for
from ..rules.base import Rule
from .estimate import FAR, count_cycles, fixed_settings

__all__ = ["cycles"]

NETWORKS = ("64-32-10", "196-120-10", "784-128-10", "784-128-64-10")
SIZES = (4, 8, 12)


def cycles() -> list[dict]:
    """One row per network, array size and pass: cycles by the golden model's counters."""
    rows = []
    for text in NETWORKS:
        network = Network.parse(text)
        for p in SIZES:
            config = preset("default").replace(p=p, weight_depth=1 << 14, drive_depth=512)
            rule = make_rule(network, config, fixed_settings(network))
            stopping = make_rule(
                network, config, settings_for("ep-centered", network.depth, recipe="fast")
            )
            for name, some, program, target in (
                ("training", rule, rule.resident_program(), 0),
                ("fast, within", stopping, stopping.resident_program(), 0),
                ("fast, beyond", stopping, stopping.resident_program(), FAR),
                ("inference", rule, rule.infer_program(resident=True), 0),
            ):
                kinds = _count(some, program, target)
                total = sum(kinds.values())
                rows.append({"network": text, "p": p, "pass": name, "cycles": total, **kinds})
    return rows


def _count(rule: Rule, program: Program, target: float) -> dict[str, int]:
    """Cycles of a sample whose inputs and weights are 0, and whose outputs all have one target."""
    with open_device("golden", rule.config, engine="numpy") as device:
        rule.prepare(device)
        targets = np.full(rule.layout.network.sizes[-1], target * 2**rule.formats.state_frac, int)
        device.write(Space.STATE, rule.layout.y * rule.config.p, targets)
        return count_cycles(device, program)
