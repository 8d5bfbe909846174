"""Hand-counted cycles of small programs, for golden model and gateware alike."""

from dataclasses import replace

from relaxon_isa.instructions import (
    Emit,
    EmitKind,
    Gating,
    Halt,
    Instruction,
    Judge,
    Learn,
    LearnLevel,
    Loop,
    Mac,
    MacLevel,
    Next,
    Pack,
    Skip,
    Wait,
)

__all__ = ["CYCLES"]

TWO_LEVELS = Mac(
    outer=(MacLevel(count=3, dst=1),), inner=(MacLevel(count=5, tile=1, src=1),), dst=20
)

# (name, preset, program, cycles {kind: number}, sweeps). A MAC drains 16 cycles on `default`
# (p = 4) and 13 on `up5k` (p = 2, one weight port), a LEARN 14 and 6.
CYCLES: list[tuple[str, str, list[Instruction], dict[str, int], int]] = [
    ("halt", "default", [Halt()], {"control": 3 + 1}, 0),
    # 4 rows: 6 cycles to fetch, 15 to issue. HALT's fetch hides behind the drain.
    ("mac", "default", [TWO_LEVELS, Halt()], {"control": 6 + 1, "mac": 15 + 16}, 0),
    (
        "two macs hide the second's fetch",
        "default",
        [TWO_LEVELS, TWO_LEVELS, Halt()],
        {"control": 6 + 1, "mac": 2 * (15 + 16)},
        0,
    ),
    ("bare mac", "default", [Mac(dst=9), Halt()], {"control": 4 + 1, "mac": 1 + 16}, 0),
    (
        "old and gate cost a port cycle each",
        "default",
        [Mac(dst=9, step=1, gating=Gating.IN01), Halt()],
        {"control": 4 + 1, "mac": 2 + 16},
        0,
    ),
    (
        "the change is judged against old",
        "default",
        [
            Mac(outer=(MacLevel(count=6, dst=1),), dst=9, judge=Judge.CHANGE, gating=Gating.IN01),
            Halt(),
        ],
        {"control": 5 + 1, "mac": 12 + 16},
        0,
    ),
    (
        "a value needs no old",
        "default",
        [Mac(outer=(MacLevel(count=6, dst=1),), dst=9, judge=Judge.VALUE), Halt()],
        {"control": 5 + 1, "mac": 6 + 16},
        0,
    ),
    (
        "ports hide behind terms",
        "default",
        [
            Mac(
                outer=(MacLevel(count=3, dst=1),),
                inner=(MacLevel(count=2, src=1),),
                dst=20,
                step=1,
                gating=Gating.IN01,
            ),
            Halt(),
        ],
        {"control": 6 + 1, "mac": 6 + 16},
        0,
    ),
    ("mac on up5k", "up5k", [TWO_LEVELS, Halt()], {"all": 6 + 15 + 13 + 1}, 0),
    (
        "learn",
        "default",
        [
            Learn(outer=(LearnLevel(count=2, tile=1),), inner=(LearnLevel(count=3, row=1, col=1),)),
            Halt(),
        ],
        {"control": 6 + 1, "learn": 6 + 14},
        0,
    ),
    (
        "integral reads and writes two words",
        "default",
        [Learn(outer=(LearnLevel(count=3, tile=2),), integral=True), Halt()],
        {"control": 5 + 1, "learn": 6 + 14},
        0,
    ),
    (
        "one port: two accesses a tile",
        "up5k",
        [Learn(outer=(LearnLevel(count=5, tile=1),)), Halt()],
        {"all": 5 + 10 + 6 + 1},
        0,
    ),
    (
        "a loop hides nothing",
        "default",
        # LOOP 3 + 1; twice: MAC's fetch 4, NEXT 1; then HALT's fetch 3 and itself.
        [Loop(count=2, sweep=True), Mac(dst=9), Next(), Halt()],
        {"control": 4 + 2 * (4 + 1) + 4, "mac": 2 * 17},
        2,
    ),
    (
        "settled at once",
        "default",
        [
            Loop(count=9, until=True, sweep=True),
            Mac(dst=9, judge=Judge.CHANGE, fresh=True),
            Next(),
            Halt(),
        ],
        {"control": 4 + 4 + 1 + 4, "mac": 17},
        1,
    ),
    (
        "passed over",
        "default",
        # LOOP 4, HALT 3 + 1: the flag is clear at RUN.
        [Loop(count=9, skip=Skip.UNLESS_FLAG, sweep=True), Mac(dst=9), Next(), Halt()],
        {"control": 4 + 4},
        0,
    ),
    (
        "wait: a cycle a byte and a value",
        "default",
        [Wait(count=5, pack=Pack.B2), Wait(count=3, pack=Pack.WORD), Halt()],
        {"control": 3 + 3 + 3 + 1, "wait": (5 + 2) + (3 + 6)},
        0,
    ),
    (
        "what is in flight is not waited for",
        "fast4",
        # 4 rows: 6 cycles to fetch. 15 to issue, none to drain: nothing in common; the next one's
        # fetch hides behind them. HALT waits for all: 14 + 2.
        [TWO_LEVELS, replace(TWO_LEVELS, dst=30), Halt()],
        {"control": 6 + 1, "mac": 15 + 15 + 16},
        0,
    ),
    (
        "group by group",
        "fast4",
        # Group 22 is written 16 cycles after the first's last tile. The second's third tile reads
        # it, a cycle after its issue, which is two after that of the first tile: 16 + 1 - 1 - 3.
        [TWO_LEVELS, replace(TWO_LEVELS, src=20, dst=30), Halt()],
        {"control": 6 + 1, "mac": 15 + 13 + 15 + 16},
        0,
    ),
    (
        "a given drain",
        "fast4",
        [Mac(dst=9, drain=20), Halt()],
        {"control": 4 + 1, "mac": 1 + 20},
        0,
    ),
    (
        "a fetch that shows",
        "fast4",
        # 1 cycle to issue hides one of the next one's 4.
        [Mac(dst=9), Mac(dst=10), Halt()],
        {"control": 4 + 3 + 1, "mac": 1 + 1 + 16},
        0,
    ),
    (
        "the flag is a register later",
        "fast4",
        [Mac(dst=9, judge=Judge.VALUE), Loop(count=1, skip=Skip.IF_FLAG), Next(), Halt()],
        {"control": 4 + 1 + 3 + 1 + 3 + 1, "mac": 1 + 17},
        0,
    ),
    (
        "emit: three bytes of header, four cycles to read, one a byte",
        "default",
        [
            Emit(count=3),
            Emit(kind=EmitKind.DRIVE, count=2),
            Emit(kind=EmitKind.ARGMAX, count=4),
            Emit(kind=EmitKind.COUNTERS, base=2, count=2),
            Halt(),
        ],
        {
            "control": 5 * 3 + 1,
            "emit": (3 + 12 + 6) + (3 + 8 + 12) + (3 + 16 + 2) + (3 + 8 + 8),
        },
        0,
    ),
]
