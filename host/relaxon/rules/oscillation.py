"""Rules whose nudge oscillates while the network keeps relaxing: frequency propagation."""

from dataclasses import replace
from math import pi, sin
from typing import ClassVar

import numpy as np

from relaxon_isa import Builder, ConfigError, Mac, MacLevel

from ..layout import MemoryNeeds
from ..network import Network
from .parts import open_loops, reciprocal
from .relaxation import ErrorPlaneRule

__all__ = ["Frequency", "QuasiStaticFrequency", "WaveformRule"]


class WaveformRule(ErrorPlaneRule):
    """A nudge that follows a waveform while the network keeps relaxing: what such rules share.

    At step n the outputs get the current beta w(n) (y - o), with y - o frozen when the waveform
    begins, and the network sweeps on from where it is: no state is restored, none is held.
    """

    OBJECTIVES = ("squared-error",)
    DEFAULTS: ClassVar[dict] = {"grid": 12}
    EARLY_STOP = "its waveform begins at a settled state"

    @property
    def sweeps_a_step(self) -> int:
        return 1

    def waveform(self) -> list[float]:
        """The values w(n) of a period, each in [-1, 1]."""
        raise NotImplementedError

    def needs(self, network: Network) -> MemoryNeeds:
        tiles = tuple(f"wave{n}" for n in range(len(self.waveform())))
        return replace(super().needs(network), tiles=tiles)

    def constants(self) -> dict[str, np.ndarray]:
        eye = np.eye(self.config.p)
        return super().constants() | {f"wave{n}": w * eye for n, w in enumerate(self.waveform())}

    def amplitude(self, b: Builder) -> None:
        """Put beta (y - o_free) into the output's plane ``plus``, where it stays."""
        lay = self.layout
        plane = lay.plane("plus", lay.depth)
        b.add(self.combine(lay.depth, plane, [lay.e], tile="beta", **self.precise()))

    def follow(self, b: Builder) -> None:
        """One step of the waveform, the innermost loop's: the outputs' current, and a sweep."""
        lay, output = self.layout, self.layout.depth
        nest = lay.layers[output].walk(
            src=self.at("plus", output),
            dst=self.objective.drive(output),
            drive=lay.held("static", output),
        )
        b.add(Mac(**nest, tile=lay.tile("wave0"), tile_x=open_loops(b), to_drive=True))
        self.sweep(b)

    def sweep(self, b: Builder) -> None:
        with b.loop(self.sweeps_a_step, sweep=True):
            for layer in range(self.layout.depth, 0, -1):
                self.relax(b, layer, dst="free", below="free", above="free", nudged=True)


class Frequency(WaveformRule):
    """Frequency propagation, continuous: one sweep a step of the waveform.

    The outputs get the current beta sin(2 pi n / N) (y - o), with y - o frozen when the
    oscillation begins; the network keeps sweeping and every neuron correlates its own trace:
    a = mean of s (activation), b = (2 / N) sum of sin(2 pi n / N) s (response). No free state is
    held. Then dW_l = rate * (b_l a_{l-1}^T + a_l b_{l-1}^T) / beta. A period of warm-up goes before
    the one that is correlated.

    Source: Anisetti et al. 2024, for a network that relaxes layer by layer instead of a resistive
    one; there the activation current has a carrier of its own, here it is constant.
    """

    name = "frequency"
    paper = "Anisetti, Kandala, Scellier & Schwarz 2024 (continuous)"
    summary = "settle; beta sin(2 pi n / N), a sweep a step; b a + a b of its correlations"
    OPTIONS: ClassVar[dict[str, tuple[float, str]]] = {
        "points": (16, "N, steps a period: a power of two"),
        "phase": (0, "steps of the period that pass before the first one"),
    }
    MEAN = "mean"
    REPORT = "mean"

    def _check(self, depth: int) -> None:
        super()._check(depth)
        points = self.option("points")
        if points not in (4, 8, 16, 32, 64):
            raise ConfigError(f"points = {points:g}: must be 4, 8, 16, 32 or 64")
        self._check_whole("phase", 0, self.points - 1)

    @property
    def points(self) -> int:
        return int(self.option("points"))

    def needs(self, network: Network) -> MemoryNeeds:
        return replace(super().needs(network), drives=("activation", "response"))

    def gains(self) -> list[float]:
        return [reciprocal(self.settings.beta)]

    def waveform(self) -> list[float]:
        """A period of the sine, from the starting phase on; rounded, it still sums to zero."""
        start = int(self.option("phase"))
        return [round(sin(2 * pi * (n + start) / self.points), 9) for n in range(self.points)]

    def nudged_phase(self, b: Builder) -> None:
        lay = self.layout
        self.amplitude(b)  # then both sums begin at 0
        for drive in ("activation", "response"):
            self.clear_planes(b, lay.drive(drive, 1), lay.drive_span, to_drive=True)
        with b.loop(self.points, step=1):
            self.follow(b)
        with b.loop(self.points, step=1):
            self.follow(b)
            self._correlate(b, "activation", tile=lay.tile("one"))
            self._correlate(b, "response", tile=lay.tile("wave0"), tile_x=open_loops(b))
        bits = self.points.bit_length() - 1
        self._read(b, "activation", "mean", bits)
        self._read(b, "response", "plus", bits - 1)

    def _correlate(self, b: Builder, drive: str, tile: int, tile_x: int = 0) -> None:
        """Add the free planes, times a tile, to a drive."""
        lay = self.layout
        if lay.convolves:  # planes have halos, drives have none
            nests = []
            for layer in range(1, lay.depth + 1):
                held = lay.held(drive, layer)
                nests.append(
                    lay.layers[layer].walk(src=self.at("free", layer), dst=held, drive=held)
                )
        else:
            at, every = lay.drive(drive, 1), MacLevel(count=lay.span, src=1, dst=1, drive=1)
            nests = [{"outer": (every,), "src": lay.plane("free", 1), "dst": at, "drive": at}]
        for nest in nests:
            held = {"from_drive": True, "to_drive": True, "tile": tile, "tile_x": tile_x}
            b.add(Mac(**{**nest, **held}))

    def _read(self, b: Builder, drive: str, plane: str, bits: int) -> None:
        """Put a drive, divided by 2**bits, into a plane of every layer."""
        for layer in range(1, self.layout.depth + 1):
            self.drive_layer(
                b,
                layer,
                [],
                dst=self.at(plane, layer),
                drive=self.layout.held(drive, layer),
                shift=self.formats.weight_frac + bits,
                **self.tail(layer),
            )

    def mean(self, b: Builder, layer: int, pair: int = 0) -> None:
        """Nothing to do: the activations are in their planes already."""


class QuasiStaticFrequency(Frequency):
    """Frequency propagation, quasi-static and time-multiplexed: settled at every step.

    Same waveform, same correlations; the network settles before the next step.
    """

    name = "frequency-quasistatic"
    paper = "Anisetti, Kandala, Scellier & Schwarz 2024 (quasi-static)"
    summary = "settle; beta sin(2 pi n / N), settled at each step; b a + a b"

    def sweep(self, b: Builder) -> None:
        s, lay = self.settings, self.layout
        with b.loop(s.nudged_cap, until=not s.fixed_sweeps, sweep=True):
            for layer in range(lay.depth, 0, -1):
                judged = self.judged(layer, layer == lay.depth)
                self.relax(
                    b, layer, dst="free", below="free", above="free", nudged=True, judged=judged
                )
