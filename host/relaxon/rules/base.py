"""What learning rules have in common: relax, nudge, hold, difference, update.

A rule is a class with a name that compiles to a program. All follow one pattern: a waveform of
nudges beta_k, the states s_k that they lead to, coefficients c_k, and the local update

    dW = rate * sum_k c_k s_i(k) s_j(k).

Phases come in pairs (A, B) with opposite coefficients c and -c, so that each pair's part is

    s_A s_A^T - s_B s_B^T = d m^T + m d^T,    d = s_A - s_B,  m = (s_A + s_B) / 2:

two terms of a LEARN, error planes ``rise`` and ``fall`` (d, scaled by the rates of the weights
below and above) against the plane ``mean``. `Rule` has the parts; what a rule adds is which phases
there are and in which order the parts run. What pulls at the outputs is the objective's matter
(`relaxon.rules.objectives`), which weights there are the layout's (`relaxon.layout`), how a nest
passes them the block's (`relaxon.connections`).
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from math import floor, log2
from typing import Any, ClassVar

import numpy as np

from relaxon_device.base import Device
from relaxon_isa import (
    Activation,
    ArrayConfig,
    Builder,
    ConfigError,
    Emit,
    EmitKind,
    Halt,
    Judge,
    LearnLevel,
    Mac,
    Pack,
    Program,
    Sign,
    Skip,
    Space,
    Wait,
    rows_of,
)

from ..checks import unit
from ..connections import Block, Region
from ..layout import MemoryNeeds
from ..network import Network, to_integers
from ..weights import write_tiles
from .encoding import octets_of, pack_octets
from .objectives import OBJECTIVES, Objective
from .parts import Parts, PatchPoints, Source, behind, open_loops
from .settings import INPUT_PACKS, RATES, RuleSettings, check_choices, parse_skips, rate_shifts

__all__ = ["Rule"]


class Rule(Parts):
    """The programs of a learning rule for one network on one configuration.

    `train_program` takes samples (`encode_inputs`, then `encode_targets`), trains on each and EMITs
    the arg max of the free outputs; `infer_program` relaxes and EMITs arg max or outputs.
    `phase_program` and `layer_program` run one part for measurement. Before the first run,
    `prepare` loads the constants: the ones group and the tiles of constants.

    A rule of its own derives from this class or from another rule, sets the names below, and says
    in `train_body` which parts run in which order.

    Raises ConfigError for settings, objective or architecture that make no sense with the rule or
    do not fit the machine.
    """

    name: ClassVar[str]
    """Name for --rule and `RuleSettings.name`."""
    paper: ClassVar[str]
    """Author and year."""
    summary: ClassVar[str]
    """Phases and update, in a line."""
    OPTIONS: ClassVar[dict[str, tuple[float, str]]] = {}
    """Parameters of this rule alone: default and meaning."""
    DEFAULTS: ClassVar[dict] = {}
    """Settings whose default differs from that of `RuleSettings`."""
    OBJECTIVES: ClassVar[tuple[str, ...]] = ("squared-error",)
    """Names of the objectives that go with the rule; the first is its default."""
    ARCHITECTURES: ClassVar[dict[str, str]] = {
        "skip": "its program has no place for skip connections",
        "backward": "it has no use for backward weights of their own",
    }
    """Kinds of architecture that the rule refuses: kind and reason."""
    RATES: ClassVar[tuple[int, int]] = RATES
    """Default rate shifts: one for all weight layers but the last, one for the last."""
    OUTPUT: ClassVar[str] = "clip"
    """Default of the setting `output`."""
    FEEDFORWARD: ClassVar[str] = ""
    """The activation ("clip", "relu") if its free phase is one forward pass."""
    OUTSIDE: ClassVar[bool] = False
    """Whether the host learns instead of the machine, by `outside`."""
    EARLY_STOP: ClassVar[str] = ""
    """Why its free phase may not end before it has settled, if so: refuses `early_stop`."""
    SYMMETRIC: ClassVar[bool] = True
    """Whether its gradient is that of a network whose connections have one weight both ways."""
    RESISTIVE: ClassVar[bool] = False
    """Whether weights are conductances between nodes."""
    REPORT: ClassVar[str] = "free"
    """The plane whose output a training sample reports."""
    LEAN: ClassVar[bool] = False
    """Whether convolutional networks may keep two planes a neuron (`MemoryNeeds.lean`)."""
    PLAIN: ClassVar[str] = ""
    """Why the rule is refused for convolutional networks; empty: it is not."""
    FEEDBACK: ClassVar[bool] = False
    """Whether its updates stay gradients where feedback is scaled."""
    UPDATE_SIGN: ClassVar[Sign] = Sign.PLUS
    """Sign of the differences that are learned."""

    def __init__(self, network: Network, config: ArrayConfig, settings: RuleSettings) -> None:
        self.settings, self.config = settings, config  # `_check` and `needs` read them
        check_choices(settings, type(self), OBJECTIVES, network)
        self._check(network.depth)
        self.output = settings.output or self.OUTPUT
        objective = OBJECTIVES[settings.objective or self.OBJECTIVES[0]]
        super().__init__(network, config, settings, objective.needs(self.needs(network)))
        self.objective: Objective = objective(self)
        gains = self.gains()
        largest = max(gains)
        self._gain_exponent = floor(log2(largest)) if largest else 0
        self._gains = [gain * 2.0**-self._gain_exponent for gain in gains]

    def _check(self, depth: int) -> None:
        """Raise ConfigError for settings that make no sense with this rule."""
        own = type(self)
        parts = own.free_phase, own.train_body
        if self.settings.early_stop and parts != (Rule.free_phase, Rule.train_body):
            raise ConfigError(f"early_stop with rule {self.name}: its free phase is its own")

    @classmethod
    def rate_shifts(cls, depth: int, decay: bool = False) -> tuple[int, ...]:
        """Default learning rates of ``depth`` weight layers; larger where they decay."""
        return rate_shifts(depth, (5, 4) if decay else cls.RATES)

    # What a rule says of itself ---------------------------------------------------------------

    def needs(self, network: Network) -> MemoryNeeds:
        """What the rule keeps in memory beyond plain layers. Called before there is a layout."""
        pursued = self.settings.objective or self.OBJECTIVES[0]
        lean = network.convolves and self.LEAN and pursued in ("squared-error", "clamping")
        return MemoryNeeds(
            lean=lean,
            tiles=("less",) * lean,
            scales=(network.depth + 1) // 2 if self.settings.feedback else 1,
            skips=parse_skips(self.settings.architecture),
            backward=self.settings.architecture == "backward",
        )

    def option(self, name: str) -> float:
        """Value of one of `OPTIONS`."""
        return self.settings.options.get(name, self.OPTIONS[name][0])

    def _check_whole(self, name: str, low: int, high: int) -> None:
        """Raise ConfigError unless a parameter is one of the whole numbers low to high."""
        value = self.option(name)
        if value not in range(low, high + 1):
            limits = f"{low} or {high}" if high == low + 1 else f"a whole number, {low} to {high}"
            raise ConfigError(f"{name} = {value:g}: must be {limits}")

    def gains(self) -> list[float]:
        """The coefficient c of each pair of phases."""
        return [1.0]

    @property
    def pairs(self) -> list[tuple[str, ...]]:
        """Names of the planes (A, B) of each pair of phases, whose difference is learned."""
        return [("plus", "minus")]

    # Shared parts of the programs -------------------------------------------------------------

    def needs_error(self) -> bool:
        """A part of its own may read it; where outputs go beyond [0, 1] it may meet the end of the
        format."""
        own = type(self)
        usual = (own.nudged_phase, own.update) == (Rule.nudged_phase, Rule.update)
        return not usual or self.output != "clip"

    def to_state(self, layer: int) -> dict:
        """Round the accumulator to the grid and clip: the exact minimiser on the grid."""
        frac = self.frac(layer)
        grid = min(self.settings.grid, frac - self.layout.needs.lean)  # half a sum stays exact
        linear = layer == self.layout.depth and self.output == "linear"
        return {
            "shift": self.sum_frac(layer) - grid,
            "up": frac - grid,
            "one": frac,
            "activation": Activation.LINEAR if linear else Activation.CLIP01,
        }

    def judged(self, layer: int, first: bool) -> dict:
        """Fields of a MAC that clears the flag if a state moves by more than the tolerance;
        ``first``: the flag is set before."""
        tol = round(self.settings.tolerance * 2 ** self.frac(layer))
        return {"judge": Judge.CHANGE, "fresh": first, "tol": tol}

    def take_input(self, b: Builder, *, tick: bool) -> None:
        """WAIT for an input: one, or a LOOP of one for each position of a map (`Layer.waits`)."""
        image, bits = self.layout.layers[0], self.settings.input_bits
        pack, signed = INPUT_PACKS[bits], bits == 16 or self.settings.input_offset > 0
        waits, count = image.waits
        wait = {"dst": self.layout.x + image.origin, "count": count, "pack": pack, "signed": signed}
        wait["shift"] = 0 if bits == 16 else self.formats.state_frac - bits + signed
        if waits == 1:
            b.add(Wait(**wait, tick=tick))
            return
        with b.loop(waits, step=image.column):
            b.add(Wait(**wait, dst_x=open_loops(b)))

    def takes_ahead(self) -> bool:
        """Whether samples with labels are taken from the machine's buffer, and programs walk over
        their lists: with `early_stop`, on parts that are those of all rules. A walk leaves out
        updates of 0, of which stochastic rounding makes a draw of its own."""
        own, image, config = type(self), self.layout.layers[0], self.config
        parts = ("static_drives", "learn", "take_input", "take_target", "encode_inputs")
        usual = all(getattr(own, part) is getattr(Rule, part) for part in parts)
        return (
            self.settings.early_stop
            and not self.settings.stochastic
            and usual
            and own.class_targets is Rule.class_targets
            and self.settings.input_bits <= 8
            and (image.waits[0], image.always_on, self.layout.needs.words) == (1, 1, 1)
            and 2 * image.column <= config.sample_buffer
            and self.layout.network.sizes[-1] <= 256
        )

    def take_sample(self, b: Builder, *, labelled: bool) -> None:
        """WAIT for a sample that is unpacked ahead, and with its label for the target plane."""
        lay, image, bits = self.layout, self.layout.layers[0], self.settings.input_bits
        signed = self.settings.input_offset > 0
        wait = {"pack": INPUT_PACKS[bits], "signed": signed, "tick": labelled}
        if labelled:
            low, high = self.objective.targets()
            words = to_integers(np.array([low, high]), self.frac(lay.depth), self.config.state_bits)
            wait |= {"dst": lay.y, "outputs": lay.network.sizes[-1]}
            wait |= {"low": int(words[0]), "high": int(words[1])}
        shift = self.formats.state_frac - bits + signed
        b.add(Wait(count=image.channels, shift=shift, ahead=True, bias=True, **wait))

    def take_target(self, b: Builder) -> None:
        """WAIT for a target; after an input in pieces it is what ticks."""
        lay, tick = self.layout, self.layout.layers[0].waits[0] > 1
        count = lay.network.sizes[-1]
        b.add(Wait(dst=lay.y, count=count, pack=Pack.WORD, signed=True, tick=tick))

    def static_drives(self, b: Builder, first: int = 1) -> None:
        """Compute the static drives once per sample, of the layers from ``first`` on: W x + b of
        layer 1, b of the others."""
        lay = self.layout
        skips = [skip for skip in lay.skips if not skip.lower]
        for block in (*lay.blocks[first - 1 : lay.depth], *skips):
            drive = lay.held("static", block.upper)
            for nest in block.static(lay.x, drive, drive if block in lay.skips else None):
                b.add(Mac(to_drive=True, **self.over_lists(b, nest)))

    def clear(self, b: Builder, first: int = 2) -> None:
        """Free states from layer ``first`` on to 0, so that a sample starts from a known state.
        (The first layer's are not read before they are written, unless a step reads its own.)"""
        lay = self.layout
        if lay.needs.lean:
            for layer in range(first, lay.depth + 1):
                self.clear_planes(b, lay.plane("free", layer), lay.groups(layer))
        elif groups := sum(layer.groups for layer in lay.layers[first:]):
            self.clear_planes(b, lay.plane("free", first), groups)

    def sources(self, layer: int, below: str, above: str) -> list[Source]:
        """What drives a layer besides its static drive: the planes below, then those above."""
        lay, top = self.layout, self.objective.top_relaxed
        skips = [block for block in lay.skips if block.upper <= top]
        lower = [lay.block(layer)] if layer >= 2 else []
        lower += [block for block in skips if block.upper == layer and block.lower > 0]
        upper = [lay.backward(layer + 1)] if layer < top else []
        upper += [block for block in skips if block.lower == layer]
        return [
            *(Source(block, False, self.at(below, block.lower)) for block in lower),
            *(Source(block, True, self.at(above, block.upper)) for block in upper),
        ]

    def with_own_state(self, b: Builder, layer: int, plane: str, drive: Region) -> Region:
        """Hook: the drive that a layer's accumulation starts from. Returns ``drive``; rules whose
        units keep part of their old state return one that contains it."""
        return drive

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
        nudged = dst != "free" if nudged is None else nudged
        drive = self.objective.drive(layer) if nudged else None
        drive = drive or self.drive(layer, nudged=nudged)
        fields = {**self.to_state(layer), **self.tail(layer), **(judged or {}), **state}
        sources = self.sources(layer, below, above)
        if nudged and layer == self.layout.depth and self.objective.RELAXES_OUTPUT:
            self.objective.relax_output(b, sources, dst, phases, **fields)
            return
        drive = self.with_own_state(b, layer, dst, drive)
        place = self.at(dst, layer)
        self.drive_layer(b, layer, sources, dst=place, drive=drive, phases=phases, **fields)

    def free_phase(self, b: Builder) -> None:
        """Relax to the minimum of E, from zeros, layer by layer upwards."""
        self._free_sweeps(b, lambda layer: self.judged(layer, layer == 1))
        self.objective.read_out(b)

    def early_start(self, b: Builder) -> None:
        """A sample with `early_stop` up to where the flag is asked first: static drives, and a free
        phase, or its first sweep, that ends when every output is within the margin of its
        target."""
        if self._starts_at_once():
            self._start_at_once(b)
            self.clear(b, first=3)
            self._free_sweep(b, self._near, first=2)
        else:
            self.static_drives(b)
            self._free_sweeps(b, self._near)

    def early_rest(self, b: Builder, marks: PatchPoints) -> None:
        """What follows `early_start`: sweeps up to the cap, nudge and update, unless the flag says
        that they are not needed."""
        marks.decision = len(b.instructions)
        further = self.settings.free_cap - 1 if self._starts_at_once() else 0
        # Most samples skip it all. A single sweep needs no LOOP of its own to be counted.
        with b.loop(1, skip=Skip.IF_FLAG, sweep=further == 1):
            if not further:
                self._nudge_and_update(b, marks)
            else:
                with b.loop(further, until=True, sweep=True) if further > 1 else nullcontext():
                    self._free_sweep(b, self._near)
                with b.loop(1, skip=Skip.IF_FLAG):
                    self._nudge_and_update(b, marks)
        if not self._sure():
            self.judge_answer(b)

    def _near(self, layer: int) -> dict:
        """Fields of a free sweep's MACs with `early_stop`: only the outputs, which a sweep writes
        last, are judged."""
        if layer < self.layout.depth:
            return {}
        tol = int(self.settings.margin * 2**self.formats.state_frac)
        return {"judge": Judge.CHANGE, "fresh": True, "tol": tol, "old": Region(self.layout.y)}

    def _sure(self) -> bool:
        """Whether every answer within the margin is right: it is less than half of the targets'
        distance."""
        low, high = self.objective.targets()
        return 2 * self.settings.margin < abs(high - low)

    def _nudge_and_update(self, b: Builder, marks: PatchPoints) -> None:
        if self._sure():
            self.judge_answer(b)
        self.objective.error(b)
        self.nudged_phase(b)
        self.update(b, marks)

    def _starts_at_once(self) -> bool:
        """Whether a first sweep from zeros can take the states of layer 1 from its static drive
        alone, as it is written where the machine can."""
        own = type(self)
        usual = all(
            getattr(own, part) is getattr(Rule, part)
            for part in ("static_drives", "relax", "with_own_state", "to_state")
        )
        return usual and self.objective.top_relaxed > 1

    def _start_at_once(self, b: Builder) -> None:
        """The static drives, and the states of layer 1 while all above are 0."""
        lay = self.layout
        dst, drive = self.at("free", 1), lay.held("static", 1)
        fields = {**self.to_state(1), **self.tail(1)}
        if "both" not in self.config.mac_flags:
            self.static_drives(b)
            self.drive_layer(b, 1, [], dst=dst, drive=drive, **fields)
            return
        block = lay.block(1)
        nest = self.over_lists(b, block.forward(lay.layers[0].plane(lay.x), dst=dst, drive=drive))
        b.add(Mac(**{**nest, **fields, "from_drive": False}, both=True))
        self.static_drives(b, first=2)

    def _free_sweeps(self, b: Builder, judged: Callable[[int], dict]) -> None:
        """Sweeps from zeros until the flag is set; ``judged``: fields of a layer's MACs."""
        s = self.settings
        self.clear(b)
        with b.loop(s.free_cap, until=not s.fixed_sweeps, sweep=True):
            self._free_sweep(b, judged)

    def _free_sweep(self, b: Builder, judged: Callable[[int], dict], first: int = 1) -> None:
        """A sweep of the layers from ``first`` on."""
        for layer in range(first, self.objective.top_relaxed + 1):
            fields = judged(layer)
            self.relax(b, layer, dst="free", below="free", above="free", judged=fields)

    def nudged_phase(self, b: Builder) -> None:
        """Relax the nudged phases. The first sweep reads the free state, so nothing is copied.
        With `early_stop` sweeps are as many as the cap, one after another without a LOOP."""
        s, (name, *_), phases = self.settings, self.nudged_planes, len(self.nudged_planes)
        self.objective.nudge(b)
        top = self.objective.top_nudged
        layers = range(top, 0, -1)  # from the outputs down, as the nudge spreads
        # A layer alone is at its minimum after one step.
        sweeps = 1 if top < self.objective.top_relaxed and top <= 1 else s.nudged_cap
        for k in range(sweeps if s.early_stop else 1):
            for layer in layers:
                below = name if k else "free"
                self.relax(b, layer, dst=name, below=below, above=name, phases=phases)
        if s.early_stop or sweeps == 1:
            return
        with b.loop(s.nudged_cap - 1, until=not s.fixed_sweeps, sweep=True):
            for layer in layers:
                judged = self.judged(layer, layer == top)
                self.relax(b, layer, dst=name, below=name, above=name, phases=phases, judged=judged)

    # Updates ----------------------------------------------------------------------------------

    def _rate(self, weights: int) -> int:
        """The shift that the rate of a weight layer is. Where feedback is scaled, differences of
        states shrink from layer to layer, as the layer's energy counts; the rate makes up for it.
        """
        hops = self.layout.depth - weights
        return self.settings.rate_shifts[weights - 1] - hops * self.settings.feedback

    def position(self, layer: int) -> int:
        """The finest rounding position whose error plane holds rate * (s_A - s_B) * c. Where
        feedback is scaled, differences shrink by it from layer to layer, and so the rates that make
        up for it count without it: else halved rates would round small differences to 0."""
        exponent = self._gain_exponent - self.settings.rate_shifts[layer - 1]
        finest = self.finest(layer, max(self._gains) * 2.0**exponent)
        return finest if self._error_shift(layer, finest) >= self.layout.needs.lean else 0

    def _error_shift(self, weights: int, position: int) -> int:
        """The shift from states times a gain to an error plane of a rounding position."""
        learned = self.frac(weights) + self.frac(weights - 1)
        return (
            learned - self.config.learn_shifts[position] + self._rate(weights) - self._gain_exponent
        )

    def rate_shift(self, weights: int) -> int:
        """The shift of a MAC from states times a gain to the error plane of a weight layer."""
        shift = self._error_shift(weights, self.position(weights))
        if not 0 <= shift < self.config.acc_bits:
            raise ConfigError(
                f"beta = {self.settings.beta} with a rate of 2**-"
                f"{self.settings.rate_shifts[weights - 1]} leaves the formats of this machine: "
                "use a larger beta or a smaller rate"
            )
        return shift

    @property
    def _less(self) -> float:
        """How much smaller gains are than said, on convolutional networks: one step of their words.
        A MAC rounds ties up. Where rates are small, one step of the grid is a tie, and summed over
        all positions of a map that would let every weight drift upwards; just below, it is 0 on
        both sides."""
        return 2.0**-self.formats.weight_frac if self.layout.network.convolves else 0.0

    def difference(
        self,
        b: Builder,
        marks: PatchPoints,
        layer: int,
        weights: int,
        dst: str,
        planes: Sequence[str],
        pair: int = 0,
        **fields: Any,
    ) -> None:
        """The error plane ``dst`` of ``layer``: one plane, or one minus another, times the gain of
        the pair and the rate of the weights into layer ``weights``."""
        names = (dst + behind(pair), *planes)
        into, *bases = (self.layout.plane(name, layer) for name in names)
        scale = {"tile": "gain" + behind(pair), "shift": self.rate_shift(weights)}
        fields = {"flip": True, "sign": self.UPDATE_SIGN, **scale, **fields}
        marks.rate(weights, b.add(self.combine(layer, into, bases, **fields)))

    def mean(self, b: Builder, layer: int, pair: int = 0) -> None:
        """The plane ``mean`` of a pair: half the sum of its states."""
        names = ("mean" + behind(pair), *self.pairs[pair])
        into, *bases = (self.layout.plane(name, layer) for name in names)
        b.add(self.combine(layer, into, bases, shift=self.formats.weight_frac + 1))

    MEAN = "mean"
    """The plane that error planes meet in LEARN."""

    def learning(self) -> list[Block]:
        """Blocks of forward weights that learn from pairs of phases."""
        lay, top = self.layout, self.objective.top_relaxed
        return [
            block
            for block in (*lay.blocks[: lay.depth], *lay.skips)
            if block.upper <= top and block.upper not in self.settings.frozen
        ]

    def falls(self, block: Block) -> str:
        """Name of the error plane of layer ``block.lower`` at the rate of this block."""
        return "fall" if block.upper == block.lower + 1 else f"fall>{block.upper}"

    def update(self, b: Builder, marks: PatchPoints) -> None:
        """Compute error planes and means of each layer, then LEARN each block; or, where that has
        the same bits, scaled states from the second layer on. Where memory is lean, layer by
        layer."""
        learning, scaled = self.learning(), self.scales(marks.halvings)
        lean = self.layout.needs.lean
        for layer in range(1, self.objective.top_relaxed + 1):
            own = [block for block in learning if block.upper == layer]
            if lean:
                self.learn_in_place(b, marks, layer, learning)
            elif not scaled:
                self.errors(b, marks, layer, learning)
            elif layer == 1:
                self.errors(b, marks, layer, own)
            elif own:
                self.scaled_states(b, marks, layer)
        for block in () if lean else learning:
            learn = self.learn_scaled if scaled and block.upper > 1 else self.learn_block
            learn(b, block)
        self.objective.update(b, marks)

    def scales(self, halvings: int) -> bool:
        """Whether `early_stop` learns (r s_A) s_A^T - (r s_B) s_B^T in place of differences and
        means: three planes less. The same integers, and so the same bits, as long as no rate r,
        halved that often, shifts a bit of a state on the grid away.

        Otherwise differences stay; likewise with more than one pair of phases, with outputs beyond
        [0, 1], which their format might not hold, and in a rule with errors of its own."""
        own, top, f = type(self), self.objective.top_relaxed, self.formats
        if not (
            self.settings.early_stop
            and [len(pair) for pair in self.pairs] == [2]
            and (own.errors, own.learn_block) == (Rule.errors, Rule.learn_block)
            and self.output == "clip"
            and self.objective.top_nudged == top
        ):
            return False
        word = np.array(self._gains[0] - self._less)
        gain = int(to_integers(word, f.weight_frac, self.config.weight_bits))
        spare = f.state_frac - self.settings.grid  # lowest bits of a state, all 0
        zeros = spare + (gain & -gain).bit_length() - 1  # ... of its product with the gain
        largest = max((self.rate_shift(layer) for layer in range(2, top + 1)), default=0)
        return spare > 0 and largest + halvings <= zeros

    def scaled_states(self, b: Builder, marks: PatchPoints, layer: int) -> None:
        """The planes ``rise`` and ``fall`` of a layer: its states in phase A, and minus those in
        phase B, times the gain and the rate of the weights into it."""
        (first, second), lay = self.pairs[0], self.layout
        rise, plane = lay.plane("rise", layer), lay.plane(first, layer)
        nest = lay.layers[layer].walk(
            2,
            flip=True,
            src=Region(plane, lay.plane(second, layer) - plane),
            dst=Region(rise, lay.plane("fall", layer) - rise),
        )
        scale = {"tile": lay.tile("gain"), "shift": self.rate_shift(layer)}
        marks.rate(layer, b.add(Mac(**nest, **scale, sign=self.UPDATE_SIGN, **self.tail(layer))))

    def learn_scaled(self, b: Builder, block: Block) -> None:
        """Add (r s_A) s_A^T - (r s_B) s_B^T; for input and biases, the same in both phases."""
        (first, second), lay = self.pairs[0], self.layout
        rise, below = lay.plane("rise", block.upper), lay.plane(first, block.lower)
        row = lay.plane("fall", block.upper) - rise
        terms = LearnLevel(count=2, row=row, col=lay.plane(second, block.lower) - below)
        bias = LearnLevel(count=2, row=row)
        self.learn(b, block, row=rise, col=below, terms=(terms,), bias=(bias,))

    def errors(self, b: Builder, marks: PatchPoints, layer: int, learning: Sequence[Block]) -> None:
        """Compute a layer's planes for the LEARN of the weights below and above it."""
        above = [block for block in learning if block.lower == layer]
        planes = [("rise", layer)] if any(block.upper == layer for block in learning) else []
        planes += [(self.falls(block), block.upper) for block in above]
        met = above or any(block.upper == layer and block.lower for block in learning)
        for pair in range(len(self._gains)):
            for plane, weights in planes:
                self.difference(b, marks, layer, weights, plane, self.pairs[pair], pair)
            if met and self.MEAN == "mean":
                self.mean(b, layer, pair)

    def learn_in_place(
        self, b: Builder, marks: PatchPoints, layer: int, learning: Sequence[Block]
    ) -> None:
        """In lean memory: a layer's ``mean`` takes the place of s_A, ``rise`` that of s_B; once the
        weights below have learned from it, ``fall`` does."""
        below = [block for block in learning if block.upper == layer]
        above = any(block.lower == layer for block in learning)
        met = above or any(block.lower for block in below)
        if met:
            self.mean(b, layer)

        def difference(weights: int, plane: str) -> None:
            shift = self.rate_shift(weights) - met  # s_A - s_B = 2 (mean - s_B)
            self.difference(b, marks, layer, weights, plane, self.pairs[0], shift=shift)

        for block in below:
            difference(layer, "rise")
            self.learn_block(b, block)
        if above and below:
            plane = self.layout.plane("rise", layer)
            shift = self.formats.weight_frac + self.rate_shift(layer + 1) - self.rate_shift(layer)
            b.add(self.combine(layer, plane, [plane], tile="less", shift=shift))
        elif above:
            difference(layer + 1, "fall")

    def learn_block(self, b: Builder, block: Block) -> None:
        """Add d_l m_{l-1}^T + m_l d_{l-1}^T of each pair; for input and biases the first term."""
        lay, pairs = self.layout, len(self._gains)
        rise = lay.plane("rise", block.upper)
        apart = lay.plane("rise1", block.upper) - rise if pairs > 1 else 0
        single = (LearnLevel(count=pairs, row=apart),) if pairs > 1 else ()
        if block.lower == 0:  # the input is the same in both phases
            self.learn(b, block, row=rise, col=lay.x, terms=single, bias=single)
            return
        mean, below = lay.plane(self.MEAN, block.upper), lay.plane(self.MEAN, block.lower)
        fall = lay.plane(self.falls(block), block.lower)
        terms = (LearnLevel(count=2, row=mean - rise, col=fall - below),)
        if pairs > 1:
            terms = (LearnLevel(count=pairs, row=apart, col=apart), *terms)
        self.learn(b, block, row=rise, col=below, terms=terms, bias=single)

    # Programs ---------------------------------------------------------------------------------

    def train_body(self, b: Builder, marks: PatchPoints) -> None:
        """What is done with a sample whose input and target are in their planes: drives, free
        phase, error; then, unless all is within the margin, nudge and update. Leaves the free
        output in its plane."""
        if self.settings.early_stop:
            self.early_start(b)
            self.early_rest(b, marks)
            return
        self.static_drives(b)
        self.free_phase(b)
        self.objective.error(b)
        if self.settings.margin:
            with b.loop(1, skip=Skip.IF_FLAG):
                self.nudged_phase(b)
                self.update(b, marks)
        else:
            self.nudged_phase(b)
            self.update(b, marks)

    def judge_answer(self, b: Builder) -> None:
        """Count a wrong answer, if the program's samples are labelled."""
        if any(isinstance(i, Wait) and i.outputs for i in b.instructions):
            lay = self.layout
            base, count = lay.plane(self.REPORT, lay.depth), lay.network.sizes[-1]
            b.add(Emit(kind=EmitKind.ANSWER, base=base, count=count))

    def train_program(
        self, *, report: bool = True, halvings: int = 0, labelled: bool = False
    ) -> tuple[Program, PatchPoints]:
        """One pass over the samples of a run. ``report``: EMIT the arg max of each free output.
        ``halvings``: how often a schedule will halve the rates. ``labelled``: samples are inputs
        and a label each (`encode_labels`), which needs `takes_ahead`; then WRONG counts arg maxes
        that are not the label, instead of EMITs.

        The trips of its outermost loop are the samples.
        """
        b, marks = Builder(self.config), PatchPoints(halvings=halvings)
        with b.loop(1) as marks.samples:
            if labelled:
                self.take_sample(b, labelled=True)
            else:
                self.take_input(b, tick=True)
                self.take_target(b)
            self.train_body(b, marks)
            if report and not labelled:
                b.add(
                    Emit(
                        kind=EmitKind.ARGMAX,
                        base=self.layout.plane(self.REPORT, self.layout.depth),
                        count=self.layout.network.sizes[-1],
                    )
                )
        b.add(Halt())
        if labelled and self.config.drains and self._sure() and self._starts_at_once():
            b = self._ask_later(b, marks)
        return b.build(), marks

    def _ask_later(self, b: Builder, marks: PatchPoints) -> Builder:
        """The training program with `early_rest` of each sample behind the NEXT, which so executes
        while the outputs are still judged: before the first sample the flag is set, and the last
        one's rest is a copy behind the loop. The same program if that is too long."""
        lay, first, cut = self.layout, marks.samples + 1, marks.decision
        start, rest = b.instructions[first:cut], b.instructions[cut:-2]
        later = Builder(self.config)
        outputs = lay.plane("free", lay.depth), lay.groups(lay.depth)
        self.clear_planes(later, *outputs, judge=Judge.VALUE, fresh=True)
        with later.loop(1) as samples:
            copies = [len(later.instructions)]
            later.instructions += rest + start
        with later.loop(1):  # as deep as the other, for the loops' indices
            copies.append(len(later.instructions))
            later.instructions += rest
        later.add(Halt())
        if sum(map(rows_of, later.instructions)) > self.config.program_rows:
            return b
        marks.samples = samples
        for weights, indices in marks.rates.items():
            marks.rates[weights] = [at + i - cut for at in copies for i in indices]
        return later

    def _program(self, *parts: Callable[[Builder], None]) -> Program:
        b = Builder(self.config)
        for part in parts:
            part(b)
        b.add(Halt())
        return b.build()

    def resident_program(self) -> Program:
        """One training sample that is in the planes already: what `bench cycles` measures."""
        return self._program(lambda b: self.train_body(b, PatchPoints()))

    def infer_program(self, *, outputs: bool = False, resident: bool = False) -> Program:
        """Relax each sample freely; EMIT the arg max, or the outputs' words. Learns nothing."""
        b, lay = Builder(self.config), self.layout
        with b.loop(1):
            if not resident and self.takes_ahead():
                self.take_sample(b, labelled=False)
            elif not resident:
                self.take_input(b, tick=False)
            self.static_drives(b)
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
        return self._program(lambda b: self.relax(b, layer, dst="free", below="free", above="free"))

    def phase_program(self, phase: str) -> Program:
        """For measurement, on planes that are loaded already: "free" (drives and free phase),
        "nudged" (error, nudge and nudged phases, from the free planes as they are) or "update"
        (means, error planes, LEARN)."""
        phases = {
            "free": (self.static_drives, self.free_phase),
            "nudged": (self.objective.error, self.nudged_phase),
            "update": (lambda b: self.update(b, PatchPoints()),),
        }
        if phase not in phases:
            raise ConfigError(f"phase {phase!r}: must be free, nudged or update")
        return self._program(*phases[phase])

    # Data -------------------------------------------------------------------------------------

    def constants(self) -> dict[str, np.ndarray]:
        """Tiles of constants by name, real, shape (P, P); those of `Layout.tile_names`."""
        eye = np.eye(self.config.p)
        zeros = dict.fromkeys(self.layout.tile_names, 0 * eye)
        tiles = {
            **zeros,
            "one": eye,
            "less": (1 - self._less) * eye,
            "beta": self.settings.beta * eye,
            **self.objective.constants(),
        }
        gains = (gain - self._less for gain in self._gains)
        return tiles | {f"gain{behind(j)}": gain * eye for j, gain in enumerate(gains)}

    def prepare(self, device: Device) -> None:
        """Load what the programs take for granted: the constant group, zeros, constant tiles."""
        lay, f, p = self.layout, self.formats, self.config.p
        planes = np.zeros((lay.state_groups, p), dtype=np.int64)
        for scale in range(lay.needs.scales):
            planes[lay.constant + scale, 0] = 1 << self.frac(2 * scale)
        if lay.layers[0].always_on:
            planes.reshape(-1)[lay.x * p + lay.network.sizes[0]] = 1 << f.state_frac
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
        """Inputs (n, features), float, or uint8 with 255 for 1, as the bytes that WAIT takes: one
        entry per sample."""
        image, s = self.layout.layers[0], self.settings
        if s.input_bits < 16:
            x = octets_of(x, s.input_bits, s.input_offset)
        else:
            x = unit(x)
            x = x - x.dtype.type(s.input_offset) if s.input_offset else x
        sent = np.zeros((len(x), *image.waits), dtype=x.dtype)
        flat = sent.reshape(len(x), -1)
        flat[:, image.slots] = x
        if s.input_bits == 16:
            return self.formats.pack(flat, self.formats.state_frac)
        return pack_octets(sent, s.input_bits)

    def encode_targets(self, y: np.ndarray) -> list[bytes]:
        """Labels, int (n,), or targets, float (n, outputs), as the bytes that WAIT takes."""
        return self.formats.pack(self.targets_of(y), self.frac(self.layout.depth))

    def encode_labels(self, y: np.ndarray) -> list[bytes]:
        """Labels, int (n,), as the bytes that a WAIT for a labelled sample takes."""
        return [bytes([label]) for label in y]

    def class_targets(self, outputs: int) -> np.ndarray:
        """Targets of each class, float (classes, outputs)."""
        low, high = self.objective.targets()
        return np.where(np.eye(outputs, dtype=bool), high, low)

    def initial(self, weights: list[np.ndarray]) -> list[np.ndarray]:
        """Turn random weights of both signs into initial weights for this rule."""
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
        """Targets, float (n, outputs), from labels (n,) or from such targets."""
        y = np.asarray(y)
        return self.class_targets(self.layout.network.sizes[-1])[y] if y.ndim == 1 else y
