"""Soft supervised contrast: classes whose target values are near should be near in a projection of the features.

Formula: L = mean_i -1/W_i Σ_{j≠i} w_ij log( exp(z_i·z_j/τ) / Σ_{a≠i} exp(z_i·z_a/τ) ), W_i = Σ_{j≠i} w_ij,
w_ij = max(0, 1 - |a_{y_i} - a_{y_j}| / d_max), τ = .07 (option `temperature`), z the L2-normed projection of h into
128 dimensions, and d_max the largest difference between any two classes of the data set, so that a weight does not
depend on the batch.
Source: Khosla et al. 2020, Supervised contrastive learning (τ, 128 dimensions); soft weights after EMOD,
arXiv:2511.05863; the row "soft supcon, class" of arXiv:2606.00129.
Deviations: samples without any weight to another sample are left out of the mean; a batch of one gives L = 0.
"""

from valence.contrast import SoftSupcon
from valence.strategies import STRATEGIES, Batch


@STRATEGIES.register("supcon_class")
class SupconClass(SoftSupcon):
    """Supervised contrastive loss with weights that fall with the distance of the classes' target values.

    Parameters
    ----------
    temperature : τ, above 0.
    """

    name = "supcon_class"
    lambda_ = 1.0
    formula = "soft SupCon, w_ij = max(0, 1 - |a_{y_i} - a_{y_j}|/d_max), τ .07"
    source = "Khosla 2020"

    def values_of(self, target):
        return target.class_values

    def items_of(self, batch: Batch):
        return batch.labels
