"""What errors on the line cost, in simulated time, as a table: ``python tests/line.py``.

The host is the real one; a model of the board trains 784-128-10 as ecp5-85f would.
"""

import argparse
import random

from relaxon_isa.presets import PRESETS, preset
from support.simulated_line import measure

BYTES = 784 + 20
COMPUTE = 2528 / 75e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", choices=PRESETS, default="ecp5-85f")
    parser.add_argument("--baud", type=float, default=3e6)
    parser.add_argument("--samples", type=int, default=120)
    parser.add_argument("--rate", type=float, nargs="*", default=[0, 1e-4, 1e-3, 3e-3, 1e-2])
    parser.add_argument("--latency", type=float, nargs="*", default=[0, 1, 2], help="ms")
    asked = parser.parse_args()
    rng = random.Random(7)
    samples = [bytes(rng.randrange(1, 256) for _ in range(BYTES)) for _ in range(asked.samples)]
    print("| latency | errors | samples/s, errors up | both ways | bytes, both ways |")
    print("|--:|--:|--:|--:|--:|")
    for latency in asked.latency:
        first = None
        for rate in asked.rate:
            up, both = (
                measure(
                    preset(asked.preset),
                    samples,
                    baud=asked.baud,
                    latency=latency / 1000,
                    compute=COMPUTE,
                    up=rate,
                    down=down,
                )
                for down in (0.0, rate)
            )
            total = both.up + both.down
            first = first or (up.samples, total)
            shares = f"{up.samples / first[0]:.0%} | {both.samples:.0f} | {total / first[1]:.2f}"
            print(f"| {latency:g} ms | {rate:g} | {up.samples:.0f}, {shares} |", flush=True)


if __name__ == "__main__":
    main()
