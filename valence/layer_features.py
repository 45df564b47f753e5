"""A trained classifier and samples to what each of its layers holds of them: pooled outputs, layer by layer.

A layer here is a block of the classifier as its author wrote it: a child of the network, where that child is a list or
a sequence each of its members. Blocks without trained weights and blocks that do not run once in a pass are left out.
"""

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.utils.parametrize import ParametrizationList, is_parametrized

LISTS = (nn.Sequential, nn.ModuleList)
CHANNELS_FIRST = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.modules.batchnorm._BatchNorm, nn.GroupNorm)
"""layers whose features are dimension 1 of what they give; those of all others are the last"""


def blocks(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Dotted paths and blocks of a classifier, in the order in which they are declared."""
    for name, child in module.named_children():
        if isinstance(child, LISTS):
            for path, part in blocks(child):
                yield f"{name}.{path}", part
        elif any(parameter.requires_grad for parameter in child.parameters()):
            yield name, child


def layer_features(module: nn.Module, x: torch.Tensor, *, batch: int = 64) -> dict[str, torch.Tensor]:
    """What every block gives for samples x (n, ...), in evaluation mode: path to float32 (n, D), on the CPU.

    In the order in which the blocks run. Means over all dimensions but the features: time, space and tokens.
    """
    known = dict(blocks(module))
    heard: dict[str, list[torch.Tensor]] = {}
    hooks = [
        part.register_forward_hook(lambda part, _, out, path=path: _note(heard, path, part, out))
        for path, part in known.items()
    ]
    n_batches = 0
    try:
        module.eval()
        with torch.no_grad():  # not inference mode: EEGMiner puts what it computes back into its parameters
            for part in x.split(batch):
                module(part)
                n_batches += 1
    finally:
        for hook in hooks:
            hook.remove()
    once = {path: parts for path, parts in heard.items() if len(parts) == n_batches}
    joined = {path: torch.cat(parts) for path, parts in once.items()}
    return {path: values for path, values in joined.items() if len(values) == len(x)}


def _note(heard: dict[str, list[torch.Tensor]], path: str, block: nn.Module, out: object) -> None:
    first = out[0] if isinstance(out, tuple) and out else out
    if not isinstance(first, torch.Tensor) or first.ndim < 2 or not first.is_floating_point():
        return
    if first.ndim > 2 and not _channels_first(block):
        first = first.movedim(-1, 1)
    heard.setdefault(path, []).append((first if first.ndim == 2 else first.flatten(2).mean(2)).float().cpu())


def _channels_first(block: nn.Module) -> bool:
    layers = [part for part in block.modules() if _has_weights(part)]
    return bool(layers) and isinstance(layers[-1], CHANNELS_FIRST)


def _has_weights(part: nn.Module) -> bool:
    """Whether a module is a layer with weights; those that are computed belong to the layer that asks for them."""
    own = next(part.parameters(recurse=False), None) is not None
    return is_parametrized(part) or (own and not isinstance(part, ParametrizationList))
