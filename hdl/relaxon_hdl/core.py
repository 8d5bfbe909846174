"""The core: the array and its sequencer behind `CoreSignature`."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from relaxon_isa.config import ArrayConfig
from relaxon_isa.memory import Register, Space, row_bits

from .array import Array
from .bus import CoreSignature, element_bits
from .counters import COUNTED, Registers
from .sequencer import Sequencer
from .transfer import Emitter, Waiter

__all__ = ["Core"]


class Core(wiring.Component):
    """A machine without its link.

    ::

        bus.run --> Sequencer --row, issue--> Array (cells, lanes, banks) --flag--> Sequencer
                      |  |                      ^
        bus.sample -> Waiter --------values-----+
        bus.emit <--- Emitter --.               |
        bus.memory -------------+--> element ---'--- Registers, program rows

    Parameters
    ----------
    config
        The machine.
    family
        FPGA family whose primitives to instantiate ("ice40", "ecp5"); None for portable ones.

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
        self.sequencer = Sequencer(config)
        self.array = Array(config, row_bits(config), family)
        super().__init__({"bus": In(CoreSignature(config)), "quiet": Out(1)})

    def elaborate(self, platform):
        m = Module()
        config, bus = self.config, self.bus
        memory = bus.memory

        m.submodules.sequencer = sequencer = self.sequencer
        m.submodules.array = array = self.array
        m.submodules.waiter = waiter = Waiter(config)
        m.submodules.emitter = emitter = Emitter(config)
        m.submodules.registers = registers = Registers(config)

        wiring.connect(m, wiring.flipped(bus.run), sequencer.run)
        wiring.connect(m, wiring.flipped(bus.sample), waiter.sample)
        wiring.connect(m, emitter.emit, wiring.flipped(bus.emit))
        m.d.comb += [
            sequencer.abort.eq(bus.abort),
            sequencer.flag.eq(array.flag),
            sequencer.stalled.eq(Mux(sequencer.wait_run, waiter.stalled, emitter.stalled)),
            sequencer.finished.eq(waiter.finished | emitter.finished),
            array.row.eq(sequencer.row),
            array.issue.eq(sequencer.issue),
            array.clear_flag.eq(sequencer.start),
            array.update_key.eq(registers.update_key),
            array.sample_key.eq(registers.sample_key),
            waiter.run.eq(sequencer.wait_run),
            waiter.row.eq(sequencer.row),
            waiter.index.eq(sequencer.index),
            emitter.run.eq(sequencer.emit_run),
            emitter.row.eq(sequencer.row),
            emitter.index.eq(sequencer.index),
            bus.running.eq(sequencer.running),
            bus.done.eq(sequencer.done),
            bus.waiting.eq(sequencer.wait_run & waiter.stalled),
        ]

        # The host's accesses. One that begins while WAIT is stalled keeps it so until it is over.

        serving = Signal()
        ready = Signal()
        may_begin = Signal()
        write = Signal()
        m.d.comb += [
            may_begin.eq(
                memory.valid
                & (~sequencer.running | (sequencer.wait_run & waiter.stalled & ~bus.sample.valid))
            ),
            memory.ready.eq(ready & memory.valid),
            waiter.hold.eq(serving),
        ]
        with m.FSM(name="access"):
            with m.State("REST"), m.If(may_begin & ~ready):
                with m.If(memory.write):
                    m.d.comb += write.eq(1)
                    m.d.sync += ready.eq(1)
                    m.next = "ANSWER"
                with m.Else():
                    m.next = "ADDRESS"
            with m.State("ADDRESS"):
                m.d.comb += serving.eq(1)
                m.next = "WORD"
            with m.State("WORD"):
                m.d.comb += serving.eq(1)
                m.d.sync += ready.eq(1)
                m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += serving.eq(1)
                m.d.sync += ready.eq(0)
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
        with m.If(sequencer.emit_run):
            m.d.comb += [
                space.eq(emitter.space),
                index.eq(emitter.read_index),
                lane.eq(emitter.lane),
            ]
        with m.If(waiter.write):
            m.d.comb += [
                index.eq(waiter.group),
                lane.eq(waiter.lane),
                value.eq(waiter.value),
            ]
        m.d.comb += [
            array.x_read.eq(sequencer.emit_run | serving | may_begin),
            array.x_index.eq(index),
            array.x_lane.eq(lane),
            array.x_data.eq(value),
            array.x_write_state.eq((write & (space == Space.STATE)) | waiter.write),
            array.x_write_drive.eq(write & (space == Space.DRIVE)),
            array.x_write_table.eq(write & (space == Space.TABLE)),
            sequencer.p_index.eq(memory.index),
            sequencer.p_data.eq(memory.wdata),
            sequencer.p_write.eq(write & (space == Space.PROGRAM)),
            registers.index.eq(index),
            registers.data.eq(memory.wdata),
            registers.write.eq(write & (space == Space.REGISTER)),
        ]
        element = Signal(signed(len(memory.rdata)), reset_less=True)
        with m.Switch(space):
            with m.Case(Space.PROGRAM):
                m.d.sync += element.eq(sequencer.p_row)
            with m.Case(Space.STATE):
                m.d.sync += element.eq(array.x_state)
            with m.Case(Space.DRIVE):
                m.d.sync += element.eq(array.x_drive)
            with m.Default():
                m.d.sync += element.eq(registers.value)
        with m.If(waiter.run & ~serving):
            m.d.sync += element.eq(element)
        m.d.comb += [memory.rdata.eq(element), emitter.data.eq(element)]

        # Registers

        event = {
            Register.MAC_CYCLES: sequencer.mac_cycle,
            Register.LEARN_CYCLES: sequencer.learn_cycle,
            Register.CONTROL_CYCLES: sequencer.control_cycle,
            Register.WAIT_CYCLES: sequencer.wait_cycle,
            Register.EMIT_CYCLES: sequencer.emit_cycle,
            Register.WAIT_STALLS: sequencer.wait_run & waiter.stalled,
            Register.EMIT_STALLS: sequencer.emit_run & emitter.stalled,
            Register.SWEEPS: sequencer.swept,
            Register.SAMPLES: waiter.tick,
            Register.STATE_SATURATIONS: array.state_saturated,
            Register.WEIGHT_SATURATIONS: array.weight_saturated,
            Register.LINK_ERRORS: bus.link_error,
            Register.LINK_DROPS: bus.link_drop,
        }
        m.d.comb += [
            registers.events.eq(Cat(event[register] for register in COUNTED)),
            registers.counting.eq(sequencer.counting),
            registers.hold_cycles.eq(emitter.counters),
            registers.next_update.eq(sequencer.learned),
            registers.next_sample.eq(waiter.tick),
            self.quiet.eq(
                ~memory.valid
                & (~sequencer.running | (sequencer.wait_run & waiter.stalled & ~bus.sample.valid))
            ),
        ]
        return m
