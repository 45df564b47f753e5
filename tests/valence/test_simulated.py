"""The simulated cohort: FACED's files, a truth that can be found again, the same subject in every cohort."""

import json
import shutil

import numpy as np
import pytest
import scipy.signal

from valence import cohort_files
from valence.cell import Recipe
from valence.datasets import DATASETS
from valence.datasets.faced import Faced
from valence.datasets.simulated import Simulated, write_cohort
from valence.errors import BadInput
from valence.faced_files import RECORDING_INFO, FacedFiles
from valence.features import BANDS, differential_entropy
from valence.preprocessing import cut_windows
from valence.simulation import World, plant, presentation_order, simulate_subject
from valence.splits import make_split

LABELS = np.array(FacedFiles.class_of_clip)
N_SUBJECTS = 12


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Simulated:
    return Simulated(write_cohort(tmp_path_factory.mktemp("cohort") / "simulated", n_subjects=N_SUBJECTS))


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Simulated:
    return Simulated(write_small(tmp_path_factory.mktemp("small") / "simulated"))


def write_small(root, **changes):
    return write_cohort(root, **{"n_subjects": 3, "inputs": ("de",)} | changes)


def mean_de(cohort: Simulated) -> np.ndarray:
    """(n_clips, n_chans, n_bands)"""
    return np.mean([cohort.load(subject, "de").clips.mean(axis=2) for subject in cohort.subjects("de")], axis=0)


def test_the_files_are_those_of_faced(cohort):
    faced = Faced(cohort.root)
    assert faced.inputs == cohort.inputs == ("windows", "de")
    assert faced.subjects("windows") == faced.subjects("de") == cohort.subjects("de")
    assert (cohort.root / "Processed_data/sub000.pkl").is_file()
    assert (cohort.root / "EEG_Features/DE/sub061.pkl.pkl").is_file()
    assert (cohort.root / RECORDING_INFO).read_bytes().startswith(b"sub,Gender,Age,Cohort ,Sample_rate,Unit\r\n")
    np.testing.assert_array_equal(faced.load("sub000", "windows").clips, cohort.load("sub000", "windows").clips)
    assert [cohort.cohort(subject) for subject in cohort.subjects("de")] == [1] * 6 + [2] * 6


def test_de_features_are_those_of_the_recordings(cohort):
    expected = differential_entropy(cohort.load("sub002", "windows").clips, sfreq=cohort.sfreq)
    np.testing.assert_array_equal(cohort.load("sub002", "de").clips, expected)


def test_signals_look_like_eeg(cohort):
    x = cohort.load("sub003", "windows").clips.astype(np.float64)
    assert 10 < x.std(axis=-1).mean() < 30
    assert np.abs(x).max() < 200
    np.testing.assert_allclose(x.mean(axis=1), 0, atol=1e-3)  # average reference
    frequencies, density = scipy.signal.welch(x.reshape(-1, 7500), 250, nperseg=1000)
    density = density.mean(axis=0)
    away = (frequencies > 2) & (frequencies < 40) & ((frequencies < 6) | (frequencies > 16))
    slope = np.polyfit(np.log(frequencies[away]), np.log(density[away]), 1)[0]
    assert -1.5 < slope < -0.7  # 1/f
    at = {hz: density[np.argmin(np.abs(frequencies - hz))] for hz in (10, 14, 55)}
    assert at[10] > 1.5 * at[14]  # an alpha peak
    assert at[55] < 1e-3 * at[14]  # the pass band of FACED's processing
    channels = np.corrcoef(x[0])
    neighbours = channels[x_of("O1"), x_of("Oz")]
    assert neighbours > channels[x_of("O1"), x_of("Fp2")] + 0.3  # volume conduction


def x_of(channel: str) -> int:
    return FacedFiles.ch_names.index(channel)


def test_the_planted_values_are_found_where_they_are_planted(cohort):
    de = mean_de(cohort)
    for channel, band, sign in (("PO3", "gamma", 1), ("O1", "gamma", 1), ("F7", "beta", -1)):
        index = [band_.name for band_ in BANDS].index(band)
        r = np.corrcoef(de[:, x_of(channel), index], cohort.truth["clip_values"])[0, 1]
        assert sign * r > 0.6, (channel, band, r)


def test_without_an_axis_nothing_is_found_there():
    world = World(axis_strength=0)
    values = plant(world).clip_values
    subjects = [simulate_subject(world, f"sub{number:03d}", cohort=1) for number in range(3)]
    de = np.mean([differential_entropy(x, sfreq=250).mean(axis=2) for x in subjects], axis=0)
    assert abs(np.corrcoef(de[:, x_of("PO3"), 4], values)[0, 1]) < 0.5


def test_the_axis_strength_is_the_change_of_log_power():
    """Two worlds that differ in strength alone: the same random numbers, so their difference is the axis itself."""
    values = plant(World()).clip_values
    weak, strong = (
        differential_entropy(simulate_subject(World(axis_strength=s), "sub001", cohort=1), sfreq=250).mean(axis=2)
        for s in (0.0, 0.2)
    )
    slopes = np.polyfit(values, (strong - weak)[..., 4], 1)[0]
    assert 0.3 * 0.1 < slopes[x_of("PO3")] < 1.7 * 0.1  # half of 0.2, blurred by the head, times the subject's gain
    assert slopes[x_of("PO3")] > 3 * abs(slopes[x_of("Fp2")])
    np.testing.assert_allclose((strong - weak)[..., :2], 0, atol=0.02)  # nothing in delta and theta


def test_the_truth_is_exact_and_written_beside_the_files(cohort):
    truth = json.loads((cohort.root / "truth.json").read_text())
    planted = plant(World())
    np.testing.assert_allclose(truth["clip_values"], planted.clip_values)
    class_values = np.array(truth["class_values"])
    assert class_values.mean() == pytest.approx(0, abs=1e-12)
    assert class_values.std() == pytest.approx(1)
    for label, value in enumerate(class_values):
        assert np.mean(np.array(truth["clip_values"])[label == LABELS]) == pytest.approx(value)
    assert class_values[7] > class_values[4] > class_values[0]  # joy, neutral, anger
    assert truth["settings"]["seed"] == 0
    assert truth["settings"]["n_subjects"] == N_SUBJECTS
    np.testing.assert_allclose(np.einsum("cbs,bs->c", planted.content, planted.axis), 0, atol=1e-9)
    assert np.corrcoef(cohort.ratings(), planted.clip_values)[0, 1] > 0.95
    assert cohort.ratings().min() >= 0
    assert cohort.ratings().max() <= 7


def test_clips_come_in_blocks_of_one_valence():
    polarity = np.sign(LABELS - 4)
    orders = [presentation_order(World(), f"sub{number:03d}") for number in range(5)]
    for order in orders:
        assert sorted(order) == list(range(28))
        assert all(len(set(polarity[block])) == 1 for block in order.reshape(7, 4))
    assert len({tuple(order) for order in orders}) == 5


@pytest.mark.parametrize("input", ["de", "windows"])
def test_unseen_subjects_are_classified_above_chance_and_below_certainty(cohort, input):
    """Nearest class mean of normalised log power, 8 training subjects, 9 classes: chance is .111."""
    recipe = Recipe(name="test", epochs=1, sfreq_hz=100, window_s=5)
    features = {}
    for subject in cohort.subjects(input):
        if input == "de":
            x = cohort.load(subject, input).clips.mean(axis=2).reshape(28, -1)
        else:
            windows = cut_windows(cohort.load(subject, input).clips, sfreq=250, recipe=recipe)
            x = differential_entropy(windows, sfreq=100).mean(axis=(1, 3)).reshape(28, -1)
        features[subject] = (x - x.mean(axis=0)) / x.std(axis=0)
    correct = []
    for repeat in range(6):
        split = make_split(cohort, input, f"cohort-balanced:{repeat}")
        train = np.mean([features[subject] for subject in split.train.subjects], axis=0)
        means = np.stack([train[label == LABELS].mean(axis=0) for label in range(9)])
        for subject in split.test.subjects:
            predicted = np.argmin(((features[subject][:, None] - means) ** 2).sum(axis=-1), axis=1)
            correct.append(np.mean(predicted == LABELS))
    assert 0.2 < np.mean(correct) < 0.8


def test_a_subject_is_the_same_whatever_their_number(cohort, small):
    assert small.inputs == ("de",)
    assert small.subjects("de") == ("sub000", "sub061", "sub062")
    for subject in small.subjects("de"):
        np.testing.assert_array_equal(small.load(subject, "de").clips, cohort.load(subject, "de").clips)


def test_seeds_and_subjects_differ(cohort, tmp_path):
    other = Simulated(write_small(tmp_path / "other", world=World(seed=1)))
    assert np.abs(other.load("sub000", "de").clips - cohort.load("sub000", "de").clips).mean() > 0.1
    assert np.abs(cohort.load("sub001", "de").clips - cohort.load("sub000", "de").clips).mean() > 0.1
    assert other.truth["clip_values"] != cohort.truth["clip_values"]


def test_a_killed_call_is_finished_by_the_next(small, tmp_path, monkeypatch):
    made = []

    def simulate(world, subject, *, cohort):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(subject)
        return simulate_subject(world, subject, cohort=cohort)

    monkeypatch.setattr(cohort_files, "simulate_subject", simulate)
    with pytest.raises(KeyboardInterrupt):
        write_small(tmp_path / "cohort", max_workers=1)
    assert not (tmp_path / "cohort").exists()
    monkeypatch.setattr(
        cohort_files, "simulate_subject", lambda *_, **__: made.append("again") or simulate_subject(*_, **__)
    )
    resumed = Simulated(write_small(tmp_path / "cohort"))
    assert made == ["sub000", "sub061", "again"]
    for subject in small.subjects("de"):
        np.testing.assert_array_equal(resumed.load(subject, "de").clips, small.load(subject, "de").clips)
    assert not list(tmp_path.glob(".*partial"))


def test_a_written_cohort_is_found_again_and_never_overwritten(small, monkeypatch):
    monkeypatch.setattr(cohort_files, "simulate_subject", None)
    assert write_small(small.root) == small.root
    with pytest.raises(BadInput, match=r"another simulated cohort: n_subjects 3, not 5, seed 0, not 1"):
        write_small(small.root, n_subjects=5, world=World(seed=1))


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(BadInput, match=r"not a simulated cohort: it holds thesis\.txt"):
        write_small(tmp_path)
    with pytest.raises(BadInput, match="it holds a file"):
        write_small(tmp_path / "thesis.txt")


def test_an_incomplete_cohort_is_refused(small, tmp_path):
    root = shutil.copytree(small.root, tmp_path / "cohort")
    (root / "EEG_Features/DE/sub061.pkl.pkl").unlink()
    with pytest.raises(BadInput, match="sub061"):
        Simulated(root)
    (root / "truth.json").write_text("{")
    with pytest.raises(BadInput, match=r"truth\.json"):
        Simulated(root)


@pytest.mark.parametrize(
    ("truth", "told"),
    [
        ("[]", "it holds a list"),
        ('{"subjects": 5}', "subjects is not a list"),
        ('{"subjects": [["sub000"]]}', "subjects is not a list"),
        ('{"subjects": ["sub000"], "settings": []}', "settings is not an object"),
        ('{"subjects": ["sub000"], "settings": {}}', "ratings is not a list"),
        ('{"subjects": ["sub000"], "settings": {}, "ratings": [1]}', "ratings has 1 numbers, not 28"),
        (
            json.dumps(
                {"subjects": ["sub000"], "settings": {}, "ratings": [1] * 28, "standard_split": [["sub000"], []]}
            ),
            "standard_split is not three lists",
        ),
    ],
)
def test_a_truth_of_another_form_is_refused(small, tmp_path, truth, told):
    root = shutil.copytree(small.root, tmp_path / "cohort")
    (root / "truth.json").write_text(truth)
    with pytest.raises(BadInput, match=rf"truth\.json: ValueError: {told}"):
        Simulated(root)


@pytest.mark.parametrize(
    "changes",
    [
        {"n_subjects": 2},
        {"n_subjects": 124},
        {"inputs": ()},
        {"inputs": ("eeg",)},
        {"parts": (1, 1, 2)},
        {"parts": (3, 0, 0)},
    ],
)
def test_settings_out_of_range_are_refused(tmp_path, changes):
    with pytest.raises(BadInput):
        write_small(tmp_path / "cohort", **changes)


def test_it_is_registered():
    assert DATASETS["simulated"] is Simulated
