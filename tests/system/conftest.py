"""One suite, every backend: ``device`` is the golden model with each of its engines, then the
virtual board, or with ``--port`` the board that is there."""

from collections.abc import Iterator

import pytest

from relaxon.backends import open_device
from relaxon_device.base import Device
from relaxon_sim.engines import ENGINES


@pytest.fixture(params=[*(f"golden {engine}" for engine in ENGINES), "virtual"])
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    if port := request.config.getoption("--port"):
        with open_device(port) as opened:
            yield opened
        return
    backend, _, engine = request.param.partition(" ")
    if engine == "compiled":
        pytest.importorskip("numba", reason="numba is not installed")
    with open_device(backend, "default", **({"engine": engine} if engine else {})) as opened:
        yield opened
