"""The command line: one module for each kind of command, what they share in console, options."""

import errno
import os
import signal
import sys

import click

from relaxon_isa import CONTRACT_VERSION, DataError, RelaxonError

from . import bench, boards, device, doctor, report, reproduce, rules, sweep, train
from .console import DIFFERENT, EXIT_CODES, complain

__all__ = ["DIFFERENT", "EXIT_CODES", "cli", "main"]


class Cli(click.Group):
    """Errors of ours become a line and an exit code; anything else is a bug and shows itself."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except RelaxonError as error:
            sys.exit(complain(error))
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            sys.exit(complain(DataError(f"{str(error.filename)[:80]}...: {error.strerror}")))
        except MemoryError as error:
            sys.exit(complain(DataError(f"this computer has not memory enough: {error}")))
        except KeyboardInterrupt as interrupt:
            sys.exit(complain(KeyboardInterrupt(str(interrupt) or "interrupted")))


@click.group(
    cls=Cli,
    commands=[
        train.train,
        train.infer,
        reproduce.reproduce_run,
        report.report,
        report.plot,
        device.info,
        device.config,
        device.virtual,
        doctor.doctor,
        rules.list_rules,
        bench.bench,
        sweep.sweep_file,
        *boards.COMMANDS,
    ],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
)
@click.version_option(
    package_name="relaxon",
    message=f"relaxon %(version)s, contract {CONTRACT_VERSION}",
)
def cli() -> None:
    """relaxon: a machine that learns by settling.

    Trains networks by Equilibrium Propagation on an array of fixed-point cells: the numpy golden
    model (--backend golden), the gateware on a virtual board (--backend virtual), or a board on a
    serial port (--backend /dev/ttyUSB0).
    """


def main() -> None:
    """Run the command line; what the script `relaxon` and `python -m relaxon` call."""
    for name in ("SIGTERM", "SIGHUP"):  # end as Ctrl-C does, unless ignored, as by nohup
        number = getattr(signal, name, None)
        if number and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
    try:
        cli(prog_name="relaxon")
    except OSError as error:  # click ends quietly where nobody reads on (EPIPE)
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        # What is still buffered would fail once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(
            complain(DataError(f"standard output or a file cannot be written: {error.strerror}"))
        )
