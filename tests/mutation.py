"""The mutation score of the gateware: `python tests/mutation.py --help`.

Mutants (`support.mutants`) are drawn over the whole machine and judged one by one, by the cheapest
check first, until one notices. Of those that none does, yosys proves some to change nothing. The
others survive and are printed with their place. The golden model answers each question once.
"""

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from itertools import chain
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np

from campaign import CAMPAIGN
from relaxon.backends import open_device
from relaxon.selftest import self_test
from relaxon_device.base import left_over
from relaxon_device.serial import SerialDevice
from relaxon_device.transport import SerialTransport
from relaxon_isa.config import ArrayConfig
from relaxon_isa.errors import DeviceError
from relaxon_isa.identity import decode_info, encode_info, fingerprint
from relaxon_isa.instructions import Emit, Halt
from relaxon_isa.memory import Register, Space
from relaxon_isa.presets import preset
from relaxon_isa.program import Program
from support.board_model import FaultyLine
from support.budget import processor_time
from support.mutants import BATCH, BUILD, CLOCK_HZ, DIVISOR, Mutant, MutantLine, Mutants
from support.observe import differences, observe
from support.random_programs import random_program

__all__ = ["MACHINES", "Court", "Verdict", "judge_mutants"]

SMALL = {"weight_depth": 64, "state_depth": 64, "drive_depth": 16, "program_rows": 256}
MACHINES: dict[str, ArrayConfig] = {
    "default": CAMPAIGN,
    "up5k": preset("up5k").replace(**SMALL),
}
"""Two weight ports and the long pipeline; one and the short. Small memories, as in the campaign."""

FIRST = 12
"""Random programs for every mutant."""
ALL = 200
"""Random programs for those that nothing else shows."""
SILENCE = 0.1
"""Seconds until the host asks again."""
RUN_SECONDS = 2.0
"""A program that says nothing for so long will not end."""


EQUIVALENT = "proved equivalent"


class Verdict(NamedTuple):
    """What became of a mutant.

    Members
    -------
    check
        The check that noticed it; `EQUIVALENT` if it is proved to change nothing; empty for a
        survivor.
    how
        What it saw.
    """

    check: str
    how: str


class Court:
    """Judges boards of one configuration.

    Parameters
    ----------
    config
        The machine.
    seed
        Of the first random program.
    thorough
        Whether survivors of all else are given `ALL` programs, and then a proof is tried.
    """

    def __init__(self, config: ArrayConfig, seed: int, *, thorough: bool) -> None:
        self.config, self.seed = config, seed
        self.checks: dict[str, Callable[[SerialDevice], list[str]]] = {
            "identity": self.identity,
            "programs": lambda device: self.programs(device, range(FIRST)),
            "host": self.host,
            "bad line": self.bad_line,
            "self-test": lambda device: list(self_test(device).failures()),
        }
        if thorough:
            self.checks["more programs"] = lambda device: self.programs(device, range(FIRST, ALL))
        self.case = cache(lambda number: random_program(config, Random(seed + number)))
        self.right = cache(self._right)

    def _right(self, numbers: range) -> list[dict[str, object]]:
        """What the golden model leaves after each of these programs, run in this order."""
        golden = open_device("golden", self.config)
        return [observe(golden, self.case(number)) for number in numbers]

    def judge(self, program: Path, number: int) -> Verdict:
        """Try the checks on a mutant, each on a board that has just been switched on."""
        for name, check in self.checks.items():
            faults = self.noise() if name == "bad line" else None
            line = self.line = MutantLine(program, number, faults)
            try:
                device = SerialDevice(
                    line, expected=fingerprint(self.config), timeout=SILENCE, clock=line.clock
                )
                device.run_limit = RUN_SECONDS
                found = check(device)
            except DeviceError as error:
                found = [f"the device fails: {error}"]
            finally:
                line.close()
            if found:
                return Verdict(name, found[0])
        return Verdict("", "")

    def noise(self) -> tuple[FaultyLine, FaultyLine]:
        """Bytes damaged, lost and repeated, both ways."""
        rates = {"flip": 0.0005, "lose": 0.0002, "chunk": 0.01}
        return FaultyLine(self.seed, **rates), FaultyLine(self.seed + 1, **rates)

    # The checks: what is wrong, in words ------------------------------------------------------

    def identity(self, device: SerialDevice) -> list[str]:
        baud = CLOCK_HZ // DIVISOR
        right = decode_info(encode_info(self.config, build=BUILD, clock_hz=CLOCK_HZ, baud=baud))
        if device.identity != right:
            return [f"identity {device.identity}"]
        return [] if device.unused else ["a new board says that it was used"]

    def programs(self, device: SerialDevice, numbers: range) -> list[str]:
        for number, right in zip(numbers, self.right(numbers), strict=True):
            found = differences(right, observe(device, self.case(number)))
            if found:
                return [f"program {self.seed + number}: {found[0][:60]}"]
        return []

    def host(self, device: SerialDevice) -> list[str]:
        """Reads and writes that begin and end anywhere; runs from any row, and aborted ones."""
        rng = np.random.default_rng(self.seed)
        golden = open_device("golden", self.config)
        for space in (Space.STATE, Space.DRIVE, Space.PROGRAM):
            layout = golden.layouts[space]
            bits = layout.element_bytes * 8 if layout.dtype == object else 0
            for start, count in ((0, layout.size), (1, 5), (layout.size - 7, 7)):
                if bits:
                    high = layout.high
                    values = [int.from_bytes(rng.bytes(bits // 8)) & high for _ in range(count)]
                else:
                    values = rng.integers(layout.low, layout.high + 1, count).tolist()
                for machine in (golden, device):
                    machine.write(space, start, values)
                for first, some in ((start, count), (start + 1, count - 2)):
                    right, found = (m.read(space, first, some) for m in (golden, device))
                    if (right != found).any():
                        return [f"{space.name}: {some} elements from {first} on"]
        # Every row that is a power of two, and the last two: an EMIT of another word each.
        for row in (*(1 << i for i in range(16)), self.config.program_rows - 2):
            if row > self.config.program_rows - 2:
                continue
            emit = Emit(base=row % self.config.state_depth, count=1)
            rows = Program(self.config, (emit, Halt())).rows
            for machine in (golden, device):
                machine.load(rows, row)
            emits = [list(machine.run(row=row)) for machine in (golden, device)]
            if emits[0] != emits[1]:
                return [f"run from row {row}: {emits[0]} against {emits[1]}"]
        for number in range(4):
            case = self.case(number)
            device.load(case.program.rows)
            run = device.run(case.samples[:-1])
            with suppress(DeviceError):  # a sample is missing
                for _ in run:  # ... and the first EMIT is as far as it comes
                    break
            del run
            device.reset()
            found = [observe(machine, case, whole=False) for machine in (golden, device)]
            if wrong := differences(found[0], found[1]):
                return [f"program {self.seed + number} after an aborted run: {wrong[0]}"]
        device.load(Program(self.config, (Halt(),)).rows)
        try:
            list(device.run([bytes(3)]))
        except DeviceError as error:
            if str(error) == str(left_over(1)):
                return []
        return ["a sample that no program takes"]

    def bad_line(self, device: SerialDevice) -> list[str]:
        if found := self.programs(device, range(FIRST)):
            return found
        before = device.counters()[Register.LINK_ERRORS]
        SerialTransport.write(self.line, b"\3no\0")  # no frame
        after = device.counters()[Register.LINK_ERRORS]
        return ["no error is counted"] if after == before else []


def judge_mutants(
    name: str,
    count: int,
    seed: int,
    *,
    thorough: bool,
    progress: Callable[[Mutant, Verdict], object] = lambda *_: None,
) -> dict[Mutant, Verdict]:
    """Draw and judge mutants of one of `MACHINES`.

    Raises AssertionError if the machine without a mutant does not pass.
    """
    config = MACHINES[name]
    court = Court(config, 0, thorough=thorough)
    verdicts: dict[Mutant, Verdict] = {}
    with tempfile.TemporaryDirectory(prefix="relaxon-mutants-") as work:
        mutants = Mutants(config, Path(work))
        drawn = mutants.draw(count, seed)
        for first in range(0, count, BATCH):
            batch = drawn[first : first + BATCH]
            program = mutants.build(batch)
            sound = court.judge(program, 0)
            assert not sound.check, f"the machine itself fails: {sound}"
            for number, mutant in enumerate(batch, 1):
                verdicts[mutant] = court.judge(program, number)
                if thorough and not verdicts[mutant].check and mutants.equivalent(mutant):
                    verdicts[mutant] = Verdict(EQUIVALENT, "")
                progress(mutant, verdicts[mutant])
    return verdicts


def report(verdicts: dict[Mutant, Verdict]) -> None:
    """Print what noticed the mutants, which survive, and the score by module: the share noticed of
    those that are not proved equivalent."""
    by_module: dict[str, list[bool]] = {}
    for mutant, verdict in verdicts.items():
        if verdict.check != EQUIVALENT:
            by_module.setdefault(mutant.module, []).append(bool(verdict.check))
    for check, count in Counter(verdict.check for verdict in verdicts.values()).most_common():
        print(f"{check or 'nothing':<24}{count:>5}")
    for mutant, verdict in verdicts.items():
        if not verdict.check:
            print(f"survives: {mutant}")
    for module, noticed in [*sorted(by_module.items()), ("all", [*chain(*by_module.values())])]:
        print(f"{module:<24}{sum(noticed):>5} of {len(noticed):>5}{np.mean(noticed):>8.1%}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--machine", choices=MACHINES, default="default")
    parser.add_argument("--count", type=int, default=BATCH, help="mutants")
    parser.add_argument("--seed", type=int, default=1, help="of the draw")
    parser.add_argument("--quick", action="store_true", help=f"no {ALL} programs for survivors")
    arguments = parser.parse_args()

    def progress(mutant: Mutant, verdict: Verdict) -> None:
        said = f"{verdict.check}: {verdict.how}" if verdict.check else "SURVIVES"
        print(f"{mutant}: {said}  [{processor_time():.0f} CPU s]", flush=True)

    verdicts = judge_mutants(
        arguments.machine,
        arguments.count,
        arguments.seed,
        thorough=not arguments.quick,
        progress=progress,
    )
    report(verdicts)
    return 0


if __name__ == "__main__":
    sys.exit(main())
