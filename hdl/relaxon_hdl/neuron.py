"""The neuron lane: accumulate, shift and round, activate, gate, step, judge."""

from itertools import chain
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from relaxon_isa import Activation, ArrayConfig, Gating, Judge, clog2, row_bits

from .primitives import Ram, RightShift
from .rows import row_view
from .schedule import Held, Scheduled, before

__all__ = ["Lane", "LaneDecoder", "lane_control_layout", "window_bits"]

LANE_FIELDS = ("from_drive", "gating", "step", "judge", "tol", "activation", "up", "one", "shift")
"""Fields of a MAC's head row that lanes are controlled by."""
FINE_BITS = 3
"""The second stage of the shifter moves by less than 2**FINE_BITS."""


def window_bits(config: ArrayConfig) -> int:
    """Width in which the shifted accumulator is exact or known to saturate: a bit more than a
    state (it may round up), and what the table's index needs."""
    return max(config.state_bits + 1, config.table_bits)


def lane_control_layout(config: ArrayConfig) -> data.StructLayout:
    """The control fields of all lanes; constant while an instruction is under way."""
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
            "linear": 1,  # bounds are the state format's: clipping there counts as saturation
            "table": 1,
            "random": 1,
            "gating": 2,
            "step": 4,
            "judge_value": 1,
            "tol": n - 1,
        }
    )


class LaneDecoder(Scheduled):
    """Decodes a MAC's head row into the lanes' control fields.

    Latency: a cycle for the fields that are computed, none for those that are copied; on a long
    pipeline, where many paths begin at them, a cycle for all. Both are long before the first sum
    arrives at a lane.

    Parameters
    ----------
    config
        The machine.

    Where instructions overlap, each field is there as the MAC's tiles come to where it is used
    (`Held`).

    Members
    -------
    row : In
        The head row of the MAC under way; of other instructions the result is not used.
    begin : In(1)
        An instruction's first tile is issued.
    walks : In(1)
        It walks over lists.
    control : Out(lane_control_layout)
    """

    def __init__(self, config: ArrayConfig):
        begin = ("begin", "walks") if config.sample_buffer else ("begin",)
        super().__init__(
            config,
            {
                "row": In(row_bits(config)),
                **(dict.fromkeys(begin, In(1)) if config.drains else {}),
                "control": Out(lane_control_layout(config)),
            },
        )

    def build(self, m: Module) -> None:
        if self.config.drains:
            self.decode_as_they_come(m)
            return
        copied, computed = self.decode(m, row_view(self.config, "MAC", self.row))
        for name, value in (copied | computed).items():
            field = Signal.like(self.control[name], name=name, reset_less=True)
            domain = "sync" if name in computed else self.when.domain
            m.d[domain] += field.eq(value)
            m.d.comb += self.control[name].eq(field)

    def decode_as_they_come(self, m: Module) -> None:
        """Decodes each field for the stage at which a lane uses it."""
        when = self.when
        head = row_view(self.config, "MAC", self.row)
        held = Held(m, self.config, self.begin, getattr(self, "walks", None))
        uses = {
            "from_drive": (when.sum,),
            "amount": (when.acc, when.coarse),  # its coarse part, and its fine one
            "above_one": (when.gate,),
            "round_bit": (when.shifted,),
            "half": (when.shifted,),
            "gating": (when.gating,),
            "step": (when.away,),
            "judge_value": (when.stepped,),
            "tol": (when.new,),
        }
        others = (when.rounded,)
        amounts: list[Value] = []
        for stage in sorted({*chain(others, *uses.values())}):
            mac = {name: held.passing(head[name], name, before(stage)) for name in LANE_FIELDS}
            copied, computed = self.decode(m, mac, f"_{stage}")
            for name, value in (copied | computed).items():
                if stage not in uses.get(name, others):
                    continue
                field = Signal.like(self.control[name], name=f"{name}_{stage}", reset_less=True)
                with m.If(held.begins_at(before(stage))):
                    m.d.sync += field.eq(value)
                if name == "amount":
                    amounts.append(field)
                else:
                    m.d.comb += self.control[name].eq(field)
        coarse, fine = amounts
        m.d.comb += self.control.amount.eq(Cat(fine[:FINE_BITS], coarse[FINE_BITS:]))

    def decode(
        self, m: Module, mac: Any, suffix: str = ""
    ) -> tuple[dict[str, Value], dict[str, Value]]:
        """Fields that are copied, and fields that are computed, of a head row's."""
        n = self.config.state_bits
        activation = mac["activation"]
        up = Signal(range(n + 1), name=f"up{suffix}")
        linear = Signal(name=f"linear{suffix}")
        one = Signal(n, name=f"one{suffix}")
        above_one = Signal(n, name=f"above_one{suffix}")
        top = 1 << (n - 1)
        ones = Const((1 << n) - 1, n)
        m.d.comb += [
            linear.eq((activation == Activation.LINEAR) | (activation == Activation.RELU)),
            # Beyond n bits a grid has only 0 within the format, and so it has with n.
            up.eq(Mux(mac["up"] > n, n, mac["up"])),
            one.eq(Const(1, n) << mac["one"]),
            above_one.eq(ones << mac["one"]),
        ]
        if self.config.table_bits:  # its index is the number before ``up``
            with m.If(activation == Activation.TABLE):
                m.d.comb += up.eq(0)
        copied = {
            "from_drive": mac["from_drive"],
            "gating": mac["gating"],
            "step": mac["step"],
            "judge_value": mac["judge"] == Judge.VALUE,
            "tol": mac["tol"],
            "round_bit": up == 0,
            "positive": (activation == Activation.CLIP01) | (activation == Activation.RELU),
            "linear": linear,
            "table": activation == Activation.TABLE,
            "random": activation == Activation.RANDOM,
        }
        computed = {
            "amount": mac["shift"] - up,
            "half": (Const(1, n + 1) << up) >> 1,
            "keep": ones << up,
            "above_one": above_one,
            "above": Mux(linear, top, above_one),
            "high": Mux(linear, top - 1, one),
        }
        return copied, computed


class Lane(Scheduled):
    """Adds up the sums of a group, and turns them into a state.

    ::

        d --.      sum
           mux-->(+)--> acc -->(>>)-->(>>)-->(round)-->(clip, gate)-->(- old)-->(>> step)-.
         .--'           |                          `-->[table]--'                    old--(+)--> new
         `--------------'                                                    |new - old| > tol

    Latency: `Schedule`, whose stage ``sum`` is the cycle of the group's last sum. Throughput: a sum
    per cycle, a group per cycle.

    Parameters
    ----------
    config
        The machine.
    family
        FPGA family whose primitives to instantiate; None for the portable ones.

    Members
    -------
    control : In(lane_control_layout)
        From `LaneDecoder`.
    sum : In(signed)
        The sum of a tile's products in this lane's row.
    first : In(1)
        With ``sum``: a group's first.
    d : In(signed)
        The drive word, with the first sum.
    gate : In(signed)
        The gate's word, at `Schedule.gate`.
    old_inverted : In(signed)
        The inverse of the old value (of 0 if it is not used), at `Schedule.activated`: what a
        subtraction adds.
    write : In(1), write_data : In(signed)
        A value from outside: ``new`` is ``write_data`` 2 cycles later.
    chance : In(1)
        The random plane's bit (1: minus), at `Schedule.rounded`.
    t_addr, t_data, t_en : In
        Writes an entry of the activation table.
    acc : Out(signed)
        The accumulator, at `Schedule.acc`.
    saturated : Out(1)
        At `Schedule.activated`: the value was clipped at an end of the state format.
    new : Out(signed)
        The new state, at `Schedule.new`.
    judged : Out(1)
        With ``new``: outside the tolerance.
    """

    def __init__(self, config: ArrayConfig, family: str | None = None):
        n = config.state_bits
        sum_bits = n + config.weight_bits + clog2(config.p)
        super().__init__(
            config,
            {
                "control": In(lane_control_layout(config)),
                "sum": In(signed(sum_bits)),
                "first": In(1),
                "d": In(signed(config.acc_bits)),
                "gate": In(signed(n)),
                "old_inverted": In(signed(n)),
                "chance": In(1),
                "write": In(1),
                "write_data": In(signed(n)),
                "t_addr": In(config.table_bits),
                "t_data": In(n),
                "t_en": In(1),
                "acc": Out(signed(config.acc_bits)),
                "saturated": Out(1),
                "new": Out(signed(n)),
                "judged": Out(1),
            },
            family,
        )

    def build(self, m: Module) -> None:
        acc = Signal(signed(self.config.acc_bits), reset_less=True)
        base = Mux(self.first, Mux(self.control.from_drive, self.d, 0), acc)
        m.d.sync += acc.eq(base + self.sum)
        m.d.comb += self.acc.eq(acc)
        value, over, sign = self.shift_and_round(m, acc)
        self.step_and_judge(m, self.activate(m, value, over, sign))

    def shift_and_round(self, m: Module, acc: Value) -> tuple[Signal, Signal, Signal]:
        """``acc`` in units of the state format, its sign, and whether it is out of any bounds: at
        `Schedule.rounded`.

        What lies above the window must equal the sign, or the value is out of any bounds.
        """
        config, control = self.config, self.control
        window = window_bits(config)

        # Coarse: by multiples of 2**FINE_BITS. The lowest bit is the one shifted out last.
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

        # Shifted. Step by step: a chain of two-way choices is smaller here than one of eight ways.
        shifted = Signal(signed(window), reset_less=True)
        rounds = Signal(reset_less=True)
        over = Signal(reset_less=True)
        sign = Signal(reset_less=True)
        moved, beyond = first, first_over
        for bit in reversed(range(FINE_BITS)):
            by = 1 << bit
            narrower = len(moved) - by
            stage = Signal(signed(narrower), name=f"fine_{by}")
            m.d.comb += stage.eq(Mux(fine[bit], moved >> by, moved))
            beyond = beyond | (~fine[bit] & uneven(moved, narrower - 1))
            moved = stage

        # Rounded.
        value = Signal(signed(window + 1), reset_less=True)
        value_over = Signal(reset_less=True)
        value_sign = Signal(reset_less=True)
        rounded = shifted + control.half + (rounds & control.round_bit)
        m.d.sync += [
            sign.eq(first_sign),
            Cat(rounds, shifted).eq(moved),
            over.eq(beyond),
            value.eq(rounded),
            value_over.eq(over),
            value_sign.eq(Mux(over, sign, rounded[window])),
        ]
        return value, value_over, value_sign

    def activate(self, m: Module, value: Signal, value_over: Signal, value_sign: Signal) -> Signal:
        """The activation of a rounded value, or 0 where the gate does not pass: at
        `Schedule.activated`."""
        config, control = self.config, self.control
        n = config.state_bits
        beyond = Signal()
        negative = Signal()
        outside = Cat(control.above, Const(-1, len(value) - n))
        m.d.comb += [
            negative.eq(value_sign),
            beyond.eq(
                value_over
                | (value_sign & control.positive)
                | uneven_where(value, outside, value_sign)
            ),
        ]
        if config.dither_bits:
            with m.If(control.random):
                m.d.comb += [negative.eq(self.chance), beyond.eq(1)]
        passed = Signal(reset_less=True)
        low = control.above & ~control.positive.replicate(n)
        active = Signal(signed(n), reset_less=True)
        saturated = Signal(reset_less=True)
        m.d.sync += [
            passed.eq(self.gate_passes(m)),
            active.eq(Mux(beyond, Mux(negative, low, control.high), value[:n] & control.keep)),
            saturated.eq(beyond & control.linear & ~(value_sign & control.positive)),
        ]
        with m.If(~passed | control.table):
            m.d.sync += active.eq(0)
        activated = Signal(signed(n))
        m.d.comb += [self.saturated.eq(saturated), activated.eq(active)]
        if config.table_bits:
            m.submodules.table = table = Ram(n, 1 << config.table_bits, self.family)
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
        return activated

    def gate_passes(self, m: Module) -> Value:
        """Whether the gate's word is inside the bounds that ``control.gating`` names (`Gating`), at
        `Schedule.rounded`. On a long pipeline the word is there a cycle before."""
        word, above_one = self.gate, self.control.above_one
        found = Cat(
            word[-1],
            (word & above_one).any(),
            (word | ~above_one).all(),
            (word & ~above_one).any(),
            ~word[-1] & word.any(),
        )
        sign, above, all_above, below, positive = self.when.late(m, found, "gating")
        gating = self.control.gating
        return (
            (gating == Gating.NONE)
            | ((gating == Gating.IN01) & positive & ~above)
            | ((gating == Gating.IN11) & Mux(sign, all_above & below, ~above))
            | ((gating == Gating.POSITIVE) & positive)
        )

    def step_and_judge(self, m: Module, activated: Signal) -> None:
        """Goes from the old value to the activated one, or a part of that way."""
        control, when = self.control, self.when
        n = self.config.state_bits

        # Away, and a part of it, rounded. What is written from outside goes the way of an old value
        # that has nowhere to go.
        far = Signal(signed(n + 1), reset_less=True)
        start = Signal(signed(n), reset_less=True)
        m.submodules.shift = shift = RightShift(n + 1, self.family)
        part = Signal(signed(n + 1), reset_less=True)
        part_up = Signal(reset_less=True)
        old = when.late(m, ~self.old_inverted, "old")
        m.d.sync += [
            far.eq(activated + self.old_inverted + 1),
            start.eq(Mux(self.write, self.write_data, old)),
        ]
        m.d.comb += [shift.i.eq(far), shift.by.eq(control.step)]
        m.d[when.domain] += [part.eq(shift.o), part_up.eq(shift.below)]
        with m.If(self.write):
            m.d.sync += [far.eq(0)] if when.short else [part.eq(0), part_up.eq(0)]

        # New, and judged: the value, or its change. A long pipeline chooses before the sum.
        new = Signal(signed(n), reset_less=True)
        change = Signal(signed(n + 1), reset_less=True)
        m.d.sync += new.eq(start + part + part_up)
        if when.short:
            m.d.sync += change.eq(part + part_up)
            judged = Mux(control.judge_value, new, change)
        else:
            m.d.sync += change.eq((Mux(control.judge_value, start, 0) + part) + part_up)
            judged = change
        number = Signal(signed(n + 1))
        # abs(x) > tol: x - tol > 0, or ~x - tol >= 0 for negative x.
        distance = Signal(signed(n + 2))
        m.d.comb += [
            self.new.eq(new),
            number.eq(judged),
            distance.eq(
                (number ^ number[-1].replicate(n + 1))[: n + 1].as_signed()
                + (~Cat(control.tol, Const(0, 1))).as_signed()
                + number[-1]
            ),
            self.judged.eq(~distance[-1]),
        ]


def uneven(value, top: int):
    """Whether the bits of ``value`` from ``top`` on differ among themselves."""
    bits = value[top:]
    return bits.any() & ~bits.all()


def uneven_where(value, mask, sign):
    """Whether a bit of ``value`` where ``mask`` is 1 differs from ``sign``."""
    return ((value ^ sign.replicate(len(value))) & mask).any()
