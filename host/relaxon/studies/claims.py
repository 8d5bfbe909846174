"""What the sources claim or our acceptance asks, a row each, measured: `relaxon bench claims`.

Figures come from the golden model, seed 0. Settings are the rules' defaults; docs/decisions.md says
on what they were chosen. No row chooses one by the test set that it reports.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from relaxon_isa import ConfigError

from ..backends import open_device
from ..datasets import Dataset, load
from ..lab import Lab
from ..network import Network, initial_weights
from ..rules import first_preset, settings_for
from ..training import Progress, Trainer, TrainSettings, silent
from . import equivalence
from .gradient import gradient
from .kept import kept, key_of
from .temporal import teeth

__all__ = ["CLAIMS", "Claim", "Row", "document", "measure"]

Figure = tuple[float, bool]
"""What was found, and whether that is what the claim wants."""


@dataclass(frozen=True)
class Claim:
    """One acceptance line.

    Parameters
    ----------
    key
        Its name for --only.
    system, claim, wanted
        Whose it is, what it says, and the figure.
    found
        From MNIST, if ``mnist``, to the figure found and whether it is met.
    unit
        "%", or nothing.
    reason
        Why it is not met, where that is known.
    quick
        Whether it takes seconds.
    """

    key: str
    system: str
    claim: str
    wanted: str
    found: Callable[..., Figure]
    unit: str = ""
    reason: str = ""
    quick: bool = True
    mnist: bool = False


@dataclass(frozen=True)
class Row:
    """A claim and what came of it; ``figure`` and ``met`` are None where it was not measured."""

    key: str
    system: str
    claim: str
    command: str
    wanted: str
    figure: float | None
    unit: str
    met: bool | None
    reason: str


def _least(figure: float, least: float) -> Figure:
    return figure, figure >= least


def _most(figure: float, most: float) -> Figure:
    return figure, figure <= most


def _trained(
    data: Dataset, network: str, epochs: int, rule: str = "ep-centered", **changes: Any
) -> float:
    """Test accuracy of a training on the golden model, seed 0, a rule's defaults."""
    sizes = Network.parse(network)
    run = TrainSettings(epochs=epochs, rule=settings_for(rule, sizes, **changes))
    with open_device("golden", first_preset(sizes, run.rule)) as device:
        trainer = Trainer(device, sizes, data, run)
        trainer.start()
        while trainer.epoch < epochs:
            trainer.run_epoch()
        return trainer.evaluate()["accuracy"]


def _digits(rule: str, epochs: int = 10, **changes: object) -> float:
    return _trained(load("digits"), "64-32-10", epochs, rule, **changes)


def _gradient() -> Figure:
    rows = gradient(20)["layers"]
    return _least(min(row["min"] for row in rows), 0.99)


def _no_nudge() -> Figure:
    """Largest change of a weight by a sample without a nudge."""
    settings = settings_for("ep-centered", 2, beta=0.0)
    with Lab.open("golden", "64-32-10", settings) as lab:
        before = initial_weights(lab.layout, 0)
        lab.load_weights(before)
        before = lab.weights(raw=True)
        data = load("digits")
        lab.train_step(data.x_train[0], np.int64(data.y_train[0]))
        after = lab.weights(raw=True)
    return _most(float(max(abs(a - b).max() for a, b in zip(after, before, strict=True))), 0)


def _window() -> Figure:
    """Widest over narrowest amplitude that a tooth of 18 : 2 teaches."""
    amplitudes = np.geomspace(0.01, 1.2, 49)
    share = teeth(amplitudes) / amplitudes
    figure = float(amplitudes[share > 0.5].max() / amplitudes[share > 0].min())
    return figure, abs(figure / 9 - 1) <= 0.2


def _background() -> Figure:
    amplitudes = np.array([0.1, 0.2, 0.4])
    plain = teeth(amplitudes)
    return _most(float(np.abs(teeth(amplitudes, background=0.5) / plain - 1).max()), 0.03)


def _triangle() -> Figure:
    """What equal ramps teach a synapse, over what the sawtooth does."""
    amplitudes = np.array([0.1, 0.2, 0.4])
    triangle = np.abs(teeth(amplitudes, warm=1, up=10, down=10)).max()
    return _most(float(triangle / teeth(amplitudes, warm=1).min()), 0.01)


def _triangle_digits() -> Figure:
    data = load("digits")
    few = replace(data, x_train=data.x_train[:700], y_train=data.y_train[:700])
    options = {"up": 1, "down": 1, "warm": 4}
    return _most(_trained(few, "64-32-10", 1, "tcl", options=options), 0.3)


def _iris() -> Figure:
    accuracy = _trained(load("iris"), "8-4-3", 20, "resistive", options={"ordered": 1})
    return _least(accuracy, 0.93)


def _centered_over_one_sided() -> Figure:
    return _least(_digits("ep-centered") - _digits("ep-positive"), 0)


def _methods() -> Figure:
    names = ("ep-centered", "coupled-centered", "frequency", "tcl", "pcn", "backprop")
    return _least(sum(_digits(name, 1) > 0.8 for name in names), 5)


def _velocities() -> Figure:
    errors = equivalence.equivalence(20)
    return _most(max(*errors["error_machine"], *errors["error_double"]), 0.05)


def _error(network: str, epochs: int, most: float, data: Dataset) -> Figure:
    return _most(1 - _trained(data, network, epochs), most)


def _accuracy(network: str, epochs: int, least: float, data: Dataset) -> Figure:
    return _least(_trained(data, network, epochs), least)


def _frequency(data: Dataset) -> Figure:
    """Points of accuracy that frequency propagation lacks to centered EP, after an epoch."""
    centered, frequency = (
        _trained(data, "784-128-10", 1, rule) for rule in ("ep-centered", "frequency")
    )
    return _most(centered - frequency, 0.01)


def _temporal(data: Dataset) -> Figure:
    """On 10,000 samples of the training set, tested on 2,000 others of it."""
    part = replace(
        data,
        x_train=data.x_train[:10_000], y_train=data.y_train[:10_000],
        x_test=data.x_train[10_000:12_000], y_test=data.y_train[10_000:12_000],
    )  # fmt: skip
    return _least(_trained(part, "784-128-10", 1, "tcl"), 0.9)


EP, RBP = "Scellier & Bengio 2017", "Scellier & Bengio 2019"
CONV, FREQUENCY = "Laborieux et al. 2021", "Anisetti et al. 2024"
TEMPORAL, REVIEW = "Falk et al. 2025", "Momeni et al. 2025"
CLAIMS = {
    claim.key: claim
    for claim in (
        Claim("gradient", EP, "the update is the gradient of the cost: smallest cosine with finite "
              "differences, 20 networks", ">= 0.99", _gradient),
        Claim("no-nudge", EP, "without a nudge nothing is learned: largest change of a weight",
              "0", _no_nudge),
        Claim("mnist-128", EP, "MNIST, 784-128-10, 3 epochs: test accuracy", ">= 96 %",
              partial(_accuracy, "784-128-10", 3, 0.96), "%", quick=False, mnist=True),
        Claim("mnist-500", EP, "MNIST, 784-500-10, the paper's network, 10 epochs: test error",
              "<= 3 %", partial(_error, "784-500-10", 10, 0.03), "%", quick=False, mnist=True),
        Claim("velocities", RBP, "EP's velocities are the side network's derivatives: largest "
              "relative error over 20 steps", "<= 0.05", _velocities),
        Claim("updates", RBP, "the updates of EP and of recurrent backpropagation agree: mean "
              "cosine on digits", ">= 0.999",
              lambda: _least(equivalence.gradients(), 0.999)),
        Claim("centered", CONV, "centered nudging is at least as good as one-sided: digits, 10 "
              "epochs, points of accuracy between them", ">= 0 %", _centered_over_one_sided, "%"),
        Claim("iris", FREQUENCY, "a linear resistive network learns iris by frequency propagation: "
              "test accuracy", ">= 93 %", _iris, "%"),
        Claim("frequency", FREQUENCY, "MNIST, 784-128-10, an epoch: points of accuracy behind "
              "centered EP", "<= 1 %", _frequency, "%", quick=False, mnist=True),
        Claim("window", TEMPORAL, "a synapse learns inside a window as wide as the ramps differ, "
              "18 : 2", "9 within 20 %", _window),
        Claim("background", TEMPORAL, "a constant background teaches nothing: largest share "
              "that it changes", "<= 3 %", _background, "%"),
        Claim("triangle", TEMPORAL, "control: equal ramps teach a synapse nothing, over what the "
              "sawtooth does", "<= 1 %", _triangle, "%"),
        Claim("triangle-digits", TEMPORAL, "control: equal ramps do not learn digits: accuracy",
              "<= 30 %", _triangle_digits, "%"),
        Claim("temporal-mnist", TEMPORAL, "MNIST, 10,000 samples to train and 2,000 to test, an "
              "epoch: accuracy", ">= 90 %", _temporal, "%", quick=False, mnist=True),
        Claim("methods", REVIEW, "methods that learn digits on one machine: more than 80 % after "
              "an epoch, of six", ">= 5", _methods),
    )
}  # fmt: skip
"""By key, in the table's order."""


def measure(
    keys: Iterable[str],
    mnist: str | None = None,
    keep: Path | None = None,
    progress: Progress = silent,
) -> list[Row]:
    """A row for each of `CLAIMS` named.

    Parameters
    ----------
    mnist
        Folder of MNIST; without it the rows that need it are not measured.
    keep
        A folder: rows that it has, of the same sources, are not measured again.
    progress
        Called with 1 after each row.
    """
    rows = []
    for key in keys:
        if key not in CLAIMS:
            raise ConfigError(f"no claim {key!r}: there are {', '.join(CLAIMS)}")
        claim = CLAIMS[key]
        if claim.mnist and not mnist:
            rows.append(_row(claim, None, None, "not measured: needs --mnist FOLDER"))
        else:
            decides = ["claim", key, mnist if claim.mnist else None]
            rows.append(Row(**kept(keep, key_of(decides), _measured, claim, mnist)))
        progress(1)
    return rows


def _measured(claim: Claim, mnist: str | None) -> dict:
    figure, met = claim.found(load(mnist)) if claim.mnist and mnist else claim.found()
    reason = "" if met else claim.reason or "not looked into"
    return asdict(_row(claim, float(figure), bool(met), reason))


def _row(claim: Claim, figure: float | None, met: bool | None, reason: str) -> Row:
    command = f"relaxon bench claims --only {claim.key}" + " --mnist FOLDER" * claim.mnist
    about = (claim.system, claim.claim, command, claim.wanted)
    return Row(claim.key, *about, figure, claim.unit, met, reason)


def shown(row: Row) -> str:
    """The figure as text."""
    if row.figure is None:
        return "-"
    return f"{100 * row.figure:.2f} %" if row.unit == "%" else f"{row.figure:.4g}"


def document(rows: Iterable[Row]) -> str:
    """The table as Markdown: docs/claims.md."""
    lines = [
        "# Claims",
        "",
        "Made by `relaxon bench claims --mnist FOLDER --write docs/claims.md`, not by hand: golden",
        "model, seed 0, defaults of the rules.",
        "",
        "| system | claim | wanted | found | met | command |",
        "|---|---|---|--:|---|---|",
    ]
    said: Mapping[bool | None, str] = {True: "yes", False: "no", None: "-"}
    for row in rows:
        met = said[row.met] + (f": {row.reason}" if row.reason else "")
        cells = (row.system, row.claim, row.wanted, shown(row), met, f"`{row.command}`")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
