"""When things happen: cycles after a tile's issue, computed from the configuration."""

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value

from relaxon_isa import WALK, ArrayConfig, ConfigError, clog2, learn_latency, mac_latency

from .component import Component
from .primitives import MULTIPLIER_LATENCY, delay

__all__ = ["Held", "Schedule", "Scheduled", "before", "into"]


def before(stage: int) -> int:
    """The stage at which a register takes what it is to hold at ``stage``."""
    return stage - 1


def into(pipe: Sequence[Value], stage: int) -> Value:
    """What a register takes in order to hold a value at ``stage``. ``pipe`` is the value's past, as
    `delay` returns it: entry k is the value k cycles after issue."""
    return pipe[before(stage)]


class Held:
    """What is constant within an instruction, as it was when a tile at a stage was issued.

    Where instructions overlap (`ArrayConfig.drains`) a register at each stage where a value is used
    takes it as the instruction's first tile comes by: from the value itself for `FIRST` stages,
    then from registers `GAP` stages apart. For the next nest begins `GAP` cycles later at least, as
    that many take its rows to be fetched, and what follows in ``row`` has been there for `FIRST`
    cycles. Elsewhere the value is there all the time.

    The tiles of a walk are at their stages `WALK` cycles later than others, so what they take has
    been kept for as many cycles more.

    Parameters
    ----------
    m
        Of the component that uses the values.
    config
        The machine.
    begin
        An instruction's first tile is issued.
    walks
        The instruction under way walks over lists; needed with a sample buffer alone.
    """

    FIRST = 3
    GAP = 4

    def __init__(self, m: Module, config: ArrayConfig, begin: Value, walks: Value | None = None):
        self.m, self.overlaps = m, config.drains
        self.buffer = bool(config.sample_buffer)
        self.begun = {"begins": [begin]}
        if self.buffer:
            assert walks is not None
            self.begun |= {"begins": [begin & ~walks], "walk_begins": [begin & walks]}
        self.known: dict[tuple[str, int], Value] = {}

    def past(self, kind: str, cycles: int) -> Value:
        """An instruction of this kind began as many cycles ago."""
        begun = self.begun[kind]
        while len(begun) <= cycles:
            at = Signal(name=f"{kind}_{len(begun)}")
            self.m.d.sync += at.eq(begun[-1])
            begun.append(at)
        return begun[cycles]

    def begins_at(self, stage: int) -> Value:
        """An instruction's first tile is at this stage."""
        first = self.past("begins", stage)
        return first | self.past("walk_begins", stage + WALK) if self.buffer else first

    def passing(self, value: Value, name: str, stage: int) -> Value:
        """``value`` of the instruction whose first tile is at this stage, in that cycle."""
        if not self.buffer or not self.overlaps:
            return self.kept(value, name, stage)
        late = stage + WALK
        walks = self.past("walk_begins", late)
        return Mux(walks, self.kept(value, name, late), self.kept(value, name, stage))

    def kept(self, value: Value, name: str, cycles: int) -> Value:
        """``value`` of the instruction that began as many cycles ago, in that cycle."""
        if not self.overlaps or cycles < self.FIRST:
            return value
        cycles -= (cycles - self.FIRST) % self.GAP
        if not self.buffer:
            return self.at(value, name, cycles)
        ago = cycles - 1
        begun = self.past("begins", ago) | self.past("walk_begins", ago)
        return self.register(f"{name}_kept", cycles, begun, self.kept(value, name, ago))

    def at(self, value: Value, name: str, stage: int) -> Value:
        """``value`` of the instruction that has a tile at this stage."""
        if not self.overlaps or stage == 0:
            return value
        before = self.passing(value, name, stage - 1)
        return self.register(name, stage, self.begins_at(stage - 1), before)

    def register(self, name: str, stage: int, takes: Value, value: Value) -> Value:
        """The register of that name and stage."""
        if (name, stage) not in self.known:
            register = Signal(value.shape(), name=f"{name}_{stage}", reset_less=True)
            with self.m.If(takes):
                self.m.d.sync += register.eq(value)
            self.known[name, stage] = register
        return self.known[name, stage]


class Schedule:
    """Stages of the pipeline: in which cycle after a tile's issue something is in a register, at
    the input of what uses it. At issue the tile's addresses are in the sequencer's registers.

    A long pipeline (`ArrayConfig.pipeline`), of which T is clog2(p), the adder tree::

        0 issue   1 address   2 word read   3 operand   6 product   6 + T sum   A = 7 + T acc

        MAC, after the last tile of a group:
        A+1 coarse    A+2 shifted   A+3 rounded   A+4 activated   A+5 away   A+6 stepped
        A+7 new       A+8 flag

        A+1 gate      A+2 gating, old

        LEARN, after the last term of a tile:
        7 learn_acc   (8 decayed)   +1 new, exact   +1 new, saturated: learn_write

    With drains what is ``judged`` is in a register (A+8), and then the flag (A+9).

    A short pipeline has no register after the memories' own (operand 2, product 5, A = 6 + T) and
    none for ``stepped`` (new A+6, flag A+7); the words of gate and old come a cycle later (A+2,
    A+3), and the gate's bounds are compared at once. With one weight port LEARN writes at
    learn_acc, as there is one access a cycle.

    Parameters
    ----------
    config
        The machine.

    Attributes
    ----------
    short : bool
        Whether stages that cost registers are merged.
    domain : str
        Domain for what only a long pipeline registers.
    read : int
        Cycles from an address to its word, of a weight, a state or a drive.
    ..._cycles : int
        From one stage to another.
    other names : int
        A stage each, described where it is computed. What uses a stage has a name for it here and
        computes none: then no stage is left behind when another one moves.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        self.short = config.pipeline == "short"
        self.domain = "comb" if self.short else "sync"
        self.read = 1 if self.short else 2

        # A tile's words at the multipliers, and what these make of them.
        self.operand = 1 + self.read
        self.product = self.operand + MULTIPLIER_LATENCY
        # The sign where the multiplier can change it.
        self.negate = self.product - 1
        # What the dither is hashed of; the dither at the cells.
        self.hash_address = 2 if self.short else 1
        self.dither = self.product - (0 if self.short else 1)

        # MAC. The adder trees' sums, and the drive word that a group starts from.
        self.sum = self.product + clog2(config.p)
        self.drive_address = self.sum - self.read
        self.acc = self.sum + 1
        # A group's end in the lane: by the coarse part of the shift, and the fine one; rounded;
        # activated and gated; the distance from the old value, and a part of it; the new state;
        # whether it is outside the tolerance; the flag.
        self.coarse = self.acc + 1
        self.shifted = self.coarse + 1
        self.rounded = self.shifted + 1
        self.activated = self.rounded + 1
        self.away = self.activated + 1
        self.stepped = self.away + (0 if self.short else 1)
        self.new = self.stepped + 1
        self.judged = self.new + 1
        self.flag = self.judged + config.drains
        # What the lane needs of the group's second port: first the gate's word, then the old one.
        self.gate_address = self.acc + (1 if self.short else -1)
        self.gate = self.gate_address + self.read
        self.old_address = self.gate_address + 1
        self.old = self.old_address + self.read
        # Which of the gate's bounds count, when they have been compared.
        self.gating = self.gate + (0 if self.short else 1)

        # LEARN. The sum of a tile's terms; the tile's address, so that its weight comes with it.
        self.learn_acc = self.product + 1
        self.learn_address = self.learn_acc - config.weight_ports
        # New weights at the memory's inputs: with one port as they are computed, with two through
        # a register a step.
        steps = 2 + (config.decay_shift > 0) if config.weight_ports == 2 else 0
        self.learn_write = self.learn_acc + steps
        # Which stage a LEARN's flags are used at: to start a sum; to choose what it is added to; to
        # round it; to bound the new weight; to write it.
        rounds = self.learn_acc + (config.decay_shift > 0)
        self.learn_uses = {
            "start": self.dither,
            "choose": self.learn_acc,
            "round": rounds,
            "bound": rounds + 1,
            "write": self.learn_write,
        }
        # Integral mode. The address of a tile's memories, whose words meet the terms' sum where
        # other modes write it; of its weights. Three registers on the way to new memories, four to
        # new weights, for which the sum is compared with the threshold.
        self.memory_address = self.learn_write - self.read
        self.integral_address = self.memory_address + 1
        self.memory_write = self.learn_write + 3
        self.integral_write = self.memory_write + 1
        # The last of a LEARN's writes, in whatever mode this machine has.
        self.last_write = self.integral_write if config.integral_shift else self.learn_write

        # A tile's place travels to the last register that takes it: on a short pipeline first in a
        # memory, then, and on a long one all the way, in registers.
        self.line_cycles = before(self.learn_address) if self.short else 0
        self.place_cycles = before(max(self.new, self.last_write)) - self.line_cycles
        # The hash, and from the cells' dither to the lanes' random plane.
        self.hash_cycles = self.dither - self.hash_address
        self.chance_cycles = self.rounded - self.dither

    def late(self, m: Module, value: Value, name: str, *, reset: bool = False) -> Value:
        """``value``; of a long pipeline, a cycle later (in a register ``name``, which starts and
        resets at 0 if ``reset``). Not to be called within an ``If``, which would hold it."""
        return value if self.short else delay(m, value, 1, name, reset=reset)[1]

    def check(self) -> None:
        """Raise ConfigError unless the stages take exactly the cycles that the contract promises:
        not more, and none to spare.

        After a drain the next instruction's first read of a bank has its address two cycles later,
        and its first use of the flag is one cycle later.
        """
        promises = {
            "flag": mac_latency(self.config) + 1 + self.config.drains,
            "last_write": learn_latency(self.config),
        }
        for stage, promised in promises.items():
            late = getattr(self, stage) - promised
            if late:
                raise ConfigError(
                    f"Schedule.{stage} = {promised + late}: must be {promised}, which is what the "
                    "contract's cycles (relaxon_isa.cycles) promise of a "
                    f"{self.config.pipeline} pipeline; {abs(late)} too "
                    f"{'late' if late > 0 else 'early'}"
                )


class Scheduled(Component):
    """A component of the machine, made for its configuration and in step with its pipeline.

    Attributes
    ----------
    config, family
        The parameters of that name; ``family`` where the component has one.
    when : Schedule
    """

    def __init__(self, config: ArrayConfig, members: dict[str, Any], family: str | None = None):
        self.config = config
        self.family = family
        self.when = Schedule(config)
        super().__init__(members)
