"""A network of resistors on the same array: conductances, Kirchhoff's current law, power."""

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from relaxon_device.base import Device
from relaxon_isa import Activation, Builder, ConfigError, Learn, LearnLevel, Mac, MacLevel, Space

from ..connections import Block, Layer, Region
from ..layout import MemoryNeeds
from ..network import Network
from .oscillation import Frequency
from .parts import PatchPoints

__all__ = ["ResistiveFrequency"]


class ResistiveFrequency(Frequency):
    """Frequency propagation on a network of resistors.

    Weights are conductances g >= 0 between nodes of neighbouring layers, states are node voltages,
    inputs are voltage sources and biases are conductances to a source of 1. The network minimises
    the dissipated power, E = 1/2 sum g_jk (v_j - v_k)^2, so that currents into a node sum to 0.
    The outputs get the current beta sin(2 pi n / N) (y - o); a and b, mean and response of each
    node's own trace, give::

        dg_jk = -rate (a_j - a_k) (b_j - b_k) / beta,  then g = max(g, 0)

    four terms of rank one. A node's step is v += (sum of g v - G v) / 2**s, with G the sum of its
    conductances: 1 - G / 2**s is computed once a sample, by a forward pass of ones, and written
    onto diagonal tiles. G must stay below 2**(s + 1).

    A linear network with a squared error cannot tell a class that lies between two others by the
    arg max of one output a class; ``ordered`` gives targets that are linear in the class instead.

    Source: Anisetti et al. 2024 (energy, currents, update); theory there, we know of no figures.
    """

    name = "resistive"
    paper = "Anisetti, Kandala, Scellier & Schwarz 2024 (resistive network)"
    summary = "settle; beta sin(2 pi n / N) as a current; -(a_j - a_k) (b_j - b_k), g >= 0"
    OPTIONS: ClassVar[dict[str, tuple[float, str]]] = {
        **Frequency.OPTIONS,
        "sweeps": (8, "sweeps a step of the waveform: it has to be slower than the network"),
        "step": (2, "s, node steps are 2 to the minus this; conductances of a node sum up to less"),
        "ordered": (0, "1: targets linear in the class, for classes that have an order"),
    }
    ARCHITECTURES: ClassVar[dict[str, str]] = {
        **Frequency.ARCHITECTURES,
        "skip": "its nodes' sums of conductances know of neighbouring layers alone",
    }
    DEFAULTS: ClassVar[dict] = {"grid": 14, "free_cap": 200, "targets": (0.3, 0.7)}
    RESISTIVE = True
    PLAIN = "its conductances to ground have a tile for each group of plain layers, none for maps"
    OUTPUT = "linear"
    RATES = (1, 1)

    def _check(self, depth: int) -> None:
        super()._check(depth)
        self._check_whole("sweeps", 1, 64)
        self._check_whole("step", 1, 5)
        self._check_whole("ordered", 0, 1)
        if self.settings.output == "clip":
            raise ConfigError(f"rule {self.name}: its voltages are linear")

    def needs(self, network: Network) -> MemoryNeeds:
        needs, p = super().needs(network), self.config.p
        groups = sum(Layer(n, p).groups for n in network.sizes[1:])
        own = tuple(f"{name}{g}" for name in ("own", "times") for g in range(groups))
        return replace(
            needs,
            planes=("ones", "rise-power", "fall-power"),  # as far behind mean, rise, fall each
            areas=(("sources", Layer(network.sizes[0], p, 1).groups), ("every", 1)),
            drives=(*needs.drives, "own"),
            tiles=(*needs.tiles, *own),
        )

    def prepare(self, device: Device) -> None:
        super().prepare(device)
        lay, sizes, one = self.layout, self.layout.network.sizes, 1 << self.formats.state_frac
        ones = [(lay.plane("ones", i), sizes[i]) for i in range(1, lay.depth + 1)]
        ones += [(lay.area("sources"), sizes[0] + 1), (lay.area("every"), self.config.p)]
        for group, count in ones:
            device.write(Space.STATE, group * self.config.p, np.full(count, one))

    def initial(self, weights: list[np.ndarray]) -> list[np.ndarray]:
        """Conductances are positive; a node's towards its inputs sum up to 1.5 on average."""
        found = [np.abs(w) for w in weights]
        return [w * 1.5 / w.sum(axis=1).mean() if w.any() else w for w in found]

    def class_targets(self, outputs: int) -> np.ndarray:
        """``ordered``: output k wants k c - k^2 / 2 for class c, scaled into the targets' range."""
        if not self.option("ordered"):
            return super().class_targets(outputs)
        k = np.arange(outputs)
        wanted = np.outer(k, k) - k**2 / 2
        low, high = self.objective.targets()
        return low + (high - low) * (wanted - wanted.min()) / max(np.ptp(wanted), 1)

    # Nodes

    @property
    def sweeps_a_step(self) -> int:
        return int(self.option("sweeps"))

    @property
    def _step(self) -> int:
        return int(self.option("step"))

    def to_state(self, layer: int) -> dict:
        f, grid = self.formats, self.settings.grid
        return {
            "shift": f.product_frac - grid + self._step,
            "up": f.state_frac - grid,
            "activation": Activation.LINEAR,
        }

    def clear(self, b: Builder, first: int = 1) -> None:
        super().clear(b, first)

    def with_own_state(self, b: Builder, layer: int, plane: str, drive: Region) -> Region:
        """The drive plus (1 - G / 2**s) v of every node."""
        first = sum(self.layout.groups(i) for i in range(1, layer))
        trips = 1 << self._step - self.formats.replace_unit
        return self.add_own_state(b, layer, plane, drive, f"own{first}", trips)

    def static_drives(self, b: Builder, first: int = 1) -> None:
        """Compute the currents of the sources, and 1 - G / 2**s of every node as diagonal tiles."""
        super().static_drives(b, first)
        lay, f = self.layout, self.formats
        for nest in lay.block(1).static(lay.area("sources"), lay.held("own", 1)):
            b.add(Mac(**nest, to_drive=True))
        for layer in range(1, lay.depth + 1):
            total, ones = lay.plane("minus", layer), lay.plane("ones", layer)
            self.drive_layer(
                b,
                layer,
                self.sources(layer, "ones", "ones"),
                dst=Region(total),
                drive=lay.held("own" if layer == 1 else "static", layer),
                shift=f.weight_frac + self._step,
                **self.tail(layer),
            )
            b.add(self.combine(layer, total, [ones, total], flip=True, **self.precise()))
        self._onto(b, "own0", lay.plane("minus", 1))

    def _onto(self, b: Builder, tile: str, plane: int) -> None:
        """Write a plane of all layers onto the diagonals of tiles, from ``tile`` on."""
        lay = self.layout
        b.add(
            Learn(
                outer=(LearnLevel(count=lay.span, tile=1, row=1),),
                tile=lay.tile(tile),
                row=plane,
                col=lay.area("every"),
                replace=True,
                diagonal=True,
                hold=True,
            )
        )

    # Update

    def update(self, b: Builder, marks: PatchPoints) -> None:
        """Compute a b of every node, then learn from the four terms."""
        lay = self.layout
        self._onto(b, "times0", lay.plane("mean", 1))
        b.add(
            Mac(
                outer=(MacLevel(count=lay.span, tile=1, src=1, dst=1),),
                tile=lay.tile("times0"),
                src=lay.plane("plus", 1),
                dst=lay.plane("minus", 1),
                shift=self.formats.weight_frac + self.formats.replace_unit,
            )
        )
        super().update(b, marks)

    def errors(self, b: Builder, marks: PatchPoints, layer: int, learning: Any) -> None:
        """Compute b and a b, each at the rates of the conductances below and above."""
        for plane, weights in (("rise", layer), ("fall", layer + 1)):
            if any(block.upper == weights for block in learning):
                self.difference(b, marks, layer, weights, plane, ["plus"])
                self.difference(b, marks, layer, weights, plane + "-power", ["minus"])

    def learn_block(self, b: Builder, block: Block) -> None:
        """Add b_j a_k + a_j b_k - (a b)_j - (a b)_k; for sources the two terms without b_k."""
        lay = self.layout
        rise, power = lay.plane("rise", block.upper), 3 * lay.span
        if block.lower == 0:
            apart = LearnLevel(count=2, row=power, col=lay.area("sources") - lay.x, flip=True)
            self.learn(b, block, row=rise, col=lay.x, terms=(apart,))
            return
        met = lay.plane("mean", block.lower)
        pair = LearnLevel(
            count=2,
            row=lay.plane("mean", block.upper) - rise,
            col=lay.plane("fall", block.lower) - met,
        )
        apart = LearnLevel(count=2, row=power, col=power, flip=True)
        bias = LearnLevel(count=2, row=power, flip=True)
        self.learn(b, block, row=rise, col=met, terms=(apart, pair), bias=(bias,))

    def learn_fields(self, block: Block) -> dict:
        return {"bound": True}
