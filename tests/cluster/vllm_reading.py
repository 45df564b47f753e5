"""A process of its own for vLLM: LLM folders in, activations of fixed texts out, as .npz.

python -m tests.cluster.vllm_reading OUT N_WORKERS FOLDER...
"""

import os
import sys
from pathlib import Path

import valence  # noqa: F401  # before vLLM, in its workers too, which import this module
from valence.activations import POOLINGS
from valence.stories import load_stories

LAYERS = [0, 2, -2, -1]


def texts() -> list[str]:
    """One token, several batches of a step's 2,048 tokens, equal beginnings, and one that is cut."""
    stories = [story.text for story in load_stories()]
    return ["a", *stories, *(f"{story} {index}" for index, story in enumerate(stories)), " ".join(stories)]


def main(out: str, n_workers: str, *folders: str) -> None:
    """Read with one engine after the other."""
    from cluster.remote_engine import engine_environment
    from valence.llms import resolve_llm

    llms = {Path(folder).name: resolve_llm(folder) for folder in folders}
    os.environ.update(engine_environment(next(iter(llms.values())), 1))
    import numpy as np
    from vllm.distributed import cleanup_dist_env_and_memory

    from cluster.vllm_engine import VllmEngine
    from valence.llms import local_folder

    read = {}
    for name, llm in llms.items():
        engine = VllmEngine(local_folder(llm), llm, n_workers=int(n_workers))
        for pooling in POOLINGS:
            read[f"{name}/{pooling}"] = engine.activations(texts(), layers=LAYERS, pooling=pooling)
        read[f"{name}/again"] = engine.activations(texts()[:3], layers=[-1, 1])
        read[f"{name}/n_layers"] = np.array(engine.n_layers())
        del engine
        cleanup_dist_env_and_memory()
    np.savez(out, **read)


if __name__ == "__main__":
    main(*sys.argv[1:])
