"""The machine: memories, registers, and the instructions that are not the sequencer's."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from relaxon_isa.config import ArrayConfig
from relaxon_isa.instructions import Emit, EmitKind, Pack, Wait
from relaxon_isa.memory import COUNTER_BITS, Register, Space, element_bytes

from .exact import Numbers, numbers_for
from .hash import mix
from .planes import Plane, in_range
from .sequencer import Run, Sequencer
from .weights import Weights

__all__ = ["Machine"]

KEYS = (Register.UPDATE_KEY, Register.SAMPLE_KEY)


class Machine:
    """The whole machine, bit for bit and cycle for cycle.

    Parameters
    ----------
    config
        The array configuration.
    plain
        Gather every tile by itself: no matrices, nothing left out. Slow; for comparison.
    numbers
        Another representation than the fastest that holds this machine's values (`exact`).

    Members
    -------
    state, drive, weights_array, table
        Memories as integers: (state_depth, p), (drive_depth, p), (weight_depth, p, p) and
        (2**table_bits,). Reading copies; assign to write.
    program
        Program rows; write through `write_program`.
    registers
        `Register` values, not reduced to 32 bits; see `register` and `set_register`.
    """

    def __init__(self, config: ArrayConfig, *, plain: bool = False, numbers: Numbers | None = None):
        self.config = config
        self.plain = plain
        self.numbers = numbers or numbers_for(config)
        self.states = Plane(config, config.state_depth, self.numbers, "state group")
        self.drives = Plane(config, config.drive_depth, self.numbers, "drive group")
        self.drive_bound = 0
        self.drive_limit = (1 << (config.acc_bits - 1)) - 1
        self.table = np.zeros(1 << config.table_bits, dtype=self.numbers.dtype)
        self.flag = False
        self.counting = True
        self.registers = [0] * len(Register)
        for key in KEYS:
            self.registers[key] = 1 if config.dither_bits else 0
        self.sequencer = Sequencer(self)
        self.weights = Weights(config, self.numbers, self.sequencer.forget_work)

    # Memories -----------------------------------------------------------------------------

    def _integers(self, x: NDArray) -> NDArray:
        return x.copy() if x.dtype == object else x.astype(np.int64)

    @property
    def state(self) -> NDArray:
        return self._integers(self.states.words).reshape(-1, self.config.p)

    @state.setter
    def state(self, values: NDArray) -> None:
        self.states.words[:] = np.asarray(values).reshape(-1)

    @property
    def drive(self) -> NDArray:
        return self._integers(self.drives.words).reshape(-1, self.config.p)

    @drive.setter
    def drive(self, values: NDArray) -> None:
        self.write_drive(0, np.asarray(values).reshape(-1))

    def write_drive(self, start: int, values: NDArray) -> None:
        """Words of D from neuron ``start`` on."""
        self.drives.words[start : start + len(values)] = values
        self.drive_bound = max(
            self.drive_bound, *(int(abs(v)) for v in (values.min(), values.max()))
        )

    @property
    def weights_array(self) -> NDArray:
        cells = self.weights.positions(np.arange(self.config.weight_depth))
        return self._integers(self.weights.flat[cells])

    @weights_array.setter
    def weights_array(self, values: NDArray) -> None:
        cells = self.weights.positions(np.arange(self.config.weight_depth))
        self.weights.flat[cells] = np.asarray(values)

    @property
    def program(self) -> tuple[int, ...]:
        return tuple(self.sequencer.rows)

    def write_program(self, start: int, rows: Sequence[int]) -> None:
        self.sequencer.write(start, rows)

    # Registers ----------------------------------------------------------------------------

    def register(self, which: int) -> int:
        return self.registers[which] % (1 << COUNTER_BITS)

    def set_register(self, which: int, value: int) -> None:
        """Write a register; one that the configuration leaves out stays 0."""
        config = self.config
        absent = which in KEYS and not config.dither_bits
        kinds = range(Register.LEARN_CYCLES, Register.EMIT_CYCLES + 1)
        if not absent and (config.kind_counters or which not in kinds):
            self.registers[which] = value

    def count_event(self, which: Register, events: int = 1) -> None:
        if self.counting:
            self.registers[which] += events

    @property
    def update_key(self) -> int:
        return self.registers[Register.UPDATE_KEY]

    @property
    def sample_key(self) -> int:
        return self.registers[Register.SAMPLE_KEY]

    def advance_update_key(self) -> None:
        self.registers[Register.UPDATE_KEY] = mix(self.update_key)

    # Drives: an upper bound of |D| saves looking for accumulators that wrap ------------------

    def drive_may_wrap(self, reach: int) -> bool:
        """Whether a drive plus products of sum at most ``reach`` can leave the format."""
        if self.drive_bound + reach <= self.drive_limit:
            return False
        self.drive_bound = int(abs(self.drives.words).max())
        return self.drive_bound + reach > self.drive_limit

    def drive_written(self, reach: int, added: bool) -> None:
        """A MAC has written such sums to D, on top of drives or not."""
        bound = self.drive_bound + reach if added else max(self.drive_bound, reach)
        self.drive_bound = min(bound, self.drive_limit + 1)

    # WAIT and EMIT --------------------------------------------------------------------------

    def tick(self) -> None:
        """A sample begins."""
        if self.config.dither_bits:
            self.registers[Register.SAMPLE_KEY] = mix(self.sample_key)
        self.count_event(Register.SAMPLES)

    def compile_wait(self, wait: Wait, x: Sequence[int]) -> Callable[[bytes], None]:
        """The function that puts a WAIT's bytes into S."""
        start = self._start(self.states, wait.dst + x[wait.dst_x], wait.count)
        words = self.states.words[start : start + wait.count]
        values_of = unpacker(self.config, wait)

        def take(data: bytes) -> None:
            words[:] = values_of(data)

        return take

    def compile_emit(self, emit: Emit, x: Sequence[int]) -> Callable[[], bytes]:
        """The function that makes an EMIT's payload."""
        base = emit.base + x[emit.base_x]
        if emit.kind is EmitKind.COUNTERS:
            which = range(base, base + emit.count)
            size = COUNTER_BITS // 8
            return lambda: b"".join(self.register(i).to_bytes(size, "little") for i in which)
        drives = emit.kind is EmitKind.DRIVE
        plane = self.drives if drives else self.states
        width = element_bytes(self.config, Space.DRIVE if drives else Space.STATE)
        start = self._start(plane, base, emit.count)
        words = plane.words[start : start + emit.count]
        if emit.kind is EmitKind.ARGMAX:
            return lambda: int(words.argmax()).to_bytes(2, "little")
        return lambda: pack(self._integers(words), width)

    def _start(self, plane: Plane, group: int, count: int) -> int:
        p = self.config.p
        groups = np.array([group, group + (count - 1) // p])
        in_range(plane.name, groups, plane.depth)
        return group * p

    # Running ------------------------------------------------------------------------------

    def run(self, samples: Iterable[bytes] = (), *, row: int = 0, count: bool = True) -> Run:
        """Run from ``row`` to HALT; yields each EMIT's payload. Returns how many samples were
        taken and whether bytes of them are left.

        WAIT takes its bytes from ``samples``, asked for one more only when they run short. Raises
        `Starved` when there are no more.
        """
        return self.sequencer.run(iter(samples), row, count)


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
