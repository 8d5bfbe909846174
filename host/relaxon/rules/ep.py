"""Equilibrium Propagation as a program (Scellier & Bengio 2017; centered: Laborieux et al. 2021).

The energy of a state s is ``1/2 sum s^2 - sum_l s_l^T W_l s_{l-1} - sum b s``, each s clipped to
[0, 1] (the hard sigmoid). The free phase minimises it layer by layer; the nudged phases minimise
it with the current ``+-beta (y - o_free)`` on the outputs, held fixed. Then

    dW_l = rate_l * (s_l s_{l-1}^T in phase A - the same in phase B) / (beta_A - beta_B)
         = d_l m_{l-1}^T + m_l d_{l-1}^T,

with ``d = rate (s_A - s_B) / (beta_A - beta_B)`` (an error plane) and ``m = (s_A + s_B) / 2``.
"""

from dataclasses import dataclass, field
from math import floor, log2

import numpy as np

from relaxon_isa.config import ArrayConfig
from relaxon_isa.errors import ConfigError
from relaxon_isa.instructions import (
    Activation,
    Emit,
    EmitKind,
    Halt,
    Judge,
    Learn,
    LearnLevel,
    Mac,
    MacLevel,
    Pack,
    Sign,
    Skip,
    Wait,
)
from relaxon_isa.memory import Space
from relaxon_isa.program import Builder, Program

from ..devices.base import Device
from ..layout import Layout
from ..network import Formats, to_integers
from ..weights import write_tiles

__all__ = ["PHASES", "EPSettings", "EquilibriumPropagation", "default_rate_shifts"]

PHASES = ("centered", "positive", "negative")


def default_rate_shifts(depth: int) -> tuple[int, ...]:
    """2**-6 for all weight layers but the last, 2**-9 for the last."""
    return (6,) * (depth - 1) + (9,)


INPUT_PACKS = {1: Pack.B1, 2: Pack.B2, 4: Pack.B4, 8: Pack.B8, 16: Pack.WORD}


@dataclass(frozen=True, kw_only=True)
class EPSettings:
    """Parameters of training and inference.

    Parameters
    ----------
    phases
        "centered": phases +beta and -beta, side by side. "positive", "negative": one nudged
        phase against the free one.
    beta
        Strength of the nudge, 0 <= beta < 4; held in the weight format.
    rate_shifts
        Learning rate 2**-shift of each weight layer, input side first.
    margin
        Skip nudge and update where every output is within this of its target; 0: never.
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
    frozen
        Weight layers (1 = input side) that do not learn.
    """

    phases: str = "centered"
    beta: float = 0.5
    rate_shifts: tuple[int, ...] = default_rate_shifts(2)
    margin: float = 0.0
    free_cap: int = 40
    nudged_cap: int = 20
    tolerance: float = 0.0
    fixed_sweeps: bool = False
    grid: int = 8
    targets: tuple[float, float] = (0.0, 0.75)
    input_bits: int = 8
    frozen: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        def need(ok: bool, name: str, allowed: str) -> None:
            if not ok:
                raise ConfigError(f"{name} = {getattr(self, name)!r}: must be {allowed}")

        need(self.phases in PHASES, "phases", "one of " + ", ".join(PHASES))
        need(0 <= self.beta < 4, "beta", "0 <= beta < 4")
        need(0 <= self.margin < 2, "margin", "0 <= margin < 2")
        need(1 <= self.free_cap <= 65536, "free_cap", "1 to 65536")
        need(1 <= self.nudged_cap <= 65536, "nudged_cap", "1 to 65536")
        need(0 <= self.tolerance < 1, "tolerance", "0 <= tolerance < 1")
        need(self.input_bits in INPUT_PACKS, "input_bits", "1, 2, 4, 8 or 16")
        need(all(-2 <= t < 2 for t in self.targets), "targets", "in [-2, 2)")
        need(all(0 <= s <= 24 for s in self.rate_shifts), "rate_shifts", "each 0 to 24")


@dataclass
class _Marks:
    """Indices of instructions that a schedule patches."""

    samples: int = -1
    rates: dict[int, list[int]] = field(default_factory=dict)


class EquilibriumPropagation:
    """The programs of EP for one network on one configuration.

    `train_program` takes samples (`encode_sample`), trains on each and hands over the arg max of
    the free outputs; `infer_program` relaxes and hands over arg max or outputs. `phase_program`
    and `step_program` run one part for measurement. Before the first run, `prepare` loads the
    constants: the ones group and the diagonal tiles.
    """

    name = "ep"

    def __init__(self, layout: Layout, settings: EPSettings):
        self.layout = layout
        self.config: ArrayConfig = layout.config
        self.formats = Formats(layout.config)
        self.settings = settings
        depth = layout.depth
        if len(settings.rate_shifts) != depth:
            raise ConfigError(
                f"{len(settings.rate_shifts)} learning-rate shifts for {depth} weight layers: "
                "give one for each, input side first"
            )
        if any(not 1 <= layer <= depth for layer in settings.frozen):
            raise ConfigError(f"frozen layers {settings.frozen}: there are layers 1 to {depth}")
        if not 1 <= settings.grid <= self.formats.state_frac:
            raise ConfigError(
                f"grid = {settings.grid}: states of this machine have 1 to "
                f"{self.formats.state_frac} fraction bits"
            )
        # 1 / (beta_A - beta_B) as mantissa (in the gain tile) and exponent (in the shift).
        distance = settings.beta * (2 if settings.phases == "centered" else 1)
        if settings.phases == "negative":
            distance = settings.beta  # phase A is then the free one
        inverse = 1 / distance if distance else 0.0
        self._gain_exponent = floor(log2(inverse)) if inverse else 0
        self._gain = inverse * 2.0**-self._gain_exponent

    # Planes of the two phases whose difference is learned.

    def _pair(self, layer: int) -> tuple[int, int]:
        names = {
            "centered": ("plus", "minus"),
            "positive": ("plus", "free"),
            "negative": ("free", "minus"),
        }[self.settings.phases]
        return self.layout.plane(names[0], layer), self.layout.plane(names[1], layer)

    @property
    def _nudged_phases(self) -> int:
        return 2 if self.settings.phases == "centered" else 1

    @property
    def _nudged_name(self) -> str:
        return "minus" if self.settings.phases == "negative" else "plus"

    def _nudged(self, layer: int) -> int:
        return self.layout.plane(self._nudged_name, layer)

    # Shared parts of the programs ----------------------------------------------------------

    def _tail(self, layer: int) -> dict:
        return {"tail": self.layout.tail(layer)}

    def _to_state(self) -> dict:
        """Round the accumulator to the grid and clip: the exact minimiser on the grid."""
        f, grid = self.formats, self.settings.grid
        return {
            "shift": f.product_frac - grid,
            "up": f.state_frac - grid,
            "one": f.state_frac,
            "activation": Activation.CLIP01,
        }

    def _judged(self, first: bool) -> dict:
        tol = round(self.settings.tolerance * 2**self.formats.state_frac)
        return {"judge": Judge.CHANGE, "fresh": first, "tol": tol}

    def _take_input(self, b: Builder, *, tick: bool) -> None:
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

    def _take_target(self, b: Builder) -> None:
        b.add(
            Wait(
                dst=self.layout.y,
                count=self.layout.network.sizes[-1],
                pack=Pack.WORD,
                signed=True,
            )
        )

    def _still_drives(self, b: Builder) -> None:
        """D = W x + b once a sample, and the biases of the other layers."""
        lay = self.layout
        for layer in range(1, lay.depth + 1):
            columns = lay.columns(layer)
            first = layer == 1
            b.add(
                Mac(
                    outer=(MacLevel(count=lay.groups(layer), tile=columns, dst=1),),
                    inner=(MacLevel(count=columns, tile=1, src=1),) if first else (),
                    tile=lay.block(layer) + (0 if first else columns - 1),
                    src=lay.x if first else lay.constant,
                    dst=lay.drive("still", layer),
                    to_drive=True,
                )
            )

    def _clear(self, b: Builder) -> None:
        """Free states above the first layer to 0, so that a sample starts from a known state."""
        lay = self.layout
        if lay.depth == 1:
            return
        groups = sum(lay.groups(layer) for layer in range(2, lay.depth + 1))
        b.add(
            Mac(
                outer=(MacLevel(count=groups, dst=1),),
                tile=lay.diagonal("one"),
                src=lay.zero,
                dst=lay.plane("free", 2),
            )
        )

    def _relax(
        self,
        b: Builder,
        layer: int,
        *,
        dst: str,
        below: str,
        above: str,
        phases: int = 1,
        judged: dict | None = None,
    ) -> None:
        """Set a layer's plane ``dst`` to its minimiser given the planes of its neighbours.

        With two phases, plane names are those of the first; the second lies one plane behind,
        and a "free" neighbour is shared by both.
        """
        lay = self.layout
        groups = lay.groups(layer)
        output = layer == lay.depth
        nudged = dst != "free"
        drive, drive_stride = lay.drive("still", layer), 0
        if output and nudged:
            drive, drive_stride = lay.drive("nudge", layer), groups

        def second(name: str, at: int) -> int:
            """How far behind a plane its second phase's plane lies."""
            if name == "free":
                return 0
            return lay.plane("minus", at) - lay.plane("plus", at)

        def phase(*, src: int = 0, dst: int, drive: int = 0) -> tuple[MacLevel, ...]:
            return (MacLevel(count=2, src=src, dst=dst, drive=drive),) if phases == 2 else ()

        # With two phases the outermost level walks them.
        forward = layer >= 2
        backward = layer < lay.depth
        if forward and backward:
            # Current from below into a drive of its own, then the one from above on top.
            below_groups, columns = lay.groups(layer - 1), lay.columns(layer)
            temporary = lay.drive("below", layer)
            b.add(
                Mac(
                    outer=(
                        *phase(src=second(below, layer - 1), dst=groups, drive=drive_stride),
                        MacLevel(count=groups, tile=columns, dst=1, drive=1),
                    ),
                    inner=(MacLevel(count=below_groups, tile=1, src=1),),
                    tile=lay.block(layer),
                    src=lay.plane(below, layer - 1),
                    dst=temporary,
                    drive=drive,
                    from_drive=True,
                    to_drive=True,
                )
            )
            drive, drive_stride = temporary, groups
        common = {
            "dst": lay.plane(dst, layer),
            "drive": drive,
            "from_drive": True,
            **self._to_state(),
            **self._tail(layer),
            **(judged or {}),
        }
        shift = {"dst": second(dst, layer), "drive": drive_stride}
        if backward:
            columns = lay.columns(layer + 1)
            b.add(
                Mac(
                    outer=(
                        *phase(src=second(above, layer + 1), **shift),
                        MacLevel(count=groups, tile=1, dst=1, drive=1),
                    ),
                    inner=(MacLevel(count=lay.groups(layer + 1), tile=columns, src=1),),
                    tile=lay.block(layer + 1),
                    src=lay.plane(above, layer + 1),
                    transposed=True,
                    **common,
                )
            )
        elif forward:
            b.add(
                Mac(
                    outer=(
                        *phase(src=second(below, layer - 1), **shift),
                        MacLevel(count=groups, tile=lay.columns(layer), dst=1, drive=1),
                    ),
                    inner=(MacLevel(count=lay.groups(layer - 1), tile=1, src=1),),
                    tile=lay.block(layer),
                    src=lay.plane(below, layer - 1),
                    **common,
                )
            )
        else:  # a network without hidden layers: the drive is all there is
            b.add(
                Mac(
                    outer=(*phase(**shift), MacLevel(count=groups, dst=1, drive=1)),
                    tile=lay.diagonal("one"),
                    src=lay.zero,
                    **common,
                )
            )

    def _free_phase(self, b: Builder) -> None:
        s = self.settings
        self._clear(b)
        with b.loop(s.free_cap, until=not s.fixed_sweeps, sweep=True):
            for layer in range(1, self.layout.depth + 1):
                judged = self._judged(layer == 1)
                self._relax(b, layer, dst="free", below="free", above="free", judged=judged)

    def _error(self, b: Builder) -> None:
        """e = y - o_free; with a margin, the flag says whether every |e| is within it."""
        lay, f = self.layout, self.formats
        margin = {}
        if self.settings.margin:
            tol = int(self.settings.margin * 2**f.state_frac)
            margin = {"judge": Judge.VALUE, "fresh": True, "tol": tol}
        b.add(
            Mac(
                outer=(MacLevel(count=lay.groups(lay.depth), src=1, dst=1),),
                inner=(MacLevel(count=2, src=lay.plane("free", lay.depth) - lay.y, flip=True),),
                tile=lay.diagonal("one"),
                src=lay.y,
                dst=lay.e,
                shift=f.weight_frac,
                **self._tail(lay.depth),
                **margin,
            )
        )

    def _nudged_phase(self, b: Builder) -> None:
        """From the free state: the first sweep reads it, so that nothing is copied."""
        lay, s = self.layout, self.settings
        phases, groups = self._nudged_phases, lay.groups(lay.depth)
        outer: tuple[MacLevel, ...] = (MacLevel(count=groups, src=1, dst=1, drive=1),)
        if phases == 2:
            outer = (MacLevel(count=2, dst=groups, flip=True), *outer)
        b.add(
            Mac(
                outer=outer,
                tile=lay.diagonal("beta"),
                src=lay.e,
                dst=lay.drive("nudge", lay.depth),
                drive=lay.drive("still", lay.depth),
                from_drive=True,
                to_drive=True,
                sign=Sign.MINUS if s.phases == "negative" else Sign.PLUS,
            )
        )
        name = self._nudged_name
        layers = range(lay.depth, 0, -1)  # from the outputs down, as the nudge spreads
        for layer in layers:
            self._relax(b, layer, dst=name, below="free", above=name, phases=phases)
        if s.nudged_cap == 1:
            return
        with b.loop(s.nudged_cap - 1, until=not s.fixed_sweeps, sweep=True):
            for layer in layers:
                judged = self._judged(layer == lay.depth)
                self._relax(
                    b, layer, dst=name, below=name, above=name, phases=phases, judged=judged
                )

    def position(self, layer: int, extra: int = 0) -> int:
        """The finest rounding position whose error plane holds rate * (s_A - s_B) / distance."""
        shift = self.settings.rate_shifts[layer - 1] + extra
        largest = self._gain * 2.0 ** (self._gain_exponent - shift)
        for position in (1, 0):
            top = 2.0 ** (self.config.state_bits - 1 - self.formats.error_frac(position))
            if largest < top:
                return position
        return 0

    def _difference(self, plane: str, layer: int, weights: int) -> Mac:
        """The error plane of ``layer`` at the rate of the weights into layer ``weights``."""
        lay, f = self.layout, self.formats
        a, second = self._pair(layer)
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
        return Mac(
            outer=(MacLevel(count=lay.groups(layer), src=1, dst=1),),
            inner=(MacLevel(count=2, src=second - a, flip=True),),
            tile=lay.diagonal("gain"),
            src=a,
            dst=lay.plane(plane, layer),
            shift=shift,
            **self._tail(layer),
        )

    def _update(self, b: Builder, marks: _Marks) -> None:
        lay, f, s = self.layout, self.formats, self.settings
        learning = [layer for layer in range(1, lay.depth + 1) if layer not in s.frozen]
        for layer in range(1, lay.depth + 1):
            if layer in learning:
                index = b.add(self._difference("rise", layer, layer))
                marks.rates.setdefault(layer, []).append(index)
            if layer + 1 in learning and layer < lay.depth:
                index = b.add(self._difference("fall", layer, layer + 1))
                marks.rates.setdefault(layer + 1, []).append(index)
            needed = {layer, layer + 1} & set(learning) - {1}
            if needed:
                a, second = self._pair(layer)
                b.add(
                    Mac(
                        outer=(MacLevel(count=lay.groups(layer), src=1, dst=1),),
                        inner=(MacLevel(count=2, src=second - a),),
                        tile=lay.diagonal("one"),
                        src=a,
                        dst=lay.plane("mean", layer),
                        shift=f.weight_frac + 1,
                        **self._tail(layer),
                    )
                )
        for layer in learning:
            columns, position = lay.columns(layer), self.position(layer)
            rows = LearnLevel(count=lay.groups(layer), tile=columns, row=1)
            rise = lay.plane("rise", layer)
            if layer == 1:  # the input is the same in both phases: one term, bias included
                outer = (rows, LearnLevel(count=columns, tile=1, col=1))
                b.add(Learn(outer=outer, tile=lay.block(1), col=lay.x, row=rise, position=position))
                continue
            mean, mean_below = lay.plane("mean", layer), lay.plane("mean", layer - 1)
            inner = LearnLevel(
                count=2, row=mean - rise, col=lay.plane("fall", layer - 1) - mean_below
            )
            b.add(
                Learn(
                    outer=(rows, LearnLevel(count=columns - 1, tile=1, col=1)),
                    inner=(inner,),
                    tile=lay.block(layer),
                    row=rise,
                    col=mean_below,
                    position=position,
                )
            )
            b.add(
                Learn(
                    outer=(rows,),
                    tile=lay.block(layer) + columns - 1,
                    row=rise,
                    col=lay.constant,
                    position=position,
                )
            )

    # Programs ------------------------------------------------------------------------------

    def _train_body(self, b: Builder, marks: _Marks) -> None:
        self._still_drives(b)
        self._free_phase(b)
        self._error(b)
        if self.settings.margin:
            with b.loop(1, skip=Skip.IF_FLAG):
                self._nudged_phase(b)
                self._update(b, marks)
        else:
            self._nudged_phase(b)
            self._update(b, marks)

    def train_program(self, *, report: bool = True) -> tuple[Program, _Marks]:
        """One pass over the samples of a run. ``report``: EMIT the arg max of each free output.

        The trips of its outermost loop are the samples: `for_samples` sets them.
        """
        b, marks = Builder(self.config), _Marks()
        with b.loop(1) as marks.samples:
            self._take_input(b, tick=True)
            self._take_target(b)
            self._train_body(b, marks)
            if report:
                b.add(
                    Emit(
                        kind=EmitKind.ARGMAX,
                        base=self.layout.plane("free", self.layout.depth),
                        count=self.layout.network.sizes[-1],
                    )
                )
        b.add(Halt())
        return b.build(), marks

    def resident_program(self) -> Program:
        """One training sample that is in the planes already: what `bench cycles` measures."""
        b = Builder(self.config)
        self._train_body(b, _Marks())
        b.add(Halt())
        return b.build()

    def infer_program(self, *, outputs: bool = False, resident: bool = False) -> Program:
        """Relax each sample freely; EMIT the arg max, or the outputs' words. Learns nothing."""
        lay = self.layout
        b = Builder(self.config)
        with b.loop(1):
            if not resident:
                self._take_input(b, tick=False)
            self._still_drives(b)
            self._free_phase(b)
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
        self._relax(b, layer, dst="free", below="free", above="free")
        b.add(Halt())
        return b.build()

    def phase_program(self, phase: str) -> Program:
        """For measurement, on planes that are loaded already: "free" (drives and free phase),
        "nudged" (error, nudge and nudged phases, from the free planes as they are) or "update"
        (means, error planes, LEARN)."""
        b = Builder(self.config)
        if phase == "free":
            self._still_drives(b)
            self._free_phase(b)
        elif phase == "nudged":
            self._error(b)
            self._nudged_phase(b)
        elif phase == "update":
            self._update(b, _Marks())
        else:
            raise ConfigError(f"phase {phase!r}: must be free, nudged or update")
        b.add(Halt())
        return b.build()

    # Data ----------------------------------------------------------------------------------

    def prepare(self, device: Device) -> None:
        """Load what the programs take for granted: the constant group, zeros, diagonal tiles."""
        lay, f, p = self.layout, self.formats, self.config.p
        planes = np.zeros((lay.state_groups, p), dtype=np.int64)
        one = 1 << f.state_frac
        planes[lay.constant, 0] = one
        planes.reshape(-1)[lay.x * p + lay.bias_column(1)] = one
        device.write(Space.STATE, 0, planes.reshape(-1))
        values = {"one": 1.0, "beta": self.settings.beta, "gain": self._gain}
        eye = np.eye(p, dtype=np.int64)
        tiles = [
            eye * to_integers(np.array(values[name]), f.weight_frac, self.config.weight_bits)
            for name in lay.DIAGONALS
        ]
        write_tiles(device, lay.diagonal("one"), np.stack(tiles))

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
        y = np.asarray(y)
        outputs = self.layout.network.sizes[-1]
        if y.ndim == 1:
            low, high = self.settings.targets
            values = np.full((len(y), outputs), low)
            values[np.arange(len(y)), y] = high
        else:
            values = y
        return self._words(to_integers(values, self.formats.state_frac, self.config.state_bits))

    def _words(self, words: np.ndarray) -> list[bytes]:
        size = (self.config.state_bits + 7) // 8
        raw = np.ascontiguousarray(words.astype("<i8")).view(np.uint8)
        raw = raw.reshape(*words.shape, 8)[..., :size]
        return [row.tobytes() for row in np.ascontiguousarray(raw)]
