"""Rows to verdicts: paired differences, intervals, p values, multiplicity and power. Sees tables only.

In: the results table, one row a cell, with `test_subjects` and `subject_balanced_accuracy` lists. Out: one row a
comparison (`compare`), one row a classifier (`baseline_table`), one row a number of seeds (`power_table`); and, from
clip features, whether a classifier encodes an axis before it is aligned to it (`baseline_saturation`).
"""

from valence.stats.baseline import baseline_table
from valence.stats.compare import compare
from valence.stats.paired import (
    MIN_TEST_SUBJECTS,
    PairedDifferences,
    sign_flip,
    two_way_interval,
    two_way_variance,
)
from valence.stats.power import exact_floor, minimum_detectable, power_table, seeds_needed
from valence.stats.saturation import Saturation, baseline_saturation

__all__ = [
    "MIN_TEST_SUBJECTS",
    "PairedDifferences",
    "Saturation",
    "baseline_saturation",
    "baseline_table",
    "compare",
    "exact_floor",
    "minimum_detectable",
    "power_table",
    "seeds_needed",
    "sign_flip",
    "two_way_interval",
    "two_way_variance",
]
