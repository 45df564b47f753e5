"""A module and samples to the list of tensor operations it does, each with the module whose forward asked for it."""

import copy
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.parametrize import ParametrizationList
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

CONVOLUTIONS = (torch.conv1d, torch.conv2d, torch.conv3d)
NORM = functional.batch_norm


@dataclass(eq=False)
class Call:
    """One operation."""

    function: Any
    args: tuple
    kwargs: dict
    output: Any
    owner: nn.Module
    """innermost module whose forward was running"""
    position: int
    """number of earlier calls of the same function while the owner's forward ran"""

    def argument(self, place: int, name: str, default: Any = None) -> Any:
        """By position or by name, as it was given."""
        return self.args[place] if len(self.args) > place else self.kwargs.get(name, default)


class Trace:
    """What a module did with one batch: its operations in order, and who reads what."""

    def __init__(self, calls: list[Call], runs: dict[nn.Module, int], outer: set[nn.Module], seen: dict):
        self.calls, self.runs, self.outer = calls, runs, outer
        self.seen: dict[nn.Module, tuple[Any, Any]] = seen
        """first argument and result of every module"""
        self.producer: dict[int, Call] = {}
        self.consumers: dict[int, list[Call]] = defaultdict(list)
        for call in calls:
            for tensor in _tensors((call.args, call.kwargs)):
                self.consumers[id(tensor)].append(call)
            for tensor in _tensors(call.output):
                self.producer.setdefault(id(tensor), call)

    def only_reader(self, tensor: torch.Tensor) -> Call | None:
        """The one operation that reads a tensor; None where none or several do."""
        readers = self.consumers[id(tensor)]
        return readers[0] if len(readers) == 1 else None

    def replaceable(self, call: Call) -> bool:
        """Whether the call belongs to a module that runs once and calls no other module."""
        return self.runs.get(call.owner) == 1 and call.owner not in self.outer


class _Recorder(TorchFunctionMode):
    """Notes every operation that gives or takes tensors; asking for a shape or a device is none."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.stack: list[tuple[nn.Module, dict[Any, int]]] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        if self.stack and any(True for _ in _tensors(output)):
            owner, counts = self.stack[-1]
            self.calls.append(Call(func, args, kwargs, output, owner, counts.get(func, 0)))
            counts[func] = counts.get(func, 0) + 1
        return output


def record(module: nn.Module, x: torch.Tensor) -> Trace:
    """Run a module once in training mode and note what it does; weights, buffers and random numbers stay as they were.

    Parameters
    ----------
    x : samples, (2 or more, ...).
    """
    recorder = _Recorder()
    runs: dict[nn.Module, int] = defaultdict(int)
    outer: set[nn.Module] = set()
    seen: dict[nn.Module, tuple[Any, Any]] = {}

    def enter(part: nn.Module, _: tuple) -> None:
        if recorder.stack:
            outer.add(recorder.stack[-1][0])
        runs[part] += 1
        recorder.stack.append((part, {}))

    def leave(part: nn.Module, given: tuple, result: Any) -> None:
        recorder.stack.pop()
        seen[part] = given[0] if given else None, result

    handles = []
    own_weights = {id(part) for p in module.modules() if isinstance(p, ParametrizationList) for part in p.modules()}
    for part in module.modules():
        if id(part) in own_weights:  # a weight that is computed belongs to the layer that asks for it
            continue
        handles.append(part.register_forward_pre_hook(enter))
        handles.append(part.register_forward_hook(leave))
    try:
        with untouched(module), recorder, torch.enable_grad():
            module.train()
            module(x)
    finally:
        for handle in handles:
            handle.remove()
    return Trace(recorder.calls, runs, outer, seen)


@contextmanager
def untouched(module: nn.Module) -> Iterator[None]:
    """Whatever runs inside, the module's values, its modes and torch's random numbers are the same afterwards."""
    values = copy.deepcopy(module.state_dict())
    modes = [(part, part.training) for part in module.modules()]
    devices = sorted({t.get_device() for t in module.state_dict().values() if t.is_cuda})
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            with torch.no_grad():
                for name, tensor in module.state_dict().items():
                    tensor.copy_(values[name])
            for part, training in modes:
                part.training = training


def memory_format(tensor: torch.Tensor) -> torch.memory_format:
    """How a tensor's values lie in memory."""
    last = tensor.ndim == 4 and not tensor.is_contiguous() and tensor.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


def _tensors(tree: Any) -> Iterator[torch.Tensor]:
    return (leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor))
