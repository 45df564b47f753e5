"""Cross-validated ridge against scikit-learn's RidgeCV, fold by fold; nulls against refits; planted targets."""

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import LeaveOneGroupOut
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.valence import planted_cells as planted
from tests.valence.training_world import CLASS_OF_CLIP, N_CLIPS
from valence.brain.ridge import LAMBDAS
from valence.brain.rows import NotPossible
from valence.decodability import clip_folds, decoded_clips, decoded_subjects, folds_of_subjects, subject_r


def by_sklearn(features: np.ndarray, values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Predictions for what is left out, λ by leave-one-row-out errors in the training rows."""
    found = np.empty(len(values))
    for train, test in LeaveOneGroupOut().split(features, values, groups):
        ridge = make_pipeline(StandardScaler(), RidgeCV(LAMBDAS, scoring="neg_mean_squared_error"))
        found[test] = ridge.fit(features[train], values[train]).predict(features[test])
    return found


@pytest.mark.parametrize("width", [12, 60])
def test_leaving_clips_and_classes_out_is_ridge_cv(width):
    rng = np.random.default_rng(width)
    values = rng.normal(size=N_CLIPS)
    features = np.outer(values, rng.normal(size=width)) + 2 * rng.normal(size=(N_CLIPS, width))
    by_clip, by_class = decoded_clips(clip_folds(features, CLASS_OF_CLIP), values, n_orders=20)
    for found, groups in ((by_clip, np.arange(N_CLIPS)), (by_class, CLASS_OF_CLIP)):
        assert found.r == pytest.approx(stats.pearsonr(by_sklearn(features, values, groups), values)[0], abs=1e-6)


def samples(width: int, seed: int = 0):
    """Five subjects, three windows a clip; one subject lacks a clip."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=N_CLIPS)
    clips, subjects = np.tile(np.repeat(np.arange(N_CLIPS), 3), 5), np.repeat([f"s{n}" for n in range(5)], 3 * N_CLIPS)
    features = np.outer(values[clips], rng.normal(size=width)) + 4 * rng.normal(size=(len(clips), width))
    kept = ~((subjects == "s2") & (clips == 7))
    return features[kept], subjects[kept], clips[kept], values


def averaged(features, subjects, clips):
    keys = sorted({*zip(subjects.tolist(), clips.tolist())})
    means = np.stack([features[(subjects == subject) & (clips == clip)].mean(axis=0) for subject, clip in keys])
    return means, np.array([key[0] for key in keys]), np.array([key[1] for key in keys])


@pytest.mark.parametrize("width", [10, 150])
def test_leaving_subjects_out_is_ridge_cv(width):
    features, subjects, clips, values = samples(width)
    means, owners, of_clip = averaged(features, subjects, clips)
    predictions = by_sklearn(means, values[of_clip], owners)
    expected = [stats.pearsonr(predictions[owners == s], values[of_clip[owners == s]])[0] for s in np.unique(owners)]
    folds = folds_of_subjects(features, subjects, clips, CLASS_OF_CLIP)
    np.testing.assert_allclose(subject_r(folds.folds, values[None])[0], expected, atol=1e-6)
    found = decoded_subjects(folds, values, n_orders=20)
    assert found.r == pytest.approx(np.mean(expected), abs=1e-6)
    interval = stats.t.interval(0.95, 4, np.mean(expected), stats.sem(expected))
    assert (found.ci_low, found.ci_high) == pytest.approx(interval, abs=1e-6)


def test_every_order_of_the_null_is_a_refit_with_its_own_penalty():
    features, subjects, clips, _ = samples(20, seed=1)
    rng = np.random.default_rng(2)
    targets = rng.normal(size=(6, 9))[:, CLASS_OF_CLIP] * np.array([[1], [1], [100], [1], [1e-3], [1]])
    folds = folds_of_subjects(features, subjects, clips, CLASS_OF_CLIP)
    together = subject_r(folds.folds, targets)
    means, owners, of_clip = averaged(features, subjects, clips)
    for row, values in zip(together, targets, strict=True):
        predictions = by_sklearn(means, values[of_clip], owners)
        expected = [
            stats.pearsonr(predictions[owners == s], values[of_clip[owners == s]])[0] for s in np.unique(owners)
        ]
        np.testing.assert_allclose(row, expected, atol=1e-5)


def test_a_target_that_was_memorised_with_its_class_is_not_decodable_without_it():
    """Class means in nine unrelated directions: each target is there for other people, none for other classes."""
    rng = np.random.default_rng(3)
    values = rng.normal(size=9)[CLASS_OF_CLIP]
    centres = 3 * np.linalg.qr(rng.normal(size=(40, 9)))[0].T
    clips, subjects = np.tile(np.arange(N_CLIPS), 6), np.repeat([f"s{n}" for n in range(6)], N_CLIPS)
    features = centres[CLASS_OF_CLIP[clips]] + 0.3 * rng.normal(size=(len(clips), 40))
    means = np.stack([features[clips == clip].mean(axis=0) for clip in range(N_CLIPS)])
    by_clip, by_class = decoded_clips(clip_folds(means, CLASS_OF_CLIP), values)
    by_subject = decoded_subjects(folds_of_subjects(features, subjects, clips, CLASS_OF_CLIP), values)
    assert by_subject.r > 0.95
    assert by_clip.r > 0.9
    assert by_class.r < 0.3
    assert min(by_subject.p, by_clip.p, by_class.p) > 0.05  # other orders of the classes are as decodable
    assert by_subject.null_mean > 0.9


def test_an_axis_that_classes_share_is_decodable_without_a_class():
    target = planted.target(residual=1e-3)
    cell = planted.cell(target, axis=4.0, used=0.0, residual=0.0)
    by_clip, by_class = decoded_clips(clip_folds(cell.clip_features, CLASS_OF_CLIP), target.clip_values)
    assert by_class.r > 0.9
    assert max(by_class.p, by_clip.p) < 0.05


def test_what_cannot_be_decoded_says_why():
    features, subjects, clips, values = samples(10)
    with pytest.raises(NotPossible, match="subjects"):
        folds_of_subjects(features[subjects < "s2"], subjects[subjects < "s2"], clips[subjects < "s2"], CLASS_OF_CLIP)
    with pytest.raises(NotPossible, match="classes"):
        clip_folds(np.where(CLASS_OF_CLIP[:, None] < 2, 1.0, np.nan) * np.ones((N_CLIPS, 3)), CLASS_OF_CLIP)
    folds = folds_of_subjects(features, subjects, clips, CLASS_OF_CLIP)
    with pytest.raises(NotPossible, match="the same for all"):
        decoded_subjects(folds, np.ones(N_CLIPS))
    with pytest.raises(NotPossible, match="missing"):
        decoded_subjects(folds, np.where(np.arange(N_CLIPS) == 3, np.nan, values))
