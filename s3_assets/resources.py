"""Dagster resources: what assets are given from outside.

Belongs here: configurable handles. Does not belong here: the store itself (``store/``).
"""

from pathlib import Path

import dagster as dg

from s3_assets import settings
from s3_assets.store.catalog import ensure_catalog
from s3_assets.store.parts import Warehouse


class WarehouseResource(dg.ConfigurableResource[Warehouse]):
    """The folder of Parquet parts. Empty ``path``: ``S3_ASSETS_WAREHOUSE``, or ``data/warehouse`` in the project."""

    path: str = ""

    def open(self) -> Warehouse:
        """The warehouse, with its DuckDB catalog in place."""
        warehouse = Warehouse(Path(self.path)) if self.path else settings.warehouse()
        ensure_catalog(warehouse)
        return warehouse
