"""A user's words to a request: every name checked before anything slow begins."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cluster import presets
from cluster import verdict as verdict_of
from cluster.context import Execution
from cluster.files import open_files
from cluster.grid import NO_TARGET, STUDIED, Given, Grid, label_of, make_grid, merged
from cluster.llm_actors import choose_engine
from cluster.pretrained import pretrained_of
from cluster.session import in_submitted_job
from cluster.words import Word, names_of, path_of, positive, recipes_of, seeds_of
from valence.axis import Axis
from valence.classifiers import CLASSIFIERS
from valence.datasets import DATASETS, Dataset
from valence.errors import BadInput
from valence.llms import LLM, resolve_llm
from valence.packing import MODES
from valence.plugins import load_plugin
from valence.prepared import signal_spec
from valence.processing import Processing
from valence.protocols import apply_protocol, find_protocol
from valence.registry import unknown_name
from valence.samples import stored_input
from valence.splits import canonical_split
from valence.strategies import STRATEGIES
from valence.strategy_options import Dose, doses_of
from valence.targets import TARGETS

DATASET = "simulated"
"""where none is named"""
DEFAULT_LLM = "smollm2-135m-instruct"


@dataclass(frozen=True, kw_only=True)
class Request:
    """A sweep as asked for, valid, before any data is read."""

    preset: presets.Preset
    dataset: str
    data_root: Path | None
    """None where the data set makes its recordings by itself, in the sweep's folder"""
    split: str
    llm: LLM
    axis_files: tuple[Path, ...]
    """the first is the axis under study; further ones are of other LLMs, for strategies that take several"""
    engine: str
    out: Path
    grid: Grid
    n_paraphrases: int
    plugins: Mapping[str, str]
    """the user's words, files or modules, to the modules' names"""
    processing: Processing | None
    """of signals, where a protocol names one"""
    prepared: Path | None
    """folder of conversions; in the sweep's folder where None"""
    execution: Execution
    pretrained: Mapping[str, str]
    """classifier to the place of its weights"""
    judged: tuple[Dose, ...] = ()
    """doses on which a verdict is asked for"""
    store_url: str | None = None
    """where results are committed; in `out` where None"""
    keep: bool = False
    """weights, features and layers of every cell, for probes, ensembles and export"""


def resolve(
    *,
    preset: Word | presets.Preset = None,
    classifiers: Word = None,
    strategies: Word = None,
    targets: Word = None,
    seeds: Word = None,
    dataset: Word = None,
    data_root: Word = None,
    split: Word = None,
    llm: str = DEFAULT_LLM,
    axis: Word = None,
    engine: str = "auto",
    out: Word = None,
    plugins: Word = None,
    protocol: Word = None,
    features: Word = None,
    de_window_s: float | None = None,
    recipe: Word = None,
    prepared: Word = None,
    pretrained: Word = None,
    mode: str = "auto",
    cells_at_once: int | None = None,
    exact: bool = False,
    gpus_per_cell: int | None = None,
    gpus_per_pack: float | None = None,
    verdict: bool = False,
    store: Word = None,
    keep: bool = False,
) -> Request:
    """Check every word of a command; None stands for the preset's choice.

    Raises
    ------
    BadInput : for an unknown name, a missing folder, a combination that leaves nothing to run.
    """
    modules = names_of(plugins, "--plugin") or []
    loaded = [load_plugin(module) for module in modules]
    for registry, name in ((registry, name) for registry in (STRATEGIES, TARGETS) for name in presets.GROUPS):
        if name in registry:
            raise registry.refusal(name, "is the name of a group", f"any but {', '.join(presets.GROUPS)}")
    dataset = DATASET if dataset is None else dataset
    kind = DATASETS[dataset]
    chosen, processing = with_input(
        chosen_preset(preset, dataset, verdict=verdict),
        dataset,
        protocol=protocol,
        features=features,
        de_window_s=de_window_s,
    )
    chosen = replace(chosen, recipes=recipes_of(recipe, chosen.recipes))
    root = None if data_root is None else path_of(data_root, "--data-root")
    if root is not None and not root.is_dir():
        raise BadInput(
            f"--data-root {data_root}: {'not a folder' if root.exists() else 'no such folder'}",
            allowed="an existing folder, seen from where this command runs",
            do="correct the path; inside a submitted job give an absolute one",
        )
    axis_files = tuple(_axis_file(name) for name in names_of(axis, "--axis") or [])
    opened = None if root is None and kind.makes else kind(root, processing=processing)
    stored = kind.makes if opened is None else opened.inputs
    recipes = chosen.recipes
    wanted = names_of(strategies, "--strategies") or (verdict_of.REFERENCES if verdict else chosen.strategies)
    aims = names_of(targets, "--targets") or (verdict_of.TARGETS if verdict else chosen.targets)
    n_seeds = max(chosen.n_seeds, verdict_of.N_SEEDS) if verdict else chosen.n_seeds
    crossing: dict[str, Any] = {
        "classifiers": names_of(classifiers, "--classifiers") or chosen.classifiers or studied_classifiers(chosen),
        "seeds": presets.seeds(n_seeds) if seeds is None else seeds_of(seeds),
        "given": Given(
            specs={
                input: signal_spec(kind, input, recipes[input])
                for input in recipes
                if stored_input(input, recipes[input]) in stored
            },
            classes=tuple(name.casefold() for name in kind.emotions or kind.classes),
            has_ratings=kind.ratings is not Dataset.ratings if opened is None else has_ratings(opened),
            n_axes=max(len(axis_files), 1),
        ),
    }
    grid = make_grid(
        strategies=presets.expanded(wanted or list(STRATEGIES)),
        targets=presets.expanded(aims or [name for name, row in TARGETS.items() if row.by_default]),
        **crossing,
    )
    judged = judged_doses(grid, wanted) if verdict else ()
    if verdict:
        grid = merged(grid, make_grid(strategies=verdict_of.REFERENCES, targets=[STUDIED], **crossing))
    return Request(
        preset=chosen,
        dataset=dataset,
        data_root=root,
        split=canonical_split(chosen.split if split is None else split),
        llm=resolve_llm(llm),
        axis_files=axis_files,
        engine=choose_engine(engine),
        out=output_folder(out, name=chosen.name),
        grid=grid,
        n_paraphrases=chosen.n_paraphrases,
        plugins=dict(zip(modules, loaded)),
        processing=processing,
        prepared=None if prepared is None else path_of(prepared, "--prepared"),
        execution=execution_of(
            mode, cells_at_once, exact=exact, gpus_per_cell=gpus_per_cell, gpus_per_pack=gpus_per_pack
        ),
        pretrained=pretrained_of(pretrained, grid.classifiers),
        judged=judged,
        store_url=store_url_of(store),
        keep=keep,
    )


def has_ratings(dataset: Dataset) -> bool:
    """True where the subjects on disk have rated the clips."""
    return dataset.ratings(dataset.subjects(dataset.inputs[0])[:1]) is not None


def judged_doses(grid: Grid, wanted: Sequence[str]) -> tuple[Dose, ...]:
    """The doses that a verdict is on. Raises BadInput, with the reason, for one that the grid leaves out."""
    doses = [dose for word in presets.expanded(wanted) for dose in doses_of(word)]
    ran = {one.dose for one in grid.combinations if one.target in (STUDIED, NO_TARGET)}
    for dose in doses:
        if dose not in ran:
            reasons = [one.reason for one in grid.exclusions if one.strategy == label_of(dose)]
            raise BadInput(
                f"--verdict on {label_of(dose)}, which is not run with the axis: {(reasons or ['no such target'])[0]}",
                allowed="a strategy that runs with the target vaxis, or takes no target",
                do="name another strategy, classifier or data set, or leave --targets out",
            )
    return tuple(dict.fromkeys(dose for dose in doses if dose.strategy != "none"))


def studied_classifiers(preset: presets.Preset) -> list[str]:
    """All that are registered but the variants, of which only those of the preset."""
    return [name for name, row in CLASSIFIERS.items() if row.group != "variant" or name in preset.variants]


def execution_of(
    mode: str,
    cells_at_once: int | None,
    *,
    exact: bool,
    gpus_per_cell: int | None = None,
    gpus_per_pack: float | None = None,
) -> Execution:
    """How cells are to be trained. Raises BadInput for an unknown mode or a number below 1."""
    allowed = ["auto", *MODES]
    if mode not in allowed:
        raise unknown_name("mode", mode, allowed)
    if cells_at_once is not None and cells_at_once < 1:
        raise BadInput(f"--cells-at-once {cells_at_once}", allowed="1 or more", do="correct it, or leave it out")
    if gpus_per_cell is not None and gpus_per_cell < 1:
        raise BadInput(f"--gpus-per-cell {gpus_per_cell}", allowed="1 or more", do="correct it, or leave it out")
    if gpus_per_pack is not None and not 0 <= gpus_per_pack <= 1:
        raise BadInput(f"--gpus-per-pack {gpus_per_pack}", allowed="0 to 1", do="correct it, or leave it out")
    if (gpus_per_cell or 1) > 1 and mode not in ("auto", "eager"):
        raise BadInput(
            f"--mode {mode} with --gpus-per-cell {gpus_per_cell}",
            allowed="cells on several GPUs train in a mode of their own, data-parallel",
            do="leave one of the two out",
        )
    return Execution(
        mode=mode,
        cells_at_once=cells_at_once,
        rewrites=not exact,
        gpus_per_cell=gpus_per_cell,
        gpus_per_pack=gpus_per_pack,
    )


def with_input(
    chosen: presets.Preset, dataset: str, *, protocol: Word, features: Word, de_window_s: float | None
) -> tuple[presets.Preset, Processing | None]:
    """A preset with the windows of a protocol and the kind of band features a user names, and the processing."""
    recipes, processing = dict(chosen.recipes), None
    if protocol is not None:
        row = find_protocol(protocol, dataset)
        recipes["windows"] = apply_protocol(recipes["windows"], row)
        processing = row.processing if row.processing.steps else None
    if features is not None:
        recipes["de"] = replace(recipes["de"], band_features=features)
    if de_window_s is not None:
        recipes["de"] = replace(recipes["de"], de_window_s=positive(de_window_s, "--de-window-s"))
    return replace(chosen, recipes=recipes), processing


def chosen_preset(preset: Word | presets.Preset, dataset: Word, *, verdict: bool = False) -> presets.Preset:
    """The preset of a command where none is named: quick (verdict, for one) on a simulated cohort, else full."""
    if isinstance(preset, presets.Preset):
        return preset
    if preset is not None:
        return presets.preset(preset)
    small = "verdict" if verdict else "quick"
    return presets.preset(small if DATASETS[dataset or DATASET].makes else "full")


def output_folder(out: Word, *, name: str) -> Path:
    """Where results go. A submitted job runs in a copy that Ray deletes, so relative paths then start at home."""
    base = Path.home() / "valence" if in_submitted_job() else Path.cwd()
    path = base / "results" / name if out is None else path_of(out, "--out", base=base)
    nearest = next(folder for folder in (path, *path.parents) if folder.exists())
    if not nearest.is_dir():
        raise BadInput(
            f"--out {path}: {nearest} is a file", allowed="a folder, or a name not taken", do="choose another"
        )
    if not os.access(nearest, os.W_OK):
        raise BadInput(f"--out {path} cannot be written", allowed="a folder you may write to", do="give another path")
    return path


def store_url_of(store: Word) -> str | None:
    """Where results are committed, if not in the sweep's folder. Raises BadInput for a URL that cannot be used."""
    if store is None:
        return None
    open_files(store)
    return store


def _axis_file(axis: str) -> Path:
    path = path_of(axis, "--axis")
    if not path.is_file():
        raise BadInput(
            f"--axis {axis}: no such file", allowed="an axis.safetensors of an earlier sweep", do="correct the path"
        )
    Axis.load(path)
    return path
