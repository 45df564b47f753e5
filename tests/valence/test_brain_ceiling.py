"""Noise ceilings and partial correlations: against scipy, statsmodels and planted truths."""

from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm

from tests.valence.scalp_cohorts import LABELS, RATED, clip_target, cohort_of_world, noise, scalp_cohort, world_target
from valence.brain import ceiling, partial_r
from valence.brain.cohort import BrainTarget
from valence.brain.partial_r import CODE, WITHIN, partial_statistic
from valence.brain.permutations import class_orders, sample
from valence.brain.ridge import CLASS_OUT, CLIP_OUT, flat, linear_folds, predicted, ridge_r
from valence.brain.rows import NotPossible
from valence.intervals import partial_correlation
from valence.worlds import World

SIGNS = np.sign(LABELS - 4)


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    """Draws enough for what is asked here."""
    monkeypatch.setattr(ceiling, "N_BOOTSTRAP", 20)
    monkeypatch.setattr(ceiling, "N_HALVES", 20)
    monkeypatch.setattr(partial_r, "class_orders", lambda *given, **by: sample(class_orders(*given, **by), 1_000))


def planted(n_subjects: int, *, response_sd: float = 0.3) -> tuple:
    world = World(axis_strength=0.8, evoked_uv=0.0, response_sd=response_sd, drift_sd=0.0)
    return cohort_of_world(world, n_subjects), world_target(world)


def by_name(rows):
    return {(row.analysis, row.protocol): row for row in rows}


def test_what_comes_from_features_is_the_prediction_less_the_training_mean():
    x, y = np.random.default_rng(0).normal(size=(2, 28, 20))[0], RATED.clip_values
    folds = linear_folds(x, LABELS)
    found = ceiling.from_features(folds, y)
    predictions, clips, _ = predicted(folds, y)
    means = np.array([y[LABELS[clip] != LABELS].mean() for clip in clips])
    np.testing.assert_allclose(found, predictions - means)


def test_two_ridges_that_have_learnt_nothing_do_not_agree():
    """The training means alone would: they are the same in both halves."""
    rng = np.random.default_rng(1)
    agreed, means = [], []
    for _ in range(40):
        one, other = rng.normal(size=(2, 28, 60))
        agreed.append(ceiling.ceiling_of_halves(one, other, LABELS, RATED.clip_values))
        both = [predicted(linear_folds(x, LABELS), RATED.clip_values)[0] for x in (one, other)]
        means.append(np.corrcoef(both)[0, 1])
    assert abs(np.mean(agreed)) < 0.12
    assert np.mean(means) > 0.25


def test_the_ceiling_is_what_another_cohort_as_large_agrees_to():
    """Reliability by halves of one cohort foretells how well two whole cohorts agree."""
    cohort, target = planted(24, response_sd=1.2)
    row = by_name(ceiling.rows(cohort, target))["noise ceiling", CLIP_OUT]
    assert row.ci_low < row.value < row.ci_high
    others = cohort_of_world(World(axis_strength=0.8, evoked_uv=0.0, response_sd=1.2, drift_sd=0.0), 72)
    thirds = [flat(replace(others, de=others.de[start : start + 24]).clip_means()) for start in (0, 24, 48)]
    agreed = [
        ceiling.ceiling_of_halves(thirds[a], thirds[b], np.arange(28), target.clip_values)
        for a, b in ((0, 1), (0, 2), (1, 2))
    ]
    assert row.value**2 == pytest.approx(np.mean(agreed), abs=0.12)


def test_r_over_the_ceiling_is_their_ratio():
    cohort, target = planted(12)
    rows = by_name(ceiling.rows(cohort, target))
    for name, groups in ((CLIP_OUT, np.arange(28)), (CLASS_OUT, LABELS)):
        r = ridge_r(linear_folds(flat(cohort.clip_means()), groups), target.clip_values)
        ratio, top = rows["ridge over ceiling", name], rows["noise ceiling", name]
        assert ratio.value == pytest.approx(r / top.value)
        assert 0 < top.value <= 1
        assert top.n == 12


def test_more_people_raise_the_ceiling():
    values = [by_name(ceiling.rows(*planted(n, response_sd=1.2)))["noise ceiling", CLIP_OUT].value for n in (6, 40)]
    assert values[0] < values[1]


def test_where_halves_do_not_agree_there_is_no_ceiling():
    cohorts = [scalp_cohort(noise(seed, 6)) for seed in range(4)]
    found = [by_name(ceiling.rows(cohort, RATED))["noise ceiling", CLASS_OUT] for cohort in cohorts]
    without = [row for row in found if row.value is None]
    assert without
    assert all("do not agree" in row.reason for row in without)
    few = by_name(ceiling.rows(scalp_cohort(noise(0, 3)), RATED))["noise ceiling", CLIP_OUT]
    below = [by_name(ceiling.rows(cohort, RATED)).get(("ridge over ceiling", CLIP_OUT)) for cohort in cohorts]
    assert any(row and "no share of a ceiling" in row.reason for row in below)
    assert all(row is None or (row.value is None) == bool(row.reason) for row in below)
    assert few.reason == "3 subjects: it takes four or more for two halves"


def test_reliability_of_reports_is_cronbachs_alpha():
    """The mean of all split halves is alpha (Cronbach 1951), for raters of equal variance."""
    rng = np.random.default_rng(0)
    given = rng.normal(size=28) + 2.0 * rng.normal(size=(40, 28))
    cohort = replace(scalp_cohort(noise(0, 40)), ratings={"valence": given})
    target = BrainTarget(name="behaviour", clip_values=RATED.clip_values, class_values=None)
    found = by_name(ceiling.rows(cohort, target))["reliability of reports", "split-half over subjects"]
    alpha = 40 / 39 * (1 - given.var(axis=1, ddof=1).sum() / given.sum(axis=0).var(ddof=1))
    assert found.value == pytest.approx(alpha, abs=0.02)
    assert found.n == 40


def test_partial_r_is_that_of_regressions():
    rng = np.random.default_rng(2)
    clips = rng.permutation(28)
    predictions, y = rng.normal(size=28), rng.normal(size=28)
    given = rng.normal(size=(28, 3))
    taken = rng.random(28) < 0.8
    everything = np.ones(28, dtype=bool)
    held = {"one": (given[:, :1], everything), "three": (given, everything), "some": (given, taken)}
    found = partial_statistic(clips, held)(predictions[None], y[clips][None])[0]
    assert found[0] == pytest.approx(partial_correlation(predictions, y[clips], given[clips, 0]))
    for value, here in ((found[1], everything), (found[2], taken)):
        places = here[clips]
        design = sm.add_constant(given[clips][places])
        rest = [sm.OLS(values[places], design).fit().resid for values in (predictions, y[clips])]
        assert value == pytest.approx(np.corrcoef(rest)[0, 1])


def test_a_target_that_is_the_sign_leaves_nothing_beyond_it():
    cohort = scalp_cohort(noise(0, 4))
    signs = BrainTarget(name="rank", clip_values=SIGNS / SIGNS.std(), class_values=None)
    rows = [row for row in partial_r.rows(cohort, signs) if row.item == CODE]
    assert len(rows) == 2
    assert all("nothing is left of it" in row.reason for row in rows)


def sign_cohort(*, beyond: float) -> tuple:
    """A cohort that holds the sign of valence, and more of it or not."""
    rng = np.random.default_rng(4)
    de = noise(5, 10, n_steps=1)
    y = RATED.clip_values
    within = y - np.array([y[sign == SIGNS].mean() for sign in SIGNS])
    patterns = rng.normal(size=(2, 30, 1, 5))
    de += SIGNS[:, None, None, None] * patterns[0] + beyond * (within / within.std())[:, None, None, None] * patterns[1]
    return scalp_cohort(de), RATED


@pytest.mark.parametrize(("beyond", "there"), [(0.0, False), (1.5, True)])
def test_what_is_beyond_the_sign_is_found_where_it_is(beyond, there):
    cohort, target = sign_cohort(beyond=beyond)
    rows = {(row.protocol, row.item): row for row in partial_r.rows(cohort, target)}
    x = flat(cohort.clip_means())
    assert ridge_r(linear_folds(x, np.arange(28)), target.clip_values) > 0.85  # the sign is there, either way
    row = rows[CLIP_OUT, CODE]
    assert "all 576 class permutations within the sign" in row.null
    assert (row.p < 0.05) == there
    assert (row.value > 0.6) == there
    assert (rows[CLIP_OUT, WITHIN].p < 0.05) == there
    assert rows[CLIP_OUT, f"{WITHIN}, negative"].n == 12


def test_what_goes_along_with_the_target_is_taken_out():
    """The EEG holds what people like; the target goes along with it and has nothing of its own there."""
    cohort, liked = planted(10)
    target = clip_target(liked.clip_values + 0.2 * np.random.default_rng(0).normal(size=28))
    far = np.random.default_rng(1).normal(size=28)
    ratings = {"liking": np.tile(liked.clip_values, (10, 1)), "arousal": np.tile(far, (10, 1))}
    rows = {
        row.item: row for row in partial_r.rows(replace(cohort, ratings=ratings), target) if row.protocol == CLIP_OUT
    }
    given = ("beyond arousal", "beyond liking", "beyond all of these")
    assert rows["beyond arousal"].value > 0.7
    # a permuted target has nothing in common with what is held constant, so its orders are no null
    assert all(row.p is None and not row.null for item, row in rows.items() if item in given)
    for item in ("beyond liking", "beyond all of these"):
        assert abs(rows[item].value) < 0.4
    assert "liking +0.9" in rows["beyond liking"].note


def test_without_covariates_the_table_says_so():
    rows = partial_r.rows(scalp_cohort(noise(0, 4)), RATED)
    (row,) = [row for row in rows if row.item == "covariates" and row.protocol == CLIP_OUT]
    assert "no covariate" in row.reason
    with pytest.raises(NotPossible):
        partial_r._of_signs(np.ones(28), RATED.clip_values)
