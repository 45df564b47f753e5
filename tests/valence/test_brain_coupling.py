"""Coupling: the index against a loop over bins, its level without coupling, and planted coupling found again."""

import itertools

import numpy as np
import pytest
from scipy import stats

from tests.valence.hand_cohorts import CHANNELS, LABELS, N_CELLS, VALUES, cohort_of, target_of
from valence.brain import coupling
from valence.brain.rows import NotPossible
from valence.datasets.faced import Faced
from valence.faced_files import FacedFiles
from valence.faced_writing import write_array

SFREQ = 250.0
TARGET = target_of()


def coupled(strength: float, rng: np.random.Generator, *, n_times: int = 7500, sfreq: float = SFREQ) -> np.ndarray:
    """A wandering theta rhythm, and a rhythm of 38 Hz whose amplitude follows its phase, in white noise; µV."""
    t = np.arange(n_times) / sfreq
    phase = 2 * np.pi * 6 * t + np.cumsum(0.08 * rng.normal(size=n_times))
    gamma = (1 + strength * np.cos(phase - 1.0)) * np.cos(
        2 * np.pi * 38 * t + np.cumsum(0.05 * rng.normal(size=n_times))
    )
    return 10 * np.cos(phase) + 3 * gamma + 2 * rng.normal(size=n_times)


def by_hand(phase: np.ndarray, amplitude: np.ndarray) -> float:
    """Tort et al. 2010, bin by bin."""
    edges = np.linspace(-np.pi, np.pi, 19)
    means = [amplitude[(phase >= low) & (phase < high)].mean() for low, high in itertools.pairwise(edges)]
    return stats.entropy(means, np.ones(18)) / np.log(18)


def test_the_index_at_every_lag_is_that_of_a_loop_over_bins():
    rng = np.random.default_rng(0)
    phase, amplitude = rng.uniform(-np.pi, np.pi, 500), rng.gamma(2.0, size=500)
    found = coupling.modulation_by_lag(phase, amplitude)
    assert found.shape == (500,)
    for lag in (0, 1, 17, 499):
        assert found[lag] == pytest.approx(by_hand(phase, np.roll(amplitude, -lag)))


def test_full_and_no_modulation_have_the_index_of_the_formula():
    phase = np.linspace(-np.pi, np.pi, 18 * 40, endpoint=False) + 1e-6
    assert coupling.modulation_by_lag(phase, np.ones(phase.size))[0] == pytest.approx(0, abs=1e-12)
    assert coupling.modulation_by_lag(phase, (phase < phase[40]).astype(float))[0] == pytest.approx(1, abs=1e-6)


def test_signals_without_coupling_are_around_0_and_planted_coupling_grows_with_its_strength():
    rng = np.random.default_rng(1)
    none = coupling.coupling(np.stack([coupled(0.0, rng) for _ in range(150)]), sfreq=SFREQ)
    assert abs(none.mean()) < 0.3
    assert none.std() == pytest.approx(1, abs=0.35)
    of_strength = [
        coupling.coupling(np.stack([coupled(strength, rng) for _ in range(10)]), sfreq=SFREQ).mean()
        for strength in (0.1, 0.3, 0.8)
    ]
    assert 1 < of_strength[0] < of_strength[1] < of_strength[2]


def test_two_rates_agree():
    rng = np.random.default_rng(2)
    x = np.stack([coupled(0.5, rng, n_times=15_000, sfreq=500.0) for _ in range(8)])
    fine, coarse = (coupling.coupling(signal, sfreq=rate) for signal, rate in ((x, 500.0), (x[:, ::2], 250.0)))
    np.testing.assert_allclose(fine, coarse, rtol=0.25)


def test_short_clips_and_constant_channels_have_no_index():
    x = np.random.default_rng(3).normal(size=(2, 7500))
    x[1] = 3.0
    found = coupling.coupling(x, sfreq=SFREQ)
    assert np.isfinite(found[0])
    assert np.isnan(found[1])
    assert np.isnan(coupling.coupling(x[:, :1000], sfreq=SFREQ)).all()


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Faced:
    """Two subjects in FACED's files: coupling follows the target at O1 and is the same everywhere at Cz."""
    root = tmp_path_factory.mktemp("faced")
    scored = (VALUES - VALUES.min()) / np.ptp(VALUES)
    for subject in range(2):
        rng = np.random.default_rng(10 + subject)
        array = (5 * rng.normal(size=(28, 32, 7500))).astype(np.float32)
        for clip, label in enumerate(LABELS):
            array[clip, FacedFiles.ch_names.index("O1")] = coupled(0.6 * scored[label], rng)
            array[clip, FacedFiles.ch_names.index("Cz")] = coupled(0.3, rng)
        (root / "Processed_data").mkdir(exist_ok=True)
        write_array(root / f"Processed_data/sub{subject:03d}.pkl", array)
    return Faced(root)


def test_planted_coupling_is_found_in_recordings_by_its_channel(recordings):
    cohort = cohort_of(np.random.default_rng(4).normal(size=(3, 28, N_CELLS)))
    told = []
    found = coupling.coupling_of_cohort(cohort, recordings, on_subject=lambda done, total: told.append((done, total)))
    assert found.shape == (3, 28, 5)
    assert np.isnan(found[2]).all(), "no signals of the third subject"
    assert told == [(0, 2), (1, 2), (2, 2)]
    assert found[:2, :, CHANNELS.index("Cz")].mean() > 3
    assert abs(found[:2, :, CHANNELS.index("F7")].mean()) < 0.4
    rows = coupling.coupling_rows(cohort, TARGET, found)
    best = next(row for row in rows if "best" in row.protocol)
    assert best.item == "O1"
    assert best.value > 0.85
    assert best.p < 0.01
    level = next(row for row in rows if "other lags" in row.protocol)
    assert level.n == 2
    assert level.value == pytest.approx(np.nanmean(found))
    of_channel = {row.item: row for row in rows if row.protocol == "r with the target"}
    expected = stats.pearsonr(found[:2].mean(axis=0)[:, 2], TARGET.clip_values)[0]
    assert of_channel["O1"].value == pytest.approx(expected)
    assert abs(of_channel["F7"].value) < 0.5


def test_a_data_set_without_signals_says_so(shared_data):
    cohort = cohort_of(np.random.default_rng(5).normal(size=(3, 28, N_CELLS)))
    with pytest.raises(NotPossible, match="without its signals"):
        coupling.rows(cohort, TARGET, Faced(shared_data / "faced"))
