"""No alignment: the matched baseline of every other strategy.

Formula: L = 0. The batch order, initial weights and dropout masks are those of the strategies it is compared with.
"""

from valence.strategies import STRATEGIES, Strategy


@STRATEGIES.register("none")
class NoAlignment(Strategy):
    """Cross-entropy alone."""

    family = "baseline"
    formula = "0"
    source = "baseline"
