"""What slipped through tests once, by kind, and the test that each kind is caught by now.

A study of 160 changes of the gateware, the contract and the host found seven kinds of hole in the
tests, A to G, and some more about the contract, the golden model and the host. Each entry is a
change of one of these kinds (`faults.Fault`) and the test that has to fail with it. Without names
all are tried; `tests/test_holes.py` tries a few of the quick ones each day.
"""

import argparse
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from faults import Fault, faulty

__all__ = ["HOLES", "Hole", "is_caught"]

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 1200
"""After so long a test has noticed: it does not end."""
KINDS = {
    "A": "high bits of an instruction's fields",
    "B": "RUN from another row than 0",
    "C": "RESET or an abort amid a program",
    "D": "registers that nobody reads back",
    "E": "WAITING told too early",
    "F": "last addresses of memories",
    "G": "the link amid a frame",
    "contract": "codes, bounds and checks that all sides import",
    "golden": "the golden model's counters",
    "host": "the host's end of the link",
}


class Hole(NamedTuple):
    """A change of one of `KINDS`, and the test that catches it, as pytest names it.

    ``slow``: the test builds a board or a simulator of the machine.
    """

    kind: str
    fault: Fault
    test: str
    slow: bool = False


def _isa(module: str, right: str, wrong: str) -> Fault:
    return Fault(module, right, wrong, "relaxon_isa")


def _host(right: str, wrong: str) -> Fault:
    return Fault("link", right, wrong, "relaxon_device")


RANGES = "tests/system/test_ranges.py"
HOLES = {
    "a loop's step cut to 8 bits": Hole(
        "A",
        Fault("sequencer", "loops.by.eq(repeat.step)", "loops.by.eq(repeat.step[:8])"),
        f"{RANGES}::test_every_field_over_its_range[default]",
        slow=True,
    ),
    "a loop's count cut to 8 bits": Hole(
        "A",
        Fault("sequencer", "loops.count.eq(loop.count)", "loops.count.eq(loop.count[:8])"),
        f"{RANGES}::test_every_field_over_its_range[default]",
        slow=True,
    ),
    "an EMIT's count cut to 8 bits": Hole(
        "A",
        Fault("transfer", 'wait["count"], emit["count"])', 'wait["count"], emit["count"][:8])'),
        f"{RANGES}::test_every_field_over_its_range[default]",
        slow=True,
    ),
    "SAMPLE takes 256 bytes at most": Hole(
        "A",
        Fault("command", "(Field.COUNT_HIGH, self.count[8:])", "(Field.COUNT_HIGH, Signal(8))"),
        "tests/hdl/test_command.py",
    ),
    "RUN always from row 0": Hole(
        "B",
        Fault("command", "core.run.payload.row.eq(arguments.index)", "core.run.payload.row.eq(0)"),
        "tests/hdl/test_session.py",
    ),
    "an abort leaves loops open": Hole(
        "C",
        Fault("sequencer", "loops.clear.eq(1)", "loops.clear.eq(0)"),
        "tests/formal/test_reset.py::test_an_aborted_program_ends_and_leaves_nothing",
    ),
    "a byte waits before the command unit over RESET": Hole(
        "C",
        Fault("buffers", "full = Signal()", "full = Signal(reset_less=True)"),
        "tests/formal/test_reset.py::test_a_reset_command_unit_is_a_new_one[default]",
    ),
    "an aborted program's EMIT is heard after RESET": Hole(
        "C",
        Fault("command", "o.valid.eq(emit.valid & ~dropping)", "o.valid.eq(emit.valid)"),
        "tests/formal/test_command.py",
    ),
    "stalls in WAIT are not counted": Hole(
        "D",
        Fault("core", "events.wait_stalls.eq(stalled)", "events.wait_stalls.eq(0)"),
        "tests/hdl/test_stalls.py::test_stalls[long]",
    ),
    "an early READ has its lower half twice": Hole(
        "D",
        Fault(
            "access", "registers.watched_high if half else", "registers.watched_low if half else"
        ),
        "tests/cosim/test_access.py -k early",
    ),
    "an early READ of several registers": Hole(
        "D",
        Fault("command", " & (arguments.count == 1)", ""),
        "tests/hdl/test_command.py -k some_reads",
    ),
    "an early record begins within an EMIT": Hole(
        "E",
        Fault("command", "self.early & ~self.emitting", "self.early"),
        "tests/formal/test_command.py",
    ),
    "drops of the link are counted as errors": Hole(
        "D",
        Fault(
            "core", "events.link_drops.eq(bus.link_drop)", "events.link_drops.eq(bus.link_error)"
        ),
        "tests/hdl/test_stalls.py::test_what_the_link_drops_is_counted_apart[short]",
    ),
    "WAITING while a byte is in the command unit": Hole(
        "E",
        Fault(
            "command",
            "waiting & ~link.from_host.valid & ~host.valid",
            "waiting & ~link.from_host.valid",
        ),
        "tests/formal/test_waiting.py",
    ),
    "WAITING while a byte leaves the ring": Hole(
        "E",
        Fault("link", "port.waiting & rx_ring.empty", "port.waiting"),
        "tests/formal/test_waiting.py",
    ),
    "the second copy of S lacks its last words": Hole(
        "F",
        Fault(
            "planes",
            "copy.w_en.eq(self.w_en)",
            'copy.w_en.eq(self.w_en & ((port == "a") | (self.w_addr != 23)))',
        ),
        "tests/cosim/test_planes.py",
    ),
    "RESET forgets what is in flight": Hole(
        "G",
        Fault("link", "(acked, write_at, level)", "(acked, write_at)"),
        "tests/formal/test_link.py::test_engine[up5k]",
    ),
    "RESET forgets that the window was shut": Hole(
        "G",
        Fault(
            "link",
            "(self.expected, read_at, room, have, shut)",
            "(self.expected, read_at, room, have)",
        ),
        "tests/formal/test_link.py::test_engine[up5k]",
    ),
    "a frame is acted upon while a header is made": Hole(
        "G",
        Fault("link", 'm.State("CHECK"), m.If(~sender.making_header)', 'm.State("CHECK"), m.If(1)'),
        "tests/formal/test_link.py::test_engine[up5k]",
    ),
    "codes of DONE and ERROR exchanged": Hole(
        "contract",
        _isa("link", "DONE = 0x83\n    ERROR = 0x84", "DONE = 0x84\n    ERROR = 0x83"),
        "tests/host/test_session.py::test_host_plays_the_session",
    ),
    "the CRC starts at 0": Hole(
        "contract",
        _isa("link", "crc_hqx(data, 0xFFFF)", "crc_hqx(data, 0)"),
        "tests/host/test_session.py::test_host_plays_the_session",
    ),
    "tiles of the integral mode may overlap": Hole(
        "contract",
        _isa("check", "met += [tile + 1 for tile in met]", "met += []"),
        "tests/isa/test_refusals.py",
    ),
    "the integral mode's memory beyond the last tile": Hole(
        "contract",
        _isa("check", "config.weight_depth - learn.integral", "config.weight_depth"),
        "tests/isa/test_refusals.py",
    ),
    "an EMIT of 65,536 bytes": Hole(
        "contract",
        _isa("check", "emit_bytes(config, emit) < 1 << 16", "emit_bytes(config, emit) <= 1 << 16"),
        "tests/isa/test_refusals.py",
    ),
    "one saturation an instruction": Hole(
        "golden",
        Fault(
            "golden/neuron",
            "state.registers.count(Register.STATE_SATURATIONS, len(groups))",
            "state.registers.count(Register.STATE_SATURATIONS, min(1, len(groups)))",
            "relaxon_sim",
        ),
        "tests/golden/test_programs.py",
        slow=True,
    ),
    "no backoff": Hole(
        "host",
        _host("wait * (1 << self._tries)", "wait"),
        "tests/host/test_link.py::test_silence_is_waited_for_longer_each_time_up_to_two_seconds",
    ),
    "frames into a sliver of room": Hole(
        "host",
        _host("end == start or room < min(end - start, worth)", "end == start"),
        "tests/host/test_link.py::test_no_frame_is_made_for_a_sliver_of_room",
    ),
    "a repetition is not acknowledged": Hole(
        "host",
        _host("self._owe |= bool(payload)", "self._owe |= bool(payload) and not ahead"),
        "tests/host/test_link.py::test_a_frame_of_long_ago_is_no_gap_and_is_acknowledged_again",
    ),
    "what is far behind is taken for a gap": Hole(
        "host",
        _host("if ahead >= 0x8000:", "if ahead >= 0xFF00:"),
        "tests/host/test_link.py::test_a_frame_of_long_ago_is_no_gap_and_is_acknowledged_again",
    ),
}


def is_caught(hole: Hole) -> bool:
    """Whether a hole's test fails with its change. Raises RuntimeError if pytest cannot run it."""
    with faulty(hole.fault) as environment, suppress(subprocess.TimeoutExpired):
        ran = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider",
             "-o", "pythonpath=tests", *hole.test.split()],
            env={**environment, "PYTHONDONTWRITEBYTECODE": "1"},
            cwd=ROOT, capture_output=True, text=True, check=False, timeout=SECONDS,
        )  # fmt: skip
        if ran.returncode not in (0, 1):
            raise RuntimeError(f"{hole.test} does not run:\n{ran.stdout[-2000:]}{ran.stderr}")
        return ran.returncode == 1
    return True  # it does not end


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="entries; by default all")
    parser.add_argument("--quick", action="store_true", help="without those that build boards")
    parser.add_argument("--list", action="store_true", help="list them, run nothing")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(HOLES):
        parser.error(f"no entry {', '.join(map(repr, sorted(unknown)))}: see --list")
    missed, kind = 0, ""
    for name in arguments.names or HOLES:
        hole = HOLES[name]
        if arguments.quick and hole.slow:
            continue
        if hole.kind != kind:
            kind = hole.kind
            print(f"{kind}: {KINDS[kind]}")
        if arguments.list:
            print(f"  {name}: {hole.test}")
            continue
        started = time.monotonic()
        caught = is_caught(hole)
        missed += not caught
        said = "caught" if caught else "NOT CAUGHT"
        print(f"  {name}: {said} by {hole.test} ({time.monotonic() - started:.0f} s)", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.exit(main())
