"""Packs to committed cells: Ray Tune runs one trial a pack on persistent actors that keep the data set."""

import logging
import platform
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from ray import tune

from cluster.binding import as_dicts, from_dict
from cluster.cells import choose, train_rows
from cluster.context import Context, set_up_process
from cluster.packs import Pack
from cluster.resources import check_possible
from cluster.store import Store, Unusable
from valence.cell import Cell

TELL_EVERY_S = 1.0
"""cells that take less are told of together: a step costs Tune some milliseconds"""
MAX_ACTOR_FAILURES = 5
"""a pack is started again when its actor or node is lost; cells that were committed by then are not run again"""


@dataclass(frozen=True, kw_only=True)
class CellEnded:
    """Progress: one cell was committed."""

    cell_id: str
    classifier: str
    status: str
    seconds: float
    balanced_accuracy: float | None


class PackTrainable(tune.Trainable):
    """One pack; one group of its cells a step; each cell committed the moment it ends. The actor outlives its pack."""

    def setup(self, config: dict, *, packs: list[list[dict]], context: Context) -> None:  # type: ignore[override]
        self._device = _device(self.trial_resources)
        set_up_process(context, self._device)
        self._packs = packs
        self._context = context
        self._store = context.store()
        self.reset_config(config)

    def reset_config(self, new_config: dict) -> bool:
        cells = [from_dict(fields) for fields in self._packs[new_config["pack"]]]
        self._waiting = [cell for cell in cells if not self._is_ended(cell)]
        self._how: tuple[str, int] | None = None
        return True

    def step(self) -> dict:
        ended: list[dict] = []
        tell_at = time.monotonic() + TELL_EVERY_S
        try:
            while self._waiting and (not ended or time.monotonic() < tell_at):
                self._train_next(ended)
        except Unusable as error:
            return {"ended": ended, "unusable": f"node {platform.node()}: {error}", "done": True}
        return {"ended": ended, "done": not self._waiting}

    def _train_next(self, ended: list[dict]) -> None:
        """Train one group and commit its cells; what is to be told of them is added to `ended`."""
        if self._how is None:
            self._how = choose(self._waiting, self._context, self._store, device=self._device)
        mode, n_cells = self._how
        group, self._waiting = self._waiting[:n_cells], self._waiting[n_cells:]
        # another driver on the same store may have been first
        group = [cell for cell in group if not self._is_ended(cell)]
        was_first = True
        for outcome in train_rows(group, self._context, device=self._device, mode=mode) if group else ():
            row = outcome.row | {"attempts": self._store.attempts(outcome.row["cell_id"]) + 1}
            was_first &= self._store.commit(row, outcome.artifacts, weights=outcome.weights)
            told = ("cell_id", "classifier", "status", "seconds", "balanced_accuracy")
            ended.append({name: row.get(name) for name in told})
        if not was_first:
            # another driver trains this pack at the same time: going on in step would train each cell twice
            self._waiting.reverse()

    def _is_ended(self, cell: Cell) -> bool:
        return self._store.is_ended(cell.cell_id, with_weights=cell.cell_id in self._context.kept)

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: committed cells are the only state."""

    def load_checkpoint(self, checkpoint: dict | None) -> None:
        """Nothing: committed cells are the only state."""


@dataclass
class _Progress(tune.Callback):
    on_cell: Callable[[CellEnded], None]
    on_unusable: Callable[[str], None]

    def on_trial_result(self, iteration: int, trials: list, trial: object, result: dict, **info: object) -> None:
        for ended in result.get("ended") or ():
            self.on_cell(CellEnded(**ended))
        if "unusable" in result:
            self.on_unusable(result["unusable"])


@dataclass
class _Trouble(tune.Stopper):
    """Workers that could not commit: all of them are stopped where the driver cannot write, either."""

    store: Store
    messages: list[str] = field(default_factory=list)
    cause: Unusable | None = None

    def add(self, message: str) -> None:
        self.messages.append(message)
        try:
            self.store.check_writable()
        except Unusable as error:
            self.cause = error

    def __call__(self, trial_id: str, result: dict) -> bool:
        return False

    def stop_all(self) -> bool:
        return self.cause is not None


def _device(asked: tune.PlacementGroupFactory | None) -> str:
    """The device of this actor; a GPU that it did not ask for is another's, and of a part it has that part's memory."""
    share = asked.required_resources.get("GPU", 0) if asked else 0
    if not share or not torch.cuda.is_available():
        return "cpu"
    if share < 1:
        torch.cuda.set_per_process_memory_fraction(share)  # Ray keeps books of parts, and isolates nothing
    return "cuda"


def run_packs(
    packs: Sequence[Pack],
    *,
    context: Context,
    gpus_per_pack: float,
    on_cell: Callable[[CellEnded], None],
    on_cpu: frozenset[str] = frozenset(),
) -> list[str]:
    """Run packs to their end, each cell committed as it ends.

    Tune starts a pack again when its actor is lost while it trains, but gives it up when that happens between two
    packs: what is not committed then is asked for again, as long as each round commits something.

    Parameters
    ----------
    gpus_per_pack : 0 where there are no GPUs, 1, or a part of one, which several packs then share.
    on_cpu : classifiers whose packs train on a CPU core although there are GPUs, see cluster.placement.

    Returns
    -------
    list of str : messages of packs whose actor was lost more often than allowed; their cells are not committed.

    Raises
    ------
    Unusable : where the store has become full, read-only or out of reach; committed cells stay.
    BadInput : where no node has what a pack asks for, and none that has it is being started.
    """
    store = context.store()
    n_left = sum(len(pack.cells) for pack in packs)
    while packs:
        before = n_left
        asked = [_asked(pack, gpus_per_pack, on_cpu) for pack in packs]
        for amounts in {tuple(one): one for one in asked}.values():
            check_possible(amounts)
        errors = _run_once(packs, asked, context=context, on_cell=on_cell)
        packs = _unfinished(packs, store, context.kept)
        n_left = sum(len(pack.cells) for pack in packs)
        if packs and n_left == before:
            return errors or [f"{len(packs)} packs ended without their cells"]
    return []


def _asked(pack: Pack, gpus_per_pack: float, on_cpu: frozenset[str]) -> dict[str, float]:
    if not gpus_per_pack or pack.cells[0].classifier in on_cpu:
        return {"CPU": 1.0}
    # a GPU never waits for a core of its node that other packs hold
    return {"GPU": gpus_per_pack} if on_cpu else {"CPU": 1.0, "GPU": gpus_per_pack}


def _unfinished(packs: Sequence[Pack], store: Store, kept: frozenset[str]) -> list[Pack]:
    """What is left of each pack; packs that are done are left out."""
    ended = store.ended((cell.cell_id for pack in packs for cell in pack.cells), with_weights=kept)
    left = [(pack, tuple(cell for cell in pack.cells if cell.cell_id not in ended)) for pack in packs]
    return [replace(pack, cells=cells) for pack, cells in left if cells]


def _run_once(
    packs: Sequence[Pack],
    asked: Sequence[dict[str, float]],
    *,
    context: Context,
    on_cell: Callable[[CellEnded], None],
) -> list[str]:
    scratch, trouble = Path(context.folder) / ".tune", _Trouble(context.store())
    # Tune's state is never read again: on a full disk the one message is ours
    logging.getLogger("ray.tune.execution.experiment_state").setLevel(logging.CRITICAL)
    trainable = tune.with_parameters(PackTrainable, packs=[as_dicts(pack.cells) for pack in packs], context=context)
    tuner = tune.Tuner(
        tune.with_resources(trainable, lambda config: tune.PlacementGroupFactory([asked[config["pack"]]])),
        param_space={"pack": tune.grid_search(list(range(len(packs))))},
        tune_config=tune.TuneConfig(reuse_actors=True, trial_dirname_creator=lambda trial: trial.trial_id),
        run_config=tune.RunConfig(
            name="packs",
            storage_path=str(scratch.resolve()),
            failure_config=tune.FailureConfig(max_failures=MAX_ACTOR_FAILURES),
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            callbacks=[_Progress(on_cell=on_cell, on_unusable=trouble.add)],
            stop=trouble,
            verbose=0,
        ),
    )
    try:
        results = tuner.fit()
        if trouble.cause is not None:
            raise trouble.cause
        return [str(error) for error in results.errors] + trouble.messages
    finally:
        shutil.rmtree(scratch, ignore_errors=True)  # Tune's state is never read again: work = grid - committed
