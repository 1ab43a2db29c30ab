"""How far a label can be trusted after others were asked, and below which trust it is doubted.

Belongs here: probabilities from votes, the threshold. Does not belong here: asking (``verify.py``).

One judge, one number: the share of selecting gold it labels right. Its errors are spread evenly over the other labels.
That is the model of Dawid & Skene (1979) with one parameter for all observers and labels, known from gold instead of
estimated along with the labels.
"""

import math
from collections.abc import Sequence

# A label is right before anybody was asked: it takes evidence of 9 to 1 to doubt it. A constant, because estimated from
# the rows of one call it would differ between two waves of one step. It moves confidences and not their order, which
# the threshold goes by.
RIGHT_BEFOREHAND = 0.9

# Votes of one judge on one row are not independent: asked again it says so often what it said before, whatever the row
# is. So a repeated vote tells less than a first one, and a vote against an earlier one as much. How often is a guess,
# which 25 gold rows cannot replace; it, too, moves confidences more than their order.
SAYS_AGAIN = 0.5

# A row that is more likely right than not is never doubted, unless the task says so by a threshold of its own.
MOST_CHOSEN = 0.5


def accuracy(labels: Sequence[str], votes: Sequence[Sequence[str]], choices: int) -> float:
    """Share of labels that the judge's first vote agrees with, smoothed by one right and one wrong vote (Laplace).

    ``labels`` are right, ``votes`` what the judge gave each, ``choices`` counts the labels there are. Later votes are
    left out: they are asked only where the first is wrong. Never less than by guessing; then votes say nothing.
    """
    first = [given[0] == label for label, given in zip(labels, votes, strict=True) if given]
    return max((sum(first) + 1) / (len(first) + 2), 1 / choices)


def posterior(label: str, votes: Sequence[str], labels: Sequence[str], right: float) -> dict[str, float]:
    """Probability of each of ``labels`` for a row written for ``label``, given votes of a judge that is ``right``.

    ``right`` is the judge's accuracy, 0 to 1.
    """
    others = len(labels) - 1
    shares = {}
    for candidate in labels:
        share = RIGHT_BEFOREHAND if candidate == label else (1 - RIGHT_BEFOREHAND) / others
        for place, vote in enumerate(votes):
            drawn = right if vote == candidate else (1 - right) / others
            share *= SAYS_AGAIN + (1 - SAYS_AGAIN) * drawn if vote in votes[:place] else drawn
        shares[candidate] = share
    total = sum(shares.values())
    return {candidate: share / total for candidate, share in shares.items()}


def after_students(own: float, theirs: float, choices: int) -> tuple[float, float]:
    """Probability that the label a row was written for is right, and that the students' label is if it is another.

    ``own`` and ``theirs`` are what the students, who do not know what it was written for, give the two, ``choices``
    counts the labels there are.
    """
    other = (1 - RIGHT_BEFOREHAND) / (choices - 1)
    total = RIGHT_BEFOREHAND * own + other * (1 - own)
    return RIGHT_BEFOREHAND * own / total, other * theirs / total


def choose_threshold(confidences: Sequence[float], keep: float, most: float = MOST_CHOSEN) -> float:
    """The confidence below which rows are doubted, so that ``keep`` of right rows to come are not.

    ``confidences`` are those of gold, whose labels are right. Of n such rows k are given up, rows of equal confidence
    together or not at all; the threshold is half way from the last of them (0 without any) to the first that is kept.
    Of right rows to come it loses about (k + 1/2) / (n + 1) (order statistics), so k is the most for which that is
    within 1 - ``keep``. Any value in between keeps the same gold. The highest would doubt all new rows that are just
    below the worst gold kept: with 25 gold rows of which all agree, every row on which the judge errs once. Never above
    ``most``; 0 without gold.
    """
    ordered = sorted(confidences)
    if not ordered:
        return 0.0
    # A little more, for shares as 1 - 0.9, which are a little less than they should be.
    lost = max(0, min(math.floor((1 - keep) * (len(ordered) + 1) - 0.5 + 1e-9), len(ordered) - 1))
    while lost and ordered[lost - 1] == ordered[lost]:
        lost -= 1
    below = ordered[lost - 1] if lost else 0.0
    return min(most, (below + ordered[lost]) / 2)
