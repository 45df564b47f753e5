"""Words for doses: each says what differs, and they come in the order of their numbers."""

import numpy as np
import pandas as pd
import pytest

from valence.stats.labels import dose_label, in_order


@pytest.mark.parametrize(
    ("row", "label"),
    [
        ({"strategy": "rsa"}, "rsa"),
        ({"strategy": "rsa", "lambda_": 1}, "rsa"),
        ({"strategy": "rsa", "lambda_": 5.0}, "rsa λ=5"),
        ({"strategy": "rsa", "lambda_": 0.0, "target": "vaxis"}, "rsa λ=0"),
        ({"strategy": "aux_mse", "lambda_": 0.05}, "aux_mse λ=.05"),
        ({"strategy": "aux_mse", "lambda_": 0.0, "gradient_match": 0.3}, "aux_mse ratio=.3"),
        ({"strategy": "distance_ce", "lambda_": 1.0, "options": "tau=2.0"}, "distance_ce tau=2"),
        ({"strategy": "lora", "lambda_": 0.1, "options": "alpha=32.0,rank=16"}, "lora λ=.1 alpha=32 rank=16"),
        ({"strategy": "own", "options": "frozen=true,where=a=b,x=-0.5,y=inf"}, "own frozen=true where=a=b x=-.5 y=inf"),
        ({"strategy": "full_head", "target": "none", "lambda_": 0.0}, "full_head"),
        ({"strategy": "rsa", "lambda_": np.nan, "options": None, "gradient_match": np.nan}, "rsa"),
        ({"strategy": "rsa", "lambda_": 2e-7}, "rsa λ=2e-07"),
    ],
)
def test_label(row, label):
    assert dose_label(row) == label


def test_order_of_doses():
    rows = [
        ("b", 1.0, "tau=10.0", 0.0),
        ("b", 1.0, "tau=2.0", 0.0),
        ("b", 1.0, "", 0.0),
        ("b", 0.0, "", 0.3),
        ("b", 0.0, "", 0.05),
        ("b", 10.0, "", 0.0),
        ("b", 2.0, "", 0.0),
        ("b", 1.0, "tau=auto", 0.0),
        ("a", 1.0, "", 0.0),
    ]
    table = pd.DataFrame(rows, columns=["strategy", "lambda_", "options", "gradient_match"], index=range(9, 18))
    assert list(in_order(table)["label"]) == [
        "a", "b", "b tau=2", "b tau=10", "b tau=auto", "b λ=2", "b λ=10", "b ratio=.05", "b ratio=.3",
    ]  # fmt: skip


def test_rows_of_one_dose_keep_their_order():
    table = pd.DataFrame({"strategy": ["b", "a", "b", "a"], "target": list("wxyz")})
    assert list(in_order(table)["target"]) == ["x", "z", "w", "y"]
    assert list(in_order(table.iloc[:0]).columns) == ["strategy", "target", "label"]
