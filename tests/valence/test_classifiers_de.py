"""What each classifier on DE features sees: order of seconds, channels in any order, the graph's filters."""

import numpy as np
import pytest
import torch
from scipy.sparse import csgraph

from tests.valence.signal_specs import DE_SMALL, FACED_NAMES, noise
from valence.classifiers import CLASSIFIERS, build_classifier
from valence.signal import SignalSpec

pytestmark = pytest.mark.usefixtures("one_thread")
DE = [name for name, classifier in CLASSIFIERS.items() if classifier.input == "de"]

SEE_ORDER = ("de_gru", "de_mlp", "de_transformer", "de_transformer_depth4")


def built(name: str, spec: SignalSpec = DE_SMALL) -> torch.nn.Module:
    torch.manual_seed(0)
    return build_classifier(CLASSIFIERS[name], spec).eval()


@pytest.mark.parametrize("name", DE)
@pytest.mark.parametrize(("n_chans", "n_times", "n_bands"), [(1, 1, 1), (2, 1, 5), (3, 45, 1), (14, 7, 8)])
def test_any_number_of_channels_seconds_and_bands(name, n_chans, n_times, n_bands):
    names = FACED_NAMES[:n_chans]
    spec = SignalSpec(n_chans=n_chans, n_times=n_times, n_outputs=2, sfreq=1, ch_names=names, n_bands=n_bands)
    module = build_classifier(CLASSIFIERS[name], spec)
    torch.nn.functional.cross_entropy(module(noise(spec, 3)), torch.tensor([0, 1, 1])).backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in module.parameters())


@pytest.mark.parametrize("name", DE)
def test_who_sees_the_order_of_seconds(name):
    module, x = built(name), noise(DE_SMALL, 2)
    assert bool((module(x) - module(x.flip(2))).abs().max() > 1e-4) == (name in SEE_ORDER)


def test_the_transformer_sees_order_by_its_embeddings_alone():
    module, x = built("de_transformer"), noise(DE_SMALL, 2)
    with torch.no_grad():
        module.seconds.zero_()
        torch.testing.assert_close(module(x), module(x.flip(2)))
        module.channels.zero_()
        torch.testing.assert_close(module(x), module(x.flip(1)))


def test_electrode_images_do_not_depend_on_the_order_of_channels():
    x, order = noise(DE_SMALL, 2), [5, 2, 7, 0, 1, 6, 4, 3]
    mixed = SignalSpec(**(vars(DE_SMALL) | {"ch_names": tuple(DE_SMALL.ch_names[place] for place in order)}))
    one, other = built("de_cnn"), built("de_cnn", mixed)
    torch.testing.assert_close(one(x), other(x[:, order]))
    assert (one(x) - one(x[:, order])).abs().max() > 1e-4


def test_the_graph_is_the_scaled_laplacian_and_its_filters_are_chebyshev_polynomials():
    module = built("de_dgcnn").double()
    edges = module.graph.edges.detach()
    with torch.no_grad():
        edges[0, 1] = edges[1, 0] = -1  # negative edges are none
    weights = np.maximum((edges + edges.T).numpy(), 0)
    degree = weights.sum(0)
    laplacian = np.eye(8) - weights / np.sqrt(np.outer(degree, degree))
    scaled = module.graph().detach().numpy()
    np.testing.assert_allclose(scaled, laplacian - np.eye(8), atol=1e-5)
    off = weights - np.diag(np.diag(weights))  # scipy's graphs have no loops: compare on a graph without any
    with torch.no_grad():
        module.graph.edges.copy_(torch.from_numpy(off) / 2)
    np.testing.assert_allclose(
        module.graph().detach().numpy() + np.eye(8), csgraph.laplacian(off, normed=True), atol=1e-5
    )
    values, vectors = np.linalg.eigh(module.graph().detach().numpy())
    assert -1 - 1e-9 <= values.min() <= values.max() <= 1 + 1e-9
    heard = []
    module.filter.register_forward_pre_hook(lambda _, inputs: heard.append(inputs[0]))
    x = noise(DE_SMALL, 1).double()
    module(x)
    for order in range(3):
        polynomial = np.polynomial.chebyshev.chebval(values, np.eye(3)[order])
        expected = np.einsum("ik,k,jk,bjsf->bisf", vectors, polynomial, vectors, x.numpy())
        np.testing.assert_allclose(heard[0][..., 5 * order : 5 * order + 5].detach().numpy(), expected, atol=1e-9)
