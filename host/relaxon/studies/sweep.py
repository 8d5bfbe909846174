"""Sweeps: rules by settings by seeds from a TOML file, chosen on held-out training data.

Where a rule has several settings to choose from, each is trained on a part of the training data and
judged on the rest of it; what is best over the seeds is trained on all of it and tested. Every run
is kept, so a sweep that was interrupted goes on.
"""

import json
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache, lru_cache
from itertools import product
from math import inf
from pathlib import Path

import numpy as np

from relaxon_isa import ConfigError, DataError, meant, preset

from ..datasets import Dataset, load
from ..network import Network
from ..parallel import Pool, one_by_one
from ..rules import first_preset, rule_class, rule_digest, settings_for, unused_settings
from ..rules.plugins import own_file
from ..rules.settings import RuleSettings
from ..runs import choose_preset, network_of, spec_of
from ..sources import split
from ..training import Progress, TrainSettings, silent, training_for
from .comparison import measure_of, trained
from .kept import kept, key_of
from .plots import pyplot
from .statistics import holm, interval, paired

__all__ = ["Plan", "Trial", "draw", "read_plan", "run_plan", "trials", "without_test"]

TRAINING = [f.name for f in fields(TrainSettings) if f.name not in ("rule", "seed")]
RULE = [f.name for f in fields(RuleSettings) if f.name != "name"]
HOW = ("target", "columns", "keys", "task", "classes", "resize", "scale", "scale_targets", "bits")
CHOICES = {
    "held-out": "a held-out part of the training data",
    "test": "the test data, which makes the results optimistic",
}


BOUNDS = {"accuracy": (0.0, 1.0), "mse": (0.0, inf)}
"""Of the values of each measure."""


@dataclass(frozen=True)
class Trial:
    """One training. ``held_out``: 0, all training data, judged by the test data; else judged by
    that part of the training data, which is the same in all trials."""

    data: str
    how: dict
    network: Network
    settings: TrainSettings
    held_out: float = 0.0

    def key(self) -> str:
        """Names everything that decides the result."""
        digest = _digest(self.data, json.dumps(self.how), self.held_out)
        rule = self.settings.rule.name
        decides = [digest, str(self.network), self.settings.to_json(), rule_digest(rule)]
        return key_of([*decides, self.held_out])

    def run(self) -> dict:
        data = _data(self.data, json.dumps(self.how), self.held_out)
        about = spec_of(self.data, data, self.network, self.settings)
        found = trained(self.network, data, self.settings)
        return {"asked": about | {"held_out": self.held_out}, **found}


@lru_cache(maxsize=2)
def _data(source: str, how: str, held_out: float) -> Dataset:
    """A data set, read as JSON text says; with ``held_out``, its training part in two, the second
    in the test's place."""
    data = load(source, **json.loads(how))
    return without_test(data, held_out) if held_out else data


def without_test(data: Dataset, held_out: float) -> Dataset:
    """The training part in two: what is held out, the same always, takes the test part's place."""
    train, test = split(data.name, (data.x_train, data.y_train), held_out, 0)
    return replace(data, x_train=train[0], y_train=train[1], x_test=test[0], y_test=test[1])


@cache
def _digest(source: str, how: str, held_out: float) -> str:
    return _data(source, how, held_out).digest


def _run(trial: Trial, folder: Path | None) -> tuple[Trial, dict]:
    """A trial and its result, for a pool."""
    return trial, kept(folder, trial.key(), trial.run)


# The file ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """What a sweep's file asks for. ``choices``: settings of each rule, several to choose from."""

    data: str
    how: dict
    network: Network
    choices: dict[str, list[dict]]
    seeds: list[int]
    choose: str = "held-out"
    held_out: float = 0.2
    baseline: str = ""
    notes: list[str] = field(default_factory=list)

    def trial(self, rule: str, settings: dict, seed: int, held_out: float) -> Trial:
        own = {k: v for k, v in settings.items() if k in RULE}
        training = {k: v for k, v in settings.items() if k in TRAINING}
        chosen = settings_for(_absolute(rule), self.network, **own)
        made = training_for(self.network, chosen, seed=seed, **training)
        return Trial(self.data, self.how, self.network, made, held_out)


def _absolute(rule: str) -> str:
    """A rule's file from wherever it is read."""
    own = own_file(rule)
    return f"{own[0].absolute()}:{own[1]}" if own else rule


KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "data": ((str,), "a name, file or folder, as --data"),
    "layers": ((str,), 'all layers as text, as "64,32,10"'),
    "hidden": ((str,), 'hidden layers as text, as "32"; inputs and outputs follow from the data'),
    "rules": ((list,), 'a list of rules, as ["ep-centered", "mine.py:Mine"]'),
    "seeds": ((int, list), "how many seeds, from 0 on, or a list of them"),
    "epochs": ((int,), "a whole number"),
    "choose": ((str,), "one of " + ", ".join(CHOICES)),
    "held-out": ((int, float), "a part of the training data, as 0.2"),
    "baseline": ((str,), "the rule that others are compared with"),
    "data-options": ((dict,), "a table of " + ", ".join(HOW)),
    "settings": ((dict,), "a table of settings"),
    "grid": ((dict,), "a table of settings, a list of values each"),
    "rule": ((dict,), "tables [rule.NAME.settings] and [rule.NAME.grid]"),
}


def read_plan(path: Path) -> Plan:
    """Read and check a sweep's file (docs/comparing.md). Raises DataError and ConfigError that name
    the file, what was read and what is possible."""
    try:
        found = tomllib.loads(Path(path).read_text())
    except OSError as error:
        raise DataError(
            f"{path}: {error.strerror or error}: a sweep is a TOML file, docs/comparing.md has one"
        ) from error
    except ValueError as error:  # UnicodeDecodeError too
        raise DataError(
            f"{path}: no TOML ({error}): docs/comparing.md describes a sweep"
        ) from error
    _known(path, "", found, list(KINDS))
    for name, value in found.items():
        kinds, words = KINDS[name]
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise DataError(f"{path}: {name} = {value!r}: wanted is {words}")
    for name in ("data", "rules"):
        if not found.get(name):
            raise DataError(f"{path}: {name} is not there: {KINDS[name][1]}")
    if ("layers" in found) == ("hidden" in found):
        raise DataError(
            f"{path}: either layers ({KINDS['layers'][1]}) or hidden ({KINDS['hidden'][1]})"
        )
    seeds = found.get("seeds", 5)
    seeds = [*range(seeds)] if isinstance(seeds, int) else seeds
    if not seeds or len({*map(str, seeds)}) < len(seeds) or not all(type(s) is int for s in seeds):
        raise DataError(
            f"{path}: seeds = {found.get('seeds')!r}: wanted are 1 or more, all different"
        )
    held_out, choose = found.get("held-out", 0.2), found.get("choose", "held-out")
    if choose not in CHOICES or not 0 < held_out < 1:
        raise DataError(
            f"{path}: choose = {choose!r}, held-out = {held_out!r}: settings are chosen on one of "
            f"{', '.join(CHOICES)}; the held-out part is between 0 and 1"
        )
    rules, own = found["rules"], found.get("rule", {})
    for rule in rules:
        if not isinstance(rule, str) or rules.count(rule) > 1:
            raise DataError(f"{path}: rules: {rule!r}: wanted are names, each once")
    _known(path, "rule.", own, rules)
    baseline = found.get("baseline", rules[0])
    if baseline not in rules:
        raise DataError(f"{path}: baseline = {baseline!r}: the rules are {', '.join(rules)}")
    how = found.get("data-options", {})
    _known(path, "data-options.", how, HOW)
    try:
        source = _beside(path, found["data"])
        data = load(source, **how)
        network = network_of(data, found.get("layers"), found.get("hidden", ""))
        plan = Plan(source, how, network, {}, seeds, choose, held_out, baseline)
        for rule in rules:
            plan.choices[rule] = _choices(path, rule, found, own.get(rule, {}), plan, data)
    except (ConfigError, DataError) as error:
        said = str(error)
        raise type(error)(said if said.startswith(str(path)) else f"{path}: {said}") from error
    return plan


def _beside(path: Path, source: str) -> str:
    """A file of data beside the sweep's file, else what it says."""
    beside = Path(path).parent / source
    return str(beside.absolute()) if beside.exists() else source


def _known(path: Path, where: str, table: object, names: Sequence[str]) -> None:
    """Raise DataError unless it is a table of these names alone."""
    if not isinstance(table, dict):
        raise DataError(f"{path}: {where.rstrip('.')} = {table!r}: wanted is a table")
    if unknown := [name for name in table if name not in names]:
        raise DataError(
            f"{path}: {where}{unknown[0]} is not known{meant(unknown[0], names)}; there are "
            + ", ".join(names)
        )


def _choices(
    path: Path, rule: str, found: dict, own: dict, plan: Plan, data: Dataset
) -> list[dict]:
    """The settings that a rule is to be tried with."""
    rule_class(rule)  # raises if there is none
    _known(path, f"rule.{rule}.", own, ("settings", "grid"))
    for name, table in own.items():
        _known(path, f"rule.{rule}.{name}.", table, (*RULE, *TRAINING))
    settings = {"epochs": found["epochs"]} if "epochs" in found else {}
    settings |= found.get("settings", {}) | own.get("settings", {})
    grid = {n: v for n, v in found.get("grid", {}).items() if n not in own.get("settings", {})}
    grid |= own.get("grid", {})
    for name in (*settings, *grid):
        if name not in (*RULE, *TRAINING):
            known = sorted((*RULE, *TRAINING))
            raise ConfigError(
                f"{name} is no setting{meant(name, known)}; there are " + ", ".join(known)
            )
    for name, values in grid.items():
        if not isinstance(values, list) or not values:
            raise ConfigError(f"grid.{name} = {values!r}: wanted is a list of values to try")
    combinations = [settings | dict(zip(grid, v, strict=True)) for v in product(*grid.values())]
    chosen: list[dict] = []
    for asked in combinations:
        values = {n: tuple(v) if isinstance(v, list) else v for n, v in asked.items()}
        try:
            run = plan.trial(rule, values, 0, 0).settings
            choose_preset("golden", None, plan.network, data, run)
        except (ConfigError, DataError, TypeError) as error:
            kind = ConfigError if isinstance(error, TypeError) else type(error)
            raise kind(f"rule {rule} with {_said(values)}: {error}") from error
        unused = unused_settings(
            plan.network, preset(first_preset(plan.network, run.rule)), run.rule
        )
        for name in sorted(unused & values.keys()):
            if name in own.get("settings", {}) or name in own.get("grid", {}):
                raise ConfigError(f"rule {rule} does not use {name}: leave it out")
            note = f"rule {rule} does not use {name}"
            plan.notes.extend([note] if note not in plan.notes else [])
        used = {n: v for n, v in values.items() if n not in unused}
        if used not in chosen:
            chosen.append(used)
    return chosen


def _said(settings: dict) -> str:
    return ", ".join(f"{name} = {value}" for name, value in settings.items()) or "its defaults"


# Running -----------------------------------------------------------------------------------------


def trials(plan: Plan) -> tuple[list[Trial], int]:
    """Those that settings are chosen by, and how many there will be in all."""
    held_out = plan.held_out if plan.choose == "held-out" else 0.0
    first = [
        plan.trial(rule, settings, seed, held_out)
        for rule, choices in plan.choices.items()
        if len(choices) > 1
        for settings in choices
        for seed in plan.seeds
    ]
    last = len(plan.seeds) * len(plan.choices)
    if not held_out:  # the best ones' runs are among the first
        last = len(plan.seeds) * sum(len(c) == 1 for c in plan.choices.values())
    return first, len(first) + last


def run_plan(
    plan: Plan, pool: Pool = one_by_one, keep: Path | None = None, progress: Progress = silent
) -> dict:
    """Run a sweep; returns rows, comparisons and runs as JSON values.

    ``keep``: folder of the results of runs, which are not run again. ``progress`` is called with 1
    as each run ends.
    """
    done: dict[str, dict] = {}

    def finish(some: Sequence[Trial]) -> None:
        wanted = [trial for trial in some if trial.key() not in done]
        for trial, result in pool((_run, (trial, keep)) for trial in wanted):
            done[trial.key()] = result
            progress(1)

    first, _ = trials(plan)
    finish(first)
    held_out = plan.held_out if plan.choose == "held-out" else 0.0
    best: dict[str, tuple[dict, float | None]] = {}
    for rule, choices in plan.choices.items():
        if len(choices) == 1:
            best[rule] = choices[0], None
            continue
        tried = [
            [done[plan.trial(rule, settings, seed, held_out).key()] for seed in plan.seeds]
            for settings in choices
        ]
        measure = measure_of(tried[0][0])
        scores = [float(np.mean([run[measure] for run in runs])) for runs in tried]
        where = int(np.argmax(scores) if measure == "accuracy" else np.argmin(scores))
        best[rule] = choices[where], scores[where]
    last = {r: [plan.trial(r, best[r][0], s, 0.0) for s in plan.seeds] for r in plan.choices}
    finish([trial for some in last.values() for trial in some])
    results = {rule: [done[trial.key()] for trial in some] for rule, some in last.items()}
    measure = measure_of(results[plan.baseline][0])
    return {
        "data": plan.data,
        "network": str(plan.network),
        "seeds": plan.seeds,
        "measure": measure,
        "chosen_on": plan.choose if first else None,
        "notes": plan.notes,
        "rows": [_row(rule, *best[rule], results[rule], measure) for rule in plan.choices],
        "pairs": _pairs(plan, results, measure),
        "runs": _listed(
            plan, [*first, *(t for some in last.values() for t in some)], done, measure
        ),
    }


def _row(rule: str, settings: dict, held_out: float | None, runs: list[dict], measure: str) -> dict:
    values = [run[measure] for run in runs]
    return {
        "rule": rule,
        "settings": settings,
        "chosen_by": held_out,
        measure: float(np.mean(values)),
        "interval": interval(values, *BOUNDS[measure]),
        "lowest": min(values),
        "highest": max(values),
        "sweeps": float(np.mean([run["sweeps"] for run in runs])),
        "cycles": float(np.mean([run["cycles"] for run in runs])),
    }


def _pairs(plan: Plan, results: dict[str, list[dict]], measure: str) -> list[dict]:
    """Each rule against the baseline, over the same seeds."""
    base = [run[measure] for run in results[plan.baseline]]
    others = [rule for rule in results if rule != plan.baseline]
    most = BOUNDS[measure][1]
    found = [paired([run[measure] for run in results[rule]], base, most) for rule in others]
    corrected = holm([pair["p_t"] for pair in found])
    return [
        {"rule": rule, "baseline": plan.baseline, **pair, "p_holm": p}
        for rule, pair, p in zip(others, found, corrected, strict=True)
    ]


def _listed(plan: Plan, some: Sequence[Trial], done: dict, measure: str) -> list[dict]:
    """A line a run, settings and all."""
    names = {_absolute(name): name for name in plan.choices}
    lines = {}
    for trial in some:
        run, rule = done[trial.key()], trial.settings.rule
        lines[trial.key()] = {
            "rule": names[rule.name],
            "seed": trial.settings.seed,
            "judged_by": "held-out training data" if trial.held_out else "test data",
            measure: run[measure],
            "sweeps": run["sweeps"],
            "cycles": run["cycles"],
            **{n: v for n, v in asdict(trial.settings).items() if n in TRAINING},
            **{n: v for n, v in asdict(rule).items() if n in RULE},
        }
    return [*lines.values()]


def draw(result: dict, path: Path) -> None:
    """Each rule's seeds, mean and interval, to a picture file."""
    plt, measure = pyplot(), result["measure"]
    scale = 100 if measure == "accuracy" else 1
    figure, axes = plt.subplots(figsize=(7, 0.5 * len(result["rows"]) + 1.2))
    for i, row in enumerate(result["rows"]):
        values = [
            scale * run[measure]
            for run in result["runs"]
            if run["rule"] == row["rule"]
            and run["judged_by"] == "test data"
            and all(run[n] == v for n, v in row["settings"].items())
        ]
        axes.plot(values, [i] * len(values), "o", color="0.6", markersize=4)
        mean, bounds = scale * row[measure], row["interval"] or [row[measure]] * 2
        half = [[mean - scale * bounds[0]], [scale * bounds[1] - mean]]
        axes.errorbar([mean], [i], xerr=half, fmt="D", color="black", capsize=4, markersize=5)
    axes.set_yticks(range(len(result["rows"])), [row["rule"] for row in result["rows"]])
    axes.set_xlabel("test accuracy, %" if measure == "accuracy" else "test mean squared error")
    axes.invert_yaxis()
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)
