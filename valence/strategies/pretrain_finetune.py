"""Two stages: the classifier first learns the target value alone, then the task alone.

Formula: stage 1, the first part of the epochs (option `share`, half of them): L = mean_i (w·h_i + b - a_{s_i})² is all
that is minimised. Stage 2, the others: cross-entropy alone. With `frozen`, what comes before the features no longer
changes in stage 2: no gradient enters it, and the running statistics of its normalisations stand still.
Source: the rows "pretrain then fine-tune" and "pretrain then frozen" of arXiv:2606.00129.
Deviations: the study does not report the lengths of its stages. Both together have the recipe's epochs, so that the
baseline, task-only training, has as many steps; one schedule of the learning rate and one state of the optimizer go
through both. The best epoch is chosen on validation among those of both stages. In stage 1 the last layer gets no
gradient but decays as all weights do. There are at least one epoch of stage 2 and, of two or more, one of stage 1.
"""

import torch
from torch import nn

from valence.adapters import why_not_frozen
from valence.errors import BadInput
from valence.option_ranges import fraction
from valence.strategies import STRATEGIES, Circumstances
from valence.value_regression import ValueRegression


@STRATEGIES.register("pretrain_finetune")
class PretrainFinetune(ValueRegression):
    """Regression of the target value, then cross-entropy.

    Parameters
    ----------
    share : part of the epochs that is stage 1, above 0 and below 1.
    frozen : whether only what reads the features is trained in stage 2.
    """

    family = "curricula"
    lambda_ = 1.0
    weighted = False
    formula = "first mean (w·h_i + b - a_{s_i})² alone, then CE alone"
    source = "arXiv:2606.00129"

    def __init__(self, share: float = 0.5, frozen: bool = False):
        super().__init__()
        self.share, self.frozen = fraction(share, "share", whole=False), frozen
        # its hooks hold one classifier, not several stacked ones
        self.reads_inside = frozen  # type: ignore[misc]
        self.stage = 1
        """a plain number: a captured step is captured anew where it changes"""
        self.first_task_epoch = 0
        """what was validated before was not trained on the task yet"""
        self._standing: list[nn.Module] = []
        """normalisations whose running statistics stand still in a frozen stage 2"""

    def unfit(self, about: Circumstances) -> str | None:
        return why_not_frozen(about.classifier, about.spec) if self.frozen else None

    def prepare(self, model, spec, n_features, target):
        super().prepare(model, spec, n_features, target)
        if not self.frozen:
            return
        assert self.tap_paths, "a strategy is told the last layers before it is prepared"
        taps = nn.ModuleList(model.get_submodule(path) for path in self.tap_paths)
        if not any(True for _ in taps.parameters()):
            raise BadInput(
                f"strategy 'pretrain_finetune' with frozen=true: {', '.join(self.tap_paths)} has no weights to train",
                allowed="a classifier whose last layer has weights",
                do="leave frozen out, or this classifier",
            )
        for tap in taps:
            tap.register_forward_pre_hook(self._cut)
        last = set(taps.modules())
        self._standing = [part for part in model.modules() if _has_statistics(part) and part not in last]

    def on_epoch(self, epoch: int, n_epochs: int) -> None:
        self.first_task_epoch = epochs_of_first_stage(self.share, n_epochs)
        self.stage = 1 if epoch < self.first_task_epoch else 2
        if self.stage == 2:
            for norm in self._standing:
                norm.eval()

    def weigh(self, entropy, auxiliary, lambda_):
        if self.stage == 1:
            # 0 times, not without: weights decay alike whether a cell is trained alone or stacked with others
            return 0 * entropy, auxiliary
        return entropy, torch.zeros_like(auxiliary)  # without a gradient, no ratio of gradients is measured

    def _cut(self, layer: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...] | None:
        """In a frozen stage 2 the features are where gradients end: a leaf, at which they can still be measured."""
        if self.stage == 1 or not (layer.training and torch.is_grad_enabled()):
            return None
        return (inputs[0].detach().requires_grad_(), *inputs[1:])


def epochs_of_first_stage(share: float, n_epochs: int) -> int:
    """The share of the epochs, rounded down, but 1 or more and not all; 0 of a single epoch."""
    return min(max(int(share * n_epochs + 1e-9), 1), n_epochs - 1)


def _has_statistics(part: nn.Module) -> bool:
    return getattr(part, "running_mean", None) is not None
