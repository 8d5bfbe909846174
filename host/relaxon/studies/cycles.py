"""Exact cycles of a training and of an inference sample, over networks and array sizes."""

from relaxon_isa import preset

from ..backends import open_device
from ..network import Network
from ..rules import make_rule
from .estimate import count_cycles, fixed_settings

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
            with open_device("golden", config, engine="numpy") as device:
                rule = make_rule(network, config, fixed_settings(network))
                rule.prepare(device)
                for name, program in (
                    ("training", rule.resident_program()),
                    ("inference", rule.infer_program(resident=True)),
                ):
                    kinds = count_cycles(device, program)
                    total = sum(kinds.values())
                    rows.append({"network": text, "p": p, "pass": name, "cycles": total, **kinds})
    return rows
