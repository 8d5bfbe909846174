"""The builder refuses what cannot run, and says why; encoding and decoding agree."""

import pytest

from relaxon_isa.encoding import decode, row_layouts
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
    Skip,
    Wait,
)
from relaxon_isa.memory import Register, row_bits
from relaxon_isa.presets import preset
from relaxon_isa.program import Builder, Program

CONFIG = preset("default")


def program(*instructions):
    return Program(CONFIG, (*instructions, Halt()))


def test_in_place_group_by_group_is_allowed():
    level = MacLevel(count=4, src=1, dst=1, gate=1)
    program(Mac(outer=(level,), src=7, dst=7, gate=7, step=2, gating=Gating.IN01))


def test_indices_that_meet_are_refused_and_those_that_do_not_are_allowed():
    level = (MacLevel(count=2, dst=1),)
    # The source is at 0, 1, 2; the second group reads 2 after the first wrote it.
    with pytest.raises(ProgramError, match="src reads a group"):
        program(Loop(count=3, step=1), Mac(outer=level, src_x=1, src=0, dst=2), Next())
    program(Loop(count=2, step=1), Mac(outer=level, src_x=1, src=0, dst=2), Next())


def test_drives_that_gather_over_a_loop_count_its_trips():
    gather = Mac(from_drive=True, to_drive=True, src=1)  # 4 products a trip
    program(Loop(count=256), gather, Next())
    with pytest.raises(ProgramError, match="gathers 1028 products"):
        program(Loop(count=257), gather, Next())
    with pytest.raises(ProgramError, match="drive group 0 gathers"):
        program(Loop(count=20), Loop(count=20), gather, Next(), Next())
    # A drive that each trip starts anew gathers nothing.
    program(Loop(count=5000), Mac(to_drive=True), gather, Next())
    # Nor does one that takes what the trip before left.
    taken = Mac(from_drive=True, drive=1, to_drive=True, src=1)
    program(Loop(count=5000), taken, Mac(to_drive=True, dst=1), Next())
    with pytest.raises(ProgramError, match="drive group 0 gathers"):
        kept = Mac(from_drive=True, drive=1, to_drive=True, dst=1, src=1)
        program(Loop(count=300), taken, kept, Next())


FULL = [
    Wait(dst=5, count=13, pack=Pack.B4, signed=True, shift=9, tick=True),
    Loop(count=40, until=True, sweep=True, skip=Skip.UNLESS_FLAG, step=-3),
    Mac(
        outer=(
            MacLevel(count=2, src=20, dst=8, drive=9, gate=-1, flip=True),
            MacLevel(count=8, tile=1, dst=1, drive=1, gate=1),
        ),
        inner=(MacLevel(count=3, tile=8, src=1), MacLevel(count=2, tile=0, src=-2)),
        tile=130,
        src=120,
        dst=200,
        old=300,
        drive=31,
        gate=400,
        transposed=True,
        from_drive=True,
        sign=Sign.RANDOM,
        shift=19,
        up=6,
        one=14,
        activation=Activation.CLIP11,
        gating=Gating.POSITIVE,
        step=3,
        judge=Judge.CHANGE,
        fresh=True,
        tol=77,
        tail=3,
        tail_level=1,
        src_x=1,
    ),
    Next(),
    Learn(
        outer=(LearnLevel(count=4, tile=16, row=1), LearnLevel(count=16, tile=1, col=1)),
        inner=(LearnLevel(count=2, row=100, col=-60, flip=True),),
        tile=12,
        col=80,
        row=90,
        sign=Sign.MINUS,
        position=1,
        stochastic=True,
        bound=True,
        decay=True,
        hold=True,
    ),
    Emit(kind=EmitKind.COUNTERS, base=Register.SWEEPS, count=2),
]


def test_decode_inverts_encode():
    rows = program(*FULL).rows
    decoded = list(decode(CONFIG, rows))
    # On the wire a NEXT knows its LOOP, not the other way round; all else comes back.
    assert decoded == [*FULL, Halt()]


def test_level_rows_by_hand():
    """Deltas: what the addresses move by when a level steps and those inside start again."""
    rows = program(
        Mac(
            outer=(MacLevel(count=5, tile=10, dst=2),),
            inner=(MacLevel(count=3, tile=1, src=4),),
            dst=9,
        )
    ).rows
    level = row_layouts(CONFIG)["level"]
    inner, outer = level.unpack(rows[2]), level.unpack(rows[3])
    assert (inner["count"], inner["tile"], inner["src"], inner["dst"]) == (2, 1, 4, 0)
    # Back by 2 * 1 tiles and 2 * 4 groups, forward by the outer strides.
    assert (outer["count"], outer["tile"], outer["dst"]) == (4, 10 - 2, 2)
    assert outer["src"] == -8 % (1 << CONFIG.state_addr_bits)


def test_rows_fit_and_garbage_is_refused():
    assert all(row < 1 << row_bits(CONFIG) for row in program(*FULL).rows)
    with pytest.raises(ProgramError, match="row 0: not an instruction"):
        decode(CONFIG, [7])


def test_patch_changes_only_its_rows():
    before = program(*FULL)
    after, start, rows = before.patch(1, count=12, until=False)
    assert [r for r in after.rows if r not in before.rows]
    patched = list(before.rows)
    patched[start : start + len(rows)] = rows
    assert tuple(patched) == after.rows
    with pytest.raises(ProgramError, match="may not change"):
        before.patch(4, inner=())
    with pytest.raises(ProgramError, match="shift"):
        before.patch(2, shift=99)


def test_listing_indents_loops_and_names_fields():
    b = Builder(CONFIG)
    with b.loop(3, sweep=True):
        b.add(Mac(dst=4, shift=7))
    b.add(Halt())
    assert b.build().listing().splitlines() == [
        "   0  LOOP count=3 sweep",
        "   1    MAC dst=4 shift=7",
        "   3  NEXT",
        "   4  HALT",
    ]
