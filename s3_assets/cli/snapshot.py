"""``s3-assets snapshot``. Only the command belongs here; what a snapshot holds is in ``store/snapshot.py``."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from s3_assets import settings


def snapshot(
    file: Annotated[Path, typer.Argument(metavar="FILE.duckdb", help="DuckDB file to write.")],
    task: Annotated[
        list[str] | None, typer.Option("--task", help="Only this task; may be given several times.")
    ] = None,
    without_embeddings: Annotated[
        bool, typer.Option("--without-embeddings", help="Leave the vectors out: nearly all of the size.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,
) -> None:
    """Write the warehouse as it is now to one DuckDB file: native tables, the same views, no other file needed."""
    # duckdb costs 0.2 s: not where --help is asked for.
    import duckdb

    from s3_assets.store.catalog import CatalogError
    from s3_assets.store.snapshot import SnapshotError, write_snapshot

    def tell(name: str, rows: int) -> None:
        if rows:
            typer.echo(f"  {name}: {rows:,} rows")

    try:
        with _leaving_on_terminate():
            made = write_snapshot(
                settings.warehouse(),
                file.expanduser(),
                task or (),
                embeddings=not without_embeddings,
                force=force,
                tell=tell,
            )
    except (CatalogError, SnapshotError, duckdb.Error, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    typer.echo(f"{made.path}: {made.size / 1e6:,.1f} MB, the warehouse as of {made.as_of:%Y-%m-%d %H:%M:%S} UTC")
    typer.echo(
        "It holds the texts of your gold, test rows too, every synthetic row, prompts and raw answers of the teacher: "
        "think of who may read them before you send it."
    )


@contextmanager
def _leaving_on_terminate() -> Iterator[None]:
    """SIGTERM ends the command by an exception, so that the unfinished file is removed."""
    code = 128 + signal.SIGTERM
    ended = False

    def end(*_: object) -> None:
        nonlocal ended
        ended = True
        sys.exit(code)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except RuntimeError as error:
        # What a handler raises within a query DuckDB turns into this.
        if ended:
            raise SystemExit(code) from error
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
