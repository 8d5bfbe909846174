"""Before a run: what is asked for as a checkpoint keeps it, and which machine it runs on."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np

from relaxon_isa import ArrayConfig, ConfigError, DataError, preset
from relaxon_isa.identity import fingerprint

from . import checks
from .backends import BACKENDS
from .checkpoint import WEIGHTS, Checkpoint, kind_of, load_float_weights
from .datasets import NAMED, Dataset, load
from .machines import find_machine, is_file, preset_of
from .network import Image, Network
from .rules import check, first_preset, make_rule, rule_digest
from .rules.settings import RuleSettings
from .sources import takes
from .training import TrainSettings, check_data

__all__ = [
    "FEW_BITS",
    "OPTIONAL",
    "SPEC",
    "Run",
    "check_spec",
    "choose_preset",
    "initial_of",
    "input_bits_of",
    "load_data",
    "load_run",
    "network_of",
    "refuse_other_preset",
    "spec_of",
]


OPTIONAL = {"data_options", "init", "every"}
SPEC = {"data", "data_digest", "rule_digest", "network", "settings"} | OPTIONAL
"""What a file of a run says that was asked: `spec_of`, and what only some runs are asked for."""
BESIDE = {"fingerprint", "weight_frac", "state_frac"}
"""What exported weights say besides: `Trainer.about`."""


@dataclass(frozen=True)
class Run:
    """What a file of a run holds: a checkpoint, or weights that it exported.

    Members
    -------
    network, settings, spec
        What was trained, and how: `spec_of`.
    saved
        The checkpoint, or None.
    weights
        Real matrices, bias last, of weights that were exported; None: ``saved`` has them.
    """

    network: Network
    settings: TrainSettings
    spec: dict
    saved: Checkpoint | None = None
    weights: list[np.ndarray] | None = None


def spec_of(source: str, data: Dataset, network: Network, settings: TrainSettings) -> dict:
    """What a run was asked for, as JSON values: `Checkpoint.spec`. ``source``: of `load`."""
    path = Path(source)
    # FOLDER/mnist may name a data set of that folder.
    lies = path.exists() or (len(path.parts) > 1 and path.parent.exists())
    options = {"names": data.names, "classes": data.classes, "scale": data.scale}
    options |= {"scale_targets": data.target_scale} | data.options
    return {
        # Where it lies, from wherever the run goes on; what is no file has a name.
        "data": str(path.absolute()) if source not in NAMED and lies else source,
        "data_options": {name: value for name, value in options.items() if value is not None},
        "data_digest": data.digest,
        "rule_digest": rule_digest(settings.rule.name),
        "network": str(network),
        "settings": settings.to_json(),
    }


def check_spec(name: str, spec: Any, beside: Iterable[str] = ()) -> None:
    """Raise DataError for what `spec_of` cannot have written; ``beside``: what else may be there.
    The settings themselves `TrainSettings.from_json` checks."""
    if not isinstance(spec, dict):
        raise DataError(f"{name}: damaged, it does not say what was asked for")
    if unknown := sorted({*spec} - SPEC - {*beside}):
        raise DataError(
            f"{name}: the run was asked for {', '.join(unknown)}: not known here, so it is "
            "damaged, or was written by another version of relaxon"
        )
    if missing := sorted(SPEC - OPTIONAL - {"rule_digest"} - {*spec}):
        raise DataError(f"{name}: damaged, it does not say {', '.join(missing)}")
    options = spec.get("data_options", {})
    wanted = {"data": str, "data_digest": str, "network": str, "settings": dict}
    odd = [key for key, kind in wanted.items() if not isinstance(spec[key], kind)]
    if not isinstance(options, dict) or not {*options} <= {*signature(load).parameters}:
        odd.append("data_options")
    if not isinstance(spec["settings"], dict) or not isinstance(spec["settings"].get("rule"), dict):
        odd.append("settings")
    if odd:
        raise DataError(f"{name}: {', '.join(odd)}: damaged")


def load_data(spec: dict, source: str | None = None, **how: Any) -> Dataset:
    """The data set of a run; or another, by the run's columns, classes and scale. ``how``: options
    of `load` that are others than the run's."""
    options = dict(spec.get("data_options", {}))
    if source is not None:
        for name in {"target", "columns", "keys"} - {*takes(source)}:
            options.pop(name, None)
    return load(spec["data"] if source is None else source, **options | how)


def network_of(data: Dataset, layers: str | None, hidden: str) -> Network:
    """The network of ``layers``, all of them; or of ``hidden`` ones, between as many inputs and
    outputs as the data have (an image, where the first is a convolution)."""
    if layers:
        return Network.parse(layers)
    parts = [part for part in hidden.replace("-", ",").split(",") if part.strip()]
    image = data.image if parts and not parts[0].strip().isdecimal() else None
    return Network.parse((Image(*image) if image else data.features, *parts, data.outputs))


MNIST_LIKE = (28, 28, 1)
FEW_BITS = 4
"""Of grey images of that size: docs/data.md has the table of both."""


def input_bits_of(data: Dataset, network: Network) -> int:
    """Bits that an input travels with where nobody says how many."""
    grey = data.image == MNIST_LIKE and data.held("x_train").dtype == np.uint8
    return FEW_BITS if grey and not network.convolves else RuleSettings().input_bits


def load_run(path: Path) -> Run:
    """A checkpoint, or exported weights that say what they are. Raises DataError if the file is
    damaged or holds something else, or its rule's file changed."""
    saved = weights = None
    if kind_of(path) == WEIGHTS:
        weights, spec = load_float_weights(path)
    else:
        saved = Checkpoint.load(path)
        spec = saved.spec
    check_spec(str(path), spec, BESIDE if saved is None else ())
    with checks.naming(str(path)):
        settings = TrainSettings.from_json(spec["settings"])
    rule = settings.rule.name
    if spec.get("rule_digest") not in (None, rule_digest(rule)):
        raise DataError(
            f"{path}: the file of its rule, {rule}, is gone or was changed since: put it back as "
            "it was, or train anew with what it is now"
        )
    return Run(Network.parse(spec["network"]), settings, spec, saved, weights)


def shapes_of(network: Network, settings: RuleSettings) -> list[tuple[int, int]]:
    """Shapes of all weights of a network (`Layout.shapes`), the same on every machine."""
    config = preset(first_preset(network, settings))
    return make_rule(network, config, settings).layout.shapes


def initial_of(path: Path, network: Network, settings: TrainSettings) -> list[np.ndarray]:
    """Weights that a file holds for a network to start from. Raises DataError if they are of
    another one."""
    weights, about = load_float_weights(path, network)
    wanted = settings.rule.architecture
    kept = about.get("settings", {}).get("rule", {}).get("architecture", wanted)
    if kept != wanted:
        raise DataError(
            f"{path}: weights of architecture {kept}, asked for is {wanted}: --architecture must "
            f"be {kept}, or the file another"
        )
    try:
        shapes = shapes_of(network, settings.rule)
        return checks.weights(weights, shapes if len(weights) > network.depth else network.shapes)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def choose_preset(
    backend: str,
    name: str | None,
    network: Network,
    data: Dataset,
    settings: TrainSettings,
    saved: Checkpoint | None = None,
) -> str:
    """What golden and virtual are built as: ``name`` (`find_machine`); where that is None, a
    checkpoint's preset; for golden the first that holds the network; else the default.

    Raises what opening the device and starting to train would raise, before anything happens.
    """
    check_data(network, data, settings.rule)
    if name is None and saved:
        name = preset_of(saved.fingerprint)
        if name is None and backend in BACKENDS:
            raise ConfigError(
                f"the run was made on a machine that is no preset (fingerprint "
                f"{saved.fingerprint}): --config says which file describes it"
            )
    if name is None and backend == "golden":
        name = first_preset(network, settings.rule)
    if backend in BACKENDS:
        check(network, find_machine(name or "default"), settings.rule)
    return name or "default"


def refuse_other_preset(backend: str, name: str | None, found: ArrayConfig) -> None:
    """A board is what it is: raise ConfigError for a machine (`find_machine`) that it is not."""
    if name is None or backend in BACKENDS:
        return
    wanted = find_machine(name)
    if fingerprint(wanted) == fingerprint(found):
        return
    other = [
        f"{field} {value}, not {getattr(wanted, field)}"
        for field, value in asdict(found).items()
        if value != getattr(wanted, field)
    ]
    option = "--config" if is_file(name) else "--preset"
    raise ConfigError(
        f"{backend} is not the machine {name} (fingerprint {fingerprint(wanted)}), its fingerprint "
        f"is {fingerprint(found)}: it has {', '.join(other)}; leave {option} out to use it as it is"
    )
