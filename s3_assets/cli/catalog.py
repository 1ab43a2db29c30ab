"""``s3-assets catalog``. Only the command belongs here; the views are in ``store/``."""

import typer

from s3_assets import settings
from s3_assets.store.catalog import build_catalog


def catalog() -> None:
    """Rebuild the DuckDB catalog (views only), for instance after the warehouse was moved."""
    typer.echo(f"catalog written: {build_catalog(settings.warehouse())}")
