"""`relaxon train | infer`."""

import sys
from pathlib import Path

import click
import numpy as np
from click.core import ParameterSource

from relaxon_device.base import Device
from relaxon_isa.errors import DataError, ToolError
from relaxon_isa.presets import preset

from ..backends import open_device
from ..checkpoint import Checkpoint, load_float_weights, save_float_weights
from ..datasets import Dataset, load
from ..network import Network
from ..rules import own_file, settings_for
from ..rules.objectives import OBJECTIVES
from ..rules.settings import OUTPUTS, RATES, RuleSettings
from ..runs import choose_preset, load_run, refuse_other_preset, spec_of
from ..training import Trainer, TrainSettings
from ..verify import GoldenRun
from .console import DIFFERENT, Grouped, bar, complain, console, json_option, print_json
from .options import (
    backend_option,
    check_output,
    data_option,
    engine_option,
    engine_used,
    epochs_option,
    file_option,
    input_bits_option,
    layers_option,
    numbers,
    preset_option,
)

__all__ = ["infer", "train"]

_EP = RuleSettings()
_TRAIN = TrainSettings()


@click.command(cls=Grouped)
@data_option
@layers_option("64,32,10")
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
@input_bits_option
@click.option(
    "--rule",
    default=_EP.name,
    show_default=True,
    help="Learning rule (see 'relaxon rules'), or one of your own, as file.py:Class.",
)
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
@click.option("--free-cap", type=int, help=f"Most free sweeps (default {_EP.free_cap}).")
@click.option("--nudged-cap", type=int, help=f"Most nudged sweeps (default {_EP.nudged_cap}).")
@click.option(
    "--tolerance",
    type=float,
    help="A phase has settled when no state moves by more than this.",
)
@click.option("--grid", type=int, help=f"Fraction bits of the states (default {_EP.grid}).")
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
    default=_TRAIN.rate_halvings,
    show_default=True,
    help="How often the rates are halved, evenly over the epochs.",
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
@file_option("--init", "Start from real weights (.npz).")
@file_option("--export", "Write real weights (.npz) at the end.")
@file_option("--checkpoint", "Keep the run in this file, every epoch.")
@file_option("--resume", "Go on from a checkpoint; its settings hold.")
@backend_option
@engine_option
@preset_option
@click.option(
    "--verify/--no-verify",
    default=None,
    help="Train the golden model beside, in another process, and compare every bit of the weights "
    "(default: on, except with --backend golden).",
)
@click.option("--evaluate/--no-evaluate", default=True, help="Test after every epoch.")
@json_option
def train(
    data: str,
    layers: str,
    backend: str,
    preset_name: str | None,
    rule: str,
    rule_options: tuple[str, ...],
    targets: tuple[float, ...] | None,
    init: Path | None,
    export: Path | None,
    checkpoint: Path | None,
    resume: Path | None,
    verify: bool | None,
    evaluate: bool,
    as_json: bool,
    **options,
) -> None:
    """Train a network on a device, and say what it took.

    Without options: 64-32-10 on scikit-learn's digits, on the gateware itself.
    """
    saved = None
    if resume:
        _refuse_besides_resume()
        saved, settings = load_run(resume)
        data, network = saved.spec["data"], saved.network
    else:
        network = Network.parse(layers)
        if targets is not None and len(targets) != 2:
            raise click.BadParameter("two values wanted, as 0,0.75", param_hint="--targets")
        options |= {"targets": targets, "options": _rule_options(rule_options)}
        settings = _settings(rule, network, options)
    dataset = load(data)
    spec = spec_of(data, dataset, network, settings)
    if saved and saved.spec["data_digest"] != spec["data_digest"]:
        raise DataError(f"{data} is not the data set that {resume} was trained on")
    initial = load_float_weights(init, network) if init else None
    if checkpoint and export and checkpoint.absolute() == export.absolute():
        raise click.UsageError("--checkpoint and --export need a file each")
    for path in (checkpoint, export):
        check_output(path)
    with _open(backend, preset_name, network, dataset, settings, saved) as device:
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
    "engine",
    "preset_name",
    "checkpoint",
    "export",
    "verify",
    "evaluate",
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


def _open(
    backend: str,
    preset_name: str | None,
    network: Network,
    data: Dataset,
    settings: TrainSettings,
    saved: Checkpoint | None,
) -> Device:
    """The device of a run, after all checks that need none (`choose_preset`)."""
    chosen = choose_preset(backend, preset_name, network, data, settings, saved)
    if backend == "virtual":
        console.print("building the virtual board (once; later runs find it in the cache)")
    device = open_device(backend, preset(chosen))
    if backend == "golden":
        console.print(f"golden model of preset {chosen}, {engine_used(device)}")
    refuse_other_preset(backend, preset_name, device.config)
    return device


def _settings(rule: str, network: Network, options: dict) -> TrainSettings:
    """Options that were not given are None: the rule's defaults hold."""
    run = {
        name: options.pop(name)
        for name in ("epochs", "seed", "rate_halvings", "init_gain", "shuffle")
    }
    given = {name: value for name, value in options.items() if value is not None}
    if own := own_file(rule):
        rule = f"{own[0].absolute()}:{own[1]}"  # where it lies, as `spec_of` says of the data
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
    if print_json(result, as_json):
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


@click.command(cls=Grouped)
@file_option(
    "--weights", "A checkpoint, or real weights (.npz from --export) with --layers.", required=True
)
@click.option(
    "--data", help="As for 'train'. Default: the checkpoint's own; for real weights digits."
)
@click.option(
    "--layers", help="Layer sizes, for real weights, which are relaxed with the default settings."
)
@backend_option
@engine_option
@preset_option
@click.option("--outputs", is_flag=True, help="Print the outputs' values, not the classes.")
@click.option("--limit", type=click.IntRange(1), help="Only the first so many test samples.")
@json_option
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
        saved, settings = load_run(weights)
        network, own = saved.network, saved.spec["data"]
    else:
        own = "digits"
        saved, network = None, Network.parse(layers)
        settings = TrainSettings(rule=settings_for(_EP.name, network.depth))
    dataset = load(own if data is None else data)
    real = load_float_weights(weights, network) if saved is None else None
    with _open(backend, preset_name, network, dataset, settings, saved) as device:
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
    if print_json(result, as_json):
        return
    for answer in answers:
        click.echo(" ".join(f"{v:.4f}" for v in answer) if answers.ndim == 2 else str(answer))
    if "accuracy" in result:
        click.echo(f"accuracy: {result['accuracy']:.2%}", err=True)
