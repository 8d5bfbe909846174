"""`relaxon build | flash | boards | estimate`: commands about boards."""

import importlib
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from math import inf
from pathlib import Path
from textwrap import fill
from typing import Any

import click

from relaxon_isa import LOOP_COUNT_BITS, ConfigError, ProgramError, ToolError, install

from ..machines import find_machine
from ..network import Network
from ..parallel import open_pool
from ..rules import fits, settings_for
from ..studies.estimate import BEYOND, FREE_SWEEPS, NUDGED_SWEEPS, Cost, made_by_machine
from ..studies.estimate import estimate as cost_of
from ..training import FEISTEL
from .console import console, json_option, print_json, show
from .options import (
    FiniteRange,
    input_bits_option,
    jobs_option,
    machine_option,
    order_option,
    pool_option,
    recipe_option,
)

__all__ = [
    "COMMANDS",
    "as_machine",
    "board_machine_option",
    "free_sweeps_option",
    "largest",
    "load_boards",
]

SHOWN = ("64-32-10", "196-120-10", "784-64-10", "784-128-10")
"""Networks whose fit `boards` shows."""

PARTS = {"compute_rate": "array", "link_rate": "line", "memory_rate": "memory"}
"""Rates of a pass, and what has them."""

SWEEPS = click.IntRange(1, 1 << LOOP_COUNT_BITS)
free_sweeps_option = click.option(
    "--free-sweeps", default=FREE_SWEEPS, show_default=True, type=SWEEPS
)

directory_option = click.option(
    "--directory",
    type=click.Path(path_type=Path),
    help="Where everything is kept (default: build/BOARD, or build/BOARD-MACHINE).",
)


def load_boards(module: str) -> Any:
    """A module of the boards' package, which a plain installation of the host may lack."""
    try:
        return importlib.import_module(f"relaxon_boards.{module}")
    except ImportError as error:
        raise ToolError(f"this needs {error.name}: {install('boards')}") from error


board_argument = click.argument(
    "board", callback=lambda ctx, parameter, name: load_boards("catalogue").find_board(name)
)
board_machine_option = machine_option(
    "Machine that the board is built as, instead of its own: one of yours, as machine.toml "
    "('relaxon config BOARD' begins one), or a preset."
)


def as_machine(board: Any, name: str | None) -> Any:
    """The board with another machine. Raises ConfigError if its memories or multipliers are too
    few for it."""
    if name is None:
        return board
    machine = find_machine(name)
    load_boards("fit").check_fit(board, machine)
    return replace(board, machine=machine, preset=Path(name).stem)


def _home(board: Any, directory: Path | None, name: str | None) -> Path:
    """Where the files of a build are."""
    own = f"-{board.preset}" if name else ""
    return directory or Path("build") / f"{board.name}{own}"


@click.command()
@board_argument
@click.option("--seeds", default=1, show_default=True, type=click.IntRange(1), help="Placements.")
@jobs_option(-1, "Seeds at a time; -1: one a processor.")
@pool_option
@click.option("--baud", type=click.IntRange(1), help="Instead of the board's default.")
@click.option("--vendor", is_flag=True, help="With the vendor's tool (Arty: Vivado), untested.")
@board_machine_option
@directory_option
@json_option
def build(
    board: Any,
    seeds: int,
    jobs: int,
    pool: str,
    baud: int | None,
    vendor: bool,
    preset_name: str | None,
    directory: Path | None,
    as_json: bool,
) -> None:
    """Make a board's bitstream: synthesise, place, route, pack, and report.

    Tools are those that YOSYS, NEXTPNR_ICE40 and the like name, else those on PATH, else YoWASP's.
    Timing below the board's clock is an error.
    """
    board = as_machine(board, preset_name)
    directory = _home(board, directory, preset_name)
    flash_it = f"relaxon flash {board.name}" + (f" --config {preset_name}" if preset_name else "")
    if vendor:
        if seeds > 1 or as_json:
            raise click.UsageError(
                "the vendor's tool places once and reports in its own way: "
                "leave --seeds and --json out"
            )
        load_boards("build").build_with_vendor(board, directory, baud=baud)
        console.print(f"kept in {directory}; next: {flash_it}")
        return
    with console.status(f"{board.name}: starting") as status:
        start = time.monotonic()

        def progress(text: str) -> None:
            status.update(f"{board.name}: {text}")
            if not console.is_terminal:
                console.print(f"{time.monotonic() - start:6.0f} s  {text}")

        with open_pool(1 if seeds == 1 else jobs, pool) as run:
            report = load_boards("build").build(
                board, directory, baud=baud, seeds=seeds, pool=run, progress=progress
            )
    click.echo(report.to_json() if as_json else report.text(), nl=False)
    following = (
        f"; next: {flash_it}, then relaxon info --backend PORT@{baud or board.baud}"
        if report.bitstream
        else ""
    )
    console.print(f"kept in {directory}{following}")


@click.command()
@board_argument
@click.option("--permanent", is_flag=True, help="Also into the flash memory.")
@board_machine_option
@directory_option
def flash(board: Any, permanent: bool, preset_name: str | None, directory: Path | None) -> None:
    """Load the bitstream that `build` made onto a board that is plugged in."""
    build, board = load_boards("build"), as_machine(board, preset_name)
    bitstream = build.bitstream_path(board, _home(board, directory, preset_name))
    load_boards("flash").flash(board, bitstream, permanent=permanent)


def _fits(text: str, config: Any) -> bool:
    network = Network.parse(text)
    return fits(network, config, settings_for("ep-centered", network))


def largest(config: Any) -> str:
    """The largest usual network that fits a machine; the smallest, if none does."""
    return next((text for text in SHOWN[::-1] if _fits(text, config)), SHOWN[0])


@click.command()
@json_option
def boards(as_json: bool) -> None:
    """List the boards: device, array, memories, clock, line, and what networks fit."""
    rows = []
    for board in load_boards("catalogue").all_boards().values():
        c = board.config
        rows.append(
            {
                "board": board.name,
                "device": board.device,
                "preset": board.preset,
                "p": c.p,
                "weights": c.weight_depth * c.p * c.p,
                "weight_bits": c.weight_bits,
                "states": c.state_depth * c.p,
                "clock_hz": board.clock_hz,
                "baud": board.baud,
                "usb": board.usb,
                "networks": [text for text in SHOWN if _fits(text, c)],
                "experimental": board.experimental,
            }
        )
    if print_json(rows, as_json):
        return
    show(
        ("board", "device", "cells", "weights", "MHz", "baud", "up to"),
        (
            (
                row["board"] + ("*" if row["experimental"] else ""),
                row["device"],
                f"{row['p']} x {row['p']}",
                row["weights"],
                f"{row['clock_hz'] / 1e6:g}",
                row["baud"],
                row["networks"][-1] if row["networks"] else "-",
            )
            for row in rows
        ),
    )
    for text in sorted({row["experimental"] for row in rows} - {""}):
        whose = ", ".join(row["board"] for row in rows if row["experimental"] == text)
        click.echo(fill(f"* {whose}: {text}", 80, subsequent_indent="  "))


@click.command()
@board_argument
@click.option(
    "--layers", help="Layer sizes (default: the largest of a few usual networks that fits)."
)
@free_sweeps_option
@click.option("--nudged-sweeps", default=NUDGED_SWEEPS, show_default=True, type=SWEEPS)
@recipe_option
@input_bits_option
@order_option
@board_machine_option
@click.option("--baud", type=click.IntRange(1), help="Instead of the board's default.")
@click.option(
    "--latency",
    default=0.0,
    show_default=True,
    type=FiniteRange(0, 1000),
    help="ms that the USB adapter and the computer take from byte to byte. Usual are 1.2 with "
    "adapters of FTDI as relaxon sets them, 16.2 where that is not possible (Windows, a timer "
    "that 'relaxon doctor' complains of), 1 to 2 with others (DAPLink, CDC).",
)
@json_option
def estimate(
    board: Any,
    layers: str | None,
    free_sweeps: int,
    nudged_sweeps: int,
    recipe: str | None,
    input_bits: int,
    order: str,
    preset_name: str | None,
    baud: int | None,
    latency: float,
    as_json: bool,
) -> None:
    """Say whether a network fits a board, and how fast it would be, before synthesis.

    Cycles are exact for the given sweeps of each phase. What the array, the line and, where there
    is one, the sample memory could do are separate figures; the smallest one holds.

    With a recipe that stops early, sweeps depend on data: "within" is a sample that its first pass
    brings within the margin, "beyond" one that stays beyond it and learns, and "training" their
    mean as on MNIST.
    """
    board = as_machine(board, preset_name)
    network = Network.parse(layers or largest(board.config))
    try:
        costs = cost_of(
            network,
            board.config,
            free_sweeps=free_sweeps,
            nudged_sweeps=nudged_sweeps,
            input_bits=input_bits,
            recipe=recipe,
            order=order,
        )
    except (ConfigError, ProgramError) as error:
        boards = load_boards("catalogue").all_boards()
        larger = [name for name, other in boards.items() if _fits(str(network), other.config)]
        if board.name in larger:
            raise
        hint = f"; {network} fits {', '.join(larger) or 'no board'}"
        raise ConfigError(f"{board.name}: {error}{hint}") from error
    rate = board.clock_hz // board.divisor(baud)
    if not board.config.kind_counters:
        costs = {kind: replace(cost, kinds={"all": cost.cycles}) for kind, cost in costs.items()}
    room = board.config.rx_bytes - 2

    def rates_of(cost: Cost) -> dict[str, float]:
        memory = {"memory_rate": cost.memory_rate(board.clock_hz)} if cost.memory_cycles else {}
        return {
            "compute_rate": cost.compute_rate(board.clock_hz),
            "link_rate": cost.link_rate(rate, latency / 1000, room),
        } | memory

    passes = {kind: asdict(cost) | rates_of(cost) for kind, cost in costs.items()}
    assumed = {"free_sweeps": free_sweeps, "nudged_sweeps": nudged_sweeps}
    if recipe:
        assumed = {"recipe": recipe, "share_beyond": BEYOND}
    result = {
        "board": board.name,
        "network": str(network),
        "clock_hz": board.clock_hz,
        "baud": rate,
        "latency_ms": latency,
        "input_bits": input_bits,
        "order": order,
        **assumed,
        **passes,
    }
    if print_json(result, as_json):
        return
    click.echo(
        f"{network} fits {board.name} ({board.config.p} x {board.config.p} cells, "
        f"{board.clock_hz / 1e6:g} MHz, {rate} baud, {latency:g} ms of latency)"
    )
    parts = [name for name in PARTS if any(name in figures for figures in passes.values())]
    show(
        ("pass", "cycles/sample", *(f"samples/s, {PARTS[name]}" for name in parts), "limited by"),
        (
            (
                kind,
                figures["cycles"],
                *(_rounded(figures[name]) if name in figures else "-" for name in parts),
                _limit(figures),
            )
            for kind, figures in passes.items()
        ),
    )
    click.echo(
        f"with recipe {recipe}, and {BEYOND:.0%} of the samples beyond the margin, as on MNIST"
        if recipe
        else f"with {free_sweeps} free and {nudged_sweeps} nudged sweeps"
    )
    training = costs["training"]
    if order == FEISTEL and not training.memory_cycles:
        lacks = "samples go over the line" if board.config.sample_memory else "no sample memory"
        click.echo(f"--order {FEISTEL} saves nothing here: {lacks}, so the host makes the order")
    elif order != FEISTEL and training.memory_cycles and _limit(passes["training"]) == "line":
        made = made_by_machine(training)
        rates = rates_of(made)
        click.echo(
            f"in training the line carries each sample's place in the order, "
            f"{training.rx_bytes:.2f} bytes; with --order {FEISTEL} {made.rx_bytes:.2f} bytes, "
            f"and {_rounded(min(rates.values()))} samples/s, limited by the {_limit(rates)}"
        )


def _limit(rates: Mapping[str, Any]) -> str:
    """What has the lowest of a pass's rates."""
    return PARTS[min(PARTS, key=lambda name: rates.get(name, inf))]


def _rounded(rate: float) -> str:
    """Whole numbers, where they say something."""
    return f"{rate:.0f}" if rate >= 100 else f"{rate:.3g}"


COMMANDS = (build, flash, boards, estimate)
