"""The command line: `relaxon train | infer | board | info | rules | bench`, `board_commands`."""

import errno
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryFile

import click
import numpy as np
from click.core import ParameterSource
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from relaxon_device.base import Device
from relaxon_isa.config import ArrayConfig
from relaxon_isa.errors import ConfigError, DataError, ToolError
from relaxon_isa.identity import fingerprint
from relaxon_isa.presets import PRESETS, preset

from .backends import BACKENDS, open_device
from .board_commands import COMMANDS
from .checkpoint import Checkpoint, load_float_weights, save_float_weights
from .console import EXIT_CODES, complain, console, guarded, json_option
from .datasets import NAMED, Dataset, load
from .network import Network
from .objectives import OBJECTIVES
from .parallel import open_pool, pool_options
from .rules import (
    RULES,
    check,
    features_of,
    first_preset,
    make_rule,
    own_file,
    rule_class,
    rule_digest,
    rule_names,
    settings_for,
)
from .rules.settings import ARCHITECTURES, INPUT_PACKS, OUTPUTS, RuleSettings
from .selftest import PARTS, SelfTest, self_test
from .studies import comparison, equivalence
from .studies.cycles import cycles
from .studies.gradient import gradient
from .studies.plots import check_picture
from .studies.settle import settle
from .studies.speed import golden
from .training import Trainer, TrainSettings, check_data
from .verify import GoldenRun

__all__ = ["EXIT_CODES", "main"]

DIFFERENT = 9
"""Exit code: weights that are not the golden run's, or a self-test that failed."""


def _numbers(kind: type) -> Callable:
    """A click callback for lists such as 5,7."""

    def parse(context: click.Context, option: click.Parameter, value: str | None) -> tuple | None:
        if value is None or isinstance(value, tuple):
            return value
        try:
            return tuple(kind(part) for part in value.split(",") if part != "")
        except ValueError:
            raise click.BadParameter(
                f"{value!r}: write numbers with commas between, as 5,7"
            ) from None

    return parse


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="relaxon")
def cli() -> None:
    """relaxon: a machine that learns by settling.

    Trains networks by Equilibrium Propagation on an array of fixed-point cells: the numpy golden
    model (--backend golden), the gateware on a virtual board (--backend virtual), or a board on a
    serial port (--backend /dev/ttyUSB0).
    """


backend_option = click.option(
    "--backend",
    default="virtual",
    show_default=True,
    help="golden, virtual, or the name of a serial port, as /dev/ttyUSB1@3000000 where the board's "
    "rate ('relaxon boards') is not 1,000,000 baud.",
)
preset_option = click.option(
    "--preset",
    "preset_name",
    metavar="NAME",
    help="Machine that golden and virtual are built as (see 'relaxon info --presets'). Without it "
    "virtual is 'default', and golden the first of that list that holds the network; with a "
    "checkpoint both are what it was written on.",
)
data_option = click.option(
    "--data",
    default="digits",
    show_default=True,
    help="digits, iris, a folder of IDX files (MNIST, Fashion-MNIST), or an .npz file.",
)


@contextmanager
def bar(description: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error; silent where that is no terminal."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task(description, total=total)
        yield lambda n: progress.update(task, advance=n)


def _spec(data: str, dataset: Dataset, network: Network, settings: TrainSettings) -> dict:
    return {
        # Where it lies, from wherever the run goes on.
        "data": data if data in NAMED else str(Path(data).absolute()),
        "data_digest": dataset.digest,
        "rule_digest": rule_digest(settings.rule.name),
        "sizes": list(network.sizes),
        "settings": settings.to_json(),
    }


_EP = RuleSettings()
_TRAIN = TrainSettings()


@cli.command()
@data_option
@click.option("--layers", default="64,32,10", show_default=True, help="Layer sizes.")
@backend_option
@preset_option
@click.option("--epochs", default=_TRAIN.epochs, show_default=True, help="Passes over the data.")
@click.option("--seed", default=_TRAIN.seed, show_default=True, help="Weights, order, dither.")
@click.option(
    "--rate-shifts",
    callback=_numbers(int),
    help="Learning rate 2**-shift of each weight layer, input side first; default 6 for all but "
    "the last, 9 for the last.",
)
@click.option(
    "--rate-halvings",
    default=_TRAIN.rate_halvings,
    show_default=True,
    help="How often the rates are halved, evenly over the epochs.",
)
@click.option(
    "--rule",
    default=_EP.name,
    show_default=True,
    help="Learning rule (see 'relaxon rules'), or one of your own, as file.py:Class.",
)
@click.option("--objective", type=click.Choice(list(OBJECTIVES)), help="Default: the rule's own.")
@click.option(
    "--architecture",
    default=_EP.architecture,
    show_default=True,
    help="layers; skip:0>2,1>3 (connections from layer 0, the input, into 2 and from 1 into 3 as "
    "well); backward (weights of their own for what comes from above).",
)
@click.option("--output", type=click.Choice(OUTPUTS), help="Outputs in [0, 1], or unbounded.")
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
@click.option("--free-cap", type=int, help=f"Most free sweeps (default {_EP.free_cap}).")
@click.option("--nudged-cap", type=int, help=f"Most nudged sweeps (default {_EP.nudged_cap}).")
@click.option(
    "--tolerance",
    type=float,
    help="A phase has settled when no state moves by more.",
)
@click.option("--grid", type=int, help=f"Fraction bits of the states (default {_EP.grid}).")
@click.option(
    "--targets",
    callback=_numbers(float),
    help="Output value for the other classes, and for the right one (default 0,0.75).",
)
@click.option(
    "--input-bits",
    default=str(_EP.input_bits),
    show_default=True,
    type=click.Choice([str(bits) for bits in INPUT_PACKS]),
    help="Bits an input travels with; 16: a signed word.",
)
@click.option("--init-gain", default=_TRAIN.init_gain, show_default=True, help="Initial weights.")
@click.option("--freeze", default="", callback=_numbers(int), help="Weight layers that stay, as 1.")
@click.option("--shuffle/--no-shuffle", default=True, help="A new sample order every epoch.")
@click.option("--init", type=click.Path(path_type=Path), help="Start from real weights (.npz).")
@click.option("--export", type=click.Path(path_type=Path), help="Write real weights (.npz) at end.")
@click.option(
    "--checkpoint", type=click.Path(path_type=Path), help="Keep the run in this file, every epoch."
)
@click.option(
    "--resume", type=click.Path(path_type=Path), help="Go on from a checkpoint; its settings hold."
)
@click.option(
    "--verify/--no-verify",
    default=None,
    help="Train the golden model beside, in another process, and compare every bit of the weights "
    "(default: on, except with --backend golden).",
)
@click.option("--evaluate/--no-evaluate", default=True, help="Test after every epoch.")
@click.option(
    "--config-file", type=click.Path(path_type=Path, exists=True, dir_okay=False), hidden=True
)
@json_option
@guarded
def train(
    data: str,
    layers: str,
    backend: str,
    preset_name: str | None,
    rule: str,
    rule_options: tuple[str, ...],
    rate_shifts: tuple[int, ...] | None,
    targets: tuple[float, ...] | None,
    input_bits: str,
    freeze: tuple[int, ...],
    init: Path | None,
    export: Path | None,
    checkpoint: Path | None,
    resume: Path | None,
    verify: bool | None,
    evaluate: bool,
    config_file: Path | None,
    as_json: bool,
    **options,
) -> None:
    """Train a network on a device, and say what it took.

    Without options: 64-32-10 on scikit-learn's digits, on the gateware itself.
    """
    saved = None
    if resume:
        _refuse_besides_resume()
        saved, settings = _load_run(resume)
        data, network = saved.spec["data"], saved.network
    else:
        network = Network.parse(layers)
        if targets is not None and len(targets) != 2:
            raise click.BadParameter("two values wanted, as 0,0.75", param_hint="--targets")
        settings = _settings(
            rule,
            network,
            options
            | {
                "rate_shifts": rate_shifts,
                "targets": targets,
                "input_bits": int(input_bits),
                "frozen": freeze,
                "options": _rule_options(rule_options),
            },
        )
    dataset = load(data)
    spec = _spec(data, dataset, network, settings)
    if saved and saved.spec["data_digest"] != spec["data_digest"]:
        raise DataError(f"{data} is not the data set that {resume} was trained on")
    initial = load_float_weights(init, network) if init else None
    if checkpoint and export and checkpoint.absolute() == export.absolute():
        raise click.UsageError("--checkpoint and --export need a file each")
    for path in (checkpoint, export):
        _check_target(path)
    config = _config(backend, preset_name, network, dataset, settings, saved, config_file)
    if backend == "virtual":
        console.print("building the virtual board (once; later runs find it in the cache)")
    with open_device(backend, config) as device:
        _same_machine(backend, preset_name, device.config)
        trainer = Trainer(device, network, dataset, settings)
        if saved:
            trainer.resume(saved)
        else:
            trainer.start(initial)
        wanted = backend != "golden" if verify is None else verify
        golden = GoldenRun(device.config, spec, init=init, resume=resume) if wanted else None
        try:
            _epochs(trainer, spec, checkpoint, evaluate)
        except KeyboardInterrupt:
            kept = "no checkpoint was kept (--checkpoint FILE keeps one)"
            if checkpoint and checkpoint.exists():
                kept = f"{checkpoint} holds the last whole epoch; go on with --resume {checkpoint}"
            raise KeyboardInterrupt(f"interrupted in epoch {trainer.epoch + 1}; {kept}") from None
        finally:
            if golden and sys.exc_info()[0]:
                golden.stop()
        result = {"backend": backend, "network": str(network), "data": dataset.name}
        result |= trainer.summary() | {"history": trainer.history}
        if evaluate and trainer.history:
            result["test"] = trainer.history[-1].get("test")
        weights = trainer.weights()
        # What goes wrong from here on does not take with it what the run came to.
        code = 0
        if export:
            try:
                save_float_weights(export, trainer.real_weights())
            except DataError as error:
                code = complain(error)
    if golden:
        try:
            result["weights_identical"] = golden.compare(weights)
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
    "preset_name",
    "checkpoint",
    "export",
    "verify",
    "evaluate",
    "config_file",
    "as_json",
}


def _refuse_besides_resume() -> None:
    """What a checkpoint decides must not be asked for as well: it would be ignored."""
    context = click.get_current_context()
    given = [
        option.opts[0]
        for option in context.command.params
        if option.name not in WITH_RESUME
        and context.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
    ]
    if given:
        raise click.UsageError(
            f"--resume goes on with the checkpoint's own settings: leave out {', '.join(given)}. "
            "Other settings are another run: start it from --export's weights with --init"
        )


def _check_target(path: Path | None) -> None:
    """Before long work: whether its file, if one is wanted, has a place."""
    if path and not path.parent.is_dir():
        raise DataError(f"{path}: there is no folder {path.parent}")
    if path and path.exists() and not path.is_file():
        raise DataError(f"{path}: is not a file that could be replaced")
    if path:
        try:
            TemporaryFile(dir=path.parent).close()
        except OSError as error:
            raise DataError(f"{path}: cannot be written: {error.strerror}") from error


def _check_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=path).close()
    except OSError as error:
        raise DataError(f"{path}: nothing can be kept there: {error.strerror}") from error


def _check_plot(path: Path | None) -> None:
    _check_target(path)
    if path:
        check_picture(path)


def _load_run(path: Path) -> tuple[Checkpoint, TrainSettings]:
    saved = Checkpoint.load(path)
    if missing := {"data", "data_digest", "settings"} - set(saved.spec):
        raise DataError(f"{path}: damaged, it does not say {', '.join(sorted(missing))}")
    settings = TrainSettings.from_json(saved.spec["settings"])
    rule = settings.rule.name
    if saved.spec.get("rule_digest") not in (None, rule_digest(rule)):
        raise DataError(
            f"{path}: the file of its rule, {rule}, is gone or was changed since: put it back as "
            "it was, or train anew with what it is now"
        )
    return saved, settings


def _same_machine(backend: str, preset_name: str | None, found: ArrayConfig) -> None:
    """A board is what it is: refuse a preset that it is not."""
    if preset_name is None or backend in BACKENDS:
        return
    if fingerprint(preset(preset_name)) != fingerprint(found):
        raise ConfigError(
            f"{backend} is not a machine of preset {preset_name} (fingerprint "
            f"{fingerprint(preset(preset_name))}), its fingerprint is {fingerprint(found)}: leave "
            "--preset out to use it as it is"
        )


def _config(
    backend: str,
    preset_name: str | None,
    network: Network,
    dataset: Dataset,
    settings: TrainSettings,
    saved: Checkpoint | None,
    config_file: Path | None = None,
) -> ArrayConfig:
    """What golden and virtual are built as (see --preset).

    Raises what opening the device and starting to train would raise, before anything happens.
    """
    check_data(network, dataset, settings.rule.objective)
    chosen = False
    if preset_name is None and saved:
        same = (name for name, c in PRESETS.items() if fingerprint(c) == saved.fingerprint)
        preset_name = next(same, None)
    if preset_name is None and backend == "golden" and config_file is None:
        preset_name, chosen = first_preset(network, settings.rule), True
    config = preset(preset_name or "default")
    if config_file is not None:
        config = ArrayConfig.from_json(config_file.read_text())
    if backend in BACKENDS:
        check(network, config, settings.rule)
    if chosen:
        console.print(f"golden model of preset {preset_name}")
    return config


def _settings(rule: str, network: Network, options: dict) -> TrainSettings:
    """Options that were not given are None: the rule's defaults hold."""
    run = {
        name: options.pop(name)
        for name in ("epochs", "seed", "rate_halvings", "init_gain", "shuffle")
    }
    given = {name: value for name, value in options.items() if value is not None}
    if own := own_file(rule):
        rule = f"{own[0].absolute()}:{own[1]}"  # where it lies, as `_spec` says of the data
    return TrainSettings(**run, rule=settings_for(rule, network.depth, **given))


def _rule_options(given: tuple[str, ...]) -> dict[str, float]:
    options = {}
    for text in given:
        name, _, value = text.partition("=")
        try:
            options[name] = int(value) if value.strip().lstrip("+-").isdecimal() else float(value)
        except ValueError:
            raise click.BadParameter(
                f"{text!r}: write a name and a number, as points=8", param_hint="--option"
            ) from None
    return options


def _epochs(trainer: Trainer, spec: dict, checkpoint: Path | None, evaluate: bool) -> None:
    settings = trainer.settings
    while trainer.epoch < settings.epochs:
        label = f"epoch {trainer.epoch + 1}/{settings.epochs}"
        with bar(label, len(trainer.data.x_train)) as progress:
            entry = trainer.run_epoch(progress)
        if evaluate:
            with bar("testing", len(trainer.data.x_test)) as progress:
                entry["test"] = trainer.evaluate(progress)
        console.print(f"{label}  {_figures(entry)}")
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
    if as_json:
        click.echo(json.dumps(result, indent=2))
        return
    for name, value in (result.get("test") or {}).items():
        text = f"{value:.2%}" if name == "accuracy" else f"{value:.6f}"
        click.echo(f"test {name}: {text}")
    click.echo(f"sweeps per sample: {result['sweeps_per_sample']:.1f}")
    kinds = ", ".join(f"{k} {v:.0f}" for k, v in result["cycles_by_kind"].items() if v)
    click.echo(f"cycles per sample: {result['cycles_per_sample']:.0f} ({kinds})")
    if "weights_identical" in result:
        same = "identical to" if result["weights_identical"] else "different from"
        click.echo(f"weights: {same} golden")


@cli.command()
@click.option(
    "--weights",
    required=True,
    type=click.Path(path_type=Path),
    help="A checkpoint, or real weights (.npz from --export) with --layers.",
)
@click.option(
    "--data", help="As for 'train'. Default: the checkpoint's own; for real weights digits."
)
@click.option(
    "--layers", help="Layer sizes, for real weights, which are relaxed with the default settings."
)
@backend_option
@preset_option
@click.option("--outputs", is_flag=True, help="Print the outputs' values, not the classes.")
@click.option("--limit", type=click.IntRange(1), help="Only the first so many test samples.")
@json_option
@guarded
def infer(
    weights: Path,
    data: str | None,
    layers: str | None,
    backend: str,
    preset_name: str | None,
    outputs: bool,
    limit: int | None,
    as_json: bool,
) -> None:
    """Relax the test samples of a data set and print what the network says."""
    if layers is None:
        saved, settings = _load_run(weights)
        network, own = saved.network, saved.spec["data"]
    else:
        own = "digits"
        saved, network = None, Network.parse(layers)
        settings = TrainSettings(rule=settings_for(_EP.name, network.depth))
    dataset = load(own if data is None else data)
    config = _config(backend, preset_name, network, dataset, settings, saved)
    real = load_float_weights(weights, network) if saved is None else None
    with open_device(backend, config) as device:
        _same_machine(backend, preset_name, device.config)
        trainer = Trainer(device, network, dataset, settings)
        if saved:
            trainer.resume(saved)
        else:
            trainer.start(real)
        x, y = dataset.x_test[:limit], dataset.y_test[:limit]
        answers = trainer.predict(x, outputs=outputs or dataset.classes is None)
    result: dict = {"network": str(network), "data": dataset.name, "samples": len(x)}
    if dataset.classes is not None:
        classes = answers.argmax(axis=1) if answers.ndim == 2 else answers
        result["accuracy"] = float(np.mean(classes == y))
    result["outputs" if answers.ndim == 2 else "classes"] = answers.tolist()
    if as_json:
        click.echo(json.dumps(result))
        return
    for answer in answers:
        click.echo(" ".join(f"{v:.4f}" for v in answer) if answers.ndim == 2 else str(answer))
    if "accuracy" in result:
        click.echo(f"accuracy: {result['accuracy']:.2%}", err=True)


@cli.command()
@preset_option
@click.option(
    "--family",
    help="Instantiate this FPGA family's primitives (ice40, ecp5, gowin), by their models.",
)
@click.option("--vcd", type=click.Path(path_type=Path), help="Write waveforms (slow).")
@click.option("--fst", type=click.Path(path_type=Path), help="Write compressed waveforms (slow).")
@guarded
def board(preset_name: str | None, family: str | None, vcd: Path | None, fst: Path | None) -> None:
    """Run a virtual board until Ctrl-C; any serial client can talk to the port it prints."""
    if vcd and fst:
        raise click.UsageError("--vcd or --fst, not both")
    for path in (vcd, fst):
        _check_target(path)
    from .backends import virtual_board

    config = preset(preset_name or "default")
    with virtual_board(config, family=family, vcd=vcd, fst=fst) as running:
        click.echo(running.port)
        console.print(f"try: relaxon info --backend {running.port}   (Ctrl-C ends the board)")
        with suppress(KeyboardInterrupt):
            running.wait()


@cli.command()
@click.option("--backend", help="golden, virtual, or the name of a serial port.")
@preset_option
@click.option("--presets", is_flag=True, help="List the machines by name instead.")
@click.option(
    "--self-test/--no-self-test",
    "wanted",
    default=None,
    help="Test memories and arithmetic; overwrites all memories and counters. Default: only a "
    "board that nobody has used since power-on.",
)
@json_option
@guarded
def info(
    backend: str | None,
    preset_name: str | None,
    presets: bool,
    wanted: bool | None,
    as_json: bool,
) -> None:
    """Say what a device is: its array, memories, fingerprint and counters; or list the presets.

    At its first contact after power-on a board is tested: its memories, MAC, LEARN and sequencer,
    compared with the golden model to the last bit, and is left cleared, as it was. The counters
    shown are those from before. Exit code 9: it failed.
    """
    if presets or backend is None:
        if preset_name or wanted is not None:
            raise click.UsageError("--preset and --self-test are about a device: name a --backend")
        _list_presets(as_json)
        return
    with open_device(backend, preset(preset_name or "default")) as device:
        identity, counters = device.identity, device.counters()
        result, said = _self_test(device, backend, wanted)
    config = identity.config
    facts: dict = {
        "fingerprint": identity.fingerprint,
        "build": identity.build,
        "clock_hz": identity.clock_hz,
        "baud": identity.baud,
        "config": json.loads(config.to_json()),
        "counters": {register.name.lower(): value for register, value in counters.items()},
        "self_test": {"said": said} | (asdict(result) if result else {}),
    }
    if result:
        facts["self_test"]["passed"] = result.passed
    if as_json:
        click.echo(json.dumps(facts, indent=2))
    else:
        table = Table(show_header=False, box=None)
        for name in ("fingerprint", "build", "clock_hz", "baud"):
            table.add_row(name, str(facts[name]))
        for name, value in (facts["config"] | facts["counters"]).items():
            table.add_row(name, str(value))
        table.add_row("self-test", said)
        Console(highlight=False).print(table)
    if result and not result.passed:
        for line in result.failures():
            console.print(line, markup=False, soft_wrap=True)
        console.print(
            "[bold red]error:[/] the self-test failed: what this board computes cannot be trusted",
            soft_wrap=True,
        )
        sys.exit(DIFFERENT)


def _self_test(device: Device, backend: str, wanted: bool | None) -> tuple[SelfTest | None, str]:
    """What came of it, if it ran, and what there is to say."""
    if wanted is None and backend == "golden":
        return None, "not run: the golden model is what boards are compared with"
    if wanted is None and not device.unused:
        return None, (
            "not run: in use since power-on; relaxon info --self-test runs it and overwrites "
            "all memories"
        )
    if wanted is False:
        return None, "not run"
    try:
        with bar("self-test", len(PARTS)) as progress:
            result = self_test(device, progress)
    except ConfigError as error:
        if wanted:
            raise
        return None, f"not run: {error}"
    failed = [name for name, part in result.parts.items() if not part.passed]
    if failed:
        return result, f"FAILED: {', '.join(failed)}"
    return result, f"passed: {', '.join(result.parts)}"


def _list_presets(as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({n: json.loads(c.to_json()) for n, c in PRESETS.items()}, indent=2))
        return
    table = Table(
        "preset", "cells", "state", "weight", "weights", "levels", "features", "fingerprint"
    )
    for name, c in PRESETS.items():
        table.add_row(
            name,
            f"{c.p} x {c.p}",
            f"{c.state_bits} bit",
            f"{c.weight_bits} bit",
            str(c.weight_depth * c.p * c.p),
            str(c.levels),
            ", ".join(c.features) or "none",
            fingerprint(c),
        )
    Console(highlight=False, width=120).print(table)


@cli.command("rules")
@click.option("--rule", "names", multiple=True, help="Only this one; may be repeated.")
@json_option
@guarded
def list_rules(names: tuple[str, ...], as_json: bool) -> None:
    """List the learning rules: source, phases, memory, what they go with, their parameters.

    Modes are those of the machine that a rule's own objective needs on plain layers; 'relaxon info
    --presets' says which machines have them.
    """
    rows = []
    network = Network((64, 32, 10))
    for name in names or rule_names():
        rule, settings = rule_class(name), settings_for(name, network.depth)
        made = make_rule(network, preset("default"), settings)
        rows.append(
            {
                "rule": rule.name,
                "paper": rule.paper,
                "phases": rule.summary,
                "words_a_neuron": len(made.layout.planes),
                "words_a_synapse": made.layout.needs.words,
                "objectives": list(rule.OBJECTIVES),
                "architectures": [a for a in ARCHITECTURES if a not in rule.ARCHITECTURES],
                "refuses": rule.ARCHITECTURES,
                "features": features_of(network, settings),
                "options": {k: list(v) for k, v in rule.OPTIONS.items()},
            }
        )
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        click.echo(f"{row['rule']}: {row['paper']}")
        click.echo(f"    {row['phases']}")
        click.echo(
            f"    {row['words_a_neuron']} words a neuron, {row['words_a_synapse']} a synapse; "
            f"objectives: {', '.join(row['objectives'])}"
        )
        click.echo(
            f"    architectures: {', '.join(row['architectures'])}; "
            f"features of the machine: {', '.join(row['features']) or 'none'}"
        )
        for name, (value, meaning) in row["options"].items():
            click.echo(f"    -o {name}={value:g}: {meaning}")


@cli.group("bench")
def bench_group() -> None:
    """Measure: cycles, sweeps, gradients, accuracy, the golden model's speed."""


@bench_group.command("cycles")
@json_option
@guarded
def bench_cycles(as_json: bool) -> None:
    """Exact cycles per training and inference sample, for a table of networks and array sizes.

    Inputs are in the machine already; free phases of 6 sweeps, nudged ones of 4, side by side.
    """
    rows = cycles()
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    table = Table("network", "P", "pass", "cycles", "mac", "learn", "control")
    for row in rows:
        table.add_row(
            *(str(row[c]) for c in ("network", "p", "pass", "cycles", "mac", "learn", "control"))
        )
    Console(highlight=False).print(table)


@bench_group.command("golden")
@click.option("--data", help="Data set; by default synthetic samples as sparse as MNIST.")
@click.option("--layers", default="784,128,10", show_default=True, help="Layer sizes.")
@click.option(
    "--samples",
    default=5000,
    show_default=True,
    type=click.IntRange(1),
    help="Training samples to time.",
)
@json_option
@guarded
def bench_golden(data: str | None, layers: str, samples: int, as_json: bool) -> None:
    """Training samples/s of the golden model, beside a float numpy loop of the same sweeps."""
    result = golden(Network.parse(layers), data, samples)
    if as_json:
        click.echo(json.dumps(result, indent=2))
        return
    click.echo(f"golden model: {result['golden_per_second']:.0f} training samples/s")
    click.echo(f"float numpy:  {result['float_per_second']:.0f} training samples/s")
    click.echo(f"ratio: {result['ratio']:.2f}")


@bench_group.command("settle")
@data_option
@click.option("--layers", default="64,32,10", show_default=True, help="Layer sizes.")
@click.option(
    "--samples", default=500, show_default=True, type=click.IntRange(1), help="Samples to relax."
)
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0), help="Initial weights."
)
@json_option
@guarded
def bench_settle(data: str, layers: str, samples: int, seed: int, as_json: bool) -> None:
    """How many sweeps the free phase takes to settle: a histogram."""
    counts = settle(Network.parse(layers), load(data), samples, seed)
    if as_json:
        click.echo(json.dumps({"sweeps": counts}, indent=2))
        return
    most = max(counts.values())
    for sweeps, number in counts.items():
        click.echo(f"{sweeps:4} sweeps {number:6}  {'#' * round(50 * number / most)}")


@bench_group.command("gradient")
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
@guarded
def bench_gradient(networks: int, seed: int, beta: float, as_json: bool) -> None:
    """Centered EP's update on the golden model against finite differences of the cost.

    Cosine of each layer, over random 20-15-10-5 networks whose units cross no bound between the
    phases and whose gradient is not zero.
    """
    with bar("networks", networks) as progress:
        result = gradient(networks, seed, beta, progress)
    if as_json:
        click.echo(json.dumps(result, indent=2))
        return
    table = Table("layer", "smallest cosine", "median", "mean")
    for row in result["layers"]:
        figures = (f"{row[name]:.6f}" for name in ("min", "median", "mean"))
        table.add_row(str(row["layer"]), *figures)
    Console(highlight=False).print(table)
    rejected = result["rejected"]
    click.echo(
        f"{networks} networks. Rejected: {rejected['crossing']} where a unit crosses a bound, "
        f"{rejected['zero']} where a layer's gradient is zero, {rejected['faint']} where no unit "
        f"of a layer moves by {result['faint_steps']} steps of the grid between the phases"
        + (f" (smallest cosine there {result['faint_min']:.4f})" if rejected["faint"] else "")
    )


@bench_group.command("digits")
@click.option(
    "--seeds",
    default=5,
    show_default=True,
    type=click.IntRange(1),
    help="Runs, with seeds from 0 on.",
)
@click.option("--epochs", default=_TRAIN.epochs, show_default=True, help="Passes over the data.")
@json_option
@guarded
def bench_digits(seeds: int, epochs: int, as_json: bool) -> None:
    """Test accuracy on digits, 64-32-10, beside that without the first layer's LEARN."""
    dataset = load("digits")
    with bar("samples", 2 * seeds * epochs * len(dataset.x_train)) as progress:
        rows = comparison.digits(dataset, seeds, epochs, progress)
    means = {name: float(np.mean([row[name] for row in rows])) for name in ("accuracy", "frozen")}
    if as_json:
        click.echo(json.dumps({"epochs": epochs, "runs": rows, "mean": means}, indent=2))
        return
    table = Table("seed", "test accuracy", "first layer frozen")
    for row in (*rows, {"seed": "mean", **means}):
        table.add_row(str(row["seed"]), f"{row['accuracy']:.2%}", f"{row['frozen']:.2%}")
    Console(highlight=False).print(table)


@bench_group.command("equivalence")
@click.option("--steps", default=30, show_default=True, type=click.IntRange(2), help="To compare.")
@click.option(
    "--beta",
    default=0.25,
    show_default=True,
    type=click.FloatRange(0, min_open=True),
    help="Strength of the nudge.",
)
@click.option("--plot", type=click.Path(path_type=Path), help="Draw both traces to this file.")
@json_option
@guarded
def bench_equivalence(steps: int, beta: float, plot: Path | None, as_json: bool) -> None:
    """EP's velocities beside recurrent backpropagation's error derivatives, step by step."""
    _check_plot(plot)
    result = equivalence.equivalence(steps, beta)
    if plot:
        equivalence.draw(result, plot)
    errors = {name: result[name] for name in ("error_machine", "error_double")}
    gradient_cosine = equivalence.gradients()
    if as_json:
        click.echo(json.dumps({**errors, "gradient_cosine": gradient_cosine}))
        return
    table = Table("step", "to the side network on the machine", "in double precision")
    for k, pair in enumerate(zip(*errors.values(), strict=True)):
        table.add_row(str(k), *(f"{value:.2e}" for value in pair))
    Console(highlight=False).print(table)
    click.echo(
        f"largest: {max(max(values) for values in errors.values()):.1e} "
        "(of velocities near the end, which are small, rounding is a larger part)"
    )
    click.echo(f"updates of ep-centered and rbp, preset default: cosine {gradient_cosine:.3f}")


@bench_group.command("rules")
@click.option("--rule", "names", multiple=True, help="Only this one; may be repeated.")
@click.option("--seeds", default=5, show_default=True, type=click.IntRange(1), help="Seeds from 0.")
@click.option("--epochs", default=_TRAIN.epochs, show_default=True, help="Passes over the data.")
@pool_options(1, "Processes side by side; -1: one a processor.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw the table to this file.")
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep what has ended in this folder: an interrupted run goes on from there.",
)
@json_option
@guarded
def bench_rules(
    names: tuple[str, ...],
    seeds: int,
    epochs: int,
    jobs: int,
    pool: str,
    plot: Path | None,
    keep: Path | None,
    as_json: bool,
) -> None:
    """Every rule on digits, 64-32-10: accuracy, cost, memory, update against the gradient."""
    _check_plot(plot)
    if keep:
        _check_folder(keep)
    chosen = list(dict.fromkeys(names)) or list(RULES)
    for name in chosen:
        rule_class(name)
    with (
        open_pool(jobs, pool) as run,
        bar("rules and seeds", len(chosen) * (seeds + 1)) as progress,
    ):
        try:
            rows = comparison.rules(chosen, range(seeds), epochs, run, keep, progress)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"interrupted; the same command goes on with what {keep} has"
                if keep
                else "interrupted; with --keep FOLDER a run can go on"
            ) from None
    if plot:
        comparison.draw(rows, plot)
    if as_json:
        click.echo(json.dumps({"seeds": seeds, "epochs": epochs, "rules": rows}, indent=2))
        return
    table = Table(
        "rule", "test accuracy", "lowest - highest", "sweeps", "cycles", "words n/s",
        "cosine", "deviation", "of means",
    )  # fmt: skip
    for row in rows:
        table.add_row(
            row["rule"],
            f"{row['accuracy']:.2%}",
            f"{row['lowest']:.1%} - {row['highest']:.1%}",
            f"{row['sweeps']:.1f}",
            f"{row['cycles']:.0f}",
            f"{row['words_a_neuron']}/{row['words_a_synapse']}",
            *(f"{row[c]:.3f}" for c in ("cosine", "cosine_deviation", "cosine_of_means")),
        )
    Console(highlight=False, width=120).print(table)


for command in COMMANDS:
    cli.add_command(command)


def main() -> None:
    """Entry point."""
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
