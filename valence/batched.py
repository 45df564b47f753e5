"""Several cells as one network: their weights stacked, their layers batched over cells by torch.func.

One kernel then works for all cells, which pays where the layers of one cell are too small to fill a device. Cells
share classifier, recipe and data; batches, weights, dropout masks, strategies and targets are each one's own. A
classifier whose operations torch.func cannot batch is refused, and its cells train in another mode.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

from valence.classifiers import Tapped, pooled_features, tap_paths
from valence.device_errors import is_out_of_memory
from valence.dropout_masks import Mask, dropout_masks
from valence.optimisation import OPTIMIZERS, learning_rate
from valence.strategies import Batch, Strategy, adds_to_classifier, looks_twice
from valence.training import CellRun


class CannotBatch(Exception):
    """These cells do not fit into one network."""


def why_alone(strategy: Strategy) -> str | None:
    """Why a strategy's cells cannot share one network; None where they can."""
    reasons = {
        "adds to the classifier": adds_to_classifier(strategy),
        "looks at the classifier twice": looks_twice(strategy),
        "looks inside the classifier": strategy.reads_inside,
    }
    return next((reason for reason, applies in reasons.items() if applies), None)


class BatchedRuns:
    """Cells that advance together, step by step.

    Parameters
    ----------
    runs : cells of one classifier, recipe and data set, built and not advanced yet.

    Attributes
    ----------
    failed : position of a cell to the error that ended it; the others go on.

    Raises
    ------
    CannotBatch : where a strategy changes the classifier, or an operation has no batched form.
    """

    def __init__(self, runs: Sequence[CellRun]):
        for run in runs:
            reason = why_alone(run.strategy)
            if reason:
                raise CannotBatch(f"{run.cell.strategy} {reason}")
        self.runs, self.failed = list(runs), dict[int, Exception]()
        self._skeleton, self._recipe = runs[0].model, runs[0].recipe
        self._classifier = runs[0].classifier
        self._paths = tap_paths(self._skeleton, self._classifier)
        self._parameters, self._buffers = stack_module_state([run.model for run in runs])  # type: ignore[arg-type]
        self._optimizer = self._make_optimizer()
        self._masks: dict[int, list[Mask]] = {}
        self._tap_shapes: dict[int, list[torch.Size]] = {}
        self._ended: set[int] = set()
        for run in runs:
            run.mode = "batched"
        try:
            self._try(runs[0].data.x[: self._recipe.batch_size])
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            raise CannotBatch(str(error).splitlines()[0]) from error
        self._steps = self._train()

    def advance(self) -> bool:
        """One step of all cells; False once all have ended."""
        return next(self._steps, None) is not None

    def _make_optimizer(self) -> torch.optim.Optimizer:
        """The first cell's optimizer over the stacked weights and every cell's strategy."""
        stacked = dict(zip(map(id, self.runs[0].model.parameters()), self._parameters.values()))
        optimizer = self.runs[0].optimizer
        groups = [
            {**group, "params": [stacked.get(id(parameter), parameter) for parameter in group["params"]]}
            for group in optimizer.param_groups
        ]
        for run in self.runs[1:]:
            own = {id(parameter) for parameter in run.model.parameters()}
            groups += [
                {**group, "params": left}
                for group in run.optimizer.param_groups
                if (left := [parameter for parameter in group["params"] if id(parameter) not in own])
            ]
        return OPTIMIZERS[self._recipe.optimizer](groups)

    def _try(self, x: torch.Tensor) -> None:
        """One forward pass, to see that every operation has a batched form; changes no statistics."""
        copies = {name: buffer.clone() for name, buffer in self._buffers.items()}
        self._skeleton.train()
        self._plan(x)
        masks = [
            torch.ones(len(self.runs), *mask.drawn, device=x.device).permute(0, *(1 + d for d in mask.order))
            for mask in self._masks[len(x)]
        ]
        vmap(self._lane)(self._parameters, copies, x.expand(len(self.runs), *x.shape), masks, [])

    def _train(self) -> Iterator[bool]:
        batches: list[Sequence[torch.Tensor]] = [()] * len(self.runs)
        for epoch in range(self._recipe.epochs):
            # a cell that has ended keeps its place, and its last batches
            batches = [
                kept if position in self._ended else run.batches()
                for position, (run, kept) in enumerate(zip(self.runs, batches))
            ]
            for run in self.runs:
                run.begin_epoch(epoch)
            for number, rows in enumerate(zip(*batches)):
                n_steps = len(batches[0])
                rate = learning_rate(self._recipe, step=epoch * n_steps + number, steps_per_epoch=n_steps)
                for group in self._optimizer.param_groups:
                    group["lr"] = rate
                self._step(rows, measure=number == 0)
                yield True
            yield True  # as a cell alone gives way before and after it is validated
            self._end_epoch(epoch)
            yield True
            if len(self._ended) == len(self.runs):
                return

    def _end_epoch(self, epoch: int) -> None:
        """Every cell gets its weights back and is validated as it would be alone."""
        for position, run in enumerate(self.runs):
            if position in self._ended:
                continue
            with torch.no_grad():
                for name, parameter in run.model.named_parameters():
                    parameter.copy_(self._parameters[name][position])
                for name, buffer in run.model.named_buffers():
                    buffer.copy_(self._buffers[name][position])
            try:
                if run.end_epoch(epoch, run.validation_logits()):
                    self._ended.add(position)
            except FloatingPointError as error:
                self.failed[position] = error
                self._ended.add(position)

    def _step(self, rows: Sequence[torch.Tensor], *, measure: bool) -> None:
        batches = []
        for run, own in zip(self.runs, rows):
            with run.random:
                batches.append(run.batch(own))
        matched = any(run.cell.gradient_match for run in self.runs)
        logits, features, anchors = self._forward(
            torch.stack([batch.x for batch in batches]), measure=measure or matched
        )
        loss = torch.zeros((), device=logits.device)
        for position, (run, batch) in enumerate(zip(self.runs, batches)):
            with run.random:
                wanted = measure and position not in self._ended  # matched ones measure for themselves
                own_loss = self._loss_of(run, batch, position, logits, features, anchors, measure=wanted)
            run.total += own_loss.detach()
            loss = loss + own_loss
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._clip()
        self._optimizer.step()

    @staticmethod
    def _loss_of(
        run: CellRun,
        batch: Batch,
        position: int,
        logits: torch.Tensor,
        features: torch.Tensor,
        anchors: list[torch.Tensor],
        *,
        measure: bool,
    ) -> torch.Tensor:
        out = Tapped(logits[position], features[position], tuple(anchors))
        task, auxiliary = run.objective.terms(batch, out, measure=measure)
        return task + auxiliary

    def _forward(self, x: torch.Tensor, *, measure: bool) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
        """Logits and features (n_cells, batch, ...) of all cells, and what their gradients are measured at.

        A tap inside a batched network cannot be handed out. Zeros are added to it instead: the gradient at these
        anchors is the one at the tap.
        """
        size = x.shape[1]
        if size not in self._masks:
            self._plan(x[0])
        masks = []
        for run in self.runs:
            with run.random:
                masks.append([mask.draw(x.device) for mask in self._masks[size]])
        stacked = [torch.stack(own) for own in zip(*masks)]
        anchors = []
        if measure:
            shapes = self._tap_shapes[size]
            anchors = [torch.zeros(len(self.runs), *shape, device=x.device, requires_grad=True) for shape in shapes]
        logits, features = vmap(self._lane)(self._parameters, self._buffers, x, stacked, anchors)
        return logits, features, anchors

    def _lane(
        self,
        parameters: dict[str, torch.Tensor],
        buffers: dict[str, torch.Tensor],
        x: torch.Tensor,
        masks: list[torch.Tensor],
        anchors: list[torch.Tensor],
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits and features of one cell."""
        supply, seen = iter(masks), dict[str, torch.Tensor]()

        def anchored(path: str, number: int):
            def hook(_: nn.Module, inputs: tuple) -> tuple:
                seen[path] = inputs[0] + anchors[number] if anchors else inputs[0]
                return (seen[path], *inputs[1:])

            return hook

        with ExitStack() as stack:
            for number, path in enumerate(self._paths):
                hook = self._skeleton.get_submodule(path).register_forward_pre_hook(anchored(path, number))
                stack.callback(hook.remove)
            stack.enter_context(dropout_masks(lambda _: next(supply)))
            logits = functional_call(self._skeleton, (parameters, buffers), (x,))
        taps = tuple(seen[path] for path in self._paths)
        return logits, pooled_features(taps, self._classifier, len(x))

    def _plan(self, x: torch.Tensor) -> None:
        """Note which dropout masks a batch of this size asks for, and the shapes of the taps."""
        masks: list[Mask] = []
        shapes: dict[str, torch.Size] = {}

        def note(mask: Mask) -> torch.Tensor:
            masks.append(mask)
            return torch.ones(mask.drawn, device=x.device).permute(mask.order)

        copied = {name: buffer[0].clone() for name, buffer in self._buffers.items()}
        own = {name: parameter[0].detach() for name, parameter in self._parameters.items()}
        with ExitStack() as stack:
            for path in self._paths:
                module = self._skeleton.get_submodule(path)
                noted = module.register_forward_pre_hook(
                    lambda _, inputs, path=path: shapes.update({path: inputs[0].shape})
                )
                stack.callback(noted.remove)
            stack.enter_context(dropout_masks(note))
            stack.enter_context(torch.no_grad())
            functional_call(self._skeleton, (own, copied), (x,))
        self._masks[len(x)] = masks
        self._tap_shapes[len(x)] = [shapes[path] for path in self._paths]

    def _clip(self) -> None:
        """Clip each cell's gradient by its own norm, as torch.nn.utils.clip_grad_norm_ does."""
        limit = self._recipe.clip_norm
        gradients = [parameter.grad for parameter in self._parameters.values() if parameter.grad is not None]
        norms = torch.stack([gradient.flatten(1).norm(dim=1) for gradient in gradients]).norm(dim=0)
        factor = (limit / (norms + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(factor.view(-1, *[1] * (gradient.ndim - 1)))
        for run in self.runs:
            own = [parameter for parameter in run.strategy.parameters() if parameter.grad is not None]
            if own:
                nn.utils.clip_grad_norm_(own, limit)
