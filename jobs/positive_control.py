"""The preset positive-control, as a person sees it: sweeps in worlds with a planted truth, and what they say."""

from pathlib import Path

from rich.table import Table

from cluster import positive_control, presets
from cluster.request import output_folder
from cluster.store import replace
from jobs.terminal import Terminal, console
from valence.control_report import render_control
from valence.errors import BadInput
from valence.stats.control import control_findings
from valence.worlds import WORLDS

OWN = ("preset", "out", "tracking_uri", "retry_failed", "partial", "plan")
"""options that mean something here"""


def run(options, *, default) -> int:
    """Run what is not done yet; 0 where every claim holds, else 1.

    Parameters
    ----------
    default : the options of a command without any.
    """
    idle = [name for name, value in vars(options).items() if name not in OWN and value != getattr(default, name)]
    if idle:
        raise BadInput(
            f"--{idle[0].replace('_', '-')} with --preset {presets.POSITIVE_CONTROL}",
            allowed=", ".join("--" + name.replace("_", "-") for name in OWN),
            do="leave it out; for one of its sweeps give --out FOLDER/unsaturated-00 without the preset",
        )
    out = output_folder(options.out, name=presets.POSITIVE_CONTROL)
    if options.plan:
        return _plan(out)
    with Terminal() as listener:
        comparisons = positive_control.run(
            out,
            tracking_uri=options.tracking_uri,
            retry_failed=options.retry_failed,
            partial=options.partial,
            listener=listener,
        )
    findings = control_findings(comparisons)
    page = out / "control.html"
    worlds = {name: (row.description, row.why) for name, row in WORLDS.items()}
    replace(page, render_control(findings, comparisons, worlds).encode())
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("claim", "found", "holds"):
        table.add_column(name)
    for row in findings.itertuples():
        table.add_row(row.claim, row.found, "yes" if row.holds else "[bold red]no[/]")
    console.print(table)
    console.print(f"\nreport       {page}\ncomparisons  {out / 'comparisons.parquet'}", markup=False)
    return 0 if findings["holds"].all() else 1


def _plan(out: Path) -> int:
    per_seed = 1 + len(positive_control.STRATEGIES) * len(positive_control.TARGETS)
    n_cells = 0
    for name, row in WORLDS.items():
        sweeps = [trial for trial in positive_control.trials(out) if trial.row.name == name]
        seeds = positive_control.N_SEEDS[name]
        n_cells += len(sweeps) * per_seed * seeds
        console.print(f"{name:12} {len(sweeps):3} sweeps of {per_seed * seeds} cells, {seeds} seeds: {row.description}")
    console.print(f"{n_cells} cells of {positive_control.CLASSIFIER}, with {', '.join(positive_control.STRATEGIES)}")
    return 0
