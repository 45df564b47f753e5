"""Stage activations inside a vLLM worker: forward hooks on transformer blocks, last row of each request.

vLLM's worker class inherits this one (`worker_extension_cls`); its methods are called by `collective_rpc`. It has to be
importable by name where the worker runs, and it works in eager mode only: compiled graphs skip hooks.
"""

from collections.abc import Sequence
from typing import Any

import torch


class ActivationTap:
    """Installed by `tap_install`, read and removed by `tap_collect`."""

    def tap_install(self, blocks: Sequence[int]) -> None:
        """Start to remember the outputs of blocks (0-based) at the last token that each request has computed."""
        self._tap_rows: list[dict[str, torch.Tensor]] = [{} for _ in blocks]
        layers = transformer_blocks(self.model_runner.get_model(), self._n_blocks())  # type: ignore[attr-defined]
        self._tap_hooks = [
            layers[block].register_forward_hook(self._remember(rows))
            for block, rows in zip(blocks, self._tap_rows, strict=True)
        ]

    def tap_collect(self) -> list[dict[str, bytes]]:
        """Stop, and return for each block the float32 bytes of (d_model,) by request id.

        Bytes, because arrays inside a dict come back as lists from a worker in another process.
        """
        for hook in self._tap_hooks:
            hook.remove()
        rows, self._tap_rows, self._tap_hooks = self._tap_rows, [], []
        return [{request: row.numpy().tobytes() for request, row in of_block.items()} for of_block in rows]

    def _n_blocks(self) -> int:
        return self.model_runner.model_config.get_total_num_hidden_layers()  # type: ignore[attr-defined]

    def _remember(self, rows: dict[str, torch.Tensor]) -> Any:
        def hook(_module: torch.nn.Module, _inputs: object, output: object) -> None:
            runner = self.model_runner  # type: ignore[attr-defined]
            requests = list(runner.input_batch.req_ids)
            # A prompt that is computed in several chunks writes its row again; the last chunk ends with its last token.
            last = runner.query_start_loc.np[1 : len(requests) + 1] - 1
            hidden = hidden_state(output)
            taken = hidden[torch.as_tensor(last, device=hidden.device, dtype=torch.long)].float().cpu()
            rows.update(zip(requests, taken, strict=True))

        return hook


def hidden_state(output: object) -> torch.Tensor:
    """The hidden state a block hands on, (n_tokens, d_model).

    Most blocks of vLLM return it in two parts, which the next norm adds: output of the last sub-layer and residual.
    """
    if isinstance(output, torch.Tensor):
        return output
    if isinstance(output, tuple) and 1 <= len(output) <= 2 and isinstance(output[0], torch.Tensor):
        residual = output[1] if len(output) == 2 else None
        return output[0] if residual is None else output[0] + residual
    raise TypeError(f"a block returned {type(output).__name__}, which the tap does not know")


def transformer_blocks(network: torch.nn.Module, n_blocks: int) -> torch.nn.ModuleList:
    """The list of transformer blocks of an LLM, found by its length. Raises ValueError where there is not just one."""
    lists = {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.ModuleList) and len(module) == n_blocks
    }
    text = {name: module for name, module in lists.items() if not {"vision", "visual", "audio"} & set(_words(name))}
    if len(text) != 1:
        raise ValueError(f"{type(network).__name__} has {len(text)} lists of {n_blocks} blocks: {', '.join(text)}")
    return next(iter(text.values()))


def _words(name: str) -> list[str]:
    return name.replace("_", ".").split(".")
