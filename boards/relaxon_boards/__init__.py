"""Boards: one small file each; build, report, flash."""
