"""Splits: disjoint, complete, balanced over cohorts, repeatable."""

from pathlib import Path

import pytest

from valence.errors import BadInput
from valence.faced_files import FacedFiles, subject_name
from valence.splits import SPLITS, Split, canonical_split, make_split


class Listed(FacedFiles):
    """FACED with the subjects it is told."""

    name = "listed"

    def __init__(self, numbers):
        self._files = {"windows": {}, "de": {subject_name(number): Path("none") for number in numbers}}


ALL = range(123)


def test_the_standard_split_is_the_fields():
    split = make_split(Listed(ALL), "de", "standard")
    assert split.name == "standard"
    assert split.train == tuple(subject_name(number) for number in range(80))
    assert split.validation == tuple(subject_name(number) for number in range(80, 100))
    assert split.test == tuple(subject_name(number) for number in range(100, 123))


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
    parts = [split.train, split.validation, split.test]
    assert sorted(sum(parts, ())) == list(dataset.subjects("de"))
    assert all(parts)
    assert all(list(part) == sorted(part) for part in parts)


def test_every_cohort_is_split_in_the_same_shares():
    dataset = Listed(ALL)
    for repeat in range(5):
        split = make_split(dataset, "de", f"cohort-balanced:{repeat}")
        for cohort, size in ((1, 61), (2, 62)):
            shares = [
                sum(dataset.cohort(subject) == cohort for subject in part) / size
                for part in (split.train, split.validation, split.test)
            ]
            assert shares == pytest.approx([0.65, 0.16, 0.19], abs=1.01 / size)


def test_a_simulated_cohort_of_twelve_has_both_cohorts_in_every_part():
    dataset = Listed([0, 1, 2, 3, 4, 5, 61, 62, 63, 64, 65, 66])
    split = make_split(dataset, "de", "cohort-balanced")
    assert [len(split.train), len(split.validation), len(split.test)] == [8, 2, 2]
    for part in (split.train, split.validation, split.test):
        assert {dataset.cohort(subject) for subject in part} == {1, 2}


def test_repeats_differ_and_each_is_repeatable():
    dataset = Listed(ALL)
    splits = [make_split(dataset, "de", f"cohort-balanced:{repeat}") for repeat in range(6)]
    assert len({split.test for split in splits}) == 6
    assert splits[3] == make_split(Listed(ALL), "de", "cohort-balanced:3")
    assert splits[0].test[:4] == ("sub004", "sub005", "sub009", "sub010")  # on every machine, in every version


def test_over_repeats_everybody_is_tested():
    dataset = Listed(range(30, 92))
    tested = {subject for k in range(40) for subject in make_split(dataset, "de", f"cohort-balanced:{k}").test}
    assert tested == set(dataset.subjects("de"))


def test_the_name_always_carries_the_repeat():
    assert canonical_split("cohort-balanced") == "cohort-balanced:0"
    assert canonical_split("cohort-balanced:07") == "cohort-balanced:7"
    assert make_split(Listed(ALL), "de", "cohort-balanced").name == "cohort-balanced:0"
    assert canonical_split("standard") == "standard"


@pytest.mark.parametrize("name", ["standart", "cohort_balanced", "random", ""])
def test_an_unknown_split_is_refused_with_the_list(name):
    with pytest.raises(BadInput, match=r"unknown split[\s\S]*cohort-balanced, cohort-balanced:K, standard"):
        make_split(Listed(ALL), "de", name)


@pytest.mark.parametrize("name", ["standard:1", "cohort-balanced:", "cohort-balanced:x", "cohort-balanced:-1"])
def test_a_wrong_repeat_is_refused(name):
    with pytest.raises(BadInput, match="the colon"):
        canonical_split(name)


def test_two_subjects_are_too_few():
    with pytest.raises(BadInput, match=r"2 subjects \(sub000, sub001\)"):
        make_split(Listed([0, 1]), "de", "cohort-balanced")


def test_a_split_that_shares_a_subject_cannot_be_made():
    with pytest.raises(AssertionError, match="in two parts"):
        Split("wrong", ("a", "b"), ("c",), ("a",))
    with pytest.raises(AssertionError, match="empty"):
        Split("wrong", ("a", "b"), (), ("c",))


def test_every_split_is_described():
    assert all(SPLITS.values())
