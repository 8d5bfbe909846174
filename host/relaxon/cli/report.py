"""`relaxon report | plot`: a run as a page, and its pictures one by one."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from relaxon_isa import DataError

from .. import files
from ..record import RunRecord
from ..report.evidence import SAMPLES, Evidence
from ..report.page import page_of
from ..report.pictures import KINDS, PICTURES, THEMES, Theme, file_of, need
from .console import bar, console
from .options import check_output, engine_option, file_option, files_of, force_option

__all__ = ["plot", "report"]


def _output(text: str, **more: Any) -> Callable:
    return click.option("--output", "-o", type=click.Path(path_type=Path), help=text, **more)


def _evidence(command: Callable) -> Callable:
    """The arguments that say what a picture is drawn from; ``run`` in their place."""

    @click.argument("record", type=click.Path(path_type=Path))
    @file_option("--weights", "Checkpoint or exported weights from the end of the run.")
    @click.option("--data", help="Where the run's data are now; default: where they were.")
    @click.option("--rule", help="Where the run's own rule is now, as file.py:Class.")
    @click.option(
        "--samples",
        default=SAMPLES,
        show_default=True,
        type=click.IntRange(1),
        help="How many test samples sweeps are counted of.",
    )
    @click.option(
        "--sample",
        "chosen",
        multiple=True,
        type=click.IntRange(0),
        help="Number of a test sample to watch settle; may be repeated. Default: the first three, "
        "and the first that is answered wrongly.",
    )
    @engine_option
    @force_option
    @wraps(command)
    def with_evidence(
        record: Path,
        weights: Path | None,
        data: str | None,
        rule: str | None,
        samples: int,
        chosen: tuple[int, ...],
        output: Path,
        force: bool,
        **more: Any,
    ) -> None:
        read = RunRecord.load(record)
        asked = read.spec["settings"]["rule"]["name"]
        inputs = files_of(record, weights, data or read.spec["data"], rule or asked)
        check_output(output, inputs, force)
        run = Evidence(read, weights, data, rule, samples, chosen)
        command(run, output, **more)
        console.print(f"written: {output}", soft_wrap=True, markup=False)

    return with_evidence


@click.command("report")
@_output("The page.", default="report.html", show_default=True)
@_evidence
def report(run: Evidence, output: Path) -> None:
    """Write one HTML page that shows a run, from the RECORD that 'relaxon train --record' wrote.

    The page needs no other file and no network. What it shows of weights, settling and answers
    needs --weights, which 'relaxon train --checkpoint' or '--export' wrote; it says what it could
    not show, and why.
    """
    with bar("drawing", len(PICTURES)) as progress:
        page = page_of(run, lambda name: progress(1))
    files.write(output, page)


@click.command("plot")
@click.option(
    "--what",
    required=True,
    type=click.Choice(list(PICTURES)),
    metavar="PICTURE",
    help="Which of the above.",
)
@_output("File to write: .svg, .png or .pdf.", required=True)
@click.option("--theme", type=click.Choice(list(THEMES)), default="light", show_default=True)
@click.option(
    "--width",
    default=360,
    show_default=True,
    type=click.IntRange(80, 4000),
    help="Of each chart, in pixels, where it is not as wide as its tiles.",
)
@_evidence
def plot(run: Evidence, output: Path, what: str, theme: Theme, width: int) -> None:
    """Draw one picture of a run to a file, from the RECORD that 'relaxon train --record' wrote.

    \b
    From the record:        accuracy, loss, cycles
    with --weights:         kernels, weights
    with --weights and the data: energy, states, maps, sweeps, confusion, wrong
    """
    kind = output.suffix[1:].lower()
    if kind not in KINDS:
        raise DataError(f"{output}: a picture's name ends in .{', .'.join(KINDS)}")
    need("vl_convert")
    with bar(f"drawing {what}"):
        content = file_of(PICTURES[what].draw(run), kind, theme, width)
    files.write(output, content)
