"""Test benches in Amaranth's simulator, with a watchdog."""

from collections.abc import Callable, Coroutine
from typing import Any

from amaranth.hdl import Elaboratable
from amaranth.sim import Simulator

__all__ = ["WATCHDOG", "simulate"]

WATCHDOG = 500_000
"""Cycles after which a simulation is taken for hung, unless a test says otherwise."""


def simulate(
    dut: Elaboratable,
    *testbenches: Callable[[Any], Coroutine[Any, Any, None]],
    watchdog: int = WATCHDOG,
) -> None:
    """Run test benches, ``async def (context)``, side by side until all of them have ended.

    The clock is that of domain ``sync``. Raises AssertionError after ``watchdog`` cycles.
    """
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    for testbench in testbenches:
        simulator.add_testbench(testbench)
    for _ in range(2 * watchdog):  # an edge each
        if not simulator.advance():
            return
    raise AssertionError(f"watchdog: not over after {watchdog} cycles")
