"""Seeded faults in the gateware and in the golden model's compiled engine, and whether the random
programs of CI catch them.

Each fault replaces a piece of source in a copy of its package; a board, or the engine, is compiled
from the copy, and programs run on it until one differs from the golden model. A fault that none of
them shows is a gap in `random_programs`, not in the list. With ``--with self-test`` it is
`relaxon info` that has to notice those of the gateware.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import platformdirs

from relaxon.cli import DIFFERENT

__all__ = [
    "ENGINE_FAULTS",
    "FAST_FAULTS",
    "FAULTS",
    "KNOWN",
    "PROGRAMS",
    "Fault",
    "caught_at",
    "caught_by_self_test",
    "faulty",
    "faulty_source",
]

TESTS = Path(__file__).resolve().parent
PROGRAMS = 200
"""As many as run on the good board in CI."""


class Fault(NamedTuple):
    """A piece of a module's source, and what stands in its place.

    ``package`` is the module's, ``machine`` the options of the campaign that runs it.
    """

    module: str
    right: str
    wrong: str
    package: str = "relaxon_hdl"
    machine: str = "--backend=virtual"


FAULTS = {
    # The cell
    "tie towards zero": Fault("synapse", "& ~exact[-1])", "& exact[-1])"),
    "weight wraps at the bottom": Fault(
        "synapse", "inside.any() & ~inside.all()", "inside.any() & ~value[-1]"
    ),
    "decay twice at one position": Fault(
        "synapse", "q - config.decay_shift for", "q - config.decay_shift + (q == high_q) for"
    ),
    "integral gain rounds half up": Fault(
        "synapse", "nearest(live, gain)", "((live + (1 << (gain - 1))) >> gain)"
    ),
    "integral memory rounds half up": Fault(
        "synapse",
        "nearest(away, config.integral_shift)",
        "((away + (1 << (config.integral_shift - 1))) >> config.integral_shift)",
    ),
    # The lane
    "gate lets minus one pass": Fault("neuron", "all_above & below", "all_above"),
    "table index wraps": Fault("neuron", "uneven(value, bits - 1)", "uneven(value, bits)"),
    "change judged without its carry": Fault(
        "neuron", "start, 0) + part) + part_up)", "start, 0) + part))"
    ),
    "saturation counted below a ReLU": Fault("neuron", "& ~(value_sign & control.positive)", ""),
    # The array
    "one tail lane too many": Fault("array", "(tail > k)", "(tail >= k)"),
    "gate's address a cycle early": Fault(
        "array", "into(pipes.gate, when.gate_address)", "into(pipes.gate, when.gate_address - 1)"
    ),
    "flips lost when transposed": Fault(
        "array",
        "Sign.MINUS) ^ issue.flip",
        "Sign.MINUS) ^ (issue.flip & ~(self.is_mac & mac.transposed))",
    ),
    "flag stale at a program's start": Fault(
        "array", "m.If(self.clear_flag)", "m.If(self.clear_flag & ~self.flag)"
    ),
    "dither rotated wrong": Fault("array", "rotl(hasher.v, 5 * c)", "rotl(hasher.v, 3 * c)"),
    # Memories and chance
    "second port's top address bit lost": Fault(
        "planes", 'f"{port}_addr")', 'f"{port}_addr")[: -1 if port == "b" else None]'
    ),
    "dither's carries lost": Fault("hash", "first + STIR", "first ^ STIR"),
    # Sequencer, transfer, counters
    "loop index not back at 0": Fault("sequencer", "index.eq(0)", "index.eq(index)"),
    "second port's turn too short": Fault(
        "nest", "group_ends, extra == 0,", "group_ends, extra <= 1,"
    ),
    "arg max takes the last of equals": Fault("transfer", "(word > best)", "(word >= best)"),
    "carry into the upper half lost": Fault("counters", "carry.eq(total[HALF])", "carry.eq(0)"),
    "counts though told not to": Fault("counters", "(always | self.counting)", "1"),
}


def _fast(module: str, right: str, wrong: str) -> Fault:
    return Fault(module, right, wrong, machine="--preset=fast4")


FAST_FAULTS = {
    # Walks over lists
    "walk: a row too many": _fast(
        "nest", "Mux(self.lists, self.listed - 1,", "Mux(self.lists, self.listed,"
    ),
    "walk: the tile steps with the list": _fast(
        "nest", "Mux(innermost, 0,", "Mux(innermost, steps_by.tile,"
    ),
    "walk: outer levels start a list behind": _fast(
        "nest", "steps_by.tile + self.dense", "steps_by.tile"
    ),
    "walk: the list goes on in the next group": _fast(
        "array", "Mux(issue.spent[0], 0, now + 1)", "now + 1"
    ),
    "walk: weights written where a list has ended": _fast(
        "array", "~self.entries_come | (self.values[c] != 0)", "1"
    ),
    "walk: one column's groups for all": _fast("array", "self.groups[c], 0)", "self.groups[0], 0)"),
    "walk: values as of a tile before": _fast(
        "array", "entries[when.operand], a_data", "entries[when.operand - 1], a_data"
    ),
    # What comes along where instructions overlap
    "held: a walk's as of others": _fast("schedule", "late = stage + WALK", "late = stage"),
    "held: for longer than the next nest waits": _fast("schedule", "    GAP = 4", "    GAP = 5"),
    "held: from a cycle after the next row": _fast("schedule", "    FIRST = 3", "    FIRST = 4"),
    "a walk's first group does not set the flag anew": _fast(
        "array", 'self.enter(m, "starts_flag", starts, happens=True)', "starts"
    ),
    "no drain: the next one a cycle late": _fast("sequencer", "over & no_drain", "over & 0"),
    # Samples taken ahead
    "ahead: settles for a cycle too many": _fast(
        "transfer", "beat == AHEAD_CYCLES - 2", "beat == AHEAD_CYCLES - 1"
    ),
    "ahead: every neuron of a group has the first one's target": _fast(
        "transfer", "Cat(place == self.label", "Cat(places[0] == self.label"
    ),
    "answer: the lane of a cycle ago": _fast("transfer", "lanes[2])", "lanes[1])"),
    "answer: right without a label": _fast(
        "transfer", "self.labelled & Mux(maximum", "~self.labelled | Mux(maximum"
    ),
    "ahead: the fetch goes on over a stall": _fast(
        "sequencer", "with m.If(self.lacking):", "with m.If(0):"
    ),
}
"""Of a machine whose instructions overlap and walk over lists."""


def _engine(right: str, wrong: str, preset: str = "") -> Fault:
    machine = "--engine=compiled" + f" --preset={preset}" * bool(preset)
    return Fault("compiled/engine", right, wrong, "relaxon_sim", machine)


ENGINE_FAULTS = {
    # MAC
    "engine: trips' signs forgotten": _engine(
        "run * p, trip.sign, place", "run * p, np.int64(1), place"
    ),
    "engine: all lanes of a tile meet one line": _engine(
        "starts[j] = places[tile, 0] + lanes[j] * places[tile, across]",
        "starts[j] = places[tile, 0]",
    ),
    "engine: only the last part of a panel's long sum": _engine(
        "            acc[e] += np.int64(short[e])\n", "            acc[e] = np.int64(short[e])\n"
    ),
    "engine: a long LEARN's last term lost": _engine(
        "terms.shape[1], count, 1, 0,", "terms.shape[1], count - 1, 1, 0,"
    ),
    "engine: dots stay in one line": _engine("                start += pitch\n", ""),
    "engine: judge takes the tolerance for a change": _engine("moved > m.tol", "moved >= m.tol"),
    "engine: gate lets minus one pass": _engine(
        "inside = -one\n        elif m.gating", "inside = -one - 1\n        elif m.gating"
    ),
    # LEARN
    "engine: ties towards zero in 64 bits": _engine(
        "x += half + (x >> 63)  # halves", "x += half - 1 + (x >> 63)  # halves"
    ),
    "engine: negative ties up in 32 bits": _engine("down(x, np.int32(31))", "np.int32(0)"),
    "engine: lines of columns as if of rows": _engine(
        "places[tile, 2 if by_row else 1]", "places[tile, 2]"
    ),
    "engine: dither rotated wrong": _engine("rotl(v, 5 * column & 31)", "rotl(v, 3 * column & 31)"),
    "engine: saturation counted a column": _engine(
        "if marks[tile] != marks[len(marks) - 1]:", "if True:"
    ),
    "engine: products of the integral mode not saturated": _engine(
        "u = min(max(half_away(acc[row], m.q), low), high) - memory",
        "u = half_away(acc[row], m.q) - memory",
    ),
    # Transfers and the sequencer
    "engine: arg max takes the last of equals": _engine(
        "value > best_value", "value >= best_value"
    ),
    "engine: loop index not back at 0": _engine("x[cpu.depth] = 0", "x[cpu.depth] += 0"),
    "engine: hidden fetches counted": _engine("m.fetch - cpu.hidden\n", "m.fetch\n", "fast4"),
}
KNOWN = FAULTS | FAST_FAULTS | ENGINE_FAULTS


def faulty_source(fault: Fault) -> str:
    """The text of a fault's module, with it. Raises RuntimeError if the source has changed."""
    package = import_module(fault.package)
    source = Path(package.__path__[0], f"{fault.module}.py").read_text()
    if source.count(fault.right) != 1:
        raise RuntimeError(
            f"{fault.right!r} is {source.count(fault.right)} times in {fault.module}.py, "
            "wanted is once: adapt the fault to the source"
        )
    return source.replace(fault.right, fault.wrong)


@contextmanager
def faulty(fault: Fault) -> Iterator[dict[str, str]]:
    """An environment for commands whose machine has a fault. Nothing enters the user's cache."""
    from relaxon_hdl.tools.cache import cache_dir

    source = faulty_source(fault)
    original = import_module(fault.package).__path__[0]
    yowasp = platformdirs.user_cache_path("YoWASP", appauthor=False)
    with tempfile.TemporaryDirectory(prefix="relaxon-fault-") as directory:
        work = Path(directory)
        copy = work / fault.package
        shutil.copytree(original, copy, ignore=shutil.ignore_patterns("__pycache__"))
        (copy / f"{fault.module}.py").write_text(source)
        # A cache of its own for the board, with the user's for what no fault changes.
        (work / "cache" / "relaxon").mkdir(parents=True)
        (work / "cache" / "relaxon" / "runtime").symlink_to(cache_dir("runtime"))
        yield {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([directory, *sys.path]),
            "YOWASP_CACHE_DIR": os.environ.get("YOWASP_CACHE_DIR", str(yowasp)),
            "XDG_CACHE_HOME": str(work / "cache"),
        }


def caught_at(name: str, *, count: int = PROGRAMS, seed: int = 0) -> int | None:
    """The first program that shows a fault, from 1 on; None if ``count`` of them do not.

    Raises RuntimeError if no board comes of the fault.
    """
    with faulty(KNOWN[name]) as environment:
        command = [sys.executable, TESTS / "campaign.py", *KNOWN[name].machine.split()]
        command += [f"--count={count}", f"--seed={seed}"]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    found = re.search(r"^program of seed (\d+)", ran.stdout, re.MULTILINE)
    if found:
        return int(found[1]) - seed + 1
    if ran.returncode:
        raise RuntimeError(f"{name}: no difference, but an error:\n{ran.stderr}")
    return None


def caught_by_self_test(name: str) -> list[str]:
    """The parts of `relaxon info`'s self-test, on the preset default, that show a fault.

    Raises RuntimeError if no board comes of the fault.
    """
    with faulty(KNOWN[name]) as environment:
        command = [sys.executable, "-m", "relaxon", "info", "--backend=virtual", "--json"]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if ran.returncode not in (0, DIFFERENT):
        raise RuntimeError(f"{name}: no self-test, but an error:\n{ran.stderr}")
    parts = json.loads(ran.stdout)["self_test"]["parts"]
    return [part for part, result in parts.items() if result["wrong"] or result["stopped"]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="faults; by default all")
    parser.add_argument("--list", action="store_true", help="list the faults, run nothing")
    parser.add_argument("--count", type=int, default=PROGRAMS, help="programs to try")
    parser.add_argument("--seed", type=int, default=0, help="of the first program")
    parser.add_argument(
        "--with",
        dest="judge",
        choices=["programs", "self-test"],
        default="programs",
        help="what has to catch them",
    )
    arguments = parser.parse_args()
    known = FAULTS if arguments.judge == "self-test" else KNOWN
    names = arguments.names or list(known)
    if unknown := set(names) - set(known):
        parser.error(f"no fault {', '.join(map(repr, sorted(unknown)))}: see --list")
    missed = 0
    for number, name in enumerate(names, 1):
        fault = KNOWN[name]
        if arguments.list:
            print(f"{name}: {fault.module}.py, {fault.right!r} becomes {fault.wrong!r}")
            continue
        started = time.monotonic()
        if arguments.judge == "self-test":
            parts = caught_by_self_test(name)
            said = f"caught by {', '.join(parts)}" if parts else "NOT CAUGHT by the self-test"
            missed += not parts
        else:
            at = caught_at(name, count=arguments.count, seed=arguments.seed)
            said = f"caught by program {at}" if at else f"NOT CAUGHT by {arguments.count} programs"
            missed += at is None
        seconds = time.monotonic() - started
        print(f"{number}/{len(names)} {fault.module}: {name}: {said} ({seconds:.0f} s)", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
