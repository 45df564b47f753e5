"""The audit of a split: what is planted on both sides is found, by name and count, and nothing else."""

from pathlib import Path

import numpy as np
import pytest

from valence.datasets import DATASETS
from valence.faced_files import FacedFiles, RecordingInfo, cohort_of, subject_name
from valence.leakage import LEVELS, leakage_audit
from valence.splits import Part, Split, make_split


class Listed(FacedFiles):
    """FACED with the subjects, rates and orders it is told."""

    name = "listed"

    def __init__(self, numbers, orders=None, *, unknown=()):
        self._files = {"windows": {}, "de": {subject_name(number): Path("none") for number in numbers}, "psd": {}}
        rates = {number: None if number in unknown else 250.0 if 4 <= number <= 60 else 1000.0 for number in range(123)}
        self._recordings = {
            (name := subject_name(number)): RecordingInfo(cohort_of(name), rate, "V") for number, rate in rates.items()
        }
        self._orders = orders or {}

    def presentation(self, subject):
        return self._orders.get(subject)


def audit(split: str | Split, dataset: FacedFiles) -> dict:
    made = make_split(dataset, "de", split) if isinstance(split, str) else split
    return {finding.group: finding for finding in leakage_audit(made, dataset)}


def test_the_standard_split_of_faced_tests_one_cohort_at_one_rate_on_known_clips():
    found = audit("standard", Listed(range(123)))
    assert (found["subject"].level, found["subject"].n_both) == ("clean", 0)
    assert (found["clip"].level, found["clip"].n_both, found["clip"].n_test) == ("leak", 28, 28)
    assert (found["film"].level, found["film"].n_both) == ("leak", 24)
    assert found["cohort"].level == "confound"
    assert found["cohort"].only_train == ("cohort 1",)
    assert found["sampling rate"].level == "confound"
    assert found["sampling rate"].only_train == ("250 Hz",)
    assert found["block"].level == "clean"
    assert found["class"].level == "clean"


def test_balanced_cohorts_share_their_rates():
    found = audit("cohort-balanced:1", Listed(range(123)))
    assert {found[group].level for group in ("subject", "cohort", "sampling rate", "class")} == {"clean"}


def test_leaving_clips_out_still_shares_films_and_names_them():
    dataset = Listed(range(123))
    shared = [audit(f"leave-clip-out:{repeat}", dataset) for repeat in range(12)]
    for found in shared:
        assert found["clip"].level == "clean"
        assert found["clip"].n_test == 9
        assert found["film"].n_both in (1, 2)  # the film of all neutral clips, and that of two of three of fear
        assert "Blue" in found["film"].both
    assert {found["film"].n_both for found in shared} == {1, 2}


def test_time_blocks_share_everything_but_the_seconds():
    dataset = Listed([0, 1, 70], orders={subject_name(number): np.arange(28) for number in (0, 1, 70)})
    found = audit("time-blocked:0", dataset)
    assert [found[group].level for group in ("subject", "clip", "film", "stretch of a clip", "block")] == ["leak"] * 5
    assert found["subject"].both == ("sub000", "sub001", "sub070")
    assert found["block"].n_both == 3 * 7


def test_blocks_on_both_sides_are_counted_from_the_order_of_presentation():
    orders = {"sub000": np.arange(28), "sub001": np.arange(28)[::-1].copy()}
    everybody = ("sub000", "sub001")
    split = Split("by hand", Part(everybody, (0, 1, 4)), Part(everybody, (20,)), Part(everybody, (2, 8)))
    found = audit(split, Listed([0, 1], orders))["block"]
    # in order: clips 1-4 are block 1, clips 5-8 block 2, clips 9-12 block 3; backwards clips 25-28 are block 1
    assert found.both == ("sub000, block 1", "sub001, block 7")
    assert (found.n_train, found.n_test, found.level) == (4, 4, "leak")
    unknown = audit(split, Listed([0, 1], {"sub000": np.arange(28)}))["block"]
    assert unknown.level == "unknown"
    orders["sub000"][2] = -1  # not shown
    assert audit(split, Listed([0, 1], orders))["block"].both == ("sub001, block 7",)
    orders["sub000"][:] = -1  # rows of the table are missing
    assert audit(split, Listed([0, 1], orders))["block"].level == "unknown"


def test_a_rate_that_is_not_known_is_said_to_be():
    for unknown in (0, 100):  # in training, in test
        found = audit("standard", Listed(range(123), unknown=[unknown]))["sampling rate"]
        assert (found.level, found.n_train, found.n_test) == ("unknown", 2, 1)
        assert "of 1 people" in found.text
    # neither trained on nor tested
    assert audit("standard", Listed(range(123), unknown=[80]))["sampling rate"].level == "confound"
    everybody = Listed(range(123), unknown=range(123))
    assert audit("cohort-balanced:0", everybody)["sampling rate"].level == "unknown"


def test_what_validation_shares_with_test_is_a_leak_of_its_own():
    # validation and test share one person and the clip 10, and lie in other halves of it
    parts = (
        Part(("sub000",), (0, 3)),
        Part(("sub001", "sub061"), (6, 9, 12), 0, 0.5),
        Part(("sub061",), (9, 20), 0.5, 1),
    )
    split = Split("by hand", *parts)
    found = audit(split, Listed([0, 1, 61]))
    for group, told in (("subject", "1 people of the test"), ("clip", "1 clips of the test")):
        assert (found[group].level, found[group].n_both) == ("leak", 0)
        assert (found[group].n_validation_train, found[group].n_validation_test) == (0, 1)
        assert told in found[group].text
        assert "validation" in found[group].text


def test_people_that_choose_the_epoch_and_train_are_counted_and_no_leak():
    split = Split("by hand", Part(("sub000",), (0,)), Part(("sub000",), (1, 3)), Part(("sub001",), (2, 6)))
    found = audit(split, Listed([0, 1]))
    assert found["subject"].level == "clean"
    assert (found["subject"].n_validation_train, found["subject"].n_validation_test) == (1, 0)
    assert audit("cohort-balanced:0", Listed(range(123)))["subject"].n_validation_test == 0


def test_classes_on_one_side_are_named():
    split = Split("by hand", Part(("sub000",), (0, 3)), Part(("sub001",), (0, 3)), Part(("sub061",), (0, 27)))
    found = audit(split, Listed([0, 1, 61]))["class"]
    assert found.level == "confound"
    assert found.only_train == ("disgust",)
    assert found.only_test == ("tenderness",)


@pytest.mark.parametrize("split", ["cohort-balanced:0", "leave-subjects-out:1/4", "leave-clip-out:0", "time-blocked:1"])
def test_counts_are_those_of_the_parts(split):
    dataset = Listed(range(50, 80))
    made = make_split(dataset, "de", split)
    for finding in leakage_audit(made, dataset):
        assert finding.level in LEVELS
        assert finding.n_both <= min(finding.n_train, finding.n_test)
        assert finding.text
    found = audit(made, dataset)
    assert found["subject"].n_both == len(set(made.train.subjects) & set(made.test.subjects))
    assert found["clip"].n_both == len(set(made.train.clips) & set(made.test.clips))


def test_numbers_in_names_are_sorted_as_numbers():
    found = audit("standard", Listed(range(123)))["clip"].both
    assert found[:3] == ("1 (anger)", "2 (anger)", "3 (anger)")
    assert found[9] == "10 (sadness)"


def test_seed_v_shares_its_people_and_no_film():
    kind = DATASETS["seed_v"]
    people = tuple(f"sub{number:02d}" for number in range(1, 17))

    class Present(kind):
        def __init__(self):
            self._raw = {name: {} for name in people}

        def subjects(self, input):
            return people

    found = audit(make_split(Present(), "windows", "standard"), Present())
    assert (found["subject"].level, found["subject"].n_both) == ("leak", 16)
    assert (found["clip"].level, found["film"].level, found["block"].level) == ("clean", "clean", "clean")
