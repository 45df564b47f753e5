"""A matrix to its polar factor, with products of matrices alone: nothing waits, so a GPU can capture it.

Singular values are driven to 1 by odd polynomials of degree 3, each the best one for the interval in which the ones
before leave them. torch.linalg.svd gives the same and makes the CPU wait for the GPU.
Source: Chen & Chow 2014, A stable scaling of Newton-Schulz for improving the sign function computation; the same
polynomials are those of degree 3 in Amsel et al. 2025, The Polar Express, arXiv:2505.16932.
"""

import math

import torch

LEAST_SINGULAR_VALUE = 1e-6
"""smaller ones than this, of a largest one of 1, end between 0 and 1"""


def _polynomials(least: float) -> list[tuple[float, float]]:
    """Coefficients (a, b) of a·x + b·x³ that bring [least, 1] to 1 one after the other."""
    low, high, found = least, 1.0, list[tuple[float, float]]()
    while high - low > 1e-15:
        scale = math.sqrt(3 / (low * low + low * high + high * high))
        reached = 1.5 * (scale * low) - 0.5 * (scale * low) ** 3
        stretch = 2 / (1 + reached)  # the interval then lies evenly around 1
        found.append((1.5 * scale * stretch, -0.5 * scale**3 * stretch))
        low, high = reached * stretch, stretch
    return found


POLYNOMIALS = _polynomials(LEAST_SINGULAR_VALUE)


def polar_factor(matrix: torch.Tensor) -> torch.Tensor:
    """U·Vᵀ of the singular vectors of M = U·Σ·Vᵀ that belong to singular values above 0, without gradient.

    Parameters
    ----------
    matrix : (n, m), no singular value above 1. Quicker where n is the smaller side.

    Returns
    -------
    float64, (n, m). What belongs to a singular value of 0 is 0: a partial isometry.
    """
    with torch.no_grad():
        factor = matrix.double()
        for first, third in POLYNOMIALS:
            factor = torch.addmm(factor, factor @ factor.T, factor, beta=first, alpha=third)
        return factor
