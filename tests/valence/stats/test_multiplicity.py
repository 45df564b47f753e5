"""Adjusted p values against statsmodels."""

import numpy as np
import pytest
from mne.stats import fdr_correction
from statsmodels.stats.multitest import multipletests

from valence.stats.multiplicity import benjamini_hochberg, holm

P = np.array([0.02, 0.0001, 0.5, 0.02, 0.04, 0.9, 0.011])


@pytest.mark.parametrize(("ours", "method"), [(holm, "holm"), (benjamini_hochberg, "fdr_bh")])
def test_same_as_statsmodels(ours, method):
    random = np.random.default_rng(0)
    for p in (P, P[:1], np.full(4, 0.3), *(random.uniform(size=25) ** 3 for _ in range(20))):
        np.testing.assert_allclose(ours(p), multipletests(p, method=method)[1], rtol=1e-12)


def test_benjamini_hochberg_is_mnes():
    np.testing.assert_allclose(benjamini_hochberg(P), fdr_correction(P, alpha=0.05)[1], rtol=1e-12)


@pytest.mark.parametrize("ours", [holm, benjamini_hochberg])
def test_a_missing_p_stays_missing_and_counts(ours):
    with_missing = np.insert(P, 2, np.nan)
    adjusted = ours(with_missing)
    assert np.isnan(adjusted[2])
    np.testing.assert_allclose(np.delete(adjusted, 2), np.delete(ours(np.insert(P, 2, 1.0)), 2))
    assert np.isnan(ours(np.array([np.nan]))).all()
    assert len(ours(np.array([]))) == 0


def test_a_declared_family_counts_comparisons_that_are_not_there_yet():
    np.testing.assert_allclose(holm(P, family_size=25), holm(np.concatenate([P, np.ones(18)]))[:7])
    np.testing.assert_allclose(holm(P, family_size=3), holm(P))


def test_the_study_keeps_ten_of_its_twenty_five_rows():
    p = [0.0015, 0.21, 0.006, 0.063, 0.0003, 0.007, 0.039, 0.50, 0.89, 1e-4, 1e-3, 1e-4, 1e-3]
    p += [1e-3, 0.04, 0.18, 0.22, 0.069, 0.12, 0.05, 1e-4, 1e-4, 0.97, 0.01, 1e-3]
    assert np.sum(holm(np.array(p)) < 0.05) == 10
    assert np.sum(benjamini_hochberg(np.array(p)) < 0.05) == 13
