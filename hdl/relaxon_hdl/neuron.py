"""The neuron lane: accumulate, shift and round, activate, gate, step, judge."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from relaxon_isa.config import ArrayConfig, clog2

from .primitives import Ram, delay

__all__ = ["Lane", "lane_control_layout", "window_bits"]

FINE_BITS = 3
"""The second stage of the shifter moves by less than 2**FINE_BITS."""


def window_bits(config: ArrayConfig) -> int:
    """Width in which the shifted accumulator is exact or known to saturate: a bit more than a
    state (it may round up), and what the table's index needs."""
    return max(config.state_bits + 1, config.table_bits)


def lane_control_layout(config: ArrayConfig) -> data.StructLayout:
    """What all lanes are told; steady while an instruction is under way."""
    n = config.state_bits
    return data.StructLayout(
        {
            "from_drive": 1,
            "amount": clog2(config.acc_bits),  # of the right shift: shift - up
            "round_bit": 1,  # round by the bit shifted out last (up is 0)
            "half": n,  # 2**(up - 1), or 0
            "keep": n,  # bits from up on
            "above_one": n,  # bits from one on
            "above": n,  # bits that a value within its bounds has equal to its sign
            "high": n,
            "low": n,  # the bounds
            "positive": 1,  # the lower bound is 0
            "linear": 1,  # bounds are the state format's: meeting them counts
            "table": 1,
            "random": 1,
            "gating": 2,
            "old": 1,  # old values are read
            "step": 4,
            "judge_value": 1,
            "tol": n - 1,
        }
    )


class Lane(wiring.Component):
    """Adds up the sums of a group, and turns them into a state.

    ::

        d --.
           mux-->(+/-)--> acc ->(>>)->(>>)->(round)->(clip)->(gate, - old)->(>> step)->(+ old)
         .--'      sum                         `->[table]-'                          --> new
         `--- acc                                                              |new - old| > tol

    Latency: acc 1 cycle after ``sum``, ``new`` 7 after acc; a group a cycle.

    Parameters
    ----------
    config

    Members
    -------
    control : In(lane_control_layout)
    sum : In(signed)
    first, sign : In(1)
        With ``sum``: a group's first; to be subtracted.
    d : In(signed)
        The drive word, with the first sum.
    b : In(signed)
        Second port's operand: the gate's word 3 cycles after acc, the old value 4 after.
    chance : In(1)
        The random plane's bit (1: minus), 3 cycles after acc.
    t_addr, t_data, t_en : In
        Writes an entry of the activation table.
    acc : Out(signed)
    saturated : Out(1)
        4 cycles after acc, were ``new`` in the state's format.
    new : Out(signed)
    judged : Out(1)
        With ``new``: outside the tolerance.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        n = config.state_bits
        self.table = Ram(n, 1 << config.table_bits) if config.table_bits else None
        sum_bits = n + config.weight_bits + clog2(config.p)
        super().__init__(
            {
                "control": In(lane_control_layout(config)),
                "sum": In(signed(sum_bits)),
                "first": In(1),
                "sign": In(1),
                "d": In(signed(config.acc_bits)),
                "b": In(signed(n)),
                "chance": In(1),
                "t_addr": In(config.table_bits),
                "t_data": In(n),
                "t_en": In(1),
                "acc": Out(signed(config.acc_bits)),
                "saturated": Out(1),
                "new": Out(signed(n)),
                "judged": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        config, control = self.config, self.control
        n = config.state_bits
        window = window_bits(config)

        # acc ---------------------------------------------------------------------------------

        acc = Signal(signed(config.acc_bits), reset_less=True)
        base = Mux(self.first, Mux(control.from_drive, self.d, 0), acc)
        flip = self.sign.replicate(len(self.sum))
        m.d.sync += acc.eq(base + (self.sum ^ flip)[: len(self.sum)].as_signed() + self.sign)
        m.d.comb += self.acc.eq(acc)

        # acc + 1, acc + 2: shift. The lowest bit is the one shifted out last. What lies above the
        # window must equal the sign, or the value is out of any bounds.

        wide = Cat(Const(0, 1), acc).as_signed()
        fine = control.amount[:FINE_BITS]
        coarse = control.amount[FINE_BITS:]
        reach = window + 1 + (1 << FINE_BITS) - 1
        first = Signal(signed(reach), reset_less=True)
        first_over = Signal(reset_less=True)
        first_sign = Signal(reset_less=True)
        m.d.sync += first_sign.eq(acc[-1])
        with m.Switch(coarse):
            for by in range(0, config.acc_bits, 1 << FINE_BITS):
                with m.Case(by >> FINE_BITS):
                    moved = wide >> by
                    m.d.sync += [first.eq(moved), first_over.eq(uneven(moved, reach - 1))]
        shifted = Signal(signed(window), reset_less=True)
        rounds = Signal(reset_less=True)
        over = Signal(reset_less=True)
        sign = Signal(reset_less=True)
        m.d.sync += sign.eq(first_sign)
        with m.Switch(fine):
            for by in range(1 << FINE_BITS):
                with m.Case(by):
                    moved = first >> by
                    m.d.sync += [
                        Cat(rounds, shifted).eq(moved),
                        over.eq(first_over | uneven(moved, window)),
                    ]

        # acc + 3: round ------------------------------------------------------------------------

        value = Signal(signed(window + 1), reset_less=True)
        value_over = Signal(reset_less=True)
        value_sign = Signal(reset_less=True)
        rounded = shifted + control.half + (rounds & control.round_bit)
        m.d.sync += [
            value.eq(rounded),
            value_over.eq(over),
            value_sign.eq(Mux(over, sign, rounded[window])),
        ]

        # acc + 4: activation -------------------------------------------------------------------

        beyond = Signal()
        negative = Signal()
        m.d.comb += [
            negative.eq(value_sign),
            beyond.eq(
                value_over
                | (value_sign & control.positive)
                | uneven_where(value, Cat(control.above, Const(-1, window + 1 - n)), value_sign)
            ),
        ]
        if config.dither_bits:
            with m.If(control.random):
                m.d.comb += [negative.eq(self.chance), beyond.eq(1)]
        active = Signal(signed(n), reset_less=True)
        saturated = Signal(reset_less=True)
        m.d.sync += [
            active.eq(
                Mux(
                    beyond,
                    Mux(negative, control.low, control.high),
                    value[:n] & control.keep,
                )
            ),
            saturated.eq(beyond & control.linear & ~(value_sign & control.positive)),
        ]
        m.d.comb += self.saturated.eq(saturated)
        if config.table_bits:
            m.submodules.table = table = self.table
            bits = config.table_bits
            index = Signal(bits)
            inside = ~(value_over | uneven(value, bits - 1))
            ends = Cat((~value_sign).replicate(bits - 1), value_sign)
            clipped = Mux(inside, value[:bits], ends)
            m.d.comb += [
                index.eq(Cat(clipped[: bits - 1], ~clipped[bits - 1])),
                table.r_addr.eq(index),
                table.w_addr.eq(self.t_addr),
                table.w_data.eq(self.t_data),
                table.w_en.eq(self.t_en),
            ]
            activated = Mux(control.table, table.r_data.as_signed(), active)
        else:
            activated = active

        # acc + 4: gate; acc + 5: distance from the old value -----------------------------------

        passing = Signal(reset_less=True)
        m.d.sync += passing.eq(gate(control, self.b))
        old = Signal(signed(n))
        far = Signal(signed(n + 1), reset_less=True)
        m.d.comb += old.eq(Mux(control.old, self.b, 0))
        m.d.sync += far.eq(Mux(passing, activated, 0) - old)

        # acc + 6: a part of the way, rounded ---------------------------------------------------

        part = Signal(signed(n + 1), reset_less=True)
        part_up = Signal(reset_less=True)
        olds = delay(m, old, 2, "old")
        m.d.sync += Cat(part_up, part).eq(Cat(Const(0, 1), far).as_signed() >> control.step)

        # acc + 7: new, judged --------------------------------------------------------------------

        new = Signal(signed(n), reset_less=True)
        change = Signal(signed(n + 1), reset_less=True)
        m.d.sync += [
            new.eq(olds[2] + part + part_up),
            change.eq(part + part_up),
        ]
        judged = Signal(signed(n + 1))
        # abs(x) > tol: x - tol > 0, or ~x - tol >= 0 for negative x.
        distance = Signal(signed(n + 2))
        m.d.comb += [
            self.new.eq(new),
            judged.eq(Mux(control.judge_value, new, change)),
            distance.eq(
                (judged ^ judged[-1].replicate(n + 1))[: n + 1].as_signed()
                + (~Cat(control.tol, Const(0, 1))).as_signed()
                + judged[-1]
            ),
            self.judged.eq(~distance[-1]),
        ]
        return m


def uneven(value, top: int):
    """Whether the bits of ``value`` from ``top`` on differ among themselves."""
    bits = value[top:]
    return bits.any() & ~bits.all()


def uneven_where(value, mask, sign):
    """Whether a bit of ``value`` where ``mask`` is 1 differs from ``sign``."""
    return ((value ^ sign.replicate(len(value))) & mask).any()


def gate(control, word):
    """Whether ``word`` is inside the bounds that ``control.gating`` names (`Gating`)."""
    sign = word[-1]
    above = (word & control.above_one).any()
    all_above = (word | ~control.above_one).all()
    below = (word & ~control.above_one).any()
    positive = ~sign & word.any()
    return (
        (control.gating == 0)
        | ((control.gating == 1) & positive & ~above)
        | ((control.gating == 2) & Mux(sign, all_above & below, ~above))
        | ((control.gating == 3) & positive)
    )
