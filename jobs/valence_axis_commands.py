"""What the job valence_axis does and prints."""

import time
from collections.abc import Iterator

import pandas as pd
from rich.markup import escape
from rich.table import Table

from cluster import axis_tracking, tracking
from cluster.axis_request import StudyRequest, resolve_study
from cluster.axis_study import Study, run_study
from cluster.request import output_folder
from jobs.terminal import Terminal, console, duration, number
from valence.axis_figures import at_the_axis, draw_all
from valence.axis_threshold import detection_threshold
from valence.cache import write_whole

MARK = "study"
"""file beside the figures that names the study they are of"""


def request_of(options) -> StudyRequest:
    """The options' words, checked."""
    # the preset names a folder where none is given, and here one always is
    out = output_folder(options.out, name="quick")
    names = (
        *(
            "llm",
            "writer",
            "paraphrases",
            "layers",
            "layer",
            "pooling",
            "method",
            "sign_rule",
            "engine",
            "texts_per_benchmark",
        ),
        *("training_texts", "nli", "encoders", "stimuli", "benchmarks", "images", "untrained", "nonce", "seed"),
    )
    return resolve_study(out=out, names=options.only, **{name: getattr(options, name) for name in names})


def run(options) -> int:
    """Run what is not there yet and show what came out; returns the exit code."""
    started = time.monotonic()
    request = request_of(options)
    say = Terminal().stage
    study = run_study(request, on_event=say)
    figures = _figures(request, study, say)
    _mirror(request, study, figures, options.tracking_uri, say)
    for table in tables_shown(study.tables):
        console.print()
        console.print(table)
    console.print()
    for row in study.tables["axes"].itertuples():
        for warning in filter(None, row.warnings.split("; ")):
            console.print(f"note: {row.llm}: {warning}", markup=False)
    for llm, path in study.axes.items():
        console.print(f"axis of {llm}: --axis {path}", markup=False)
    console.print(f"tables      {request.out}/*.parquet", markup=False)
    console.print(f"figures     {request.out / 'figures'}", markup=False)
    console.print(f"MLflow UI   {tracking.ui_command(request.out, options.tracking_uri)}", markup=False)
    for llm, why in study.failed.items():
        console.print(f"failed: {llm}: {why}", markup=False)
    what = "nothing new to do" if study.reused else "done"
    console.print(f"{what}, {duration(time.monotonic() - started)}", markup=False)
    return 1 if study.failed else 0


def _figures(request: StudyRequest, study: Study, say) -> list:
    """Figures of this study's tables; a mark that is written last tells those of an interrupted run."""
    folder = request.out / "figures"
    there = sorted(path for path in folder.glob("*.*") if path.suffix in (".svg", ".png"))
    mark = folder / MARK
    if study.reused and there and mark.is_file() and mark.read_text() == study.hash:
        return there
    say("figures")
    for path in (mark, *there):
        path.unlink(missing_ok=True)
    drawn = draw_all(study.tables, folder)
    write_whole(mark, lambda temporary: temporary.write_text(study.hash))
    return drawn


def _mirror(request: StudyRequest, study: Study, figures: list, uri: str | None, say) -> None:
    """Tables stand without MLflow: what it cannot take is one line. Of a study that is not whole it gets nothing."""
    if study.failed:
        return
    try:
        axis_tracking.log_study(
            study.tables, figures, study.axes, folder=request.out, study_hash=study.hash, tracking_uri=uri
        )
    except Exception as error:  # a server's errors have no common type
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        say(f"MLflow was not written: {first}; the same command tries again")


def tables_shown(tables) -> Iterator[Table]:
    """What a person reads first."""
    yield axes_table(tables["axes"])
    yield nulls_table(tables["validity"])
    yield from validity_tables(tables["validity"])
    yield agreement_table(tables["agreement"])
    if len(tables["families"]):
        yield families_table(tables["families"])
    yield class_table(tables["positions"])
    yield concepts_table(tables["concepts"])


def axes_table(axes: pd.DataFrame) -> Table:
    """One row an LLM: is there an axis, and is it valence?"""
    facts_of = ("LLM", "layer", "method", "texts", "variance", "r polarity", "p", "p random")
    names = (*facts_of, "p untrained", "p nonce", "r sets", "r signed", "there")
    told = f"there: p < .05 and |r| of {detection_threshold():.3f} or more over nine classes"
    told += f"; with the sign of the rule, r of {axes['threshold_signed'].iloc[0]:.3f}"
    table = _table(f"Axes: variance between classes, r with the polarity of the classes, permutation p; {told}", names)
    for row in axes.itertuples():
        facts = (f"{row.layer}/{row.n_layers - 1}", row.method, str(row.n_texts), f"{row.explained_variance:.2f}")
        values = (number(row.r_codes, "+.2f"), number(row.p_codes, ".4f"), number(row.p_random, ".4f"))
        nulls = (number(row.p_untrained, ".3f"), number(row.p_nonce, ".3f"))
        more = (*nulls, number(row.correlation_of_sets, "+.2f"), number(row.r_signed, "+.2f"))
        table.add_row(escape(row.llm), *facts, *values, *more, "yes" if row.detected else "no")
    return table


def nulls_table(valid: pd.DataFrame) -> Table:
    """What r is where there is nothing to find, by null; the observed r is of the same texts."""
    names = ("LLM", "null", "r", "mean", "95 %", "p", "of", "why not")
    table = _table("Nulls of the axis: r with the polarity of the classes, and of the null", names, left=(0, 1, 7))
    for row in valid[valid["null"].notna()].itertuples():
        values = [number(value, ".2f") for value in (row.value, row.null_mean, row.null_95)]
        n = str(int(row.n_null))
        table.add_row(escape(row.llm), row.null, *values, number(row.p, ".4f"), n, escape(row.reason))
    return table


def validity_tables(valid: pd.DataFrame) -> Iterator[Table]:
    """One table a benchmark, all predictors on the same texts."""
    rows = at_the_axis(valid)
    for row in valid[valid["null"].isna() & valid["value"].isna()].itertuples():
        told = f"{row.benchmark}, {row.dimension}: nothing, as {row.reason}"
        yield Table(box=None, title=escape(told), title_justify="left")
    for (benchmark, dimension), members in rows.groupby(["benchmark", "dimension"], sort=False):
        first = members.iloc[0]
        names = ("LLM", "predictor", first["measure"], "95 % interval", "labels", "the study, Qwen3-4B")
        table = _table(f"{benchmark}, {dimension}: {first['n']} texts", names, left=(0, 1, 5))
        for row in members.itertuples():
            interval = "" if pd.isna(row.ci_low) else escape(f"[{row.ci_low:.3f}, {row.ci_high:.3f}]")
            labels = str(row.n_training) if row.n_training else ""
            table.add_row(escape(row.llm), row.predictor, number(row.value, ".3f"), interval, labels, escape(row.study))
        yield table


def agreement_table(agreement: pd.DataFrame) -> Table:
    """Pairs: as read, with the two intervals, and without shared texts."""
    names = ("pair", "over", "texts", "r", "paraphrases", "points", "p", "same set", "other set", "ceiling")
    title = "Agreement: r, 95 % over paraphrases and over classes or clips, without shared texts"
    table = _table(title, (*names, "given words", "given sentences"))
    for row in agreement.itertuples():
        pair = row.llm_a if row.relation == "self" else f"{row.llm_a} × {row.llm_b}"
        texts = "itself" if row.relation == "self" else row.texts
        low_high = [_interval(row.ci_low, row.ci_high), _interval(row.fisher_low, row.fisher_high)]
        values = [number(value, "+.2f") for value in (row.r_same_set, row.r_other_set, row.ceiling)]
        given = [number(value, "+.2f") for value in (row.r_given_words, row.r_given_sentences)]
        r = "" if row.relation == "self" else number(row.r, "+.3f")
        p = number(row.p_permutation, ".4f")
        table.add_row(escape(pair), row.level, texts, r, *low_high, p, *values, *given)
    return table


def families_table(families: pd.DataFrame) -> Table:
    """The study's ".995 ± .003 within Qwen3", beside what is left without shared texts."""
    names = ("pairs", "over", "n", "mean r", "sd", "95 % over LLMs", "other set", "from shared texts")
    table = _table("Families; the study: within Qwen3 .995 ± .003, Qwen3 × others .585 ± .289", names, left=(0, 1))
    for row in families.itertuples():
        values = (number(row.r, "+.3f"), number(row.sd, ".3f"), _interval(row.ci_low, row.ci_high))
        more = (number(row.r_other_set, "+.2f"), number(row.from_shared_texts, "+.2f"))
        table.add_row(row.relation, row.level, str(row.n_pairs), *values, *more)
    return table


def class_table(positions: pd.DataFrame) -> Table:
    """Nine class positions an LLM."""
    classes = positions[positions["level"] == "class"]
    emotions = list(dict.fromkeys(classes["name"]))
    table = _table("Class positions, sd over classes", ("LLM", *emotions))
    for llm, rows in classes.groupby("llm", sort=False):
        of_class = rows.set_index("name")["position"]
        table.add_row(escape(str(llm)), *(f"{of_class[name]:+.2f}" for name in emotions))
    return table


def concepts_table(concepts: pd.DataFrame) -> Table:
    """Other concepts by the same recipe: found, and not valence again."""
    table = _table(
        "Other concepts: AUC on the set not fitted to, cosine with valence", ("LLM", *concepts["concept"].unique())
    )
    for llm, rows in concepts.groupby("llm", sort=False):
        cells = (f"{row.held_out_auc:.2f} ({row.cosine_with_valence:+.2f})" for row in rows.itertuples())
        table.add_row(escape(str(llm)), *cells)
    return table


def _interval(low: float, high: float) -> str:
    return "" if pd.isna(low) else escape(f"[{low:+.2f}, {high:+.2f}]")


def _table(title: str, names: tuple[str, ...], left: tuple[int, ...] = (0,)) -> Table:
    table = Table(
        box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0), title=title, title_justify="left"
    )
    for index, name in enumerate(names):
        table.add_column(name, justify="left" if index in left else "right", no_wrap=True)
    return table
