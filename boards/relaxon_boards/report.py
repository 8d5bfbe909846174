"""Results of a build: from the tools' own reports to JSON, text and a table."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

from relaxon_hdl.families import find_family
from relaxon_isa import CONTRACT_VERSION, DataError

__all__ = [
    "Hop",
    "Placement",
    "Report",
    "digest_of",
    "read_placement",
    "read_synthesis",
    "regressions",
]

AREA_TOLERANCE, AREA_SLACK = 0.02, 8
"""A resource may grow by this share, or by this many, before it is a regression."""

FMAX_TOLERANCE = 0.10
"""Fmax may fall by this share: about what seeds differ by."""


@dataclass(frozen=True)
class Hop:
    """A step of a path: a cell's own delay, or a net's."""

    kind: str
    name: str
    delay_ns: float


@dataclass(frozen=True)
class Placement:
    """One seed's result."""

    seed: int
    fmax_mhz: float
    resources: dict[str, tuple[int, int]]
    path: tuple[Hop, ...]


@dataclass(frozen=True, kw_only=True)
class Report:
    """A build, as it is kept in ``report.json``.

    ``resources`` are (used, available), the latter 0 where nothing says. ``fmax_mhz`` is that of
    the seed that was kept; None after synthesis alone. ``contract`` is the contract's version
    (`relaxon_isa.config.CONTRACT_VERSION`) that was built. ``digest`` is `digest_of` the bitstream.
    """

    board: str
    device: str
    preset: str
    fingerprint: str
    contract: int
    p: int
    clock_mhz: float
    baud: int
    tools: dict[str, str]
    resources: dict[str, tuple[int, int]]
    fmax_mhz: float | None = None
    seed: int | None = None
    seeds: dict[str, float] = field(default_factory=dict)
    critical_path: tuple[Hop, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    bitstream: str = ""
    digest: str = ""
    note: str = ""

    @property
    def outdated(self) -> bool:
        """Whether the contract has changed since: other gateware would be built now."""
        return self.contract < CONTRACT_VERSION

    @property
    def passed(self) -> bool:
        """Whether place and route reaches the array's clock."""
        return self.fmax_mhz is not None and self.fmax_mhz >= self.clock_mhz

    @property
    def median(self) -> float:
        """Median of Fmax over the seeds, in MHz."""
        return median(self.seeds.values())

    def to_json(self) -> str:
        values = asdict(self) | {"passed": self.passed}
        return json.dumps(values, indent=2) + "\n"

    @classmethod
    def read(cls, path: Path) -> "Report":
        """Inverse of `to_json`. Raises DataError."""
        try:
            values = json.loads(path.read_text())
            values.pop("passed")
            values["critical_path"] = tuple(Hop(**hop) for hop in values["critical_path"])
            values["resources"] = {k: tuple(v) for k, v in values["resources"].items()}
            return cls(**values)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path}: not a build report ({error})") from error

    def text(self) -> str:
        """The report as text for people."""
        lines = [
            f"{self.board}: {self.device}, preset {self.preset} ({self.p} x {self.p} cells), "
            f"fingerprint {self.fingerprint}, contract {self.contract}",
            f"clock {self.clock_mhz:g} MHz, {self.baud} baud",
        ]
        if self.fmax_mhz is None:
            lines.append("synthesised only: no place and route, no timing, no bitstream")
        else:
            verdict = "meets" if self.passed else "MISSES"
            lines.append(
                f"Fmax {self.fmax_mhz:.2f} MHz, {verdict} the target of {self.clock_mhz:g} MHz "
                f"(seed {self.seed})"
            )
        if len(self.seeds) > 1:
            values = list(self.seeds.values())
            lines.append(
                f"Fmax over {len(values)} seeds: minimum {min(values):.2f}, "
                f"median {self.median:.2f}, maximum {max(values):.2f} MHz"
            )
        for name, (used, available) in self.resources.items():
            share = f" of {available} ({used / available:.0%})" if available else ""
            lines.append(f"{name:6}{used:7}{share}")
        lines += [f"{name}: {version}" for name, version in self.tools.items()]
        if self.seconds:
            lines.append(
                "seconds: " + ", ".join(f"{name} {s:.0f}" for name, s in self.seconds.items())
            )
        if self.critical_path:
            total = sum(hop.delay_ns for hop in self.critical_path)
            lines.append(f"critical path, {total:.2f} ns:")
            lines += [f"  {h.delay_ns:6.2f}  {h.kind:10}{h.name}" for h in self.critical_path]
        if self.bitstream:
            lines.append(f"bitstream: {self.bitstream}")
        if self.note:
            lines.append(f"note: {self.note}")
        return "\n".join(lines) + "\n"


def read_placement(path: Path, family: str, seed: int) -> Placement:
    """From the JSON report of nextpnr. Fmax is that of the slowest clock."""
    try:
        report = json.loads(path.read_text())
        clock, fmax = min(
            ((name, entry["achieved"]) for name, entry in report["fmax"].items()),
            key=lambda item: item[1],
        )
        paths = (
            p
            for p in report["critical_paths"]
            if all(p[end].endswith(f" {clock}") for end in ("from", "to"))
        )
        hops = tuple(map(_hop, next(paths, {"path": []})["path"]))
        used = report["utilization"]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path}: not a report of nextpnr ({error})") from error
    resources = {
        label: (used[name]["used"], used[name]["available"])
        for label, name in find_family(family).resources.items()
        if name in used
    }
    return Placement(seed, fmax, {k: v for k, v in resources.items() if v[1]}, hops)


def _hop(entry: dict) -> Hop:
    """Cells and nets carry the design's names, as far as synthesis kept them."""
    if entry["type"] == "routing":
        return Hop("net", entry["net"], entry["delay"])
    return Hop(entry["type"], f"{entry['to']['cell']}.{entry['to']['port']}", entry["delay"])


def read_synthesis(path: Path, family: str, capacity: dict[str, int]) -> dict[str, tuple[int, int]]:
    """Counts from yosys' ``stat -json`` that place and route does not give."""
    try:
        cells = json.loads(path.read_text())["design"]["num_cells_by_type"]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path}: not yosys' statistics ({error})") from error
    return {
        label: (
            sum(n for prefix in prefixes for cell, n in cells.items() if cell.startswith(prefix)),
            capacity.get(label, 0),
        )
        for label, prefixes in find_family(family).cells.items()
    }


def digest_of(bitstream: Path) -> str:
    """16 hex digits over a bitstream."""
    return hashlib.sha256(bitstream.read_bytes()).hexdigest()[:16]


def regressions(new: Report, old: Report) -> list[str]:
    """Descriptions of each figure that is worse than a baseline by more than the tolerances."""
    found = []
    for name, (was, _) in old.resources.items():
        used, _ = new.resources.get(name, (0, 0))
        if used > max(was * (1 + AREA_TOLERANCE), was + AREA_SLACK):
            found.append(f"{name}: {used}, was {was}")
    if old.fmax_mhz:
        fmax = new.fmax_mhz or 0.0
        if fmax < max(old.clock_mhz, old.fmax_mhz * (1 - FMAX_TOLERANCE)):
            found.append(f"Fmax: {fmax:.2f} MHz, was {old.fmax_mhz:.2f} MHz")
    return found
