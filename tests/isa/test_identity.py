"""A fingerprint stands for a configuration and for the contract's text."""

import inspect
import subprocess
import sys

import pytest

from relaxon_isa import document, identity
from relaxon_isa.errors import ConfigError
from relaxon_isa.identity import fingerprint
from relaxon_isa.presets import PRESETS, preset


@pytest.fixture(autouse=True)
def uncached():
    yield
    for function in (identity.fingerprint, document._source, document._members):
        function.cache_clear()


def test_machines_differ():
    assert len({fingerprint(config) for config in PRESETS.values()}) == len(PRESETS)


@pytest.mark.parametrize("page", ["isa.md", "memory-map.md"])
def test_a_letter_of_the_contract_changes_it(page, monkeypatch):
    config = preset("default")
    before = fingerprint(config)
    contract = identity.contract

    def altered(machines, shown):
        pages = contract(machines, shown)
        return pages | {page: pages[page].replace(" the ", " a ", 1)}

    monkeypatch.setattr(identity, "contract", altered)
    identity.fingerprint.cache_clear()
    assert fingerprint(config) != before


def test_it_sees_docstrings_tables_and_cycles():
    """Of each kind of statement, one that only the contract's text has."""
    text = "".join(document.contract({"": preset("up5k")}, "").values())
    assert "Keys advance by ``key = mix(key)``" in text
    assert "| 3 | `RELU` | max(u, 0), saturated" in text
    assert "DONE      0x83" in text
    assert "| NEXT | opcode (3), until (1), sweep (1), step (16), body (8) |" in text
    assert "|  | 13 | 6 |" in text  # the cycles that its MAC and LEARN drain


def test_other_presets_do_not_change_it(monkeypatch):
    before = fingerprint(preset("default"))
    monkeypatch.setitem(PRESETS, "another", preset("up5k").replace(p=3))
    identity.fingerprint.cache_clear()
    assert fingerprint(preset("default")) == before


def test_without_docstrings_it_is_the_same():
    code = (
        "from relaxon_isa.identity import fingerprint; from relaxon_isa.presets import preset;"
        "print(fingerprint(preset('default')))"
    )
    run = subprocess.run([sys.executable, "-OO", "-c", code], capture_output=True, text=True)
    assert run.stdout.strip() == fingerprint(preset("default")), run.stderr


def test_without_the_sources_it_is_refused(monkeypatch):
    def lost(module):
        raise OSError

    document._source.cache_clear()
    identity.fingerprint.cache_clear()
    monkeypatch.setattr(inspect, "getsource", lost)
    with pytest.raises(ConfigError, match=r"with its \.py files"):
        fingerprint(preset("default"))
