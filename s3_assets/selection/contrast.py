"""The row that looks like another and has another label.

Belongs here: finding it among steering gold. Does not belong here: how it is shown (``prompting/``), vectors of rows
(``drift/vectors.py``).
"""

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

import polars as pl

from s3_assets.selection.clusters import DECIMALS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def contrasts(
    ids: Iterable[str],
    steer: pl.DataFrame,
    vectors: "NDArray[np.float32]",
    wrong: Collection[str] = (),
    folds: Mapping[str, int] | None = None,
) -> dict[str, str]:
    """By gold id, the nearest row of ``steer`` with another label, those of ``wrong`` (gold ids) passed over.

    Contrasting examples of the teacher are as in Gardner et al. 2020, Evaluating Models' Local Decision Boundaries via
    Contrast Sets. ``steer`` (columns gold_id, label) is all of steering gold that may be shown; ``vectors``, in its
    order, are of length 1, so that their product is the cosine. With ``folds`` the row is of the same fold: a row's
    judges are trained without what was written from rows of its fold, and so without what shows it as a contrast. Rows
    that have no such neighbour are left out.
    """
    import numpy as np

    names, labels = steer["gold_id"].to_list(), steer["label"].to_numpy()
    place = {gold_id: number for number, gold_id in enumerate(names)}
    passed_over = set(wrong)
    right = np.array([gold_id not in passed_over for gold_id in names], bool)
    fold = np.array([(folds or {}).get(gold_id, 0) for gold_id in names])
    found: dict[str, str] = {}
    for gold_id in ids:
        own = place[gold_id]
        able = np.flatnonzero(right & (labels != labels[own]) & (fold == fold[own]))
        if able.size:
            # Rounded, or the last digits of a sum would decide between neighbours that are alike.
            alike = np.round(vectors[able] @ vectors[own], DECIMALS)
            found[gold_id] = names[int(able[int(np.argmax(alike))])]
    return found
