"""The golden model's engines against the hand-computed vectors."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from relaxon_isa import (
    Activation,
    ArrayConfig,
    Emit,
    EmitKind,
    Gating,
    Halt,
    Judge,
    Learn,
    LearnLevel,
    Mac,
    MacLevel,
    Pack,
    Program,
    ProgramError,
    Register,
    Sign,
    Wait,
    encode,
    preset,
)
from relaxon_sim.golden import Machine
from relaxon_sim.golden.exact import Integers, Reals, numbers_for
from relaxon_sim.golden.hash import cell_dither, lane_bits, mix, words
from relaxon_sim.golden.synapse import Synapse
from support.engines import compiled_machine
from vectors import arithmetic as vectors
from vectors.cycles import CYCLES

DEFAULT = preset("default")
NUMBERS = {"float64": Reals(), "int64": Integers(np.int64), "object": Integers(object)}
ENGINES: dict[str, Callable[[ArrayConfig], Any]] = {
    **{
        f"{name}{', plain' * plain}": partial(Machine, plain=plain, numbers=numbers)
        for name, numbers in NUMBERS.items()
        for plain in (False, True)
    },
    "compiled": compiled_machine,
}
ENUMS = {"activation": Activation, "gating": Gating, "judge": Judge, "sign": Sign}


@pytest.fixture(params=ENGINES)
def make(request: pytest.FixtureRequest) -> Callable[[ArrayConfig], Any]:
    """Each engine's machine, for a configuration."""
    return ENGINES[request.param]


def typed(fields: dict) -> dict:
    return {k: ENUMS[k][v] if k in ENUMS else v for k, v in fields.items()}


def run(machine: Any, *instructions, samples=()) -> None:
    machine.write_program(0, Program(machine.config, (*instructions, Halt())).rows)
    for _ in machine.run(samples):
        pass


@pytest.mark.parametrize("vector", vectors.LANES, ids=lambda v: v[0])
def test_lane(vector, make) -> None:
    _, fields, acc, old, gate, new, saturated, flag = vector
    machine = make(DEFAULT)
    machine.table[:] = vectors.table()
    machine.write_drive(8, np.full(4, acc))
    machine.states.words[40:44] = old
    machine.states.words[80:84] = gate
    judged = {"fresh": True} if "judge" in fields else {}
    mac = Mac(from_drive=True, drive=2, src=0, dst=10, gate=20, **judged, **typed(fields))
    run(machine, mac)
    assert machine.state[10].tolist() == [new] * 4
    assert machine.registers.read(Register.STATE_SATURATIONS) == saturated
    assert machine.flag == bool(flag and judged)


@pytest.mark.parametrize("vector", vectors.CELLS, ids=lambda v: v[0])
def test_cell(vector, make) -> None:
    _, fields, w, terms, new, saturated = vector
    machine = make(DEFAULT)
    machine.weights_array = np.full((4096, 4, 4), w)
    rows, cols = (np.repeat([[term[i]] for term in terms], 4, axis=1) for i in (0, 1))
    machine.states.words[0 : rows.size] = rows.ravel()
    machine.states.words[40 : 40 + cols.size] = cols.ravel()
    inner = (LearnLevel(count=len(terms), row=1, col=1),)
    run(machine, Learn(inner=inner, tile=5, row=0, col=10, **typed(fields)))
    assert (machine.weights_array[5] == new).all()
    assert (machine.weights_array[4] == w).all()
    assert machine.registers.read(Register.WEIGHT_SATURATIONS) == saturated


def test_numbers_hold_the_values() -> None:
    def dtype(config) -> object:
        return numbers_for(config).dtype

    assert dtype(DEFAULT) is np.float64
    assert dtype(DEFAULT.replace(state_bits=20, weight_bits=22)) is np.float64  # 52 bits
    assert dtype(DEFAULT.replace(state_bits=20, weight_bits=23)) is np.int64
    assert dtype(preset("verify24")) is np.int64
    assert dtype(DEFAULT.replace(state_bits=28, weight_bits=24)) is np.int64  # 62 bits
    assert dtype(DEFAULT.replace(state_bits=28, weight_bits=25)) is object


@pytest.mark.parametrize("vector", vectors.INTEGRAL, ids=lambda v: v[0])
def test_integral(vector, make) -> None:
    _, threshold, w, m, terms, bound, new, memory, saturated = vector
    machine = make(DEFAULT)
    weights = np.zeros((4096, 4, 4), dtype=int)
    weights[6], weights[7] = w, m
    machine.weights_array = weights
    machine.states.words[0:4], machine.states.words[4:8] = terms[0]
    run(machine, Learn(tile=6, row=0, col=1, integral=True, threshold=threshold, bound=bound))
    assert (machine.weights_array[6] == new).all()
    assert (machine.weights_array[7] == memory).all()
    assert machine.registers.read(Register.WEIGHT_SATURATIONS) == saturated


@pytest.mark.parametrize("numbers", NUMBERS)
def test_stochastic(numbers: str) -> None:
    kind = NUMBERS[numbers]
    for x, position, h, rounded in vectors.STOCHASTIC:
        synapse = Synapse(DEFAULT, kind, Learn(stochastic=True, position=position))
        w, acc = np.array([7], kind.dtype), np.array([x], kind.dtype)
        new, clipped = synapse.update(w, acc, np.array([h]))
        assert (int(new[0]) - 7, clipped) == (rounded, None), (x, position, h)


def test_hash() -> None:
    for x, mixed in vectors.MIX:
        assert mix(x) == mixed
    cases = zip(vectors.HASH, vectors.RANDOM_LANES, vectors.DITHER, strict=True)
    for (key, address, u, v), lanes, dither in cases:
        us, vs = words(key, np.array([address]))
        assert (int(us[0]), int(vs[0])) == (u, v)
        assert "".join(str(int(bit)) for bit in lane_bits(us, 12)[0]) == lanes
        row, col = np.array([0, 0, 11, 11]), np.array([0, 7, 0, 7])
        assert tuple(cell_dither(us, vs, row, col, 8)) == dither


def test_chance_in_its_place(make) -> None:
    """Random planes use SAMPLE_KEY and the address, dither UPDATE_KEY and the offset."""
    config = DEFAULT.replace(p=12)
    key, address, *_ = vectors.HASH[4]
    machine = make(config)
    machine.registers.write(Register.SAMPLE_KEY, key)
    run(machine, Mac(dst=address, activation=Activation.RANDOM, one=3))
    signs = [-8 if bit == "1" else 8 for bit in vectors.RANDOM_LANES[4]]
    assert machine.state[address].tolist() == signs

    machine = make(config)
    machine.registers.write(Register.UPDATE_KEY, key)
    machine.states.words[0:12] = 1
    # Half a weight's bit: x + (2 h + 1) * 32 reaches 2**14 where h >= 128.
    machine.states.words[12:24] = 8192
    outer = (LearnLevel(count=2, tile=address),)
    run(machine, Learn(outer=outer, tile=100, row=0, col=1, stochastic=True))
    up = machine.weights_array[100 + address]
    h = vectors.DITHER[4]
    assert [up[0, 0], up[0, 7], up[11, 0], up[11, 7]] == [int(x >= 128) for x in h]
    assert machine.registers.read(Register.UPDATE_KEY) == mix(key)


def test_random_sign_follows_the_sample(make) -> None:
    machine = make(DEFAULT)
    machine.states.words[0:4] = 3
    machine.drives.words[0:4] = 100
    mac = Mac(sign=Sign.RANDOM, from_drive=True, dst=5)
    weights = np.zeros((4096, 4, 4), dtype=int)
    weights[0] = np.eye(4)
    machine.weights_array = weights
    for key, expected in ((2, 103), (3, 97)):
        machine.registers.write(Register.SAMPLE_KEY, key)
        run(machine, mac)
        assert machine.state[5].tolist() == [expected] * 4
    machine.registers.write(Register.SAMPLE_KEY, 1)
    run(machine, Wait(dst=9, count=1, tick=True), samples=[b"\0"])
    assert machine.registers.read(Register.SAMPLE_KEY) == 270369
    assert machine.registers.read(Register.SAMPLES) == 1


def test_tail_and_wrap(make) -> None:
    machine = make(DEFAULT)
    machine.states.words[:] = 7
    machine.drive = np.full((256, 4), (1 << 41) - 1)
    weights = np.zeros((4096, 4, 4), dtype=int)
    weights[0] = np.eye(4)
    machine.weights_array = weights
    # Two phases of three groups; in each the last group has one lane.
    outer = (MacLevel(count=2, dst=4), MacLevel(count=3, dst=1))
    run(machine, Mac(outer=outer, dst=10, tail=1, activation=Activation.CLIP01, one=0))
    assert machine.state[10:18].tolist() == [[1] * 4, [1] * 4, [1, 7, 7, 7], [7] * 4] * 2
    run(machine, Mac(outer=outer, dst=20, tail=3, tail_level=1, src=40, shift=2))
    assert machine.state[20:23].tolist() == [[2] * 4] * 3
    assert machine.state[24:27].tolist() == [[2, 2, 2, 7]] * 3
    run(machine, Mac(from_drive=True, to_drive=True, dst=1, src=40))
    assert machine.drive[1].tolist() == [-(1 << 41) + 6] * 4


@pytest.mark.parametrize("vector", CYCLES, ids=lambda v: v[0])
def test_cycles(vector, make) -> None:
    _, name, program, cycles, sweeps = vector
    machine = make(preset(name))
    run(machine, *program[:-1], samples=[bytes(64)[: 8 if "wait" in vector[0] else 0]])
    expected = {"mac": cycles["all"]} if "all" in cycles else cycles
    kinds = {
        kind: machine.registers.read(Register[f"{kind.upper()}_CYCLES"])
        for kind in ("mac", "learn", "control", "wait", "emit")
    }
    assert {kind: number for kind, number in kinds.items() if number} == expected
    assert machine.registers.read(Register.SWEEPS) == sweeps


def test_not_counted(make) -> None:
    machine = make(DEFAULT)
    machine.states.words[0:4] = 2
    program = Program(DEFAULT, (Wait(dst=9, tick=True), Mac(dst=3), Learn(), Halt()))
    machine.write_program(0, program.rows)
    assert list(machine.run([b"\1"], count=False)) == []
    values = [machine.registers.read(i) for i in Register]
    assert values == [270369, 270369] + [0] * 15  # keys move on all the same


@pytest.mark.parametrize("dense", [False, True])
def test_a_sample_taken_ahead(make, dense) -> None:
    """Lists, target and answer by hand. P = 4; the values are 3, 0, 0, 5, 0, 7 and 1.0 = 16, times
    4: columns 0 and 3 have an entry of group 0, columns 1 and 2 one of group 1."""
    config = preset("fast4")
    machine = make(config)
    weights = np.ones((64, 4, 4), dtype=int)
    weights[10] = [[10 * r + c for c in range(4)] for r in range(4)]
    machine.weights_array = weights
    machine.states.words[80:84] = [1 << 12, 0, -(1 << 12), 1 << 13]
    listed, every = MacLevel(count=2, tile=1, src=1), LearnLevel(count=2, tile=1, col=1)
    take = Wait(
        count=6, pack=Pack.B4, shift=2, ahead=True, bias=True, dense=dense, dst=30, outputs=5,
        low=-1, high=9,
    )  # fmt: skip
    run(
        machine,
        take,
        Mac(inner=(listed,), tile=10, dst=3, to_drive=True, walk=True),
        Learn(outer=(every,), tile=10, row=20, walk=True),
        Emit(kind=EmitKind.ANSWER, base=30, count=5),
        Emit(kind=EmitKind.ANSWER, base=20, count=4),
        samples=[bytes([0x03, 0x50, 0x70, 2])],
    )
    assert machine.state[30:32].tolist() == [[-1, -1, 9, -1], [-1, 0, 0, 0]]
    # 12 (10 r) + 20 (10 r + 3) + 28 + 64
    assert machine.drive[3].tolist() == [152 + 320 * r for r in range(4)]
    change = machine.weights_array[10:12] - weights[10:12]
    assert change[0].tolist() == [[3, 0, 0, 5], [0] * 4, [-3, 0, 0, -5], [6, 0, 0, 10]]
    assert change[1].tolist() == [[0, 7, 16, 0], [0] * 4, [0, -7, -16, 0], [0, 14, 32, 0]]
    assert machine.registers.read(Register.WRONG) == 1  # 3 is the largest of group 20
    kinds = ("wait", "mac", "learn", "emit", "control")
    cycles = [machine.registers.read(Register[f"{kind.upper()}_CYCLES"]) for kind in kinds]
    # A row, or two; LEARN ends 14 + 3 cycles after its last. Of its fetch, 5, MAC hides a row each;
    # EMITs hide nothing.
    rows = 1 + dense
    assert cycles == [4 + 2, rows, rows + 17, 10 + 9, 3 + (5 - rows) + 3 + 3 + 1]


def test_rows_that_the_builder_would_refuse_are_not_computed(make) -> None:
    """As encoded by somebody else: the contract says nothing of them."""
    machine = make(DEFAULT)
    machine.write_program(0, encode(DEFAULT, (Mac(dst=1, shift=31, up=16), Halt())))
    with pytest.raises(ProgramError, match="up = 16: must be 0 to 15"):
        list(machine.run([]))
