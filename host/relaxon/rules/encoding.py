"""Samples as the bytes that WAIT takes."""

import numpy as np

from ..checks import unit

__all__ = ["octets_of", "pack_octets", "to_levels"]


def to_levels(x: np.ndarray, bits: int, signed: bool = False) -> np.ndarray:
    """Values in [0, 1), or ``signed`` in [-1, 1), to the nearest of 2**bits whole numbers (as
    floats); what is beyond is clipped."""
    high = (1 << bits - signed) - 1
    return np.clip(np.rint(x * (high + 1)), -(high + 1) if signed else 0, high)


def octets_of(x: np.ndarray, bits: int, offset: float = 0) -> np.ndarray:
    """Features, float or uint8, to `to_levels` of what they exceed an offset by, signed if there is
    one: uint8, numbers below 0 as two's complement. Of uint8 by a table, the same numbers."""
    if x.dtype == np.uint8:
        return octets_of(unit(np.arange(256, dtype=np.uint8)), bits, offset)[x]
    beyond = x - x.dtype.type(offset) if offset else x
    return to_levels(beyond, bits, offset > 0).astype(np.int16).astype(np.uint8)


def pack_octets(octets: np.ndarray, bits: int) -> list[bytes]:
    """Numbers, uint8 (n, WAITs, values), in ``bits`` (1 to 8) bits each, lowest bits first; whole
    bytes for each WAIT. One entry a sample."""
    if bits < 8:
        spread = np.unpackbits(octets[..., None], axis=-1, bitorder="little")[..., :bits]
        octets = np.packbits(spread.reshape(*octets.shape[:2], -1), axis=-1, bitorder="little")
    return [row.tobytes() for row in octets.reshape(len(octets), -1)]
