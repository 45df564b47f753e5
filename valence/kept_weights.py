"""Weights of a trained cell: a state dict in, the bytes of a safetensors file out, and back into a classifier."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from valence.errors import BadInput


def weights_bytes(state: Mapping[str, torch.Tensor]) -> bytes:
    """A state dict as the content of a safetensors file."""
    # a tensor that several names share is written once for each
    return save({name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()})


def load_weights(model: nn.Module, path: Path) -> None:
    """Put weights into a classifier of the same architecture. Raises BadInput for a file of another, or none."""
    try:
        model.load_state_dict(load_file(path))
    except (SafetensorError, OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise BadInput(
            f"weights {path}: {reason}",
            allowed="weights of a cell of the same classifier and data",
            do="move the file away and run the same command again: the cell is trained anew",
        ) from error
