"""`relaxon sweep`."""

from pathlib import Path

import click

from ..parallel import open_pool
from ..studies import sweep
from ..studies.plots import check_picture
from .console import bar, console, json_option, print_json, show, write_table
from .options import (
    check_folder,
    check_output,
    engine_option,
    file_option,
    files_of,
    force_option,
    jobs_option,
    pool_option,
)

__all__ = ["sweep_file"]


@click.command("sweep")
@click.argument("file", type=click.Path(path_type=Path))
@jobs_option(1, "Processes side by side; -1: one a processor.")
@pool_option
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the runs that have ended; default FILE.runs. An interrupted sweep goes on.",
)
@file_option("--plot", "Draw the table to this file.")
@click.option(
    "--csv",
    "table",
    type=click.Path(path_type=Path),
    help="Write all runs to this file, a line each.",
)
@force_option
@engine_option
@json_option
def sweep_file(
    file: Path,
    jobs: int,
    pool: str,
    keep: Path | None,
    plot: Path | None,
    table: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Compare rules over settings and seeds, as a TOML file asks: a table, intervals, tests.

    Settings are chosen on held-out training data, unless the file says otherwise; what is chosen is
    trained on all training data and tested. docs/comparing.md describes the file.
    """
    with bar(f"reading {file}"):
        plan = sweep.read_plan(file)
    for path in (plot, table):
        check_output(path, files_of(file, plan.data, *plan.choices), force)
    if plot and table and plot.resolve() == table.resolve():
        raise click.UsageError("--plot and --csv need a file each")
    if plot:
        check_picture(plot)
    keep = keep or file.with_name(f"{file.name}.runs")
    check_folder(keep)
    for note in plan.notes:
        console.print(f"[yellow]note:[/] {note}", soft_wrap=True)
    total = sweep.trials(plan)[1]
    with open_pool(jobs, pool) as run, bar("runs", total) as progress:
        try:
            result = sweep.run_plan(plan, run, keep, progress)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"interrupted; what has ended is in {keep}, the same command goes on"
            ) from None
    if table:
        write_table(table, result["runs"])
    if plot:
        sweep.draw(result, plot)
    if not print_json(result, as_json):
        _print(result, plan)


def _print(result: dict, plan: sweep.Plan) -> None:
    measure = result["measure"]

    def said(value: float | None, sign: str = "") -> str:
        if value is None:
            return "-"
        return f"{value:{sign}.2%}" if measure == "accuracy" else f"{value:{sign}.5f}"

    def between(bounds: list[float] | None, sign: str = "") -> str:
        return " to ".join(said(bound, sign) for bound in bounds) if bounds else "-"

    varied = _varied(plan)
    show(
        (
            "rule",
            *varied,
            f"test {measure}",
            "95 % interval",
            "lowest - highest",
            "sweeps",
            "cycles",
        ),
        (
            (
                row["rule"],
                *(row["settings"].get(name, "-") for name in varied),
                said(row[measure]),
                between(row["interval"]),
                f"{said(row['lowest'])} - {said(row['highest'])}",
                f"{row['sweeps']:.1f}",
                f"{row['cycles']:.0f}",
            )
            for row in result["rows"]
        ),
    )
    if result["pairs"]:
        click.echo(f"\nagainst {plan.baseline}, seed by seed:")
        show(
            ("rule", "difference", "95 % interval", "p (t)", "p (Holm)", "p (Wilcoxon)"),
            (
                (
                    pair["rule"],
                    said(pair["difference"], "+"),
                    between(pair["interval"], "+"),
                    *("-" if pair[p] is None else f"{pair[p]:.2g}"
                      for p in ("p_t", "p_holm", "p_wilcoxon")),
                )
                for pair in result["pairs"]
            ),
        )  # fmt: skip
    count = len(result["seeds"])
    on = result["chosen_on"]
    click.echo(
        f"\n{count} seed{'s' * (count > 1)}; "
        + (f"settings were chosen on {sweep.CHOICES[on]}" if on else "nothing was chosen")
        + ("; Wilcoxon's p cannot be below 0.05 with fewer than 6 seeds" if 1 < count < 6 else "")
    )


def _varied(plan: sweep.Plan) -> list[str]:
    """The settings that some rule has several values of."""
    found = set()
    for choices in plan.choices.values():
        for name in set().union(*choices):
            if len({str(settings.get(name)) for settings in choices}) > 1:
                found.add(name)
    return sorted(found)
