"""The same graph as the product's code location, with assets that do nothing: what Dagster alone takes.

Belongs here: assets with the keys, dependencies, partitions, checks, resource and description that ``overhead.py``
wrote down. Does not belong here: any import of the product, whose cost is what is measured.
"""

import atexit
import gc
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg


class EmptyWarehouse(dg.ConfigurableResource):  # type: ignore[type-arg]
    path: str = ""


class EmptyConfig(dg.Config):
    force: bool = False


def _asset(declared: dict[str, Any]) -> dg.AssetsDefinition:
    key = dg.AssetKey(declared["key"])
    columns = [dg.TableColumn(*column) for column in declared["columns"]]

    @dg.asset(
        key=key,
        deps=[dg.AssetKey(above) for above in declared["deps"]],
        partitions_def=dg.StaticPartitionsDefinition(declared["partitions"]) if declared["partitions"] else None,
        group_name=declared["group"],
        kinds=set(declared["kinds"]),
        tags=declared["tags"],
        description=declared["description"],
        metadata={"dagster/column_schema": dg.TableSchema(columns)},
        check_specs=[dg.AssetCheckSpec(name, asset=key, blocking=True) for name in declared["checks"]] or None,
    )
    def empty(
        context: dg.AssetExecutionContext, config: EmptyConfig, warehouse: EmptyWarehouse
    ) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]:
        del config, warehouse
        for name in declared["checks"]:
            yield dg.AssetCheckResult(passed=True, check_name=name, asset_key=context.asset_key)
        yield dg.MaterializeResult(asset_key=context.asset_key)

    return empty


@dg.definitions
def defs() -> dg.Definitions:
    if os.environ["OVERHEAD_LEAVE_QUICKLY"]:
        atexit.register(gc.freeze)
    declared = json.loads(Path(os.environ["OVERHEAD_GRAPH"]).read_text())
    return dg.Definitions(assets=[_asset(one) for one in declared], resources={"warehouse": EmptyWarehouse()})
