"""The report's sections on drift: from steering gold, and of new rows from older ones.

Belongs here: what is said of the rows of table ``drift``. Does not belong here: other sections (``sections.py``),
drawing (``drift_picture.py``), measuring (``drift/``).
"""

import polars as pl

from s3_assets.drift.names import GOLD_STEER, ROUNDS_BEFORE
from s3_assets.report.blocks import Block, DataTable, Picture, measured, number
from s3_assets.report.drawing import svg
from s3_assets.report.drift_picture import METRICS, metrics_of, overall, panel_figure
from s3_assets.report.facts import Facts

_MADE_OF = {
    GOLD_STEER: "seed set against steering gold",
    ROUNDS_BEFORE: "new rows against older ones",
}


def drift(facts: Facts) -> Block:
    """Drift from steering gold, and of new rows from older ones, with floors."""
    says = (
        "How far the seed set of each round is from steering gold, by metric. Bars are 95% intervals where there are "
        "any; the dashed line is the floor: what one half of gold scores against the other. Distances above it are "
        "more than sampling explains. Coverage and density are worse below it, and so is diversity (distinct words, "
        "Vendi score): there the floor is what gold itself reaches."
    )
    names = metrics_of(facts.drift)
    if not names:
        left_out = f"No round has drift; `s3-assets run {facts.task.name}` or the asset drift measures it."
        return Block("drift", "Drift by round", says, left_out=left_out)
    pictures = [_drift_picture(facts.drift, name, GOLD_STEER) for name in names]
    rows = facts.drift.sort("reference", "metric", pl.col("label").fill_null(""), "round").to_dicts()
    columns = (
        "metric",
        "compared",
        "label",
        "round",
        "value",
        "95% from",
        "to",
        "floor",
        "rows of the reference",
        "rows compared",
    )
    table = DataTable(
        "Drift by metric, label and round",
        columns,
        [
            [
                row["metric"],
                _MADE_OF.get(row["reference"], row["reference"]),
                row["label"] or "all",
                str(row["round"]),
                *(measured(row[name]) for name in ("value", "ci_low", "ci_high", "floor")),
                number(row["n_ref"]),
                number(row["n_syn"]),
            ]
            for row in rows
        ],
        words=frozenset(("compared", "label")),
    )
    return Block("drift", "Drift by round", says, pictures, [table])


def novelty(facts: Facts) -> Block | None:
    """Drift of the rows a round added from those before; None where it is not measured."""
    names = metrics_of(facts.drift, ROUNDS_BEFORE)
    if not names:
        return None
    says = (
        "The same metrics between the rows that a round added and all rows before them: whether a round brought "
        "something else. The numbers are in the table above."
    )
    return Block(
        "novelty",
        "New rows against older ones",
        says,
        [_drift_picture(facts.drift, name, ROUNDS_BEFORE) for name in names],
    )


def _drift_picture(rows: pl.DataFrame, metric: str, reference: str) -> Picture:
    mine = overall(rows, reference).filter(pl.col("metric") == metric).to_dicts()
    spoken = "; ".join(
        f"round {row['round']}: {measured(row['value'])}, floor {measured(row['floor'])}" for row in mine
    )
    title = f"{METRICS.get(metric, metric)}: {_MADE_OF[reference]}"
    name = f"drift-{reference}-{metric}".replace("_", "-")
    return Picture(svg(panel_figure(rows, metric, reference), name, title, spoken), small=True)
