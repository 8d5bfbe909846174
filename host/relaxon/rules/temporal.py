"""Temporal contrastive learning: synapses that feel how fast their product changes, no phases."""

from dataclasses import replace
from typing import ClassVar

from relaxon_device.base import Device
from relaxon_isa import Builder, ConfigError, Learn, LearnLevel, Mac, MacLevel

from ..layout import MemoryNeeds
from ..network import Network
from ..weights import load_identity
from .oscillation import WaveformRule
from .parts import PatchPoints, open_loops

__all__ = ["TemporalContrastive"]


class TemporalContrastive(WaveformRule):
    """Temporal contrastive learning: a sawtooth of nudges, an integral feedback in every synapse.

    The nudge climbs fast to beta and falls slowly back to 0, one sweep a step, while the network
    keeps relaxing. At every step each synapse compares its product with a memory that follows it,
    and changes by the difference if that is large enough::

        u = s_i s_j - m;  m += u / tau;  w += g(u),  g(u) = u where |u| > dead, else 0

    In equilibrium u is tau times the product's velocity: the fast ramp passes the dead zone, the
    slow one does not, and what is left of a tooth is proportional to s_i s_j nudged minus free. No
    free state is held, no phase reaches the synapse; two words a synapse instead. tau is the
    machine's: 2**integral_shift steps. Products are taken at 2**-rate_shift, so a dead zone of one
    size is one of its own in every layer.

    When a sample arrives the memories are set to the products of the settled state (a LEARN that
    replaces): what they would come to if the network were left alone for a few tau. The first
    layer's current is the one of that moment. In equal ramps (a triangle) both pass or neither
    does, and nothing is learned; for them to cancel, the memories must have seen a tooth before:
    ``warm``.

    Weights change while the tooth runs, and act. With ``held`` they do not: what is learned adds up
    in a word of its own, three a synapse, and goes onto the weight after the last step, as in the
    source's simulation, which is where equal ramps cancel in a network as well.

    Source: Falk, Strupp, Scellier & Murugan 2025 (integral feedback, sawtooth, dead zone). The
    kernel of one exponential is ours, theirs a sine of ten points; there the nudged states start
    from the free one at every level, here the network is carried along.
    """

    name = "tcl"
    paper = "Falk, Strupp, Scellier & Murugan 2025"
    summary = "settle; beta up fast, down slowly; w += g(u), u = ss - m, m += u / tau, every sweep"
    OPTIONS: ClassVar[dict[str, tuple[float, str]]] = {
        "up": (1, "length of the fast ramp, in time constants tau of the synapse's memory"),
        "down": (9, "length of the slow ramp"),
        "dead": (2**-8, "dead zone: |u| up to this changes nothing"),
        "warm": (0, "teeth before the one that is learned from"),
        "held": (0, "1: weights stay until the tooth is over, three words a synapse"),
    }
    ARCHITECTURES: ClassVar[dict[str, str]] = {
        "backward": "its response is that of an energy: it needs symmetric weights",
    }
    RATES = (1, 2)
    PLAIN = "a synapse remembers a product; the sum over a map's positions leaves its word"
    REPORT = "mean"

    def _check(self, depth: int) -> None:
        super()._check(depth)
        for name in ("up", "down"):
            steps = self.option(name) * self.tau
            if not (steps == int(steps) and 1 <= steps <= 1024):
                raise ConfigError(
                    f"{name} = {self.option(name):g}: a ramp has a whole number of steps, 1 to "
                    f"1024; tau is {self.tau} of them"
                )
        if not 0 <= self.option("dead") < 2:
            raise ConfigError(f"dead = {self.option('dead'):g}: must be 0 <= dead < 2")
        self._check_whole("warm", 0, 4)
        self._check_whole("held", 0, 1)

    @property
    def tau(self) -> int:
        """Time constant of a synapse's memory, in steps."""
        return 1 << self.config.integral_shift

    @property
    def held(self) -> int:
        """Which word of a synapse the tooth changes; its memory is the next word."""
        return int(self.option("held"))

    def needs(self, network: Network) -> MemoryNeeds:
        needs, p = super().needs(network), self.config.p
        areas = (("identity", p), ("columns", p)) if self.held else ()
        return replace(needs, words=2 + self.held, areas=(*needs.areas, *areas))

    def prepare(self, device: Device) -> None:
        super().prepare(device)
        if self.held:
            one = 1 << self.config.learn_shifts[0]
            load_identity(device, self.layout.area("identity"), one)

    def gains(self) -> list[float]:
        return [1.0]

    def waveform(self) -> list[float]:
        """One tooth; it ends at 0, where the next one begins."""
        up, down = (int(self.option(name) * self.tau) for name in ("up", "down"))
        return [k / up for k in range(1, up + 1)] + [1 - k / down for k in range(1, down + 1)]

    def nudged_phase(self, b: Builder) -> None:
        """Nothing to do: `update` relaxes and learns in turn."""

    def update(self, b: Builder, marks: PatchPoints) -> None:
        lay, output, steps = self.layout, self.layout.depth, len(self.waveform())
        report, free = (lay.plane(name, output) for name in (self.REPORT, "free"))
        b.add(self.combine(output, report, [free], **self.precise()))
        self.amplitude(b)
        if self.held:
            every = LearnLevel(count=lay.weight_tiles // 3, tile=3)
            b.add(Learn(outer=(every,), tile=1, row=lay.zero, col=lay.zero, replace=True))
        self._synapses(b, marks, word=self.held + 1, replace=True)
        never = (1 << self.config.weight_bits) - 1
        one = 2.0 ** (self.formats.replace_unit + self.formats.weight_frac)
        dead = min(never, round(self.option("dead") * one))
        for threshold in (*(never,) * int(self.option("warm")), dead):
            with b.loop(steps, step=1):
                self.follow(b)
                self._synapses(b, marks, word=self.held, integral=True, threshold=threshold)
        if self.held:
            self._apply(b)

    def _apply(self, b: Builder) -> None:
        """What the tooth has left goes onto the weights, tile by tile: its columns onto planes by
        the identity's, and their products with the identity's again."""
        lay, p = self.layout, self.config.p
        identity, columns = lay.area("identity"), lay.area("columns")
        with b.loop(lay.weight_tiles // 3, step=3):
            x = open_loops(b)
            b.add(
                Mac(
                    outer=(MacLevel(count=p, src=1, dst=1),),
                    tile=1,
                    tile_x=x,
                    src=identity,
                    dst=columns,
                    shift=self.config.learn_shifts[0],
                )
            )
            terms = (LearnLevel(count=p, row=1, col=1),)
            b.add(Learn(inner=terms, tile_x=x, row=columns, col=identity))

    def _synapses(self, b: Builder, marks: PatchPoints, **fields) -> None:
        """LEARN with the products of all synapses, each at the rate of its layer."""
        lay = self.layout
        learning = self.learning()
        for layer in sorted({block.upper for block in learning}):
            shift = self.formats.weight_frac + self.settings.rate_shifts[layer - 1]
            product = lay.plane("minus", layer)
            mac = self.combine(layer, product, [lay.plane("free", layer)], shift=shift)
            marks.rate(layer, b.add(mac))
        for block in learning:
            self.hebb(b, block, lay.plane("minus", block.upper), "free", position=0, **fields)
