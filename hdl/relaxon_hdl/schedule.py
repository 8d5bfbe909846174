"""When things happen: cycles after a tile's issue, computed from the configuration."""

from collections.abc import Sequence
from dataclasses import dataclass

from amaranth.hdl import Module, Value

from relaxon_isa.config import ArrayConfig, clog2
from relaxon_isa.cycles import learn_latency, mac_latency
from relaxon_isa.errors import ConfigError

from .primitives import MULTIPLIER_LATENCY, delay

__all__ = ["Schedule", "into"]


def into(pipe: Sequence[Value], stage: int) -> Value:
    """What a register takes in order to hold a value at ``stage``. ``pipe`` is the value's past, as
    `delay` returns it: entry k is the value k cycles after issue."""
    return pipe[stage - 1]


@dataclass(frozen=True)
class Schedule:
    """Stages of the pipeline: in which cycle after a tile's issue something is in a register, at
    the input of what uses it. At issue the tile's addresses are in the sequencer's registers.

    A long pipeline (`ArrayConfig.pipeline`), of which T is clog2(p), the adder tree::

        0 issue   1 address   2 word read   3 operand   6 product   6 + T sum   A = 7 + T acc

        MAC, after the last tile of a group:
        A+2 shifted   A+3 rounded   A+4 activated   A+5 away   A+6 stepped   A+7 new   A+8 flag

        A+1 gate   A+2 old's word

        LEARN, after the last term of a tile:
        7 learn_acc   (8 decayed)   +1 new, exact   +1 new, saturated: learn_write

    A short pipeline has no register after the memories' own (operand 2, product 5, A = 6 + T) and
    none for ``stepped`` (new A+6, flag A+7); the words of gate and old come a cycle later (A+2,
    A+3). With one weight port LEARN writes at learn_acc, as there is one access a cycle.
    """

    config: ArrayConfig

    # A long pipeline's registers ----------------------------------------------------------------

    @property
    def short(self) -> bool:
        """Whether stages that cost registers are merged."""
        return self.config.pipeline == "short"

    @property
    def domain(self) -> str:
        """Domain for what only a long pipeline registers."""
        return "comb" if self.short else "sync"

    def late(self, m: Module, value: Value, name: str, *, reset: bool = False) -> Value:
        """``value``; of a long pipeline, a cycle later (in a register ``name``, which starts and
        resets at 0 if ``reset``)."""
        return value if self.short else delay(m, value, 1, name, reset=reset)[1]

    # Tiles --------------------------------------------------------------------------------------

    @property
    def read(self) -> int:
        """Cycles from an address to its word, of a weight, a state or a drive."""
        return 1 if self.short else 2

    @property
    def operand(self) -> int:
        """The words at the multipliers."""
        return 1 + self.read

    @property
    def product(self) -> int:
        return self.operand + MULTIPLIER_LATENCY

    @property
    def dither(self) -> int:
        """The dither at the cells: with the product; in a long pipeline a cycle before."""
        return self.product - (0 if self.short else 1)

    # MAC: the lanes -----------------------------------------------------------------------------

    @property
    def sum(self) -> int:
        """The adder trees' sums, and the drive word that a group starts from."""
        return self.product + clog2(self.config.p)

    @property
    def drive_address(self) -> int:
        return self.sum - self.read

    @property
    def acc(self) -> int:
        return self.sum + 1

    @property
    def shifted(self) -> int:
        return self.acc + 2

    @property
    def rounded(self) -> int:
        return self.shifted + 1

    @property
    def activated(self) -> int:
        return self.rounded + 1

    @property
    def away(self) -> int:
        """The distance from the old value."""
        return self.activated + 1

    @property
    def stepped(self) -> int:
        """A part of that distance."""
        return self.away + (0 if self.short else 1)

    @property
    def new(self) -> int:
        return self.stepped + 1

    @property
    def flag(self) -> int:
        return self.new + 1

    @property
    def gate_address(self) -> int:
        """Of the last tile's group; old's follows a cycle later."""
        return self.acc + (1 if self.short else -1)

    @property
    def gate(self) -> int:
        """The gate's word."""
        return self.gate_address + self.read

    # LEARN: the cells ---------------------------------------------------------------------------

    @property
    def learn_acc(self) -> int:
        return self.product + 1

    @property
    def learn_address(self) -> int:
        """The tile's address, so that its weight comes with the accumulator."""
        return self.learn_acc - self.config.weight_ports

    @property
    def learn_write(self) -> int:
        """A tile's new weights at the memory's inputs. With one port they are written as they are
        computed; with two they go through a register a step."""
        if self.config.weight_ports == 1:
            return self.learn_acc
        return self.learn_acc + 2 + (self.config.decay_shift > 0)

    @property
    def memory_address(self) -> int:
        """Integral mode: the address of a tile's memories, whose words meet the terms' sum where
        other modes write it. The weights' follows a cycle later."""
        return self.learn_write - self.read

    @property
    def memory_write(self) -> int:
        """Integral mode: a tile's new memories. Behind the terms' sum three registers: away,
        stepped, clipped."""
        return self.learn_write + 3

    @property
    def integral_write(self) -> int:
        """Integral mode: a tile's new weights, for which the sum is compared with the threshold."""
        return self.memory_write + 1

    @property
    def last_write(self) -> int:
        """The last of a LEARN's writes, in whatever mode this machine has."""
        return self.integral_write if self.config.integral_shift else self.learn_write

    @property
    def merged(self) -> bool:
        return self.short

    @property
    def integral_delay(self) -> int:
        return self.last_write - self.learn_write

    # The contract -------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise ConfigError unless the stages take exactly the cycles that the contract promises:
        not more, and none to spare.

        After a drain the next instruction's first read of a bank has its address two cycles later,
        and its first use of the flag is one cycle later.
        """
        config = self.config
        for stage, promised in (
            ("flag", mac_latency(config) + 1),
            ("last_write", learn_latency(config)),
        ):
            built = getattr(self, stage)
            if built != promised:
                raise ConfigError(
                    f"Schedule.{stage} = {built}: must be {promised}, which is what the contract's "
                    f"cycles (relaxon_isa.cycles) promise of a {config.pipeline} pipeline; "
                    f"{abs(built - promised)} too {'late' if built > promised else 'early'}"
                )
