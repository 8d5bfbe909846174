"""A family's primitives, by their models, beside the portable ones, on the same inputs."""

from collections.abc import Callable
from typing import Any

import cocotb
import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In
from cocotb.triggers import FallingEdge, ReadOnly

from relaxon_hdl.primitives import (
    DelayLine,
    Multiplier,
    MuxAdder,
    Ram,
    RightShift,
    WeightRam,
    primitives,
)
from relaxon_sim.cosim import bench, simulate
from support.random_programs import random_word

CYCLES = 6000

PAIRS: dict[str, dict[str, Callable[[str | None], Any]]] = {
    "ice40": {
        "multiplier": lambda family: Multiplier(16, 16, family),
        "multiplier_narrow": lambda family: Multiplier(12, 9, family),
        "shift": lambda family: RightShift(17, family),
        "shift_narrow": lambda family: RightShift(13, family),
        "delay_6": lambda family: DelayLine(14, 6, family),
        "weights": lambda family: WeightRam(16, 1 << 14, 1, family),
        "weights_narrow": lambda family: WeightRam(12, 100, 1, family),
        **{
            f"ram_{width}_{depth}": lambda family, w=width, d=depth: Ram(w, d, family)
            for width, depth in [(42, 256), (16, 768), (5, 1024), (9, 2048), (3, 5000), (17, 20)]
        },
    },
    "ecp5": {
        "multiplier": lambda family: Multiplier(18, 18, family),
        "multiplier_16": lambda family: Multiplier(16, 17, family),
        "adder": lambda family: MuxAdder(17, 9, 20, 21, family),
        "adder_narrow": lambda family: MuxAdder(8, 8, 8, 4, family),
        "subtracter": lambda family: MuxAdder(20, 19, 12, 22, family, subtract=True),
        "weights": lambda family: WeightRam(16, 1024, 2, family),
        **{
            f"ram_{width}_{depth}": lambda family, w=width, d=depth: Ram(w, d, family, latency=2)
            for width, depth in [(42, 600), (16, 1500), (9, 4096), (5, 8000), (3, 16384), (17, 20)]
        },
    },
    "gowin": {
        "weights": lambda family: WeightRam(16, 3072, 2, family),
        **{
            f"ram_{width}_{depth}": lambda family, w=width, d=depth: Ram(w, d, family)
            for width, depth in [(42, 256), (16, 512), (18, 1024), (9, 2048), (11, 5000), (17, 20)]
        },
    },
}


class Pairs(wiring.Component):
    """Every input is given to both of a pair; an output is there twice, ``name`` and
    ``name_portable``."""

    def __init__(self, family: str):
        self.pairs = {name: (make(family), make(None)) for name, make in PAIRS[family].items()}
        members = {}
        for name, (one, _) in self.pairs.items():
            for port, member in one.signature.members.items():
                members[f"{name}__{port}"] = member
                if member.flow is not In:
                    members[f"{name}__{port}_portable"] = member
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        m.d.sync += Signal().eq(1)  # a clock, for combinational pairs too
        for name, (one, other) in self.pairs.items():
            m.submodules[name] = one
            m.submodules[f"{name}_portable"] = other
            for port, member in one.signature.members.items():
                here = getattr(self, f"{name}__{port}")
                if member.flow is In:
                    m.d.comb += [getattr(one, port).eq(here), getattr(other, port).eq(here)]
                else:
                    there = getattr(self, f"{name}__{port}_portable")
                    m.d.comb += [here.eq(getattr(one, port)), there.eq(getattr(other, port))]
        return m


@pytest.mark.parametrize("family", PAIRS)
def test_primitives(family, seed):
    parameters = {"family": family}
    simulate(Pairs(family), __file__, family=family, parameters=parameters, seed=seed)


@cocotb.test()
async def equals_the_portable_one(dut):
    family = bench.parameters()["family"]
    rng = bench.random_source("inputs")
    bench.start_clock(dut)
    pairs = Pairs(family).pairs
    given: dict[str, dict[str, int]] = {name: {} for name in pairs}
    before = given
    compared = dict.fromkeys(pairs, 0)
    for cycle in range(CYCLES):
        await FallingEdge(dut.clk)
        earlier, before, given = before, given, {}
        for name, (one, _) in pairs.items():
            given[name] = chosen = {}
            for port, member in one.signature.members.items():
                if member.flow is not In:
                    continue
                shape = getattr(one, port).shape()
                value = (
                    random_word(rng, shape.width) if shape.signed else rng.getrandbits(shape.width)
                )
                if port.endswith("addr"):  # few of them, so that what is read was written
                    places = [0, 1, one.depth // 3, one.depth // 2, one.depth - 2, one.depth - 1]
                    value = rng.choice([*places, rng.randrange(one.depth)])
                chosen[port] = value & ((1 << shape.width) - 1)
                getattr(dut, f"{name}__{port}").value = chosen[port]
        await ReadOnly()
        for name, (one, _) in pairs.items():
            latency = one.ports if isinstance(one, WeightRam) else getattr(one, "latency", 1)
            if undefined(one, (before if latency == 1 else earlier)[name]):
                continue
            for port, member in one.signature.members.items():
                if member.flow is In:
                    continue
                found = int(getattr(dut, f"{name}__{port}").value)
                expected = int(getattr(dut, f"{name}__{port}_portable").value)
                if isinstance(one, Multiplier) and negates(one) and before[name].get("negate"):
                    expected = -expected & ((1 << len(one.p)) - 1)
                assert found == expected, (cycle, name, port, before[name])
                compared[name] += found != 0
    assert min(compared.values()) > CYCLES // 4, compared


def negates(one: Multiplier) -> bool:
    return primitives(one.family).negates(len(one.a), len(one.b))


def undefined(one: Any, before: dict[str, int]) -> bool:
    """Whether a memory's word read now is undefined, by its contract."""
    if isinstance(one, WeightRam) and one.ports == 1:
        return bool(before.get("w_en", 1))
    if isinstance(one, (Ram, WeightRam)):
        return not before or bool(before["w_en"] and before["w_addr"] == before["r_addr"])
    return False
