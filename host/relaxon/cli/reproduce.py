"""`relaxon reproduce`: a run done again from its record."""

from pathlib import Path

import click

from relaxon_isa import DifferenceError

from ..record import RunRecord, reproduce
from .console import bar, json_option, print_json
from .options import any_case, engine_option, file_option

__all__ = ["reproduce_run"]


@click.command("reproduce")
@click.argument("record", type=click.Path(path_type=Path))
@click.option("--data", help="Where the run's data are now; default: where they were.")
@click.option("--rule", help="Where the run's own rule is now, as file.py:Class.")
@file_option("--init", "Weights that the run began with, if it was given some.")
@click.option(
    "--backend",
    default="golden",
    show_default=True,
    callback=any_case,
    help="golden and virtual are built as the run's machine; or the name of a serial port.",
)
@engine_option
@json_option
def reproduce_run(
    record: Path,
    data: str | None,
    rule: str | None,
    init: Path | None,
    backend: str,
    as_json: bool,
) -> None:
    """Do a run again from the RECORD that 'relaxon train --record' wrote.

    Ends with "identical" if weights, history and counters are those of the record to the last bit.
    Else it says what differs, and the exit code is 9.
    """
    before = RunRecord.load(record)
    samples = sum(entry.get("samples", 0) for entry in before.history)
    with bar(f"reproducing on {backend}", samples) as progress:
        again = reproduce(
            before, backend=backend, data=data, rule=rule, init=init, progress=progress
        )
    differences = before.differences(again)
    if not print_json({"identical": not differences, "differences": differences}, as_json):
        click.echo("different" if differences else "identical")
    if differences:
        raise DifferenceError("; ".join(differences))
