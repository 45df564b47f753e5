"""What `--plan` of the main job shows: the grid, what is left of it, and what it takes; nothing is run."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from rich.table import Table

from cluster import pipeline
from cluster.cost import Cost, Work, n_learned, predict
from cluster.data import planned_audits, planned_work
from cluster.disk import disk_bytes
from cluster.estimate import WallTime, several_devices, wall_time
from cluster.placement import Placement, place
from cluster.planned_cells import Planned, planned_cells
from cluster.request import Request
from cluster.session import Session, local_slots
from cluster.speeds import is_measured
from cluster.store import Store
from jobs.saturation_commands import request_of
from jobs.terminal import audit_lines, console, duration, exclusion_lines, number
from valence.cell import Cell
from valence.classifiers import CLASSIFIERS
from valence.errors import BadInput
from valence.stats.power import exact_floor

ALPHA = 0.05
MEGA = 1e6


def show_plan(options) -> int:
    """The grid, what is excluded and why, what is committed of it, the power it has and what the rest costs."""
    check_options(options)
    request = request_of(options)
    store = Store(request.out, request.store_url)
    work, planned, rows = planned_work(request), planned_cells(request, store), store.rows()
    console.print(_classifiers(request, planned, work, rows))
    _facts(request)
    for input, findings in planned_audits(request).items():
        console.print(f"{input}, split {request.split}:")
        for line in audit_lines(findings):
            console.print(line)
    _committed(request, planned, rows)
    session = session_of(options)
    several = several_devices(planned.waiting, request.execution, session)
    placement = place(planned.waiting, work=work, rows=rows, how=request.execution, session=session, several=several)
    ends = wall_time(planned.waiting, placement)
    _wall(ends, placement)
    _cost(ends, placement.session, options)
    _disk(disk_bytes(request, planned, work))
    for line in exclusion_lines(request.grid.exclusions):
        console.print(line, markup=False)
    return 0


def check_options(options) -> None:
    """Raise BadInput for prices and machines that cannot be, or that say nothing without --plan."""
    for name in ("dollars_per_hour", "dollars_per_core_hour"):
        price, flag = getattr(options, name), "--" + name.replace("_", "-")
        if not (math.isfinite(price) and price >= 0):
            raise BadInput(f"{flag} {price}", allowed="a price of 0 or more", do="give the price of an hour")
    for name, least in (("gpus", 0), ("cores", 1)):
        amount = getattr(options, name)
        if amount is not None and amount < least:
            raise BadInput(f"--{name} {amount}", allowed=f"{least} or more", do="correct it, or leave it out")
        if amount is not None and not options.plan:
            raise BadInput(
                f"--{name} {amount} without --plan",
                allowed="a sweep uses all that its cluster has; --gpus-per-pack 0 leaves GPUs out",
                do="add --plan, or leave it out",
            )


def session_of(options) -> Session:
    """The machines that a user asks about; this one where none are named."""
    if options.gpus is None and options.cores is None:
        return Session(n_cpus=local_slots(), n_gpus=torch.cuda.device_count())
    gpus = options.gpus or 0
    return Session(n_cpus=options.cores or max(gpus, 1), n_gpus=gpus)


def _classifiers(request: Request, planned: Planned, work: Mapping[str, Work], rows: pd.DataFrame) -> Table:
    """Cells of each classifier, and what those to be trained take on one core or one GPU."""
    how = request.execution
    mode = None if how.mode == "auto" else how.mode
    on = {
        device: predict(planned.waiting, work=work, rows=rows, device=device, mode=mode, rewrites=how.rewrites)
        for device in ("cpu", "cuda")
    }
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("classifier", "input", "cells", "to train", "seconds a cell", "core hours", "H200 hours"):
        table.add_column(name, justify="left" if name in ("classifier", "input") else "right")
    waiting: dict[str, list[Cell]] = {}
    for cell in planned.waiting:
        waiting.setdefault(cell.classifier, []).append(cell)
    for classifier, n_cells in Counter(cell.classifier for cell in planned.cells).items():
        members = waiting.get(classifier, [])
        cores, gpus = (_seconds(members, on[device]) for device in ("cpu", "cuda"))
        figures = (f"{cores / len(members):.1f}" if members else "-", f"{cores / 3600:.2f}", f"{gpus / 3600:.3f}")
        table.add_row(classifier, CLASSIFIERS[classifier].input, str(n_cells), str(len(members)), *figures)
    table.add_section()
    cores, gpus = (_seconds(planned.waiting, on[device]) / 3600 for device in ("cpu", "cuda"))
    table.add_row("all", "", str(len(planned.cells)), str(len(planned.waiting)), "", f"{cores:.2f}", f"{gpus:.3f}")
    return table


def _seconds(cells: Sequence[Cell], costs: Mapping[str, Cost]) -> float:
    return sum(costs[cell.cell_id].seconds for cell in cells)


def _facts(request: Request) -> None:
    from valence.stats import minimum_detectable

    grid = request.grid
    seeds = grid.seeds
    console.print(f"\n{len(grid.combinations)} cells; targets: {', '.join(sorted(grid.targets)) or 'none'}")
    console.print(f"seeds: {', '.join(map(str, seeds))}; split: {request.split}; preset: {request.preset.name}")
    tested = {one.dose for one in grid.combinations if one.target == "vaxis"}
    family = max(len(tested), 1)
    if len(seeds) > 1:
        alone, holm = (number(minimum_detectable(len(seeds), family_size=size), ".4f") for size in (1, family))
        console.print(
            f"power: {len(seeds)} paired seeds detect a difference of {alone} in balanced accuracy, {holm} after Holm "
            f"over {family} (80 % power, two-sided .05, sd of a paired difference .010)"
        )
    floor = exact_floor(len(seeds))
    if floor * family > ALPHA:
        console.print(
            f"note: the smallest p that {len(seeds)} seeds can reach is {floor:.3g}, times {family} comparisons: "
            "no verdict of help or hurt is possible; add seeds"
        )
    if pipeline.needs_axis(request):
        console.print(f"LLM: {request.llm.name}, {request.n_paraphrases} paraphrases a story")


def _committed(request: Request, planned: Planned, rows: pd.DataFrame) -> None:
    place = request.store_url or request.out
    if planned.n_committed:
        console.print(f"committed: {planned.n_committed} of {len(planned.cells)} cells, in {place}", markup=False)
    elif len(rows):
        console.print(f"committed: none of these cells; {place} holds {len(rows)} of other data or grids", markup=False)
    if (known := n_learned(planned.cells, rows)) > 0:
        console.print(f"speeds: as measured, corrected by {known} committed cells")
    names = list(dict.fromkeys(cell.classifier for cell in planned.cells))
    guessed = [name for name in names if not is_measured(name, "cuda")]
    console.print(f"H200 hours: in the fastest mode measured; {_guessed(guessed)}")


def _guessed(names: Sequence[str]) -> str:
    """Which speeds are not measured ones."""
    return f"guessed: {', '.join(names)}" if names else "all measured"


def _wall(ends: WallTime, placement: Placement) -> None:
    if not ends.n_packs and not placement.several:
        console.print("wall time: nothing to train")
        return
    console.print(
        f"wall time: {duration(ends.seconds)} on {_machines(placement.session)}, training alone, in {ends.n_packs} "
        f"packs; tail of {duration(ends.tail_s)}; {ends.busy:.0%} of the slots' time is training"
    )
    if placement.on_cpu:
        console.print(f"on cores beside the GPUs: {', '.join(sorted(placement.on_cpu))}")


def _machines(session: Session) -> str:
    cores = f"{session.n_cpus} CPU cores"
    return f"{session.n_gpus} GPUs and {cores}" if session.n_gpus else cores


def _cost(ends: WallTime, session: Session, options) -> None:
    """Prices times what is rented, idle or not, until the last cell has ended."""
    hours = ends.seconds / 3600
    gpus, cores = hours * session.n_gpus, hours * session.n_cpus
    if options.dollars_per_hour or options.dollars_per_core_hour:
        dollars = gpus * options.dollars_per_hour + cores * options.dollars_per_core_hour
        console.print(
            f"cost: {dollars:.2f} for {gpus:.2f} GPU hours at {options.dollars_per_hour:g} and {cores:.2f} core hours "
            f"at {options.dollars_per_core_hour:g}"
        )
    else:
        console.print("cost: with --dollars-per-hour of a GPU, --dollars-per-core-hour")


def _disk(added: Mapping[str, float]) -> None:
    kinds = ", ".join(f"{folder} {amount / MEGA:.1f}" for folder, amount in sorted(added.items()))
    console.print(f"disk: {sum(added.values()) / MEGA:.1f} MB more ({kinds or 'nothing'}), report and MLflow apart")
