"""What the job recipe_ladder does and prints."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.markup import escape
from rich.table import Table

import valence  # noqa: F401 before braindecode and transformers
from cluster.ladder import climb, steps_of
from cluster.request import output_folder
from cluster.store import replace
from cluster.words import names_of, seeds_of
from jobs.terminal import Terminal, console, number
from valence.errors import BadInput
from valence.ladder import Ladder, Rung, read_ladder
from valence.ladder_report import render_ladder
from valence.plugins import load_plugin

if TYPE_CHECKING:
    from jobs.recipe_ladder import Options

PASSED_ON = ("data_root", "split", "protocol", "prepared", "llm", "axis", "engine", "mode")
"""options that mean what they mean in saturation_grid.py"""


def run(options: "Options") -> int:
    """Climb the ladder; 0, or 1 where cells failed or are missing."""
    for module in names_of(options.plugin, "--plugin") or []:
        load_plugin(module)
    ladder = read_ladder(options.ladder)
    found = steps_of(ladder, classifier=options.classifier or "", recipe=options.recipe)
    seeds = chosen_seeds(options.seeds, ladder)
    out = output_folder(options.out, name=f"ladder-{Path(options.ladder).stem}")
    if options.plan:
        return show_steps(found, seeds)
    dataset = options.dataset or ladder.dataset
    words: dict[str, Any] = {name: getattr(options, name) for name in PASSED_ON}
    words |= {"dataset": dataset, "plugins": options.plugin, "out": str(out)}
    with Terminal() as listener:
        climbed = climb(
            found,
            seeds,
            words,
            tracking_uri=options.tracking_uri,
            retry_failed=options.retry_failed,
            listener=listener,
        )
    facts = {"ladder": f"{options.ladder}: {ladder.description}", "data set": dataset}
    facts |= {"classifier": found[0].classifier, "seeds": ", ".join(map(str, seeds))}
    page = out / "ladder.html"
    replace(page, render_ladder(climbed.table, climbed.rules, climbed.contributions, facts=facts).encode())
    console.print(steps_table(climbed.table))
    for row in climbed.table[climbed.table["reason"] != ""].to_dict("records"):
        console.print(f"no value: {row['step']}: {row['reason']}", markup=False)
    if len(climbed.rules):
        console.print(rules_table(climbed.rules))
    for message in climbed.lost:
        console.print(f"lost: {message}", markup=False)
    console.print(f"\n{climbed.n_cells} cells, {climbed.n_new} new, {climbed.n_failed} failed", markup=False)
    console.print(f"page    {page}\ntable   {out / 'ladder.parquet'}", markup=False)
    return 1 if climbed.lost or climbed.n_failed else 0


def chosen_seeds(word: str | None, ladder: Ladder) -> list[int]:
    """Seeds of a command: all of the ladder's, so many of them, or those named. Raises BadInput for too many."""
    if word is None:
        return list(ladder.seeds)
    if not word.strip().isdigit():
        return list(seeds_of(word))
    if not 1 <= int(word) <= len(ladder.seeds):
        raise BadInput(
            f"--seeds {word}",
            allowed=f"1 to {len(ladder.seeds)} of the ladder's, or seeds with commas (42,123)",
            do="name the seeds",
        )
    return list(ladder.seeds[: int(word)])


def show_steps(found: list[Rung], seeds: list[int]) -> int:
    """What would be trained."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("step", "against", "classifier", "epochs", "strategy", "cells"):
        table.add_column(name, justify="right" if name in ("epochs", "cells") else "left")
    for rung in found:
        aim = rung.strategy if rung.target == "none" else f"{rung.strategy} → {rung.target}"
        if rung.reason:
            table.add_row(rung.name, rung.after, escape(rung.reason), "", "", "0")
        elif rung.step.ensemble:
            members = " + ".join(rung.step.ensemble)
            table.add_row(rung.name, rung.after, f"{rung.step.rule} over {members}", "", "", "0")
        else:
            table.add_row(rung.name, rung.after, rung.classifier, str(rung.recipe.epochs), aim, str(len(seeds)))
    console.print(table)
    return 0


def steps_table(steps: pd.DataFrame) -> Table:
    """What each step gave."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("step", "against", "accuracy", "Δ", "95 %", "p", "p Holm", "study", "study Δ"):
        table.add_column(name, justify="left" if name in ("step", "against") else "right", no_wrap=True)
    for row in steps[steps["balanced_accuracy"].notna()].to_dict("records"):
        interval = "" if pd.isna(row["ci_low"]) else escape(f"[{row['ci_low']:+.3f}, {row['ci_high']:+.3f}]")
        table.add_row(
            *(row["step"], row["against"], number(row["balanced_accuracy"], ".4f"), number(row["delta"], "+.4f")),
            *(interval, number(row["p"], ".3g"), number(row["p_holm"], ".3g")),
            *(number(row["study"], ".4f"), number(row["study_delta"], "+.4f")),
        )
    return table


def rules_table(rules: pd.DataFrame) -> Table:
    """Rules of ensembles, fitted on validation, side by side."""
    table = Table(box=None, header_style="bold", pad_edge=False, title="ensembles", title_justify="left")
    for name in ("rule", "members", "validation", "test", "gain over single cells", "95 %"):
        table.add_column(name, justify="left" if name == "rule" else "right", no_wrap=True)
    for row in rules.to_dict("records"):
        figures = (number(row[name], ".4f") for name in ("validation_balanced_accuracy", "balanced_accuracy"))
        interval = escape(f"[{row['ci_low']:+.3f}, {row['ci_high']:+.3f}]")
        table.add_row(row["rule"], f"{row['n_members']:.0f}", *figures, number(row["gain"], "+.4f"), interval)
    return table
