"""All rules by name; which machines hold a network and a rule's program."""

import hashlib
from contextlib import suppress
from dataclasses import fields, replace
from inspect import getfile
from pathlib import Path
from typing import Any

from relaxon_isa import FEATURES, PRESETS, ArrayConfig, ConfigError, Mac, ProgramError, meant

from .. import checks
from ..network import Network
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
from .forward import (
    AugmentedLagrangian,
    Backpropagation,
    FeedbackAlignment,
    InSilico,
    PredictiveCoding,
    RandomPCN,
)
from .objectives import OBJECTIVES
from .oscillation import Frequency, QuasiStaticFrequency
from .perturbation import SPSA
from .plugins import blamed, load_file, load_point, own_file, registered
from .relaxation import ContinualEP, RecurrentBackprop
from .resistive import ResistiveFrequency
from .settings import (
    CONVOLUTION,
    CONVOLUTION_RATES,
    RECIPES,
    SCALED,
    RuleSettings,
    rate_shifts,
    recipe_settings,
)
from .temporal import TemporalContrastive
from .variants import LocalErrorEP, MomentumEP, NonReciprocalEP

__all__ = [
    "RULES",
    "changed",
    "check",
    "features_of",
    "first_preset",
    "fits",
    "make_rule",
    "rule_class",
    "rule_digest",
    "rule_names",
    "settings_for",
    "unused_settings",
]

SETTINGS = {item.name for item in fields(RuleSettings)}


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
        NonReciprocalEP,
        LocalErrorEP,
        MomentumEP,
        AugmentedLagrangian,
        SPSA,
    )
}


def rule_class(name: str) -> type[Rule]:
    """A rule by name, "file.py:Class", or entry point. Raises ConfigError if there is none."""
    if name in RULES:
        return RULES[name]
    if own := own_file(name):
        return load_file(*own)
    if point := registered().get(name):
        return load_point(point)
    raise ConfigError(
        f"no rule {name!r}{meant(name, rule_names())}; there are: {', '.join(rule_names())}; your "
        "own as file.py:Class, or by an entry point of a package that has to be installed"
    )


def rule_names() -> list[str]:
    """All that have a name: the package's, then those that entry points register."""
    return list(RULES | registered())


def rule_digest(name: str) -> str | None:
    """16 hex digits over the file that a rule of one's own is in (not over what that imports);
    None for the package's rules, and where there is no such file."""
    if name in RULES:
        return None
    with suppress(OSError, TypeError, ConfigError):
        path, _ = own_file(name) or (Path(getfile(rule_class(name))), "")
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return None


def make_rule(network: Network, config: ArrayConfig, settings: RuleSettings) -> Rule:
    """The programs of the rule that the settings name.

    Raises ConfigError as `Rule` does. Mistakes in a rule of one's own name its file and line.
    """
    kind = rule_class(settings.name)
    if settings.name in RULES:
        return kind(network, config, settings)
    file, _ = own_file(settings.name) or (Path(getfile(kind)), "")
    with blamed(f"rule {settings.name} cannot be compiled", file):
        rule = kind(network, config, settings)
        rule.train_program()
        rule.infer_program()
    return rule


def settings_for(
    name: str, network: Network | int, *, recipe: str | None = None, **changes: object
) -> RuleSettings:
    """`RuleSettings` with the rule's own defaults, then those of a recipe, then ``changes``.

    ``network``: a `Network`, whose kind decides on some defaults, or the number of weight layers of
    a plain one; ``recipe``: one of `RECIPES`. Raises ConfigError for a rule or a recipe that does
    not exist.
    """
    checks.kind("rule", name, str, "its name, or file.py:Class")
    if recipe is not None and recipe not in RECIPES:
        raise ConfigError(f"recipe {recipe!r}: there are " + ", ".join(RECIPES))
    if not isinstance(network, Network):
        network = checks.whole("network", network, 1, checks.MANY)
    rule, depth = rule_class(name), network if isinstance(network, int) else network.depth
    changes = {**(recipe_settings(recipe, depth) if recipe else {}), **changes}
    rates = rule.rate_shifts(depth, changes.get("architecture") == "backward")
    objective = OBJECTIVES.get(str(changes.get("objective") or rule.OBJECTIVES[0]))
    if objective and objective.RATES and changes.get("objective"):
        rates = rate_shifts(depth, objective.RATES)
    own: dict = {"rate_shifts": rates, **rule.DEFAULTS}
    if not isinstance(network, int) and network.convolves:
        own |= {**CONVOLUTION, "rate_shifts": rate_shifts(depth, CONVOLUTION_RATES)}
        own |= SCALED if rule.FEEDBACK and objective and objective.FEEDBACK else {}
    return changed(RuleSettings(name=name, **own), **changes)


def changed(settings: RuleSettings, **changes: object) -> RuleSettings:
    """Settings with some of them changed. Raises ConfigError for those that there are not."""
    checks.kind("settings", settings, RuleSettings, "settings_for(...) makes them")
    if unknown := sorted(changes.keys() - SETTINGS):
        raise ConfigError(
            f"no setting {', '.join(unknown)}{meant(unknown[0], SETTINGS)}: there are "
            + ", ".join(sorted(SETTINGS))
        )
    return replace(settings, **changes)  # type: ignore[arg-type]


def unused_settings(network: Network, config: ArrayConfig, settings: RuleSettings) -> set[str]:
    """Settings that neither a rule's programs nor its data depend on: nobody reads them."""
    watched = object.__new__(_Watched)
    watched.__dict__.update(settings.__dict__, seen=set())
    rule = make_rule(network, config, watched)
    program, _ = rule.train_program()
    rule.infer_program()
    rule.objective.constants()
    rule.objective.table()
    rule.class_targets(network.sizes[-1])
    seen = watched.__dict__["seen"]
    tile = rule.layout.tile("beta")  # loaded by every rule
    if any(isinstance(mac, Mac) and mac.tile == tile for mac in program.instructions):
        seen.add("beta")
    return SETTINGS - seen - {"name", "fixed_sweeps", "input_bits"}


class _Watched(RuleSettings):
    """Settings that note what is read of them."""

    def __getattribute__(self, name: str) -> Any:
        if name in SETTINGS:
            self.__dict__["seen"].add(name)
        return super().__getattribute__(name)


def features_of(network: Network, settings: RuleSettings) -> list[str]:
    """The features of the machine without which a rule's training is refused."""
    whole = PRESETS["large"]
    missed = [
        name
        for name, feature in FEATURES.items()
        if not fits(
            network,
            whole.replace(**{feature.number: type(getattr(whole, feature.number))()}),
            settings,
        )
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
    """`make_rule`, and what training needs: ProgramError names the features of the machine that
    are missing, and the presets that have them."""
    try:
        rule = make_rule(network, config, settings)
        rule.train_program()
    except ProgramError as error:
        lacking = [f for f in features_of(network, settings) if f not in config.features]
        if not lacking:
            raise
        able = [name for name, other in PRESETS.items() if fits(network, other, settings)]
        raise ProgramError(
            f"rule {settings.name} with these settings needs a machine with: {', '.join(lacking)}. "
            f"Presets that have it and hold this network: {', '.join(able) or 'none'}"
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
