"""What the verdict says over the grid of what comparisons can say, and what it refuses to say."""

import itertools
import math

import pandas as pd
import pytest

from valence.errors import BadInput
from valence.loss_verdict import Detached, loss_verdict
from valence.stats.saturation import Saturation

MINE = {"strategy": "mine", "lambda_": 0.1, "options": "", "gradient_match": 0.0}
REFERENCES = [{**MINE, "strategy": name} for name in ("aux_mse", "rsa")]
VERDICTS = ("helps", "hurts", "equivalent", "undecided")
DELTA = {"helps": 0.03, "hurts": -0.03, "equivalent": 0.0, "undecided": 0.01}
CI_HIGH = {"helps": 0.05, "hurts": -0.01, "equivalent": 0.005, "undecided": 0.03}
ENCODES = Saturation(
    strengths=None, strength=0.9, p=0.001, null_mean=0.3, null_95=0.6, n_permutations=362_880, exact=True, n_classes=9,
    p_floor=1e-5,
)  # fmt: skip


def row(dose, comparison, verdict, *, target="vaxis", n_subjects=10, **changes):
    facts = {
        "classifier": "de_mlp", "comparison": comparison, "target": target, "verdict": verdict, "n_seeds": 10,
        "delta": DELTA[verdict], "ci_low": DELTA[verdict] - 0.02, "ci_high": CI_HIGH[verdict], "p_holm": 0.2,
        "family_size": 5, "n_subjects": n_subjects, "equivalence": 0.01, "seeds_needed": 30,
    }  # fmt: skip
    return {**dose, **facts, **changes}


def table(
    effect="undecided", content="undecided", structure="undecided", references=("equivalent", "hurts"), **changes
):
    rows = [row(MINE, "baseline", effect), row(MINE, "content", content)]
    rows.append(row(MINE, "structure", structure, target="permuted_1, random_1"))
    rows += [row(dose, "baseline", verdict, **changes) for dose, verdict in zip(REFERENCES, references)]
    return pd.DataFrame(rows)


def verdict(comparisons, *, saturation=ENCODES, detached=None, n_classes=9):
    return loss_verdict(
        comparisons, dose=MINE, references=REFERENCES, saturation=saturation, detached=detached, n_classes=n_classes
    )


@pytest.mark.parametrize(("effect", "content", "structure"), itertools.product(VERDICTS, repeat=3))
def test_content_is_called_a_help_only_where_the_loss_helps(effect, content, structure):
    found = verdict(table(effect, content, structure))
    assert (found.effect, found.content, found.structure) == (effect, content, structure)
    claims = any("is what helps" in line for line in found.lines)
    assert claims == (effect == content == "helps")
    nothing = any("no more than any other values" in line for line in found.lines)
    assert nothing == (content == "equivalent")


@pytest.mark.parametrize(
    ("references", "changes", "expected"),
    [
        (("equivalent", "equivalent"), {}, "saturated"),
        (("equivalent", "hurts"), {}, "saturated"),
        (("equivalent", "helps"), {}, "not saturated"),
        (("hurts", "hurts"), {}, "undecided"),  # losses that ruin training
        (("equivalent", "undecided"), {}, "undecided"),
        (("equivalent",), {}, "undecided"),  # one of two is missing
        (("equivalent", "equivalent"), {"n_subjects": 2}, "undecided"),
        (("equivalent", "equivalent"), {"ci_high": 0.02}, "undecided"),
    ],
)
def test_saturated_is_said_only_where_every_reference_was_decided(references, changes, expected):
    assert verdict(table(references=references, **changes)).saturated == expected


def test_a_baseline_that_does_not_encode_the_axis_is_not_called_saturated():
    weak = Saturation(**{**vars(ENCODES), "p": 0.4})
    assert verdict(table(references=("equivalent", "equivalent")), saturation=weak).saturated == "undecided"
    few = Saturation(**{**vars(ENCODES), "p": 1 / 3, "p_floor": 1 / 3, "n_classes": 3})
    found = verdict(table(references=("equivalent", "equivalent")), saturation=few)
    assert found.saturated == "undecided"
    assert "3 classes have too few orders" in found.lines[0]


def test_few_classes_have_no_twins_worth_the_name():
    found = verdict(table(content="equivalent"), n_classes=3)
    assert any("the twins are too like the axis" in line for line in found.lines)


@pytest.mark.parametrize(
    ("detached", "said"),
    [
        (None, "was not run"),
        (Detached(largest=0.0, same_way=True), "changes nothing, as it should"),
        (Detached(largest=math.nan, same_way=True), "could not be computed"),
        (Detached(largest=0.002, same_way=False), "rounding explains"),
        (Detached(largest=0.002, same_way=True), "draws random numbers"),
    ],
)
def test_the_machinery_is_accused_only_where_it_is_known(detached, said):
    assert said in verdict(table(), detached=detached).lines[-1]


def test_comparisons_of_two_sweeps_are_refused():
    both = pd.concat([table(), table().assign(recipe_hash="other")])
    with pytest.raises(BadInput, match="comparisons of one sweep"):
        verdict(both)


def test_another_dose_of_the_same_strategy_is_another_loss():
    strong = {**MINE, "lambda_": 0.5}
    both = pd.concat([table("hurts"), pd.DataFrame([row(strong, "baseline", "helps")])])
    assert verdict(both).effect == "hurts"
    told = loss_verdict(both, dose=strong, references=[], saturation=None, detached=None, n_classes=9)
    assert (told.effect, told.content) == ("helps", "not run")
    assert told.loss == "mine λ=.5"


def test_failed_cells_are_not_called_undecided():
    failed = table()
    failed.loc[0, "n_seeds"] = 0
    assert "its cells failed" in verdict(failed).lines[1]
