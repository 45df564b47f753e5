"""Contrast with prototypes: a sample should find its class among prototypes, and a prototype its samples in the batch.

Formula: L = (A + B) / 2 with s_ik = z_i·C_k / τ, z the L2-normed projection of h into the width of the prototypes C;
A = mean_i -log( exp(s_{i,y_i}) / Σ_k exp(s_ik) ) over all classes k;
B = mean over the classes k of the batch of mean_{i: y_i=k} -log( exp(s_ik) / Σ_j exp(s_jk) ) over all samples j.
τ is learned as its logarithm, starts at .07 and stays at .01 or more.
Source: Radford et al. 2021, Learning transferable visual models from natural language supervision (CLIP), both
temperatures.
Deviations: there a batch of pairs has one text for each image; here the samples of a class share one prototype. A
sample chooses among one prototype for each class and not among those of the batch, and a prototype's loss is the mean
over the samples of its class, as Khosla et al. 2020 have it for several positives; a class absent from the batch has
none.
"""

import torch
from torch.nn import functional

from valence.prototype_similarity import PrototypeSimilarity
from valence.strategies import STRATEGIES, Batch


@STRATEGIES.register("clip_nce")
class ClipNce(PrototypeSimilarity):
    """Symmetric InfoNCE between projected samples and the prototypes of their classes."""

    name = "clip_nce"
    family = "contrastive"
    lambda_ = 0.1
    formula = "symmetric InfoNCE between z_i and C_{y_i}, τ learned"
    source = "Radford 2021"
    first_temperature = 0.07

    def loss(self, batch: Batch, logits: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        return symmetric_nce(self.similarity(features), batch.labels)


def symmetric_nce(similarity: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """L for similarities s (batch, n_classes) and labels (batch,), a scalar."""
    classes = torch.arange(similarity.shape[1], device=labels.device)
    member = (labels[:, None] == classes).to(similarity.dtype)
    counts = member.sum(0)
    of_classes = -(member * functional.log_softmax(similarity, dim=0)).sum(0) / counts.clamp(min=1)
    return (functional.cross_entropy(similarity, labels) + of_classes.sum() / (counts > 0).sum().clamp(min=1)) / 2
