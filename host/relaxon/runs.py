"""Before a run: what is asked for as a checkpoint keeps it, and which machine it runs on."""

from pathlib import Path

from relaxon_isa import PRESETS, ArrayConfig, ConfigError, DataError, preset
from relaxon_isa.identity import fingerprint

from .backends import BACKENDS
from .checkpoint import Checkpoint
from .datasets import NAMED, Dataset
from .network import Network
from .rules import check, first_preset, rule_digest
from .training import TrainSettings, check_data

__all__ = ["choose_preset", "load_run", "refuse_other_preset", "spec_of"]


def spec_of(source: str, data: Dataset, network: Network, settings: TrainSettings) -> dict:
    """What a run was asked for, as JSON values: `Checkpoint.spec`. ``source``: of `load`."""
    path = Path(source)
    return {
        # Where it lies, from wherever the run goes on; what is no file has a name.
        "data": str(path.absolute()) if source not in NAMED and path.exists() else source,
        "data_digest": data.digest,
        "rule_digest": rule_digest(settings.rule.name),
        "sizes": list(network.sizes),
        "settings": settings.to_json(),
    }


def load_run(path: Path) -> tuple[Checkpoint, TrainSettings]:
    """A checkpoint and the settings in its `spec_of`. Raises DataError if it is damaged, or its
    rule's file changed."""
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


def choose_preset(
    backend: str,
    name: str | None,
    network: Network,
    data: Dataset,
    settings: TrainSettings,
    saved: Checkpoint | None = None,
) -> str:
    """What golden and virtual are built as where ``name`` is None: a checkpoint's preset; for
    golden the first that holds the network; else the default.

    Raises what opening the device and starting to train would raise, before anything happens.
    """
    check_data(network, data, settings.rule.objective)
    if name is None and saved:
        same = (n for n, config in PRESETS.items() if fingerprint(config) == saved.fingerprint)
        name = next(same, None)
    if name is None and backend == "golden":
        name = first_preset(network, settings.rule)
    if backend in BACKENDS:
        check(network, preset(name or "default"), settings.rule)
    return name or "default"


def refuse_other_preset(backend: str, name: str | None, found: ArrayConfig) -> None:
    """A board is what it is: raise ConfigError for a preset that it is not."""
    if name is None or backend in BACKENDS or fingerprint(preset(name)) == fingerprint(found):
        return
    raise ConfigError(
        f"{backend} is not a machine of preset {name} (fingerprint {fingerprint(preset(name))}), "
        f"its fingerprint is {fingerprint(found)}: leave --preset out to use it as it is"
    )
