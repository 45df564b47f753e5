"""Stage activations of a study: an LLM's paraphrases as networks of its shape read them that nothing has trained."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from cluster.axis_reading import LlmEngine, OnEvent, RaySession, folder_of
from cluster.axis_request import StudyRequest
from valence.activation_files import ActivationFiles, read_to_files
from valence.axis_null_rows import first_of_each_story
from valence.errors import BadInput
from valence.llms import LLM
from valence.llms.untrained import reason_against, untrained

ENGINE = "transformers"
"""draws the weights in memory; vLLM would have to find them on a disk"""


@dataclass(frozen=True, kw_only=True)
class Untrained:
    """What untrained networks read."""

    files: Mapping[int, ActivationFiles]
    """by seed"""
    reason: str
    """why there are fewer than asked for; empty where there are not"""


def read_untrained(
    request: StudyRequest, llm: LLM, table: pd.DataFrame, session: RaySession, on_event: OnEvent
) -> Untrained:
    """Read texts with one untrained network after the other, in one process; seeds that are there start none.

    Parameters
    ----------
    table : the kept paraphrases, of which the first of each story are read.
    """
    reason = reason_against(llm) if request.untrained else "not asked for (--untrained 0)"
    files: dict[int, ActivationFiles] = {}
    if reason:
        return Untrained(files=files, reason=reason)
    texts = tuple(table["text"].iloc[first_of_each_story(table["story"].to_numpy(dtype=str))])
    folder = folder_of(request, llm) / "untrained"
    try:
        with LlmEngine(untrained(llm, 0), ENGINE, session, on_event) as engine:
            for seed in range(request.untrained):
                engine.turn_into(untrained(llm, seed))
                place = folder / str(seed)
                files[seed] = read_to_files(
                    engine, texts, place, layers=[request.layer], pooling=request.pooling, on_event=lambda line: None
                )
                if len(files) % 5 == 0 or len(files) == request.untrained:
                    on_event(f"{llm.name}, untrained networks: {len(files)} of {request.untrained}")
    except BadInput as error:  # an LLM that can be read but not drawn is an LLM all the same
        reason = str(error).splitlines()[0]
        on_event(f"{llm.name}: no more untrained networks: {reason}")
    return Untrained(files=files, reason=reason)
