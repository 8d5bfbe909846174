"""The array: P x P cells, P lanes with their banks, the adder trees between them."""

from functools import reduce
from operator import or_

from amaranth.hdl import Array as Choice
from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from relaxon_isa.config import ArrayConfig
from relaxon_isa.encoding import row_layouts
from relaxon_isa.instructions import Activation, Judge, Opcode, Sign

from .hash import Hash, rotl
from .neuron import Lane, lane_control_layout
from .planes import DriveBank, StateBank
from .primitives import DelayLine, copies, delay
from .schedule import Schedule
from .synapse import CELL_FLAGS, Synapse

__all__ = ["Array", "issue_layout", "row_view"]


def row_view(config: ArrayConfig, name: str, row):
    """The fields of a program row (a value) by name."""
    view = {}
    offset = 0
    for field, width in row_layouts(config)[name].fields:
        view[field] = row[offset : offset + width]
        offset += width
    return view


def issue_layout(config: ArrayConfig) -> data.StructLayout:
    """A tile, as the sequencer issues it."""
    return data.StructLayout(
        {
            "valid": 1,
            "first": 1,  # of its group (LEARN: term of its tile)
            "last": 1,
            "flip": 1,  # the levels change the sign
            "spent": config.levels,  # levels at their last trip
            "tile": config.tile_addr_bits,
            "src": config.state_addr_bits,
            "dst": max(config.state_addr_bits, config.drive_addr_bits),
            "gate": config.state_addr_bits,
            "drive": config.drive_addr_bits,
            "old_offset": config.state_addr_bits,  # old's address is dst's plus this
            "begin": 1,  # the first cycle of an instruction
        }
    )


class Array(wiring.Component):
    """Executes MAC and LEARN, a tile a cycle, as the sequencer issues them.

    ::

              tiles --> cells <--+-- columns ---- bank port a, and b
                          |      '-- rows ------- (one bank a lane)
                    adder trees                        ^
                          v                            |
                        lanes --> D, S ----------------'

    Latency: `Schedule`. Everything is steady once the drain of the contract is over; then the
    host, WAIT and EMIT reach the banks through the ``x_`` members.

    Parameters
    ----------
    config, family

    Members
    -------
    row : In
        The head row of the instruction under way.
    issue : In(issue_layout)
        A group's tiles (of a LEARN, a tile's terms) cycle by cycle, the next group's after as many
        cycles as the contract's issue takes, or more.
    update_key, sample_key : In(32)
    flag : Out(1)
        The machine's flag.
    clear_flag : In(1)
    state_saturated, weight_saturated : Out(1)
        Pulses: in a group, in a tile.
    x_read : In(1)
        The banks' read addresses are ``x_index``; 1 + `Schedule.read` cycles later ``x_state`` and
        ``x_drive`` are the words of ``x_lane``.
    x_index : In(16), x_lane : In, x_data : In
    x_write_state, x_write_drive, x_write_table : In(1)
        Write ``x_data`` to ``x_index``, ``x_lane``. With one weight port these two are taken a
        cycle later, and so are DRIVE's data.
    x_state : Out(signed), x_drive : Out(signed)
    """

    def __init__(self, config: ArrayConfig, row_bits: int, family: str | None = None):
        self.config = config
        self.family = family
        lanes = range(config.p)
        self.cells = {(r, c): Synapse(config, r == c, family) for r in lanes for c in lanes}
        self.lanes = [Lane(config, family) for _ in lanes]
        self.states = [StateBank(config, family) for _ in lanes]
        self.drives = [DriveBank(config, family) for _ in lanes]
        super().__init__(
            {
                "row": In(row_bits),
                "issue": In(issue_layout(config)),
                "update_key": In(32),
                "sample_key": In(32),
                "flag": Out(1),
                "clear_flag": In(1),
                "state_saturated": Out(1),
                "weight_saturated": Out(1),
                "x_read": In(1),
                "x_index": In(16),
                "x_lane": In(config.lane_bits),
                "x_data": In(config.acc_bits),
                "x_write_state": In(1),
                "x_write_drive": In(1),
                "x_write_table": In(1),
                "x_state": Out(signed(config.state_bits)),
                "x_drive": Out(signed(config.acc_bits)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        config = self.config
        p, n = config.p, config.state_bits
        when = Schedule(config)
        when.check()
        issue = self.issue
        mac = row_view(config, "MAC", self.row)
        learn = row_view(config, "LEARN", self.row)
        is_mac = Signal()
        is_learn = Signal()
        m.d.comb += [
            is_mac.eq(mac["opcode"] == Opcode.MAC),
            is_learn.eq(mac["opcode"] == Opcode.LEARN),
        ]

        cells, lanes, states, drives = self.cells, self.lanes, self.states, self.drives
        for (r, c), cell in cells.items():
            m.submodules[f"cell_{r}_{c}"] = cell
        for k in range(p):
            m.submodules[f"lane_{k}"] = lanes[k]
            m.submodules[f"state_{k}"] = states[k]
            m.submodules[f"drive_{k}"] = drives[k]

        # What travels down the pipe ------------------------------------------------------------

        sign = Signal()
        tail = Signal()
        spent = Choice([*issue.spent, *[Const(1, 1)] * (8 - config.levels)])
        m.d.comb += [
            sign.eq((mac["sign"] == Sign.MINUS) ^ issue.flip),
            tail.eq((mac["tail"] != 0) & spent[mac["tail_level"]]),
        ]
        if config.dither_bits:
            with m.If(mac["sign"] == Sign.RANDOM):
                m.d.comb += sign.eq(self.sample_key[0] ^ issue.flip)
        end = when.learn_write + when.integral_delay
        signs = delay(m, sign, when.product, "sign")
        firsts = delay(m, issue.first, when.sum, "first")
        # Apart, since a LEARN drains before the last stages of a MAC are reached.
        last = issue.last & issue.valid
        groups = delay(m, last & is_mac, when.new, "group_last", reset=True)
        lasts = delay(m, last & is_learn, end, "tile_last", reset=True)
        tails = delay(m, tail, when.new, "tail")
        gates = delay(m, issue.gate, when.acc, "gate")
        drive_addresses = delay(m, issue.drive, when.sum - 1 - when.read, "drive")
        # Of a LEARN the tile, of a MAC the destination: what is written, and where it is read.
        place = Signal(max(len(issue.tile), len(issue.dst)))
        m.d.comb += place.eq(Mux(is_learn, issue.tile, issue.dst))
        longest = max(when.new, end) - 1
        if when.merged:
            early = when.learn_address - 1
            m.submodules.places = line = DelayLine(len(place), early, self.family)
            m.d.comb += line.i.eq(place)
            later = delay(m, line.o, longest - early, "place")
            places = [*delay(m, place, 1, "place_early"), *[None] * (early - 2), *later]
        else:
            places = delay(m, place, longest, "place")

        # Addresses -------------------------------------------------------------------------------

        x_read_state = self.x_index[: config.state_addr_bits]
        second = Signal(config.state_addr_bits)
        # The next instruction is fetched while this one drains: keep what the drain still needs.
        old_offset = Signal(config.state_addr_bits, reset_less=True)
        with m.If(issue.begin):
            m.d.sync += old_offset.eq(issue.old_offset)
        reads_gate = Signal()
        to_drive = mac["to_drive"]
        m.d.comb += [
            reads_gate.eq(mac["gating"] != 0),
            second.eq(places[when.gate_address] + old_offset),
        ]
        with m.If(reads_gate & groups[when.gate_address - 1]):
            m.d.comb += second.eq(gates[when.gate_address - 1])
        with m.If(is_learn):
            m.d.comb += second.eq(issue.dst)
        for k in range(p):
            a_addr = Signal(config.state_addr_bits, name=f"a_addr_{k}", reset_less=True)
            b_addr = Signal(config.state_addr_bits, name=f"b_addr_{k}", reset_less=True)
            d_addr = Signal(config.drive_addr_bits, name=f"d_addr_{k}", reset_less=True)
            m.d.sync += [
                a_addr.eq(Mux(self.x_read, x_read_state, issue.src)),
                b_addr.eq(second),
                d_addr.eq(Mux(self.x_read, self.x_index, drive_addresses[-1])),
            ]
            m.d.comb += [
                states[k].a_addr.eq(a_addr),
                states[k].b_addr.eq(b_addr),
                drives[k].r_addr.eq(d_addr),
            ]

        tile = Signal(config.tile_addr_bits)
        m.d.comb += tile.eq(issue.tile)
        with m.If(is_learn):
            m.d.comb += tile.eq(places[when.learn_address - 1])
            if config.weight_ports == 1:
                with m.If(lasts[when.learn_write - 1]):
                    m.d.comb += tile.eq(places[when.learn_write - 1])
            if config.integral_shift:
                with m.If(learn["integral"]):
                    m.d.comb += tile.eq(places[when.learn_write - 2])
                    with m.If(lasts[when.learn_write - 3]):
                        m.d.comb += tile.eq(places[when.learn_write - 3] + 1)
        written = Signal(config.tile_addr_bits)
        writes = Signal()
        memory_writes = Signal()
        m.d.comb += [
            written.eq(places[when.learn_write - 1]),
            writes.eq(lasts[when.learn_write - 1]),
        ]
        if config.integral_shift:
            with m.If(learn["integral"]):
                m.d.comb += [
                    written.eq(places[end - 1]),
                    writes.eq(lasts[end - 1]),
                    memory_writes.eq(lasts[end - 2]),
                ]
                with m.If(lasts[end - 2]):
                    m.d.comb += written.eq(places[end - 2] + 1)

        # Operands ------------------------------------------------------------------------------

        # A tile's sign is that of the first port's words, unless the multipliers see to it.
        negates = cells[0, 0].negates
        minus = signs[when.operand]
        reads_old = (mac["step"] != 0) | (mac["judge"] == Judge.CHANGE)
        a_words, b_words, old_inverted = [], [], []
        for k in range(p):
            a_data, b_data = states[k].a_data.as_signed(), states[k].b_data.as_signed()
            a_word = Signal(signed(n + (not negates)), name=f"a_word_{k}", reset_less=True)
            b_word = Signal(signed(n), name=f"b_word_{k}", reset_less=True)
            inverted = Signal(signed(n), name=f"old_inverted_{k}", reset_less=True)
            m.d.comb += [
                a_word.eq(a_data if negates else negated(a_data, minus)),
                b_word.eq(b_data),
            ]
            m.d.sync += inverted.eq(Mux(reads_old, ~b_data, -1))
            if not when.merged:
                inverted = delay(m, inverted, 1, f"old_inverted_{k}")[1]
            a_words.append(a_word)
            b_words.append(b_word)
            old_inverted.append(inverted)

        # Dither and random planes ----------------------------------------------------------------

        u = v = None
        if config.dither_bits:
            m.submodules.hash = hasher = Hash(when.dither - (2 if when.merged else 1))
            base = Signal(config.tile_addr_bits, reset_less=True)
            address = Signal(16, reset_less=True)
            with m.If(issue.begin):
                m.d.sync += base.eq(issue.tile)
            if when.merged:
                m.d.sync += address.eq(places[1] - Mux(is_learn, base, 0))
            else:
                lowest = Mux(issue.begin, issue.tile, base)
                m.d.sync += address.eq(place - Mux(is_learn, lowest, 0))
            m.d.comb += [
                hasher.a.eq(address),
                hasher.key.eq(Mux(is_learn, self.update_key, self.sample_key)),
            ]
            u, v = hasher.u, hasher.v

        # Cells -----------------------------------------------------------------------------------

        # What all cells are told, a register for each row of them. Modes are there a cycle after
        # the row, in which no cell needs them yet.
        rows = 1 if when.merged else p
        modes = {
            "transposed": is_mac & mac["transposed"],
            "learn": is_learn,
            "position": learn["position"],
            **{flag: learn[flag] for flag in CELL_FLAGS},
        }
        told = {
            name: [mode] if when.merged else copies(m, mode, rows, name)
            for name, mode in modes.items()
        }
        told["first"] = copies(m, firsts[when.product - 1], rows, "first")
        told["write"] = copies(m, writes, rows, "write", reset=True)
        told["write_memory"] = copies(m, memory_writes, rows, "write_memory", reset=True)
        tiles_read = copies(m, tile, rows, "tile_read")
        tiles_written = copies(m, written, rows, "tile_written")
        for (r, c), cell in cells.items():
            control = cell.control
            row = r % rows
            m.d.comb += [
                *(getattr(control, name).eq(values[row]) for name, values in told.items()),
                control.negate.eq(signs[when.product - 1]),
                cell.threshold.eq(learn["threshold"]),
                cell.r_addr.eq(tiles_read[row]),
                cell.w_addr.eq(tiles_written[row]),
                cell.col.eq(a_words[c]),
                cell.mirror.eq(cells[c, r].weight),
                cell.row_b.eq(b_words[r]),
            ]
            if config.dither_bits:
                m.d.comb += [cell.u.eq(rotl(u, 3 * r)), cell.v.eq(rotl(v, 5 * c))]
        met = Signal(reset_less=True)
        m.d.sync += met.eq(Cat(cell.saturated for cell in cells.values()).any())
        m.d.comb += self.weight_saturated.eq(met)

        # Trees: a lane adds up its row -----------------------------------------------------------

        for k in range(p):
            products = [cells[k, j].product for j in range(p)]
            m.d.comb += lanes[k].sum.eq(tree(m, products, f"tree_{k}"))

        # Lanes ------------------------------------------------------------------------------------

        lane_control = Signal(lane_control_layout(config))
        self.steady(m, mac, lane_control)
        randoms = u
        # What comes from outside to be written, and when a state is, where to. Where the fabric is
        # fast, all of it comes through registers.
        x_index, x_lane_index, x_data = self.x_index, self.x_lane, self.x_data
        x_write_state, x_write_drive = self.x_write_state, self.x_write_drive
        x_write_table = self.x_write_table
        s_index, s_lane_index = x_index, x_lane_index
        if not when.merged:
            _, x_index, s_index = delay(m, x_index, 2, "x_index")
            _, x_lane_index, s_lane_index = delay(m, x_lane_index, 2, "x_lane")
            _, x_data = delay(m, x_data, 1, "x_data")
            _, x_write_state = delay(m, x_write_state, 1, "x_write_state", reset=True)
            _, x_write_drive = delay(m, x_write_drive, 1, "x_write_drive", reset=True)
            _, x_write_table = delay(m, x_write_table, 1, "x_write_table", reset=True)

        def lane_is(number):
            return [number == k if p > 1 else Const(1) for k in range(p)]

        x_lane = lane_is(x_lane_index)
        s_lane = x_lane if when.merged else lane_is(s_lane_index)
        lane_on = [~tails[when.new - 1] | (mac["tail"] > k) for k in range(p)]
        lane_on_drive = [~tails[when.acc - 1] | (mac["tail"] > k) for k in range(p)]
        lane_on_clip = [~tails[when.acc + 4] | (mac["tail"] > k) for k in range(p)]
        x_writes = Signal(2, reset_less=True)
        s_addr = Signal(config.state_addr_bits, reset_less=True)
        dw_addr = Signal(config.drive_addr_bits, reset_less=True)
        m.d.sync += [
            x_writes.eq(Cat(x_write_state, x_write_drive)),
            s_addr.eq(Mux(x_writes[0], s_index, places[when.new - 1])),
            dw_addr.eq(Mux(x_write_drive, x_index, places[when.acc - 1])),
        ]
        x_drive = x_data
        if not when.merged:
            x_drive = delay(m, x_data, 1, "x_drive")[-1]
        judged = []
        saturated = []
        for k in range(p):
            lane = lanes[k]
            s_en = Signal(name=f"s_en_{k}")
            d_en = Signal(name=f"d_en_{k}")
            m.d.sync += [
                s_en.eq(
                    (x_writes[0] & s_lane[k]) | (groups[when.new - 1] & ~to_drive & lane_on[k])
                ),
                d_en.eq(
                    (x_write_drive & x_lane[k])
                    | (groups[when.acc - 1] & to_drive & lane_on_drive[k])
                ),
            ]
            m.d.comb += [
                lane.control.eq(lane_control),
                lane.first.eq(firsts[when.sum]),
                lane.d.eq(drives[k].r_data),
                lane.gate.eq(b_words[k]),
                lane.old_inverted.eq(old_inverted[k]),
                lane.x_write.eq(x_write_state),
                lane.x_data.eq(x_data),
                states[k].w_addr.eq(s_addr),
                states[k].w_data.eq(lane.new),
                states[k].w_en.eq(s_en),
                drives[k].w_addr.eq(dw_addr),
                drives[k].w_data.eq(Mux(x_writes[1], x_drive, lane.acc)),
                drives[k].w_en.eq(d_en),
            ]
            if config.table_bits:
                m.d.comb += [
                    lane.t_addr.eq(x_index),
                    lane.t_data.eq(x_data),
                    lane.t_en.eq(x_write_table),
                ]
            if config.dither_bits:
                wait = when.acc + 3 - when.dither
                chances = delay(m, rotl(randoms, 3 * k)[0], wait, f"chance_{k}")
                m.d.comb += lane.chance.eq(chances[wait])
            judged.append(lane.judged & s_en)
            saturated.append(lane.saturated & lane_on_clip[k])

        some_saturated = Signal()
        m.d.sync += some_saturated.eq(Cat(saturated).any() & groups[when.acc + 4] & ~to_drive)
        m.d.comb += self.state_saturated.eq(some_saturated)

        judging = is_mac & (mac["judge"] != Judge.NONE)
        if not when.merged:
            judging = delay(m, judging, 1, "judging")[1]
        with m.If(judging & Cat(judged).any()):
            m.d.sync += self.flag.eq(0)
        with m.If(issue.begin & is_mac & (mac["judge"] != Judge.NONE) & mac["fresh"]):
            m.d.sync += self.flag.eq(1)
        with m.If(self.clear_flag):
            m.d.sync += self.flag.eq(0)

        # Reads from outside -----------------------------------------------------------------------

        if when.merged:

            def chosen(words):
                return Choice(words)[self.x_lane]
        else:
            # The lane is named long before its word comes.
            one_hot = delay(m, Cat(self.x_lane == k for k in range(p)), 1, "x_lane_is")[1]

            def chosen(words):
                return reduce(or_, (w & one_hot[k].replicate(len(w)) for k, w in enumerate(words)))

        m.d.comb += [
            self.x_state.eq(chosen([bank.a_data for bank in states])),
            self.x_drive.eq(chosen([bank.r_data for bank in drives])),
        ]
        return m

    def steady(self, m: Module, mac: dict, control) -> None:
        """What the lanes are told, from the fields of a MAC. What has to be decoded is so into
        registers, long before the first sum arrives."""
        n = self.config.state_bits
        up = Signal(range(n + 1))
        linear = Signal()
        one = Signal(n)
        above_one = Signal(n)
        activation = mac["activation"]
        top = 1 << (n - 1)
        ones = Const((1 << n) - 1, n)
        m.d.comb += [
            linear.eq((activation == Activation.LINEAR) | (activation == Activation.RELU)),
            # Beyond n bits a grid has only 0 within the format, and so it has with n.
            up.eq(Mux(mac["up"] > n, n, mac["up"])),
            one.eq(Const(1, n) << mac["one"]),
            above_one.eq(ones << mac["one"]),
        ]
        told = {
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
        if self.config.table_bits:  # its index is the number before ``up``
            with m.If(told["table"]):
                m.d.comb += up.eq(0)
        decoded = {
            "amount": mac["shift"] - up,
            "half": (Const(1, n + 1) << up) >> 1,
            "keep": ones << up,
            "above_one": above_one,
            "above": Mux(linear, top, above_one),
            "high": Mux(linear, top - 1, one),
        }
        if not Schedule(self.config).merged:  # so are the others: many a path begins there
            decoded = told | decoded
            told = {}
        m.d.comb += [getattr(control, name).eq(value) for name, value in told.items()]
        for name, value in decoded.items():
            register = Signal.like(getattr(control, name), name=name, reset_less=True)
            m.d.sync += register.eq(value)
            m.d.comb += getattr(control, name).eq(register)


def negated(word, minus):
    """``word``, or minus it, a bit wider."""
    flip = minus.replicate(len(word))
    return (word.as_signed() ^ flip)[: len(word)].as_signed() + minus


def tree(m: Module, terms: list, name: str):
    """The sum of ``terms``, a register a level: clog2(len(terms)) cycles."""
    level = 0
    while len(terms) > 1:
        sums = []
        for i in range(0, len(terms) - 1, 2):
            total = terms[i] + terms[i + 1]
            register = Signal(total.shape(), name=f"{name}_{level}_{i}", reset_less=True)
            m.d.sync += register.eq(total)
            sums.append(register)
        if len(terms) % 2:
            register = Signal.like(terms[-1], name=f"{name}_{level}_last", reset_less=True)
            m.d.sync += register.eq(terms[-1])
            sums.append(register)
        terms = sums
        level += 1
    return terms[0]
