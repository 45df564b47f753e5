"""What all cells of a sweep share, and how they are trained: made once by the driver, read by every worker."""

import dataclasses
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from cluster.store import Store
from valence.cell import Recipe
from valence.cpu_memory import keep_freed_memory
from valence.errors import BadInput
from valence.plugins import PluginFiles, load_plugin
from valence.prepared import Prepared
from valence.splits import Split
from valence.targets import Target


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How cells are trained: nothing here changes a result by more than rounding."""

    mode: str = "auto"
    """of valence.packing, or auto: eager on a CPU, on a GPU the fastest of a short calibration"""
    cells_at_once: int | None = None
    """None: as many as calibration found best"""
    rewrites: bool = True
    """the same functions in a faster order, see valence.rewrites"""
    gpus_per_cell: int | None = None
    """devices that each cell trains on, data-parallel: GPUs, or CPU cores where there is no GPU; None: as the
    classifier's row says, where there are GPUs"""
    gpus_per_pack: float | None = None
    """0 (cores alone), 1, or a part of a GPU, which several packs then share; None: 1 where there are GPUs"""


@dataclass(frozen=True, kw_only=True)
class Context:
    """All that cells of a sweep share; it lies once in each node's object store, arrays without a copy."""

    folder: str
    """of the sweep"""
    prepared: Mapping[str, Prepared]
    """by input"""
    splits: Mapping[str, Split]
    """by input"""
    recipes: Mapping[str, Recipe]
    """by recipe hash"""
    inputs: Mapping[str, str]
    """classifier to input"""
    targets: Mapping[tuple[str, int], Target]
    """by name and seed: made once for a sweep"""
    kept: frozenset[str] = frozenset()
    """cells whose weights, features and layers are kept: others build on them, or the user asked for it"""
    weights: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """classifier to the file or folder of pretrained weights that it starts from"""
    execution: Execution = Execution()
    plugins: tuple[str | PluginFiles, ...] = ()
    """the user's, by name where every node has them, else with their files"""
    store_url: str | None = None
    """where results are committed; in the folder where None"""

    def store(self) -> Store:
        """The store that this sweep commits to."""
        return Store(Path(self.folder), self.store_url)


def set_up_process(context: Context, device: str) -> None:
    """Make this worker process ready for cells on its device, "cpu" or "cuda"."""
    if device == "cpu":
        # results must not depend on how many cores an actor was given: sums are split over threads
        torch.set_num_threads(1)
        keep_freed_memory()
    else:
        torch.set_float32_matmul_precision("high")  # TF32, as convolutions have it by default
    if context.store_url is None and not (Path(context.folder) / "plans").is_dir():
        raise BadInput(
            f"{context.folder} is not the sweep's folder on node {platform.node()}",
            allowed="a folder that every node sees under the same path",
            do="put --out on storage that all nodes mount, or results into object storage with --store",
        )
    for plugin in context.plugins:
        load_plugin(plugin)
