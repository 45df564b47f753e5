"""Named worlds: where aligning to the true axis helps the whole chain finds it, and where it cannot, nothing."""

import json

import numpy as np
import scipy.stats

from valence.classifiers import CLASSIFIERS
from valence.datasets.simulated import write_cohort
from valence.faced_files import N_SUBJECTS, FacedFiles
from valence.simulation import plant
from valence.strategies import STRATEGIES
from valence.targets import TargetContext, make_target
from valence.true_axis import true_axis
from valence.worlds import WORLDS


def test_rows_are_whole():
    assert set(WORLDS) == {"unsaturated", "saturated", "no_axis"}
    for name, row in WORLDS.items():
        assert row.name == name
        assert row.description
        assert row.why.endswith(".")
        assert 3 <= row.n_subjects <= N_SUBJECTS
        assert min(row.parts) >= 1
        assert set(row.lambdas) <= set(STRATEGIES)
    assert WORLDS["no_axis"].world.axis_strength == 0 < WORLDS["unsaturated"].world.axis_strength
    assert CLASSIFIERS["de_mlp"].input == "de"


def test_the_true_axis_is_what_was_planted(tmp_path):
    world = WORLDS["unsaturated"].world
    axis = true_axis(world)
    np.testing.assert_array_equal(axis.class_positions, plant(world).class_values)
    root = write_cohort(tmp_path / "cohort", n_subjects=3, world=world, inputs=("de",))
    truth = json.loads((root / "truth.json").read_text())
    np.testing.assert_allclose(axis.class_positions, truth["class_values"])
    context = TargetContext(
        class_of_clip=FacedFiles.class_of_clip, n_classes=9, classes=FacedFiles.classes, axis=axis, seed=0
    )
    target = make_target("vaxis", context)
    values = np.array(truth["class_values"])
    np.testing.assert_allclose(target.dissimilarity, np.abs(values[:, None] - values), atol=1e-12)
    nearness = (target.prototypes @ target.prototypes.T)[np.triu_indices(9, 1)]
    distance = target.dissimilarity[np.triu_indices(9, 1)]
    assert scipy.stats.spearmanr(nearness, distance).statistic < -0.8
    assert true_axis(WORLDS["saturated"].world).digest == axis.digest, "the same values are the same target"
