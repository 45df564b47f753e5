"""What the job brain_map does and prints."""

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from rich.markup import escape
from rich.table import Table

import valence  # noqa: F401 before braindecode and transformers
from cluster.request import output_folder
from cluster.words import names_of, path_of
from jobs.terminal import Terminal, console, duration, number
from valence.axis import Axis
from valence.brain.axis_on_classes import axis_targets
from valence.brain.brain_page import answer, figures_of, page
from valence.brain.cohort import BrainTarget, Cohort, load_cohort
from valence.brain.rows import NotPossible
from valence.brain.study import run_analyses
from valence.brain.targets import NAMES, brain_target
from valence.brain.untrained_axes import untrained_axes
from valence.cache import write_whole
from valence.datasets import DATASETS, Dataset
from valence.errors import BadInput
from valence.plugins import load_plugin

if TYPE_CHECKING:
    from jobs.brain_map import Options

SHOWN = ("ridge", "ridge against", "ridge of", "ridge over ceiling", "ridge partial", "largest cell", "region")
"""analyses whose rows are printed; all are in the files, with the null of each p"""
NUMBER_WIDTHS = {"value": 6, "95 %": 14, "p": 7, "the study": 9}


def run(options: "Options") -> int:
    """Run every analysis, write table, figures and page, and show what a person reads first."""
    started = time.monotonic()
    out = output_folder(options.out, name="brain_map")
    name, axis = target_of(options.target)
    words = names_of(options.untrained_axis, "--untrained-axis") or []
    untrained = [axis for word in words for axis in untrained_axes(path_of(word, "--untrained-axis"))]
    if options.input not in ("de", "windows"):
        raise BadInput(f"--input {options.input}", allowed="de or windows", do="take one of these")
    with Terminal() as terminal:
        dataset = open_dataset(options, out, terminal)
        terminal.stage(f"reading {dataset.name}: {dataset.root}")
        cohort = load_cohort(
            dataset, input=options.input, drop=names_of(options.drop_channels, "--drop-channels") or ()
        )
        if options.refit_axis:
            target = refitted(axis, cohort)
        else:
            target = brain_target(name, cohort, axis, ratings=dataset.ratings() if name == "behaviour" else None)
        said = f"{len(cohort.subjects)} subjects, {len(cohort.class_of_clip)} clips, {len(cohort.ch_names)} channels"
        terminal.stage(f"{said}, {len(cohort.band_names)} bands; target {options.target}")
        found = run_analyses(
            cohort,
            target,
            axis=axis,
            untrained=untrained,
            signals=dataset if options.coupling else None,
            on_analysis=lambda name, seconds: terminal.stage(f"{name} ({seconds:.1f} s)"),
        )
        terminal.stage("figures")
        write(out, found, _facts(options, cohort, target))
    show(found)
    console.print(f"\ntable       {out / 'brain.parquet'}", markup=False)
    console.print(f"figures     {out / 'figures'}", markup=False)
    console.print(f"page        {out / 'brain.html'}", markup=False)
    console.print(f"done, {duration(time.monotonic() - started)}", markup=False)
    return 0


def target_of(word: str) -> tuple[str, Axis | None]:
    """Name of the target and its axis. Raises BadInput for any other word, and a file that is no axis."""
    kind, _, file = word.partition(":")
    allowed = "axis:FILE, " + ", ".join(name for name in NAMES if name != "axis")
    if kind not in NAMES or (kind == "axis") != bool(file):
        raise BadInput(f"--target {word}", allowed=allowed, do="take one of these")
    return kind, Axis.load(path_of(file, "--target")) if kind == "axis" else None


def refitted(axis: Axis | None, cohort: Cohort) -> BrainTarget:
    """The axis of these classes alone. Raises BadInput without an axis, or where it cannot be fitted anew."""
    try:
        if axis is None:
            raise NotPossible("the target is no axis")
        return axis_targets(cohort, axis)[1]
    except NotPossible as error:
        raise BadInput(
            f"--refit-axis: {error}",
            allowed="--target axis:FILE of a method that needs centroids alone",
            do="leave it out",
        ) from error


def open_dataset(options: "Options", out: Path, terminal: Terminal) -> Dataset:
    """The data set, a simulated one written first where no folder is given."""
    for module in names_of(options.plugin, "--plugin") or []:
        load_plugin(module)
    kind = DATASETS[options.dataset]
    root = None if options.data_root is None else path_of(options.data_root, "--data-root")
    made = root is None and bool(kind.makes)
    if not made and (options.world is not None or options.n_subjects is not None):
        raise BadInput(
            f"--world or --n-subjects for recordings of {options.dataset} that are there",
            allowed="both for a cohort that is simulated now",
            do="leave them out",
        )
    if made:
        root = out / options.dataset
        inputs = tuple(dict.fromkeys((options.input, *["windows"] * options.coupling)))
        terminal.stage(f"{options.dataset} recordings: {root}")
        world = options.world or ""
        kind.make(root, world=world, n_subjects=options.n_subjects, inputs=inputs, on_subject=terminal.subject)
    return kind(root)


def write(out: Path, found: pd.DataFrame, facts: dict[str, object]) -> None:
    """brain.parquet, figures/*.svg and brain.html, each whole; figures of an earlier run go."""
    figures = figures_of(found)
    write_whole(out / "brain.parquet", lambda path: found.to_parquet(path, index=False))
    folder = out / "figures"
    for name, text in figures.items():
        write_whole(folder / f"{name}.svg", partial(Path.write_text, data=text, encoding="utf-8"))
    for path in folder.glob("*.svg"):
        if path.stem not in figures:
            path.unlink()
    text = page(found, figures, facts=facts)
    write_whole(out / "brain.html", lambda path: path.write_text(text, encoding="utf-8"))


def _facts(options: "Options", cohort: Cohort, target: BrainTarget) -> dict[str, object]:
    campaigns = ", ".join(f"{(cohort.campaigns == one).sum()} of campaign {one}" for one in sorted({*cohort.campaigns}))
    return {
        "data set": cohort.name,
        "subjects": f"{len(cohort.subjects)} ({campaigns})",
        "clips": f"{len(cohort.class_of_clip)} of {', '.join(cohort.classes)}",
        "channels": f"{len(cohort.ch_names)}: {' '.join(cohort.ch_names)}",
        "bands": ", ".join(cohort.band_names),
        "target": options.target if target.name != "axis" else f"axis, {Path(options.target).name}",
    }


def show(found: pd.DataFrame) -> None:
    """Tables of the main analyses, and what could not be computed."""
    for analysis in SHOWN:
        rows = found[(found["analysis"] == analysis) & found["value"].notna()]
        rows = rows[~rows["protocol"].str.contains("by band", regex=False)]
        if len(rows):
            console.print()
            console.print(_table(analysis, rows))
    console.print()
    for row in found[found["value"].isna()].drop_duplicates(["analysis", "protocol", "item"]).to_dict("records"):
        what = ", ".join(filter(None, (row["analysis"], row["protocol"], row["item"])))
        console.print(f"no value: {what}: {row['reason']}", markup=False)
    for sentence in answer(found):
        console.print(sentence, markup=False)


def _table(analysis: str, rows: pd.DataFrame) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0), title_justify="left")
    table.title = analysis
    for name in ("protocol", "of"):
        table.add_column(name, no_wrap=True, min_width=12)
    for name, width in NUMBER_WIDTHS.items():  # never shortened: a cut number is another number
        table.add_column(name, justify="right", no_wrap=True, min_width=width)
    for row in rows.to_dict("records"):
        interval = "" if pd.isna(row["ci_low"]) else escape(f"[{row['ci_low']:+.2f}, {row['ci_high']:+.2f}]")
        values = (number(row["value"], "+.3f"), interval, number(row["p"], ".3g"), number(row["reference"], "+.3f"))
        table.add_row(escape(row["protocol"]), escape(row["item"]), *values)
    return table
