"""Many tables at once give the numbers of one table at a time."""

import numpy as np
import pytest

from tests.valence.synthetic_rows import difference_table
from valence.errors import BadInput
from valence.stats.many import sign_flips, two_way_intervals, two_way_variances
from valence.stats.paired import sign_flip, two_way_interval, two_way_variance

SPREADS = (
    {"seeds": 0.01, "noise": 0.005},
    {"seeds": 0.001, "subjects": 0.03, "noise": 0.01},
    {"noise": 0.05},
    {"seeds": 0.01, "subjects": 0.02, "noise": 0.05},
    {},
)


def tables_of(n_seeds: int, n_subjects: int) -> np.ndarray:
    random = np.random.default_rng(n_seeds)
    drawn = [
        difference_table(random, n_seeds, n_subjects, delta=0.01, **spread) for spread in SPREADS for _ in range(4)
    ]
    return np.stack([*drawn, np.zeros((n_seeds, n_subjects))])


@pytest.mark.parametrize(("n_seeds", "n_subjects"), [(2, 5), (5, 1), (10, 23), (16, 4)])
def test_every_number_is_that_of_one_table(n_seeds, n_subjects, monkeypatch):
    monkeypatch.setattr("valence.stats.many.CHUNK", 9_000)  # several parts
    tables = tables_of(n_seeds, n_subjects)
    variances = two_way_variances(tables)
    alone = [two_way_variance(table) for table in tables]
    np.testing.assert_allclose(variances.rows, [one.rows for one in alone], rtol=1e-10, atol=1e-30)
    np.testing.assert_allclose(variances.columns, [one.columns for one in alone], rtol=1e-7, atol=1e-18)
    varied = variances.rows > 1e-20
    np.testing.assert_allclose(variances.df[varied], [one.df for one, keep in zip(alone, varied) if keep], rtol=1e-7)
    np.testing.assert_array_equal(sign_flips(tables), [sign_flip(table) for table in tables])
    wanted = [two_way_interval(table, confidences=(0.95, 0.9), n_bootstrap=700) for table in tables]
    np.testing.assert_allclose(two_way_intervals(tables, confidences=(0.95, 0.9), n_bootstrap=700), wanted, atol=1e-12)


@pytest.mark.parametrize("tables", [np.zeros((3, 4)), np.zeros((3, 1, 4)), np.full((1, 4, 4), np.nan)])
def test_what_cannot_be_read_is_refused(tables):
    with pytest.raises(BadInput, match="2 seeds or more"):
        sign_flips(tables)
