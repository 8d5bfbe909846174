"""Machines at the ends of what a configuration may be."""

from relaxon_isa.presets import preset

__all__ = ["EXTREMES"]

DEFAULT = preset("default")

EXTREMES = {
    "narrow": DEFAULT.replace(
        state_bits=8, weight_bits=4, learn_shifts=(3, 9), decay_shift=3, dither_bits=2,
        table_bits=12, integral_shift=12, max_terms=64, learn_terms=2,
    ),
    "wide": DEFAULT.replace(
        state_bits=32, weight_bits=32, learn_shifts=(18, 63), decay_shift=1, dither_bits=16,
        table_bits=1, integral_shift=1,
    ),
    "uneven": DEFAULT.replace(
        state_bits=8, weight_bits=12, learn_shifts=(1, 2), decay_shift=1, dither_bits=0,
        table_bits=3, integral_shift=1, max_terms=1 << 20, learn_terms=4,
    ),
    "one port, uneven": DEFAULT.replace(
        state_bits=20, weight_bits=9, learn_shifts=(12, 30), decay_shift=12, dither_bits=11,
        table_bits=10, integral_shift=0, weight_ports=1, pipeline="short", learn_terms=4096,
        kind_counters=False,
    ),
}  # fmt: skip
"""With every feature that can be had together."""
