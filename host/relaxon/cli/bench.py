"""`relaxon bench`: the studies by command."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np
from click.core import ParameterSource

from relaxon_isa import ConfigError, ProgramError, choose
from relaxon_sim.compiled.loader import available

from .. import files
from ..checks import naming
from ..machines import find_machine
from ..network import Network
from ..parallel import open_pool
from ..rules import RULES, rule_class, settings_for
from ..runs import choose_preset, network_of
from ..studies import bptt, claims, comparison, deep, equivalence, throughput
from ..studies import devices as flaws
from ..studies.cycles import cycles, cycles_of
from ..studies.estimate import latency_of, usual_latency
from ..studies.faults import RATES, SAME_OR_NOT, busy, faults
from ..studies.gradient import gradient
from ..studies.line import BITS, CLOCK_HZ, DIVISOR, line
from ..studies.plots import check_picture
from ..studies.settle import settle
from ..studies.speed import CASES, Case, first_use, golden, synthetic
from ..training import training_for
from .boards import (
    as_machine,
    board_machine_option,
    free_sweeps_option,
    largest,
    load_boards,
)
from .console import DIFFERENT, bar, json_option, print_json, show
from .options import (
    FiniteRange,
    check_folder,
    check_output,
    data_option,
    engine_option,
    epochs_option,
    file_option,
    files_of,
    force_option,
    how_options,
    input_bits_option,
    jobs_option,
    layers_option,
    network_options,
    pool_option,
    read_data,
    seeds_option,
)

__all__ = ["bench"]


def _check_plot(path: Path | None, force: bool) -> None:
    check_output(path, force=force)
    if path:
        check_picture(path)


@click.group()
@engine_option
def bench() -> None:
    """Measure: cycles, sweeps, gradients, accuracy, the golden model's speed."""


@bench.command("cycles")
@click.option("--layers", help="Only this network, on the machine of --config.")
@click.option(
    "--preset",
    "--config",
    "machine",
    metavar="NAME|FILE",
    default="conv",
    show_default=True,
    help="Its machine: a preset, or one of your own, as machine.toml.",
)
@json_option
def bench_cycles(layers: str | None, machine: str, as_json: bool) -> None:
    """Exact cycles per training and inference sample, for a table of networks and array sizes.

    Inputs are in the machine already; free phases of 6 sweeps, nudged ones of 4, side by side; of
    convolutional networks, whose feedback is scaled, 4 and 1. With recipe fast, sweeps depend on
    data: a training sample that its first pass brings within the margin, and one that stays beyond
    it and learns. Groups of states and drives, and tiles of weights, are what a network takes.
    """
    source = click.get_current_context().get_parameter_source("machine")
    if not layers and source is ParameterSource.COMMANDLINE:
        raise click.UsageError("--preset is the machine of --layers: give both, or neither")
    with bar("counting cycles"):
        found = cycles_of(Network.parse(layers), find_machine(machine)) if layers else cycles()
    if print_json(found, as_json):
        return
    columns = ("network", "p", "pass", "cycles", "mac", "learn", "states", "drives", "tiles")
    show(columns, ([row[c] for c in columns] for row in found))


@bench.command("faults")
@click.option(
    "--config",
    "machines",
    multiple=True,
    default=("default", "up5k"),
    show_default=True,
    help="Preset, or TOML file of a machine; may be repeated.",
)
@click.option(
    "--rate",
    "rates",
    multiple=True,
    default=RATES,
    show_default=True,
    type=FiniteRange(0, 0.5),
    help="Faults a byte; may be repeated.",
)
@data_option
@layers_option("64,32,10")
@click.option(
    "--samples",
    default=200,
    show_default=True,
    type=click.IntRange(1),
    help="Training samples of an epoch.",
)
@click.option("--epochs", default=2, show_default=True, type=click.IntRange(1), help="To train.")
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0), help="Of weights and faults."
)
@click.option(
    "--busy",
    "others",
    default=0,
    show_default=True,
    type=click.IntRange(0, 16),
    help="Processes a processor that compute beside it, as on a shared computer.",
)
@json_option
def bench_faults(
    machines: tuple[str, ...],
    rates: tuple[float, ...],
    data: str,
    layers: str,
    samples: int,
    epochs: int,
    seed: int,
    others: int,
    as_json: bool,
) -> None:
    """Train the virtual board over a line with faults, and compare with the golden model.

    Faults go both ways: bits flipped, bytes lost, inserted or repeated, now and then up to 40 bytes
    lost together or all held up for up to 50 ms. Each rate is a training on a board of its own.
    It ends "identical" (weights, counters and accuracies), or with a message. "bytes" and
    "time" are those of both ways beside the first row of its machine. Exit code 9: one differs.
    """
    configs = {name: find_machine(name) for name in machines}
    network, dataset = Network.parse(layers), read_data(data)
    count = min(samples, len(dataset.x_train))
    rows = []
    bars = bar("samples", len(configs) * len(rates) * epochs * count)
    with busy(others), bars as progress:
        for name, config in configs.items():
            for row in faults(
                config,
                network,
                dataset,
                samples=count,
                epochs=epochs,
                rates=rates,
                seed=seed,
                progress=progress,
            ):
                rows.append({"machine": name, **row})
    if not print_json(rows, as_json):
        first = {row["machine"]: row for row in reversed(rows)}

        def beside(row: dict, *names: str) -> str:
            base = first[row["machine"]]
            return f"{sum(row[n] for n in names) / sum(base[n] for n in names):.2f}"

        show(
            ("machine", "rate", "faults", "sent", "received", "bytes", "s", "time", "result"),
            (
                (
                    row["machine"],
                    f"{row['rate']:g}",
                    sum(row["faults"].values()),
                    row["sent"],
                    row["received"],
                    beside(row, "sent", "received"),
                    f"{row['seconds']:.1f}",
                    beside(row, "seconds"),
                    row["result"] if row["result"] in SAME_OR_NOT else "ended",
                )
                for row in rows
            ),
        )
        for row in rows:
            if row["result"] not in SAME_OR_NOT:
                click.echo(f"{row['machine']}, rate {row['rate']:g}, ended: {row['result']}")
    if any(row["result"] == "different" for row in rows):
        sys.exit(DIFFERENT)


@bench.command("link")
@click.option(
    "--config",
    "machine",
    default="default",
    show_default=True,
    help="Preset, or TOML file of a machine.",
)
@click.option("--data", help="Data set; by default synthetic samples as sparse as MNIST.")
@layers_option("784,64,10")
@click.option(
    "--bits",
    multiple=True,
    type=click.Choice([str(bits) for bits in BITS]),
    help="Only inputs of this width; may be repeated.",
)
@click.option(
    "--samples",
    default=8,
    show_default=True,
    type=click.IntRange(1),
    help="Training samples to count, besides the first.",
)
@json_option
def bench_link(
    machine: str,
    data: str | None,
    layers: str,
    bits: tuple[str, ...],
    samples: int,
    as_json: bool,
) -> None:
    """What a line of 3 Mbaud carries: training samples on the virtual board, by its own clock.

    Its clock is taken for one of 75 MHz. "share" is the part of the line that inputs and targets
    take; zero runs carry more than they take. "estimate" is what 'relaxon estimate' says.
    """
    network = Network.parse(layers)
    dataset = read_data(data) if data else synthetic(network, samples + 1)
    widths = tuple(int(text) for text in bits) or BITS
    with bar("samples") as progress:
        rows = line(
            find_machine(machine),
            network,
            dataset,
            samples=min(samples, len(dataset.x_train) - 1),
            bits=widths,
            progress=progress,
        )
    if print_json(rows, as_json):
        return
    click.echo(f"{network}, {CLOCK_HZ / DIVISOR / 1e6:g} Mbaud")
    show(
        ("bits", "form", "payload", "bytes up", "down", "cycles", "share", "samples/s",
         "estimate"),
        (
            (
                row["bits"],
                "zero runs" if row["zero_runs"] else "dense",
                row["payload"],
                *(f"{row[name]:.0f}" for name in ("up", "down", "cycles")),
                f"{row['share']:.1%}",
                *_rounded([row["samples_per_second"], row["estimated"]], 0),
            )
            for row in rows
        ),
    )  # fmt: skip


@bench.command("latency")
@click.option("--board", "names", multiple=True, help="Only this board; may be repeated.")
@click.option("--layers", help="Layer sizes (default: of each board, as 'relaxon estimate' has).")
@free_sweeps_option
@input_bits_option
@board_machine_option
@click.option(
    "--latency",
    type=FiniteRange(0, 1000),
    help="ms that the USB adapter and the computer take from byte to byte (default: 1.2 with "
    "adapters of FTDI, 2 with others).",
)
@json_option
def bench_latency(
    names: tuple[str, ...],
    layers: str | None,
    free_sweeps: int,
    input_bits: int,
    preset_name: str | None,
    latency: float | None,
    as_json: bool,
) -> None:
    """One prediction from host to host, by board: ms, and where they go.

    "up": the sample's bytes on the line, and waits for room in the board's ring; "array": the
    program, by exact cycles of so many sweeps; "down": the answer's bytes; "usb": --latency. The
    program is loaded, inputs travel dense: as zero runs they would take less.
    """
    known = load_boards("catalogue")
    boards = [known.find_board(name) for name in names] or [*known.all_boards().values()]
    rows, reasons = [], {}
    for board in (as_machine(board, preset_name) for board in boards):
        network = Network.parse(layers or largest(board.config))
        usb = usual_latency(board.usb) if latency is None else latency / 1000
        baud = board.clock_hz // board.divisor()
        try:
            found = latency_of(
                network,
                board.config,
                clock_hz=board.clock_hz,
                baud=baud,
                usb=usb,
                free_sweeps=free_sweeps,
                input_bits=input_bits,
            )
        except (ConfigError, ProgramError) as error:
            reasons[board.name] = error
            continue
        about = {"board": board.name, "network": str(network), "baud": baud}
        rows.append(about | asdict(found) | {"total": found.total})
    if not rows:
        raise next(iter(reasons.values()))
    if print_json(rows, as_json):
        return
    parts = ("up", "array", "down", "usb", "total")
    show(
        ("board", "network", "baud", "bytes up", "down", *(f"ms {part}" for part in parts)),
        (
            (
                *(row[name] for name in ("board", "network", "baud", "bytes_up", "bytes_down")),
                *(f"{1000 * row[part]:.2f}" for part in parts),
            )
            for row in rows
        ),
    )
    if reasons:
        click.echo(f"{layers} does not fit " + ", ".join(reasons))


@bench.command("golden")
@click.option("--data", help="Data set; by default synthetic samples as sparse as MNIST.")
@click.option("--layers", help="Layer sizes; without this and --data, a table of cases.")
@click.option(
    "--samples",
    default=5000,
    show_default=True,
    type=click.IntRange(1),
    help="Training samples to time, at most.",
)
@json_option
def bench_golden(data: str | None, layers: str | None, samples: int, as_json: bool) -> None:
    """Training samples/s of the golden model's two engines, in processor time of one core.

    The faster one stands beside a float numpy loop, both with fixed sweeps, or with recipe fast
    beside the C program of 'relaxon bench speed'. --data without --layers: all cases of that many
    inputs, on that data set. The table of cases ends with what the first use costs: to compile,
    to start with compiled code, and memory for all of MNIST."""
    cases = [Case(layers, data)] if layers else CASES
    if data and not layers:
        inputs = read_data(data).features
        cases = [
            case._replace(data=data)
            for case in CASES
            if Network.parse(case.network).sizes[0] == inputs
        ] or [Case("784,128,10", data)]
    with bar(f"timing {samples} samples"):
        rows = [golden(case, samples) for case in cases]
    first = None
    if cases is CASES and available():
        with bar("the engine's first use"):
            first = first_use()
    if print_json({"cases": rows, "first_use": first}, as_json):
        return
    figures = ("numpy", "compiled", "golden", "float", "c")
    table = []
    for row in rows:
        speeds = [row.get(f"{name}_per_second") for name in figures]
        ratios = [row["compiled_over_numpy"], row.get("ratio"), row.get("over_c")]
        names = (row["network"], row["recipe"] or "-", row["data"])
        table.append((*names, *_rounded(speeds, 0), *_rounded(ratios, 2)))
    ratios = ("compiled/numpy", "golden/float", "compiled/C")
    show(("network", "recipe", "data", *figures, *ratios), table)
    if first:
        click.echo(
            f"compiled engine: {first['compile_seconds']:.0f} s of processor time to compile, "
            f"{first['start_seconds']:.1f} s to start; {first['mnist_megabytes']:.0f} MB for MNIST"
        )


def _rounded(values: list[float | None], digits: int) -> list[str]:
    return ["-" if value is None else f"{value:.{digits}f}" for value in values]


COMPARED = {board: board for _, board in throughput.CASES}
"""Boards of `bench speed`."""


@bench.command("speed")
@click.option("--data", required=True, help="MNIST or the like: a folder of IDX files, or .npz.")
@click.option(
    "--board",
    "boards",
    multiple=True,
    callback=lambda ctx, parameter, names: tuple(
        choose("case for board", name, COMPARED) for name in names
    ),
    help=f"Only this one ({', '.join(COMPARED)}); may be repeated.",
)
@board_machine_option
@seeds_option
@epochs_option
@json_option
def bench_speed(
    data: str,
    boards: tuple[str, ...],
    preset_name: str | None,
    seeds: int,
    epochs: int,
    as_json: bool,
) -> None:
    """Recipe fast: samples/s that boards' arrays would train, and a C program on one core does.

    Trains on the golden model, which counts each sample's cycles exactly; a second has as many as
    the board's configured clock. The line is left out: 'relaxon estimate' says what it carries. The
    C program (studies/fast.c) is compiled here, by $CC or cc, and timed in the same run.
    """
    dataset = read_data(data)
    small = throughput.halved(dataset)
    known = load_boards("catalogue").all_boards()
    chosen = [(Network.parse(n), b) for n, b in throughput.CASES if not boards or b in boards]
    cases = [
        (
            network,
            as_machine(known[name], preset_name),
            dataset if network.sizes[0] == dataset.features else small,
        )
        for network, name in chosen
    ]
    for network, board, used in cases:
        throughput.check(network, board.config, used)
    rows = []
    with bar("samples", len(cases) * seeds * epochs * len(dataset.x_train)) as progress:
        for network, board, used in cases:
            row = throughput.compare(
                network, board.config, board.clock_hz, used, seeds, epochs, progress
            )
            rows.append({"board": board.name, "preset": board.preset, **row})
    if print_json(rows, as_json):
        return

    def mean(runs: list[dict], name: str) -> float:
        return float(np.mean([run[name] for run in runs]))

    show(
        ("board", "network", "cycles", "95 %", "without WAIT, EMIT", "samples/s", "test accuracy",
         "C samples/s", "C accuracy", "ratio"),
        (
            (
                row["board"],
                row["network"],
                *(f"{mean(row['machine'], c):.0f}" for c in ("cycles", "cycles_p95", "resident")),
                f"{mean(row['machine'], 'samples_per_second'):.0f}",
                f"{mean(row['machine'], 'accuracy'):.2%}",
                f"{mean(row['c'], 'samples_per_second'):.0f}",
                f"{mean(row['c'], 'accuracy'):.2%}",
                f"{row['ratio']:.3f}",
            )
            for row in rows
        ),
    )  # fmt: skip


@bench.command("settle")
@data_option
@layers_option("64,32,10")
@click.option(
    "--samples", default=500, show_default=True, type=click.IntRange(1), help="Samples to relax."
)
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0), help="Initial weights."
)
@json_option
def bench_settle(data: str, layers: str, samples: int, seed: int, as_json: bool) -> None:
    """How many sweeps the free phase takes to settle: a histogram."""
    network, dataset = Network.parse(layers), read_data(data)
    with bar(f"relaxing {samples} samples"):
        counts = settle(network, dataset, samples, seed)
    if print_json({"sweeps": counts}, as_json):
        return
    most = max(counts.values())
    for sweeps, number in counts.items():
        click.echo(f"{sweeps:4} sweeps {number:6}  {'#' * round(50 * number / most)}")


@bench.command("gradient")
@click.option(
    "--networks",
    default=200,
    show_default=True,
    type=click.IntRange(1),
    help="Random networks to measure.",
)
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0), help="Of networks and samples."
)
@click.option("--beta", default=0.125, show_default=True, help="Strength of the nudge.")
@json_option
def bench_gradient(networks: int, seed: int, beta: float, as_json: bool) -> None:
    """Centered EP's update on the golden model against finite differences of the cost.

    Cosine of each layer, over random 20-15-10-5 networks whose units cross no bound between the
    phases and whose gradient is not zero.
    """
    with bar("networks", networks) as progress:
        result = gradient(networks, seed, beta, progress)
    if print_json(result, as_json):
        return
    show(
        ("layer", "smallest cosine", "median", "mean"),
        (
            (row["layer"], *(f"{row[name]:.6f}" for name in ("min", "median", "mean")))
            for row in result["layers"]
        ),
    )
    rejected = result["rejected"]
    click.echo(
        f"{networks} networks. Rejected: {rejected['crossing']} where a unit crosses a bound, "
        f"{rejected['zero']} where a layer's gradient is zero, {rejected['faint']} where no unit "
        f"of a layer moves by {result['faint_steps']} steps of the grid between the phases"
        + (f" (smallest cosine there {result['faint_min']:.4f})" if rejected["faint"] else "")
    )


@bench.command("digits")
@layers_option("64,32,10")
@seeds_option
@epochs_option
@json_option
def bench_digits(layers: str, seeds: int, epochs: int, as_json: bool) -> None:
    """Test accuracy on digits, beside that without the first layer's LEARN.

    64-32-10, or another network, as 8x8x1,16c4s2,10.
    """
    dataset, network = read_data("digits"), Network.parse(layers)
    with bar("samples", 2 * seeds * epochs * len(dataset.x_train)) as progress:
        rows = comparison.digits(dataset, seeds, epochs, progress, network)
    means = {name: float(np.mean([row[name] for row in rows])) for name in ("accuracy", "frozen")}
    if print_json({"epochs": epochs, "runs": rows, "mean": means}, as_json):
        return
    show(
        ("seed", "test accuracy", "first layer frozen"),
        (
            (row["seed"], f"{row['accuracy']:.2%}", f"{row['frozen']:.2%}")
            for row in (*rows, {"seed": "mean", **means})
        ),
    )


@bench.command("equivalence")
@click.option("--steps", default=30, show_default=True, type=click.IntRange(2), help="To compare.")
@click.option(
    "--beta",
    default=0.25,
    show_default=True,
    type=FiniteRange(0, min_open=True),
    help="Strength of the nudge.",
)
@file_option("--plot", "Draw both traces to this file.")
@force_option
@json_option
def bench_equivalence(
    steps: int, beta: float, plot: Path | None, force: bool, as_json: bool
) -> None:
    """EP's velocities beside recurrent backpropagation's error derivatives, step by step."""
    _check_plot(plot, force)
    with bar("both traces"):
        result = equivalence.equivalence(steps, beta)
    if plot:
        equivalence.draw(result, plot)
    errors = {name: result[name] for name in ("error_machine", "error_double")}
    with bar("updates"):
        gradient_cosine = equivalence.gradients()
    if print_json({**errors, "gradient_cosine": gradient_cosine}, as_json):
        return
    show(
        ("step", "to the side network on the machine", "in double precision"),
        (
            (k, *(f"{value:.2e}" for value in pair))
            for k, pair in enumerate(zip(*errors.values(), strict=True))
        ),
    )
    click.echo(
        f"largest: {max(max(values) for values in errors.values()):.1e} "
        "(of velocities near the end, which are small, rounding is a larger part)"
    )
    click.echo(f"updates of ep-centered and rbp, preset default: cosine {gradient_cosine:.3f}")


feedback_option = click.option(
    "--feedback",
    default=0,
    show_default=True,
    type=click.IntRange(0, 6),
    help="What comes from above is multiplied by 2**-feedback.",
)


@bench.command("bptt")
@layers_option("12,16,16,6")
@feedback_option
@click.option("--steps", default=30, show_default=True, type=click.IntRange(2), help="To compare.")
@click.option(
    "--beta",
    default=0.02,
    show_default=True,
    type=FiniteRange(0, min_open=True),
    help="Strength of the nudge.",
)
@file_option("--plot", "Draw some increments of each layer to this file.")
@force_option
@json_option
def bench_bptt(
    layers: str,
    feedback: int,
    steps: int,
    beta: float,
    plot: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """EP's update of each layer, step by step, beside backpropagation through time.

    Synchronous steps on a machine of 24-bit weights; one phase, and two of opposite nudges. A
    network with convolutions is written as 8x8x2,6c3s2,8c2,5; keep it small.
    """
    _check_plot(plot, force)
    with bar("both updates"):
        result = bptt.through_time(steps, beta, network=Network.parse(layers), feedback=feedback)
    if plot:
        bptt.draw(result, plot)
    kinds = ("one-sided", "centered")
    if print_json({name: result[name] for name in kinds}, as_json):
        return
    show(
        ("phases", "layer", "normalised RMSE", "other sign"),
        (
            (name, row["layer"], f"{row['rmse']:.2e}", f"{row['signs']:.2%}")
            for name in kinds
            for row in result[name]
        ),
    )


@bench.command("nudges")
@layers_option("8x8x2,6c3s2,8c2,5")
@feedback_option
@click.option(
    "--samples", default=10, show_default=True, type=click.IntRange(1), help="Random networks."
)
@file_option("--plot", "Draw errors against beta to this file.")
@force_option
@json_option
def bench_nudges(
    layers: str, feedback: int, samples: int, plot: Path | None, force: bool, as_json: bool
) -> None:
    """One nudged phase beside two of opposite nudges: what is wrong with the update.

    Against the gradient in double precision, at the same beta, on a machine of wide words.
    """
    _check_plot(plot, force)
    with bar("updates", 2 * samples * len(deep.BETAS)) as progress:
        rows = deep.nudges(Network.parse(layers), deep.BETAS, samples, feedback, progress)
    if plot:
        deep.draw(rows, plot)
    if print_json(rows, as_json):
        return
    kinds = ("one-sided", "centered")
    show(
        ("beta", *(f"{name}: {what}" for name in kinds for what in ("error", "cosine"))),
        (
            (
                f"{row['beta']:g}",
                *(
                    text
                    for name in kinds
                    for text in (f"{row[name]['error']:.1e}", f"{row[name]['cosine']:.5f}")
                ),
            )
            for row in rows
        ),
    )


@bench.command("objectives")
@layers_option("8x8x1,16c4s2,10")
@seeds_option
@epochs_option
@json_option
def bench_objectives(layers: str, seeds: int, epochs: int, as_json: bool) -> None:
    """Squared error beside cross-entropy: test accuracy on digits, defaults of each."""
    dataset, network = read_data("digits"), Network.parse(layers)
    with bar("samples", 2 * seeds * epochs * len(dataset.x_train)) as progress:
        rows = deep.objectives(network, dataset, seeds, epochs, progress)
    means = {name: float(np.mean([row[name] for row in rows])) for name in deep.OBJECTIVES}
    if print_json({"epochs": epochs, "runs": rows, "mean": means}, as_json):
        return
    show(
        ("seed", *deep.OBJECTIVES),
        (
            (row["seed"], *(f"{row[name]:.2%}" for name in deep.OBJECTIVES))
            for row in (*rows, {"seed": "mean", **means})
        ),
    )


@bench.command("backward")
@layers_option("8x8x1,16c4s2,10")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of the run.")
@epochs_option
@json_option
def bench_backward(layers: str, seed: int, epochs: int, as_json: bool) -> None:
    """Separate backward weights align with the forward ones, by decay: an epoch a row, on digits.

    Cosines of both, layer by layer from the second on, and test accuracy: with updates rounded at
    random (stochastic), and to nearest, where a small weight's decay is rounded away.
    """
    dataset, network = read_data("digits"), Network.parse(layers)
    rows = []
    for rounding in ("stochastic", "to nearest"):
        with bar(rounding, epochs * len(dataset.x_train)) as progress:
            found = deep.aligned(network, dataset, seed, epochs, rounding == "stochastic", progress)
        rows += [{"rounding": rounding, **row} for row in found]
    if print_json(rows, as_json):
        return
    layered = (f"layer {layer}" for layer in range(2, network.depth + 1))
    show(
        ("rounding", "epoch", *layered, "test accuracy"),
        (
            (
                row["rounding"],
                row["epoch"],
                *(f"{c:.4f}" for c in row["cosines"]),
                f"{row['accuracy']:.2%}",
            )
            for row in rows
        ),
    )


@bench.command("rules")
@data_option
@how_options
@network_options
@click.option(
    "--rules",
    "--rule",
    "names",
    multiple=True,
    help="Only these, with commas between; your own as file.py:Class. May be repeated.",
)
@seeds_option
@epochs_option
@click.option(
    "--train-samples",
    type=click.IntRange(1),
    help="Learn only the first so many samples; the whole test part judges.",
)
@jobs_option(1, "Processes side by side; -1: one a processor.")
@pool_option
@file_option("--plot", "Draw the table to this file.")
@force_option
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep what has ended in this folder: an interrupted run goes on from there.",
)
@json_option
def bench_rules(
    data: str,
    how: dict,
    layers: str | None,
    hidden: str,
    names: tuple[str, ...],
    seeds: int,
    epochs: int,
    train_samples: int | None,
    jobs: int,
    pool: str,
    plot: Path | None,
    force: bool,
    keep: Path | None,
    as_json: bool,
) -> None:
    """Every rule with its defaults: test accuracy, cost, memory, update against the gradient.

    On digits, 64-32-10, or on data and a network of your own. 'relaxon sweep' compares settings.
    """
    _check_plot(plot, force)
    if keep:
        check_folder(keep)
    listed = [name.strip() for text in names for name in text.split(",") if name.strip()]
    chosen = list(dict.fromkeys(listed)) or list(RULES)
    dataset = read_data(data, **how)
    task = comparison.Task(network_of(dataset, layers, hidden), data, how, train_samples)
    for name in chosen:
        rule_class(name)
        settings = training_for(task.network, settings_for(name, task.network), epochs=epochs)
        with naming(f"rule {name}"):
            choose_preset("golden", None, task.network, dataset, settings)
    with (
        open_pool(jobs, pool) as run,
        bar("rules and seeds", len(chosen) * (seeds + 1)) as progress,
    ):
        try:
            rows = comparison.rules(chosen, range(seeds), epochs, run, keep, progress, task)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"interrupted; the same command goes on with what {keep} has"
                if keep
                else "interrupted; with --keep FOLDER a run can go on"
            ) from None
    if plot:
        comparison.draw(rows, plot)
    if print_json({"seeds": seeds, "epochs": epochs, "rules": rows}, as_json):
        return
    measure = comparison.measure_of(rows[0])
    form = (".2%", ".1%") if measure == "accuracy" else (".5f", ".5f")
    show(
        ("rule", f"test {measure}", "lowest - highest", "sweeps", "cycles", "words n/s", "cosine",
         "deviation", "of means"),
        (
            (
                row["rule"],
                f"{row[measure]:{form[0]}}",
                f"{row['lowest']:{form[1]}} - {row['highest']:{form[1]}}",
                f"{row['sweeps']:.1f}",
                f"{row['cycles']:.0f}",
                f"{row['words_a_neuron']}/{row['words_a_synapse']}",
                *(
                    "-" if row[c] is None else f"{row[c]:.3f}"
                    for c in ("cosine", "cosine_deviation", "cosine_of_means")
                ),
            )
            for row in rows
        ),
    )  # fmt: skip


def _sweep_options(function: Callable) -> Callable:
    """What both sweeps over devices take."""
    for option in (
        json_option,
        click.option(
            "--keep",
            type=click.Path(path_type=Path, file_okay=False),
            help="Keep what has ended in this folder: an interrupted run goes on from there.",
        ),
        force_option,
        file_option("--plot", "Draw the table to this file."),
        pool_option,
        jobs_option(1, "Processes side by side; -1: one a processor."),
        epochs_option,
        seeds_option,
    ):
        function = option(function)
    return function


def _sweep(
    task: str,
    rules: Sequence[str],
    sizes: Mapping[str, Sequence[float]],
    columns: tuple[str, str, tuple[str, str]],
    options: dict,
) -> None:
    """Run, draw and print one sweep: ``columns`` are kind, size and the two lines."""
    plot, keep, seeds, epochs = (options[name] for name in ("plot", "keep", "seeds", "epochs"))
    _check_plot(plot, options["force"])
    if keep:
        check_folder(keep)
    runs = len(rules) * seeds * sum(map(len, sizes.values()))
    with open_pool(options["jobs"], options["pool"]) as pool, bar("trainings", runs) as progress:
        rows = flaws.sweep(task, rules, sizes, seeds, epochs, pool, keep, progress)
    kind, size, lines = columns
    if plot:
        flaws.draw(rows, size, lines, plot)
    if print_json({"seeds": seeds, "epochs": epochs, "rows": rows}, options["as_json"]):
        return
    show(
        ("rule", kind, size, *lines),
        (
            (row["rule"], row[kind], f"{row[size]:g}", *(f"{row[line]:.2%}" for line in lines))
            for row in rows
        ),
    )


@bench.command("devices")
@click.option("--rule", "rules", multiple=True, help="Only this one; may be repeated.")
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(list(flaws.FLAWS)),
    help="Only this flaw; may be repeated.",
)
@_sweep_options
def bench_devices(rules: tuple[str, ...], kinds: tuple[str, ...], **options: Any) -> None:
    """Imperfect devices: accuracy on digits against the size of a flaw.

    Five rules, 64-32-10: learned on the imperfect device, and learned on a perfect one and loaded.
    gain, offset: standard deviation of what multiplies and shifts each synapse; stuck: their
    share; noise: added to states, 8 times a sample; drift: of weights, in 1,000 samples; bits: of
    a weight. Runs on the compiled engine.
    """
    sizes = {kind: flaws.FLAWS[kind] for kind in kinds or flaws.FLAWS}
    for name in rules:
        rule_class(name)
    columns = ("kind", "size", ("learned", "loaded"))
    _sweep("learned_and_loaded", rules or flaws.RULES, sizes, columns, options)


@bench.command("flips")
@click.option("--rule", "rules", multiple=True, help="Learning rule; may be repeated.")
@click.option(
    "--memory",
    "memories",
    multiple=True,
    type=click.Choice(list(flaws.EVENTS)),
    help="Only this memory; may be repeated.",
)
@_sweep_options
def bench_flips(rules: tuple[str, ...], memories: tuple[str, ...], **options: Any) -> None:
    """Bits that flip while the machine runs (single events): accuracy on digits against their rate.

    A trained 64-32-10 goes on for an epoch in which bits of one memory flip, between instructions,
    so many a sample on average: with learning on, and off. They flip in the test, too. Runs on the
    compiled engine.
    """
    for name in rules:
        rule_class(name)
    sizes = dict.fromkeys(memories or flaws.EVENTS, flaws.RATES)
    columns = ("memory", "rate", ("on", "off"))
    _sweep("flipped", rules or ("ep-centered",), sizes, columns, options)


@bench.command("claims")
@click.option(
    "--only",
    "keys",
    multiple=True,
    type=click.Choice(list(claims.CLAIMS)),
    metavar="ROW",
    help="Only this row; may be repeated. Rows: " + ", ".join(claims.CLAIMS) + ".",
)
@click.option("--quick", is_flag=True, help="Only rows that take seconds.")
@click.option("--mnist", help="Folder of MNIST; without it its rows are not measured.")
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep the rows in this folder: an interrupted run goes on from there.",
)
@file_option("--write", "Write the table to this file, as Markdown.")
@force_option
@json_option
def bench_claims(
    keys: tuple[str, ...],
    quick: bool,
    mnist: str | None,
    keep: Path | None,
    write: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """What the sources claim and we ask, a row each: figure wanted, figure found, met or not.

    With MNIST some minutes of a core.
    """
    check_output(write, files_of(mnist), force)
    if keep:
        check_folder(keep)
    chosen = [k for k in keys or claims.CLAIMS if claims.CLAIMS[k].quick or not quick]
    with bar("claims", len(chosen)) as progress:
        rows = claims.measure(chosen, mnist, keep, progress)
    if write:
        files.write(write, claims.document(rows))
    if print_json([asdict(row) for row in rows], as_json):
        return
    met = {True: "yes", False: "no", None: "-"}
    show(
        ("row", "system", "wanted", "found", "met", "reason"),
        ((r.key, r.system, r.wanted, claims.shown(r), met[r.met], r.reason) for r in rows),
    )
