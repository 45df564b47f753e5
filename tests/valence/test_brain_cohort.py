"""A data set on disk to a cohort, targets by name, and what neither can be made of."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.io

from tests.jobs.conftest import write_de
from tests.valence import faced_recordings as faced_world
from tests.valence.scalp_cohorts import LABELS, RATED, noise, scalp_cohort
from tests.valence.seed_v_recordings import write_features
from valence.axis import Axis
from valence.brain.checks import check_cohort, scalp_channels
from valence.brain.cohort import load_cohort, over_subjects
from valence.brain.targets import brain_target, mean_rating
from valence.concepts import AROUSAL
from valence.datasets.base import Dataset, Recording
from valence.datasets.faced import Faced
from valence.datasets.faced_bids import FacedBids
from valence.datasets.faced_raw import FacedRaw
from valence.datasets.seed_v import SeedV
from valence.datasets.simulated import Simulated, write_cohort
from valence.errors import BadInput
from valence.faced_files import MEAN_VALENCE
from valence.faced_ratings import RATINGS, read_ratings_table
from valence.faced_stimuli import STIMULI
from valence.features import differential_entropy
from valence.seed_v_features import N_STEPS
from valence.stories import EMOTIONS


@pytest.fixture(scope="module")
def simulated(tmp_path_factory) -> Simulated:
    return Simulated(write_cohort(tmp_path_factory.mktemp("brain") / "simulated", n_subjects=4, inputs=("de",)))


@pytest.fixture(scope="module")
def cohort(simulated):
    return load_cohort(simulated)


def axis_of(positions: np.ndarray, classes: tuple[str, ...] = EMOTIONS) -> Axis:
    """An axis whose classes lie on a line, as given."""
    direction = np.array([1.0, 0.0])
    return Axis(
        direction=direction,
        class_positions=positions,
        centroids=np.outer(positions - positions.mean(), direction),
        classes=classes,
        explained_variance=1.0,
        **{"llm": "by hand", "llm_hash": "", "layer": 0, "pooling": "none", "method": "by hand"},
        **{"n_paraphrases": 0, "engine": "none", "dtype": "float64"},
    )


def test_a_cohort_is_what_the_data_set_reads(simulated, cohort):
    assert cohort.subjects == simulated.subjects("de")
    assert cohort.ch_names == simulated.ch_names[:30]  # without mastoids
    assert cohort.band_names == ("delta", "theta", "alpha", "beta", "gamma")
    assert cohort.de.shape == (4, 28, 30, 30, 5)
    for number, subject in enumerate(cohort.subjects):
        np.testing.assert_array_equal(cohort.de[number], simulated.load(subject, "de").clips[:, :30])
        np.testing.assert_array_equal(cohort.presentation[number], simulated.presentation(subject))
    np.testing.assert_array_equal(cohort.campaigns, [1, 1, 2, 2])
    np.testing.assert_array_equal(cohort.clip_seconds, [stimulus.duration_s for stimulus in STIMULI])
    assert cohort.block_clips == 4
    assert cohort.sessions is None
    np.testing.assert_array_equal(cohort.signs, [-1, -1, -1, -1, 0, 1, 1, 1, 1])


def test_means_are_those_of_numpy(cohort):
    np.testing.assert_allclose(cohort.subject_means(), cohort.de.astype(float).mean(axis=3), rtol=1e-6)
    np.testing.assert_allclose(cohort.clip_means(), cohort.de.astype(float).mean(axis=(0, 3)), rtol=1e-6)
    assert cohort.clip_means() is cohort.clip_means()
    with pytest.raises(ValueError, match="read-only"):
        cohort.clip_means()[0] = 0


def test_reports_are_those_of_the_files(simulated, cohort):
    assert set(cohort.ratings) == set(RATINGS)
    path = simulated.root / "Data" / cohort.subjects[1] / "After_remarks.mat"
    entries = scipy.io.loadmat(path, simplify_cells=True)["After_remark"]
    for entry in entries:
        clip = int(entry["vid"]) - 1
        for scale, score in zip(RATINGS, entry["score"], strict=True):
            assert cohort.ratings[scale][1, clip] == pytest.approx(score)


def test_reports_come_from_a_table_where_subjects_have_no_file_of_their_own(simulated, tmp_path):
    for name in ("EEG_Features", "Data"):
        (tmp_path / name).symlink_to(simulated.root / name)
    subjects = simulated.subjects("de")
    table = ["sub,presentation_rank,video_index," + ",".join(name.capitalize() for name in RATINGS)]
    table += [f"{subjects[0]},{rank},{28 - rank}," + ",".join(["1.5"] * 12) for rank in range(28)]
    (tmp_path / "ratings_of_all.csv").write_text("\n".join(table))
    without = tmp_path / "without"
    without.mkdir()
    (without / "EEG_Features").symlink_to(simulated.root / "EEG_Features")
    (without / "ratings_of_all.csv").symlink_to(tmp_path / "ratings_of_all.csv")
    # a subject's own file comes first
    assert not (Faced(tmp_path).reports(subjects)["valence"] == 1.5).all(axis=1)[0]
    found = Faced(without)
    reports = found.reports(subjects)["valence"]
    assert (reports[0] == 1.5).all()
    assert np.isnan(reports[1:]).all()
    np.testing.assert_array_equal(found.presentation(subjects[0]), np.arange(28)[::-1])
    assert found.presentation(subjects[1]) is None
    (without / "ratings_more.csv").write_text("")
    with pytest.raises(BadInput, match=r"2 tables of ratings: ratings_more.csv, ratings_of_all.csv"):
        Faced(without).reports(subjects)


def test_without_reports_there_are_none(tmp_path):
    cohort = load_cohort(Faced(write_de(tmp_path)))
    assert cohort.ratings == {}
    assert cohort.presentation is None
    with pytest.raises(BadInput, match="has no self-reports of it"):
        brain_target("arousal", cohort)
    with pytest.raises(BadInput, match=r"--target rank or axis:FILE"):
        brain_target("behaviour", cohort)


def test_reports_of_raw_recordings_and_their_bids_copy(tmp_path):
    folder = faced_world.write_raw_subject(tmp_path / "raw", "sub003")
    faced_world.write_remarks(folder / "After_remarks.mat", ratings=faced_world.scores(7))
    faced_world.write_bids_subject(tmp_path / "bids", "070")
    for dataset, scores in ((FacedRaw(tmp_path / "raw"), 7), (FacedBids(tmp_path / "bids"), 0)):
        reports = dataset.reports(dataset.subjects("windows"))
        np.testing.assert_array_equal(np.stack([*reports.values()], axis=-1)[0], faced_world.scores(scores))


def test_real_reports_and_orders_are_found_in_the_folder(shared_data):
    faced = Faced(shared_data / "faced")
    subjects = faced.subjects("de")
    reports = faced.reports(subjects)
    table = read_ratings_table(shared_data / "faced" / "ratings_nemar_events.csv")
    expected = table[table["subject"].isin(subjects)].pivot(index="subject", columns="clip", values="familiarity")
    np.testing.assert_allclose(reports["familiarity"], expected.to_numpy(), atol=1e-6)
    np.testing.assert_allclose(reports["valence"].mean(axis=0), MEAN_VALENCE, atol=0.3)
    orders = np.array([faced.presentation(subject) for subject in subjects])
    np.testing.assert_array_equal(np.sort(orders, axis=1), np.tile(np.arange(28), (100, 1)))


def test_clips_of_different_length_end_in_nothing(tmp_path):
    for subject in (1, 2):
        write_features(tmp_path, subject)
    cohort = load_cohort(SeedV(tmp_path))
    assert cohort.de.shape == (2, 45, 62, max(N_STEPS), 5)
    for clip, n_steps in enumerate(N_STEPS):
        assert np.isfinite(cohort.de[:, clip, :, :n_steps]).all()
        assert np.isnan(cohort.de[:, clip, :, n_steps:]).all()
        own = SeedV(tmp_path).load("sub01", "de").clips[clip]
        np.testing.assert_allclose(cohort.subject_means()[0, clip], own.astype(float).mean(axis=1), rtol=1e-6)
    assert np.isfinite(cohort.clip_means()).all()
    np.testing.assert_array_equal(cohort.sessions, np.repeat([1, 2, 3], 15))
    assert cohort.classes == ("disgust", "fear", "sadness", "neutral", "joy")
    np.testing.assert_array_equal(cohort.signs, [-1, -1, -1, 0, 1])


def test_who_lacks_a_clip_does_not_move_it():
    means = 3.0 * np.random.default_rng(0).normal(size=(40, 1, 6, 5)) + np.random.default_rng(1).normal(size=(28, 6, 5))
    expected = means.mean(axis=0)
    means[:10, 4] = np.nan
    found = over_subjects(means)
    np.testing.assert_allclose(found - found.mean(axis=0), expected - expected.mean(axis=0), atol=0.06)
    plain = np.nanmean(means, axis=0)
    assert np.abs(plain - plain.mean(axis=0) - expected + expected.mean(axis=0)).max() > 0.5
    means[:, 7] = np.nan
    assert np.isnan(over_subjects(means)[7]).all()


def test_channels_of_unknown_place_are_listed_and_dropped_by_name_alone(tmp_path):
    class Odd(Faced):
        name = "odd"
        ch_names = (*Faced.ch_names[:5], "HEOR", *Faced.ch_names[6:31], "ECG")
        off_scalp = ()

    dataset = Odd(write_de(tmp_path))
    with pytest.raises(BadInput, match=r"channels HEOR, ECG\n.*\n.*--drop-channels"):
        load_cohort(dataset)
    with pytest.raises(BadInput, match="channel ECG"):
        load_cohort(dataset, drop=["HEOR"])
    assert scalp_channels(dataset, ["ECG", "HEOR"]) == (*Faced.ch_names[:5], *Faced.ch_names[6:31])
    assert load_cohort(dataset, drop=("ECG", "HEOR")).de.shape[2] == 30
    with pytest.raises(BadInput, match="channel 'EGC'"):
        load_cohort(dataset, drop=["EGC"])
    with pytest.raises(BadInput, match="no channel is left"):
        scalp_channels(dataset, dataset.ch_names)


def test_too_few_clips_of_a_sign_are_refused():
    labels = np.repeat([0, 1, 4, 7], [3, 3, 4, 4])
    cohort = scalp_cohort(noise(0, labels=labels), labels=labels, classes=EMOTIONS)
    with pytest.raises(BadInput, match="6 clips of negative and 4 of positive classes"):
        check_cohort(cohort)
    strangers = replace(scalp_cohort(noise(0)), classes=tuple("abcdefghi"))
    with pytest.raises(BadInput, match="0 clips of negative and 0 of positive classes"):
        check_cohort(strangers)


def test_features_that_are_the_same_for_all_clips_are_refused():
    de = noise(0)
    de[:, :, 3, :, 2] = de[:, :1, 3, :, 2]
    with pytest.raises(BadInput, match="the same for all clips: F3 alpha\n"):
        check_cohort(scalp_cohort(de))


def test_a_clip_that_nobody_has_is_refused():
    de = noise(0)
    de[:, 6] = np.nan
    with pytest.raises(BadInput, match="no subject has a recording of clip 7\n"):
        check_cohort(scalp_cohort(de))
    de[0, 6] = 1.0
    check_cohort(scalp_cohort(de))


def test_targets_by_name(cohort, simulated):
    positions = np.random.default_rng(0).normal(size=9)
    found = {
        "axis": brain_target("axis", cohort, axis_of(positions)),
        "rank": brain_target("rank", cohort),
        "behaviour": brain_target("behaviour", cohort),
        "arousal": brain_target("arousal", cohort, ratings=simulated.ratings()),
    }
    expected = {
        "axis": positions[LABELS],
        "rank": np.sign(LABELS - 4),
        "behaviour": cohort.ratings["valence"].mean(axis=0),
        "arousal": cohort.ratings["arousal"].mean(axis=0),
    }
    for name, target in found.items():
        assert target.name == name
        scored = (expected[name] - expected[name].mean()) / expected[name].std()
        np.testing.assert_allclose(target.clip_values, scored, atol=1e-12)
        means = np.array([expected[name][label == LABELS].mean() for label in range(9)])
        np.testing.assert_allclose(target.class_values, (means - means.mean()) / means.std(), atol=1e-12)
    rated = brain_target("behaviour", cohort, ratings=np.array(MEAN_VALENCE))
    np.testing.assert_allclose(rated.clip_values, RATED.clip_values)


def test_an_axis_of_other_order_or_more_classes_is_brought_into_that_of_the_cohort(cohort):
    positions = np.random.default_rng(1).normal(size=9)
    order = np.random.default_rng(2).permutation(9)
    turned = axis_of(positions[order], tuple(EMOTIONS[place] for place in order))
    np.testing.assert_allclose(
        brain_target("axis", cohort, turned).clip_values, brain_target("axis", cohort, axis_of(positions)).clip_values
    )
    with pytest.raises(BadInput, match="an axis of the classes joy, fear"):
        brain_target("axis", cohort, axis_of(np.array([1.0, -1.0]), ("joy", "fear")))
    with pytest.raises(BadInput, match="without an axis"):
        brain_target("axis", cohort)


def test_targets_that_are_none_are_refused(cohort):
    with pytest.raises(BadInput, match="did you mean arousal"):
        brain_target("arousel", cohort)
    with pytest.raises(BadInput, match="no differences"):
        brain_target("behaviour", cohort, ratings=np.full(28, 3.0))
    with pytest.raises(BadInput, match="no differences"):
        brain_target("axis", cohort, axis_of(np.ones(9)))
    with pytest.raises(BadInput, match="shape"):
        brain_target("behaviour", cohort, ratings=np.arange(27.0))


def test_mean_ratings_pass_over_those_not_given(cohort):
    given = cohort.ratings["liking"].copy()
    given[0, 3] = np.nan
    given[:, 5] = np.nan
    some = replace(cohort, ratings={"liking": given})
    found = mean_rating(some, "liking")
    assert found[3] == pytest.approx(given[1:, 3].mean())
    assert np.isnan(found[5])
    assert mean_rating(some, "valence") is None
    assert set(AROUSAL) == set(EMOTIONS)


def test_a_plugin_without_reports_is_loaded(tmp_path):
    class Own(Dataset):
        name, url, licence, doi = "own", "https://example.org", "none", "none"
        sfreq, ch_names, bands = 100.0, ("Cz", "Pz"), Faced.bands
        n_clips, clip_seconds = 12, (4.0,) * 12
        classes, class_of_clip = ("joy", "fear"), (0, 1) * 6
        films = tuple(f"film {clip}" for clip in range(12))
        inputs = ("windows",)

        def files(self, input):
            return {"anna": (tmp_path / "anna",), "bert": (tmp_path / "bert",)}

        def cohort(self, subject):
            return 1

        def read(self, subject, input):
            return Recording(np.random.default_rng(ord(subject[0])).normal(size=(12, 2, 400)) * 10)

    own = Own(tmp_path)
    cohort = load_cohort(own)
    assert cohort.de.shape == (2, 12, 2, 4, 5)
    # signals give the features that are published
    signals = own.load("bert", "windows").clips[5]
    expected = differential_entropy(signals, sfreq=100, bands=Faced.bands, edges="mne")
    np.testing.assert_allclose(cohort.de[1, 5], expected, rtol=1e-5)
    assert cohort.ratings == {}
    assert cohort.presentation is None
    assert cohort.clip_seconds is None
    own.reports = lambda subjects: {"valence": np.zeros((12, 2))}
    with pytest.raises(BadInput, match=r"reports of valence have the shape \(12, 2\)"):
        load_cohort(own)


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"off_scalp": ("A1", "A3")}, "off_scalp: "),
        ({"off_scalp": ["A1"]}, "off_scalp: "),
        ({"shown_seconds": (60.0,) * 27}, "shown_seconds: 27 values"),
        ({"shown_seconds": (60.0,) * 27 + (0.0,)}, "shown_seconds: "),
        ({"session_of_clip": (1,) * 27}, "session_of_clip: 27 values"),
        ({"session_of_clip": (1.0,) * 28}, "session_of_clip: "),
    ],
)
def test_facts_that_contradict_each_other_are_refused(tmp_path, facts, told):
    own = type("Own", (Faced,), facts)
    with pytest.raises(BadInput, match=told):
        own(write_de(tmp_path))
