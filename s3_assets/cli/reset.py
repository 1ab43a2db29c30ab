"""``s3-assets reset``. Only the command belongs here; a reset is a newest part without rows (``store/parts.py``)."""

from typing import Annotated

import typer

from s3_assets import settings
from s3_assets.loop.fingerprints import EXTRAPOLATED_SET, ROUND_ASSETS, SEED_SET, loop_key
from s3_assets.loop.state import Board
from s3_assets.loop.writing import BESIDE_ROUND, BESIDE_STEP
from s3_assets.tasks.load import get_task


def reset(
    task: Annotated[str, typer.Argument(help="Task to reset.")],
    from_round: Annotated[int, typer.Option("--from-round", min=0, help="First round to reset; later ones go too.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without this, only show what would be reset.")] = False,
) -> None:
    """Empty the tables of a task from a round on. Teacher answers, gold and older parts stay."""
    declared, warehouse = get_task(task, settings.task_folders()), settings.warehouse()
    found = []
    for round_ in (number for number in Board(declared, warehouse).rounds() if number >= from_round):
        keys = loop_key(declared, round_).columns()
        places = [(name, keys) for name in (*ROUND_ASSETS, *BESIDE_ROUND)]
        places += [(name, {**keys, "asset": asset}) for name in BESIDE_STEP for asset in (SEED_SET, EXTRAPOLATED_SET)]
        found += [(name, where, part) for name, where in places if (part := warehouse.live(name, where)) is not None]
    if not found:
        typer.echo(f"nothing to reset: {task} has nothing live from round {from_round} on")
        return
    for name, where, part in found:
        typer.echo(f"{'reset' if yes else 'would reset'} {name} of round {where['round']} ({part.part_id})")
        if yes:
            warehouse.retire(name, where)
    if not yes:
        typer.echo(
            "nothing was changed; add --yes to do it. Teacher answers stay: a new run pays only for new questions"
        )
