"""Recordings, once: a data set read, checked and converted for training, and an audit of how it would be split.

python jobs/prepare_data.py --dataset faced --data-root DIR --out DIR
Prints windows or samples of each part, repairs, and which subjects, clips, films, cohorts, sampling rates and blocks
lie on both sides. The same command again finds everything done. Sweeps use the result with --prepared DIR/prepared.
Exit codes: 0 done, 2 bad input, 3 interrupted and resumable.
"""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import tyro

from jobs.command import exit_code_of

if TYPE_CHECKING:
    from cluster.preparation import Preparation

Word = Annotated[str | None, tyro.conf.arg(metavar="TEXT")]


@dataclass(frozen=True)
class Options:
    """Read, check and convert a data set once, and say what its split leaks."""

    dataset: str
    """simulated, faced, faced_raw, faced_bids or seed_v, or one of a plug-in"""
    out: str
    """folder of the result"""
    data_root: Word = None
    """folder of the recordings; a simulated cohort is written into --out where not given"""
    inputs: Word = None
    """windows, de, psd, with commas; all that are on disk where not given"""
    split: str = "cohort-balanced"
    """standard; cohort-balanced:K, leave-subjects-out:K/N, leave-clip-out:K, leave-film-out:K, time-blocked:K"""
    protocol: Word = None
    """windows as published (see the README); 10-s windows at 200 Hz where not given"""
    window_s: float | None = None
    """length of windows, seconds, in place of the protocol's"""
    sfreq_hz: float | None = None
    """rate of windows, Hz, in place of the protocol's"""
    de_window_s: float | None = None
    """length of a sample of band features, seconds; a whole clip where not given"""
    world: Word = None
    """of a simulated cohort: saturated, unsaturated or no_axis; the one of the main job where not given"""
    n_subjects: int | None = None
    """of a simulated cohort, 3 to 123; those of its world, or 12, where not given"""
    workers: int | None = None
    """subjects converted at once; one a core where signals are processed, else one, where not given"""
    plugin: Word = None
    """your own modules, with commas, that register a data set"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parsed = Annotated[Options, tyro.conf.FlagCreatePairsOff]
    options = tyro.cli(parsed, args=arguments, prog="prepare_data.py", description=Options.__doc__)
    kept = "converted subjects are kept. Go on with the same command"
    return exit_code_of(lambda: _work(options), interrupted=kept)


def _work(options: Options) -> int:
    try:
        _run(options)
    except OSError as error:
        print(f"error: {error}: check --out, --data-root and the disk, and run the command again", file=sys.stderr)
        return 2
    return 0


def _run(options: Options) -> None:
    from cluster.preparation import Words, prepare_all
    from jobs.terminal import Terminal

    with Terminal() as terminal:
        for found in prepare_all(Words(**vars(options)), terminal):
            terminal.cells_end()
            _show(found)


def _show(found: "Preparation") -> None:
    from jobs.terminal import audit_lines, console

    folder = found.prepared.folder
    assert folder is not None
    console.print(f"\n[bold]{found.stored}[/bold]  {folder}", highlight=False)
    console.print("  " + "; ".join(found.manifest["steps"]), markup=False)
    counts = " / ".join(f"{count:,}" for count in found.counts)
    console.print(f"  {counts} samples to train, validate and test ({found.split.name})", markup=False)
    if found.published is not None:
        published = " / ".join(f"{count:,}" for count in found.published)
        told = "as published" if found.published == found.counts else f"published: {published}"
        console.print(f"  {told}", markup=False)
    repairs = [text for texts in found.manifest["repairs"].values() for text in texts]
    for text in repairs[:10]:
        console.print(f"  repaired: {text}", markup=False)
    if len(repairs) > 10:
        console.print(f"  and {len(repairs) - 10} more repairs, all in manifest.json", markup=False)
    for line in audit_lines(found.audit):
        console.print(line)
    path = folder / f"audit-{found.split.name.replace(':', '-').replace('/', '-')}.json"
    text = json.dumps([asdict(finding) for finding in found.audit], indent=1) + "\n"
    try:
        path.write_text(text, encoding="utf-8")
    except OSError:  # a conversion that others share may be read-only
        console.print(f"  not written: {path}", markup=False)


if __name__ == "__main__":
    sys.exit(main())
