"""What every command shares: the console, errors as exit codes, ``--json``."""

import functools
import sys
from collections.abc import Callable

import click
from rich.console import Console
from rich.markup import escape

from relaxon_isa.errors import (
    ConfigError,
    DataError,
    DeviceError,
    LinkError,
    ProgramError,
    RelaxonError,
    ToolError,
)

__all__ = ["EXIT_CODES", "complain", "console", "guarded", "json_option"]

EXIT_CODES: dict[type[BaseException], int] = {
    RelaxonError: 1,
    ConfigError: 3,
    ProgramError: 4,
    DataError: 5,
    DeviceError: 6,
    LinkError: 7,
    ToolError: 8,
    KeyboardInterrupt: 130,
}
"""What the process ends with. 2: a wrong command line; 9 is
`relaxon.cli.DIFFERENT`."""

console = Console(stderr=True, highlight=False)


def complain(error: BaseException) -> int:
    """Print an error; the code to end with."""
    kinds = (kind for kind in type(error).__mro__ if kind in EXIT_CODES)
    # What an error quotes (extras, file names) may have brackets: no markup in it.
    console.print("[bold red]error:[/]", escape(str(error)), soft_wrap=True)
    return EXIT_CODES[next(kinds)]


def guarded(command: Callable) -> Callable:
    """Errors of ours become a line and an exit code; anything else is a bug and shows itself."""

    @functools.wraps(command)
    def wrapper(*args: object, **kwargs: object) -> object:
        try:
            return command(*args, **kwargs)
        except RelaxonError as error:
            sys.exit(complain(error))
        except KeyboardInterrupt as interrupt:
            sys.exit(complain(KeyboardInterrupt(str(interrupt) or "interrupted")))

    return wrapper


json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document to standard output."
)
