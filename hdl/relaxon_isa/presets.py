"""The machines by name: one for each kind of board, and those that are only simulated."""

from .config import ArrayConfig
from .errors import choose

__all__ = ["PRESETS", "preset"]

_FAST = ArrayConfig(
    p=12,
    weight_depth=1024,
    drive_depth=512,
    table_bits=0,
    drains=True,
    prefetch=True,
    both=True,
    sample_buffer=512,
    rx_bytes=4096,
)

_CONV = ArrayConfig(
    p=12,
    weight_depth=1024,
    drive_depth=512,
    max_terms=2048,
    levels=7,
    learn_terms=512,
    table_bits=0,
)

PRESETS: dict[str, ArrayConfig] = {
    # The virtual board's default: every mode, room for 784-64-10.
    "default": ArrayConfig(integral_shift=2),
    # Small and wide: verification against theory, and the golden model's int64 path.
    "verify24": ArrayConfig(
        p=3,
        state_bits=24,
        weight_bits=24,
        weight_depth=512,
        state_depth=256,
        drive_depth=64,
        levels=5,
        learn_shifts=(22, 28),
        integral_shift=2,
    ),
    # iCE40UP5K: 2 x 2 cells, weights in the four single-port SPRAMs, 784-64-10.
    "up5k": ArrayConfig(
        p=2,
        weight_depth=16384,
        state_depth=768,
        drive_depth=256,
        program_rows=256,
        levels=3,
        loop_depth=3,
        learn_terms=2,
        decay_shift=0,
        table_bits=0,
        dither_bits=0,
        weight_ports=1,
        pipeline="short",
        kind_counters=False,
        selective_repeat=False,
        zero_runs=False,
        rx_bytes=512,
        tx_bytes=512,
    ),
    # LFE5U-25F: 5 x 5 cells, 196-120-10.
    "ecp5-25f": ArrayConfig(p=5, weight_depth=1024, drive_depth=512, table_bits=0),
    # LFE5U-85F: 12 x 12 cells, 784-128-10.
    "ecp5-85f": ArrayConfig(p=12, weight_depth=1024, drive_depth=512, table_bits=0, rx_bytes=4096),
    # iCE40HX8K: no multipliers, so one cell; 32 blocks of 4 kb in all. 64-40-10.
    "hx8k": ArrayConfig(
        p=1,
        weight_depth=3072,
        state_depth=512,
        drive_depth=256,
        program_rows=256,
        levels=3,
        loop_depth=3,
        max_terms=256,
        learn_terms=2,
        decay_shift=0,
        table_bits=0,
        dither_bits=0,
        weight_ports=1,
        pipeline="short",
        kind_counters=False,
        selective_repeat=False,
        rx_bytes=1024,
        tx_bytes=512,
    ),
    # GW1NR-9C: 2 x 2 cells, 12 of 26 block RAMs for weights. 196-56-10.
    "gowin-9k": ArrayConfig(
        p=2,
        weight_depth=3072,
        state_depth=512,
        drive_depth=256,
        program_rows=256,
        levels=3,
        loop_depth=3,
        learn_terms=2,
        decay_shift=0,
        table_bits=0,
        dither_bits=0,
        kind_counters=False,
        tx_bytes=512,
    ),
    # GW2A-18C: 4 x 4 cells, 16 of 46 block RAMs for weights. 196-64-10.
    "gowin-20k": ArrayConfig(p=4, weight_depth=1024, state_depth=512, table_bits=0),
    # XC7A35T: 6 x 6 cells, 784-64-10.
    "artix-35": ArrayConfig(p=6, weight_depth=2048, table_bits=0, tx_bytes=256),
    # XC7A100T: 12 x 12 cells, 784-128-10, and room for the activation table.
    "artix-100": ArrayConfig(p=12, weight_depth=1024, drive_depth=512),
    # No board, golden model and virtual board only: every mode, and 784-500-10 at two words a
    # synapse, which is 18 Mb of weights.
    "large": ArrayConfig(
        p=12, weight_depth=8192, drive_depth=512, max_terms=2048, integral_shift=2
    ),
    # No board: convolutional networks on the golden model and the virtual board, 28x28x1 with 16
    # and 32 channels.
    "conv": ArrayConfig(
        weight_depth=4096,
        state_depth=8192,
        drive_depth=2048,
        levels=7,
        max_terms=2048,
        learn_terms=512,
    ),
    # LFE5U-85F, 784-128-10, with all that makes training fast; docs/decisions.md has its clock. The
    # second one for boards with an SDR SDRAM beside it.
    "ecp5-85f-fast": _FAST,
    "ecp5-85f-memory": _FAST.replace(sample_memory=True),
    # No board: small and with every mode, for tests of what the one above has.
    "fast4": ArrayConfig(
        weight_depth=64,
        state_depth=64,
        drive_depth=16,
        program_rows=256,
        integral_shift=2,
        drains=True,
        prefetch=True,
        both=True,
        sample_buffer=64,
        sample_memory=True,
    ),
    # LFE5U-85F as above, for convolutional networks as 28x28x1, 12 and 36 channels, 10; the second
    # one for more channels, 20 and 40 in full groups, 24 and 48 with padding.
    "ecp5-85f-conv": _CONV,
    "ecp5-85f-conv-wide": _CONV.replace(p=10, state_depth=2048, drive_depth=1024),
}
"""Named machines. Features are left out where the device has no room for them."""


def preset(name: str) -> ArrayConfig:
    """The preset of that name. Raises ConfigError that lists the names."""
    return choose("preset", name, PRESETS)
