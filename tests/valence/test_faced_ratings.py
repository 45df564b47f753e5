"""FACED's ratings: three sources, one table; files that are not what they should be are refused."""

import shutil

import numpy as np
import pandas as pd
import pytest
import scipy.io

from tests.valence import faced_recordings as world
from valence.datasets.faced import Faced
from valence.datasets.faced_bids import FacedBids
from valence.datasets.faced_raw import FacedRaw
from valence.datasets.simulated import Simulated, write_cohort
from valence.errors import BadInput
from valence.faced_files import MEAN_VALENCE
from valence.faced_ratings import (
    COLUMNS,
    RATINGS,
    mean_valence,
    presentation,
    read_after_remarks,
    read_bids_ratings,
    read_ratings,
    read_ratings_table,
)
from valence.self_reports import self_reports
from valence.simulation import plant
from valence.worlds import World


def csv_lines(subjects: dict[str, np.ndarray]) -> list[list[str]]:
    """A table like the one made of the BIDS events."""
    lines = [["sub", "presentation_rank", "video_index", *(name.capitalize() for name in RATINGS)]]
    for subject, ratings in subjects.items():
        for rank, clip in enumerate(world.ORDER):
            lines.append([subject, str(rank), str(clip + 1), *(str(rating) for rating in ratings[clip])])
    return lines


def write_csv(path, lines):
    path.write_text("".join(",".join(line) + "\n" for line in lines), encoding="utf-8-sig")
    return path


def test_three_sources_give_one_table(tmp_path):
    remarks = read_after_remarks(world.write_remarks(tmp_path / "After_remarks.mat"), subject="sub004")
    events = read_bids_ratings(world.write_tsv(tmp_path / "sub-004_events.tsv", world.event_lines()))
    table = read_ratings_table(write_csv(tmp_path / "ratings.csv", csv_lines({"sub-004": world.scores()})))
    assert tuple(remarks.columns) == COLUMNS
    pd.testing.assert_frame_equal(remarks, events)
    pd.testing.assert_frame_equal(remarks, table)
    np.testing.assert_array_equal(remarks[list(RATINGS)], world.scores())
    np.testing.assert_array_equal(remarks["clip"], range(28))
    np.testing.assert_array_equal(np.argsort(presentation(remarks, "sub004")), world.ORDER)
    np.testing.assert_array_equal(presentation(remarks, "sub005"), [-1] * 28)


def test_a_folder_gives_all_its_subjects_and_their_mean(tmp_path):
    ratings = [world.scores(seed) for seed in range(3)]
    for number, scores in enumerate(ratings):
        path = tmp_path / "raw" / "Data" / f"sub00{number}" / "After_remarks.mat"
        world.write_remarks(path, np.random.default_rng(number).permutation(28), scores)
    table = read_ratings(tmp_path / "raw")
    assert list(table["subject"].unique()) == ["sub000", "sub001", "sub002"]
    valence = np.mean([scores[:, RATINGS.index("valence")] for scores in ratings], axis=0)
    np.testing.assert_allclose(mean_valence(table), valence, rtol=1e-12)
    world.write_tsv(tmp_path / "raw" / "sub-001" / "eeg" / "sub-001_events.tsv", world.event_lines())
    with pytest.raises(BadInput, match="a subject is there twice"):
        read_ratings(tmp_path / "raw")
    with pytest.raises(BadInput, match="no ratings"):
        read_ratings(tmp_path)


def test_ratings_not_given_are_missing_and_left_out_of_the_mean(tmp_path):
    first, second = world.scores(0), world.scores(1)
    first[3] = np.nan
    second[7, RATINGS.index("joy")] = np.nan
    for name, scores in (("sub000", first), ("sub001", second)):
        world.write_remarks(tmp_path / "Data" / name / "After_remarks.mat", ratings=scores)
    table = read_ratings(tmp_path)
    assert table[list(RATINGS)].isna().to_numpy().sum() == 13
    valence = RATINGS.index("valence")
    found = mean_valence(table)
    assert found[3] == second[3, valence]
    assert found[7] == pytest.approx((first[7, valence] + second[7, valence]) / 2)
    with pytest.raises(BadInput, match="valence of clip 4"):
        mean_valence(table[table["subject"] == "sub000"])
    lines = [["n/a" if cell == "nan" else cell for cell in line] for line in world.event_lines(ratings=first)]
    events = read_bids_ratings(world.write_tsv(tmp_path / "sub-000_events.tsv", lines))
    pd.testing.assert_frame_equal(events, table[table["subject"] == "sub000"].reset_index(drop=True))


def test_ratings_of_events_without_a_clip_are_read_without_ranks(tmp_path):
    lines = world.event_lines()
    table = read_bids_ratings(world.write_tsv(tmp_path / "sub-004_events.tsv", lines[:10] + lines[11:]))
    assert len(table) == 27
    assert set(table["rank"]) == {-1}
    np.testing.assert_array_equal(table[list(RATINGS)], np.delete(world.scores(), world.ORDER[8], axis=0))
    np.testing.assert_array_equal(presentation(table, "sub004"), [-1] * 28)


@pytest.mark.parametrize("value", [-0.5, 7.5, np.inf])
def test_a_rating_off_the_scale_is_refused(tmp_path, value):
    scores = world.scores()
    scores[5, 2] = value
    with pytest.raises(BadInput, match="outside 0 to 7"):
        read_after_remarks(world.write_remarks(tmp_path / "After_remarks.mat", ratings=scores), subject="sub000")


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (world.ORDER[:27], "27 entries"),
        ((*world.ORDER[:27], world.ORDER[0]), "a clip twice"),
    ],
)
def test_remarks_of_another_number_of_clips_are_refused(tmp_path, order, message):
    with pytest.raises(BadInput, match=message):
        read_after_remarks(world.write_remarks(tmp_path / "After_remarks.mat", order), subject="sub000")


def test_damaged_and_hostile_remarks_are_refused(tmp_path):
    path = world.write_remarks(tmp_path / "After_remarks.mat")
    whole = path.read_bytes()
    remark = scipy.io.loadmat(path)["After_remark"]
    for content, message in (
        (whole[:200], "truncated"),
        (whole[:3000], "truncated"),
        (b"", "no MATLAB 5 file"),
        (b"MATLAB 7.3 MAT-file" + bytes(600), "no MATLAB 5 file"),
        (whole + bytes(200_000), "bytes; published ones"),  # it could unpack to a thousand times its size
    ):
        path.write_bytes(content)
        with pytest.raises(BadInput, match=message):
            read_after_remarks(path, subject="sub000")
    for field, value, message in (
        ("vid", np.array([[29]]), "not 1 to 28"),
        ("vid", np.array([[1.5]]), "clip or trial"),
        ("vid", np.array([["eleven"]]), "vid holds no numbers"),
        ("trial", np.array([[0]]), "not 1 to 28"),
        ("trial", np.array([[5]]), "one place"),
        ("score", np.zeros((1, 11)), "a score has 11"),
        ("score", np.array([["x"] * 12], dtype=object), "score holds no numbers"),
    ):
        changed = remark.copy()
        entry = list(changed[0, 0])
        entry[changed.dtype.names.index(field)] = (
            value if value.dtype != object else np.array([["x"] * 12], dtype=object)
        )
        changed[0, 0] = tuple(entry)
        scipy.io.savemat(path, {"After_remark": changed})
        with pytest.raises(BadInput, match=message):
            read_after_remarks(path, subject="sub000")
    scipy.io.savemat(path, {"After_remark": np.zeros((28, 1))})
    with pytest.raises(BadInput, match="class 6"):
        read_after_remarks(path, subject="sub000")
    scipy.io.savemat(path, {"Before_remark": np.zeros((28, 1))})
    with pytest.raises(BadInput, match="it holds no array After_remark"):
        read_after_remarks(path, subject="sub000")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: [*lines, lines[-1]], "a clip twice"),
        (lambda lines: [lines[0], *([*line[:3], "9", *line[4:]] for line in lines[1:])], "outside 0 to 7"),
        (lambda lines: [lines[0], *([*line[:3], "much", *line[4:]] for line in lines[1:])], "Joy: could not convert"),
        (lambda lines: [line[:-1] for line in lines], "Liking: there is no such column"),
        (lambda lines: [line[1:] for line in lines], "KeyError"),
        (lambda lines: [lines[0], *(["anna", *line[1:]] for line in lines[1:])], "subject 'anna'"),
        (lambda lines: lines[:1], "no ratings"),
    ],
)
def test_tables_that_do_not_fit_are_refused(tmp_path, change, message):
    with pytest.raises(BadInput, match=message):
        read_ratings(write_csv(tmp_path / "ratings.csv", change(csv_lines({"sub-004": world.scores()}))))


def test_real_sources_agree_and_give_the_published_means(shared_data):
    folder = shared_data / "faced"
    everyone = read_ratings(folder / "ratings_nemar_events.csv")
    assert everyone.shape == (123 * 28, len(COLUMNS))
    np.testing.assert_allclose(mean_valence(everyone), MEAN_VALENCE, atol=0.005)
    remarks, events = read_ratings(folder), read_ratings(folder / "bids")
    for subject in ("sub000", "sub061"):
        three = [table[table["subject"] == subject].reset_index(drop=True) for table in (remarks, events, everyone)]
        pd.testing.assert_frame_equal(three[0], three[1], check_exact=True)
        pd.testing.assert_frame_equal(three[0], three[2], check_exact=True)
    orders = np.array([presentation(everyone, subject) for subject in everyone["subject"].unique()])
    np.testing.assert_array_equal(np.sort(orders, axis=1), np.tile(range(28), (123, 1)))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """A simulated cohort of six: sub000 to sub002 of cohort 1, sub061 to sub063 of cohort 2."""
    return Simulated(write_cohort(tmp_path_factory.mktemp("simulated") / "cohort", n_subjects=6, inputs=("de",)))


def test_ratings_of_some_subjects_are_their_mean_alone(cohort):
    some = ("sub000", "sub062", "sub001")
    reports = [self_reports(World(), name, cohort=cohort.cohort(name))[:, RATINGS.index("valence")] for name in some]
    np.testing.assert_allclose(cohort.ratings(some), np.mean(reports, axis=0), rtol=1e-12)
    np.testing.assert_allclose(Faced(cohort.root).ratings(some[:1]), reports[0], rtol=1e-12)
    np.testing.assert_array_equal(cohort.ratings(), cohort.truth["ratings"])
    assert np.abs(cohort.ratings(cohort.subjects("de")) - cohort.ratings()).max() > 0.1  # people, not what was planted
    assert np.corrcoef(cohort.ratings(some), plant(World()).clip_values)[0, 1] > 0.8


def test_a_clip_that_none_of_the_subjects_rated_is_missing(cohort, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(cohort.root, root)
    scores = world.scores(3)
    scores[[4, 9]] = np.nan
    world.write_remarks(root / "Data" / "sub001" / "After_remarks.mat", ratings=scores)
    alone = Faced(root).ratings(("sub001",))
    assert list(np.flatnonzero(np.isnan(alone))) == [4, 9]
    np.testing.assert_allclose(np.delete(alone, [4, 9]), np.delete(scores[:, RATINGS.index("valence")], [4, 9]))
    both, other = Faced(root).ratings(("sub001", "sub061")), cohort.ratings(("sub061",))
    np.testing.assert_array_equal(both[[4, 9]], other[[4, 9]])


def test_ratings_of_nobody_of_strangers_and_of_a_part_are_refused(cohort, tmp_path):
    with pytest.raises(BadInput, match="ratings of no subjects"):
        cohort.ratings(())
    with pytest.raises(BadInput, match="ratings of a subject twice"):
        cohort.ratings(("sub000", "sub000"))
    with pytest.raises(BadInput, match="unknown subject 'sub003'"):
        cohort.ratings(("sub000", "sub003"))
    root = tmp_path / "copy"
    shutil.copytree(cohort.root, root)
    (root / "Data" / "sub001" / "After_remarks.mat").unlink()
    (root / "Data" / "sub062" / "After_remarks.mat").unlink()
    assert Faced(root).ratings(("sub001", "sub062")) is None
    with pytest.raises(BadInput, match="ratings of 2 of 4 subjects: there are none of sub001, sub062\n"):
        Faced(root).ratings(("sub000", "sub001", "sub062", "sub063"))
    np.testing.assert_array_equal(Faced(root).ratings(("sub000", "sub063")), cohort.ratings(("sub000", "sub063")))


def test_raw_and_bids_folders_give_the_ratings_of_their_subjects(tmp_path):
    folder = world.write_raw_subject(tmp_path / "raw", "sub003")
    world.write_remarks(folder / "After_remarks.mat", ratings=world.scores(7))
    world.write_bids_subject(tmp_path / "bids", "070")
    raw, bids = FacedRaw(tmp_path / "raw"), FacedBids(tmp_path / "bids")
    np.testing.assert_array_equal(raw.ratings(("sub003",)), world.scores(7)[:, RATINGS.index("valence")])
    np.testing.assert_array_equal(bids.ratings(("sub070",)), world.scores()[:, RATINGS.index("valence")])
    np.testing.assert_array_equal(raw.ratings(), MEAN_VALENCE)
    with pytest.raises(BadInput, match="unknown subject 'sub004'"):
        raw.ratings(("sub003", "sub004"))


def test_real_ratings_of_some_subjects(shared_data):
    folder = shared_data / "faced"
    faced, table = Faced(folder), read_ratings(folder / "ratings_nemar_events.csv")
    some = ("sub000", "sub061", "sub001")
    mine = table[table["subject"].isin(some)].pivot(index="clip", columns="subject", values="valence")
    np.testing.assert_allclose(faced.ratings(some), mine.mean(axis=1), rtol=1e-12)
    assert np.corrcoef(faced.ratings(some), faced.ratings())[0, 1] > 0.8
    assert faced.ratings(("sub002", "sub003")) is None
    with pytest.raises(BadInput, match="there are none of sub002"):
        faced.ratings((*some, "sub002"))
