"""A target in the EEG of a cohort: how much of it, where and when, against nulls that keep what is easy to predict.

python jobs/brain_map.py                                                        a simulated cohort
python jobs/brain_map.py --dataset faced --data-root DIR --target behaviour --out DIR
python jobs/brain_map.py --dataset faced --data-root DIR --target axis:OUT/llms/qwen3-4b/axis.safetensors --out DIR
Writes brain.parquet (a row a finding), figures/*.svg and brain.html. Exit codes: 0 done, 2 bad input, 3 interrupted.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import tyro

from jobs.command import exit_code_of

Word = Annotated[str | None, tyro.conf.arg(metavar="TEXT")]
DEFAULT_OUT = "results/brain_map"


@dataclass(frozen=True)
class Options:
    """Map a target onto the band features of a cohort, with nulls, ceilings, topography and course in time."""

    dataset: str = "simulated"
    """simulated, faced, faced_raw, faced_bids or seed_v, or one of a plug-in"""
    data_root: Word = None
    """folder of the recordings; a simulated cohort is written into --out where not given"""
    target: str = "behaviour"
    """axis:FILE (axis.safetensors of the job valence_axis), behaviour (self-rated valence), rank (-1, 0, +1) or arousal
    (self-rated)"""
    refit_axis: bool = False
    """of an axis: fit it anew on the classes of this data set, where they are some of its classes"""
    out: str = DEFAULT_OUT
    """folder of the results"""
    input: str = "de"
    """de, or windows to compute band features from signals, as is done where there is no de"""
    drop_channels: Word = None
    """channels to leave out, with commas; mastoids are left out where the data set says that they are"""
    untrained_axis: Word = None
    """axes of untrained LLMs, a null of the target, with commas: files, or OUT/llms/NAME of a run of valence_axis"""
    coupling: bool = False
    """theta-gamma coupling as well: it reads all signals, some seconds a subject"""
    world: Word = None
    """of a simulated cohort: saturated, unsaturated or no_axis; the one of the main job where not given"""
    n_subjects: int | None = None
    """of a simulated cohort, 3 to 123; those of its world, or 12, where not given"""
    plugin: Word = None
    """your own modules, with commas, that register a data set"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parsed = Annotated[Options, tyro.conf.FlagCreatePairsOff]
    options = tyro.cli(parsed, args=arguments, prog="brain_map.py", description=Options.__doc__)
    kept = "nothing is kept but a simulated cohort. Run the same command again"
    return exit_code_of(lambda: _work(options), interrupted=kept)


def _work(options: Options) -> int:
    from jobs.brain_map_commands import run

    try:
        return run(options)
    except OSError as error:
        print(f"error: {error}: check --out, --data-root and the disk, and run the command again", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
