"""Regression of the target value from the channels whose activity follows valence best.

Formula: L = mean_i (w·h_i' + b - a_{s_i})², h' the features of a second forward pass, in evaluation mode, of the input
in which all channels but {PO3 F7 O1 P3 Oz O2 P4 PO4} (FACED) or {PO3 PO4 POz Oz O1 O2 P3 P4} (SEED-V) are zero.
Source: the row "topo-optimal" of arXiv:2606.00129.
Deviations: the study's classifier keeps channels apart up to its features, and the loss reads those of the set. Most
classifiers mix channels in their first layers, so the input is masked instead, for all of them: one name is one loss.
Other montages than the two take the first set that they have all channels of.
"""

from valence.channel_views import MaskedRegression, missing
from valence.errors import BadInput
from valence.strategies import STRATEGIES

SETS = {
    "faced": ("PO3", "F7", "O1", "P3", "Oz", "O2", "P4", "PO4"),
    "seed_v": ("PO3", "PO4", "POz", "Oz", "O1", "O2", "P3", "P4"),
}
N_CHANS = {32: "faced", 62: "seed_v"}


@STRATEGIES.register("topo_optimal")
class TopoOptimal(MaskedRegression):
    """Mean squared error of a read-out from eight channels.

    Parameters
    ----------
    montage : whose set, "faced" or "seed_v"; "auto" goes by the number of channels and their names.
    """

    lambda_ = 0.1

    def __init__(self, montage: str = "auto"):
        super().__init__()
        if montage not in ("auto", *SETS):
            raise BadInput(f"montage={montage}", allowed=", ".join(("auto", *SETS)), do="correct montage")
        self.montage = montage

    def channels(self, ch_names: tuple[str, ...]) -> tuple[str, ...]:
        if self.montage != "auto":
            return SETS[self.montage]
        of_size = N_CHANS.get(len(ch_names))
        candidates = sorted(SETS, key=lambda name: name != of_size)
        # the first of those that lack least: where none is complete, what is told is how little is missing
        return SETS[min(candidates, key=lambda name: len(missing(SETS[name], ch_names)))]
