"""Named worlds: where aligning to the true axis helps the whole chain finds it, and where it cannot, nothing."""

import json

import numpy as np
import pytest
import scipy.stats

from valence.cell import Cell
from valence.classifiers import CLASSIFIERS
from valence.datasets.simulated import Simulated, write_cohort
from valence.faced_files import N_SUBJECTS, FacedFiles
from valence.prepared import prepare
from valence.simulation import plant
from valence.splits import make_split
from valence.strategies import STRATEGIES
from valence.targets import TargetContext, make_target
from valence.training import train_cell
from valence.true_axis import true_axis
from valence.worlds import WORLDS, NamedWorld

TARGETS = ("vaxis", "permuted", "random")
OTHERS = ("none", "permuted", "random")


def scores(row: NamedWorld, folder, *, strategies: tuple[str, ...], n_seeds: int) -> dict[tuple[str, str], np.ndarray]:
    """Balanced accuracy of unseen subjects by strategy and target, (n_seeds,), from files on disk to trained cells."""
    root = write_cohort(folder / row.name, n_subjects=row.n_subjects, world=row.world, parts=row.parts, inputs=("de",))
    dataset, axis = Simulated(root), true_axis(row.world)
    prepared = prepare(dataset, "de", row.recipe, folder / "prepared")
    split = make_split(dataset, "de", "standard")
    assert [len(part.subjects) for part in (split.train, split.validation, split.test)] == list(row.parts)
    found: dict[tuple[str, str], list[float]] = {}
    for seed in range(n_seeds):
        context = TargetContext(
            class_of_clip=dataset.class_of_clip, n_classes=9, classes=dataset.classes, axis=axis, seed=seed
        )
        arms = [("none", "none"), *((strategy, target) for strategy in strategies for target in TARGETS)]
        for strategy, name in arms:
            target = None if name == "none" else make_target(name, context)
            cell = Cell(
                dataset="simulated",
                dataset_hash=prepared.hash,
                split=split.name,
                classifier="de_mlp",
                recipe=row.recipe.name,
                recipe_hash=row.recipe.hash,
                strategy=strategy,
                target=name,
                axis="" if target is None else axis.digest,
                lambda_=0.0 if target is None else row.lambdas.get(strategy, STRATEGIES[strategy].lambda_),
                seed=seed,
            )
            result = train_cell(cell, prepared, split, row.recipe, target)
            found.setdefault((strategy, name), []).append(result.metrics["balanced_accuracy"])
    return {arm: np.array(values) for arm, values in found.items()}


def wins(found: dict[tuple[str, str], np.ndarray], strategy: str) -> dict[str, tuple[float, float]]:
    """Mean gain of the true axis over no strategy and over the strategy's other targets, and p of a paired t test."""
    own = found[strategy, "vaxis"]
    against = {other: found["none", "none"] if other == "none" else found[strategy, other] for other in OTHERS}
    return {
        other: (float((own - x).mean()), float(scipy.stats.ttest_rel(own, x).pvalue)) for other, x in against.items()
    }


def is_found(gains: dict[str, tuple[float, float]]) -> bool:
    return all(gain > 0 and p < 0.01 for gain, p in gains.values())


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


@pytest.mark.slow
def test_unsaturated_the_true_axis_helps(tmp_path, one_thread):
    found = scores(WORLDS["unsaturated"], tmp_path, strategies=("supcon_clip",), n_seeds=10)
    gains = wins(found, "supcon_clip")
    assert is_found(gains), gains
    assert found["none", "none"].mean() > 1 / 9 + 0.03, "something is learned from labels alone"


@pytest.mark.slow
def test_saturated_nothing_helps(tmp_path, one_thread):
    strategies = ("rsa", "supcon_clip")
    found = scores(WORLDS["saturated"], tmp_path, strategies=strategies, n_seeds=5)
    told = {strategy: wins(found, strategy) for strategy in strategies}
    assert not any(is_found(gains) for gains in told.values()), told
    assert found["none", "none"].mean() > 0.5


@pytest.mark.slow
def test_no_axis_the_true_values_are_as_good_as_any(tmp_path, one_thread):
    strategies = ("rsa", "supcon_clip")
    found = scores(WORLDS["no_axis"], tmp_path, strategies=strategies, n_seeds=6)
    told = {strategy: wins(found, strategy) for strategy in strategies}
    assert not any(is_found(gains) for gains in told.values()), told
