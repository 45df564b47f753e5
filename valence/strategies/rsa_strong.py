"""Representational similarity as in rsa, five times as strong.

Formula: L = 1 - pearson(triu RDM(μ), triu M), λ = 5.
Source: Kriegeskorte, Mur & Bandettini 2008, Representational similarity analysis; arXiv:2606.00129.
Deviations: those of rsa.
"""

from valence.similarity import DistanceCorrelation
from valence.strategies import STRATEGIES


@STRATEGIES.register("rsa_strong")
class RsaStrong(DistanceCorrelation):
    """rsa with λ = 5."""

    name = "rsa_strong"
    lambda_ = 5.0
    formula = "1 - pearson(triu RDM(μ), triu M), RDM Euclidean"
    source = "Kriegeskorte 2008"
