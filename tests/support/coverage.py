"""Coverage bins of random programs: which values the fields of their instructions take.

A naive machine adds those that only a run shows (`Naive.events`).
"""

from collections.abc import Sequence
from dataclasses import fields

from relaxon_isa.config import ArrayConfig
from relaxon_isa.instructions import (
    INDEX_SELECTS,
    LEARN_FLAGS,
    MAC_FLAGS,
    Gating,
    Instruction,
    Judge,
    Learn,
    Loop,
    Mac,
    Next,
    Pack,
    Skip,
    Wait,
)

__all__ = ["all_bins", "bins_of"]

LEVEL_FIELDS = ("outer", "inner")
PLAIN_FIELDS = {
    Mac: ("shift", "up", "step", "tol", "tail", "tail_level", "old"),
    Learn: ("threshold",),
    Loop: ("step",),
    Wait: ("shift",),
}
"""Fields of which it counts whether they are set."""


def bins_of(instructions: Sequence[Instruction]) -> set[str]:
    """The static bins: which values fields take."""
    bins: set[str] = set()
    depth = 0
    for instruction in instructions:
        name = instruction.opcode.name
        bins.add(name)
        if isinstance(instruction, Loop):
            depth += 1
            bins.add(f"LOOP.depth={depth}")
        elif isinstance(instruction, Next):
            depth -= 1
        for f in fields(instruction):
            value = getattr(instruction, f.name)
            if f.name in LEVEL_FIELDS:
                bins.add(f"{name}.{f.name}={len(value)}")
                bins |= {f"{name}.{f.name}.flip" for level in value if level.flip}
            elif isinstance(value, bool):
                bins.add(f"{name}.{f.name}={value}")
            elif hasattr(value, "name"):
                bins.add(f"{name}.{f.name}={value.name}")
            elif f.name.endswith("_x") or f.name == "position":
                bins.add(f"{name}.{f.name}={value}")
            elif f.name in PLAIN_FIELDS.get(type(instruction), ()) and value:
                bins.add(f"{name}.{f.name}")
        if isinstance(instruction, Mac):
            bins.add(f"MAC.{instruction.activation.name}.{instruction.gating.name}")
            if instruction.both:
                bins.add(f"MAC.both.from_drive={instruction.from_drive}")
            if instruction.from_drive and instruction.to_drive:
                bins.add("MAC.drive to drive")
        if isinstance(instruction, Wait):
            bins.add(f"WAIT.{instruction.pack.name}.{'s' if instruction.signed else 'u'}")
            if instruction.ahead:
                bins.add(f"WAIT.ahead.{instruction.pack.name}.{'su'[not instruction.signed]}")
    return bins


def all_bins(config: ArrayConfig) -> set[str]:
    """The bins that a campaign of a few hundred programs should fill on this configuration."""
    bins = {"MAC", "LEARN", "LOOP", "NEXT", "WAIT", "EMIT", "HALT", "MAC.drive to drive"}
    bins |= {"loop.settled", "loop.skipped.IF_FLAG", "loop.skipped.UNLESS_FLAG"}
    bins |= {f"LOOP.depth={d + 1}" for d in range(config.loop_depth)}
    for kind in ("MAC", "LEARN"):
        for side in LEVEL_FIELDS:
            bins |= {f"{kind}.{side}={n}" for n in range(config.levels + 1)} | {
                f"{kind}.{side}.flip"
            }
    selects = range(min(INDEX_SELECTS, config.loop_depth + 1))
    for name in ("MAC.tile", "MAC.src", "MAC.dst", "MAC.drive", "MAC.gate"):
        bins |= {f"{name}_x={i}" for i in selects}
    for name in ("LEARN.tile", "LEARN.row", "LEARN.col", "WAIT.dst", "EMIT.base"):
        bins |= {f"{name}_x={i}" for i in selects}
    for cls, names in PLAIN_FIELDS.items():
        bins |= {f"{cls.opcode.name}.{name}" for name in names}
    activations = [activation.name for activation in config.activations]
    bins |= {f"MAC.activation={a}" for a in activations}
    bins |= {f"MAC.{a}.{g.name}" for a in activations for g in Gating}
    bins |= {f"MAC.gating={g.name}" for g in Gating} | {f"MAC.judge={j.name}" for j in Judge}
    bins |= {f"{kind}.sign={s.name}" for kind in ("MAC", "LEARN") for s in config.signs}
    bins |= {f"LOOP.skip={s.name}" for s in Skip} | {
        f"EMIT.kind={k.name}" for k in config.emit_kinds
    }
    bins |= {f"WAIT.pack={k.name}" for k in Pack}
    bins |= {f"WAIT.{k.name}.{s}" for k in Pack for s in "su"}
    bins |= {"LEARN.position=0", "LEARN.position=1"}
    bins |= {f"gate.{name}.{at}" for name in ("IN01", "IN11", "POSITIVE") for at in (-1, 0, 1)}
    bins |= {f"judge.{at}{sign}" for at in ("at", "beyond") for sign in "-+"}
    bins |= {"tie.0+", "tie.0-", "arg max.tie"}
    if config.integral_shift:
        bins |= {f"dead zone.{at}{sign}" for at in ("edge", "beyond") for sign in "-+"}
    if "both" in config.mac_flags:
        bins |= {"MAC.both.from_drive=True", "MAC.both.from_drive=False"}
    if config.sample_buffer:
        packs = (Pack.B1, Pack.B2, Pack.B4, Pack.B8)
        bins |= {f"WAIT.ahead.{k.name}.{s}" for k in packs for s in "su"}
        bins |= {"answer.True", "answer.False", "sample.empty column"}
        bins |= {"sample.label known", "sample.label unknown", "LEARN.walk=True"}
    absent: set[str] = set()
    if not config.sample_buffer:
        absent |= {"LEARN.walk=True"} | {f"WAIT.{f}=True" for f in ("ahead", "bias", "dense")}
    absent |= {f"MAC.{flag}=True" for flag in set(MAC_FLAGS) - set(config.mac_flags)}
    absent |= {f"LEARN.{flag}=True" for flag in set(LEARN_FLAGS) - set(config.learn_flags)}
    if not config.integral_shift:
        absent.add("LEARN.threshold")
    for cls in (Mac, Learn, Loop, Wait):
        for f in fields(cls):
            if isinstance(f.default, bool):
                bins |= {f"{cls.opcode.name}.{f.name}={v}" for v in (False, True)}
    return bins - absent
