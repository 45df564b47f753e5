"""Convergence against scipy, statsmodels and simulation; two architectures that look like 36 points, and are not."""

import numpy as np
import pytest
import statsmodels.formula.api as smf
from scipy import stats

from tests.valence import planted_cells as planted
from valence.brain.rows import NotPossible
from valence.cell_convergence import CELLS_IN_CLASSIFIERS, CLASS, CLASSIFIERS_IN_FAMILIES, RESIDUAL, rows
from valence.convergence import convergence, random_classes, strengths_of
from valence.grouped_points import effective_n, intraclass, mixed_slope
from valence.probes import unit

N_CLASSES = 9
TARGET = unit(np.random.default_rng(99).normal(size=N_CLASSES))


def encoding(strength: float, random: np.random.Generator) -> np.ndarray:
    """A component (1, n_classes) that correlates by so much with TARGET."""
    other = random.normal(size=N_CLASSES)
    other -= other.mean() + (other @ TARGET) * TARGET
    return (strength * TARGET + np.sqrt(1 - strength**2) * other / np.linalg.norm(other))[None]


def architectures(n: int = 2, each: int = 18, seed: int = 0):
    """Networks of a few architectures: each has its own component and accuracy, its networks differ by luck alone."""
    random = np.random.default_rng(seed)
    components, accuracies, groups = [], [], []
    for number, strength in enumerate(np.linspace(0.3, 0.9, n)):
        own = encoding(strength, random)
        for _ in range(each):
            components.append(unit(own + 0.05 * random.normal(size=own.shape)))
            accuracies.append(0.4 + 0.2 * number + 0.01 * random.normal())
            groups.append(f"architecture {number}")
    return np.array(accuracies), components, groups


def test_two_architectures_give_a_high_r_that_is_no_evidence_and_the_report_says_so():
    accuracies, components, groups = architectures()
    found = convergence(accuracies, components, TARGET, random_classes(N_CLASSES), groups)
    assert found.pooled.r > 0.95
    assert stats.pearsonr(found.strengths, accuracies)[1] < 1e-9  # as 36 independent points
    assert abs(found.within.r) < 0.35
    assert found.within.ci_low < 0 < found.within.ci_high
    assert found.effective_n < 4
    assert found.pseudo_replicated
    assert "36 points of 2 groups, worth 3" in found.words
    assert "no evidence" in found.words
    assert found.between is None
    assert found.pooled.null_sd > 0.5  # a random direction is encoded alike by alike networks, too
    assert found.mixed_low < 0 < found.mixed_high


def test_a_relation_within_architectures_is_found_and_not_called_pseudo_replicated():
    random, components, accuracies = np.random.default_rng(1), [], []
    groups = [f"family {number}" for number in range(9) for _ in range(4)]
    for strength in random.uniform(0.2, 0.95, 36):
        components.append(encoding(strength, random))
        accuracies.append(0.3 + 0.3 * strength + 0.03 * random.normal())
    found = convergence(np.array(accuracies), components, TARGET, random_classes(N_CLASSES), groups)
    assert min(found.pooled.r, found.within.r) > 0.8
    assert found.within.ci_low > 0
    assert found.pooled.p < 0.01
    assert found.within.p < 0.01
    assert not found.pseudo_replicated
    assert found.mixed_slope == pytest.approx(0.3, abs=0.06)
    assert found.mixed_low > 0.2
    assert found.effective_n > 20


def test_numbers_are_those_of_scipy_and_statsmodels():
    random = np.random.default_rng(2)
    accuracies, components, groups = architectures(n=5, each=6, seed=3)
    accuracies = accuracies + 0.05 * random.normal(size=30)
    found = convergence(accuracies, components, TARGET, random_classes(N_CLASSES, n=50), groups)
    table = {"y": found.balanced_accuracy, "x": found.strengths, "g": np.array(groups)}
    np.testing.assert_allclose(found.balanced_accuracy, accuracies)
    assert found.groups == tuple(groups)
    pooled = stats.pearsonr(table["x"], table["y"])
    assert found.pooled.r == pytest.approx(pooled[0])
    assert (found.pooled.ci_low, found.pooled.ci_high) == pytest.approx(tuple(pooled.confidence_interval()))
    dummies = smf.ols("y ~ x + C(g)", table).fit()
    assert found.within.slope == pytest.approx(dummies.params["x"])
    t = dummies.tvalues["x"]
    assert found.within.r == pytest.approx(t / np.sqrt(t**2 + dummies.df_resid))  # the partial correlation
    means = [[np.mean(table[name][table["g"] == group]) for group in sorted(set(groups))] for name in "xy"]
    assert found.between.r == pytest.approx(stats.pearsonr(*means)[0])
    for group, one in found.by_group.items():
        own = table["g"] == group
        assert one.slope == pytest.approx(stats.linregress(table["x"][own], table["y"][own]).slope)
        assert one.r == pytest.approx(stats.pearsonr(table["x"][own], table["y"][own])[0])
    mixed = smf.mixedlm("y ~ x", table, groups=table["g"]).fit(reml=True)
    assert found.mixed_slope == pytest.approx(mixed.params["x"], rel=1e-3)
    assert (found.mixed_low, found.mixed_high) == pytest.approx(tuple(mixed.conf_int().loc["x"]), rel=1e-2)


def test_the_null_has_its_level_within_groups_and_pooled():
    """Components that know nothing of the target: whatever the groups, p of random directions is uniform."""
    p_pooled, p_within, naive = [], [], []
    for seed in range(300):
        random = np.random.default_rng([seed, 1])
        accuracies, components, groups = architectures(n=3, each=6, seed=seed)
        target = unit(random.normal(size=N_CLASSES))
        found = convergence(accuracies, components, target, random_classes(N_CLASSES, n=99, seed=10_000 + seed), groups)
        p_pooled.append(found.pooled.p)
        p_within.append(found.within.p)
        naive.append(stats.pearsonr(found.strengths, found.balanced_accuracy)[1])
    for p in (p_pooled, p_within):
        assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=0.03)
    assert np.mean(np.array(naive) <= 0.05) > 0.5  # what points of three architectures look like, taken as 18


def test_effective_n_is_what_the_spread_of_r_says():
    """Unrelated values with group means: the variance of r over draws is 1 / (n - 1) of so many independent points."""
    random = np.random.default_rng(4)
    groups = np.repeat(np.arange(6), 6)
    names = [str(group) for group in groups]
    r, sizes = [], []
    for _ in range(1_500):
        x, y = (random.normal(size=6)[groups] + 0.5 * random.normal(size=36) for _ in range(2))
        r.append(stats.pearsonr(x, y)[0])
        sizes.append(effective_n(x, y, names))
    assert 1 + 1 / np.var(r) == pytest.approx(np.median(sizes), rel=0.25)
    assert effective_n(*random.normal(size=(2, 36)), names) > 20


def test_intraclass_correlation_is_that_of_the_planted_variances():
    random = np.random.default_rng(5)
    groups = np.repeat(np.arange(400), 5)
    values = np.sqrt(0.7) * random.normal(size=400)[groups] + np.sqrt(0.3) * random.normal(size=2_000)
    assert intraclass(values, [str(group) for group in groups]) == pytest.approx(0.7, abs=0.04)
    assert intraclass(values[:5], list("abcde")) == 0
    assert intraclass(values[:5], list("aaaaa")) == 0


def test_seeds_of_a_classifier_are_one_point():
    accuracies, components, groups = architectures(n=4, each=6)
    points = [f"classifier {number // 3}" for number in range(24)]
    found = convergence(accuracies, components, TARGET, random_classes(N_CLASSES, n=20), groups, points=points)
    assert found.pooled.n == 8
    strengths = np.array([abs(one[0] @ TARGET) for one in components])
    np.testing.assert_allclose(found.strengths, strengths.reshape(8, 3).mean(axis=1))
    np.testing.assert_allclose(found.balanced_accuracy, accuracies.reshape(8, 3).mean(axis=1))


def test_the_best_component_is_chosen_in_every_direction_of_the_null():
    random = np.random.default_rng(6)
    components = [np.linalg.qr(random.normal(size=(19, 5)))[0].T for _ in range(7)]
    directions = random.normal(size=(40, 19))
    found = strengths_of(components, directions)
    for number, direction in enumerate(directions):
        expected = [max(abs(row @ direction) / np.linalg.norm(direction) for row in own) for own in components]
        np.testing.assert_allclose(found[number], expected)


def test_random_directions_of_prototypes_are_alike_for_alike_classes():
    prototypes = np.random.default_rng(7).normal(size=(9, 300))
    prototypes[1] = prototypes[0] + 0.1 * np.random.default_rng(8).normal(size=300)
    drawn = random_classes(9, n=4_000, prototypes=prototypes)
    np.testing.assert_allclose(drawn.sum(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(drawn, axis=1), 1)
    assert np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1] > 0.95
    assert abs(np.corrcoef(drawn[:, 2], drawn[:, 3])[0, 1]) < 0.3


def test_what_has_no_convergence_says_why():
    accuracies, components, groups = architectures(n=1, each=3)
    with pytest.raises(NotPossible, match="3 classifiers"):
        convergence(accuracies, components, TARGET, random_classes(N_CLASSES, n=5), groups)
    assert "one group" in mixed_slope(np.arange(5.0), np.arange(5.0), list("aaaaa"))[3]
    assert "group of its own" in mixed_slope(np.arange(5.0), np.arange(5.0), list("abcde"))[3]


@pytest.fixture(scope="module")
def cells():
    target = planted.target()
    names = ["EEGNet", "ShallowFBCSPNet", "EEGConformer", "CTNet", "my_own"]
    return target, [
        planted.cell(target, seed=10 * number + seed, classifier=name, axis=0.4 + 0.5 * number, width=24)
        for number, name in enumerate(names)
        for seed in range(2)
    ]


def test_rows_of_cells_in_both_readings(cells):
    target, kept = cells
    found = {(row.analysis, row.protocol): row for row in rows(kept, target)}
    pooled = found[CLASS, f"{CLASSIFIERS_IN_FAMILIES}, pooled r"]
    assert pooled.n == 5
    assert pooled.reference == 0.885
    assert pooled.value > 0.5
    assert found[CLASS, f"{CELLS_IN_CLASSIFIERS}, pooled r"].n == 10
    assert "5 groups" in found[CLASS, f"{CELLS_IN_CLASSIFIERS}, pooled r"].note
    assert found[RESIDUAL, f"{CELLS_IN_CLASSIFIERS}, pooled r"].reference == 0.738
    assert all(row.value is not None or row.reason for row in found.values())


def test_aligned_cells_and_targets_without_a_residual_are_left_out(cells):
    target, kept = cells
    aligned = [planted.cell(target, seed=1, strategy="rsa", width=24)]
    assert rows([*kept, *aligned], target) == rows(kept, target)
    of_classes = planted.target(residual=1e-12)
    found = [row for row in rows(kept, of_classes) if row.analysis == RESIDUAL]
    assert [row.value for row in found] == [None]
    assert "one value a class" in found[0].reason
    assert all(row.reason for row in rows(aligned, target))
