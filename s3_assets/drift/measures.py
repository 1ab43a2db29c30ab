"""How far a round's seed set is from gold, in numbers that need no model.

Belongs here: distances between two sets of labelled texts, with the floor that sampling alone explains. Does not
belong here: where they are stored (``loop/steps.py``, table ``drift``).
"""

import random
import re
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

import polars as pl

GOLD_STEER = "gold_steer"

# Random halvings of the reference that the floor is averaged over.
HALVINGS = 10

_WORD = re.compile(r"\w+(?:'\w+)?")

_Documents = Sequence[Sequence[str]]

T = TypeVar("T")


def measure_drift(
    synthetic: pl.DataFrame, reference: pl.DataFrame, labels: Sequence[str], seed: int, fields: Sequence[str]
) -> pl.DataFrame:
    """Every metric, over all labels and per label, of ``synthetic`` against ``reference`` (columns ``fields``, label).

    Metrics: ``label_js`` and ``vocabulary_js`` are Jensen-Shannon divergences in bits (0 to 1), ``length_wasserstein``
    is the mean distance between sorted lengths in words, ``oov_share`` the share of the reference's words that the
    synthetic texts never use. ``floor`` is the mean over random halves of the reference, so it overstates the floor at
    full size; interval columns are null.
    """
    rng = random.Random(seed)
    rows = [
        _row(
            "label_js",
            None,
            synthetic,
            reference,
            label_js(synthetic["label"].to_list(), reference["label"].to_list(), labels),
            _floor(reference["label"].to_list(), lambda a, b: label_js(a, b, labels), rng),
        )
    ]
    for label in (None, *labels):
        chosen = [
            frame if label is None else frame.filter(pl.col("label") == label) for frame in (synthetic, reference)
        ]
        if any(frame.is_empty() for frame in chosen):
            continue
        documents = [_documents(frame, fields) for frame in chosen]
        for name, measure in (
            ("length_wasserstein", length_wasserstein),
            ("vocabulary_js", vocabulary_js),
            ("oov_share", oov_share),
        ):
            floor = _floor(documents[1], measure, rng)
            rows.append(_row(name, label, chosen[0], chosen[1], measure(*documents), floor))
    types = {"value": pl.Float64, "floor": pl.Float64, "label": pl.String, "ci_low": pl.Float64, "ci_high": pl.Float64}
    return pl.DataFrame(rows, schema_overrides=types)


def label_js(synthetic: Sequence[str], reference: Sequence[str], labels: Sequence[str]) -> float:
    """Jensen-Shannon divergence of the two label distributions, in bits."""
    return _jensen_shannon(Counter(synthetic), Counter(reference), labels)


def length_wasserstein(synthetic: _Documents, reference: _Documents) -> float:
    """Wasserstein-1 distance of the two distributions of length, in words."""
    from scipy.stats import wasserstein_distance  # about 1 s

    return float(
        wasserstein_distance([len(document) for document in synthetic], [len(document) for document in reference])
    )


def vocabulary_js(synthetic: _Documents, reference: _Documents) -> float:
    """Jensen-Shannon divergence of the two word distributions, in bits."""
    counts = _count(synthetic), _count(reference)
    return _jensen_shannon(*counts, sorted(counts[0].keys() | counts[1].keys()))


def oov_share(synthetic: _Documents, reference: _Documents) -> float:
    """Share of the reference's running words that no synthetic text holds."""
    known, used = set(_count(synthetic)), _count(reference)
    total = used.total()
    return sum(count for word, count in used.items() if word not in known) / total if total else 0.0


def _jensen_shannon(first: Counter[str], second: Counter[str], support: Sequence[str]) -> float:
    from scipy.spatial.distance import jensenshannon

    # SciPy gives the distance, the square root of the divergence.
    return float(jensenshannon([first[word] for word in support], [second[word] for word in support], base=2) ** 2)


def _floor(
    reference: Sequence[T], measure: Callable[[Sequence[T], Sequence[T]], float], rng: random.Random
) -> float | None:
    if len(reference) < 4:
        return None
    values = []
    for _ in range(HALVINGS):
        drawn = rng.sample(list(reference), len(reference))
        values.append(measure(drawn[: len(drawn) // 2], drawn[len(drawn) // 2 :]))
    return statistics.fmean(values)


def _documents(frame: pl.DataFrame, fields: Sequence[str]) -> list[list[str]]:
    return [_WORD.findall(" ".join(texts).lower()) for texts in frame.select(fields).iter_rows()]


def _count(documents: _Documents) -> Counter[str]:
    return Counter(word for document in documents for word in document)


def _row(
    metric: str, label: str | None, synthetic: pl.DataFrame, reference: pl.DataFrame, value: float, floor: float | None
) -> dict[str, object]:
    return {
        "reference": GOLD_STEER,
        "label": label,
        "metric": metric,
        "value": value,
        "ci_low": None,
        "ci_high": None,
        "floor": floor,
        "n_ref": reference.height,
        "n_syn": synthetic.height,
    }
