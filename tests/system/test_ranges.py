"""Gateware against golden model where fields are large, runs are cut short, and hosts interfere."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from random import Random

import numpy as np
import pytest

from campaign import CAMPAIGN, Campaign
from relaxon.backends import open_device
from relaxon.network import Network
from relaxon.rules.settings import RuleSettings
from relaxon.training import TrainSettings
from relaxon_device.base import Device
from relaxon_isa.check import check
from relaxon_isa.cycles import wait_bytes
from relaxon_isa.encoding import rows_of
from relaxon_isa.errors import DeviceError, ProgramError
from relaxon_isa.instructions import (
    Emit,
    EmitKind,
    Halt,
    Instruction,
    Loop,
    Mac,
    Next,
    Pack,
    Wait,
)
from relaxon_isa.memory import Space
from relaxon_isa.presets import preset
from relaxon_isa.program import Program
from support.observe import OUTSIDE, differences, observe
from support.random_programs import random_program
from support.ranges import Ranges, bytes_taken, range_cases
from support.short_training import few_digits, trained

PROGRAMS = 60
SILENCE = 120.0
"""Seconds without a word after which a program is taken not to end."""


@pytest.mark.parametrize("name", ["default", "up5k"])
def test_every_field_over_its_range(name, seed):
    config = preset(name)
    with open_device("golden", config) as golden, open_device("virtual", config) as device:
        device.run_limit = SILENCE
        for number, (what, case) in enumerate(range_cases(config, Random(seed), PROGRAMS)):
            # Kilobytes of planes over the line, each second time.
            whole = number % 2 > 0 or number >= PROGRAMS
            found = differences(*(observe(d, case, whole=whole) for d in (golden, device)))
            assert not found, f"{what}: {found}\n{case.program.listing()}"


def test_run_from_every_kind_of_row(seed):
    """Sections that end in HALT, up to the last row; each begun by itself, in any order."""
    config, rng = preset("default"), Random(seed)
    ranges = Ranges(config, rng)
    sections: list[list[Instruction]] = []
    rows = 0
    while rows < config.program_rows:
        section: list[Instruction] = [*rng.choice([ranges.indexed, ranges.fill])(), Halt()]
        try:
            check(config, [i for each in (*sections, section) for i in each])
        except ProgramError:  # too long, or too many products in a drive
            section = [Halt()]
        sections.append(section)
        rows += sum(map(rows_of, section))
    program = Program(config, tuple(i for section in sections for i in section))
    starts = [0, *(start + 1 for start, i in zip(program.starts, program.instructions, strict=True)
                   if isinstance(i, Halt))][: len(sections)]  # fmt: skip
    assert max(starts) == config.program_rows - 1
    chosen = [*rng.sample(range(len(sections)), min(12, len(sections))), len(sections) - 1]
    memory = ranges.memory()
    with open_device("golden", config) as golden, open_device("virtual", config) as device:
        device.run_limit = SILENCE
        for machine in (golden, device):
            for space, (first, values) in memory.items():
                machine.write(space, first, values)
            machine.load(program.rows)
        for k in chosen:
            taken = [rng.randbytes(bytes_taken(config, sections[k]))]
            seen = [
                look(machine, machine.run(taken if taken[0] else [], row=starts[k]))
                for machine in (golden, device)
            ]
            assert not differences(*seen), f"section {k}, row {starts[k]}"


def look(device: Device, emits: Iterable[bytes]) -> dict[str, object]:
    """What a run emits, and what it leaves."""
    found: dict[str, object] = {"emits": list(emits)}
    found |= {space.name: device.read(space) for space in (Space.STATE, Space.DRIVE)}
    return found | {r.name: v for r, v in device.counters().items() if r not in OUTSIDE}


def started(device: Device, samples: Sequence[bytes] = ()) -> Generator[bytes]:
    """A run that can be closed early, which aborts it."""
    yield from device.run(samples)


def test_a_run_cut_short_leaves_no_trace(seed):
    """Aborted where it waits (inside its loops), where it computes and where it emits; the next
    program does not know."""
    rng = Random(seed)
    with open_device("virtual", CAMPAIGN) as device:
        device.run_limit = SILENCE
        campaign = Campaign(device, 70_000 + 1000 * seed)
        for i in range(24):
            cut = random_program(CAMPAIGN, Random(90_000 + 1000 * seed + i))
            for space, (start, values) in cut.memory.items():
                device.write(space, start, values)
            kind = i % 4
            if kind == 0:  # in a WAIT, with all loops open
                depth = rng.randint(1, CAMPAIGN.loop_depth)
                loops = [Loop(count=3, step=rng.randint(-3, 3), sweep=True)] * depth
                body = [*loops, Wait(count=5, dst=8), *[Next()] * depth, Halt()]
                device.load(Program(CAMPAIGN, tuple(body)).rows)
                with pytest.raises(DeviceError, match="waits for another sample"):
                    list(device.run([bytes(rng.randint(1, 40) % 14 + 1)]))
            elif kind == 1:  # amid loops that compute for long
                loops = [Loop(count=50_000), Loop(count=2, step=1)]
                body = [Emit(count=1), *loops, Mac(dst=9, src_x=2), Next(), Next(), Halt()]
                device.load(Program(CAMPAIGN, tuple(body)).rows)
                run = started(device)
                next(run)
                device.reset()
                run.close()
            elif kind == 2:  # with EMITs on their way that nobody takes
                body = [*[Emit(count=60), Emit(kind=EmitKind.ARGMAX, count=99)] * 40, Halt()]
                device.load(Program(CAMPAIGN, tuple(body)).rows)
                run = started(device)
                for _ in range(rng.randint(1, 5)):
                    next(run)
                run.close()
            else:  # somewhere in a random program
                device.load(cut.program.rows)
                run = started(device, cut.samples)
                for _ in range(rng.randint(1, 3)):
                    next(run)
                run.close()
            for machine in (device, campaign.golden):  # programs leave most of it as it was
                for space in (Space.STATE, Space.DRIVE):
                    machine.write(space, 0, np.zeros(machine.layouts[space].size, int))
            found = campaign.step()
            assert not found, "\n".join(found)


def test_host_reads_and_writes_between_samples(seed):
    """Before each WAIT the host looks at S and D, and changes S."""

    def accesses(device: Device, samples: Sequence[bytes], rng: Random, seen: list) -> Iterator:
        for sample in samples:
            size = device.layouts[Space.STATE].size
            at = rng.randrange(size)
            seen.append(device.read(Space.STATE).tolist())
            device.write(Space.STATE, at, [rng.randint(-100, 100)])
            seen.append(device.read(Space.DRIVE, 3, 9).tolist())
            yield sample

    config = CAMPAIGN
    waits = [Wait(count=n, dst=3, dst_x=1, pack=pack, signed=True)
             for n, pack in ((7, Pack.B4), (5, Pack.WORD), (40, Pack.B1))]  # fmt: skip
    body = [
        Loop(count=3, step=2, sweep=True), *waits, Mac(src=4, dst=1, to_drive=True),
        Mac(src=5, src_x=1, dst=40, shift=9), Emit(base=3, count=30), Next(), Halt(),
    ]  # fmt: skip
    program = Program(config, tuple(body))
    rng = Random(seed)
    stream = rng.randbytes(bytes_taken(config, body))
    cuts = accumulate([*(wait_bytes(config, wait) for wait in waits)] * 3, initial=0)
    samples = [stream[a:b] for a, b in pairwise(cuts)]
    memory = random_program(config, Random(seed)).memory
    found = []
    for backend in ("golden", "virtual"):
        with open_device(backend, config) as device:
            for space, (start, values) in memory.items():
                device.write(space, start, values)
            device.load(program.rows)
            seen: list = []
            end = look(device, device.run(accesses(device, samples, Random(1), seen)))
            found.append({"seen": seen} | end)
    assert not differences(*found)


def test_network_with_784_inputs(seed):
    digits = few_digits(3)
    wide = replace(
        digits,
        x_train=np.resize(digits.x_train, (3, 784)),
        x_test=np.resize(digits.x_test, (2, 784)),
        y_test=digits.y_test[:2],
    )
    config = preset("default")
    settings = TrainSettings(epochs=1, rule=RuleSettings(rate_shifts=(5, 7)))
    left = []
    for backend in ("golden", "virtual"):
        with open_device(backend, config) as device:
            left.append(trained(device, Network((784, 64, 10)), wide, settings))
    assert left[0] == left[1]
    assert len(set(left[0]["weights"])) > 100
