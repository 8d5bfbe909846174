"""Options that several commands have, and values that options share."""

import os
from collections.abc import Callable, Sequence
from functools import wraps
from math import isfinite
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import click
from click.core import ParameterSource

from relaxon_device.base import Device
from relaxon_isa import DataError
from relaxon_sim.engines import ENGINE, ENGINES, fastest

from ..backends import BACKENDS, port_of
from ..checkpoint import kind_of
from ..datasets import NAMED, TASKS, Dataset, load
from ..machines import find_machine
from ..rules import own_file
from ..rules.settings import INPUT_PACKS, RECIPES, RuleSettings
from ..training import ORDERS, TrainSettings
from .console import bar

__all__ = [
    "FiniteRange",
    "any_case",
    "backend_option",
    "check_device",
    "check_folder",
    "check_output",
    "data_option",
    "engine_option",
    "engine_used",
    "epochs_option",
    "file_option",
    "files_of",
    "force_option",
    "how_options",
    "input_bits_option",
    "jobs_option",
    "layers_option",
    "machine_option",
    "network_options",
    "numbers",
    "order_option",
    "pool_option",
    "preset_option",
    "read_data",
    "recipe_option",
    "seeds_option",
]


class FiniteRange(click.FloatRange):
    """Numbers of a range, which NaN would be in: no comparison finds it outside."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = super().convert(value, param, ctx)
        return found if isfinite(found) else self.fail(f"{value!r}: must be finite", param, ctx)


def numbers(kind: type) -> Callable:
    """A click callback for lists such as 5,7."""

    def parse(context: click.Context, option: click.Parameter, value: Any) -> tuple | None:
        if value is None or isinstance(value, tuple):
            return value
        try:
            return tuple(kind(part) for part in value.split(",") if part != "")
        except ValueError:
            raise click.BadParameter(
                f"{value!r}: write numbers with commas between, as 5,7"
            ) from None

    return parse


def file_option(name: str, text: str, **more: Any) -> Callable:
    """An option that names a file."""
    return click.option(name, type=click.Path(path_type=Path), help=text, **more)


def any_case(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """A click callback: golden and virtual, however they are written."""
    return value.lower() if value and value.lower() in BACKENDS else value


backend_option = click.option(
    "--backend",
    default="virtual",
    show_default=True,
    callback=any_case,
    help="golden, virtual, or the name of a serial port, as /dev/ttyUSB1@3000000 where the board's "
    "rate ('relaxon boards') is not 1,000,000 baud.",
)


def _name_engine(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """A click callback: this process, and those it starts, use that engine."""
    if value:
        os.environ[ENGINE] = value
    return value


engine_option = click.option(
    "--engine",
    type=click.Choice(ENGINES, case_sensitive=False),
    callback=_name_engine,
    expose_value=False,
    help="What runs the golden model. Default: compiled, where numba is installed and the words of "
    "the machine are not too wide.",
)


def engine_used(device: Device) -> str:
    """Which engine a golden device has, and why it is not the faster one, for a line to print."""
    name, why = device.identity.build.split()[-1], fastest(device.config)[1]
    asked = os.environ.get(ENGINE)
    return f"engine {name}" + (f" ({why})" if why and not asked else "")


def _only(context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> str | None:
    """A click callback: of --preset and --config one, and once."""
    if len(given) > 1:
        raise click.BadParameter(f"one machine, not {' and '.join(given)}")
    if "" in given:
        raise click.BadParameter("an empty name")
    return next(iter(given), None)


def machine_option(text: str) -> Callable:
    """``--preset NAME`` or ``--config FILE``: a machine by its name, or one's own."""
    return click.option(
        "--preset",
        "--config",
        "preset_name",
        metavar="NAME|FILE",
        multiple=True,
        callback=_only,
        help=text,
    )


preset_option = machine_option(
    "Machine that golden and virtual are built as: a preset ('relaxon info --presets'), or one of "
    "your own, as machine.toml ('relaxon config'). Without it virtual is 'default', and golden the "
    "first preset that holds the network; with a checkpoint both are what it was written on."
)
data_option = click.option(
    "--data",
    default="digits",
    show_default=True,
    help="digits, iris, mnist (or another that is known, see docs/data.md), a folder of IDX files, "
    "an .npz or a .csv file.",
)
HOW = {
    "target": None,
    "columns": None,
    "keys": None,
    "task": None,
    "classes": None,
    "resize": None,
    "scale": False,
    "scale_targets": False,
    "bits": None,
}
"""Options of `relaxon.datasets.load` that commands have, and their defaults there."""


def _scale(context: click.Context, option: click.Parameter, value: str | None) -> bool | tuple:
    """A click callback: whether to scale each feature by itself, or by which range all."""
    if value is None or value == EACH:
        return value is not None
    found = numbers(float)(context, option, value)
    if found is None or len(found) != 2:
        raise click.BadParameter("nothing, or lowest and highest value, as 0,255")
    return found


def _names(context: click.Context, option: click.Parameter, value: str | None) -> tuple | None:
    """A click callback for lists of names."""
    if value == "":
        raise click.BadParameter("an empty list")
    return tuple(value.split(",")) if value else None


EACH = "each"


def how_options(function: Callable) -> Callable:
    """How data are read: the command gets those that were given as ``how``, for `load`."""

    @wraps(function)
    def command(*arguments: Any, **options: Any) -> Any:
        given = {name: options.pop(name) for name in HOW}
        how = {name: value for name, value in given.items() if value not in (HOW[name], ())}
        return function(*arguments, how=how, **options)

    for option in (
        click.option("--bits", type=click.IntRange(1, 8), help="Round features to so many bits."),
        click.option(
            "--scale",
            is_flag=False,
            flag_value=EACH,
            metavar="[LOW,HIGH]",
            callback=_scale,
            help="Scale each feature of the training samples to 0 to 1; or all, from LOW,HIGH.",
        ),
        click.option(
            "--scale-targets",
            is_flag=True,
            help="Scale targets to what outputs reach; 'infer' says them as they were.",
        ),
        click.option(
            "--resize",
            metavar="ROWSxCOLUMNS",
            help="Size that images get, as 14x14; 28x28:14x14 says what features were, too.",
        ),
        click.option(
            "--classes",
            type=click.IntRange(1),
            help="How many classes there are, where the training samples do not show all.",
        ),
        click.option(
            "--task",
            type=click.Choice(TASKS),
            help="Whether whole numbers are labels or targets, where that is not clear.",
        ),
        click.option(
            "--keys",
            callback=_names,
            help="What an .npz file calls x,y or x_train,y_train,x_test,y_test.",
        ),
        click.option(
            "--columns",
            callback=_names,
            help="Columns of a table that are features, likewise, as petal,sepal or 0:4 (default: "
            "all but the target's).",
        ),
        click.option(
            "--target",
            multiple=True,
            metavar="COLUMN",
            help="Column of a table with the label or target, by title or number from 0 (default "
            "-1, the last); 4:7 is columns 4 to 6; may be repeated.",
        ),
    ):
        command = option(command)
    return command


def layers_option(default: str) -> Callable:
    """``--layers`` with a command's own default."""
    return click.option(
        "--layers",
        default=default,
        show_default=True,
        help="Layer sizes: inputs, hidden ..., outputs.",
    )


def network_options(function: Callable) -> Callable:
    """``--layers``, or ``--hidden`` between what the data set has: the command gets ``layers`` or
    None, and ``hidden``."""

    @wraps(function)
    def command(*arguments: Any, **options: Any) -> Any:
        source = click.get_current_context().get_parameter_source("hidden")
        if options["layers"] == "":
            raise click.BadParameter("an empty list", param_hint="--layers")
        if options["layers"] and source is ParameterSource.COMMANDLINE:
            raise click.UsageError("--layers says the hidden layers too: leave --hidden out")
        return function(*arguments, **options)

    for option in (
        click.option("--layers", help="All layers instead, as 784,32,10 or 28x28x1,12c6s2,10."),
        click.option(
            "--hidden",
            default="32",
            show_default=True,
            help="Hidden layers, as 64,32 or 12c6s2; inputs and outputs follow from the data.",
        ),
    ):
        command = option(command)
    return command


seeds_option = click.option(
    "--seeds",
    default=5,
    show_default=True,
    type=click.IntRange(1),
    help="Runs, with seeds from 0 on.",
)
epochs_option = click.option(
    "--epochs",
    default=TrainSettings().epochs,
    show_default=True,
    help="Passes over the training set.",
)
order_option = click.option(
    "--order",
    type=click.Choice(ORDERS),
    default=ORDERS[0],
    show_default=True,
    help="What makes the order of an epoch's samples: the host's random numbers; or feistel, what "
    "a machine with a sample memory makes by itself, so that no sample's place is sent. Each "
    "gives the same bits on every machine.",
)
input_bits_option = click.option(
    "--input-bits",
    default=RuleSettings().input_bits,
    show_default=True,
    type=click.Choice(list(INPUT_PACKS)),
    help="Bits an input travels with; 16: a signed word.",
)


def _fill(context: click.Context, option: click.Parameter, name: str | None) -> str | None:
    """A click callback: a recipe's settings are the defaults of options that were not given."""
    context.default_map = {**(context.default_map or {}), **RECIPES.get(name or "", {})}
    return name


recipe_option = click.option(
    "--recipe",
    type=click.Choice(list(RECIPES)),
    is_eager=True,
    callback=_fill,
    help="Other defaults for the options below. fast, relax only as far as needed: "
    + ", ".join(f"{name} {value}" for name, value in RECIPES["fast"].items())
    + ", free_cap 2 for each hidden layer.",
)

pool_option = click.option(
    "--pool",
    default="loky",
    show_default=True,
    help="joblib backend: loky (this computer), or dask (of DASK_SCHEDULER_ADDRESS).",
)


def jobs_option(default: int, text: str) -> Callable:
    """``--jobs``, as joblib counts them."""
    return click.option(
        "--jobs", default=default, show_default=True, type=click.IntRange(-1), help=text
    )


force_option = click.option(
    "--force", is_flag=True, help="Replace output files even if relaxon did not write them."
)


def files_of(*sources: str | Path | None) -> list[Path]:
    """The files that a command reads for these: machines, rules (file.py:Class), weights and data
    sets, of a folder what is in it (of FOLDER/mnist, too)."""
    found = []
    for source in map(str, filter(None, sources)):
        own = own_file(source)
        path = own[0] if own else Path(source)
        folder = path.parent if path.name in NAMED and len(path.parts) > 1 else path
        found += [path, *folder.iterdir()] if folder.is_dir() else [path]
    return found


def check_device(backend: str, preset_name: str | None) -> None:
    """Before anything is read: whether there can be such a backend and such a machine."""
    if backend not in BACKENDS:
        port_of(backend)
    if preset_name is not None:
        find_machine(preset_name)


def read_data(source: str, **how: Any) -> Dataset:
    """`load`, with its progress shown."""
    with bar(f"reading {source}"):
        return load(source, **how)


def check_folder(path: Path) -> None:
    """Before long work: whether something can be kept in a folder, which is made."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=path).close()
    except OSError as error:
        raise DataError(f"{path}: nothing can be kept there: {error.strerror}") from error


def check_output(
    path: Path | None, inputs: Sequence[Path | None] = (), force: bool = False
) -> None:
    """Before long work: whether an output file, if one is wanted, has a place, and replaces nothing
    that the command reads (``inputs``) or, without ``force``, that relaxon did not write."""
    if path is None:
        return
    if not path.parent.is_dir():
        raise DataError(f"{path}: there is no folder {path.parent}")
    if path.exists() and not path.is_file():
        raise DataError(f"{path}: is not a file that could be replaced")
    if path.exists() and any(other and other.exists() and path.samefile(other) for other in inputs):
        raise DataError(f"{path}: this command reads it, so it cannot write it: name another file")
    if path.exists() and not force and not kind_of(path):
        raise DataError(
            f"{path}: exists, and relaxon did not write it: name another file, or replace it with "
            "--force"
        )
    try:
        TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}") from error
