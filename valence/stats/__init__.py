"""Rows to verdicts: paired differences, intervals, p values, multiplicity and power. Sees tables only.

In: the results table, one row a cell, with `test_subjects` and `subject_balanced_accuracy` lists. Out: one row a
comparison (`compare`), one row a classifier (`baseline_table`), one row a number of seeds (`power_table`); across
classifiers, one row a strategy (`mixed_table`, `saturation_table`); while a sweep grows, which comparisons have their
answer (`sequential_decisions`) and the cells that the others need (`cells_to_add`); and, from clip features, whether a
classifier encodes an axis before it is aligned to it (`baseline_saturation`).
"""

from valence.stats.across_table import mixed_table, saturation_table
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
from valence.stats.sequential import Looks
from valence.stats.sequential_table import cells_to_add, sequential_decisions

__all__ = [
    "MIN_TEST_SUBJECTS",
    "Looks",
    "PairedDifferences",
    "Saturation",
    "baseline_saturation",
    "baseline_table",
    "cells_to_add",
    "compare",
    "exact_floor",
    "minimum_detectable",
    "mixed_table",
    "power_table",
    "saturation_table",
    "seeds_needed",
    "sequential_decisions",
    "sign_flip",
    "two_way_interval",
    "two_way_variance",
]
