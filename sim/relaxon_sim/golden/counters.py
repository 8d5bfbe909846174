"""The registers: keys and counters."""

from typing import Any

from relaxon_isa import COUNTER_BITS, KEYS, ArrayConfig, Register

from .hash import mix

__all__ = ["MEMORY_BYTES", "RegisterFile"]

MEMORY_BYTES = 1 << 25
"""Of the golden model's sample memory: the most common board's."""
KINDS = range(Register.LEARN_CYCLES, Register.EMIT_CYCLES + 1)


class RegisterFile:
    """Keys and counters of `Register`, written by the host, advanced by events.

    Parameters
    ----------
    config
        The array configuration: it decides which registers exist.

    Members
    -------
    values
        One int per `Register`, in a list or an array. Counters are not reduced to 32 bits; see
        `read`.
    counting
        Whether the current run counts cycles and events.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        self.values: Any = [0] * len(Register)
        self.counting = True
        for key in KEYS:
            self.values[key] = 1 if config.dither_bits else 0
        self.values[Register.MEMORY] = MEMORY_BYTES if config.sample_memory else 0

    def read(self, which: int) -> int:
        """A register as the host reads it, 0 to 2**32 - 1."""
        return int(self.values[which]) % (1 << COUNTER_BITS)

    def write(self, which: int, value: int) -> None:
        """Set a register. One that the configuration leaves out stays 0."""
        config = self.config
        absent = (which in KEYS and not config.dither_bits) or which == Register.MEMORY
        if not absent and (config.kind_counters or which not in KINDS):
            self.values[which] = value

    def count(self, which: int, events: int = 1) -> None:
        """Add events to a counter, in runs that count."""
        if self.counting:
            self.values[which] += events

    @property
    def update_key(self) -> int:
        return self.values[Register.UPDATE_KEY]

    @property
    def sample_key(self) -> int:
        return self.values[Register.SAMPLE_KEY]

    def next_update(self) -> None:
        """Advance UPDATE_KEY: a LEARN without ``hold`` has ended."""
        self.values[Register.UPDATE_KEY] = mix(self.update_key)

    def next_sample(self) -> None:
        """Advance SAMPLE_KEY and count a sample: a WAIT with ``tick`` begins."""
        if self.config.dither_bits:
            self.values[Register.SAMPLE_KEY] = mix(self.sample_key)
        self.count(Register.SAMPLES)
