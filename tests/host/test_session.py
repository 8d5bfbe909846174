"""The host speaks as the transcripts say, and with no two codes exchanged does it so.

The gateware's side is tests/hdl/test_session.py.
"""

import ast
import importlib.util
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import SourceFileLoader
from itertools import combinations
from pathlib import Path

import pytest

import relaxon_isa
from support import session

ISA = Path(relaxon_isa.__path__[0])
CODES = {
    "Command": "link", "Record": "link", "Control": "link", "BoardError": "link",
    "Space": "memory", "Register": "memory", "Pack": "instructions", "EmitKind": "instructions",
    "Opcode": "instructions",
}  # fmt: skip
"""Every enumeration whose values travel, and its module."""
OF_MEMORY = {"STORE", "CHECK", "RECALL", "INDICES", "ORDER", "WRONG", "MEMORY", "ANSWER"}
"""What only the machine with a sample memory has, and its transcript."""


def members(enumeration: str) -> list[str]:
    module = ast.parse((ISA / f"{CODES[enumeration]}.py").read_text())
    return [node.targets[0].id for node in _assignments(module, enumeration)]


def _assignments(module: ast.Module, enumeration: str) -> list:
    body = next(
        node.body
        for node in module.body
        if isinstance(node, ast.ClassDef) and node.name == enumeration
    )
    return [node for node in body if isinstance(node, ast.Assign)]


class Exchanged(SourceFileLoader, MetaPathFinder):
    """Imports a module of the contract with two codes exchanged."""

    def __init__(self, enumeration: str, pair: tuple[str, str]):
        name = CODES[enumeration]
        super().__init__(f"relaxon_isa.{name}", str(ISA / f"{name}.py"))
        self.enumeration, self.pair = enumeration, pair

    def find_spec(self, fullname, path, target=None):
        if fullname == self.name:
            return importlib.util.spec_from_file_location(fullname, self.path, loader=self)
        return None

    def get_code(self, fullname):
        module = ast.parse(self.get_data(self.path))
        found = {node.targets[0].id: node for node in _assignments(module, self.enumeration)}
        a, b = (found[name] for name in self.pair)
        a.value, b.value = b.value, a.value
        return compile(module, self.path, "exec")


def ours(name: str) -> bool:
    return name.partition(".")[0] in ("relaxon_isa", "relaxon_device")


@pytest.fixture
def fresh(monkeypatch):
    """Imports the contract and the device anew, and puts the old modules back afterwards."""
    for name in filter(ours, list(sys.modules)):
        monkeypatch.delitem(sys.modules, name)
    yield monkeypatch
    for name in filter(ours, list(sys.modules)):
        del sys.modules[name]


@pytest.mark.parametrize("transcript", session.MACHINES)
def test_host_plays_the_session(transcript, fresh):
    unaltered = Exchanged("Command", ("WRITE", "WRITE"))  # by the way that the altered ones come
    fresh.setattr(sys, "meta_path", [unaltered, *sys.meta_path])
    session.play_to_host(transcript, fresh)


@pytest.mark.parametrize(
    ("enumeration", "pair"),
    [(name, pair) for name in CODES for pair in combinations(members(name), 2)],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_two_codes_exchanged_are_heard(enumeration, pair, fresh):
    fresh.setattr(sys, "meta_path", [Exchanged(enumeration, pair), *sys.meta_path])
    transcript = "session" if OF_MEMORY.isdisjoint(pair) else "session_memory"
    try:
        session.play_to_host(transcript, fresh)
    except Exception as error:  # each way to fail is one
        print(repr(error))
        return
    pytest.fail("the host speaks as if nothing had happened")
