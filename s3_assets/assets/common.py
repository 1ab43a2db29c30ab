"""What all assets of a task share: key, group, kinds, partition.

Belongs here: naming, and declaring an asset with what it shares. Does not belong here: what an asset does.
"""

from collections.abc import Callable, Sequence
from typing import Any

import dagster as dg

from s3_assets.assets.shown import Events, declaration, describe
from s3_assets.loop.checks import EVERY_CLASS, LABELS_KNOWN, NO_GOLD_TEXT
from s3_assets.loop.fingerprints import EXPERIMENT, LEADERBOARD
from s3_assets.partitions import partitions_of
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
    NO_GOLD_TEXT: "No row is a gold text, case and whitespace aside.",
    EVERY_CLASS: "Every label has rows to train on.",
}


def asset_key(task: Task, name: str) -> dg.AssetKey:
    """``<task>/<name>``; the name is also the table."""
    return dg.AssetKey([task.name, name])


def group_of(task: Task, name: str) -> str:
    """The task's loop is one group, so that all of it can be materialized for a round; comparing is another."""
    return f"{task.name}_compared" if name in (EXPERIMENT, LEADERBOARD) else task.name


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
) -> Callable[[Callable[..., Events]], dg.AssetsDefinition]:
    """Decorator for the asset ``name`` of a task, with the partitions of that asset.

    ``checks`` are blocking: what depends on the asset is not made when one fails.
    """
    decorate: Callable[[Callable[..., Any]], dg.AssetsDefinition] = dg.asset(
        name=name,
        key_prefix=task.name,
        deps=[asset_key(task, above) for above in upstream],
        partitions_def=partitions_of(task, name),
        group_name=group_of(task, name),
        kinds={"parquet", *kinds},
        tags={"s3/kind": task.spec.kind, "s3/strategy": task.spec.strategy},
        description=describe(task, name, text),
        metadata=declaration(name),
        check_specs=[
            dg.AssetCheckSpec(check, asset=asset_key(task, name), description=CHECK_DESCRIPTIONS[check], blocking=True)
            for check in checks
        ],
    )
    return decorate
