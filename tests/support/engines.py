"""The compiled engine in tests that also run where numba is not installed."""

from typing import Any

import pytest

from relaxon_isa import ArrayConfig

__all__ = ["compiled_machine", "fits"]


def compiled_machine(config: ArrayConfig) -> Any:
    """A machine of the compiled engine; skips the test without numba."""
    pytest.importorskip("numba", reason="numba is not installed")
    from relaxon_sim.compiled.machine import Machine

    return Machine(config)


def fits(config: ArrayConfig) -> bool:
    """Whether the compiled engine is there and wide enough."""
    from relaxon_sim.engines import fastest

    return fastest(config)[0] == "compiled"
