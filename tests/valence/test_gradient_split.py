"""Shares of variance and of gradients against analysis of variance, finite differences and losses with a known pull."""

import numpy as np
import pytest
import torch
from statsmodels.formula.api import ols

from tests.valence import planted_cells as planted
from tests.valence import training_world as world
from valence.classifiers import CLASSIFIERS, Tapped, pooled_features
from valence.gradient_split import class_span, gradient_shares, loss_gradients, split_of_run, variance_shares
from valence.objective import Objective
from valence.resident import resident
from valence.strategies import Batch, Strategy
from valence.training import CellRun


def test_variance_shares_are_those_of_nested_analysis_of_variance():
    cell = planted.cell(planted.target(), width=24, residual=3.0, axis=2.0)
    own = np.flatnonzero(cell.part == "test")[::7]
    labels, clips = cell.labels[own], cell.clips[own]
    sums = np.zeros(3)
    for feature in cell.features[own][:, :6].T:
        given = {"feature": feature.astype(float), "labels": labels, "clips": clips}
        classes, each = (ols(f"feature ~ C({of})", given).fit() for of in ("labels", "clips"))
        sums += [classes.ess, each.ess - classes.ess, each.ssr]
    found = variance_shares(cell.features[own][:, :6], labels, clips)
    np.testing.assert_allclose([found.classes, found.clips, found.samples], sums / sums.sum(), rtol=1e-5)
    assert found.classes + found.clips + found.samples == pytest.approx(1)


def test_noise_has_the_shares_of_chance():
    rng = np.random.default_rng(0)
    clips = np.tile(np.arange(world.N_CLIPS), 30)
    found = variance_shares(rng.normal(size=(len(clips), 200)), world.CLASS_OF_CLIP[clips], clips)
    assert found.classes == pytest.approx(found.classes_by_chance, rel=0.05)
    assert found.clips == pytest.approx(found.clips_by_chance, rel=0.05)
    assert variance_shares(np.ones((len(clips), 3)), world.CLASS_OF_CLIP[clips], clips) is None


def test_gradients_of_known_directions_are_split():
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(9), 20)
    centres = rng.normal(size=(9, 40))
    span = class_span(centres[labels], labels)
    assert span.shape == (40, 8)
    apart = np.linalg.qr(np.concatenate([span, rng.normal(size=(40, 4))], axis=1))[0][:, 8:]
    along, aside = span @ rng.normal(size=8), apart @ rng.normal(size=4)
    for gradient, share in (
        (along, 1.0),
        (aside, 0.0),
        (3 * along / np.linalg.norm(along) + aside / np.linalg.norm(aside), 0.9),
    ):
        found = gradient_shares(np.tile(gradient, (180, 1)), labels, span)
        assert found.span == pytest.approx(share, abs=1e-9)
        assert found.classes == pytest.approx(1)
    noise = gradient_shares(rng.normal(size=(180, 40)), labels, span)
    assert noise.span == pytest.approx(noise.span_by_chance, rel=0.1)
    assert noise.span_by_chance == pytest.approx(8 / 40)
    assert noise.classes == pytest.approx(noise.classes_by_chance, rel=0.2)
    assert gradient_shares(np.zeros((180, 40)), labels, span) is None


class ResidualPull(Strategy):
    """Moves every feature away from the mean of its class."""

    kind = "values"

    def loss(self, batch, logits, features):
        means = torch.stack([features[batch.labels == label].mean(0) for label in batch.labels])
        return ((features - means) ** 2).mean()


class ClassPull(Strategy):
    """Moves class means."""

    kind = "values"

    def loss(self, batch, logits, features):
        means = torch.stack([features[batch.labels == label].mean(0) for label in range(3)])
        return (means**2).sum()


@pytest.mark.parametrize("shape", ["flat", "first", "last", "steps", "several"])
def test_gradients_at_pooled_features_are_finite_differences(shape):
    """Of both losses, for every form that a tap can have: features moved by as much at all places."""
    torch.manual_seed(0)
    n, width, steps, labels = 6, 4, 5, torch.tensor([0, 1, 2, 0, 1, 2])
    sizes = {"flat": [(n, width)], "first": [(n, width, steps, 2)], "last": [(n, steps, width)],
             "steps": [(n * steps, width)], "several": [(n, width), (n, width)]}  # fmt: skip
    classifier = next(iter(CLASSIFIERS.values()))
    classifier = type(classifier)(
        name="own", family="own", input="de", build=classifier.build, features_last=shape == "last"
    )
    raw = [torch.randn(size, dtype=torch.float64, requires_grad=True) for size in sizes[shape]]
    head = torch.randn(width, 3, dtype=torch.float64)

    def terms(taps):
        features = pooled_features(taps, classifier, n)
        out = Tapped((features + 0.1 * features**2) @ head, features, taps)
        objective = Objective(ResidualPull(), None, 0.7, 0.0, 0.1, None)
        batch = Batch(x=torch.zeros(n), labels=labels, clips=labels, subjects=labels, rows=labels)
        return objective, batch, out

    gradients = loss_gradients(*terms(tuple(raw)), classifier)
    base = [tap.detach() for tap in raw]
    for number, name in enumerate(("task", "auxiliary")):
        for sample, feature in ((0, 0), (3, 2), (5, 3)):
            moved = []
            for step in (1e-6, -1e-6):
                taps = tuple(_moved(tap, shape, sample, feature, step, steps) for tap in base)
                objective, batch, out = terms(taps)
                moved.append(objective.terms(batch, out)[number])
            expected = float((moved[0] - moved[1]) / 2e-6)
            assert float(gradients[name][sample, feature]) == pytest.approx(expected, rel=1e-5, abs=1e-9)


def _moved(tap, shape, sample, feature, step, steps):
    tap = tap.clone()
    if shape == "last":
        tap[sample, :, feature] += step
    elif shape == "steps":
        tap[sample * steps : (sample + 1) * steps, feature] += step
    else:
        tap[sample, feature] += step
    return tap


def test_a_loss_of_class_means_never_tells_samples_of_a_class_apart_and_one_of_residuals_does_nothing_else():
    torch.manual_seed(1)
    labels = torch.arange(3).repeat(8)
    features = torch.randn(24, 10, requires_grad=True)
    classifier = next(iter(CLASSIFIERS.values()))
    out = Tapped(features @ torch.randn(10, 3), features, (features,))
    batch = Batch(x=features, labels=labels, clips=labels, subjects=labels, rows=labels)
    span = class_span(features.detach().numpy(), labels.numpy())
    expected = {ClassPull: 1.0, ResidualPull: 0.0}
    for strategy, share in expected.items():
        gradients = loss_gradients(Objective(strategy(), None, 1.0, 0.0, 0.0, None), batch, out, classifier)
        found = gradient_shares(gradients["auxiliary"].numpy(), labels.numpy(), span)
        assert found.classes == pytest.approx(share, abs=1e-6)
    nothing = loss_gradients(Objective(Strategy(), None, 0.0, 0.0, 0.0, None), batch, out, classifier)
    assert nothing["auxiliary"] is None
    assert nothing["task"].shape == (24, 10)


def test_the_split_of_a_cell_leaves_it_as_it_was(one_thread):
    data, about = world.dataset(), world.recipe(epochs=2)
    target = world.target()
    split = world.split()
    states = []
    for measured in (False, True):
        held = resident(data, split, de_normalisation="train", device="cpu")
        run = CellRun(world.cell("de_mlp", "aux_mse", about=about, lambda_=0.5), data, about, target, held)
        run.advance()
        if measured:
            shares = split_of_run(run, torch.from_numpy(held.train))
            assert 0 < shares["task"].span <= 1
            assert 0 < shares["auxiliary"].span <= 1
            assert shares["auxiliary"].norm > 0
        while run.advance():
            pass
        states.append(run.result().test_logits)
    np.testing.assert_array_equal(*states)
