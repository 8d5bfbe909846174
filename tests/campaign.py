"""Random programs on two machines, compared to the last bit: `python tests/campaign.py --help`.

Each program runs on the golden model, by numpy, and on the virtual board (the gateware) or the
golden model's compiled engine. What is compared: EMITs, all of S and D, all registers but stalls
and the link's own. Weights are in the EMITs.
"""

import argparse
import sys
import time
from collections import Counter
from random import Random

from relaxon.backends import open_device
from relaxon_device.base import Device
from relaxon_isa.config import ArrayConfig
from relaxon_isa.errors import DeviceError
from relaxon_isa.presets import preset
from support.coverage import all_bins
from support.observe import differences, observe
from support.random_programs import random_program

__all__ = ["CAMPAIGN", "Campaign"]

CAMPAIGN = preset("default").replace(
    p=3,
    weight_depth=64,
    state_depth=64,
    drive_depth=16,
    program_rows=256,
    levels=5,
)
"""Small memories, so that all of them travel for every program."""


class Campaign:
    """Runs programs on a device and on the golden model, and keeps the tally.

    Members
    -------
    bins
        Coverage bins hit so far.
    results
        How many results were "zero", "saturated" or "other".
    ran
        Programs.
    """

    def __init__(self, device: Device, seed: int) -> None:
        self.device = device
        self.golden = open_device("golden", device.config, engine="numpy")
        self.seed = seed
        self.bins: set[str] = set()
        self.results: Counter[str] = Counter()
        self.ran = 0

    def step(self) -> list[str]:
        """The next program; returns what differs, with the seed that makes it again."""
        seed = self.seed + self.ran
        case = random_program(self.device.config, Random(seed))
        right = observe(self.golden, case)
        try:
            found = differences(right, observe(self.device, case))
        except DeviceError as error:  # it takes another path than its samples are for
            found = [f"the device fails where the golden model does not: {error}"]
        self.ran += 1
        self.bins |= case.bins
        self.results.update(case.results)
        if found:
            return [f"program of seed {seed} (golden against device):", *found,
                    case.program.listing()]  # fmt: skip
        return []

    def missed(self) -> list[str]:
        """Bins not hit."""
        return sorted(all_bins(self.device.config) - self.bins)

    def summary(self) -> str:
        total = sum(self.results.values()) or 1
        shares = ", ".join(f"{k} {v / total:.0%}" for k, v in sorted(self.results.items()))
        full = all_bins(self.device.config)
        return (
            f"{self.ran} programs from seed {self.seed}; coverage {len(self.bins & full)} of "
            f"{len(full)} bins; results: {shares}"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="programs")
    parser.add_argument("--seed", type=int, default=0, help="of the first; the next are +1, +2 ..")
    parser.add_argument("--backend", default="virtual", help="virtual or a serial port")
    parser.add_argument("--family", help="instantiate this FPGA family's primitives (virtual)")
    parser.add_argument("--engine", choices=["compiled"], help="the golden model's other engine")
    parser.add_argument("--preset", help="machine; by default a small one with every mode")
    arguments = parser.parse_args()
    config: ArrayConfig = preset(arguments.preset) if arguments.preset else CAMPAIGN
    started = time.monotonic()
    backend, options = arguments.backend, {}
    if arguments.family:
        options = {"family": arguments.family}
    elif arguments.engine:
        backend, options = "golden", {"engine": arguments.engine}
    with open_device(backend, config, **options) as device:
        campaign = Campaign(device, arguments.seed)
        for i in range(arguments.count):
            found = campaign.step()
            if found:
                print("\n".join(found))
                return 1
            if i % 100 == 99:
                print(f"{campaign.summary()}; {time.monotonic() - started:.0f} s", flush=True)
    print(campaign.summary())
    for missed in campaign.missed():
        print(f"not covered: {missed}")
    if arguments.count < 200:  # too few to be full
        return 0
    dull = 2 * campaign.results["other"] < sum(campaign.results.values())
    return 1 if campaign.missed() or dull else 0


if __name__ == "__main__":
    sys.exit(main())
