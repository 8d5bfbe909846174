"""When things happen: cycles after a tile's issue, computed from the configuration."""

from dataclasses import dataclass

from relaxon_isa.config import ArrayConfig, clog2
from relaxon_isa.cycles import learn_latency, mac_latency

from .primitives import MULTIPLIER_LATENCY

__all__ = ["Schedule"]


@dataclass(frozen=True)
class Schedule:
    """Cycles after issue (the cycle in which a tile's addresses are in the sequencer's registers)
    at which something is in a register, at the input of what uses it.

    ::

        0 issue   1 address   2 word read   3 operand   6 product   6 + T sum   A = 7 + T acc

        MAC, after the last tile of a group:
        A+2 shifted   A+3 rounded   A+4 activated   A+5 - old   A+6 stepped   A+7 new   A+8 flag

        A+1 gate's word   A+2 old's word

        With one weight port (`merged`): operand 2, product 5, A = 6 + T, A+6 new, A+7 flag; LEARN's
        acc is at 6 and is written at once. The words of gate and old come a cycle later.

        LEARN, after the last term of a tile:
        7 acc   (8 decayed)   +1 new, exact   +1 new, saturated: written
    """

    config: ArrayConfig

    @property
    def merged(self) -> bool:
        """One weight port marks a small and slow fabric: stages that cost registers merge."""
        return self.config.weight_ports == 1

    @property
    def read(self) -> int:
        """Of a weight, a state or a drive, from its address on."""
        return 1 if self.merged else 2

    @property
    def operand(self) -> int:
        return 1 + self.read

    @property
    def product(self) -> int:
        return self.operand + MULTIPLIER_LATENCY

    @property
    def dither(self) -> int:
        """The dither at the cells: with the product; where the fabric is fast a cycle before."""
        return self.product - (0 if self.merged else 1)

    @property
    def sum(self) -> int:
        return self.product + clog2(self.config.p)

    @property
    def acc(self) -> int:
        return self.sum + 1

    @property
    def gate_address(self) -> int:
        """Of the last tile's group; old's follows."""
        return self.acc + (1 if self.merged else -1)

    @property
    def gate(self) -> int:
        """The gate's word."""
        return self.gate_address + self.read

    @property
    def new(self) -> int:
        return self.acc + (6 if self.merged else 7)

    @property
    def flag(self) -> int:
        return self.new + 1

    @property
    def learn_acc(self) -> int:
        return self.product + 1

    @property
    def learn_address(self) -> int:
        """The tile's address in LEARN, so that the weight comes with the accumulator."""
        if self.config.weight_ports == 1:
            return self.learn_acc - 1
        return self.learn_acc - 2

    @property
    def learn_write(self) -> int:
        """A tile's new weights at the memory's inputs."""
        if self.config.weight_ports == 1:
            return self.learn_acc
        return self.learn_acc + 2 + (self.config.decay_shift > 0)

    @property
    def integral_delay(self) -> int:
        """How much later integral mode writes the weight (and one cycle before it, the memory)."""
        return 4 if self.config.integral_shift else 0

    def check(self) -> None:
        """What the contract promises must suffice: the next instruction's first read of a bank
        samples its address two cycles after the drain, and its first use of the flag one."""
        assert self.flag <= mac_latency(self.config) + 1
        assert self.learn_write + self.integral_delay <= learn_latency(self.config)
