"""The array configuration: every parameter of a machine, validated."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace

from .errors import ConfigError
from .instructions import (
    CONTRACT_VERSION,
    LEARN_FLAGS,
    MAC_FLAGS,
    Activation,
    EmitKind,
    Sign,
)

__all__ = ["CONTRACT_VERSION", "FEATURES", "ArrayConfig", "Feature", "clog2"]


@dataclass(frozen=True, kw_only=True)
class Feature:
    """What a machine may lack: it does where ``number``, a field of its configuration, is 0 or
    False.

    The other fields list what no program can use then.
    """

    number: str
    activations: tuple[Activation, ...] = ()
    signs: tuple[Sign, ...] = ()
    mac_flags: tuple[str, ...] = ()
    emit_kinds: tuple[EmitKind, ...] = ()
    learn_flags: tuple[str, ...] = ()


FEATURES = {
    "random": Feature(
        number="dither_bits",
        activations=(Activation.RANDOM,),
        signs=(Sign.RANDOM,),
        learn_flags=("stochastic",),
    ),
    "decay": Feature(number="decay_shift", learn_flags=("decay",)),
    "integral": Feature(number="integral_shift", learn_flags=("integral",)),
    "table": Feature(number="table_bits", activations=(Activation.TABLE,)),
    "drains": Feature(number="drains"),
    "prefetch": Feature(number="prefetch"),
    "both": Feature(number="both", mac_flags=("both",)),
    "memory": Feature(number="sample_memory"),
    "selective repeat": Feature(number="selective_repeat"),
    "zero runs": Feature(number="zero_runs"),
    "samples": Feature(number="sample_buffer", mac_flags=("walk",), emit_kinds=(EmitKind.ANSWER,)),
}


def clog2(n: int) -> int:
    """Bits that count 0 .. n-1 (0 for n = 1)."""
    return (n - 1).bit_length()


RANGES = {
    "p": (1, 32),
    "state_bits": (8, 32),
    "weight_bits": (4, 32),
    "weight_depth": (2, 1 << 16),
    "state_depth": (4, 1 << 14),
    "drive_depth": (2, 1 << 14),
    "program_rows": (16, 1 << 12),
    "levels": (2, 7),
    "loop_depth": (1, 7),
    "max_terms": (2, 1 << 20),
    "learn_terms": (1, 1 << 12),
    "integral_shift": (0, 12),
    "table_bits": (0, 12),
    "weight_ports": (1, 2),
    "rx_bytes": (256, 1 << 14),
    "tx_bytes": (256, 1 << 14),
}
"""Lowest and highest value of the fields that depend on no other."""


@dataclass(frozen=True, kw_only=True)
class ArrayConfig:
    """One machine.

    Parameters
    ----------
    p
        Rows, columns and neuron lanes of the array; neuron n lives in lane ``n % p``,
        group ``n // p``.
    state_bits, weight_bits
        Widths of the signed words of a plane and of a synapse.
    weight_depth
        Number of tiles: words in each cell's weight memory.
    state_depth, drive_depth
        Number of groups in S and in D: words in each lane's state bank and drive bank.
    program_rows
        Rows of program memory; an instruction takes 1 to 2 + ``levels`` of them.
    levels
        Loop levels that one MAC or LEARN may have, outer and inner together.
    loop_depth
        How deep LOOPs may be nested.
    max_terms
        Largest number of products that one accumulator or drive word may add up; sets
        ``acc_bits``. The builder rejects programs that exceed it.
    learn_terms
        Largest number of products that one LEARN may add up in a cell; sets ``learn_bits``.
    learn_shifts
        The two right shifts q, in bits, that LEARN can round its accumulator by;
        ``Learn.position`` chooses.
    decay_shift
        Decay subtracts ``w * 2**-decay_shift`` from a weight w. 0: no decay.
    integral_shift
        Gain ``2**-integral_shift`` of LEARN's integral mode. 0: no such mode.
    table_bits
        The activation table has ``2**table_bits`` entries. 0: no table.
    dither_bits
        Random bits of stochastic rounding. 0: nothing random (no stochastic rounding, no random
        planes, no random sign of a sample).
    weight_ports
        2: a weight memory reads and writes in the same cycle. 1: one access per cycle (SPRAM),
        so that LEARN takes at least two cycles per tile.
    pipeline
        "long": a register at every stage, for a high clock. "short": stages that cost registers
        are merged, for small and slow fabrics. Sets the latencies (`cycles`).
    kind_counters
        True: cycles are counted by kind of instruction. False: all in one counter.
    drains
        True: every MAC and LEARN says how many cycles the next instruction waits (`hazards`).
        False: it waits until all has ended. Needs the long pipeline.
    prefetch
        True: an instruction is fetched while the one before issues; False: once it has issued.
        Needs the long pipeline.
    both
        True: a MAC may write its sums and its states at once (``Mac.both``).
    sample_buffer
        Rows of the buffer of samples, which are unpacked while the one before is trained: at most
        twice as many as a sample's groups are what a WAIT with ``ahead`` may ask for. 0: none, and
        no walks over lists. Needs the long pipeline.
    sample_memory
        True: there is a memory of samples (`samples`), of which the register MEMORY says how large
        it is. Needs a sample buffer.
    selective_repeat
        True: the link keeps frames behind a gap, so that only what was lost is sent again.
    zero_runs
        True: samples may travel as zero runs (command RUNS).
    rx_bytes, tx_bytes
        Bytes of the link's ring buffers, each a power of two. ``rx_bytes`` limits how many bytes
        the host may send ahead.
    """

    p: int = 4
    state_bits: int = 16
    weight_bits: int = 16
    weight_depth: int = 4096
    state_depth: int = 1024
    drive_depth: int = 256
    program_rows: int = 512
    levels: int = 4
    loop_depth: int = 4
    max_terms: int = 1024
    learn_terms: int = 16
    learn_shifts: tuple[int, int] = (14, 20)
    decay_shift: int = 10
    integral_shift: int = 0
    table_bits: int = 8
    dither_bits: int = 8
    weight_ports: int = 2
    pipeline: str = "long"
    kind_counters: bool = True
    drains: bool = False
    prefetch: bool = False
    both: bool = False
    sample_buffer: int = 0
    sample_memory: bool = False
    selective_repeat: bool = True
    zero_runs: bool = True
    rx_bytes: int = 2048
    tx_bytes: int = 2048

    def __post_init__(self) -> None:
        def check(ok: bool, field: str, allowed: str) -> None:
            if not ok:
                raise ConfigError(f"{field} = {getattr(self, field)!r}: must be {allowed}")

        for field, (low, high) in RANGES.items():
            value = getattr(self, field)
            check(
                isinstance(value, int) and low <= value <= high, field, f"an int, {low} to {high}"
            )
        check(
            len(self.learn_shifts) == 2
            and all(isinstance(q, int) for q in self.learn_shifts)
            and 1 <= self.learn_shifts[0] < self.learn_shifts[1] < 2 * self.state_bits,
            "learn_shifts",
            f"two ints, 1 <= first < second < {2 * self.state_bits}",
        )
        check(
            self.decay_shift == 0 or 1 <= self.decay_shift <= self.learn_shifts[0],
            "decay_shift",
            f"0 (no decay), or 1 to {self.learn_shifts[0]} (the first of learn_shifts)",
        )
        check(
            0 <= self.dither_bits < min(17, self.learn_shifts[0]),
            "dither_bits",
            f"0 (nothing random) to {min(16, self.learn_shifts[0] - 1)}",
        )
        check(
            self.integral_shift == 0 or self.weight_ports == 2,
            "integral_shift",
            "0 with one weight port (the integral mode's second word needs the other one)",
        )
        check(self.pipeline in ("short", "long"), "pipeline", '"short" or "long"')
        built = "long" if self.weight_ports == 2 else "short"
        check(
            self.pipeline == built,
            "pipeline",
            f'"{built}" with weight_ports = {self.weight_ports} (the gateware has no other stages '
            "between a weight's read and its write)",
        )
        for field in (
            *("kind_counters", "drains", "prefetch", "both", "sample_memory"),
            *("selective_repeat", "zero_runs"),
        ):
            check(isinstance(getattr(self, field), bool), field, "True or False")
        for field in ("drains", "prefetch"):
            check(
                not getattr(self, field) or self.pipeline == "long",
                field,
                'False with pipeline "short" (whose stages, and program memory, one instruction '
                "uses at a time)",
            )
        check(
            self.sample_buffer == 0
            or (16 <= self.sample_buffer <= 1 << 12 and self.pipeline == "long"),
            "sample_buffer",
            f'0 (none) or 16 to {1 << 12}, and 0 with pipeline "short"',
        )
        check(
            not self.sample_memory or self.sample_buffer > 0,
            "sample_memory",
            "False without a sample buffer, which its records go to",
        )
        for field in ("rx_bytes", "tx_bytes"):
            check(getattr(self, field).bit_count() == 1, field, "a power of two")

    # Capabilities -------------------------------------------------------------------------

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the `FEATURES` that this machine has."""
        return tuple(name for name, feature in FEATURES.items() if getattr(self, feature.number))

    def _possible(self, kind: str, every: Iterable) -> tuple:
        lacking = [f for f in FEATURES.values() if not getattr(self, f.number)]
        return tuple(x for x in every if not any(x in getattr(f, kind) for f in lacking))

    @property
    def activations(self) -> tuple[Activation, ...]:
        """What a MAC may name as its activation."""
        return self._possible("activations", Activation)

    @property
    def signs(self) -> tuple[Sign, ...]:
        """What a MAC or LEARN may name as its sign."""
        return self._possible("signs", Sign)

    @property
    def mac_flags(self) -> tuple[str, ...]:
        """Those of `MAC_FLAGS` that a MAC may set."""
        return self._possible("mac_flags", MAC_FLAGS)

    @property
    def emit_kinds(self) -> tuple[EmitKind, ...]:
        """What an EMIT may hand over."""
        return self._possible("emit_kinds", EmitKind)

    @property
    def learn_flags(self) -> tuple[str, ...]:
        """The flags that a LEARN may set."""
        return self._possible("learn_flags", LEARN_FLAGS)

    # Derived widths -----------------------------------------------------------------------

    @property
    def acc_bits(self) -> int:
        """Accumulator and drive width: ``max_terms`` exact products, computed, never guessed."""
        return self.state_bits + self.weight_bits + clog2(self.max_terms)

    @property
    def learn_bits(self) -> int:
        """Width of a cell's accumulator: ``learn_terms`` exact products of two states."""
        return 2 * self.state_bits + clog2(self.learn_terms)

    @property
    def tile_addr_bits(self) -> int:
        return clog2(self.weight_depth)

    @property
    def state_addr_bits(self) -> int:
        return clog2(self.state_depth)

    @property
    def drive_addr_bits(self) -> int:
        return clog2(self.drive_depth)

    @property
    def program_addr_bits(self) -> int:
        return clog2(self.program_rows)

    @property
    def lane_bits(self) -> int:
        """Bits that number a lane (at least 1)."""
        return max(1, clog2(self.p))

    # Text ---------------------------------------------------------------------------------

    def to_json(self) -> str:
        """Canonical text of the configuration: sorted keys, no spaces."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "ArrayConfig":
        """Inverse of `to_json`. Raises ConfigError on unknown or missing fields."""
        try:
            data = json.loads(text)
            known = {f.name for f in fields(cls)}
            if set(data) != known:
                raise ConfigError(
                    "not a configuration of this contract: unknown fields: "
                    f"{', '.join(sorted(set(data) - known)) or 'none'}; missing fields: "
                    f"{', '.join(sorted(known - set(data))) or 'none'}"
                )
            data["learn_shifts"] = tuple(data["learn_shifts"])
            return cls(**data)
        except (TypeError, ValueError, KeyError) as error:
            raise ConfigError(f"not an array configuration: {error}") from error

    def replace(self, **changes: object) -> "ArrayConfig":
        """A copy with some fields changed, validated anew."""
        return replace(self, **changes)  # type: ignore[arg-type]
