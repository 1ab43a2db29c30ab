"""What all assets of a task share: key, group, kinds, partition.

Belongs here: naming, and declaring an asset with what it shares. Does not belong here: what an asset does.
"""

from collections.abc import Callable, Sequence
from typing import Any

import dagster as dg

from s3_assets.assets.shown import Events, declaration, describe
from s3_assets.loop.fingerprints import GOLD
from s3_assets.partitions import rounds
from s3_assets.tasks.load import Task


def asset_key(task: Task, name: str) -> dg.AssetKey:
    """``<task>/<name>``; the name is also the table."""
    return dg.AssetKey([task.name, name])


def task_asset(
    task: Task, name: str, sentence: str, upstream: Sequence[str], kinds: set[str], checks: Sequence[str] = ()
) -> Callable[[Callable[..., Events]], dg.AssetsDefinition]:
    """Decorator for the asset ``name`` of a task; partitioned by round unless it is gold.

    ``checks`` are blocking: what depends on the asset is not made when one fails.
    """
    decorate: Callable[[Callable[..., Any]], dg.AssetsDefinition] = dg.asset(
        name=name,
        key_prefix=task.name,
        deps=[asset_key(task, above) for above in upstream],
        partitions_def=None if name == GOLD else rounds(task),
        group_name=task.name,
        kinds={"parquet", *kinds},
        tags={"s3/kind": task.spec.kind, "s3/strategy": task.spec.strategy},
        description=describe(name, sentence),
        metadata=declaration(name),
        check_specs=[dg.AssetCheckSpec(check, asset=asset_key(task, name), blocking=True) for check in checks] or None,
    )
    return decorate
