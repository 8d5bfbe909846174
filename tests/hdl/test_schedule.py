"""Stages have names: what uses one computes none."""

import ast
from pathlib import Path

import relaxon_hdl

HOME = Path(relaxon_hdl.__file__).parent


def is_stage(node: ast.AST) -> bool:
    """Whether it is a stage of a `Schedule`, or the earliest or latest of several."""
    match node:
        case ast.Attribute(value=ast.Name(id="when") | ast.Attribute(attr="when")):
            return True
        case ast.Attribute(value=ast.Call(func=ast.Name(id="Schedule"))):
            return True
        case ast.Call(func=ast.Name(id="max" | "min"), args=several):
            return any(map(is_stage, several))
    return False


def computed(text: str) -> list[str]:
    """Sums and differences of stages."""
    return [
        ast.unparse(node)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.BinOp)
        and isinstance(node.op, ast.Add | ast.Sub)
        and (is_stage(node.left) or is_stage(node.right))
    ]


def test_it_sees_what_it_is_to_see():
    for text in ("when.new + 1", "1 + Schedule(c).read", "max(self.when.acc, 3) - 1", "x - when.a"):
        assert computed(text) == [text]
    assert not computed("into(place, when.memory_write) + 1")


def test_no_stage_is_computed_where_it_is_used():
    paths = [path for path in HOME.rglob("*.py") if path != HOME / "schedule.py"]
    assert len(paths) > 30
    for path in paths:
        assert not computed(path.read_text()), path
