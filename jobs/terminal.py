"""What a person sees while a sweep runs and when it ends."""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from cluster.grid import Exclusion
from cluster.listener import Listener
from cluster.pipeline import Outcome
from cluster.views import Views
from valence.leakage import Finding
from valence.stats.labels import dose_label

REPORT_EVERY_S = 10.0
"""between lines of progress where no terminal can redraw one"""

MOST_ROWS = 60
"""of a table of comparisons; a longer one shows what is read first"""

LOG_COLUMNS = 160
"""width of tables where the output is no terminal"""
_columns = None if sys.stdout.isatty() or "COLUMNS" in os.environ else LOG_COLUMNS
console = Console(highlight=False, soft_wrap=True, width=_columns)


class Bar:
    """Progress of one long stage: a live bar in a terminal, in a log file a line every few seconds."""

    def __init__(self, what: str, total: int, done: int, say: Callable[[str], None]):
        self._what, self._total, self._say = what, total, say
        self._started = self._last = time.monotonic()
        self._first = done
        self._progress: Progress | None = None
        if console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[facts]}"),
                TimeElapsedColumn(),
            )
            self._progress = Progress(*columns, console=console, refresh_per_second=2)
            self._task = self._progress.add_task(what, total=total, completed=done, facts="")
            self._progress.start()

    def update(self, done: int, more: str = "") -> None:
        """Show that so many are done."""
        now = time.monotonic()
        rate = (done - self._first) / max(now - self._started, 1e-9)
        left = f", {60 * rate:.1f} a minute, {duration((self._total - done) / rate)} left" if rate else ""
        facts = f"{done}/{self._total}{more}{left}"
        if self._progress is not None:
            self._progress.update(self._task, completed=done, facts=facts)
        elif now - self._last > REPORT_EVERY_S or done == self._total:
            self._last = now
            self._say(f"{self._what} {facts}")

    def stop(self) -> None:
        """End the live bar."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


class Terminal(Listener):
    """Stages as lines, subjects and cells as a bar."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._bar: Bar | None = None

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        self.cells_end()

    def stage(self, text: str) -> None:
        console.print(f"[dim]{time.monotonic() - self._started:6.1f} s[/dim]  {escape(text)}")

    def subject(self, done: int, total: int) -> None:
        if self._bar is None:
            self._bar = Bar("subjects", total, done, self.stage)
        elif done > 0:
            self._bar.update(done)
        if done == total:
            self.cells_end()

    def cells_begin(self, *, n_cells: int, n_committed: int, predicted_s: float) -> None:
        self.n_done, self.n_failed = n_committed, 0
        resumed = f", {n_committed} committed before" if n_committed else ""
        self.stage(f"training {n_cells - n_committed} cells{resumed}; predicted {duration(predicted_s)}")
        self._bar = Bar("cells", n_cells, n_committed, self.stage)

    def cell(self, ended) -> None:
        self.n_done += 1
        self.n_failed += ended.status == "failed"
        if self._bar is not None:
            self._bar.update(self.n_done, f", {self.n_failed} failed" if self.n_failed else "")

    def cells_end(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    seconds = max(round(seconds), 0)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


def statistics_tables(statistics: pd.DataFrame) -> Iterator[Table]:
    """The comparisons, one table a classifier: paired difference, interval, corrected p, verdict."""
    for classifier, members in statistics.groupby("classifier", sort=True):
        seeds = ", ".join(str(count) for count in sorted(members["n_seeds"].unique()))
        table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0), title_justify="left")
        subjects = members["n_subjects"].max()
        table.title = f"{classifier}: Δ balanced accuracy, {seeds} paired seeds, {subjects} test subjects"
        for name in ("comparison", "strategy", "target", "Δ", "95 % interval", "p Holm", "verdict"):
            table.add_column(name, justify="right" if name in ("Δ", "p Holm") else "left", no_wrap=True)
        shown = members if len(members) <= MOST_ROWS else members[_is_first_read(members)]
        for row in shown.to_dict("records"):
            interval = escape(f"[{number(row['ci_low'], '+.3f')}, {number(row['ci_high'], '+.3f')}]")
            target = "controls" if row["comparison"] == "structure" else row["target"]
            figures = (number(row["delta"], "+.3f"), interval, number(row["p_holm"], ".3f"))
            table.add_row(row["comparison"], dose_label(row), target, *figures, row["verdict"])
        if len(shown) < len(members):
            table.caption = f"{len(members) - len(shown)} comparisons of controls are in the report"
        yield table


def _is_first_read(members: pd.DataFrame) -> pd.Series:
    """The axis against its baseline, content and structure."""
    return members["comparison"].isin(["content", "structure"]) | (members["target"] == "vaxis")


LEVEL_STYLE = {"leak": "bold red", "confound": "yellow", "unknown": "yellow", "clean": "green"}


def audit_lines(findings: Iterable[Finding]) -> Iterator[str]:
    """What lies on both sides of a split, a line a kind of group, the text unbroken however narrow the window."""
    yield f"  [bold]{'level':9}  {'group':17}  train / validation / test  both sides[/]"
    for found in findings:
        counts = f"{found.n_train:5} / {found.n_validation:10} / {found.n_test:4}  {found.n_both:10}"
        yield f"  [{LEVEL_STYLE[found.level]}]{found.level:9}[/]  {found.group:17}  {counts}  {escape(found.text)}"


def baseline_table(rows: pd.DataFrame) -> Table:
    """Balanced accuracy of the strategy none on test subjects, by classifier."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("classifier", "balanced accuracy of none", "sd over seeds", "seeds", "chance"):
        table.add_column(name, justify="left" if name == "classifier" else "right")
    done = rows[(rows["status"] == "done") & (rows["strategy"] == "none")]
    for classifier, members in done.groupby("classifier"):
        values = members["balanced_accuracy"]
        spread = number(values.std(ddof=1) if len(values) > 1 else None, ".3f")
        chance = 1 / len(members["recall"].iloc[0])
        table.add_row(classifier, f"{values.mean():.3f}", spread, str(len(values)), f"{chance:.3f}")
    return table


def exclusion_lines(exclusions: Sequence[Exclusion]) -> Iterator[str]:
    """What is not run, a line for all that share classifier and targets, or classifier and strategy, and the reason."""
    if not exclusions:
        yield "excluded: nothing"
    targets: dict[tuple[str, str, str], list[str]] = {}
    for one in exclusions:
        targets.setdefault((one.classifier, one.strategy, one.reason), []).append(one.target)
    strategies: dict[tuple[str, tuple[str, ...], str], list[str]] = {}
    for (classifier, strategy, reason), names in targets.items():
        strategies.setdefault((classifier, tuple(names), reason), []).append(strategy)
    for (classifier, aims, reason), members in strategies.items():
        yield f"excluded: {classifier}, {', '.join(members)}, target {', '.join(aims)}: {reason}"


def mirror_trouble(views: Views) -> None:
    """A line where MLflow could not be written: the table stands without it."""
    if views.mirror_error:
        console.print(f"MLflow was not written ({views.mirror_error}); --report tries again", markup=False)


def number(value: float | None, form: str) -> str:
    """A number, or a dash where it is missing."""
    return "–" if value is None or pd.isna(value) else format(value, form)


def summary(outcome: Outcome, *, cells: str, ui: str, resume: str) -> None:
    """The last lines: what was done, what it says, where it is."""
    views = outcome.views
    if views is not None:
        console.print()
        console.print(baseline_table(views.rows))
        for table in statistics_tables(views.statistics):
            console.print()
            console.print(table)
    console.print()
    memory = f", peak memory {outcome.peak_memory_bytes / 2**30:.1f} GiB" if outcome.peak_memory_bytes else ""
    failed = f", {views.n_failed} failed" if views is not None and views.n_failed else ""
    new = f"{outcome.n_new} new" if outcome.n_new else "nothing new to run"
    console.print(f"{outcome.n_cells} cells, {new}{failed}, {duration(outcome.seconds)}{memory}")
    for message in outcome.lost:
        console.print(
            f"a pack was given up: {message.splitlines()[-1] if message else 'its actor was lost'}", markup=False
        )
    for line in views.differences if views is not None else ():
        console.print(f"note: {line}", markup=False)
    if views is None:
        console.print(
            f"cells are missing, so there is no table (--partial gives one); go on with:\n  {resume}", markup=False
        )
    else:
        if views.n_failed:
            console.print(
                f"failed cells: --why CELL tells the reason, --retry-failed runs them again:\n  {resume}", markup=False
            )
        mirror_trouble(views)
        console.print(f"report      {views.report_path}", markup=False)
        console.print(f"statistics  {views.statistics_path}", markup=False)
    console.print(f"cells       {cells}", markup=False)
    console.print(f"MLflow UI   {ui}", markup=False)
    sys.stdout.flush()
