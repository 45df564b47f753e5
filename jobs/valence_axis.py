"""LLMs to valence axes: how valid each is, how far they agree, and a file of each for the main job.

python jobs/valence_axis.py --benchmarks DIR                          the embedded LLM
python jobs/valence_axis.py --llm qwen3-4b,mistral-7b-instruct --writer qwen3-4b --benchmarks DIR --out DIR
python jobs/saturation_grid.py --axis OUT/llms/qwen3-4b/axis.safetensors
The same command again goes on where it was, or finds all of it there. Exit codes: 0 done, 1 an LLM
failed, 2 bad input, 3 interrupted and resumable.
"""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import tyro

from jobs.command import exit_code_of

Word = Annotated[str | None, tyro.conf.arg(metavar="TEXT")]
DEFAULT_OUT = "results/valence_axis"


@dataclass(frozen=True)
class Options:
    """Fit the valence axis of one or several LLMs; measure it on labelled texts, and how far the LLMs agree."""

    llm: str = "smollm2-135m-instruct"
    """names, Hugging Face ids or local folders, with commas"""
    benchmarks: Word = None
    """folder with labelled texts as published: sst2/, imdb/, emobank.csv; or hub, with the package datasets"""
    only: Word = None
    """names of benchmarks with commas; all that the folder has where not given"""
    out: str = DEFAULT_OUT
    """folder of the results"""
    paraphrases: int = 50
    """texts to keep per story"""
    writer: Word = None
    """LLM that writes the paraphrases which all then read; each LLM its own where not given"""
    layers: str = "all"
    """"all" for a profile over layers, or the one layer to read, such as -2"""
    layer: int = -2
    """of the axis, where all are read; -2, the output of the second-to-last block, is the study's"""
    pooling: str = "last"
    """last (token) or mean (over tokens but the first)"""
    method: str = "pca"
    """pca (the study's), mean_difference, lda or contrast_pairs"""
    sign_rule: str = "stories"
    """which end is positive: by stories (all positive against all negative ones) or joy (the study's)"""
    engine: str = "auto"
    """auto, vllm or transformers"""
    texts_per_benchmark: int = 2000
    """most texts that are evaluated; of more, as many are drawn"""
    training_texts: int = 5000
    """most labelled texts that the supervised reference learns from; 0 for none"""
    nli: Word = None
    """classifier of entailment to compare with: Hugging Face id or folder"""
    encoders: Word = None
    """encoders to compare with, with commas: minilm (where installed, if not given), ids or folders; or none"""
    stimuli: Word = None
    """for a position of each clip: CSV with the columns clip and text, or faced (the publisher's words, which name the
    emotion), or faced-films (only film and length)"""
    images: Word = None
    """folder of pictures and a CSV: OASIS as published, or columns file and valence; read by each CLIP of --encoders"""
    untrained: int = 20
    """networks of the LLM's shape with random weights that its r is compared with; p is 1/(1 + so many) or more"""
    nonce: int = 20
    """seeds of nonce words that the stories' r is compared with"""
    seed: int = 0
    """of texts, samples and intervals"""
    tracking_uri: Word = None
    """MLflow server; a sqlite database in the results' folder where not given"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parsed = Annotated[Options, tyro.conf.FlagCreatePairsOff]
    options = tyro.cli(parsed, args=arguments, prog="valence_axis.py", description=Options.__doc__)
    given = sys.argv[1:] if arguments is None else arguments
    command = shlex.join([sys.executable, sys.argv[0], *given])
    kept = f"what was written and read is kept. Go on with the same command:\n  {command}"
    return exit_code_of(lambda: _work(options), interrupted=kept)


def _work(options: Options) -> int:
    from jobs.valence_axis_commands import run

    return run(options)


if __name__ == "__main__":
    sys.exit(main())
