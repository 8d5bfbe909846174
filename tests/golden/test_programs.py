"""The golden model against the naive machine on random programs, and its short cuts against
its plain path; the compiled engine likewise. ``--seed`` sets the first seed, ``--programs`` the
number of programs."""

from collections import Counter
from dataclasses import replace
from itertools import product
from random import Random
from typing import Any

import numpy as np
import pytest

from relaxon_isa import (
    Activation,
    ArrayConfig,
    Builder,
    Emit,
    EmitKind,
    Halt,
    Learn,
    LearnLevel,
    Loop,
    Mac,
    MacLevel,
    Next,
    Pack,
    Program,
    Register,
    Sign,
    Space,
    Wait,
    preset,
)
from relaxon_sim.golden import GoldenDevice, Machine
from support.coverage import all_bins
from support.engines import compiled_machine, fits
from support.naive import Naive
from support.random_programs import RandomProgram, random_program

CONFIGS = {
    "default": preset("default"),
    "verify24": preset("verify24"),
    "up5k": preset("up5k"),
    "fast4": preset("fast4"),
    "p=1, 7 levels": ArrayConfig(p=1, levels=7, loop_depth=7),
    "p=5, odd depths": ArrayConfig(
        p=5,
        state_bits=12,
        weight_bits=6,
        weight_depth=7,
        state_depth=40,
        drive_depth=4,
        learn_shifts=(5, 17),
        decay_shift=5,
        dither_bits=4,
        kind_counters=False,
    ),
    "beyond int64": ArrayConfig(p=2, state_bits=32, weight_bits=32, max_terms=1 << 20),
}


def naive_run(config: ArrayConfig, case: RandomProgram) -> tuple[Naive, list[bytes]]:
    naive = Naive(config)
    naive.write(case.memory)
    data, at = b"".join(case.samples), 0

    def take(size: int) -> bytes:
        nonlocal at
        at += size
        return data[at - size : at]

    emits = list(naive.run(case.program.instructions, take))
    assert at == len(data)
    return naive, emits


def golden_run(machine: Any, case: RandomProgram) -> list[bytes]:
    device = GoldenDevice(machine.config, machine)
    for space, (start, values) in case.memory.items():
        device.write(space, start, values)
    device.load(case.program.rows)
    return list(device.run(case.samples))


def compare(naive: Naive, machine: Any) -> None:
    for name, ours, theirs in (
        ("S", machine.state, naive.S),
        ("D", machine.drive, naive.D),
        ("W", machine.weights_array.reshape(len(machine.weights_array), -1), naive.W),
    ):
        for address in range(len(ours)):
            expected = theirs.get(address, [0] * len(ours[address]))
            assert ours[address].tolist() == expected, (name, address)
    assert [machine.registers.read(i) for i in range(len(Register))] == naive.registers


@pytest.mark.parametrize("name", CONFIGS)
def test_random_programs(name: str, seed: int, programs: int) -> None:
    config = CONFIGS[name]
    bins: set[str] = set()
    results: Counter[str] = Counter()
    for number in range(seed, seed + programs):
        print(f"program {number}")  # shown where it fails
        case = random_program(config, Random(number))
        naive, emits = naive_run(config, case)
        for machine in engines(config):
            assert golden_run(machine, case) == emits
            compare(naive, machine)
        bins |= case.bins
        results.update(case.results)
    print(name, dict(results), "not met:", sorted(all_bins(config) - bins))
    assert results["other"] * 2 >= results.total()


@pytest.mark.parametrize("stride", [33, 63, -31, -32, -33, -63])
def test_random_bits_are_of_places_in_memory(stride: int) -> None:
    """A stride of more than half a memory is, in its field, one of the other sign; the place that
    it leads to is the same, and so are the random bits that belong to it."""
    config = preset("default").replace(weight_depth=64, state_depth=64)
    start = 0 if stride > 0 else 63
    program = Program(
        config,
        (
            Learn(
                outer=(LearnLevel(count=2, tile=stride),), tile=start, stochastic=True, col=1
            ),
            Mac(
                outer=(MacLevel(count=2, dst=stride),), dst=start, src=40, one=14,
                activation=Activation.RANDOM,
            ),
            Halt(),
        ),
    )  # fmt: skip
    states = [7000, -9000, 12345, -5, 3, 11111, -8191, 4096]
    memory = {Space.STATE: (0, states), Space.REGISTER: (0, [4171767627, 987654321])}
    case = RandomProgram(program=program, samples=[], memory=memory, bins=set(), results={})
    naive, _ = naive_run(config, case)
    for machine in engines(config):
        golden_run(machine, case)
        compare(naive, machine)


def test_lists_are_as_dense_samples(seed: int) -> None:
    """The same programs on samples whose zeros are kept: the same memories, in more cycles."""
    config, walks = CONFIGS["fast4"], 0
    for number in range(seed, seed + 40):
        case = random_program(config, Random(number))
        if not any(getattr(i, "walk", False) for i in case.program.instructions):
            continue
        print(f"program {number}")
        walks += 1
        instructions = [
            replace(i, dense=not i.dense) if isinstance(i, Wait) and i.ahead else i
            for i in case.program.instructions
        ]
        dense = replace(case, program=Program(config, tuple(instructions)))
        one, other = Machine(config), Machine(config, plain=True)
        golden_run(one, case)
        golden_run(other, dense)
        for name in ("state", "drive", "weights_array", "flag"):
            assert np.array_equal(getattr(one, name), getattr(other, name)), name
        for register in (Register.UPDATE_KEY, Register.WRONG, Register.STATE_SATURATIONS):
            assert one.registers.read(register) == other.registers.read(register)
    assert walks > 10


def test_programs_one_after_another(seed: int) -> None:
    """Matrices left by one program do not disturb the next."""
    config = CONFIGS["p=5, odd depths"]
    plain, *fast = engines(config)
    for number in range(seed, seed + 20):
        print(f"program {number}")
        case = random_program(config, Random(number))
        emits = golden_run(plain, case)
        for machine in fast:
            assert golden_run(machine, case) == emits
            same(plain, machine)


def test_bins_are_filled(seed: int) -> None:
    """A campaign on the default preset meets everything it is meant to."""
    missing = all_bins(CONFIGS["default"])
    for number in range(seed, seed + 400):
        missing -= random_program(CONFIGS["default"], Random(number)).bins
        if not missing:
            return
    assert not missing


# Short cuts -----------------------------------------------------------------------------------


def engines(config: ArrayConfig) -> list[Any]:
    """A machine that takes no short cuts, one that does, and a compiled one."""
    machines: list[Any] = [Machine(config, plain=True), Machine(config)]
    return [*machines, compiled_machine(config)] if fits(config) else machines


def same(plain: Any, *others: Any) -> None:
    for machine in others:
        assert (machine.state == plain.state).all()
        assert (machine.drive == plain.drive).all()
        assert (machine.weights_array == plain.weights_array).all()
        assert list(machine.registers.values) == plain.registers.values


def run(machine: Any, *instructions, samples=()) -> list[bytes]:
    machine.write_program(0, Program(machine.config, (*instructions, Halt())).rows)
    return list(machine.run(samples))


LEARN_CASES = {
    "plain": {},
    "at 14": {"position": 0},
    "stochastic": {"stochastic": True},
    "decay": {"decay": True},
    "stochastic decay": {"stochastic": True, "decay": True},
    "bound": {"bound": True},
    "replace": {"replace": True},
    "diagonal": {"diagonal": True},
}


@pytest.mark.parametrize("zeros", [0.0, 0.8, 1.0])
@pytest.mark.parametrize("mode", LEARN_CASES)
def test_large_layer(mode: str, zeros: float, seed: int) -> None:
    """784-128 with P = 12, with as many zeros as given: products, updates, saturations."""
    config = preset("default").replace(p=12, weight_depth=1024)
    rng = np.random.default_rng(seed)
    state = rng.integers(-32768, 32768, (1024, 12)) * (rng.random((1024, 12)) >= zeros)
    weights = rng.integers(-32768, 32768, (1024, 12, 12))
    forward = Mac(
        outer=(MacLevel(count=11, tile=67, dst=1),),
        inner=(MacLevel(count=67, tile=1, src=1),),
        tile=3,
        dst=200,
        shift=20,
    )
    backward = Mac(
        outer=(MacLevel(count=67, tile=1, dst=1),),
        inner=(MacLevel(count=11, tile=67, src=1),),
        tile=3,
        src=300,
        dst=4,
        to_drive=True,
        transposed=True,
    )
    learn = Learn(
        outer=(LearnLevel(count=11, tile=67, row=1), LearnLevel(count=66, tile=1, col=1)),
        tile=3,
        row=400,
        col=500,
        **({"position": 1} | LEARN_CASES[mode]),
    )
    two_terms = Learn(
        outer=learn.outer, inner=(LearnLevel(count=2, row=40, col=80, flip=True),), tile=3, row=400
    )
    machines = engines(config)
    for machine in machines:
        machine.state, machine.weights_array = state, weights
        run(machine, forward, learn, backward, two_terms, learn, forward)
    same(*machines)


def test_layouts_that_conflict(seed: int) -> None:
    """The same tiles as 4 x 6, as 6 x 4 and one by one, over and over."""
    machines = engines(preset("default"))
    rng = np.random.default_rng(seed)
    state, weights = rng.integers(-99, 99, (1024, 4)), rng.integers(-999, 999, (4096, 4, 4))

    def product(rows: int, cols: int, dst: int) -> Mac:
        return Mac(
            outer=(MacLevel(count=rows, tile=cols, dst=1),),
            inner=(MacLevel(count=cols, tile=1, src=1),),
            tile=10,
            dst=dst,
            shift=2,
        )

    diagonal = Learn(outer=(LearnLevel(count=24, tile=1, row=1, col=1),), tile=10, row=40, col=80)
    loop = (Loop(count=9), product(4, 6, 100), product(6, 4, 110), diagonal, Next())
    for machine in machines:
        machine.state, machine.weights_array = state, weights
        run(machine, *loop, product(2, 6, 120), product(4, 6, 130))
        run(machine, *loop, *loop)
    same(*machines)


def test_tiles_that_slide(seed: int) -> None:
    """Loops over many tiles: weights go in by LEARN and come out by MAC."""
    config = preset("default")
    rng = np.random.default_rng(seed)
    tiles = rng.integers(-32768, 32768, (100, 4, 4))
    eye = np.eye(4, dtype=int)
    b = Builder(config)
    with b.loop(100, step=1):
        b.add(Wait(dst=10, count=16, pack=Pack.WORD))
        inner = (LearnLevel(count=4, row=1, col=1),)
        b.add(Learn(inner=inner, tile=7, tile_x=1, row=10, col=20, replace=True))
    with b.loop(100, step=-1):
        b.add(Mac(outer=(MacLevel(count=4, src=1, dst=1),), tile=106, tile_x=1, src=24, dst=30))
        b.add(Emit(base=30, count=16))
    b.add(Halt())
    samples = [tile.T.astype("<i2").tobytes() for tile in tiles]
    machines = engines(config)
    for machine in machines:
        machine.write_program(0, b.build().rows)
        machine.states.words[80:96] = eye.ravel() << 14
        machine.states.words[96:112] = eye.ravel()
        for _ in range(2):
            emits = list(machine.run(iter(samples)))
            words = [np.frombuffer(e, "<i2").reshape(4, 4).T for e in emits]
            assert (np.array(words)[::-1] == tiles).all()
        assert (machine.weights_array[7:107] == tiles).all()
    same(*machines)


def test_one_tile_for_many_groups(seed: int) -> None:
    """Scaled identities, which random programs hardly have, and tiles that are nearly one."""
    config = preset("default").replace(p=5)
    rng = np.random.default_rng(seed)
    state, drive = rng.integers(-32768, 32768, (1024, 5)), rng.integers(-999, 999, (256, 5))
    weights = np.zeros((4096, 5, 5), dtype=int)
    weights[0] = np.diag(rng.integers(-32768, 32768, 5))
    weights[1] = weights[0] + np.eye(5, k=1, dtype=int)
    for sign, transposed, tile in product(Sign, (False, True), (0, 1)):
        mac = Mac(
            outer=(MacLevel(count=7, src=1, dst=1, drive=1, flip=transposed),),
            inner=(MacLevel(count=3, src=20, flip=True),),
            tile=tile,
            src=100,
            dst=300,
            from_drive=True,
            sign=sign,
            transposed=transposed,
            shift=15,
            tail=2,
        )
        machines = engines(config)
        for machine in machines:
            machine.state, machine.drive, machine.weights_array = state, drive, weights
            run(machine, mac)
        same(*machines)


def test_drives_wrap_only_where_they_must() -> None:
    machines = engines(preset("default"))
    top = (1 << 41) - 1
    add = Mac(from_drive=True, to_drive=True, drive=3, dst=3, tile=2, src=5)
    for machine in machines:
        machine.write_drive(12, np.array([top - 5, -top, 0, 17]))
        machine.states.words[20:24] = 1
        tiles = np.zeros((4096, 4, 4), dtype=int)
        tiles[2] = 1
        machine.weights_array = tiles
        run(machine, Loop(count=3), add, Next())
        assert machine.drive[3].tolist() == [-top + 5, -top + 12, 12, 29]
    same(*machines)


# The device -----------------------------------------------------------------------------------


def test_patches_take_effect_at_the_wait() -> None:
    config = preset("default")
    b = Builder(config)
    with b.loop(4, step=1):
        b.add(Wait(dst=0, count=4))
        at = b.add(Mac(outer=(MacLevel(count=1),), src=0, dst=1, from_drive=True))
        b.add(Emit(base=1, count=1))
    b.add(Halt())
    program = b.build()
    device = GoldenDevice(config)
    device.write(Space.DRIVE, 0, [64] * 4)
    device.load(program.rows)

    def samples():
        for shift in range(4):
            changed, row, rows = program.patch(at, shift=shift, up=0)
            if rows:
                device.write(Space.PROGRAM, row, rows)
            assert list(device.read(Space.PROGRAM, 0, len(changed.rows))) == list(changed.rows)
            yield bytes(4)

    emits = [int.from_bytes(e, "little") for e in device.run(samples())]
    assert emits == [64, 32, 16, 8]


def test_what_a_device_says() -> None:
    config = preset("verify24")
    device = GoldenDevice(config)
    assert device.identity.config == config and device.identity.build == "golden numpy"
    device.write(Space.DRIVE, 5, [-(1 << 57), (1 << 57) - 1])
    assert device.read(Space.DRIVE, 4, 4).tolist() == [0, -(1 << 57), (1 << 57) - 1, 0]
    device.write(Space.REGISTER, Register.SWEEPS, [(1 << 32) - 1])
    device.load(Program(config, (Loop(count=2, sweep=True), Mac(), Next(), Halt())).rows)
    assert list(device.run()) == []
    assert device.counters()[Register.SWEEPS] == 1
    device.load(Program(config, (Emit(kind=EmitKind.COUNTERS, base=9, count=1), Halt())).rows)
    assert list(device.run(count=False)) == [b"\1\0\0\0"]


def test_table_space() -> None:
    device = GoldenDevice(preset("default"))
    device.write(Space.TABLE, 127, [-5, 7])
    program = Program(device.config, (Mac(dst=3, activation=Activation.TABLE), Halt()))
    device.load(program.rows)
    assert list(device.run()) == []
    assert device.read(Space.STATE, 12, 4).tolist() == [7] * 4
