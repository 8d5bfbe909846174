"""The compiled engine as a device: runs in pieces, many samples at a time, choice by name."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
from click.testing import CliRunner

from campaign import CAMPAIGN, Campaign
from relaxon.backends import open_device
from relaxon.cli import cli
from relaxon.datasets import Dataset, load
from relaxon.network import Network
from relaxon.rules import first_preset, settings_for
from relaxon.training import Trainer, TrainSettings
from relaxon_device.base import Device
from relaxon_isa import (
    ArrayConfig,
    ConfigError,
    DeviceError,
    Emit,
    Halt,
    Instruction,
    Learn,
    LearnLevel,
    Loop,
    Mac,
    MacLevel,
    Next,
    Opcode,
    Program,
    ProgramError,
    Register,
    Space,
    ToolError,
    Wait,
    preset,
    row_layouts,
)
from relaxon_sim import engines
from relaxon_sim.compiled import layout as compiled_layout
from relaxon_sim.compiled import loader
from relaxon_sim.golden import weights as golden_weights
from support.observe import differences, observe
from support.random_programs import random_program
from support.ranges import range_cases

pytest.importorskip("numba", reason="numba is not installed")
FAST = ArrayConfig(drains=True, prefetch=True, both=True, sample_buffer=64)
WIDE = ArrayConfig(p=2, state_bits=32, weight_bits=32, max_terms=1 << 20)


@pytest.fixture(params=engines.ENGINES)
def open_golden(request: pytest.FixtureRequest) -> Callable[[ArrayConfig], Device]:
    return lambda config: open_device("golden", config, engine=request.param)


def test_random_programs_as_on_a_board(seed: int) -> None:
    """10,000: `python tests/campaign.py --engine compiled`."""
    with open_device("golden", CAMPAIGN, engine="compiled") as device:
        campaign = Campaign(device, seed)
        for _ in range(100):
            assert campaign.step() == []


@pytest.mark.parametrize("config", [preset("default"), preset("up5k"), FAST])
def test_every_field_over_its_range(config: ArrayConfig, seed: int) -> None:
    """As tests/system/test_ranges.py asks it of the gateware."""
    golden, compiled = (open_device("golden", config, engine=e) for e in engines.ENGINES)
    for what, case in range_cases(config, Random(seed), 60):
        found = differences(observe(golden, case), observe(compiled, case))
        assert not found, f"{what}: {found}\n{case.program.listing()}"


def test_runs_in_pieces_are_the_same(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pause after every instruction, and room for one EMIT at a time."""
    from relaxon_sim.compiled import machine

    cases = [random_program(CAMPAIGN, Random(number)) for number in range(seed, seed + 10)]

    def seen() -> list[dict]:
        return [observe(open_device("golden", CAMPAIGN, engine="compiled"), c) for c in cases]

    whole = seen()
    monkeypatch.setattr(machine, "WORK", 1)
    monkeypatch.setattr(machine, "RECORDS", 1)
    for a, b in zip(whole, seen(), strict=True):
        assert differences(a, b) == []


def test_emits_beyond_the_room_for_them(open_golden, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an EMIT of 6 states 50 bytes are reserved: a third one waits for room."""
    from relaxon_sim.compiled import machine

    monkeypatch.setattr(machine, "ROOM", 80)
    with open_golden(CAMPAIGN) as device:
        device.write(Space.STATE, 0, range(6))
        device.load(Program(CAMPAIGN, (Loop(count=20), Emit(count=6), Next(), Halt())).rows)
        emits = list(device.run())
    assert emits == [bytes([0, 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0])] * 20


def test_windows_of_zeros_meet_the_same_tiles_as_others(seed: int) -> None:
    """Six windows of two groups on one panel; those of groups 2 and 3, and 5, have zeros. Between
    two of them, and from run to run, the panel's weights change."""
    config, rng = preset("default"), np.random.default_rng(seed)
    window = Mac(
        outer=(MacLevel(count=6, src=1, dst=2),), inner=(MacLevel(count=2, tile=1, src=1),),
        dst=32, shift=10, one=14,
    )  # fmt: skip
    learn = Learn(inner=(LearnLevel(count=1),), tile=1, row=1, col=0, position=0)
    again = replace(window, dst=40)
    weights = rng.integers(-(1 << 13), 1 << 13, (config.weight_depth, config.p, config.p))
    states = rng.integers(-(1 << 9), 1 << 9, (7, config.p)) << 4
    states[2:4] = states[5] = 0
    found = []
    for engine in engines.ENGINES:
        device = open_device("golden", config, engine=engine)
        device.machine.weights_array = weights  # type: ignore[attr-defined]
        device.write(Space.STATE, 0, states.ravel())
        device.load(Program(config, (window, learn, again, Halt())).rows)
        for scale in (1, 2):
            device.machine.weights_array = weights // scale  # type: ignore[attr-defined]
            assert list(device.run()) == []
            found.append(device.read(Space.STATE).tolist())
    assert found[:2] == found[2:] and found[0] != found[1]
    first, second = np.array(found[0])[32 * config.p : 48 * config.p].reshape(2, -1)
    assert first.any() and not np.array_equal(first, second)


def countdown(samples: int) -> Program:
    """Adds each sample to a sum and hands that over."""
    config = preset("default")
    nest: tuple[Instruction, ...] = (
        Wait(dst=0, count=4, tick=True),
        Learn(inner=(LearnLevel(count=1),), tile=1, row=8, col=0, position=0),
        Mac(outer=(MacLevel(count=1),), tile=1, src=8, dst=2, shift=18),
        Emit(base=2, count=4),
    )
    return Program(config, (Loop(count=samples), *nest, Next(), Halt()))


@pytest.mark.parametrize(("rows", "columns"), [(2, 3), (3, 2), (5, 3), (3, 5)])
def test_every_tile_of_a_matrix_counts_its_saturations(open_golden, rows, columns) -> None:
    """Tiles in lines of three and of five, from tile 3 on: no bits of the numbers can be told
    apart."""
    config = preset("default")
    levels = LearnLevel(count=rows, tile=columns, row=1), LearnLevel(count=columns, tile=1, col=1)
    learn = Learn(outer=levels, tile=3, row=0, col=8, position=0)
    with open_golden(config) as device:
        device.write(Space.STATE, 0, [(1 << config.state_bits - 1) - 1] * 16 * config.p)
        device.load(Program(config, (*[learn] * 2, Halt())).rows)
        list(device.run())
        assert device.counters()[Register.WEIGHT_SATURATIONS] == 2 * rows * columns


def test_nests_of_the_same_tiles_in_another_order_do_not_move_them_in_turn(
    open_golden, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forward and transposed pass of a convolution with stride 1 above another one."""
    moves: list[object] = []
    for weights, method in ((compiled_layout.Layout, "_place"), (golden_weights.Weights, "adopt")):
        place = getattr(weights, method)
        monkeypatch.setattr(
            weights, method, lambda self, *a, place=place: (moves.append(self), place(self, *a))
        )
    network = Network.parse("8x8x1,4c2,4c2,10")
    data, rule = load("digits"), settings_for("ep-centered", network)
    few = replace(data, x_train=data.x_train[:20], y_train=data.y_train[:20])
    with open_golden(preset("conv")) as device:
        trainer = Trainer(device, network, few, TrainSettings(epochs=2, rule=rule))
        trainer.start()
        trainer.run_epoch()
        assert moves
        moves.clear()
        trainer.run_epoch()
        assert len(moves) <= 2


def test_all_samples_at_once_are_as_one_by_one(open_golden) -> None:
    samples = np.random.default_rng(0).integers(0, 256, (300, 4), dtype=np.uint8)
    payloads, counters = [], []
    for at_once in (False, True):
        device = open_golden(preset("default"))
        device.write(Space.STATE, 32, [1 << 14] * 4)
        device.load(countdown(300).rows)
        told: list[int] = []
        if at_once:
            payloads.append(device.run_all(samples, progress=told.append))
            assert sum(told) == 300
        else:
            payloads.append(list(device.run(map(bytes, samples))))
        counters.append(device.counters())
        with pytest.raises(DeviceError, match="waits for another sample after all 299 given"):
            device.run_all(samples[:-1])
        with pytest.raises(DeviceError, match="did not take all of the samples"):
            device.run_all(np.tile(samples, (2, 1)))
        with pytest.raises(DeviceError, match="run at row 512"):
            device.run_all(samples, row=512)
    assert payloads[0] == payloads[1] and len(set(payloads[0])) > 1
    assert counters[0] == counters[1]


def test_patches_take_effect_at_the_wait(open_golden) -> None:
    config = preset("default")
    add = Mac(outer=(MacLevel(count=1),), src=0, dst=1, from_drive=True)
    body = (Wait(dst=0, count=4), add, Emit(base=1, count=1))
    program = Program(config, (Loop(count=4), *body, Next(), Halt()))
    device = open_golden(config)
    device.write(Space.DRIVE, 0, [64] * 4)
    device.load(program.rows)

    def samples():
        for shift in range(4):
            _, row, rows = program.patch(2, shift=shift, up=0)
            device.load(rows, row)
            yield bytes(4)

    assert [int.from_bytes(e, "little") for e in device.run(samples())] == [64, 32, 16, 8]


def test_a_run_that_is_left_does_not_disturb_the_next(open_golden) -> None:
    device = open_golden(preset("default"))
    device.load(countdown(5).rows)
    run = device.run(iter([bytes(4)] * 5))
    next(run)
    run.close()
    assert len(device.run_all(np.zeros((5, 4), np.uint8))) == 5


def test_more_instructions_than_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    from relaxon_sim.compiled import machine

    monkeypatch.setattr(machine, "KNOWN", 3)
    device = open_device("golden", preset("default"), engine="compiled")
    for samples in range(1, 8):
        device.load(countdown(samples).rows)
        assert len(device.run_all(np.zeros((samples, 4), np.uint8))) == samples


def test_what_cannot_run_is_refused(open_golden) -> None:
    """Rows that no builder made."""
    config = preset("up5k")  # 768 groups of states, with addresses of 10 bits
    device, bases = open_golden(config), row_layouts(config)["bases"]
    head, rest, halt = Program(config, (Mac(), Halt())).rows
    for source, says in ((767, None), (768, "state group")):
        device.load([head, bases.pack(bases.unpack(rest) | {"src": source}), halt])
        if says:
            with pytest.raises(ProgramError, match=says):
                list(device.run())
        else:
            assert list(device.run()) == []
    emits = row_layouts(config)["EMIT"]
    for count in (config.p, config.p + 1):
        row, halt = Program(config, (Emit(count=count), Halt())).rows
        device.load([emits.pack(emits.unpack(row) | {"base": 767}), halt])
        if count > config.p:
            with pytest.raises(ProgramError, match="state group"):
                list(device.run())
        else:
            assert len(list(device.run())) == 1
    device.load([row_layouts(config)["NEXT"].pack({"opcode": Opcode.NEXT})])
    with pytest.raises(ProgramError, match="NEXT without a LOOP"):
        list(device.run())


# By name ----------------------------------------------------------------------------------------


def test_the_fastest_that_is_there_and_wide_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(engines.ENGINE, raising=False)
    default = preset("default")
    assert open_device("golden", default).identity.build == "golden compiled"
    assert open_device("golden", WIDE).identity.build == "golden numpy"
    assert engines.fastest(WIDE)[1] == "this machine's words are too wide for the compiled one"
    with pytest.raises(ConfigError, match=r"84 bits .* use engine numpy"):
        open_device("golden", WIDE, engine="compiled")
    with pytest.raises(ConfigError, match=r"no engine 'compile'.*compiled"):
        open_device("golden", default, engine="compile")
    monkeypatch.setenv(engines.ENGINE, "numpy")
    assert open_device("golden", default).identity.build == "golden numpy"


def test_without_numba_everything_works_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(engines.ENGINE, raising=False)
    for module in (engines, loader):
        monkeypatch.setattr(module, "available", lambda: False)
    loader.load.cache_clear()
    try:
        assert open_device("golden").identity.build == "golden numpy"
        with pytest.raises(ToolError, match=r"needs numba: .*\[fast\]"):
            open_device("golden", engine="compiled")
    finally:
        loader.load.cache_clear()


def test_the_command_line_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["train", "--backend", "golden", "--layers", "8,4,3", "--data", "iris"]
    for engine in engines.ENGINES:
        monkeypatch.setenv(engines.ENGINE, "set back by monkeypatch")
        ran = CliRunner().invoke(cli, [*command, "--epochs", "1", "--engine", engine])
        assert ran.exit_code == 0, ran.output
        assert f"golden model of preset default, engine {engine}" in ran.stderr


def test_code_is_loaded_not_compiled_again() -> None:
    loader.load()
    code = "from relaxon_sim.compiled.loader import load; load()"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stderr == ""


@pytest.mark.parametrize(
    ("environment", "compresses"),
    [
        ({"NUMBA_CPU_NAME": "generic"}, False),
        ({"NUMBA_CPU_FEATURES": ""}, False),
        ({"NUMBA_ENABLE_AVX": "0"}, False),
        ({"NUMBA_CPU_FEATURES": "+avx512f"}, True),
    ],
)
def test_vectors_are_those_of_the_processor_compiled_for(environment, compresses) -> None:
    """Not those of the computer that compiles."""
    from llvmlite.binding import llvm_version_info

    code = "from relaxon_sim.compiled import engine; print(engine.COMPRESSES)"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    ran = subprocess.run(
        [sys.executable, "-c", code], env=kept | environment,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ran.stdout == f"{compresses and llvm_version_info >= (19,)}\n"


def test_without_a_folder_to_write(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    """As where relaxon and the home folder are read-only."""
    blocked = tmp_path / "file"
    blocked.touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    monkeypatch.setattr(loader, "gettempdir", lambda: str(tmp_path))
    folder = loader._folder()
    assert folder and tmp_path in folder.parents
    monkeypatch.setattr(loader, "gettempdir", lambda: str(blocked))
    assert loader._folder() is None


# At length ---------------------------------------------------------------------------------------


def same_on_both_engines(data: Dataset, epochs: int) -> None:
    """784-128-10, default settings: weights, registers, states, history and test."""
    network = Network((784, 128, 10))
    settings = TrainSettings(epochs=epochs, rule=settings_for("ep-centered", network.depth))
    config = preset(first_preset(network, settings.rule))
    left = []
    for engine in engines.ENGINES:
        with open_device("golden", config, engine=engine) as device:
            trainer = Trainer(device, network, data, settings)
            trainer.start()
            while trainer.epoch < settings.epochs:
                trainer.run_epoch()
            tested = trainer.evaluate()
            left.append((trainer.checkpoint({}), tested, device.read(Space.STATE).tolist()))
    (a, *rest), (b, *others) = left
    assert all(map(np.array_equal, a.weights, b.weights)) and rest == others
    assert (a.registers, a.history) == (b.registers, b.history)


def test_epochs_of_a_part_of_mnist_are_the_same(mnist: Path) -> None:
    data = load(str(mnist))
    same_on_both_engines(
        data.changed(
            x_train=data.held("x_train")[:1000], y_train=data.y_train[:1000],
            x_test=data.held("x_test")[:100], y_test=data.y_test[:100],
        ),
        epochs=3,
    )  # fmt: skip


@pytest.mark.long
def test_ten_epochs_of_mnist_are_the_same(mnist: Path) -> None:
    """About twelve minutes."""
    same_on_both_engines(load(str(mnist)), epochs=10)
