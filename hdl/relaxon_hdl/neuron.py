"""The neuron lane: accumulate, shift and round, activate, gate, step, judge."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from relaxon_isa.config import ArrayConfig, clog2

from .primitives import Ram, RightShift, delay
from .schedule import Schedule

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
            "high": n,  # the upper bound
            "positive": 1,  # the lower bound is 0, else what ``above`` says, as a number
            "linear": 1,  # bounds are the state format's: meeting them counts
            "table": 1,
            "random": 1,
            "gating": 2,
            "step": 4,
            "judge_value": 1,
            "tol": n - 1,
        }
    )


class Lane(wiring.Component):
    """Adds up the sums of a group, and turns them into a state.

    ::

        d --.      sum
           mux-->(+)--> acc -->(>>)-->(>>)-->(round)-->(clip, gate)-->(- old)-->(>> step)-.
         .--'           |                          `-->[table]--'                    old--(+)--> new
         `--------------'                                                    |new - old| > tol

    Latency: acc 1 cycle after ``sum``, ``new`` 7 after acc; a group a cycle.

    Parameters
    ----------
    config, family

    Members
    -------
    control : In(lane_control_layout)
    sum : In(signed)
    first : In(1)
        With ``sum``: a group's first.
    d : In(signed)
        The drive word, with the first sum.
    gate : In(signed)
        The gate's word, at `Schedule.gate`.
    old_inverted : In(signed)
        The inverse of the old value (of 0 if it is not used), 4 cycles after acc: what a
        subtraction adds.
    x_write : In(1), x_data : In(signed)
        ``new`` is ``x_data`` 2 cycles later.
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

    def __init__(self, config: ArrayConfig, family: str | None = None):
        self.config = config
        self.family = family
        n = config.state_bits
        self.table = Ram(n, 1 << config.table_bits, family) if config.table_bits else None
        sum_bits = n + config.weight_bits + clog2(config.p)
        super().__init__(
            {
                "control": In(lane_control_layout(config)),
                "sum": In(signed(sum_bits)),
                "first": In(1),
                "d": In(signed(config.acc_bits)),
                "gate": In(signed(n)),
                "old_inverted": In(signed(n)),
                "chance": In(1),
                "x_write": In(1),
                "x_data": In(signed(n)),
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
        merged = Schedule(config).merged

        # acc ---------------------------------------------------------------------------------

        acc = Signal(signed(config.acc_bits), reset_less=True)
        base = Mux(self.first, Mux(control.from_drive, self.d, 0), acc)
        m.d.sync += acc.eq(base + self.sum)
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
        # Step by step: a chain of two-way choices is smaller here than one of eight ways.
        moved, beyond = first, first_over
        for bit in reversed(range(FINE_BITS)):
            by = 1 << bit
            narrower = len(moved) - by
            stage = Signal(signed(narrower), name=f"fine_{by}")
            m.d.comb += stage.eq(Mux(fine[bit], moved >> by, moved))
            beyond = beyond | (~fine[bit] & uneven(moved, narrower - 1))
            moved = stage
        m.d.sync += [Cat(rounds, shifted).eq(moved), over.eq(beyond)]

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
        # Gated here already: where the gate does not pass, 0.
        passed = Signal(reset_less=True)
        m.d.sync += passed.eq(gate(m, control, self.gate, early=not merged))
        low = control.above & ~control.positive.replicate(n)
        active = Signal(signed(n), reset_less=True)
        saturated = Signal(reset_less=True)
        m.d.sync += [
            active.eq(Mux(beyond, Mux(negative, low, control.high), value[:n] & control.keep)),
            saturated.eq(beyond & control.linear & ~(value_sign & control.positive)),
        ]
        with m.If(~passed | control.table):
            m.d.sync += active.eq(0)
        m.d.comb += self.saturated.eq(saturated)
        activated = Signal(signed(n))
        m.d.comb += activated.eq(active)
        if config.table_bits:
            m.submodules.table = table = self.table
            bits = config.table_bits
            index = Signal(bits)
            inside = ~(value_over | uneven(value, bits - 1))
            ends = Cat((~value_sign).replicate(bits - 1), value_sign)
            clipped = Mux(inside, value[:bits], ends)
            looked_up = Signal(reset_less=True)
            m.d.sync += looked_up.eq(passed & control.table)
            m.d.comb += [
                index.eq(Cat(clipped[: bits - 1], ~clipped[bits - 1])),
                table.r_addr.eq(index),
                table.w_addr.eq(self.t_addr),
                table.w_data.eq(self.t_data),
                table.w_en.eq(self.t_en),
                activated.eq(active | Mux(looked_up, table.r_data, 0)),
            ]

        # acc + 5: distance from the old value; acc + 6: a part of the way, rounded. What is written
        # from outside goes the way of an old value that has nowhere to go.

        far = Signal(signed(n + 1), reset_less=True)
        m.d.sync += far.eq(activated + self.old_inverted + 1)
        old = delay(m, ~self.old_inverted, 0 if merged else 1, "old")[-1]
        start = Signal(signed(n), reset_less=True)
        m.d.sync += start.eq(Mux(self.x_write, self.x_data, old))
        m.submodules.shift = shift = RightShift(n + 1, self.family)
        part = Signal(signed(n + 1), reset_less=True)
        part_up = Signal(reset_less=True)
        m.d.comb += [shift.i.eq(far), shift.by.eq(control.step)]
        m.d["comb" if merged else "sync"] += [part.eq(shift.o), part_up.eq(shift.below)]
        with m.If(self.x_write):
            m.d.sync += [far.eq(0)] if merged else [part.eq(0), part_up.eq(0)]

        # acc + 7 (merged: 6): new, judged ------------------------------------------------------

        new = Signal(signed(n), reset_less=True)
        change = Signal(signed(n + 1), reset_less=True)
        m.d.sync += [
            new.eq(start + part + part_up),
            # If the value is what is judged, it: where the clock is fast, chosen here.
            change.eq((part if merged else Mux(control.judge_value, start, 0) + part) + part_up),
        ]
        judged = Signal(signed(n + 1))
        # abs(x) > tol: x - tol > 0, or ~x - tol >= 0 for negative x.
        distance = Signal(signed(n + 2))
        m.d.comb += [
            self.new.eq(new),
            judged.eq(Mux(control.judge_value, new, change) if merged else change),
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


def gate(m: Module, control, word, *, early: bool):
    """Whether ``word`` is inside the bounds that ``control.gating`` names (`Gating`). ``early``: it
    is there a cycle before that is asked."""
    sign = word[-1]
    above = (word & control.above_one).any()
    all_above = (word | ~control.above_one).all()
    below = (word & ~control.above_one).any()
    positive = ~sign & word.any()
    if early:
        sign, above, all_above, below, positive = delay(
            m, Cat(sign, above, all_above, below, positive), 1, "gating"
        )[1]
    return (
        (control.gating == 0)
        | ((control.gating == 1) & positive & ~above)
        | ((control.gating == 2) & Mux(sign, all_above & below, ~above))
        | ((control.gating == 3) & positive)
    )
