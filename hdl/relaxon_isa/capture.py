"""When the sample memory's words are taken.

A word comes back from the memory's chip some time after its READ, which depends on chip, board and
wires, and is not known to a cycle. So at power-on the machine writes a few words and reads them at
each of 8 moments, half a cycle of its clock apart: moment m is (4 + m) / 2 cycles after the READ
began at the chip's pins, and whole cycles more where a board's input registers take some. Of the
first moments in a row that read all words right it keeps the middle one, of two the earlier.

The low 8 bits of the register MEMORY, which its size leaves at 0, say what was found: bit m is 1 if
moment m reads right. All are 0 where none does, and where there was nothing to try, as on the
golden model.
"""

__all__ = [
    "CAPTURE_BITS",
    "FIRST_CAPTURE",
    "capture_window",
    "captures",
    "kept_capture",
    "memory_size",
]

CAPTURE_BITS = 3
"""Bits of a moment's number."""
FIRST_CAPTURE = 4
"""Half cycles from a READ at the pins to moment 0."""
MOMENTS = 1 << CAPTURE_BITS


def memory_size(register: int) -> int:
    """Bytes of sample memory, out of `Register.MEMORY`."""
    return register >> MOMENTS << MOMENTS


def captures(register: int) -> list[int]:
    """The moments that read right, out of `Register.MEMORY`."""
    return [moment for moment in range(MOMENTS) if register >> moment & 1]


def kept_capture(moments: list[int]) -> int:
    """Which of them the machine keeps; there is one at least."""
    first = [m for k, m in enumerate(moments) if m == moments[0] + k]
    return first[(len(first) - 1) // 2]


def capture_window(register: int) -> str:
    """As people read it: a sign a moment, from moment 0 on, and which one is kept."""
    moments = captures(register)
    signs = "".join(".#"[moment in moments] for moment in range(MOMENTS))
    if not moments:
        return f"{signs}: read right at none of {MOMENTS} moments, half a cycle apart"
    kept = kept_capture(moments)
    return f"{signs}: read right at moments with #, half a cycle apart; number {kept} is kept"
