"""Stage activations inside a vLLM worker: forward hooks read every layer asked for in one pass, pooled per request.

vLLM's worker class inherits this one (`worker_extension_cls`); its methods are called by `collective_rpc`. It has to be
importable by name where the worker runs, and it works in eager mode only: compiled graphs skip hooks. With tensor
parallelism every worker holds the same hidden states, and the first one reads them.
"""

import inspect
import itertools
from collections.abc import Sequence
from typing import Any

import torch

import valence  # noqa: F401  # before a worker's process imports an architecture, see valence._torchaudio


class ActivationTap:
    """Installed by `tap_install`, read and removed by `tap_collect`."""

    def mend_activation_functions(self) -> None:
        """Give BLOOM the GELU that it was trained with, the tanh approximation; vLLM 0.32 gives it the exact one."""
        for module in self.model_runner.get_model().modules():  # type: ignore[attr-defined]
            if type(module).__name__ == "BloomMLP":
                module.gelu_impl = torch.nn.GELU(approximate="tanh")

    def tap_install(self, states: Sequence[int], pooling: str) -> None:
        """Start to remember hidden states of each request.

        Parameters
        ----------
        states : indices of hidden states, 0 (what the first block is given) to n_blocks (after the final norm).
        pooling : "last" (token that the request has computed) or "mean" (over its tokens but the first, see
            `valence.activations.POOLINGS`).
        """
        self._tap_sums: Sums = {}
        self._tap_hooks: list[Any] = []
        if self.rank != 0:  # type: ignore[attr-defined]
            return
        network = self.model_runner.get_model()  # type: ignore[attr-defined]
        n_blocks = self.model_runner.model_config.get_total_num_hidden_layers()  # type: ignore[attr-defined]
        blocks = transformer_blocks(network, n_blocks)
        self._tap_step = Step(len(states), pooling)
        for position, state in enumerate(states):
            if state == 0:
                self._tap_hooks.append(self._before(blocks[0], position))
            elif state < n_blocks:
                self._tap_hooks.append(self._after(blocks[state - 1], position))
            else:
                # What the whole network gives its head. vLLM calls the part that ends in the norm without its hooks.
                self._tap_hooks.append(self._after(network, position))
        self._tap_hooks.append(network.register_forward_pre_hook(self._begin_step))
        self._tap_hooks.append(network.register_forward_hook(self._end_step))

    def tap_collect(self) -> tuple[list[str], bytearray]:
        """Stop, and return the ids of requests and the float32 bytes of (n_requests, n_states, d_model).

        Bytes, because arrays inside a container come back as lists from a worker in another process.
        """
        for hook in self._tap_hooks:
            hook.remove()
        requests, sums = list(self._tap_sums), self._tap_sums
        self._tap_sums, self._tap_hooks = {}, []
        read = bytearray(sum(4 * row.numel() for row, _ in sums.values()))
        if read:
            rows = torch.frombuffer(read, dtype=torch.float32).view(len(requests), *next(iter(sums.values()))[0].shape)
            for index, request in enumerate(requests):
                row, count = sums.pop(request)  # each step's memory is free when its last row is copied
                rows[index] = row / max(count, 1)
        return requests, read

    def _before(self, module: torch.nn.Module, position: int) -> Any:
        names = list(inspect.signature(module.forward).parameters)

        def hook(_module: torch.nn.Module, arguments: tuple, named: dict[str, Any]) -> None:
            given = dict(zip(names, arguments, strict=False)) | named
            self._tap_step.add(position, hidden_state(given["hidden_states"]))

        return module.register_forward_pre_hook(hook, with_kwargs=True)

    def _after(self, module: torch.nn.Module, position: int) -> Any:
        def hook(_module: torch.nn.Module, _inputs: object, output: object) -> None:
            self._tap_step.add(position, hidden_state(output))

        return module.register_forward_hook(hook)

    def _begin_step(self, _network: torch.nn.Module, _inputs: object) -> None:
        runner = self.model_runner  # type: ignore[attr-defined]
        requests = list(runner.input_batch.req_ids)
        starts = runner.query_start_loc.np[: len(requests) + 1].tolist()
        # one that was thrown out for want of memory comes back with nothing computed, and begins anew
        computed = runner.input_batch.num_computed_tokens_cpu[: len(requests)].tolist()
        self._tap_step.begin(requests, starts, begun=[count == 0 for count in computed])

    def _end_step(self, _network: torch.nn.Module, _inputs: object, _output: object) -> None:
        self._tap_step.end(self._tap_sums)


Sums = dict[str, tuple[torch.Tensor, int]]
"""of each request: what its tokens so far have summed to, (n_states, d_model), and how many that are

0 where that is its first token alone, which counts only while no other has come.
"""


class Step:
    """One forward pass: the requests in it, and what each layer gave for them, moved off the device once at the end."""

    def __init__(self, n_states: int, pooling: str):
        self.pooling = pooling
        self.requests: list[str] = []
        self.counts: list[int] = []
        self._starts: list[int] = []
        self._begun: list[bool] = []
        self._pooled: list[torch.Tensor | None] = [None] * n_states

    def begin(self, requests: list[str], starts: list[int], *, begun: list[bool]) -> None:
        """Requests of the pass, where the rows of each begin (and the last one's end), and which begin in it."""
        self.requests, self._starts, self._begun = requests, starts, begun
        self.counts = [end - start for start, end in itertools.pairwise(starts)]

    def add(self, position: int, hidden: torch.Tensor) -> None:
        """Pool hidden states, (n_tokens or more, d_model): of the last token, or summed in double precision.

        A request's first token is left out of the sum in the pass where it begins, unless that has no other.
        """
        if self.pooling == "last":
            last = torch.tensor(self._starts[1:], device=hidden.device) - 1
            self._pooled[position] = hidden[last].float()
        else:
            lengths = torch.tensor(self.counts, device=hidden.device)
            facts = zip(self._starts[:-1], self._begun, self.counts, strict=True)
            first = [start for start, begins, count in facts if begins and count > 1]
            tokens = hidden[: self._starts[-1]].double()
            tokens = tokens.index_fill(0, torch.tensor(first, dtype=torch.long, device=hidden.device), 0.0)
            self._pooled[position] = torch.segment_reduce(tokens, "sum", lengths=lengths, axis=0)

    def end(self, sums: Sums) -> None:
        """Add the pass to the sums of its requests, on the CPU."""
        for request, row, count, begins in zip(self.requests, self._rows(), self.counts, self._begun, strict=True):
            # A prompt that is computed in several chunks adds to its mean; its last chunk ends with its last token.
            if self.pooling == "last":
                sums[request] = (row, 1)
            elif begins:
                sums[request] = (row, count - 1)
            else:
                before, n_before = sums[request]
                sums[request] = (before + row if n_before else row, n_before + count)

    def _rows(self) -> torch.Tensor:
        """(n_requests, n_states, d_model) on the CPU."""
        missing = [position for position, pooled in enumerate(self._pooled) if pooled is None]
        if missing:
            raise RuntimeError(f"the hooks of layers {missing} were not called: is the engine in eager mode?")
        pooled, self._pooled = self._pooled, [None] * len(self._pooled)
        return torch.stack([tensor for tensor in pooled if tensor is not None], dim=1).cpu()


def hidden_state(output: object) -> torch.Tensor:
    """The hidden state a block hands on, (n_tokens, d_model).

    Most blocks of vLLM return it in two parts, which the next norm adds: output of the last sub-layer and residual.
    LLMs that vLLM runs with transformers' code have a batch dimension of 1.
    """
    if isinstance(output, torch.Tensor):
        return output[0] if output.ndim == 3 else output
    if isinstance(output, tuple) and 1 <= len(output) <= 2 and isinstance(output[0], torch.Tensor):
        residual = output[1] if len(output) == 2 else None
        return hidden_state(output[0] if residual is None else output[0] + residual)
    raise TypeError(f"a block returned {type(output).__name__}, which the tap does not know")


def transformer_blocks(network: torch.nn.Module, n_blocks: int) -> torch.nn.ModuleList:
    """The list of transformer blocks of an LLM, found by its length. Raises ValueError where there is not just one."""
    lists = {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.ModuleList) and len(module) == n_blocks
    }
    text = {name: module for name, module in lists.items() if not {"vision", "visual", "audio"} & set(_words(name))}
    # Some hold their blocks a second time, in parts that share a cache.
    distinct = {id(module[0]): module for module in text.values()}
    if len(distinct) != 1:
        raise ValueError(f"{type(network).__name__} has {len(text)} lists of {n_blocks} blocks: {', '.join(text)}")
    return next(iter(distinct.values()))


def _words(name: str) -> list[str]:
    return name.replace("_", ".").split(".")
