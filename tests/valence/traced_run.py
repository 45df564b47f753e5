"""A stand-in for the capture of a CUDA graph on a CPU: the step is traced to ATen operations and these are replayed.

As a captured graph does, a traced step reads and writes fixed memory, runs no Python, and refuses what depends on the
values of tensors. Unlike capturing, tracing does the work once; that is undone.
"""

from collections.abc import Callable

import torch
from torch.fx.experimental.proxy_tensor import make_fx

from valence.captured import CapturedRun


class TracedRun(CapturedRun):
    """A cell that replays a traced step."""

    n_captured = 0
    """over all cells"""

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        state = [*self.optimizer.state.values()]
        held = [
            *self.model.state_dict(keep_vars=True).values(),
            *self.strategy.state_dict(keep_vars=True).values(),
            *(value for values in state for value in values.values() if isinstance(value, torch.Tensor)),
            self.total,
        ]
        copies, generator = [tensor.detach().clone() for tensor in held], torch.get_rng_state()
        traced = make_fx(lambda: (work(), ())[1])()
        with torch.no_grad():
            for tensor, copy in zip(held, copies, strict=True):
                tensor.copy_(copy)
        torch.set_rng_state(generator)
        TracedRun.n_captured += 1
        return torch.no_grad()(traced)  # the backward pass is among the traced operations
