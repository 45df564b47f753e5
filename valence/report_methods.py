"""Statistics and facts of a sweep to a methods paragraph that can be pasted into a paper, and its references."""

from typing import TYPE_CHECKING

import pandas as pd

from valence.report_text import confirmatory, count, listed, matched, number
from valence.stats.labels import in_order
from valence.stats.paired import EXACT_LIMIT, MIN_TEST_SUBJECTS, N_FLIPS

if TYPE_CHECKING:
    from valence.axis import Axis

REFERENCES = (
    (
        "Chen, Wang, Huang, Hu, Shen & Zhang 2023. A large finer-grained affective computing EEG dataset. "
        "Scientific Data 10:740. The FACED data set, whose file formats and nine classes are used here.",
        "https://doi.org/10.1038/s41597-023-02650-w",
    ),
    (
        "Radwan, Liu, Haydarov, Fu & Elhoseiny 2026. A shared valence axis across modern LLMs and human EEG: the "
        "saturation regularity. arXiv:2606.00129. The study whose question and alignment losses are taken up here.",
        "https://arxiv.org/abs/2606.00129",
    ),
    (
        "Owen 2007. The pigeonhole bootstrap. Annals of Applied Statistics 1:386-411. Resampling when both rows and "
        "columns of a table were sampled.",
        "https://doi.org/10.1214/07-AOAS122",
    ),
    (
        "MacKinnon, Nielsen & Webb 2021. Wild bootstrap and asymptotic inference with multiway clustering. Journal of "
        "Business & Economic Statistics 39:505-519.",
        "https://doi.org/10.1080/07350015.2019.1677473",
    ),
    (
        "Satterthwaite 1946. An approximate distribution of estimates of variance components. Biometrics Bulletin "
        "2:110-114.",
        "https://doi.org/10.2307/3002019",
    ),
    (
        "Holm 1979. A simple sequentially rejective multiple test procedure. Scandinavian Journal of Statistics "
        "6:65-70.",
        "https://www.jstor.org/stable/4615733",
    ),
    (
        "Benjamini & Hochberg 1995. Controlling the false discovery rate. Journal of the Royal Statistical Society B "
        "57:289-300.",
        "https://doi.org/10.1111/j.2517-6161.1995.tb02031.x",
    ),
    (
        "Schuirmann 1987. A comparison of the two one-sided tests procedure and the power approach. Journal of "
        "Pharmacokinetics and Biopharmaceutics 15:657-680.",
        "https://doi.org/10.1007/BF01068419",
    ),
)


def methods(statistics: pd.DataFrame, sweep: dict, *, axis: "Axis | None") -> str:
    """The paragraph, every number from the tables. Empty where nothing was compared."""
    tested = confirmatory(statistics)
    if len(tested) == 0:
        return ""
    return " ".join([_design(tested, sweep), _target(axis), _inference(tested), _correction(tested)])


def _design(tested: pd.DataFrame, sweep: dict) -> str:
    facts = sweep.get("dataset_facts") or {}
    parts = [set(facts.get(part) or ()) for part in ("train", "validation", "test")]
    sizes = [len(part) for part in parts]
    apart = "disjoint" if sum(sizes) == len(set().union(*parts)) else "not disjoint"
    split = (
        f" ({sizes[0]} subjects to train, {sizes[1]} to validate, {sizes[2]} to test, {apart})" if all(sizes) else ""
    )
    leaks = [found["group"] for found in sweep.get("leakage") or () if found["level"] == "leak" and found["n_both"]]
    split += f", which has the same {listed([f'{name}s' for name in leaks])} in training and test," if leaks else ""
    few, many = int(tested["n_seeds"].min()), int(tested["n_seeds"].max())
    seeds = count(many, "seed") if few == many else f"{few} to {many} seeds"
    return (
        f"{listed(sorted(set(tested['classifier'])))} were trained on the data set {tested['dataset'].iloc[0]} with "
        f"the split {tested['split'].iloc[0]}{split} and {seeds}, once with cross-entropy "
        f"alone and once with each of the alignment losses {_losses(tested)}. Runs of one seed "
        f"share initial weights, batch order and dropout masks.{matched(tested)}"
    )


def _losses(tested: pd.DataFrame) -> str:
    """Losses by name, with their doses; λ is 1 where none is given."""
    labels = list(dict.fromkeys(in_order(tested)["label"]))
    whole = any(label in set(tested["strategy"]) for label in labels)
    return listed(labels) + (" (λ = 1 where none is given)" if whole else "")


def _target(axis: "Axis | None") -> str:
    if axis is None:
        return "No axis of an LLM was used."
    return (
        f"Losses were aligned to the valence axis of {axis.llm} (layer {axis.layer}, {axis.pooling} pooling, "
        f"{count(axis.n_paraphrases, 'paraphrase')} a story, {_fitted(axis)} the {len(axis.classes)} class centroids, "
        f"{number(100 * axis.explained_variance, 0)} % of their variance), and as "
        "controls to the same axis with its classes permuted and to a random target."
    )


def _fitted(axis: "Axis") -> str:
    return "first principal component of" if axis.method == "pca" else f"method {axis.method.replace('_', ' ')} on"


def _inference(tested: pd.DataFrame) -> str:
    first = tested.iloc[0]
    exact = tested["n_seeds"].max() <= EXACT_LIMIT
    flips = "all sign assignments" if exact else f"{N_FLIPS:,} random sign assignments"
    return (
        "The outcome is the difference in balanced accuracy, paired by seed and test subject. Its 95 % interval comes "
        f"from a hierarchical bootstrap over subjects and seeds, crossed ({int(first['n_bootstrap']):,} resamples; "
        "Owen 2007), its width calibrated to the two-way variance of the mean with t quantiles (Satterthwaite 1946). "
        f"p values come from a two-sided sign-flip test over whole seeds ({flips}), after deducting from the mean what "
        "the choice of test subjects contributes to its variance (compare MacKinnon et al. 2021)."
    )


def _correction(tested: pd.DataFrame) -> str:
    first, size = tested.iloc[0], int(tested["family_size"].max())
    return (
        f"A loss helps or hurts where p, after Holm's correction over the {size} comparisons "
        f"of its classifier, is below {first['alpha']:g} and the interval excludes 0; it is equivalent to none where "
        f"the 90 % interval lies within ±{first['equivalence']:g} (two one-sided tests, Schuirmann 1987); else the "
        f"comparison is undecided, as it always is with fewer than {MIN_TEST_SUBJECTS} test subjects. Failed runs were "
        "left out and are listed."
    )
