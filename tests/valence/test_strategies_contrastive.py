"""Contrastive losses against naive loops in numpy, their edges, and what they are least at."""

import copy
import itertools

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.valence import training_world as world
from valence.errors import BadInput
from valence.strategies import STRATEGIES, Batch
from valence.strategies.clip_nce import symmetric_nce
from valence.strategies.rank_n_contrast import rank_n_contrast
from valence.strategy_options import doses_of, make_strategy
from valence.targets import Target

pytestmark = pytest.mark.usefixtures("one_thread")
N_FEATURES = 6
ALL_CLIPS = tuple(range(world.N_CLIPS))
NAMES = ("supcon_clip", "supcon_class", "clip_nce", "rank_n_contrast")


def prepared(name: str, options: str = "", *, target: Target | None = None):
    torch.manual_seed(0)
    strategy = make_strategy(name, options)
    strategy.prepare(torch.nn.Identity(), world.spec("de"), N_FEATURES, target or world.target())
    return strategy.double()


def batch_of(clips: np.ndarray) -> Batch:
    clips = torch.as_tensor(clips)
    labels = torch.as_tensor(world.CLASS_OF_CLIP)[clips]
    return Batch(x=labels[:, None], labels=labels, clips=clips, subjects=labels * 0, rows=clips)


def sample(n: int = 24, *, clips=ALL_CLIPS) -> tuple[Batch, torch.Tensor]:
    rng = np.random.default_rng(n)
    return batch_of(rng.choice(list(clips), n)), torch.tensor(rng.standard_normal((n, N_FEATURES)), requires_grad=True)


def loss_of(strategy, batch: Batch, features: torch.Tensor) -> torch.Tensor:
    return strategy.loss(batch, features.new_zeros(len(features), world.N_CLASSES), features)


def projected(strategy, features: torch.Tensor) -> np.ndarray:
    return copy.deepcopy(strategy.head)(features).detach().numpy()


def finer_target() -> Target:
    """Clips of a class differ in their values."""
    target = world.target("clip_text")
    assert not np.array_equal(target.clip_values, target.class_values[world.CLASS_OF_CLIP])
    return target


def test_strengths_and_families():
    assert [STRATEGIES[name].lambda_ for name in NAMES] == [0.5, 1.0, 0.1, 0.1]
    assert {STRATEGIES[name].family for name in NAMES} == {"contrastive"}


def naive_supcon(z: np.ndarray, values: np.ndarray, largest: float, temperature: float) -> float:
    terms = []
    for i in range(len(z)):
        others = [j for j in range(len(z)) if j != i]
        total = sum(np.exp(z[i] @ z[a] / temperature) for a in others)
        weights = [max(0, 1 - abs(values[i] - values[j]) / largest) for j in others]
        logs = [np.log(np.exp(z[i] @ z[j] / temperature) / total) for j in others]
        if sum(weights) > 1e-6:
            terms.append(-np.dot(weights, logs) / sum(weights))
    return float(np.mean(terms))


@pytest.mark.parametrize("options", ["", "temperature=0.3"])
@pytest.mark.parametrize("name", ["supcon_clip", "supcon_class"])
def test_supcon_against_a_double_loop(name, options):
    """Without the classes at both ends: the largest difference is that of the data set, not of the batch."""
    target = finer_target()
    of_clips = target.clip_values if name == "supcon_clip" else target.class_values[world.CLASS_OF_CLIP]
    ends = {of_clips.argmin(), of_clips.argmax()} | {0, 1, 2}
    strategy = prepared(name, options, target=target)
    batch, features = sample(clips=set(range(world.N_CLIPS)) - ends)
    got = loss_of(strategy, batch, features).item()
    temperature = 0.3 if options else 0.07
    expected = naive_supcon(projected(strategy, features), of_clips[batch.clips.numpy()], np.ptp(of_clips), temperature)
    assert got == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", ["supcon_clip", "supcon_class"])
def test_supcon_leaves_out_samples_that_are_like_no_other(name):
    """One sample at one end of the values, the others at the other end: its weights are 0."""
    values, labels = world.target().class_values, world.CLASS_OF_CLIP
    low, high = (np.flatnonzero(labels == label)[0] for label in (values.argmin(), values.argmax()))
    strategy, (_, features) = prepared(name), sample(5)
    batch = batch_of(np.array([high, high, low, high, high]))
    got = loss_of(strategy, batch, features).item()
    expected = naive_supcon(projected(strategy, features), values[batch.labels.numpy()], np.ptp(values), 0.07)
    assert got == pytest.approx(expected, rel=1e-6)


def test_supcon_of_classes_and_of_clips_differ_by_what_clips_say():
    batch, features = sample()
    plain, finer = world.target(), finer_target()
    values = [[loss_of(prepared(n, target=t), batch, features).item() for n in NAMES[:2]] for t in (plain, finer)]
    assert values[0][0] == values[0][1]
    assert abs(values[1][0] - values[1][1]) > 1e-3


def naive_nce(similarity: np.ndarray, labels: np.ndarray) -> float:
    of_samples = [-np.log(np.exp(row[y]) / np.exp(row).sum()) for row, y in zip(similarity, labels, strict=True)]
    of_classes = []
    for k in sorted(set(labels)):
        column = similarity[:, k]
        of_classes.append(np.mean([-np.log(np.exp(s) / np.exp(column).sum()) for s in column[labels == k]]))
    return (np.mean(of_samples) + np.mean(of_classes)) / 2


@pytest.mark.parametrize("clips", [range(world.N_CLIPS), range(9)])
def test_clip_nce_against_a_double_loop(clips):
    """With all classes in the batch, and with three of nine."""
    strategy, (batch, features) = prepared("clip_nce"), sample(clips=clips)
    with torch.no_grad():
        strategy.log_temperature.fill_(np.log(0.2))
    got = loss_of(strategy, batch, features).item()
    prototypes = world.target().prototypes.astype(np.float32).astype(float)
    similarity = projected(strategy, features) @ prototypes.T / 0.2
    assert got == pytest.approx(naive_nce(similarity, batch.labels.numpy()), rel=1e-6)


def test_clip_nce_of_one_sample_a_class_is_that_of_clip():
    """Then it is the loss of CLIP's Figure 3: cross-entropy of the square matrix, along either side."""
    similarity = torch.randn(5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    order = torch.tensor([3, 0, 4, 1, 2])
    pairs = similarity[:, order]
    own = torch.arange(5)
    expected = sum(torch.nn.functional.cross_entropy(side, own) for side in (pairs, pairs.T)) / 2
    torch.testing.assert_close(symmetric_nce(similarity, order), expected)


def test_clip_nce_temperature_is_learned_from_that_of_clip_and_bounded():
    strategy, (batch, features) = prepared("clip_nce"), sample()
    assert strategy.log_temperature.exp().item() == pytest.approx(0.07)
    loss_of(strategy, batch, features).backward()
    assert strategy.log_temperature.grad != 0
    values = []
    for log_temperature in (-50.0, np.log(0.01)):
        with torch.no_grad():
            strategy.log_temperature.fill_(log_temperature)
        values.append(loss_of(strategy, batch, features).item())
    assert values[0] == pytest.approx(values[1])


def test_clip_nce_is_less_at_the_own_prototype_than_at_another():
    prototypes = torch.tensor(world.target().prototypes)
    labels = torch.arange(9).repeat(3)
    own, other = (symmetric_nce(z @ prototypes.T / 0.07, labels) for z in (prototypes[labels], prototypes[labels - 1]))
    assert own < other - 1


def naive_rank_n_contrast(similarity: np.ndarray, values: np.ndarray) -> float:
    n = len(values)
    distance = np.abs(values[:, None] - values[None, :]).round(12)
    total = 0.0
    for i in range(n):
        for j in set(range(n)) - {i}:
            farther = [k for k in range(n) if k != i and distance[i, k] >= distance[i, j]]
            total -= np.log(np.exp(similarity[i, j]) / sum(np.exp(similarity[i, k]) for k in farther))
    return total / (n * (n - 1))


@pytest.mark.parametrize("options", ["", "temperature=0.2"])
@pytest.mark.parametrize("name", ["vaxis", "clip_text", "rank"])
def test_rank_n_contrast_against_a_triple_loop(name, options):
    """Ties: samples of one clip, of clips of one value, and values as far on the other side."""
    target = world.target(name)
    strategy, (batch, features) = prepared("rank_n_contrast", options, target=target), sample()
    got = loss_of(strategy, batch, features).item()
    z = projected(strategy, features)
    distance = np.linalg.norm(z[:, None] - z[None, :], axis=2)
    values = target.clip_values[batch.clips.numpy()]
    expected = naive_rank_n_contrast(-distance / (0.2 if options else 2), values)
    assert got == pytest.approx(expected, rel=1e-9)


def test_rank_n_contrast_takes_equal_distances_for_equal():
    """-1, 0 and 1 standardised: the two steps differ in the last bit, and no order comes of that."""
    three = np.array([-1, 0, 1, -1, 0, 1, 0, 1, 1])
    values = (three - three.mean()) / three.std()
    assert values[1] - values[0] != values[2] - values[1]
    target = world.target()
    three_valued = Target(
        "three", values, values[world.CLASS_OF_CLIP], target.prototypes, np.abs(values[:, None] - values)
    )
    strategy = prepared("rank_n_contrast", target=three_valued)
    assert strategy.ranks.unique().tolist() == [0, 1, 2]


def test_rank_n_contrast_is_least_in_the_order_of_the_values():
    """Points on an arc in all orders: from either end, the values have the same order of distances."""
    values = np.array([-2.0, -0.7, 0.1, 0.4, 1.1, 2.3])
    ranks = torch.tensor(np.unique(np.abs(values[:, None] - values), return_inverse=True)[1].reshape(6, 6))

    def loss(order) -> float:
        angles = torch.tensor(values[list(order)]) / 2  # of half a circle or less: farther is farther
        points = torch.stack([angles.cos(), angles.sin()], dim=1)
        return rank_n_contrast(-torch.cdist(points, points) / 0.1, ranks).item()

    losses = {order: loss(order) for order in itertools.permutations(range(6))}
    *best, third = sorted(losses, key=losses.__getitem__)[:3]
    assert set(best) == {(0, 1, 2, 3, 4, 5), (5, 4, 3, 2, 1, 0)}
    assert losses[third] > 3 * losses[best[0]]


class Largest(TorchDispatchMode):
    """Notes the number of values of the largest tensor that an operation gives."""

    n = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        tensors = [tensor for tensor in (out if isinstance(out, tuple | list) else [out]) if hasattr(tensor, "numel")]
        self.n = max([self.n, *(tensor.numel() for tensor in tensors)])
        return out


@pytest.mark.parametrize("name", NAMES)
def test_memory_grows_with_the_square_of_the_batch(name):
    strategy, (batch, features) = prepared(name), sample(256)
    with Largest() as seen:
        loss_of(strategy, batch, features).backward()
    assert 256 * 256 <= seen.n <= 256 * 512


@pytest.mark.parametrize("name", NAMES)
def test_samples_at_one_place_have_finite_gradients(name):
    """In float32: a distance of 0 has no direction, and a root no slope."""
    strategy, (batch, _) = prepared(name).float(), sample()
    features = torch.randn(1, N_FEATURES).repeat(24, 1)
    features[:4] += 1
    features.requires_grad_()
    loss_of(strategy, batch, features).backward()
    assert torch.isfinite(features.grad).all()
    assert all(torch.isfinite(parameter.grad).all() for parameter in strategy.parameters())


@pytest.mark.parametrize("name", ["supcon_clip", "supcon_class", "rank_n_contrast"])
def test_temperature_is_an_option(name):
    assert doses_of(f"{name}:temperature=.5")[0].options == "temperature=0.5"
    for wrong in ("0", "-1"):
        with pytest.raises(BadInput, match="temperature"):
            doses_of(f"{name}:temperature={wrong}")


@pytest.mark.parametrize("name", ["supcon_clip", "supcon_class", "rank_n_contrast"])
def test_a_target_without_differences_is_refused(name):
    target = world.target()
    flat = Target("flat", target.class_values * 0, target.clip_values * 0, target.prototypes, target.dissimilarity)
    with pytest.raises(BadInput, match=f"'{name}' with a target whose values are all equal"):
        prepared(name, target=flat)


@pytest.mark.parametrize("name", NAMES)
def test_free_features_come_closer_to_the_target(name):
    """Features and head together: samples of near values end nearer to each other than those of far values."""
    strategy, clips = prepared(name), np.arange(world.N_CLIPS)
    features = torch.tensor(np.random.default_rng(0).standard_normal((len(clips), N_FEATURES)), requires_grad=True)
    optimizer = torch.optim.Adam([features, *strategy.parameters()], lr=0.02)
    for _ in range(200):
        loss = loss_of(strategy, batch_of(clips), features)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    z = projected(strategy, features)
    distances = np.linalg.norm(z[:, None] - z[None, :], axis=2)
    target = world.target()
    if name == "clip_nce":
        assert ((z @ target.prototypes.T).argmax(1) == world.CLASS_OF_CLIP).all()
    else:
        values = target.clip_values
        wanted = np.abs(values[:, None] - values[None, :])
        pairs = np.triu_indices(len(values), 1)
        assert np.corrcoef(distances[pairs], wanted[pairs])[0, 1] > 0.8
