"""An order of samples that the machine makes by itself, so that the host need not send it.

Machines with a sample memory know one command more than the link's list has::

    ORDER     0x0B key u32, records u24, first u24, count u16

It hands records to WAITs that are ahead as INDICES does: ``count`` of them, those at the places
``first``, ``first + 1`` and so on (modulo 2**24), in the order of the records 0 .. records - 1 that
``key`` names. What comes while no program takes it is discarded and answered as with INDICES.

At place x lies the record::

    if x >= records: x
    else repeat
        L, R = bits 1, 3, 5 ... of x, bits 0, 2, 4 ... of x
        for r = 0, 1, 2, 3:
            (U, V) = hash(key, r * 2**12 + R)
            L, R = R, L ^ (U mod 2**h)
        x = the number whose bits 1, 3, 5 ... are L, and bits 0, 2, 4 ... R
    until x < records

where h is the smallest number, at least 1, for which 4**h >= records. This is a Feistel network of
four rounds: a permutation of the numbers below 4**h, another one for every key. What leaves the
records is permuted on until it is one of them, which makes it a permutation of the records; it goes
through the network four times or less on average.
"""

import operator
from dataclasses import dataclass
from typing import Any

from .errors import DataError
from .link import Command

__all__ = ["HALF_BITS", "ROUNDS", "OrderPart"]

ROUNDS = 4
HALF_BITS = 12
"""Bits of L and of R at most."""


@dataclass(frozen=True, kw_only=True)
class OrderPart:
    """Successive places of an order.

    Parameters
    ----------
    key
        Which order, 32 bits.
    records
        Of how many, 24 bits, at least 1.
    first, count
        The places; at least one.

    Members may be given as any integer type. Raises DataError for others, and out of range.
    """

    key: int
    records: int
    first: int
    count: int

    def __post_init__(self) -> None:
        most = (1 << 2 * HALF_BITS) - 1
        for name, low, high in (
            ("key", 0, (1 << 32) - 1),
            ("records", 1, most),
            ("first", 0, most - 1),
            ("count", 1, most),
        ):
            object.__setattr__(self, name, _whole(name, getattr(self, name), low, high))

    def encode(self) -> bytes:
        """The ORDER, of at most 65,535 places."""
        sizes = ((self.key, 4), (self.records, 3), (self.first, 3), (self.count, 2))
        data = b"".join(value.to_bytes(size, "little") for value, size in sizes)
        return bytes([Command.ORDER]) + data


def _whole(name: str, value: Any, low: int, high: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = low - 1
    if not low <= number <= high:
        raise DataError(
            f"order: {name} = {value!r}: must be a whole number, at least {low} and at most {high}"
        )
    return number
