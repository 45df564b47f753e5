"""A loss of one's own. Copy this file, change `loss`, and ask for a verdict:

python jobs/saturation_grid.py --plugin my_loss.py --strategies my_loss --verdict

Formula: L = 1 - corr(w·h_i, a_{s_i}) over the batch, with h the features, a the target's value of each sample's clip.
"""

import torch
from torch import nn

from valence.strategies import STRATEGIES, Strategy, need_target


@STRATEGIES.register("my_loss")
class MyLoss(Strategy):
    kind = "values"  # reads target.clip_values; or "prototypes", "dissimilarity", "none"
    lambda_ = 0.1  # the sum that is minimised is cross-entropy + lambda_ * loss

    def prepare(self, model, spec, n_features, target):
        self.read_out = nn.Linear(n_features, 1)
        values = torch.as_tensor(need_target(target, "my_loss").clip_values, dtype=torch.float32)
        self.register_buffer("values", values)

    def loss(self, batch, logits, features):
        read, wanted = self.read_out(features).squeeze(1), self.values[batch.clips]
        read, wanted = read - read.mean(), wanted - wanted.mean()
        return 1 - (read * wanted).mean() / (read.square().mean() * wanted.square().mean() + 1e-6).sqrt()
