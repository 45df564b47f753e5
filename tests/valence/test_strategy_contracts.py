"""What every strategy of the registry promises, on small real trainings: a new file is tested without an edit here."""

import io
import sys

import numpy as np
import pytest
import torch

from tests.valence.strategy_runs import (
    ALIGNING,
    ALIGNING_PAIRS,
    FIRST_PAIRS,
    FITTING,
    NAMES,
    assert_same,
    finished,
    gradients,
    looked_at,
    run_of,
    trained,
    without_dropout,
)
from tests.valence.traced_run import TracedRun
from valence.strategies import STRATEGIES, adds_to_classifier
from valence.strategy_options import default_dose, doses_of, option_defaults
from valence.targets import PARTS

pytestmark = pytest.mark.usefixtures("one_thread")
FAMILIES = {
    "regression",
    "multi-model",
    "distillation",
    "representational similarity",
    "contrastive",
    "adapters",
    "curricula",
    "channels and topography",
}
LEAST_DROP = {"rank_n_contrast": 0.04, "distance_ce": 0.02}
"""part of a loss that is gone after 100 steps where it cannot be a tenth: with distances of 2 at most and τ = 2, the
terms of rank-n-contrast's sums are within a factor of e of each other; soft labels have an entropy"""


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_it_is(name):
    strategy = STRATEGIES[name]
    text = f"{sys.modules[strategy.__module__].__doc__}\n{strategy.__doc__}"
    assert strategy.formula
    assert strategy.source
    assert "Formula: " in text
    assert strategy.kind in ("none", *PARTS)
    assert STRATEGIES[strategy.baseline].kind == "none"
    assert strategy.earlier is None or strategy.earlier.strategy in STRATEGIES
    if name != "none":
        assert strategy.family in FAMILIES
        assert "Source: " in text
        assert "Deviations: " in text
    assert doses_of(name) == [default_dose(name)]
    assert default_dose(name).lambda_ > 0 or strategy.kind == "none"
    for option in option_defaults(name):
        assert f"{option} : " in text, f"the option {option} is not in the docstring"
    assert FITTING[name], "no classifier that is tried here fits it"


@pytest.mark.parametrize("case", ["ordinary", "one class", "two samples", "one place", "zeros"])
@pytest.mark.parametrize(("name", "classifier"), ALIGNING_PAIRS)
def test_loss_and_gradients_are_finite_and_nothing_is_drawn(name, classifier, case):
    run = run_of(name, classifier)
    run.begin_epoch(0)
    train, labels = torch.from_numpy(run.data.train), run.data.labels
    rows = {"one class": train[labels[train] == 3], "two samples": train[[0, 9]]}.get(case, train[:32])
    batch = run.batch(rows)
    if case == "one place":  # without dropout all features are the same; labels and clips are not
        batch.x = batch.x[:1].expand_as(batch.x).contiguous()
        without_dropout(run)
    loss, parameters = looked_at(run, batch, times=float(case != "zeros"))
    assert loss.shape == ()
    assert torch.isfinite(loss)
    reached, own = gradients(loss, parameters), gradients(loss, list(run.strategy.parameters()))
    assert all(gradient.isfinite().all() for gradient in [*reached, *own])
    if case == "ordinary":
        assert any(gradient.any() for gradient in reached), "its gradient does not reach the classifier"


@pytest.mark.parametrize(("name", "classifier"), FIRST_PAIRS)
def test_a_captured_step_gives_what_an_eager_one_gives(name, classifier):
    """Capture, traced on the CPU: without Python, and without a look at values."""
    run = run_of(name, classifier, make=TracedRun)
    replayed, eager = finished(run), trained(name, classifier)
    assert replayed.mode == "graph"
    assert run._replay is not None
    np.testing.assert_allclose(replayed.test_logits, eager.test_logits, atol=1e-4)
    ratios = [result.metrics["gradient_ratio"] for result in (replayed, eager)]
    assert ratios == [None, None] or ratios[0] == pytest.approx(ratios[1], rel=1e-3)


def changes_by_its_loss_alone(name: str) -> bool:
    """Whether training is as without it, to the last bit, once its loss says nothing."""
    strategy = STRATEGIES[name]
    starts_elsewhere = strategy.earlier is not None and strategy.earlier.use == "start"
    return (
        strategy.weighted
        and strategy.baseline == "none"
        and not starts_elsewhere
        and not adds_to_classifier(strategy())
    )


@pytest.mark.parametrize(
    ("name", "classifier"), [pair for pair in ALIGNING_PAIRS if changes_by_its_loss_alone(pair[0])]
)
def test_detached_it_is_the_baseline(name, classifier):
    # one that looks inside is computed as its authors wrote it: another order of the same sums
    rewrites = not (STRATEGIES[name].reads_inside or STRATEGIES[name].reads_input)
    baseline = trained("none", classifier, rewrites=rewrites)
    assert_same(trained(name, classifier, "detached", rewrites=rewrites), baseline)
    assert not np.array_equal(trained(name, classifier, rewrites=rewrites).test_logits, baseline.test_logits)


@pytest.mark.parametrize(("name", "classifier"), [pair for pair in FIRST_PAIRS if pair[0] in ALIGNING])
def test_minimised_alone_the_loss_falls(name, classifier):
    """By a tenth in 100 steps of Adam on one batch, of classifier and strategy, unless LEAST_DROP says otherwise."""
    run = run_of(name, classifier)
    without_dropout(run)
    batch = run.batch(torch.from_numpy(run.data.train[:64]))
    first, parameters = looked_at(run, batch)
    optimizer = torch.optim.Adam([*parameters, *run.strategy.parameters()], lr=3e-3)
    for _ in range(100):
        loss, _ = looked_at(run, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < first.item() - LEAST_DROP.get(name, 0.1) * abs(first.item())


@pytest.mark.parametrize(("name", "classifier"), [pair for pair in ALIGNING_PAIRS if STRATEGIES[pair[0]].weighted])
def test_a_gradient_ratio_is_held(name, classifier):
    """In the first epoch: what changes a strength from epoch to epoch changes the ratio, too."""
    result = finished(run_of(name, classifier, epochs=1, gradient_match=0.3))
    assert result.metrics["gradient_ratio"] == pytest.approx(0.3, rel=1e-3)


@pytest.mark.parametrize(("name", "classifier"), FIRST_PAIRS)
def test_its_parameters_come_from_the_cell(name, classifier):
    runs = [run_of(name, classifier, seed=seed) for seed in (42, 42, 43)]
    first, same, other = (dict(run.strategy.named_parameters()) for run in runs)
    assert all(torch.equal(first[key], same[key]) for key in first)
    drawn = [key for key in first if first[key].numel() > 1]
    assert not drawn or any(not torch.equal(first[key], other[key]) for key in drawn)


@pytest.mark.parametrize(("name", "classifier"), FIRST_PAIRS)
def test_it_goes_on_from_a_saved_state(name, classifier):
    """After one epoch of three, through the bytes of a file, to the last bit."""
    file, run = io.BytesIO(), run_of(name, classifier)
    while run.epochs_done < 1:
        run.advance()
    torch.save(run.state(), file)
    file.seek(0)
    resumed = run_of(name, classifier)
    resumed.restore(torch.load(file, weights_only=True))
    result, straight = finished(resumed), trained(name, classifier)
    assert_same(result, straight)
    assert result.metrics == straight.metrics
