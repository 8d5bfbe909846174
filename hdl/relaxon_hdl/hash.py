"""The stateless dither: xorshift32 words that depend on a key and an address alone."""

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["HASH_LATENCY", "Hash", "mix", "rotl"]

WORD = 32
HASH_LATENCY = 4
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


class Hash(wiring.Component):
    """``(u, v) = hash(key, a)`` of the contract.

    Latency `HASH_LATENCY`, one pair a cycle::

        a -->(key + a * 0x10001)-->(mix, + rotl key)-->(mix)--------------> u
                                                         `->(+ stir, mix)-> v

    Members
    -------
    key : In(32)
        Steady while pairs are under way.
    a : In(16)
    u, v : Out(32)
    """

    key: Signal
    a: Signal
    u: Signal
    v: Signal

    def __init__(self):
        super().__init__({"key": In(WORD), "a": In(16), "u": Out(WORD), "v": Out(WORD)})

    def elaborate(self, platform):
        m = Module()
        spread = Signal(WORD, reset_less=True)
        keyed = Signal(WORD, reset_less=True)
        first = Signal(WORD, reset_less=True)
        stirred = Signal(WORD)
        u = Signal(WORD, reset_less=True)
        v = Signal(WORD, reset_less=True)
        m.d.sync += [
            # a * 0x10001 is a beside a.
            spread.eq(self.key + Cat(self.a, self.a)),
            keyed.eq(mix(spread) + rotl(self.key, 16)),
            first.eq(mix(keyed)),
            u.eq(first),
            v.eq(mix(stirred)),
        ]
        m.d.comb += [stirred.eq(first + STIR), self.u.eq(u), self.v.eq(v)]
        return m
