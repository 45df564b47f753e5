"""Samples to logits: the classifiers of the grid, and the one tap through which strategies see their features."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from valence.errors import BadInput
from valence.registry import Registry
from valence.signal import SignalSpec


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """Weights that a classifier can start from. They are taken only where a user asks for them."""

    hub_id: str
    """repository on the Hugging Face hub"""
    licence: str
    load: Callable[[nn.Module, Path], None]
    """module and local file or folder: the weights are put into the module; raises BadInput where they do not fit"""


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """One entry of the registry: how to build a classifier, and facts about it."""

    name: str
    family: str
    input: str
    """"windows": (batch, n_chans, n_times), or "de": (batch, n_chans, n_seconds, n_bands)"""
    build: Callable[[SignalSpec], nn.Module]
    """spec to a module that maps the input to logits (batch, n_outputs); imports what it needs when called"""
    group: str = "roster"
    """"roster": the 36 of the study; "extra": on DE features; "variant": another form of one of them"""
    tap: str | tuple[str, ...] = "final_layer"
    """dotted path of the module whose input is the penultimate features; of several, also the members of a ModuleList,
    the features are the mean"""
    features_last: bool = False
    """the tap is (batch, ..., D), not (batch, D, ...)"""
    needs: tuple[str, ...] = ()
    """what it needs of a recording beyond its shape, in words: "names of the 10-20 system", …"""
    published: Mapping[str, float] = field(default_factory=dict)
    """balanced accuracy reported by others, by data set; "faced, pretrained" where it started from other data"""
    pretrained: Pretrained | None = None
    gpus_per_cell: int = 1
    """GPUs that one cell trains on, data-parallel where more than one"""


CLASSIFIERS: Registry[Classifier] = Registry("classifier", __name__)


def build_classifier(classifier: Classifier, spec: SignalSpec) -> nn.Module:
    """A freshly initialised classifier, tried on two windows of zeros.

    Returns
    -------
    A module in training mode. The trial draws no random numbers and leaves running statistics alone, so weights and
    everything after depend on the build alone.

    Raises
    ------
    BadInput : where the classifier takes another kind of input, or its architecture cannot take this shape.
    """
    if classifier.input != spec.input:
        raise BadInput(
            f"{classifier.name} is given {spec.input}, which it cannot read",
            allowed=f"input of the kind {classifier.input!r}",
            do="choose a classifier for this input, or the other form of the data set",
        )
    shape = (2, spec.n_chans, spec.n_times) + ((spec.n_bands,) if spec.n_bands else ())
    try:
        module = classifier.build(spec).eval()
        # no_grad, not inference mode: what a module caches is used in training, too
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            logits = module(torch.zeros(shape))
    except (BadInput, ImportError, MemoryError):
        raise
    except Exception as error:
        raise _refusal(classifier, spec, f"{type(error).__name__}: {error}") from error
    if not isinstance(logits, torch.Tensor) or logits.shape != (2, spec.n_outputs):
        got = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise _refusal(classifier, spec, f"it gives {got} for two samples, not (2, {spec.n_outputs})")
    return module.train()


def _refusal(classifier: Classifier, spec: SignalSpec, reason: str) -> BadInput:
    bands = f" x {spec.n_bands} bands" if spec.n_bands else ""
    needs = f", with {' and '.join(classifier.needs)}" if classifier.needs else ""
    return BadInput(
        f"{classifier.name} cannot take {spec.n_chans} channels x {spec.n_times} samples{bands} at {spec.sfreq:g} Hz: "
        f"{' '.join(reason.split())}",
        allowed=f"a shape that this architecture was made for{needs}",
        do="change the recipe's window_s and sfreq_hz (longer windows often do), or leave this classifier out",
    )


class Tapped(NamedTuple):
    """What one forward pass gives."""

    logits: torch.Tensor
    """(batch, n_outputs)"""
    features: torch.Tensor
    """(batch, D): the tap, averaged over its other dimensions"""
    taps: tuple[torch.Tensor, ...]
    """inputs of the tapped modules as they are; cross-entropy and auxiliary loss both pass through them"""


def tap_paths(module: nn.Module, classifier: Classifier) -> tuple[str, ...]:
    """Dotted paths of the tapped modules; the members of a ModuleList each by itself."""
    paths = (classifier.tap,) if isinstance(classifier.tap, str) else classifier.tap
    found: list[str] = []
    for path in paths:
        part = module.get_submodule(path)
        found += [f"{path}.{number}" for number in range(len(part))] if isinstance(part, nn.ModuleList) else [path]
    return tuple(found)


@contextmanager
def tapped(module: nn.Module, classifier: Classifier) -> Iterator[Callable[..., Tapped]]:
    """Inside the context, a callable that gives logits and penultimate features in one forward pass.

    The features are those the classifier's last layer reads, pooled over time and space; they are part of the graph.
    A second argument is called in place of the module: another form of the same one, such as a compiled one.
    """
    paths = tap_paths(module, classifier)
    seen: dict[str, torch.Tensor] = {}

    def note(path: str) -> Callable[[nn.Module, tuple], None]:
        return lambda _, inputs: seen.update({path: inputs[0]})

    hooks = [module.get_submodule(path).register_forward_pre_hook(note(path)) for path in paths]

    def forward(x: torch.Tensor, call: Callable[[torch.Tensor], torch.Tensor] = module) -> Tapped:
        seen.clear()
        logits = call(x)
        taps = tuple(seen[path] for path in paths)
        seen.clear()
        return Tapped(logits, pooled_features(taps, classifier, len(x)), taps)

    try:
        yield forward
    finally:
        for hook in hooks:
            hook.remove()


def pooled_features(taps: tuple[torch.Tensor, ...], classifier: Classifier, n_samples: int) -> torch.Tensor:
    """Taps of one forward pass to features (n_samples, D); of several taps the mean."""
    pooled = [pool(tap.movedim(-1, 1) if classifier.features_last else tap, n_samples) for tap in taps]
    return pooled[0] if len(pooled) == 1 else torch.stack(pooled).mean(0)


def pool(tap: torch.Tensor, n_samples: int) -> torch.Tensor:
    """(n_samples, D, ...) to (n_samples, D): the mean over trailing dimensions.

    Where a last layer works step by step its input is (n_samples * n_steps, D), and the mean is over steps.
    """
    if len(tap) != n_samples:
        return tap.unflatten(0, (n_samples, -1)).mean(1)
    return tap if tap.ndim == 2 else tap.flatten(2).mean(2)
