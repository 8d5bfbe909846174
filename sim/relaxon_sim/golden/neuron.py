"""The neuron lanes: from accumulators to drives or states."""

from collections.abc import Callable

import numpy as np
from numpy import maximum, minimum
from numpy.typing import NDArray

from relaxon_isa import Activation, Gating, Judge, Mac, Register

from .exact import Array
from .hash import lane_bits, words
from .planes import Port, in_range
from .state import State

__all__ = ["Lanes", "compile_activation", "compile_gate"]


def compile_gate(mac: Mac) -> Callable[[Array], NDArray[np.bool_]]:
    """Whether the words of the gate plane are inside."""
    one = 1 << mac.one
    match mac.gating:
        case Gating.IN01:
            return lambda gate: (gate > 0) & (gate < one)
        case Gating.IN11:
            return lambda gate: (gate > -one) & (gate < one)
        case Gating.POSITIVE:
            return lambda gate: gate > 0
    raise ValueError(mac.gating)


def compile_activation(
    state: State, mac: Mac, group_of: NDArray, random: tuple[NDArray, NDArray] | None
) -> Callable[[Array], Array]:
    """The function from rounded accumulators v to activations; it may overwrite v.

    ``group_of`` numbers each element's destination group (saturations are counted by group).
    ``random`` is the pair (dst addresses, element positions among their lanes) for RANDOM.
    """
    config, numbers = state.config, state.numbers
    one = 1 << mac.one
    scale = numbers.scale_in(mac.up) if mac.up else None
    high = (1 << (config.state_bits - 1)) - 1
    top, bottom, zero = map(numbers.constant, (high, -high - 1, 0))
    rectified = mac.activation is Activation.RELU
    any_of = numbers.any

    def clip(low: Array, high: Array) -> Callable[[Array], Array]:
        def activation(v: Array) -> Array:
            if scale is not None:
                v = scale(v)
            maximum(v, low, out=v)
            return minimum(v, high, out=v)

        return activation

    def saturate(v: Array) -> Array:
        if scale is not None:
            v = scale(v)
        if rectified:
            maximum(v, zero, out=v)
        result = minimum(v, top)
        maximum(result, bottom, out=result)
        v -= result
        if any_of(v):
            groups = np.unique(group_of[v.reshape(-1) != 0])
            state.registers.count(Register.STATE_SATURATIONS, len(groups))
        return result

    def table(v: Array) -> Array:
        half = 1 << (config.table_bits - 1)
        index = np.minimum(np.maximum(v, -half), half - 1) + half
        return state.table[index.astype(np.intp)]

    def random_plane(v: Array) -> Array:
        assert random is not None
        groups = in_range("S", random[0], config.state_depth)
        u, _ = words(state.registers.sample_key, groups)
        bits = lane_bits(u, config.p).reshape(-1)[random[1]]
        v[...] = np.where(bits, -one, one).reshape(v.shape)
        return v

    match mac.activation:
        case Activation.CLIP01:
            return clip(zero, numbers.constant(one))
        case Activation.CLIP11:
            return clip(numbers.constant(-one), numbers.constant(one))
        case Activation.TABLE:
            return table
        case Activation.RANDOM:
            return random_plane
        case _:
            return saturate


class Lanes:
    """One MAC's way from accumulators to S or D, compiled.

    ``finish(acc)`` rounds, activates, gates, steps, judges and writes. ``acc`` has the shape of
    the ports, holds exact sums and belongs to the lanes.
    """

    def __init__(
        self,
        state: State,
        mac: Mac,
        ports: dict[str, Port],
        group_of: NDArray,
        random: tuple[NDArray, NDArray] | None,
    ):
        numbers = state.numbers
        memory, key = ports["dst"].memory, ports["dst"].key
        if mac.to_drive:

            def write(acc: Array) -> None:
                memory[key] = acc

            self.finish = write
            return
        activate = compile_activation(state, mac, group_of, random)
        inside = compile_gate(mac) if mac.reads_gate else None
        rounded = numbers.half_up_in(mac.shift) if mac.shift else None
        stepped = numbers.half_up_in(mac.step) if mac.step else None
        change, judge, fresh, tol = mac.judge is Judge.CHANGE, mac.judge != 0, mac.fresh, mac.tol
        any_of = numbers.any
        unused = ports["dst"]
        old_port, gate_port = ports.get("old", unused), ports.get("gate", unused)

        def finish(acc: Array) -> None:
            new = activate(acc if rounded is None else rounded(acc))
            if inside is not None:
                new *= inside(gate_port.read())
            if stepped is not None:
                old = old_port.read()
                new = old + stepped(new - old)
            if fresh:
                state.flag = True
            if judge and state.flag:
                moved = new - old_port.read() if change else new
                if tol:
                    state.flag = bool((abs(moved) <= tol).all())
                else:
                    state.flag = not any_of(moved)
            memory[key] = new

        self.finish = finish
