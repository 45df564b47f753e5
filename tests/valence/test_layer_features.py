"""What each layer of a trained classifier holds, and what is kept of a cell for later stages."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.valence import training_world as world
from valence.classifiers import CLASSIFIERS
from valence.layer_features import layer_features
from valence.resident import resident
from valence.training import CellRun


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.utils.parametrizations.weight_norm(nn.Conv1d(3, 5, 3, bias=False))
        self.act = nn.ReLU()
        self.blocks = nn.ModuleList([nn.Linear(8, 6), nn.LayerNorm(6)])
        self.twice = nn.Linear(6, 6)
        self.frozen = nn.Linear(6, 6).requires_grad_(False)
        self.final_layer = nn.Sequential(nn.Flatten(), nn.Linear(30, 4))

    def forward(self, x):
        x = self.act(self.conv(x))
        for block in self.blocks:
            x = block(x)
        return self.final_layer(self.frozen(self.twice(self.twice(x))))


def test_blocks_in_order_and_pooled_over_all_but_features():
    torch.manual_seed(0)
    net, x = Net(), torch.randn(7, 3, 10)
    found = layer_features(net, x, batch=3)
    assert list(found) == ["conv", "blocks.0", "blocks.1", "final_layer.1"]
    convolved = net.conv(x)
    torch.testing.assert_close(found["conv"], convolved.mean(2))
    torch.testing.assert_close(found["blocks.0"], net.blocks[0](convolved.relu()).mean(1))
    torch.testing.assert_close(found["final_layer.1"], net(x))
    assert not any(part._forward_hooks for part in net.modules())


@pytest.mark.parametrize("name", ["de_transformer", "EEGNet", "FBCNet"])
def test_what_a_kept_cell_has(name):
    """Layers are as their author wrote them, whatever the order the cell was trained in; the last gives the logits."""
    about, data = world.recipe(epochs=2), world.dataset(CLASSIFIERS[name].input)
    held = resident(data, world.split(), de_normalisation="train", device="cpu")
    run = CellRun(world.cell(name, about=about), data, about, None, held)
    while run.advance():
        pass
    bare, kept = run.result(), run.result(keep=True)
    assert bare.layers is None
    assert bare.validation_features is None
    np.testing.assert_array_equal(bare.test_logits, kept.test_logits)
    clips = np.asarray(data.clips)[kept.test_index]
    last = list(kept.layers.values())[-1]
    for clip in np.unique(clips):
        np.testing.assert_allclose(last[clip], kept.test_logits[clips == clip].mean(0), atol=2e-3)
    assert kept.validation_features.shape == (len(kept.validation_index), kept.test_features.shape[1])
    with torch.no_grad():
        wanted = run.validation_logits()
    np.testing.assert_allclose(kept.validation_logits, wanted, atol=1e-6)
