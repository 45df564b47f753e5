"""A cell whose training step is captured once and replayed: no time is spent on launching its many small kernels.

The first steps of a cell run eagerly, which warms the libraries up; then one step is captured on the cell's own stream
and replayed for every full batch. Steps that differ run eagerly: the first of an epoch, where gradients are measured,
and a last batch of another size. Weights, optimizer and random numbers are the same objects in both.
"""

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

from valence.classifiers import tapped
from valence.strategies import Strategy
from valence.training import CellRun

WARM_UP_STEPS = 3

logger = logging.getLogger(__name__)


class CudaGraph:
    """Work on the current CUDA stream, captured when this is made and done whenever it is called."""

    def __init__(self, work: Callable[[], None]):
        self._graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize()
        # thread_local: Ray's threads may call CUDA meanwhile
        with torch.cuda.graph(self._graph, stream=torch.cuda.current_stream(), capture_error_mode="thread_local"):
            work()

    def __call__(self) -> None:
        self._graph.replay()


def _plain_values(strategy: Strategy) -> list[dict[str, object]]:
    """What a strategy holds beside tensors, and may change between epochs."""
    return [
        {name: value for name, value in vars(module).items() if isinstance(value, int | float | str | tuple | None)}
        for module in strategy.modules()
    ]


class CapturedRun(CellRun):
    """A cell that replays its step. Its result is that of eager training up to rounding."""

    mode = "graph"

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        device = self.data.x.device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        for group in self.optimizer.param_groups:  # a captured step reads its learning rate from memory
            group["lr"] = torch.tensor(float(group["lr"]), device=device)
            group["capturable"] = device.type == "cuda"
        self._rows = torch.zeros(self.recipe.batch_size, dtype=torch.int64, device=device)
        self._replay: Callable[[], None] | None = None
        self._warm = 0
        if self._stream is not None:
            self._stream.wait_stream(torch.cuda.current_stream(device))

    def _on_stream(self) -> AbstractContextManager:
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    def advance(self) -> bool:
        with self._on_stream():
            return super().advance()

    def result(self, *, keep: bool = False):
        with self._on_stream():
            return super().result(keep=keep)

    def begin_epoch(self, epoch: int) -> None:
        before = _plain_values(self.strategy)
        super().begin_epoch(epoch)
        if _plain_values(self.strategy) != before:
            self._replay = None  # they are part of the captured step; tensors are read anew

    def epoch(self, epoch: int, batches: Sequence[torch.Tensor]) -> Iterator[bool]:
        with tapped(self.model, self.classifier) as forward:
            for number, rows in enumerate(batches):
                self.set_rate(epoch * len(batches) + number, len(batches))
                differs = number == 0 or len(rows) != len(self._rows)
                if differs or self._warm < WARM_UP_STEPS or not self._captured(forward):
                    with self._listening() if self._warm < WARM_UP_STEPS and not differs else nullcontext():
                        self.step(forward, rows, measure=number == 0)
                    self._warm += 1
                else:
                    self._rows.copy_(rows)
                    assert self._replay is not None
                    self._replay()
                yield True

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Train eagerly for good where a step makes the CPU wait for the GPU: its capture would fail.

        A capture that fails leaves PyTorch's allocator in a state that the process does not recover from.
        """
        if self._stream is None:
            yield
            return
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as heard:
                warnings.simplefilter("always")
                yield
        finally:
            torch.cuda.set_sync_debug_mode("default")
        waits = [str(warning.message) for warning in heard if "synchronizing" in str(warning.message)]
        if waits:
            self.mode = "eager"
            logger.info("%s with %s trains eagerly: %s", self.cell.classifier, self.cell.strategy, waits[0])

    def _captured(self, forward) -> bool:
        """Capture the step where that is still to be done; False, and eager from now on, where it cannot be."""
        if self._replay is None and self.mode == "graph":
            try:
                self._replay = self.capture(lambda: self.step(forward, self._rows, measure=False))
            except RuntimeError as error:
                if isinstance(error, torch.OutOfMemoryError):
                    raise
                self.mode = "eager"
                reason = str(error).splitlines()[0]
                logger.info("%s with %s trains eagerly: %s", self.cell.classifier, self.cell.strategy, reason)
        return self._replay is not None

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        """The work as something that can be done again and again; doing it once is not part of this."""
        return CudaGraph(work)
