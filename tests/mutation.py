"""The mutation score of the gateware: `python tests/mutation.py --help`.

Mutants (`support.mutants`) are drawn over the whole machine and judged one by one, by the cheapest
check first, until one notices. Of those that none does, yosys proves some to change nothing, and
tests/vectors/equivalent_mutants.toml argues it of a few. The others survive and are printed with
their place. The golden model answers each question once.
"""

import argparse
import json
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from functools import cache
from itertools import chain, islice
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
from relaxon_isa.instructions import Emit, Halt, Loop, Next, Wait
from relaxon_isa.link import Command
from relaxon_isa.memory import Register, Space
from relaxon_isa.presets import preset
from relaxon_isa.program import Program
from support.board_model import FaultyLine
from support.budget import processor_time
from support.mutants import BATCH, BUILD, CLOCK_HZ, DIVISOR, Mutant, MutantLine, Mutants
from support.observe import OUTSIDE, Case, differences, observe
from support.random_programs import random_program
from support.ranges import Ranges, bytes_taken
from support.raw_frames import wrong_answers, wrong_long_sample

__all__ = ["MACHINES", "Court", "Verdict", "judge_mutants"]

SMALL = {"weight_depth": 64, "state_depth": 64, "drive_depth": 16, "program_rows": 256}
MACHINES: dict[str, ArrayConfig] = {
    "default": CAMPAIGN,
    "up5k": preset("up5k").replace(**SMALL),
}
"""Two weight ports and the long pipeline; one and the short. Small memories, as in the campaign."""

FIRST = 12
"""Random programs for every mutant."""
ALL = 60
"""Random programs for those that nothing else shows."""
RANGES = 40
"""Programs with fields over their whole ranges, likewise."""
PROOFS = 3
"""Mutants that were noticed, of every board, of which no proof may be found."""
SILENCE = 0.1
"""Seconds until the host asks again."""
TRIES = 6
RUN_SECONDS = 2.0
"""A program that says nothing for so long will not end."""


EQUIVALENT = "proved equivalent"
ARGUED = Path(__file__).parent / "vectors" / "equivalent_mutants.toml"


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
    """

    def __init__(self, config: ArrayConfig, seed: int) -> None:
        self.config, self.seed = config, seed
        self.checks: dict[str, Callable[[MutantLine], list[str]]] = {
            "identity": self.identity,
            "programs": lambda line: self.programs(line, range(FIRST)),
            "host": self.host,
            "frames": lambda line: wrong_answers(line, config, seed),
            "bad line": self.bad_line,
            "stalls": self.stalls,
            "self-test": lambda line: list(self_test(self.connect(line)).failures()),
        }
        self.thorough: dict[str, Callable[[MutantLine], list[str]]] = {
            "long sample": lambda line: wrong_long_sample(line, config, seed),
            "ranges": self.ranges,
            "more programs": lambda line: self.programs(line, range(FIRST, ALL)),
        }
        self.case = cache(lambda number: random_program(config, Random(seed + number)))
        self.right = cache(self._right)
        self.wide = cache(self._wide)

    def _right(self, numbers: range) -> list[dict[str, object]]:
        """What the golden model leaves after each of these programs, run in this order."""
        golden = open_device("golden", self.config)
        return [observe(golden, self.case(number)) for number in numbers]

    def _wide(self) -> list[tuple[Case, dict[str, object]]]:
        """Programs with large fields, each of which goes on from the one before; what each leaves
        on the golden model."""
        rng = Random(self.seed)
        ranges = Ranges(self.config, rng)
        memory = ranges.memory()
        golden = open_device("golden", self.config)
        found = []
        first, *more = (what for _, what in islice(ranges.programs(), RANGES))
        programs = [(memory, first), *(({}, what) for what in more)]
        programs += ranges.beside(4)
        for written, instructions in programs:
            taken = rng.randbytes(bytes_taken(self.config, instructions))
            program = Program(self.config, (*instructions, Halt()))
            case = Case(program=program, samples=[taken] if taken else [], memory=written)
            found.append((case, observe(golden, case)))
        return found

    def connect(self, line: MutantLine) -> SerialDevice:
        device = SerialDevice(
            line, expected=fingerprint(self.config), timeout=SILENCE, clock=line.clock
        )
        device.run_limit = RUN_SECONDS
        return device

    def judge(self, program: Path, number: int, *, thorough: bool = False) -> Verdict:
        """Try the checks on a mutant, each on a board that has just been switched on."""
        for name, check in (self.thorough if thorough else self.checks).items():
            line = MutantLine(program, number, self.noise() if name == "bad line" else None)
            try:
                with closing(line):
                    found = check(line)
            except DeviceError as error:
                found = [f"the device fails: {error}"]
            if not found and line.byte_cycles != 10 * DIVISOR:
                found = [f"{line.byte_cycles} cycles a byte of the line, {10 * DIVISOR} are right"]
            if found:
                return Verdict(name, found[0])
        return Verdict("", "")

    def noise(self) -> tuple[FaultyLine, FaultyLine]:
        """Bytes damaged, lost and repeated, both ways."""
        rates = {"flip": 0.0005, "lose": 0.0002, "chunk": 0.01}
        return FaultyLine(self.seed, **rates), FaultyLine(self.seed + 1, **rates)

    # The checks: what is wrong, in words ------------------------------------------------------

    def identity(self, line: MutantLine) -> list[str]:
        device = self.connect(line)
        baud = CLOCK_HZ // DIVISOR
        right = decode_info(encode_info(self.config, build=BUILD, clock_hz=CLOCK_HZ, baud=baud))
        if device.identity != right:
            return [f"identity {device.identity}"]
        return [] if device.unused else ["a new board says that it was used"]

    def programs(self, line: MutantLine, numbers: range) -> list[str]:
        return self.run(self.connect(line), numbers)

    def run(self, device: SerialDevice, numbers: range) -> list[str]:
        for number, right in zip(numbers, self.right(numbers), strict=True):
            found = differences(right, observe(device, self.case(number)))
            if found:
                return [f"program {self.seed + number}: {found[0][:60]}"]
        return []

    def ranges(self, line: MutantLine) -> list[str]:
        device = self.connect(line)
        for number, (case, right) in enumerate(self.wide()):
            found = differences(right, observe(device, case))
            if found:
                return [f"large fields {number}: {found[0][:60]}"]
        return []

    def stalls(self, line: MutantLine) -> list[str]:
        """A program that the line keeps waiting counts about as many cycles as the line takes at
        its rate; none that does not count. A host may be late once, but not `TRIES` times."""
        device = self.connect(line)
        size = self.config.state_depth * self.config.p
        program = Program(self.config, (Wait(count=size), *[Emit(count=size)] * 12, Halt()))
        device.load(program.rows)
        byte = 10 * DIVISOR
        sent = 12 * size * self.config.state_bits // 8
        waits = (sent - self.config.tx_bytes) * byte
        right = {
            Register.WAIT_STALLS: range(byte, 9 * size * byte),
            Register.EMIT_STALLS: range(waits * 4 // 5, waits * 6 // 5),
        }
        found: list[str] = []
        for count in (False, *[True] * TRIES):
            before = device.counters()
            list(device.run([bytes(size)], count=count))
            after = device.counters()
            found = [
                f"{cycles} {register.name}, counting {count}, {some} is right"
                for register, some in right.items()
                if (cycles := after[register] - before[register])
                not in (some if count else range(1))
            ]
            if bool(found) != count:
                break
        return found

    def host(self, line: MutantLine) -> list[str]:
        """Reads and writes that begin and end anywhere; runs from any row, and aborted ones."""
        device = self.connect(line)
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
        values = rng.integers(-99, 100, golden.layouts[Space.STATE].size).tolist()
        for machine in (golden, device):
            machine.write(Space.STATE, 0, values)
        for space in (Space.PROGRAM, Space.DRIVE):
            if (golden.read(space) != device.read(space)).any():
                return [f"{space.name} after a WRITE of STATE"]
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
        # One sample of all WAITs, as zero runs: each bit of a length, every byte.
        size = 6000
        sample = rng.integers(1, 256, size) * (rng.random(size) < 0.1)
        loop = (Loop(count=size // 16), Wait(count=16), Next(), Emit(count=2), Halt())
        seen = []
        for machine in (golden, device):
            machine.load(Program(self.config, loop).rows)
            emits = list(machine.run([sample.astype(np.uint8).tobytes()]))
            seen.append((emits, machine.read(Space.STATE, 0, 16).tolist()))
        if seen[0] != seen[1]:
            return [f"a sample of {size} bytes"]
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
        # A register is written while a program runs: it waits, and all is counted meanwhile.
        register, value = Register.STATE_SATURATIONS, 0x1234
        place = bytes([Command.WRITE, Space.REGISTER, register, 0, 0, 1, 0])

        def amid() -> Iterator[bytes]:
            device._send(place + value.to_bytes(4, "little"))
            yield from ()

        loop = Program(self.config, (Loop(count=3000), Next(), Halt()))
        for machine, samples in ((golden, iter(())), (device, amid())):
            machine.load(loop.rows)
            list(machine.run(samples))
        golden.write(Space.REGISTER, register, [value])
        left, found = (m.counters() for m in (golden, device))
        if odd := [r.name for r in left if r not in OUTSIDE and left[r] != found[r]]:
            return [f"{odd} after a register was written while a program ran"]
        device.load(Program(self.config, (Halt(),)).rows)
        try:
            list(device.run([bytes(3)]))
        except DeviceError as error:
            if str(error) == str(left_over()):
                return []
        return ["a sample that no program takes"]

    def bad_line(self, line: MutantLine) -> list[str]:
        device = self.connect(line)
        if found := self.run(device, range(FIRST)):
            return found
        errors = device.counters()[Register.LINK_ERRORS]
        SerialTransport.write(line, b"\3no\0")  # no frame
        before, errors = errors, device.counters()[Register.LINK_ERRORS]
        if errors == before:
            return ["no error is counted"]
        line.break_line()
        if device.counters()[Register.LINK_ERRORS] == errors:
            return ["no error is counted when the line breaks"]
        return []


def judge_mutants(
    name: str,
    count: int,
    seed: int,
    *,
    module: str = "",
    thorough: bool,
    known: Mapping[str, Verdict] | None = None,
    progress: Callable[[Mutant, Verdict], object] = lambda *_: None,
) -> dict[Mutant, Verdict]:
    """Draw and judge mutants of one of `MACHINES`.

    Parameters
    ----------
    name, count, seed
        The machine, how many mutants, and of which draw.
    module
        Of this one alone.
    thorough
        Whether what nothing else shows is given large fields and `ALL` programs.
    known
        Verdicts of before, by `Mutant.change`.
    progress
        Hears of each that is judged now.

    Raises AssertionError if the machine without a mutant does not pass, or if what was noticed can
    be proved to change nothing.
    """
    config = MACHINES[name]
    court = Court(config, 0)
    verdicts: dict[Mutant, Verdict] = {}
    with tempfile.TemporaryDirectory(prefix="relaxon-mutants-") as work:
        mutants = Mutants(config, Path(work))
        drawn = mutants.draw(count, seed, module)
        known = known or {}
        verdicts |= {mutant: known[mutant.change] for mutant in drawn if mutant.change in known}
        open_ones = [mutant for mutant in drawn if mutant not in verdicts]
        for batch in (open_ones[at : at + BATCH] for at in range(0, len(open_ones), BATCH)):
            program = mutants.build(batch)
            for all_checks in (False, True)[: 1 + thorough]:
                sound = court.judge(program, 0, thorough=all_checks)
                assert not sound.check, f"the machine itself fails: {sound}"
            for number, mutant in enumerate(batch, 1):
                verdict = court.judge(program, number)
                if not verdict.check and mutants.equivalent(mutant):
                    verdict = Verdict(EQUIVALENT, "")
                if thorough and not verdict.check:
                    verdict = court.judge(program, number, thorough=True)
                verdicts[mutant] = verdict
                progress(mutant, verdict)
            noticed = [m for m in batch if verdicts[m].check not in ("", EQUIVALENT)]
            for mutant in noticed[:PROOFS]:
                assert not mutants.equivalent(mutant), f"proved, and yet noticed: {mutant}"
    return {mutant: verdicts[mutant] for mutant in drawn}


def arguments_for(name: str) -> dict[str, str]:
    """Why mutants of a machine change nothing that a program, a host or a line can show, by their
    `Mutant.change`: what `ARGUED` says."""
    return {
        mutant.partition(": ")[2]: entry["argument"]
        for entry in tomllib.loads(ARGUED.read_text())["equivalent"]
        if name in entry["machines"]
        for mutant in entry["mutants"]
    }


def report(verdicts: Mapping[Mutant, Verdict], argued: Mapping[str, str]) -> float:
    """Print what noticed the mutants, which survive, and the score by module: the share noticed of
    those that are neither proved nor argued equivalent. Returns that of all."""
    by_module: dict[str, list[bool]] = {}
    checks: Counter[str] = Counter()
    for mutant, verdict in verdicts.items():
        same = verdict.check == EQUIVALENT or (not verdict.check and mutant.change in argued)
        if not same:
            by_module.setdefault(mutant.module, []).append(bool(verdict.check))
        checks[verdict.check or ("argued equivalent" if same else "nothing")] += 1
        if not (same or verdict.check):
            print(f"survives: {mutant}")
    for check, count in checks.most_common():
        print(f"{check:<24}{count:>5}{count / len(verdicts):>8.1%}")
    for module, noticed in [*sorted(by_module.items()), ("all", [*chain(*by_module.values())])]:
        print(f"{module:<24}{sum(noticed):>5} of {len(noticed):>5}{np.mean(noticed):>8.1%}")
    return float(np.mean([*chain(*by_module.values())]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--machine", choices=MACHINES, default="default")
    parser.add_argument("--count", type=int, default=BATCH, help="mutants")
    parser.add_argument("--seed", type=int, default=1, help="of the draw")
    parser.add_argument("--module", default="", help="of this one alone, for a small one's score")
    parser.add_argument("--quick", action="store_true", help="no long checks of survivors")
    parser.add_argument(
        "--record", type=Path, help="keep verdicts here, one a line, and go on from those in it"
    )
    parser.add_argument("--again", action="store_true", help="judge survivors of the record again")
    arguments = parser.parse_args()
    record: Path | None = arguments.record
    known: dict[str, Verdict] = {}
    if record and record.exists():
        for line in record.read_text().splitlines():
            mutant, check, how = json.loads(line)
            if check or not arguments.again:
                known[mutant.partition(": ")[2]] = Verdict(check, how)

    def progress(mutant: Mutant, verdict: Verdict) -> None:
        said = f"{verdict.check}: {verdict.how}" if verdict.check else "SURVIVES"
        print(f"{mutant}: {said}  [{processor_time():.0f} CPU s]", flush=True)
        if record:
            with record.open("a") as lines:
                lines.write(json.dumps([str(mutant), *verdict]) + "\n")

    verdicts = judge_mutants(
        arguments.machine,
        arguments.count,
        arguments.seed,
        module=arguments.module,
        thorough=not arguments.quick,
        known=known,
        progress=progress,
    )
    report(verdicts, arguments_for(arguments.machine))
    return 0


if __name__ == "__main__":
    sys.exit(main())
