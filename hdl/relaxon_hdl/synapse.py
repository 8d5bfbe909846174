"""The synapse cell: one multiplier, one accumulator, one weight memory."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from relaxon_isa import LEARN_FLAGS, ArrayConfig

from .primitives import Multiplier, MuxAdder, WeightRam, delay, primitives
from .schedule import Scheduled

__all__ = ["CELL_FLAGS", "FLAG_USES", "SYNAPSE_CONTROL", "Synapse", "synapse_control"]


CELL_FLAGS = tuple(flag for flag in LEARN_FLAGS if flag != "hold")
"""LEARN's flags that cells act on; ``hold`` is the registers'."""

SYNAPSE_CONTROL = data.StructLayout(
    {
        # Constant while an instruction is under way.
        "transposed": 1,
        "learn": 1,
        "position": 1,
        **dict.fromkeys(CELL_FLAGS, 1),
        "first": 1,  # with the product: a tile's first term
        "negate": 1,  # at `Schedule.negate`: change its sign, where the multiplier can
        "write": 1,  # a tile's new weights (`Schedule.learn_write`, `Schedule.integral_write`)
        "write_memory": 1,  # integral: a tile's new memories (`Schedule.memory_write`)
    }
)
"""The control signals that all cells share."""

FLAG_USES = (
    ("position", "start"),
    ("stochastic", "start"),
    ("position", "choose"),
    ("replace", "choose"),
    ("decay", "choose"),
    ("position", "round"),
    ("stochastic", "round"),
    ("bound", "bound"),
    ("diagonal", "write"),
)
"""Flags and where they are used (`Schedule.learn_uses`), but for those of the integral mode, beside
which nothing else is under way."""


def synapse_control(config: ArrayConfig) -> data.StructLayout:
    """`SYNAPSE_CONTROL`; where instructions overlap, with a flag for each of its uses."""
    members = dict(SYNAPSE_CONTROL.members)
    if config.drains:
        members |= {f"{flag}_{use}": 1 for flag, use in FLAG_USES}
    return data.StructLayout(members)


def signed_bits(low: int, high: int) -> int:
    """Width of a signed word that holds low .. high."""
    return max((-low - 1).bit_length(), high.bit_length()) + 1


class Synapse(Scheduled):
    """Multiplies in MAC; in LEARN accumulates products of two states and updates its weight.

    ::

        weight ----.
        mirror --- mux --> a --,
        row_b  ---'           (*) --+--> product
        col    ----------> b --'    |
                                    +--> acc --(- w << q-k)--(w + >> q)--sat--> weight

    Rounding starts in the accumulator: the first term is added to 2**(q-1) - 1 (or to the
    dither), and the only number that this rounds wrongly, a positive tie, gets its missing 1 with
    the carry of the last addition.

    Latency: `Schedule`. Throughput: a product per cycle; an update per as many cycles as LEARN
    accesses a tile's words (`relaxon_isa.cycles.issue_cycles`).

    Parameters
    ----------
    config
        The machine.
    on_diagonal
        Whether the cell's row is its column.
    family
        FPGA family whose primitives to instantiate; None for the portable ones.

    Members
    -------
    control : In(synapse_control)
    col, row_b : In(signed)
        At `Schedule.operand`: the column's state by the first port of its bank, the row's by the
        second port. The sign of ``col`` is changed already where the multiplier cannot do it
        (``negates``).
    weight : Out(signed), mirror : In(signed)
        At `Schedule.operand`: the word that is read here, and the one read by the cell whose row is
        this one's column, which a transposed tile has here.
    u, v : In(dither_bits)
        At `Schedule.dither`: the row's and the column's part of the dither.
    r_addr, w_addr : In
        Tiles to read and to write; `WeightRam` says when one address serves for both.
    threshold : In
        LEARN's field.
    product : Out(signed)
        At `Schedule.product`.
    saturated : Out(1)
        With ``control.write``: the weight that is written was clipped to its format.
    """

    def __init__(self, config: ArrayConfig, on_diagonal: bool, family: str | None = None):
        self.on_diagonal = on_diagonal
        self.weights = WeightRam(
            config.weight_bits, config.weight_depth, config.weight_ports, family
        )
        self.negates = primitives(family).negates(
            max(config.state_bits, config.weight_bits), config.state_bits
        )
        state = signed(config.state_bits)
        factor = signed(config.state_bits + (not self.negates))
        super().__init__(
            config,
            {
                "control": In(synapse_control(config)),
                "col": In(factor),
                "row_b": In(state),
                "weight": Out(signed(config.weight_bits)),
                "mirror": In(signed(config.weight_bits)),
                "u": In(config.dither_bits),
                "v": In(config.dither_bits),
                "r_addr": In(config.tile_addr_bits),
                "w_addr": In(config.tile_addr_bits),
                "threshold": In(config.weight_bits),
                "product": Out(signed(config.state_bits + config.weight_bits)),
                "saturated": Out(1),
            },
            family,
        )

    def build(self, m: Module) -> None:
        config, control = self.config, self.control
        widest = max(config.state_bits, config.weight_bits)
        m.submodules.weights = ram = self.weights
        m.submodules.multiplier = multiplier = Multiplier(widest, len(self.col), self.family)
        weight = self.weight
        m.d.comb += [
            ram.r_addr.eq(self.r_addr),
            ram.w_addr.eq(self.w_addr),
            weight.eq(ram.r_data),
            multiplier.a.eq(
                Mux(control.learn, self.row_b, Mux(control.transposed, self.mirror, weight))
            ),
            multiplier.b.eq(self.col),
            multiplier.negate.eq(control.negate),
            self.product.eq(multiplier.p),
        ]
        new = self.update(m, self.accumulate(m, multiplier.p))
        if config.integral_shift:
            self.integrate(m, new, weight)

    def flag(self, name: str, use: str) -> Value:
        """A flag where it is used."""
        return self.control[f"{name}_{use}" if self.config.drains else name]

    def accumulate(self, m: Module, product) -> Signal:
        """The sum of a tile's terms, and what rounds it: at `Schedule.learn_acc`. A product of two
        states may be wider than one of a state and a weight."""
        config, control = self.config, self.control
        position = self.flag("position", "start")
        n = config.state_bits
        low_q, high_q = config.learn_shifts
        peak = config.learn_terms << (2 * n - 2)
        acc = Signal(signed(signed_bits(-peak, peak + (1 << high_q))), reset_less=True)
        start = Signal(high_q)
        term = product[: 2 * n].as_signed()
        by_q = [Const((1 << (q - 1)) - 1, high_q) for q in (low_q, high_q)]
        m.d.comb += start.eq(Mux(position, by_q[1], by_q[0]))
        if config.dither_bits:
            h = self.u ^ self.v
            dithers = [
                Cat(Const(0, q - config.dither_bits - 1), Const(1, 1), h) for q in (low_q, high_q)
            ]
            with m.If(self.flag("stochastic", "start")):
                m.d.comb += start.eq(Mux(position, dithers[1], dithers[0]))
        m.submodules.terms = terms = MuxAdder(
            len(term), high_q + 1, len(acc), len(acc), self.family
        )
        m.d.comb += [
            terms.a.eq(term),
            terms.b.eq(self.when.late(m, start, "start")),
            terms.c.eq(acc),
            terms.choose.eq(control.first),
        ]
        m.d.sync += acc.eq(terms.s)
        return acc

    def update(self, m: Module, acc: Signal) -> Signal:
        """Writes the weight that the sum makes of the one that was read. Returns the new one.

        Pipelined, unless one port of the weight memory leaves a single cycle from read to write.
        """
        config, control, ram = self.config, self.control, self.weights
        wb = config.weight_bits
        low_q, high_q = config.learn_shifts
        stage = "sync" if config.weight_ports == 2 else "comb"
        fresh = self.flag("replace", "choose") | control.integral
        kept = Signal(signed(wb), reset_less=True)
        exact = acc
        if config.decay_shift:
            lost = Signal(signed(wb))
            m.d.comb += lost.eq(Mux(self.flag("decay", "choose"), self.weight, 0))
            by_position = [lost << q - config.decay_shift for q in (high_q, low_q)]
            bits = len(acc - by_position[0])
            exact = Signal(signed(bits), reset_less=True)
            m.submodules.decay = decay = MuxAdder(
                len(acc), len(by_position[0]), len(by_position[1]), bits, self.family, subtract=True
            )
            m.d.comb += [
                decay.a.eq(acc),
                decay.b.eq(by_position[0]),
                decay.c.eq(by_position[1]),
                decay.choose.eq(self.flag("position", "choose")),
            ]
            m.d[stage] += exact.eq(decay.s)
        # Without a decay the sum is used as it comes, and so is the weight.
        m.d[stage if config.decay_shift else "comb"] += kept.eq(Mux(fresh, 0, self.weight))
        up = Signal()
        ties = [exact[:q].all() for q in (low_q, high_q)]
        position = self.flag("position", "round")
        m.d.comb += up.eq(Mux(position, ties[1], ties[0]) & ~exact[-1])
        if config.dither_bits:
            with m.If(self.flag("stochastic", "round")):
                m.d.comb += up.eq(0)
        total_bits = max(wb, len(exact) - low_q) + 1
        total = Signal(signed(total_bits), reset_less=True)
        rounded = [exact >> q for q in (high_q, low_q)]
        m.submodules.update = update = MuxAdder(
            wb, len(rounded[0]), len(rounded[1]), total_bits, self.family
        )
        m.d.comb += [
            update.a.eq(kept),
            update.b.eq(rounded[0]),
            update.c.eq(rounded[1]),
            update.choose.eq(position),
            update.carry.eq(up),
        ]
        new = Signal(signed(wb), reset_less=True)
        saturated = Signal(reset_less=True)
        clipped, over = saturate(total, wb)
        bounded = Mux(self.flag("bound", "bound") & total[-1] & ~control.integral, 0, clipped)
        enable = control.write & (self.on_diagonal | ~self.flag("diagonal", "write"))
        m.d[stage] += [total.eq(update.s), new.eq(bounded), saturated.eq(over)]
        m.d.comb += [
            ram.w_data.eq(new),
            ram.w_en.eq(enable),
            self.saturated.eq(saturated & enable),
        ]
        return new

    def integrate(self, m: Module, target, word) -> None:
        """Integral mode's own stages::

        target (p)   u = p - m   m + (u >> s), g = u or 0   m, saturated: written   w: written
        word   (m)   word (w)                               w + (g >> q)            a cycle later
        """
        config, control = self.config, self.control
        wb = config.weight_bits
        gain = config.learn_shifts[1] - config.learn_shifts[0]
        ram = self.weights
        before = delay(m, word, 1, "before")[1]

        away = Signal(signed(wb + 1), reset_less=True)  # u
        memory = Signal(signed(wb + 2), reset_less=True)
        live = Signal(signed(wb + 1), reset_less=True)
        outside = Signal(signed(wb + 2))
        m.d.comb += outside.eq(
            (away ^ away[-1].replicate(wb + 1))[: wb + 1].as_signed()
            + (~Cat(self.threshold, Const(0, 1))).as_signed()
            + away[-1]
        )
        weight = Signal(signed(wb + 2), reset_less=True)
        new_memory = Signal(signed(wb), reset_less=True)
        new = Signal(signed(wb), reset_less=True)
        saturated = Signal(reset_less=True)
        clipped, over = saturate(weight, wb)
        m.d.sync += [
            away.eq(target - word),
            memory.eq(before + nearest(away, config.integral_shift)),
            live.eq(Mux(outside[-1], 0, away)),
            weight.eq(before + nearest(live, gain)),
            new_memory.eq(saturate(memory, wb)[0]),
            new.eq(Mux(control.bound & weight[-1], 0, clipped)),
            saturated.eq(over),
        ]
        enable = self.on_diagonal | ~control.diagonal
        with m.If(control.integral):
            m.d.comb += [
                ram.w_data.eq(Mux(control.write_memory, new_memory, new)),
                ram.w_en.eq((control.write | control.write_memory) & enable),
                self.saturated.eq(saturated & control.write & enable),
            ]


def nearest(value, shift: int):
    """``value / 2**shift`` to nearest, halves away from zero."""
    half = Const((1 << (shift - 1)) - 1, shift)
    return (value + half + ~value[-1]) >> shift


def saturate(value, bits: int):
    """``value`` clipped to a signed word of ``bits``, and whether it was."""
    inside = value[bits - 1 :]
    over = inside.any() & ~inside.all()
    sign = value[-1]
    extreme = Cat((~sign).replicate(bits - 1), sign)
    return Mux(over, extreme, value[:bits]).as_signed(), over
