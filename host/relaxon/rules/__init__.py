"""Learning rules by name, and rules of one's own.

A rule of one's own is a class derived from `relaxon.rules.base.Rule` (or from a rule here), named
"path/to/file.py:Class", or registered by an entry point of the group ``relaxon.rules``.
"""

import hashlib
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from importlib.metadata import EntryPoint, entry_points
from inspect import getfile
from pathlib import Path
from traceback import extract_tb

from relaxon_isa.config import FEATURES, ArrayConfig
from relaxon_isa.errors import ConfigError, ProgramError, RelaxonError, meant
from relaxon_isa.presets import PRESETS

from ..network import Network
from ..objectives import OBJECTIVES
from .base import Rule
from .ep import (
    CenteredEP,
    Contrastive,
    CoupledCentered,
    CoupledNegative,
    CoupledPositive,
    LockIn,
    NegativeEP,
    PositiveEP,
    RandomEP,
    SmallStepEP,
)
from .forward import Backpropagation, FeedbackAlignment, InSilico, PredictiveCoding, RandomPCN
from .oscillation import Frequency, QuasiStaticFrequency
from .perturbation import SPSA
from .relaxation import ContinualEP, RecurrentBackprop
from .resistive import ResistiveFrequency
from .settings import RuleSettings
from .temporal import TemporalContrastive

__all__ = [
    "RULES",
    "check",
    "features_of",
    "first_preset",
    "fits",
    "make_rule",
    "own_file",
    "rule_class",
    "rule_digest",
    "rule_names",
    "settings_for",
]

RULES: dict[str, type[Rule]] = {
    rule.name: rule
    for rule in (
        CenteredEP,
        PositiveEP,
        NegativeEP,
        RandomEP,
        SmallStepEP,
        CoupledPositive,
        CoupledNegative,
        CoupledCentered,
        Contrastive,
        LockIn,
        ContinualEP,
        RecurrentBackprop,
        PredictiveCoding,
        RandomPCN,
        Backpropagation,
        FeedbackAlignment,
        InSilico,
        Frequency,
        QuasiStaticFrequency,
        ResistiveFrequency,
        TemporalContrastive,
        SPSA,
    )
}


def rule_class(name: str) -> type[Rule]:
    """A rule by name, "file.py:Class", or entry point. Raises ConfigError if there is none."""
    if name in RULES:
        return RULES[name]
    if own := own_file(name):
        return _from_file(*own)
    for point in _registered():
        if point.name == name:
            with _blamed(f"rule {name} cannot be read"):
                rule = point.load()
            return _declared(rule, f"entry point {name}, {point.value},")
    raise ConfigError(
        f"no rule {name!r}{meant(name, rule_names())}; there are: {', '.join(rule_names())}; your "
        "own as file.py:Class, or by an entry point of a package that has to be installed"
    )


def rule_names() -> list[str]:
    """All that have a name: the package's, then those that entry points register."""
    return [*RULES, *(point.name for point in _registered())]


def _registered() -> list[EntryPoint]:
    points = entry_points(group="relaxon.rules")
    return [point for point in points if point.name not in RULES]


def own_file(name: str) -> tuple[Path, str] | None:
    """File and class of a rule of one's own, "file.py:Class"; None for the others."""
    path, colon, attribute = name.rpartition(":")
    return (Path(path), attribute) if colon and path.endswith(".py") else None


def rule_digest(name: str) -> str | None:
    """16 hex digits over the file that a rule of one's own is in (not over what that imports);
    None for the package's rules, and where there is no such file."""
    if name in RULES:
        return None
    own = own_file(name)
    with suppress(OSError, TypeError, ConfigError):
        path = own[0] if own else Path(getfile(rule_class(name)))
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return None


@contextmanager
def _blamed(whose: str) -> Iterator[None]:
    """What goes wrong in somebody's code is said to be theirs, and where."""
    try:
        yield
    except RelaxonError:
        raise
    except (Exception, SystemExit) as error:
        said = f"{type(error).__name__}: {getattr(error, 'msg', error)}"
        raise ConfigError(f"{whose}: {said}{_place(error)}") from error


def _place(error: BaseException) -> str:
    """The last line of an error's way that is neither ours nor Python's own."""
    if isinstance(error, SyntaxError):
        return f" (line {error.lineno})"
    home = Path(__file__).parents[1]
    for frame in reversed(extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.exists() and home not in path.parents and path.parent.name != "importlib":
            return f" ({path.name}, line {frame.lineno})"
    return ""


def _declared(rule: object, whose: str) -> type[Rule]:
    """The class, if it says of itself what every rule has to."""
    if not (isinstance(rule, type) and issubclass(rule, Rule)):
        raise ConfigError(f"{whose} is no class derived from relaxon.rules.base.Rule")
    names = [item.name for item in fields(RuleSettings)]
    for ok, need in (
        (
            all(isinstance(getattr(rule, key, None), str) for key in ("name", "paper", "summary")),
            "name, paper and summary, a text each",
        ),
        (
            isinstance(rule.OBJECTIVES, tuple) and set() < set(rule.OBJECTIVES) <= set(OBJECTIVES),
            f"OBJECTIVES, a tuple of some of {', '.join(OBJECTIVES)}",
        ),
        (set(rule.DEFAULTS) <= set(names), f"DEFAULTS by names of {', '.join(names)}"),
        (
            all(isinstance(o, tuple) and len(o) == 2 for o in rule.OPTIONS.values()),
            "OPTIONS, name: (default, meaning)",
        ),
    ):
        if not ok:
            raise ConfigError(f"{whose} needs {need}")
    return rule


def _from_file(path: Path, attribute: str) -> type[Rule]:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ConfigError(f"rule file {path}: no such Python file")
    module = importlib.util.module_from_spec(spec)
    with _blamed(f"rule file {path} cannot be read"):
        spec.loader.exec_module(module)
    if not hasattr(module, attribute):
        raise ConfigError(f"{path} has no class {attribute} derived from relaxon.rules.base.Rule")
    return _declared(getattr(module, attribute), f"{path}:{attribute}")


def make_rule(network: Network, config: ArrayConfig, settings: RuleSettings) -> Rule:
    """The programs of the rule that the settings name. Raises ConfigError as `Rule` does, and where
    a rule of one's own cannot be compiled."""
    kind = rule_class(settings.name)
    if settings.name in RULES:
        return kind(network, config, settings)
    with _blamed(f"rule {settings.name} cannot be compiled"):
        rule = kind(network, config, settings)
        rule.train_program()
        rule.infer_program()
    return rule


def settings_for(name: str, depth: int, **changes: object) -> RuleSettings:
    """`RuleSettings` with the rule's own defaults, then ``changes``.

    ``depth``: weight layers, for the learning rates.
    """
    rule = rule_class(name)
    backward = changes.get("architecture") == "backward"
    rates = rule.rate_shifts(depth, backward)
    objective = OBJECTIVES.get(str(changes.get("objective")))
    if objective and objective.RATES:
        rates = (objective.RATES[0],) * (depth - 1) + (objective.RATES[1],)
    own = {"rate_shifts": rates, **rule.DEFAULTS}
    return RuleSettings(name=name, **{**own, **changes})  # type: ignore[arg-type]


def features_of(network: Network, settings: RuleSettings) -> list[str]:
    """The features of the machine without which a rule's training is refused."""
    whole = PRESETS["large"]
    missed = [
        name
        for name, feature in FEATURES.items()
        if not fits(network, whole.replace(**{feature.number: 0}), settings)
    ]
    return missed if fits(network, whole, settings) else []


def fits(network: Network, config: ArrayConfig, settings: RuleSettings) -> bool:
    """Whether a machine holds a network and the rule's program."""
    try:
        make_rule(network, config, settings).train_program()
    except (ConfigError, ProgramError):
        return False
    return True


def check(network: Network, config: ArrayConfig, settings: RuleSettings) -> Rule:
    """`make_rule`, but for training: raises what that would raise, and by name if it is for a
    feature that the machine lacks."""
    rule = make_rule(network, config, settings)
    try:
        rule.train_program()
    except ProgramError as error:
        lacking = [f for f in features_of(network, settings) if f not in config.features]
        if not lacking:
            raise
        able = [name for name, other in PRESETS.items() if fits(network, other, settings)]
        raise ProgramError(
            f"rule {rule.name} as asked for needs of the machine what this one is built without: "
            f"{', '.join(lacking)}; presets that hold it with this network: "
            f"{', '.join(able) or 'none'}"
        ) from error
    return rule


def first_preset(network: Network, settings: RuleSettings) -> str:
    """Name of the first preset that holds network and rule, in the order of `PRESETS`.

    If none does, the one with most weights: `make_rule` on it says what would fit.
    """

    def holds(name: str) -> bool:
        return fits(network, PRESETS[name], settings)

    def weights(name: str) -> int:
        return PRESETS[name].weight_depth * PRESETS[name].p ** 2

    return next(filter(holds, PRESETS), max(PRESETS, key=weights))
