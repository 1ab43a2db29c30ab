"""Frechet distance of two samples of vectors, in few dimensions.

Belongs here: the basis, the distance. Does not belong here: vectors of texts (``vectors.py``), which rows are compared
(``halvings.py``), which rows the basis is fitted on (``measures.py``).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from s3_assets.drift.kernels import Floats

MOST_DIMENSIONS = 16

# A covariance of d dimensions is estimated from at least 10 d rows.
ROWS_A_DIMENSION = 10
FEWEST_DIMENSIONS = 2

# Components of a smaller share of the variance are of rounding.
SMALLEST_SHARE = 1e-10


@dataclass(frozen=True)
class Basis:
    """Principal components: their origin, shape (width,), and directions of falling variance, (components, width)."""

    origin: NDArray[np.float64]
    directions: NDArray[np.float64]

    def project(self, vectors: Floats) -> NDArray[np.float64]:
        """Coordinates, shape (rows, components)."""
        return (vectors - self.origin) @ self.directions.T


def fit_basis(vectors: Floats) -> Basis:
    """The first 16 principal components of ``vectors`` (at least 2 rows), fewer where these span no more."""
    origin = vectors.mean(axis=0, dtype=np.float64)
    centred = vectors - origin
    rows, width = vectors.shape
    count = min(MOST_DIMENSIONS, rows - 1, width)
    # Both products have the same eigenvalues but for zeros, and the smaller one is much the faster.
    gram = rows < width
    product = centred @ centred.T if gram else centred.T @ centred
    values, axes = eigh(product, subset_by_index=(len(product) - count, len(product) - 1))
    # Rows that are equal span less than their number allows.
    spanned = values > SMALLEST_SHARE * np.trace(product)
    values, axes = values[spanned][::-1], axes[:, spanned][:, ::-1]
    return Basis(origin, (centred.T @ axes / np.sqrt(values) if gram else axes).T)


def frechet(one: NDArray[np.float64], other: NDArray[np.float64]) -> float | None:
    """Squared Frechet distance of the Gaussians with the samples' means and covariances (Dowson & Landau 1982).

    ``|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))`` over the first d coordinates, d the most for which both samples have
    10 d rows. None where d is below 2.
    """
    dimensions = min(one.shape[1], min(len(one), len(other)) // ROWS_A_DIMENSION)
    if dimensions < FEWEST_DIMENSIONS:
        return None
    one, other = one[:, :dimensions], other[:, :dimensions]
    apart = one.mean(axis=0) - other.mean(axis=0)
    first, second = np.cov(one.T), np.cov(other.T)
    # The product has the eigenvalues of a symmetric matrix: real and not below 0, but for rounding.
    values = np.linalg.eigvals(first @ second).real.clip(min=0)
    return float(apart @ apart + np.trace(first) + np.trace(second) - 2 * np.sqrt(values).sum())
