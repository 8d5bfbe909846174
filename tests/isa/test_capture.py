"""What the register MEMORY says, by hand."""

import pytest

from relaxon_isa.capture import capture_window, captures, kept_capture, memory_size


def test_size_and_moments_share_a_register():
    assert memory_size(0x0200_003C) == 1 << 25 and captures(0x0200_003C) == [2, 3, 4, 5]
    assert memory_size(0x0080_0081) == 1 << 23 and captures(0x0080_0081) == [0, 7]
    assert memory_size(0) == 0 and captures(0) == []


@pytest.mark.parametrize(
    ("moments", "kept"),
    [([3], 3), ([2, 3], 2), ([2, 3, 4, 5], 3), ([0, 1, 2], 1), ([1, 4, 5, 6], 1)],
)
def test_the_middle_of_the_first_in_a_row_is_kept(moments, kept):
    assert kept_capture(moments) == kept


def test_the_window_reads_from_moment_0_on():
    assert capture_window(0x0200_001C).startswith("..###...: ")
    assert capture_window(0x0200_001C).endswith("number 3 is kept")
    assert "at none of 8 moments" in capture_window(0)
