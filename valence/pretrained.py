"""Recordings to classifiers: published weights into a freshly built classifier.

In: a module, and a local file or folder. Out: the module with the weights in it, its head as initialised. A checkpoint
of torch is a pickle; it is read with torch's allow-list of tensors, so nothing in it runs. Nothing changes in the
module unless all of the file fits.
"""

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from valence.errors import BadInput

FILES = ("model.safetensors", "pytorch_model.bin")
"""what a folder of the Hugging Face hub calls its weights, in the order in which they are looked for"""
WRAPPERS = ("state_dict", "model")
LISTED = 6


def load_weights(
    module: nn.Module,
    path: Path,
    *,
    head: tuple[str, ...] = ("final_layer.",),
    own: tuple[str, ...] = (),
    cut: tuple[str, ...] = (),
) -> None:
    """Put the weights of a file into a module, all but its head.

    Parameters
    ----------
    path : safetensors or torch checkpoint, or a folder that holds one by the hub's name.
    head : prefixes of tensors that stay as initialised, and are ignored in the file.
    own : tensors that stay as initialised where the file has them in another shape: they belong to its channels.
    cut : tensors (1, n, ...) of which the first rows are taken where the file has more: one for each second.

    Raises
    ------
    BadInput : where the file cannot be read or is of another architecture, listing tensors that are missing,
        unexpected, of another shape or not finite. The module is then as it was.
    """
    file = _weights_file(Path(path))
    found = {name: tensor for name, tensor in _tensors(file).items() if not name.startswith(head)}
    wanted = {name: tensor for name, tensor in module.state_dict().items() if not name.startswith(head)}
    for name in cut:
        if name in found and name in wanted and found[name].ndim > 1:
            found[name] = found[name][:, : wanted[name].shape[1]]
    for name in own:
        if name in found and name in wanted and found[name].shape != wanted[name].shape:
            del found[name], wanted[name]
    wrong = {
        "missing": sorted(wanted.keys() - found.keys()),
        "unexpected": sorted(found.keys() - wanted.keys()),
        "of another shape": [
            f"{name} {tuple(found[name].shape)}, not {tuple(tensor.shape)}"
            for name, tensor in wanted.items()
            if name in found and found[name].shape != tensor.shape
        ],
        "not finite": [name for name, tensor in found.items() if not bool(torch.isfinite(tensor).all())],
    }
    if any(wrong.values()):
        raise BadInput(
            f"{file} does not fit {type(module).__name__}: "
            + "; ".join(_listed(what, names) for what, names in wrong.items() if names),
            allowed=f"weights of this architecture: {len(wanted)} tensors beside its head",
            do="give the file that was published for this classifier, and windows at the rate it was trained on",
        )
    module.load_state_dict(found, strict=False)


def _listed(what: str, names: list[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"{len(names)} {what} ({', '.join(names[:LISTED])}{more})"


def _weights_file(path: Path) -> Path:
    if path.is_dir():
        for name in FILES:
            if (path / name).is_file():
                return path / name
    if path.is_file():
        return path
    raise BadInput(
        f"no pretrained weights at {path}",
        allowed=f"a .safetensors file, a torch checkpoint, or a folder that holds {' or '.join(FILES)}",
        do="download the classifier's repository from the hub, or correct the path",
    )


def _tensors(file: Path) -> dict[str, torch.Tensor]:
    try:
        if file.suffix == ".safetensors":
            content: object = load_file(file)
        else:
            content = torch.load(file, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, OSError, ValueError, EOFError, KeyError) as error:
        raise BadInput(
            f"{file} cannot be read: {type(error).__name__}: {str(error).partition(chr(10))[0]}",
            allowed="safetensors, or a torch checkpoint that holds tensors by name and nothing else",
            do="fetch the file again from its publisher; never open it with pickle.load",
        ) from error
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not all(isinstance(tensor, torch.Tensor) for tensor in content.values()):
        raise BadInput(
            f"{file} holds no tensors by name",
            allowed="a state dict, by itself or under the key state_dict or model",
            do="save the classifier's state_dict() alone",
        )
    return {str(name).removeprefix("module."): tensor for name, tensor in content.items()}
