"""What all assets of a task share: key, group, kinds, partition.

Belongs here: naming, and declaring an asset and its checks with what they share. Does not belong here: what an asset
does.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dagster as dg

from s3_assets.assets.shown import Events, declaration, describe
from s3_assets.loop import quality_checks as quality
from s3_assets.loop.checks import BLOCKING, EVERY_CLASS, LABELS_KNOWN, NO_GOLD_TEXT
from s3_assets.loop.fingerprints import EXPERIMENT, LEADERBOARD, REPORT
from s3_assets.partitions import partitions_of
from s3_assets.quality.overlap import GRAM, HELD_OUT_OVERLAP
from s3_assets.store.tables import tables
from s3_assets.tasks.load import Task

# Tag of the runs that one `s3-assets run` makes.
COMMAND_TAG = "s3/command"

# For descriptions: the numbers of the steps that ask the teacher.
TEACHER_NUMBERS = (
    "`rejected_rows` were refused by a gate and are in the table `rejected`; `shortfall` counts rows asked for that "
    "never came. `teacher_calls` were paid for; requests answered before come from the ledger."
)

CHECK_DESCRIPTIONS = {
    LABELS_KNOWN: "Every label is one that the task declares.",
    NO_GOLD_TEXT: (
        "No row is a gold text, case and whitespace aside, and none overlaps the text of selecting or test gold: "
        f"{GRAM} words in a row, or {HELD_OUT_OVERLAP:.0%} of their words (Jaccard)."
    ),
    EVERY_CLASS: "Every label has rows to train on.",
    quality.MOST_ACCEPTED: (
        f"At least {quality.LEAST_ACCEPTED:.0%} of the rows that came to the gates in this step passed them. "
        "Else prompt, teacher or gates need a look: the table `rejected` has every refused row with its reason."
    ),
    quality.LABELS_BALANCED: "No label has less than a third of an even share of the rows.",
    quality.LENGTHS_LIKE_GOLD: (
        f"The median row has no more than {quality.MEDIAN_WITHIN:g} times the words of steering gold's and no fewer "
        f"than 1/{quality.MEDIAN_WITHIN:g}, and at most {quality.MOST_OUTSIDE:.0%} more rows than sampling explains "
        "are shorter or longer than any of steering gold."
    ),
    quality.FEW_NEAR_DUPLICATES: (
        f"At most {quality.MOST_NEAR:.0%} of the rows share {quality.NEAR:.0%} of their words (Jaccard) with an "
        "earlier row."
    ),
    quality.LABELS_AGREED: (
        f"At least {quality.LEAST_AGREED:.0%} of second opinions on labels agree with them: the teacher's first answer "
        "when asked blind, or else the ensemble of students. The table `verdicts` has them."
    ),
    quality.NO_SHORTCUTS: (
        "No simple rule (a first character, a word, a length) tells the label far better than in steering gold. "
        "The table `shortcuts` has those that do."
    ),
    quality.SPLITS_APART: (
        f"No row of selecting or test gold shares {quality.NEAR:.0%} of its words (Jaccard) with a steering row. Where "
        "one does, figures on it are flattering."
    ),
    quality.BEATS_MAJORITY: "The student is right on held-out gold more often than by naming its commonest label.",
}

# What Dagster says of `partitions_def` on a check. Drop it, and its filter, when test_upstream.py finds it gone.
CHECK_PARTITIONS_WARNING = "Specifying a partitions_def on an AssetCheckSpec is currently in preview"


def asset_key(task: Task, name: str) -> dg.AssetKey:
    """``<task>/<name>``; the name is also the table, if the asset has one."""
    return dg.AssetKey([task.name, name])


def group_of(task: Task, name: str) -> str:
    """The task's loop is one group, so that all of it can be materialized for a round; what compares is another."""
    return f"{task.name}_compared" if name in (EXPERIMENT, LEADERBOARD, REPORT) else task.name


def paying_run(context: dg.AssetExecutionContext) -> str:
    """What ``budget.per_run`` is counted by: the backfill, the command, or else the run."""
    tags = context.run.tags
    return tags.get("dagster/backfill") or tags.get(COMMAND_TAG) or context.run.run_id


def task_asset(
    task: Task,
    name: str,
    text: str,
    upstream: Sequence[str],
    kinds: set[str],
    checks: Sequence[str] = (),
    op_tags: Mapping[str, Any] | None = None,
) -> Callable[[Callable[..., Events]], dg.AssetsDefinition]:
    """Decorator for the asset ``name`` of a task, with the partitions of that asset.

    ``checks`` names its checks, which are about the same partitions. ``op_tags`` are tags of its step, by which an
    executor may place it.
    """
    decorate: Callable[[Callable[..., Any]], dg.AssetsDefinition] = dg.asset(
        name=name,
        key_prefix=task.name,
        deps=[asset_key(task, above) for above in upstream],
        partitions_def=partitions_of(task, name),
        group_name=group_of(task, name),
        kinds={"parquet", *kinds} if name in tables() else kinds,
        op_tags=op_tags,
        tags={"s3/kind": task.spec.kind, "s3/strategy": task.spec.strategy},
        description=describe(task, name, text),
        metadata=declaration(name),
        check_specs=[_check_spec(task, name, check) for check in checks],
    )
    return decorate


def _check_spec(task: Task, name: str, check: str) -> dg.AssetCheckSpec:
    """A check of the asset ``name``. What depends on the asset is not made when a blocking one fails."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=CHECK_PARTITIONS_WARNING, category=dg.PreviewWarning)
        return dg.AssetCheckSpec(
            check,
            asset=asset_key(task, name),
            description=CHECK_DESCRIPTIONS[check],
            blocking=check in BLOCKING,
            partitions_def=partitions_of(task, name),
        )
