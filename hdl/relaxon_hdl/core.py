"""The core: the array and its sequencer behind `CoreSignature`."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from relaxon_isa import ArrayConfig

from .access import Access
from .array import Array
from .buffers import SkidBuffer
from .bus import CoreSignature
from .counters import RegisterFile
from .memory.unit import SampleMemory, WordMemory
from .samples import SampleBuffer
from .schedule import Scheduled
from .sequencer import Sequencer
from .transfer import TransferUnit

__all__ = ["Core"]

TWO_BYTES = data.StructLayout({"byte": 8, "other": 8, "other_counts": 1})


class Core(Scheduled):
    """A machine without its link.

    ::

        bus.run --> Sequencer --row, issue--> Array (cells, lanes, banks) --flag--> Sequencer
                      |  |                      ^
        bus.sample -> TransferUnit --values-----+
        bus.emit <----'  '------.               |
        bus.memory -------------+--> element ---'--- RegisterFile, program rows

    Parameters
    ----------
    config
        The machine.
    family
        FPGA family whose primitives to instantiate (a key of `families.FAMILIES`); None for the
        portable ones.

    Members
    -------
    bus : In(CoreSignature)
    chip : Out(WordMemory)
        With a sample memory.
    quiet : Out(1)
        Nothing moves: no program runs, or it is stalled in WAIT; and the pipeline is empty.
    """

    def __init__(self, config: ArrayConfig, family: str | None = None):
        self.sequencer = Sequencer(config, family)
        self.array = Array(config, family)
        members = {"bus": In(CoreSignature(config)), "quiet": Out(1)}
        if config.sample_memory:
            members["chip"] = Out(WordMemory())
        super().__init__(config, members, family)

    def build(self, m: Module) -> None:
        config, bus, when = self.config, self.bus, self.when
        m.submodules.sequencer = sequencer = self.sequencer
        m.submodules.array = array = self.array
        m.submodules.access = access = Access(config)
        m.submodules.transfer = transfer = TransferUnit(config)
        m.submodules.registers = registers = RegisterFile(config, self.family)

        wiring.connect(m, wiring.flipped(bus.run), sequencer.run)
        samples = stored = None
        if config.sample_buffer:
            m.submodules.samples = samples = SampleBuffer(config)
            self.buffer_samples(m, samples, transfer)
            if config.sample_memory:
                m.submodules.sample_memory = stored = SampleMemory(config)
                self.store_samples(m, stored, samples, transfer)
                m.d.comb += access.memory_register.eq(stored.size | stored.window)
        else:
            wiring.connect(m, wiring.flipped(bus.sample), transfer.sample)
        wiring.connect(m, wiring.flipped(bus.memory), access.memory)
        wiring.connect(m, access.element, array.element)
        wiring.connect(m, access.program, sequencer.program)
        if when.short:
            wiring.connect(m, transfer.emit, wiring.flipped(bus.emit))
        elif not config.sample_buffer:
            m.submodules.emitted = emitted = SkidBuffer()
            wiring.connect(m, transfer.emit, emitted.i)
            wiring.connect(m, emitted.o, wiring.flipped(bus.emit))
        else:
            self.choose_emitted(m, transfer)
        # Both have the port's members among their own.
        for port, component in ((access.transfer, transfer), (access.registers, registers)):
            for name, member in port.signature.members.items():
                mine, its = getattr(port, name), getattr(component, name)
                m.d.comb += mine.eq(its) if member.flow is In else its.eq(mine)
        stalled = sequencer.wait_run & transfer.stalled
        starved = stalled  # for a byte
        resting = stalled & ~bus.sample.valid
        if samples is not None:
            lacks = samples.hungry & ~samples.whole
            if stored is not None:
                lacks &= ~stored.pending
            # While the host asks for memory it offers neither a byte nor a record: whatever rests
            # then does so until it has its answer, so this may be known late.
            resting = transfer.open & (~transfer.ahead | lacks)
            lacks &= ~bus.sample.valid
            if stored is not None:
                lacks &= ~bus.index.valid
            starved &= ~transfer.ahead | lacks
        free = ~sequencer.running | resting
        if samples is not None:
            free = when.late(m, bus.memory.valid & free, "free", reset=True)
        m.d.comb += [
            sequencer.abort.eq(bus.abort),
            sequencer.flag.eq(array.flag),
            sequencer.stalled.eq(transfer.stalled),
            sequencer.finished.eq(transfer.finished),
            array.row.eq(sequencer.row),
            array.issue.eq(sequencer.issue),
            array.clear_flag.eq(sequencer.start),
            array.update_key.eq(registers.update_key),
            array.sample_key.eq(registers.sample_key),
            transfer.wait_run.eq(sequencer.wait_run),
            transfer.emit_run.eq(sequencer.emit_run),
            transfer.row.eq(sequencer.row),
            transfer.index.eq(sequencer.index),
            transfer.hold.eq(access.serving),
            access.wait_run.eq(sequencer.wait_run),
            access.emit_run.eq(sequencer.emit_run),
            access.free.eq(free),
            bus.running.eq(sequencer.running),
            bus.done.eq(sequencer.done),
            bus.waiting.eq(starved),
            self.quiet.eq(~bus.memory.valid & (~sequencer.running | (starved & ~bus.sample.valid))),
        ]
        if not when.short:  # a stall in WAIT lasts until a byte comes: it may be known late
            late = when.late(m, starved, "waiting", reset=True)
            m.d.comb += bus.waiting.eq(late & ~bus.sample.valid)
            with m.If(bus.emit.valid):
                m.d.comb += self.quiet.eq(0)
        if stored is not None:
            with m.If(self.chip.alive & ~stored.idle):
                m.d.comb += self.quiet.eq(0)

        events = registers.events
        m.d.comb += [
            *(events[name].eq(sequencer.events[name]) for name in sequencer.events.shape().members),
            events.wait_stalls.eq(stalled),
            events.emit_stalls.eq(sequencer.emit_run & transfer.stalled),
            events.samples.eq(transfer.tick),
            events.state_saturations.eq(array.state_saturated),
            events.weight_saturations.eq(array.weight_saturated),
            events.link_errors.eq(bus.link_error),
            events.link_drops.eq(bus.link_drop),
            registers.counting.eq(sequencer.counting),
            registers.next_update.eq(sequencer.learned),
            registers.next_sample.eq(transfer.tick),
        ]
        if config.sample_buffer:
            m.d.comb += [
                events.wrong.eq(transfer.wrong),
                sequencer.ahead.eq(transfer.ahead),
                sequencer.lacking.eq(transfer.ahead & transfer.open),
                sequencer.settled.eq(transfer.settled),
                bus.emitting.eq(sequencer.emit_run),
            ]

    def choose_emitted(self, m: Module, transfer: TransferUnit) -> None:
        """Which of two bytes is emitted is chosen behind the registers."""
        m.submodules.emitted = emitted = SkidBuffer(TWO_BYTES)
        given, taken = emitted.i.payload, emitted.o.payload
        m.d.comb += [
            emitted.i.valid.eq(transfer.emit.valid),
            transfer.emit.ready.eq(emitted.i.ready),
            given.byte.eq(transfer.emit.payload),
            given.other.eq(transfer.newer_byte),
            given.other_counts.eq(transfer.newer),
            self.bus.emit.valid.eq(emitted.o.valid),
            emitted.o.ready.eq(self.bus.emit.ready),
            self.bus.emit.payload.eq(Mux(taken.other_counts, taken.other, taken.byte)),
        ]

    def buffer_samples(self, m: Module, samples: SampleBuffer, transfer: TransferUnit) -> None:
        """Bytes for WAITs go to the buffer from the first on that is ahead: then none is that is
        not."""
        sample = self.bus.sample
        m.d.comb += [
            samples.clear.eq(~self.sequencer.running),
            samples.row.eq(self.sequencer.row),
            samples.start.eq(transfer.ahead),
            samples.take.eq(transfer.take),
            transfer.whole.eq(samples.whole),
            transfer.label.eq(samples.label),
            transfer.labelled.eq(samples.labelled),
            sample.ready.eq(samples.sample.ready | transfer.sample.ready),
            self.sequencer.listed.eq(samples.listed),
            samples.at.eq(self.array.list_row),
            self.array.groups.eq(samples.groups),
            self.array.values.eq(samples.values),
        ]
        for sink in (samples.sample, transfer.sample):
            m.d.comb += sink.valid.eq(sample.valid)
        m.d.comb += [
            samples.sample.payload.bytes.eq(sample.payload),
            transfer.sample.payload.eq(sample.payload),
        ]

    def store_samples(
        self, m: Module, stored: SampleMemory, samples: SampleBuffer, transfer: TransferUnit
    ) -> None:
        """Records of the memory go to the buffer, too; bytes of the host's wait until all records
        that it asked for before are there."""
        bus, running = self.bus, self.sequencer.running
        ran = Signal()
        m.d.sync += ran.eq(running)
        wiring.connect(m, stored.chip, wiring.flipped(self.chip))
        for name in ("task", "store", "index"):
            wiring.connect(m, wiring.flipped(getattr(bus, name)), getattr(stored, name))
        wiring.connect(m, stored.answer, wiring.flipped(bus.answer))
        m.d.comb += [
            stored.clear.eq((ran ^ running) | bus.abort),
            stored.row.eq(self.sequencer.row),
            stored.start.eq(transfer.ahead),
            stored.o.ready.eq(samples.sample.ready),
            bus.refuses.eq(self.sequencer.wait_run & ~transfer.ahead),
        ]
        with m.If(stored.pending):
            m.d.comb += [
                samples.sample.valid.eq(stored.o.valid),
                samples.sample.payload.eq(stored.o.payload),
                bus.sample.ready.eq(0),
            ]
