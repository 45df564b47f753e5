"""Representational similarity: the distances between class means should follow those of the target.

Formula: L = 1 - pearson(triu RDM(μ), triu M), with μ_k the mean features of class k, RDM their Euclidean distances,
and M the dissimilarity of the target (|a_k - a_l| for an axis: the Euclidean distance on a line, so both sides of the
correlation are the same measure). Pearson makes L indifferent to the scale of the features.
Source: Kriegeskorte, Mur & Bandettini 2008, Representational similarity analysis; the row "RSA" of arXiv:2606.00129.
Deviations: a class absent from the batch is stood in for by its running mean (decay .99) without gradient; classes
never seen are left out, and fewer than three known classes give L = 0.
Features narrower than the number of classes make the RDM rank-limited; the loss is defined and runs all the same.
"""

from valence.similarity import DistanceCorrelation
from valence.strategies import STRATEGIES


@STRATEGIES.register("rsa")
class Rsa(DistanceCorrelation):
    """One minus the correlation of two dissimilarity matrices."""

    name = "rsa"
    lambda_ = 1.0
    formula = "1 - pearson(triu RDM(μ), triu M), RDM Euclidean"
    source = "Kriegeskorte 2008"
