"""The stateless dither: xorshift32 words that depend on a key and an address alone."""

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib.wiring import In, Out

from .component import Component

__all__ = ["Hash", "mix", "rotl"]

WORD = 32
SPREAD = 0x00010001
STIR = 0x9E3779B9


def rotl(word: Value, amount: int) -> Value:
    """``word`` rotated left; wiring only."""
    amount %= WORD
    return Cat(word[WORD - amount :], word[: WORD - amount])


def mix(word: Value) -> Value:
    """One step of xorshift32; XORs only."""
    x = word[:WORD]
    x = x ^ Cat(Const(0, 13), x[: WORD - 13])
    x = x ^ x[17:]
    return x ^ Cat(Const(0, 5), x[: WORD - 5])


class Hash(Component):
    """``(u, v) = hash(key, a)`` of the contract.

    Latency ``latency``, one pair a cycle::

        a -->(key + a * 0x10001)-->(mix, + rotl key)-->(mix)--------------> u
                                                         `->(+ stir, mix)-> v

    Parameters
    ----------
    latency
        4; or 3 for a clock slow enough to do without the last registers.
    steady
        The key does not change while pairs are under way. Else it belongs to the ``a`` of its
        cycle, which costs a register.

    Members
    -------
    key : In(32)
    a : In(16)
    u, v : Out(32)
    """

    def __init__(self, latency: int = 4, *, steady: bool = True):
        self.latency = latency
        self.steady = steady
        super().__init__({"key": In(WORD), "a": In(16), "u": Out(WORD), "v": Out(WORD)})

    def build(self, m: Module) -> None:
        spread = Signal(WORD, reset_less=True)
        keyed = Signal(WORD, reset_less=True)
        first = Signal(WORD, reset_less=True)
        stirred = Signal(WORD)
        key = self.key
        if not self.steady:
            key = Signal(WORD, reset_less=True)
            m.d.sync += key.eq(self.key)
        m.d.sync += [
            # a * 0x10001 is a beside a.
            spread.eq(self.key + Cat(self.a, self.a)),
            keyed.eq(mix(spread) + rotl(key, 16)),
            first.eq(mix(keyed)),
        ]
        u = Signal(WORD, reset_less=True)
        v = Signal(WORD, reset_less=True)
        m.d.comb += [stirred.eq(first + STIR), self.u.eq(u), self.v.eq(v)]
        m.d["sync" if self.latency == 4 else "comb"] += [u.eq(first), v.eq(mix(stirred))]
