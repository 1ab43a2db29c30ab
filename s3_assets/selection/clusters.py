"""Groups of errors that are alike.

Belongs here: grouping by vectors. Does not belong here: vectors of rows (``drift/vectors.py``), what groups are for
(``choose.py``, ``generation/diagnosis.py``).
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Starts of k-means, of which the best is taken.
STARTS = 4

# Of vectors and similarities: digits after these differ between machines, batches and threads.
DECIMALS = 6


def clusters(ids: Sequence[str], vectors: "NDArray[np.float32]", seed: int) -> dict[str, int]:
    """Group of each of ``ids``, from 0: k-means on ``vectors`` of shape (ids, width), sqrt(n / 2) groups or one.

    The number of groups is the rule of thumb of Mardia, Kent and Bibby 1979, Multivariate Analysis. The same arguments
    give the same groups.
    """
    count = group_count(len(ids))
    if count <= 1:
        return dict.fromkeys(ids, 0)
    import numpy as np
    from sklearn.cluster import KMeans  # 2 s
    from threadpoolctl import threadpool_limits

    places = np.round(vectors.astype(np.float64), DECIMALS)
    distinct = len(np.unique(places, axis=0))
    # Sums by several threads differ in their last digits from run to run.
    with threadpool_limits(1):
        found = KMeans(min(count, distinct), n_init=STARTS, random_state=seed).fit_predict(places)
    return dict(zip(ids, map(int, found), strict=True))


def group_count(rows: int) -> int:
    """How many groups so many rows are divided into."""
    return max(1, round(math.sqrt(rows / 2)))
