"""How likely an excess between two samples is by chance, for many rules at once.

Belongs here: the test of shares that tell the same in both samples. Does not belong here: which rules are tried, and
the correction for their number (``shortcuts.py``).
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

# Shares are compared on a grid of so many steps from 0 to 1; p-values are those of an excess smaller by what rounding
# to it may take.
_STEPS = 400
# Below this the Fourier transform's rounding is all there is.
SMALLEST_P = 1e-12


def p_values(counts: Counts, sizes: Counts, signs: Floats) -> Floats:
    """Probability of at least the excess found, were what the rule tells the same on both sides.

    Of each rule (line) ``counts`` out of ``sizes`` are: label and other labels of synthetic rows, then every label of
    gold; the excess is the sum of ``signs`` times shares. Counts are binomial, at the rates that are most likely where
    the excess is 0. Their distribution is summed, not approximated: gold may have a handful of rows and rates near
    0 or 1, where normal approximations are off by powers of ten.
    """
    from scipy.special import bdtr  # about 1 s

    groups = counts.shape[1]
    rates = _rates_alike(counts, sizes, signs)
    edges = (np.arange(_STEPS + 1) + 0.5) / _STEPS
    length = 5 * _STEPS
    spectrum = np.ones((len(counts), length // 2 + 1), dtype=np.complex128)
    for group in range(groups):
        size, sign = sizes[:, group, None], signs[:, group, None]
        most = np.minimum(np.floor(edges * size / np.abs(sign)), size)
        mass = np.diff(bdtr(most, size, rates[:, group, None]), axis=1, prepend=0.0)
        wave = np.fft.rfft(mass, length, axis=1)
        spectrum *= np.where(sign < 0, wave.conj(), wave)
    # Differences below 0 come at the end, as of a circle.
    chance = np.roll(np.fft.irfft(spectrum, length, axis=1), length // 2, axis=1)
    excess = (signs * counts / sizes).sum(axis=1)
    least = np.floor(excess * _STEPS) - np.sqrt(groups) + length // 2
    upper: Floats = np.where(np.arange(length) >= least[:, None], chance, 0.0).sum(axis=1)
    return upper.clip(SMALLEST_P, 1)


def _rates_alike(counts: Counts, sizes: Counts, signs: Floats) -> Floats:
    """Most likely rates of binomials whose sum of ``signs`` times rates is 0, where that of shares is more.

    At the maximum (k - n p) / (p (1 - p)) is the same multiple of every sign; the multiple is found by bisection.
    """
    low, high = np.zeros(len(counts)), 2 * (sizes / np.abs(signs)).max(axis=1) * counts.shape[1]

    def rates(multiple: Floats) -> Floats:
        pull = multiple[:, None] * signs
        middle = sizes + pull
        root = np.sqrt(np.maximum(middle**2 - 4 * pull * counts, 0))
        # Both are the solution within [0, 1]; each is used where it does not divide by zero.
        from_low = 2 * counts / np.where(middle + root > 0, middle + root, 1)
        from_high = (middle - root) / np.where(pull < 0, 2 * pull, -1)
        return np.where(middle >= 0, from_low, from_high)

    for _ in range(60):
        guess = (low + high) / 2
        more = (rates(guess) * signs).sum(axis=1) > 0
        low, high = np.where(more, guess, low), np.where(more, high, guess)
    return rates((low + high) / 2).clip(0, 1)
