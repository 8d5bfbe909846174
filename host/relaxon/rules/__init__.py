"""Learning rules by name, and rules of one's own.

A rule of one's own is a class derived from `relaxon.rules.base.Rule` (or from a rule here), named
"path/to/file.py:Class", or registered by an entry point of the group ``relaxon.rules``.
"""

import hashlib
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import entry_points
from pathlib import Path
from traceback import extract_tb

from relaxon_isa.config import PRESETS, ArrayConfig
from relaxon_isa.errors import ConfigError, ProgramError

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
    "first_preset",
    "fits",
    "make_rule",
    "own_file",
    "rule_class",
    "rule_digest",
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
    for point in entry_points(group="relaxon.rules"):
        if point.name == name:
            with _blamed(f"rule {name}"):
                return point.load()
    raise ConfigError(f"no rule {name!r}; there are: {', '.join(RULES)}; your own as file.py:Class")


def own_file(name: str) -> tuple[Path, str] | None:
    """File and class of a rule of one's own, "file.py:Class"; None for the others."""
    path, colon, attribute = name.rpartition(":")
    return (Path(path), attribute) if colon and path.endswith(".py") else None


def rule_digest(name: str) -> str | None:
    """16 hex digits over the file of a rule of one's own; None where there is no such file."""
    if own := own_file(name):
        with suppress(OSError):
            return hashlib.sha256(own[0].read_bytes()).hexdigest()[:16]
    return None


@contextmanager
def _blamed(whose: str) -> Iterator[None]:
    """What goes wrong while somebody's code is read is said to be theirs, and where."""
    try:
        yield
    except (Exception, SystemExit) as error:
        line = error.lineno if isinstance(error, SyntaxError) else None
        if line is None and error.__traceback__:
            line = extract_tb(error.__traceback__)[-1].lineno
        said = f"{type(error).__name__}: {getattr(error, 'msg', error)}"
        raise ConfigError(f"{whose} cannot be read: {said} (line {line})") from error


def _from_file(path: Path, attribute: str) -> type[Rule]:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ConfigError(f"rule file {path}: no such Python file")
    module = importlib.util.module_from_spec(spec)
    with _blamed(f"rule file {path}"):
        spec.loader.exec_module(module)
    rule = getattr(module, attribute, None)
    if not (isinstance(rule, type) and issubclass(rule, Rule)):
        raise ConfigError(f"{path} has no class {attribute} derived from relaxon.rules.base.Rule")
    return rule


def make_rule(network: Network, config: ArrayConfig, settings: RuleSettings) -> Rule:
    """The programs of the rule that the settings name. Raises ConfigError as `Rule` does."""
    return rule_class(settings.name)(network, config, settings)


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


def fits(network: Network, config: ArrayConfig, settings: RuleSettings) -> bool:
    """Whether a machine holds a network and the rule's program."""
    try:
        make_rule(network, config, settings).train_program()
    except (ConfigError, ProgramError):
        return False
    return True


def first_preset(network: Network, settings: RuleSettings) -> str:
    """Name of the first preset that holds network and rule, in the order of `PRESETS`.

    If none does, the one with most weights: `make_rule` on it says what would fit.
    """

    def holds(name: str) -> bool:
        return fits(network, PRESETS[name], settings)

    def weights(name: str) -> int:
        return PRESETS[name].weight_depth * PRESETS[name].p ** 2

    return next(filter(holds, PRESETS), max(PRESETS, key=weights))
