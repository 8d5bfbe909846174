"""Callbacks: what is told of a training while it runs, and adapters that write it elsewhere.

A callback is a class with any of the four methods of `Callback`. `train --log NAME:TARGET` makes
one by name, as ``csv:log.csv``; packages add names by entry points of the group
``relaxon.callbacks``, and ``file.py:Class`` is one of one's own.
"""

import csv
import time
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import IO, Any, ClassVar

from relaxon_isa import ConfigError, DataError, Register, RelaxonError, ToolError, install, meant

from . import checks
from .rules.plugins import blamed, load_object, own_file

__all__ = ["CALLBACKS", "Callback", "Figures", "Told", "make_callback"]

Trainer = Any
"""A `relaxon.training.Trainer`, whose module imports this one."""
Figures = dict[str, float]
"""What a training came to so far, by name: ``epoch``, ``samples`` (since `Trainer.start`),
``seconds`` (since `Callback.on_start`), ``online_accuracy`` (of this epoch so far),
``sweeps_per_sample`` and ``cycles_per_sample`` (since the last figures), ``state_saturations``
and ``weight_saturations`` (in all); at the end of an epoch ``test_accuracy``, ``test_mse`` too."""


class Callback:
    """Told of a training. What it does not override, it does not care for.

    An exception ends the training at the end of the epoch, whose result is kept.
    """

    def on_start(self, trainer: Trainer) -> None:
        """Weights are loaded, training begins or goes on."""

    def on_samples(self, trainer: Trainer, figures: Figures) -> None:
        """Another `Trainer.every` samples are learned, or the epoch's last."""

    def on_epoch(self, trainer: Trainer, figures: Figures) -> None:
        """An epoch has ended, its test included."""

    def on_end(self, trainer: Trainer) -> None:
        """The last: training is over, or was interrupted."""


class Told:
    """The callbacks of a training, and the first that failed."""

    def __init__(self, callbacks: Sequence[Callback]) -> None:
        self.callbacks = [made(one) for one in checks.listed("callbacks", callbacks)]
        self.failed: RelaxonError | None = None
        self._begun, self._before = time.monotonic(), dict.fromkeys(Register, 0)

    def start(self, trainer: Trainer) -> None:
        if self.callbacks:
            self._begun, self._before = time.monotonic(), trainer.counters()
        self._call("on_start", trainer)

    def samples(self, trainer: Trainer, epoch: int, **more: float) -> None:
        self._tell("on_samples", trainer, epoch, more)

    def epoch(self, trainer: Trainer, entry: dict) -> None:
        more = {f"test_{name}": value for name, value in (entry.get("test") or {}).items()}
        if "online_accuracy" in entry:
            more["online_accuracy"] = entry["online_accuracy"]
        self._tell("on_epoch", trainer, entry["epoch"], more)

    def end(self, trainer: Trainer) -> None:
        self._call("on_end", trainer)

    def check(self) -> None:
        """Raise what a callback raised, as an error that names it."""
        if self.failed:
            raise self.failed

    def _tell(self, event: str, trainer: Trainer, epoch: int, more: dict) -> None:
        if not self.callbacks:
            return
        from .training import summary_of

        now = trainer.counters()
        since = {r: now[r] - self._before[r] for r in now}
        rate = summary_of(since if since[Register.SAMPLES] else now, trainer.device.config)
        figures = {
            "epoch": epoch,
            "samples": now[Register.SAMPLES],
            "seconds": time.monotonic() - self._begun,
            **{name: rate[name] for name in ("sweeps_per_sample", "cycles_per_sample")},
            "state_saturations": now[Register.STATE_SATURATIONS],
            "weight_saturations": now[Register.WEIGHT_SATURATIONS],
            **more,
        }
        self._before = now
        self._call(event, trainer, figures)

    def _call(self, event: str, *told: Any) -> None:
        """Tell all of them; one that raises is told no more."""
        for callback in tuple(self.callbacks):
            name = type(callback).__name__
            try:
                with blamed(f"callback {name}, {event}"):
                    getattr(callback, event)(*told)
            except RelaxonError as error:
                self.callbacks.remove(callback)
                said = str(error) if name in str(error) else f"callback {name}, {event}: {error}"
                self.failed = self.failed or type(error)(said)


class Csv(Callback):
    """A row an epoch, or one every so many samples too: ``csv:FILE``."""

    TITLES: ClassVar[tuple[str, ...]] = (
        "event",
        "epoch",
        "samples",
        "seconds",
        "online_accuracy",
        "test_accuracy",
        "test_mse",
        "sweeps_per_sample",
        "cycles_per_sample",
        "state_saturations",
        "weight_saturations",
    )

    def __init__(self, target: str) -> None:
        self.path = Path(_wanted("csv", target, "FILE"))
        self._file: IO[str] | None = None

    def on_start(self, trainer: Trainer) -> None:
        """Begin the file; where a run goes on, go on behind what is there."""
        found, more, titles = self.path.exists(), False, ",".join(self.TITLES)
        try:
            if found and not (self.path.is_file() and self._begins(titles)):
                raise DataError(f"{self.path}: exists, and is no such log: name another file")
            more = found and trainer.epoch > 0
            self._file = self.path.open("a" if more else "w", newline="")
        except OSError as error:
            raise DataError(f"{self.path}: cannot be written ({error.strerror})") from error
        self._rows = csv.DictWriter(self._file, self.TITLES, restval="")
        if not more:
            self._rows.writeheader()

    def _begins(self, text: str) -> bool:
        with self.path.open("rb") as file:
            return file.read(len(text)) == text.encode()

    def on_samples(self, trainer: Trainer, figures: Figures) -> None:
        self._write("samples", figures)

    def on_epoch(self, trainer: Trainer, figures: Figures) -> None:
        self._write("epoch", figures)

    def _write(self, event: str, figures: Figures) -> None:
        assert self._file
        self._rows.writerow({"event": event, **figures})
        self._file.flush()  # to be looked at while it trains

    def on_end(self, trainer: Trainer) -> None:
        if self._file:
            self._file.close()


class _Tracker(Callback):
    """What the adapters of tracking services share: figures as scalars over samples."""

    def on_samples(self, trainer: Trainer, figures: Figures) -> None:
        self.log(figures)

    def on_epoch(self, trainer: Trainer, figures: Figures) -> None:
        self.log(figures)

    def log(self, figures: Figures) -> None:
        """Keep figures; their ``samples`` are the step."""
        raise NotImplementedError


class TensorBoard(_Tracker):
    """Event files that TensorBoard reads: ``tensorboard:FOLDER``."""

    def __init__(self, target: str) -> None:
        self.folder = _wanted("tensorboard", target, "FOLDER")
        self._library = _library("tensorboardX", "tensorboard")

    def on_start(self, trainer: Trainer) -> None:
        self._writer = self._library.SummaryWriter(self.folder)
        text = "\n".join(f"    {name}: {value}" for name, value in _asked(trainer).items())
        self._writer.add_text("run", text)

    def log(self, figures: Figures) -> None:
        for name, value in figures.items():
            if name != "samples":
                self._writer.add_scalar(name, value, int(figures["samples"]))
        self._writer.flush()

    def on_end(self, trainer: Trainer) -> None:
        self._writer.close()


class MLflow(_Tracker):
    """A run of MLflow: ``mlflow``, or ``mlflow:URI`` of a tracking server or folder."""

    def __init__(self, target: str) -> None:
        self.target = target
        self._library = _library("mlflow", "mlflow")

    def on_start(self, trainer: Trainer) -> None:
        client = self._library.MlflowClient(tracking_uri=self.target or None)
        found = client.get_experiment_by_name("relaxon")
        experiment = found.experiment_id if found else client.create_experiment("relaxon")
        name = f"{trainer.network} on {trainer.data.name}"
        self._run = client.create_run(experiment, run_name=name).info.run_id
        for key, value in _asked(trainer).items():
            client.log_param(self._run, key, value)
        self._client = client

    def log(self, figures: Figures) -> None:
        for name, value in figures.items():
            if name != "samples":
                self._client.log_metric(self._run, name, value, step=int(figures["samples"]))

    def on_end(self, trainer: Trainer) -> None:
        whole = trainer.epoch == trainer.settings.epochs
        self._client.set_terminated(self._run, "FINISHED" if whole else "KILLED")


class WandB(_Tracker):
    """A run of Weights & Biases: ``wandb``, or ``wandb:PROJECT``. Its variables hold, as
    WANDB_MODE=offline."""

    def __init__(self, target: str) -> None:
        self.project = target or "relaxon"
        self._library = _library("wandb", "wandb")

    def on_start(self, trainer: Trainer) -> None:
        name = f"{trainer.network} on {trainer.data.name}"
        self._run = self._library.init(project=self.project, name=name, config=_asked(trainer))

    def log(self, figures: Figures) -> None:
        self._run.log(dict(figures), step=int(figures["samples"]))

    def on_end(self, trainer: Trainer) -> None:
        self._run.finish()


CALLBACKS: dict[str, type[Callback]] = {
    "csv": Csv,
    "tensorboard": TensorBoard,
    "mlflow": MLflow,
    "wandb": WandB,
}
"""By the name that `train --log` takes."""


def make_callback(text: str) -> Callback:
    """``NAME`` or ``NAME:TARGET``, or one's own as ``file.py:Class``. Raises ConfigError if there
    is none, ToolError if its library is not installed."""
    kind: Any
    if own := own_file(text):
        kind, target = load_object(*own), None
    else:
        name, _, target = text.partition(":")
        points = {point.name: point for point in entry_points(group="relaxon.callbacks")}
        known = [*CALLBACKS, *points]
        if name in CALLBACKS:
            kind = CALLBACKS[name]
        elif name in points:
            with blamed(f"callback {name} cannot be read"):
                kind = points[name].load()
        else:
            raise ConfigError(
                f"no callback {name!r}{meant(name, known)}; there are: {', '.join(known)}; your "
                "own as file.py:Class"
            )
    with blamed(f"callback {text} cannot be made"):
        made = kind() if target is None else kind(target)
    if not isinstance(made, Callback):
        raise ConfigError(f"callback {text}: is no relaxon.callbacks.Callback")
    return made


def made(callback: Callback | str) -> Callback:
    """A callback, or what `make_callback` makes of a text."""
    found = make_callback(callback) if isinstance(callback, str) else callback
    return checks.kind("callback", found, Callback, "or a text as csv:log.csv")


def _asked(trainer: Trainer) -> dict[str, str | int | float | bool]:
    """What a run was asked for, flat; what was left to the rule is left out."""
    settings = trainer.settings.to_json()
    rule = settings.pop("rule")
    asked = {"network": str(trainer.network), "data": trainer.data.name, **settings}
    asked |= {f"rule.{name}": value for name, value in rule.items()}
    plain = (bool, int, float, str)
    return {k: v if isinstance(v, plain) else str(v) for k, v in asked.items() if v is not None}


def _wanted(name: str, target: str, what: str) -> str:
    if not target:
        raise ConfigError(f"callback {name}: where to? write {name}:{what}")
    return target


def _library(module: str, extra: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise ToolError(f"callback {extra} needs {error.name}: {install(extra)}") from error
