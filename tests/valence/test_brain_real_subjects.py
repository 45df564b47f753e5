"""Single subjects of FACED's published features: what averaging makes of r, and what drift would make of it."""

from dataclasses import replace

import numpy as np
import pytest

from valence.brain import confounds, oracles, order_null, simpson, split_half
from valence.brain.cohort import load_cohort
from valence.brain.rows import Row
from valence.brain.study_numbers import beside
from valence.brain.targets import brain_target
from valence.datasets.faced import Faced
from valence.faced_ratings import presentation, read_ratings_table


@pytest.fixture(scope="module")
def faced(shared_data):
    """100 subjects, with the order in which each saw the clips."""
    dataset = Faced(shared_data / "faced")
    cohort = load_cohort(dataset)
    table = read_ratings_table(shared_data / "faced" / "ratings_nemar_events.csv")
    ranks = np.stack([presentation(table, subject) for subject in cohort.subjects])
    return replace(cohort, presentation=ranks), brain_target("behaviour", cohort, ratings=dataset.ratings())


def only(rows: list[Row], protocol: str, item: str) -> Row:
    fit = [row for row in rows if row.protocol == protocol and row.item == item]
    assert len(fit) == 1
    return fit[0]


def test_r_of_the_mean_is_not_in_single_subjects(faced):
    rows = simpson.rows(*faced)
    of_mean = only(beside(rows, dataset="faced", target="behaviour"), simpson.OF_MEAN, "PO3 gamma")
    assert of_mean.value == pytest.approx(0.43, abs=0.03)
    assert of_mean.reference == 0.478
    assert abs(only(rows, simpson.WITHIN, "PO3 gamma").value) < 0.05


def test_halves_agree_on_levels_far_more_than_on_clips(faced):
    rows = split_half.rows(*faced)
    # the study's .988
    assert only(rows, "whole tensor, Spearman-Brown", "subjects").value == pytest.approx(0.987, abs=0.004)
    assert only(rows, "clips, each cell z-scored, Spearman-Brown", "subjects").value == pytest.approx(0.735, abs=0.03)


def test_the_best_cell_per_subject_is_mostly_its_choice_and_drift(faced):
    rows = oracles.rows(*faced)
    whole = only(rows, "best of all cells", "mean over subjects")
    by_chance = only(rows, "best of all cells, expected by chance", "mean over subjects")
    assert whole.value == pytest.approx(0.56, abs=0.01)  # the study's .55
    assert 0.4 < by_chance.value < whole.value
    assert (
        only(rows, "cell chosen in half of the clips, judged in the others, 8 random halves", whole.item).value < 0.25
    )


def test_drift_with_the_orders_of_others_reaches_the_same_r(faced):
    rows = order_null.rows(*faced)
    assert only(rows, "r of the mean over subjects", "PO3 gamma").p > 0.1
    assert only(rows, "largest |r| of the mean over subjects", "all cells").p > 0.5
    given = confounds.rows(*faced)
    assert only(given, "share of the target's variance within blocks", "mean over subjects").value < 0.05
    assert only(given, "r of the mean over subjects, order and its square taken out of each", "PO3 gamma").value < 0.1
