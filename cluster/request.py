"""A user's words to a request: every name checked before anything slow begins."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster import presets
from cluster.grid import Grid, make_grid
from cluster.session import in_submitted_job
from valence.classifiers import CLASSIFIERS
from valence.datasets import DATASETS
from valence.errors import BadInput
from valence.llms import LLM, resolve_llm
from valence.registry import load_plugin
from valence.strategies import STRATEGIES
from valence.targets import TARGETS

SIMULATED = "simulated"


@dataclass(frozen=True, kw_only=True)
class Request:
    """A sweep as asked for, valid, before any data is read."""

    preset: presets.Preset
    dataset: str
    data_root: Path | None
    """None for the simulated cohort, which is written into the sweep's folder"""
    split: str
    llm: LLM
    axis_file: Path | None
    engine: str
    out: Path
    grid: Grid
    n_paraphrases: int
    plugins: tuple[str, ...]


def resolve(
    *,
    preset: str,
    classifiers: str,
    strategies: str,
    targets: str,
    seeds: str,
    dataset: str,
    data_root: str,
    split: str,
    llm: str,
    axis: str,
    engine: str,
    out: str,
    plugins: str,
) -> Request:
    """Check every word of a command; empty strings stand for the preset's choice.

    Raises
    ------
    BadInput : for an unknown name, a missing folder, a combination that leaves nothing to run.
    """
    modules = _names(plugins)
    for module in modules:
        load_plugin(module)
    dataset = dataset or SIMULATED
    chosen = presets.preset(preset or ("quick" if dataset == SIMULATED else "full"))
    kind = DATASETS[dataset]
    if data_root and not Path(data_root).expanduser().is_dir():
        raise BadInput(
            f"--data-root {data_root}: no such folder",
            allowed="an existing folder, seen from where this command runs",
            do="correct the path; inside a submitted job give an absolute one",
        )
    root = Path(data_root).expanduser().resolve() if data_root else None
    if root is None and dataset == SIMULATED:
        inputs: Sequence[str] = ("windows", "de")
    else:
        inputs = kind(root).inputs
    grid = make_grid(
        classifiers=_names(classifiers) or chosen.classifiers or list(CLASSIFIERS),
        strategies=_names(strategies) or chosen.strategies or list(STRATEGIES),
        targets=_names(targets) or chosen.targets or list(TARGETS),
        seeds=_seeds(seeds) or presets.seeds(chosen.n_seeds),
        inputs=inputs,
    )
    return Request(
        preset=chosen,
        dataset=dataset,
        data_root=root,
        split=split or chosen.split,
        llm=resolve_llm(llm),
        axis_file=_axis_file(axis),
        engine=engine,
        out=output_folder(out, preset=chosen.name),
        grid=grid,
        n_paraphrases=chosen.n_paraphrases,
        plugins=tuple(modules),
    )


def output_folder(out: str, *, preset: str) -> Path:
    """Where results go. A submitted job runs in a copy that Ray deletes, so relative paths then start at home."""
    base = Path.home() / "valence" if in_submitted_job() else Path.cwd()
    path = base / (Path(out).expanduser() if out else Path("results") / (preset or "quick"))
    if path.exists() and not path.is_dir():
        raise BadInput(f"--out {path} is a file", allowed="a folder, or a name not taken", do="give another path")
    nearest = next(folder for folder in (path, *path.parents) if folder.exists())
    if not os.access(nearest, os.W_OK):
        raise BadInput(f"--out {path} cannot be written", allowed="a folder you may write to", do="give another path")
    return path


def _axis_file(axis: str) -> Path | None:
    if not axis:
        return None
    path = Path(axis).expanduser().resolve()
    if not path.is_file():
        raise BadInput(
            f"--axis {axis}: no such file", allowed="an axis.safetensors of an earlier sweep", do="correct the path"
        )
    return path


def _names(text: str) -> list[str]:
    return [name for name in (part.strip() for part in text.split(",")) if name]


def _seeds(text: str) -> tuple[int, ...]:
    """ "5" is the first five seeds, "42,7" these two, "42," this one."""
    if not text:
        return ()
    parts = _names(text)
    if not parts or not all(re.fullmatch(r"\d{1,18}", part) for part in parts):
        raise BadInput(
            f"--seeds {text}", allowed="a number of seeds (5) or a list with commas (42,123 or 42,)", do="correct it"
        )
    numbers = tuple(dict.fromkeys(int(part) for part in parts))
    if "," in text:
        return numbers
    if not 1 <= numbers[0] <= 1000:
        raise BadInput(f"--seeds {text}", allowed="1 to 1000 seeds", do="to name a seed, add a comma: " + text + ",")
    return presets.seeds(numbers[0])
