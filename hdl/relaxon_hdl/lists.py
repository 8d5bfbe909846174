"""The memories of the lists that samples are unpacked into (`samples`)."""

__all__ = ["AT_ONCE", "ENTRY_BITS", "VALUE_BITS", "sharing"]

VALUE_BITS = 9
"""Of an entry's value: unsigned or signed, as the format says."""
ENTRY_BITS = 18
"""Of an entry: its group above its value. Two are a word of a block RAM."""
AT_ONCE = 4
"""Values a cycle, of as many columns."""


def sharing(p: int) -> list[tuple[int, ...]]:
    """Columns of ``p`` that share a memory: those that never go at once."""
    apart = p // 2
    pairs = [(j, j + apart) for j in range(apart)] if apart >= min(AT_ONCE, p) else []
    return [*pairs, *((j,) for j in range(2 * len(pairs), p))]
