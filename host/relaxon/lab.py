"""The bench for measurements: load anything, run one phase or any program, read everything back.

A researcher's notebook and the test suite use the same one::

    from relaxon.lab import Lab

    with Lab.open("golden", "20-15-10-5") as lab:
        lab.load_weights(weights)                 # real numbers; raw=True: the machine's integers
        lab.relax_free(x)
        before = lab.plane("free", 2)             # floats; raw=True for the machine's integers
        lab.relax_nudged(y)
        lab.update()
        change = lab.weights()[0] - weights[0]
        print(lab.counters())
"""

from collections.abc import Iterable, Sequence
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from relaxon_device.base import Device
from relaxon_isa import ArrayConfig, ConfigError, Program, Register, Space

from . import checks
from .backends import open_device
from .network import Network, from_integers, to_integers
from .rules import changed, make_rule, settings_for
from .rules.settings import RuleSettings
from .training import run_limit
from .weights import load_layers, read_layers

__all__ = ["Lab"]


class Lab:
    """One network on one device, under a microscope.

    Layers are numbered from 0 (input) to ``depth`` (output). Vectors are float arrays of shape
    (neurons,), and numbers of any type mean what they say; with ``raw=True`` they are the machine's
    own integers, in both directions: states Q2.(state_bits - 2), weights Q3.(weight_bits - 3).

    Parameters
    ----------
    device
        Any backend; it is closed with the lab.
    network
        A `Network` or text such as "20-15-10-5".
    settings
        Of the rule; by default those of centered EP (`relaxon.rules.settings_for`).
    """

    def __init__(
        self,
        device: Device,
        network: Network | str | Sequence[int],
        settings: RuleSettings | None = None,
    ) -> None:
        self.device = checks.kind("device", device, Device, "open_device(...) opens one")
        self.network = Network.parse(network)
        if settings is None:
            settings = settings_for("ep-centered", self.network)
        self.configure(settings)
        self.load_weights([np.zeros(shape) for shape in self.layout.shapes])

    @classmethod
    def open(
        cls,
        backend: str,
        network: Network | str | Sequence[int],
        settings: RuleSettings | None = None,
        config: ArrayConfig | str = "default",
        **options: object,
    ) -> Self:
        """On "golden", "virtual" or a serial port; ``config`` names a preset or a TOML file
        (`relaxon.machines`). ``options`` are the backend's (`open_device`), as golden's
        ``engine``."""
        return cls(open_device(backend, config, **options), network, settings)

    def configure(self, settings: RuleSettings | None = None, **changes: object) -> None:
        """Change the rule's settings (all, or some by keyword); planes are cleared. Weights stay
        where they are: load them again if the architecture changes. Raises ConfigError if there
        is no such setting, or a value is not possible."""
        base = settings if settings is not None else self.settings
        asked = changed(base, **changes)
        rule = make_rule(self.network, self.device.config, asked)  # what it refuses changes nothing
        checks.claim(self.device, self)
        self.settings, self.rule = asked, rule
        self.layout, self.formats = self.rule.layout, self.rule.formats
        self.rule.prepare(self.device)

    # Loading

    def load_weights(self, weights: Sequence[ArrayLike], *, raw: bool = False) -> None:
        """Matrices of `Layout.shapes` (bias last), rounded to the weight format.

        Those are `Network.shapes`, then what the architecture adds."""
        found = checks.weights(weights, self.layout.shapes, raw=raw)
        if not raw:
            bits, frac = self.device.config.weight_bits, self.formats.weight_frac
            found = [to_integers(w, frac, bits) for w in found]
        load_layers(self.device, self.layout, found)

    def set_plane(
        self, name: str, values: ArrayLike, layer: int | None = None, *, raw: bool = False
    ) -> None:
        """Load a plane: "x", "y", "e", or one of `Layout.planes` ("free", "plus" ...) of a
        layer. Lanes without a neuron keep what they had."""
        start, lanes, frac = self._plane(name, layer)
        if raw:
            values = checks.integers(f"plane {name}", values, lanes.shape)
        else:
            reals = checks.reals(f"plane {name}", values, lanes.shape)
            with checks.naming(f"plane {name}"):
                values = to_integers(reals, frac, self.device.config.state_bits)
        words = self.device.read(Space.STATE, start, lanes.max() + 1)
        words[lanes] = values
        self.device.write(Space.STATE, start, words)

    def _plane(self, name: str, layer: int | None) -> tuple[int, np.ndarray, int]:
        """First element of a plane, its neurons' places from there on, and fraction bits."""
        lay, rule = self.layout, self.rule
        layer = None if layer is None else checks.index("layer", layer)
        name = checks.kind("plane", name, str, "its name")
        fixed = {
            "x": (lay.x, 0, self.formats.state_frac),
            "y": (lay.y, lay.depth, rule.frac(lay.depth)),
            "e": (lay.e, lay.depth, rule.frac(lay.depth - 1)),
        }
        if name in fixed and layer in (None, fixed[name][1]):
            group, layer, frac = fixed[name]
        elif name in lay.planes and layer is not None and 1 <= layer <= lay.depth:
            group, frac = lay.plane(name, layer), rule.frac(layer)
            kind, _, upper = name.partition(">")
            if (kind := kind.rstrip("0123456789")) in ("rise", "fall"):
                weights = int(upper) if upper else min(layer + (kind == "fall"), lay.depth)
                frac = rule.error_frac(weights, layer)
        else:
            raise ConfigError(
                f"plane {name!r} of layer {layer}: there are x, y and e, and "
                f"{', '.join(lay.planes)} of layers 1 to {lay.depth}"
            )
        return group * self.device.config.p, lay.layers[layer].lanes, frac

    # Running

    def run(self, program: Program, samples: Iterable[bytes] = (), *, count: bool = True):
        """Run any program; returns the list of what its EMITs handed over."""
        checks.kind("program", program, Program, "a Builder's build() makes one")
        for sample in (samples := checks.listed("samples", samples)):
            checks.kind("sample", sample, bytes, "Rule.encode_inputs makes them")
        self.device.run_limit = run_limit(self.device, program)
        self.device.load(program.rows)
        return list(self.device.run(samples, count=count))

    def relax_free(self, x: ArrayLike | None = None) -> list[np.ndarray]:
        """Free phase for an input (or the one that is loaded); returns the layers' states.

        ``x`` is loaded as it is: `RuleSettings.input_offset` is not taken off."""
        if x is not None:
            self.set_plane("x", x)
        self.run(self.rule.phase_program("free"))
        return self.states("free")

    def relax_layer(self, layer: int) -> np.ndarray:
        """One layer's step of the free phase, from the planes and drives as they are. Raises
        ConfigError if there is no such layer, or it is the input."""
        self.run(self.rule.layer_program(layer := checks.index("layer", layer)))
        return self.plane("free", layer)

    def relax_nudged(
        self, y: ArrayLike | None = None, beta: float | None = None
    ) -> dict[str, list[np.ndarray]]:
        """Nudged phase(s) from the free planes as they are, towards a target (or the one that is
        loaded). Returns {"plus": states, "minus": states}, as far as the rule has them."""
        if y is not None:
            self.set_plane("y", y)
        if beta is not None and beta != self.settings.beta:
            planes = self.device.read(
                Space.STATE, 0, self.layout.state_groups * self.layout.config.p
            )
            self.configure(beta=beta)
            self.device.write(Space.STATE, 0, planes)
        self.run(self.rule.phase_program("nudged"))
        return {name: self.states(name) for name in self.rule.nudged_planes}

    def update(self) -> None:
        """LEARN from the phases as they are in the planes."""
        self.run(self.rule.phase_program("update"))

    def train_step(self, x: ArrayLike, y: ArrayLike) -> None:
        """One training sample, by the same program that training runs: x (inputs,), y a target
        vector (outputs,) or a label. Raises DataError if they are something else."""
        inputs, *_, outputs = self.network.sizes
        source = checks.reals("x", x, (inputs,))[None]
        checks.within("x", source, self.settings.input_bits)
        if np.ndim(y) == 0 and np.asarray(y).dtype.kind in "iu":
            target = np.array([checks.label("y", y, outputs)])
        else:
            target = checks.reals("y", y, (outputs,))[None]
        with checks.naming("y"):
            sample = self.rule.encode_inputs(source)[0] + self.rule.encode_targets(target)[0]
        self.run(self.rule.train_program()[0], [sample])
        if self.rule.OUTSIDE:
            self.load_weights(self.rule.outside(self.weights(), source, target))

    # Reading

    def plane(self, name: str, layer: int | None = None, *, raw: bool = False) -> np.ndarray:
        """Read a plane (names as in `set_plane`)."""
        start, lanes, frac = self._plane(name, layer)
        values = self.device.read(Space.STATE, start, lanes.max() + 1)[lanes]
        return values if raw else from_integers(values, frac)

    def states(self, name: str = "free", *, raw: bool = False) -> list[np.ndarray]:
        """A plane of every layer 1 .. depth."""
        return [self.plane(name, i, raw=raw) for i in range(1, self.layout.depth + 1)]

    def drive(self, name: str, layer: int, *, raw: bool = False) -> np.ndarray:
        """Read a drive: "static" of any layer, "partial" of a middle one, "nudge" of the output
        (those two: of the first nudged phase)."""
        layer = checks.index("layer", layer)
        start = self.layout.drive(name, layer) * self.device.config.p
        lanes = self.layout.drive_lanes(name, layer)
        values = self.device.read(Space.DRIVE, start, lanes.max() + 1)[lanes]
        return values if raw else from_integers(values, self.rule.sum_frac(layer))

    def weights(self, *, raw: bool = False) -> list[np.ndarray]:
        """Matrices of `Layout.shapes`."""
        weights = read_layers(self.device, self.layout)
        return weights if raw else [from_integers(w, self.formats.weight_frac) for w in weights]

    def counters(self) -> dict[Register, int]:
        return self.device.counters()

    def close(self) -> None:
        self.device.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
