"""The self-test against machines with one thing wrong, which it finds, and says where."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from operator import attrgetter
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from relaxon import cli
from relaxon.backends import open_device
from relaxon.cli import device
from relaxon.selftest import PARTS, self_test
from relaxon_device.base import SpaceLayout
from relaxon_isa import row_bits
from relaxon_isa.config import ArrayConfig
from relaxon_isa.errors import ConfigError, LinkError
from relaxon_isa.memory import Register, Space
from relaxon_isa.presets import PRESETS, preset
from relaxon_sim.golden.device import GoldenDevice
from relaxon_sim.golden.exact import Integers
from relaxon_sim.golden.machine import Machine

CONFIG = preset("default").replace(
    p=3, weight_depth=300, state_depth=64, drive_depth=16, program_rows=64, table_bits=5
)
ODD = {
    "smallest": CONFIG.replace(
        p=2, weight_depth=2, state_depth=10, drive_depth=2, program_rows=16, levels=2,
        loop_depth=1, max_terms=4, learn_terms=1, table_bits=0,
    ),
    "weights wider than states": CONFIG.replace(
        state_bits=8, weight_bits=32, learn_shifts=(14, 15), decay_shift=3, dither_bits=4
    ),
    "a small sample buffer": CONFIG.replace(sample_buffer=16, drains=True, prefetch=True),
    "little state memory, so many rounds": CONFIG.replace(state_depth=14, drive_depth=3),
}  # fmt: skip


class Damaged(GoldenDevice):
    """A golden device whose memories change after every write and every run."""

    def __init__(
        self,
        change: Callable[[Machine], None] = lambda machine: None,
        machine: Machine | None = None,
    ) -> None:
        super().__init__(CONFIG, machine)
        self.change = change

    def _write(self, layout: SpaceLayout, start: int, values: np.ndarray) -> None:
        super()._write(layout, start, values)
        self.change(self.machine)

    def _run(self, samples: Iterator[bytes], row: int, count: bool) -> Iterator[bytes]:
        yield from super()._run(samples, row, count)
        self.change(self.machine)


def stuck(memory: str, at: int, bit: int, value: int = 1) -> Callable[[Machine], None]:
    """That bit of a memory's element is always 1, or always 0."""

    def change(machine: Machine) -> None:
        words = attrgetter(memory)(machine)
        words[at] = int(words[at]) & ~(1 << bit) | value << bit

    return change


def stuck_row(machine: Machine, value: int = 1) -> None:
    top = row_bits(CONFIG) - 1
    machine.write_program(40, [machine.program[40] & ~(1 << top) | value << top])


def one_of(memory: str, a: int, b: int) -> Callable[[Machine], None]:
    """Two elements are one: what is written to ``b`` stands in ``a``, too."""

    def change(machine: Machine) -> None:
        words = attrgetter(memory)(machine)
        words[a] = words[b]

    return change


def cell(machine: Machine, tile: int, row: int, column: int) -> int:
    return machine.weights.positions(np.array([tile]))[0, row, column]


def stuck_weight(machine: Machine, bit: int = 5, value: int = 1) -> None:
    at = cell(machine, 200, 2, 1)
    machine.weights.flat[at] = int(machine.weights.flat[at]) & ~(1 << bit) | value << bit


def tiles_are_one(machine: Machine) -> None:
    for row in range(3):
        for column in range(3):
            a, b = (cell(machine, tile, row, column) for tile in (200, 200 - 128))
            machine.weights.flat[a] = machine.weights.flat[b]


@pytest.mark.parametrize(
    ("change", "part", "where"),
    [
        (stuck("states.words", 100, 3), "state", "STATE group 33, lane 1"),
        (stuck("drives.words", 47, 40), "drive", "DRIVE group 15, lane 2"),
        (stuck("registers.values", Register.SWEEPS, 30), "registers", "REGISTER SWEEPS"),
        (stuck_row, "program", "PROGRAM row 40"),
        (stuck("table", 17, 0), "table", "TABLE entry 17, lane 0"),
        (one_of("states.words", 0, 96), "state", "STATE group 0, lane 0"),
        (one_of("drives.words", 24, 26), "drive", "DRIVE group 8, lane 0"),
        (stuck_weight, "weights", "tile 200, row 2, column 1"),
        (tiles_are_one, "weights", "tile 200, row 0, column 0"),
    ],
)
def test_a_damaged_memory_is_found_and_located(change, part, where):
    result = self_test(Damaged(change))
    assert not result.passed
    found = result.parts[part]
    assert found.wrong
    assert found.first[0].where == where
    assert found.first[0].expected != found.first[0].found


@pytest.mark.parametrize("value", [0, 1])
@pytest.mark.parametrize(
    ("part", "change"),
    [
        *(
            (part, partial(stuck, memory, at, bit))
            for part, memory, at, bits in (
                ("state", "states.words", 100, CONFIG.state_bits - 1),
                ("drive", "drives.words", 47, CONFIG.acc_bits - 1),
                ("table", "table", 17, CONFIG.state_bits - 1),
                ("registers", "registers.values", Register.SWEEPS, 32),
            )
            for bit in (0, bits // 2, bits - 1)
        ),
        ("program", lambda value: partial(stuck_row, value=value)),
        *(
            (
                "weights",
                partial(lambda bit, value: partial(stuck_weight, bit=bit, value=value), bit),
            )
            for bit in (0, 7, CONFIG.weight_bits - 2)
        ),
    ],
)
def test_each_kind_of_stuck_bit_is_found(
    part: str, change: Callable[[int], Callable[[Machine], None]], value: int
) -> None:
    assert self_test(Damaged(change(value))).parts[part].wrong


class HalfUp(Integers):
    """LEARN rounds halves up, not away from zero."""

    half_away_in = Integers.half_up_in


class Floor(Integers):
    """MAC cuts off instead of rounding."""

    half_up_in = Integers.floor_in


@pytest.mark.parametrize(
    ("numbers", "part", "opcode"), [(HalfUp, "learn", "LEARN"), (Floor, "mac", "MAC")]
)
def test_wrong_rounding_is_found_and_located(numbers, part, opcode):
    result = self_test(Damaged(machine=Machine(CONFIG, numbers=numbers(object))))
    found = result.parts[part]
    assert found.wrong
    assert found.first[0].where.startswith(opcode)
    assert abs(found.first[0].expected - found.first[0].found) == 1
    memories = ("program", "state", "drive", "registers", "table")
    assert all(result.parts[name].passed for name in memories)


@pytest.mark.parametrize("lost", [7, -1])
def test_a_lost_entry_of_a_list_is_found(lost: int):
    device = GoldenDevice(ODD["a small sample buffer"])
    put = device.machine.sample.put

    def damaged(values: np.ndarray, **how: Any) -> None:
        put(np.where(np.arange(len(values)) == lost % len(values), 0, values), **how)

    device.machine.sample.put = damaged
    result = self_test(device)
    found = result.parts["lists"]
    assert found.wrong and found.first[0].where.startswith("WAIT")
    assert all(part.passed for name, part in result.parts.items() if name != "lists")


WITH_MEMORY = ODD["a small sample buffer"].replace(sample_memory=True)


class Odd(GoldenDevice):
    """An address line of its sample memory is cut, or a bit of a word is stuck."""

    def __init__(self, cut: int, stuck: int = -1) -> None:
        super().__init__(WITH_MEMORY)
        self.cut, self.stuck = cut, stuck

    def _store(self, address: int, data: bytes) -> None:
        super()._store(address & ~self.cut, data)
        if self.stuck >= 0:
            self.memory[self.stuck] |= 8

    def _recall(self, address: int, count: int) -> bytes:
        return super()._recall(address & ~self.cut, count)


@pytest.mark.parametrize(
    ("how", "where"),
    [
        ((0, (((4 << 2) + 2 << 9) + 21) * 2 + 1), "bank 2, row 4, column 21, bit 11"),
        ((1 << 6,), "bank 0, row 0, column 0, bit "),
        ((1 << 10,), "bank 0, row 0, column 0, bit "),
        ((1 << 11,), "bank 0, row 0, column 0, bit "),
        ((1 << 12,), "bank 0, row 0, column 0, bit "),
        ((1 << 24,), "bank 0, row 0, column 0, bit "),
    ],
)
def test_a_fault_of_the_sample_memory_is_found_with_bank_row_and_bit(how, where):
    found = self_test(Odd(*how)).parts["samples"]
    assert found.wrong and found.first[0].where.startswith(f"sample memory {where}")


def test_a_sample_memory_that_is_not_read_right_is_said():
    device = GoldenDevice(WITH_MEMORY)
    device.machine.registers.values[Register.MEMORY] = 0
    (line,) = [line for line in self_test(device).failures() if "bytes" in line]
    assert line.endswith(": expected 8388608, found 0")
    assert "........: read right at none of 8 moments" in line


@pytest.mark.parametrize("config", [*PRESETS.values(), *ODD.values()], ids=[*PRESETS, *ODD])
def test_a_good_machine_passes_and_ends_as_after_power_on(config: ArrayConfig):
    device, fresh = GoldenDevice(config), open_device("golden", config)
    device.write(Space.STATE, 0, [1] * 5)
    steps = []
    result = self_test(device, steps.append)
    assert result.passed
    assert sum(steps) == len(PARTS)
    lacks = {
        "table": not config.table_bits,
        "lists": not config.sample_buffer,
        "samples": not config.sample_memory,
    }
    assert list(result.parts) == [name for name in PARTS if not lacks.get(name)]
    assert not device.machine.weights_array.any()
    assert not device.machine.table.any() and not device.memory.any()
    for space in (Space.PROGRAM, Space.STATE, Space.DRIVE, Space.REGISTER):
        assert device.read(space).tolist() == fresh.read(space).tolist()


def test_weights_meet_every_bit_both_ways_and_no_two_tiles_alike():
    seen = []

    class Watched(GoldenDevice):
        def _read(self, layout: SpaceLayout, start: int, count: int) -> np.ndarray:
            if layout.space is Space.DRIVE and layout.size == 48 and start == 0:
                seen.append(self.machine.weights_array)
            return super()._read(layout, start, count)

    self_test(Watched(CONFIG))
    pairs = [(a, b) for a, b in pairwise(seen) if (a == ~b).all()]
    assert pairs
    assert len(np.unique(pairs[0][0].reshape(300, 9), axis=0)) == 300


class Silent(GoldenDevice):
    def _run(self, samples: Iterator[bytes], row: int, count: bool) -> Iterator[bytes]:
        raise LinkError("not a byte for 5.0 s")
        yield b""


def test_a_device_that_falls_silent_fails():
    result = self_test(Silent(CONFIG))
    assert not result.passed
    assert list(result.parts)[-1] == "table"  # the first one that runs programs
    assert "not a byte" in "\n".join(result.failures())


def test_what_is_too_small_is_refused():
    with pytest.raises(ConfigError, match="state_depth"):
        self_test(GoldenDevice(CONFIG.replace(state_depth=8)))


def info(*options: str):
    result = CliRunner().invoke(cli.cli, ["info", "--backend", "golden", *options])
    return result.exit_code, result.stdout, " ".join(result.stderr.split())


def test_info_says_what_came_of_it(monkeypatch):
    code, said, _ = info("--json")
    assert code == 0 and json.loads(said)["self_test"]["said"].startswith("not run")
    code, said, _ = info("--json", "--self-test")
    assert code == 0 and json.loads(said)["self_test"]["passed"] is True
    monkeypatch.setattr(device, "open_device", lambda *_: Damaged(stuck_weight))
    code, said, error = info("--json", "--self-test")
    failed = json.loads(said)["self_test"]
    assert code == cli.DIFFERENT and failed["passed"] is False
    assert failed["parts"]["weights"]["first"][0]["where"] == "tile 200, row 2, column 1"
    assert "tile 200, row 2, column 1: expected" in error and "self-test failed" in error
    code, said, _ = info("--self-test")
    assert code == cli.DIFFERENT and "FAILED: weights" in said


def test_info_shows_one_preset():
    said = CliRunner().invoke(cli.cli, ["info", "--preset", "up5k"])
    assert said.exit_code == 0 and "up5k" in said.stdout and "default" not in said.stdout


@pytest.mark.parametrize("choice", [["--self-test"], ["--no-self-test"]])
def test_info_refuses_what_is_about_a_device_without_one(choice):
    said = CliRunner().invoke(cli.cli, ["info", *choice])
    assert said.exit_code == 2 and "name a --backend" in said.stderr
