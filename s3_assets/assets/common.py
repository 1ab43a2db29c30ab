"""What all assets of a task share: key, group, kinds, partition.

Belongs here: naming and the keyword arguments of ``dg.asset``. Does not belong here: what an asset does.
"""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from s3_assets.assets.shown import declaration, describe
from s3_assets.partitions import rounds
from s3_assets.tasks.load import Task


def asset_key(task: Task, name: str) -> dg.AssetKey:
    """``<task>/<name>``; the name is also the table."""
    return dg.AssetKey([task.name, name])


def asset_arguments(
    task: Task, name: str, sentence: str, upstream: Sequence[str], kinds: set[str], checks: Sequence[str] = ()
) -> dict[str, Any]:
    """Arguments of ``dg.asset`` for the asset ``name``; partitioned by round unless it is gold."""
    key = asset_key(task, name)
    return {
        "name": name,
        "key_prefix": task.name,
        "deps": [asset_key(task, above) for above in upstream],
        "partitions_def": None if name == "gold" else rounds(task),
        "group_name": task.name,
        "kinds": {"parquet", *kinds},
        "tags": {"s3/kind": task.spec.kind, "s3/strategy": task.spec.strategy},
        "description": describe(name, sentence),
        "metadata": declaration(name),
        "check_specs": [dg.AssetCheckSpec(check, asset=key, blocking=True) for check in checks] or None,
    }
