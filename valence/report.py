"""Tables to one HTML file that opens from disk: verdicts in plain words, figures, tables, methods. No network."""

import base64
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from valence import figures, report_tables, report_text
from valence.page import embedded, render
from valence.report_methods import REFERENCES, methods
from valence.stats import baseline_table
from valence.stats.arms import ARM, checked
from valence.stats.labels import dose_label

if TYPE_CHECKING:
    from valence.axis import Axis

SWEEP = (
    *("command", "preset", "dataset", "dataset_facts", "n_cells", "n_done", "n_failed", "partial", "exclusions"),
    *("leakage", "data", "failures", "family", "seconds", "peak_memory_bytes", "versions", "generated_from"),
    "differences",
)
BLOCK = ["dataset", "split", "classifier", "recipe"]


def render_report(
    rows: pd.DataFrame,
    statistics: pd.DataFrame,
    sweep: dict,
    *,
    axis: "Axis | None",
    brain: pd.DataFrame | None = None,
) -> str:
    """The report of a sweep as one HTML text.

    Parameters
    ----------
    rows : the results table, one row a cell, failed ones included.
    statistics : `valence.stats.compare` of these rows.
    sweep : what the tables do not know: command, preset, dataset, dataset_facts (n_subjects, split, train, validation,
        test), leakage (findings of `valence.leakage` as dicts), data (steps, repairs by subject), n_cells, n_done,
        n_failed, partial, exclusions, failures, family, seconds, peak_memory_bytes, versions,
        generated_from, differences (lines on cells that are not of one kind). What is missing is left out of the page.
    axis : the LLM's axis, None where the sweep used none.
    brain : findings of the job brain_map on the same recordings, see valence.brain.rows.

    Returns
    -------
    str : identical for identical input; it holds no time and no random name. Everything from outside is escaped.
    """
    rows = checked(rows)
    sweep = dict.fromkeys(SWEEP) | sweep
    baselines = baseline_table(rows)
    return render(
        "report.html.j2",
        sweep=sweep,
        summary=_summary(statistics, baselines, axis),
        classifiers=_classifiers(statistics),
        controls=_controls(statistics),
        matched=bool(report_text.matched(report_text.confirmatory(statistics))),
        baselines=report_tables.baselines(baselines),
        baseline_figure=embedded(figures.baseline_accuracies(baselines), "baselines") if len(baselines) else "",
        axis=_axis(axis),
        brain="" if brain is None else _brain(brain),
        data=_data(sweep, rows),
        exclusions=_entries(sweep["exclusions"] or ()),
        failures=_entries(sweep["failures"] or ()),
        power=report_tables.power(statistics),
        multiplicity=report_text.multiplicity(statistics),
        methods=methods(statistics, sweep, axis=axis),
        references=REFERENCES,
        compute=report_tables.compute(rows),
        downloads=_downloads(rows, statistics, baselines),
        constants=_constants(statistics),
    )


def _summary(statistics: pd.DataFrame, baselines: pd.DataFrame, axis: "Axis | None") -> dict:
    tested = report_text.confirmatory(statistics)
    # of baselines on other data or by another version of the recipe none is the one: the table shows them all
    means = baselines.drop_duplicates(BLOCK, keep=False).set_index(BLOCK)["mean"]
    lines = [
        (_block_name(statistics, block), report_text.classifier_sentence(part, baseline=means.get(block, np.nan)))
        for block, part in tested.groupby(BLOCK, sort=True)
    ]
    return {
        "question": report_text.question(statistics, llm=axis.llm if axis else None),
        "answer": report_text.answer(statistics),
        "counts": report_text.verdict_counts(tested),
        "classifiers": lines,
    }


def _classifiers(statistics: pd.DataFrame) -> list[dict]:
    """Forest and table of every classifier."""
    baseline = statistics[statistics["comparison"] == "baseline"]
    return [
        {
            "name": _block_name(statistics, block),
            "figure": embedded(figures.forest(part), f"forest-{place}"),
            "table": report_tables.comparisons(part),
        }
        for place, (block, part) in enumerate(baseline.groupby(BLOCK, sort=True))
    ]


def _controls(statistics: pd.DataFrame) -> list[dict]:
    """Content and structure of every classifier."""
    rows = statistics[statistics["comparison"].isin(["content", "structure"])]
    return [
        {"name": _block_name(statistics, block), "table": report_tables.controls(part)}
        for block, part in rows.groupby(BLOCK, sort=True)
    ]


def _entries(found: Iterable[dict]) -> list[dict[str, str]]:
    """Exclusions or failures as text: what, which cell, why."""
    return [
        {
            "what": f"{entry.get('classifier')}, {dose_label({'strategy': None, **entry})} → {entry.get('target')}"
            + (f", seed {entry['seed']}" if "seed" in entry else ""),
            "cell": str(entry.get("cell_id") or ""),
            "why": str(entry.get("reason") or entry.get("error") or "no reason was recorded"),
        }
        for entry in found
    ]


def _block_name(statistics: pd.DataFrame, block: tuple) -> str:
    """The classifier, and of data set, split and recipe what it takes to tell two blocks of it apart."""
    same = statistics[statistics["classifier"] == block[2]]
    more = [
        value for name, value in zip(BLOCK, block, strict=True) if name != "classifier" and same[name].nunique() > 1
    ]
    return " · ".join([block[2], *more])


def _axis(axis: "Axis | None") -> dict | None:
    if axis is None:
        return None
    facts = {
        "LLM": f"{axis.llm} ({axis.llm_hash})",
        "layer": report_text.number(axis.layer, 0),
        "pooling": axis.pooling,
        "method": axis.method,
        "paraphrases a story": str(axis.n_paraphrases),
        "engine": f"{axis.engine}, {axis.dtype}",
        "explained variance": f"{report_text.number(100 * axis.explained_variance, 1)} % of that between classes",
        "digest": axis.digest,
    }
    warnings = axis.notes.get("warnings")
    return {
        "facts": list(facts.items()),
        "notes": report_text.facts({key: value for key, value in axis.notes.items() if key != "warnings"}),
        "warnings": [str(warning) for warning in warnings] if isinstance(warnings, list | tuple) else [],
        "figure": embedded(figures.axis_positions(axis), "axis"),
        "table": report_tables.axis_positions(axis),
    }


def _brain(findings: pd.DataFrame) -> str:
    from valence.brain.brain_page import figures_of, section  # matplotlib and MNE draw its figures, and take seconds

    return section(findings, figures_of(findings))


def _data(sweep: dict, rows: pd.DataFrame) -> dict:
    facts = dict(sweep["dataset_facts"] or {})
    parts = {name: sorted(facts.pop(name, None) or ()) for name in ("train", "validation", "test")}
    sets = [set(part) for part in parts.values()]
    return {
        "name": sweep["dataset"] or ", ".join(sorted(set(rows["dataset"]))),
        "hashes": sorted(set(rows["dataset_hash"]) - {""}),
        "facts": report_text.facts(facts),
        "parts": list(parts.items()) if any(parts.values()) else [],
        "disjoint": sum(len(part) for part in sets) == len(set().union(*sets)),
        "leakage": report_tables.leakage(sweep["leakage"] or []),
        "leaks": [found["text"] for found in sweep["leakage"] or [] if found["level"] == "leak"],
        "steps": (sweep["data"] or {}).get("steps", []),
        "repairs": [text for texts in (sweep["data"] or {}).get("repairs", {}).values() for text in texts],
    }


def _constants(statistics: pd.DataFrame) -> dict:
    if statistics.empty:
        return {"alpha": "0.05", "equivalence": "0.01", "n_bootstrap": "10,000"}
    first = statistics.iloc[0]
    return {
        "alpha": f"{first['alpha']:g}",
        "equivalence": f"{first['equivalence']:g}",
        "n_bootstrap": f"{int(first['n_bootstrap']):,}",
    }


def _downloads(rows: pd.DataFrame, statistics: pd.DataFrame, baselines: pd.DataFrame) -> list[dict]:
    """Tables with all columns and digits, as CSV inside links."""
    cells = rows.drop(columns=["test_subjects", "subject_balanced_accuracy", "recall", "versions"], errors="ignore")
    tables = {"statistics.csv": statistics, "baselines.csv": baselines, "cells.csv": _sorted(cells)}
    return [
        {"name": name, "rows": len(table), "link": "data:text/csv;base64," + _base64(table.to_csv(index=False))}
        for name, table in tables.items()
    ]


def _sorted(cells: pd.DataFrame) -> pd.DataFrame:
    return cells.sort_values([*BLOCK, *ARM, "seed"], kind="stable")


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")
