"""Splits: disjoint, complete, balanced over cohorts, repeatable."""

from pathlib import Path

import pytest

from valence.datasets.base import Part
from valence.errors import BadInput
from valence.faced_files import FacedFiles, subject_name
from valence.splits import PARTS, SPLITS, Split, canonical_split, disjoint_by, make_split


class Listed(FacedFiles):
    """FACED with the subjects it is told."""

    name = "listed"

    def __init__(self, numbers):
        self._files = {"windows": {}, "de": {subject_name(number): Path("none") for number in numbers}, "psd": {}}
        self._recordings = {}


ALL = range(123)
EVERY_CLIP = tuple(range(28))


def test_the_standard_split_is_the_fields():
    split = make_split(Listed(ALL), "de", "standard")
    assert split.name == "standard"
    assert split.train.subjects == tuple(subject_name(number) for number in range(80))
    assert split.validation.subjects == tuple(subject_name(number) for number in range(80, 100))
    assert split.test.subjects == tuple(subject_name(number) for number in range(100, 123))


def test_the_standard_split_names_who_is_missing():
    with pytest.raises(BadInput, match=r"2 subjects are missing: sub007, sub122[\s\S]*cohort-balanced"):
        make_split(Listed(set(ALL) - {7, 122}), "de", "standard")


def test_a_data_set_without_a_standard_split_says_so():
    class Other(Listed):
        standard_split = None

    with pytest.raises(BadInput, match="no standard split"):
        make_split(Other(ALL), "de", "standard")


@pytest.mark.parametrize(
    "numbers", [range(n) for n in (3, 4, 5, 7, 12)] + [range(55, 67), range(100), [1, 60, 100], ALL]
)
@pytest.mark.parametrize("repeat", range(4))
def test_parts_are_disjoint_non_empty_and_hold_everybody(numbers, repeat):
    dataset = Listed(numbers)
    split = make_split(dataset, "de", f"cohort-balanced:{repeat}")
    parts = [getattr(split, part).subjects for part in PARTS]
    assert sorted(sum(parts, ())) == list(dataset.subjects("de"))
    assert all(parts)
    assert all(list(part) == sorted(part) for part in parts)


def test_every_cohort_is_split_in_the_same_shares():
    dataset = Listed(ALL)
    for repeat in range(5):
        split = make_split(dataset, "de", f"cohort-balanced:{repeat}")
        for cohort, size in ((1, 61), (2, 62)):
            shares = [
                sum(dataset.cohort(subject) == cohort for subject in part.subjects) / size
                for part in (split.train, split.validation, split.test)
            ]
            assert shares == pytest.approx([0.65, 0.16, 0.19], abs=1.01 / size)


def test_a_simulated_cohort_of_twelve_has_both_cohorts_in_every_part():
    dataset = Listed([0, 1, 2, 3, 4, 5, 61, 62, 63, 64, 65, 66])
    split = make_split(dataset, "de", "cohort-balanced")
    assert [len(getattr(split, part).subjects) for part in PARTS] == [8, 2, 2]
    for part in PARTS:
        assert {dataset.cohort(subject) for subject in getattr(split, part).subjects} == {1, 2}


def test_repeats_differ_and_each_is_repeatable():
    dataset = Listed(ALL)
    splits = [make_split(dataset, "de", f"cohort-balanced:{repeat}") for repeat in range(6)]
    assert len({split.test for split in splits}) == 6
    assert splits[3] == make_split(Listed(ALL), "de", "cohort-balanced:3")
    assert splits[0].test.subjects[:4] == ("sub004", "sub005", "sub009", "sub010")  # on every machine, in every version


def test_over_repeats_everybody_is_tested():
    dataset = Listed(range(30, 92))
    tested = {subject for k in range(40) for subject in make_split(dataset, "de", f"cohort-balanced:{k}").test.subjects}
    assert tested == set(dataset.subjects("de"))


def test_the_name_always_carries_the_repeat():
    assert canonical_split("cohort-balanced") == "cohort-balanced:0"
    assert canonical_split("cohort-balanced:07") == "cohort-balanced:7"
    assert make_split(Listed(ALL), "de", "cohort-balanced").name == "cohort-balanced:0"
    assert canonical_split("standard") == "standard"
    assert canonical_split("leave-subjects-out") == "leave-subjects-out:0/5"
    assert canonical_split("leave-subjects-out:7/10") == "leave-subjects-out:7/10"


@pytest.mark.parametrize("name", ["standart", "cohort_balanced", "random", ""])
def test_an_unknown_split_is_refused_with_the_list(name):
    with pytest.raises(BadInput, match=r"unknown split[\s\S]*cohort-balanced, cohort-balanced:K, leave-clip-out"):
        make_split(Listed(ALL), "de", name)


@pytest.mark.parametrize(
    "name",
    [
        *("standard:1", "cohort-balanced:", "cohort-balanced:x", "cohort-balanced:-1", "cohort-balanced:1/5"),
        *("leave-subjects-out:5", "leave-subjects-out:0/2", "leave-subjects-out:9/9", "time-blocked:3"),
    ],
)
def test_a_wrong_repeat_is_refused(name):
    with pytest.raises(BadInput, match="the colon"):
        canonical_split(name)


def test_two_subjects_are_too_few():
    with pytest.raises(BadInput, match=r"2 subjects \(sub000, sub001\)"):
        make_split(Listed([0, 1]), "de", "cohort-balanced")


def part(subjects: str, clips=EVERY_CLIP, start=0.0, stop=1.0) -> Part:
    return Part(tuple(subjects), tuple(clips), start, stop)


def test_parts_that_share_a_sample_cannot_be_made():
    with pytest.raises(BadInput, match="train and test share"):
        Split("wrong", part("ab"), part("c"), part("a"))
    with pytest.raises(BadInput, match="validation has no subject"):
        Split("wrong", part("ab"), part(""), part("c"))
    with pytest.raises(BadInput, match="train and validation share"):
        Split("wrong", part("a", stop=0.6), part("a", start=0.5), part("b"))
    Split("right", part("ab", [0, 1]), part("ab", [2]), part("ab", [3]))


def test_folds_test_everybody_once_and_validate_everybody_once():
    dataset = Listed(ALL)
    for n_folds in (3, 5, 10):
        splits = [make_split(dataset, "de", f"leave-subjects-out:{k}/{n_folds}") for k in range(n_folds)]
        for name in ("test", "validation"):
            everybody = [subject for split in splits for subject in getattr(split, name).subjects]
            assert sorted(everybody) == list(dataset.subjects("de"))
        for split in splits:
            cohorts = [dataset.cohort(subject) for subject in split.test.subjects]
            assert abs(cohorts.count(1) - cohorts.count(2)) <= 2


def test_leave_clip_out_tests_unseen_people_on_one_unseen_clip_a_class():
    dataset = Listed(ALL)
    held = set()
    for repeat in range(8):
        split = make_split(dataset, "de", f"leave-clip-out:{repeat}")
        assert sorted(dataset.class_of_clip[clip] for clip in split.test.clips) == list(range(9))
        assert not set(split.test.clips) & set(split.train.clips)
        assert split.validation.clips == split.train.clips
        assert disjoint_by(split.train, split.test) == ("subject", "clip")
        held |= set(split.test.clips)
    assert len(held) > 18


def test_a_film_of_all_neutral_clips_forbids_to_leave_films_out():
    with pytest.raises(BadInput, match=r"neutral are of one group[\s\S]*leave-clip-out"):
        make_split(Listed(ALL), "de", "leave-film-out")


def test_films_stay_on_one_side_where_every_class_has_several():
    class Filmed(Listed):
        """Clips 1 and 4, of two classes, share a film."""

        films = tuple(f"film {4 if clip == 0 else clip + 1}" for clip in range(28))

    for repeat in range(12):
        split = make_split(Filmed(ALL), "de", f"leave-film-out:{repeat}")
        sides = [{Filmed.films[clip] for clip in part.clips} for part in (split.train, split.test)]
        assert not sides[0] & sides[1]
        assert {Filmed.class_of_clip[clip] for clip in split.train.clips} == set(range(9))


def test_time_blocks_turn_through_the_clip():
    splits = [make_split(Listed([0, 1]), "de", f"time-blocked:{turn}") for turn in range(3)]
    assert {split.test.start for split in splits} == {0, 1 / 3, 2 / 3}
    for split in splits:
        assert disjoint_by(split.train, split.test) == ("time",)
        assert split.train.subjects == split.test.subjects == ("sub000", "sub001")


def test_every_split_is_described():
    assert all(kind.meaning for kind in SPLITS.values())
