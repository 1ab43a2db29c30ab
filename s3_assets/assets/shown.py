"""What the Dagster UI shows of a step: metadata, checks, failures.

Belongs here: the step from plain results and errors to Dagster's events. Does not belong here: doing steps
(``loop/``) or declaring assets (the modules beside this one).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from s3_assets.loop.checks import Check, ChecksFailed
from s3_assets.loop.fingerprints import ROUND_ASSETS
from s3_assets.loop.publish import StepResult
from s3_assets.loop.state import NotReady
from s3_assets.store.tables import tables
from s3_assets.student.errors import StudentError
from s3_assets.student.weights import WeightsError
from s3_assets.tasks.load import Task, TaskError
from s3_assets.teacher.attempts import NotInLedger, TooManyUnusable
from s3_assets.teacher.budget import BudgetExhausted
from s3_assets.teacher.reply import TeacherUnavailable

SAMPLE_ROWS = 5
LONGEST_CELL = 160

# Dagster shows Markdown of 1,000 characters and more behind a link.
LONGEST_SAMPLE = 999

# With more labels than this, a confusion table lists the commonest confusions instead of all pairs.
LARGEST_MATRIX = 12
COMMONEST = 20

# Errors whose message already says what, where and what to do.
_EXPLAINED = (
    NotReady,
    TaskError,
    TeacherUnavailable,
    TooManyUnusable,
    NotInLedger,
    BudgetExhausted,
    WeightsError,
    StudentError,
)

_TYPES = {pl.String: "string", pl.Int64: "int", pl.Float64: "float", pl.Boolean: "bool"}


class StepConfig(dg.Config):
    """Run configuration of a step."""

    force: bool = Field(False, description="Do the step even if its part is live and built from the same inputs.")


Events = Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]


def run_step(
    context: dg.AssetExecutionContext,
    step: Callable[[], StepResult],
    extra: Callable[[StepResult], Mapping[str, Any]] | None = None,
    sample: Sequence[str] = (),
) -> Events:
    """Do a step and yield what Dagster records: the materialization with its metadata, and each check.

    ``sample`` names the columns of the sample table. Known errors become ``dg.Failure`` with the same message.
    """
    try:
        result = step()
    except ChecksFailed as error:
        for check in error.checks:
            yield _check_result(context, check)
        raise dg.Failure(str(error), allow_retries=False) from error
    except _EXPLAINED as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    # Asked of the asset, not of the run: gold made together with a round is in a run with a partition.
    by_round = context.assets_def.partitions_def is not None
    metadata: dict[str, Any] = {
        "dagster/partition_row_count" if by_round else "dagster/row_count": result.rows.height,
        # The row count under another name.
        **{name: _rounded(value) for name, value in result.numbers.items() if name != "rows"},
    }
    if sample and not result.rows.is_empty():
        metadata["sample"] = sample_table(result.rows.select(sample))
    if extra is not None:
        metadata |= {name: _rounded(value) for name, value in extra(result).items()}
    # The name alone: the table cannot wrap a path and would push the sample out of sight.
    metadata |= {"reused": result.reused, "part": result.part.path.name}
    yield dg.MaterializeResult(
        asset_key=context.asset_key,
        metadata=metadata,
        data_version=dg.DataVersion(result.part.data_version),
        # With it and not before it: of a check made before the newest materialization a partition shows no status.
        check_results=[_check_result(context, check) for check in result.checks],
    )


def declaration(name: str) -> dict[str, Any]:
    """Metadata that belongs to the asset itself: its columns, if it has a table.

    No ``dagster/table_name``: it must be unique, and assets of all tasks share a table; Dagster would link them.
    """
    if name not in tables():
        return {}
    columns = [
        dg.TableColumn(column.name, _TYPES.get(column.dtype, "timestamp"), column.comment)
        for column in tables()[name].columns
    ]
    return {"dagster/column_schema": dg.TableSchema(columns)}


def describe(task: Task, name: str, text: str) -> str:
    """Asset description: what it is, then the query that shows its rows. The UI lists the columns itself."""
    if name not in tables():
        return text
    own = f" and arm = '{task.spec.strategy}' and seed = {task.spec.seed}" if name in ROUND_ASSETS else ""
    return f"{text}\n\nIn DuckDB: `select * from {name} where task = '{task.name}'{own}`"


def sample_table(rows: pl.DataFrame) -> dg.MarkdownMetadataValue:
    """At most five rows, evenly from first to last, fewer where Dagster would not show them at once.

    Sets begin with one label, and what a round added stands at their end.
    """
    for count in range(min(SAMPLE_ROWS, rows.height), 1, -1):
        shown = markdown_table(rows[[place * (rows.height - 1) // (count - 1) for place in range(count)]])
        if len(shown) <= LONGEST_SAMPLE:
            return dg.MetadataValue.md(shown)
    return dg.MetadataValue.md(markdown_table(rows.head(1)))


def markdown_table(rows: pl.DataFrame) -> str:
    """A small frame as a Markdown table; long cells are cut."""
    head = f"| {' | '.join(rows.columns)} |\n|{'---|' * rows.width}"
    return "\n".join([head, *(f"| {' | '.join(map(_cell, row))} |" for row in rows.iter_rows())])


def counts_table(
    rows: pl.DataFrame, down: str, across: str, downs: Sequence[str], acrosses: Sequence[str], corner: str
) -> str:
    """Rows counted by the columns ``down`` and ``across``, in Markdown."""
    cells = {(first, second): count for first, second, count in rows.group_by(down, across).len().rows()}
    return markdown_table(
        pl.DataFrame([{corner: one, **{two: cells.get((one, two), 0) for two in acrosses}} for one in downs])
    )


def confusion_table(predictions: pl.DataFrame, labels: Sequence[str]) -> str:
    """Gold labels by predicted labels, as counts, in Markdown; with many labels the commonest confusions."""
    if len(labels) <= LARGEST_MATRIX:
        return counts_table(predictions, "label", "prediction", labels, labels, "gold \\ predicted")
    wrong = predictions.filter(~pl.col("correct")).group_by("label", "prediction").len("rows")
    return markdown_table(wrong.sort(["rows", "label", "prediction"], descending=[True, False, False]).head(COMMONEST))


def _check_result(context: dg.AssetExecutionContext, check: Check) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=check.passed,
        check_name=check.name,
        asset_key=context.asset_key,
        severity=dg.AssetCheckSeverity.ERROR if check.blocking else dg.AssetCheckSeverity.WARN,
        metadata={"detail": check.detail, **{name: _rounded(number) for name, number in check.numbers.items()}},
    )


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


def _cell(value: Any) -> str:
    text = f"{value:.3f}" if isinstance(value, float) else "" if value is None else str(value)
    shown = text if len(text) <= LONGEST_CELL else text[: LONGEST_CELL - 1] + "…"
    return shown.replace("|", "\\|").replace("\n", " ")
