"""Hand-computed vectors of the arithmetic, for golden model and gateware alike. Plain data.

They hold for the `default` preset: 16-bit states and weights, LEARN rounds at 14 and 20, decay
shift 10, integral shift 2, table of 256, 8 dither bits.
"""

__all__ = ["CELLS", "DITHER", "HASH", "INTEGRAL", "LANES", "MIX", "RANDOM_LANES", "STOCHASTIC"]

MAX, MIN = 32767, -32768
LSB = 1 << 14  # what a weight's last bit is at position 0

# MAC's lanes ----------------------------------------------------------------------------------
# (name, fields of the MAC, acc, old, gate, new, saturations counted, flag after fresh and judge)


def _lane(name, acc, new, *, old=0, gate=0, saturated=0, flag=1, **fields):
    return (name, fields, acc, old, gate, new, saturated, flag)


LANES = [
    # Rounding is half up: ties go towards plus infinity.
    _lane("shift 0 leaves it", 12345, 12345),
    _lane("below the tie", 7, 0, shift=4),
    _lane("tie up", 8, 1, shift=4),
    _lane("negative tie up", -8, 0, shift=4),
    _lane("below the negative tie", -9, -1, shift=4),
    _lane("1.5 to 2", 24, 2, shift=4),
    _lane("-1.5 to -1", -24, -1, shift=4),
    _lane("-25/16 to -2", -25, -2, shift=4),
    _lane("wide", 5 << 35, 5, shift=35),
    _lane("wide tie", -(1 << 34), 0, shift=35),
    _lane("past the wide tie", -(1 << 34) - 1, -1, shift=35),
    _lane("largest accumulator", (1 << 41) - 1, 16384, shift=27),
    _lane("smallest accumulator", -(1 << 41), -16384, shift=27),
    _lane("rounded to a grid", 24, 8, shift=4, up=2),
    _lane("negative on a grid", -25, -8, shift=4, up=2),
    _lane("grid as coarse as can be", 3, 4, shift=2, up=2),
    # The coarsest grid of 16 bits: its only multiples of 2**15 are 0 and the lowest word.
    _lane("coarsest grid, below the tie", (1 << 30) - 1, 0, shift=31, up=15),
    _lane("coarsest grid, quarter", 1 << 29, 0, shift=31, up=15),
    _lane("coarsest grid, tie", 1 << 30, MAX, shift=31, up=15, saturated=1),
    _lane("coarsest grid, negative tie", -(1 << 30), 0, shift=31, up=15),
    _lane("coarsest grid, lowest", -(1 << 30) - 1, MIN, shift=31, up=15),
    _lane("coarsest grid, lowest of the lowest", -3 << 30, MIN, shift=31, up=15),
    _lane("coarsest grid, too low", (-3 << 30) - 1, MIN, shift=31, up=15, saturated=1),
    _lane("coarsest grid, of small ones", 5, 0, shift=15, up=15),
    _lane("coarsest grid, small tie", 1 << 14, MAX, shift=15, up=15, saturated=1),
    _lane("coarsest grid, small and low", -(1 << 14) - 1, MIN, shift=15, up=15),
    _lane("coarsest grid, widest shift", (1 << 40) - 1, 0, shift=41, up=15),
    _lane("coarsest grid, largest", (1 << 41) - 1, MAX, shift=41, up=15, saturated=1),
    _lane("coarsest grid, smallest", -(1 << 41), MIN, shift=41, up=15),
    _lane("coarsest grid, relu", 1 << 30, MAX, shift=31, up=15, activation="RELU", saturated=1),
    _lane("coarsest grid, relu of low", -(1 << 30) - 1, 0, shift=31, up=15, activation="RELU"),
    _lane("coarsest grid, table", 1 << 14, 3 * 129 - 100, shift=15, up=15, activation="TABLE"),
    _lane(
        "grid of 1.0 below the tie", (1 << 29) - 1, 0, shift=30, up=14, activation="CLIP01", one=14
    ),
    _lane("grid of 1.0 at the tie", 1 << 29, 16384, shift=30, up=14, activation="CLIP01", one=14),
    _lane("grid of 1.0 twice", 3 << 29, 16384, shift=30, up=14, activation="CLIP11", one=14),
    _lane(
        "grid of 1.0 negative", (-1 << 29) - 1, -16384, shift=30, up=14, activation="CLIP11", one=14
    ),
    # LINEAR saturates and counts.
    _lane("highest", MAX, MAX),
    _lane("too high", MAX + 1, MAX, saturated=1),
    _lane("lowest", MIN, MIN),
    _lane("too low", MIN - 1, MIN, saturated=1),
    _lane("rounds to the highest", 65533, MAX, shift=1),
    _lane("rounds past the highest", 65535, MAX, shift=1, saturated=1),
    _lane("up to the highest even", 32766, 32766, shift=1, up=1),
    _lane("up past the highest", 32767, MAX, shift=1, up=1, saturated=1),
    _lane("far too high", (1 << 41) - 1, MAX, saturated=1),
    _lane("far too low", -(1 << 41), MIN, saturated=1),
    # Clips are no saturations.
    _lane("clip01 passes", 5, 5, activation="CLIP01", one=14),
    _lane("clip01 at one", 16384, 16384, activation="CLIP01", one=14),
    _lane("clip01 above one", 16385, 16384, activation="CLIP01", one=14),
    _lane("clip01 far above", 1 << 40, 16384, activation="CLIP01", one=14),
    _lane("clip01 below zero", -1, 0, activation="CLIP01", one=14),
    _lane("clip01 after up", 3 << 13, 16384, activation="CLIP01", one=14, shift=3, up=3),
    _lane("clip01 of one 1", 7, 1, activation="CLIP01", one=0),
    _lane("clip11 passes", -7, -7, activation="CLIP11", one=3),
    _lane("clip11 at minus one", -8, -8, activation="CLIP11", one=3),
    _lane("clip11 below", -9, -8, activation="CLIP11", one=3),
    _lane("clip11 above", 9, 8, activation="CLIP11", one=3),
    _lane("relu below zero", -5, 0, activation="RELU"),
    _lane("relu far below zero", -40000, 0, activation="RELU"),
    _lane("relu passes", MAX, MAX, activation="RELU"),
    _lane("relu saturates", MAX + 1, MAX, activation="RELU", saturated=1),
    # The table holds 3 * i - 100 (see `table`); up is not used.
    _lane("table in the middle", 0, 3 * 128 - 100, activation="TABLE"),
    _lane("table's last", 127, 3 * 255 - 100, activation="TABLE"),
    _lane("table beyond its last", 128, 3 * 255 - 100, activation="TABLE"),
    _lane("table's first", -128, -100, activation="TABLE"),
    _lane("table before its first", -129, -100, activation="TABLE"),
    _lane("table of a rounded value", 6, 3 * 130 - 100, activation="TABLE", shift=2, up=1),
    # Gates: strictly inside.
    _lane("gate 01 at 0", 9, 0, gating="IN01", one=14, gate=0),
    _lane("gate 01 inside, low", 9, 9, gating="IN01", one=14, gate=1),
    _lane("gate 01 inside, high", 9, 9, gating="IN01", one=14, gate=16383),
    _lane("gate 01 at one", 9, 0, gating="IN01", one=14, gate=16384),
    _lane("gate 01 below", 9, 0, gating="IN01", one=14, gate=-1),
    _lane("gate 11 at minus one", 9, 0, gating="IN11", one=14, gate=-16384),
    _lane("gate 11 inside, low", 9, 9, gating="IN11", one=14, gate=-16383),
    _lane("gate 11 at 0", 9, 9, gating="IN11", one=14, gate=0),
    _lane("gate 11 at one", 9, 0, gating="IN11", one=14, gate=16384),
    _lane("gate positive at 0", 9, 0, gating="POSITIVE", gate=0),
    _lane("gate positive at 1", 9, 9, gating="POSITIVE", gate=1),
    _lane("gate positive at the top", 9, 9, gating="POSITIVE", gate=MAX),
    _lane("gate positive below", 9, 0, gating="POSITIVE", gate=-1),
    _lane("saturation behind a closed gate", 40000, 0, gating="POSITIVE", gate=0, saturated=1),
    # Steps: half up, too.
    _lane("half a step up", 1, 1, step=1),
    _lane("half a step down stays", -1, 0, step=1),
    _lane("a step down", -2, -1, step=1),
    _lane("quarter step down", 3, 8, old=10, step=2),
    _lane("quarter step up", 16, 12, old=10, step=2),
    _lane("quarter step too small", 11, 10, old=10, step=2),
    _lane("quarter step tie", 12, 11, old=10, step=2),
    _lane("from end to end", MAX, 0, old=MIN, step=1),
    _lane("from end to end, down", MIN, 0, old=MAX, step=1),
    _lane("smallest step that moves", 16384, 1, step=15),
    _lane("largest that does not", 16383, 0, step=15),
    _lane("step behind a closed gate", 40, 5, old=10, step=1, gating="POSITIVE", gate=0),
    # Judging.
    _lane("unchanged", 5, 5, old=5, judge="CHANGE"),
    _lane("changed by one", 6, 6, old=5, judge="CHANGE", flag=0),
    _lane("changed within", 2, 2, old=5, judge="CHANGE", tol=3),
    _lane("changed beyond", 1, 1, old=5, judge="CHANGE", tol=3, flag=0),
    _lane("change of 17 bits", MAX, MAX, old=MIN, judge="CHANGE", tol=MAX, flag=0),
    _lane("judged after the step", 16, 12, old=10, step=2, judge="CHANGE", tol=2),
    _lane("value within", -3, -3, judge="VALUE", tol=3),
    _lane("value beyond", -4, -4, judge="VALUE", tol=3, flag=0),
    _lane("lowest value", MIN, MIN, judge="VALUE", tol=MAX, flag=0),
    _lane("highest value", MAX, MAX, judge="VALUE", tol=MAX),
    _lane("value behind a closed gate", 9, 0, judge="VALUE", gating="POSITIVE", gate=0),
]


def table() -> list[int]:
    """What the activation table holds for `LANES`."""
    return [3 * i - 100 for i in range(256)]


# LEARN's cells --------------------------------------------------------------------------------
# (name, fields of the LEARN, w, terms (row, column), new w, saturations counted)


def _cell(name, w, terms, new, saturated=0, **fields):
    return (name, fields, w, terms, new, saturated)


CELLS = [
    # To nearest, halves away from zero.
    _cell("nothing", 100, [(0, 0)], 100),
    _cell("below the tie", 100, [(8191, 1)], 100),
    _cell("tie", 100, [(8192, 1)], 101),
    _cell("negative tie", 100, [(-8192, 1)], 99),
    _cell("below the negative tie", 100, [(-8191, 1)], 100),
    _cell("1.5 to 2", 0, [(12288, 2)], 2),
    _cell("-1.5 to -2", 0, [(12288, -2)], -2),
    _cell("2.5 to 3", 0, [(20480, 2)], 3),
    _cell("-2.5 to -3", 0, [(-20480, 2)], -3),
    _cell("just below 2.5", 0, [(20480, 2), (-1, 1)], 2),
    _cell("below the tie at 20", 100, [(1024, 512), (-1, 1)], 100, position=1),
    _cell("tie at 20", 100, [(1024, 512)], 101, position=1),
    _cell("negative tie at 20", 100, [(-1024, 512)], 99, position=1),
    _cell("minus", 100, [(8192, 1)], 99, sign="MINUS"),
    _cell("terms add up before rounding", 0, [(8191, 1), (1, 1)], 1),
    _cell("terms cancel", 5, [(MAX, MAX), (MAX, -MAX)], 5),
    _cell("largest product", 0, [(MIN, MIN)], MAX, 1),
    _cell("largest product at 20", 0, [(MIN, MIN)], 1024, position=1),
    _cell("most negative product at 20", 0, [(MIN, MAX)], -1024, position=1),
    # Saturation.
    _cell("to the top", MAX - 1, [(LSB, 1)], MAX),
    _cell("past the top", MAX, [(LSB, 1)], MAX, 1),
    _cell("past the top by a tie", MAX, [(8192, 1)], MAX, 1),
    _cell("stays at the top", MAX, [(8191, 1)], MAX),
    _cell("to the bottom", MIN + 1, [(-LSB, 1)], MIN),
    _cell("past the bottom", MIN, [(-LSB, 1)], MIN, 1),
    # Bound at 0, replace.
    _cell("bounded where nothing is added", -5, [(0, 0)], 0, bound=True),
    _cell("bounded", 3, [(-LSB, 7)], 0, bound=True),
    _cell("not bounded", 3, [(-LSB, 2)], 1, bound=True),
    _cell("saturates, then bounded", MIN, [(-LSB, 1)], 0, 1, bound=True),
    _cell("replaced", 77, [(3, LSB)], 3, replace=True),
    _cell("replaced by 0", 77, [(0, 0)], 0, replace=True),
    _cell("replaced by too much", 77, [(MIN, MIN)], MAX, 1, replace=True),
    _cell("replaced, bounded", 77, [(-3, LSB)], 0, replace=True, bound=True),
    # Decay by 2**-10 of w, rounded together with the update: at 14 a weight's bit is 16.
    _cell("decay of one", 1024, [(0, 0)], 1023, decay=True),
    _cell("decay tie", 512, [(0, 0)], 511, decay=True),
    _cell("decay below the tie", 511, [(0, 0)], 511, decay=True),
    _cell("decay tie of a negative", -512, [(0, 0)], -511, decay=True),
    _cell("decay of the top", MAX, [(0, 0)], MAX - 32, decay=True),
    _cell("decay of the bottom", MIN, [(0, 0)], MIN + 32, decay=True),
    _cell("decay and update cancel", 512, [(8192, 1)], 512, decay=True),
    _cell("decay and update tip over together", 256, [(-4096, 1)], 255, decay=True),
    _cell("decay saves from saturation", MAX, [(LSB, 16)], MAX - 16, decay=True),
    _cell("decay at 20", 512, [(0, 0)], 511, decay=True, position=1),
    _cell("decay at 20 below the tie", 511, [(0, 0)], 511, decay=True, position=1),
    _cell("decay at 20 and update", 256, [(-512, 512)], 255, decay=True, position=1),
]

# Stochastic rounding of a cell's x with given dither: (x, position, h, rounded).
# x + (2 h + 1) * 32 at 14, x + (2 h + 1) * 2048 at 20; then floor.
STOCHASTIC = [
    (0, 0, 0, 0),
    (0, 0, 255, 0),
    (31, 0, 255, 0),
    (32, 0, 255, 1),
    (16383, 0, 0, 1),
    (16352, 0, 0, 1),
    (16351, 0, 0, 0),
    (-1, 0, 0, 0),
    (-32, 0, 0, 0),
    (-33, 0, 0, -1),
    (-16384, 0, 255, -1),
    (-16353, 0, 255, -1),
    (-16352, 0, 255, 0),
    (8192, 0, 127, 0),
    (8192, 0, 128, 1),
    (2047, 1, 255, 0),
    (2048, 1, 255, 1),
    (-2048, 1, 0, 0),
    (-2049, 1, 0, -1),
]

# Integral mode: (name, threshold, w, m, terms, bound, new w, new m, saturations counted).
# p = round(acc, 14); u = p - m; m += round(u, 2); w += round(u, 6) if abs(u) > threshold.
INTEGRAL = [
    ("nothing", 0, 7, 0, [(0, 0)], False, 7, 0, 0),
    ("u = 160: 40 and 2.5", 0, 0, 0, [(160, LSB)], False, 3, 40, 0),
    ("u = -160: -40 and -2.5", 0, 0, 0, [(-160, LSB)], False, -3, -40, 0),
    ("just outside the dead zone", 159, 0, 0, [(160, LSB)], False, 3, 40, 0),
    ("at the edge of the dead zone", 160, 0, 0, [(160, LSB)], False, 0, 40, 0),
    ("negative, at the edge", 160, 0, 0, [(-160, LSB)], False, 0, -40, 0),
    ("u = 2: 0.5 and 0.03", 0, 5, 0, [(2, LSB)], False, 5, 1, 0),
    ("u = -2", 0, 5, 0, [(-2, LSB)], False, 5, -1, 0),
    ("u = 1", 0, 5, 0, [(1, LSB)], False, 5, 0, 0),
    ("acc rounds away first", 0, 5, 0, [(3, 8192)], False, 5, 1, 0),  # 1.5 to 2
    ("m follows", 0, 5, 100, [(52, LSB)], False, 4, 88, 0),  # u = -48: -12, -0.75
    ("p saturates, u of 17 bits", 0, 0, MIN, [(MIN, MIN)], False, 1024, -16384, 0),
    ("widest dead zone", 65535, 9, MIN, [(MIN, MIN)], False, 9, -16384, 0),
    ("w saturates", 0, MAX, 0, [(160, LSB)], False, MAX, 40, 1),
    ("w bounded", 0, 1, 0, [(-160, LSB)], True, 0, -40, 0),
]

# Chance --------------------------------------------------------------------------------------
# Computed by a C program; the first words are Marsaglia's own (2003).

MIX = [
    (1, 270369),
    (270369, 67634689),
    (67634689, 2647435461),
    (2647435461, 307599695),
    (0xFFFFFFFF, 253983),
    (0x80000000, 2148024320),
    (0xDEADBEEF, 1199382711),
]

# (key, address, U, V)
HASH = [
    (0x00000001, 0, 0x242B1601, 0xE1254870),
    (0x00000001, 1, 0xEEACEF50, 0x396C748B),
    (0x00000001, 65535, 0x20231000, 0x02D61FEF),
    (0xDEADBEEF, 0, 0xA9864724, 0x0B65FECE),
    (0xDEADBEEF, 737, 0x8D74A2B7, 0xAC6B4441),
    (0x80000001, 4096, 0xEFA72ADB, 0x70CD0E72),
    (0xFFFFFFFF, 12345, 0xBA3DBA06, 0x3E573B7E),
]

# Bits of lanes 0 to 11 for the hashes above: 1 is minus.
RANDOM_LANES = [
    "111001000000",
    "011100111001",
    "010001000000",
    "010101101111",
    "101010000111",
    "111101010001",
    "010010010011",
]

# h of 8 bits at (row, column) = (0, 0), (0, 7), (11, 0), (11, 7) for the hashes above.
DITHER = [
    (113, 134, 114, 133),
    (219, 9, 42, 248),
    (239, 120, 239, 120),
    (234, 84, 135, 57),
    (246, 186, 46, 98),
    (169, 72, 197, 36),
    (120, 247, 115, 252),
]
