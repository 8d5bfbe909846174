"""What learning rules have in common: relax, nudge, hold, difference, update.

A rule is a class with a name that compiles to a program. All follow one pattern: a waveform of
nudges beta_k, the states s_k that they lead to, coefficients c_k, and the local update

    dW = rate * sum_k c_k s_i(k) s_j(k).

Phases come in pairs (A, B) with opposite coefficients c and -c, so that each pair's part is

    s_A s_A^T - s_B s_B^T = d m^T + m d^T,    d = s_A - s_B,  m = (s_A + s_B) / 2:

two terms of a LEARN, error planes ``rise`` and ``fall`` (d, scaled by the rates of the weights
below and above) against the plane ``mean``. `Rule` has the parts; what a rule adds is which phases
there are and in which order the parts run. What pulls at the outputs is the objective's matter
(`relaxon.objectives`), which weights there are the layout's (`relaxon.layout`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import floor, isfinite, log2
from typing import Any, ClassVar

import numpy as np

from relaxon_device.base import Device
from relaxon_isa.config import ArrayConfig
from relaxon_isa.errors import ConfigError, meant
from relaxon_isa.instructions import (
    Activation,
    Emit,
    EmitKind,
    Halt,
    Judge,
    Learn,
    LearnLevel,
    Loop,
    Mac,
    MacLevel,
    Next,
    Pack,
    Sign,
    Skip,
    Wait,
)
from relaxon_isa.memory import Space
from relaxon_isa.program import Builder, Program

from ..layout import Block, Layout, Needs
from ..network import Formats, Network, to_integers
from ..objectives import OBJECTIVES, Objective
from ..weights import write_tiles
from .settings import INPUT_PACKS, RuleSettings, parse_skips

__all__ = ["Marks", "Rule", "Source", "open_loops"]


@dataclass
class Marks:
    """Indices of instructions that a schedule patches: the loop over samples; the MACs whose
    shift is a weight layer's learning rate."""

    samples: int = -1
    rates: dict[int, list[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """What drives a layer: weights, read forward or transposed, times a plane.

    ``plane`` is the first phase's; the next phase's lies ``stride`` groups behind.
    """

    block: Block
    transposed: bool
    plane: int
    stride: int = 0


class Rule:
    """The programs of a learning rule for one network on one configuration.

    `train_program` takes samples (`encode_sample`), trains on each and hands over the arg max of
    the free outputs; `infer_program` relaxes and hands over arg max or outputs. `phase_program`
    and `layer_program` run one part for measurement. Before the first run, `prepare` loads the
    constants: the ones group and the tiles of constants.

    A rule of its own derives from this class or from another rule, sets the names below, and says
    in `train_body` which parts run in which order.

    Raises ConfigError for settings, objective or architecture that make no sense with the rule or
    do not fit the machine.
    """

    name: ClassVar[str]
    """What --rule calls it."""
    paper: ClassVar[str]
    """Author and year."""
    summary: ClassVar[str]
    """Its phases, in a line."""
    OPTIONS: ClassVar[dict[str, tuple[float, str]]] = {}
    """Parameters of this rule alone: default and meaning."""
    DEFAULTS: ClassVar[dict] = {}
    """Where its defaults differ from those of `RuleSettings`."""
    OBJECTIVES: ClassVar[tuple[str, ...]] = ("squared-error",)
    """Those it can pursue; the first is its own."""
    ARCHITECTURES: ClassVar[dict[str, str]] = {
        "skip": "its program has no place for skip connections",
        "backward": "it has no use for backward weights of their own",
    }
    """Those it refuses, with the reason."""
    RATES: ClassVar[tuple[int, int]] = (6, 9)
    """Default rate shifts: of all weight layers but the last, of the last."""
    OUTPUT: ClassVar[str] = "clip"
    """Default of the setting."""
    FEEDFORWARD: ClassVar[str] = ""
    """The activation ("clip", "relu") if its free phase is one forward pass."""
    OUTSIDE: ClassVar[bool] = False
    """Whether the host learns instead of the machine: `outside`."""
    RESISTIVE: ClassVar[bool] = False
    """Whether weights are conductances between nodes."""
    REPORT: ClassVar[str] = "free"
    """The plane whose output a training sample reports."""
    HEADROOM: ClassVar[int] = 0
    """Bits of the state format above [-2, 2)."""
    LEARNS_BACKWARD: ClassVar[bool] = True
    """Whether backward weights learn as the forward ones do, both with decay."""
    SIGN: ClassVar[Sign] = Sign.PLUS
    """Of the first nudge."""
    UPDATE_SIGN: ClassVar[Sign] = Sign.PLUS
    """Of the differences that are learned."""

    def __init__(self, network: Network, config: ArrayConfig, settings: RuleSettings) -> None:
        self.settings = settings
        self.config = config
        depth = network.depth
        self._check(depth)
        self.output = settings.output or self.OUTPUT
        objective = OBJECTIVES[settings.objective or self.OBJECTIVES[0]]
        self.layout = Layout(network, config, objective.needs(self.needs(network)))
        self.formats = Formats(config, self.HEADROOM)
        if not 1 <= settings.grid <= self.formats.state_frac:
            raise ConfigError(
                f"grid = {settings.grid}: states of this machine have 1 to "
                f"{self.formats.state_frac} fraction bits"
            )
        self.objective: Objective = objective(self)
        gains = self.gains()
        largest = max(gains)
        self._gain_exponent = floor(log2(largest)) if largest else 0
        self._gains = [gain * 2.0**-self._gain_exponent for gain in gains]

    def _check(self, depth: int) -> None:
        s = self.settings
        if len(s.rate_shifts) != depth:
            raise ConfigError(
                f"{len(s.rate_shifts)} learning-rate shifts for {depth} weight layers: "
                "give one for each, input side first"
            )
        if any(not 1 <= layer <= depth for layer in s.frozen):
            raise ConfigError(f"frozen layers {s.frozen}: there are layers 1 to {depth}")
        if s.objective is not None and s.objective not in OBJECTIVES:
            raise ConfigError(f"objective {s.objective!r}: there are " + ", ".join(OBJECTIVES))
        if s.objective is not None and s.objective not in self.OBJECTIVES:
            raise ConfigError(
                f"objective {s.objective} with rule {self.name}: that objective asks "
                f"{OBJECTIVES[s.objective].ASKS}; {self.name} pursues "
                + " or ".join(self.OBJECTIVES)
            )
        kind = s.architecture.partition(":")[0]
        if kind in self.ARCHITECTURES:
            raise ConfigError(
                f"architecture {kind} with rule {self.name}: {self.ARCHITECTURES[kind]}"
            )
        unknown = set(s.options) - set(self.OPTIONS)
        if unknown:
            has = ", ".join(self.OPTIONS) or "none"
            wrong = min(unknown)
            raise ConfigError(
                f"option {wrong}{meant(wrong, self.OPTIONS)} of rule {self.name}: it has {has}"
            )
        for name in s.options:
            if not isfinite(self.option(name)):
                raise ConfigError(f"{name} = {self.option(name):g}: must be a finite number")

    @classmethod
    def rate_shifts(cls, depth: int, decay: bool = False) -> tuple[int, ...]:
        """Default learning rates of ``depth`` weight layers; larger where they decay."""
        most, last = (5, 4) if decay else cls.RATES
        return (most,) * (depth - 1) + (last,)

    # What a rule says of itself ---------------------------------------------------------------

    def needs(self, network: Network) -> Needs:
        """Memory beyond plain layers; called before there is a layout."""
        return Needs(
            skips=parse_skips(self.settings.architecture),
            backward=self.settings.architecture == "backward",
        )

    def option(self, name: str) -> float:
        """A parameter of this rule alone."""
        return self.settings.options.get(name, self.OPTIONS[name][0])

    def _check_whole(self, name: str, low: int, high: int) -> None:
        """Raise ConfigError unless a parameter is one of the whole numbers low to high."""
        value = self.option(name)
        if value not in range(low, high + 1):
            limits = f"{low} or {high}" if high == low + 1 else f"a whole number, {low} to {high}"
            raise ConfigError(f"{name} = {value:g}: must be {limits}")

    def gains(self) -> list[float]:
        """Of each pair of phases: its coefficient c."""
        return [1.0]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Planes whose difference is learned."""
        return [("plus", "minus")]

    @property
    def nudged(self) -> list[str]:
        """Planes of the nudged phases, side by side from the first one on."""
        return []

    # Shared parts of the programs -------------------------------------------------------------

    def tail(self, layer: int) -> dict:
        return {"tail": self.layout.tail(layer)}

    def to_state(self, layer: int) -> dict:
        """Round the accumulator to the grid and clip: the exact minimiser on the grid."""
        f, grid = self.formats, self.settings.grid
        linear = layer == self.layout.depth and self.output == "linear"
        return {
            "shift": f.product_frac - grid,
            "up": f.state_frac - grid,
            "one": f.state_frac,
            "activation": Activation.LINEAR if linear else Activation.CLIP01,
        }

    def judged(self, first: bool) -> dict:
        tol = round(self.settings.tolerance * 2**self.formats.state_frac)
        return {"judge": Judge.CHANGE, "fresh": first, "tol": tol}

    def take_input(self, b: Builder, *, tick: bool) -> None:
        pack = INPUT_PACKS[self.settings.input_bits]
        word = pack is Pack.WORD
        shift = 0 if word else self.formats.state_frac - self.settings.input_bits
        b.add(
            Wait(
                dst=self.layout.x,
                count=self.layout.network.sizes[0],
                pack=pack,
                signed=word,
                shift=shift,
                tick=tick,
            )
        )

    def take_target(self, b: Builder) -> None:
        b.add(
            Wait(
                dst=self.layout.y,
                count=self.layout.network.sizes[-1],
                pack=Pack.WORD,
                signed=True,
            )
        )

    def still_drives(self, b: Builder) -> None:
        """D = W x + b once a sample, and the biases of the other layers."""
        lay = self.layout
        for layer in range(1, lay.depth + 1):
            block = lay.block(layer)
            first = layer == 1
            bias = 0 if first else (block.columns - 1) * block.words
            self._still(b, block, block.columns if first else 1, bias, layer)
        for block in lay.skips:
            if block.lower == 0:
                self._still(b, block, lay.block(1).columns, 0, block.upper, add=True)

    def _still(
        self, b: Builder, block: Block, columns: int, skip: int, layer: int, add: bool = False
    ) -> None:
        lay, words = self.layout, block.words
        drive = lay.drive("still", layer)
        onto: dict[str, Any] = {"from_drive": True, "drive": drive} if add else {}
        row = MacLevel(count=block.rows, tile=block.columns * words, dst=1, drive=int(add))
        whole = columns > 1 or block.lower == 0
        b.add(
            Mac(
                outer=(row,),
                inner=(MacLevel(count=columns, tile=words, src=1),) if whole else (),
                tile=block.tile + skip,
                src=lay.x if block.lower == 0 else lay.constant,
                dst=drive,
                to_drive=True,
                **onto,
            )
        )

    def clear(self, b: Builder, first: int = 2) -> None:
        """Free states from layer ``first`` on to 0, so that a sample starts from a known state.
        (The first layer's are not read before they are written, unless a step reads its own.)"""
        lay = self.layout
        if first > lay.depth:
            return
        groups = sum(lay.groups(layer) for layer in range(first, lay.depth + 1))
        b.add(
            Mac(
                outer=(MacLevel(count=groups, dst=1),),
                tile=lay.tile("one"),
                src=lay.zero,
                dst=lay.plane("free", first),
            )
        )

    def stride(self, plane: str) -> int:
        """How far behind a plane the next phase's lies: the free plane is shared by all."""
        return 0 if plane == "free" else self.layout.span

    def sources(self, layer: int, below: str, above: str) -> list[Source]:
        """All that drives a layer but what is still: the planes below, then those above."""
        lay, top = self.layout, self.objective.relaxed
        skips = [block for block in lay.skips if block.upper <= top]
        lower = [lay.block(layer)] if layer >= 2 else []
        lower += [block for block in skips if block.upper == layer and block.lower > 0]
        upper = [lay.backward(layer + 1)] if layer < top else []
        upper += [block for block in skips if block.lower == layer]
        return [
            *(Source(s, False, lay.plane(below, s.lower), self.stride(below)) for s in lower),
            *(Source(s, True, lay.plane(above, s.upper), self.stride(above)) for s in upper),
        ]

    def drive_layer(
        self,
        b: Builder,
        layer: int,
        sources: Sequence[Source],
        *,
        dst: int,
        dst_stride: int = 0,
        drive: int | None = None,
        drive_stride: int = 0,
        phases: int = 1,
        gate: int | None = None,
        **state,
    ) -> None:
        """A layer's plane from its sources and a drive: one MAC a source, the last one writes.

        ``dst``, ``drive``: the first phase's group of S and of D; ``dst_stride``,
        ``drive_stride``: how far behind the next phase's lies. ``gate``: a plane that all phases
        share. ``state``: fields of the last MAC.
        """
        lay = self.layout
        groups = lay.groups(layer)

        def nest(source: Source | None, dst: int, gate: int | None = None) -> dict:
            src, tile, inner = lay.zero, lay.tile("one"), ()
            row: dict[str, Any] = {}
            outer: tuple[MacLevel, ...] = ()
            held: dict[str, Any] = {} if drive is None else {"drive": 1}
            if source is not None:
                block, src, tile = source.block, source.plane, source.block.tile
                along, across = block.words, block.columns * block.words
                count = block.rows if source.transposed else lay.groups(block.lower)
                if source.transposed:
                    along, across = across, along
                row = {"tile": across}
                inner = (MacLevel(count=count, tile=along, src=1),)
            if phases > 1:
                stride = source.stride if source else 0
                step: dict[str, Any] = {"drive": drive_stride} if held else {}
                outer = (MacLevel(count=phases, src=stride, dst=dst, **step),)
            return {
                "outer": (
                    *outer,
                    MacLevel(count=groups, dst=1, gate=int(gate is not None), **row, **held),
                ),
                "gate": gate or 0,
                "inner": inner,
                "src": src,
                "tile": tile,
                "transposed": bool(source and source.transposed),
                **({} if drive is None else {"drive": drive, "from_drive": True}),
            }

        *first, last = sources or [None]
        for source in first:
            below = lay.drive("below", layer)
            b.add(Mac(dst=below, to_drive=True, **nest(source, groups)))
            drive, drive_stride = below, groups
        b.add(Mac(dst=dst, **nest(last, dst_stride, gate), **state))

    def standing(self, b: Builder, layer: int, plane: str, drive: int) -> int:
        """The drive that a layer's step adds its neighbours' currents to, given the one without
        the layer's own state: the same, unless nodes are slow."""
        return drive

    def inert(
        self, b: Builder, layer: int, plane: str, drive: int, tile: str, trips: int = 1
    ) -> int:
        """A layer's own state, times a diagonal tile, ``trips`` times on top of a drive.

        ``tile``: "one", or the first of a tile for every group. Returns the drive that holds the
        sum, "own" of `Needs`.
        """
        lay = self.layout
        own = lay.drive("own", layer)
        level = MacLevel(count=lay.groups(layer), tile=int(tile != "one"), src=1, dst=1, drive=1)
        b.add(
            Mac(
                outer=(level,),
                inner=(MacLevel(count=trips),) if trips > 1 else (),
                tile=lay.tile(tile),
                src=lay.plane(plane, layer),
                dst=own,
                drive=drive,
                from_drive=True,
                to_drive=True,
            )
        )
        return own

    def relax(
        self,
        b: Builder,
        layer: int,
        *,
        dst: str,
        below: str,
        above: str,
        nudged: bool | None = None,
        phases: int = 1,
        judged: dict | None = None,
        **state,
    ) -> None:
        """Set a layer's plane ``dst`` to its minimiser given the planes of its neighbours.

        With several phases, plane names are those of the first; the others lie behind it, and a
        "free" neighbour is shared by all. ``nudged``: with the objective's nudge (by default all
        but the free plane).
        """
        lay = self.layout
        nudged = dst != "free" if nudged is None else nudged
        drive, drive_stride = self.objective.drive(layer) if nudged else (None, 0)
        if drive is None:
            drive, drive_stride = lay.drive("still", layer), 0
        fields = {**self.to_state(layer), **self.tail(layer), **(judged or {}), **state}
        if nudged and layer == lay.depth and self.objective.RELAXES_OUTPUT:
            sources = self.sources(layer, below, above)
            self.objective.relax_output(b, sources, dst, phases, **fields)
            return
        self.drive_layer(
            b,
            layer,
            self.sources(layer, below, above),
            dst=lay.plane(dst, layer),
            dst_stride=self.stride(dst),
            drive=self.standing(b, layer, dst, drive),
            drive_stride=drive_stride,
            phases=phases,
            **fields,
        )

    def free_phase(self, b: Builder) -> None:
        """argmin E, from zeros, layer by layer upwards."""
        s = self.settings
        self.clear(b)
        with b.loop(s.free_cap, until=not s.fixed_sweeps, sweep=True):
            for layer in range(1, self.objective.relaxed + 1):
                self.relax(
                    b, layer, dst="free", below="free", above="free",
                    judged=self.judged(layer == 1),
                )  # fmt: skip
        self.objective.read_out(b)

    def nudged_phase(self, b: Builder) -> None:
        """From the free state: the first sweep reads it, so that nothing is copied."""
        s, (name, *_), phases = self.settings, self.nudged, len(self.nudged)
        self.objective.nudge(b)
        top = self.objective.nudged
        layers = range(top, 0, -1)  # from the outputs down, as the nudge spreads
        for layer in layers:
            self.relax(b, layer, dst=name, below="free", above=name, phases=phases)
        # A layer alone is at its minimum after one step.
        if s.nudged_cap == 1 or (top < self.objective.relaxed and top <= 1):
            return
        with b.loop(s.nudged_cap - 1, until=not s.fixed_sweeps, sweep=True):
            for layer in layers:
                judged = self.judged(layer == top)
                self.relax(b, layer, dst=name, below=name, above=name, phases=phases, judged=judged)

    def precise(self) -> dict:
        """Fields of a MAC that writes an error: no bounds, all the fraction bits there are."""
        return {"shift": self.formats.weight_frac, "activation": Activation.LINEAR}

    # Updates ----------------------------------------------------------------------------------

    def combine(
        self, layer: int, dst: int, planes: Sequence[int], tile: str = "one", **fields
    ) -> Mac:
        """A plane of ``layer`` from one or two others, times a tile of constants.

        ``dst``, ``planes``: first groups. ``flip`` among the fields: the second one's sign.
        """
        flip = fields.pop("flip", False)
        inner: tuple[MacLevel, ...] = ()
        if len(planes) == 2:
            inner = (MacLevel(count=2, src=planes[1] - planes[0], flip=flip),)
        return Mac(
            outer=(MacLevel(count=self.layout.groups(layer), src=1, dst=1),),
            inner=inner,
            tile=self.layout.tile(tile),
            src=planes[0],
            dst=dst,
            **{**self.tail(layer), **fields},
        )

    def position(self, layer: int, extra: int = 0) -> int:
        """The finest rounding position whose error plane holds rate * (s_A - s_B) * c."""
        shift = self.settings.rate_shifts[layer - 1] + extra
        return self.finest(max(self._gains) * 2.0 ** (self._gain_exponent - shift))

    def finest(self, largest: float) -> int:
        """The finest rounding position whose error plane holds values below twice ``largest``."""
        for position in (1, 0):
            top = 2.0 ** (self.config.state_bits - 1 - self.formats.error_frac(position))
            if largest < top:
                return position
        return 0

    def rate_shift(self, weights: int) -> int:
        """The shift of a MAC from states times a gain to the error plane of a weight layer."""
        f = self.formats
        shift = (
            f.product_frac
            - f.error_frac(self.position(weights))
            + self.settings.rate_shifts[weights - 1]
            - self._gain_exponent
        )
        if not 0 <= shift < self.config.acc_bits:
            raise ConfigError(
                f"beta = {self.settings.beta} with a rate of 2**-"
                f"{self.settings.rate_shifts[weights - 1]} leaves the formats of this machine: "
                "use a larger beta or a smaller rate"
            )
        return shift

    def difference(self, plane: str, layer: int, weights: int, pair: int = 0) -> Mac:
        """The error plane of ``layer`` at the rate of the weights into layer ``weights``."""
        lay = self.layout
        return self.combine(
            layer,
            lay.plane(plane + _behind(pair), layer),
            [lay.plane(name, layer) for name in self.pairs[pair]],
            tile="gain" + _behind(pair),
            shift=self.rate_shift(weights),
            flip=True,
            sign=self.UPDATE_SIGN,
        )

    def mean(self, b: Builder, layer: int, pair: int = 0) -> None:
        lay = self.layout
        planes = [lay.plane(name, layer) for name in self.pairs[pair]]
        b.add(
            self.combine(
                layer,
                lay.plane("mean" + _behind(pair), layer),
                planes,
                shift=self.formats.weight_frac + 1,
            )
        )

    MEAN = "mean"
    """The plane that error planes meet in LEARN."""

    def learning(self) -> list[Block]:
        """Forward weights that learn from pairs of phases."""
        lay, top = self.layout, self.objective.relaxed
        return [
            block
            for block in (*lay.blocks[: lay.depth], *lay.skips)
            if block.upper <= top and block.upper not in self.settings.frozen
        ]

    def falls(self, block: Block) -> str:
        """The plane of layer ``block.lower`` at the rate of these weights."""
        return "fall" if block.upper == block.lower + 1 else f"fall>{block.upper}"

    def update(self, b: Builder, marks: Marks) -> None:
        """Error planes and means of each layer, then LEARN of each block."""
        learning = self.learning()
        for layer in range(1, self.objective.relaxed + 1):
            self.errors(b, marks, layer, learning)
        for block in learning:
            self.learn_block(b, block)
        self.objective.update(b, marks)

    def errors(self, b: Builder, marks: Marks, layer: int, learning: Sequence[Block]) -> None:
        """The planes that a layer brings to the LEARN of weights below and above it."""
        rates = {layer} if any(block.upper == layer for block in learning) else set()
        planes = [("rise", rate) for rate in rates]
        above = [block for block in learning if block.lower == layer]
        planes += [(self.falls(block), block.upper) for block in above]
        for pair in range(len(self._gains)):
            for plane, weights in planes:
                index = b.add(self.difference(plane, layer, weights, pair))
                marks.rates.setdefault(weights, []).append(index)
            met = above or any(block.upper == layer and block.lower for block in learning)
            if met and self.MEAN == "mean":
                self.mean(b, layer, pair)

    def learn_block(self, b: Builder, block: Block) -> None:
        """d_l m_{l-1}^T + m_l d_{l-1}^T, pair by pair; of the input and of biases one term."""
        lay, pairs = self.layout, len(self._gains)
        rise = lay.plane("rise", block.upper)
        apart = lay.plane("rise1", block.upper) - rise if pairs > 1 else 0
        if block.lower == 0:  # the input is the same in both phases: one term, bias included
            columns = block.columns if block.upper == 1 else lay.block(1).columns
            terms = (LearnLevel(count=pairs, row=apart),) if pairs > 1 else ()
            self.learn(b, block, columns, row=rise, col=lay.x, terms=terms)
            return
        mean, below = lay.plane(self.MEAN, block.upper), lay.plane(self.MEAN, block.lower)
        fall = lay.plane(self.falls(block), block.lower)
        terms = (LearnLevel(count=2, row=mean - rise, col=fall - below),)
        if pairs > 1:
            terms = (LearnLevel(count=pairs, row=apart, col=apart), *terms)
        columns = block.columns - 1
        self.learn(b, block, columns, row=rise, col=below, terms=terms)
        if block in lay.skips:
            return
        bias = (LearnLevel(count=pairs, row=apart),) if pairs > 1 else ()
        self.learn(b, block, 1, first=columns, row=rise, col=lay.constant, terms=bias)

    def learn(
        self,
        b: Builder,
        block: Block,
        columns: int,
        *,
        first: int = 0,
        row: int,
        col: int,
        terms: tuple[LearnLevel, ...] = (),
        word: int = 0,
        **fields,
    ) -> None:
        """LEARN on ``columns`` columns of a block's tiles, from column ``first`` on. Backward
        weights of the same layer get the same, with the same random bits. ``word``: which of a
        synapse's words."""
        lay, words = self.layout, block.words
        outer = (LearnLevel(count=block.rows, tile=block.columns * words, row=1),)
        if not first:
            outer = (*outer, LearnLevel(count=columns, tile=words, col=1))
        blocks = [block]
        twin = lay.backward(block.upper) if block in lay.blocks[1 : lay.depth] else block
        fields = {"position": self.position(block.upper), **self.learn_fields(block), **fields}
        if twin is not block and not first and self.LEARNS_BACKWARD:
            blocks.append(twin)
        for target in blocks:
            b.add(
                Learn(
                    outer=outer,
                    inner=terms,
                    tile=target.tile + first * words + word,
                    col=col,
                    row=row,
                    **{**fields, "hold": fields.get("hold", False) or target is not blocks[-1]},
                )
            )

    def hebb(self, b: Builder, block: Block, row: int, plane: str, **fields) -> None:
        """LEARN of one term: a row plane of the upper layer with ``plane`` of the lower one; with
        the always-on neuron for the biases. ``fields``: as of `learn`."""
        lay, whole = self.layout, block.lower == 0
        columns = lay.block(1).columns if whole and block.upper > 1 else block.columns
        columns -= not whole
        self.learn(b, block, columns, row=row, col=lay.plane(plane, block.lower), **fields)
        if not whole and block not in lay.skips:
            self.learn(b, block, 1, first=columns, row=row, col=lay.constant, **fields)

    def learn_fields(self, block: Block) -> dict:
        """Fields of every LEARN on a block. Backward weights decay with their forward ones."""
        twin = self.layout.needs.backward and block.lower > 0 and self.LEARNS_BACKWARD
        return {"decay": True} if twin else {}

    # Programs ---------------------------------------------------------------------------------

    def train_body(self, b: Builder, marks: Marks) -> None:
        """What is done with a sample whose input and target are in their planes: drives, free
        phase, error; then, unless all is within the margin, nudge and update. Leaves the free
        output in its plane."""
        self.still_drives(b)
        self.free_phase(b)
        self.objective.error(b)
        if self.settings.margin:
            with b.loop(1, skip=Skip.IF_FLAG):
                self.nudged_phase(b)
                self.update(b, marks)
        else:
            self.nudged_phase(b)
            self.update(b, marks)

    def train_program(self, *, report: bool = True) -> tuple[Program, Marks]:
        """One pass over the samples of a run. ``report``: EMIT the arg max of each free output.

        The trips of its outermost loop are the samples.
        """
        b, marks = Builder(self.config), Marks()
        with b.loop(1) as marks.samples:
            self.take_input(b, tick=True)
            self.take_target(b)
            self.train_body(b, marks)
            if report:
                b.add(
                    Emit(
                        kind=EmitKind.ARGMAX,
                        base=self.layout.plane(self.REPORT, self.layout.depth),
                        count=self.layout.network.sizes[-1],
                    )
                )
        b.add(Halt())
        return b.build(), marks

    def resident_program(self) -> Program:
        """One training sample that is in the planes already: what `bench cycles` measures."""
        b = Builder(self.config)
        self.train_body(b, Marks())
        b.add(Halt())
        return b.build()

    def infer_program(self, *, outputs: bool = False, resident: bool = False) -> Program:
        """Relax each sample freely; EMIT the arg max, or the outputs' words. Learns nothing."""
        lay = self.layout
        b = Builder(self.config)
        with b.loop(1):
            if not resident:
                self.take_input(b, tick=False)
            self.still_drives(b)
            self.free_phase(b)
            if not resident:
                b.add(
                    Emit(
                        kind=EmitKind.PLANE if outputs else EmitKind.ARGMAX,
                        base=lay.plane("free", lay.depth),
                        count=lay.network.sizes[-1],
                    )
                )
        b.add(Halt())
        return b.build()

    def layer_program(self, layer: int) -> Program:
        """For measurement: one layer's free step, from the planes and drives as they are."""
        b = Builder(self.config)
        self.relax(b, layer, dst="free", below="free", above="free")
        b.add(Halt())
        return b.build()

    def phase_program(self, phase: str) -> Program:
        """For measurement, on planes that are loaded already: "free" (drives and free phase),
        "nudged" (error, nudge and nudged phases, from the free planes as they are) or "update"
        (means, error planes, LEARN)."""
        b = Builder(self.config)
        if phase == "free":
            self.still_drives(b)
            self.free_phase(b)
        elif phase == "nudged":
            self.objective.error(b)
            self.nudged_phase(b)
        elif phase == "update":
            self.update(b, Marks())
        else:
            raise ConfigError(f"phase {phase!r}: must be free, nudged or update")
        b.add(Halt())
        return b.build()

    # Data -------------------------------------------------------------------------------------

    def constants(self) -> dict[str, np.ndarray]:
        """Tiles of constants by name, real, shape (P, P); those of `Layout.tile_names`."""
        eye = np.eye(self.config.p)
        tiles = {"one": eye, "beta": self.settings.beta * eye, **self.objective.constants()}
        return tiles | {f"gain{_behind(j)}": gain * eye for j, gain in enumerate(self._gains)}

    def prepare(self, device: Device) -> None:
        """Load what the programs take for granted: the constant group, zeros, constant tiles."""
        lay, f, p = self.layout, self.formats, self.config.p
        planes = np.zeros((lay.state_groups, p), dtype=np.int64)
        one = 1 << f.state_frac
        planes[lay.constant, 0] = one
        planes.reshape(-1)[lay.x * p + self.layout.block(1).bias_column] = one
        device.write(Space.STATE, 0, planes.reshape(-1))
        values = self.constants()
        tiles = [
            to_integers(values[name], f.weight_frac, self.config.weight_bits)
            for name in lay.tile_names
        ]
        write_tiles(device, lay.tile("one"), np.stack(tiles))
        table = self.objective.table()
        if table is not None:
            device.write(Space.TABLE, 0, table)

    def encode_inputs(self, x: np.ndarray) -> list[bytes]:
        """Inputs, float (n, features), to the bytes that WAIT takes, one entry a sample."""
        bits = self.settings.input_bits
        if bits == 16:
            words = to_integers(x, self.formats.state_frac, self.config.state_bits)
            return self._words(words)
        levels = np.clip(np.rint(x * (1 << bits)), 0, (1 << bits) - 1).astype(np.uint8)
        spread = np.unpackbits(levels[..., None], axis=-1, bitorder="little")[..., :bits]
        packed = np.packbits(spread.reshape(len(x), -1), axis=-1, bitorder="little")
        return [row.tobytes() for row in packed]

    def encode_targets(self, y: np.ndarray) -> list[bytes]:
        """Labels (n,) int, or real targets (n, outputs) float, to the bytes that WAIT takes."""
        values = self.targets_of(y)
        return self._words(to_integers(values, self.formats.state_frac, self.config.state_bits))

    def class_targets(self, outputs: int) -> np.ndarray:
        """Targets of each class, (classes, outputs)."""
        low, high = self.objective.targets()
        return np.where(np.eye(outputs, dtype=bool), high, low)

    def initial(self, weights: list[np.ndarray]) -> list[np.ndarray]:
        """Random weights of both signs as this rule's networks may start from them."""
        return weights

    def outside(
        self, weights: list[np.ndarray], x: np.ndarray, y: np.ndarray, halvings: int = 0
    ) -> list[np.ndarray]:
        """What the host learns from samples in the machine's place, if `OUTSIDE`: new weights.

        ``weights``: real, as the machine holds them; ``x``, ``y``: as for `encode_inputs` and
        `encode_targets`; ``halvings``: of the rates, so far.
        """
        raise NotImplementedError

    def targets_of(self, y: np.ndarray) -> np.ndarray:
        """Targets, (n, outputs), of labels or of targets."""
        y = np.asarray(y)
        return self.class_targets(self.layout.network.sizes[-1])[y] if y.ndim == 1 else y

    def _words(self, words: np.ndarray) -> list[bytes]:
        size = (self.config.state_bits + 7) // 8
        raw = np.ascontiguousarray(words.astype("<i8")).view(np.uint8)
        raw = raw.reshape(*words.shape, 8)[..., :size]
        return [row.tobytes() for row in np.ascontiguousarray(raw)]


def open_loops(b: Builder) -> int:
    """How many LOOPs are open: the innermost one's index is X of that number."""
    kinds = [type(instruction) for instruction in b.instructions]
    return kinds.count(Loop) - kinds.count(Next)


def _behind(pair: int) -> str:
    return str(pair) if pair else ""
