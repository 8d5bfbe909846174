"""The hand-computed vectors on every backend, by programs: `tests/golden` has them on the model."""

import numpy as np
import pytest

from relaxon.weights import read_tiles, write_tiles
from relaxon_isa.instructions import (
    Activation,
    Gating,
    Halt,
    Instruction,
    Judge,
    Learn,
    LearnLevel,
    Loop,
    Mac,
    Next,
    Sign,
    Skip,
)
from relaxon_isa.memory import Register, Space, registers
from relaxon_isa.presets import preset
from relaxon_isa.program import Program
from relaxon_sim.golden.hash import cell_dither, words
from vectors import arithmetic as vectors
from vectors.cycles import CYCLES

ENUMS = {"activation": Activation, "gating": Gating, "judge": Judge, "sign": Sign}
KEYS = (Register.UPDATE_KEY, Register.SAMPLE_KEY)  # the first two; the others count
P = preset("default").p


@pytest.fixture(autouse=True)
def machine(device):
    """Vectors are of preset default's formats."""
    if device.config != preset("default"):
        pytest.skip("the board's machine is another than the vectors are of, preset default")


def typed(fields: dict) -> dict:
    return {k: ENUMS[k][v] if k in ENUMS else v for k, v in fields.items()}


def run(device, *instructions: Instruction, samples=()) -> dict[Register, int]:
    """Run a program from counters at 0; returns the registers."""
    device.write(Space.REGISTER, len(KEYS), [0] * (len(registers(device.config)) - len(KEYS)))
    device.load(Program(device.config, (*instructions, Halt())).rows)
    for _ in device.run(samples):
        pass
    return device.counters()


def test_lanes(device):
    device.write(Space.TABLE, 0, vectors.table())
    for name, fields, acc, old, gate, new, saturated, flag in vectors.LANES:
        device.write(Space.DRIVE, 2 * P, [acc] * P)
        device.write(Space.STATE, 10 * P, [old] * P)
        device.write(Space.STATE, 20 * P, [gate] * P)
        judged = {"fresh": True} if "judge" in fields else {}
        mac = Mac(from_drive=True, drive=2, src=0, dst=10, gate=20, **judged, **typed(fields))
        # The flag comes back as a sweep.
        shown = Loop(count=1, sweep=True, skip=Skip.UNLESS_FLAG)
        registers = run(device, mac, shown, Next())
        assert device.read(Space.STATE, 10 * P, P).tolist() == [new] * P, name
        assert registers[Register.STATE_SATURATIONS] == saturated, name
        assert registers[Register.SWEEPS] == bool(flag and judged), name


def test_cells(device):
    for name, fields, w, terms, new, saturated in vectors.CELLS:
        write_tiles(device, 4, np.full((3, P, P), w))
        for start, part in ((0, 0), (10, 1)):
            device.write(Space.STATE, start * P, np.repeat([term[part] for term in terms], P))
        inner = (LearnLevel(count=len(terms), row=1, col=1),)
        registers = run(device, Learn(inner=inner, tile=5, row=0, col=10, **typed(fields)))
        tiles = read_tiles(device, 4, 3)
        assert (tiles == np.array([w, new, w])[:, None, None]).all(), name
        assert registers[Register.WEIGHT_SATURATIONS] == saturated, name


def test_integral(device):
    for name, threshold, w, m, terms, bound, new, memory, saturated in vectors.INTEGRAL:
        write_tiles(device, 6, np.stack([np.full((P, P), w), np.full((P, P), m)]))
        device.write(Space.STATE, 0, np.repeat(terms[0], P))
        learn = Learn(tile=6, row=0, col=1, integral=True, threshold=threshold, bound=bound)
        registers = run(device, learn)
        tiles = read_tiles(device, 6, 2)
        assert (tiles == np.array([new, memory])[:, None, None]).all(), name
        assert registers[Register.WEIGHT_SATURATIONS] == saturated, name


def key_of(h: int) -> int:
    """A key that gives a tile's first cell this dither."""
    zero = np.array([0])
    for key in range(1, 1 << 16):
        if cell_dither(*words(key, zero), zero, zero, 8)[0] == h:
            return key
    raise AssertionError(h)


def test_stochastic_rounding(device):
    for x, position, h, rounded in vectors.STOCHASTIC:
        write_tiles(device, 0, np.full((1, P, P), 7))
        device.write(Space.STATE, 0, [x] * P + [1] * P)
        device.write(Space.REGISTER, Register.UPDATE_KEY, [key_of(h)])
        run(device, Learn(row=0, col=1, stochastic=True, position=position))
        assert read_tiles(device, 0, 1)[0, 0, 0] == 7 + rounded, (x, position, h)


def test_chance(device):
    """Keys move on as they should; random planes and dither in lanes and cells."""
    for key, mixed in vectors.MIX:
        device.write(Space.REGISTER, Register.UPDATE_KEY, [key])
        assert run(device, Learn(tile=9))[Register.UPDATE_KEY] == mixed
    for (key, address, *_), lanes in zip(vectors.HASH, vectors.RANDOM_LANES, strict=True):
        if address >= device.config.state_depth:
            continue
        device.write(Space.REGISTER, Register.SAMPLE_KEY, [key])
        run(device, Mac(dst=address, activation=Activation.RANDOM, one=3))
        signs = [-8 if bit == "1" else 8 for bit in lanes[:P]]
        assert device.read(Space.STATE, address * P, P).tolist() == signs


def test_cycles(device):
    for name, machine, program, cycles, sweeps in CYCLES:
        if machine != "default":
            continue
        samples = [bytes(8)] if name.startswith("wait") else []
        registers = run(device, *program[:-1], samples=samples)
        for kind in ("mac", "learn", "control", "wait", "emit"):
            assert registers[Register[f"{kind.upper()}_CYCLES"]] == cycles.get(kind, 0), name
        assert registers[Register.SWEEPS] == sweeps, name
