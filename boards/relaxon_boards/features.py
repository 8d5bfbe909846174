"""What a feature of the machine costs in area and Fmax: ``python -m relaxon_boards.features``.

A board is built as it is, then without each of the features that it has and with each that it
lacks.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from relaxon_isa import FEATURES, ConfigError, ToolError, preset

from .build import build
from .catalogue import find_board

__all__ = ["variants"]


def variants(board: str) -> dict[str, dict[str, int]]:
    """What to build of a board, and how it differs from its preset."""
    config = find_board(board).config
    found: dict[str, dict[str, int]] = {"as it is": {}}
    for name, feature in FEATURES.items():
        # A table is a block RAM a lane, no logic to speak of; what makes programs overlap or walk
        # is studied apart.
        if name == "table" or name not in preset("large").features:
            continue
        number, has = feature.number, name in config.features
        value = getattr(preset("large"), number)
        found[f"{'without' if has else 'with'} {name}"] = {
            number: type(value)() if has else value  # 0 or False
        }
    return found


def main() -> None:
    """Build and print the table, a row as it is done."""
    parser = argparse.ArgumentParser(prog="python -m relaxon_boards.features", description=__doc__)
    parser.add_argument("board", nargs="?", default="ulx3s-25f")
    parser.add_argument("--directory", type=Path, default=Path("build/features"))
    arguments = parser.parse_args()
    try:
        wanted = variants(arguments.board)
    except ConfigError as error:
        parser.error(str(error))
    for what, changes in wanted.items():
        board = replace(find_board(arguments.board), changes=changes)
        try:
            report = build(board, arguments.directory / what.replace(" ", "-"))
        except ToolError as error:
            print(f"| {what} | {error} |", flush=True)
            continue
        used = ", ".join(f"{name} {number}" for name, (number, _) in report.resources.items())
        print(f"| {what} | {used} | {report.fmax_mhz:.1f} MHz |", flush=True)


if __name__ == "__main__":
    main()
