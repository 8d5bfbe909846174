"""The netlist of a family against the golden model: `python tests/netlist.py --help`.

What synthesis for an FPGA family makes of the machine is compiled cell by cell into a virtual
board, which trains a plain and a convolutional network on a few digits over its UART; where the
pipeline is long, with walks over lists and from a sample memory. Weights, planes, drives, counters
and cycles must be those of the golden model, to the last bit.
"""

import argparse
import sys
import time

from relaxon.backends import open_device
from relaxon.network import Conv, Image, Network
from relaxon.rules import settings_for
from relaxon.training import TrainSettings
from relaxon_hdl.families import FAMILIES
from relaxon_isa.config import ArrayConfig
from relaxon_isa.presets import preset
from support.short_training import few_digits, trained

__all__ = ["TRIALS", "netlist_differs"]

CONVOLUTIONS = {"levels": 7, "learn_terms": 128}
LISTS = {
    "drains": True, "prefetch": True, "both": True, "sample_buffer": 64, "sample_memory": True,
}  # fmt: skip
TRIALS = {
    family.name: family.trial.replace(
        **CONVOLUTIONS, **(LISTS if family.trial.pipeline == "long" else {})
    )
    for family in FAMILIES.values()
    if family.trial
}
"""The machine whose netlist is looked at unless another is named, by family."""


def netlist_differs(family: str, config: ArrayConfig, samples: int) -> list[str]:
    """Names of what the netlist leaves otherwise than the golden model after short trainings."""
    plain = Network((64, 13, 10))
    rules = {plain: settings_for("ep-centered", plain, recipe="fast" if config.both else None)}
    if config.levels >= CONVOLUTIONS["levels"]:
        windows = Network((Image(8, 8, 1), Conv(4, 4, stride=2), 10))
        rules[windows] = settings_for("ep-centered", windows)
    data = few_digits(samples, 10)
    left = []
    options = {"family": family, "netlist": True, "report": print}
    for backend, chosen in (("golden", {}), ("virtual", options)):
        with open_device(backend, config, **chosen) as device:
            found = {}
            for network, rule in rules.items():
                trained_by = trained(device, network, data, TrainSettings(epochs=1, rule=rule))
                found |= {f"{name} of {network}": value for name, value in trained_by.items()}
        left.append(found)
    return [name for name, value in left[0].items() if left[1][name] != value]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("family", choices=TRIALS)
    parser.add_argument("--preset", help="machine; by default one that fits the family")
    parser.add_argument("--samples", type=int, default=50, help="digits to train on")
    arguments = parser.parse_args()
    family = arguments.family
    config = preset(arguments.preset) if arguments.preset else TRIALS[family]
    started = time.monotonic()
    differing = netlist_differs(family, config, arguments.samples)
    said = f"differs in {', '.join(differing)}" if differing else "identical to golden"
    print(f"{family} netlist, P = {config.p}: {said} ({time.monotonic() - started:.0f} s)")
    return bool(differing)


if __name__ == "__main__":
    sys.exit(main())
