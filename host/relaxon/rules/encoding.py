"""Samples as the bytes that WAIT takes."""

import numpy as np

__all__ = ["pack_levels"]


def pack_levels(x: np.ndarray, bits: int) -> list[bytes]:
    """Values in [0, 1), float (n, features), in ``bits`` (1 to 8) bits each, lowest bits first;
    what is beyond is clipped. One entry a sample, whole bytes."""
    levels = np.clip(np.rint(x * (1 << bits)), 0, (1 << bits) - 1).astype(np.uint8)
    spread = np.unpackbits(levels[..., None], axis=-1, bitorder="little")[..., :bits]
    packed = np.packbits(spread.reshape(len(x), -1), axis=-1, bitorder="little")
    return [row.tobytes() for row in packed]
