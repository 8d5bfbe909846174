"""What every command shares: the console, exit codes, help in groups, bars, tables, JSON."""

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Timer

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from relaxon_isa import (
    ConfigError,
    DataError,
    DeviceError,
    DifferenceError,
    LinkError,
    ProgramError,
    RelaxonError,
    ToolError,
)

__all__ = [
    "DIFFERENT",
    "EXIT_CODES",
    "Grouped",
    "bar",
    "complain",
    "console",
    "json_option",
    "print_json",
    "show",
    "write_table",
]

DIFFERENT = 9
"""Exit code: weights that are not the golden run's, or a self-test that failed."""
EXIT_CODES: dict[type[BaseException], int] = {
    RelaxonError: 1,
    ConfigError: 3,
    ProgramError: 4,
    DataError: 5,
    DeviceError: 6,
    LinkError: 7,
    ToolError: 8,
    DifferenceError: DIFFERENT,
    KeyboardInterrupt: 130,
}
"""What the process ends with. 2: a wrong command line; `DIFFERENT`: a failed comparison."""

GROUPS = {
    "Data and network": (
        "data",
        "everything",
        "unlabelled",
        "limit",
        "target",
        "columns",
        "keys",
        "task",
        "classes",
        "resize",
        "scale",
        "scale_targets",
        "bits",
        "hidden",
        "layers",
        "architecture",
        "output",
        "targets",
        "input_bits",
        "input_offset",
    ),
    "Rule": (
        "rule",
        "recipe",
        "objective",
        "rule_options",
        "beta",
        "margin",
        "early_stop",
        "free_cap",
        "nudged_cap",
        "tolerance",
        "grid",
        "feedback",
        "stochastic",
    ),
    "Schedule": (
        "epochs",
        "seed",
        "rate_shifts",
        "rate_halvings",
        "init_gain",
        "frozen",
        "shuffle",
        "order",
    ),
    "Files": ("weights", "csv", "init", "export", "checkpoint", "resume", "record", "force"),
    "Device": ("backend", "engine", "preset_name", "verify", "retry"),
}
"""Options of `train` and `infer` as their help groups them; the others are about output."""

SILENCE = 2.0
"""Seconds after which a wait says what it waits for."""
console = Console(stderr=True, highlight=False)


def complain(error: BaseException) -> int:
    """Print an error; returns the exit code of its class."""
    kinds = (kind for kind in type(error).__mro__ if kind in EXIT_CODES)
    # What an error quotes (extras, file names) may have brackets: no markup in it.
    console.print("[bold red]error:[/]", escape(str(error)), soft_wrap=True)
    return EXIT_CODES[next(kinds)]


class Grouped(click.Command):
    """A command whose help shows its options by `GROUPS`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # --scale may stand alone, so click takes -3,3 behind it for an option: a blank hides it.
        signed = re.compile(r"(--scale=)?(-[\d.].*)")
        for at, found in enumerate(map(signed.fullmatch, args)):
            if found and (found[1] or (at and args[at - 1] == "--scale")):
                args[at] = f"{found[1] or ''} {found[2]}"
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        titles = {name: title for title, names in GROUPS.items() for name in names}
        groups: dict[str, list] = {title: [] for title in (*GROUPS, "Output")}
        for option in self.get_params(ctx):
            if record := option.get_help_record(ctx):
                groups[titles.get(option.name or "", "Output")].append(record)
        for title, records in filter(all, groups.items()):
            with formatter.section(title):
                formatter.write_dl(records)


json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document to standard output."
)


def print_json(document: object, wanted: bool) -> bool:
    """Print a document as JSON if that is wanted; returns whether it was."""
    if wanted:
        click.echo(json.dumps(document, indent=2))
    return wanted


@contextmanager
def bar(description: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error; where that is no terminal, a line after two seconds."""
    said = Timer(SILENCE, console.print, [f"{description} ..."])
    said.daemon = True
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        if not console.is_terminal:
            said.start()
        task = progress.add_task(description, total=total)
        try:
            yield lambda n: progress.update(task, advance=n)
        finally:
            said.cancel()


def show(titles: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
    """Print a table; no ``titles``: without a head. No column is cut off or folded: in a terminal
    too narrow for it, lines run on."""
    table = Table(*titles, box=None, padding=(0, 2, 0, 0), show_header=bool(titles))
    for row in rows:
        table.add_row(*map(str, row))
    Console(highlight=False, width=1000).print(table, markup=False)


def write_table(path: Path, rows: Sequence[dict]) -> None:
    """Write rows with the same keys to a CSV file. Raises DataError."""
    try:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error})") from error
