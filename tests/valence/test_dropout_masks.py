"""Masks drawn ahead are those PyTorch would have drawn: same numbers, same order, whatever the layout of the input."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from valence.dropout_masks import Mask, draw_mask, dropout_by, dropout_masks

pytestmark = pytest.mark.usefixtures("one_thread")


def same_as_pytorch(work) -> None:
    """The work gives the same with PyTorch's own dropout and with masks that are noted, drawn ahead and replayed."""
    masks: list[Mask] = []

    def note(mask: Mask) -> torch.Tensor:
        masks.append(mask)
        return mask.draw("cpu")

    torch.manual_seed(5)
    expected = work()
    after = torch.rand(3)
    torch.manual_seed(5)
    with dropout_masks(note):
        torch.testing.assert_close(work(), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(torch.rand(3), after)
    torch.manual_seed(5)
    drawn = iter([mask.draw("cpu") for mask in masks])
    with dropout_masks(lambda _: next(drawn)):
        torch.testing.assert_close(work(), expected, rtol=1e-5, atol=1e-6)
    torch.manual_seed(5)
    with dropout_by(lambda shape, p: draw_mask(shape, p, device="cpu")):
        torch.testing.assert_close(work(), expected, rtol=1e-5, atol=1e-6)
    assert masks


@pytest.mark.parametrize("dimensions", [(0, 1, 2), (2, 0, 1), (1, 0, 2), (0, 2, 1)])
def test_dropout_of_permuted_inputs(dimensions):
    x = torch.randn(5, 6, 7).permute(dimensions)
    same_as_pytorch(lambda: functional.dropout(x, 0.4))


@pytest.mark.parametrize(
    ("function", "shape"), [("dropout1d", (4, 5, 6)), ("dropout2d", (4, 5, 6, 7)), ("dropout3d", (2, 3, 4, 5, 6))]
)
def test_feature_dropout(function, shape):
    x = torch.randn(shape)
    same_as_pytorch(lambda: getattr(functional, function)(x, 0.4))


def test_attention():
    torch.manual_seed(1)
    layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.3, batch_first=True)
    x = torch.randn(3, 10, 16)
    same_as_pytorch(lambda: layer.train()(x))


@pytest.mark.parametrize("kind", [torch.bool, torch.float32])
def test_attention_with_a_mask(kind):
    query = torch.randn(2, 4, 6, 8)
    allowed = torch.ones(6, 6).tril().bool()
    mask = allowed if kind == torch.bool else torch.zeros(6, 6).masked_fill(~allowed, -1e9)
    same_as_pytorch(lambda: functional.scaled_dot_product_attention(query, query, query, mask, 0.3))


def test_nothing_is_drawn_in_evaluation_and_everything_is_put_back():
    own = functional.dropout
    with dropout_masks(lambda mask: pytest.fail("no mask is needed")):
        assert functional.dropout is not own
        functional.dropout(torch.ones(3, 3), 0.5, training=False)
        nn.Dropout(0.0)(torch.ones(3, 3))
        functional.scaled_dot_product_attention(*[torch.randn(1, 2, 3, 4)] * 3)
    assert functional.dropout is own
