"""Samples as the bytes that WAIT takes."""

import numpy as np

__all__ = ["pack_levels", "to_levels"]


def to_levels(x: np.ndarray, bits: int, signed: bool = False) -> np.ndarray:
    """Values in [0, 1), or ``signed`` in [-1, 1), to the nearest of 2**bits whole numbers (as
    floats); what is beyond is clipped."""
    high = (1 << bits - signed) - 1
    return np.clip(np.rint(x * (high + 1)), -(high + 1) if signed else 0, high)


def pack_levels(x: np.ndarray, bits: int, signed: bool = False) -> list[bytes]:
    """Values, float (n, WAITs, values), in ``bits`` (1 to 8) bits each, lowest bits first; whole
    bytes for each WAIT. One entry a sample.

    Values as `to_levels` takes them.
    """
    octets = to_levels(x, bits, signed).astype(np.int16).astype(np.uint8)
    spread = np.unpackbits(octets[..., None], axis=-1, bitorder="little")[..., :bits]
    packed = np.packbits(spread.reshape(*x.shape[:2], -1), axis=-1, bitorder="little")
    return [row.tobytes() for row in packed.reshape(len(x), -1)]
