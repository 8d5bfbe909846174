"""Networks: layer sizes, number formats, initial weights."""

import operator
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from relaxon_device.base import SpaceLayout
from relaxon_isa import ArrayConfig, ConfigError, DataError, Space

from .generator import Generator

__all__ = [
    "Conv",
    "Formats",
    "Image",
    "Kernel",
    "Network",
    "from_integers",
    "initial_weights",
    "to_integers",
]


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

    def pack(self, values: np.ndarray, frac: int) -> list[bytes]:
        """States of ``frac`` fraction bits, float (n, words), as the words that the link carries:
        one entry a row."""
        words = to_integers(values, frac, self.config.state_bits)
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
class Image:
    """Neurons in rows and columns, with channels; channels last. As text 28x28x1."""

    height: int
    width: int
    channels: int

    def __post_init__(self) -> None:
        if not all(isinstance(n, int) and n > 0 for n in (self.height, self.width, self.channels)):
            raise ConfigError(f"image {self}: height, width and channels are 1 or more")

    def __str__(self) -> str:
        return f"{self.height}x{self.width}x{self.channels}"


@dataclass(frozen=True)
class Conv:
    """A layer whose neurons share weights: ``channels`` at each position, each with a square
    window onto the layer below. As text 12c6s2p1: channels, kernel, stride, padding."""

    channels: int
    kernel: int
    stride: int = 1
    padding: int = 0

    def __post_init__(self) -> None:
        whole = all(isinstance(n, int) for n in vars(self).values())
        sizes = min(self.channels, self.kernel, self.stride)
        if not whole or sizes < 1 or not 0 <= self.padding < self.kernel:
            raise ConfigError(
                f"layer {self}: channels, kernel and stride are whole numbers from 1 on, padding "
                "is less than the kernel"
            )

    def __str__(self) -> str:
        stride = f"s{self.stride}" if self.stride != 1 else ""
        return f"{self.channels}c{self.kernel}{stride}{f'p{self.padding}' if self.padding else ''}"


@dataclass(frozen=True)
class Kernel:
    """The window that a neuron has onto the layer below."""

    height: int = 1
    width: int = 1
    stride: int = 1
    padding: int = 0


HOW = (
    "write neurons as 32, a convolution as 12c6s2p1 (12 channels, kernel 6 x 6, stride 2, padding "
    "1; s1 and p0 may be left out), an image at the input as 28x28x1 (height, width, channels); "
    "write them like 64,32,10 or 28x28x1,12c6s2,36c4s2,10"
)


@dataclass(frozen=True)
class Network:
    """Layers of neurons, each symmetrically connected to the next.

    ``layers``: input, hidden ..., output. An int is a layer of so many neurons, connected to all
    neurons below; the input may be an `Image`, a hidden layer above it a `Conv`. The output is a
    plain layer. Neurons of a map are counted row by row, channels last.

    Weight l (0 .. depth-1) has shape (channels, window + 1): one row for a channel of layer l+1 (of
    a plain layer: for a neuron), whose columns are the window onto layer l, row by row, channels
    last; the last column is the bias.
    """

    layers: tuple[int | Image | Conv, ...]

    def __post_init__(self) -> None:
        try:  # numpy's integers too
            layers = tuple(
                n if isinstance(n, Image | Conv) else operator.index(n) for n in self.layers
            )
        except TypeError:
            layers = ()
        if len(layers) < 2 or any(isinstance(n, int) and n < 1 for n in layers):
            raise ConfigError(
                f"layers {self.layers}: give at least an input and an output size, each a positive "
                "whole number, such as 64,32,10"
            )
        object.__setattr__(self, "layers", layers)
        images = [layer for layer in layers if isinstance(layer, Image)]
        if isinstance(layers[-1], Conv) or images not in ([], [layers[0]]):
            raise ConfigError(
                f"network {self}: the input alone is an image, the output a number of neurons; "
                f"{HOW}"
            )
        for below, layer in zip((None, *layers), layers, strict=False):
            if isinstance(layer, Conv) and not isinstance(below, Image | Conv):
                raise ConfigError(
                    f"network {self}: what layer {layer} convolves has no rows and columns; {HOW}"
                )
        _ = self.maps  # raises if a kernel is too large

    @property
    def depth(self) -> int:
        """Number of weight layers."""
        return len(self.layers) - 1

    @cached_property
    def maps(self) -> tuple[Image, ...]:
        """Rows, columns and channels of each layer; a plain layer is 1 x 1."""
        maps: list[Image] = []
        for layer in self.layers:
            if isinstance(layer, Conv):
                below, around = maps[-1], 2 * layer.padding
                window = min(below.height, below.width) + around
                if layer.kernel > window:
                    raise ConfigError(
                        f"network {self}: layer {layer} has a map of {below} below; its kernel is "
                        f"1 to {window} with this padding"
                    )
                rest = around - layer.kernel
                high, wide = ((n + rest) // layer.stride + 1 for n in (below.height, below.width))
                maps.append(Image(high, wide, layer.channels))
            else:
                maps.append(layer if isinstance(layer, Image) else Image(1, 1, layer))
        return tuple(maps)

    @property
    def kernels(self) -> list[Kernel]:
        """Of each weight layer. A plain layer's window is the whole map below."""
        return [
            Kernel(layer.kernel, layer.kernel, layer.stride, layer.padding)
            if isinstance(layer, Conv)
            else Kernel(below.height, below.width)
            for layer, below in zip(self.layers[1:], self.maps, strict=False)
        ]

    @property
    def convolves(self) -> bool:
        """Whether any layer is a `Conv`."""
        return any(isinstance(layer, Conv) for layer in self.layers)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Neurons of each layer."""
        return tuple(m.height * m.width * m.channels for m in self.maps)

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """Shapes of the weights."""
        return [
            (above.channels, kernel.height * kernel.width * below.channels + 1)
            for below, above, kernel in zip(self.maps, self.maps[1:], self.kernels, strict=False)
        ]

    @property
    def fans(self) -> list[tuple[float, float]]:
        """Of each weight layer: weights into a neuron above, weights out of a neuron below."""
        return [
            (columns - 1, rows if not isinstance(layer, Conv) else _out(layer))
            for layer, (rows, columns) in zip(self.layers[1:], self.shapes, strict=True)
        ]

    def __str__(self) -> str:
        return "-".join(map(str, self.layers))

    @classmethod
    def parse(cls, text: "str | Sequence[int | str | Image | Conv] | Network") -> "Network":
        """Read "64,32,10" or "28x28x1,12c6s2,36c4s2p1,10", the same with "-" between, or a sequence
        of layers, each as an object or as such text. Raises ConfigError for others."""
        if isinstance(text, Network):
            return text
        parts = text.replace("-", ",").split(",") if isinstance(text, str) else text
        if not isinstance(parts, Iterable):
            return cls((parts,))  # which says what is wanted
        return cls(tuple(_layer(n, text) if isinstance(n, str) else n for n in parts))


def _out(layer: Conv) -> float:
    return layer.channels * (layer.kernel / layer.stride) ** 2


def _layer(part: str, text: object) -> int | Image | Conv:
    part = part.strip().lower()
    if found := re.fullmatch(r"(\d+)x(\d+)x(\d+)", part):
        return Image(*map(int, found.groups()))
    if found := re.fullmatch(r"(\d+)c(\d+)(?:s(\d+))?(?:p(\d+))?", part):
        channels, kernel, stride, padding = found.groups()
        return Conv(int(channels), int(kernel), int(stride or 1), int(padding or 0))
    try:
        return int(part)
    except ValueError:
        raise ConfigError(f"layers {text!r}: {part!r} is no layer; {HOW}") from None


class Shaped(Protocol):
    """What has weights: a `Network`, or a `Layout`, which knows of more than those of layers."""

    @property
    def shapes(self) -> list[tuple[int, int]]: ...

    @property
    def fans(self) -> list[tuple[float, float]]: ...

    @property
    def convolves(self) -> bool: ...


def initial_weights(network: Shaped, seed: int, gain: float = 0.5) -> list[np.ndarray]:
    """Uniform in +-gain * sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio 2010, eq. 16); biases 0.

    Half the bound by default: at the full one, output units die at the clip. Twice the ``gain`` in
    the first layer of a convolutional network, which few inputs drive. Returns float64 arrays of
    the network's ``shapes``.
    """
    rng = Generator(seed)
    weights = []
    for i, (shape, fans) in enumerate(zip(network.shapes, network.fans, strict=True)):
        bound = gain * np.sqrt(6 / sum(fans)) * (2 if network.convolves and i == 0 else 1)
        weight = rng.uniform(-bound, bound, shape)
        weight[:, -1] = 0
        weights.append(weight)
    return weights
