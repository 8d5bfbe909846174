"""docs/boards.md, from the reports of builds: ``python -m relaxon_boards.document [REPORT ...]``.

Run it in the repository's root. Reports that are named (``build/BOARD/report.json``) become the
committed ones, which are also the baselines; then the page is rendered from all of them.
"""

import argparse
import shutil
from pathlib import Path

from relaxon_isa import CONTRACT_VERSION, DataError

from .catalogue import BOARDS
from .report import Report

__all__ = ["REPORTS", "render"]

REPORTS = Path("boards") / "reports"

HEAD = """\
<!-- Rendered from boards/reports by `python -m relaxon_boards.document`: change it there. -->

# Boards

Each is built by `relaxon build NAME`. The figures are those of the reports in `boards/reports`,
made by that command (with `--seeds` where more than one is shown); Fmax is nextpnr's estimate of
the slowest clock, not a measurement of silicon, and no bitstream has been run on hardware.
A row marked "before contract N" is of an older version of the contract: its board has not been
built again since, and what is built now may differ in area and Fmax.

"""


def render(root: Path = Path()) -> str:
    """The page, from the reports below a repository's root."""
    reports = {
        report.board: report for report in map(Report.read, sorted((root / REPORTS).glob("*.json")))
    }
    lines = [
        "| board | device | cells | clock | Fmax (minimum / median / maximum over seeds) | used |",
        "|---|---|---|---|---|---|",
    ]
    lines += [_row(reports[name]) for name in BOARDS if name in reports]
    lines += ["", "## Not built yet", ""]
    missing = [board for name, board in BOARDS.items() if name not in reports]
    lines += [
        f"* `{board.name}` ({board.title}, {board.device}): elaborates; no report yet"
        for board in missing
    ] or ["Nothing: all are above."]
    lines += ["", "## Clocks, lines, remarks", ""]
    lines += ["| board | USB chip | default baud | preset | remark |", "|---|---|--:|---|---|"]
    lines += [
        f"| `{b.name}` | {b.usb} | {b.baud} | {b.preset} | {b.experimental or b.by_hand} |"
        for b in BOARDS.values()
    ]
    lines += ["", "## Tools", ""]
    lines += [
        f"* `{name}`: " + ", ".join(f"{tool} {v}" for tool, v in reports[name].tools.items())
        for name in BOARDS
        if name in reports
    ]
    return HEAD + "\n".join(lines) + "\n"


def _row(report: Report) -> str:
    if report.fmax_mhz is None:
        fmax = "synthesis only"
    else:
        values = sorted(report.seeds.values())
        middle = f"{report.median:.1f}"
        fmax = f"{values[0]:.1f} / {middle} / {values[-1]:.1f} MHz, {len(values)} seed"
        fmax += "s" * (len(values) > 1)
    used = ", ".join(
        f"{name} {used}" + (f" of {available}" if available else "")
        for name, (used, available) in report.resources.items()
    )
    verdict = "" if report.passed or report.fmax_mhz is None else " (missed)"
    age = f" (before contract {CONTRACT_VERSION})" if report.outdated else ""
    return (
        f"| `{report.board}`{age} | {report.device} | {report.p} x {report.p} | "
        f"{report.clock_mhz:g} MHz{verdict} | {fmax} | {used} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reports", metavar="REPORT", nargs="*", type=Path, help="to be committed")
    try:
        for path in parser.parse_args().reports:
            committed = REPORTS / f"{Report.read(path).board}.json"
            REPORTS.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, committed)
        (Path("docs") / "boards.md").write_text(render())
    except (DataError, OSError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
