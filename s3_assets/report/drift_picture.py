"""Drift by round as small pictures, one for each metric.

Belongs here: drawing rows of table ``drift``, for the page one by one and for the Dagster UI all in one. Does not
belong here: measuring (``drift/``).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from s3_assets.drift.names import GOLD_STEER
from s3_assets.report.drawing import new_figure, plain_axes, round_ticks
from s3_assets.report.palette import BLUE, INK, QUIET, SMALL_SIZE, TEXT_SIZE, VERMILION

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Metrics in the order they are shown, with their names; others follow under their own.
METRICS = {
    "label_js": "labels, Jensen-Shannon, bits",
    "length_wasserstein": "lengths, Wasserstein, words",
    "vocabulary_js": "vocabulary, Jensen-Shannon, bits",
    "oov_share": "words never written, share",
    "distinct_1": "distinct words, share",
    "distinct_2": "distinct word pairs, share",
    "mmd2": "MMD², unbiased",
    "frechet": "Fréchet distance",
    "coverage": "coverage of the reference",
    "density": "density around the reference",
    "c2st_auc": "two-sample classifier, AUC",
    "vendi": "Vendi score",
}
# Where rows are most like the reference: low values, high ones, or those of the floor.
_LOW, _HIGH, _FLOOR = "lower is nearer", "higher is nearer", "nearest at the line"
NEARER = {
    **dict.fromkeys(
        ("label_js", "length_wasserstein", "vocabulary_js", "oov_share", "mmd2", "frechet", "c2st_auc"), _LOW
    ),
    "coverage": _HIGH,
    **dict.fromkeys(("density", "distinct_1", "distinct_2", "vendi"), _FLOOR),
}
# Not drawn: a p value beside distances is read as one.
TABLE_ONLY = ("mmd2_p",)

# Where axes begin, 0 for others: of an AUC a little below 0.5, which is guessing.
_LOWEST = {"c2st_auc": 0.45}
# Inches; above axes there is room for two lines.
_COLUMNS, _PANEL, _HEIGHT, _ABOVE, _BELOW = 3, 2.4, 1.9, 0.46, 0.36


def metrics_of(rows: pl.DataFrame, reference: str = GOLD_STEER) -> list[str]:
    """Metrics that can be drawn from ``rows`` (table drift), in order."""
    there = set(overall(rows, reference)["metric"]) - set(TABLE_ONLY)
    return [*(name for name in METRICS if name in there), *sorted(there - set(METRICS))]


def overall(rows: pl.DataFrame, reference: str) -> pl.DataFrame:
    """Rows over all labels against one reference, by round, without values that are missing."""
    chosen = rows.filter(pl.col("label").is_null(), pl.col("reference") == reference, pl.col("value").is_not_null())
    return chosen.sort("round")


def drift_figure(rows: pl.DataFrame, reference: str = GOLD_STEER) -> "Figure":
    """All metrics of table drift's ``rows`` by round, three in a row. ``ValueError`` when there are none."""
    names = metrics_of(rows, reference)
    if not names:
        raise ValueError(f"no metric of drift against {reference} to draw")
    lines = -(-len(names) // _COLUMNS)
    height = lines * _HEIGHT + 0.3
    figure = new_figure(height)
    for place, metric in enumerate(names):
        down, across = divmod(place, _COLUMNS)
        bottom = (height - (down + 1) * _HEIGHT + _BELOW) / height
        _panel(
            figure.add_axes(((across + 0.2) / _COLUMNS, bottom, 0.74 / _COLUMNS, (_HEIGHT - _ABOVE - _BELOW) / height)),
            rows,
            metric,
            reference,
        )
    figure.text(
        0.02,
        0.06 / height,
        "By round. Bars: 95% intervals. Dashed: what one half of the reference scores against the other.",
        fontsize=SMALL_SIZE,
        color=QUIET,
    )
    return figure


def panel_figure(rows: pl.DataFrame, metric: str, reference: str = GOLD_STEER) -> "Figure":
    """One metric by round, a third as wide as other pictures."""
    figure = new_figure(_HEIGHT, _PANEL)
    _panel(
        figure.add_axes((0.2, _BELOW / _HEIGHT, 0.74, (_HEIGHT - _ABOVE - _BELOW) / _HEIGHT)), rows, metric, reference
    )
    return figure


def _panel(axes: "Axes", rows: pl.DataFrame, metric: str, reference: str) -> None:
    mine = overall(rows, reference).filter(pl.col("metric") == metric).to_dicts()
    plain_axes(axes, "y")
    axes.tick_params(labelsize=SMALL_SIZE)
    rounds = [row["round"] for row in mine]
    for row in mine:
        if row["ci_low"] is not None and row["ci_high"] is not None:
            axes.plot([row["round"]] * 2, [row["ci_low"], row["ci_high"]], color=BLUE, linewidth=1.2)
    axes.plot(rounds, [row["value"] for row in mine], color=BLUE, marker="o", markersize=4.5, linewidth=1.4)
    floors = [(row["round"], row["floor"]) for row in mine if row["floor"] is not None]
    for round_, floor in floors:
        # The floor of a round may be another one: halves are as large as what was measured.
        axes.plot([round_ - 0.5, round_ + 0.5], [floor, floor], color=VERMILION, linestyle="--", linewidth=1.3)
    ends: Sequence[float] = [
        row[name] for row in mine for name in ("value", "ci_low", "ci_high", "floor") if row[name] is not None
    ]
    lowest = min(_LOWEST.get(metric, 0.0), *ends)
    room = 0.1 * (max(ends) - lowest) or 0.1
    axes.set_ylim(lowest - (room if lowest < _LOWEST.get(metric, 0.0) else 0), max(ends) + room)
    axes.locator_params(axis="y", nbins=4)
    round_ticks(axes, rounds, room=0.5)
    axes.set_title(METRICS.get(metric, metric), fontsize=TEXT_SIZE, color=INK, loc="left", x=-0.24, pad=17)
    axes.annotate(
        NEARER.get(metric, ""),
        (-0.24, 1),
        xycoords="axes fraction",
        xytext=(0, 6),
        textcoords="offset points",
        fontsize=SMALL_SIZE,
        color=QUIET,
    )
