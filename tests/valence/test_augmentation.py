"""Each augmentation does what it says, to the share of windows that it is meant for, and to nothing else."""

import numpy as np
import pytest
import torch

from tests.valence import training_world as world
from valence import augmentation
from valence.augmentation import augment
from valence.errors import BadInput
from valence.training import train_cell

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def only(monkeypatch):
    """Switch all augmentations off but one."""

    def keep(name):
        if name != "noise":
            monkeypatch.setattr(augmentation, "NOISE_SD", 0.0)
        if name != "channels":
            monkeypatch.setattr(augmentation, "CHANNEL_SHARE", 0.0)
        if name != "amplitude":
            monkeypatch.setattr(augmentation, "AMPLITUDE", 0.0)

    return keep


def windows(n=400, n_chans=8, n_times=100):
    torch.manual_seed(0)
    return torch.randn(n, n_chans, n_times) + 2


def test_nothing_happens_without_probability():
    x = windows(20)
    torch.testing.assert_close(augment(x, p=0.0, shift=20), x, rtol=0, atol=0)


def test_noise(only):
    only("noise")
    x = windows()
    added = augment(x, p=0.6, shift=0) - x
    touched = added.abs().amax((1, 2)) > 0
    assert float(touched.float().mean()) == pytest.approx(0.6, abs=0.08)
    ratio = added[touched].std(2) / x[touched].std(2)
    assert float(ratio.mean()) == pytest.approx(augmentation.NOISE_SD, rel=0.02)


def test_time_shift_moves_all_channels_of_a_window_alike(only):
    only("shift")
    x = windows()
    y = augment(x, p=0.6, shift=20)
    found = []
    for before, after in zip(x, y):
        shifts = [s for s in range(-20, 21) if torch.equal(torch.roll(before, s, 1), after)]
        assert len(shifts) == 1
        found += shifts
    moved = np.array([shift for shift in found if shift])
    assert len(moved) / len(found) == pytest.approx(0.6 * 40 / 41, abs=0.08)
    assert moved.min() <= -19
    assert moved.max() >= 19


def test_channel_dropout(only):
    only("channels")
    x = windows()
    lost = augment(x, p=0.6, shift=0).abs().amax(2) == 0
    kept = augment(x, p=0.6, shift=0)
    assert float(lost.float().mean()) == pytest.approx(0.6 * augmentation.CHANNEL_SHARE, rel=0.2)
    same = (kept == x).all(2)
    assert bool((same | (kept == 0).all(2)).all())


def test_amplitude(only):
    only("amplitude")
    x = windows()
    factor = (augment(x, p=0.6, shift=0) / x).flatten(1)
    assert float((factor.amax(1) - factor.amin(1)).max()) < 1e-4
    scaled = factor[:, 0][(factor[:, 0] - 1).abs() > 1e-6]
    assert len(scaled) / len(x) == pytest.approx(0.6, abs=0.08)
    assert 0.8 <= float(scaled.min()) < 0.83
    assert 1.17 < float(scaled.max()) <= 1.2


def test_training_with_augmentation_is_another_training_and_the_same_when_repeated():
    data = world.dataset("windows")

    def logits(**fields):
        about = world.recipe(epochs=2, **fields)
        return train_cell(world.cell("ShallowFBCSPNet", about=about), data, world.split(), about, None).test_logits

    np.testing.assert_array_equal(logits(augmentation_p=0.6), logits(augmentation_p=0.6))
    assert not np.array_equal(logits(augmentation_p=0.6), logits())


def test_band_features_are_not_augmented():
    about = world.recipe(augmentation_p=0.6)
    with pytest.raises(BadInput, match="band features"):
        train_cell(world.cell("de_mlp", about=about), world.dataset(), world.split(), about, None)
