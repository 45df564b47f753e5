"""Operations inside a module's forward, replaced one by one; the module, its parameters and hooks stay as they are."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

Replacement = Callable[..., Any]
FUNCTIONS = {
    "conv1d": torch.conv1d,
    "conv2d": torch.conv2d,
    "conv3d": torch.conv3d,
    "batch_norm": functional.batch_norm,
}
"""what can be replaced"""


class Intercepted:
    """The forward of a module, with some of the operations it asks for computed by others.

    Set as `module.forward`; copies and pickles with its module. The module's own forward still runs, so whatever it
    does to its parameters first (constraints, generated filters, counters of batches) is done as before.
    """

    def __init__(self, module: nn.Module):
        self.module = module
        self.replacements: dict[tuple[str, int], Replacement] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with _Replacing(self.replacements):
            return type(self.module).forward(self.module, *args, **kwargs)


class _Replacing(TorchFunctionMode):
    def __init__(self, replacements: dict[tuple[str, int], Replacement]):
        super().__init__()
        self.replacements = replacements
        self.counts: dict[str, int] = {}

    def __torch_function__(self, func, types, args=(), kwargs=None):
        replacement = None
        for name, function in FUNCTIONS.items():
            if func is function:
                position = self.counts.get(name, 0)
                self.counts[name] = position + 1
                replacement = self.replacements.get((name, position))
        return (replacement or func)(*args, **(kwargs or {}))


def intercept(module: nn.Module, function: Any, position: int, replacement: Replacement) -> None:
    """Let a replacement compute the position-th call of a function in a module's forward."""
    forward = module.__dict__.get("forward")
    if not isinstance(forward, Intercepted):
        forward = Intercepted(module)
        module.forward = forward  # type: ignore[method-assign]
    (name,) = (name for name, known in FUNCTIONS.items() if known is function)
    forward.replacements[name, position] = replacement


def free(module: nn.Module) -> bool:
    """Whether a module's forward is its class's own."""
    return "forward" not in module.__dict__


def restore(module: nn.Module) -> None:
    """Take back every replacement in a module and its parts."""
    for part in module.modules():
        if isinstance(part.__dict__.get("forward"), Intercepted):
            del part.forward
