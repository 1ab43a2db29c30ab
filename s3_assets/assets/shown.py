"""What the Dagster UI shows of a step: metadata, checks, failures.

Belongs here: the step from plain results and errors to Dagster's events. Does not belong here: doing steps
(``loop/``) or declaring assets (the modules beside this one).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
import polars as pl

from s3_assets.loop.checks import ChecksFailed
from s3_assets.loop.publish import StepResult
from s3_assets.loop.state import NotReady
from s3_assets.store.tables import table
from s3_assets.tasks.load import TaskError
from s3_assets.teacher.client import TeacherUnavailable
from s3_assets.teacher.session import BudgetExhausted

SAMPLE_ROWS = 5
LONGEST_CELL = 160

# Errors whose message already says what, where and what to do.
_EXPLAINED = (NotReady, TaskError, TeacherUnavailable, BudgetExhausted)

_TYPES = {pl.String: "string", pl.Int64: "int", pl.Float64: "float", pl.Boolean: "bool"}


class StepConfig(dg.Config):
    """Run configuration of a step."""

    force: bool = False


Events = Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]


def run_step(
    context: dg.AssetExecutionContext,
    step: Callable[[], StepResult],
    extra: Callable[[StepResult], Mapping[str, Any]] | None = None,
    sample: Sequence[str] = (),
) -> Events:
    """Do a step and yield what Dagster records: each check, then the materialization with its metadata.

    ``sample`` names the columns of the sample table. Known errors become ``dg.Failure`` with the same message.
    """
    try:
        result = step()
    except ChecksFailed as error:
        for check in error.checks:
            yield dg.AssetCheckResult(
                passed=check.passed,
                check_name=check.name,
                asset_key=context.asset_key,
                metadata={"detail": check.detail},
            )
        raise dg.Failure(str(error), allow_retries=False) from error
    except _EXPLAINED as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    for check in result.checks:
        yield dg.AssetCheckResult(
            passed=check.passed, check_name=check.name, asset_key=context.asset_key, metadata={"detail": check.detail}
        )
    metadata: dict[str, Any] = {
        "dagster/partition_row_count" if context.has_partition_key else "dagster/row_count": result.rows.height,
        "part": str(result.part.path),
        "reused": result.reused,
        **result.numbers,
    }
    if sample and not result.rows.is_empty():
        metadata["sample"] = dg.MetadataValue.md(markdown_table(result.rows.select(sample).head(SAMPLE_ROWS)))
    if extra is not None:
        metadata |= extra(result)
    yield dg.MaterializeResult(
        asset_key=context.asset_key, metadata=metadata, data_version=dg.DataVersion(result.part.data_version)
    )


def declaration(name: str) -> dict[str, Any]:
    """Metadata that belongs to the asset itself: its table and columns."""
    columns = [
        dg.TableColumn(column.name, _TYPES.get(column.dtype, "timestamp"), column.comment)
        for column in table(name).columns
    ]
    return {"dagster/column_schema": dg.TableSchema(columns), "dagster/table_name": name}


def describe(name: str, sentence: str) -> str:
    """Asset description: one sentence, then the columns of its table."""
    columns = "\n".join(f"- `{column.name}`: {column.comment}" for column in table(name).columns)
    return f"{sentence}\n\nTable `{name}` in DuckDB:\n\n{columns}"


def markdown_table(rows: pl.DataFrame) -> str:
    """A small frame as a Markdown table; long cells are cut."""
    head = f"| {' | '.join(rows.columns)} |\n|{'---|' * rows.width}"
    return "\n".join([head, *(f"| {' | '.join(map(_cell, row))} |" for row in rows.iter_rows())])


def confusion_table(predictions: pl.DataFrame, labels: Sequence[str]) -> str:
    """Gold labels by predicted labels, as counts, in Markdown."""
    counts = predictions.group_by("label", "prediction").len().rows()
    cells = {(label, prediction): count for label, prediction, count in counts}
    rows = [{"gold \\ predicted": gold, **{label: cells.get((gold, label), 0) for label in labels}} for gold in labels]
    return markdown_table(pl.DataFrame(rows))


def _cell(value: Any) -> str:
    text = f"{value:.3f}" if isinstance(value, float) else "" if value is None else str(value)
    shown = text if len(text) <= LONGEST_CELL else text[: LONGEST_CELL - 1] + "…"
    return shown.replace("|", "\\|").replace("\n", " ")
