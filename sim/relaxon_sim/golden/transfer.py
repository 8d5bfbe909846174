"""WAIT and EMIT: bytes of the sample source into S, planes and counters into records."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from relaxon_isa import (
    COUNTER_BITS,
    ArrayConfig,
    Emit,
    EmitKind,
    Pack,
    Register,
    Space,
    Wait,
    element_bytes,
)

from .planes import Plane, in_range
from .samples import NONE
from .state import State, integers

__all__ = ["TransferUnit"]


class TransferUnit:
    """Executes WAIT and EMIT.

    Parameters
    ----------
    state
        The machine's state. WAIT writes its S; EMIT reads its S, D or registers.
    """

    def __init__(self, state: State):
        self.state = state

    def wait(self, wait: Wait, x: Sequence[int]) -> Callable[[bytes], None]:
        """Compile a WAIT at loop indices ``x``: the function that puts its bytes into S, or makes
        them the present sample."""
        if wait.ahead:
            return self._ahead(wait, x)
        words = self._words(self.state.states, wait.dst + x[wait.dst_x], wait.count)
        values_of = unpacker(self.state.config, wait)

        def take(data: bytes) -> None:
            words[:] = values_of(data)

        return take

    def _ahead(self, wait: Wait, x: Sequence[int]) -> Callable[[bytes], None]:
        state, values_of = self.state, unpacker(self.state.config, wait)
        one = np.full(int(wait.bias), 1 << wait.pack.bits - wait.signed + wait.shift)
        size = wait.outputs
        targets = self._words(state.states, wait.dst + x[wait.dst_x], size) if size else None

        def take(data: bytes) -> None:
            label = data[-1] if size else NONE
            values = values_of(data[:-1] if size else data)
            state.sample.put(np.append(values, one), dense=wait.dense, label=label)
            if targets is not None:
                targets[:] = wait.low
                targets[label : label + 1] = wait.high

        return take

    def emit(self, emit: Emit, x: Sequence[int]) -> Callable[[], bytes]:
        """Compile an EMIT at loop indices ``x``: the function that makes its payload."""
        state = self.state
        base = emit.base + x[emit.base_x]
        if emit.kind is EmitKind.COUNTERS:
            which, read = range(base, base + emit.count), state.registers.read
            return lambda: b"".join(read(i).to_bytes(COUNTER_BITS // 8, "little") for i in which)
        drives = emit.kind is EmitKind.DRIVE
        words = self._words(state.drives if drives else state.states, base, emit.count)
        if emit.kind is EmitKind.ANSWER:

            def judge() -> bytes:
                if int(words.argmax()) != state.sample.label:
                    state.registers.count(Register.WRONG)
                return b""

            return judge
        if emit.kind is EmitKind.ARGMAX:
            return lambda: int(words.argmax()).to_bytes(2, "little")
        width = element_bytes(state.config, Space.DRIVE if drives else Space.STATE)
        return lambda: pack(integers(words), width)

    def _words(self, plane: Plane, group: int, count: int) -> NDArray:
        """View of ``count`` words from neuron 0 of a group on. Raises ProgramError."""
        p = self.state.config.p
        in_range(plane.name, np.array([group, group + (count - 1) // p]), plane.depth)
        return plane.words[group * p : group * p + count]


def unpacker(config: ArrayConfig, wait: Wait) -> Callable[[bytes], NDArray]:
    """The function from a WAIT's bytes to its ``count`` values, shifted."""
    count, shift, bits = wait.count, wait.shift, wait.pack.bits
    if wait.pack is Pack.WORD:
        width = element_bytes(config, Space.STATE)
        scale = np.int64(1) << 8 * np.arange(width, dtype=np.int64)
        mask, half = (1 << config.state_bits) - 1, 1 << (config.state_bits - 1)

        def values_of_words(data: bytes) -> NDArray:
            octets = np.frombuffer(data, np.uint8).reshape(-1, width)
            values = octets.astype(np.int64) @ scale & mask
            return (values ^ half) - half

        return values_of_words

    mask, half = (1 << bits) - 1, 1 << (bits - 1)
    fields = np.arange(256)[:, None] >> np.arange(0, 8, bits) & mask
    if wait.signed:
        fields = (fields ^ half) - half
    values_in = fields << shift  # of every byte, shape (256, 8 // bits)

    def values_of(data: bytes) -> NDArray:
        return values_in[np.frombuffer(data, np.uint8)].reshape(-1)[:count]

    return values_of


def pack(values: NDArray, width: int) -> bytes:
    """Words in ``width`` bytes each, least significant first, sign-extended."""
    if values.dtype == object:
        return b"".join(int(v).to_bytes(width, "little", signed=True) for v in values)
    return values.astype("<i8").view(np.uint8).reshape(-1, 8)[:, :width].tobytes()
