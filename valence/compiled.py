"""A cell whose forward and backward pass are compiled by torch.compile; everything else is as in eager training.

Compilation takes from seconds to minutes and is shared by the cells of one process. Evaluation, batches of another size
than the recipe's, and the first of an epoch, where gradients inside the network are measured, run eagerly.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch

from valence.classifiers import tapped
from valence.training import CellRun


class CompiledRun(CellRun):
    """A cell with a compiled step. Dropout draws as in eager training, so that results agree up to rounding."""

    mode = "compiled"

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        import torch._inductor.config as inductor

        inductor.fallback_random = True
        self._compiled = torch.compile(self.model, dynamic=False)

    def epoch(self, epoch: int, batches: Sequence[torch.Tensor]) -> Iterator[bool]:
        with tapped(self.model, self.classifier) as forward:
            compiled = partial(forward, call=self._compiled)
            for number, rows in enumerate(batches):
                self.set_rate(epoch * len(batches) + number, len(batches))
                alike = number and len(rows) == self.recipe.batch_size
                self.step(compiled if alike else forward, rows, measure=number == 0)
                yield True
