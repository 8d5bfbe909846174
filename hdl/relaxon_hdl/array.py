"""The array: P x P cells, P lanes with their banks, the adder trees between them."""

from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any

from amaranth.hdl import Array as Choice
from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib.wiring import In, Out

from relaxon_isa import WALK, ArrayConfig, Judge, Opcode, Sign, row_bits

from .access import ElementPort
from .hash import Hash, rotl
from .nest import issue_layout
from .neuron import Lane, LaneDecoder
from .planes import DriveBank, StateBank
from .primitives import DelayLine, copies, delay
from .rows import row_view
from .samples import entries_layout
from .schedule import Held, Scheduled, before, into
from .synapse import CELL_FLAGS, FLAG_USES, Synapse

__all__ = ["Array"]


@dataclass
class Pipes:
    """What travels with a tile: of each field its past, entry k as it was k cycles ago.

    ``last_of_mac`` and ``last_of_learn`` are apart, since a LEARN drains before the last stages of
    a MAC are reached. ``place`` is the tile in a LEARN and the destination in a MAC: what is
    written, and where it is read.

    ``learns`` and ``row`` are as the tile enters: it is a LEARN's, whose row plane's group is
    there. With a sample buffer, a column each: its tile, and whether it writes there; and whether
    the tile is a walk's.
    """

    sign: list[Value]
    first: list[Value]
    last_of_mac: list[Value]
    last_of_learn: list[Value]
    tail: list[Value]
    gate: list[Value]
    drive: list[Value]
    place: list[Any]
    learns: Value
    row: Value
    walks: list[Value] | None = None
    tiles: list[list[Value]] | None = None
    writes: list[list[Value]] | None = None


class Array(Scheduled):
    """Executes MAC and LEARN, a tile per cycle, as the sequencer issues them.

    ::

              tiles --> cells <--+-- columns ---- bank port a, and b
                          |      '-- rows ------- (one bank per lane)
                    adder trees                        ^
                          v                            |
                        lanes --> D, S ----------------'

    Latency: `Schedule`. Once the latency of the contract is over nothing moves; then the host, WAIT
    and EMIT reach the banks through ``element``.

    With drains an instruction is issued while others are on their way. What of its row is needed
    later than at its issue comes along (`Held`).

    A walk's tile waits until its entries are there, and enters the pipe `WALK` cycles after its
    issue. The entries' groups are added to its tile's address, their values take the place of
    states::

        issue   1 list_row   (2)   3 groups, values: enters   4 addresses   ..

    Parameters
    ----------
    config
        The machine.
    family
        FPGA family whose primitives to instantiate; None for the portable ones.

    Members
    -------
    row : In
        The head row of the instruction under way.
    issue : In(issue_layout)
        A group's tiles (of a LEARN, a tile's terms) cycle by cycle, the next group's after as many
        cycles as the contract's issue takes, or more.
    update_key, sample_key : In(32)
        Keys of the dither, constant while an instruction that uses them is under way.
    element : In(ElementPort)
    flag : Out(1)
        The machine's flag.
    clear_flag : In(1)
    state_saturated, weight_saturated : Out(1)
        Pulses, for one or more saturations in a group and in a tile.
    list_row : Out, groups : In, values : In
        With a sample buffer: a row of the present sample's lists, and its entries two cycles later
        (`SampleBuffer`).
    """

    def __init__(self, config: ArrayConfig, family: str | None = None):
        lanes = range(config.p)
        self.cells = {(r, c): Synapse(config, r == c, family) for r in lanes for c in lanes}
        self.lanes = [Lane(config, family) for _ in lanes]
        self.states = [StateBank(config, family) for _ in lanes]
        self.drives = [DriveBank(config, family) for _ in lanes]
        lists = {}
        if config.sample_buffer:
            lists = {name: In(layout) for name, layout in entries_layout(config).items()}
            lists["list_row"] = Out(range(config.sample_buffer // 2))
        super().__init__(
            config,
            {
                "row": In(row_bits(config)),
                "issue": In(issue_layout(config)),
                "update_key": In(32),
                "sample_key": In(32),
                "element": In(ElementPort(config)),
                "flag": Out(1),
                "clear_flag": In(1),
                "state_saturated": Out(1),
                "weight_saturated": Out(1),
                **lists,
            },
            family,
        )
        self.mac = row_view(config, "MAC", self.row)
        self.learn = row_view(config, "LEARN", self.row)
        self.wait = row_view(config, "WAIT", self.row)
        self.is_mac = Signal()
        self.is_learn = Signal()
        self.walks = Signal()  # over lists
        self.entries_come = Signal()  # those of a walk's tile
        self.held: Any = None

    def build(self, m: Module) -> None:
        self.when.check()
        for (r, c), cell in self.cells.items():
            m.submodules[f"cell_{r}_{c}"] = cell
        for k in range(self.config.p):
            m.submodules[f"lane_{k}"] = self.lanes[k]
            m.submodules[f"state_{k}"] = self.states[k]
            m.submodules[f"drive_{k}"] = self.drives[k]
        m.d.comb += [
            self.is_mac.eq(self.mac.opcode == Opcode.MAC),
            self.is_learn.eq(self.mac.opcode == Opcode.LEARN),
        ]
        if self.config.sample_buffer:
            self.read_lists(m)
        self.held = Held(m, self.config, self.issue.begin, self.walks)
        pipes = self.travel(m)
        self.address_banks(m, pipes)
        self.dither(m, pipes)
        self.operate(m, pipes)
        self.control_cells(m, pipes)
        self.address_tiles(m, pipes)
        self.control_lanes(m, pipes)
        self.write_banks(m, pipes)
        self.raise_flag(m, pipes)
        self.answer(m)

    def read_lists(self, m: Module) -> None:
        """Has the row of the lists read that belongs to a walk's tile."""
        issue = self.issue
        now = Signal.like(self.list_row)
        following = Signal.like(self.list_row, reset_less=True)
        m.d.comb += [
            self.walks.eq(Mux(self.is_mac, self.mac.walk, self.is_learn & self.learn.walk)),
            now.eq(Mux(issue.begin, 0, following)),
        ]
        m.d.sync += self.list_row.eq(now)
        with m.If(issue.valid):
            m.d.sync += following.eq(Mux(issue.spent[0], 0, now + 1))
        waits = delay(m, self.walks & issue.valid, WALK, "walk", reset=True)
        m.d.comb += self.entries_come.eq(waits[WALK])

    def enter(self, m: Module, name: str, value: Value, *, happens: bool = False) -> Value:
        """What a tile has at its issue, as it enters the pipe. ``happens``: it is 0 where there is
        no tile."""
        if not self.config.sample_buffer:
            return value
        at_once = value & ~self.walks if happens else value
        waited = delay(m, value, WALK, f"{name}_waits")[WALK]
        entered = Signal(value.shape(), name=f"{name}_enters")
        m.d.comb += entered.eq(Mux(self.entries_come, waited, at_once))
        return entered

    def travel(self, m: Module) -> Pipes:
        """What travels down the pipe, from the issue on."""
        config, when, issue, mac = self.config, self.when, self.issue, self.mac
        sign = Signal()
        tail = Signal()
        place = Signal(max(len(issue.tile), len(issue.dst)))
        spent = Choice([*issue.spent, *[Const(1, 1)] * (8 - config.levels)])
        last = issue.last & issue.valid
        m.d.comb += [
            sign.eq((mac.sign == Sign.MINUS) ^ issue.flip),
            tail.eq((mac.tail != 0) & spent[mac.tail_level]),
            place.eq(Mux(self.is_learn, issue.tile, issue.dst)),
        ]
        if config.dither_bits:
            with m.If(mac.sign == Sign.RANDOM):
                m.d.comb += sign.eq(self.sample_key[0] ^ issue.flip)
        tile = self.enter(m, "tile", issue.tile)
        sign, tail = self.enter(m, "sign", sign), self.enter(m, "tail", tail)
        place = self.enter(m, "place", place)
        lasts = [
            self.enter(m, f"last_of_{kind}", last & its, happens=True)
            for kind, its in (("mac", self.is_mac), ("learn", self.is_learn))
        ]
        learns = self.is_learn
        if config.drains or config.sample_buffer:  # a MAC may be under way, too
            learns = self.enter(m, "learns", learns & issue.valid, happens=True)
        drive = self.enter(m, "drive", issue.drive)
        if when.short:  # a memory for the first part, where registers are dear
            cycles = when.line_cycles
            m.submodules.place_line = line = DelayLine(len(place), cycles, self.family)
            m.d.comb += line.i.eq(place)
            later = delay(m, line.o, when.place_cycles, "place")
            past = [*delay(m, place, 1, "place_early"), *[None] * (cycles - 2), *later]
        else:
            past = delay(m, place, when.place_cycles, "place")
        pipes = Pipes(
            sign=delay(m, sign, when.product, "sign"),
            first=delay(m, self.enter(m, "first", issue.first), when.sum, "first"),
            last_of_mac=delay(m, lasts[0], when.new, "group_last", reset=True),
            last_of_learn=delay(m, lasts[1], when.last_write, "tile_last", reset=True),
            tail=delay(m, tail, when.new, "tail"),
            gate=delay(m, self.enter(m, "gate", issue.gate), when.acc, "gate"),
            drive=delay(m, drive, when.acc if config.both else when.drive_address, "drive"),
            place=past,
            learns=learns,
            row=self.enter(m, "row", issue.dst),
        )
        if config.sample_buffer:
            pipes.walks = delay(m, self.entries_come, when.operand, "walks")
            pipes.tiles, pipes.writes = [], []
            for c in range(config.p):
                here = Signal(config.tile_addr_bits, name=f"tile_of_column_{c}")
                writes = Signal(name=f"writes_column_{c}")
                m.d.comb += [
                    here.eq(tile + Mux(self.entries_come, self.groups[c], 0)),
                    # The word read where a list has ended may be old.
                    writes.eq(~self.entries_come | (self.values[c] != 0)),
                ]
                until = before(when.learn_write)
                pipes.tiles.append(delay(m, here, until, f"tile_of_column_{c}"))
                pipes.writes.append(delay(m, writes, until, f"writes_column_{c}"))
        return pipes

    def address_banks(self, m: Module, pipes: Pipes) -> None:
        """Read addresses of the banks, a register for each lane. The first port of S reads the
        multiplicand; the second a LEARN's rows, or a MAC's gate and old value."""
        config, when, issue, element = self.config, self.when, self.issue, self.element
        second = Signal(config.state_addr_bits)
        # The next instruction is fetched while this one drains: keep what the drain still needs.
        if config.drains:
            old_offset = self.held.at(issue.old_offset, "old_offset", before(when.old_address))
        else:
            old_offset = Signal(config.state_addr_bits, reset_less=True)
            with m.If(issue.begin):
                m.d.sync += old_offset.eq(issue.old_offset)
        reads_gate = Signal()
        gating = self.held.at(self.mac.gating != 0, "reads_gate", before(when.gate_address))
        m.d.comb += [
            reads_gate.eq(gating),
            second.eq(into(pipes.place, when.old_address) + old_offset),
        ]
        with m.If(reads_gate & into(pipes.last_of_mac, when.gate_address)):
            m.d.comb += second.eq(into(pipes.gate, when.gate_address))
        with m.If(pipes.learns):
            m.d.comb += second.eq(pipes.row)
        for k in range(config.p):
            a_addr = Signal(config.state_addr_bits, name=f"a_addr_{k}", reset_less=True)
            b_addr = Signal(config.state_addr_bits, name=f"b_addr_{k}", reset_less=True)
            d_addr = Signal(config.drive_addr_bits, name=f"d_addr_{k}", reset_less=True)
            m.d.sync += [
                a_addr.eq(Mux(element.read, element.index[: config.state_addr_bits], issue.src)),
                b_addr.eq(second),
                d_addr.eq(Mux(element.read, element.index, into(pipes.drive, when.drive_address))),
            ]
            m.d.comb += [
                self.states[k].a_addr.eq(a_addr),
                self.states[k].b_addr.eq(b_addr),
                self.drives[k].r_addr.eq(d_addr),
            ]

    def address_tiles(self, m: Module, pipes: Pipes) -> None:
        """Read and write addresses of the weights, and when a LEARN writes; a register for each
        row of cells, with a sample buffer for each column."""
        config, when = self.config, self.when
        reads = self.is_learn
        integral = self.learn.integral
        tokens: list[Value] = []
        if config.drains or config.sample_buffer:
            tokens = delay(m, pipes.learns, when.learn_address, "learns", reset=True)
        if config.sample_buffer and not config.drains:
            integral = integral & reads
            reads = into(tokens, when.learn_address) | integral
        if config.drains:
            # Till the next nest begins: what is under way has ended by then.
            integral = self.held.at(integral & reads, "integral", 1) & ~self.held.begins_at(0)
            reads = into(tokens, when.learn_address) | integral
        writes = into(pipes.last_of_learn, when.learn_write)
        if pipes.tiles is None or pipes.writes is None:
            count = self.cell_rows
            past = [self.issue.tile, *pipes.place[1:]]
            lines = [self.address_line(m, pipes, past, writes, reads, integral, count)]
        else:
            lines = [
                self.address_line(
                    m,
                    pipes,
                    past,
                    writes & into(here, when.learn_write),
                    reads,
                    integral,
                    1,
                    f"_{c}",
                )
                for c, (past, here) in enumerate(zip(pipes.tiles, pipes.writes, strict=True))
            ]
        for (r, c), cell in self.cells.items():
            line, k = (lines[0], r % self.cell_rows) if len(lines) == 1 else (lines[c], 0)
            tile, written, write, write_memory = (registers[k] for registers in line)
            m.d.comb += [
                cell.r_addr.eq(tile),
                cell.w_addr.eq(written),
                cell.control.write.eq(write),
                cell.control.write_memory.eq(write_memory),
            ]

    def address_line(
        self,
        m: Module,
        pipes: Pipes,
        past: list[Value],
        writes_tile: Value,
        reads: Value,
        integral: Value,
        count: int,
        suffix: str = "",
    ) -> list[list[Signal]]:
        """Of cells that have their tiles in common ``count`` registers each for the address to
        read and to write, that they write, and that they write memories. ``past``: of the tile's
        address, as it enters and since; ``reads``: for a LEARN."""
        config, when, place, last = self.config, self.when, pipes.place, pipes.last_of_learn
        tile = Signal(config.tile_addr_bits, name=f"tile{suffix}")
        written = Signal(config.tile_addr_bits, name=f"written{suffix}")
        writes = Signal(name=f"writes{suffix}")
        memory_writes = Signal(name=f"memory_writes{suffix}")
        m.d.comb += [
            tile.eq(past[0]),
            written.eq(into(past, when.learn_write)),
            writes.eq(writes_tile),
        ]
        with m.If(reads):
            m.d.comb += tile.eq(into(past, when.learn_address))
            if config.weight_ports == 1:
                with m.If(into(last, when.learn_write)):
                    m.d.comb += tile.eq(into(place, when.learn_write))
        if config.integral_shift:  # a tile's memories are in the word behind its weights
            with m.If(integral if config.drains else self.is_learn & self.learn.integral):
                m.d.comb += tile.eq(into(place, when.integral_address))
                with m.If(into(last, when.memory_address)):
                    m.d.comb += tile.eq(into(place, when.memory_address) + 1)
            with m.If(integral):
                m.d.comb += [
                    written.eq(into(place, when.integral_write)),
                    writes.eq(into(last, when.integral_write)),
                    memory_writes.eq(into(last, when.memory_write)),
                ]
                with m.If(into(last, when.memory_write)):
                    m.d.comb += written.eq(into(place, when.memory_write) + 1)
        return [
            copies(m, tile, count, f"tile_read{suffix}"),
            copies(m, written, count, f"tile_written{suffix}"),
            copies(m, writes, count, f"write{suffix}", reset=True),
            copies(m, memory_writes, count, f"write_memory{suffix}", reset=True),
        ]

    @property
    def cell_rows(self) -> int:
        """Registers for what goes to all cells: on a long pipeline one for each row of them."""
        return 1 if self.when.short else self.config.p

    def operate(self, m: Module, pipes: Pipes) -> None:
        """Words of the banks to cells and lanes, products to the adder trees."""
        when, cells, mac = self.when, self.cells, self.mac
        p, n = self.config.p, self.config.state_bits
        # A tile's sign is that of the first port's words, unless the multipliers see to it.
        negates = cells[0, 0].negates
        minus = pipes.sign[when.operand]
        reads_old = (mac.step != 0) | (mac.judge == Judge.CHANGE)
        reads_old = self.held.at(reads_old, "reads_old", when.old)
        for k, (lane, bank) in enumerate(zip(self.lanes, self.states, strict=True)):
            a_data, b_data = bank.a_data.as_signed(), bank.b_data.as_signed()
            a_word = Signal(signed(n + (not negates)), name=f"a_word_{k}", reset_less=True)
            b_word = Signal(signed(n), name=f"b_word_{k}", reset_less=True)
            inverted = Signal(signed(n), name=f"old_inverted_{k}", reset_less=True)
            if pipes.walks is not None:
                entries = delay(m, self.values[k], when.operand, f"value_{k}")
                a_data = Mux(pipes.walks[when.operand], entries[when.operand], a_data).as_signed()
            m.d.comb += [
                a_word.eq(a_data if negates else negated(a_data, minus)),
                b_word.eq(b_data),
                lane.gate.eq(b_word),
                lane.old_inverted.eq(when.late(m, inverted, f"old_inverted_{k}")),
                lane.d.eq(self.drives[k].r_data),
            ]
            m.d.sync += inverted.eq(Mux(reads_old, ~b_data, -1))
            for j in range(p):
                m.d.comb += [
                    cells[j, k].col.eq(a_word),
                    cells[k, j].row_b.eq(b_word),
                    cells[k, j].mirror.eq(cells[j, k].weight),
                ]
            # A lane adds up its row.
            products = [cells[k, j].product for j in range(p)]
            m.d.comb += lane.sum.eq(tree(m, products, f"tree_{k}"))

    def dither(self, m: Module, pipes: Pipes) -> None:
        """The dither of a LEARN's tile, counted from its first, to the cells; the random plane's
        bits of a MAC's destination to the lanes."""
        if not self.config.dither_bits:
            return
        when, issue = self.when, self.issue
        steady = not self.config.drains
        m.submodules.hash = hasher = Hash(when.hash_cycles, steady=steady)
        base = Signal(self.config.tile_addr_bits, reset_less=True)
        address = Signal(16, reset_less=True)
        with m.If(issue.begin):
            m.d.sync += base.eq(issue.tile)
        # On a long pipeline the register does not have the first tile yet when that comes by.
        lowest = base if when.short else Mux(issue.begin, issue.tile, base)
        learns = self.held.at(self.is_learn, "learns_hash", when.hash_address)
        m.d.sync += address.eq(into(pipes.place, when.hash_address) - Mux(self.is_learn, lowest, 0))
        m.d.comb += [
            hasher.a.eq(address),
            hasher.key.eq(Mux(learns, self.update_key, self.sample_key)),
        ]
        for (r, c), cell in self.cells.items():
            m.d.comb += [cell.u.eq(rotl(hasher.u, 3 * r)), cell.v.eq(rotl(hasher.v, 5 * c))]
        for k, lane in enumerate(self.lanes):
            chances = delay(m, rotl(hasher.u, 3 * k)[0], when.chance_cycles, f"chance_{k}")
            m.d.comb += lane.chance.eq(chances[when.chance_cycles])

    def control_cells(self, m: Module, pipes: Pipes) -> None:
        """Control fields of all cells but the writes (`address_tiles`). The flags of a LEARN are
        there a cycle after the row; no cell needs them before."""
        when, learn, rows = self.when, self.learn, self.cell_rows
        flags = {
            "transposed": self.is_mac & self.mac.transposed,
            "learn": self.is_learn,
            "position": learn.position,
            **{flag: learn[flag] for flag in CELL_FLAGS},
        }
        if self.config.drains:
            stages = dict.fromkeys(("transposed", "learn"), when.operand)
            came = {name: self.held.at(flags[name], name, before(s)) for name, s in stages.items()}
            for name, use in FLAG_USES:
                stage = when.learn_uses[use]
                came[f"{name}_{use}"] = self.held.at(flags[name], name, before(stage))
            # Nothing else is under way beside integral mode, until the next nest begins.
            alone = {"integral": self.is_learn & learn.integral}
            if self.config.integral_shift:
                alone |= {name: learn[name] for name in ("bound", "diagonal")}
            flags = came | {name: self.held.at(flag, name, 1) for name, flag in alone.items()}
        fields = {
            name: [flag] if when.short else copies(m, flag, rows, name)
            for name, flag in flags.items()
        }
        fields["first"] = copies(m, into(pipes.first, when.product), rows, "first")
        for (r, _), cell in self.cells.items():
            m.d.comb += [
                *(cell.control[name].eq(field[r % rows]) for name, field in fields.items()),
                cell.control.negate.eq(pipes.sign[when.negate]),
                cell.threshold.eq(self.held.at(learn.threshold, "threshold", 1)),
            ]
        saturated = Signal(reset_less=True)
        m.d.sync += saturated.eq(Cat(cell.saturated for cell in self.cells.values()).any())
        m.d.comb += self.weight_saturated.eq(saturated)

    def lanes_on(self, pipes: Pipes, stage: int) -> list[Value]:
        """For each lane, whether it has a neuron in the group at a stage."""
        tail = self.held.at(self.mac.tail, "tail", stage)
        return [~pipes.tail[stage] | (tail > k) for k in range(self.config.p)]

    def control_lanes(self, m: Module, pipes: Pipes) -> None:
        """Control fields of all lanes, and the states that their groups' ends clip."""
        when = self.when
        m.submodules.decoder = decoder = LaneDecoder(self.config)
        m.d.comb += decoder.row.eq(self.row)
        if self.config.drains:
            m.d.comb += decoder.begin.eq(self.issue.begin)
            if self.config.sample_buffer:
                m.d.comb += decoder.walks.eq(self.walks)
        lanes_on = self.lanes_on(pipes, when.activated)
        clipped = []
        for lane, on in zip(self.lanes, lanes_on, strict=True):
            m.d.comb += [
                lane.control.eq(decoder.control),
                lane.first.eq(pipes.first[when.sum]),
            ]
            clipped.append(lane.saturated & on)
        saturated = Signal()
        group = pipes.last_of_mac[when.activated]
        to_drive = self.held.at(self.mac.to_drive, "to_drive", when.activated)
        m.d.sync += saturated.eq(Cat(clipped).any() & group & ~to_drive)
        m.d.comb += self.state_saturated.eq(saturated)

    def write_banks(self, m: Module, pipes: Pipes) -> None:
        """What is written to S, D and the activation table: a MAC's results, and elements. A
        state from outside goes through its lane, and takes as long."""
        config, when, mac, element = self.config, self.when, self.mac, self.element
        index = when.late(m, element.index, "element_index")
        lane_index = when.late(m, element.lane, "element_lane")
        word = when.late(m, element.data, "element_data")
        write_state = when.late(m, element.write_state, "element_write_state", reset=True)
        write_drive = when.late(m, element.write_drive, "element_write_drive", reset=True)
        write_table = when.late(m, element.write_table, "element_write_table", reset=True)
        s_index = when.late(m, index, "s_index")
        s_lanes = self.one_hot(when.late(m, lane_index, "s_lane"))
        drive_word = when.late(m, word, "drive_word")
        words = [word] * config.p
        if config.sample_buffer:  # a WAIT that is ahead writes a group
            targets = delay(m, element.lanes, 2, "element_lanes")[2]
            hits, high = when.late(m, element.hits, "element_hits"), self.wait.high
            s_lanes = [here | target for here, target in zip(s_lanes, targets, strict=True)]
            words = [Mux(hit, high, word) for hit in hits]

        d_place = into(pipes.place, when.acc)
        both = None
        if config.both:
            both = self.held.at(mac.both, "both", before(when.acc))
            d_place = Mux(both, into(pipes.drive, when.acc), d_place)
        writes = Signal(2, reset_less=True)
        s_addr = Signal(config.state_addr_bits, reset_less=True)
        d_addr = Signal(config.drive_addr_bits, reset_less=True)
        m.d.sync += [
            writes.eq(Cat(write_state, write_drive)),
            s_addr.eq(Mux(writes[0], s_index, into(pipes.place, when.new))),
            d_addr.eq(Mux(write_drive, index, d_place)),
        ]
        to_drive = [
            self.held.at(mac.to_drive, "to_drive", before(stage)) for stage in (when.acc, when.new)
        ]
        s_group = into(pipes.last_of_mac, when.new) & ~to_drive[1]
        to_d = to_drive[0] | both if config.both else to_drive[0]
        d_group = into(pipes.last_of_mac, when.acc) & to_d
        s_on = self.lanes_on(pipes, before(when.new))
        d_on = self.lanes_on(pipes, before(when.acc))
        for k, (lane, here) in enumerate(zip(self.lanes, self.one_hot(lane_index), strict=True)):
            state, drive = self.states[k], self.drives[k]
            s_en = Signal(name=f"s_en_{k}")
            d_en = Signal(name=f"d_en_{k}")
            m.d.sync += [
                s_en.eq((writes[0] & s_lanes[k]) | (s_group & s_on[k])),
                d_en.eq((write_drive & here) | (d_group & d_on[k])),
            ]
            m.d.comb += [
                lane.write.eq(write_state),
                lane.write_data.eq(words[k]),
                state.w_addr.eq(s_addr),
                state.w_data.eq(lane.new),
                state.w_en.eq(s_en),
                drive.w_addr.eq(d_addr),
                drive.w_data.eq(Mux(writes[1], drive_word, lane.acc)),
                drive.w_en.eq(d_en),
            ]
            if config.table_bits:
                m.d.comb += [
                    lane.t_addr.eq(index),
                    lane.t_data.eq(word),
                    lane.t_en.eq(write_table),
                ]

    def one_hot(self, lane: Value) -> list[Value]:
        """For each lane, whether it is this one."""
        p = self.config.p
        return [lane == k for k in range(p)] if p > 1 else [Const(1)]

    def raise_flag(self, m: Module, pipes: Pipes) -> None:
        """The flag: set as a MAC that judges begins, cleared by the first lane that it judges to be
        outside the tolerance. With drains it is set as the MAC's first group is judged."""
        mac, when = self.mac, self.when
        judges = self.is_mac & (mac.judge != Judge.NONE)
        judged = [
            lane.judged & state.w_en for lane, state in zip(self.lanes, self.states, strict=True)
        ]
        if self.config.drains:
            begun = Signal()  # a group of this instruction has ended
            ends = self.issue.valid & self.issue.last
            with m.If(ends | self.issue.begin):
                m.d.sync += begun.eq(ends)
            starts = ends & (self.issue.begin | ~begun) & mac.fresh
            starts = self.enter(m, "starts_flag", starts, happens=True)
            starts = delay(m, starts, when.judged, "starts_flag")[when.judged]
            judging = self.held.at(judges, "judging", when.new)
            group = Signal()
            outside = Signal(reset_less=True)
            m.d.sync += [
                group.eq(pipes.last_of_mac[when.new] & judging),
                outside.eq(Cat(judged).any()),
            ]
            with m.If(group):
                m.d.sync += self.flag.eq((self.flag | starts) & ~outside)
        else:
            with m.If(when.late(m, judges, "judging") & Cat(judged).any()):
                m.d.sync += self.flag.eq(0)
            with m.If(self.issue.begin & judges & mac.fresh):
                m.d.sync += self.flag.eq(1)
        with m.If(self.clear_flag):
            m.d.sync += self.flag.eq(0)

    def answer(self, m: Module) -> None:
        """Words that ``element`` reads."""
        element = self.element
        # On a long pipeline the lane is decoded before its word comes.
        lanes = None
        if not self.when.short:
            lanes = delay(m, Cat(self.one_hot(element.lane)), 1, "element_lane_is")[1]
        for word, words in (
            (element.state, [bank.a_data for bank in self.states]),
            (element.drive, [bank.r_data for bank in self.drives]),
        ):
            m.d.comb += word.eq(
                Choice(words)[element.lane]
                if lanes is None
                else reduce(or_, (w & lanes[k].replicate(len(w)) for k, w in enumerate(words)))
            )


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
