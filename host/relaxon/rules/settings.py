"""What a run asks of a learning rule: settings that all rules read alike."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from numbers import Integral, Real
from typing import Any

from relaxon_isa import ConfigError, Pack, meant

from .. import checks
from ..network import Network

__all__ = [
    "ARCHITECTURES",
    "CONVOLUTION",
    "CONVOLUTION_RATES",
    "INPUT_PACKS",
    "OUTPUTS",
    "RATES",
    "RECIPES",
    "SCALED",
    "RuleSettings",
    "check_choices",
    "parse_skips",
    "rate_shifts",
    "recipe_settings",
]

INPUT_PACKS = {1: Pack.B1, 2: Pack.B2, 4: Pack.B4, 8: Pack.B8, 16: Pack.WORD}
OUTPUTS = ("clip", "linear")
ARCHITECTURES = ("layers", "skip", "backward")


RATES = (6, 9)
"""Learning rates 2**-shift where no rule has others: all weight layers but the last, the last."""


def rate_shifts(depth: int, rates: tuple[int, int] = RATES) -> tuple[int, ...]:
    """Shifts of ``depth`` weight layers; ``rates``: of all but the last, of the last."""
    return (rates[0],) * (depth - 1) + (rates[1],)


def parse_skips(architecture: str) -> tuple[tuple[int, int], ...]:
    """Skip connections of "skip:0>2,1>3" as ((0, 2), (1, 3)); none of any other architecture.

    Raises ConfigError for a list that cannot be read.
    """
    kind, _, text = architecture.partition(":")
    if kind != "skip":
        return ()
    try:
        pairs = [tuple(int(end) for end in part.split(">")) for part in text.split(",")]
        if any(len(pair) != 2 for pair in pairs) or len(set(pairs)) != len(pairs):
            raise ValueError
    except ValueError:
        raise ConfigError(
            f"architecture {architecture!r}: write skip connections as skip:0>2,1>3 (from layer "
            "0, the input, into layer 2; from 1 into 3)"
        ) from None
    return tuple(pairs)  # type: ignore[return-value]


@dataclass(frozen=True, kw_only=True)
class RuleSettings:
    """Rule, objective and architecture, and the parameters of training and inference.

    `relaxon.rules.settings_for` fills in a rule's own defaults.

    Parameters
    ----------
    name
        The rule (`relaxon.rules.RULES`), or one of your own, "file.py:Class".
    objective
        "squared-error", "true-cost", "clamping" or "cross-entropy"; None: the rule's own.
    architecture
        "layers"; "skip:0>2,1>3": connections from layer 0 (input) into 2 and from 1 into 3 as
        well; "backward": weights of their own for what comes from above.
    output
        "clip": outputs in [0, 1] like all states; "linear": outputs without bounds (but those of
        the state format). None: the rule's own.
    beta
        Strength of the nudge, 0 <= beta < 4; held in the weight format.
    rate_shifts
        Learning rate 2**-shift of each weight layer, input side first. A skip connection learns
        at the rate of the weights into the same layer.
    margin
        Skip nudge and update where every output is within this of its target; 0: never.
    early_stop
        Relax only as far as needed: in training the free phase ends as soon as every output is
        within ``margin`` of its target (which may be 0), else after ``free_cap`` sweeps, and then
        there are exactly ``nudged_cap`` nudged sweeps. Inference, which has no target, relaxes
        as ever.
    free_cap, nudged_cap
        Most sweeps of a phase (the nudged cap counts the first one, which starts the phase).
    tolerance
        A phase has settled when no state moves by more than this in a sweep.
    fixed_sweeps
        Run each phase to its cap instead of until it has settled.
    grid
        Fraction bits of the states.
    targets
        Output values for the other classes and for the right one.
    input_bits
        Bits an input value travels with: 1, 2, 4, 8 (values in [0, 1)), or 16: a signed state
        word (values in [-2, 2)).
    input_offset
        What is taken off every input value, 0 <= offset < 1: the input is then signed.
    feedback
        What comes from above is multiplied by 2**-feedback in every layer; rates make up for it.
        Stabilises deep and convolutional networks.
    frozen
        Weight layers (1 = input side) that do not learn.
    stochastic
        Round updates up or down at random, right on average, in place of to nearest: then what
        is less than half of a weight's last bit counts as well. Rule continual always does.
    options
        Parameters of this rule alone, by name (`Rule.OPTIONS`).
    """

    name: str = "ep-centered"
    objective: str | None = None
    architecture: str = "layers"
    output: str | None = None
    beta: float = 0.5
    rate_shifts: tuple[int, ...] = rate_shifts(2)
    margin: float = 0.0
    early_stop: bool = False
    free_cap: int = 40
    nudged_cap: int = 20
    tolerance: float = 0.0
    fixed_sweeps: bool = False
    grid: int = 8
    targets: tuple[float, float] = (0.0, 0.75)
    input_bits: int = 8
    input_offset: float = 0.0
    feedback: int = 0
    frozen: tuple[int, ...] = ()
    stochastic: bool = False
    options: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        def need(ok: bool, name: str, allowed: str) -> None:
            if not ok:
                raise ConfigError(f"{name} = {getattr(self, name)!r}: must be {allowed}")

        for name in self.__dataclass_fields__:
            object.__setattr__(self, name, checks.plain(getattr(self, name)))
        for name, kind, words in (
            ("rate_shifts", Integral, "whole numbers, one a weight layer"),
            ("frozen", Integral, "the whole numbers of weight layers"),
            ("targets", Real, "two numbers"),
        ):
            values = getattr(self, name)
            listed = isinstance(values, Iterable) and not isinstance(values, str | Mapping)
            made = tuple(map(checks.plain, values)) if listed else ()
            need(listed and all(isinstance(value, kind) for value in made), name, words)
            object.__setattr__(self, name, made)
        need(len(self.targets) == 2, "targets", "two numbers")
        need(isinstance(self.options, Mapping), "options", "a mapping of names to numbers")
        options = {name: checks.plain(value) for name, value in self.options.items()}
        object.__setattr__(self, "options", options)
        need(
            all(isinstance(n, str) and isinstance(v, Real) for n, v in options.items()),
            "options",
            "a mapping of names to numbers",
        )
        for name, kind in (
            *((n, bool) for n in ("early_stop", "fixed_sweeps", "stochastic")),
            *((n, Integral) for n in ("free_cap", "nudged_cap", "grid", "input_bits")),
            *((n, Real) for n in ("beta", "margin", "tolerance")),
            *((n, str) for n in ("name", "architecture")),
        ):
            words = {
                Integral: "a whole number",
                Real: "a number",
                str: "a text",
                bool: "True or False",
            }[kind]
            need(isinstance(getattr(self, name), kind), name, words)
        for name in ("objective", "output"):
            need(isinstance(getattr(self, name), str | None), name, "a text, or None")
        plain = self.architecture in ("layers", "backward")
        need(
            plain or self.architecture.partition(":")[0] == "skip",
            "architecture",
            "layers, skip:... or backward",
        )
        parse_skips(self.architecture)
        need(self.output in (None, *OUTPUTS), "output", "one of " + ", ".join(OUTPUTS))
        need(0 <= self.beta < 4, "beta", "0 <= beta < 4")
        need(0 <= self.margin < 2, "margin", "0 <= margin < 2")
        need(1 <= self.free_cap <= 65536, "free_cap", "1 to 65536")
        need(1 <= self.nudged_cap <= 65536, "nudged_cap", "1 to 65536")
        need(0 <= self.tolerance < 1, "tolerance", "0 <= tolerance < 1")
        need(not (self.early_stop and self.fixed_sweeps), "early_stop", "off with fixed_sweeps")
        need(self.input_bits in INPUT_PACKS, "input_bits", "1, 2, 4, 8 or 16")
        need(0 <= self.input_offset < 1, "input_offset", "0 <= offset < 1")
        need(self.feedback in range(7), "feedback", "a whole number, 0 to 6")
        need(all(-2 <= t < 2 for t in self.targets), "targets", "in [-2, 2)")
        need(all(0 <= s <= 24 for s in self.rate_shifts), "rate_shifts", "each 0 to 24")


RECIPES: dict[str, dict] = {
    "fast": {"margin": 0.25, "early_stop": True, "nudged_cap": 3, "input_bits": 4},
}
"""Settings that belong together, by name; `recipe_settings` has all of them.

fast: relax only as far as needed. Right and wrong outputs are told apart by a margin of 1/4 around
targets 3/4 and 0; most samples of a trained network are within it after their first pass.
"""


def recipe_settings(name: str, depth: int) -> dict:
    """Settings of a recipe, for ``depth`` weight layers: with fast, two free sweeps at most for
    each hidden layer. Two hidden layers lose 0.3 points on MNIST with two sweeps in all."""
    return {**RECIPES[name], "free_cap": max(1, 2 * depth - 2)}


SKIP = (
    "skip connections are for networks of plain layers: convolutional ones scale what comes from "
    "above layer by layer (feedback), and a connection that leaves layers out has no scale of its "
    "own"
)
CONVOLUTION = {"input_offset": 0.25}
"""Defaults on convolutional networks."""
SCALED = {"feedback": 3, "grid": 12, "tolerance": 2.0**-8, "free_cap": 6, "nudged_cap": 1}
"""Defaults on convolutional networks where the rule follows scaled feedback."""
CONVOLUTION_RATES = (5, 6)


def check_choices(s: RuleSettings, rule: Any, objectives: dict[str, Any], network: Network) -> None:
    """Raise ConfigError for choices that a rule class does not have, or that do not go together.

    ``objectives``: all that there are, by name.
    """
    depth = network.depth
    if len(s.rate_shifts) != depth:
        raise ConfigError(
            f"{len(s.rate_shifts)} learning-rate shifts for {depth} weight layers: "
            "give one for each, input side first"
        )
    if any(not 1 <= layer <= depth for layer in s.frozen):
        raise ConfigError(f"frozen layers {s.frozen}: there are layers 1 to {depth}")
    if s.objective is not None and s.objective not in objectives:
        raise ConfigError(f"objective {s.objective!r}: there are " + ", ".join(objectives))
    if s.objective is not None and s.objective not in rule.OBJECTIVES:
        raise ConfigError(
            f"objective {s.objective} with rule {rule.name}: that objective asks "
            f"{objectives[s.objective].ASKS}; {rule.name} pursues " + " or ".join(rule.OBJECTIVES)
        )
    if s.early_stop:
        objective = s.objective or rule.OBJECTIVES[0]
        for what, why in (
            (f"rule {rule.name}", rule.EARLY_STOP),
            (f"objective {objective}", objectives[objective].EARLY_STOP),
        ):
            if why:
                raise ConfigError(f"early_stop with {what}: {why}")
    kind = s.architecture.partition(":")[0]
    if kind in rule.ARCHITECTURES:
        raise ConfigError(f"architecture {kind} with rule {rule.name}: {rule.ARCHITECTURES[kind]}")
    if network.convolves and (reason := rule.PLAIN or (kind == "skip" and SKIP)):
        raise ConfigError(f"network {network} with rule {rule.name}: {reason}")
    if s.early_stop and (network.convolves or s.feedback):
        raise ConfigError(
            f"early_stop with network {network}, feedback = {s.feedback}: it goes with plain "
            "layers and feedback 0; use --free-cap"
        )
    pursued = objectives[s.objective or rule.OBJECTIVES[0]]
    if s.feedback:
        scaled = " or ".join(name for name, other in objectives.items() if other.FEEDBACK)
        for what, why in (
            (f"rule {rule.name}", not rule.FEEDBACK and "'relaxon rules' lists those that do"),
            (f"objective {pursued.name}", not pursued.FEEDBACK and f"{scaled} do"),
            (f"architecture {kind}", kind == "skip" and "layers and backward do"),
        ):
            if why:
                raise ConfigError(
                    f"feedback = {s.feedback} with {what}, which do not go together: {why}; "
                    "0 does not scale"
                )
    if unknown := set(s.options) - set(rule.OPTIONS):
        has, wrong = ", ".join(rule.OPTIONS) or "none", min(unknown)
        raise ConfigError(
            f"option {wrong}{meant(wrong, rule.OPTIONS)} of rule {rule.name}: it has {has}"
        )
    for name, value in s.options.items():
        if not isfinite(value):
            raise ConfigError(f"{name} = {value:g}: must be a finite number")
