"""``s3-assets review``: suspicious rows to a file, a person's decisions back.

Belongs here: options, what is printed. Does not belong here: which rows are suspicious (``loop/evidence.py``), the file
(``loop/review_file.py``), taking decisions over (``loop/review_intake.py``).
"""

import getpass
import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from s3_assets import settings
from s3_assets.loop.evidence import Suspects, find_suspects
from s3_assets.loop.fingerprints import EXPERIMENT, GOLD, SEED_SET
from s3_assets.loop.review_file import refuse_existing, write_review_file
from s3_assets.loop.review_intake import Taken, take_reviews
from s3_assets.loop.reviews import DECISIONS, KEEP, OF_GOLD, SYNTHETIC
from s3_assets.loop.state import Board
from s3_assets.quality.suspects import REASONS
from s3_assets.store.parts import Warehouse
from s3_assets.tasks.load import Task, TaskError, get_task

MOST = 200


def review(
    task: Annotated[str, typer.Argument(help="Task to review.")],
    to: Annotated[Path | None, typer.Option("--to", help="CSV file to write; default review_TASK.csv here.")] = None,
    most: Annotated[int, typer.Option("--most", min=1, help="Most rows to write, the most suspicious first.")] = MOST,
    round_: Annotated[
        int | None, typer.Option("--round", min=0, help="Round whose seed set is looked at; default the last made.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,
    apply: Annotated[
        Path | None, typer.Option("--apply", help="Take over the decisions in this file, instead of writing one.")
    ] = None,
    by: Annotated[str | None, typer.Option("--by", help="Who decided, with --apply; default your user name.")] = None,
) -> None:
    """Write suspicious gold and synthetic rows to a CSV; with --apply, take back what a person decided about them."""
    console = Console(highlight=False, soft_wrap=True, markup=False)
    declared, warehouse = get_task(task, settings.task_folders()), settings.warehouse()
    if apply is None:
        if by is not None:
            raise TaskError("--by says who decided; it goes with --apply FILE")
        file = to if to is not None else Path(f"review_{declared.name}.csv")
        _write(console, declared, warehouse, file.expanduser(), most, round_, force)
        return
    if to is not None or round_ is not None or force:
        raise TaskError("--to, --round and --force are for writing a file; leave them out with --apply")
    who = (by or "").strip() or _user_name()
    before = _live(declared, warehouse)
    taken = take_reviews(declared, warehouse, apply.expanduser(), who)
    _tell(console, declared, warehouse, taken, who, before - _live(declared, warehouse))


def _write(
    console: Console, task: Task, warehouse: Warehouse, file: Path, most: int, round_: int | None, force: bool
) -> None:
    if not force:
        refuse_existing(file)
    console.print("looking at gold and the seed set")
    found = find_suspects(task, warehouse, round_)
    for note in found.notes:
        console.print(note)
    if found.rows.is_empty():
        console.print("nothing suspicious was found; no file was written")
        return
    written = found.rows.head(most)
    write_review_file(written, file, overwrite=force)
    _print_reasons(console, task, found)
    left = f" of {found.rows.height}, --most writes more" if written.height < found.rows.height else ""
    console.print(f"{file}: {written.height} rows{left}")
    console.print(
        f"next: write {', '.join(DECISIONS[:-1])} or {DECISIONS[-1]} as decision, with relabel the label as new_label; "
        "rows left empty stay as they are. Then\n"
        f"  s3-assets review {task.name} --apply {shlex.quote(str(file))}"
    )


def _print_reasons(console: Console, task: Task, found: Suspects) -> None:
    shown = Table(title=f"{task.name}: rows worth a look", box=box.SIMPLE_HEAD, pad_edge=False)
    of_round = SYNTHETIC if found.round is None else f"{SYNTHETIC}, round {found.round}"
    shown.add_column("why")
    for heading in (OF_GOLD, of_round):
        shown.add_column(Text(heading), justify="right")
    counts = found.rows.explode("reasons").group_by("reasons", "kind").len().rows()
    counted = {(reason, kind): number for reason, kind, number in counts}
    for reason in REASONS:
        numbers = [counted.get((reason, kind), 0) for kind in (OF_GOLD, SYNTHETIC)]
        if any(numbers):
            shown.add_row(reason, *(str(number) if number else "-" for number in numbers))
    rows = (str(found.rows.filter(kind=kind).height) for kind in (OF_GOLD, SYNTHETIC))
    shown.add_section()
    shown.add_row("rows, some for several reasons", *rows)
    console.print(shown)


def _tell(
    console: Console, task: Task, warehouse: Warehouse, taken: Taken, who: str, stale: set[tuple[str, int]]
) -> None:
    """What was taken over, what is to be made anew, and the next command."""
    if taken.repeated:
        console.print(f"decisions that stand already: {taken.repeated}, they change nothing")
    if taken.empty:
        console.print(f"rows without a decision: {taken.empty}, they stay as they are")
    if not taken.decisions:
        console.print("nothing new was taken over")
        return
    for kind in (OF_GOLD, SYNTHETIC):
        told = [f"{taken.decisions[kind, one]} {one}" for one in DECISIONS if taken.decisions[kind, one]]
        if told:
            console.print(f"taken over from {who}, {kind}: {', '.join(told)}")
    acting = {kind for kind, decision in taken.decisions if decision != KEEP}
    if taken.gone:
        console.print(f"about rows that round {taken.from_round} no longer holds: {taken.gone}, they change nothing")
    last = max((round_ for _, round_ in stale), default=0)
    if (GOLD, 0) in stale:
        rounds = {round_ for asset, round_ in stale if asset != GOLD}
        with_it = f", and with it {_rounds(rounds)}" if rounds else ""
        compared = (warehouse.root / EXPERIMENT / f"task={task.name}").is_dir()
        arms = " The same goes for arms that were compared." if compared else ""
        console.print(
            f"gold is stale now{with_it}: it is made anew as decided. Answers of the teacher are on disk: a question "
            f"that was answered is not asked again.{arms}"
        )
    if SYNTHETIC in acting and taken.from_round is not None:
        last = max(last, taken.from_round)
        earlier = "" if taken.from_round == 0 or stale else "; earlier rounds stay as they are"
        console.print(f"{SEED_SET} of round {taken.from_round} is the first that follows the synthetic ones{earlier}")
    if not acting:
        console.print(f"nothing needs to be made anew: {KEEP} changes no row, it is only not listed again")
        return
    most = task.spec.rounds - 1
    if last > most:
        console.print(f"task {task.name} allows rounds 0-{most}: raise rounds in its task.yaml to {last + 1}, then")
    console.print(f"next: s3-assets run {task.name} --rounds {f'0-{last}' if last else '0'}")


def _live(task: Task, warehouse: Warehouse) -> set[tuple[str, int]]:
    board = Board(task, warehouse)
    return {(step.asset, step.round) for step in board if board.is_live(step.asset, step.round)}


def _rounds(rounds: set[int]) -> str:
    first, last = min(rounds), max(rounds)
    return f"round {first}" if first == last else f"rounds {first}-{last}"


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError) as error:
        raise TaskError("your user name is not known here; say who decided with --by NAME") from error
