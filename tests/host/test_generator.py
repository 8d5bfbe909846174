"""Seeds mean the same numbers under every version of numpy.

The vectors were drawn by `numpy.random.default_rng` of numpy 2.4, whose methods
`relaxon.generator` repeats.
"""

import hashlib
import json
from pathlib import Path

import pytest

from relaxon.generator import Generator

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/generator.json").read_text())


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["seed"]))
def test_numbers_of_a_seed(vector: dict) -> None:
    """One stream for all kinds, in this order: halves of words are kept between them."""
    rng = Generator(vector["seed"])
    assert rng.integers(1, 1 << 32, 3).tolist() == vector["integers"]
    assert rng.integers(0, 10, 8).tolist() == vector["below ten"]
    assert rng.permutation(12).tolist() == vector["permutation"]
    uniform = rng.uniform(-0.3, 0.3, (3, 1))
    assert [value.hex() for value in uniform[:, 0].tolist()] == vector["uniform"]
    assert rng.permutation(5).tolist() == vector["permutation after"]
    order = rng.permutation(60000).astype("<i8").tobytes()
    assert hashlib.sha256(order).hexdigest()[:16] == vector["long permutation"]


def test_nothing_else_draws_numbers() -> None:
    """No module of the host asks numpy for numbers whose stream may change."""
    host = Path(__file__).parents[2] / "host"
    users = [path.name for path in host.rglob("*.py") if "np.random" in path.read_text()]
    assert users == ["generator.py"]


def test_integers_are_drawn_without_bias() -> None:
    """3 * 2**30 values leave a quarter of all words: those must be rejected, else the lower
    values come twice as often."""
    values = Generator(0).integers(0, 3 << 30, 3000)
    shares = [((values >> 30) == third).mean() for third in range(3)]
    assert all(abs(share - 1 / 3) < 0.03 for share in shares)
