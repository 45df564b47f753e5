"""Classifiers: the roster as plain data and as a table, from the registry.

In: the recording that sizes are given for. Out: one row per classifier; Markdown for the README. Each classifier is
built once, so numbers of parameters and widths are measured, not copied.
"""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from valence.classifiers import CLASSIFIERS, Classifier, build_classifier, tapped
from valence.signal import SignalSpec

GROUPS = ("roster", "extra", "variant")
DATASETS = {"faced": "FACED", "seed_v": "SEED-V"}
DE_SECONDS, DE_BANDS = 30, 5
HEADER = ("classifier", "group", "family", "parameters", "features", *DATASETS.values(), "needs", "pretrained weights")


@dataclass(frozen=True, kw_only=True)
class RosterRow:
    """Facts of one classifier."""

    name: str
    group: str
    family: str
    input: str
    parameters: int
    width: int
    """of the penultimate features that strategies see"""
    tap: tuple[int, ...]
    """what the last layer reads of one window, before averaging; without dimensions of one"""
    published: dict[str, float]
    """as `Classifier.published`"""
    needs: tuple[str, ...]
    pretrained: str
    """hub repository and licence; empty where there are no weights to start from"""


def roster(spec: SignalSpec, names: Iterable[str] | None = None) -> list[RosterRow]:
    """Rows for a recording's windows, by group, family and name.

    Parameters
    ----------
    spec : of windows. Classifiers on DE features are sized for 30 s of 5 bands of the same channels.
    names : which classifiers; all by default.

    Raises
    ------
    BadInput : where one of them cannot take the shape.
    """
    rows = [_row(CLASSIFIERS[name], spec) for name in (CLASSIFIERS if names is None else names)]
    return sorted(rows, key=lambda row: (GROUPS.index(row.group), row.family, row.name.lower()))


def roster_table(spec: SignalSpec, names: Iterable[str] | None = None) -> str:
    """The same as a Markdown table. Published balanced accuracies are in percent; in brackets, pretrained ones."""
    lines = [HEADER, tuple("---" if text not in ("parameters", "features") else "---:" for text in HEADER)]
    for row in roster(spec, names):
        accuracies = [_published(row, dataset) for dataset in DATASETS]
        sizes = (f"{row.parameters:,}", str(row.width))
        lines.append((row.name, row.group, row.family, *sizes, *accuracies, "; ".join(row.needs), row.pretrained))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _row(classifier: Classifier, windows: SignalSpec) -> RosterRow:
    spec = windows if classifier.input == "windows" else _de(windows)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        module = build_classifier(classifier, spec).eval()
        with tapped(module, classifier) as forward:
            out = forward(torch.zeros((1, spec.n_chans, spec.n_times) + ((spec.n_bands,) if spec.n_bands else ())))
    return RosterRow(
        name=classifier.name,
        group=classifier.group,
        family=classifier.family,
        input=classifier.input,
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        width=out.features.shape[1],
        tap=tuple(size for size in out.taps[0].shape[1:] if size > 1),
        published=dict(classifier.published),
        needs=classifier.needs,
        pretrained=f"{classifier.pretrained.hub_id}, {classifier.pretrained.licence}" if classifier.pretrained else "",
    )


def _de(windows: SignalSpec) -> SignalSpec:
    return dataclasses.replace(windows, n_times=DE_SECONDS, sfreq=1, n_bands=DE_BANDS)


def _published(row: RosterRow, dataset: str) -> str:
    texts = []
    for key, form in ((dataset, "{:.2f}"), (f"{dataset}, pretrained", "({:.2f})")):
        if key in row.published:
            texts.append(form.format(100 * row.published[key]))
    return " ".join(texts)
