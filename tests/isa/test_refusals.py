"""The builder refuses what cannot run, and says why: every refusal, at its bound.

A walk over the source of the checks shows that none is left out.
"""

import ast
import inspect
from dataclasses import replace

import pytest

from relaxon_isa import check as module
from relaxon_isa.check import check
from relaxon_isa.config import ArrayConfig
from relaxon_isa.errors import ProgramError
from relaxon_isa.instructions import (
    Activation,
    Emit,
    EmitKind,
    Gating,
    Halt,
    Judge,
    Learn,
    LearnLevel,
    Loop,
    Mac,
    MacLevel,
    Next,
    Pack,
    Sign,
    Wait,
)
from relaxon_isa.memory import Register
from relaxon_isa.presets import preset

CONFIG = preset("default")
"""P = 4; 16 bits; 4096 tiles; 1024 and 256 groups; 512 rows; 4 levels; 1024 and 16 terms."""
SMALL = preset("up5k")
LONG = CONFIG.replace(state_depth=1 << 14)
SHORT = CONFIG.replace(state_bits=8, learn_shifts=(6, 12), decay_shift=4, dither_bits=4)


def many(instruction, times):
    return [instruction] * times


def inside(loops, *instructions):
    return [*loops, *instructions, *many(Next(), len(loops))]


def outer(count, **strides):
    return (MacLevel(count=count, **strides),)


def clip(up, one):
    return [Mac(shift=20, up=up, one=one, activation=Activation.CLIP11, dst=1)]


def integral(**fields):
    return [Learn(integral=True, **fields)]


GATHER = Mac(from_drive=True, to_drive=True, src=1)  # 4 products
RISE = Loop(count=3, step=1)
PAIR: dict = {"outer": outer(2, dst=1), "dst_x": 2}

BOUNDS = [
    # (what just can be, what just cannot, the reason)
    (
        [*many(Mac(dst=1), 255), Wait()],
        [*many(Mac(dst=1), 255), Wait(), Wait()],
        "takes 513 program rows; this machine has 512",
    ),
    # Loops
    ([Loop(count=1), Next()], [Loop(count=0), Next()], "count = 0: must be 1 to 65536 trips"),
    ([Loop(count=65536), Next()], [Loop(count=65537), Next()], "count = 65537: must be 1 to"),
    ([Loop(count=2, step=32767), Next()], [Loop(count=2, step=32768), Next()], "step = 32768"),
    ([Loop(count=2, step=-32768), Next()], [Loop(count=2, step=-32769), Next()], "step = -32769"),
    ([Loop(count=1), Next()], [Loop(count=1)], "the LOOP at instruction 0 has no NEXT"),
    (
        [Loop(count=1), Loop(count=1), Next(), Next()],
        [Loop(count=1), Loop(count=1)],
        "the LOOP at instruction 1 has no NEXT",
    ),
    (
        [Loop(count=1), Next()],
        [Loop(count=1), Next(), Next()],
        "instruction 2 (NEXT): NEXT without",
    ),
    (
        inside(many(Loop(count=2), 4)),
        inside(many(Loop(count=2), 5)),
        "5 LOOPs nested; this machine",
    ),
    (
        inside([Loop(count=9, until=True)], Mac(dst=1, judge=Judge.VALUE)),
        [Mac(dst=1, judge=Judge.VALUE), Loop(count=9, until=True), Mac(dst=1), Next()],
        "no MAC in its body judges",
    ),
    (inside([RISE], Mac(dst=1, src_x=1, src=8)), [Mac(dst=1, src_x=1)], "index of LOOP 1: only 0"),
    (
        inside(many(Loop(count=1), 3), Mac(dst=1, src_x=3)),
        inside(many(Loop(count=1), 2), Mac(dst=1, src_x=3)),
        "index of LOOP 3: only 2 LOOPs are open",
    ),
    (
        inside(many(Loop(count=1), 4), Mac(dst=1, tile_x=3)),
        inside(many(Loop(count=1), 4), Mac(dst=1, tile_x=4)),
        "index select = 4: must be 0 to 3",
    ),
    ([Mac(dst=1)], [Mac(dst=1, gate_x=1)], "index of LOOP 1"),  # though no gate is read
    # Nests
    (
        [Mac(dst=1, inner=(MacLevel(count=1),) * 4)],
        [Mac(dst=1, inner=(MacLevel(count=1),) * 5)],
        "5 loop levels; this machine's instructions have at most 4",
    ),
    (
        [Mac(dst=1, outer=outer(1))],
        [Mac(dst=1, outer=outer(0))],
        "level count = 0: must be 1 to 4096",
    ),
    (
        [Learn(outer=(LearnLevel(count=4096, tile=1),))],
        [Learn(outer=(LearnLevel(count=4097, tile=1),))],
        "level count = 4097: must be 1 to 4096",
    ),
    (
        [Mac(dst=1, inner=outer(2, tile=1, src=1), src=5)],
        [Mac(dst=1, inner=outer(2, dst=1))],
        "an inner level moves dst",
    ),
    ([Mac(dst=1)], [Mac(dst=1, inner=outer(2, drive=1))], "an inner level moves drive"),
    ([Mac(dst=1)], [Mac(dst=1, inner=outer(2, gate=1))], "an inner level moves gate"),
    ([Mac(dst=1, inner=outer(256))], [Mac(dst=1, inner=outer(257))], "1028 products in one accu"),
    # MAC's numbers
    ([Mac(shift=41, dst=1)], [Mac(shift=42, dst=1)], "shift = 42: must be 0 to 41"),
    ([Mac(dst=1)], [Mac(shift=-1, dst=1)], "shift = -1"),
    ([Mac(shift=15, up=15, dst=1)], [Mac(shift=16, up=16, dst=1)], "up = 16: must be 0 to 15"),
    ([Mac(shift=3, up=3, dst=1)], [Mac(shift=3, up=4, dst=1)], "at most shift (3)"),
    ([Mac(shift=3, dst=1)], [Mac(shift=3, up=-1, dst=1)], "up = -1"),
    ([Mac(one=14, dst=1)], [Mac(one=15, dst=1)], "one = 15: must be 0 to 14"),
    ([Mac(one=0, dst=1)], [Mac(one=-1, dst=1)], "one = -1"),
    (clip(5, 5), clip(6, 5), "CLIP11 clips at 2**one and needs up <= one (5)"),
    ([Mac(step=15, dst=1)], [Mac(step=16, dst=1)], "step = 16: must be 0 to 15"),
    ([Mac(step=0, dst=1)], [Mac(step=-1, dst=1)], "step = -1"),
    ([Mac(tol=32767, dst=1)], [Mac(tol=32768, dst=1)], "tol = 32768: must be 0 to 32767"),
    ([Mac(tol=0, dst=1)], [Mac(tol=-1, dst=1)], "tol = -1"),
    ([Mac(tail=4, dst=1)], [Mac(tail=5, dst=1)], "tail = 5: must be 0 to 4"),
    (
        [Mac(tail=1, tail_level=1, outer=(*outer(2, dst=2), *outer(2, dst=1)), src=9)],
        [Mac(tail=1, tail_level=2, outer=(*outer(2, dst=2), *outer(2, dst=1)), src=9)],
        "tail_level = 2: must be 0 to 1",
    ),
    ([Mac(tail=1, dst=1)], [Mac(tail=1, tail_level=1, dst=1)], "tail_level = 1: must be 0 to 0"),
    (
        [Mac(dst=1, fresh=True, judge=Judge.VALUE)],
        [Mac(dst=1, fresh=True)],
        "fresh without judge",
    ),
    *(
        (
            [Mac(to_drive=True)],
            [replace(Mac(to_drive=True), **{name: value})],
            "to_drive writes the accumul",
        )
        for name, value in (
            ("activation", Activation.RELU),
            ("gating", Gating.IN01),
            ("step", 1),
            ("judge", Judge.VALUE),
            ("shift", 1),
            ("one", 1),
        )
    ),
    (
        inside([RISE], Mac(dst=1, from_drive=True, drive_x=1)),
        inside([RISE], Mac(dst=1, drive_x=1)),
        "drive_x without from_drive",
    ),
    # Places
    ([Mac(tile=4095, dst=1)], [Mac(tile=4096, dst=1)], "tile reaches tile 4096 to 4096"),
    ([Mac(dst=1)], [Mac(tile=-1, dst=1)], "tile reaches tile -1"),
    (
        [Mac(dst=9, inner=outer(3, src=-2), src=4)],
        [Mac(dst=9, inner=outer(3, src=-2), src=3)],
        "src reaches state group -1 to 3",
    ),
    ([Mac(src=1023, dst=1)], [Mac(src=1024, dst=1)], "src reaches state group 1024"),
    ([Mac(dst=1023)], [Mac(dst=1024)], "dst reaches state group 1024"),
    ([Mac(dst=255, to_drive=True)], [Mac(dst=256, to_drive=True)], "dst reaches drive group 256"),
    (
        [Mac(dst=1, step=1, old=1023)],
        [Mac(dst=1, step=1, old=1024)],
        "old reaches state group 1024",
    ),
    (
        [Mac(dst=1, gate=1023, gating=Gating.IN01)],
        [Mac(dst=1, gate=1024, gating=Gating.IN01)],
        "gate reaches state group 1024",
    ),
    (
        [Mac(dst=1, drive=255, from_drive=True)],
        [Mac(dst=1, drive=256, from_drive=True)],
        "drive reaches drive group 256",
    ),
    (
        inside([Loop(count=3, step=-2)], Mac(dst=1, tile=4, tile_x=1)),
        inside([Loop(count=3, step=-2)], Mac(dst=1, tile=3, tile_x=1)),
        "tile reaches tile -1 to 3",
    ),
    (
        inside([Loop(count=3, step=2)], Mac(dst=1, src=1019, src_x=1)),
        inside([Loop(count=3, step=2)], Mac(dst=1, src=1020, src_x=1)),
        "src reaches state group 1020 to 1024",
    ),
    ([Mac(outer=outer(2, dst=1), src=9)], [Mac(outer=outer(2), src=9)], "dst meets a group twice"),
    # Reads after writes
    (
        [Mac(outer=outer(2, src=1, dst=1), src=1, dst=1)],
        [Mac(outer=outer(2, dst=1), src=1, dst=1)],
        "src reads a group that the same instruction has written",
    ),
    (
        [Mac(outer=outer(2, dst=1), dst=5, old=6, src=9, step=1)],
        [Mac(outer=outer(2, dst=1), dst=5, old=4, src=9, step=1)],
        "old reads a group that the same instruction has written",
    ),
    (
        [Mac(outer=outer(2, dst=1, gate=1), dst=5, gate=6, src=9, gating=Gating.IN01)],
        [Mac(outer=outer(2, dst=1, gate=1), dst=5, gate=4, src=9, gating=Gating.IN01)],
        "gate reads a group that the same instruction has written",
    ),
    (
        [Mac(outer=outer(2, dst=1, drive=1), dst=1, drive=2, to_drive=True, from_drive=True)],
        [Mac(outer=outer(2, dst=1, drive=1), dst=1, drive=0, to_drive=True, from_drive=True)],
        "drive reads a group that the same instruction has written",
    ),
    (  # what is read three times before it is written
        [Mac(outer=outer(2, src=1, dst=1), inner=outer(3), src=1, dst=1)],
        [Mac(outer=outer(2, src=1, dst=1), inner=outer(3, src=-1), src=2, dst=1)],
        "src reads a group that the same instruction has written",
    ),
    (
        inside([Loop(count=2, step=1)], Mac(outer=outer(2, dst=1), src_x=1, src=0, dst=2)),
        inside([Loop(count=3, step=1)], Mac(outer=outer(2, dst=1), src_x=1, src=0, dst=2)),
        "src reads a group that the same instruction has written",
    ),
    (
        inside([Loop(count=3, step=1)], Mac(outer=outer(2, dst=1), src=3, dst=0, dst_x=1)),
        inside([Loop(count=4, step=1)], Mac(outer=outer(2, dst=1), src=3, dst=0, dst_x=1)),
        "src reads a group that the same instruction has written",
    ),
    # 65 x 65 combinations of trips are too many to look at each
    *(
        (
            inside(many(Loop(count=65, step=step), 2), Mac(src=src, src_x=1, dst=far, **PAIR)),
            inside(many(Loop(count=65, step=step), 2), Mac(src=src, src_x=1, dst=near, **PAIR)),
            "judged by extents: the loops have too many trips",
        )
        for step, src, far, near in ((1, 0, 65, 64), (1, 200, 134, 135), (-1, 65, 130, 129))
    ),
    # Drives
    (inside([Loop(count=256)], GATHER), inside([Loop(count=257)], GATHER), "gathers 1028 products"),
    (
        [*inside([Loop(count=255)], GATHER), Mac(from_drive=True, dst=1)],
        [*inside([Loop(count=256)], GATHER), Mac(from_drive=True, dst=1)],
        "1028 products with the drive's",
    ),
    (
        [*inside([Loop(count=255)], GATHER), GATHER],
        [*inside([Loop(count=255)], GATHER), GATHER, GATHER],
        "drive group 0 gathers 1028 products",
    ),
    (
        inside([Loop(count=16), Loop(count=1), Loop(count=16)], GATHER),
        inside([Loop(count=16), Loop(count=1), Loop(count=17)], GATHER),
        "gathers 1088 products",
    ),
    (
        inside([Loop(count=2)], *many(GATHER, 128)),
        inside([Loop(count=2)], *many(GATHER, 129)),
        "drive group 0 gathers 1028 products",
    ),
    (  # as many as go in at once
        [Mac(inner=outer(256), to_drive=True)],
        [Mac(inner=outer(256), to_drive=True), GATHER],
        "gathers 1028 products",
    ),
    (  # the fullest of the groups that an index reaches
        [
            Mac(inner=outer(200), to_drive=True),
            *inside([RISE], replace(GATHER, inner=outer(56), drive_x=1, dst=5)),
        ],
        [
            Mac(inner=outer(200), to_drive=True),
            *inside([RISE], replace(GATHER, inner=outer(57), drive_x=1, dst=5)),
        ],
        "drive group 5 gathers 1028 products",
    ),
    (  # begun anew in each trip
        inside([Loop(count=5000)], Mac(to_drive=True), GATHER),
        inside([Loop(count=5000)], GATHER),
        "gathers 20000 products",
    ),
    *(  # written through an index; from an indexed group; each from its own
        (
            [*fill, Mac(from_drive=True, drive=drive, inner=outer(most), dst=1)],
            [*fill, Mac(from_drive=True, drive=drive, inner=outer(most + 1), dst=1)],
            "1028 products with the drive's",
        )
        for fill, drive, most in (
            (inside([RISE], Mac(inner=outer(200), to_drive=True, dst_x=1)), 2, 56),
            (
                [
                    Mac(inner=outer(200), to_drive=True),
                    *inside([RISE], replace(GATHER, drive=0, dst=5, dst_x=1)),
                ],
                6,
                55,
            ),
            (
                [
                    Mac(inner=outer(200), to_drive=True),
                    Mac(to_drive=True, dst=1),
                    replace(GATHER, inner=outer(56), outer=outer(2, drive=1, dst=1)),
                ],
                1,
                199,
            ),
        )
    ),
    # LEARN
    (
        [Learn(inner=(LearnLevel(count=16),))],
        [Learn(inner=(LearnLevel(count=17),))],
        "17 terms per tile; this machine's cells add up at most 16",
    ),
    ([Learn()], [Learn(inner=(LearnLevel(count=2, tile=1),))], "an inner level moves the tile"),
    ([Learn(position=1)], [Learn(position=2)], "position = 2: must be 0 to 1"),
    ([Learn(decay=True)], [Learn(decay=True, replace=True)], "decay with replace"),
    *(
        (integral(), integral(**{name: value}), "integral excludes decay, replace, stochastic and")
        for name, value in (
            ("decay", True),
            ("replace", True),
            ("stochastic", True),
            ("position", 1),
        )
    ),
    (integral(threshold=65535), integral(threshold=65536), "threshold = 65536: must be 0 to 65535"),
    ([Learn()], [Learn(threshold=1)], "threshold without integral"),
    ([Learn(tile=4095)], [Learn(tile=4096)], "tile reaches tile 4096"),
    (
        integral(tile=4094),
        integral(tile=4095),
        "tile reaches tile 4095 to 4095; this machine has 0 to",
    ),
    ([Learn(row=1023)], [Learn(row=1024)], "row reaches state group 1024"),
    ([Learn(col=1023)], [Learn(col=1024)], "col reaches state group 1024"),
    (
        [Learn(outer=(LearnLevel(count=2, tile=1),))],
        [Learn(outer=(LearnLevel(count=2),))],
        "two outer trips meet the same tile",
    ),
    (  # two words per synapse
        integral(outer=(LearnLevel(count=2, tile=2),)),
        integral(outer=(LearnLevel(count=2, tile=1),)),
        "two outer trips meet the same tile",
    ),
    # WAIT and EMIT
    ([Wait(count=1)], [Wait(count=0)], "count = 0: must be 1 to 4096"),
    ([Wait(count=4096)], [Wait(count=4097)], "count = 4097: must be 1 to 4096"),
    ([Wait(count=4, dst=1023)], [Wait(count=6, dst=1023)], "dst reaches state group 1023 to 1024;"),
    ([Wait(count=3, dst=1023)], [Wait(count=3, dst=1024)], "dst reaches state group 1024"),
    ([Wait(pack=Pack.B8, shift=7)], [Wait(pack=Pack.B8, shift=8)], "shift = 8: must be 0 to 7"),
    (
        [Wait(pack=Pack.B8, shift=8, signed=True)],
        [Wait(pack=Pack.B8, shift=9, signed=True)],
        "shift = 9: must be 0 to 8",
    ),
    ([Wait(pack=Pack.B1, shift=14)], [Wait(pack=Pack.B1, shift=15)], "shift = 15: must be 0 to 14"),
    (
        [Wait(pack=Pack.WORD)],
        [Wait(pack=Pack.WORD, shift=1)],
        "shift = 1: must be 0 with pack WORD",
    ),
    ([Emit(count=4096)], [Emit(count=4097)], "count = 4097: must be 1 to 4096"),
    ([Emit(count=1)], [Emit(count=0)], "count = 0: must be 1 to 4096"),
    (
        [Emit(kind=EmitKind.DRIVE, count=1024)],
        [Emit(kind=EmitKind.DRIVE, count=1025)],
        "count = 1025: must be 1 to 1024",
    ),
    ([Emit(base=1023, count=4)], [Emit(base=1023, count=5)], "base reaches group 1023 to 1024"),
    (
        [Emit(kind=EmitKind.DRIVE, base=255)],
        [Emit(kind=EmitKind.DRIVE, base=256)],
        "base reaches group 256 to 256; this machine has 0 to 255",
    ),
    (
        [Emit(kind=EmitKind.COUNTERS, base=9, count=6)],
        [Emit(kind=EmitKind.COUNTERS, base=9, count=7)],
        "base reaches register 9 to 15; this machine has 0 to 14",
    ),
    (
        [Emit(kind=EmitKind.COUNTERS, base=9)],
        [Emit(kind=EmitKind.COUNTERS, base=9, count=16)],
        "count = 16: must be 1 to 15",
    ),
    (
        [Emit(kind=EmitKind.COUNTERS, base=Register.MAC_CYCLES, count=4)],
        [Emit(kind=EmitKind.COUNTERS, base=Register.MAC_CYCLES, count=5)],
        "leave out EMIT_CYCLES, EMIT_STALLS",
    ),
    (
        [Emit(kind=EmitKind.COUNTERS, base=Register.SWEEPS)],
        [Emit(kind=EmitKind.COUNTERS, base=Register.EMIT_STALLS)],
        "leave out EMIT_CYCLES, EMIT_STALLS",
    ),
    (
        inside([Loop(count=2, step=1)], Emit(kind=EmitKind.COUNTERS, base=4, base_x=1)),
        inside([Loop(count=3, step=1)], Emit(kind=EmitKind.COUNTERS, base=4, base_x=1)),
        "leave out EMIT_CYCLES, EMIT_STALLS",
    ),
]

OTHER_MACHINES = [
    (LONG, [Emit(count=32767)], [Emit(count=32768)], "65536 bytes; a record holds at most 65535"),
    (
        LONG,
        [Emit(kind=EmitKind.ARGMAX, count=65535)],
        [Emit(kind=EmitKind.ARGMAX, count=65536)],
        "count = 65536: must be 1 to 65535",
    ),
    (LONG, [Wait(count=65535)], [Wait(count=65536)], "count = 65536: must be 1 to 65535"),
    (
        SHORT,
        [Wait(pack=Pack.B8, signed=True)],
        [Wait(pack=Pack.B8)],
        "pack B8 without signed: a state has 8 bits",
    ),
    (
        SHORT,
        [Wait(pack=Pack.B4, shift=3)],
        [Wait(pack=Pack.B4, shift=4)],
        "shift = 4: must be 0 to",
    ),
    (
        SMALL,
        [Emit(kind=EmitKind.COUNTERS, base=Register.LEARN_CYCLES)],
        [Emit(kind=EmitKind.COUNTERS, base=Register.MAC_CYCLES)],
        "leave out MAC_CYCLES, EMIT_CYCLES, EMIT_STALLS",
    ),
    (
        SMALL,
        [Mac(dst=1, sign=Sign.MINUS)],
        [Mac(dst=1, sign=Sign.RANDOM)],
        "sign RANDOM: this machine was built without it (dither_bits = 0)",
    ),
    (SMALL, [Learn(sign=Sign.MINUS)], [Learn(sign=Sign.RANDOM)], "sign RANDOM"),
    *(
        (
            SMALL,
            [Mac(dst=1)],
            [Mac(dst=1, activation=a)],
            f"activation {a.name}: this machine was built without it ({number} = 0)",
        )
        for a, number in ((Activation.TABLE, "table_bits"), (Activation.RANDOM, "dither_bits"))
    ),
    *(
        (
            SMALL,
            [Learn()],
            [replace(Learn(), **{flag: True})],
            f"{flag}: this machine was built without it ({number} = 0)",
        )
        for flag, number in (
            ("stochastic", "dither_bits"),
            ("decay", "decay_shift"),
            ("integral", "integral_shift"),
        )
    ),
]

FAST = preset("fast4")
BOTH = Mac(dst=1, both=True)
OTHER_MACHINES += [
    (FAST, [Mac(dst=1, drain=31)], [Mac(dst=1, drain=32)], "drain = 32: must be 0 to 31"),
    (CONFIG, [Mac(dst=1)], [Mac(dst=1, drain=16)], "drain = 16: this machine was built without"),
    (FAST, [BOTH], [replace(BOTH, to_drive=True)], "both excludes to_drive"),
    (CONFIG, [Mac(dst=1)], [BOTH], "both: this machine was built without it (both = False)"),
    (
        FAST,
        [replace(BOTH, outer=outer(2, dst=1, drive=1))],
        [replace(BOTH, outer=outer(2, dst=1))],
        "both: drive meets a group twice",
    ),
]
AHEAD = Wait(ahead=True, count=12, outputs=3)
LISTED = MacLevel(count=3, tile=1, src=1)
WALK = Mac(inner=(LISTED,), dst=40, walk=True)
EVERY = LearnLevel(count=3, tile=1, col=1)
LISTS = Learn(outer=(EVERY,), row=20, walk=True)
OTHER_MACHINES += [
    (CONFIG, [Wait()], [Wait(ahead=True)], "ahead: this machine was built without it"),
    (CONFIG, [Mac(dst=1)], [WALK], "walk: this machine was built without it"),
    (CONFIG, [Learn()], [LISTS], "walk: this machine was built without it"),
    (FAST, [AHEAD], [replace(AHEAD, pack=Pack.WORD)], "ahead excludes pack WORD"),
    (
        FAST,
        [replace(AHEAD, count=127, bias=True)],
        [replace(AHEAD, count=128, bias=True)],
        "a sample of 33 groups; this machine's buffer takes at most 32",
    ),
    (FAST, [replace(AHEAD, outputs=256)], [replace(AHEAD, outputs=257)], "outputs = 257: must be"),
    (FAST, [replace(AHEAD, low=-32768)], [replace(AHEAD, low=-32769)], "low = -32769: must be"),
    (FAST, [replace(AHEAD, outputs=0)], [replace(AHEAD, outputs=-1)], "outputs = -1: must be"),
    (FAST, [replace(AHEAD, high=-32768)], [replace(AHEAD, high=-32769)], "high = -32769: must be"),
    (FAST, [replace(AHEAD, high=32767)], [replace(AHEAD, high=32768)], "high = 32768: must be"),
    (FAST, [replace(AHEAD, shift=7)], [replace(AHEAD, shift=7, bias=True)], "shift = 7: must be"),
    (FAST, [Wait()], [Wait(outputs=1)], "belong to a sample of the buffer"),
    (FAST, [AHEAD, AHEAD], [AHEAD, replace(AHEAD, count=11)], "a program's WAITs with ahead"),
    (FAST, [AHEAD], [AHEAD, Wait()], "a program's WAITs with ahead have one format"),
    (FAST, [replace(AHEAD, dst=63)], [replace(AHEAD, dst=64)], "dst reaches state group 64"),
    (FAST, [AHEAD, WALK], [WALK], "walk without a WAIT that is ahead"),
    (
        FAST,
        [AHEAD, WALK],
        [AHEAD, replace(WALK, inner=(replace(LISTED, count=4),))],
        "walks 4 groups, but a sample has 3",
    ),
    (FAST, [AHEAD, WALK], [AHEAD, replace(WALK, inner=())], "walk needs one inner level"),
    (FAST, [AHEAD, WALK], [AHEAD, replace(WALK, src=1)], "walk takes its source from the sample"),
    (FAST, [AHEAD, WALK], [AHEAD, replace(WALK, transposed=True)], "walk excludes transposed"),
    (
        FAST,
        [AHEAD, LISTS],
        [AHEAD, replace(LISTS, outer=(replace(EVERY, row=1),))],
        "walk needs an innermost outer level",
    ),
    (FAST, [AHEAD, LISTS], [AHEAD, replace(LISTS, col=1)], "walk takes its column plane from"),
    (FAST, [AHEAD, LISTS], [AHEAD, replace(LISTS, bound=True)], "walk excludes stochastic"),
    (
        CONFIG,
        [Emit()],
        [Emit(kind=EmitKind.ANSWER)],
        "kind ANSWER: this machine was built without it",
    ),
]
CASES = [(CONFIG, *case) for case in BOUNDS] + OTHER_MACHINES


@pytest.mark.parametrize(
    ("config", "legal", "illegal", "reason"), CASES, ids=[reason for *_, reason in CASES]
)
def test_refused_at_the_bound_and_not_before(config, legal, illegal, reason):
    check(config, [*legal, Halt()])
    with pytest.raises(ProgramError) as error:
        check(config, [*illegal, Halt()])
    assert reason in str(error.value)


def test_missing_halt():
    for instructions in ([], [Mac(dst=1)], [Halt(), Mac(dst=1)]):
        with pytest.raises(ProgramError, match="does not end in HALT"):
            check(CONFIG, instructions)


HELPERS = {"_need", "_need_feature", "_within", "_check_range"}
"""Functions whose callers each are a refusal."""


def refusals() -> set[int]:
    """First lines of all statements of the checks that can refuse: calls of helpers and raises."""
    found = set()
    for function in ast.parse(inspect.getsource(module)).body:
        if isinstance(function, ast.FunctionDef) and function.name not in HELPERS:
            for node in ast.walk(function):
                if isinstance(node, ast.Raise) or (
                    isinstance(node, ast.Call) and getattr(node.func, "id", "") in HELPERS
                ):
                    found.add(node.lineno)
    return found


def places(config: ArrayConfig, instructions: list) -> set[int]:
    """Lines of the checks that the refusal of a program went through."""
    with pytest.raises(ProgramError) as caught:
        check(config, instructions)
    lines, error = set(), caught.value
    while error is not None:
        trace = error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == module.__file__:
                lines.add(trace.tb_lineno)
            trace = trace.tb_next
        error = error.__context__
    return lines


def test_every_refusal_has_a_case():
    met = places(CONFIG, [])
    for config, _, illegal, _ in CASES:
        met |= places(config, [*illegal, Halt()])
    assert refusals() <= met, f"lines of check.py: {sorted(refusals() - met)}"


def test_loops_are_counted_where_they_are_one_too_many():
    config = preset("default").replace(loop_depth=3)
    loops = (*[Loop(count=2)] * 4, *[Next()] * 4, Halt())
    with pytest.raises(ProgramError, match="4 LOOPs nested; this machine can nest 3"):
        check(config, loops)
