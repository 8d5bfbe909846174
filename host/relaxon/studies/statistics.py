"""Means over seeds: intervals, and tests of pairs with the same seeds. By scipy."""

import warnings
from collections.abc import Sequence
from math import inf
from typing import Any

import numpy as np

from relaxon_isa import ToolError, install

__all__ = ["LEVEL", "holm", "interval", "paired"]

LEVEL = 0.95


def _stats() -> Any:
    try:
        from scipy import stats
    except ImportError as error:
        raise ToolError(f"intervals and tests need scipy: {install('data')}") from error
    return stats


def interval(values: Sequence[float], low: float = -inf, high: float = inf) -> list[float] | None:
    """Of the mean, at `LEVEL`, by Student's t; None of a single value.

    ``low``, ``high``: bounds of the values, which a mean cannot pass. The interval is cut off
    there: it covers the mean as often as the whole one.
    """
    if len(values) < 2:
        return None
    mean, error = np.mean(values), np.std(values, ddof=1) / np.sqrt(len(values))
    half = float(_stats().t.ppf((1 + LEVEL) / 2, len(values) - 1) * error)
    return [max(low, float(mean - half)), min(high, float(mean + half))]


def paired(one: Sequence[float], other: Sequence[float], most: float = inf) -> dict:
    """``one`` minus ``other``, seed by seed: mean difference, its interval, and p of the paired t
    test and of Wilcoxon's signed-rank test (both two-sided); p are None of a single pair. ``most``:
    no difference is larger."""
    differences = np.subtract(one, other)
    found: dict = {
        "difference": float(differences.mean()),
        "interval": interval(differences.tolist(), -most, most),
        "p_t": None,
        "p_wilcoxon": None,
    }
    if len(differences) < 2:
        return found
    if not differences.any():
        return found | {"p_t": 1.0, "p_wilcoxon": 1.0}
    stats = _stats()
    with warnings.catch_warnings(action="ignore"):  # of differences that are all the same
        p_t = float(stats.ttest_rel(one, other).pvalue)
        p_wilcoxon = float(stats.wilcoxon(differences).pvalue)
    return found | {"p_t": p_t, "p_wilcoxon": p_wilcoxon}


def holm(values: Sequence[float | None]) -> list[float | None]:
    """p of several tests, corrected for their number (Holm 1979)."""
    known = sorted((p, i) for i, p in enumerate(values) if p is not None)
    found: list[float | None] = [None] * len(values)
    highest = 0.0
    for rank, (p, i) in enumerate(known):
        highest = max(highest, min(1.0, p * (len(known) - rank)))
        found[i] = highest
    return found
