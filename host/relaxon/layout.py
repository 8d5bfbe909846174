"""Where a network lives in a machine's memories."""

from dataclasses import dataclass
from functools import cached_property

from relaxon_isa.config import PRESETS, ArrayConfig
from relaxon_isa.errors import ConfigError

from .network import Network

__all__ = ["Layout", "first_preset"]


@dataclass(frozen=True)
class Layout:
    """Addresses of a network's planes, drives and tiles. Layers are numbered from 0 (input).

    State memory, in groups: input x with, as one neuron more, the constant 1.0 that the first
    layer's biases hang on; the constant group (lane 0 is 1.0) of the other biases; zeros; target
    y; error e; for each layer l >= 1 the planes free, plus, minus, mean and two error planes
    (``rise``: scaled by the rate of the weights below, ``fall``: by that of the weights above);
    and at the top a scratch area for weight access.

    Weight memory, in tiles: for each layer l >= 1 a block of groups(l) x columns(l) tiles, row by
    row; in the first layer the bias is the column behind the last input, in the others a column of
    tiles of its own; then the diagonal tiles one, beta and gain.

    Raises ConfigError, with what would fit, if the machine is too small.
    """

    network: Network
    config: ArrayConfig

    def __post_init__(self) -> None:
        short = self._shortage()
        if short:
            raise ConfigError(
                f"network {self.network} does not fit this machine ({self.config.p} x "
                f"{self.config.p} cells): {short}{self._suggestion()}"
            )

    def _shortage(self) -> str:
        config = self.config
        for what, needed, present in (
            ("tiles of weights", self.tiles, config.weight_depth),
            ("groups of states", self.state_groups + self.scratch_groups, config.state_depth),
            ("groups of drives", self.drive_groups, config.drive_depth),
            (
                "products in one accumulation",
                (max(self.columns(i) + self.groups(i) for i in range(1, self.depth + 1)) + 1)
                * config.p,
                config.max_terms,
            ),
        ):
            if needed > present:
                return f"it needs {needed} {what}, the machine has {present}"
        return ""

    def _suggestion(self) -> str:
        """The largest hidden layers, in the same proportion, that fit."""
        sizes = self.network.sizes
        for percent in range(99, 0, -1):
            hidden = tuple(max(1, n * percent // 100) for n in sizes[1:-1])
            smaller = object.__new__(Layout)
            object.__setattr__(smaller, "network", Network((sizes[0], *hidden, sizes[-1])))
            object.__setattr__(smaller, "config", self.config)
            if hidden and not smaller._shortage():
                return f"; {smaller.network} fits"
        return "; no hidden size fits with these inputs and outputs: choose a larger machine"

    # Sizes

    @property
    def depth(self) -> int:
        return self.network.depth

    def groups(self, layer: int) -> int:
        """Groups of a layer's planes."""
        return -(-self.network.sizes[layer] // self.config.p)

    def tail(self, layer: int) -> int:
        """Valid lanes of a layer's last group (0: all)."""
        return self.network.sizes[layer] % self.config.p

    # State memory

    @property
    def x(self) -> int:
        return 0

    @property
    def constant(self) -> int:
        return self.columns(1)

    @property
    def zero(self) -> int:
        return self.constant + 1

    @property
    def y(self) -> int:
        return self.zero + 1

    @property
    def e(self) -> int:
        return self.y + self.groups(self.depth)

    PLANES = ("free", "plus", "minus", "mean", "rise", "fall")

    @cached_property
    def _planes(self) -> dict[tuple[str, int], int]:
        """Base of each plane. One kind at a time, so that a kind's layers lie side by side."""
        at = self.e + self.groups(self.depth)
        bases = {}
        for name in self.PLANES:
            for layer in range(1, self.depth + 1):
                bases[name, layer] = at
                at += self.groups(layer)
        bases["end", 0] = at
        return bases

    def plane(self, name: str, layer: int) -> int:
        """First group of a plane: "free", "plus", "minus", "mean", "rise" or "fall"."""
        return self._planes[name, layer]

    @property
    def state_groups(self) -> int:
        return self._planes["end", 0]

    @property
    def scratch_groups(self) -> int:
        """For weight access: an identity and a tile, P groups each."""
        return 2 * self.config.p

    # Drive memory

    @cached_property
    def _drives(self) -> dict[tuple[str, int], int]:
        at = 0
        bases = {}
        for layer in range(1, self.depth + 1):
            bases["still", layer] = at  # what no sweep changes: input and bias
            at += self.groups(layer)
        for layer in range(2, self.depth):
            bases["below", layer] = at  # still + forward current, one a phase
            at += 2 * self.groups(layer)
        bases["nudge", self.depth] = at  # the output's still drive with the nudge, one a phase
        at += 2 * self.groups(self.depth)
        bases["end", 0] = at
        return bases

    def drive(self, name: str, layer: int) -> int:
        """First drive group of "still" (any layer), "below" (middle ones) or "nudge" (output)."""
        return self._drives[name, layer]

    @property
    def drive_groups(self) -> int:
        return self._drives["end", 0]

    # Weight memory

    def columns(self, layer: int) -> int:
        """Tiles of a row of the block of weights into ``layer``, bias included."""
        if layer == 1:
            return -(-(self.network.sizes[0] + 1) // self.config.p)
        return self.groups(layer - 1) + 1

    def bias_column(self, layer: int) -> int:
        """Column, counted in neurons, of the biases in the block of ``layer``."""
        return self.network.sizes[0] if layer == 1 else self.groups(layer - 1) * self.config.p

    def block(self, layer: int) -> int:
        """First tile of the weights into ``layer`` (1 .. depth)."""
        return sum(self.groups(i) * self.columns(i) for i in range(1, layer))

    DIAGONALS = ("one", "beta", "gain")

    def diagonal(self, name: str) -> int:
        """Tile of a diagonal: "one", "beta" or "gain"."""
        return self.block(self.depth + 1) + self.DIAGONALS.index(name)

    @property
    def tiles(self) -> int:
        return self.block(self.depth + 1) + len(self.DIAGONALS)


def first_preset(network: Network) -> str:
    """Name of the first preset that holds a network, in the order of `PRESETS`.

    If none does, the one with most weights: a `Layout` on it says what would fit.
    """

    def holds(name: str) -> bool:
        try:
            Layout(network, PRESETS[name])
        except ConfigError:
            return False
        return True

    def weights(name: str) -> int:
        return PRESETS[name].weight_depth * PRESETS[name].p ** 2

    return next(filter(holds, PRESETS), max(PRESETS, key=weights))
