"""Regression of the target value from frontal channels, or from occipital ones.

Formula: L = mean_i (w·h_i' + b - a_{s_i})², h' the features of a second forward pass, in evaluation mode, of the input
in which all channels but {Fp1 Fp2 F3 F4 Fz F7 F8} are zero; with region=occipital all but {O1 O2 Oz PO3 PO4}.
Source: the rows "frontal mask" and "occipital" (λ .1) of arXiv:2606.00129.
Deviations: the study's classifier keeps channels apart up to its features, and the loss reads those of the set. Most
classifiers mix channels in their first layers, so the input is masked instead, for all of them: one name is one loss.
"""

from valence.channel_views import MaskedRegression
from valence.errors import BadInput
from valence.strategies import STRATEGIES

REGIONS = {
    "frontal": ("Fp1", "Fp2", "F3", "F4", "Fz", "F7", "F8"),
    "occipital": ("O1", "O2", "Oz", "PO3", "PO4"),
}


@STRATEGIES.register("frontal_mask")
class FrontalMask(MaskedRegression):
    """Mean squared error of a read-out from one region.

    Parameters
    ----------
    region : "frontal" or "occipital".
    """

    lambda_ = 0.5

    def __init__(self, region: str = "frontal"):
        super().__init__()
        if region not in REGIONS:
            raise BadInput(f"region={region}", allowed=", ".join(REGIONS), do="correct region")
        self.region = region

    def channels(self, ch_names: tuple[str, ...]) -> tuple[str, ...]:
        return REGIONS[self.region]
