"""The table of a recipe ladder to one HTML file that opens from disk: every step, what it gave, the study beside."""

import pandas as pd
import plotly.graph_objects as go

from valence.figure_style import BLUE, GREY, ORANGE, lay_out, numbers, whiskers
from valence.page import embedded, render

COLUMNS = (
    "step",
    "against",
    "trained",
    "accuracy",
    "sd of seeds",
    "Δ",
    "95 %",
    "p",
    "p Holm",
    "study",
    "study Δ",
    "note",
)


def render_ladder(
    table: pd.DataFrame, rules: pd.DataFrame, contributions: pd.DataFrame, *, facts: dict[str, str]
) -> str:
    """The page.

    Parameters
    ----------
    table : of valence.ladder_table.
    rules, contributions : of valence.ensemble_report, empty where there is no ensemble.
    facts : name to what is said of data and classifier.
    """
    return render(
        "ladder.html.j2",
        facts=facts,
        columns=COLUMNS,
        rows=[_cells(row) for row in table.to_dict("records")],
        rules=[_rule(row) for row in rules.to_dict("records")],
        contributions=[_member(row) for row in contributions.to_dict("records")],
        figures=[embedded(_accuracies(table), "ladder")],
    )


def _cells(row: dict) -> tuple[str, ...]:
    trained = f"{row['n_members']} members" if row["n_members"] and row["n_members"] > 1 else ""
    if not trained and pd.notna(row["n_seeds"]):
        trained = f"{row['classifier']}, {row['strategy']}"
        trained += f" → {row['target']}" if row["target"] != "none" else ""
    interval = "" if pd.isna(row["ci_low"]) else f"[{row['ci_low']:+.4f}, {row['ci_high']:+.4f}]"
    said = "; ".join(filter(None, (row["reason"], row["note"], row["null"])))
    figures = (_text(row[name], form) for name, form in (("balanced_accuracy", ".4f"), ("sd_seeds", ".4f")))
    tested = (_text(row["p"], ".3g"), _text(row["p_holm"], ".3g"), _text(row["study"], ".4f"))
    return (
        *(row["step"], row["against"], trained, *figures, _text(row["delta"], "+.4f"), interval, *tested),
        *(_text(row["study_delta"], "+.4f"), said),
    )


def _rule(row: dict) -> tuple[str, ...]:
    interval = f"[{row['ci_low']:+.4f}, {row['ci_high']:+.4f}]"
    return (
        *(str(row["rule"]), f"{row['n_members']:.0f} of {row['n_candidates']:.0f}"),
        *(_text(row[name], ".4f") for name in ("validation_balanced_accuracy", "balanced_accuracy")),
        *(_text(row["gain"], "+.4f"), interval, _text(row["p"], ".3g"), _text(row["reference"], ".4f")),
    )


def _member(row: dict) -> tuple[str, ...]:
    names = ("validation_balanced_accuracy", "balanced_accuracy", "contribution", "mean_kappa")
    forms = (".4f", ".4f", "+.4f", ".3f")
    values = (_text(row[name], form) for name, form in zip(names, forms, strict=True))
    return (str(row["member"]), str(row["seed"]), *values, _text(row["mean_residual_correlation"], "+.3f"))


def _text(value: float, form: str) -> str:
    return "–" if pd.isna(value) else format(value, form)


def _accuracies(table: pd.DataFrame) -> go.Figure:
    """Accuracy of every step in the ladder's order; the whiskers are those of its difference from the step before."""
    rows = table[table["balanced_accuracy"].notna()].iloc[::-1]
    figure = go.Figure()
    value = rows["balanced_accuracy"]
    low, high = (value + rows[end] - rows["delta"] for end in ("ci_low", "ci_high"))
    figure.add_trace(
        go.Scatter(
            x=numbers(value), y=list(rows["step"]), mode="markers", name="here", marker={"color": BLUE, "size": 10},
            error_x=whiskers(value, low, high, BLUE), hovertemplate="%{y}: %{x:.4f}<extra></extra>",
        )
    )  # fmt: skip
    known = rows[rows["study"].notna()]
    if len(known):
        figure.add_trace(
            go.Scatter(
                x=numbers(known["study"]), y=list(known["step"]), mode="markers", name="the study",
                marker={"color": ORANGE, "size": 9, "symbol": "x"}, hovertemplate="study %{x:.4f}<extra></extra>",
            )
        )  # fmt: skip
    lay_out(figure, title="Test balanced accuracy by step; 95 % of the difference from the step before", height=420)
    figure.update_xaxes(title="balanced accuracy", gridcolor=GREY)
    return figure
