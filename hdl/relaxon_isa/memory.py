"""The memory map: what the host can read and write while no instruction is running."""

from enum import IntEnum

from .config import ArrayConfig
from .encoding import row_layouts

__all__ = [
    "COUNTER_BITS",
    "INFO_BYTES",
    "Register",
    "Space",
    "element_bytes",
    "registers",
    "row_bits",
]

COUNTER_BITS = 32
INFO_BYTES = 1024
"""Length limit of the identity text (see `identity.encode_info`)."""


class Space(IntEnum):
    """An address space. An address is a group (or row, or index) and a lane.

    A run of ``count`` elements starts at (group, lane) and goes on lane by lane, then to the
    next group: in neuron order. Spaces without lanes use lane 0 and step the index.
    Elements travel least significant byte first, sign-extended to whole bytes.
    """

    PROGRAM = 0
    """Rows of program memory; index = row. Unsigned, `row_bits` wide. Read and write."""
    STATE = 1
    """S: group, lane. Signed, state_bits. Read and write."""
    DRIVE = 2
    """D: group, lane. Signed, acc_bits. Read and write."""
    TABLE = 3
    """Activation table; index = entry. Signed, state_bits. Write only (one copy a lane)."""
    REGISTER = 4
    """`Register`; index = its number. Unsigned, 32 bits. Read and write."""
    INFO = 5
    """The identity text (`identity.encode_info`); index = byte. Unsigned, 8 bits. Read only."""


class Register(IntEnum):
    """32-bit registers and counters. Counters wrap and are set by a write; they count only in runs
    that ask for it, those of the link always. RESET of the link leaves them as they are. Without
    dither_bits there are no keys (read 0, writes ignored); without kind_counters MAC_CYCLES counts
    the cycles of all kinds and LEARN_CYCLES, CONTROL_CYCLES, WAIT_CYCLES and EMIT_CYCLES read 0.
    Keys power up as 1, counters as 0."""

    UPDATE_KEY = 0
    """Key of stochastic rounding: xorshift32 of itself after every LEARN without ``hold``.
    Its initial value is the seed (never 0)."""
    SAMPLE_KEY = 1
    """Key of the sample's random sign (its bit 0) and of random planes: xorshift32 of itself at
    every WAIT with ``tick``. Its initial value is a seed (never 0)."""
    MAC_CYCLES = 2
    """Cycles of MAC instructions."""
    LEARN_CYCLES = 3
    CONTROL_CYCLES = 4
    """Cycles of LOOP, NEXT, HALT, and of fetching that no other instruction hides."""
    WAIT_CYCLES = 5
    EMIT_CYCLES = 6
    WAIT_STALLS = 7
    """Cycles in WAIT without a byte to take. Not part of the contract's cycles."""
    EMIT_STALLS = 8
    """Cycles in EMIT without room for a byte. Not part of the contract's cycles."""
    SWEEPS = 9
    """NEXTs executed of LOOPs with ``sweep``."""
    SAMPLES = 10
    """WAITs with ``tick`` executed."""
    STATE_SATURATIONS = 11
    """Destination groups of a MAC in which a valid lane met the end of the state format
    (activations LINEAR and RELU; a clip to 0 or 1 is no saturation)."""
    WEIGHT_SATURATIONS = 12
    """Tiles of a LEARN in which a written cell met the end of the weight format."""
    LINK_ERRORS = 13
    """Frames dropped for their CRC, length or delimiters."""
    LINK_DROPS = 14
    """Frames dropped for their sequence number or for lack of room."""
    WRONG = 15
    """EMITs of kind ANSWER that found another output than the label's the largest. Only machines
    with a sample buffer have it."""
    MEMORY = 16
    """Bytes of sample memory that answered at power-on, a power of two; 0: none did. Writes are
    ignored. Only machines with a sample memory have it."""


KEYS = (Register.UPDATE_KEY, Register.SAMPLE_KEY)
"""Registers that are seeds of xorshift32: 0 would stay 0 for ever. All others count or tell."""


def registers(config: ArrayConfig) -> tuple[Register, ...]:
    """The registers that a machine has."""
    absent = {Register.WRONG} if not config.sample_buffer else set()
    absent |= {Register.MEMORY} if not config.sample_memory else set()
    return tuple(r for r in Register if r not in absent)


def row_bits(config: ArrayConfig) -> int:
    """Width of a program row, a whole number of bytes (see `encoding`)."""
    widest = max(layout.width for layout in row_layouts(config).values())
    return (widest + 7) // 8 * 8


def element_bytes(config: ArrayConfig, space: Space) -> int:
    """Bytes of one element on the wire."""
    bits = {
        Space.PROGRAM: row_bits(config),
        Space.STATE: config.state_bits,
        Space.DRIVE: config.acc_bits,
        Space.TABLE: config.state_bits,
        Space.REGISTER: COUNTER_BITS,
        Space.INFO: 8,
    }[space]
    return (bits + 7) // 8
