"""Drift metrics by kernels on vectors: maximum mean discrepancy with its permutation test, Vendi score.

Belongs here: functions of distances or vectors. Does not belong here: vectors of texts (``vectors.py``), which rows
are compared (``halvings.py``).
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

PERMUTATIONS = 499

# Most rows that the median distance is taken over: two million pairs.
WIDTH_ROWS = 2000


def squared_distances(one: Floats, other: Floats) -> Floats:
    """Squared Euclidean distances, shape (rows of ``one``, rows of ``other``), in their precision.

    From inner products, which is exact enough for vectors of about length 1.
    """
    found = one @ other.T
    found *= -2
    found += np.einsum("ij,ij->i", one, one)[:, None]
    found += np.einsum("ij,ij->i", other, other)
    np.maximum(found, 0, out=found)
    if one is other:
        np.fill_diagonal(found, 0)
    return found


def median_distance(vectors: Floats, rng: np.random.Generator) -> float | None:
    """Median distance between two of the rows, of at most 2,000 drawn; None where that is 0 or there is no pair."""
    if len(vectors) > WIDTH_ROWS:
        vectors = vectors[rng.choice(len(vectors), WIDTH_ROWS, replace=False)]
    if len(vectors) < 2:
        return None
    above = np.triu_indices(len(vectors), 1)
    return float(np.sqrt(np.median(squared_distances(vectors, vectors)[above]))) or None


def gaussian(squared: Floats, width: float) -> Floats:
    """Gaussian kernel exp(-d^2 / (2 width^2)) of squared distances."""
    found: Floats = np.exp(squared * np.array(-0.5 / width**2, squared.dtype))
    return found


def mmd2(within_one: Floats, within_other: Floats, between: Floats, width: float) -> float | None:
    """Unbiased squared maximum mean discrepancy, Gaussian kernel (Gretton et al. 2012, eq. 3); may be below 0.

    Takes squared distances: within both samples (square, diagonal 0) and between them. None where a sample has fewer
    than 2 rows.
    """
    (rows, columns) = between.shape
    if min(rows, columns) < 2:
        return None
    first, second = (_mean_of_pairs(gaussian(squared, width)) for squared in (within_one, within_other))
    return first + second - 2 * float(gaussian(between, width).mean(dtype=np.float64))


def permutation_p(one: Floats, other: Floats, width: float, rng: np.random.Generator) -> float | None:
    """p-value of ``mmd2`` under exchange of rows: (1 + permutations at least as far) / (1 + 499).

    None where a sample has fewer than 2 rows.
    """
    size, rest = len(one), len(other)
    if min(size, rest) < 2:
        return None
    both = np.concatenate([one, other])
    kernel = gaussian(squared_distances(both, both).astype(np.float64), width)
    np.fill_diagonal(kernel, 0)
    # Column 0 marks the rows of ``one``, every other column as many rows drawn from both.
    chosen = np.zeros((size + rest, 1 + PERMUTATIONS))
    chosen[:size, 0] = 1
    for column in range(1, 1 + PERMUTATIONS):
        chosen[rng.permutation(size + rest)[:size], column] = 1
    within = np.einsum("ij,ij->j", chosen, kernel @ chosen)
    between = kernel.sum(axis=1) @ chosen - within
    beyond = kernel.sum() - within - 2 * between
    found = within / (size * (size - 1)) + beyond / (rest * (rest - 1)) - 2 * between / (size * rest)
    # Equal but for rounding counts as at least as far.
    return int((found >= found[0] - 1e-12).sum()) / (1 + PERMUTATIONS)


def vendi(vectors: Floats) -> float:
    """Vendi score with the cosine kernel (Friedman & Dieng 2023): how many rows unlike each other these are worth.

    The exponential of the entropy of the eigenvalues of K / n, K the inner products of ``vectors``, each of length 1.
    """
    rows, width = vectors.shape
    # Both products have the same eigenvalues but for zeros.
    product = vectors @ vectors.T if rows <= width else vectors.T @ vectors
    values = np.linalg.eigvalsh(product.astype(np.float64) / rows)
    values = values[values > 1e-12]
    return float(np.exp(-(values * np.log(values)).sum()))


def _mean_of_pairs(kernel: Floats) -> float:
    """Mean over ordered pairs of different rows; on the diagonal the kernel is 1."""
    rows = len(kernel)
    return (float(kernel.sum(dtype=np.float64)) - rows) / (rows * (rows - 1))
