"""Hand-computed vectors of a convolution: 2 channels, kernel 3 x 3, stride 2, on a map of 5 x 5;
and of a first layer whose lanes hold pixel blocks: kernel 4 x 4, stride 2, padding 1.

Weight of output channel o, row ky, column kx, input channel c: 1 + 3 ky + kx + 10 c + 100 o. Few
neurons are not 0, so that each result is a sum of few products. All in integers.
"""

__all__ = [
    "BELOW", "BIASES", "BLOCK_CHANGE", "BLOCK_MATRIX", "BLOCK_RISE", "BLOCK_UP", "CHANGE", "DOWN",
    "MATRIX", "RISE", "SENT", "UP",
]  # fmt: skip

MATRIX = [
    [1, 11, 2, 12, 3, 13, 4, 14, 5, 15, 6, 16, 7, 17, 8, 18, 9, 19],
    [101, 111, 102, 112, 103, 113, 104, 114, 105, 115, 106, 116, 107, 117, 108, 118, 109, 119],
]
"""A row for each output channel; columns ky, kx, c, the last fastest."""
BIASES = [1, 2]

BELOW = {(0, 0, 0): 1, (2, 2, 0): 2, (2, 2, 1): 3, (4, 1, 1): 5}
"""Neurons (y, x, c) of the map below. (2, 2) is in all four windows, with the taps (2, 2), (2, 0),
(0, 2) and (0, 0); (4, 1) is in the lower left one, with the tap (2, 1)."""

UP = {
    # 1 * 1 + 2 * 9 + 3 * 19, and 100 * (1 + 2 + 3) more in the second channel
    (0, 0, 0): 76, (0, 0, 1): 676,
    # 2 * 7 + 3 * 17, 100 * 5
    (0, 1, 0): 65, (0, 1, 1): 565,
    # 2 * 3 + 3 * 13 + 5 * 18, 100 * 10
    (1, 0, 0): 135, (1, 0, 1): 1135,
    # 2 * 1 + 3 * 11, 100 * 5
    (1, 1, 0): 35, (1, 1, 1): 535,
}  # fmt: skip
"""What the windows add up, without biases."""

RISE = {(0, 0, 0): 1, (0, 1, 0): 3, (1, 1, 1): 2}
"""Neurons (y, x, o) of the map above."""

DOWN = [
    # channel 0: the kernel of o = 0 once at the upper left, three times at the upper right; twice
    # that of o = 1 at the lower right
    [
        [1, 2, 3 + 3 * 1, 3 * 2, 3 * 3],
        [4, 5, 6 + 3 * 4, 3 * 5, 3 * 6],
        [7, 8, 9 + 3 * 7 + 2 * 101, 3 * 8 + 2 * 102, 3 * 9 + 2 * 103],
        [0, 0, 2 * 104, 2 * 105, 2 * 106],
        [0, 0, 2 * 107, 2 * 108, 2 * 109],
    ],
    [
        [11, 12, 13 + 3 * 11, 3 * 12, 3 * 13],
        [14, 15, 16 + 3 * 14, 3 * 15, 3 * 16],
        [17, 18, 19 + 3 * 17 + 2 * 111, 3 * 18 + 2 * 112, 3 * 19 + 2 * 113],
        [0, 0, 2 * 114, 2 * 115, 2 * 116],
        [0, 0, 2 * 117, 2 * 118, 2 * 119],
    ],
]
"""RISE brought down, by channel, row and column of the map below."""

CHANGE = {
    # o = 0: the upper left window meets BELOW at its taps (0, 0) and (2, 2), the upper right one,
    # three times, at (2, 0); o = 1: the lower right window, twice, at (0, 0). Keys (o, ky, kx, c).
    (0, 0, 0, 0): 1, (0, 2, 2, 0): 2, (0, 2, 2, 1): 3, (0, 2, 0, 0): 6, (0, 2, 0, 1): 9,
    (1, 0, 0, 0): 4, (1, 0, 0, 1): 6,
}  # fmt: skip
"""Products of RISE and BELOW, added up over the four positions; biases: 4 and 2 times the ones."""

# Blocks of 2 x 2 pixels: an image of 4 x 3 pixels, 2 channels above it, which have 2 x 1 positions.
# Weight of output channel o, row ky, column kx: 1 + 4 ky + kx + 100 o.

BLOCK_MATRIX = [
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
    [101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111, 112, 113, 114, 115, 116],
]

SENT = [
    # The first block begins at row -1, column -1, so that pixel (0, 0), which is 1, is its last.
    [0, 0, 0, 1], [0, 0, 0, 0],
    # Rows 1 and 2; pixel (1, 2) is 2.
    [0, 0, 0, 0], [0, 2, 0, 0],
    # Row 3, pixel (3, 1) is 3, and a row below the image.
    [0, 0, 0, 0], [3, 0, 0, 0],
]  # fmt: skip
"""The pixels by blocks, as they are sent: 3 rows of 2 blocks. All others are 0."""

BLOCK_UP = {
    # The upper window begins at (-1, -1): (0, 0) meets tap (1, 1), (1, 2) meets (2, 3).
    (0, 0): 1 * 6 + 2 * 12, (0, 1): 1 * 106 + 2 * 112,
    # The lower one begins at (1, -1): (1, 2) meets tap (0, 3), (3, 1) meets (2, 2).
    (1, 0): 2 * 4 + 3 * 11, (1, 1): 2 * 104 + 3 * 111,
}  # fmt: skip
"""By position and channel, without biases."""

BLOCK_RISE = {(0, 0, 0): 1, (1, 0, 1): 2}
"""Neurons (y, x, o) of the map above: o = 0 learns from the upper window, o = 1, twice, from the
lower one."""

BLOCK_CHANGE = [
    [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0],
    [0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0],
]
"""Of `BLOCK_MATRIX`; biases: 1 and 2 times the ones."""
