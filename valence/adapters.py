"""Trained classifiers to adapted ones: a frozen backbone, its last layer, and small parametrisations of its weights.

In: a classifier and the dotted paths of its last layers (`classifiers.tap_paths`). Everything before them is the
backbone: its parameters are frozen, its normalisations use the statistics they have. What is adapted are the weights of
linear maps, convolutions and projections of attention, each computed from the frozen weight by a parametrisation of
torch, so that modules, their order and their other parts stay as they are.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized, register_parametrization

from valence.classifiers import Classifier, build_classifier, tap_paths
from valence.errors import BadInput
from valence.signal import SignalSpec

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
ATTENTION_WEIGHTS = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
"""of nn.MultiheadAttention, as far as it has them; its `out_proj` is a linear map of its own"""


class LowRank(nn.Module):
    """W to W + alpha/rank · B·A, on W as a matrix (n_out, everything else); nothing is added as long as B is zero."""

    def __init__(self, weight: torch.Tensor, rank: int, alpha: float):
        super().__init__()
        n_out, n_in = len(weight), weight[0].numel()
        self.scaling = alpha / rank
        self.A = nn.Parameter(weight.new_empty(rank, n_in))
        self.B = nn.Parameter(weight.new_zeros(n_out, rank))
        nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """(n_out, ...) to the same."""
        return weight + self.scaling * (self.B @ self.A).view_as(weight)


class Scaled(nn.Module):
    """Weights or biases (n_out, ...) to themselves times a factor for each output."""

    def __init__(self, scale: nn.Parameter):
        super().__init__()
        self.scale = scale

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """(n_out, ...) to the same."""
        return weight * self.scale.view(-1, *[1] * (weight.ndim - 1))


def freeze(model: nn.Module, last: Sequence[str]) -> list[nn.Module]:
    """Freeze all parameters but those of the last layers.

    Returns
    -------
    list : normalisations of the backbone that keep statistics; in evaluation mode they leave them as they are.

    Raises
    ------
    BadInput : where the last layers have no parameters, so that nothing would be trained.
    """
    model.requires_grad_(False)
    for path in last:
        model.get_submodule(path).requires_grad_(True)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise _refusal(f"the last layer of {type(model).__name__} ({', '.join(last)}) has no weights")
    own = _inside(model, last)
    return [part for part in model.modules() if isinstance(part, nn.modules.batchnorm._NormBase) and part not in own]


def open_taps(model: nn.Module, last: Sequence[str]) -> None:
    """Let what the last layers read be leaves of the graph while training: gradients can be measured there.

    Behind a frozen backbone they have no gradient otherwise.
    """

    def leaf(layer: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...] | None:
        if not (layer.training and torch.is_grad_enabled()):
            return None
        return (inputs[0].detach().requires_grad_(), *inputs[1:])

    for path in last:
        model.get_submodule(path).register_forward_pre_hook(leaf)


def add_low_rank(model: nn.Module, last: Sequence[str], *, rank: int, alpha: float) -> None:
    """Give every weight of the backbone that can be adapted a `LowRank`. Raises BadInput where there is none."""

    def adapt(module: nn.Module, weight: str, _: str | None) -> None:
        register_parametrization(module, weight, LowRank(getattr(module, weight), rank, alpha))

    _adapt(model, last, adapt)


def add_scales(model: nn.Module, last: Sequence[str]) -> None:
    """Give every adaptable layer of the backbone a factor for each output, of 1. Raises BadInput where there is none.

    A factor multiplies the output, so weight and bias share it.
    """

    def adapt(module: nn.Module, weight: str, bias: str | None) -> None:
        if is_parametrized(module):  # copies of it share its class, and would be told of the new parametrisation, too
            module.__class__ = type(type(module).__name__, (type(module),), {})
        value = getattr(module, weight)
        scale = nn.Parameter(value.new_ones(len(value)))
        register_parametrization(module, weight, Scaled(scale))
        if bias is not None:
            register_parametrization(module, bias, Scaled(scale))

    _adapt(model, last, adapt)


def adaptable(model: nn.Module, last: Sequence[str]) -> Iterator[tuple[nn.Module, str, str | None]]:
    """Layers of the backbone that can be adapted, with the names of weight and bias (None where it has none)."""
    own = _inside(model, last)
    for module in model.modules():
        if module in own:
            continue
        if isinstance(module, LAYERS):
            yield module, "weight", None if module.bias is None else "bias"
        elif isinstance(module, nn.MultiheadAttention):
            names = [name for name in ATTENTION_WEIGHTS if getattr(module, name) is not None]
            whole = names == ["in_proj_weight"] and module.in_proj_bias is not None
            yield from ((module, name, "in_proj_bias" if whole else None) for name in names)


def why_not_frozen(classifier: Classifier, spec: SignalSpec) -> str | None:
    """Why there is no last layer that could train alone; None where there is."""
    return _lacks(classifier, spec)[0]


def why_not_adapted(classifier: Classifier, spec: SignalSpec) -> str | None:
    """Why no adapter fits the backbone, or no last layer could train beside it; None where both are possible."""
    return next((reason for reason in _lacks(classifier, spec) if reason), None)


def _lacks(classifier: Classifier, spec: SignalSpec) -> tuple[str | None, str | None]:
    return _lacks_of(classifier.build, classifier.input, classifier.tap, classifier.name, spec)


@lru_cache(maxsize=512)
def _lacks_of(
    build: Callable[[SignalSpec], nn.Module], input_: str, tap: str | tuple[str, ...], name: str, spec: SignalSpec
) -> tuple[str | None, str | None]:
    """What the last layer lacks, and what the backbone lacks; a classifier that cannot be built says so itself."""
    classifier = Classifier(name=name, family="", input=input_, build=build, tap=tap)
    try:
        with torch.random.fork_rng(devices=[]):
            model = build_classifier(classifier, spec)
    except BadInput:
        return None, None
    last = tap_paths(model, classifier)
    head = any(True for path in last for _ in model.get_submodule(path).parameters())
    return (
        None if head else f"{name} has no weights in its last layer, which alone would be trained",
        None if any(adaptable(model, last)) else f"{name} has no {_KINDS} before its last layer",
    )


def _adapt(model: nn.Module, last: Sequence[str], adapt: Callable[[nn.Module, str, str | None], None]) -> None:
    found = list(adaptable(model, last))
    if not found:
        raise _refusal(f"{type(model).__name__} has no {_KINDS} before its last layer")
    for module, weight, bias in found:
        adapt(module, weight, bias)


def _inside(model: nn.Module, paths: Sequence[str]) -> set[nn.Module]:
    return {part for path in paths for part in model.get_submodule(path).modules()}


def _refusal(got: str) -> BadInput:
    return BadInput(got, allowed="a classifier whose weights can be adapted", do="leave this pair out of the grid")


_KINDS = "linear map, convolution or attention"
