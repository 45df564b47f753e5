"""Parts of the clips: numpy's r, brute force with the cell chosen in each order, planted classes, the real data."""

import itertools

import numpy as np
import pytest

from tests.valence.scalp_cohorts import FIVE, LABELS, RATED, clip_target, faced_cohort, noise, one_row, scalp_cohort
from valence.brain import subsets
from valence.faced_files import FacedFiles

CELL = "PO3 gamma"
PICKED = "clips of anger, amusement, tenderness"


def test_parts_are_these_clips():
    masks = subsets.subset_masks(FacedFiles.classes, LABELS)
    assert len(masks) == 12
    assert masks[PICKED].sum() == 9
    assert masks["clips of the other classes"].sum() == 19
    assert masks["without neutral"].sum() == 24
    five = subsets.subset_masks(("disgust", "fear", "sadness", "neutral", "joy"), FIVE)
    assert list(five) == [
        "all clips",
        *(f"without {name}" for name in ("disgust", "fear", "sadness", "neutral", "joy")),
    ]


def test_r_is_that_of_the_part_alone():
    de = noise(0, 3)
    found = subsets.rows(scalp_cohort(de), RATED)
    column = de.mean(axis=(0, 3))[:, 25, 4]
    for name, mask in subsets.subset_masks(FacedFiles.classes, LABELS).items():
        row = one_row(found, protocol=CELL, item=name)
        assert row.value == pytest.approx(np.corrcoef(column[mask], RATED.clip_values[mask])[0, 1], abs=1e-5)
        assert row.n == mask.sum()
    assert one_row(found, protocol=CELL, item=PICKED).p is None


def test_p_of_the_strongest_cell_has_its_choice_inside():
    de = noise(1, 2, labels=FIVE, n_chans=2, n_bands=2, n_steps=1)
    target = clip_target(np.array([-1.2, -0.7, 0.1, 0.6, 1.3])[FIVE], FIVE)
    ch_names, bands = ("PO3", "F7"), ("alpha", "gamma")
    cohort = scalp_cohort(de, labels=FIVE, ch_names=ch_names, band_names=bands)
    found = subsets.rows(cohort, target)
    means = de.astype(np.float32).astype(float).mean(axis=(0, 3)).reshape(12, 4)
    names = [f"{channel} {band}" for channel in ch_names for band in bands]

    def r(mask, values):
        return np.array([np.corrcoef(column[mask], values[mask])[0, 1] for column in means.T])

    orders = [target.class_values[list(order)][FIVE] for order in itertools.permutations(range(5))]
    top = int(np.argmax(np.abs(r(FIVE >= 0, target.clip_values))))
    for name, mask in subsets.subset_masks(cohort.classes, FIVE).items():
        null = [abs(r(mask, y)[np.argmax(np.abs(r(FIVE >= 0, y)))]) for y in orders]
        row = one_row(found, protocol=f"strongest cell, {names[top]}", item=name)
        assert row.value == pytest.approx(r(mask, target.clip_values)[top], abs=1e-6)
        assert row.p == pytest.approx(np.mean(np.array(null) >= abs(row.value) - 1e-6))
    row = one_row(found, protocol=CELL, item="without fear")
    kept = cohort.classes.index("fear") != FIVE if "fear" in cohort.classes else FIVE != 2
    expected = [
        abs(np.corrcoef(means[kept, 1], y)[0, 1])
        for y in (
            np.array(order)[np.unique(FIVE[kept], return_inverse=True)[1]]
            for order in itertools.permutations(target.class_values[np.unique(FIVE[kept])])
        )
    ]
    assert row.p == pytest.approx(np.mean(np.array(expected) >= abs(row.value) - 1e-6))


def test_classes_that_carry_a_cell_are_found():
    de = noise(2, 4, n_steps=1)
    picked = np.isin(LABELS, [0, 5, 8])
    # in these classes the cell follows the target, in the others it goes against it
    de[:, :, 25, :, 4] += np.where(picked, 3, -0.5)[:, None] * RATED.clip_values[:, None]
    found = subsets.rows(scalp_cohort(de), RATED)
    assert one_row(found, protocol=CELL, item=PICKED).value > 0.95
    triples = [row for row in found if "three classes minus the rest" in row.protocol]
    assert triples[1].item == "mean of the null"
    assert 0 < triples[1].value < 1


def test_the_best_three_classes_are_those_of_a_loop():
    de = noise(3, 2, n_steps=1)
    found = [row for row in subsets.rows(scalp_cohort(de), RATED) if "three classes" in row.protocol]
    column = de.astype(np.float32).astype(float).mean(axis=(0, 3))[:, 25, 4]

    def gap(triple):
        mask = np.isin(LABELS, triple)
        r = [abs(np.corrcoef(column[chosen], RATED.clip_values[chosen])[0, 1]) for chosen in (mask, ~mask)]
        return r[0] - r[1]

    best = max(itertools.combinations(range(9), 3), key=gap)
    assert found[0].item == ", ".join(FacedFiles.classes[label] for label in best)
    assert found[0].value == pytest.approx(gap(best), abs=1e-6)
    assert "84 triples" in found[0].null
    assert found[0].p > 0.02


def test_a_cell_that_is_not_there_is_a_reason():
    found = subsets.rows(scalp_cohort(noise(4, 3, n_chans=2), ch_names=("Fz", "Cz")), RATED)
    assert one_row(found, protocol=CELL).reason == "the data set has no PO3 gamma"
    assert any(row.protocol.startswith("strongest cell") for row in found)


def test_on_the_real_data_nine_clips_carry_it_as_the_best_three_classes_would_anyway(shared_data):
    found = subsets.rows(faced_cohort(shared_data), RATED)
    study = {PICKED: 0.870, "clips of the other classes": -0.015, "without anger": 0.327}
    for item, value in study.items():  # with an LLM's axis, of 123 subjects
        assert one_row(found, protocol=CELL, item=item).value == pytest.approx(value, abs=0.12)
    best, null = (row for row in found if "three classes" in row.protocol)
    assert set(best.item.split(", ")) == {"anger", "amusement", "tenderness"}
    assert best.value == pytest.approx(null.value, abs=0.1)
    assert best.p > 0.1
