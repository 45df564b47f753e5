"""What differs between simulated people and campaigns: ratings, label noise, signals."""

import dataclasses
import json
from collections import Counter

import numpy as np

from valence.datasets.simulated import write_cohort
from valence.faced_files import FacedFiles
from valence.faced_ratings import RATINGS
from valence.features import differential_entropy
from valence.self_reports import self_reports
from valence.simulation import felt_clips, plant, simulate_subject
from valence.worlds import World

LABELS = np.array(FacedFiles.class_of_clip)
VALENCE = RATINGS.index("valence")


def test_raters_agree_as_those_of_faced():
    """FACED, subject against the mean of all others: .83 in cohort 1, .49 in cohort 2."""
    found = []
    for seed in range(8):
        campaigns = [1 if number < 61 else 2 for number in range(123)]
        reports = [
            self_reports(World(seed=seed), f"sub{number:03d}", cohort=campaign)[:, VALENCE]
            for number, campaign in enumerate(campaigns)
        ]
        total = np.sum(reports, axis=0)
        r = np.array([np.corrcoef(own, total - own)[0, 1] for own in reports])
        found.append((r[:61].mean(), r[61:].mean()))
    np.testing.assert_allclose(np.mean(found, axis=0), (0.83, 0.49), atol=0.03)


def test_reports_tell_emotions_apart_and_stay_on_the_scale():
    reports = np.array([self_reports(World(), f"sub{number:03d}", cohort=1) for number in range(40)])
    assert reports.min() >= 0
    assert reports.max() <= 7
    means = reports.mean(axis=0)
    for name in ("joy", "tenderness", "inspiration", "amusement", "anger", "disgust", "fear", "sadness"):
        own = FacedFiles.classes.index(name) == LABELS
        rating = RATINGS.index(name)
        assert means[own, rating].min() > means[FacedFiles.classes.index("neutral") == LABELS, rating].max() + 1


def test_the_share_of_label_noise_is_found_in_truth_and_signals(tmp_path):
    quiet = World(response_sd=0, drift_sd=0, evoked_uv=0)
    noisy, clean = dataclasses.replace(quiet, label_noise=0.3), quiet
    felt = np.array([felt_clips(noisy, f"sub{number:03d}") for number in range(123)])
    mistaken = felt != np.arange(28)
    assert abs(mistaken.mean() - 0.3) < 0.03  # standard error .008
    assert (LABELS[felt] != LABELS)[mistaken].all()
    counts = Counter(LABELS[felt][mistaken].tolist())
    assert max(counts.values()) < 1.5 * min(counts.values()), "classes are drawn alike"
    np.testing.assert_array_equal(felt_clips(clean, "sub003"), range(28))

    heard, true = (
        differential_entropy(simulate_subject(world, "sub003", cohort=1), sfreq=250).mean(axis=2)
        for world in (noisy, clean)
    )
    same = np.abs(heard - true).max(axis=(1, 2)) < 1e-4
    np.testing.assert_array_equal(same, ~mistaken[3])
    # with nothing but the film's own effect, a mistaken clip looks like the clip felt
    patterns = [(de - true.mean(axis=0)).reshape(28, -1) for de in (heard, true)]
    nearest = np.corrcoef(*patterns)[:28, 28:]
    found = nearest.argmax(axis=1)
    assert (found[mistaken[3]] == felt[3][mistaken[3]]).mean() > 0.8
    reports = self_reports(noisy, "sub003", cohort=1)[:, VALENCE]
    ratings = plant(noisy).ratings
    assert np.corrcoef(reports, ratings[felt[3]])[0, 1] > np.corrcoef(reports, ratings)[0, 1]

    root = write_cohort(tmp_path / "cohort", n_subjects=3, world=noisy, inputs=("de",))
    assert json.loads((root / "truth.json").read_text())["felt_clips"]["sub061"] == felt[61].tolist()


def test_campaigns_differ_as_those_of_faced():
    """The same person in both: level of DE, delta to gamma, and its scatter over clips."""
    first, second = (
        differential_entropy(simulate_subject(World(), "sub002", cohort=campaign), sfreq=250).mean(axis=2).astype(float)
        for campaign in (1, 2)
    )
    np.testing.assert_allclose((second - first).mean(axis=(0, 1)), (0.0, 0.0, -0.05, -0.03, -0.13), atol=0.06)
    scatter = np.median(second.std(axis=0), axis=0) / np.median(first.std(axis=0), axis=0)
    assert (scatter[:4] > 1.03).all()
    assert (scatter[:4] < 1.25).all()
