"""Channels that go together: numpy's r, spread of random sets, planted networks, average reference, the real data."""

import numpy as np
import pytest

from tests.valence.scalp_cohorts import CH_NAMES, RATED, faced_cohort, noise, one_row, scalp_cohort
from valence.brain import network
from valence.brain.network import SITES
from valence.brain.rows import NotPossible
from valence.montage import positions
from valence.seed_v_files import CH_NAMES as SEED_V

CHOSEN = np.array([CH_NAMES.index(site) for site in SITES])


def test_mean_is_that_of_all_pairs():
    values = np.random.default_rng(0).normal(size=(2, 28, 30))
    sets = np.array([[0, 3, 5], [1, 2, 29]])
    found = network.mean_correlation(values, sets)
    assert found.shape == (2, 2)
    for draw in range(2):
        for place, members in enumerate(sets):
            r = np.corrcoef(values[draw][:, members].T)
            assert found[draw, place] == pytest.approx(r[np.triu_indices(3, 1)].mean())


def test_random_sets_are_as_far_apart():
    places = positions(CH_NAMES)

    def spread(members):
        distance = np.linalg.norm(places[members][:, None] - places[members][None], axis=-1)
        return distance[np.triu_indices(len(members), 1)].mean()

    sets = network.sets_of_same_spread(places, CHOSEN)
    assert len(sets) > 1_000
    assert len(np.unique(sets, axis=0)) == len(sets)
    assert all(len(set(members)) == 8 for members in sets.tolist())
    ratios = np.array([spread(members) for members in sets[:300]]) / spread(CHOSEN)
    assert (np.abs(ratios - 1) <= 0.1).all()


def test_a_planted_network_stands_out_and_what_all_channels_share_does_not():
    shared, p = np.random.default_rng(1).normal(size=(28, 1, 1)), []
    for seed in range(20):
        de = noise(seed, 4, n_steps=1)
        de[:, :, :, :, 4] += 2 * shared
        everywhere = network.rows(scalp_cohort(de), RATED)
        assert one_row(everywhere, protocol="clips").value > 0.8
        assert abs(one_row(everywhere, protocol="clips, mean over channels taken off").value) < 0.25
        p.append(one_row(everywhere, protocol="clips").p)
    assert np.mean(np.array(p) < 0.05) < 0.25
    de = noise(2, 4, n_steps=1)
    de[..., 4][:, :, CHOSEN] += 2 * shared
    for row in network.rows(scalp_cohort(de), RATED):
        assert row.value > 0.7
        assert row.p < 0.01
        assert row.ci_low < row.value < row.ci_high


def test_seed_v_names_its_channels_in_another_way():
    de = noise(3, 3, n_chans=62, n_steps=1)
    found = network.rows(scalp_cohort(de, ch_names=tuple(name.upper() for name in SEED_V)), RATED)
    assert abs(one_row(found, protocol="clips").value) < 0.3


def test_electrodes_that_are_not_there_are_named():
    with pytest.raises(NotPossible, match="no PO3, F7, O1"):
        network.rows(scalp_cohort(noise(4, 3, n_chans=2), ch_names=("Fz", "Cz")), RATED)
    with pytest.raises(NotPossible, match="no gamma band"):
        network.rows(scalp_cohort(noise(4, 3, n_bands=1), band_names=("alpha",)), RATED)


def test_average_reference_makes_powers_go_together():
    rng = np.random.default_rng(5)
    loudness = np.exp(0.3 * rng.normal(size=(60, 8, 1)))
    loudness[:, 0] = np.exp(2 + rng.normal(size=(60, 1)))  # one electrode with an artefact now and then
    signals = loudness * rng.normal(size=(60, 8, 500))
    members = np.arange(1, 8)

    def mean_r(x):
        return network.mean_correlation(np.log(x.var(axis=-1)), members)

    assert abs(mean_r(signals)) < 0.1
    assert mean_r(signals - signals.mean(axis=1, keepdims=True)) > 0.3


def test_on_the_real_data_it_is_that_of_the_study_and_of_any_electrodes(shared_data):
    found = network.rows(faced_cohort(shared_data), RATED)
    row = one_row(found, protocol="clips")
    assert row.value == pytest.approx(0.675, abs=0.05)
    assert row.p > 0.05
    assert one_row(found, protocol="clips, mean over channels taken off").value < 0.4
