"""One suite, every backend: ``device`` is the golden model, then the virtual board."""

from collections.abc import Iterator

import pytest

from relaxon.backends import BACKENDS, open_device
from relaxon_device.base import Device


@pytest.fixture(params=BACKENDS)
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    with open_device(request.param, "default") as opened:
        yield opened
