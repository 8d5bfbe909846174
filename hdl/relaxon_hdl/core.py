"""The core: the array and its sequencer behind `CoreSignature`."""

from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from relaxon_isa.config import ArrayConfig
from relaxon_isa.memory import COUNTER_BITS, Register, Space, element_bytes, row_bits

from .array import Array
from .bus import CoreSignature, element_bits
from .counters import COUNTED, Registers
from .primitives import delay
from .schedule import Schedule
from .sequencer import Sequencer
from .slices import Slice
from .transfer import Mover

__all__ = ["Core"]


class Core(wiring.Component):
    """A machine without its link.

    ::

        bus.run --> Sequencer --row, issue--> Array (cells, lanes, banks) --flag--> Sequencer
                      |  |                      ^
        bus.sample -> Mover ---------values-----+
        bus.emit <----'  '------.               |
        bus.memory -------------+--> element ---'--- Registers, program rows

    Parameters
    ----------
    config
        The machine.
    family
        FPGA family whose primitives to instantiate (a name in `primitives.FAMILIES`); None for the
        portable ones.

    Members
    -------
    bus : In(CoreSignature)
    quiet : Out(1)
        Nothing moves: no program runs, or it is stalled in WAIT; and the pipeline is empty.
    """

    bus: wiring.PureInterface
    quiet: Signal

    def __init__(self, config: ArrayConfig, family: str | None = None):
        self.config = config
        self.family = family
        self.sequencer = Sequencer(config, family)
        self.array = Array(config, row_bits(config), family)
        super().__init__({"bus": In(CoreSignature(config)), "quiet": Out(1)})

    def elaborate(self, platform):
        m = Module()
        config, bus = self.config, self.bus
        memory = bus.memory
        merged = Schedule(config).merged

        m.submodules.sequencer = sequencer = self.sequencer
        m.submodules.array = array = self.array
        m.submodules.mover = mover = Mover(config)
        m.submodules.registers = registers = Registers(config, self.family)

        wiring.connect(m, wiring.flipped(bus.run), sequencer.run)
        wiring.connect(m, wiring.flipped(bus.sample), mover.sample)
        if merged:
            wiring.connect(m, mover.emit, wiring.flipped(bus.emit))
        else:
            m.submodules.emitted = emitted = Slice()
            wiring.connect(m, mover.emit, emitted.i)
            wiring.connect(m, emitted.o, wiring.flipped(bus.emit))
        m.d.comb += [
            sequencer.abort.eq(bus.abort),
            sequencer.flag.eq(array.flag),
            sequencer.stalled.eq(mover.stalled),
            sequencer.finished.eq(mover.finished),
            array.row.eq(sequencer.row),
            array.issue.eq(sequencer.issue),
            array.clear_flag.eq(sequencer.start),
            array.update_key.eq(registers.update_key),
            array.sample_key.eq(registers.sample_key),
            mover.wait_run.eq(sequencer.wait_run),
            mover.emit_run.eq(sequencer.emit_run),
            mover.row.eq(sequencer.row),
            mover.index.eq(sequencer.index),
            bus.running.eq(sequencer.running),
            bus.done.eq(sequencer.done),
        ]
        waiting = sequencer.wait_run & mover.stalled
        if not merged:  # a stall in WAIT lasts until a byte comes: it may be known late
            waiting = delay(m, waiting, 1, "waiting", reset=True)[1] & ~bus.sample.valid
        m.d.comb += bus.waiting.eq(waiting)

        # The host's accesses. One that begins while WAIT is stalled keeps it so until it is over.

        serving = Signal()
        may_begin = Signal()
        write = Signal()
        beat = Signal(2)
        m.d.comb += [
            may_begin.eq(
                memory.valid
                & (~sequencer.running | (sequencer.wait_run & mover.stalled & ~bus.sample.valid))
            ),
            mover.hold.eq(serving),
        ]
        with m.FSM(name="access") as access:
            answering = access.ongoing("ANSWER")
            with m.State("REST"), m.If(may_begin):
                m.next = "SERVE"
            with m.State("SERVE"):
                # Four beats, for a register's two halves, and for what is read on the way there.
                m.d.comb += [serving.eq(1), write.eq(memory.write & memory.valid)]
                m.d.sync += beat.eq(beat + 1)
                with m.If(beat == 3):
                    m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += [serving.eq(1), memory.ready.eq(memory.valid)]
                m.next = "REST"

        # An element, wanted by the host, EMIT, or WAIT

        space = Signal(3)
        index = Signal(16)
        lane = Signal(config.lane_bits)
        value = Signal(element_bits(config))
        m.d.comb += [
            space.eq(memory.space),
            index.eq(memory.index),
            lane.eq(memory.lane),
            value.eq(memory.wdata),
        ]
        host_space = space if merged else memory.space
        written = Signal()
        m.d.sync += written.eq(mover.write)
        with m.If(sequencer.emit_run):
            m.d.comb += space.eq(mover.space)
        value_comes = mover.write if merged else written
        with m.If(value_comes):
            m.d.comb += value.eq(mover.value)
        with m.If(sequencer.emit_run | written):
            m.d.comb += [index.eq(mover.group), lane.eq(mover.lane)]
        m.d.comb += [
            array.x_read.eq(sequencer.emit_run | serving),
            array.x_index.eq(index),
            array.x_lane.eq(lane),
            array.x_data.eq(value),
            array.x_write_state.eq((write & (host_space == Space.STATE)) | value_comes),
            array.x_write_drive.eq(write & (host_space == Space.DRIVE)),
            array.x_write_table.eq(write & (host_space == Space.TABLE)),
            sequencer.p_index.eq(memory.index),
            sequencer.p_data.eq(memory.wdata),
            sequencer.p_write.eq(write & (host_space == Space.PROGRAM)),
            registers.index.eq(index),
            registers.lock.eq(
                mover.read_counter | (memory.valid & ~answering & (memory.space == Space.REGISTER))
            ),
            registers.data.eq(memory.wdata),
            registers.write.eq(write & (host_space == Space.REGISTER)),
        ]
        p_row = sequencer.p_row
        if not merged:  # steady for long when they count
            space = delay(m, space, 1, "space")[1]
            p_row = delay(m, p_row, 1, "p_row")[1]
        # Sign-extended to the element's own bytes; what is above is a program row's.
        whole = 8 * max(element_bytes(config, space) for space in (Space.DRIVE, Space.REGISTER))
        element = Signal(signed(whole), reset_less=True)
        with m.Switch(space):
            with m.Case(Space.PROGRAM):
                m.d.sync += element.eq(p_row)
            with m.Case(Space.STATE):
                state = Cat(array.x_state.as_signed(), array.x_state[-1].replicate(16))
                m.d.sync += element.eq(Cat(state[: 8 * element_bytes(config, Space.STATE)]))
            with m.Case(Space.DRIVE):
                m.d.sync += element.eq(array.x_drive)
            with m.Default():
                with m.If(registers.low):
                    m.d.sync += element[: COUNTER_BITS // 2].eq(registers.value)
                with m.If(registers.high):
                    m.d.sync += element[COUNTER_BITS // 2 :].eq(registers.value)
        with m.If(sequencer.wait_run & ~serving):
            m.d.sync += element.eq(element)
        m.d.comb += [
            memory.rdata.eq(Cat(element, p_row[whole:])),
            mover.data.eq(element),
            mover.word.eq(element if Schedule(config).merged else array.x_state),
        ]

        # Registers

        event = {
            Register.MAC_CYCLES: sequencer.mac_cycle,
            Register.LEARN_CYCLES: sequencer.learn_cycle,
            Register.CONTROL_CYCLES: sequencer.control_cycle,
            Register.WAIT_CYCLES: sequencer.wait_cycle,
            Register.EMIT_CYCLES: sequencer.emit_cycle,
            Register.WAIT_STALLS: sequencer.wait_run & mover.stalled,
            Register.EMIT_STALLS: sequencer.emit_run & mover.stalled,
            Register.SWEEPS: sequencer.swept,
            Register.SAMPLES: mover.tick,
            Register.STATE_SATURATIONS: array.state_saturated,
            Register.WEIGHT_SATURATIONS: array.weight_saturated,
            Register.LINK_ERRORS: bus.link_error,
            Register.LINK_DROPS: bus.link_drop,
        }
        m.d.comb += [
            registers.events.eq(Cat(event[register] for register in COUNTED)),
            registers.counting.eq(sequencer.counting),
            registers.next_update.eq(sequencer.learned),
            registers.next_sample.eq(mover.tick),
            self.quiet.eq(
                ~memory.valid
                & (~sequencer.running | (sequencer.wait_run & mover.stalled & ~bus.sample.valid))
            ),
        ]
        if not merged:
            with m.If(bus.emit.valid):
                m.d.comb += self.quiet.eq(0)
        return m
