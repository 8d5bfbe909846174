"""Networks: layer sizes, number formats, initial weights."""

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from relaxon_device.base import SpaceLayout
from relaxon_isa.config import ArrayConfig
from relaxon_isa.errors import ConfigError, DataError
from relaxon_isa.memory import Space

from .generator import Generator

__all__ = ["Formats", "Network", "from_integers", "initial_weights", "to_integers"]


@dataclass(frozen=True)
class Formats:
    """Binary points of the standard programs on a configuration.

    States are Q2.(state_bits - 2), so 1.0 is exact; weights Q3.(weight_bits - 3). ``headroom``
    bits more before the states' binary point, for rules whose states have no bound.
    """

    config: ArrayConfig
    headroom: int = 0

    @property
    def state_frac(self) -> int:
        return self.config.state_bits - 2 - self.headroom

    @property
    def weight_frac(self) -> int:
        return self.config.weight_bits - 3

    @property
    def product_frac(self) -> int:
        """Fraction bits of accumulators and drives."""
        return self.state_frac + self.weight_frac

    @property
    def replace_unit(self) -> int:
        """A LEARN with *replace* at the first position writes 2**replace_unit times the product of
        its states."""
        return 2 * self.state_frac - self.config.learn_shifts[0] - self.weight_frac

    def pack(self, values: np.ndarray) -> list[bytes]:
        """States, float (n, words), as the words that the link carries: one entry a row."""
        words = to_integers(values, self.state_frac, self.config.state_bits)
        return [*map(SpaceLayout(self.config, Space.STATE).encode, words)]

    def error_frac(self, position: int) -> int:
        """Fraction bits of an error plane whose LEARN rounds at ``learn_shifts[position]``."""
        return self.weight_frac + self.config.learn_shifts[position] - self.state_frac


def to_integers(values: np.ndarray, frac: int, bits: int) -> np.ndarray:
    """Real numbers to signed fixed point: nearest (ties to even). Shape is kept.

    Raises DataError for values that are not finite, or beyond the format.
    """
    values = np.asarray(values, dtype=np.float64)
    if not np.isfinite(values).all():
        raise DataError("values contain NaN or infinity: nothing was loaded")
    limit = 1 << (bits - 1)
    top = limit / 2.0**frac
    if ((values < -top) | (values >= top)).any():
        worst = values.flat[np.abs(values).argmax()]
        raise DataError(
            f"{worst:g} is beyond the machine's format, which holds -{top:g} <= value < {top:g}: "
            "scale the values; nothing was loaded"
        )
    return np.minimum(np.rint(values * 2.0**frac), limit - 1).astype(np.int64)


def from_integers(values: np.ndarray, frac: int) -> np.ndarray:
    """Signed fixed point to float64."""
    return np.asarray(values, dtype=np.float64) / 2.0**frac


@dataclass(frozen=True)
class Network:
    """Layers of neurons, each symmetrically connected to the next.

    ``sizes``: input, hidden ..., output. Weight l (0 .. depth-1) has shape
    (sizes[l+1], sizes[l] + 1); its last column is the bias.
    """

    sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        try:
            sizes = tuple(operator.index(n) for n in self.sizes)  # numpy's integers too
        except TypeError:
            sizes = ()
        if len(sizes) < 2 or min(sizes) < 1:
            raise ConfigError(
                f"layers {self.sizes}: give at least an input and an output size, each a positive "
                "whole number, such as 64,32,10"
            )
        object.__setattr__(self, "sizes", sizes)

    @property
    def depth(self) -> int:
        """Number of weight layers."""
        return len(self.sizes) - 1

    @property
    def shapes(self) -> list[tuple[int, int]]:
        return [(self.sizes[i + 1], self.sizes[i] + 1) for i in range(self.depth)]

    def __str__(self) -> str:
        return "-".join(map(str, self.sizes))

    @classmethod
    def parse(cls, text: "str | Sequence[int] | Network") -> "Network":
        """Read "64,32,10", "64-32-10" or a sequence of sizes. Raises ConfigError for others."""
        if isinstance(text, Network):
            return text
        if not isinstance(text, str):
            return cls(tuple(text))
        try:
            return cls(tuple(int(part) for part in text.replace("-", ",").split(",")))
        except ValueError:
            raise ConfigError(
                f"layers {text!r}: not a list of sizes; write them like 64,32,10"
            ) from None


class Shaped(Protocol):
    """What has weights: a `Network`, or a `Layout`, which knows of more than those of layers."""

    @property
    def shapes(self) -> list[tuple[int, int]]: ...


def initial_weights(network: Shaped, seed: int, gain: float = 0.5) -> list[np.ndarray]:
    """Uniform in +-gain * sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio 2010, eq. 16); biases 0.

    Half the bound by default: at the full one, output units die at the clip. Returns float64
    arrays of the network's ``shapes``.
    """
    rng = Generator(seed)
    weights = []
    for rows, columns in network.shapes:
        bound = gain * np.sqrt(6 / (rows + columns - 1))
        weight = rng.uniform(-bound, bound, (rows, columns))
        weight[:, -1] = 0
        weights.append(weight)
    return weights
