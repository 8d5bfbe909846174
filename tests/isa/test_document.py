"""The documentation's tables are the contract's."""

from pathlib import Path

import pytest

from relaxon_isa.document import render

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", render())
def test_docs_are_as_the_contract_renders_them(name):
    expected = render()[name]
    assert (DOCS / name).read_text() == expected, "run: python -m relaxon_isa.document"
