"""FACED's ratings: three sources, one table; files that are not what they should be are refused."""

import numpy as np
import pandas as pd
import pytest
import scipy.io

from tests.valence import faced_recordings as world
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
