"""A trained classifier to one whose backbone stands still: what the adapters and their baseline share.

Training starts from the weights of the task-only cell. All that comes before the last layers is frozen: its parameters
get no gradient, its normalisations keep the statistics they have. Dropout goes on as in any training. What a strategy
adds to the backbone, and the last layers, are trained.
"""

from torch import nn

from valence.adapters import freeze, why_not_frozen
from valence.strategies import Circumstances, Earlier, Strategy


class FrozenBackbone(Strategy):
    """The last layers alone are trained, unless `adapt` adds something."""

    family = "adapters"
    baseline = "full_head"
    earlier = Earlier("none", "start")

    def __init__(self):
        super().__init__()
        self._standing: list[nn.Module] = []
        """normalisations of the backbone; a list, as they are not this strategy's own"""

    def unfit(self, about: Circumstances) -> str | None:
        return why_not_frozen(about.classifier, about.spec)

    def wrap(self, model: nn.Module) -> nn.Module:
        self._standing = freeze(model, self.tap_paths)
        self.adapt(model)
        return model

    def adapt(self, model: nn.Module) -> None:
        """Add to a frozen classifier what is trained beside its last layers."""

    def on_epoch(self, epoch: int, n_epochs: int) -> None:
        for norm in self._standing:
            norm.eval()
