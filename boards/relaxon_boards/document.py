"""docs/boards.md, from the reports of builds: ``python -m relaxon_boards.document [REPORT ...]``.

Run it in the repository's root. Reports that are named (``build/BOARD/report.json``) become the
committed ones, which are also the baselines: ``BOARD.json``, or ``BOARD.PRESET.json`` of another
machine than the board's own. Then the page is rendered from all of them.
"""

import argparse
import shutil
from pathlib import Path

from relaxon_isa import CONTRACT_VERSION, DataError
from relaxon_isa.identity import fingerprint
from relaxon_isa.presets import PRESETS

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
    found = list(map(Report.read, sorted((root / REPORTS).glob("*.json"))))
    reports = {report.board: report for report in found if _own(report)}
    head = [
        "| board | device | cells | clock | Fmax (minimum / median / maximum over seeds) | used |",
        "|---|---|---|---|---|---|",
    ]
    lines = head + [_row(reports[name]) for name in BOARDS if name in reports]
    if others := [report for report in found if not _own(report)]:
        lines += ["", "## Other machines on them", "", "`relaxon build NAME --preset PRESET`:", ""]
        lines += head + [_row(report) for report in others]
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


def _own(report: Report) -> bool:
    """Whether it is of the board's own machine."""
    board = BOARDS.get(report.board)
    return board is None or report.preset == board.preset


def _known(report: Report) -> bool:
    """Whether its machine is the preset of that name, or was before the contract changed."""
    machine = PRESETS.get(report.preset)
    return machine is not None and (report.outdated or report.fingerprint == fingerprint(machine))


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
    machine = "" if _own(report) else f" {report.preset}"
    return (
        f"| `{report.board}{machine}`{age} | {report.device} | {report.p} x {report.p} | "
        f"{report.clock_mhz:g} MHz{verdict} | {fmax} | {used} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reports", metavar="REPORT", nargs="*", type=Path, help="to be committed")
    try:
        for path in parser.parse_args().reports:
            report = Report.read(path)
            if not _known(report):
                raise DataError(f"{path}: its machine is no preset {report.preset}: not to be kept")
            name = report.board if _own(report) else f"{report.board}.{report.preset}"
            committed = REPORTS / f"{name}.json"
            REPORTS.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, committed)
        (Path("docs") / "boards.md").write_text(render())
    except (DataError, OSError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
