"""No function of the gateware is too long to read: at most 150 lines that are not blank."""

import ast
from pathlib import Path

HDL = Path(__file__).parents[2] / "hdl"
LONGEST = 150


def test_no_function_is_too_long():
    too_long = {}
    for path in HDL.rglob("*.py"):
        text = path.read_text()
        lines = text.splitlines()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = sum(map(bool, lines[node.body[0].lineno - 1 : node.end_lineno]))
                if length > LONGEST:
                    too_long[f"{path.relative_to(HDL)}: {node.name}"] = length
    assert not too_long
