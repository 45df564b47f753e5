"""Comparisons in worlds with a planted truth to what they say of the engine: does it find what is there, and only that?

In: the comparisons (`valence.stats.compare`) of every sweep, with columns world and repetition. Out: one row a claim.
"""

import numpy as np
import pandas as pd
import scipy.stats

ALPHA = 0.05
CONTENT = "content"


def control_findings(comparisons: pd.DataFrame, *, alpha: float = ALPHA) -> pd.DataFrame:
    """What the control shows.

    Parameters
    ----------
    comparisons : of the worlds unsaturated, saturated (one repetition or more each) and no_axis (many).

    Returns
    -------
    One row a claim: claim, found (in words), holds (bool), n (comparisons or repetitions it rests on). The rates of
    false positives hold where the exact binomial test does not find them above their nominal level: .05 for a
    repetition (any strategy, after Holm), and for a single comparison the largest level below .05 that its exact test
    can reach. Comparisons of one repetition share baselines and seeds: only whole repetitions are independent.
    """
    content = comparisons[comparisons["comparison"] == CONTENT]
    gains = comparisons[(comparisons["comparison"] == "baseline") & (comparisons["target"] == "vaxis")]
    found, helping = _helped(content, gains, alpha)
    rows = [found, _not_helped(content, gains, alpha, helping=helping), *_false_positives(content, alpha)]
    return pd.DataFrame(rows)


def _found(content: pd.DataFrame, gains: pd.DataFrame, world: str, alpha: float) -> pd.DataFrame:
    """Gains of strategies that beat no alignment and their own twins, both after Holm.

    Both, since a strong loss aimed at wrong values can hurt more than one aimed at true ones that is no help either.
    """
    own = gains[(gains["world"] == world) & (gains["delta"] > 0) & (gains["p_holm"] < alpha)]
    twins = content[(content["world"] == world) & (content["delta"] > 0) & (content["p_holm"] < alpha)]
    return own[own["strategy"].isin(twins["strategy"])]


def _helped(content: pd.DataFrame, gains: pd.DataFrame, alpha: float) -> tuple[dict, pd.DataFrame]:
    helping = _found(content, gains, "unsaturated", alpha)
    names = ", ".join(f"{row.strategy} {row.delta:+.3f} (p {row.p_holm:.3g})" for row in helping.itertuples())
    row = {
        "claim": "unsaturated: with the true axis a strategy beats no alignment and its twins, after Holm",
        "found": names or "none does",
        "holds": len(helping) > 0,
        "n": int((gains["world"] == "unsaturated").sum()),
    }
    return row, helping


def _not_helped(content: pd.DataFrame, gains: pd.DataFrame, alpha: float, *, helping: pd.DataFrame) -> dict:
    own = gains[gains["world"] == "saturated"]
    found = _found(content, gains, "saturated", alpha)
    # no gain seen is not no gain: one as large as where the axis helps must be excluded
    both = helping.merge(own, on="strategy", suffixes=("", "_here"))
    excluded = bool((both["ci_high_here"] < both["delta"]).all()) and len(both) == len(helping)
    largest = own["ci_high"].max() if len(own) else np.nan
    return {
        "claim": "saturated: no strategy beats both, and gains as large as in unsaturated are excluded",
        "found": ", ".join(found["strategy"]) or f"none does; highest end of an interval {largest:+.3f}",
        "holds": len(own) > 0 and found.empty and excluded,
        "n": len(own),
    }


def _false_positives(content: pd.DataFrame, alpha: float) -> list[dict]:
    own = content[content["world"] == "no_axis"]
    by_repetition = own.groupby("repetition")["p_holm"].min() < alpha
    level = attainable_level(int(own["n_seeds"].min()), alpha) if len(own) else alpha
    alone = own["p"] <= level * (1 + 1e-9)
    return [
        _rate(
            "no axis: repetitions with any strategy found, after Holm", by_repetition.to_numpy(), alpha, counted_by=None
        ),
        _rate(
            "no axis: comparisons found, one by one",
            alone.to_numpy(),
            level,
            counted_by=own["repetition"].to_numpy(),
        ),
    ]


def attainable_level(n_seeds: int, alpha: float = ALPHA) -> float:
    """The largest p of at most alpha that a two-sided sign-flip over so many seeds can give: a multiple of 2/2**n."""
    step = 2.0 / 2.0**n_seeds
    return step * np.floor(alpha / step + 1e-9)


def _rate(claim: str, found: np.ndarray, level: float, *, counted_by: np.ndarray | None) -> dict:
    n, hits = len(found), int(found.sum())
    if not n:
        return {"claim": claim, "found": "nothing was run", "holds": False, "n": 0}
    if counted_by is None:
        test = scipy.stats.binomtest(hits, n, level, alternative="greater")
        low, high = scipy.stats.binomtest(hits, n).proportion_ci(0.95)
        p = test.pvalue
    else:  # repetitions differ: their own shares are the sample
        shares = pd.Series(found).groupby(counted_by).mean().to_numpy()
        mean, error = shares.mean(), shares.std(ddof=1) / np.sqrt(len(shares)) if len(shares) > 1 else np.nan
        margin = scipy.stats.t.ppf(0.975, len(shares) - 1) * error
        low, high = max(mean - margin, 0.0), min(mean + margin, 1.0)
        # a single repetition, or all of them alike, have no error
        p = float(scipy.stats.t.sf((mean - level) / error, len(shares) - 1)) if error > 0 else float(mean <= level)
    return {
        "claim": f"{claim}: at most {level:.3g}",
        "found": f"{hits} of {n}, {hits / n:.3f}, 95 % interval {low:.3f} to {high:.3f}",
        "holds": bool(p > ALPHA),
        "n": n,
    }
