"""`relaxon train | infer`."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path

import click
import numpy as np
from click.core import ParameterSource
from rich.markup import escape

from relaxon_isa import (
    ArrayConfig,
    ConfigError,
    DataError,
    DeviceError,
    RelaxonError,
    ToolError,
    preset,
)

from ..backends import BACKENDS, open_device
from ..callbacks import Csv, make_callback
from ..checkpoint import Checkpoint, kind_of, load_float_weights, save_float_weights
from ..checks import naming
from ..datasets import Dataset
from ..machines import find_machine, is_file
from ..network import Network
from ..record import RunRecord, digest_of
from ..rules import check, first_preset, own_file, settings_for, unused_settings
from ..rules.objectives import OBJECTIVES
from ..rules.settings import (
    CONVOLUTION,
    INPUT_PACKS,
    OUTPUTS,
    RATES,
    SCALED,
    RuleSettings,
)
from ..runs import (
    FEW_BITS,
    Run,
    choose_preset,
    initial_of,
    input_bits_of,
    load_data,
    load_run,
    network_of,
    refuse_other_preset,
    spec_of,
)
from ..training import (
    CONVOLUTION_HALVINGS,
    FEISTEL,
    Trainer,
    TrainSettings,
    remarks,
    training_for,
)
from ..verify import GRACE, GoldenRun
from .console import (
    DIFFERENT,
    Grouped,
    bar,
    complain,
    console,
    json_option,
    print_json,
    write_table,
)
from .options import (
    backend_option,
    check_device,
    check_output,
    data_option,
    engine_option,
    engine_used,
    epochs_option,
    file_option,
    files_of,
    force_option,
    how_options,
    network_options,
    numbers,
    order_option,
    preset_option,
    read_data,
    recipe_option,
)
from .watch import POINTS, Watch

__all__ = ["infer", "train"]

_EP = RuleSettings()
_TRAIN = TrainSettings()


@click.command(cls=Grouped)
@data_option
@how_options
@network_options
@click.option(
    "--architecture",
    default=_EP.architecture,
    show_default=True,
    help="layers; skip:0>2,1>3 (connections from layer 0, the input, into 2 and from 1 into 3 as "
    "well); backward (weights of their own for what comes from above).",
)
@click.option("--output", type=click.Choice(OUTPUTS), help="Outputs in [0, 1], or unbounded.")
@click.option(
    "--targets",
    callback=numbers(float),
    help="Output value for the other classes, and for the right one (default 0,0.75).",
)
@click.option(
    "--input-bits",
    type=click.Choice(list(INPUT_PACKS)),
    help=f"Bits an input travels with; 16: a signed word (default {_EP.input_bits}; of 8-bit grey "
    f"images of 28 x 28, as MNIST's, {FEW_BITS} on plain layers).",
)
@click.option(
    "--input-offset",
    type=float,
    help=f"Taken off every input value (default {_EP.input_offset:g}; on convolutional networks "
    f"{CONVOLUTION['input_offset']}).",
)
@click.option(
    "--rule",
    default=_EP.name,
    show_default=True,
    help="Learning rule (see 'relaxon rules'), or one of your own, as file.py:Class.",
)
@recipe_option
@click.option("--objective", type=click.Choice(list(OBJECTIVES)), help="Default: the rule's own.")
@click.option(
    "--option",
    "-o",
    "rule_options",
    multiple=True,
    metavar="NAME=VALUE",
    help="A parameter of this rule alone (see 'relaxon rules').",
)
@click.option("--beta", type=float, help=f"Strength of the nudge (default mostly {_EP.beta}).")
@click.option(
    "--margin",
    type=float,
    help="Skip the update where every output is within this of its target.",
)
@click.option(
    "--early-stop/--no-early-stop",
    default=None,
    help="In training, end the free phase as soon as every output is within the margin.",
)
@click.option("--free-cap", type=int, help=f"Most free sweeps (default {_EP.free_cap}).")
@click.option("--nudged-cap", type=int, help=f"Most nudged sweeps (default {_EP.nudged_cap}).")
@click.option(
    "--tolerance",
    type=float,
    help="A phase has settled when no state moves by more than this.",
)
@click.option("--grid", type=int, help=f"Fraction bits of the states (default {_EP.grid}).")
@click.option(
    "--feedback",
    type=int,
    help="What comes from above is multiplied by 2**-feedback (default "
    f"{_EP.feedback}; on convolutional networks with EP {SCALED['feedback']}).",
)
@click.option(
    "--stochastic",
    is_flag=True,
    default=None,
    help="Round weight updates at random, right on average, instead of to nearest.",
)
@epochs_option
@click.option(
    "--seed",
    default=_TRAIN.seed,
    show_default=True,
    help="Seed of initial weights, sample order and dither.",
)
@click.option(
    "--rate-shifts",
    callback=numbers(int),
    help="Learning rate 2**-shift of each weight layer, input side first; default, unless the rule "
    f"has its own, {RATES[0]} for all but the last, {RATES[1]} for the last.",
)
@click.option(
    "--rate-halvings",
    type=int,
    help="How often the rates are halved, evenly over the epochs (default "
    f"{_TRAIN.rate_halvings}; on convolutional networks {CONVOLUTION_HALVINGS}).",
)
@click.option(
    "--init-gain",
    default=_TRAIN.init_gain,
    show_default=True,
    help="Scale of the initial weights.",
)
@click.option(
    "--freeze",
    "frozen",
    default="",
    callback=numbers(int),
    help="Weight layers that do not learn, as 1.",
)
@click.option("--shuffle/--no-shuffle", default=True, help="A new sample order every epoch.")
@order_option
@file_option("--init", "Start from real weights (.npz, or .safetensors of PyTorch's layers).")
@file_option("--export", "Write real weights at the end (.npz or .safetensors).")
@file_option("--checkpoint", "Keep the run in this file, every epoch.")
@file_option("--resume", "Go on from a checkpoint; its settings hold.")
@file_option("--record", "Write what was asked and what came out, for 'relaxon reproduce' (JSON).")
@force_option
@backend_option
@engine_option
@preset_option
@click.option(
    "--verify/--no-verify",
    default=None,
    help="Train the golden model beside, in another process, and compare every bit of the weights "
    "(default: on, except with --backend golden, and it is waited for 30 s at most: then the "
    "epochs that it came to are compared).",
)
@click.option(
    "--retry",
    type=click.IntRange(0),
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="Wait so long for a board that is gone from its port, then train the epoch that this cut "
    "short again. 0: end at once.",
)
@click.option(
    "--stream",
    is_flag=True,
    help="Send the samples in every epoch, also to a board with a sample memory, which could keep "
    "them. The bits are the same.",
)
@click.option("--evaluate/--no-evaluate", default=True, help="Test after every epoch.")
@click.option("--loss", is_flag=True, help="Test for the outputs' mean squared error as well.")
@click.option("--watch", is_flag=True, help="Show curves in the terminal while it trains.")
@click.option(
    "--log",
    "logs",
    multiple=True,
    metavar="NAME:TARGET",
    help="Write figures to csv:FILE, tensorboard:FOLDER, mlflow[:URI] or wandb[:PROJECT], or to a "
    "callback of your own, file.py:Class. May be repeated.",
)
@click.option(
    "--every",
    type=click.IntRange(1),
    help="Samples after which --log and --watch are told of figures; default: for --log an epoch.",
)
@json_option
def train(
    data: str,
    layers: str | None,
    hidden: str,
    backend: str,
    preset_name: str | None,
    rule: str,
    rule_options: tuple[str, ...],
    targets: tuple[float, ...] | None,
    how: dict,
    init: Path | None,
    export: Path | None,
    checkpoint: Path | None,
    resume: Path | None,
    record: Path | None,
    force: bool,
    verify: bool | None,
    retry: int,
    stream: bool,
    evaluate: bool,
    loss: bool,
    watch: bool,
    logs: tuple[str, ...],
    every: int | None,
    as_json: bool,
    **options,
) -> None:
    """Train a network on a device, and say what it took.

    Without options: 64-32-10 on scikit-learn's digits, on the gateware itself. What the network
    says of other samples, 'relaxon infer' tells.
    """
    saved, few = None, False
    if loss and not evaluate:
        raise click.UsageError("--loss is found by testing: leave out --no-evaluate, or --loss")
    context = click.get_current_context()
    if backend == "golden" and context.get_parameter_source("retry") is ParameterSource.COMMANDLINE:
        raise click.UsageError("--retry waits for a board on a port: leave it out with golden")
    # What needs no data comes before what does: reading them may take long.
    check_device(backend, preset_name)
    run = None
    if resume:
        _refuse_besides_resume()
        run = load_run(resume)
        if run.saved is None:
            raise DataError(f"{resume}: exported weights, no checkpoint: start from them, --init")
        saved, data, rule = run.saved, run.spec["data"], run.settings.rule.name
    else:
        if targets is not None and len(targets) != 2:
            raise click.BadParameter("two values wanted, as 0,0.75", param_hint="--targets")
        options |= {"targets": targets, "options": _rule_options(rule_options)}
        _check_choices(backend, preset_name, layers, hidden, rule, options, init)
    written = [path.resolve() for path in (checkpoint, export, record) if path]
    if len(set(written)) < len(written):
        raise click.UsageError("--checkpoint, --export and --record need a file each")
    read = files_of(data, rule, init, preset_name)
    check_output(checkpoint, read, force)
    for path in (export, record):
        check_output(path, [*read, resume], force)
    callbacks = [make_callback(text) for text in logs]
    for log in (one.path for one in callbacks if isinstance(one, Csv)):
        if log.resolve() in written:
            raise click.UsageError(f"{log}: two outputs of this command need a file each")
        written.append(log.resolve())
        check_output(log, [*read, resume], force=True)  # it looks itself what it goes on with
    if run:
        with bar(f"reading {data}"):
            dataset = load_data(run.spec)
        settings, network = run.settings, run.network
    else:
        dataset = read_data(data, **how)
        network = network_of(dataset, layers, hidden)
        if options["input_bits"] is None:
            options["input_bits"] = input_bits_of(dataset, network)
            few = options["input_bits"] == FEW_BITS
        settings = _settings(rule, network, options)
        if targets is not None and dataset.classes is None:
            raise ConfigError(f"--targets is about classes, {dataset.name} has targets of its own")
        _refuse_unused(network, settings.rule)
    spec = spec_of(data, dataset, network, settings)
    if saved and saved.spec["data_digest"] != spec["data_digest"]:
        raise DataError(f"{data} is not the data set that {resume} was trained on")
    initial = initial_of(init, network, settings) if init else None
    if begun := digest_of(initial) if initial else saved and saved.spec.get("init"):
        spec["init"] = begun
    view = Watch() if watch and console.is_terminal else None
    if watch and not view:
        _note("--watch draws in a terminal alone: it shows nothing here (--log csv:FILE keeps it)")
    if every and not (view or callbacks):
        _note("--every has nobody to tell: --log and --watch show figures")
    if view and not saved:
        every = every or max(1, len(dataset.y_train) // POINTS)
    if every := saved.spec.get("every") if saved else every:
        spec["every"] = every
    with _open(backend, preset_name, network, dataset, settings, saved, stream) as trainer:
        device, trainer.every = trainer.device, every or 0
        runs = getattr(device, "zero_runs", False)
        console.print(
            f"inputs of {settings.rule.input_bits} bits"
            + (", the default for images like MNIST's (--input-bits 8: all of each)" if few else "")
            + (", as zero runs where that is shorter" if runs else ""),
            soft_wrap=True,
        )
        trainer.told.callbacks += callbacks
        with bar("loading weights"), naming(str(resume)) if saved else nullcontext():
            trainer.resume(saved) if saved else trainer.start(initial)
        if trainer.stored:
            with bar("loading samples", trainer.stored) as progress:
                sent = trainer.hold(progress)
            how_many = f"{trainer.stored} of {len(dataset.y_train)} samples"
            known = "were sent to" if sent else "are there already in"
            console.print(f"{how_many} {known} the sample memory")
        if settings.order == FEISTEL and not trainer.makes_order:
            _note(f"the host makes the order of --order {FEISTEL}, {_why_not(trainer)}")
        wanted = backend != "golden" if verify is None else verify
        golden = GoldenRun(device.config, spec, init=init, resume=resume) if wanted else None
        first, code = trainer.epoch, 0

        def keep(entry: dict) -> None:
            if golden and verify is None and entry["epoch"] < settings.epochs:
                golden.note(entry["epoch"], trainer.weights)
            if record:  # of the epochs so far, should the run be cut short
                entry["weights"] = digest_of(trainer.weights())
                RunRecord.of(trainer, spec, backend).save(record)

        try:
            _epochs(trainer, spec, checkpoint, evaluate, loss, view, keep, retry)
        except (KeyboardInterrupt, DeviceError) as error:
            kept = "no checkpoint was kept (--checkpoint FILE keeps one)"
            if checkpoint and trainer.epoch > first:
                kept = f"{checkpoint} holds the last whole epoch; go on with --resume {checkpoint}"
            elif resume:
                kept = f"{resume} is as it was; go on with --resume {resume}"
            said = f"in epoch {trainer.epoch + 1}; {kept}"
            raise type(error)(f"{str(error) or 'interrupted'} {said}") from error
        except RelaxonError as error:
            if error is not trainer.told.failed:
                raise
            said = f"{error}; training ended after epoch {trainer.epoch} of {settings.epochs}"
            code = complain(type(error)(said))
            if golden:
                golden = golden.stop()
        finally:
            if golden and sys.exc_info()[0]:
                golden.stop()
        result = {"backend": backend, "network": str(network), "data": dataset.name}
        result |= trainer.summary() | {"history": trainer.history}
        if evaluate and trainer.history:
            result["test"] = trainer.history[-1].get("test")
        with bar("reading weights"):
            weights = trainer.weights()
        # What goes wrong from here on does not take with it what the run came to.
        try:
            if record:
                RunRecord.of(trainer, spec, backend).save(record)
            if export:
                save_float_weights(export, trainer.real_weights(), spec | trainer.about())
        except DataError as error:
            code = complain(error)
    if golden:
        try:
            with bar("waiting for the golden run (--no-verify leaves it out)"):
                wait = GRACE if verify is None else None
                same, until = golden.compare(settings.epochs, weights, wait)
            if until:
                result["weights_identical"] = same
            if until < settings.epochs:
                result["verified_epochs"] = until
        except ToolError as error:
            code = complain(error)
    _print_training(result, as_json)
    if result.get("weights_identical") is False:
        code = DIFFERENT
    if code:
        sys.exit(code)


WITH_RESUME = {
    "resume",
    "backend",
    "engine",
    "preset_name",
    "checkpoint",
    "export",
    "record",
    "verify",
    "retry",
    "stream",
    "evaluate",
    "loss",
    "watch",
    "logs",
    "as_json",
}


def _refuse_besides_resume() -> None:
    """What a checkpoint decides must not be asked for as well: it would be ignored."""
    context = click.get_current_context()
    given = [
        (option.secondary_opts if context.params.get(option.name) is False else option.opts)[0]
        for option in context.command.params
        if option.name not in WITH_RESUME
        and context.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
    ]
    if given:
        raise click.UsageError(
            f"--resume goes on with the checkpoint's own settings: leave out {', '.join(given)}. "
            "Other settings are another run: start it from --export's weights with --init"
        )


def _check_choices(
    backend: str,
    preset_name: str | None,
    layers: str | None,
    hidden: str,
    rule: str,
    options: dict,
    init: Path | None,
) -> None:
    """What the network, the rule and its settings are refused for, as far as no data are needed."""
    parts = [part for part in hidden.replace("-", ",").split(",") if part.strip()]
    if not layers and not all(part.strip().isdecimal() for part in parts):
        return  # maps depend on the image
    # Where sizes depend on the data, as many layers of a size that fits say what else is wrong.
    network = Network.parse(layers or [2] * (len(parts) + 2))
    settings = _settings(rule, network, dict(options))
    name = first_preset(network, settings.rule)
    if layers and backend in BACKENDS:
        golden = backend == "golden"
        check(network, find_machine(preset_name or (name if golden else "default")), settings.rule)
    _refuse_unused(network, settings.rule)
    if init:
        initial_of(init, network, settings) if layers else load_float_weights(init, network)


def _refuse_unused(network: Network, rule: RuleSettings) -> None:
    """An option that the rule has no use for would be ignored."""
    context = click.get_current_context()
    given = {
        option.name: option.opts[0]
        for option in context.command.params
        if context.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
    }
    unused = unused_settings(network, preset(first_preset(network, rule)), rule)
    if named := [text for name, text in given.items() if name in unused]:
        raise ConfigError(f"rule {rule.name} does not use {', '.join(named)}: leave it out")


@contextmanager
def _open(
    backend: str,
    preset_name: str | None,
    network: Network,
    data: Dataset,
    settings: TrainSettings,
    saved: Checkpoint | None,
    stream: bool = False,
) -> Iterator[Trainer]:
    """The trainer of a run on its device, after all checks that need none (`choose_preset`)."""
    chosen = choose_preset(backend, preset_name, network, data, settings, saved)
    if backend in BACKENDS:  # virtual takes minutes to be built
        _need_memory(find_machine(chosen), stream)
    with bar(f"opening {backend}"):
        opened = open_device(backend, chosen)
    with opened as device:
        _need_memory(device.config, stream)
        if backend == "golden":
            kind = "machine" if is_file(chosen) else "preset"
            console.print(f"golden model of {kind} {chosen}, {engine_used(device)}", markup=False)
        refuse_other_preset(backend, preset_name, device.config)
        with bar("loading samples"):
            trainer = Trainer(device, network, data, settings, stream=stream)
        for remark in remarks(trainer.rule, data):
            _note(remark)
        try:
            yield trainer
        finally:
            if device.link_stats and device.link_stats.errors:
                console.print(f"link: {device.link_stats}", soft_wrap=True)


def _need_memory(config: ArrayConfig, stream: bool) -> None:
    if stream and not config.sample_memory:
        raise ConfigError(
            "--stream is about boards with a sample memory: this machine has none, and is sent its "
            "samples in every epoch anyway; leave it out"
        )


def _why_not(trainer: Trainer) -> str:
    """Why the machine does not make the order of the samples."""
    if not trainer.device.config.sample_memory:
        return "as this machine has no sample memory"
    if not trainer.stored:
        return "as the samples go over the line"
    return "as the sample memory does not hold all samples"


def _note(text: str) -> None:
    console.print("[yellow]note:[/]", escape(text), soft_wrap=True)


def _settings(rule: str, network: Network, options: dict) -> TrainSettings:
    """Options that were not given are None: the rule's defaults hold."""
    run = {
        name: options.pop(name)
        for name in ("epochs", "seed", "rate_halvings", "init_gain", "shuffle", "order")
        if name in options
    }
    given = {name: value for name, value in options.items() if value is not None}
    if own := own_file(rule):
        rule = f"{own[0].absolute()}:{own[1]}"  # where it lies, as `spec_of` says of the data
    return training_for(network, settings_for(rule, network, **given), **run)


def _rule_options(given: tuple[str, ...]) -> dict[str, float]:
    options = {}
    for text in given:
        name, _, value = text.partition("=")
        if name in options:
            raise click.BadParameter(f"{name} is given twice", param_hint="--option")
        try:
            options[name] = int(value) if value.strip().lstrip("+-").isdecimal() else float(value)
        except ValueError:
            raise click.BadParameter(
                f"{text!r}: write a name and a number, as points=8", param_hint="--option"
            ) from None
    return options


def _epochs(
    trainer: Trainer,
    spec: dict,
    checkpoint: Path | None,
    evaluate: bool,
    loss: bool,
    view: Watch | None,
    keep: Callable[[dict], None],
    retry: int,
) -> None:
    """Train to the end; ``keep`` is given each epoch's entry of the history."""
    last = trainer.settings.epochs
    if view:
        trainer.told.callbacks.append(view)
    shown = view.shown if view else bar
    entries = trainer.epochs(evaluate=evaluate, loss=loss, shown=shown, retry=retry)
    with view or nullcontext(), closing(entries):
        for entry in entries:
            console.print(f"epoch {entry['epoch']}/{last}  {_figures(entry)}")
            keep(entry)
            if checkpoint:
                trainer.checkpoint(spec).save(checkpoint)


def _figures(entry: dict) -> str:
    parts = []
    if "online_accuracy" in entry:
        parts.append(f"while training {entry['online_accuracy']:.2%}")
    for name, value in (entry.get("test") or {}).items():
        parts.append(f"test {value:.2%}" if name == "accuracy" else f"test {name} {value:.5f}")
    return "  ".join(parts)


def _print_training(result: dict, as_json: bool) -> None:
    if print_json(result, as_json):
        return
    for name, value in (result.get("test") or {}).items():
        text = f"{value:.2%}" if name == "accuracy" else f"{value:.6f}"
        click.echo(f"test {name}: {text}")
    click.echo(f"sweeps per sample: {result['sweeps_per_sample']:.1f}")
    kinds = ", ".join(f"{k} {v:.0f}" for k, v in result["cycles_by_kind"].items() if v)
    click.echo(f"cycles per sample: {result['cycles_per_sample']:.0f} ({kinds})")
    if result["link_errors"] or result["link_drops"]:
        click.echo(
            f"frames that the board dropped: {result['link_errors']} damaged, "
            f"{result['link_drops']} out of turn"
        )
    if "weights_identical" in result:
        same = "identical to" if result["weights_identical"] else "different from"
        part = f" after epoch {found}" if (found := result.get("verified_epochs")) else ""
        click.echo(f"weights: {same} golden{part}")
    if "verified_epochs" in result:
        click.echo(
            f"verified: {result['verified_epochs']} of {len(result['history'])} epochs, as the "
            f"golden run needs longer than the training and {GRACE:.0f} s more; --verify waits"
        )


@click.command(cls=Grouped)
@file_option(
    "--weights",
    "A checkpoint, weights written by --export, or others' (.npz with W1, b1, ...; .safetensors) "
    "with --layers.",
    required=True,
)
@click.option(
    "--data",
    help="Samples to answer, as for 'train': the test part, if it has one of its own, else all. "
    "Default: the test part of what the weights were trained on.",
)
@click.option("--all", "everything", is_flag=True, help="Answer all samples of the data set.")
@click.option(
    "--unlabelled",
    is_flag=True,
    help="There is no label or target, where that is not clear (a table without its column, an "
    ".npz file of one array).",
)
@how_options
@click.option("--layers", help="Layer sizes, for weights of others.")
@click.option("--rule", help="Learning rule that others' weights are of (default: ep-centered).")
@click.option("--architecture", help="Architecture that others' weights are of (default: layers).")
@click.option(
    "--output",
    type=click.Choice(OUTPUTS),
    help="Outputs of others' weights: in [0, 1], or unbounded.",
)
@backend_option
@engine_option
@preset_option
@click.option("--outputs", is_flag=True, help="Print the outputs' values, not the classes.")
@click.option("--limit", type=click.IntRange(1), help="Only the first so many samples.")
@file_option("--csv", "Write a row a sample: the answer, the label, the outputs.")
@force_option
@json_option
def infer(
    weights: Path,
    data: str | None,
    everything: bool,
    unlabelled: bool,
    how: dict,
    layers: str | None,
    backend: str,
    preset_name: str | None,
    outputs: bool,
    limit: int | None,
    csv: Path | None,
    force: bool,
    as_json: bool,
    **options: str | None,
) -> None:
    """Relax the samples of a data set and print what the network says of each.

    The weights' file says what they are of; --layers, --rule, --architecture and --output say it of
    files that do not. Samples need no labels: a table may lack its column, and its other columns
    are found by their titles.
    """
    given: dict = {name: value for name, value in options.items() if value is not None}
    check_device(backend, preset_name)
    part = "all" if everything else "answer" if data or unlabelled else "split"
    how |= {"part": part, "labelled": False if unlabelled else None}
    if layers is None or kind_of(weights):
        run = load_run(weights)
        if given or (layers and Network.parse(layers) != run.network):
            raise DataError(
                f"{weights} says itself what it is, network {run.network} with rule "
                f"{run.settings.rule.name}: leave out --layers, --rule, --architecture, --output"
            )
        where = data or run.spec["data"]
        check_output(csv, files_of(weights, where), force)
        with bar(f"reading {where}"):
            dataset = load_data(run.spec, data, **how)
    else:
        network = Network.parse(layers)
        settings = _settings(given.pop("rule", _EP.name), network, given)
        run = Run(network, settings, {}, weights=initial_of(weights, network, settings))
        where = data or "digits"
        check_output(csv, files_of(weights, where), force)
        dataset = read_data(where, **{"classes": network.sizes[-1], **how})
    known = len(dataset.y_test) > 0
    if not known and dataset.classes is None:
        dataset = dataset.changed(y_test=np.empty((0, run.network.sizes[-1])))
    _say_which(run, dataset, where)
    if not len(dataset.x_test):
        raise DataError(f"{dataset.name} has no test samples: --all answers the others")
    dataset = dataset.changed(
        x_train=dataset.held("x_train")[:0],
        y_train=dataset.y_train[:0],
        x_test=dataset.held("x_test")[:limit],
        y_test=dataset.y_test[:limit],
    )
    with _open(backend, preset_name, run.network, dataset, run.settings, run.saved) as trainer:
        with bar("loading weights"), naming(str(weights)):
            trainer.resume(run.saved) if run.saved else trainer.start(run.weights)
        with bar("relaxing", len(dataset.x_test)) as progress:
            wanted = outputs or csv is not None or dataset.classes is None
            answers = trainer.predict(outputs=wanted, progress=progress)
    result: dict = {"network": str(run.network), "data": dataset.name, "samples": len(answers)}
    values = answers if wanted else None
    if dataset.classes is not None:
        answers = answers if values is None else dataset.named(values.argmax(axis=1))
        if known:
            result["accuracy"] = float(np.mean(answers == dataset.named(dataset.y_test)))
    else:
        answers = values = dataset.unscaled(answers)
        if known:
            result["mse"] = float(np.mean((answers - dataset.unscaled(dataset.y_test)) ** 2))
    if csv and values is not None:
        write_table(csv, _rows(dataset, answers, values))
    if values is not None and outputs:
        answers = values
    result["outputs" if answers.ndim == 2 else "classes"] = answers.tolist()
    if print_json(result, as_json):
        return
    for answer in answers if csv is None else ():
        click.echo(" ".join(f"{v:.4f}" for v in answer) if answers.ndim == 2 else str(answer))
    if "accuracy" in result:
        click.echo(f"accuracy: {result['accuracy']:.2%}", err=True)
    if "mse" in result:
        click.echo(f"mse: {result['mse']:.6f}", err=True)


def _rows(data: Dataset, answers: np.ndarray, values: np.ndarray) -> list[dict]:
    """A row a sample: its number, the answer, what it is if that is known, the outputs."""
    labels, known = data.classes is not None, len(data.y_test) > 0
    names = [*map(str, (data.names if labels else data.options.get("target")) or ())]
    names += map(str, range(len(names), values.shape[1]))
    columns: dict[str, Sequence] = {"sample": range(len(values))}
    if labels:
        columns["predicted"] = [*answers]
        if known:
            columns["label"] = [*data.named(data.y_test)]
    kind = "output" if labels else "predicted"
    columns |= {f"{kind} {name}": [*values[:, i]] for i, name in enumerate(names)}
    if known and not labels:
        truth = data.unscaled(data.y_test)
        columns |= {f"target {name}": [*truth[:, i]] for i, name in enumerate(names)}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _say_which(run: Run, data: Dataset, where: str) -> None:
    """Which samples are answered, where that may not be what was meant."""
    count = len(data.x_test)
    if rest := len(data.x_train):
        console.print(
            f"the test part of {data.name}: {count} of {rest + count} samples (--all: all)",
            soft_wrap=True,
        )
    elif len(data.y_test) and run.spec.get("data") in (where, str(Path(where).absolute())):
        _note(
            f"{data.name} is what the network was trained on: only without --data and --all is it "
            "judged by samples that it has not seen"
        )
